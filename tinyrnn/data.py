"""Data for training, batch by batch: from arrays, from data sets, from generators; class weights.

A *source* yields the batches ``(x, y, sample_weight)`` of one epoch each time it is iterated; `Batches`
goes through a source epoch by epoch, in whole epochs or in a given number of steps. Every batch is on the
current device, copied there once; where the data as a whole are, they stay.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from tinyrnn.autograd import Tensor
from tinyrnn.backend import array_module, default_generator, placed
from tinyrnn.naming import warn_user
from tinyrnn.nest import leaves, map_leaves

__all__ = ["Batches", "ClassWeight", "as_batch", "make_batches", "split", "unpack"]

BATCH_SIZE = 32


# --- arrays -----------------------------------------------------------------------------------------------


def as_arrays(value: Any, name: str) -> Any:
    """Return the arrays in `value`: of a list of arrays a list, of a dictionary a dictionary.

    A list of numbers, however deep, is one array; None stays None.

    Raises
    ------
    ValueError
        For what is no array of numbers with a batch axis; `name` says whose.
    """
    if value is None:
        return None
    if isinstance(value, np.ndarray):
        return _as_array(value, name)
    if isinstance(value, Mapping):
        return {key: as_arrays(v, f"{name}[{key!r}]") for key, v in value.items()}
    if isinstance(value, list | tuple) and not isinstance(next(leaves(value), 0), int | float | np.generic):
        return [as_arrays(v, f"{name}[{i}]") for i, v in enumerate(value)]
    return _as_array(value, name)


def _as_array(value: Any, name: str) -> Any:
    value = value.data if isinstance(value, Tensor) else value
    try:
        array = array_module(value).asarray(value)
    except ValueError as error:
        raise ValueError(
            f"{name}: rows of different lengths; bring them to one with pad_sequences"
        ) from error
    if array.dtype.kind not in "fiub":
        ragged = array.dtype == object
        hint = "; if these are rows of different lengths, use pad_sequences" if ragged else ""
        raise ValueError(f"{name}: expected numbers, found {type(value).__name__} of {array.dtype}{hint}")
    if not array.ndim:
        raise ValueError(f"{name}: expected an array with a batch axis, found the number {value}")
    return array


def check_lengths(x: Any, y: Any = None, sample_weight: Any = None) -> int:
    """Return how many samples all these arrays have.

    Raises
    ------
    ValueError
        If there are none, or the numbers differ: it lists every array's.
    """
    found = [len(a) for a in leaves((x, y, sample_weight)) if a is not None]
    if found and found[0] and found.count(found[0]) == len(found):
        return found[0]
    named = {"x": x, "y": y, "sample_weight": sample_weight}
    lengths = {name: len(a) for label, nest in named.items() for name, a in _named(nest, label)}
    if not lengths:
        raise ValueError("x: no data given")
    if len(set(lengths.values())) > 1:
        found = ", ".join(f"{name}: {n}" for name, n in lengths.items())
        raise ValueError(f"expected the same number of samples in all arrays, found {found}")
    raise ValueError(f"{', '.join(lengths)}: no samples (the length is 0)")


def _named(nest: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Yield every array of `nest` with what a user would call it."""
    if isinstance(nest, list | Mapping):
        for key, item in nest.items() if isinstance(nest, Mapping) else enumerate(nest):
            yield from _named(item, f"{name}[{key!r}]")
    elif nest is not None:
        yield name, nest


def split(x: Any, y: Any, sample_weight: Any, fraction: float) -> tuple[tuple, tuple]:
    """Split arrays into the first rows, to train on, and the last ``fraction``, to validate on.

    Raises
    ------
    ValueError
        If one of the parts would be empty, or the data are no arrays.
    """
    if not _are_arrays(x):
        raise ValueError(f"validation_split: only arrays can be split, found {type(x).__name__}")
    arrays = as_arrays(x, "x"), as_arrays(y, "y"), as_arrays(sample_weight, "sample_weight")
    n = check_lengths(*arrays)
    at = math.floor(n * (1.0 - fraction))
    if not 0 < at < n:
        raise ValueError(f"validation_split: {fraction} of {n} samples leaves nothing on one side")
    return _rows(arrays, slice(0, at)), _rows(arrays, slice(at, n))


