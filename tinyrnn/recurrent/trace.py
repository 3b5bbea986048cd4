"""From a cell's text to formulas: of its step, and of the step's derivative.

`step` is run once on symbols instead of numbers. What comes out are expressions; the package's own
reverse mode, run on these, gives the expressions of backpropagation through time. There is no second
differentiator.

What the way back needs from the way forward is chosen so that it computes no transcendental function
again: outputs of functions are saved, plain arithmetic on saved values, states and parameters is
repeated, and what depends on a bare pre-activation is saved itself.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from tinyrnn.autograd import Tensor, enable_grad, grad
from tinyrnn.formulas import ARITHMETIC, FUNCTIONS, Expr, TraceError, symbol, visit
from tinyrnn.recurrent.cells import Cell, Names

__all__ = ["Stage", "Trace", "names", "per_cell", "trace"]


@dataclass(frozen=True)
class Stage:
    """The formulas of one function of a cell, `step` or `late_input`.

    Attributes
    ----------
    outputs : tuple of Expr
        What it computes, in the symbols ``x_ r_ s_ p_`` + name.
    saved : tuple of Expr
        What the way back needs beside states and parameters.
    gradients : dict of str to Expr
        By the name of the symbol that the gradient belongs to, in terms of `saved`, of ``s_`` and ``p_``
        symbols, and of ``d_0``, ``d_1``, ..., the gradients of `outputs`. Zeros are absent.
    """

    outputs: tuple
    saved: tuple
    gradients: dict


@dataclass(frozen=True)
class Trace:
    """The formulas of a cell: those of its step, and of its late input if it has one."""

    step: Stage
    late: Stage | None


def names(prefix: str, of: Iterable[str]) -> list[str]:
    """Return the symbols for gates, states or parameters."""
    return [f"{prefix}_{name}" for name in of]


def trace(cell: Cell) -> Trace:
    """Return the formulas of `cell`.

    Raises
    ------
    TraceError
        If a function of the cell is more than elementwise arithmetic; says which operation was met.
    """
    early = tuple(g for g in cell.gates if g not in cell.late_gates)
    with enable_grad():  # a cell may run for the first time in a prediction
        step = _trace_function(cell, cell.step, cell.gates, len(cell.states))
        late = _trace_function(cell, cell.late_input, early, 1) if cell.late_gates else None
    return Trace(step, late)


def _trace_function(cell: Cell, function: Any, gates: Sequence[str], n_outputs: int) -> Stage:
    table: dict = {}

    def namespace(prefix, of):
        return Names(**{n: Tensor(symbol(table, f"{prefix}_{n}"), requires_grad=True) for n in of})

    x, r = namespace("x", gates), namespace("r", gates)
    s, p = namespace("s", cell.states), namespace("p", cell.params)
    inputs = [t for space in (x, r, s, p) for t in vars(space).values()]
    outputs = function(x, r, s, p)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    name = f"{type(cell).__name__}.{function.__name__}"
    if len(outputs) != n_outputs:
        raise ValueError(f"{name}: expected {n_outputs} results, found {len(outputs)}")
    for y in outputs:
        if not isinstance(y, Tensor):
            raise TraceError(f"{name}: expected tensors computed from x, r, s and p, found {y!r}")
    seeds = [Tensor(symbol(table, f"d_{i}")) for i in range(n_outputs)]
    found = grad(outputs, inputs, seeds)
    gradients = {repr(t.data): g.data for t, g in zip(inputs, found, strict=True) if isinstance(g.data, Expr)}
    return Stage(tuple(t.data for t in outputs), tuple(_saved(gradients.values())), gradients)


def per_cell(derive: Callable[[Cell], Any]) -> Callable[[Cell], Any]:
    """Derive something from a cell once, and again when the cell was changed (a decorator)."""
    known: WeakKeyDictionary[Cell, tuple[int, Any]] = WeakKeyDictionary()

    @functools.wraps(derive, updated=())
    def find(cell: Cell) -> Any:
        changes, found = known.get(cell, (-1, None))
        if changes != cell.changes:
            found = derive(cell)
            known[cell] = cell.changes, found
        return found

    return find


# --- what to save -----------------------------------------------------------------------------------------


def _saved(gradients: Iterable[Expr]) -> list[Expr]:
    """Return the formulas of the way forward that the way back should find saved."""
    order = list(visit(gradients))
    incoming: set[int] = set()  # depends on a gradient: belongs to the way back
    bare: set[int] = set()  # depends on a pre-activation by arithmetic alone: cannot be repeated
    for e in order:
        if e.is_symbol:
            if e.args[0].startswith("d_"):
                incoming.add(id(e))
            elif e.args[0].startswith(("x_", "r_")):
                bare.add(id(e))
        elif any(id(a) in incoming for a in e.args):
            incoming.add(id(e))
        elif e.op in ARITHMETIC and any(id(a) in bare for a in e.args):
            bare.add(id(e))
    saved: dict[int, Expr] = {}
    pending = [e for e in order if id(e) not in incoming and _used_by_way_back(e, order, incoming)]
    while pending:
        e = pending.pop()
        if id(e) in bare or e.op in FUNCTIONS:
            saved[id(e)] = e
        elif not e.is_symbol:
            pending.extend(a for a in e.args if isinstance(a, Expr))
    return [e for e in order if id(e) in saved]


def _used_by_way_back(e: Expr, order: list[Expr], incoming: set[int]) -> bool:
    return any(id(user) in incoming and any(a is e for a in user.args) for user in order)
