"""Large products of matrices by NumPy's BLAS, on the threads of the compiled loops instead of its own."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from tinyrnn import threads

__all__ = ["matmul", "quiet_blas"]

_LARGE = 20_000_000  # multiplications of a product that is worth several threads


def matmul(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return ``a @ b`` of two matrices, a large one by several threads."""
    rows, columns = a.shape[0], b.shape[1]
    if rows * a.shape[1] * columns < _LARGE or threads.get_num_threads() == 1:
        return a @ b
    out = np.empty((rows, columns), np.result_type(a, b))

    def part(lo: int, hi: int) -> None:
        if rows >= columns:
            np.matmul(a[lo:hi], b, out=out[lo:hi])
        else:
            np.matmul(a, b[:, lo:hi], out=out[:, lo:hi])

    threads.run(part, threads.split(np.ones(max(rows, columns)), threads.get_num_threads(), 8))
    return out


class _QuietBlas:
    """Lets BLAS use one thread while anyone is inside; several may be, in several threads."""

    def __init__(self):
        self._lock = threading.Lock()
        self._inside = 0
        self._controller: Any = None
        self._limit: Any = None

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                if self._controller is None:
                    from threadpoolctl import ThreadpoolController

                    self._controller = ThreadpoolController()
                self._limit = self._controller.limit(limits=1, user_api="blas")
            self._inside += 1

    def __exit__(self, *exception: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._limit.restore_original_limits()


# For a training or a prediction: BLAS's own threads go on spinning for milliseconds after a product, on the
# processors that the compiled loop needs. `matmul` shares the large products among the threads here instead.
quiet_blas = _QuietBlas()
