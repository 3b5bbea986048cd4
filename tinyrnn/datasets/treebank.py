"""Sentences in which every word has its part of speech: two treebanks, and any in the format CoNLL-U."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tinyrnn.datasets.fetch import Arrays, Carrier, RawFile, cached, fetch
from tinyrnn.naming import nearest

__all__ = ["load_data", "read_conllu"]

Sentences = list[list[str]]


def _file(name: str, sha256: str) -> RawFile:
    return RawFile(name, (Carrier("turkish-treebanks", "1.0.0", f"data/{name}", sha256),))


TURKISH = (
    _file("web.conllu", "d6f92b12b74f367a36e30dd3d644d7a0bb01a991584602e6e69f1191664f86bf"),
    _file("wiki.conllu", "58f049fae8d0653ba0940a58168c17c7cebbc50f88cad2985d12d34ac1b9acde"),
)
READING = "reading 1"  # count up when what is read from a file changes: cached arrays are then made again
COLUMNS = {"upos": 3, "xpos": 4}


def load_data(
    source: str | os.PathLike = "turkish", tags: str = "upos", test_split: float = 0.2, seed: int = 113
) -> tuple[tuple[Sentences, Sentences], tuple[Sentences, Sentences]]:
    """Return tagged sentences to train on and to test with: the words, and a tag for each word.

    ``"turkish"`` is the Turkish Web Treebank: 4,851 sentences from web pages and from Wikipedia, 81,370
    words, 14 universal and 45 finer tags. Where suffixes change what part of speech a word is, as they do all
    the time in Turkish, the word is cut there, and its pieces count as words. The first call downloads twice
    1 MB with pip; later ones read the words from the folder of `tinyrnn.datasets`.

    ``"nltk"`` is the sample of the Penn Treebank that comes with NLTK: 3,914 sentences from the Wall Street
    Journal, 45 tags, without the traces, which are no words. It is read where NLTK and this data are
    installed.

    Anything else is a path: a file in the format CoNLL-U, such as a treebank of Universal Dependencies.

    Parameters
    ----------
    source : {"turkish", "nltk"} or path
    tags : {"upos", "xpos"}
        The universal tags, or the treebank's own. NLTK's sample has only its own, whatever this says.
    test_split : float
        Share of the sentences to test with.
    seed : int
        For the order of the sentences, and so for which are to test with.

    Returns
    -------
    (x_train, y_train), (x_test, y_test)
        x: list of sentences, each a list of words. y: the tags, in lists of the same lengths.

    Raises
    ------
    ValueError
        For an unknown column, a `test_split` that leaves one part without sentences, or a file that is not in
        the format: which line, and why.
    ImportError
        Without NLTK, if it is asked for.
    OSError
        If the data can't be had: which file to put where. FileNotFoundError if there is no such path.

    Notes
    -----
    The Turkish Web Treebank is copyright 2019 Google (github.com/google-research-datasets/turkish-treebanks),
    under the Apache licence 2.0, and is fetched in the wheel ``turkish-treebanks`` 1.0.0. The sample of the
    Penn Treebank is under a licence for use that is not commercial. tinyrnn contains none of either.
    """
    if source == "turkish":
        _column(tags)
        words, labels = _turkish(tags)
    elif source == "nltk":
        words, labels = _nltk()
    else:
        words, labels = read_conllu(source, tags)
    held_out = round(test_split * len(words))
    if not 0 < held_out < len(words):
        raise ValueError(f"test_split: {test_split} of {len(words)} sentences leaves one part without any")
    order = np.random.RandomState(seed).permutation(len(words))
    parts = (order[held_out:], order[:held_out])
    train, test = (([words[i] for i in part], [labels[i] for i in part]) for part in parts)
    return train, test


def read_conllu(path: str | os.PathLike, tags: str = "upos") -> tuple[Sentences, Sentences]:
    """Read a file in the format CoNLL-U (universaldependencies.org/format.html).

    Of words that are written in one, like Spanish "del", the parts are taken, since these have the tags;
    words that are not written at all (numbered like 8.1) are left out.

    Parameters
    ----------
    path : path
    tags : {"upos", "xpos"}
        Which column: the universal tags, or the treebank's own.

    Returns
    -------
    words, tags : lists of lists of str
        A list for each sentence.

    Raises
    ------
    ValueError
        For an unknown column, or a file that is not in the format: which line, and why.
    FileNotFoundError
        If there is no such file.
    """
    _column(tags)
    return _parse(Path(path).expanduser().read_bytes(), str(path), tags)


def _column(tags: str) -> int:
    if tags not in COLUMNS:
        raise ValueError(f"tags: unknown column {tags!r}{nearest(str(tags), COLUMNS)}")
    return COLUMNS[tags]


def _parse(text: bytes, name: str, tags: str) -> tuple[Sentences, Sentences]:
    """Return words and tags of a file's sentences."""
    try:
        lines = text.decode("utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{name} is not in the format CoNLL-U, which is UTF-8: {error}") from error
    words: Sentences = []
    labels: Sentences = []
    inside = False  # a sentence ends with an empty line, or with the file
    for word, label in _tokens(lines, name, tags):
        if word is None:
            inside = False
            continue
        if not inside:
            words.append([])
            labels.append([])
            inside = True
        words[-1].append(word)
        labels[-1].append(label)
    if not words:
        raise ValueError(f"{name}: there are no sentences")
    return words, labels


