"""What the examples share: their command line, where their plots go, a simple classifier to compare with."""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np

import tinyrnn
from tinyrnn.callbacks import Callback
from tinyrnn.datasets import imdb, python_docs
from tinyrnn.preprocessing.sequence import pad_sequences

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
        ``length=(100, "words read")`` adds a line of help.

    Raises
    ------
    SystemExit
        For something that can't be understood, after saying what.
    ValueError
        If `quick` names something that is no option.
    """
    quick = quick or {}
    defaults |= {"seed": (1, "for the weights and all chance"), "out": (RESULTS, "folder of the plots")}
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
    tinyrnn.set_random_seed(chosen.seed)
    return chosen


def _add(parser: argparse.ArgumentParser, name: str, default: Any, quick: dict[str, Any]) -> None:
    """Add the option `name`; its help shows both defaults."""
    value, explained = default if isinstance(default, tuple) else (default, "")
    kind, value = (value, None) if isinstance(value, type) else (type(value), value)
    how: dict[str, Any] = {"action": argparse.BooleanOptionalAction} if kind is bool else {"type": kind}
    shown = [str(value)] if value is not None else []
    shown += [f"--quick: {quick[name]}"] if name in quick else []
    note = f"{explained} ({', '.join(shown)})" if shown else explained
    parser.add_argument(f"--{name.replace('_', '-')}", default=value, help=note.replace("%", "%%"), **how)


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


def naive_bayes(x: Any, y: Any, unseen: Any) -> np.ndarray:
    """Classify by how often each word occurs in each class, whatever its place: the baseline for texts.

    Multinomial naive Bayes, with one added to every count.

    Parameters
    ----------
    x : sequence of lists of int
        Word ids of the texts to learn from.
    y : sequence of int
        Their classes, from 0.
    unseen : sequence of lists of int
        The texts to classify.

    Returns
    -------
    int array of shape (len(unseen),)
    """
    y = np.asarray(y)
    words = 1 + max(max(ids, default=0) for texts in (x, unseen) for ids in texts)
    counts = np.ones((y.max() + 1, words))
    for ids, label in zip(x, y, strict=True):
        np.add.at(counts[label], ids, 1)
    log_word = np.log(counts / counts.sum(axis=1, keepdims=True))
    log_class = np.log(np.bincount(y) / len(y))
    return np.array([(log_class + log_word[:, ids].sum(axis=1)).argmax() for ids in unseen])


# --- film reviews -----------------------------------------------------------------------------------------

OPINIONS = {  # 1: praise
    "One of the best films I have ever seen, wonderful acting and a beautiful story.": 1,
    "A complete waste of time: boring, badly acted and far too long.": 0,
    "I laughed, I cried, and I would watch it again tomorrow.": 1,
    "Dull, predictable and poorly written; an awful waste of good actors.": 0,
    "A great cast, a clever script, and a perfect ending: excellent.": 1,
    "This is the worst movie of the year, stupid and terrible from start to finish.": 0,
}


class Reviews:
    """The IMDB reviews as an array of word ids, `length` words each, and the way to code a sentence alike.

    Parameters
    ----------
    words : int
        Size of the vocabulary; rarer words become one "unknown".
    length : int
        Longer reviews are cut, shorter ones filled with zeros.
    limit : int, optional
        Train on this many reviews only.
    **padding
        Where to fill and to cut; see `pad_sequences`.

    Attributes
    ----------
    train, test : tuple of array (reviews, length), array (reviews,)
        Word ids, and 1 for praise.
    """

    def __init__(self, words: int, length: int, limit: int | None = None, **padding: str):
        self.words, self.length, self.padding = words, length, padding
        (x, y), (x_test, y_test) = imdb.load_data(num_words=words)
        self.train = self._padded(x[:limit]), y[:limit]
        self.test = self._padded(x_test), y_test

    def code(self, sentences: list[str]) -> np.ndarray:
        """Return typed sentences as the data set has its reviews."""
        return self._padded(imdb.encode(sentences, num_words=self.words))

    def naive_bayes(self) -> float:
        """Return the test accuracy of naive Bayes, which sees the same words as the models."""
        x, x_test = ([ids[ids > 0] for ids in part[0]] for part in (self.train, self.test))
        return float(np.mean(naive_bayes(x, self.train[1], x_test) == self.test[1]))

    def _padded(self, sequences: Any) -> np.ndarray:
        return pad_sequences(sequences, maxlen=self.length, **self.padding)


def score_opinions(model: tinyrnn.Model, reviews: Reviews) -> list[float]:
    """Print, and return, what the model takes for the probability of praise of a few clear opinions."""
    scores = model.predict(reviews.code(list(OPINIONS)), verbose=0)[:, 0].tolist()
    for sentence, score in zip(OPINIONS, scores, strict=True):
        print(f"{score:6.1%} praise  {sentence}")
    return scores


def ask(model: tinyrnn.Model, reviews: Reviews) -> None:
    """Score sentences that the user types, until an empty line or the end of the input."""
    print("\nType a sentence about a film (an empty line ends this).")
    while True:
        try:
            sentence = input("> ").strip()
        except (EOFError, KeyboardInterrupt):
            print()
            return
        if not sentence:
            return
        print(f"{model.predict(reviews.code([sentence]), verbose=0).item():6.1%} praise")
