"""The threads of compiled loops: how many, how work is split among them, and how they wait for it.

They run parts of a compiled loop (`tinyrnn.native.team`). Between two pieces of work they look out for
the next one for a while, which comes soon in a training; then they sleep.
"""

from __future__ import annotations

import atexit
import functools
import os
import threading
from collections import deque
from itertools import pairwise
from typing import Any

import numpy as np

__all__ = ["get_num_threads", "mailbox", "ranges", "set_num_threads", "split"]

_number: int | None = None
_TURNS = 150_000  # of looking for work before a thread sleeps: about two milliseconds


def get_num_threads() -> int:
    """Return how many threads the compiled kernels use.

    ``TINYRNN_NUM_THREADS`` in the environment, or else the number of processors this process may use: it is
    found out once, and again after ``set_num_threads(None)``.

    Raises
    ------
    ValueError
        If the variable is no positive number.
    """
    return _number_outside() if _number is None else _number


@functools.cache
def _number_outside() -> int:
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
    _number_outside.cache_clear()


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


@functools.lru_cache(maxsize=256)
def ranges(rows: int, parts: int, multiple: int = 1) -> np.ndarray:
    """Return ranges of about equally many rows, at least one.

    Returns
    -------
    (ranges, 2) array of int
        All but the last of whole blocks of `multiple` rows. Not to be written into: it is wanted again.
    """
    each = max(1, -(-rows // (parts * multiple))) * multiple
    return np.array([(lo, min(lo + each, rows)) for lo in range(0, max(rows, 1), each)], np.intp)


def mailbox(parts: int) -> np.ndarray:
    """Return where a compiled loop posts its parts, and wake the threads for so many of them.

    To be called last before the loop: they do not stay awake for long.
    """
    return _team.gather(parts)


class _Team:
    """The threads beside the caller's, and their mailbox."""

    def __init__(self):
        self._mailbox: np.ndarray | None = None
        self._native: Any = None
        self._threads: list[threading.Thread] = []
        self._asleep: deque = deque()  # what wakes them
        self._starting = threading.Lock()
        self._over = False

    def gather(self, parts: int) -> np.ndarray:
        if self._mailbox is None or len(self._threads) < parts - 1:
            self._start(parts - 1)
        while self._asleep and parts > 1:
            try:
                self._asleep.popleft().release()
            except IndexError:  # another thread was faster
                break
        return self._mailbox

    def _start(self, number: int) -> None:
        from tinyrnn.native import team

        with self._starting:
            if self._mailbox is None:
                self._native, self._mailbox = team, team.make_mailbox()
                team.serve(self._mailbox, 0)  # compiled once, before several threads want it
            while len(self._threads) < number and not self._over:
                thread = threading.Thread(
                    target=self._serve, name=f"tinyrnn-{len(self._threads)}", daemon=True
                )
                try:
                    thread.start()
                except RuntimeError:  # the system has no more: the others do its parts
                    break
                self._threads.append(thread)

    def _serve(self) -> None:
        bell = threading.Lock()
        bell.acquire()
        while not self._over:
            self._native.serve(self._mailbox, _TURNS)
            self._asleep.append(bell)
            if not self._over:  # asked after: who ends the team rings all bells that are there
                bell.acquire()

    def dismiss(self) -> None:
        """Let all threads end: compiled code may go before the interpreter has ended."""
        self._over = True
        while self._asleep:
            self._asleep.popleft().release()
        for thread in self._threads:
            thread.join(timeout=1)


_team = _Team()


def _new_team() -> None:
    """Start anew in a forked process: the threads have stayed behind in its parent."""
    global _team
    _team = _Team()
    _number_outside.cache_clear()  # its parent may have given it other processors


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_new_team)
atexit.register(lambda: _team.dismiss())
