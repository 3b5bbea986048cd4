"""How far training is: a bar in a terminal, one line an epoch anywhere else, in Keras's words."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["ProgressBar"]

CELLS = 20
INTERVAL = 0.1  # seconds between two drawings of a bar


class ProgressBar:
    """The steps of one epoch, of one evaluation, of one prediction.

    Parameters
    ----------
    target : int or None
        Number of steps; None if only the end will tell.
    verbose : {0, 1, 2}
        1: a bar that moves, in a terminal or notebook; in a file or a pipe only its last state. 2: one line
        at the end.
    """

    _on_screen = False  # a terminal has room for one moving bar

    def __init__(self, target: int | None, verbose: int = 1):
        self.target = target
        self.verbose = verbose
        self._start = self._drawn = time.perf_counter()
        self._after_first: float | None = None
        self._live: Any = None
        self._console: Any = None
        self._moves = False
        if verbose == 1:
            self._open()

    def _open(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn
        from rich.table import Column

        self._console = Console()
        self._moves = self._console.is_interactive and not ProgressBar._on_screen
        if not self._moves:
            return
        self._live = Progress(
            TextColumn("[bold]{task.fields[count]}"),
            BarColumn(bar_width=CELLS, table_column=Column(no_wrap=True)),
            # In a narrow terminal it is the values that are wrapped.
            TextColumn("{task.fields[info]}", markup=False, table_column=Column()),
            console=self._console,
            auto_refresh=False,
            transient=True,  # the last state is printed as a line of its own
        )
        self._live.add_task("", total=self.target, count="", info="")
        self._live.start()
        ProgressBar._on_screen = True

    def update(self, seen: int, logs: Mapping[str, Any] | None = None) -> None:
        """Show that `seen` steps are done, and the values of `logs`."""
        now = time.perf_counter()
        if seen == 1:
            self._after_first = now
        if self._live is None or now - self._drawn < INTERVAL:
            return
        self._drawn = now
        per_step = self._per_step(seen, now)
        left = now - self._start if self.target is None else per_step * (self.target - seen)
        info = f"{_duration(left)} {_rate(per_step)}{format_logs(logs)}"
        task = self._live.task_ids[0]
        self._live.update(task, completed=seen, count=self._count(seen), info=info, refresh=True)

    def finish(self, seen: int, logs: Mapping[str, Any] | None = None) -> None:
        """Print the last state."""
        self.close()
        if not self.verbose:
            return
        self.target = self.target or seen
        now = time.perf_counter()
        count, elapsed = self._count(seen), f"{now - self._start:.0f}s"
        values = f"{_rate(self._per_step(seen, now))}{format_logs(logs)}"
        if self.verbose == 2:
            print(f"{count} - {elapsed} - {values}", flush=True)
        elif not self._moves:
            print(f"{count} {self._bar(seen)} {elapsed} {values}", flush=True)
        else:
            from rich.text import Text

            line = Text.assemble((f"{count} ", "bold"), (self._bar(seen), "green"), f" {elapsed} {values}")
            self._console.print(line, soft_wrap=True)

    def close(self) -> None:
        """Take the bar off the screen and give the cursor back; also after an error."""
        if self._live is not None:
            self._live.stop()
            self._live = None
            ProgressBar._on_screen = False

    def _count(self, seen: int) -> str:
        return f"{seen:7d}/Unknown" if not self.target else f"{seen:{len(str(self.target))}d}/{self.target}"

    def _bar(self, seen: int) -> str:
        cell, rest = "━ " if not self._console.options.ascii_only else "=."
        done = CELLS * min(seen, self.target) // self.target
        return cell * done + rest * (CELLS - done)

    def _per_step(self, seen: int, now: float) -> float:
        """Seconds for a step. The first one, in which kernels may be compiled, does not count."""
        if self._after_first is not None and seen > 1:
            return (now - self._after_first) / (seen - 1)
        return (now - self._start) / max(seen, 1)


def format_logs(logs: Mapping[str, Any] | None) -> str:
    """Return `` - loss: 0.1234 - ...``; small numbers as ``1.2345e-04``."""
    return "".join(f" - {name}: {_number(value)}" for name, value in (logs or {}).items())


def _number(value: Any) -> str:
    value = float(np.mean(value))  # a metric may have one value for each class
    return f"{value:.4e}" if abs(value) <= 1e-3 else f"{value:.4f}"


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02d}:{seconds:02d}"
    return f"{minutes}:{seconds:02d}" if minutes else f"{seconds}s"


def _rate(seconds: float) -> str:
    if seconds >= 1 or seconds == 0:
        return f"{seconds:.0f}s/step"
    return f"{seconds * 1e3:.0f}ms/step" if seconds >= 1e-3 else f"{seconds * 1e6:.0f}us/step"