def _rows(arrays: tuple, rows: Any) -> tuple:
    return map_leaves(lambda a: None if a is None else a[_index(rows, a)], arrays)


def _index(rows: Any, a: Any) -> Any:
    """Return `rows`, a slice or an array of the host, where they can be an index of `a`."""
    return rows if isinstance(rows, slice) else array_module(a).asarray(rows)


def _are_arrays(x: Any) -> bool:
    return isinstance(x, list | tuple | Mapping | Tensor) or hasattr(x, "__array__") or hasattr(x, "shape")


def unpack(data: Any, name: str) -> tuple[Any, Any, Any]:
    """Return ``(x, y, sample_weight)`` of what a source yields: ``x``, ``(x,)``, ``(x, y)`` or all three."""
    if not isinstance(data, list | tuple):
        return data, None, None
    if not 1 <= len(data) <= 3:
        raise ValueError(f"{name}: expected (x,), (x, y) or (x, y, sample_weight), found {len(data)} items")
    return (*data, None, None)[:3]


def as_batch(data: Any, name: str = "data") -> tuple[Any, Any, Any]:
    """Return a batch, in any of the forms that `unpack` knows, as three nests of arrays of equal length."""
    batch = tuple(map(as_arrays, unpack(data, name), ("x", "y", "sample_weight")))
    check_lengths(*batch)
    return map_leaves(placed, batch)


# --- sources ----------------------------------------------------------------------------------------------


class _Arrays:
    """Source: rows of arrays."""

    def __init__(
        self,
        arrays: tuple,
        length: int,
        batch_size: int,
        shuffle: bool | str,
        generator: np.random.Generator,
    ):
        self.arrays, self.length, self.batch_size = arrays, length, batch_size
        self.shuffle, self.generator = shuffle, generator
        self.num_batches = math.ceil(length / batch_size)

    def __iter__(self) -> Iterator[tuple]:
        n, size = self.length, self.batch_size
        order = self.generator.permutation(n) if self.shuffle and self.shuffle != "batch" else None
        for start in range(0, n, size):
            stop = min(start + size, n)
            rows = slice(start, stop) if order is None else order[start:stop]
            if self.shuffle == "batch":
                rows = start + self.generator.permutation(stop - start)
            yield self._batch(rows)

    def _batch(self, rows: Any) -> tuple:
        return map_leaves(lambda a: None if a is None else placed(a[_index(rows, a)]), self.arrays)


class _Dataset:
    """Source: the items of a `PyDataset`, or of anything else with a length and numbered batches."""

    def __init__(self, dataset: Any, shuffle: bool, generator: np.random.Generator):
        self.dataset, self.shuffle, self.generator = dataset, shuffle, generator

    @property
    def num_batches(self) -> int | None:
        return self.dataset.num_batches if hasattr(self.dataset, "num_batches") else len(self.dataset)

    def __iter__(self) -> Iterator[tuple]:
        n = self.num_batches
        numbers = itertools.count() if n is None else range(n)
        if self.shuffle and n is not None:
            numbers = map(int, self.generator.permutation(n))
        return (as_batch(self.dataset[i], type(self.dataset).__name__) for i in numbers)


class _Iterable:
    """Source: whatever can be iterated. A generator can be only once; a list-like loader again and again."""

    def __init__(self, iterable: Any):
        self.iterable = iterable
        self.num_batches = len(iterable) if hasattr(iterable, "__len__") else None

    def __iter__(self) -> Iterator[tuple]:
        return (as_batch(batch, type(self.iterable).__name__) for batch in self.iterable)


# --- epochs -----------------------------------------------------------------------------------------------


