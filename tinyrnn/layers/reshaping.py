"""Layers that arrange the same values in another shape. They know nothing of masks and drop them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinyrnn import ops
from tinyrnn.layers.base import Layer, positive_int

__all__ = ["Flatten", "Permute", "RepeatVector", "Reshape"]


class RepeatVector(Layer):
    """Repeat a vector as the steps of a sequence, ``(B, F)`` to ``(B, n, F)``.

    Parameters
    ----------
    n : int
        Number of time steps.

    Notes
    -----
    The repeated steps share their memory: the output is a read-only view.
    """

    input_ndim = 2
    input_layout = "(batch, features)"

    def __init__(self, n: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.n = positive_int(self, "n", n)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        """Return ``(B, n, F)``."""
        return (input_shape[0], self.n, input_shape[1])

    def call(self, inputs: Any) -> Any:
        """Repeat."""
        return ops.broadcast_to(
            ops.expand_dims(inputs, axis=1), shape=self.compute_output_shape(inputs.shape)
        )


class Reshape(Layer):
    """Give each sample another shape.

    Parameters
    ----------
    target_shape : sequence of int
        Without the batch axis; one length may be -1, which stands for what is left.

    Raises
    ------
    ValueError
        For more than one -1 or other negative lengths; at the call, if the sizes differ.
    """

    def __init__(self, target_shape: Sequence[int], **kwargs: Any):
        super().__init__(**kwargs)
        self.target_shape = tuple(target_shape)
        lengths = all(isinstance(n, int | np.integer) and n >= -1 for n in self.target_shape)
        if not lengths or self.target_shape.count(-1) > 1:
            raise ValueError(
                "Reshape: target_shape: expected lengths from 0 on and at most one -1, "
                f"found {self.target_shape}"
            )

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        """Return the target shape, its -1 resolved where the input's lengths are known."""
        target, lengths = self.target_shape, input_shape[1:]
        if None in lengths:
            return (input_shape[0], *(None if n == -1 else n for n in target))
        size, known = math.prod(lengths), math.prod(n for n in target if n != -1)
        if -1 in target and known:
            target = tuple(size // known if n == -1 else n for n in target)
        if math.prod(target) != size:
            raise ValueError(
                f"{self.name}: {size} values per sample, found in an input of shape {input_shape}, "
                f"cannot take the shape {self.target_shape}"
            )
        return (input_shape[0], *target)

    def call(self, inputs: Any) -> Any:
        """Reshape."""
        return ops.reshape(inputs, shape=self.compute_output_shape(inputs.shape))


class Flatten(Layer):
    """Make one axis of all but the batch axis, ``(B, ...)`` to ``(B, N)``.

    Parameters
    ----------
    data_format : {"channels_last", "channels_first"}, optional
        With ``"channels_first"`` axis 1 is moved to the end before; ``"channels_last"`` by default.
    """

    min_ndim = 1
    input_layout = "(batch, ...)"

    def __init__(self, data_format: str | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.data_format = check_data_format(self, data_format)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        """Return ``(B, N)``."""
        lengths = input_shape[1:]
        return (input_shape[0], None if None in lengths else math.prod(lengths))

    def call(self, inputs: Any) -> Any:
        """Flatten."""
        shape = self.compute_output_shape(inputs.shape)
        if self.data_format == "channels_first" and len(inputs.shape) > 2:
            inputs = ops.transpose(inputs, axes=(0, *range(2, len(inputs.shape)), 1))
        return ops.reshape(inputs, shape=shape)


def check_data_format(owner: Layer, value: str | None) -> str:
    """Return the order of the axes, ``"channels_last"`` for None; a ValueError for what is none."""
    if value not in (None, "channels_last", "channels_first"):
        raise ValueError(
            f"{type(owner).__name__}: data_format: expected 'channels_last' or 'channels_first', "
            f"found {value!r}"
        )
    return value or "channels_last"


class Permute(Layer):
    """Put the axes in another order.

    Parameters
    ----------
    dims : sequence of int
        The input's axes in their new order, counted from 1; the batch axis stays: ``(2, 1)`` exchanges time
        and features.
    """

    def __init__(self, dims: Sequence[int], **kwargs: Any):
        super().__init__(**kwargs)
        self.dims = tuple(dims)
        if sorted(self.dims) != list(range(1, len(self.dims) + 1)):
            raise ValueError(f"Permute: dims: expected 1 ... n in some order, found {self.dims}")
        self.input_ndim = len(self.dims) + 1

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        """Return the shape in the new order."""
        return (input_shape[0], *(input_shape[d] for d in self.dims))

    def call(self, inputs: Any) -> Any:
        """Permute."""
        return ops.transpose(inputs, axes=(0, *self.dims))
