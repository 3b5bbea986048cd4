"""Elementwise functions as one operation: on a GPU one launch, and one for each gradient.

A function that is written in `tinyrnn.ops`, element by element, is run on symbols (`tinyrnn.formulas`), and
what comes out becomes a kernel. On the host, and wherever a gradient is to be differentiated again, the
function itself is run.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tinyrnn import ops
from tinyrnn.autograd import Tensor, enable_grad, grad, primitive
from tinyrnn.backend import array_module, is_float, on_device
from tinyrnn.cuda.elementwise import launch, loop
from tinyrnn.cuda.module import Kernel, broadcast_number, own, read_source
from tinyrnn.cuda.rows import over_rows, row_source
from tinyrnn.formulas import Expr, symbol
from tinyrnn.printing import CudaPrinter

__all__ = ["derived_gradients", "elementwise", "row_mean"]


def elementwise(function: Callable) -> Callable:
    """Make a function of one array and some numbers one launch on a GPU (a decorator).

    Parameters
    ----------
    function : callable
        ``function(x, *settings)``, which never looks at a value or a shape.
    """
    signature = inspect.signature(function)

    @functools.wraps(function)
    def applied(x, *args, **kwargs):
        if not on_device(ops.to_array(x)) or not is_float(x.dtype):
            return function(x, *args, **kwargs)
        bound = signature.bind(x, *args, **kwargs)
        bound.apply_defaults()
        return _elementwise(x, function=function, settings=bound.args[1:])

    return applied


@primitive
def _elementwise(x, *, function, settings):
    """An elementwise function of an array, on a GPU."""
    out = array_module(x).empty(x.shape, x.dtype)
    launch(_element_kernel(function, settings, x.dtype.name, None), out, (x,))
    return out


def _elementwise_gradient(g, x, function, settings):
    if isinstance(g, Tensor):
        return derived_gradients(lambda x: function(x, *settings), g, (x,), (True,))[0]
    if not isinstance(_formulas(function, settings, "x")[1][0], Expr):
        return None
    d = array_module(g, x).empty(x.shape, x.dtype)
    launch(_element_kernel(function, settings, x.dtype.name, 0), d, (x, g))
    return d


_elementwise.gradient(x=_elementwise_gradient)


def row_mean(
    function: Callable, a: Any, b: Any, *settings: Any, axis: int = -1, on_host: Callable | None = None
) -> Any:
    """Return the mean over an axis of an elementwise function of two arrays.

    Parameters
    ----------
    function : callable
        ``function(a, b, *settings)``, of the same name every time: no function made on the spot.
    a, b : array or Tensor
        Of one shape and type.
    *settings : number, str, bool or None
    axis : int
        On a GPU it is one launch for the last one.
    on_host : callable, optional
        ``on_host(a, b)``, a faster way to the same mean over the last axis.
    """
    if on_device(ops.to_array(b)) and axis in (-1, len(b.shape) - 1):
        return _row_mean(a, b, function=function, settings=settings)
    if on_host is not None:
        return on_host(a, b)
    return ops.mean(function(a, b, *settings), axis=axis)


@primitive
def _row_mean(a, b, *, function, settings):
    """The mean over the last axis of an elementwise function of two arrays, on a GPU."""
    out = array_module(a, b).empty(b.shape[:-1], b.dtype)
    over_rows(_row_kernel(function, settings, b.dtype.name, None), b.shape, own(a), own(b), out)
    return out


@_row_mean.gradients
def _row_mean_gradients(g, a, b, needs, function, settings):
    (g,) = g
    if isinstance(g, Tensor):
        return derived_gradients(lambda a, b: ops.mean(function(a, b, *settings), axis=-1), g, (a, b), needs)
    a, b, found = own(a), own(b), []
    for i, need in enumerate(needs):
        if not need or not isinstance(_formulas(function, settings, "ab")[1][i], Expr):
            found.append(None)
            continue
        d = array_module(g, b).empty(b.shape, b.dtype)
        over_rows(_row_kernel(function, settings, b.dtype.name, i), b.shape, a, b, *broadcast_number(g), d)
        found.append(d)
    return found


def derived_gradients(definition: Callable, g: Any, inputs: Sequence, needs: Sequence[bool]) -> list:
    """Return the gradients of inputs of ``definition(*inputs)``, for the rule of an operation that equals it.

    Parameters
    ----------
    definition : callable
        Tensors in, one tensor out.
    g : array or Tensor
        The gradient of the result; if a Tensor, what is returned can be differentiated again.
    inputs : sequence of array or Tensor
    needs : sequence of bool
        Which gradients are wanted; None is returned for the others.
    """
    again = isinstance(g, Tensor)
    copies = [  # so that an input that was computed from another does not count twice
        x if not need else ops.broadcast_to(x, shape=x.shape) if again else Tensor(x, requires_grad=True)
        for x, need in zip(inputs, needs, strict=True)
    ]
    wanted = [x for x, need in zip(copies, needs, strict=True) if need]
    with enable_grad():
        found = grad(definition(*copies), wanted, g, create_graph=again)
    gradients = iter(found if again else map(ops.to_array, found))
    return [next(gradients) if need else None for need in needs]


# --- formulas and kernels ---------------------------------------------------------------------------------


@functools.cache
def _formulas(function: Callable, settings: tuple, names: str) -> tuple[Any, list[Any]]:
    """Return the formula of a function of arrays with these names, and of its gradients, given ``g``."""
    table: dict = {}
    with enable_grad():
        inputs = [Tensor(symbol(table, name), requires_grad=True) for name in names]
        out = function(*inputs, *settings)
        gradients = grad(out, inputs, Tensor(symbol(table, "g")))
    return ops.to_array(out), [d.data for d in gradients]


def _statements(function: Callable, settings: tuple, names: str, of: int | None) -> tuple[list[str], str]:
    """Return what computes one element of a function, or of the gradient of input number `of`."""
    value, gradients = _formulas(function, settings, names)
    result, printer = value if of is None else gradients[of], CudaPrinter({})
    return printer.statements([result], []), printer.text(result, whole=True)


@functools.cache
def _element_kernel(function: Callable, settings: tuple, dtype: str, of: int | None) -> Kernel:
    body, result = _statements(function, settings, "x", of)
    return loop(result, ("x",) if of is None else ("x", "g"), dtype, body)


@functools.cache
def _row_kernel(function: Callable, settings: tuple, dtype: str, of: int | None) -> Kernel:
    body, result = _statements(function, settings, "ab", of)
    arguments = "real a, real b" if of is None else "real a, real b, real g"
    lines = [f"INLINE real element({arguments}) {{", *body, f"return {result};"]
    texts = f"#define GRADIENT {int(of is not None)}", "\n    ".join(lines) + "\n}"
    loops = read_source(Path(__file__).parent / "cuda" / "row_mean.cu")
    return Kernel(row_source(dtype, *texts, loops), "row_mean")
