"""Constraints: what weights are brought back to after each update.

The norms are taken along `axis`: for a kernel ``(inputs, units)``, axis 0 constrains the weights that
lead into each unit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tinyrnn.backend import EPSILON, array_module
from tinyrnn.naming import Configurable, by_name, lookup

__all__ = [  # noqa: RUF022 - in the order of the file
    "Constraint", "NonNeg", "UnitNorm", "MinMaxNorm", "MaxNorm", "get",
    "non_neg", "unit_norm", "min_max_norm", "max_norm",
]  # fmt: skip


class Constraint(Configurable):
    """Base of constraints: define `__call__`."""

    def __call__(self, w: Any) -> Any:
        """Return the array nearest to `w`, in some sense, that fulfils the constraint; `w` is kept."""
        raise NotImplementedError(f"{type(self).__name__}: a constraint defines __call__(w)")


def _norms(w: Any, axis: int | Sequence[int]) -> Any:
    xp = array_module(w)
    return xp.sqrt(xp.sum(w * w, axis=axis if isinstance(axis, int) else tuple(axis), keepdims=True))


class NonNeg(Constraint):
    """No negative weights: ``max(w, 0)``."""

    def __call__(self, w: Any) -> Any:
        """Return `w` with 0 for what is negative."""
        return array_module(w).maximum(w, 0)


class UnitNorm(Constraint):
    """Vectors of length one: ``w / (1e-7 + norm)``.

    Parameters
    ----------
    axis : int or sequence of int
        Along which a vector lies.
    """

    def __init__(self, axis: int | Sequence[int] = 0):
        self.axis = axis

    def __call__(self, w: Any) -> Any:
        """Return `w`, its vectors of norm one (those that are 0 stay 0)."""
        return w / (EPSILON + _norms(w, self.axis))


class MinMaxNorm(Constraint):
    """Vectors whose length lies between two bounds.

    ``w * (rate * clip(norm, min_value, max_value) + (1 - rate) * norm) / (1e-7 + norm)``

    Parameters
    ----------
    min_value, max_value : float
    rate : float
        1 enforces the bounds; less moves the length that part of the way in each step.
    axis : int or sequence of int
        Along which a vector lies.
    """

    def __init__(
        self,
        min_value: float = 0.0,
        max_value: float = 1.0,
        rate: float = 1.0,
        axis: int | Sequence[int] = 0,
    ):
        self.min_value = min_value
        self.max_value = max_value
        self.rate = rate
        self.axis = axis

    def __call__(self, w: Any) -> Any:
        """Return `w`, its vectors rescaled."""
        norms = _norms(w, self.axis)
        desired = self.rate * norms.clip(self.min_value, self.max_value) + (1 - self.rate) * norms
        return w * (desired / (EPSILON + norms))


class MaxNorm(MinMaxNorm):
    """Vectors no longer than `max_value`: ``w * clip(norm, 0, max_value) / (1e-7 + norm)``.

    Parameters
    ----------
    max_value : float
    axis : int or sequence of int
        Along which a vector lies.
    """

    def __init__(self, max_value: float = 2, axis: int | Sequence[int] = 0):
        super().__init__(0.0, max_value, axis=axis)


# --- names ------------------------------------------------------------------------------------------------

non_neg, unit_norm, min_max_norm, max_norm = NonNeg, UnitNorm, MinMaxNorm, MaxNorm

_TABLE = by_name(NonNeg, UnitNorm, MinMaxNorm, MaxNorm)


def get(identifier: Any) -> Callable | None:
    """Return the constraint that `identifier` stands for.

    Parameters
    ----------
    identifier : None, str, dict, class or callable
        A name, what `get_config` made, a constraint, or any function of an array that returns one of
        the same shape.

    Raises
    ------
    ValueError
        For an unknown name, with the nearest known one.
    """
    return lookup("constraint", identifier, _TABLE)
