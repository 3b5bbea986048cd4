"""An optimizer's rule as formulas, from which the compiled updates of the CPU and of the GPU are made.

A rule is arithmetic on every element alike, so it is run once on symbols (`tinyrnn.formulas`), as a cell's
step is. The optimizer's numbers are symbols too: another learning rate or decay needs no new code. What is
computed of these numbers alone is computed in double precision, as NumPy does with Python's floats.
"""

from __future__ import annotations

import copy
from collections.abc import Collection
from typing import Any

import numpy as np

from tinyrnn.autograd import Tensor, no_grad
from tinyrnn.formulas import ARITHMETIC, Expr, TraceError, symbol, visit

__all__ = ["TracedRule", "is_number"]


def is_number(value: Any) -> bool:
    """Return whether an attribute of an optimizer is an argument of its update: a float."""
    return isinstance(value, float | np.floating)


class TracedRule:
    """The formulas of an optimizer's `update`.

    Parameters
    ----------
    optimizer : Optimizer
    coefficients : float or tuple of float
        What the optimizer's `coefficients` returns: here only its form counts.
    slots : collection of str

    Attributes
    ----------
    step : Expr
        What is subtracted from a weight, in the symbols ``g``, ``s_`` + name of a slot, and ``n_0``,
        ``n_1``, ... for the optimizer's numbers.
    new : dict of str to Expr
        The new values of slots.
    of_numbers : list of Expr
        The largest formulas in these that hold nothing but the optimizer's numbers.

    Raises
    ------
    TraceError
        If the rule is not elementwise arithmetic.
    """

    def __init__(self, optimizer: Any, coefficients: Any, slots: Collection[str]):
        self._names = [name for name, value in vars(optimizer).items() if is_number(value)]
        self.step, self.new = _trace(optimizer, self._names, coefficients, slots)
        self.of_numbers = _of_numbers_alone([self.step, *self.new.values()])

    @property
    def used_numbers(self) -> list[int]:
        """Which of the numbers the formulas hold, in order."""
        return sorted({int(e.args[0][2:]) for e in visit(self.of_numbers) if e.is_symbol})

    def numbers(self, optimizer: Any, coefficients: Any) -> list[float]:
        """Return the values of ``n_0``, ``n_1``, ..."""
        found = [getattr(optimizer, name) for name in self._names]
        return found + (list(coefficients) if isinstance(coefficients, tuple) else [coefficients])


def _trace(
    optimizer: Any, names: list[str], coefficients: Any, slots: Collection[str]
) -> tuple[Any, dict[str, Any]]:
    """Return the formulas of the step and of the new slots."""
    table: dict = {}

    def tensor(name: str) -> Tensor:
        return Tensor(symbol(table, name))

    stand_in = copy.copy(optimizer)
    vars(stand_in).update({name: tensor(f"n_{k}") for k, name in enumerate(names)})
    if isinstance(coefficients, tuple):
        c = tuple(tensor(f"n_{len(names) + k}") for k in range(len(coefficients)))
    else:
        c = tensor(f"n_{len(names)}")
    with no_grad():
        step, new = stand_in.update(tensor("g"), c, **{name: tensor(f"s_{name}") for name in slots})
    results = {name: new.get(name, None) for name in slots}
    for value in (step, *new.values()):
        if not isinstance(value, Tensor) or not isinstance(value.data, Expr):
            raise TraceError(f"{type(optimizer).__name__}.update: expected tensors, found {value!r}")
    return step.data, {name: value.data for name, value in results.items() if value is not None}


def _of_numbers_alone(roots: list) -> list[Expr]:
    alone: dict[int, bool] = {}
    found: dict[int, Expr] = {}
    for e in visit(roots):
        if e.is_symbol:
            alone[id(e)] = e.args[0].startswith("n_")
            continue
        parts = [a for a in e.args if isinstance(a, Expr)]
        alone[id(e)] = e.op in ARITHMETIC and all(alone[id(a)] for a in parts)
        if not alone[id(e)]:
            found |= {id(a): a for a in parts if alone[id(a)]}
    return list(found.values())
