"""Run a sequence in a compiled loop: every thread has its rows of the batch and runs all their time steps.

The recurrent kernel stays in the thread's cache, the arithmetic of a step happens while its numbers are hot,
and nothing waits for anything else between time steps. The input's product is made in the loop, together
with the state's, as one product of ``[x_t, h]`` with ``[W; U]``, so that pre-activations are never stored.
Of an input that is rows of a table, every distinct row is multiplied once, before the loop. What the way
back needs stands on a *tape*, see `layout.py`; the loop itself is in `loop.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinyrnn import threads
from tinyrnn.native import own
from tinyrnn.native.files import load
from tinyrnn.recurrent.cells import Cell
from tinyrnn.recurrent.columns import Columns
from tinyrnn.recurrent.emit_loops import emit_loops
from tinyrnn.recurrent.layout import lay_out
from tinyrnn.recurrent.projection import Projection
from tinyrnn.recurrent.trace import per_cell, trace
from tinyrnn.recurrent.workspace import Workspace

__all__ = ["backward", "compiled", "forward"]

_SMALL = 100_000  # multiplications that take one thread as long as it takes to call another
_STEP = 60  # what the rest of a step costs for each gate and unit, in multiplications
_SMALL_KERNEL = 30_000  # numbers
_FEW = 8  # rows of a batch: fewer than a product works on at once
_WORTH = 1_000_000  # multiplications that are worth some calls more to be done for eight rows at once


class _Shared:
    """What never changes: a deep copy of a model, or of a graph that it holds, has the same."""

    def __deepcopy__(self, memo: dict) -> Any:
        return self


@dataclass(frozen=True)
class Loops(_Shared):
    """The compiled functions of a cell for one type of float: its own, and those that all cells share.

    Attributes
    ----------
    lanes : int
        Of a vector, in numbers.
    spare : int
        Rows that the gradient of a kernel has beside the kernel's; the last is the gradient of the biases.
    """

    forward: Callable
    backward: Callable
    pack: Callable
    pack_transposed: Callable
    unpack: Callable
    project: Callable
    project_back: Callable
    lanes: int
    spare: int


class Code(_Shared):
    """The compiled functions of a cell, and where its values stand.

    Raises
    ------
    TraceError
        If the cell's step is not elementwise.
    """

    def __init__(self, cell: Cell):
        formulas = trace(cell)
        self.name = type(cell).__name__
        self.layout = lay_out(cell, formulas)
        self.columns = Columns(self.layout.gate_numbers(cell), self.layout.groups, len(cell.gates))
        self._sources = {
            np.dtype(kind): emit_loops(cell, formulas, self.layout, kind) for kind in ("float32", "float64")
        }
        self._loops: dict[np.dtype, Loops] = {}

    def loops(self, dtype: np.dtype) -> Loops:
        """Return the functions for one type of float."""
        if dtype not in self._loops:
            from tinyrnn.native import jit, packing, product, table

            of_cell = load(self._sources[dtype], f"{self.name}_{dtype.name}")
            of_all = packing.pack, packing.pack_transposed, packing.unpack, table.project, table.project_back
            self._loops[dtype] = Loops(
                of_cell.forward, of_cell.backward, *(product.parallel_for(dtype, f) for f in of_all),
                jit.LANES[dtype], product.PANEL,
            )  # fmt: skip
        return self._loops[dtype]


compiled = per_cell(Code)


@dataclass
class Run:
    """One sequence on its way through the loop: what both ways share.

    Attributes
    ----------
    given, source : array or Projection
        What came in; what is worked with.
    width, row : int
        Of a column, in numbers: the units, filled up to whole vectors. Of all columns.
    x, W : (batch, length, features), (features, gates * units)
        Of no features if what the input gives is known before the loop.
    index : (batch, length), or empty
        For then: which row of it each step takes.
    chosen : (rows,) array of int, optional
        The rows of the table that these are, for a source with ids.
    """

    code: Code
    columns: Columns
    loops: Loops
    source: Any
    width: int
    row: int
    x: np.ndarray
    W: np.ndarray
    index: np.ndarray
    chosen: np.ndarray | None
    U: np.ndarray
    params: np.ndarray
    states0: np.ndarray
    mask: np.ndarray
    drop: np.ndarray
    reverse: bool
    two_biases: bool
    ranges: np.ndarray
    given: Any
    outputs: np.ndarray | None = None
    tape: Workspace | None = None

    @property
    def tape_strides(self) -> tuple[int, int]:
        """Steps on the tape to the next row of the batch, to the next time step.

        The rows of one time step are neighbours: the loop reads and writes them one after the other.
        """
        step = self.code.layout.slots * self.width
        return step, len(self.x) * step


# --- the way forward --------------------------------------------------------------------------------------


def forward(
    cell, source, U, b_r, params, states0, mask=None, rec_mask=None, reverse=False, keep=True
) -> tuple[Any, list, Run | None]:
    """Run the sequence; the interface of all kernels, see `tinyrnn.recurrent`.

    In the place of ``xz`` it also takes a `Projection`.
    """
    run = _prepare(compiled(cell), source, U, b_r, params, states0, mask, rec_mask, reverse)
    batch, length, features = run.x.shape
    units, kind, parts = len(run.U), run.U.dtype, len(run.ranges)
    run.outputs = np.empty((batch, length, units), kind)
    final = np.empty_like(run.states0)
    step, all_rows = strides = run.tape_strides
    if keep:
        run.tape = Workspace((1, length * all_rows), kind)
    else:
        run.tape, strides = Workspace((parts, step), kind), (0, 0)  # all is written to one place
    base, kernel = _base(run, b_r), _packed(run, run.loops.pack, run.W, run.U)
    run.loops.forward(
        threads.mailbox(parts), parts, run.ranges, run.reverse, run.width, run.loops.lanes,
        run.columns.groups(features, units), run.columns.gate_of, run.x, base, run.index, kernel.array,
        run.params, run.states0, run.mask, run.drop, run.outputs, final, run.tape.array, *strides,
    )  # fmt: skip
    return run.outputs, list(final), run if keep else None


def _prepare(code, source, U, b_r, params, states0, mask, rec_mask, reverse) -> Run:
    """Bring everything to the form that the loops are compiled for."""
    kind, units = U.dtype, len(U)
    loops = code.loops(kind)
    width = -(-units // loops.lanes) * loops.lanes
    batch, length, _ = source.shape
    given, source = source, _steps_as_rows(source)
    index, chosen = np.zeros((0, 0), np.intp), None
    if isinstance(source, Projection) and source.ids is None:
        x, W = own(source.x), own(source.W)
    else:
        x, W = np.zeros((batch, length, 0), kind), np.zeros((0, U.shape[1]), kind)
        if isinstance(source, Projection):
            chosen, index = _distinct(source.ids, len(source.x), mask)
        else:
            index = np.arange(batch * length).reshape(batch, length)
    padded = np.zeros((len(params), width), kind)
    for row, p in zip(padded, params, strict=True):
        row[:units] = p
    steps = batch * length if mask is None else int(mask.sum())
    small = steps * (x.shape[2] + units + _STEP) * U.shape[1] < _SMALL
    return Run(
        code, code.columns, loops, source, width, len(code.columns) * width, x, W, index, chosen, own(U),
        padded.reshape(-1),
        states0=np.array(states0),
        mask=np.zeros((0, 0), bool) if mask is None else own(mask),
        drop=_factors(source, x, rec_mask, kind, units),
        reverse=reverse,
        two_biases=b_r is not None,
        ranges=threads.ranges(batch, 1) if small else _shares(batch, mask),
        given=given,
    )  # fmt: skip


def _steps_as_rows(source: Any) -> Any:
    """Return the input of few rows as a table of all their steps, which are then projected beforehand.

    In the loop every row alone would be multiplied with the whole kernel.
    """
    if not isinstance(source, Projection) or source.ids is not None or source.masks is not None:
        return source
    batch, length, features = source.x.shape
    if batch >= _FEW or batch * length * features * source.W.shape[1] < _WORTH:
        return source
    steps = source.x.reshape(batch * length, features)
    return source._replace(x=steps, ids=np.arange(batch * length).reshape(batch, length))


def _shares(batch: int, mask: Any) -> np.ndarray:
    """Return the rows of each part: about as many time steps to compute for each."""
    if mask is None:
        return threads.ranges(batch, threads.get_num_threads(), 8)
    return np.array(threads.split(mask.sum(axis=1), threads.get_num_threads(), 8), np.intp).reshape(-1, 2)


def _distinct(ids: np.ndarray, n: int, mask: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return which of n rows are used in steps that count, and for each id its place among them."""
    ids, used = ids.astype(np.intp, copy=False), np.zeros(n, bool)
    used[ids if mask is None else ids[mask]] = True
    chosen = np.flatnonzero(used)
    place = np.zeros(n, np.intp)
    place[chosen] = np.arange(len(chosen))
    return chosen, own(place[ids])


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
    source, columns = run.source, run.columns
    if not isinstance(source, Projection):
        z = source.reshape(math.prod(source.shape[:2]), source.shape[2])
        return own(columns.spread(z, b_r, run.width)).reshape(-1)
    b = np.zeros(run.U.shape[1], run.U.dtype) if source.b is None else own(source.b)
    bias = columns.spread(b.reshape(1, -1), b_r, run.width).reshape(-1)
    if run.chosen is None:
        return bias
    table, W = own(source.x), own(source.W)
    kernel = _packed(run, run.loops.pack, W, run.U[:0])
    base = np.empty(len(run.chosen) * run.row, bias.dtype)
    ranges = _row_ranges(run)
    run.loops.project(
        threads.mailbox(len(ranges)), len(ranges), ranges, base, bias, table, run.chosen, kernel.array,
        columns.groups(len(W), 0), run.width, run.loops.lanes,
    )  # fmt: skip
    return base


