"""The process of one side: reads requests, one line of JSON each, and answers likewise.

Started as ``python -m benchmarks.worker FILE THREADS`` with a file of `benchmarks.peers`. What the side
prints goes to the standard error.
"""

from __future__ import annotations

import importlib
import json
import math
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from benchmarks.models import Model

FEWEST_STEPS = 3
MOST_FOR_STARTING = 0.03
MOST_TIMES_LONGER = 4
"""Starting `fit` takes some milliseconds, which is nothing in an epoch of hundreds of steps. So many steps
are timed that it is at most this share, if a timing gets no more than this many times longer."""


class Service:
    """What a side can be asked for: the public methods."""

    def __init__(self, file: str, threads: int):
        self._peer = importlib.import_module(f"benchmarks.peers.{file}")
        self._note = self._peer.start(threads)
        self._wait = getattr(self._peer, "wait", lambda: None)
        self._tasks: dict[int, tuple[Callable[[], Any], int]] = {}

    def describe(self) -> str:
        """Return what the header says of this side."""
        return self._note

    def prepare(self, task: int, action: str, model: dict[str, Any], seconds: float) -> dict[str, Any]:
        """Make a model ready for an action: warm, and with so many steps that they last `seconds`."""
        program = self._peer.Program(Model.from_json(model))
        numbers = program.numbers(action) if hasattr(program, "numbers") else {}
        steps = self._steps_for(getattr(program, action), seconds)
        self._tasks[task] = getattr(program, action)(steps), steps
        self._tasks[task][0]()
        return {"numbers": numbers, "steps": steps}

    def run(self, task: int) -> float:
        """Return the seconds per step."""
        function, steps = self._tasks[task]
        return self._timed(function) / steps

    def forget(self) -> None:
        """Drop what was prepared."""
        self._tasks.clear()

    def _steps_for(self, action: Callable[[int], Callable[[], Any]], seconds: float) -> int:
        """Return how many steps to time, after running some."""
        one, steps = action(1), FEWEST_STEPS
        one()  # compiles
        start = self._timed(one)
        while (took := self._timed(action(steps))) < seconds / 4:
            steps *= 4
        step = took / steps
        starting = min(max(0.0, start - step), MOST_FOR_STARTING * MOST_TIMES_LONGER * seconds)
        return max(FEWEST_STEPS, math.ceil(max(seconds, starting / MOST_FOR_STARTING) / step))

    def _timed(self, function: Callable[[], Any]) -> float:
        self._wait()
        start = time.perf_counter()
        function()
        self._wait()
        return time.perf_counter() - start


def _described(error: Exception) -> str:
    """Return an error in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def main() -> None:
    """Answer until the input ends."""
    file, threads = sys.argv[1:]
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    service, unable = None, ""
    try:
        service = Service(file, int(threads))
    except Exception as error:
        unable = _described(error)
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            if service is None:
                answer = {"unable": unable}
            else:
                answer = {"result": getattr(service, asked["request"])(**asked["arguments"])}
        except Exception as error:
            answer = {"error": _described(error)}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
