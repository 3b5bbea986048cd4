"""Formulas for one number: what arithmetic gives when it is done with symbols.

Whatever is written in `tinyrnn.ops`, element by element, can be run on symbols in place of numbers. What
comes out are expressions, which `tinyrnn.printing` makes programs of; and the package's own reverse mode, run
on these, gives the expressions of a derivative. There is no second differentiator.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from tinyrnn.autograd import Primitive, Symbolic

__all__ = ["ARITHMETIC", "COMPARISONS", "FUNCTIONS", "Expr", "TraceError", "symbol", "visit"]

COMPARISONS = {"greater", "greater_equal", "less", "less_equal"}
ARITHMETIC = {"add", "subtract", "multiply", "divide", "negative", "square", "power"} | COMPARISONS
FUNCTIONS = {"exp", "expm1", "log", "log1p", "sqrt", "abs", "sign", "sin", "cos", "erf"} | {
    "tanh", "sigmoid", "relu", "softplus", "maximum", "minimum", "where", "clip",
}  # fmt: skip


class TraceError(TypeError):
    """A function is not elementwise arithmetic, so no kernel can be derived from it."""


class Expr(Symbolic):
    """A formula for one number: a symbol, or an operation on others.

    Equal formulas are one object (within one trace), so shared work is found by identity.
    """

    __slots__ = ("args", "op", "static", "table")

    def __init__(self, op: str, args: tuple, static: tuple, table: dict):
        self.op = op
        self.args = args
        self.static = static
        self.table = table

    @property
    def is_symbol(self) -> bool:
        """Whether this is a name, not an operation."""
        return self.op == "symbol"

    def apply(self, op: Primitive, inputs: tuple, static: dict) -> Any:
        """Return the formula ``op(*inputs)``."""
        if op.composed:
            return op.forward(*inputs, **static)
        if op.name not in ARITHMETIC | FUNCTIONS:
            raise TraceError(f"ops.{op.name} is not an elementwise operation")
        inputs = tuple(x.item() if isinstance(x, np.generic) else x for x in inputs)
        if any(isinstance(x, np.ndarray) for x in inputs):
            raise TraceError("an array in the place of a number")
        simpler = _simplify(op.name, inputs)
        if simpler is not None:
            return simpler
        return _intern(self.table, op.name, inputs, tuple(sorted(static.items())))

    def __bool__(self) -> bool:
        raise TraceError("a branch on a value; use ops.where")

    def __float__(self) -> float:
        raise TraceError("a conversion of a value to a number")

    def __repr__(self) -> str:
        return self.args[0] if self.is_symbol else f"{self.op}{self.args}"


def symbol(table: dict, name: str) -> Expr:
    """Return the symbol of this name; formulas of one `table` are one object if they are equal."""
    return _intern(table, "symbol", (name,))


def _intern(table: dict, op: str, args: tuple, static: tuple = ()) -> Expr:
    key = (op, tuple(id(a) if isinstance(a, Expr) else a for a in args), static)
    if key not in table:
        table[key] = Expr(op, args, static, table)
    return table[key]


def _simplify(op: str, args: tuple) -> Any:
    """Drop the ones and zeros that differentiation leaves behind; None where nothing can be dropped."""
    if op == "multiply":
        for number, other in (args, args[::-1]):
            if _is(number, 1.0):
                return other
            if _is(number, 0.0):
                return 0.0
    elif op == "add":
        for number, other in (args, args[::-1]):
            if _is(number, 0.0):
                return other
    return None


def _is(x: Any, number: float) -> bool:
    return isinstance(x, int | float) and x == number


def visit(roots: Iterable[Any], stop: Iterable[Expr] = ()) -> Iterator[Expr]:
    """Yield every formula below `roots`, arguments first, each once; not below those in `stop`."""
    seen: set[int] = set()
    leaves = {id(e) for e in stop}
    stack = [(root, False) for root in reversed(list(roots))]
    while stack:
        expr, ready = stack.pop()
        if not isinstance(expr, Expr) or (id(expr) in seen):
            continue
        if ready or expr.is_symbol or id(expr) in leaves:
            seen.add(id(expr))
            yield expr
        else:
            stack.append((expr, True))
            stack.extend((a, False) for a in reversed(expr.args))
