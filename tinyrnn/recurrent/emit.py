"""From formulas to Python source: straight-line code for one time step, and its derivative.

The statements are the same whether the names stand for whole arrays (NumPy, CuPy) or single numbers.
A generated module is a real file in a per-user cache folder, named by a hash of its text: tracebacks
show its lines, and whoever wants to can read the kernel that was derived from three equations.
"""

from __future__ import annotations

from tinyrnn.formulas import Expr, visit
from tinyrnn.printing import Printer
from tinyrnn.recurrent.cells import Cell
from tinyrnn.recurrent.trace import Stage, Trace, names

__all__ = ["emit_python"]


def emit_python(cell: Cell, formulas: Trace) -> str:
    """Return the source of a module with the step of `cell` and its derivative.

    ``forward(x_..., r_..., s_..., p_...)`` returns a tuple of new states and one of saved values;
    ``backward(d_..., saved..., s_..., p_...)`` returns the gradients of ``x_``, ``r_``, ``s_`` and ``p_``,
    four tuples, None for a gradient that is zero. ``late_forward`` and ``late_backward`` are the same for
    the late input of a cell that has one.
    """
    title = f"{type(cell).__name__}: one time step and its derivative, derived from the cell's equations."
    parts = [f'"""{title}"""', "from tinyrnn import ops", *_functions(cell, cell.gates, formulas.step, "")]
    if formulas.late is not None:
        early = tuple(g for g in cell.gates if g not in cell.late_gates)
        parts += _functions(cell, early, formulas.late, "late_")
    return "\n\n".join(parts) + "\n"


def _functions(cell: Cell, gates: tuple, stage: Stage, prefix: str) -> list[str]:
    saved = _name_saved(stage)
    known = {id(e): n for e, n in saved}
    held = names("s", cell.states) + names("p", cell.params)
    pre = names("x", gates) + names("r", gates)

    forward = Printer(dict(known))
    body = forward.statements([e for e, _ in saved] + list(stage.outputs), [e for e, _ in saved])
    results = (
        _tuple([forward.text(e, whole=True) for e in stage.outputs]) + ", " + _tuple([n for _, n in saved])
    )
    source = [_function(f"{prefix}forward", pre + held, body, results)]

    backward = Printer(dict(known))
    order = [names("x", gates), names("r", gates), names("s", cell.states), names("p", cell.params)]
    wanted = [stage.gradients[n] for group in order for n in group if n in stage.gradients]
    body = backward.statements(wanted, [], stop=[e for e, _ in saved])
    groups = [_tuple([backward.text(stage.gradients.get(n), whole=True) for n in group]) for group in order]
    incoming = [f"d_{i}" for i in range(len(stage.outputs))]
    arguments = incoming + [n for _, n in saved] + held
    source.append(_function(f"{prefix}backward", arguments, body, ", ".join(groups)))
    return source


def _function(name: str, arguments: list[str], body: list[str], results: str) -> str:
    lines = [f"def {name}({', '.join(arguments)}):", *body, f"return {results}"]
    return "\n    ".join(lines)


def _tuple(items: list[str]) -> str:
    return f"({', '.join(items)},)" if items else "()"


def _name_saved(stage: Stage) -> list[tuple[Expr, str]]:
    """Name each saved value: ``a_i`` for the activated gate ``i``, the symbol's own name, or ``v0``, ..."""
    result, taken = [], set()
    for k, e in enumerate(stage.saved):
        gates = {n.args[0][2:] for n in visit([e]) if n.is_symbol and n.args[0].startswith("x_")}
        name = e.args[0] if e.is_symbol else f"a_{gates.pop()}" if len(gates) == 1 else f"v{k}"
        if name in taken:
            name = f"v{k}"
        taken.add(name)
        result.append((e, name))
    return result
