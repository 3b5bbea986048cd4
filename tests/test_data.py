"""Batches from arrays, data sets and generators; class weights; what is refused."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinyrnn
from tinyrnn import data
from tinyrnn.autograd import Tensor
from tinyrnn.utils import PyDataset, timeseries_dataset_from_array


def collect(batches):
    """Return the first arrays of the batches of one epoch as lists."""
    return [batch[0].tolist() for _, batch in batches.epoch()]


# --- arrays -----------------------------------------------------------------------------------------------


def test_numbers_tensors_and_nests_become_arrays():
    x, y, weight = data.as_batch(([[1, 2], [3, 4]], {"a": [0.5, 1.5], "b": Tensor([1.0, 2.0])}, (1, 2)))
    np.testing.assert_array_equal(x, [[1, 2], [3, 4]])
    np.testing.assert_array_equal(y["a"], [0.5, 1.5])
    assert type(y["b"]) is np.ndarray
    np.testing.assert_array_equal(weight, [1, 2])
    several, _, _ = data.as_batch(([np.zeros((2, 3)), np.ones(2)],))
    assert [a.shape for a in several] == [(2, 3), (2,)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.zeros((0, 3)), np.zeros(0)), "x, y: no samples"),
        (([],), "x: no samples"),
        ((None,), "x: no data given"),
        ((np.zeros(4), np.zeros(3)), "x: 4, y: 3"),
        (([np.zeros(4), np.zeros(5)], {"tag": np.zeros(4)}), r"x\[0\]: 4, x\[1\]: 5, y\['tag'\]: 4"),
        ((np.zeros(4), np.zeros(4), np.zeros(2)), "sample_weight: 2"),
        (([[1, 2], [3]],), "x: rows of different lengths"),
        ((np.array(["good", "bad"]),), "x: expected numbers"),
        ((np.array([[1], [2, 3]], dtype=object),), "x: expected numbers, found ndarray of object"),
        ((np.float32(3),), "x: expected an array with a batch axis"),
        (("text",), "x: expected arrays"),
        ((3,), "x: expected arrays"),
    ],
)
def test_what_cannot_be_used_is_named(arguments, message):
    with pytest.raises((ValueError, TypeError), match=message):
        data.make_batches(*arguments)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": 0}, "batch_size: expected a whole number from 1 on, found 0"),
        ({"batch_size": 2.5}, "batch_size"),
        ({"steps": -1}, "steps"),
        ({"shuffle": "batches"}, "shuffle: expected True, False or 'batch'"),
    ],
)
def test_wrong_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        data.make_batches(np.zeros(4), **settings)


@given(st.integers(1, 20), st.integers(1, 7))
def test_every_sample_comes_once_in_an_epoch(n, batch_size):
    batches = data.make_batches(np.arange(n), np.arange(n) * 2, batch_size=batch_size, shuffle=True)
    for _ in range(2):
        epoch = [batch for _, batch in batches.epoch()]
        assert len(epoch) == batches.num_batches == -(-n // batch_size)
        assert {len(x) for x, _, _ in epoch[:-1]} <= {batch_size}
        x, y = (np.concatenate([batch[i] for batch in epoch]) for i in (0, 1))
        assert sorted(x) == list(range(n))
        np.testing.assert_array_equal(y, 2 * x)


def test_shuffling_is_new_in_each_epoch_and_the_seeds():
    def orders(shuffle):
        tinyrnn.utils.set_random_seed(3)
        batches = data.make_batches(np.arange(40), batch_size=10, shuffle=shuffle)
        return [collect(batches) for _ in range(2)]

    first = orders(True)
    assert first[0] != first[1]
    assert first == orders(True)
    within = orders("batch")
    assert within[0] != within[1]
    assert [sorted(b) for b in within[0]] == [list(range(i, i + 10)) for i in (0, 10, 20, 30)]
    assert orders(False)[1] == [list(range(i, i + 10)) for i in (0, 10, 20, 30)]


def test_steps_go_on_where_the_last_epoch_stopped():
    batches = data.make_batches(np.arange(6), batch_size=2, steps=2)
    assert batches.num_batches == 2
    assert collect(batches) == [[0, 1], [2, 3]]
    with pytest.warns(UserWarning, match="ended after 1 of 2 steps"):
        assert collect(batches) == [[4, 5]]
    assert collect(batches) == [[0, 1], [2, 3]]


def test_steps_that_end_with_the_data_begin_anew_without_a_warning():
    batches = data.make_batches(np.arange(4), batch_size=1, steps=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [collect(batches) for _ in range(3)] == [[[0], [1]], [[2], [3]], [[0], [1]]]


def test_steps_alone_set_the_batch_size():
    assert collect(data.make_batches(np.arange(7), steps=3)) == [[0, 1, 2], [3, 4, 5], [6]]


def test_peeking_takes_nothing():
    batches = data.make_batches(np.arange(4), batch_size=2)
    assert batches.peek()[0].tolist() == batches.peek()[0].tolist() == [0, 1]
    assert collect(batches) == [[0, 1], [2, 3]]


# --- split ------------------------------------------------------------------------------------------------


@given(st.integers(2, 30), st.floats(0.05, 0.95))
def test_split_keeps_the_last_rows_back(n, fraction):
    at = int(np.floor(n * (1.0 - fraction)))
    arrays = [np.arange(n), {"a": np.arange(n) + 1}], np.arange(n), None
    if not 0 < at < n:
        with pytest.raises(ValueError, match="leaves nothing on one side"):
            data.split(*arrays, fraction)
        return
    train, held_back = data.split(*arrays, fraction)
    assert train[0][0].tolist() == list(range(at))
    assert held_back[0][1]["a"].tolist() == list(range(at + 1, n + 1))
    assert held_back[1].tolist() == list(range(at, n))
    assert train[2] is held_back[2] is None


def test_split_needs_arrays():
    with pytest.raises(ValueError, match="only arrays can be split, found generator"):
        data.split((i for i in range(3)), None, None, 0.5)


# --- data sets and generators -----------------------------------------------------------------------------


class Numbers(PyDataset):
    """Batches 0 ... n - 1; takes down what is asked of it."""

    def __init__(self, n):
        super().__init__()
        self.n = n
        self.seen = []

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        self.seen.append(i)
        return np.array([i]), np.array([i])

    def on_epoch_begin(self):
        self.seen.append("begin")

    def on_epoch_end(self):
        self.seen.append("end")


def test_a_data_set_is_told_of_epochs():
    numbers = Numbers(3)
    batches = data.make_batches(numbers)
    assert batches.num_batches == 3
    collect(batches)
    collect(batches)
    assert numbers.seen == ["begin", 0, 1, 2, "end"] * 2


def test_the_batches_of_a_data_set_are_shuffled():
    batches = data.make_batches(Numbers(20), shuffle=True)
    first, second = collect(batches), collect(batches)
    assert sorted(first) == sorted(second) == [[i] for i in range(20)]
    assert first != second


def test_anything_with_a_length_and_items_is_a_data_set():
    class Bare:
        def __len__(self):
            return 2

        def __getitem__(self, i):
            return [np.array([i])]

    assert collect(data.make_batches(Bare())) == [[0], [1]]


def test_windows_over_a_series_are_a_data_set():
    windows = timeseries_dataset_from_array(np.arange(5), np.arange(3), sequence_length=2, batch_size=2)
    assert collect(data.make_batches(windows)) == [[[0, 1], [1, 2]], [[2, 3]]]


def test_a_generator_is_read_once_and_a_list_like_loader_again_and_again():
    class Loader:
        def __iter__(self):
            return (([i],) for i in range(2))

    once = data.make_batches(([i],) for i in range(2))
    assert once.num_batches is None
    assert collect(once) == [[0], [1]]
    assert once.peek() is None
    again = data.make_batches(Loader())
    assert collect(again) == collect(again) == [[0], [1]]


def test_a_generator_gives_what_steps_ask_for():
    batches = data.make_batches((([i],) for i in range(5)), steps=2)
    assert [collect(batches) for _ in range(2)] == [[[0], [1]], [[2], [3]]]
    with pytest.warns(UserWarning, match="ended after 1 of 2 steps"):
        assert collect(batches) == [[4]]
    assert batches.peek() is None


def test_sources_that_cannot_be_used():
    class Endless(PyDataset):
        num_batches = None

        def __getitem__(self, i):
            return (np.array([i]),)

    with pytest.raises(ValueError, match="Endless has no end, so say how many steps"):
        data.make_batches(Endless())
    assert collect(data.make_batches(Endless(), steps=2)) == [[0], [1]]
    with pytest.raises(ValueError, match="generator yields no batch"):
        data.make_batches(i for i in ())
    with pytest.raises(ValueError, match="Numbers yields no batch"):
        data.make_batches(Numbers(0))
    with pytest.raises(ValueError, match="y: the batches of a Numbers hold their own"):
        data.make_batches(Numbers(2), np.zeros(2))
    with pytest.raises(ValueError, match="found 4 items"):
        data.make_batches((1, 2, 3, 4) for _ in range(2))
    with pytest.raises(ValueError, match="x: 2, y: 3"):
        data.make_batches((np.zeros(2), np.zeros(3)) for _ in range(2))


# --- class weights ----------------------------------------------------------------------------------------

WEIGHTS = {0: 2.0, 2: 0.5}


@pytest.mark.parametrize(
    ("y", "prediction_shape", "expected"),
    [
        ([0, 1, 2], (3, 3), [2, 1, 0.5]),
        ([[0], [1], [2]], (3, 3), [2, 1, 0.5]),
        ([[0.0], [1.0]], (2, 1), [2, 1]),
        (np.eye(3), (3, 3), [2, 1, 0.5]),
        # Sequences: one weight for each token, where Keras takes the maximum over time.
        ([[0, 2], [1, 0]], (2, 2, 3), [[2, 0.5], [1, 2]]),
        ([[[0], [2]], [[1], [0]]], (2, 2, 3), [[2, 0.5], [1, 2]]),
        (np.eye(3)[[[0, 2], [1, 0]]], (2, 2, 3), [[2, 0.5], [1, 2]]),
        ([[0, 1], [1, 0]], (2, 2, 1), [[2, 1], [1, 2]]),
    ],
)
def test_class_weights_by_label(y, prediction_shape, expected):
    found = data.ClassWeight(WEIGHTS)(np.asarray(y), np.zeros(prediction_shape, "float32"))
    assert found.dtype == "float32"
    np.testing.assert_array_equal(found, expected)


def test_class_weights_are_for_one_output_and_not_beside_others():
    weight = data.ClassWeight(WEIGHTS)
    with pytest.raises(ValueError, match="one output"):
        weight([np.zeros(2), np.zeros(2)], None)
    with pytest.raises(ValueError, match="give one of them, not both"):
        weight.attach((np.zeros(2), np.zeros(2), np.zeros(2)))
    with pytest.raises(TypeError, match="expected a dictionary, found list"):
        data.ClassWeight([1.0, 2.0])
