"""What the examples share: their command line, where their plots go, a simple classifier to compare with."""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import tinyrnn
from tinyrnn.callbacks import Callback
from tinyrnn.datasets import python_docs

ALPHABET = " abcdefghijklmnopqrstuvwxyz.,-'("  # what `plain_text` is written in: 32 characters
RESULTS = Path(__file__).parent / "results"


class Options(argparse.Namespace):
    """What the user chose, under the names of the command line."""

    def figure(self, name: str) -> Path:
        """Return where to save the plot `name`; the folder is made."""
        self.out.mkdir(parents=True, exist_ok=True)
        return self.out / name


def options(
    doc: str, arguments: list[str] | None = None, *, quick: dict[str, Any] | None = None, **defaults: Any
) -> Options:
    """Read the command line of an example, and seed everything.

    Every example has ``--quick``, ``--seed`` and ``--out``.

    Parameters
    ----------
    doc : str
        The docstring of the example; ``--help`` shows it.
    arguments : list of str, optional
        What the user typed; that of the process unless given.
    quick : dict
        What ``--quick`` has in place of the defaults. What the user typed still wins.
    **defaults
        One option each: ``batch_size=64`` becomes ``--batch-size``, which takes an int; True or False becomes
        a pair like ``--ask`` and ``--no-ask``. A type, like ``corpus=Path``, has no default: None.
        ``length=(100, "words read")`` adds a line of help, ``start=(100, "where to begin", 0)`` the least
        number that will do, which is 1 otherwise.

    Raises
    ------
    SystemExit
        For something that can't be understood, after saying what.
    ValueError
        If `quick` names something that is no option.
    """
    quick = quick or {}
    defaults |= {"seed": (1, "for the weights and all chance", 0), "out": (RESULTS, "folder of the plots")}
    if unknown := set(quick) - set(defaults):
        raise ValueError(f"quick: there is no option {', '.join(sorted(unknown))}")
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--quick", action="store_true", help="a minute at most: less data, fewer rounds")
    for name, default in defaults.items():
        _add(parser, name, default, quick)
    if parser.parse_known_args(arguments)[0].quick:
        parser.set_defaults(**quick)
    chosen = parser.parse_args(arguments, Options())
    there = next(path for path in (chosen.out, *chosen.out.absolute().parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):  # better said now than after the training
        parser.error(f"argument --out: expected a folder that can be written to, found {str(there)!r}")
    tinyrnn.set_random_seed(chosen.seed)
    return chosen


def _add(parser: argparse.ArgumentParser, name: str, default: Any, quick: dict[str, Any]) -> None:
    """Add the option `name`; its help shows both defaults."""
    value, explained, *least = default if isinstance(default, tuple) else (default, "")
    kind, value = (value, None) if isinstance(value, type) else (type(value), value)
    kind = _whole_number(*least) if kind is int else kind
    how: dict[str, Any] = {"action": argparse.BooleanOptionalAction} if kind is bool else {"type": kind}
    shown = [str(value)] if value is not None else []
    shown += [f"--quick: {quick[name]}"] if name in quick else []
    note = f"{explained} ({', '.join(shown)})" if shown else explained
    parser.add_argument(f"--{name.replace('_', '-')}", default=value, help=note.replace("%", "%%"), **how)


def _whole_number(least: int = 1) -> Callable[[str], int]:
    """Return what reads a number that is typed, and refuses one that is too small."""

    def read(typed: str) -> int:
        try:
            number = int(typed)
        except ValueError:
            number = least - 1
        if number < least:
            raise argparse.ArgumentTypeError(f"expected a whole number from {least} on, found {typed!r}")
        return number

    return read


def run(main: Callable[[], Any]) -> None:
    """Run an example; where a file or a data set can't be had, say so without a traceback."""
    try:
        main()
    except OSError as error:
        raise SystemExit(f"{Path(sys.argv[0]).name}: {error}") from None


class EpochTimes(Callback):
    """Takes down how long each epoch trains; validation is not counted.

    Attributes
    ----------
    seconds : list of float
    """

    def __init__(self):
        super().__init__()
        self.seconds: list[float] = []

    def on_epoch_begin(self, epoch, logs=None):
        """Begin to count."""
        self.begun = time.perf_counter()
        self.trained = None

    def on_test_begin(self, logs=None):
        """Stop: validation begins."""
        self.trained = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        """Keep the time."""
        self.seconds.append((self.trained or time.perf_counter()) - self.begun)

    @property
    def typical(self) -> float:
        """The median, without the first epoch, in which loops may be compiled, where there are others."""
        return statistics.median(self.seconds[1:] or self.seconds)


def plain_text() -> str:
    """Return Python's help texts (they need no download) in lower case; what ALPHABET lacks is a space."""
    text = "".join(a if a in ALPHABET else " " for a in python_docs.load_data().lower())
    return " ".join(text.split())


def naive_bayes(train: tuple[Any, Any], test: tuple[Any, Any]) -> float:
    """Return the accuracy of counting how often each word occurs in each class, whatever its place.

    The baseline for classifying texts: multinomial naive Bayes, with one added to every count.

    Parameters
    ----------
    train, test : tuple of sequence of lists of int, sequence of int
        The word ids of each text, and its class, counted from 0.
    """
    (x, y), (x_test, y_test) = train, test
    words = 1 + max(max(ids, default=0) for texts in (x, x_test) for ids in texts)
    counts = np.ones((max(y) + 1, words))
    for ids, label in zip(x, y, strict=True):
        np.add.at(counts[label], ids, 1)
    log_word = np.log(counts / counts.sum(axis=1, keepdims=True))
    log_class = np.log(np.bincount(y) / len(y))
    found = [(log_class + log_word[:, ids].sum(axis=1)).argmax() for ids in x_test]
    return float(np.mean(np.equal(found, y_test)))
