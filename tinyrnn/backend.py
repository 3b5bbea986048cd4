"""Arrays and randomness: which library holds the numbers, their default type, where chance comes from.

This is the only file that may know about CuPy. Everything above it asks `array_module` for the
library an array belongs to and calls that; what is made anew is made with `device_module()`, or brought to
the current device by `placed`.

What a program reads comes from the device through `to_host`, which waits until everything asked for before is
done. A training step must not wait. So a check on values of the device (`verify`) is looked at when the next
number is fetched.
"""

from __future__ import annotations

import os
import random
import sys
import threading
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

__all__ = [
    "EPSILON",
    "DeviceError",
    "array_module",
    "check_now",
    "default_generator",
    "device_module",
    "device_reason",
    "draw_seed",
    "floatx",
    "get_device",
    "is_float",
    "new_generator",
    "number",
    "on_device",
    "placed",
    "set_device",
    "set_floatx",
    "set_random_seed",
    "to_device",
    "to_host",
    "verify",
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


# --- devices ----------------------------------------------------------------------------------------------

DEVICES = ("cpu", "gpu", "auto")
OLDEST_CUPY = 14  # the first whose types of results are those of NumPy 2
OLDEST_CAPABILITY = 75  # of a GPU: 7.5, which is what CUDA 13 compiles for at least
INSTALL = 'pip install "tinyrnn[gpu]" (or "tinyrnn[gpu-cuda12]" for a driver of CUDA 12)'

_module: ModuleType | None = None  # NumPy or CuPy; None until something asks
_reason = ""


class DeviceError(RuntimeError):
    """The GPU was asked for and cannot be used; says what was found and what to do."""


def set_device(device: str) -> None:
    """Choose where weights and data are from now on.

    Models compute where they were made: make or load them after this. The environment variable
    ``TINYRNN_DEVICE`` says where a program begins, which is ``"cpu"`` unless it is set.

    Parameters
    ----------
    device : {"cpu", "gpu", "auto"}
        ``"gpu"`` is an NVIDIA GPU, through CuPy. ``"auto"`` takes it if it can be used, the CPU otherwise;
        `device_reason` says why.

    Raises
    ------
    ValueError
        For any other name.
    DeviceError
        If ``"gpu"`` cannot be used. Everything then stays as it was.
    """
    _choose(device, "device")


def _choose(device: str, argument: str) -> None:
    global _module, _reason
    if device not in DEVICES:
        raise ValueError(f"{argument}: expected one of {', '.join(DEVICES)}, found {device!r}")
    if device == "cpu":
        _module, _reason = np, "asked for"
        return
    try:
        _module, _reason = _usable_cupy(), "asked for" if device == "gpu" else "it can be used"
    except DeviceError as error:
        if device == "gpu":
            raise
        _module, _reason = np, str(error)


def get_device() -> str:
    """Return the device where weights and data are made now, ``"cpu"`` or ``"gpu"``."""
    return "cpu" if device_module() is np else "gpu"


def device_reason() -> str:
    """Return why `get_device` is what it is: it was asked for, or what kept ``"auto"`` from the GPU."""
    device_module()
    return _reason


def device_module() -> ModuleType:
    """Return the module (NumPy or CuPy) that makes arrays on the current device."""
    if _module is None:
        _choose(os.environ.get("TINYRNN_DEVICE") or "cpu", "TINYRNN_DEVICE")
    return _module


def _usable_cupy() -> ModuleType:
    """Import CuPy, if it and a GPU can be used; otherwise a DeviceError says what is missing."""
    try:
        import cupy
    except ImportError as error:
        reason = str(error).strip("= \n").splitlines()[0]
        raise DeviceError(f"the GPU needs CuPy, which cannot be imported ({reason}): {INSTALL}") from error
    if int(cupy.__version__.split(".")[0]) < OLDEST_CUPY:
        raise DeviceError(f"the GPU needs CuPy {OLDEST_CUPY} or later, found {cupy.__version__}: {INSTALL}")
    try:
        cupy.cuda.runtime.getDeviceCount()  # which is an error where there is none
        capability = cupy.cuda.Device().compute_capability
    except RuntimeError as error:
        raise DeviceError(
            f"CuPy {cupy.__version__} finds no GPU ({error}): it needs an NVIDIA GPU that "
            "CUDA_VISIBLE_DEVICES does not hide, and a driver that is new enough for its CUDA; for an older "
            f"driver {INSTALL}"
        ) from error
    if int(capability) < OLDEST_CAPABILITY:
        raise DeviceError(
            f"the GPU has compute capability {_dotted(capability)}, expected at least "
            f"{_dotted(str(OLDEST_CAPABILITY))}"
        )
    return cupy


def _dotted(capability: str) -> str:
    return f"{capability[:-1]}.{capability[-1]}"


# --- arrays -----------------------------------------------------------------------------------------------


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
    found = {isinstance(a, cupy.ndarray) for a in arrays if isinstance(a, np.ndarray | cupy.ndarray)}
    if len(found) == 2:
        raise TypeError(
            "arrays of the host and of the device in one operation: a model computes where it was made, so "
            "make or load it after set_device; a constant becomes an array of the device by "
            "Tensor(constant), and backend.to_device and to_host move single arrays"
        )
    return cupy if found == {True} else np


_OF_HOST = frozenset((np.ndarray, float, int))  # the usual


def on_device(x: Any) -> bool:
    """Whether `x` is an array of the GPU."""
    return type(x) not in _OF_HOST and array_module(x) is not np


def placed(x: Any) -> Any:
    """Return `x` where arrays are made now: one of the host is copied if that is the GPU.

    Anything else, an array of the GPU too, is returned as it is.
    """
    module = _module or device_module()
    if module is np or not isinstance(x, (np.ndarray, np.generic)):
        return x
    return module.asarray(x)


def to_device(array: Any) -> Any:
    """Copy a host array to the GPU (CuPy must be installed)."""
    import cupy

    return cupy.asarray(array)


def to_host(array: Any) -> np.ndarray:
    """Return `array` as a NumPy array, copied from the GPU where it lives there.

    Raises
    ------
    Exception
        What `verify` has to say of the values so far, if the array lives on the GPU.
    """
    if array_module(array) is np:
        return np.asarray(array)
    check_now()
    return array.get()


def number(x: Any) -> Any:
    """Return an array of one element as a float; one of the GPU in float64, and not fetched."""
    return float(x) if array_module(x) is np else x.astype("float64", copy=False)


# --- checks on values -------------------------------------------------------------------------------------


class _Checks(threading.local):
    def __init__(self):
        self.waiting: list[tuple[Any, Callable[[], Exception]]] = []


_checks = _Checks()
MOST_WAITING = 256  # checks, with the arrays that their errors look at


def verify(ok: Any, error: Callable[[], Exception]) -> None:
    """Raise ``error()`` unless `ok`.

    Where `ok` is on the host, at once. On the GPU later, so that nothing has to wait for the value: when
    anything is fetched from there, at the latest after a number of further checks.

    Parameters
    ----------
    ok : bool, or array of one bool
    error : callable
        Makes the exception. It may look at arrays, which must not change any more.
    """
    if array_module(ok) is np:
        if not ok:
            raise error()
        return
    _checks.waiting.append((ok, error))
    if len(_checks.waiting) >= MOST_WAITING:
        check_now()


def check_now() -> None:
    """Raise the error of the first check that has failed on the GPU in this thread; all others are over."""
    waiting, _checks.waiting = _checks.waiting, []
    if not waiting:
        return
    flags = array_module(waiting[0][0]).stack([ok for ok, _ in waiting]).get()
    for ok, (_, error) in zip(flags, waiting, strict=True):
        if not ok:
            raise error()


class _DroppedChecks:
    """Context after whose end by an exception nothing waits to be checked: it would surface elsewhere."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, *exception: object) -> None:
        if kind is not None:
            _checks.waiting = []


dropped_checks = _DroppedChecks()


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
    return np.random.default_rng(draw_seed(_default_generator) if seed is None else seed)


def draw_seed(generator: np.random.Generator) -> int:
    """Return a seed below 2**63: for another generator, or for numbers that are drawn on the device."""
    return int(generator.integers(2**63))
