"""Run a sequence in a compiled loop: every thread has its rows of the batch and runs all their time steps.

The recurrent kernel stays in the thread's cache, the arithmetic of a step happens while its numbers are hot,
and nothing waits for anything else between time steps. The input's product is made in the loop, together
with the state's, as one product of ``[x_t, h]`` with ``[W; U]``, so that pre-activations are never stored.
Of an input that is rows of a table, every distinct row is multiplied once, before the loop. What the way
back needs stands on a *tape*, see `layout.py`; the loop itself is in `loop.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from tinyrnn import threads
from tinyrnn.recurrent.cells import Cell
from tinyrnn.recurrent.emit_loops import emit_loops
from tinyrnn.recurrent.files import load
from tinyrnn.recurrent.layout import lay_out
from tinyrnn.recurrent.projection import Projection
from tinyrnn.recurrent.trace import per_cell, trace
from tinyrnn.recurrent.workspace import Workspace

__all__ = ["backward", "compiled", "forward"]

_BLOCK = 256  # rows of the distinct inputs that are multiplied at once
_SMALL = 8_000_000  # multiplications that one thread does in about the time in which another wakes up
_STEP = 60  # what the rest of a step costs for each gate and unit, in multiplications


class Code:
    """The compiled functions of a cell, by float type, and where its values stand.

    Raises
    ------
    TraceError
        If the cell's step is not elementwise.
    """

    def __init__(self, cell: Cell):
        formulas = trace(cell)
        self.name = type(cell).__name__
        self.layout = lay_out(cell, formulas)
        self.gate_of = np.array(self.layout.gate_numbers(cell), np.intp)
        self._sources = {
            np.dtype(kind): emit_loops(cell, formulas, self.layout, kind) for kind in ("float32", "float64")
        }
        self._names = {dtype: f"{self.name}_{dtype.name}" for dtype in self._sources}
        self._known: dict[tuple, Any] = {}  # by sizes: small, but wanted in every step

    def loops(self, dtype: np.dtype) -> ModuleType:
        """Return the generated module for one float type."""
        return load(self._sources[dtype], self._names[dtype])

    def groups(self, features: int, units: int) -> np.ndarray:
        """Return the groups of columns (see `loop.py`) for a kernel of so many rows of W and of U."""
        if (features, units) not in self._known:
            found = [
                (first, count, 0 if of_x else features, features + units if of_r else features, late)
                for first, count, of_x, of_r, late in self.layout.groups
            ]
            self._known[features, units] = np.array(found, np.intp)
        return self._known[features, units]

    def places(self, prefix: str, units: int, width: int) -> tuple[np.ndarray, np.ndarray]:
        """Return where the input's (``x_``) or the state's (``r_``) pre-activations stand.

        The first array says where among columns of `width`, the second where among gates of `units`.
        """
        if (prefix, units, width) not in self._known:
            of = [
                c
                for c, symbols in enumerate(self.layout.columns)
                if any(s.startswith(prefix) for s in symbols)
            ]
            starts = np.array(of, np.intp) * width, self.gate_of[of] * units
            self._known[prefix, units, width] = tuple(
                (start[:, None] + np.arange(units)).reshape(-1) for start in starts
            )
        return self._known[prefix, units, width]


compiled = per_cell(Code)


@dataclass
class Run:
    """One sequence on its way through the loop: what both ways share.

    Attributes
    ----------
    source : array or Projection
        What came in.
    width, lanes : int
        Of a column, in numbers: the units, filled up to whole vectors; of a vector.
    x : (batch, length, features)
        Of no features if what the input gives is known before the loop.
    index : (batch, length), or empty
        For then: which row of it each step takes.
    """

    code: Code
    source: Any
    width: int
    lanes: int
    x: np.ndarray
    index: np.ndarray
    W: np.ndarray
    U: np.ndarray
    params: np.ndarray
    states0: np.ndarray
    mask: np.ndarray
    drop: np.ndarray
    reverse: bool
    ranges: list[tuple[int, int]]
    distinct: np.ndarray | None = None
    outputs: np.ndarray | None = None
    workspace: Workspace | None = None

    @property
    def loops(self) -> ModuleType:
        """The compiled functions for the type of the numbers."""
        return self.code.loops(self.U.dtype)

    @property
    def columns(self) -> int:
        """How many columns of pre-activations there are."""
        return len(self.code.gate_of)

    @property
    def tape_strides(self) -> tuple[int, int]:
        """Steps on the tape to the next row of the batch, to the next time step.

        The rows of one time step are neighbours: the loop reads and writes them one after the other.
        """
        step = self.code.layout.slots * self.width
        return step, self.x.shape[0] * step


# --- the way forward --------------------------------------------------------------------------------------


def forward(
    cell, source, U, b_r, params, states0, mask=None, rec_mask=None, reverse=False, keep=True
) -> tuple[Any, list, Run | None]:
    """Run the sequence; the interface of all kernels, see `tinyrnn.recurrent`.

    In the place of ``xz`` it also takes a `Projection`.
    """
    run = _prepare(cell, source, U, params, states0, mask, rec_mask, reverse)
    base = _base(run, b_r)
    batch, length, features = run.x.shape
    units, kind = len(run.U), run.U.dtype
    kernel = run.loops.pack(
        run.W, run.U, units, run.code.groups(features, units), run.code.gate_of, run.width, run.lanes
    )
    run.outputs = np.empty((batch, length, units), kind)
    final = np.empty_like(run.states0)
    strides = run.tape_strides if keep else (0, 0)  # without, all is written to one place
    run.workspace = Workspace(length * strides[1], kind)
    tape = run.workspace.array

    def rows(lo: int, hi: int) -> None:
        run.loops.forward_rows(
            lo, hi, run.reverse, run.width, run.lanes, run.code.groups(features, units), run.code.gate_of,
            run.x, base, run.index, kernel, run.params, run.states0, run.mask, run.drop, run.outputs, final,
            tape if keep else np.empty(run.tape_strides[0], kind), *strides,
        )  # fmt: skip

    threads.run(rows, run.ranges)
    return run.outputs, list(final), run if keep else None


def _prepare(cell, source, U, params, states0, mask, rec_mask, reverse) -> Run:
    """Bring everything to the form that the loops are compiled for."""
    from tinyrnn.recurrent.native import LANES

    code, kind = compiled(cell), U.dtype
    units, lanes = len(U), LANES[kind]
    width = -(-units // lanes) * lanes
    batch, length, _ = source.shape
    x, W = np.zeros((batch, length, 0), kind), np.zeros((0, U.shape[1]), kind)
    index, distinct = np.zeros((0, 0), np.intp), None
    if not isinstance(source, Projection):
        index = np.arange(batch * length).reshape(batch, length)
    elif source.ids is None:
        x, W = _own(source.x), _own(source.W)
    else:
        distinct, index = _distinct(source.ids, len(source.x), mask)
    padded = np.zeros((len(params), width), kind)
    for row, p in zip(padded, params, strict=True):
        row[:units] = p
    steps = batch * length if mask is None else int(mask.sum())
    small = steps * (x.shape[2] + units + _STEP) * U.shape[1] < _SMALL
    return Run(
        code, source, width, lanes, x, index, W, _own(U), padded.reshape(-1),
        states0=np.stack(states0),
        mask=np.zeros((0, 0), bool) if mask is None else _own(mask),
        drop=_factors(source, x, rec_mask, kind, units),
        reverse=reverse,
        ranges=[(0, batch)] if small else _shares(batch, mask),
        distinct=distinct,
    )  # fmt: skip


def _shares(batch: int, mask: Any) -> list[tuple[int, int]]:
    """Return the rows of each thread: about as many time steps to compute for each."""
    work = np.ones(batch) if mask is None else mask.sum(axis=1)
    return threads.split(work, threads.get_num_threads(), 8)


def _own(a: np.ndarray) -> np.ndarray:
    """Return an array of the one memory layout that the loops are compiled for."""
    a = np.ascontiguousarray(a)
    return a if a.flags.writeable else a.copy()


def _distinct(ids: np.ndarray, n: int, mask: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return which of n rows are used in steps that count, and for each id its place among them."""
    used = np.zeros(n, bool)
    used[ids if mask is None else ids[mask]] = True
    distinct = np.flatnonzero(used)
    place = np.zeros(n, np.intp)
    place[distinct] = np.arange(len(distinct))
    return distinct, place[ids]


