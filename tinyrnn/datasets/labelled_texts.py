"""Texts with labels: a table of the user's own, and how a part is held out to test with."""

from __future__ import annotations

import csv
import io
import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from tinyrnn.datasets.fetch import Arrays, RawFile, cached, fetch

__all__ = ["held_out", "load_data", "load_fetched", "parse_lines", "split"]

SPLIT_SEED = 113
Part = tuple[list[str], np.ndarray]


def load_data(
    path: str | os.PathLike, share: float = 0.2, seed: int = SPLIT_SEED
) -> tuple[Part, Part, list[str]]:
    """Return the texts and labels of a file of the user's own, a part of them held out to test with.

    A file whose name ends in ``.csv`` is a table with commas, whose first line names the columns ``text`` and
    ``label`` (others may stand beside them). Any other file has one text a line, its label and a TAB before
    it: ``label<TAB>text``. Both are in UTF-8. A label may be any word or number; the classes are the labels
    in alphabetical order, so of ``neg`` and ``pos`` as of ``0`` and ``1`` the first is class 0.

    Parameters
    ----------
    path : str or path
    share, seed
        As in `split`.

    Returns
    -------
    (x_train, y_train), (x_test, y_test), names
        x: list of str. y: int64 array of classes. names: the labels, by class.

    Raises
    ------
    OSError
        If the file can't be read.
    ValueError
        If it is not as described (which line is wrong), or has fewer than two labels.
    """
    data = Path(path).read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: expected UTF-8, found byte {data[error.start]} at {error.start}") from None
    table = Path(path).suffix.lower() == ".csv"
    texts, labels = (_parse_table if table else parse_lines)(text, str(path))
    names = sorted(set(labels))
    if len(names) < 2:
        raise ValueError(
            f"{path}: expected two labels or more, found {', '.join(map(repr, names)) or 'none'}"
        )
    classes = {name: i for i, name in enumerate(names)}
    return *split(texts, np.array([classes[label] for label in labels], np.int64), share, seed), names


def parse_lines(text: str, where: str) -> tuple[list[str], list[str]]:
    """Return the texts and labels of lines ``label<TAB>text``; empty lines are left out."""
    texts, labels = [], []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        label, tab, sentence = line.rstrip("\r").partition("\t")
        if not (tab and label.strip()):
            raise ValueError(f"{where}, line {number}: expected label<TAB>text, found {line[:60]!r}")
        texts.append(sentence)
        labels.append(label.strip())
    return texts, labels


def _parse_table(text: str, where: str) -> tuple[list[str], list[str]]:
    rows = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    missing = {"text", "label"} - set(rows.fieldnames or ())
    if missing:
        raise ValueError(
            f"{where}: expected the columns text and label, found {', '.join(rows.fieldnames or ['nothing'])}"
        )
    texts, labels = [], []
    try:
        for row in rows:
            if not (row["label"] or "").strip() or row["text"] is None:
                raise ValueError(f"{where}, line {rows.line_num}: expected a text and a label")
            texts.append(row["text"])
            labels.append(row["label"].strip())
    except csv.Error as error:
        raise ValueError(f"{where}, after line {rows.line_num}: {error}") from None
    return texts, labels


def split(
    texts: Sequence[str], labels: np.ndarray, share: float = 0.2, seed: int = SPLIT_SEED
) -> tuple[Part, Part]:
    """Hold out a part to test with, and bring either part into an order by chance.

    A text that occurs more than once is never in the test part.

    Parameters
    ----------
    texts : sequence of str
    labels : int array of shape (len(texts),)
    share : float
        Of each label this share is held out.
    seed : int
        The same seed always gives the same split.

    Returns
    -------
    (x_train, y_train), (x_test, y_test)

    Raises
    ------
    ValueError
        If `share` is not between 0 and 1, or there are too few texts to hold out any.
    """
    if not 0 < share < 1:
        raise ValueError(f"share: expected a number between 0 and 1, found {share}")
    number = {int(label): round(share * n) for label, n in Counter(labels.tolist()).items()}
    test = held_out(texts, labels, number, seed)
    if not test.any() or test.all():
        raise ValueError(
            f"texts: {len(set(texts))} different ones are too few to hold out {share:.0%} of them"
        )
    order = np.random.RandomState(seed).permutation(len(texts))
    train, test = order[~test[order]], order[test[order]]
    return ([texts[i] for i in train], labels[train]), ([texts[i] for i in test], labels[test])


def held_out(
    texts: Sequence[str], labels: np.ndarray, number: dict[int, int], seed: int = SPLIT_SEED
) -> np.ndarray:
    """Return which texts are for testing: ``number[label]`` of each label, none that occurs twice."""
    times = Counter(texts)
    once = np.array([times[text] == 1 for text in texts])
    chance = np.random.RandomState(seed)  # its draws are the same in every version of NumPy
    test = np.zeros(len(texts), bool)
    for label in sorted(number):
        test[chance.permutation(np.flatnonzero(once & (labels == label)))[: number[label]]] = True
    return test


def load_fetched(
    name: str, file: RawFile, parse: Callable[[bytes], tuple[Sequence[str], np.ndarray]]
) -> tuple[list[str], np.ndarray]:
    """Return the texts and labels of a fetched file, kept under `name` in the data folder.

    No text may have a line break in it.
    """

    def make() -> Arrays:
        texts, labels = parse(fetch(file))
        return {"texts": np.frombuffer("\n".join(texts).encode(), np.uint8), "labels": labels}

    stored = cached(name, f"{file.sources[0].sha256} texts 1", make)
    return stored["texts"].tobytes().decode().split("\n"), stored["labels"]
