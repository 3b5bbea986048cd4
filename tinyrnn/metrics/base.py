"""What every metric shares: reading batches, keeping sums."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinyrnn import ops
from tinyrnn.autograd import Tensor
from tinyrnn.backend import to_host
from tinyrnn.losses import joint_mask, merge_weights
from tinyrnn.naming import Configurable, snake_case

__all__ = ["Mean", "Metric", "Sum", "host", "weigh"]


def host(x: Any, dtype: Any = None) -> np.ndarray:
    """Return `x` as an array of the host, of `dtype` if given."""
    array = to_host(ops.to_array(x)) if hasattr(x, "dtype") else Tensor(x).data
    return array if dtype is None else array.astype(dtype, copy=False)


def weigh(values: np.ndarray, sample_weight: Any, mask: Any) -> np.ndarray:
    """Return weights and mask merged, ones if there are neither; float64 in the shape of `values`."""
    weight = merge_weights(values.astype("float64", copy=False), sample_weight, mask)
    return np.ones(values.shape) if weight is None else weight


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
        """Return the value so far, a float or an array of them."""
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
        mask, values = joint_mask(values), host(values, "float64")
        self.total += float((values * weigh(values, sample_weight, mask)).sum())

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
        self._add(host(values, "float64"), sample_weight, joint_mask(values))

    def _add(self, values, sample_weight, mask):
        weight = weigh(values, sample_weight, mask)
        one_weight = sample_weight is not None and np.ndim(sample_weight) == 0  # the batch is one sample
        per_sample = math.prod(values.shape if one_weight else values.shape[1:])
        self.total += float((values * weight).sum()) / per_sample
        self.count += float(weight.sum()) / per_sample

    def result(self) -> float:
        """Return the mean."""
        return self.total / self.count if self.count else 0.0

    def reset_state(self) -> None:
        """Forget all values."""
        self.total = 0.0
        self.count = 0.0
