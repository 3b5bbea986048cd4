"""CUDA C: compiled when it is first launched, and launched with arrays and numbers."""

from __future__ import annotations

import functools
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from tinyrnn.backend import array_module

__all__ = ["INTEGERS", "Kernel", "broadcast_number", "device_attribute", "own", "read_source", "source"]

OPTIONS = ("--std=c++17",)

INTEGERS = {"int32": "int", "int64": "long long"}
"""Types of numbers of rows, by NumPy's name: what they are called in C."""


@functools.cache
def read_source(path: Path) -> str:
    """Return the text of a ``.cu`` file of the package."""
    return path.read_text(encoding="utf-8")


def source(dtype: Any, *texts: str) -> str:
    """Return a whole source: the type of the numbers, the functions, then `texts`."""
    real = {"float32": "float", "float64": "double"}[np.dtype(dtype).name]
    functions = read_source(Path(__file__).with_name("functions.cu"))
    return "\n".join([f"typedef {real} real;", functions, *texts])


class Kernel:
    """One function of a CUDA source.

    Parameters
    ----------
    code : str
        See `source`. The same text is compiled once.
    name : str
        Of an ``extern "C" __global__`` function.
    """

    def __init__(self, code: str, name: str):
        self.code, self.name = code, name

    def __call__(self, grid: Any, block: int, *args: Any, shared: int = 0) -> None:
        """Launch.

        Parameters
        ----------
        grid : int or tuple of int
            Blocks; without any nothing is launched.
        block : int
            Threads of a block.
        *args : array, number or None
            Arrays of the device, without gaps, arrive as pointers and None as a null pointer; of Python's
            numbers an int arrives as ``long long``, a float as ``double``, a bool as ``int``. A NumPy number
            arrives in its own type.
        shared : int
            Bytes of dynamic shared memory for a block.

        Raises
        ------
        ValueError
            For an array with gaps.
        """
        xp = array_module(*args)
        for position, x in enumerate(args):
            if isinstance(x, xp.ndarray) and not x.flags.c_contiguous:
                raise ValueError(f"{self.name}: argument {position} has gaps: strides {x.strides}")
        grid = grid if isinstance(grid, tuple) else (grid,)
        if 0 not in grid:
            found = _function(xp, self.code, self.name, shared if shared > _ALWAYS_THERE else 0)
            found(grid, (block,), tuple(map(_as_argument, args)), shared_mem=shared)


_ALWAYS_THERE = 48 * 1024  # bytes of shared memory for which no kernel has to ask


@functools.lru_cache(maxsize=512)
def _function(xp: ModuleType, code: str, name: str, shared: int) -> Any:
    """Return a function that may have `shared` bytes, where that is more than all may have."""
    found = _module(xp, code).get_function(name)
    if shared and found.max_dynamic_shared_size_bytes < shared:
        found.max_dynamic_shared_size_bytes = shared
    return found


@functools.lru_cache(maxsize=512)
def _module(xp: ModuleType, code: str) -> Any:
    return xp.RawModule(code=code, options=OPTIONS)


def _as_argument(x: Any) -> Any:
    if x is None:
        return np.uint64(0)
    if isinstance(x, bool):
        return np.int32(x)
    if isinstance(x, int):
        return np.int64(x)
    return np.float64(x) if isinstance(x, float) else x


def own(x: Any) -> Any:
    """Return `x` as an array without gaps, itself if it is one."""
    return x if x.flags.c_contiguous else array_module(x).ascontiguousarray(x)


def broadcast_number(x: Any) -> tuple[Any, int]:
    """Return `x` without gaps, and how far apart its elements are: 0 if all of them are one number."""
    if x.size > 1 and not any(x.strides):
        return x[(0,) * x.ndim], 0
    return own(x), 1


@functools.cache
def device_attribute(xp: ModuleType, name: str) -> int:
    """Return a property of the current device, by CUDA's name of it in CuPy's spelling."""
    return int(xp.cuda.Device().attributes[name])
