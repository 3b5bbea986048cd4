"""Accuracy by class under a mask, edit distance, error rates."""

import functools

import numpy as np
import pytest

from tinyrnn import metrics
from tinyrnn.autograd import Tensor
from tinyrnn.metrics import accuracy_by_class, edit_distance, sequence_error_rate

LABELS = np.array([[0, 1, 1, 2], [2, 2, 1, 0]])
CHOSEN = np.array([[0, 1, 2, 2], [0, 2, 1, 1]])
WORDS = np.array([[True, True, True, False], [True, True, False, False]])
SCORES = np.eye(4)[CHOSEN] + 0.1


def test_accuracy_counts_each_class_for_itself():
    accuracy, count = accuracy_by_class(LABELS, SCORES)
    np.testing.assert_array_equal(accuracy, [1 / 2, 2 / 3, 2 / 3, np.nan])
    assert count.tolist() == [2, 3, 3, 0]
    assert np.nansum(accuracy * count) / count.sum() == (LABELS == CHOSEN).mean()
    np.testing.assert_array_equal(accuracy_by_class(LABELS[..., None], SCORES)[0], accuracy)


def test_padding_does_not_count():
    padded = np.where(WORDS, LABELS, -1)  # no class: no matter, where it does not count
    accuracy, count = accuracy_by_class(padded, SCORES, mask=WORDS)
    np.testing.assert_array_equal(accuracy, [1, 1 / 2, 1 / 2, np.nan])
    assert count.tolist() == [1, 2, 2, 0]
    predicted = Tensor(SCORES)
    predicted.mask = WORDS
    np.testing.assert_array_equal(accuracy_by_class(padded, predicted)[0], accuracy)
    mean = metrics.SparseCategoricalAccuracy()(padded, predicted)
    assert np.nansum(accuracy * count) / count.sum() == pytest.approx(mean)


@pytest.mark.parametrize(
    ("labels", "mask", "message"),
    [
        (LABELS[:1], None, r"accuracy_by_class: expected labels of shape \(2, 4\)"),
        (LABELS + 2, None, "expected labels below 4, found 4"),
        (LABELS - 1, None, "expected labels below 4, found -1"),
        (LABELS, WORDS[:, :2], r"expected a mask of shape \(2, 4\), found \(2, 2\)"),
    ],
)
def test_labels_and_masks_that_do_not_fit(labels, mask, message):
    with pytest.raises(ValueError, match=message):
        accuracy_by_class(labels, SCORES, mask)


def recursive_distance(a, b):
    """The definition."""

    @functools.cache
    def distance(i, j):
        if not i or not j:
            return i + j
        replaced = distance(i - 1, j - 1) + (a[i - 1] != b[j - 1])
        return min(replaced, distance(i - 1, j) + 1, distance(i, j - 1) + 1)

    return distance(len(a), len(b))


def test_edit_distance_is_the_least_number_of_edits():
    assert edit_distance("kitten", "sitting") == 3
    assert edit_distance([], "abc") == edit_distance("abc", []) == 3
    rng = np.random.default_rng(0)
    for _ in range(200):
        a, b = (rng.integers(0, 3, rng.integers(0, 7)).tolist() for _ in range(2))
        assert edit_distance(a, b) == recursive_distance(a, b)


def test_error_rate_takes_the_nearest_reference():
    references = [["cat"], ["abcd", "xyz"], [""]]
    assert sequence_error_rate(references, ["cut", "xyy", ""]) == (1 + 1 + 0) / (3 + 3)
    assert sequence_error_rate([["ab", "abcd"]], ["abc"]) == 1 / 4  # both are one edit away: the longer
    assert sequence_error_rate([["a"]], ["xyz"]) == 3.0
    with pytest.raises(ValueError, match="references: there is none for hypothesis 1"):
        sequence_error_rate([["a"], []], ["a", "b"])
    with pytest.raises(ValueError, match="references: they have no items"):
        sequence_error_rate([[""]], ["a"])
    with pytest.raises(ValueError, match="references: there are 1, but 2 hypotheses"):
        sequence_error_rate([["a"]], ["a", "b"])