def _packed(run: Run, pack: Callable, W: np.ndarray, U: np.ndarray) -> Workspace:
    """Return a joint kernel in the order of one way through the loop."""
    units, lanes = len(run.U), run.loops.lanes
    if pack is run.loops.pack:
        vectors, each = run.row // lanes, (len(W) + len(U)) * lanes
    else:
        of_x, of_u = (-(-len(kernel) // lanes) for kernel in (W, U))
        vectors, each = of_x + of_u, run.row * lanes
    out = Workspace((vectors * each,), run.U.dtype)
    ranges = threads.ranges(vectors, 1 if _is_small(out) else threads.get_num_threads())
    pack(
        threads.mailbox(len(ranges)), len(ranges), ranges, out.array, W, U, run.columns.table, units,
        run.width, lanes,
    )  # fmt: skip
    return out


def _is_small(kernel: Workspace) -> bool:
    """Whether one thread brings a kernel into another order in about the time in which another is called."""
    return kernel.array.size < _SMALL_KERNEL


def _row_ranges(run: Run) -> np.ndarray:
    """Return the chosen rows of the table that each part multiplies."""
    rows, (features, width) = len(run.chosen), run.source.W.shape
    return threads.ranges(rows, 1 if rows * features * width < _SMALL else threads.get_num_threads(), 8)


# --- the way back -----------------------------------------------------------------------------------------


def backward(run: Run, d_outputs: Any, d_final: Sequence, with_x: bool = True) -> tuple:
    """Carry gradients back through time; see `array.backward` for what comes in and out.

    In the place of ``d_xz`` it returns for a `Projection` the gradients of its parts; that of `x` is None
    without `with_x`.
    """
    batch, length, features = run.x.shape
    units, kind, parts = len(run.U), run.U.dtype, len(run.ranges)
    d_x = np.zeros((batch, length, features if with_x else 0), kind)
    d_states = np.zeros(run.states0.shape, kind)
    for row, d in zip(d_states, d_final, strict=True):
        if d is not None:
            row[...] = d
    d_outputs = np.zeros((0, 0, 0), kind) if d_outputs is None else own(d_outputs)
    table = run.chosen is not None
    if table:
        space = Workspace((parts, len(run.chosen) * run.row), kind)  # lent until the end of this function
        d_bases = space.array
    else:  # every step has a row of its own of pre-activations, or all have the biases
        d_bases = np.zeros((1, 0 if isinstance(run.source, Projection) else batch * length * run.row), kind)
    d_kernels = Workspace((parts, (features + units + run.loops.spare) * run.row), kind)
    d_params = np.zeros((parts, len(run.params)), kind)
    kernel = _packed(run, run.loops.pack_transposed, run.W, run.U)
    run.loops.backward(
        threads.mailbox(parts), parts, run.ranges, run.reverse, run.width, run.loops.lanes,
        run.columns.groups(features, units), run.columns.gate_of, run.x, run.index, kernel.array, run.params,
        run.states0, run.mask, run.drop, run.outputs, run.tape.array[0], *run.tape_strides,
        run.code.layout.late_slot, d_outputs, d_states, with_x and features > 0, d_x, d_bases,
        not table, d_kernels.array, d_params,
    )  # fmt: skip
    d_W, d_U, d_b, d_b_r = _unpacked(run, d_kernels, features, units, with_biases=not table)
    if table:
        d_x, d_kernels = _project_back(run, d_bases, with_x)
        d_W, _, d_b, d_b_r = _unpacked(run, d_kernels, len(run.source.W), 0, with_biases=True)
    if isinstance(run.source, Projection):
        d_x = d_x.reshape(run.given.x.shape) if with_x else None
        d_source = [d_x, d_W, *([] if run.source.b is None else [d_b])]
    else:
        d_base = d_bases.reshape(batch * length, run.row)
        d_source = run.columns.gather(d_base, run.columns.of_x, units).reshape(batch, length, -1)
    d_params = [d[:units] for d in d_params.sum(axis=0).reshape(-1, run.width)] if len(run.params) else []
    return d_source, d_U, d_b_r, d_params, list(d_states)


def _unpacked(run: Run, d_kernels: Workspace, of_W: int, of_U: int, with_biases: bool) -> list[np.ndarray]:
    """Return the gradients of W and U, of so many rows, and of both biases from those of a joint kernel."""
    width, found = run.U.shape[1], d_kernels.array
    of_b_r = width * (with_biases and run.two_biases)
    shapes = (of_W, width), (of_U, width), (width * with_biases,), (of_b_r,)
    out = [np.empty(shape, found.dtype) for shape in shapes]
    parts = 1 if _is_small(d_kernels) else threads.get_num_threads()
    ranges = threads.ranges(of_W + of_U + with_biases, parts)
    run.loops.unpack(
        threads.mailbox(len(ranges)), len(ranges), ranges, found, run.columns.table, len(run.U), run.width,
        *(d.reshape(-1, width) for d in out),
    )  # fmt: skip
    return out


def _project_back(run: Run, d_bases: np.ndarray, with_x: bool) -> tuple[np.ndarray, Workspace]:
    """Return the gradient of the table, and what the parts have found for W and the biases."""
    table, W = own(run.source.x), own(run.source.W)
    kernel = _packed(run, run.loops.pack_transposed, W, run.U[:0])
    ranges = _row_ranges(run)
    d_table = np.empty(table.shape if with_x else (0, table.shape[1]), table.dtype)
    d_kernels = Workspace((len(ranges), (len(W) + run.loops.spare) * run.row), table.dtype)
    run.loops.project_back(
        threads.mailbox(len(ranges)), len(ranges), ranges, d_bases, table, run.chosen, kernel.array,
        run.columns.groups(len(W), 0), d_table, d_kernels.array, run.width, run.loops.lanes,
    )  # fmt: skip
    return d_table, d_kernels
