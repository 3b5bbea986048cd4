"""Run a sequence on the GPU, in kernels that are derived from the cell's equations.

A recurrent kernel that fits into one block's registers and shared memory stays there for all time steps,
which are one launch (`persistent`); larger ones take a launch a step (`stepwise`). The products with the
input's kernel and the gradients of both kernels are single large products before and after.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from tinyrnn.backend import array_module
from tinyrnn.cuda.module import own
from tinyrnn.recurrent.cells import Cell
from tinyrnn.recurrent.emit_cuda import emit_step
from tinyrnn.recurrent.persistent import Fit, Persistent, fit, most_shared
from tinyrnn.recurrent.projection import Projection
from tinyrnn.recurrent.sequence import Run
from tinyrnn.recurrent.stepwise import Stepwise, release, threads_that_fit
from tinyrnn.recurrent.trace import TraceError, per_cell, trace

__all__ = ["backward", "compiled", "describe", "forward", "release"]


class Code:
    """The kernels of a cell.

    Raises
    ------
    TraceError
        If the cell's step is not elementwise.
    """

    def __init__(self, cell: Cell):
        self.gates, self.late = len(cell.gates), len(cell.late_gates)
        self.step = emit_step(cell, trace(cell))
        # What a thread holds beside the kernel: the tape twice, what is known of each gate, addresses.
        self._others = 40 + 2 * self.step.tape + 6 * self.gates + 2 * len(cell.params)
        self._ways: dict[tuple, Persistent | Stepwise] = {}

    def way(self, cell: Cell, U: Any, drops: bool = False) -> Persistent | Stepwise:
        """Return how to run a layer with the recurrent kernel `U`; a TraceError if there is no way."""
        xp, units = array_module(U), len(U)
        key = xp, units, U.dtype, drops
        if key not in self._ways:
            most = most_shared(xp)
            fitted = self.fitted(units, U.dtype, most)
            if fitted is not None:
                self._ways[key] = Persistent(self.step, fitted, units, U.dtype, self.late > 0)
            else:
                threads = threads_that_fit(cell, U.dtype, most)
                if threads is None:
                    raise TraceError(f"{self.gates} gates are too many for a block of this GPU")
                self._ways[key] = Stepwise(cell, self.step, U.dtype, drops, threads)
        return self._ways[key]

    def fitted(self, units: int, dtype: Any, most: int) -> Fit | None:
        """Return how so many units fit into a block of `most` shared bytes; None if they do not."""
        return fit(self.gates, units, self._others, dtype, most)


compiled = per_cell(Code)


def describe(cell: Cell, U: Any) -> str:
    """Return in words how a layer with the recurrent kernel `U` runs; a TraceError if there is no way."""
    way = compiled(cell).way(cell, U)
    if isinstance(way, Persistent):
        return f"all time steps in one launch: a recurrent kernel of {len(U)} units fits into a block"
    return f"a launch for each time step: a recurrent kernel of {len(U)} units is too large for a block"


class Residuals(NamedTuple):
    """What the way back needs."""

    code: Code
    way: Persistent | Stepwise
    source: Any
    run: Run


def forward(
    cell, source, U, b_r, params, states0, mask=None, rec_mask=None, reverse=False, keep=True
) -> tuple[Any, list, Residuals | None]:
    """Run the sequence; the interface of all kernels, see `tinyrnn.recurrent`.

    In the place of ``xz`` it also takes a `Projection` of an input without dropout.
    """
    code, xp = compiled(cell), array_module(U)
    xz, x_bias = source, None
    if isinstance(source, Projection):
        xz, x_bias = (_rows(source.x) @ source.W).reshape(source.shape), source.b
    run = Run(
        (*source.shape[:2], len(U)), own(xz), _own(x_bias), own(U), _own(b_r),
        params=xp.stack(list(params)) if len(params) else None,
        states0=xp.stack(list(states0)),
        mask=_own(mask), factors=_own(rec_mask), reverse=reverse, keep=keep,
    )  # fmt: skip
    way = code.way(cell, run.U, rec_mask is not None)
    outputs, finals = way.forward(run)
    run.xz = None  # the largest array, which the way back does not need
    return outputs, list(finals), Residuals(code, way, source, run) if keep else None


def backward(residuals: Residuals, d_outputs: Any, d_final: Sequence, with_x: bool = True) -> tuple:
    """Carry gradients back through time; see `array.backward` for what comes in and out.

    In the place of ``d_xz`` it returns for a `Projection` the gradients of its parts; that of `x` is None
    without `with_x`.
    """
    code, way, source, run = residuals
    xp = array_module(run.U)
    d_finals = xp.zeros_like(run.states0)
    for state, d in zip(d_finals, d_final, strict=True):
        if d is not None:
            state[...] = d
    found = way.backward(run, _own(d_outputs), d_finals)
    d_U = _kernel_gradient(xp, run, found.rz, code.gates, code.late)
    d_params = [] if found.params is None else list(found.params)
    if isinstance(source, Projection):
        d_z = _rows(found.xz)
        d_x = (d_z @ source.W.T).reshape(source.x.shape) if with_x else None
        d_source = [d_x, _rows(source.x).T @ d_z] + ([] if source.b is None else [found.x_bias])
    else:
        d_source = found.xz.copy() if run.borrowed else found.xz
    return d_source, d_U, found.r_bias, d_params, list(found.states0)


def _own(x: Any) -> Any:
    return None if x is None else own(x)


def _rows(x: Any) -> Any:
    """Return ``(batch, time, n)`` as a matrix."""
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


def _kernel_gradient(xp: Any, run: Run, d_rz: Any, gates: int, late: int) -> Any:
    """Return the gradient of the recurrent kernel: products over all rows of all steps."""
    units, d_r = len(run.U), _rows(d_rz)
    pieces = []
    for first, stop, left in ((0, gates - late, run.before), (gates - late, gates, run.late)):
        step = 1 if run.factors is not None else max(stop - first, 1)
        for gate in range(first, stop, step):
            h = left if run.factors is None else left * run.factors[gate][:, None]
            pieces.append(_rows(h).T @ d_r[:, gate * units : (gate + step) * units])
    return pieces[0] if len(pieces) == 1 else xp.concatenate(pieces, axis=1)
