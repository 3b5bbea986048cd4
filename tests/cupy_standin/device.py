"""The state of the device that is not there: what was copied and launched, which memory is taken."""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections.abc import Callable, Iterator

import numpy as np

import cupy_standin

__all__ = ["HostCopyError", "claim", "copies", "fetch", "issue", "no_host_copies", "root", "streams"]


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


def issue(work: Callable[[], object]) -> None:
    """Run `work`, which writes into memory that is there already, or record it if the stream captures."""
    if streams.recorded is None:
        copies.launches += 1
        with np.errstate(all="ignore"):
            work()
    else:
        streams.recorded.append(work)


# --- memory -----------------------------------------------------------------------------------------------

_taken: dict[int, weakref.ref] = {}


def root(array: np.ndarray) -> np.ndarray:
    """Return the array whose memory `array` is a view of."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def claim(array: np.ndarray) -> bool:
    """Account for the memory of `array`; return whether it is new."""
    array = root(array)
    key = id(array)
    if key in _taken:
        return False
    if streams.recorded is not None:
        raise cupy_standin.cuda.runtime.CUDARuntimeError(
            "cudaErrorStreamCaptureUnsupported: memory for a new array while a stream captures; give `out`"
        )
    size, free = array.nbytes, cupy_standin.free_bytes
    if free is not None:
        if size > free:
            raise cupy_standin.cuda.memory.OutOfMemoryError(size, taken_bytes(), free)
        cupy_standin.free_bytes = free - size

    def release(_, key=key, size=size):
        del _taken[key]
        if cupy_standin.free_bytes is not None:
            cupy_standin.free_bytes += size

    _taken[key] = weakref.ref(array, release)
    return True


def taken_bytes() -> int:
    """Return how many bytes the arrays of the device take."""
    return sum(array.nbytes for array in (ref() for ref in list(_taken.values())) if array is not None)