def _factors(source: Any, x: np.ndarray, rec_mask: Any, kind: np.dtype, units: int) -> np.ndarray:
    """Return the dropout factors of input and state, ``(gates, batch, depth)``, empty if there are none."""
    in_masks = source.masks if isinstance(source, Projection) else None
    if in_masks is None and rec_mask is None:
        return np.zeros((0, 0, 0), kind)
    batch, _, features = x.shape
    gates = len(rec_mask if in_masks is None else in_masks)
    ones = [np.ones((gates, batch, n), kind) for n in (features, units)]
    given = (in_masks, rec_mask)
    return np.concatenate([o if m is None else m for o, m in zip(ones, given, strict=True)], axis=2)


def _base(run: Run, b_r: Any) -> np.ndarray:
    """Return what the pre-activations start from: biases, or rows that `index` chooses, by column."""
    source = run.source
    if not isinstance(source, Projection):
        return _to_columns(run, source.reshape(-1, source.shape[2]), b_r)
    zeros = np.zeros((1, run.U.shape[1]), run.U.dtype)
    bias = _to_columns(run, zeros if source.b is None else source.b[None], b_r)
    if source.ids is None:
        return bias
    base = np.empty((len(run.distinct), bias.shape[1]), bias.dtype)
    base[:] = bias
    rows, W = source.x[run.distinct], _own(source.W)
    features, groups = W.shape[0], run.code.groups(len(W), 0)
    none, nobody = np.zeros(0, bias.dtype), np.zeros(0, np.intp)
    kernel = run.loops.pack(W, run.U[:0], len(run.U), groups, run.code.gate_of, run.width, run.lanes)

    def project(_: int, lo: int, hi: int) -> None:
        for late in (0, 1):
            run.loops.multiply(
                base[lo:hi].reshape(-1), base.shape[1], rows[lo:hi].reshape(-1), features, kernel, groups,
                late, run.code.gate_of, none.reshape(0, 0, 0), none, nobody, hi - lo, run.width, run.lanes,
            )  # fmt: skip

    _in_blocks(project, len(base), features * base.shape[1])
    return base


