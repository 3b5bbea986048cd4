"""Run a sequence with whole arrays, one step at a time, and back again: NumPy or CuPy, any cell.

The products with the recurrent kernel are made here, the rest of a step is the code that `emit` printed.
Weight gradients are one large product after the loop.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any, NamedTuple

from tinyrnn.backend import array_module
from tinyrnn.native.files import load
from tinyrnn.recurrent.cells import Cell
from tinyrnn.recurrent.emit import emit_python
from tinyrnn.recurrent.trace import per_cell, trace

__all__ = ["backward", "compiled", "forward"]


@per_cell
def compiled(cell: Cell) -> ModuleType:
    """Return the generated module of `cell`.

    Raises
    ------
    TraceError
        If the cell's step is not elementwise.
    """
    return load(emit_python(cell, trace(cell)), type(cell).__name__)


class Step(NamedTuple):
    """What the way back needs of one time step."""

    t: int
    states: list  # before the step
    saved: tuple
    late: Any  # what the late gates' kernel multiplied, and what was saved for it
    late_saved: tuple


class Residuals(NamedTuple):
    """What the way back needs of a sequence."""

    cell: Cell
    U: Any
    params: list
    mask: Any
    rec_mask: Any
    shape: tuple
    steps: list[Step]


def forward(
    cell, xz, U, b_r, params, states0, mask=None, rec_mask=None, reverse=False, keep=True
) -> tuple[Any, list, Residuals | None]:
    """Run the sequence; the interface of all kernels, see `tinyrnn.recurrent`.

    `keep` says whether the residuals will be needed.
    """
    code, xp = compiled(cell), array_module(xz, U)
    batch, length, _ = xz.shape
    units = U.shape[0]
    early, late = _gate_numbers(cell)
    products = _Products(xp, U, b_r, rec_mask)
    outputs = xp.empty((batch, length, units), xz.dtype)
    states, steps = list(states0), []
    for t in range(length - 1, -1, -1) if reverse else range(length):
        x = _split(xz[:, t], units)
        r = products(states[0], early)
        v, late_saved = None, ()
        if late:
            (v,), late_saved = code.late_forward(*x[: len(early)], *r, *states, *params)
            r += products(v, late)
        new, saved = code.forward(*x, *r, *states, *params)
        if keep:
            steps.append(Step(t, states, saved, v, late_saved))
        valid = None if mask is None else mask[:, t, None]
        states = list(new) if valid is None else [
            xp.where(valid, a, b) for a, b in zip(new, states, strict=True)
        ]  # fmt: skip
        outputs[:, t] = states[0]
    residuals = Residuals(cell, U, list(params), mask, rec_mask, xz.shape, steps) if keep else None
    return outputs, states, residuals


def backward(residuals: Residuals, d_outputs: Any, d_final: Sequence) -> tuple:
    """Carry gradients back through time.

    Parameters
    ----------
    residuals : Residuals
        From `forward`.
    d_outputs : (B, T, units) or None
    d_final : sequence of (B, units) or None
        The gradients of the final states.

    Returns
    -------
    tuple
        The gradients of ``xz``, ``U``, ``b_r`` (as if the cell had one), of the parameters (a list) and
        of the initial states (a list).
    """
    cell, U, params, mask, rec_mask, (batch, length, width), steps = residuals
    code, xp = compiled(cell), array_module(U)
    units = U.shape[0]
    early, late = _gate_numbers(cell)
    products = _Products(xp, U, None, rec_mask)
    d_xz = xp.empty((length, batch, width), U.dtype)
    d_rz = xp.empty((length, batch, width), U.dtype)
    d_params = [xp.zeros_like(p) for p in params]
    zeros = xp.zeros((batch, units), U.dtype)
    d_states = [zeros if d is None else d for d in d_final]
    for t, states, saved, _, late_saved in reversed(steps):
        if d_outputs is not None:
            d_states[0] = d_states[0] + d_outputs[:, t]
        d_kept = None
        if mask is not None:
            valid = mask[:, t, None]
            d_kept = [xp.where(valid, 0.0, d) for d in d_states]
            d_states = [xp.where(valid, d, 0.0) for d in d_states]
        d_x, d_r, d_s, d_p = code.backward(*d_states, *saved, *states, *params)
        d_s = [zeros if d is None else d for d in d_s]
        if late:
            d_v = products.transposed(_filled(d_r, late, zeros), late)
            more = code.late_backward(d_v, *late_saved, *states, *params)
            d_x, d_r = _add(d_x, more[0]), _add(d_r, more[1])
            d_s, d_p = _add(d_s, more[2]), _add(d_p, more[3])
        _join(d_xz[t], d_x, units)
        _join(d_rz[t], d_r, units)
        for total, d in zip(d_params, d_p, strict=True):
            if d is not None:
                total += d.sum(axis=0)
        d_s = list(d_s)
        d_s[0] = d_s[0] + products.transposed(_filled(d_r, early, zeros), early)
        d_states = d_s if d_kept is None else [a + b for a, b in zip(d_s, d_kept, strict=True)]
    d_U = _kernel_gradient(xp, steps, d_rz, rec_mask, early, late)
    return d_xz.transpose(1, 0, 2), d_U, d_rz.sum(axis=(0, 1)), d_params, d_states


def _gate_numbers(cell: Cell) -> tuple[list[int], list[int]]:
    early = len(cell.gates) - len(cell.late_gates)
    return list(range(early)), list(range(early, len(cell.gates)))


def _split(z: Any, units: int) -> list:
    """Return the gates of ``(B, G * units)``, views of ``(B, units)``."""
    return [z[:, k : k + units] for k in range(0, z.shape[1], units)]


def _join(out: Any, gates: Sequence, units: int) -> None:
    for k, d in enumerate(gates):
        out[:, k * units : (k + 1) * units] = 0.0 if d is None else d


def _filled(gates: Sequence, which: Sequence[int], zeros: Any) -> list:
    """Return some of the gates' gradients, with zeros for those that a step does not use."""
    return [zeros if gates[k] is None else gates[k] for k in which]


