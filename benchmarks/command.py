"""What all commands share."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable, Collection
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from rich.console import Console

RESULTS = Path(__file__).parent / "results"


def parser(name: str, description: str, **options: Any) -> argparse.ArgumentParser:
    """Return a parser with the options that all commands have."""
    made = argparse.ArgumentParser(name, description=description, **options)
    made.add_argument("--rounds", type=int, help="timings of each side")
    made.add_argument("--threads", type=int, default=2, help="of each side")
    made.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    made.add_argument("--markdown", type=Path, metavar="JSON", help="print results in Markdown, and stop")
    return made


def names_of(known: Collection[str]) -> Callable[[str], list[str]]:
    """Return a parser of lists like ``a,b`` of known names, which may be empty."""

    def parse(given: str) -> list[str]:
        names = [name.strip() for name in given.split(",") if name.strip()]
        if unknown := [name for name in names if name not in known]:
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; known: {', '.join(known)}")
        return names

    return parse


def console() -> Console:
    """Return where to print; in a file tables are wide. Brackets in an error are no markup."""
    return Console(width=None if sys.stdout.isatty() else 160, highlight=False, markup=False)


def load(path: Path) -> dict[str, Any]:
    """Return results that `save` wrote."""
    return json.loads(path.read_text(encoding="utf-8"))


def save(results: dict[str, Any], path: Path) -> None:
    """Write results as JSON."""
    path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def machine() -> str:
    """Return the time and on what this runs."""
    now = f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC"
    system = f"{platform.platform()}, Python {platform.python_version()}"
    return f"{now}, {_processor()}, {os.cpu_count()} processors, {system}"


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
