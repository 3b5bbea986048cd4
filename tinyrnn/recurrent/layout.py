"""Where the compiled loop keeps the values of a cell: columns of pre-activations, slots of the tape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tinyrnn.formulas import Expr, visit
from tinyrnn.recurrent.cells import Cell
from tinyrnn.recurrent.trace import Stage, Trace, names

__all__ = ["Layout", "Slots", "lay_out"]


@dataclass(frozen=True)
class Slots:
    """The slots of the tape for the values that one stage saves, by formula and in order."""

    first: int
    saved: tuple[Expr, ...]

    @property
    def stop(self) -> int:
        """The slot after the last."""
        return self.first + len(self.saved)


@dataclass(frozen=True)
class Layout:
    """Where a cell's values are.

    Attributes
    ----------
    columns : tuple of (symbol, ...)
        The symbols whose sum each column holds: ``("x_i", "r_i")``, or one of them alone.
    groups : tuple of (first, count, of the input, of the state, late)
        Neighbouring columns that are multiplied alike.
    step, late : Slots
        Of what `step` and `late_input` save.
    late_slot : int
        Of what the late gates' kernel multiplies; -1 without.
    states : dict of str to int
        Slots of the states before the step that the way back needs, without the first.
    slots : int
        How many the tape has.
    """

    columns: tuple[tuple[str, ...], ...]
    groups: tuple[tuple[int, int, bool, bool, bool], ...]
    step: Slots
    late: Slots
    late_slot: int
    states: dict[str, int]
    slots: int

    def column(self, symbol: str) -> int | None:
        """Return the column that holds a pre-activation; None if the cell does not use it."""
        return next((k for k, symbols in enumerate(self.columns) if symbol in symbols), None)

    def gate_numbers(self, cell: Cell) -> list[int]:
        """Return for each column the number of its gate."""
        return [cell.gates.index(symbols[0][2:]) for symbols in self.columns]


def lay_out(cell: Cell, formulas: Trace) -> Layout:
    """Return the layout of a cell."""
    stages = [formulas.step] + ([formulas.late] if formulas.late else [])
    alone, used = _pre_activations(stages)
    groups, columns = [], []
    early = [g for g in cell.gates if g not in cell.late_gates]
    for kind, gates, is_late in (
        ("xr", early, False), ("x", cell.gates, False), ("r", early, False),
        ("xr", cell.late_gates, True), ("r", cell.late_gates, True),
    ):  # fmt: skip
        found = []
        for gate in gates:
            symbols = (f"x_{gate}", f"r_{gate}")
            apart = bool(alone.intersection(symbols))
            if kind == "xr" and not apart and used.intersection(symbols):
                found.append(symbols)
            elif kind != "xr" and apart and f"{kind}_{gate}" in used:
                found.append((f"{kind}_{gate}",))
        if found:
            groups.append((len(columns), len(found), "x" in kind, "r" in kind, is_late))
            columns += found
    step = Slots(0, formulas.step.saved)
    late = Slots(step.stop, formulas.late.saved if formulas.late else ())
    late_slot = late.stop if formulas.late else -1
    first_state = late.stop + (formulas.late is not None)
    needed = _symbols(e for stage in stages for e in stage.gradients.values())
    kept = [s for s in names("s", cell.states[1:]) if s in needed]
    states = {name: first_state + k for k, name in enumerate(kept)}
    slots = first_state + len(kept)
    return Layout(tuple(columns), tuple(groups), step, late, late_slot, states, slots)


def _pre_activations(stages: list[Stage]) -> tuple[set[str], set[str]]:
    """Return the pre-activations that occur otherwise than in the sum of a gate's two, and all that occur."""
    roots = [e for stage in stages for e in (*stage.outputs, *stage.saved)]
    alone, used = set(), set()
    for e in visit(roots):
        used |= _symbols([e]) if e.is_symbol else set()
        if not e.is_symbol and not is_joint(e):
            alone |= {a.args[0] for a in e.args if isinstance(a, Expr) and a.is_symbol}
    return alone | {e.args[0] for e in roots if isinstance(e, Expr) and e.is_symbol}, used


def _symbols(formulas: Any) -> set[str]:
    return {e.args[0] for e in visit(formulas) if e.is_symbol}


def is_joint(e: Expr) -> bool:
    """Whether a formula is the sum of a gate's two pre-activations."""
    if e.op != "add" or not all(isinstance(a, Expr) and a.is_symbol for a in e.args):
        return False
    prefixes, gates = zip(*((a.args[0][:2], a.args[0][2:]) for a in e.args), strict=True)
    return set(prefixes) == {"x_", "r_"} and gates[0] == gates[1]
