"""Film reviews: is it praise? Two LSTMs on top of each other, and a prompt to try them.

The task. Each IMDB review is a list of word numbers, the last 100 of it; the answer is 1 for praise, 0 for a
slating.
The model. The first LSTM hands on what it remembers after every word (``return_sequences=True``), so the
second reads a sequence too; only the second's memory after the last word decides. Dropout between them
leaves out a fifth of the numbers in every training step, so that no unit can rely on a single other one.

Ten epochs are more than the data has to teach: look at the curves, the loss on the validation part rises
while that of the training part still falls.

Run it with ``python examples/imdb_stacked_lstm.py``; the options are shown by ``--help``.
"""

from __future__ import annotations

import sys

import common
import film_reviews

from tinyrnn.layers import LSTM, Dense, Dropout, Embedding, Input
from tinyrnn.models import Sequential

WORDS = 5000
LENGTH = 100


def build_model() -> Sequential:
    """Return the classifier, ready to be trained."""
    model = Sequential(
        [
            Input(shape=(LENGTH,), dtype="int32"),
            Embedding(WORDS, 32),
            LSTM(32, return_sequences=True),
            Dropout(0.2),
            LSTM(16),
            Dropout(0.2),
            Dense(1, activation="sigmoid"),
        ]
    )
    model.compile(optimizer="adam", loss="binary_crossentropy", metrics=["accuracy"])
    return model


def main(arguments: list[str] | None = None) -> dict:
    """Train, evaluate, draw the curves, score sentences; return the figures."""
    options = common.options(
        __doc__,
        arguments,
        epochs=10,
        batch_size=32,
        reviews=(20_000, "how many to train on", 2),
        ask=(sys.stdin.isatty(), "score what you type; by default if you sit at a terminal"),
        quick={"epochs": 2, "reviews": 8_000},
    )
    reviews = film_reviews.Reviews(WORDS, LENGTH, limit=options.reviews)

    model = build_model()
    model.summary()
    history = model.fit(
        *reviews.train, batch_size=options.batch_size, epochs=options.epochs, validation_split=0.2
    )
    loss, accuracy = model.evaluate(*reviews.test, batch_size=500, verbose=0)
    baseline = reviews.naive_bayes()
    print(f"\nTest loss {loss:.4f}, accuracy {accuracy:.4f} (naive Bayes on the same words: {baseline:.4f})")

    plot = options.figure("imdb_stacked_lstm.png")
    history.plot(plot)
    print(f"Curves: {plot}\n")
    scores = film_reviews.score_opinions(model, reviews)
    if options.ask:
        film_reviews.ask(model, reviews)
    return {"accuracy": accuracy, "loss": loss, "naive_bayes": baseline, "scores": scores, "plot": plot}


if __name__ == "__main__":
    common.run(main)
