"""Drawing symbols from probabilities."""

import numpy as np
import pytest

import tinyrnn
from tinyrnn.decoding import sample

P = np.array([0.5, 0.3, 0.2, 0.0])


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5])
def test_classes_are_drawn_as_the_temperature_says(temperature):
    draws = sample(np.tile(P, (40_000, 1)), temperature, seed=1)
    expected = P ** (1 / temperature) / (P ** (1 / temperature)).sum()
    found = np.bincount(draws, minlength=4) / len(draws)
    np.testing.assert_allclose(found, expected, atol=4 * np.sqrt(0.25 / len(draws)))
    assert found[3] == 0


def test_temperature_is_that_of_a_softmax():
    """p ** (1 / T) is the softmax of logits / T; the draws depend on that alone."""
    logits = np.random.default_rng(0).standard_normal((500, 6))

    def softmax(x):
        e = np.exp(x)
        return e / e.sum(axis=-1, keepdims=True)

    np.testing.assert_array_equal(
        sample(softmax(logits), 0.7, seed=3), sample(softmax(logits / 0.7), 1.0, seed=3)
    )


def test_temperature_zero_is_the_most_probable_class():
    assert sample([[0.2, 0.5, 0.3], [1, 0, 0]], temperature=0).tolist() == [1, 0]
    assert sample(np.array([0.4, 0.6], "float32"), temperature=1e-9) == 1


def test_shapes_and_seeds():
    p = np.full((2, 3, 7), 1 / 7, "float32")
    draws = sample(p)
    assert (draws.shape, draws.dtype) == ((2, 3), np.int64)
    assert sample(p[0, 0]).shape == ()
    tinyrnn.set_random_seed(5)
    first, second = sample(p), sample(p)
    tinyrnn.set_random_seed(5)
    np.testing.assert_array_equal(sample(p), first)
    assert first.tolist() != second.tolist()
    np.testing.assert_array_equal(sample(p, seed=1), sample(p, seed=1))


@pytest.mark.parametrize(
    ("probabilities", "temperature", "message"),
    [
        (P, -1, "temperature: expected 0 or more, found -1"),
        (P, float("nan"), "temperature: expected 0 or more, found nan"),
        ([[0.5, 0.5], [0.5, 1.5]], 1, "add up to 1, found the sum 2.0"),
        ([1.5, -0.5], 1, "expected numbers from 0"),
        ([float("nan"), 1], 0, "found the sum nan"),
        (0.5, 1, r"expected shape \(\.\.\., classes\), found \(\)"),
        ([], 1, r"found \(0,\)"),
    ],
)
def test_what_is_no_distribution(probabilities, temperature, message):
    with pytest.raises(ValueError, match=message):
        sample(probabilities, temperature)
