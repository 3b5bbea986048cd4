"""A stand-in for CuPy on a machine without a GPU, for tests. It is no emulator: it answers three questions.

- Is an array of the host ever mixed with one of the device, or converted without being asked? It raises.
- How often does the host wait for the device, and how many kernels are launched? It counts: see `copies`
  and `no_host_copies`.
- Do our kernels compute what they should? `RawModule` compiles CUDA C for the CPU and runs it there.

It offers only what CuPy offers, with the same parameters (`test_cupy_standin.py` compares where CuPy is
installed). A test changes the machine by `device_count`, `device_properties` and `free_bytes`.
"""

from __future__ import annotations

import sys
import types

from cupy_standin import cuda, functions
from cupy_standin.arrays import ndarray
from cupy_standin.cuda import get_default_memory_pool, is_available
from cupy_standin.device import HostCopyError, copies, no_host_copies
from cupy_standin.on_cpu import RawKernel, RawModule

__all__ = [
    "HostCopyError",
    "RawKernel",
    "RawModule",
    "copies",
    "cuda",
    "get_default_memory_pool",
    "is_available",
    "modules",
    "ndarray",
    "no_host_copies",
    "reset",
]

__version__ = "14.0.0"

free_bytes = None  # of the device; None: without end
device_count = 1
device_properties = {}

globals().update(functions.NAMES)


def reset() -> None:
    """Return to the state in which a test finds it."""
    global free_bytes, device_count
    copies.reset()
    free_bytes, device_count = None, 1
    device_properties.clear()
    device_properties.update(cuda.PROPERTIES)


def modules() -> dict[str, types.ModuleType]:
    """Return what CuPy would have put into ``sys.modules``, by name."""
    found = {"cupy": sys.modules[__name__], "cupy.cuda": cuda}
    for name in ("cupyx", "cupyx.scipy", "cupyx.scipy.special"):
        found[name] = types.ModuleType(name)
    found["cupyx"].scipy = found["cupyx.scipy"]
    found["cupyx"].scatter_add = lambda a, slices, value: a.scatter_add(slices, value)
    found["cupyx.scipy"].special = found["cupyx.scipy.special"]
    found["cupyx.scipy.special"].erf = functions._erf
    return found


def __getattr__(name: str):
    raise AttributeError(f"the stand-in for CuPy has no {name!r}: if CuPy has it, add it to cupy_standin")


reset()