def _tokens(lines: list[str], name: str, tags: str) -> Iterator[tuple[str | None, str]]:
    """Go through the words with their tags; an empty line is (None, "")."""
    column = _column(tags)
    for number, line in enumerate(lines, start=1):
        line = line.rstrip("\r")
        if not line.strip():
            yield None, ""
        elif not line.startswith("#"):
            fields = line.split("\t")
            if len(fields) != 10:
                raise ValueError(
                    f"{name}, line {number}: expected 10 columns separated by tabs, found {len(fields)}"
                )
            if not fields[0].isdigit():  # 3-4: written in one; 8.1: not written
                continue
            if fields[column] in ("", "_"):
                raise ValueError(f"{name}, line {number}: {fields[1]!r} has no tag in the column {tags}")
            yield fields[1], fields[column]


def _turkish(tags: str) -> tuple[Sentences, Sentences]:
    made_from = " ".join([*(file.sources[0].sha256 for file in TURKISH), READING])
    stored = cached(f"treebank_{tags}.npz", made_from, lambda: _arrays(tags))
    ends = stored["ends"].tolist()
    cuts = list(zip([0, *ends], ends, strict=False))
    words, labels = (stored[name].tobytes().decode().split("\n") for name in ("words", "tags"))
    return [words[a:b] for a, b in cuts], [labels[a:b] for a, b in cuts]


def _arrays(tags: str) -> Arrays:
    """Fetch the treebank and lay its sentences end to end."""
    parts = [_parse(fetch(file), file.name, tags) for file in TURKISH]
    words, labels = ([s for part in parts for s in part[i]] for i in (0, 1))

    def joined(sentences):
        return np.frombuffer("\n".join(word for s in sentences for word in s).encode(), np.uint8)

    return {"words": joined(words), "tags": joined(labels), "ends": np.cumsum([len(s) for s in words])}


def _nltk() -> tuple[Sentences, Sentences]:
    try:
        from nltk.corpus import treebank
    except ImportError as error:
        raise ImportError("this treebank is read with NLTK: pip install nltk") from error
    try:
        tagged = treebank.tagged_sents()
        tagged = [[pair for pair in sentence if pair[1] != "-NONE-"] for sentence in tagged]
    except LookupError as error:
        raise OSError('NLTK has no treebank here; fetch it with nltk.download("treebank")') from error
    tagged = [sentence for sentence in tagged if sentence]
    return [[w for w, _ in s] for s in tagged], [[tag for _, tag in s] for s in tagged]
