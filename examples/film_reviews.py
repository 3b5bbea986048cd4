"""What the examples on film reviews share: the IMDB reviews as arrays, opinions to score, a prompt."""

from __future__ import annotations

from typing import Any

import common
import numpy as np

import tinyrnn
from tinyrnn.datasets import imdb
from tinyrnn.preprocessing.sequence import pad_sequences

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
        train, test = (([ids[ids > 0] for ids in x], y) for x, y in (self.train, self.test))
        return common.naive_bayes(train, test)

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
