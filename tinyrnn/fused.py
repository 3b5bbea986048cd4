"""Elementwise functions as one operation: on a GPU one launch, and one for each gradient.

A function that is written in `tinyrnn.ops`, element by element, is run on symbols (`tinyrnn.formulas`), and
what comes out becomes a kernel. On the host, and wherever a gradient is to be differentiated again, the
function itself is run.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tinyrnn import ops
from tinyrnn.autograd import Tensor, enable_grad, grad, primitive
from tinyrnn.backend import array_module, on_device
from tinyrnn.cuda.module import Kernel, broadcast_number, own, read_source
from tinyrnn.cuda.rows import over_rows, row_source
from tinyrnn.formulas import Expr, symbol
from tinyrnn.printing import CudaPrinter

__all__ = ["derived_gradients", "row_mean"]


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
    over_rows(_kernel(function, settings, b.dtype.name, None), b.shape, own(a), own(b), out)
    return out


@_row_mean.gradients
def _row_mean_gradients(g, a, b, needs, function, settings):
    (g,) = g
    if isinstance(g, Tensor):
        return derived_gradients(lambda a, b: ops.mean(function(a, b, *settings), axis=-1), g, (a, b), needs)
    a, b, found = own(a), own(b), []
    for i, need in enumerate(needs):
        if not need or not isinstance(_formulas(function, settings)[1][i], Expr):
            found.append(None)
            continue
        d = array_module(g, b).empty(b.shape, b.dtype)
        over_rows(_kernel(function, settings, b.dtype.name, i), b.shape, a, b, *broadcast_number(g), d)
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
def _formulas(function: Callable, settings: tuple) -> tuple[Any, list[Any]]:
    """Return the formula of a function of ``a`` and ``b``, and of its gradients, given ``g``."""
    table: dict = {}
    with enable_grad():
        inputs = [Tensor(symbol(table, name), requires_grad=True) for name in "ab"]
        out = function(*inputs, *settings)
        gradients = grad(out, inputs, Tensor(symbol(table, "g")))
    return out.data, [d.data for d in gradients]


@functools.cache
def _kernel(function: Callable, settings: tuple, dtype: str, of: int | None) -> Kernel:
    """Return the kernel of the mean, or of the gradient of input number `of`."""
    value, gradients = _formulas(function, settings)
    result, arguments = (value, "real a, real b") if of is None else (gradients[of], "real a, real b, real g")
    printer = CudaPrinter({})
    body = [*printer.statements([result], []), f"return {printer.text(result, whole=True)};"]
    element = "\n    ".join([f"INLINE real element({arguments}) {{", *body]) + "\n}"
    loops = read_source(Path(__file__).parent / "cuda" / "row_mean.cu")
    return Kernel(row_source(dtype, f"#define GRADIENT {int(of is not None)}", element, loops), "row_mean")
