"""Parts of speech: which tag has each word of a sentence? Five taggers, and one that knows no context.

The task. A treebank gives sentences with a tag, such as NOUN or VERB, for each word. The figure that counts
is the share of words that are tagged right; padding, which is most of a row of 250 steps, is no word.

The models. The first three read the whole sentence into one vector (`GRU`, `LSTM`, `Bidirectional` LSTM) and
write all tags from that vector, repeated. Whatever it holds of the sentence, it does not say which word is
where. They count padding as right, so their accuracy in training looks splendid.
The fourth gives an output where it reads a word, sees what comes before and after, and has padding masked.
The fifth reads beside each word its last three letters: a fifth of the words to test with was never seen in
training, but most of their endings were.

The baseline takes the tag that a word had most often in training, and the most frequent tag for words it does
not know.

Run it with ``python examples/part_of_speech.py``; the options are shown by ``--help``. Another treebank goes
by ``--treebank FILE.conllu``, or ``--treebank nltk`` where NLTK and its sample of the Penn Treebank are
installed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import chain
from typing import Any, NamedTuple

import common
import numpy as np

import tinyrnn
from tinyrnn.datasets import treebank
from tinyrnn.layers import (
    GRU,
    LSTM,
    Activation,
    Bidirectional,
    Concatenate,
    Dense,
    Dropout,
    Embedding,
    Input,
    RepeatVector,
    SpatialDropout1D,
    TimeDistributed,
)
from tinyrnn.metrics import accuracy_by_class
from tinyrnn.models import Model, Sequential
from tinyrnn.plotting import plot_bars
from tinyrnn.preprocessing.sequence import pad_sequences
from tinyrnn.utils import to_categorical

WORDS, ENDINGS = 5000, 2000  # the most frequent; the others become one "unknown"
UNKNOWN, FIRST = 1, 2  # 0 is padding, for words as for tags
MIN_DRAWN = 100  # words that a tag must have to get its bars

Sentences = list[list[str]]


class Part(NamedTuple):
    """Sentences as numbers, each array (sentences, length)."""

    words: np.ndarray
    endings: np.ndarray
    tags: np.ndarray


def bidirectional(units: int, **kwargs: Any) -> Bidirectional:
    """Return an LSTM that reads both ways."""
    return Bidirectional(LSTM(units, **kwargs))


def build_model(layer: Any, length: int, tags: int) -> Sequential:
    """Return a tagger that writes all tags from one vector; `layer` makes its recurrent layers."""
    model = Sequential(
        [
            Input((length,), dtype="int32"),
            Embedding(FIRST + WORDS, 128),
            SpatialDropout1D(0.2),
            layer(64, dropout=0.2, recurrent_dropout=0.2),
            RepeatVector(length),
            layer(64, return_sequences=True),
            TimeDistributed(Dense(tags)),
            Activation("softmax"),
        ]
    )
    model.compile("adam", loss="categorical_crossentropy", metrics=["accuracy"])
    return model


def build_masked_model(tags: int, endings: bool) -> Model:
    """Return a tagger with one output per word; `endings` of words are a second input."""
    words = Input((None,), dtype="int32", name="words")
    inputs, h = [words], Embedding(FIRST + WORDS, 128, mask_zero=True)(words)
    if endings:
        last_letters = Input((None,), dtype="int32", name="endings")
        inputs.append(last_letters)
        h = Concatenate()([h, Embedding(FIRST + ENDINGS, 64, mask_zero=True)(last_letters)])
    h = Dropout(0.5)(h)
    h = Bidirectional(LSTM(64, return_sequences=True))(h)
    h = Dropout(0.5)(h)
    model = Model(inputs, TimeDistributed(Dense(tags, activation="softmax"))(h))
    optimizer = tinyrnn.optimizers.Adam(learning_rate=0.002)
    model.compile(optimizer, loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def vocabulary(sentences: Sentences, size: int | None = None) -> dict[str, int]:
    """Number the `size` most frequent words, or all."""
    counts = Counter(word for sentence in sentences for word in sentence)
    return {word: i for i, (word, _) in enumerate(counts.most_common(size), start=FIRST)}


def encode(sentences: Sentences, index: dict[str, int], length: int) -> np.ndarray:
    """Return sentences as rows of `length` numbers, padded at the end."""
    rows = [[index.get(word, UNKNOWN) for word in sentence] for sentence in sentences]
    return pad_sequences(rows, maxlen=length, padding="post", truncating="post")


def last_letters(sentences: Sentences) -> Sentences:
    """Return the last three letters of every word."""
    return [[word[-3:].lower() for word in sentence] for sentence in sentences]


def most_frequent_tags(words: Sentences, tags: Sentences, unseen: Sentences) -> Sentences:
    """Return for each word of `unseen` the tag it had most often: the baseline."""
    seen: dict[str, Counter] = {}
    for sentence, labels in zip(words, tags, strict=True):
        for word, tag in zip(sentence, labels, strict=True):
            seen.setdefault(word, Counter())[tag] += 1
    usual = {word: counts.most_common(1)[0][0] for word, counts in seen.items()}
    otherwise = Counter(tag for labels in tags for tag in labels).most_common(1)[0][0]
    return [[usual.get(word, otherwise) for word in sentence] for sentence in unseen]


def print_table(
    names: list[str], accuracy: dict[str, np.ndarray], count: np.ndarray, shares: dict[str, tuple[int, dict]]
) -> None:
    """Print the share of words tagged right, of all, of new ones, of each tag, the most frequent first."""
    print("\nWords of the test part that are tagged right:")
    print(f"{'':8}{'words':>7}" + "".join(f"{model:>17}" for model in accuracy))
    for part, (number, found) in shares.items():
        print(f"{part:8}{number:7}" + "".join(f"{share:17.3f}" for share in found.values()))
    for i in np.argsort(-count, kind="stable"):
        if count[i]:
            print(f"{names[i]:8}{count[i]:7}" + "".join(f"{a[i]:17.3f}" for a in accuracy.values()))


def load(options: common.Options) -> tuple[Part, Part, list[str], np.ndarray, np.ndarray]:
    """Return both parts, the tags' names, and of the words to test with the guesses and which are new."""
    try:
        train, test = treebank.load_data(options.treebank, tags=options.tags)
    except (ImportError, OSError, ValueError) as error:
        raise SystemExit(f"--treebank: {error}") from error
    words, tags = (part[: options.sentences] for part in train)
    names = ["padding", *sorted({tag for labels in tags + test[1] for tag in labels})]
    number = {tag: i for i, tag in enumerate(names)}
    index, index_of_endings = vocabulary(words, WORDS), vocabulary(last_letters(words), ENDINGS)

    def coded(words: Sentences, tags: Sentences) -> Part:
        return Part(
            encode(words, index, options.length),
            encode(last_letters(words), index_of_endings, options.length),
            encode(tags, number, options.length),
        )

    guesses = encode(most_frequent_tags(words, tags, test[0]), number, options.length)
    is_new = encode(test[0], vocabulary(words), options.length) == UNKNOWN
    return coded(words, tags), coded(*test), names, guesses, is_new


