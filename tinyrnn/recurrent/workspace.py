"""Memory for compiled loops: arrays that begin with a cache line, and are used again.

A vector that straddles two cache lines costs two reads. Fresh memory costs a page fault for every 4096
bytes, in every step.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Any

import numpy as np

from tinyrnn.native import LINE

__all__ = ["Workspace"]

_KEPT = 24  # arrays at most: the tapes of a deep model, and what a way back needs for itself
_MOST = 2**30  # bytes in all
_SMALL = 2**20  # bytes that change little about that
_free: deque[np.ndarray] = deque(maxlen=_KEPT)  # the oldest goes first; its methods need no lock


class Workspace:
    """An array of any content, lent until this object goes.

    Parameters
    ----------
    shape : tuple of int
    dtype : dtype

    Attributes
    ----------
    array : array
        Not to be used when the workspace is gone.
    """

    def __init__(self, shape: tuple[int, ...], dtype: Any):
        needed = math.prod(shape) * np.dtype(dtype).itemsize
        self._memory = _take(needed)
        self.array = self._memory[:needed].view(dtype).reshape(shape)

    def __del__(self) -> None:
        memory = getattr(self, "_memory", None)
        if memory is None:
            return
        _free.append(memory)
        while memory.size > _SMALL and len(_free) > 1 and sum(m.size for m in tuple(_free)) > _MOST:
            _free.popleft()


def _take(needed: int) -> np.ndarray:
    """Return an array that is free, large enough, and not twice as large; or a new one."""
    for _ in range(len(_free)):
        try:
            memory = _free.popleft()
        except IndexError:  # another thread was faster
            break
        if needed <= memory.size <= 2 * needed:
            return memory
        _free.append(memory)
    room = np.empty(needed + LINE, np.uint8)
    start = -room.__array_interface__["data"][0] % LINE
    return room[start : start + needed]
