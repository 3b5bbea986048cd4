"""What every metric shares: reading batches, keeping sums.

On a GPU the sums stay there, and so does what `result` makes of them: an array that becomes a number when
somebody reads it (``float(metric.result())``), so that no training step waits for one.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinyrnn import ops
from tinyrnn.autograd import Tensor
from tinyrnn.backend import array_module, number, on_device, placed
from tinyrnn.losses import joint_mask, merge_weights
from tinyrnn.naming import Configurable, snake_case

__all__ = ["Mean", "Metric", "Sum", "as_array", "quotient", "weigh"]


def as_array(x: Any, dtype: Any = None) -> Any:
    """Return `x` as an array, of `dtype` if given; one of the host on the current device."""
    array = ops.to_array(x) if hasattr(x, "dtype") else Tensor(x).data
    array = placed(array_module(array).asarray(array))
    return array if dtype is None else array.astype(dtype, copy=False)


def weigh(values: Any, sample_weight: Any, mask: Any) -> Any:
    """Return weights and mask merged, ones if there are neither; float64 in the shape of `values`."""
    weight = merge_weights(values.astype("float64", copy=False), sample_weight, mask)
    return array_module(values).ones(values.shape) if weight is None else weight


def quotient(a: Any, b: Any) -> Any:
    """Return ``a / b``, and 0 where b is 0, of two numbers or arrays of one."""
    if on_device(b):
        return array_module(b).where(b == 0, 0.0, a / b)
    return a / b if b else 0.0


class Metric(Configurable):
    """Base of metrics: a subclass writes `update_state`, `result` and `reset_state`.

    Parameters
    ----------
    dtype : str, optional
        Float type in which predictions are compared; unless given the type they have.
    name : str, optional
        The key in a history; the class's name in snake case unless given.

    Attributes
    ----------
    direction : {"min", "max", None}
        Which way is better, for callbacks that watch a metric; None if it cannot be known.
    """

    direction: str | None = None

    def __init__(self, dtype: str | None = None, name: str | None = None):
        self.dtype = dtype
        self.name = name or snake_case(type(self).__name__)

    def update_state(self, *args: Any, **kwargs: Any) -> None:
        """Take in a batch."""
        raise NotImplementedError(f"{type(self).__name__}: a metric must define update_state")

    def result(self) -> Any:
        """Return the value so far, a float or an array of them; on a GPU always an array of it."""
        raise NotImplementedError(f"{type(self).__name__}: a metric must define result")

    def reset_state(self) -> None:
        """Forget all batches."""
        raise NotImplementedError(f"{type(self).__name__}: a metric must define reset_state")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Take in a batch and return the value so far."""
        self.update_state(*args, **kwargs)
        return self.result()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}>"


class Sum(Metric):
    """The sum of all values, each times its weight."""

    def __init__(self, name: str | None = None, dtype: str | None = None):
        super().__init__(dtype, name)
        self.reset_state()

    def update_state(self, values: Any, sample_weight: Any = None) -> None:
        """Add `values`, an array or a number; `sample_weight` fits their leading axes."""
        mask, values = joint_mask(values), as_array(values, "float64")
        self.total = self.total + number((values * weigh(values, sample_weight, mask)).sum())

    def result(self) -> float:
        """Return the sum."""
        return self.total

    def reset_state(self) -> None:
        """Start from 0."""
        self.total = 0.0


class Mean(Metric):
    """The weighted mean of all values; 0 before there are any.

    Every sample counts once however many values it has, as in Keras: over batches of sequences of different
    length the mean is not the one over all time steps.
    """

    def __init__(self, name: str | None = None, dtype: str | None = None):
        super().__init__(dtype, name)
        self.reset_state()

    def update_state(self, values: Any, sample_weight: Any = None) -> None:
        """Take in `values`, an array or a number; `sample_weight` fits their leading axes."""
        self._add(as_array(values, "float64"), sample_weight, joint_mask(values))

    def _add(self, values, sample_weight, mask):
        weight = merge_weights(values, sample_weight, mask)
        axes = sample_weight.ndim if hasattr(sample_weight, "ndim") else np.ndim(sample_weight)
        one_weight = sample_weight is not None and axes == 0  # the batch is one sample
        per_sample = math.prod(values.shape if one_weight else values.shape[1:])
        if weight is None:
            total, count = number(values.sum()), float(values.size)
        else:
            total, count = number((values * weight).sum()), number(weight.sum())
        if per_sample != 1:
            total, count = total / per_sample, count / per_sample
        self.total, self.count = self.total + total, self.count + count

    def result(self) -> float:
        """Return the mean."""
        return quotient(self.total, self.count)

    def reset_state(self) -> None:
        """Forget all values."""
        self.total = 0.0
        self.count = 0.0
