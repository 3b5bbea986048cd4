"""Short sentences: is it praise? Two thousand words, some thousand sentences, and what to do about so few.

The task. A sentence of some twenty words, for or against. The sentences are those that critics wrote on
Rotten Tomatoes; `--corpus` takes short messages (is it spam?) or a file of your own.
The model. The 2,000 most frequent words have a number of their own, the others share one (UNK), and zeros
(PAD) fill every sentence up to 40. An LSTM of 64 reads it. In training a fifth of the embedding's features,
of the LSTM's inputs and of its recurrent state are left out. A fifth of the sentences is held out.

With 6,824 sentences the network soon knows them by heart: watch the validation loss. Counting words (naive
Bayes) is as good. So there is a second network for opinions on films, which has learned to read before: it
is trained on the long IMDB reviews, by other people, and then on the sentences, until a tenth of them that
is kept aside says stop. It reads in both directions, skips the padding, and averages what it has in mind at
every word, so the place of a word counts for little.

A file of your own has a sentence a line, ``label<TAB>sentence``; or it is a table, its name ends in
``.csv``, and its first line names the columns ``text`` and ``label``. There must be two labels.

Run it with ``python examples/short_sentences.py``; the options are shown by ``--help``.
"""

from __future__ import annotations

import common
import numpy as np

from tinyrnn.callbacks import EarlyStopping
from tinyrnn.datasets import imdb, labelled_texts, rotten_tomatoes, sms_spam
from tinyrnn.layers import (
    LSTM,
    Activation,
    Bidirectional,
    Dense,
    Dropout,
    Embedding,
    GlobalAveragePooling1D,
    Input,
    SpatialDropout1D,
)
from tinyrnn.models import Sequential
from tinyrnn.optimizers import Adam
from tinyrnn.plotting import plot_histories
from tinyrnn.preprocessing.sequence import pad_sequences
from tinyrnn.preprocessing.text import Tokenizer

WORDS = 2000 + 2  # PAD and UNK
LENGTH = 40
IMDB_WORDS = 20_000
IMDB_LENGTH = 200

CORPORA = {
    "rotten-tomatoes": (rotten_tomatoes.load_data, ["slating", "praise"]),
    "sms-spam": (sms_spam.load_data, ["no spam", "spam"]),
}


def load_corpus(corpus: str) -> tuple:
    """Return (x_train, y_train), (x_test, y_test), and the names of the two classes."""
    if corpus in CORPORA:
        load, names = CORPORA[corpus]
        return *load(), names
    try:
        train, test, names = labelled_texts.load_data(corpus)
    except (OSError, ValueError) as error:
        known = ", ".join(CORPORA)
        raise SystemExit(f"--corpus: {error}\n(a file, since it is none of {known})") from None
    if len(names) != 2:
        raise SystemExit(f"--corpus: expected two labels, found {len(names)}: {', '.join(names)}")
    return train, test, names


def build_model() -> Sequential:
    """Return the classifier, ready to be trained."""
    model = Sequential(
        [
            Input(shape=(LENGTH,), dtype="int32"),
            Embedding(WORDS, 128),
            SpatialDropout1D(0.2),
            LSTM(64, dropout=0.2, recurrent_dropout=0.2),
            Dense(1),
            Activation("sigmoid"),
        ]
    )
    model.compile(optimizer="adam", loss="binary_crossentropy", metrics=["accuracy"])
    return model


def build_reader() -> Sequential:
    """Return the classifier that reads IMDB reviews first, ready to be trained."""
    model = Sequential(
        [
            Input(shape=(None,), dtype="int32"),
            Embedding(IMDB_WORDS, 64, mask_zero=True),
            SpatialDropout1D(0.4),
            Bidirectional(LSTM(32, return_sequences=True, dropout=0.2, recurrent_dropout=0.2)),
            GlobalAveragePooling1D(),
            Dropout(0.5),
            Dense(1, activation="sigmoid"),
        ]
    )
    model.compile(optimizer="adam", loss="binary_crossentropy", metrics=["accuracy"])
    return model


def code_words(x: list[str], x_test: list[str], words: int | None = WORDS) -> tuple[list, list]:
    """Return the texts as lists of word ids, numbered by their frequency in the training part; 1 is UNK."""
    tokenizer = Tokenizer(num_words=words, oov_token="UNK")
    tokenizer.fit_on_texts(x)
    return tokenizer.texts_to_sequences(x), tokenizer.texts_to_sequences(x_test)


