"""Products of matrices beside compiled loops: large ones by their threads, small ones by a quiet BLAS."""

from __future__ import annotations

import os
import threading
from typing import Any

import numpy as np

from tinyrnn import threads

__all__ = ["matmul", "quiet_blas"]

_LARGE = 1_000_000  # multiplications of a product that is worth several threads


def matmul(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return ``a @ b`` of two matrices: a small product by BLAS, a large one by several threads."""
    small = len(a) * a.shape[1] * b.shape[1] < _LARGE
    if small or a.dtype != b.dtype or a.dtype.name not in ("float32", "float64"):
        return a @ b
    from tinyrnn.native.matmul import multiply

    ranges = threads.ranges(len(a), threads.get_num_threads(), 8)
    return multiply(threads.mailbox(len(ranges)), ranges, a, b)


class _QuietBlas:
    """Lets BLAS use one thread while anyone is inside; several may be, in several threads."""

    def __init__(self):
        self._lock = threading.Lock()
        self._inside = 0
        self._libraries: list[Any] | None = None
        self._before: list[int] = []  # how many threads each of them used

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                if self._libraries is None:
                    from threadpoolctl import ThreadpoolController

                    self._libraries = ThreadpoolController().select(user_api="blas").lib_controllers
                self._before = [library.get_num_threads() for library in self._libraries]
                self._set([1] * len(self._before))
            self._inside += 1

    def __exit__(self, *exception: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._set(self._before)

    def _set(self, numbers: list[int]) -> None:
        for library, number in zip(self._libraries, numbers, strict=True):
            library.set_num_threads(number)

    def leave_in_child(self) -> None:
        """Start anew in a forked process: whoever was inside has stayed behind in its parent."""
        if self._inside:
            self._set(self._before)
        self.__init__()


# For a training or a prediction: BLAS's own threads go on spinning for milliseconds after a product, on the
# processors that the compiled loop needs. `matmul` gives the large products to the loop's threads instead.
quiet_blas = _QuietBlas()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=quiet_blas.leave_in_child)
