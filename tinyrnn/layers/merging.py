"""Layers that make one tensor of several, and the same as functions: ``add([a, b])`` is ``Add()([a, b])``."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

from tinyrnn import ops
from tinyrnn.backend import EPSILON, array_module
from tinyrnn.layers.base import Layer, is_shape

__all__ = [  # noqa: RUF022 - in the order of the file
    "Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate", "Dot",
    "add", "subtract", "multiply", "average", "maximum", "minimum", "concatenate", "dot",
]  # fmt: skip


class _Merge(Layer):
    """Base of layers on a list of inputs that fit together."""

    supports_masking = True

    def check_input(self, shape: Any) -> None:
        """Require a list of inputs, and ask `compute_output_shape` whether they fit."""
        if is_shape(shape) or not shape:
            raise ValueError(f"{self.name}: expected a list of inputs, found shape {shape}")
        self.compute_output_shape(shape)

    def _misfit(self, why: str, shapes: Sequence[tuple]) -> ValueError:
        return ValueError(f"{self.name}: {why}, found shapes {', '.join(map(str, shapes))}")


# --- element by element -----------------------------------------------------------------------------------


class _Elementwise(_Merge):
    """Base of merging element by element; lengths of 1, and axes missing after the batch's, broadcast.

    The output is masked where all inputs are; it has no mask if one of them has none.
    """

    needs_floats = True

    def compute_output_shape(self, input_shape: Sequence[tuple]) -> tuple:
        """Return the shape to which all inputs broadcast."""
        n_axes = max(map(len, input_shape))
        batch, *others = zip(*(_with_axes(shape, n_axes) for shape in input_shape), strict=True)
        if len(set(batch) - {None}) > 1:
            raise self._misfit("expected one batch size", input_shape)
        if any(len(set(lengths) - {None, 1}) > 1 for lengths in others):
            raise self._misfit("expected shapes that broadcast", input_shape)
        sizes = [n for n in batch if n is not None]
        return (sizes[0] if sizes else None, *(None if None in ns else max(ns) for ns in others))

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """Return True where one of the masks is."""
        if mask is None or any(m is None for m in mask):
            return None
        return functools.reduce(operator.or_, mask)

    def call(self, inputs: Any, mask: Any = None) -> Any:
        """Merge."""
        n_axes = max(len(x.shape) for x in inputs)
        if mask is None or any(len(x.shape) < n_axes for x in inputs):
            masks = [None] * len(inputs)
        else:
            masks = [m if m is None else m.reshape(m.shape + (1,) * (n_axes - m.ndim)) for m in mask]
        return self.merge([_expand(x, n_axes) for x in inputs], masks)

    def merge(self, inputs: list, masks: list) -> Any:
        """Merge inputs of one rank, whose masks broadcast to them or are None."""
        raise NotImplementedError(f"{type(self).__name__}: a merging layer defines merge(inputs, masks)")


def _with_axes(shape: tuple, n_axes: int) -> tuple:
    return (*shape[:1], *(1,) * (n_axes - len(shape)), *shape[1:])


def _expand(x: Any, n_axes: int) -> Any:
    return x if len(x.shape) == n_axes else ops.reshape(x, shape=_with_axes(x.shape, n_axes))


class Add(_Elementwise):
    """The sum of the inputs."""

    def merge(self, inputs: list, masks: list) -> Any:
        """Add."""
        return functools.reduce(ops.add, inputs)


class Subtract(_Elementwise):
    """The first of two inputs minus the second."""

    def compute_output_shape(self, input_shape: Sequence[tuple]) -> tuple:
        """Return the shape to which both inputs broadcast."""
        if len(input_shape) != 2:
            raise self._misfit("expected two inputs", input_shape)
        return super().compute_output_shape(input_shape)

    def merge(self, inputs: list, masks: list) -> Any:
        """Subtract."""
        return inputs[0] - inputs[1]


class Multiply(_Elementwise):
    """The product of the inputs; a masked one counts as 1, and where all are masked the output is 0."""

    def merge(self, inputs: list, masks: list) -> Any:
        """Multiply."""
        factors = [x if m is None else ops.where(m, x, 1.0) for x, m in zip(inputs, masks, strict=True)]
        y = functools.reduce(ops.multiply, factors)
        mask = self.compute_mask(inputs, masks)
        return y if mask is None else ops.where(mask, y, 0.0)


class Average(_Elementwise):
    """The mean of the inputs."""

    def merge(self, inputs: list, masks: list) -> Any:
        """Average."""
        return functools.reduce(ops.add, inputs) / float(len(inputs))


class _Extremum(_Elementwise):
    """Base of the larger and the smaller; of an input that is masked the other one is taken."""

    choose: Callable

    def merge(self, inputs: list, masks: list) -> Any:
        """Choose, one input after the other."""
        y, valid = inputs[0], masks[0]
        for x, mask in zip(inputs[1:], masks[1:], strict=True):
            if mask is not None:
                x = ops.where(mask, x, y)
            if valid is not None:
                y = ops.where(valid, y, x)
            valid = None if mask is None or valid is None else mask | valid
            y = type(self).choose(y, x)
        return y


class Maximum(_Extremum):
    """The largest of the inputs, of those that are not masked."""

    choose = ops.maximum


class Minimum(_Extremum):
    """The smallest of the inputs, of those that are not masked."""

    choose = ops.minimum


# --- concatenation and products ---------------------------------------------------------------------------


class Concatenate(_Merge):
    """The inputs one after the other along an axis.

    Along time the masks are concatenated too, True for an input that has none. Along features a step of
    the output is masked where it is in all inputs.

    Parameters
    ----------
    axis : int
        Not the batch axis.
    """

    def __init__(self, axis: int = -1, **kwargs: Any):
        super().__init__(**kwargs)
        self.axis = axis

    def compute_output_shape(self, input_shape: Sequence[tuple]) -> tuple:
        """Return the shape with the lengths along `axis` added up."""
        n_axes = len(input_shape[0])
        if any(len(shape) != n_axes for shape in input_shape) or not -n_axes <= self.axis < n_axes:
            raise self._misfit(f"expected inputs of one rank with an axis {self.axis}", input_shape)
        result = []
        for axis, lengths in enumerate(zip(*input_shape, strict=True)):
            known = [n for n in lengths if n is not None]
            if axis == self.axis % n_axes:
                result.append(sum(known) if len(known) == len(lengths) else None)
            elif len(set(known)) > 1:
                raise self._misfit(f"expected equal lengths but along axis {self.axis}", input_shape)
            else:
                result.append(known[0] if known else None)
        return tuple(result)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """Return the masks concatenated, or True where one of them is."""
        given = [m for m in mask or [] if m is not None]
        if not given:
            return None
        ones = array_module(given[0]).ones
        n_axes = given[0].ndim
        masks = [ones(x.shape[:n_axes], bool) if m is None else m for x, m in zip(inputs, mask, strict=True)]
        axis = self.axis % len(inputs[0].shape)
        return ops.concatenate(masks, axis=axis) if axis < n_axes else functools.reduce(operator.or_, masks)

    def call(self, inputs: Any) -> Any:
        """Concatenate."""
        return ops.concatenate(inputs, axis=self.axis)


class Dot(_Merge):
    """The sum of products along one axis of each of two inputs, sample by sample.

    ``(B, ..., d, ...)`` and ``(B, ..., d, ...)`` give ``(B, ...)`` with the other axes of the first and then
    those of the second, or ``(B, 1)`` if there are none. The output has no mask.

    Parameters
    ----------
    axes : int or pair of int
        The axis ``d`` of both or of each; not the batch axis.
    normalize : bool
        Divide both by their length along that axis: the result is the cosine of the angle.
    """

    needs_floats = True

    def __init__(self, axes: int | Sequence[int], normalize: bool = False, **kwargs: Any):
        super().__init__(**kwargs)
        pair = (axes, axes) if isinstance(axes, int) else axes
        if not isinstance(pair, list | tuple) or [type(a) for a in pair] != [int, int] or 0 in pair:
            raise ValueError(f"Dot: axes: expected one or two axes other than 0, found {axes!r}")
        self.axes = axes
        self.normalize = normalize

    def _axes(self, shapes: Sequence[tuple]) -> tuple[int, int]:
        """Return the two axes counted from 0."""
        pair = (self.axes, self.axes) if isinstance(self.axes, int) else self.axes
        if len(shapes) != 2 or any(not -len(s) < a < len(s) for a, s in zip(pair, shapes, strict=True)):
            raise self._misfit(f"expected two inputs with axes {self.axes}", shapes)
        return pair[0] % len(shapes[0]), pair[1] % len(shapes[1])

    def compute_output_shape(self, input_shape: Sequence[tuple]) -> tuple:
        """Return the other axes of both inputs."""
        a, b = self._axes(input_shape)
        x, y = input_shape
        if any(None not in pair and pair[0] != pair[1] for pair in ((x[a], y[b]), (x[0], y[0]))):
            raise self._misfit(f"expected equal lengths of the batch and of axes {a} and {b}", input_shape)
        lengths = [n for axis, n in enumerate(x) if axis not in (0, a)]
        lengths += [n for axis, n in enumerate(y) if axis not in (0, b)]
        return (x[0], *(lengths or [1]))

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        """Return None."""
        return None

    def call(self, inputs: Any) -> Any:
        """Multiply."""
        x, y = inputs
        a, b = self._axes([x.shape, y.shape])
        if self.normalize:
            norms = [ops.norm(v, axis=i, keepdims=True) for v, i in ((x, a), (y, b))]
            x, y = (v / ops.maximum(n, EPSILON) for v, n in zip((x, y), norms, strict=True))
        d = x.shape[a]
        x = ops.transpose(x, axes=(*(i for i in range(len(x.shape)) if i != a), a))
        y = ops.transpose(y, axes=(0, b, *(i for i in range(1, len(y.shape)) if i != b)))
        x = ops.reshape(x, shape=(x.shape[0], math.prod(x.shape[1:-1]), d))
        y = ops.reshape(y, shape=(y.shape[0], d, math.prod(y.shape[2:])))
        return ops.reshape(ops.matmul(x, y), shape=self.compute_output_shape([v.shape for v in inputs]))


# --- as functions -----------------------------------------------------------------------------------------


def add(inputs: Sequence, **kwargs: Any) -> Any:
    """Return the sum of the inputs."""
    return Add(**kwargs)(inputs)


def subtract(inputs: Sequence, **kwargs: Any) -> Any:
    """Return the first of two inputs minus the second."""
    return Subtract(**kwargs)(inputs)


def multiply(inputs: Sequence, **kwargs: Any) -> Any:
    """Return the product of the inputs."""
    return Multiply(**kwargs)(inputs)


def average(inputs: Sequence, **kwargs: Any) -> Any:
    """Return the mean of the inputs."""
    return Average(**kwargs)(inputs)


def maximum(inputs: Sequence, **kwargs: Any) -> Any:
    """Return the largest of the inputs."""
    return Maximum(**kwargs)(inputs)


def minimum(inputs: Sequence, **kwargs: Any) -> Any:
    """Return the smallest of the inputs."""
    return Minimum(**kwargs)(inputs)


def concatenate(inputs: Sequence, axis: int = -1, **kwargs: Any) -> Any:
    """Return the inputs one after the other along an axis."""
    return Concatenate(axis=axis, **kwargs)(inputs)


def dot(inputs: Sequence, axes: int | Sequence[int] = -1, **kwargs: Any) -> Any:
    """Return the sum of products along one axis of each of two inputs."""
    return Dot(axes=axes, **kwargs)(inputs)