def train_reader(train: tuple, test: tuple, options: common.Options) -> tuple[Sequential, np.ndarray, dict]:
    """Train the second network; return it, the test part coded for it, and figures."""

    def code(texts: list[str]) -> list:
        return imdb.encode(texts, num_words=IMDB_WORDS, start_char=None)

    (reviews, labels), _ = imdb.load_data(num_words=IMDB_WORDS, start_char=None)
    reviews, labels = reviews[: options.reviews], labels[: options.reviews]
    (x, y), (x_test, y_test) = train, test
    baseline = common.naive_bayes(([*reviews, *code(x)], [*labels, *y]), (code(x_test), y_test))
    x, x_test = (pad_sequences(code(part), LENGTH) for part in (x, x_test))

    print("\nThe second network, on reviews")
    model = build_reader()
    model.summary()
    model.fit(pad_sequences(reviews, IMDB_LENGTH), labels, batch_size=128, epochs=options.review_epochs)
    _, unread = model.evaluate(x_test, y_test, batch_size=500, verbose=0)
    print("\nThe second network, on sentences")
    model.compile(optimizer=Adam(0.0005), loss="binary_crossentropy", metrics=["accuracy"])  # careful steps
    stop = EarlyStopping(patience=2, restore_best_weights=True)
    history = model.fit(x, y, batch_size=64, epochs=options.epochs, validation_split=0.1, callbacks=[stop])
    _, accuracy = model.evaluate(x_test, y_test, batch_size=500, verbose=0)
    figures = {"unread": unread, "accuracy": accuracy, "naive_bayes": baseline}
    return model, x_test, figures | {"history": history}


def show_some(model: Sequential, texts: list[str], x: np.ndarray, y: np.ndarray, names: list[str]) -> None:
    """Print five of the texts, drawn by chance, with what is predicted and what is right."""
    chosen = np.random.choice(len(texts), 5, replace=False)
    for i, p in zip(chosen, model.predict(x[chosen], verbose=0)[:, 0], strict=True):
        print(f"{p:6.1%} {names[1]}, it is {names[y[i]]}:  {texts[i][:100]}")


def main(arguments: list[str] | None = None) -> dict:
    """Train one network or two, evaluate beside naive Bayes, show five sentences; return the figures."""
    options = common.options(
        __doc__,
        arguments,
        epochs=10,
        batch_size=32,
        corpus=("rotten-tomatoes", f"{', '.join(CORPORA)}, or a file of your own"),
        sentences=(1_000_000, "train on no more than this", 2),
        reader=(bool, "train the second network too; by default for rotten-tomatoes"),
        reviews=(20_000, "IMDB reviews that it reads first"),
        review_epochs=(3, "times it reads them"),
        quick={"epochs": 3, "sentences": 3_000, "reviews": 6_000, "review_epochs": 2},
    )
    (texts, y), (texts_test, y_test), names = load_corpus(options.corpus)
    texts, y = texts[: options.sentences], y[: options.sentences]
    ids, ids_test = code_words(texts, texts_test)
    x, x_test = pad_sequences(ids, LENGTH), pad_sequences(ids_test, LENGTH)
    print(f"{len(x):,} sentences to train on, {len(x_test):,} to test with: {names[0]} or {names[1]}\n")

    model = build_model()
    model.summary()
    history = model.fit(
        x, y, batch_size=options.batch_size, epochs=options.epochs, validation_data=(x_test, y_test)
    )
    curves = history.history["val_accuracy"]
    all_words, all_words_test = code_words(texts, texts_test, words=None)
    figures = {
        "frequent": float(np.bincount(y_test).max() / len(y_test)),
        "naive_bayes": common.naive_bayes((ids, y), (ids_test, y_test)),
        "naive_bayes_all_words": common.naive_bayes((all_words, y), (all_words_test, y_test)),
        "accuracy": curves[-1],
        "first": curves[0],
    }
    histories = {"LSTM": history}
    show_some(model, texts_test, x_test, y_test, names)

    if options.reader or (options.reader is None and options.corpus == "rotten-tomatoes"):
        reader, x_test, figures["reader"] = train_reader((texts, y), (texts_test, y_test), options)
        histories["reads reviews first"] = figures["reader"].pop("history")
        show_some(reader, texts_test, x_test, y_test, names)

    print(f"\nAccuracy on {len(y_test):,} sentences that were held out")
    for name, accuracy in table(figures).items():
        print(f"  {name:52} {accuracy:.4f}")
    figures["plot"] = options.figure("short_sentences.png")
    plot_histories(histories, figures["plot"])
    print(f"Curves: {figures['plot']}")
    return figures


def table(figures: dict) -> dict[str, float]:
    """Return the accuracies under the names to print."""
    rows = {
        "always the more frequent class": figures["frequent"],
        "naive Bayes, 2,000 words": figures["naive_bayes"],
        "naive Bayes, all words": figures["naive_bayes_all_words"],
        "LSTM, after the first epoch": figures["first"],
        "LSTM, after the last": figures["accuracy"],
    }
    if "reader" in figures:
        reader = figures["reader"]
        rows |= {
            "naive Bayes, 20,000 words, on reviews and sentences": reader["naive_bayes"],
            "second network, on reviews alone": reader["unread"],
            "second network, on reviews, then on sentences": reader["accuracy"],
        }
    return rows


if __name__ == "__main__":
    common.run(main)
