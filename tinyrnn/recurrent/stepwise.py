"""A launch for each time step, product and all: for kernels too large for one block, see `stepwise.cu`.

The launches of a sequence are the same every time, in the same arrays. So they are recorded in a CUDA graph
when they are made for the second time, and from then on one call starts them all. (CuPy records no call of
cuBLAS, so a step's product is computed by the step's own kernel.)
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from tinyrnn.backend import array_module
from tinyrnn.cuda.module import Kernel, read_source, source
from tinyrnn.recurrent.cells import Cell
from tinyrnn.recurrent.emit_cuda import StepSource
from tinyrnn.recurrent.sequence import Gradients, Run

__all__ = ["Stepwise", "release", "threads_that_fit"]

_ROWS, _UNITS, _DEPTH = 32, 8, 16  # of a tile, as in stepwise.cu
_PITCH = _ROWS + 4
_THREADS = (256, 128, 64)  # of a block, by falling preference
_MOST_THREADS = 1024


def threads_that_fit(cell: Cell, dtype: Any, most: int) -> int | None:
    """Return how many threads a block should have for its shared memory to be at most `most` bytes.

    None if a tile of so many gates fits into no block.
    """
    early = len(cell.gates) - len(cell.late_gates)
    for threads in _THREADS:
        team, shared = _tile(max(early, len(cell.late_gates)), True, threads, np.dtype(dtype).itemsize)
        if shared <= most and team <= _MOST_THREADS:
            return threads
    return None


def _tile(gates: int, apart: bool, most_threads: int, size: int) -> tuple[int, int]:
    """Return the threads of a block and its shared memory, for a product of so many gates.

    `apart` says whether each gate's kernel multiplies something of its own.
    """
    team = _ROWS * _UNITS * gates // 16
    teams = max(1, most_threads // team)
    chunk = _DEPTH * (_PITCH * (gates if apart else 1) + _UNITS * gates)
    results = _ROWS * _UNITS * gates
    return team * teams, teams * max(chunk, results) * size


class Stepwise:
    """The kernels of a cell for one float type, with recurrent dropout or without.

    Parameters
    ----------
    cell : Cell
    step : StepSource
        What was printed for it.
    dtype : dtype
    drops : bool
    threads : int
        That a block should have, see `threads_that_fit`.
    """

    def __init__(self, cell: Cell, step: StepSource, dtype: Any, drops: bool, threads: int = _THREADS[0]):
        text = f"constexpr bool DROPS = {str(drops).lower()};\nconstexpr int MOST_THREADS = {threads};"
        self.code = source(dtype, text, step.text, read_source(Path(__file__).with_name("stepwise.cu")))
        self.step, self.dtype = step, np.dtype(dtype)
        self.gates, self.late = len(cell.gates), len(cell.late_gates)
        early = max(self.gates - self.late, 1)
        tiles = {"forward": (self.late or self.gates, drops), "backward": (early, True)}
        if self.late:
            tiles |= {"forward_late": (early, drops), "backward_late": (self.late, True)}
        self._kernels = {
            name: (Kernel(self.code, name), *_tile(*tile, threads, self.dtype.itemsize))
            for name, tile in tiles.items()
        }

    def launch(self, name: str, batch: int, units: int, *arguments: Any) -> None:
        """Run one kernel on all tiles."""
        kernel, threads, shared = self._kernels[name]
        kernel((-(-units // _UNITS), -(-batch // _ROWS)), threads, *arguments, shared=shared)

    def forward(self, run: Run) -> tuple[Any, Any]:
        """Run all steps; returns outputs ``(batch, length, units)`` and states ``(states, batch, units)``."""
        run.borrowed = Borrowed(Form.of(self, run))
        buffers = run.borrowed.buffers
        buffers.fill(run)
        buffers.forward()
        run.before, run.late, run.tape = buffers.before, buffers.late, buffers.tape
        outputs, finals = buffers.outputs.copy(), buffers.states.copy()
        finals[0] = outputs[:, buffers.times[-1]]
        return outputs, finals

    def backward(self, run: Run, d_outputs: Any, d_finals: Any) -> Gradients:
        """Carry gradients back through all steps."""
        buffers = run.borrowed.buffers
        buffers.d_outputs[...] = 0.0 if d_outputs is None else d_outputs
        buffers.d_states[...] = d_finals
        if buffers.d_params is not None:
            buffers.d_params[...] = 0.0
        buffers.backward()
        xz, rz, states0 = buffers.d_xz, buffers.d_rz, buffers.d_states.copy()
        x_bias = xz.sum(axis=(0, 1))
        r_bias = x_bias if self.step.joint else rz.sum(axis=(0, 1))
        d_params = None if buffers.d_params is None else buffers.d_params.sum(axis=0)
        return Gradients(xz, rz, states0, x_bias, r_bias, d_params)


class Recorded:
    """Launches to be made again and again with the same arguments; it does not hold what makes them.

    The first time they are simply made, which compiles what they need; the second time they are recorded.
    ``TINYRNN_CUDA_GRAPHS=0`` in the environment keeps them from being recorded.
    """

    def __init__(self):
        self._runs = 0
        self._graph: Any = None

    def __call__(self, xp: ModuleType, launches: Callable[[], None]) -> None:
        """Make them."""
        self._runs += 1
        if self._graph is None and self._runs > 1 and os.environ.get("TINYRNN_CUDA_GRAPHS") != "0":
            self._graph = _record(xp, launches)
        if self._graph is None:
            launches()
        else:
            self._graph.launch()


def _record(xp: ModuleType, launches: Callable[[], None]) -> Any:
    with xp.cuda.Stream(non_blocking=True) as stream:  # the default stream records nothing
        stream.begin_capture()
        try:
            launches()
        finally:
            graph = stream.end_capture()
    return graph


class Form(NamedTuple):
    """What a sequence must have in common with another to use its arrays.

    Attributes
    ----------
    x_bias, r_bias, mask, factors : bool
        Whether there is one.
    keep : bool
        Whether there will be a way back.
    """

    way: Stepwise
    xp: ModuleType
    batch: int
    length: int
    units: int
    states: int
    params: int
    x_bias: bool
    r_bias: bool
    mask: bool
    factors: bool
    reverse: bool
    keep: bool

    @classmethod
    def of(cls, way: Stepwise, run: Run) -> Form:
        """Return that of a sequence."""
        optional = (x is not None for x in (run.x_bias, run.r_bias, run.mask, run.factors))
        n_params = 0 if run.params is None else len(run.params)
        sizes = *run.sizes, len(run.states0), n_params
        return cls(way, array_module(run.U), *sizes, *optional, run.reverse, run.keep)


class Buffers:
    """The arrays of a sequence on its way forward and back, and its launches; for the shapes see the kernels.

    Parameters
    ----------
    form : Form
    """

    def __init__(self, form: Form):
        self.form = form
        way, batch, length, units = form.way, form.batch, form.length, form.units
        gates, kind = way.gates, way.dtype

        def new(*shape: int, there: bool = True, dtype: Any = kind) -> Any:
            return form.xp.empty(shape, dtype) if there else None

        self.xz, self.outputs = new(batch, length, gates * units), new(batch, length, units)
        self.kernel = new(units, gates * units)
        self.x_bias, self.r_bias = (new(gates * units, there=b) for b in (form.x_bias, form.r_bias))
        self.params = new(form.params, units, there=form.params > 0)
        self.mask = new(batch, length, there=form.mask, dtype=bool)
        self.factors = new(gates, batch, units, there=form.factors)
        self.first, self.states = new(batch, units), new(form.states, batch, units)
        self.late = new(batch, length, units, there=way.late > 0)
        self.products = new(batch, gates * units, there=way.late > 0)
        self.tape = new(batch, length, way.step.tape, units, there=form.keep)
        self.before = new(batch, length, units, there=form.keep)
        self.d_outputs = new(batch, length, units, there=form.keep)
        self.d_xz = new(batch, length, gates * units, there=form.keep)
        self.d_rz = self.d_xz if way.step.joint else new(batch, length, gates * units, there=form.keep)
        self.d_states = new(form.states, batch, units, there=form.keep)
        self.d_params = new(batch, form.params, units, there=form.keep and form.params > 0)
        self._forward, self._backward = Recorded(), Recorded()

    def fill(self, run: Run) -> None:
        """Copy in what a sequence begins with."""
        names = ("xz", "x_bias", "r_bias", "params", "mask", "factors")
        for name in names:
            value = getattr(run, name)
            if value is not None:
                getattr(self, name)[...] = value
        self.kernel[...] = run.U
        self.states[...] = run.states0
        self.first[...] = run.states0[0]

    @property
    def times(self) -> range:
        """The time steps in the order of the way forward."""
        steps = range(self.form.length)
        return steps[::-1] if self.form.reverse else steps

    def forward(self) -> None:
        """Run all steps, from `first` and `states` on."""
        self._forward(self.form.xp, self._launch_forward)

    def backward(self) -> None:
        """Go back through all steps, from `d_states` on, which in the end belong to the initial states."""
        self._backward(self.form.xp, self._launch_backward)

    def _launch_forward(self) -> None:
        way, batch, length, units = self.form.way, self.form.batch, self.form.length, self.form.units
        h = (self.first, 0, units)
        for t in self.times:
            arguments = (
                self.xz, self.x_bias, self.kernel, self.r_bias, self.params, self.mask, self.factors, *h,
                self.states, self.outputs, self.tape, self.before, self.late, self.products, batch, length,
                units, t,
            )  # fmt: skip
            if way.late:
                way.launch("forward_late", batch, units, *arguments)
            way.launch("forward", batch, units, *arguments)
            h = (self.outputs, t * units, length * units)

    def _launch_backward(self) -> None:
        way, batch, length, units = self.form.way, self.form.batch, self.form.length, self.form.units
        given = self.kernel, self.params, self.mask, self.factors, self.before, self.tape
        found = self.d_states, self.d_xz, self.d_rz, self.d_params, batch, length, units
        done = -1
        for t in [*self.times[::-1], -1]:
            way.launch("backward", batch, units, *given, self.d_outputs, *found, done, t)
            if way.late and t >= 0:
                way.launch("backward_late", batch, units, *given, *found, t)
            done = t


_free: deque[Buffers] = deque(maxlen=8)  # the oldest goes first; its methods need no lock


def release() -> None:
    """Let go of the buffers that nobody uses."""
    _free.clear()


class Borrowed:
    """Buffers that are lent until this object goes."""

    def __init__(self, form: Form):
        self.buffers = _take(form)

    def __del__(self) -> None:
        buffers = getattr(self, "buffers", None)
        if buffers is not None:
            _free.append(buffers)


def _take(form: Form) -> Buffers:
    for _ in range(len(_free)):
        try:
            buffers = _free.popleft()
        except IndexError:  # another thread was faster
            break
        if buffers.form == form:
            return buffers
        _free.append(buffers)
    return Buffers(form)
