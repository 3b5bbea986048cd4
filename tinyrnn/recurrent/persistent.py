"""All time steps in one launch: a block of threads for each row of the batch, see `persistent.cu`.

It takes a recurrent kernel that fits into one block's registers and shared memory.
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from tinyrnn.backend import array_module
from tinyrnn.cuda.module import Kernel, device_attribute, read_source, source
from tinyrnn.recurrent.emit_cuda import StepSource
from tinyrnn.recurrent.sequence import Gradients, Run

__all__ = ["Fit", "Persistent", "fit", "most_shared"]

_REGISTERS = 65536  # of a multiprocessor, from compute capability 7.5 on
_MOST_REGISTERS = 248  # of a thread, that a kernel uses
_MOST_THREADS = 1024  # of a block


class Fit(NamedTuple):
    """How a recurrent kernel lies in a block.

    Attributes
    ----------
    threads : int
    held : int
        How many rows of it are in registers.
    shared : int
        Bytes of shared memory, for the other rows and what the threads exchange.
    """

    threads: int
    held: int
    shared: int


def fit(gates: int, units: int, others: int, dtype: Any, most_shared: int) -> Fit | None:
    """Return how a recurrent kernel ``(units, gates * units)`` fits into a block; None if it does not.

    Parameters
    ----------
    others : int
        How many numbers a thread holds beside its part of the kernel.
    most_shared : int
        Bytes of shared memory that a block may have.
    """
    size = np.dtype(dtype).itemsize
    lanes = 16 // size
    columns, padded = gates * units, _up(units, lanes)
    threads = _up(columns, 32)
    if threads > _MOST_THREADS:
        return None
    registers = _REGISTERS // _up(threads, 128)  # a multiprocessor has four parts, each with its warps
    registers = min(registers // 8 * 8, _MOST_REGISTERS) // (size // 4) - others
    held = min(max(registers, 0) // lanes * lanes, padded)
    shared = size * (gates * padded + columns + (padded - held) * threads)
    return Fit(threads, held, shared) if shared <= most_shared else None


def _up(n: int, multiple: int) -> int:
    return -(-n // multiple) * multiple


class Persistent:
    """The two kernels of a cell for one number of units and one float type.

    Parameters
    ----------
    step : StepSource
        What was printed for the cell.
    fitted : Fit
    units : int
    dtype : dtype
    has_late : bool
        Whether the cell has late gates.
    """

    def __init__(self, step: StepSource, fitted: Fit, units: int, dtype: Any, has_late: bool):
        sizes = f"constexpr int UNITS = {units}, HELD = {fitted.held};"
        self.code = source(dtype, sizes, step.text, read_source(Path(__file__).with_name("persistent.cu")))
        self.step, self.fitted, self.has_late = step, fitted, has_late
        self._kernels = {name: Kernel(self.code, name) for name in ("forward", "backward")}

    def _launch(self, name: str, batch: int, *arguments: Any) -> None:
        self._kernels[name](batch, self.fitted.threads, *arguments, shared=self.fitted.shared)

    def forward(self, run: Run) -> tuple[Any, Any]:
        """Run all steps; returns outputs ``(batch, length, units)`` and states ``(states, batch, units)``."""
        xp, kind = array_module(run.U), run.U.dtype
        batch, length, units = run.sizes
        outputs, finals = xp.empty((batch, length, units), kind), xp.empty_like(run.states0)
        if run.keep:
            run.tape = xp.empty((batch, length, self.step.tape, units), kind)
            run.before = xp.empty_like(outputs)
            run.late = xp.empty_like(outputs) if self.has_late else None
        self._launch(
            "forward", batch, run.xz, run.x_bias, run.U, run.r_bias, run.params, run.states0, run.mask,
            run.factors, outputs, finals, run.tape, run.before, run.late, batch, length, run.reverse,
        )  # fmt: skip
        return outputs, finals

    def backward(self, run: Run, d_outputs: Any, d_finals: Any) -> Gradients:
        """Carry gradients back through all steps."""
        xp, kind = array_module(run.U), run.U.dtype
        batch, length, _ = run.sizes
        columns, joint = run.U.shape[1], self.step.joint
        d_xz, d_states0 = xp.empty((batch, length, columns), kind), xp.empty_like(run.states0)
        d_rz = d_xz if joint else xp.empty_like(d_xz)
        x_bias = xp.empty((batch, columns), kind)
        r_bias = x_bias if joint else xp.empty_like(x_bias)
        d_params = None if run.params is None else xp.empty((batch, *run.params.shape), kind)
        self._launch(
            "backward", batch, run.U, run.params, run.mask, run.factors, run.before, run.tape, d_outputs,
            d_finals, d_xz, d_rz, d_states0, x_bias, r_bias, d_params, batch, length, run.reverse,
        )  # fmt: skip
        d_x_bias = x_bias.sum(axis=0)
        d_r_bias = d_x_bias if joint else r_bias.sum(axis=0)
        d_params = None if d_params is None else d_params.sum(axis=0)
        return Gradients(d_xz, d_rz, d_states0, d_x_bias, d_r_bias, d_params)


def most_shared(xp: ModuleType) -> int:
    """Return how many bytes of shared memory a block of this device may have."""
    return device_attribute(xp, "MaxSharedMemoryPerBlockOptin")
