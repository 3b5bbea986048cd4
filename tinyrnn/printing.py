"""Formulas as text: Python, or CUDA C."""

from __future__ import annotations

import math
from typing import Any

from tinyrnn.formulas import ARITHMETIC, COMPARISONS, FUNCTIONS, Expr, visit

__all__ = ["CudaPrinter", "Printer"]

_INFIX = {
    "add": "+", "subtract": "-", "multiply": "*", "divide": "/",
    "greater": ">", "greater_equal": ">=", "less": "<", "less_equal": "<=",
}  # fmt: skip


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


class CudaPrinter(Printer):
    """Prints formulas as CUDA C, for numbers of the type ``real``."""

    def statements(self, roots: list, named: list[Expr], stop: list[Expr] = ()) -> list[str]:
        """Return the declarations that make `roots` printable by `text`."""
        return [f"const real {line};" for line in super().statements(roots, named, stop)]

    @staticmethod
    def _number(x: float) -> str:
        if math.isfinite(x):
            return f"real({float(x)!r})"
        return "real(0) / real(0)" if math.isnan(x) else f"{'' if x < 0 else '-'}log(real(0))"

    @staticmethod
    def _comparison(source: str) -> str:
        return f"real({source})"

    @staticmethod
    def _power(base: str, exponent: str) -> str:
        return f"ops_power({base}, {exponent})"

    @staticmethod
    def _call(name: str, args: list[str], settings: dict[str, Any]) -> str:
        limits = [CudaPrinter._number(settings[key]) for key in ("low", "high") if key in settings]
        return f"ops_{name}({', '.join(args + limits)})"
