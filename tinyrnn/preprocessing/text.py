"""Text as numbers: cut it into words, count them, give each an id."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from tinyrnn.backend import floatx
from tinyrnn.naming import nearest

__all__ = ["FILTERS", "Tokenizer", "text_to_word_sequence"]

FILTERS = '!"#$%&()*+,-./:;<=>?@[\\]^_`{|}~\t\n'
MATRIX_MODES = ("binary", "count", "freq", "tfidf")


def text_to_word_sequence(
    input_text: str, filters: str = FILTERS, lower: bool = True, split: str = " "
) -> list[str]:
    """Cut a text into words.

    Parameters
    ----------
    input_text : str
    filters : str
        Characters that separate words as `split` does: punctuation, tabs, line breaks; not the apostrophe.
    lower : bool
        Make the text lower-case first.
    split : str
        Separator of words.

    Returns
    -------
    list of str
        Without empty words.

    Examples
    --------
    >>> text_to_word_sequence("Don't look now: it's HERE!")
    ["don't", 'look', 'now', "it's", 'here']
    """
    if lower:
        input_text = input_text.lower()
    text = input_text.translate(str.maketrans(dict.fromkeys(filters, split)))
    return [word for word in text.split(split) if word]


class Tokenizer:
    """A vocabulary counted from texts, and the way from texts to ids and back.

    Id 0 stands for padding and no word. The words follow by how often they occur, the most frequent first;
    words that occur equally often come in the order in which they were first seen.

    A text is a string, or a list of words that is taken as it stands (but for `lower`).

    Parameters
    ----------
    num_words : int, optional
        Use ids below this only: the ``num_words - 1`` most frequent words. `word_index` holds all the same.
    filters, lower, split
        As in `text_to_word_sequence`.
    char_level : bool
        Characters take the place of words; `filters` and `split` are then not used.
    oov_token : str, optional
        Gets id 1 and stands for every word out of the vocabulary. Without it, such words are left out.

    Attributes
    ----------
    word_counts, word_docs : dict of str to int
        How often each word was seen, and in how many texts; words in the order in which they were first seen.
    word_index, index_word : dict
        Words to ids and ids to words.
    document_count : int
        How many texts were counted.
    """

    def __init__(
        self,
        num_words: int | None = None,
        filters: str = FILTERS,
        lower: bool = True,
        split: str = " ",
        char_level: bool = False,
        oov_token: str | None = None,
    ):
        self.num_words = num_words
        self.filters = filters
        self.lower = lower
        self.split = split
        self.char_level = char_level
        self.oov_token = oov_token
        self.word_counts: Counter[str] = Counter()
        self.word_docs: Counter[str] = Counter()
        self.word_index: dict[str, int] = {}
        self.index_word: dict[int, str] = {}
        self.document_count = 0

    def fit_on_texts(self, texts: Iterable[str | Sequence[str]]) -> None:
        """Count the words of `texts`, beside those counted before, and number them.

        Raises
        ------
        TypeError
            If `texts` is one string: its characters would be taken for texts.
        """
        for text in _several(texts):
            words = self._words(text)
            self.word_counts.update(words)
            self.word_docs.update(
                list(dict.fromkeys(words))
            )  # each once; the order of a set differs from run to run
            self.document_count += 1
        by_count = sorted(self.word_counts, key=self.word_counts.__getitem__, reverse=True)
        first = [] if self.oov_token is None else [self.oov_token]
        vocabulary = dict.fromkeys(first + by_count)  # the token may occur in the texts: one id all the same
        self.word_index = {word: i for i, word in enumerate(vocabulary, start=1)}
        self.index_word = {i: word for word, i in self.word_index.items()}

    def texts_to_sequences(self, texts: Iterable[str | Sequence[str]]) -> list[list[int]]:
        """Return the ids of the words of every text.

        Raises
        ------
        TypeError
            If `texts` is one string.
        """
        found = ([self._id(word) for word in self._words(text)] for text in _several(texts))
        return [[i for i in ids if i is not None] for ids in found]

    def sequences_to_texts(self, sequences: Iterable[Iterable[int]]) -> list[str]:
        """Return the words of every sequence of ids, joined by blanks."""
        found = ([self._word(i) for i in ids] for ids in sequences)
        return [" ".join(word for word in words if word is not None) for words in found]

    def texts_to_matrix(self, texts: Iterable[str | Sequence[str]], mode: str = "binary") -> np.ndarray:
        """Return one row per text, one column per id: `sequences_to_matrix` of `texts_to_sequences`."""
        return self.sequences_to_matrix(self.texts_to_sequences(texts), mode)

    def sequences_to_matrix(self, sequences: Sequence[Sequence[int]], mode: str = "binary") -> np.ndarray:
        """Return one row per sequence, one column per id, for models that ignore the order of words.

        Parameters
        ----------
        sequences : list of sequences of int
        mode : {"binary", "count", "freq", "tfidf"}
            Whether an id occurs; how often, n; its share of the sequence; or
            ``(1 + log n) log(1 + N / (1 + d))`` for a word that was counted in d of N texts.

        Returns
        -------
        array of shape (len(sequences), num_words), of type ``floatx()``
            ``num_words`` is one more than the highest id if the tokenizer was not given it.

        Raises
        ------
        ValueError
            For an unknown mode, or if nothing says how many columns there are.
        """
        if mode not in MATRIX_MODES:
            raise ValueError(f"mode: unknown {mode!r}{nearest(str(mode), MATRIX_MODES)}")
        if not self.document_count and (mode == "tfidf" or not self.num_words):
            raise ValueError(
                "Tokenizer: call fit_on_texts first; only num_words and another mode can do without"
            )
        columns = self.num_words or len(self.word_index) + 1
        counts = np.zeros((len(sequences), columns), floatx())
        for row, ids in zip(counts, sequences, strict=True):
            ids = np.asarray(ids, dtype="int64")
            row[:] = np.bincount(ids[ids < columns], minlength=columns)
            if mode == "freq":
                row /= max(len(ids), 1)
        if mode in ("count", "freq"):
            return counts
        seen = (counts > 0).astype(counts.dtype)
        return seen if mode == "binary" else seen * (1 + np.log(np.maximum(counts, 1))) * self._rarity(counts)

    def _rarity(self, counts: np.ndarray) -> np.ndarray:
        """Return the second factor of tf-idf for every column of `counts`."""
        docs = [self.word_docs[self.index_word.get(i)] for i in range(counts.shape[1])]
        return np.log(1 + self.document_count / (1 + np.asarray(docs, counts.dtype)))

    def _words(self, text: str | Sequence[str]) -> Sequence[str]:
        if not isinstance(text, str):
            return [word.lower() for word in text] if self.lower else text
        if self.char_level:
            return text.lower() if self.lower else text
        return text_to_word_sequence(text, self.filters, self.lower, self.split)

    def _id(self, word: str) -> int | None:
        i = self.word_index.get(word)
        if i is None or (self.num_words and i >= self.num_words):
            return self.word_index.get(self.oov_token)
        return i

    def _word(self, i: int) -> str | None:
        word = self.index_word.get(i)
        return self.oov_token if word is None or (self.num_words and i >= self.num_words) else word


def _several(texts: Iterable[str | Sequence[str]]) -> Iterable[str | Sequence[str]]:
    if isinstance(texts, str):
        raise TypeError("texts: expected a list of texts, found one string")
    return texts
