"""Arrays and randomness: which library holds the numbers, their default type, where chance comes from.

This is the only file that may know about CuPy. Everything above it asks `array_module` for the
library an array belongs to and calls that.
"""

from __future__ import annotations

import random
import sys
from types import ModuleType
from typing import Any

import numpy as np

__all__ = [
    "EPSILON",
    "array_module",
    "default_generator",
    "floatx",
    "is_float",
    "new_generator",
    "set_floatx",
    "set_random_seed",
    "to_device",
    "to_host",
]

FLOAT_TYPES = ("float32", "float64")

EPSILON = 1e-7
"""Keras's distance from where a logarithm or a quotient fails."""

_floatx = "float32"


def floatx() -> str:
    """Return the name of the default float type of weights and data, ``"float32"`` unless set."""
    return _floatx


def set_floatx(dtype: str) -> None:
    """Set the default float type.

    Parameters
    ----------
    dtype : {"float32", "float64"}

    Raises
    ------
    ValueError
        For any other name.
    """
    global _floatx
    if dtype not in FLOAT_TYPES:
        raise ValueError(f"floatx: expected one of {', '.join(FLOAT_TYPES)}, found {dtype!r}")
    _floatx = dtype


def is_float(dtype: Any) -> bool:
    """Whether `dtype` is a floating type, one that can carry a gradient."""
    return np.dtype(dtype).kind == "f"


def array_module(*arrays: Any) -> ModuleType:
    """Return the module (NumPy or CuPy) that `arrays` belong to.

    Python numbers belong to both. A host array beside a device array is an error, never a copy.

    Raises
    ------
    TypeError
        If arrays of both kinds are given.
    """
    cupy = sys.modules.get("cupy")
    if cupy is None:  # no CuPy loaded: there cannot be a CuPy array
        return np
    on_device = {isinstance(a, cupy.ndarray) for a in arrays if isinstance(a, np.ndarray | cupy.ndarray)}
    if len(on_device) == 2:
        raise TypeError(
            "arrays of the host and of the device in one operation: move one with to_device or to_host"
        )
    return cupy if on_device == {True} else np


def to_device(array: Any) -> Any:
    """Copy a host array to the GPU (CuPy must be installed)."""
    import cupy

    return cupy.asarray(array)


def to_host(array: Any) -> np.ndarray:
    """Return `array` as a NumPy array, copied from the GPU where it lives there."""
    return array.get() if array_module(array) is not np else np.asarray(array)


# --- randomness -------------------------------------------------------------------------------------------

_default_generator = np.random.default_rng()


def set_random_seed(seed: int) -> None:
    """Seed Python's, NumPy's and tinyrnn's random numbers: the same seed gives the same bits.

    Parameters
    ----------
    seed : int
        In ``0 ... 2**32 - 1`` (what NumPy's old global generator accepts).
    """
    global _default_generator
    random.seed(seed)
    np.random.seed(seed)
    _default_generator = np.random.default_rng(seed)


def default_generator() -> np.random.Generator:
    """Return the generator that shuffles and from which unseeded layers draw their seeds."""
    return _default_generator


def new_generator(seed: int | None = None) -> np.random.Generator:
    """Return a generator of its own: from `seed`, or from a seed drawn from the default generator."""
    if seed is None:
        seed = int(_default_generator.integers(2**63))
    return np.random.default_rng(seed)
