"""What it takes to serve a model that Keras has saved: import, memory, latency; also for its peers."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks import command, report
from benchmarks.protocol import PEERS, ROOT, PeerError, environment
from benchmarks.serve import BATCH, LENGTH, WORDS

SIDES = ("tinyrnn", "Keras on TensorFlow", "Keras on JAX", "ONNX Runtime")
WRITER = f"""
import sys, keras
layers = keras.layers
model = keras.Sequential([
    keras.Input(({LENGTH},), dtype="int32"),
    layers.Embedding({WORDS}, 32),
    layers.LSTM(64),
    layers.Dense(1, activation="sigmoid"),
])
model.save(sys.argv[1])
"""


def run(side: str, threads: int, *line: str) -> str:
    """Run Python in the environment of a side and return the last line it prints."""
    variables = environment(PEERS[side], threads)
    done = subprocess.run(
        [sys.executable, *line], cwd=ROOT, env=variables, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise PeerError(done.stderr.strip().splitlines()[-1])
    return (done.stdout.splitlines() or [""])[-1]


def write_models(folder: Path, threads: int) -> dict[str, str]:
    """Let Keras write a model, and tinyrnn make an ONNX graph of it; return the file for each side."""
    from tinyrnn import load_model

    keras_file, onnx_file = folder / "model.keras", folder / "model.onnx"
    writer = next(side for side in SIDES if side.startswith("Keras") and not PEERS[side].missing())
    run(writer, threads, "-c", WRITER, str(keras_file))
    if not PEERS["ONNX Runtime"].missing():
        load_model(keras_file).export(onnx_file)
    return dict.fromkeys(SIDES, str(keras_file)) | {"ONNX Runtime": str(onnx_file)}


def measure(sides: Iterable[str], rounds: int, threads: int, seconds: float = 2.0) -> list[dict[str, Any]]:
    """Measure the sides in turn, in a new process each time, each latency for so many seconds.

    Returns
    -------
    list of dict
        For each side ``name``, ``runs`` (what `benchmarks.serve` prints) and ``failed`` (why there is none,
        or None).

    Raises
    ------
    PeerError
        If two sides predict different things.
    """
    rows = [{"name": side, "runs": [], "failed": PEERS[side].missing()} for side in sides]
    with tempfile.TemporaryDirectory() as folder:
        files = write_models(Path(folder), threads)
        for number in range(rounds + 1):
            for row in rows:
                if row["failed"]:
                    continue
                served = row["name"], files[row["name"]], str(seconds)
                line = run(row["name"], threads, "-m", "benchmarks.serve", *served)
                if number:  # before that, files came from the disk and kernels were compiled
                    row["runs"].append(json.loads(line))
    outputs = {row["name"]: run.pop("outputs") for row in rows for run in row["runs"]}
    expected = outputs["tinyrnn"]
    for name, found in outputs.items():
        if not np.allclose(found, expected, rtol=1e-4, atol=1e-5):
            raise PeerError(f"{name} predicts {found[:3]}, tinyrnn {expected[:3]}")
    return rows


COLUMNS = (
    ("import, s", "import", 1),
    ("load, ms", "load", 1e3),
    ("first prediction, ms", "first prediction", 1e3),
    ("one row, ms", "one row", 1e3),
    (f"{BATCH} rows, ms", "batch", 1e3),
    ("MB after import", "memory after import", 1),
    ("MB at most", "memory", 1),
)


def table(rows: list[dict[str, Any]]) -> report.Table:
    """Return the table of `measure`'s results."""
    lines = [
        [row["name"]]
        + [
            report.number(scale * median(run[what] for run in row["runs"])) if row["runs"] else "-"
            for _, what, scale in COLUMNS
        ]
        for row in rows
    ]
    notes = [f"{row['name']}: {row['failed']}" for row in rows if row["failed"]]
    caption = (
        f"A model saved by Keras in a fresh process: Embedding {WORDS}x32, LSTM 64, rows of {LENGTH} ids."
    )
    return report.Table("Serving", caption, ["", *(heading for heading, *_ in COLUMNS)], lines, notes)


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Run the command line; returns the results."""
    parser = command.parser("python -m benchmarks.serving", __doc__)
    parser.add_argument("--peers", type=command.names_of(SIDES[1:]), default=SIDES[1:])
    parser.add_argument("--seconds", type=float, default=2.0, help="for each latency in each process")
    options = parser.parse_args(argv)
    if options.markdown:
        results = command.load(options.markdown)
        print(report.markdown(results["header"], [table(results["rows"])]))
        return results
    rounds, sides = options.rounds or 5, ("tinyrnn", *options.peers)
    header = [
        command.machine(),
        f"{options.threads} threads each; medians of {rounds} processes, sides in turn",
    ]
    header += [f"{side}: {PEERS[side].missing() or PEERS[side].versions()}" for side in sides]
    results = {"header": header, "rows": measure(sides, rounds, options.threads, options.seconds)}
    options.out.mkdir(parents=True, exist_ok=True)
    command.save(results, options.out / "serving.json")
    command.console().print(*header, table(results["rows"]).to_rich(), sep="\n")
    return results


if __name__ == "__main__":
    main()
