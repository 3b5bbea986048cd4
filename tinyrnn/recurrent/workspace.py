"""Large arrays that are used again: fresh memory costs a page fault for every 4096 bytes, in every step."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np

__all__ = ["Workspace"]

_KEPT = 16  # arrays at most: one for each recurrent layer of a deep model
_free: deque[np.ndarray] = deque(maxlen=_KEPT)  # the oldest goes first; its methods need no lock


class Workspace:
    """A flat array of any content, lent until this object goes.

    Parameters
    ----------
    size : int
    dtype : dtype

    Attributes
    ----------
    array : (size,) array
        Not to be used when the workspace is gone.
    """

    def __init__(self, size: int, dtype: Any):
        needed = size * np.dtype(dtype).itemsize
        self._memory = _take(needed)
        self.array = self._memory[:needed].view(dtype)

    def __del__(self) -> None:
        memory = getattr(self, "_memory", None)
        if memory is not None:
            _free.append(memory)


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
    return np.empty(needed, np.uint8)
