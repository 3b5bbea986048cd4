"""Film reviews: is it praise? An LSTM reads 18,000 of them and answers for 5,000 others.

The task. Each IMDB review is a list of word numbers; the answer is 1 for praise, 0 for a slating.
The model. Word numbers become vectors (`Embedding`), an `LSTM` reads them one after the other, what it
remembers at the end decides (`Dense` with a sigmoid: the probability of praise). Padding is masked.

Run it with ``python examples/imdb_lstm.py``; the options are shown by ``--help``.
"""

import argparse
from pathlib import Path

import numpy as np

import tinyrnn
from tinyrnn.datasets import imdb
from tinyrnn.layers import LSTM, Dense, Dropout, Embedding, Input, SpatialDropout1D
from tinyrnn.models import Sequential
from tinyrnn.preprocessing.sequence import pad_sequences
from tinyrnn.preprocessing.text import text_to_word_sequence

WORDS = 10_000  # the most frequent; the others become one "unknown"
START, UNKNOWN, FIRST = 1, 2, 3  # how the data set numbers: 0 is padding

SENTENCES = [
    "One of the best films I have ever seen, wonderful acting and a beautiful story.",
    "A complete waste of time: boring, badly acted and far too long.",
    "I laughed, I cried, and I would watch it again tomorrow.",
    "Dull, predictable and poorly written; an awful waste of good actors.",
]


def build_model(words: int = WORDS) -> Sequential:
    """Return the classifier, ready to be trained."""
    model = Sequential(
        [
            Input(shape=(None,), dtype="int32"),
            Embedding(words, 32, mask_zero=True),
            SpatialDropout1D(0.5),
            LSTM(32),
            Dropout(0.3),
            Dense(1, activation="sigmoid"),
        ]
    )
    optimizer = tinyrnn.optimizers.Adam(learning_rate=0.003, clipnorm=1.0)
    model.compile(optimizer, loss="binary_crossentropy", metrics=["accuracy"])
    return model


def encode(sentence: str, word_index: dict[str, int], length: int) -> np.ndarray:
    """Return a typed sentence as the data set writes reviews: one row of `length` numbers."""
    ranks = [word_index.get(word, WORDS) for word in text_to_word_sequence(sentence)]
    ids = [START] + [rank + FIRST if rank + FIRST < WORDS else UNKNOWN for rank in ranks]
    return pad_sequences([ids], maxlen=length)


def main() -> None:
    """Train, evaluate, draw the curves, score a few sentences."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--length", type=int, default=200, help="how many words of a review are read")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--out", type=Path, default=Path("demo"), help="folder of the plot")
    options = parser.parse_args()

    tinyrnn.set_random_seed(1)
    (x_train, y_train), (x_test, y_test) = imdb.load_data(num_words=WORDS)
    x_train, x_test = (pad_sequences(x, maxlen=options.length) for x in (x_train, x_test))

    model = build_model()
    model.summary()
    history = model.fit(
        x_train, y_train, batch_size=options.batch_size, epochs=options.epochs, validation_split=0.1
    )
    _, accuracy = model.evaluate(x_test, y_test, batch_size=500, verbose=0)
    print(f"\nTest accuracy: {accuracy:.4f} on {len(x_test):,} reviews")

    options.out.mkdir(parents=True, exist_ok=True)
    plot = options.out / "imdb_lstm.png"
    history.plot(plot)
    print(f"Curves: {plot}\n")

    word_index = imdb.get_word_index()
    for sentence in SENTENCES:
        score = model.predict(encode(sentence, word_index, options.length), verbose=0).item()
        print(f"{score:6.1%} praise  {sentence}")


if __name__ == "__main__":
    main()
