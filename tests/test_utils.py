"""One-hot labels against Keras; data sets of windows against their definition."""

import itertools

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyrnn import backend
from tinyrnn.utils import PyDataset, set_random_seed, timeseries_dataset_from_array, to_categorical


@given(
    shape=st.sampled_from([(), (5,), (5, 1), (2, 3), (2, 3, 1), (1,), (1, 1)]),
    num_classes=st.sampled_from([None, 4, 6]),
    data=st.data(),
)
def test_to_categorical_equals_keras(shape, num_classes, data):
    size = int(np.prod(shape))
    x = np.array(data.draw(st.lists(st.integers(0, 3), min_size=size, max_size=size))).reshape(shape)
    ours, theirs = to_categorical(x, num_classes), keras.utils.to_categorical(x, num_classes)
    np.testing.assert_array_equal(ours, theirs)
    assert ours.dtype == np.float32


def test_to_categorical_takes_lists_floats_and_floatx():
    backend.set_floatx("float64")
    out = to_categorical([2.0, 0.0])
    assert out.tolist() == [[0, 0, 1], [1, 0, 0]]
    assert out.dtype == np.float64
    assert to_categorical([], num_classes=2).shape == (0, 2)


@pytest.mark.parametrize(
    ("x", "num_classes", "message"),
    [
        ([0, 3, 5], 3, r"expected classes 0 ... 2, found 3 at position \(1,\)"),
        ([[0, 1], [-1, 0]], None, r"expected classes 0 ... 1, found -1 at position \(1, 0\)"),
        ([], None, "no classes to count; give num_classes"),
    ],
)
def test_to_categorical_errors(x, num_classes, message):
    with pytest.raises(ValueError, match=message):
        to_categorical(x, num_classes)


def test_set_random_seed_repeats_numpy_and_tinyrnn():
    draws = []
    for _ in range(2):
        set_random_seed(5)
        draws.append((np.random.rand(), backend.default_generator().random()))
    assert draws[0] == draws[1]


# --- windows --------------------------------------------------------------------------------------------