class Batches:
    """A source, epoch by epoch.

    Parameters
    ----------
    source : iterable with ``num_batches``
    steps : int, optional
        Batches in an epoch. Then an epoch goes on where the last one stopped, and a source that is through
        begins anew with the next; by default an epoch is the whole source.
    class_weight : ClassWeight, optional
        Takes the place of the sample weights.
    """

    def __init__(self, source: Any, steps: int | None = None, class_weight: ClassWeight | None = None):
        self.source = source
        self.steps = steps
        self.class_weight = class_weight
        self._iterator: Iterator | None = None
        self._first: tuple | None = None  # what `peek` has taken from the iterator
        self._seen = 0  # batches of this iterator given out
        self._begun = False
        self._shuffled_with: Any = None  # the state of the generator when the iterator began

    @property
    def num_batches(self) -> int | None:
        """Batches in an epoch; None if only the end will tell."""
        return self.steps or self.source.num_batches

    def peek(self) -> tuple | None:
        """Return the batch that comes next, without taking it; None if there is none."""
        if self._first is None:
            self._begin()
            self._first = next(self._iterator, None)
        return self._first

    def rewind(self) -> None:
        """Let the next epoch begin with the first batch; a generator cannot."""
        if self._seen and not self._is_generator:
            self._iterator = self._first = None

    @property
    def _is_generator(self) -> bool:
        return hasattr(getattr(self.source, "iterable", None), "__next__")

    def _begin(self) -> None:
        if not self._begun:
            self._notify("on_epoch_begin")
            self._begun = True
        if self._iterator is None:
            self._shuffled_with = self._generator_state()
            self._iterator = iter(self.source)
            self._seen = 0

    def _generator_state(self) -> Any:
        generator = getattr(self.source, "generator", None)
        return None if generator is None else generator.bit_generator.state

    def place(self) -> dict[str, Any]:
        """Return where the data stand, for `go_to`: how they were shuffled, how many batches are taken."""
        if self._iterator is None:
            return {"shuffled_with": self._generator_state(), "seen": 0}
        return {"shuffled_with": self._shuffled_with, "seen": self._seen}

    def go_to(self, place: dict[str, Any]) -> tuple | None:
        """Go to a place where the same data, in another process, stood; return the last batch before it.

        A generator, which cannot be rewound, must yield from its beginning what it yielded then.
        """
        if not self._is_generator:  # it may have been peeked at, in another order
            self._iterator = self._first = None
        if place["shuffled_with"] is not None:
            self.source.generator.bit_generator.state = place["shuffled_with"]
        self._begin()
        batch = None
        for _ in range(place["seen"]):
            batch, self._first = self.peek(), None
            self._seen += 1
        return batch

    def epoch(self, first: int = 0) -> Iterator[tuple[int, tuple]]:
        """Yield the numbered batches of one epoch, from `first` on; warn if there are fewer than was said."""
        self._begin()
        n = self.num_batches
        for step in range(first, n) if n else itertools.count(first):
            batch = self.peek()
            if batch is None:
                self._iterator = None
                if n or not step:
                    of_how_many = f" of {n}" if n else ""
                    warn_user(f"the data ended after {step}{of_how_many} steps of an epoch")
                break
            self._first = None
            self._seen += 1
            yield step, batch if self.class_weight is None else self.class_weight.attach(batch)
        if self.steps is None or self._seen == self.source.num_batches:
            self._iterator = None
        self._notify("on_epoch_end")
        self._begun = False

    def _notify(self, hook: str) -> None:
        """Call `on_epoch_begin` or `on_epoch_end` of a data set that has it."""
        getattr(getattr(self.source, "dataset", None), hook, lambda: None)()


