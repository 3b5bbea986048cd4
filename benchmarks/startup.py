"""How soon a fresh process trains, and what must be installed for it: tinyrnn and the installed peers."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from statistics import median
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from benchmarks import command, report
from benchmarks.protocol import FRAMEWORKS, PEERS, ROOT, PeerError, environment

MODULES = {"tinyrnn": "tinyrnn", "PyTorch": "torch"}  # Keras is imported by its own name


# --- installed size -----------------------------------------------------------------------------------------


def needed(roots: Iterable[str]) -> set[str]:
    """Return the names of distributions and of all that they depend on, as far as installed."""
    found: set[str] = set()
    waiting = [canonicalize_name(name) for name in roots]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        try:
            requirements = distribution(name).requires or []
        except PackageNotFoundError:
            continue
        found.add(name)
        waiting += [canonicalize_name(r.name) for r in map(Requirement, requirements) if _applies(r)]
    return found


def _applies(requirement: Requirement) -> bool:
    """Whether a requirement holds here, without any extra."""
    return requirement.marker is None or requirement.marker.evaluate({"extra": ""})


def installed_bytes(name: str) -> int:
    """Return the size of a distribution's files, without compiled Python files."""
    return sum(path.stat().st_size for path in _files(name) if path.suffix != ".pyc" and path.is_file())


def _files(name: str) -> Iterator[Path]:
    if name == "tinyrnn":  # installed as a link to its folder, perhaps
        (folder,) = importlib.util.find_spec(name).submodule_search_locations
        return Path(folder).rglob("*")
    return (Path(file.locate()) for file in distribution(name).files or ())


# --- the first step -----------------------------------------------------------------------------------------


def first_step(side: str, threads: int, cache: str) -> dict[str, float]:
    """Run `benchmarks.first_step` for one side, with tinyrnn's kernels in the folder `cache`.

    Returns
    -------
    dict of str to float
        Seconds: ``import``, ``first step``, ``second step``, and ``from nothing``, from the start of the
        process to the end of the first step.

    Raises
    ------
    PeerError
        If it fails.
    """
    peer = PEERS[side]
    if reason := peer.missing():
        raise PeerError(reason)
    line = [
        sys.executable,
        "-m",
        "benchmarks.first_step",
        MODULES.get(side, "keras"),
        peer.file,
        str(threads),
    ]
    variables = environment(peer, threads) | {"TINYRNN_CACHE": cache}
    begun = time.time()
    process = subprocess.run(line, cwd=ROOT, env=variables, capture_output=True, text=True)
    if process.returncode:
        raise PeerError(process.stderr.strip().splitlines()[-1])
    seconds = json.loads(process.stdout.splitlines()[-1])
    return {"from nothing": seconds.pop("done") - begun, **seconds}


def measure(sides: Iterable[str], rounds: int, threads: int) -> list[dict[str, Any]]:
    """Measure the sides in turn: two processes each round, the first with an empty cache of kernels.

    Returns
    -------
    list of dict
        For each side ``name``, ``bytes`` (None if it is not installed), ``cold`` and ``warm`` (lists of what
        `first_step` returns) and ``failed`` (why there is none, or None).
    """
    rows = {side: {"name": side, "bytes": None, "cold": [], "warm": [], "failed": None} for side in sides}
    for number in range(rounds + 1):
        for side, row in rows.items():
            with tempfile.TemporaryDirectory() as cache:
                try:
                    runs = {state: first_step(side, threads, cache) for state in ("cold", "warm")}
                except PeerError as error:
                    row["failed"] = str(error)
                    continue
            if number:  # before that, files came from the disk
                for state, run in runs.items():
                    row[state].append(run)
    for side, row in rows.items():
        if not PEERS[side].missing():
            row["bytes"] = sum(map(installed_bytes, needed(PEERS[side].distributions())))
    return list(rows.values())


# --- the command --------------------------------------------------------------------------------------------

COLUMNS = (
    ("import", "import", "warm"),
    ("first step, no kernels yet", "first step", "cold"),
    ("first step", "first step", "warm"),
    ("second step", "second step", "warm"),
    ("process to first step, no kernels yet", "from nothing", "cold"),
    ("process to first step", "from nothing", "warm"),
)


def table(rows: list[dict[str, Any]]) -> report.Table:
    """Return the table of `measure`'s results."""

    def cell(runs, what):
        return report.number(median(run[what] for run in runs)) if runs else "-"

    lines = [
        [
            row["name"],
            "-" if row["bytes"] is None else f"{row['bytes'] / 1e6:,.0f}",
            *(cell(row[state], what) for _, what, state in COLUMNS),
        ]
        for row in rows
    ]
    notes = [f"{row['name']}: {row['failed']}" for row in rows if row["failed"]]
    caption = "Seconds in a fresh process: Embedding 2002x128, LSTM 64, B32 T40. MB with all dependencies."
    headings = ["", "MB installed", *(heading for heading, *_ in COLUMNS)]
    return report.Table("Starting up", caption, headings, lines, notes)


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Run the command line; returns the results."""
    parser = command.parser("python -m benchmarks.startup", __doc__)
    parser.add_argument("--peers", type=command.names_of(FRAMEWORKS), default=FRAMEWORKS)
    options = parser.parse_args(argv)
    if options.markdown:
        results = command.load(options.markdown)
        print(report.markdown(results["header"], [table(results["rows"])]))
        return results
    rounds = options.rounds or 3
    header = [command.machine(), f"{options.threads} threads each; medians of {rounds} rounds, sides in turn"]
    header += [
        f"{side}: {PEERS[side].missing() or PEERS[side].versions()}" for side in ("tinyrnn", *options.peers)
    ]
    results = {"header": header, "rows": measure(("tinyrnn", *options.peers), rounds, options.threads)}
    options.out.mkdir(parents=True, exist_ok=True)
    command.save(results, options.out / "startup.json")
    command.console().print(*header, table(results["rows"]).to_rich(), sep="\n")
    return results


if __name__ == "__main__":
    main()
