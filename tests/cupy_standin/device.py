"""The state of the device that is not there: what was copied and launched, which memory is taken."""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import cupy_standin

__all__ = ["HostCopyError", "claim", "copies", "fetch", "issue", "no_host_copies", "root", "send", "streams"]


class Copies:
    """What went over the bus and what was launched, counted since the start of a test."""

    def __init__(self):
        self.reset()

    def reset(self) -> None:
        self.to_host = self.to_device = self.launches = 0
        self.forbidden = False


class HostCopyError(AssertionError):
    """The host waited for a value of the device where it must not."""


copies = Copies()


class Streams(threading.local):
    """The streams that a thread has entered, the current one last; empty: the default stream."""

    def __init__(self):
        self.entered = []

    @property
    def recorded(self) -> list | None:
        """What the current stream records, None if it runs what it is given."""
        return self.entered[-1].recorded if self.entered else None


streams = Streams()


@contextlib.contextmanager
def no_host_copies() -> Iterator[None]:
    """A context in which the first copy to the host raises `HostCopyError`, from where it is asked for."""
    before, copies.forbidden = copies.forbidden, True
    try:
        yield
    finally:
        copies.forbidden = before


def fetch(how: str) -> None:
    """Count a copy to the host, and whatever else makes the host wait for a value."""
    if streams.recorded is not None:
        raise cupy_standin.cuda.runtime.CUDARuntimeError(
            f"cudaErrorStreamCaptureUnsupported: a copy to the host ({how}) while a stream captures"
        )
    copies.to_host += 1
    if copies.forbidden:
        raise HostCopyError(f"a copy to the host: {how}")


def send() -> None:
    """Count a copy of host memory to the device."""
    if streams.recorded is not None:
        raise cupy_standin.cuda.runtime.CUDARuntimeError(
            "cudaErrorStreamCaptureUnsupported: a copy of host memory while a stream captures"
        )
    copies.to_device += 1


def issue(work: Callable[[], object], *touched: Any) -> None:
    """Run `work`, which writes into memory that is there already, or record it if the stream captures.

    `touched` are the device arrays that it reads or writes. What is recorded does not keep their memory:
    neither does a CUDA graph.
    """
    if streams.recorded is None:
        copies.launches += 1
        with np.errstate(all="ignore"):
            work()
    else:
        streams.recorded.append((work, [weakref.ref(array._memory) for array in touched]))


# --- memory -----------------------------------------------------------------------------------------------


class Memory:
    """A piece of the device's memory, free again when no device array lies in it any more."""

    __slots__ = ("__weakref__", "array")

    def __init__(self, array: np.ndarray):
        self.array = array  # keeps its address from being used again as long as this is known by it
        if cupy_standin.free_bytes is not None:
            cupy_standin.free_bytes -= array.nbytes

    def __del__(self):
        if cupy_standin.free_bytes is not None:
            cupy_standin.free_bytes += self.array.nbytes


pieces: weakref.WeakValueDictionary[int, Memory] = weakref.WeakValueDictionary()
"""The memory that is taken, by the id of the NumPy array that owns it."""


def root(array: np.ndarray) -> np.ndarray:
    """Return the array whose memory `array` is a view of."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def claim(array: np.ndarray) -> Memory:
    """Return the memory in which `array` lies, which is accounted for if it is new."""
    array = root(array)
    memory = pieces.get(id(array))
    if memory is not None:
        return memory
    if streams.recorded is not None:
        raise cupy_standin.cuda.runtime.CUDARuntimeError(
            "cudaErrorStreamCaptureUnsupported: memory for a new array while a stream captures; give `out`"
        )
    free = cupy_standin.free_bytes
    if free is not None and array.nbytes > free:
        raise cupy_standin.cuda.memory.OutOfMemoryError(array.nbytes, taken_bytes(), free)
    memory = pieces[id(array)] = Memory(array)
    return memory


def taken_bytes() -> int:
    """Return how many bytes the arrays of the device take."""
    return sum(memory.array.nbytes for memory in list(pieces.values()))
