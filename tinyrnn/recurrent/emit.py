"""From formulas to Python source: straight-line code for one time step, and its derivative.

The statements are the same whether the names stand for whole arrays (NumPy, CuPy) or single numbers.
A generated module is a real file in a per-user cache folder, named by a hash of its text: tracebacks
show its lines, and whoever wants to can read the kernel that was derived from three equations.
"""

from __future__ import annotations

from typing import Any

from tinyrnn.recurrent.cells import Cell
from tinyrnn.recurrent.trace import ARITHMETIC, COMPARISONS, FUNCTIONS, Expr, Stage, Trace, names, visit

__all__ = ["Printer", "emit_python"]

_INFIX = {
    "add": "+", "subtract": "-", "multiply": "*", "divide": "/",
    "greater": ">", "greater_equal": ">=", "less": "<", "less_equal": "<=",
}  # fmt: skip


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


class Printer:
    """Prints formulas; those used more than once, and functions, get a statement and a name."""

    def __init__(self, known: dict[int, str]):
        self.known = known

    @staticmethod
    def _number(x: float) -> str:
        return repr(float(x) if isinstance(x, float) else x)  # a np.float64 would print its type

    @staticmethod
    def _comparison(source: str) -> str:
        return source

    @staticmethod
    def _power(base: str, exponent: str) -> str:
        return f"{base} ** {exponent}"

    @staticmethod
    def _call(name: str, args: list[str], settings: dict[str, Any]) -> str:
        return f"ops.{name}({', '.join(args + [f'{key}={value!r}' for key, value in settings.items()])})"

    def statements(self, roots: list, named: list[Expr], stop: list[Expr] = ()) -> list[str]:
        """Return the assignments that make `roots` printable by `text`."""
        order = list(visit(roots, stop))
        stopped = {id(e) for e in stop}
        uses: dict[int, int] = {}
        for e in order:
            for a in e.args if id(e) not in stopped else ():
                uses[id(a)] = uses.get(id(a), 0) + 1
        for root in roots:
            uses[id(root)] = uses.get(id(root), 0) + 1
        forced = {id(e) for e in named}
        lines = []
        for e in order:
            if e.is_symbol or id(e) in stopped:
                continue
            if id(e) in forced or uses.get(id(e), 0) > 1 or e.op not in ARITHMETIC:
                name = self.known.get(id(e), f"t{len(lines)}")
                lines.append(f"{name} = {self._operation(e)}")
                self.known[id(e)] = name
        return lines

    def text(self, e: Any, whole: bool = False) -> str:
        """Return the formula as source, a name where it has one; in parentheses unless it stands alone."""
        if e is None:
            return "None"
        if not isinstance(e, Expr):
            return self._number(e)
        if id(e) in self.known:
            return self.known[id(e)]
        if e.is_symbol:
            return e.args[0]
        return self._operation(e) if whole else f"({self._operation(e)})"

    def _operation(self, e: Expr) -> str:
        args = [self.text(a, whole=e.op in FUNCTIONS) for a in e.args]
        if e.op in _INFIX:
            source = f"{args[0]} {_INFIX[e.op]} {args[1]}"
            return self._comparison(source) if e.op in COMPARISONS else source
        if e.op == "negative":
            return f"-{args[0]}"
        if e.op == "square":
            return f"{args[0]} * {args[0]}"
        if e.op == "power":
            return self._power(args[0], self._number(dict(e.static)["exponent"]))
        return self._call(e.op, args, dict(e.static))