def make_batches(
    x: Any,
    y: Any = None,
    sample_weight: Any = None,
    *,
    class_weight: Mapping[int, float] | None = None,
    batch_size: int | None = None,
    steps: int | None = None,
    shuffle: bool | str = False,
    generator: np.random.Generator | None = None,
) -> Batches:
    """Return the batches of what a user gives to fit, evaluate or predict.

    Parameters
    ----------
    x : array, nest of arrays, PyDataset, generator, or another iterable
        All but arrays yield whole batches, ``(x,)``, ``(x, y)`` or ``(x, y, sample_weight)``.
    y, sample_weight : array or nest of arrays, optional
        Only beside arrays.
    class_weight : dict of int to float, optional
        In the place of sample weights; see `ClassWeight`.
    batch_size : int, optional
        For arrays: 32 by default, or as many as make `steps` batches.
    steps : int, optional
        Batches in an epoch; see `Batches`.
    shuffle : bool or "batch"
        A new order of the rows (of a data set: of its batches) in every epoch; ``"batch"`` only changes
        the order within each batch.
    generator : numpy.random.Generator, optional
        Draws the order; the default one by default.

    Raises
    ------
    ValueError
        For data that are empty, of different lengths, or not numbers.
    TypeError
        For data of no known kind.
    """
    for name, value in (("steps", steps), ("batch_size", batch_size)):
        if value is not None and (value != int(value) or value < 1):
            raise ValueError(f"{name}: expected a whole number from 1 on, found {value!r}")
    if shuffle not in (True, False, "batch"):
        raise ValueError(f"shuffle: expected True, False or 'batch', found {shuffle!r}")
    generator = generator or default_generator()
    weights = None if class_weight is None else ClassWeight(class_weight)
    if weights is not None:
        weights.attach((None, None, sample_weight))  # refuses both
    if x is None or _are_arrays(x):
        arrays = as_arrays(x, "x"), as_arrays(y, "y"), as_arrays(sample_weight, "sample_weight")
        n = check_lengths(*arrays)
        size = batch_size or (math.ceil(n / steps) if steps else BATCH_SIZE)
        source: Any = _Arrays(arrays, n, size, shuffle, generator)
    else:
        source = _source(x, y, sample_weight, shuffle, generator)
    if isinstance(source, _Dataset) and not (steps or source.num_batches is not None):
        raise ValueError(f"x: {type(x).__name__} has no end, so say how many steps make an epoch")
    batches = Batches(source, steps, weights)
    if batches.peek() is None:
        raise ValueError(f"x: {type(x).__name__} yields no batch")
    return batches


def _source(x: Any, y: Any, sample_weight: Any, shuffle: bool | str, generator: np.random.Generator) -> Any:
    kind = type(x).__name__
    for name, value in (("y", y), ("sample_weight", sample_weight)):
        if value is not None:
            raise ValueError(f"{name}: the batches of a {kind} hold their own; do not give it beside x")
    if hasattr(x, "__getitem__") and not isinstance(x, str):
        return _Dataset(x, bool(shuffle), generator)
    if hasattr(x, "__iter__") and not isinstance(x, str):
        return _Iterable(x)
    raise TypeError(f"x: expected arrays, a PyDataset or a generator, found {kind}")


# --- class weights ----------------------------------------------------------------------------------------


class ClassWeight:
    """Weights by class, in the place of sample weights until labels and predictions are known.

    Parameters
    ----------
    weights : dict of int to float
        Classes that are missing weigh 1.
    """

    def __init__(self, weights: Mapping[int, float]):
        if not isinstance(weights, Mapping):
            raise TypeError(f"class_weight: expected a dictionary, found {type(weights).__name__}")
        self.weights = {int(c): float(w) for c, w in weights.items()}

    def attach(self, batch: tuple) -> tuple:
        """Return the batch with this in the place of its sample weights."""
        x, y, sample_weight = batch
        if sample_weight is not None:
            raise ValueError("class_weight and sample_weight: give one of them, not both")
        return x, y, self

    def __call__(self, y: Any, y_pred: Any) -> Any:
        """Return a weight for every label: ``(batch,)``, or ``(batch, time)`` for labels of sequences.

        One-hot labels, which have the shape of the predictions, stand for the class of their maximum.
        """
        if isinstance(y, list | Mapping):
            raise ValueError("class_weight: only for models with one output; use sample_weight")
        xp = array_module(y)
        if y.ndim > 1 and y.shape[-1] == 1:
            y = y[..., 0]
        elif y.ndim > 1 and y.shape == y_pred.shape:
            y = y.argmax(axis=-1)
        y = xp.round(y).astype("int64")
        known = sorted(self.weights)
        classes = xp.asarray([*known, 2**62])  # which no label is, so that every one has a place
        weights = xp.asarray([*(self.weights[c] for c in known), 1.0], dtype=y_pred.dtype)
        place = xp.minimum(xp.searchsorted(classes, y), len(known))
        return xp.where(classes[place] == y, weights[place], weights[-1])