def _in_blocks(function: Callable[[int, int, int], None], n: int, work: int) -> None:
    """Call ``function(worker, lo, hi)`` for blocks of n rows; `work` per row tells if several should."""

    def several(worker: int, lo: int, hi: int) -> None:
        for k in range(lo, hi, _BLOCK):
            function(worker, k, min(k + _BLOCK, hi))

    ranges = [(0, n)] if n * work < _SMALL else threads.split(np.ones(n), threads.get_num_threads(), 8)
    threads.run(several, [(k, lo, hi) for k, (lo, hi) in enumerate(ranges)])


def _to_columns(run: Run, z: np.ndarray, b_r: Any) -> np.ndarray:
    """Spread pre-activations ``(rows, G * units)`` over the columns, and add the recurrent bias."""
    out = np.zeros((len(z), run.columns * run.width), z.dtype)
    columns, gates = run.code.places("x_", len(run.U), run.width)
    out[:, columns] = z[:, gates]
    if b_r is not None:
        columns, gates = run.code.places("r_", len(run.U), run.width)
        out[:, columns] += b_r[gates]
    return out


def _from_columns(run: Run, d_z: np.ndarray, prefix: str) -> np.ndarray:
    """Return the gradient of pre-activations ``(rows, G * units)``, those of the input or of the state."""
    out = np.zeros((len(d_z), run.U.shape[1]), d_z.dtype)
    columns, gates = run.code.places(prefix, len(run.U), run.width)
    out[:, gates] = d_z[:, columns]
    return out


# --- the way back -----------------------------------------------------------------------------------------


