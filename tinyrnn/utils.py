"""What does not fit elsewhere: one-hot labels, seeds, data sets that are made batch by batch."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from tinyrnn.backend import floatx, new_generator, set_random_seed
from tinyrnn.naming import clear_session
from tinyrnn.preprocessing.sequence import pad_sequences

__all__ = [
    "PyDataset",
    "Sequence",
    "clear_session",
    "pad_sequences",
    "set_random_seed",
    "timeseries_dataset_from_array",
    "to_categorical",
]


def to_categorical(x: Any, num_classes: int | None = None) -> np.ndarray:
    """Turn class numbers into one-hot vectors.

    Parameters
    ----------
    x : array-like of int
        Classes ``0 ... num_classes - 1``, of any shape; a last axis of size 1 is dropped.
    num_classes : int, optional
        One more than the highest class found unless given.

    Returns
    -------
    array of shape (..., num_classes)
        Of type ``floatx()``, the type of what it is compared with. (Keras returns float64.)

    Raises
    ------
    ValueError
        For a class out of range, naming the first, or for no classes at all and no `num_classes`.

    Examples
    --------
    >>> to_categorical([0, 2])
    array([[1., 0., 0.],
           [0., 0., 1.]], dtype=float32)
    """
    x = np.asarray(x).astype("int64")
    if x.ndim > 1 and x.shape[-1] == 1:
        x = x[..., 0]
    if not num_classes:
        if not x.size:
            raise ValueError("x: no classes to count; give num_classes")
        num_classes = int(x.max()) + 1
    wrong = np.flatnonzero((x < 0) | (x >= num_classes))
    if len(wrong):
        where = tuple(int(i) for i in np.unravel_index(wrong[0], x.shape))
        raise ValueError(f"x: expected classes 0 ... {num_classes - 1}, found {x[where]} at position {where}")
    out = np.zeros((x.size, num_classes), floatx())
    out[np.arange(x.size), x.ravel()] = 1
    return out.reshape(*x.shape, num_classes)


class PyDataset:
    """A data set that makes its batches in Python, when they are asked for.

    A subclass implements ``__len__``, the number of batches, and ``__getitem__``, a whole batch: ``x``,
    ``(x, y)`` or ``(x, y, sample_weight)``. Where it does not know an end, it overrides `num_batches`
    to return None in place of ``__len__``.

    Parameters
    ----------
    workers : int
    use_multiprocessing : bool
    max_queue_size : int
        Taken and kept so that programs for Keras run, but without effect: batches are made in the calling
        process, one at a time, when they are needed.
    """

    workers = 1  # on the class too: a subclass may forget to call super().__init__()
    use_multiprocessing = False
    max_queue_size = 10

    def __init__(self, workers: int = 1, use_multiprocessing: bool = False, max_queue_size: int = 10):
        self.workers = workers
        self.use_multiprocessing = use_multiprocessing
        self.max_queue_size = max_queue_size

    def __getitem__(self, index: int) -> Any:
        """Return the batch at `index`."""
        raise NotImplementedError(
            f"{type(self).__name__}: implement __getitem__(index), which returns a batch"
        )

    def __iter__(self) -> Iterator[Any]:
        """Go once through all batches, or through batches without end where `num_batches` is None."""
        n = self.num_batches
        return (self[i] for i in (itertools.count() if n is None else range(n)))

    @property
    def num_batches(self) -> int | None:
        """Number of batches; None if there is no end."""
        if not hasattr(self, "__len__"):
            raise NotImplementedError(f"{type(self).__name__}: implement __len__() or num_batches")
        return len(self)

    def on_epoch_begin(self) -> None:
        """Do what must be done before every epoch; nothing here."""

    def on_epoch_end(self) -> None:
        """Do what must be done after every epoch; nothing here."""


Sequence = PyDataset  # what Keras called it before


class _Windows(PyDataset):
    """Windows over series that start at `starts`; what `timeseries_dataset_from_array` returns."""

    def __init__(
        self,
        data: np.ndarray,
        targets: np.ndarray | None,
        starts: np.ndarray,
        steps: np.ndarray,
        batch_size: int | None,
        generator: np.random.Generator | None,
    ):
        super().__init__()
        self.data, self.targets, self.starts, self.steps = data, targets, starts, steps
        self.batch_size, self.generator = batch_size, generator
        self.on_epoch_end()

    def __len__(self) -> int:
        return math.ceil(len(self.starts) / (self.batch_size or 1))

    def __getitem__(self, index: int) -> Any:
        if not -len(self) <= index < len(self):
            raise IndexError(f"batch {index} of a data set of {len(self)}")
        index %= len(self)
        size = self.batch_size
        starts = self.starts[index] if size is None else self.starts[index * size : (index + 1) * size]
        x = self.data[starts[..., None] + self.steps]
        return x if self.targets is None else (x, self.targets[starts])

    def on_epoch_end(self) -> None:
        if self.generator is not None:
            self.generator.shuffle(self.starts)


def timeseries_dataset_from_array(
    data: Any,
    targets: Any | None,
    sequence_length: int,
    sequence_stride: int = 1,
    sampling_rate: int = 1,
    batch_size: int | None = 128,
    shuffle: bool = False,
    seed: int | None = None,
    start_index: int | None = None,
    end_index: int | None = None,
) -> PyDataset:
    """Cut a long series into windows, batch by batch, without holding all windows at once.

    Window ``k`` holds steps ``s, s + r, ..., s + (sequence_length - 1) r`` of `data`, where ``r`` is the
    sampling rate and ``s = start_index + k sequence_stride``. Windows that would pass the end are left out.

    Parameters
    ----------
    data : array-like of shape (steps, ...)
    targets : array-like of shape (n, ...) or None
        ``targets[s]`` belongs to the window that starts at step ``s``, so to predict the next value pass
        ``data[sequence_length * sampling_rate:]``. Windows without a target are left out.
    sequence_length : int
        Steps in a window.
    sequence_stride : int
        Steps from the start of one window to the start of the next.
    sampling_rate : int
        Steps from one value in a window to the next.
    batch_size : int or None
        Windows in a batch; the last batch may be smaller. None: an item is one window, without a batch axis.
    shuffle : bool
        Draw a new order of the windows at the start and after every epoch.
    seed : int, optional
        For this order; from the default generator (see `set_random_seed`) if None.
    start_index, end_index : int, optional
        Use steps ``start_index ... end_index - 1`` only.

    Returns
    -------
    PyDataset
        Of batches ``x`` of shape (batch, sequence_length, ...), or ``(x, y)`` where there are targets.

    Raises
    ------
    ValueError
        For a length, stride, rate or batch size below 1, for indices that are not
        ``0 <= start_index < end_index <= steps``, or if there is no window at all.
    """
    lowest = {
        "sequence_length": sequence_length,
        "sequence_stride": sequence_stride,
        "sampling_rate": sampling_rate,
    }
    for name, value in (lowest | {"batch_size": 1 if batch_size is None else batch_size}).items():
        if value < 1:
            raise ValueError(f"{name}: expected 1 or more, found {value}")
    data = np.asarray(data)
    start = 0 if start_index is None else start_index
    end = len(data) if end_index is None else end_index
    if not 0 <= start < end <= len(data):
        raise ValueError(
            f"start_index, end_index: expected 0 <= start_index < end_index <= {len(data)} "
            f"(the length of data), found {start_index}, {end_index}"
        )
    span = (sequence_length - 1) * sampling_rate
    stop = end - span
    if targets is not None:
        targets = np.asarray(targets)
        stop = min(stop, len(targets))
    if stop <= start:
        raise ValueError(
            f"data: no window of {sequence_length} steps, {sampling_rate} apart, in {start} ... {end - 1}"
            + ("" if targets is None else f" with one of {len(targets)} targets")
        )
    starts = np.arange(start, stop, sequence_stride)
    steps = np.arange(0, span + 1, sampling_rate)
    return _Windows(data, targets, starts, steps, batch_size, new_generator(seed) if shuffle else None)
