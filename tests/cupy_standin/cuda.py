"""`cupy.cuda`: the device and its properties, streams, what runs out."""

from __future__ import annotations

import types
from typing import Any

PROPERTIES = {
    "name": b"stand-in", "major": 9, "minor": 0, "totalGlobalMem": 80 << 30, "multiProcessorCount": 132,
    "sharedMemPerBlock": 48 << 10, "sharedMemPerBlockOptin": 227 << 10,
    "sharedMemPerMultiprocessor": 228 << 10,
    "maxThreadsPerBlock": 1024, "warpSize": 32, "regsPerBlock": 65536, "regsPerMultiprocessor": 65536,
    "l2CacheSize": 50 << 20,
}  # fmt: skip


class CUDARuntimeError(RuntimeError):
    """An error of the CUDA runtime."""


class OutOfMemoryError(MemoryError):
    """The device has no memory left."""

    def __init__(self, size: int, total: int, limit: int = 0):
        super().__init__(f"Out of memory allocating {size:,} bytes (allocated so far: {total:,} bytes).")


class CUDADriverError(RuntimeError):
    """An error of the CUDA driver."""


class CompileException(Exception):  # noqa: N818
    """A source that does not compile, with what the compiler says."""

    def __init__(self, msg: str, source: str, name: str, options: Any, backend: str = "nvrtc"):
        super().__init__(msg)


driver = types.SimpleNamespace(CUDADriverError=CUDADriverError)
compiler = types.SimpleNamespace(CompileException=CompileException)
runtime = types.SimpleNamespace(CUDARuntimeError=CUDARuntimeError)
memory = types.SimpleNamespace(OutOfMemoryError=OutOfMemoryError)


class Device:
    """A device."""

    def __init__(self, device: Any = None):
        self.id = 0 if device is None else int(device)