def _add(some: Sequence, more: Sequence) -> list:
    """Add two lists of arrays, None standing for zeros; the second may be shorter."""
    more = list(more) + [None] * (len(some) - len(more))
    return [a if b is None else b if a is None else a + b for a, b in zip(some, more, strict=True)]


class _Products:
    """Products with the recurrent kernel, for some of the gates, with one dropout mask per gate."""

    def __init__(self, xp: ModuleType, U: Any, b_r: Any, rec_mask: Any):
        self.xp, self.U, self.b_r, self.rec_mask = xp, U, b_r, rec_mask
        self.units = U.shape[0]

    def _columns(self, gates: Sequence[int]) -> slice:
        return slice(gates[0] * self.units, (gates[-1] + 1) * self.units)

    def __call__(self, h: Any, gates: Sequence[int]) -> list:
        """Return ``h U + b_r`` by gate."""
        columns = self._columns(gates)
        if self.rec_mask is None:
            r = h @ self.U[:, columns]
        else:
            blocks = _split(self.U[:, columns], self.units)
            dropped = [h * self.rec_mask[g] for g in gates]
            r = self.xp.concatenate([a @ u for a, u in zip(dropped, blocks, strict=True)], axis=1)
        return _split(r if self.b_r is None else r + self.b_r[columns], self.units)

    def transposed(self, d_r: Sequence, gates: Sequence[int]) -> Any:
        """Return the gradient of ``h`` for those of its products, ``d_r`` by gate."""
        columns = self._columns(gates)
        if self.rec_mask is None:
            return self.xp.concatenate(d_r, axis=1) @ self.U[:, columns].T
        blocks = _split(self.U[:, columns], self.units)
        return sum((d @ u.T) * self.rec_mask[g] for d, u, g in zip(d_r, blocks, gates, strict=True))


def _kernel_gradient(xp, steps, d_rz, rec_mask, early, late) -> Any:
    """Return the gradient of the recurrent kernel: one product over all rows of all steps."""
    length, batch, width = d_rz.shape
    units = width // (len(early) + len(late))
    pieces = []
    for gates, source in ((early, [s.states[0] for s in steps]), (late, [s.late for s in steps])):
        if not gates:
            continue
        factors = xp.empty((length, batch, units), d_rz.dtype)
        for step, h in zip(steps, source, strict=True):
            factors[step.t] = h
        for some in [gates] if rec_mask is None else [[g] for g in gates]:
            h = factors if rec_mask is None else factors * rec_mask[some[0]]
            d = d_rz[:, :, some[0] * units : (some[-1] + 1) * units]
            pieces.append(h.reshape(-1, units).T @ d.reshape(length * batch, -1))
    return xp.concatenate(pieces, axis=1)
