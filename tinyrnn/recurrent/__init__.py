"""Recurrent networks: one interface for the ways to run a sequence, and the choice between them.

Every kernel is a module with two functions::

    forward (cell, xz, U, b_r, params, states0, mask, rec_mask, reverse, keep) -> outputs, states, residuals
    backward(residuals, d_outputs, d_final, with_x) -> d_xz, dU, db_r, d_params, d_states0

with B sequences of T steps and a cell of G gates:

======== ======================= ===================================================================
xz       (B, T, G * units)       ``x W + b``: what the input gives the gates; one product for all steps
U        (units, G * units)      the recurrent kernel
b_r      (G * units,) or None    the recurrent bias
params   list of (units,)        per-unit parameters
states0  list of (B, units)      initial states
mask     bool (B, T) or None     True = use; a masked step keeps the states
rec_mask (G, B, units) or None   recurrent dropout: factors of the state in each gate's product
reverse  bool                    from the last step to the first; outputs stay in order of time
keep     bool                    whether a way back will follow; without, there are no residuals
with_x   bool                    whether the gradient of the input is wanted
outputs  (B, T, units)           the first state after every step
======== ======================= ===================================================================

except `unrolled`, which is a graph of tensors and needs no `backward`. `cpu` and `gpu` also take a
`Projection` in the place of ``xz``, what the input gives not yet computed, and return the gradients of its
parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tinyrnn import ops
from tinyrnn.autograd import Tensor, grad, is_recording, primitive
from tinyrnn.backend import array_module
from tinyrnn.formulas import TraceError
from tinyrnn.naming import nearest
from tinyrnn.recurrent import array, cpu, gpu, unrolled
from tinyrnn.recurrent.cells import Cell
from tinyrnn.recurrent.projection import Projection

__all__ = ["KERNELS", "Cell", "Choice", "Projection", "choose", "run"]

KERNELS = {"unrolled": unrolled, "array": array, "cpu": cpu, "gpu": gpu}


class Choice(NamedTuple):
    """Which kernel runs a cell, and why."""

    kernel: str
    reason: str


def choose(cell: Cell, kernel: str = "auto", U: Any = None) -> Choice:
    """Choose the kernel that runs `cell`.

    Parameters
    ----------
    cell : Cell
    kernel : {"auto", "unrolled", "array", "cpu", "gpu"}
        ``"auto"`` takes the fastest that can; the choice says why.
    U : array or Tensor (units, G * units), optional
        The recurrent kernel, which is where the sequence will run; on the host by default.

    Raises
    ------
    ValueError
        For an unknown kernel, or one for another device than the weights are on.
    TraceError
        If the kernel asked for cannot run this cell.
    """
    if kernel == "unrolled":
        return Choice(kernel, "asked for")
    if kernel not in ("auto", *KERNELS):
        raise ValueError(f"unknown kernel {kernel!r}{nearest(kernel, ('auto', *KERNELS))}")
    here, elsewhere = ("cpu", "gpu") if array_module(ops.to_array(U)) is np else ("gpu", "cpu")
    if kernel == elsewhere:
        raise ValueError(f"kernel={kernel!r}: the weights are on the {here}; see tinyrnn.set_device")
    if unrolled.is_watching():
        return Choice("unrolled", "every state is being looked at")
    try:
        array.compiled(cell)
    except TraceError as error:
        if kernel != "auto":
            raise TraceError(f"kernel={kernel!r} cannot run a {type(cell).__name__}: {error}") from error
        return Choice("unrolled", f"no kernel can be derived from {type(cell).__name__}: {error}")
    if here == "gpu" and kernel != "array":
        return _on_gpu(cell, kernel, ops.to_array(U))
    if kernel != "auto":
        return Choice(kernel, "asked for")
    return Choice("cpu", "compiled from the cell's equations: the fastest on a CPU")


def _on_gpu(cell: Cell, kernel: str, U: Any) -> Choice:
    try:
        return Choice("gpu", gpu.describe(cell, U))
    except TraceError as error:
        if kernel != "auto":
            raise TraceError(f"kernel={kernel!r} cannot run a {type(cell).__name__}: {error}") from error
        return Choice("array", str(error))


def run(
    cell: Cell,
    xz: Any,
    U: Any,
    b_r: Any,
    params: Sequence,
    states0: Sequence,
    mask: Any = None,
    rec_mask: Any = None,
    reverse: bool = False,
    kernel: str = "array",
) -> tuple[Tensor, list[Tensor]]:
    """Run a sequence with tensors: the table above gives the shapes.

    Parameters
    ----------
    xz : Tensor or Projection
        What the input gives the gates, computed or still to be.

    Returns
    -------
    outputs : Tensor (B, T, units)
        In order of time.
    states : list of Tensor (B, units)
        After the last step processed.
    """
    if isinstance(xz, Projection):
        xz = _prepared(xz, kernel)
    if kernel == "unrolled":
        return unrolled.run(cell, xz, U, b_r, params, states0, mask, rec_mask, reverse)
    projection = xz if isinstance(xz, Projection) else None
    parts = [xz] if projection is None else projection.parts
    biases = [] if b_r is None else [b_r]
    inputs = [*parts, U, *biases, *params, *states0]
    keep = is_recording() and any(isinstance(x, Tensor) and x.requires_grad for x in inputs)
    form = projection and projection.of([None] * len(parts))  # it must not hold tensors: nodes keep it
    outputs, *states = _fused(
        *inputs, cell=cell, form=form, n_parts=len(parts), mask=mask, rec_mask=rec_mask, reverse=reverse,
        kernel=kernel, keep=keep,
    )  # fmt: skip
    return outputs, states


def _prepared(xz: Projection, kernel: str) -> Any:
    """Return what a kernel takes of a projection: all of it, one without ids or masks, or its value."""
    if kernel == "cpu":
        return xz if xz.masks is None else xz.looked_up()
    return xz.looked_up() if kernel == "gpu" and xz.masks is None else xz.compute()


def _unpack(cell: Cell, inputs: Sequence, form: Projection | None = None, n_parts: int = 1) -> tuple:
    """Return xz (or a projection), U, b_r, params and states0 of the flat list of inputs."""
    parts, (U, *rest) = inputs[:n_parts], inputs[n_parts:]
    b_r = rest.pop(0) if len(rest) > len(cell.params) + len(cell.states) else None
    source = parts[0] if form is None else form.of(parts)
    return source, U, b_r, rest[: len(cell.params)], rest[len(cell.params) :]


@primitive(residuals=True)
def _fused(*inputs, cell, form, n_parts, mask, rec_mask, reverse, kernel, keep):
    """Run a whole sequence as one operation: outputs and final states."""
    arguments = (*_unpack(cell, inputs, form, n_parts), mask, rec_mask, reverse)
    outputs, states, residuals = KERNELS[kernel].forward(cell, *arguments, keep=keep)
    return (outputs, *states), residuals


@_fused.gradients
def _fused_gradients(g, inputs, residuals, needs, cell, form, n_parts, mask, rec_mask, reverse, kernel):
    if any(isinstance(d, Tensor) for d in g):
        arguments = (cell, form, n_parts, mask, rec_mask, reverse)
        return _differentiable_gradients(g, inputs, needs, *arguments)
    settings = {} if form is None else {"with_x": needs[0]}
    d_source, d_U, d_b, d_params, d_states = KERNELS[kernel].backward(residuals, g[0], g[1:], **settings)
    parts = [d_source] if form is None else d_source
    biases = [d_b] if len(inputs) > n_parts + 1 + len(cell.params) + len(cell.states) else []
    return [*parts, d_U, *biases, *d_params, *d_states]


def _differentiable_gradients(g, inputs, needs, cell, form, n_parts, mask, rec_mask, reverse):
    """Return gradients that can be differentiated again: run the definition and go back through that.

    The definition is run on copies of the inputs, so that one input that was computed from another
    does not count twice. It is seeded with the gradients themselves: differentiating
    ``sum(outputs * g)`` instead would give a wrong second order.
    """
    pairs = zip(inputs, needs, strict=True)
    copies = [ops.broadcast_to(x, shape=x.shape) if need else x for x, need in pairs]
    xz, *others = _unpack(cell, copies, form, n_parts)
    xz = xz if form is None else xz.compute()
    outputs, states = unrolled.run(cell, xz, *others, mask, rec_mask, reverse)
    used = [(y, d) for y, d in zip([outputs, *states], g, strict=True) if d is not None]
    wanted = [c for c, need in zip(copies, needs, strict=True) if need]
    found = iter(grad([y for y, _ in used], wanted, [d for _, d in used], create_graph=True))
    return [next(found) if need else None for need in needs]
