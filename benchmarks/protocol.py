"""How it is measured: each side in a process of its own, taking turns.

The process that measures asks; the others answer, one at a time, and block on a pipe in between.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import Any

from benchmarks.models import Model

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Peer:
    """One side of the comparison.

    Attributes
    ----------
    file : str
        Of `benchmarks.peers`, what drives it.
    modules : tuple of str
        What it imports.
    environment : dict
        Of its process, beside what all have.
    device : {"cpu", "gpu"}
        Where it computes.
    tolerance : float
        How much faster or slower, relatively, its loss may fall than that of the first side.
    rounding : float
        How far its losses and outputs may be from those of the first side, relatively.
    """

    file: str
    modules: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    device: str = "cpu"
    tolerance: float = 0.002
    rounding: float = 1e-4

    def missing(self) -> str | None:
        """Return what is not installed, None if nothing."""
        absent = [module for module in self.modules if importlib.util.find_spec(module) is None]
        return f"not installed: {', '.join(absent)}" if absent else None

    def distributions(self) -> list[str]:
        """Return what the modules were installed as: tensorflow comes as tensorflow-cpu, too."""
        names = packages_distributions()
        return [names.get(module, [module])[0] for module in self.modules]

    def versions(self) -> str:
        """Return the versions of what is installed."""
        return ", ".join(f"{name} {version(name)}" for name in self.distributions())


PEERS = {
    "tinyrnn": Peer("tinyrnn_peer", ("tinyrnn", "numpy")),
    "PyTorch": Peer("torch_peer", ("torch",)),
    "Keras on TensorFlow": Peer(
        "keras_peer",
        ("keras", "tensorflow"),
        {"KERAS_BACKEND": "tensorflow"},
        tolerance=0.25,  # of a word's gradients its Adam adds the squares before it adds the gradients
    ),
    "Keras on JAX": Peer("keras_peer", ("keras", "jax"), {"KERAS_BACKEND": "jax"}),
    "ONNX Runtime": Peer("onnx_peer", ("onnxruntime", "onnx")),
    "sgemm": Peer("blas_peer", ("numpy",)),
    "tinyrnn on the GPU": Peer("tinyrnn_peer", ("tinyrnn", "numpy", "cupy"), device="gpu"),
    "PyTorch on the GPU": Peer("torch_peer", ("torch",), {"BENCHMARKS_TF32": "0"}, device="gpu"),
    "PyTorch with TF32": Peer(
        "torch_peer",
        ("torch",),
        {"BENCHMARKS_TF32": "1"},
        device="gpu",
        tolerance=0.25,  # TF32 keeps ten bits of what is multiplied: one part in two thousand
        rounding=0.01,
    ),
}

FRAMEWORKS = ("PyTorch", "Keras on TensorFlow", "Keras on JAX")
"""Those that train, and so can be what a training step of tinyrnn is compared with."""

THREADS = (
    *("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "TINYRNN_NUM_THREADS"),
    *("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"),
    "NPROC",  # JAX heeds this one
)


NOT_INHERITED = ("JAX_", "XLA_", "NVIDIA_TF32", "CUPY_TF32", "TORCH_ALLOW_TF32")
"""How names of variables begin that would change what is compared."""


def environment(peer: Peer, threads: int) -> dict[str, str]:
    """Return the environment of a side's process."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(NOT_INHERITED)}
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "2", "JAX_PLATFORMS": "cpu"}
    device = {"TINYRNN_DEVICE": peer.device, "BENCHMARKS_DEVICE": peer.device}
    if peer.device == "cpu":
        device["CUDA_VISIBLE_DEVICES"] = ""
    return {**inherited, **quiet, **device, **dict.fromkeys(THREADS, str(threads)), **peer.environment}


class PeerError(Exception):
    """A side could not do what it was asked for; the text says why."""