def backward(run: Run, d_outputs: Any, d_final: Sequence, with_x: bool = True) -> tuple:
    """Carry gradients back through time; see `array.backward` for what comes in and out.

    In the place of ``d_xz`` it returns for a `Projection` the gradients of its parts; that of `x` is None
    without `with_x`.
    """
    batch, length, features = run.x.shape
    units, kind, workers = len(run.U), run.U.dtype, len(run.ranges)
    groups = run.code.groups(features, units)
    kernel = run.loops.pack_transposed(run.W, run.U, units, groups, run.code.gate_of, run.width, run.lanes)
    d_x = np.zeros((batch, length, features if with_x else 0), kind)
    d_states = np.zeros_like(run.states0)
    for row, d in zip(d_states, d_final, strict=True):
        if d is not None:
            row[...] = d
    d_outputs = np.zeros((0, 0, 0), kind) if d_outputs is None else _own(d_outputs)
    # Every step takes a row of its own of pre-activations; only of looked-up ones do workers share rows.
    shared = run.index.size > 0 and run.distinct is None
    n_rows = 1 if run.index.size == 0 else batch * length if shared else len(run.distinct)
    d_bases = np.zeros((1 if shared else workers, n_rows, run.columns * run.width), kind)
    d_kernels = np.zeros((workers, run.columns * (features + units) * run.width), kind)
    d_params = np.zeros((workers, len(run.params)), kind)

    def rows(k: int, lo: int, hi: int) -> None:
        run.loops.backward_rows(
            lo, hi, run.reverse, run.width, run.lanes, groups, run.code.gate_of, run.x, run.index, kernel,
            run.params, run.states0, run.mask, run.drop, run.outputs, run.workspace.array, *run.tape_strides,
            run.code.layout.late_slot, d_outputs, d_states, with_x and features > 0, d_x,
            d_bases[0 if shared else k], d_kernels[k], d_params[k],
        )  # fmt: skip

    threads.run(rows, [(k, lo, hi) for k, (lo, hi) in enumerate(run.ranges)])
    d_base = d_bases[0]
    for more in d_bases[1:]:
        d_base += more
    d_W, d_U = np.zeros_like(run.W), np.zeros_like(run.U)
    run.loops.unpack(d_kernels, units, groups, run.code.gate_of, run.width, d_W, d_U)
    d_params = list(d_params.sum(axis=0).reshape(-1, run.width)[:, :units])
    d_bias = d_base.sum(axis=0, keepdims=True)
    d_b_r = _from_columns(run, d_bias, "r_")[0]
    if not isinstance(run.source, Projection):
        d_source = _from_columns(run, d_base, "x_").reshape(batch, length, -1)
    else:
        if run.distinct is not None:
            d_x, d_W = _project_back(run, d_base, with_x)
        d_b = [] if run.source.b is None else [_from_columns(run, d_bias, "x_")[0]]
        d_source = [d_x if with_x else None, d_W, *d_b]
    return d_source, d_U, d_b_r, d_params, list(d_states)


def _project_back(run: Run, d_base: np.ndarray, with_x: bool) -> tuple[Any, np.ndarray]:
    """Return the gradients of the table and of W, from those of the projected distinct rows."""
    table, W = run.source.x, _own(run.source.W)
    n, row = d_base.shape
    features, kind = len(W), W.dtype
    groups, nothing = run.code.groups(features, 0), np.zeros(0, kind)
    rows = table[run.distinct].reshape(-1)
    x_width = -(-features // run.lanes) * run.lanes
    d_rows = np.zeros((n, x_width), kind)
    nobody, none, index = np.zeros(0, np.intp), nothing.reshape(0, 0, 0), np.zeros((1, 1), np.intp)
    kernel = run.loops.pack_transposed(
        W, run.U[:0], len(run.U), groups, run.code.gate_of, run.width, run.lanes
    )
    d_kernels = np.zeros((threads.get_num_threads(), run.columns * features * run.width), kind)

    def back(worker: int, lo: int, hi: int) -> None:
        d_z, x = d_base[lo:hi].reshape(-1), rows[lo * features : hi * features]
        for late in (0, 1) if with_x else ():
            run.loops.multiply_back(
                d_rows[lo:hi].reshape(-1), x_width, x_width, d_z, 0, row, kernel, groups, late,
                run.code.gate_of, none, nothing, nobody, 0, hi - lo, run.columns, features, True,
                run.width, run.lanes,
            )  # fmt: skip
        run.loops.flush(
            d_kernels[worker], d_base, index, x, x, features, d_z, row, groups, run.code.gate_of, none,
            nothing, nobody, hi - lo, run.width, run.lanes,
        )  # fmt: skip

    _in_blocks(back, n, 2 * features * row)
    d_W = np.zeros_like(W)
    run.loops.unpack(
        d_kernels, len(run.U), groups, run.code.gate_of, run.width, d_W, np.zeros((0, W.shape[1]), kind)
    )
    if not with_x:
        return None, d_W
    d_table = np.zeros_like(table)
    d_table[run.distinct] = d_rows[:, :features]
    return d_table, d_W
