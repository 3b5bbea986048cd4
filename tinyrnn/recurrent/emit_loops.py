"""From formulas to the source of compiled loops: the step of a cell for rows of numbers, and its derivative.

The functions read pre-activations, states and tape through `read` and write through writers, see
`native/memory.py`; around them goes the text of `loop.py`, the same for every cell.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from tinyrnn.formulas import FUNCTIONS, Expr, visit
from tinyrnn.native import WRITERS
from tinyrnn.printing import Printer
from tinyrnn.recurrent.cells import Cell
from tinyrnn.recurrent.layout import Layout, Slots, is_joint
from tinyrnn.recurrent.trace import Stage, Trace, names

__all__ = ["IMPORTS", "NumberPrinter", "emit_loops", "functions_used", "writers_used"]


IMPORTS = """
import numpy as np
from numba import carray

from tinyrnn.native.functions import FUNCTIONS
from tinyrnn.native.jit import *
from tinyrnn.native.memory import *
from tinyrnn.native.product import *
from tinyrnn.native.team import *
""".strip()


class NumberPrinter(Printer):
    """Prints formulas for numbers of one float type: constants too are of that type."""

    @staticmethod
    def _number(x: float) -> str:
        return f"number({x!r})" if isinstance(x, int) else f"number({float(x)!r})"

    @staticmethod
    def _comparison(source: str) -> str:
        return f"number({source})"

    @staticmethod
    def _call(name: str, args: list[str], settings: dict[str, Any]) -> str:
        limits = [NumberPrinter._number(settings[key]) for key in ("low", "high") if key in settings]
        return f"functions_{name}({', '.join(args + limits)})"


def emit_loops(cell: Cell, formulas: Trace, layout: Layout, dtype: str) -> str:
    """Return the source of a module with the compiled loops of a cell: its step and the text of `loop.py`."""
    title = f"{type(cell).__name__} in {dtype}: the loops over time, derived from the cell's equations."
    functions = _loop_functions(cell, formulas.step, layout, layout.step, is_late=False)
    if formulas.late is not None:
        functions += _loop_functions(cell, formulas.late, layout, layout.late, is_late=True)
    else:
        functions += [f"@jit\ndef late_{way}(*arguments):\n    pass" for way in ("forward", "backward")]
    text = "\n\n\n".join([*functions, _loop_text()])
    head = [
        f'"""{title}"""',
        IMPORTS,
        f"number = np.{dtype}\nprovide(number)\nLATE = {formulas.late is not None}",
        *functions_used(text, dtype),
        *writers_used(text),
    ]
    return "\n\n\n".join([*head, text]) + "\n"


def functions_used(text: str, dtype: str) -> list[str]:
    """Return the definitions of the functions that `text` calls, if any."""
    used = [name for name in sorted(FUNCTIONS) if f"functions_{name}(" in text]
    return ["\n".join(f"functions_{name} = FUNCTIONS[{dtype!r}].{name}" for name in used)] if used else []


def writers_used(text: str) -> list[str]:
    """Return the definitions of the writers that `text` calls."""
    used = sorted({int(k) for k in re.findall(r"write_(\d+)\(", text)})
    return ["\n".join(f"write_{k} = writers[{k}]" for k in used)]


def _loop_text() -> str:
    """Return the functions of `loop.py`, which are compiled with every cell."""
    source = Path(__file__).with_name("loop.py").read_text()
    return source[source.index(_LOOP_BEGINS) :]


_LOOP_BEGINS = "# --- the way forward"


class _Loop:
    """One function with a loop over rows and units; collects what it reads, computes and writes."""

    def __init__(self, name: str, arguments: str, offsets: dict[str, str]):
        self.name, self.arguments, self.offsets = name, arguments, offsets
        self.reads: dict[str, str] = {}
        self.body: list[str] = []
        self.writes: list[str] = []

    def write(self, array: str, index: str, value: str) -> None:
        """Add a store; by a writer of its own it is known to be independent of the others."""
        self.writes.append(f"write_{len(self.writes) % WRITERS}({array}, {index}, {value})")

    def source(self) -> str:
        """Return the function."""
        inner = [f"{name} = {source}" for name, source in self.reads.items()]
        lines = [
            "@jit",
            f"def {self.name}({self.arguments}):",
            "    whole_vectors()",
            "    for i in range(n):",
            *(f"        {name} = {value}" for name, value in self.offsets.items()),
            "        for j in range(width):",
            *(f"            {line}" for line in inner + self.body + self.writes),
        ]
        return "\n".join(lines)


def _at(start: str, slot: int | None = None, unit: str = "width") -> str:
    """Return the index of unit j in a slot."""
    return f"{start} + j" if not slot else f"{start} + {slot} * {unit} + j"


def _loop_functions(cell: Cell, stage: Stage, layout: Layout, slots: Slots, is_late: bool) -> list[str]:
    arguments = (cell, stage, layout, slots, is_late)
    return [_loop_forward(*arguments), _loop_backward(*arguments)]


def _loop_forward(cell: Cell, stage: Stage, layout: Layout, slots: Slots, is_late: bool) -> str:
    name, out = ("late_forward", "late") if is_late else ("forward_step", "new")
    loop = _Loop(
        name,
        f"n, width, rows, z, z_row, states, active, {out}, tape, at, params",
        {"z_at": "i * z_row", "s_at": "active[i] * width", "n_at": "i * width", "t_at": "at[i]"},
    )
    kept = {} if is_late else layout.states
    roots = [*stage.outputs, *slots.saved]
    needed = {e.args[0] for e in visit(roots) if e.is_symbol} | set(kept)
    for k, symbols in enumerate(layout.columns):
        if needed.intersection(symbols):
            loop.reads[_column_name(symbols)] = f"read(z, {_at('z_at', k)})"
    loop.reads |= _held(cell, needed, lambda k: f"read(states, {_at('s_at', k, 'rows * width')})")
    sums = _sums(layout, roots)
    printer = NumberPrinter({id(e): name for e, name in sums.items()})
    loop.body = printer.statements(roots, list(slots.saved), stop=list(sums))
    for k, e in enumerate(stage.outputs):
        loop.write(out, _at("n_at", k, "rows * width"), printer.text(e, whole=True))
    for k, e in enumerate(slots.saved, slots.first):
        loop.write("tape", _at("t_at", k), printer.text(e, whole=True))
    if is_late:
        loop.write("tape", _at("t_at", layout.late_slot), printer.text(stage.outputs[0], whole=True))
    for state, k in kept.items():
        loop.write("tape", _at("t_at", k), state)
    return loop.source()


def _loop_backward(cell: Cell, stage: Stage, layout: Layout, slots: Slots, is_late: bool) -> str:
    loop = _Loop(
        "late_backward" if is_late else "backward_step",
        f"n, width, rows, d, {'' if is_late else 'active, '}tape, at, h, h_at, h_row, d_z, d_z_at, d_z_row, "
        "new, d_params, params, units",
        {
            "d_at": "i * width" if is_late else "active[i] * width",
            "n_at": "i * width", "t_at": "at[i]", "h_i": "h_at + i * h_row", "z_at": "d_z_at + i * d_z_row",
        },
    )  # fmt: skip
    known = {id(e): f"v{k}" for k, e in enumerate(slots.saved)}
    gradients = {s: e for s, e in stage.gradients.items() if s[:2] != "r_" or _own(layout, s)}
    order = list(visit(gradients.values(), slots.saved))
    needed = {e.args[0] for e in order if e.is_symbol and id(e) not in known}
    loop.reads |= {
        f"d_{k}": f"read(d, {_at('d_at', k, 'rows * width')})"
        for k in range(len(stage.outputs)) if f"d_{k}" in needed
    }  # fmt: skip
    loop.reads |= {f"v{k}": f"read(tape, {_at('t_at', slots.first + k)})" for k in range(len(slots.saved))}

    def before(k):
        slot = layout.states.get(f"s_{cell.states[k]}")
        return "read(h, h_i + j)" if k == 0 else f"read(tape, {_at('t_at', slot)})"

    loop.reads |= _held(cell, needed, before)
    printer = NumberPrinter(known)
    loop.body = printer.statements(list(gradients.values()), [], stop=list(slots.saved))

    def add(array, index, symbols):
        found = [gradients[s] for s in symbols if s in gradients]
        if found or not is_late:
            value = printer.text(found[0], whole=True) if found else "number(0)"
            if array == "d_z":  # of what fills up a vector the formula may be nan
                value = f"({value}) if j < units else number(0)"
            loop.write(array, index, f"read({array}, {index}) + ({value})" if is_late else value)

    for k, symbols in enumerate(layout.columns):
        add("d_z", _at("z_at", k), symbols)
    for k, symbol in enumerate(names("s", cell.states)):
        add("new", _at("n_at", k, "rows * width"), [symbol])
    for k, symbol in enumerate(names("p", cell.params)):
        add("d_params", _at("n_at", k, "rows * width"), [symbol])
    return loop.source()


def _own(layout: Layout, symbol: str) -> bool:
    """Whether a pre-activation has a column of its own, or comes first in one."""
    k = layout.column(symbol)
    return k is not None and layout.columns[k][0] == symbol


def _column_name(symbols: tuple[str, ...]) -> str:
    return symbols[0] if len(symbols) == 1 else f"z_{symbols[0][2:]}"


def _sums(layout: Layout, roots: list) -> dict[Expr, str]:
    """Name the sums of pre-activations that stand in one column."""
    sums = {e: tuple(sorted((a.args[0] for a in e.args), reverse=True)) for e in visit(roots) if is_joint(e)}
    return {e: _column_name(symbols) for e, symbols in sums.items() if symbols in layout.columns}


def _held(cell: Cell, needed: set[str], of_state: Any) -> dict[str, str]:
    """Return how to read the states and parameters that are needed."""
    states = {s: of_state(k) for k, s in enumerate(names("s", cell.states))}
    params = {p: f"read(params, {_at(f'{k} * width')})" for k, p in enumerate(names("p", cell.params))}
    return {name: source for name, source in (states | params).items() if name in needed}
