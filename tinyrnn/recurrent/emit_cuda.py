"""From formulas to CUDA C: the step of a cell for one unit of one row, and its derivative."""

from __future__ import annotations

from typing import Any, NamedTuple

from tinyrnn.formulas import visit
from tinyrnn.printing import CudaPrinter
from tinyrnn.recurrent.cells import Cell
from tinyrnn.recurrent.trace import Stage, Trace, names

__all__ = ["StepSource", "emit_step"]


class StepSource(NamedTuple):
    """What `persistent.cu` and `stepwise.cu` go on, for one cell.

    Attributes
    ----------
    text : str
        The cell's sizes, its step and its derivative.
    tape : int
        How many numbers of a step the way back needs.
    joint : bool
        Whether the gradient of what the input gives a gate is always that of what the state gives it.
    """

    text: str
    tape: int
    joint: bool


def emit_step(cell: Cell, formulas: Trace) -> StepSource:
    """Return the step of a cell, and its derivative, as CUDA C.

    All values are those of one unit of one row, in arrays by gate, state or parameter. The *tape* holds what
    the way back needs: what the step saves, what the late input saves, the states but the first. Derivatives
    of the step are written, those of the late input added to what is there.
    """
    stages = [formulas.step] + ([formulas.late] if formulas.late else [])
    saved = [e for stage in stages for e in stage.saved]
    needed = {e.args[0] for e in visit(g for s in stages for g in s.gradients.values()) if e.is_symbol}
    kept = [k for k, name in enumerate(names("s", cell.states)) if k and name in needed]
    tape = {k: len(saved) + i for i, k in enumerate(kept)}
    sizes = {
        "GATES": len(cell.gates), "EARLY": len(cell.gates) - len(cell.late_gates),
        "STATES": len(cell.states), "PARAMS": len(cell.params), "TAPE": len(saved) + len(kept),
    }  # fmt: skip
    joint = _is_joint(cell, stages)
    head = [
        f"// {type(cell).__name__!a}: x and r by gate ({_listed(cell.gates)}), s by state "
        f"({_listed(cell.states)}), p by parameter ({_listed(cell.params)}).",
        *(f"constexpr int {name} = {value};" for name, value in sizes.items()),
        f"#define HAS_LATE {int(formulas.late is not None)}",
        f"constexpr bool JOINT = {str(joint).lower()};  // d_x is d_r",
    ]
    first = len(formulas.step.saved)
    late = formulas.late or Stage((), (), {})
    functions = _stage("step", cell, formulas.step, 0, tape, tape)
    functions += _stage("late", cell, late, first, tape, {})
    return StepSource("\n\n".join(["\n".join(head), *functions]) + "\n", sizes["TAPE"], joint)


def _is_joint(cell: Cell, stages: list[Stage]) -> bool:
    return all(
        stage.gradients.get(f"x_{gate}") is stage.gradients.get(f"r_{gate}")
        for stage in stages
        for gate in cell.gates
    )


def _listed(names: tuple[str, ...]) -> str:
    return " ".join(ascii(name)[1:-1] for name in names) or "none"


def _stage(name: str, cell: Cell, stage: Stage, first: int, tape: dict, kept: dict) -> list[str]:
    """Return the two functions of a stage whose saved values begin at `first` on the tape."""
    groups = {"x": cell.gates, "r": cell.gates, "s": cell.states, "p": cell.params}
    places = {
        symbol: f"{letter}[{k}]"
        for letter, of in groups.items()
        for k, symbol in enumerate(names(letter, of))
    }
    forward = CudaPrinter(_known([*stage.outputs, *stage.saved], places))
    body = forward.statements([*stage.saved, *stage.outputs], list(stage.saved))
    body += [f"out[{k}] = {forward.text(e, whole=True)};" for k, e in enumerate(stage.outputs)]
    body += [f"tape[{first + k}] = {forward.text(e, whole=True)};" for k, e in enumerate(stage.saved)]
    body += [f"tape[{slot}] = s[{k}];" for k, slot in kept.items()]
    source = [_function(f"{name}_forward", "x, r, s, p", "out, tape", body)]

    symbols = names("s", cell.states)
    places |= {symbols[k]: f"tape[{slot}]" for k, slot in tape.items()} | {symbols[0]: "h"}
    places |= {f"d_{k}": f"d[{k}]" for k in range(len(stage.outputs))}
    known = _known(stage.gradients.values(), places)
    known |= {id(e): f"tape[{first + k}]" for k, e in enumerate(stage.saved)}
    backward = CudaPrinter(known)
    body = backward.statements(list(stage.gradients.values()), [], stop=list(stage.saved))
    adds = name == "late"
    for letter, of in groups.items():
        for k, symbol in enumerate(names(letter, of)):
            if symbol in stage.gradients or not adds:
                value = backward.text(stage.gradients.get(symbol, 0.0), whole=True)
                body.append(f"d_{letter}[{k}] {'+=' if adds else '='} {value};")
    return [*source, _function(f"{name}_backward", "d, tape, p", "d_x, d_r, d_s, d_p", body, "real h, ")]


def _known(roots: Any, places: dict[str, str]) -> dict[int, str]:
    return {id(e): places[e.args[0]] for e in visit(roots) if e.is_symbol}


def _function(name: str, given: str, results: str, body: list[str], more: str = "") -> str:
    arguments = more + ", ".join(
        [*(f"const real* {a}" for a in given.split(", ")), *(f"real* {a}" for a in results.split(", "))]
    )
    return "\n    ".join([f"INLINE void {name}({arguments}) {{", *body]) + "\n}"