class Worker:
    """A side in a process of its own; starts when first asked, and again after it had to be ended.

    Parameters
    ----------
    name : str
        One of `PEERS`.
    threads : int
    log : Path
        Gets what the process prints.
    """

    def __init__(self, name: str, threads: int, log: Path):
        self.name, self.threads, self.log = name, threads, log
        self._process: subprocess.Popen | None = None
        self._unable: str | None = None

    def ask(self, request: str, limit: float = 300.0, **arguments: Any) -> Any:
        """Have one request of `benchmarks.worker` answered.

        Raises
        ------
        PeerError
            If it fails or takes more than `limit` seconds; then the process is ended.
        """
        process = self._running()
        timer = threading.Timer(limit, process.kill)
        timer.start()
        try:
            process.stdin.write(json.dumps({"request": request, "arguments": arguments}) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except OSError:
            line = ""
        finally:
            expired = not timer.is_alive()
            timer.cancel()
        if not line:
            self.close()
            ended = f"its process ended, see {self.log.name}"
            raise PeerError(f"no answer within {limit:g} s" if expired else ended)
        return self._result(json.loads(line))

    def _result(self, answer: dict[str, Any]) -> Any:
        if "unable" in answer:
            self._unable = answer["unable"]
            self.close()
            raise PeerError(self._unable)
        if "error" in answer:
            if PEERS[self.name].device == "gpu":
                self.close()  # a kernel that failed leaves a process in which no other runs
            raise PeerError(answer["error"])
        return answer["result"]

    def _running(self) -> subprocess.Popen:
        if self._process is None:
            peer = PEERS[self.name]
            if reason := self._unable or peer.missing():
                raise PeerError(reason)
            with self.log.open("a", encoding="utf-8") as log:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "benchmarks.worker", peer.file, str(self.threads)],
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, cwd=ROOT,
                    env=environment(peer, self.threads),
                )  # fmt: skip
        return self._process

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


@dataclass(frozen=True)
class Entry:
    """One side of a race: who does what with which model."""

    side: str
    peer: str
    action: str
    model: Model


@dataclass(frozen=True)
class Rules:
    """How to time.

    Attributes
    ----------
    rounds : int
        Timings of each side.
    seconds : float
        How long one timing should last.
    limit : float
        Seconds that a side may take to get ready, or for one timing.
    settle : float
        Seconds between the timings: threads of OpenBLAS spin for about 0.1 s after their work.
    """

    rounds: int
    seconds: float
    limit: float
    settle: float


def race(workers: Mapping[str, Worker], entries: Sequence[Entry], rules: Rules, same: bool) -> dict[str, Any]:
    """Time the entries in turn, in a new order every round.

    Parameters
    ----------
    workers : dict of Worker by name
    entries : list of Entry
        If they compute the `same`, they are compared with the first.
    rules : Rules
    same : bool

    Returns
    -------
    dict
        ``seconds``: by side, the seconds per step in each round; ``steps``: how many a timing took;
        ``failed``: by side, why it was not timed.
    """
    result: dict[str, Any] = {"seconds": {}, "steps": {}, "failed": {}}
    racing = _get_ready(workers, entries, rules, same, result)
    for number in range(rules.rounds):
        first = number % max(1, len(racing))
        for task, entry in racing[first:] + racing[:first]:
            if entry.side in result["failed"]:
                continue
            time.sleep(rules.settle)
            try:
                result["seconds"][entry.side].append(workers[entry.peer].ask("run", rules.limit, task=task))
            except PeerError as error:
                result["failed"][entry.side] = str(error)
                del result["seconds"][entry.side]
    for name in {entry.peer for _, entry in racing}:
        with contextlib.suppress(PeerError):
            workers[name].ask("forget")
    return result


def _get_ready(workers, entries, rules, same, result) -> list[tuple[int, Entry]]:
    """Prepare the entries; return those that can race, numbered; `result` gets why others cannot."""
    racing, reference = [], None
    for task, entry in enumerate(entries):
        request = {"task": task, "action": entry.action, "model": entry.model.to_json()}
        try:
            ready = workers[entry.peer].ask("prepare", rules.limit, seconds=rules.seconds, **request)
            if same:
                reference = reference or ready["numbers"]
                check_same(ready["numbers"], reference, PEERS[entry.peer])
        except PeerError as error:
            result["failed"][entry.side] = str(error)
            continue
        racing.append((task, entry))
        result["steps"][entry.side], result["seconds"][entry.side] = ready["steps"], []
    return racing


def check_same(
    found: Mapping[str, Sequence[float]], expected: Mapping[str, Sequence[float]], peer: Peer
) -> None:
    """Compare what two sides compute, as `benchmarks.peers.Numbers`.

    Raises
    ------
    PeerError
        If they differ by more than the `rounding` of the peer, or the fall of the loss by more than its
        `tolerance`, relative to the largest number.
    """
    for what, numbers in expected.items():
        allowed = (peer.tolerance if what == "fall" else peer.rounding) * max(map(abs, numbers))
        for a, b in zip(found[what], numbers, strict=True):
            if not abs(a - b) <= allowed:  # nan is not, either
                raise PeerError(f"computes something else: {what} {a:.6g}, expected {b:.6g}")