@given(
    n=st.integers(3, 40),
    length=st.integers(1, 5),
    stride=st.integers(1, 4),
    rate=st.integers(1, 3),
    batch=st.integers(1, 7),
    start=st.none() | st.integers(0, 4),
    cut=st.none() | st.integers(1, 4),
    missing=st.integers(0, 6),
)
def test_windows_by_definition(n, length, stride, rate, batch, start, cut, missing):
    data = np.arange(2 * n).reshape(n, 2)
    targets = np.arange(n - min(missing, n)) * 10
    end = None if cut is None else n - cut
    first, last = start or 0, n if end is None else end
    begins = [s for s in range(first, last, stride) if s + (length - 1) * rate < last and s < len(targets)]
    settings = {"sequence_stride": stride, "sampling_rate": rate, "batch_size": batch}
    settings |= {"start_index": start, "end_index": end}
    if not begins:
        with pytest.raises(ValueError, match=r"no window|start_index"):
            timeseries_dataset_from_array(data, targets, length, **settings)
        return
    dataset = timeseries_dataset_from_array(data, targets, length, **settings)
    assert len(dataset) == dataset.num_batches == -(-len(begins) // batch)
    batches = list(dataset)
    assert {len(x) for x, _ in batches[:-1]} <= {batch}
    expected = np.stack([data[s : s + (length - 1) * rate + 1 : rate] for s in begins])
    np.testing.assert_array_equal(np.concatenate([x for x, _ in batches]), expected)
    np.testing.assert_array_equal(np.concatenate([y for _, y in batches]), [10 * s for s in begins])


def test_windows_of_the_example_in_the_manual_of_keras():
    dataset = timeseries_dataset_from_array(np.arange(99), None, 10, sequence_stride=3, sampling_rate=2)
    (x,) = list(dataset)
    assert x[0].tolist() == [0, 2, 4, 6, 8, 10, 12, 14, 16, 18]
    assert x[1].tolist() == [3, 5, 7, 9, 11, 13, 15, 17, 19, 21]
    assert x[-1].tolist() == [78, 80, 82, 84, 86, 88, 90, 92, 94, 96]


def test_windows_to_predict_the_next_value():
    data = np.arange(30.0)
    dataset = timeseries_dataset_from_array(data[:-10], data[10:], sequence_length=10, batch_size=4)
    x, y = dataset[0]
    assert x.shape == (4, 10)
    np.testing.assert_array_equal(y, x[:, -1] + 1)
    np.testing.assert_array_equal(dataset[-1][0], dataset[len(dataset) - 1][0])
    with pytest.raises(IndexError, match=f"batch 3 of a data set of {len(dataset)}"):
        dataset[3]


def test_windows_without_batches():
    dataset = timeseries_dataset_from_array(np.arange(5), np.arange(5), 3, batch_size=None)
    assert [(x.tolist(), int(y)) for x, y in dataset] == [([0, 1, 2], 0), ([1, 2, 3], 1), ([2, 3, 4], 2)]


def test_shuffled_windows_are_the_same_windows_in_another_order_every_epoch():
    data = np.arange(60)

    def order(dataset):
        x, y = zip(*dataset, strict=True)
        np.testing.assert_array_equal(np.concatenate(x)[:, 0], np.concatenate(y))  # x and y stay together
        return np.concatenate(y).tolist()

    settings = {"sequence_length": 2, "batch_size": 7, "shuffle": True}
    dataset = timeseries_dataset_from_array(data, data, seed=3, **settings)
    first = order(dataset)
    assert order(dataset) == first
    dataset.on_epoch_end()
    second = order(dataset)
    assert sorted(first) == sorted(second) == list(range(59))
    assert first != second != list(range(59)) != first
    assert order(timeseries_dataset_from_array(data, data, seed=3, **settings)) == first
    set_random_seed(1)
    unseeded = order(timeseries_dataset_from_array(data, data, **settings))
    set_random_seed(1)
    assert order(timeseries_dataset_from_array(data, data, **settings)) == unseeded


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sequence_length": 0}, "sequence_length: expected 1 or more, found 0"),
        ({"sequence_stride": 0}, "sequence_stride: expected 1 or more, found 0"),
        ({"sampling_rate": -1}, "sampling_rate: expected 1 or more, found -1"),
        ({"batch_size": 0}, "batch_size: expected 1 or more, found 0"),
        ({"start_index": 10}, "start_index, end_index: expected .* <= 10 .*, found 10, None"),
        ({"end_index": 11}, "start_index, end_index: .* found None, 11"),
        ({"start_index": 5, "end_index": 5}, "start_index, end_index: .* found 5, 5"),
        ({"end_index": 0}, "start_index, end_index: .* found None, 0"),
        ({"sequence_length": 11}, "data: no window of 11 steps, 1 apart, in 0 ... 9"),
        ({"targets": []}, "with one of 0 targets"),
    ],
)
def test_window_errors_name_the_argument(settings, message):
    with pytest.raises(ValueError, match=message):
        timeseries_dataset_from_array(
            **{"data": np.arange(10), "targets": None, "sequence_length": 2} | settings
        )


# --- PyDataset ------------------------------------------------------------------------------------------


class Squares(PyDataset):
    def __len__(self):
        return 3

    def __getitem__(self, index):
        return np.full(2, index**2)


def test_py_dataset_counts_and_iterates_again():
    dataset = Squares(workers=4, use_multiprocessing=True, max_queue_size=2)
    assert (dataset.workers, dataset.use_multiprocessing, dataset.max_queue_size) == (4, True, 2)
    assert dataset.num_batches == 3
    for _ in range(2):
        assert [x.tolist() for x in dataset] == [[0, 0], [1, 1], [4, 4]]
    dataset.on_epoch_begin()
    dataset.on_epoch_end()


def test_py_dataset_without_end():
    class Endless(PyDataset):
        num_batches = None

        def __init__(self):
            """Forgets to call the constructor above."""

        def __getitem__(self, index):
            return index

    dataset = Endless()
    assert dataset.workers == 1
    assert list(itertools.islice(dataset, 4)) == [0, 1, 2, 3]


def test_py_dataset_says_what_to_implement():
    class Nothing(PyDataset):
        pass

    with pytest.raises(NotImplementedError, match="Nothing: implement __len__"):
        list(Nothing())
    with pytest.raises(NotImplementedError, match="Nothing: implement __getitem__"):
        Nothing()[0]
