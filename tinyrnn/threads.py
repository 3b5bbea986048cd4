"""Workers for compiled loops: plain threads, each with rows of its own, since compiled code needs no lock."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np

__all__ = ["get_num_threads", "matmul", "quiet_blas", "run", "set_num_threads", "split"]

_pool: ThreadPoolExecutor | None = None
_number: int | None = None
_LARGE = 2_000_000  # multiplications and additions of a product that is worth several threads


def get_num_threads() -> int:
    """Return how many threads the compiled kernels use.

    ``TINYRNN_NUM_THREADS`` in the environment, or else the number of processors this process may use.

    Raises
    ------
    ValueError
        If the variable is no positive number.
    """
    if _number is not None:
        return _number
    given = os.environ.get("TINYRNN_NUM_THREADS")
    if given is not None:
        return _checked(given, "TINYRNN_NUM_THREADS")
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def set_num_threads(number: int | None) -> None:
    """Set how many threads the compiled kernels use; None for what the environment says.

    Raises
    ------
    ValueError
        If `number` is not positive.
    """
    global _number
    _number = None if number is None else _checked(number, "number")


def _checked(number: Any, name: str) -> int:
    text = str(number)
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"{name}: expected a number of threads from 1 on, found {number!r}")
    return int(text)


def split(weights: np.ndarray, parts: int, multiple: int = 1) -> list[tuple[int, int]]:
    """Return ranges of rows of about equal weight, at most `parts`, none empty.

    Parameters
    ----------
    weights : (rows,) array
        How much work each row is.
    parts : int
    multiple : int
        Of which the inner borders are, so that whole blocks of rows stay together.
    """
    total = np.concatenate([[0], np.cumsum(weights)])
    borders = np.searchsorted(total, total[-1] * np.arange(1, parts) / parts)
    borders = [0, *(round(b / multiple) * multiple for b in borders), len(weights)]
    pairs = pairwise(borders)
    return [(lo, min(hi, len(weights))) for lo, hi in pairs if lo < min(hi, len(weights))]


def run(function: Callable, tasks: Sequence[tuple]) -> None:
    """Call ``function(*task)`` for each task, one thread each; return when all are done.

    The first runs on the calling thread. An exception of any is raised here, when all are done.
    """
    if not tasks:
        return
    futures = [_workers().submit(function, *task) for task in tasks[1:]]
    try:
        function(*tasks[0])
    finally:
        for future in futures:
            future.exception()  # waits
    for future in futures:
        future.result()


def matmul(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return ``a @ b`` of two matrices, a large one by several threads."""
    rows, columns = a.shape[0], b.shape[1]
    if rows * a.shape[1] * columns < _LARGE or get_num_threads() == 1:
        return a @ b
    out = np.empty((rows, columns), np.result_type(a, b))

    def part(lo: int, hi: int) -> None:
        if rows >= columns:
            np.matmul(a[lo:hi], b, out=out[lo:hi])
        else:
            np.matmul(a, b[:, lo:hi], out=out[:, lo:hi])

    run(part, split(np.ones(max(rows, columns)), get_num_threads(), 8))
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


def _workers() -> ThreadPoolExecutor:
    global _pool
    if _pool is None:
        _pool = ThreadPoolExecutor(max(1, os.cpu_count() or 1), thread_name_prefix="tinyrnn")
    return _pool


def _forget_workers() -> None:
    """Start anew in a forked process: the threads have stayed behind in its parent."""
    global _pool
    _pool = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_workers)
