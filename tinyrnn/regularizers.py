"""Regularizers: penalties on weights or outputs that are added to the loss.

They are written in `tinyrnn.ops`: a tensor gives a tensor, whose gradient reaches the weights; an array
gives a number.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from numbers import Real
from typing import Any

from tinyrnn import ops
from tinyrnn.backend import EPSILON, array_module
from tinyrnn.naming import Configurable, lookup

__all__ = [  # noqa: RUF022 - in the order of the file
    "Regularizer", "L1", "L2", "L1L2", "OrthogonalRegularizer", "get",
    "l1", "l2", "l1_l2", "orthogonal_regularizer",
]  # fmt: skip


class Regularizer(Configurable):
    """Base of regularizers: define `__call__`."""

    def __call__(self, x: Any) -> Any:
        """Return the penalty for a tensor or an array, a scalar of its type."""
        raise NotImplementedError(f"{type(self).__name__}: a regularizer defines __call__(x)")


def _factor(owner: Regularizer, name: str, value: Any) -> float:
    if not isinstance(value, Real) or not 0 <= value < math.inf:
        raise ValueError(
            f"{type(owner).__name__}: {name}: expected a finite number from 0 on, found {value!r}"
        )
    return float(value)


class L1(Regularizer):
    """``l1 * sum(|x|)``.

    Parameters
    ----------
    l1 : float
    """

    def __init__(self, l1: float = 0.01):
        self.l1 = _factor(self, "l1", l1)

    def __call__(self, x: Any) -> Any:
        """Return the penalty."""
        return self.l1 * ops.sum(ops.abs(x))


class L2(Regularizer):
    """``l2 * sum(x²)``, without a factor of one half.

    Parameters
    ----------
    l2 : float
    """

    def __init__(self, l2: float = 0.01):
        self.l2 = _factor(self, "l2", l2)

    def __call__(self, x: Any) -> Any:
        """Return the penalty."""
        return self.l2 * ops.sum(ops.square(x))


class L1L2(Regularizer):
    """``l1 * sum(|x|) + l2 * sum(x²)``.

    Parameters
    ----------
    l1, l2 : float
        Nothing by default, so that ``L1L2(l2=0.1)`` is L2 alone. By its name, ``"l1_l2"``, both are 0.01.
    """

    def __init__(self, l1: float = 0.0, l2: float = 0.0):
        self.l1 = _factor(self, "l1", l1)
        self.l2 = _factor(self, "l2", l2)

    def __call__(self, x: Any) -> Any:
        """Return the penalty."""
        return self.l1 * ops.sum(ops.abs(x)) + self.l2 * ops.sum(ops.square(x))


class OrthogonalRegularizer(Regularizer):
    """Ask for rows, or columns, at right angles: `factor` times the mean ``|cos|`` between two of them.

    A single row has nothing to be orthogonal to: 0 (Keras gives NaN).

    Parameters
    ----------
    factor : float
    mode : {"rows", "columns"}

    Raises
    ------
    ValueError
        For another mode, and when called with anything but a matrix.
    """

    def __init__(self, factor: float = 0.01, mode: str = "rows"):
        self.factor = _factor(self, "factor", factor)
        if mode not in ("rows", "columns"):
            raise ValueError(f"OrthogonalRegularizer: mode: expected 'rows' or 'columns', found {mode!r}")
        self.mode = mode

    def __call__(self, x: Any) -> Any:
        """Return the penalty."""
        if len(x.shape) != 2:
            raise ValueError(f"OrthogonalRegularizer: expected a matrix, found the shape {x.shape}")
        rows = x if self.mode == "rows" else ops.transpose(x)
        unit = rows / ops.maximum(ops.norm(rows, axis=1, keepdims=True), EPSILON)
        n = unit.shape[0]
        others = 1 - array_module(ops.to_array(x)).eye(n, dtype=x.dtype)
        # Every pair appears twice in the sum.
        return self.factor / max(n * (n - 1), 1) * ops.sum(ops.abs(ops.matmul(unit, unit.T)) * others)


# --- names ------------------------------------------------------------------------------------------------

l1, l2, l1_l2, orthogonal_regularizer = L1, L2, L1L2, OrthogonalRegularizer

_TABLE = {
    "L1": L1,
    "l1": L1,
    "L2": L2,
    "l2": L2,
    "L1L2": L1L2,
    "l1_l2": L1L2,
    "OrthogonalRegularizer": OrthogonalRegularizer,
    "orthogonal_regularizer": OrthogonalRegularizer,
}


def get(identifier: Any) -> Callable | None:
    """Return the regularizer that `identifier` stands for.

    Parameters
    ----------
    identifier : None, str, dict, class or callable
        A name, what `get_config` made, a regularizer, or any function of a tensor that returns a scalar.

    Raises
    ------
    ValueError
        For an unknown name, with the nearest known one.
    """
    if identifier in ("l1_l2", "L1L2"):  # its constructor's defaults would be no penalty at all
        return L1L2(l1=0.01, l2=0.01)
    return lookup("regularizer", identifier, _TABLE)
