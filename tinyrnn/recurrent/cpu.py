"""Run a sequence in a compiled loop: every thread has its rows of the batch and runs all their time steps.

The recurrent kernel stays in the thread's cache, the arithmetic of a step happens while its numbers are hot,
and nothing waits for anything else between time steps. The input's product is made in the loop, together
with the state's, as one product of ``[x_t, h]`` with ``[W; U]``, so that pre-activations are never stored.
Of an input that is rows of a table, every distinct row is multiplied once, before the loop. What the way
back needs stands on a *tape*, see `layout.py`; the loop itself is in `loop.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from tinyrnn import blas, threads
from tinyrnn.native import own
from tinyrnn.native.files import load
from tinyrnn.recurrent.cells import Cell
from tinyrnn.recurrent.emit_loops import emit_loops
from tinyrnn.recurrent.layout import lay_out
from tinyrnn.recurrent.packing import Places, from_columns, pack, pack_transposed, to_columns, unpack
from tinyrnn.recurrent.projection import Projection
from tinyrnn.recurrent.trace import per_cell, trace
from tinyrnn.recurrent.workspace import Workspace, empty

__all__ = ["backward", "compiled", "forward"]

_SMALL = 100_000  # multiplications that take one thread as long as it takes to call another
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
        columns = [
            (int(self.gate_of[c]), of_x, of_r)
            for first, count, of_x, of_r, _ in self.layout.groups
            for c in range(first, first + count)
        ]
        self.places = Places.of(columns, len(cell.gates))
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
    ranges: np.ndarray
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
    def packing(self) -> tuple[Places, int, int]:
        """What `pack` has to know beside the kernels."""
        return self.code.places, self.width, self.lanes

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
    units, kind, parts = len(run.U), run.U.dtype, len(run.ranges)
    run.outputs = empty((batch, length, units), kind)
    final = np.empty_like(run.states0)
    if keep:
        strides = run.tape_strides
        run.workspace = Workspace((1, length * strides[1]), kind)
        tapes = run.workspace.array
    else:
        strides = 0, 0  # all is written to one place
        tapes = empty((parts, run.tape_strides[0]), kind)
    kernel = pack(run.W, run.U, *run.packing)
    run.loops.forward(
        threads.mailbox(parts), parts, run.ranges, run.reverse, run.width, run.lanes,
        run.code.groups(features, units), run.code.gate_of, run.x, base, run.index, kernel, run.params,
        run.states0, run.mask, run.drop, run.outputs, final, tapes, *strides,
    )  # fmt: skip
    return run.outputs, list(final), run if keep else None


def _prepare(cell, source, U, params, states0, mask, rec_mask, reverse) -> Run:
    """Bring everything to the form that the loops are compiled for."""
    from tinyrnn.native.jit import LANES

    code, kind = compiled(cell), U.dtype
    units, lanes = len(U), LANES[kind]
    width = -(-units // lanes) * lanes
    batch, length, _ = source.shape
    x, W = np.zeros((batch, length, 0), kind), np.zeros((0, U.shape[1]), kind)
    index, distinct = np.zeros((0, 0), np.intp), None
    if not isinstance(source, Projection):
        index = np.arange(batch * length).reshape(batch, length)
    elif source.ids is None:
        x, W = own(source.x), own(source.W)
    else:
        distinct, index = _distinct(source.ids, len(source.x), mask)
    padded = np.zeros((len(params), width), kind)
    for row, p in zip(padded, params, strict=True):
        row[:units] = p
    steps = batch * length if mask is None else int(mask.sum())
    small = steps * (x.shape[2] + units + _STEP) * U.shape[1] < _SMALL
    return Run(
        code, source, width, lanes, x, index, W, own(U), padded.reshape(-1),
        states0=np.array(states0),
        mask=np.zeros((0, 0), bool) if mask is None else own(mask),
        drop=_factors(source, x, rec_mask, kind, units),
        reverse=reverse,
        ranges=threads.ranges(batch, 1) if small else _shares(batch, mask),
        distinct=distinct,
    )  # fmt: skip


def _shares(batch: int, mask: Any) -> np.ndarray:
    """Return the rows of each part: about as many time steps to compute for each."""
    if mask is None:
        return threads.ranges(batch, threads.get_num_threads(), 8)
    return np.array(threads.split(mask.sum(axis=1), threads.get_num_threads(), 8), np.intp).reshape(-1, 2)


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
        z = source.reshape(math.prod(source.shape[:2]), source.shape[2])
        return own(to_columns(z, b_r, run.code.places, run.width)).reshape(-1)
    zeros = np.zeros((1, run.U.shape[1]), run.U.dtype)
    bias = to_columns(zeros if source.b is None else source.b[None], b_r, run.code.places, run.width)
    if source.ids is None:
        return bias.reshape(-1)
    z = blas.matmul(source.x[run.distinct], source.W)
    base = to_columns(z, None, run.code.places, run.width)
    base += bias
    return base.reshape(-1)


# --- the way back -----------------------------------------------------------------------------------------


def backward(run: Run, d_outputs: Any, d_final: Sequence, with_x: bool = True) -> tuple:
    """Carry gradients back through time; see `array.backward` for what comes in and out.

    In the place of ``d_xz`` it returns for a `Projection` the gradients of its parts; that of `x` is None
    without `with_x`.
    """
    batch, length, features = run.x.shape
    units, kind, parts, places = len(run.U), run.U.dtype, len(run.ranges), run.code.places
    d_x = np.zeros((batch, length, features if with_x else 0), kind)
    d_states = np.zeros_like(run.states0)
    for row, d in zip(d_states, d_final, strict=True):
        if d is not None:
            row[...] = d
    d_outputs = np.zeros((0, 0, 0), kind) if d_outputs is None else own(d_outputs)
    # Every step takes a row of its own of pre-activations; only of looked-up ones do parts share rows.
    shared = not isinstance(run.source, Projection)
    row = run.columns * run.width
    if shared:
        d_bases = np.zeros((1, batch * length * row), kind)
    else:
        n_rows = 1 if run.distinct is None else len(run.distinct)
        space = Workspace((parts, n_rows * row), kind)
        d_bases = space.array
    kernels = Workspace((parts, (features + units) * row), kind)
    d_params = np.zeros((parts, len(run.params)), kind)
    kernel = pack_transposed(run.W, run.U, *run.packing)
    run.loops.backward(
        threads.mailbox(parts), parts, run.ranges, run.reverse, run.width, run.lanes,
        run.code.groups(features, units), run.code.gate_of, run.x, run.index, kernel, run.params,
        run.states0, run.mask, run.drop, run.outputs, run.workspace.array[0], *run.tape_strides,
        run.code.layout.late_slot, d_outputs, d_states, with_x and features > 0, d_x, d_bases,
        kernels.array, d_params,
    )  # fmt: skip
    d_W, d_U = np.zeros_like(run.W), np.zeros_like(run.U)
    unpack(kernels.array.reshape(parts, run.columns, features + units, run.width), d_W, d_U, places)
    d_base = d_bases[0]
    for more in d_bases[1:]:
        d_base += more
    d_base = d_base.reshape(len(d_base) // row, row)
    d_bias = d_base.sum(axis=0, keepdims=True)
    d_b_r = from_columns(d_bias, places.of_r, places, units)[0]
    d_params = list(d_params.sum(axis=0).reshape(-1, run.width)[:, :units])
    if not isinstance(run.source, Projection):
        d_source = from_columns(d_base, places.of_x, places, units).reshape(batch, length, -1)
    else:
        if run.distinct is not None:
            d_x, d_W = _project_back(run, d_base, with_x)
        d_b = [] if run.source.b is None else [from_columns(d_bias, places.of_x, places, units)[0]]
        d_source = [d_x if with_x else None, d_W, *d_b]
    return d_source, d_U, d_b_r, d_params, list(d_states)


def _project_back(run: Run, d_base: np.ndarray, with_x: bool) -> tuple[Any, np.ndarray]:
    """Return the gradients of the table and of W, from those of the projected distinct rows."""
    table, W = run.source.x, run.source.W
    places = run.code.places
    d_z = from_columns(d_base, places.of_x, places, len(run.U))
    d_W = blas.matmul(table[run.distinct].T, d_z)
    if not with_x:
        return None, d_W
    d_table = np.zeros_like(table)
    d_table[run.distinct] = blas.matmul(d_z, W.T)
    return d_table, d_W