def train_taggers(
    options: common.Options, train: Part, test: Part, tags: int
) -> Iterator[tuple[str, np.ndarray]]:
    """Train the five taggers; yield the name of each and its scores (sentences, length, tags) of the test."""
    for name, layer in (("GRU", GRU), ("LSTM", LSTM), ("bidirectional", bidirectional)):
        print(f"\n{name}: all tags from one vector")
        model = build_model(layer, options.length, tags)
        model.fit(train.words, to_categorical(train.tags, tags), epochs=options.epochs)
        yield name, model.predict(test.words, verbose=0)

    print("\nmasked: one output per word")
    model = build_masked_model(tags, endings=False)
    model.fit(train.words, train.tags, epochs=options.masked_epochs)
    yield "masked", model.predict(test.words, verbose=0)

    print("\nmasked, endings: the last letters as a second input")
    model = build_masked_model(tags, endings=True)
    model.fit([train.words, train.endings], train.tags, epochs=options.masked_epochs)
    yield "masked, endings", model.predict([test.words, test.endings], verbose=0)


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Train five taggers, count what they tag right, tag by tag."""
    options = common.options(
        __doc__,
        arguments,
        epochs=(10, "of the taggers that write all from one vector"),
        masked_epochs=(6, "of the taggers with one output per word"),
        treebank=("turkish", "or nltk, or a file in the format CoNLL-U"),
        tags=("upos", "or xpos, the treebank's own"),
        length=(250, "words of a sentence that are read", 2),
        sentences=(10**6, "at most, to train on"),
        quick={"epochs": 1, "masked_epochs": 4, "length": 100, "sentences": 1500},
    )
    train, test, names, guesses, is_new = load(options)
    print(f"{len(train.words):,} sentences to train on, {len(test.words):,} to test with, ", end="")
    print(f"{len(names) - 1} tags")

    is_word = test.words != 0
    baseline = "most frequent", to_categorical(guesses, len(names))
    accuracy, figures, unseen = {}, {}, {}
    for name, scores in chain([baseline], train_taggers(options, train, test, len(names))):
        accuracy[name], count = accuracy_by_class(test.tags, scores, is_word)
        right = scores.argmax(axis=-1) == test.tags
        figures[name], unseen[name] = (float(right[where].mean()) for where in (is_word, is_new))

    shares = {"all": (count.sum(), figures), "new": (is_new.sum(), unseen)}
    print_table(names, accuracy, count, shares)
    frequent = [i for i in np.argsort(-count) if count[i] >= MIN_DRAWN]
    drawn = {m: {"all": figures[m]} | {names[i]: a[i] for i in frequent} for m, a in accuracy.items()}
    plot = options.figure("part_of_speech.png")
    plot_bars(drawn, plot, "words tagged right")
    print(f"\nThe same as bars: {plot}")
    return figures | {"new words": unseen, "plot": plot}


if __name__ == "__main__":
    common.run(main)
