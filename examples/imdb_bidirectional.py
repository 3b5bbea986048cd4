"""Film reviews in 300 words: SimpleRNN, LSTM, and two bidirectional LSTMs, side by side.

The task. Each IMDB review is a list of word numbers, the last 300 of it; the answer is 1 for praise, 0 for a
slating. The vocabulary has 300 words only, and most of them are "the", "is" and "of": little to go by, so
the order of words is worth something.
The models. Word numbers become vectors of 100 numbers. Then (1) a SimpleRNN of 64 units, (2) an LSTM of 64,
or (3) an LSTM of 64 that reads forward beside one that reads backward, and the same again on top; its output
has 128 numbers, the last memories of both directions. A layer of 64 and the answer follow.

Shorter reviews, most of them, are filled with zeros at the beginning. What reads backward comes to these last
and would have to remember the review through them, so they are skipped (`mask_zero`), which costs no weights.

Through 300 steps a gradient may grow beyond all measure, and one such step undoes what many have learned: a
gradient longer than 1 is cut to that length (`clipnorm`). The steps get smaller from epoch to epoch. A fifth
of the inputs is left out in training.

How many weights a recurrent layer has: an input of n numbers and u units make n*u + u*u + u for a SimpleRNN
(input, memory, bias), four times that for an LSTM (three gates and the candidate), and twice that again in
both directions. With n = 100, u = 64: 10,560, 42,240 and 84,480; with n = 128, both directions: 98,816.

Run it with ``python examples/imdb_bidirectional.py``; the options are shown by ``--help``.
"""

from __future__ import annotations

import common
import film_reviews

from tinyrnn.layers import LSTM, Bidirectional, Dense, Embedding, Input, SimpleRNN
from tinyrnn.models import Sequential
from tinyrnn.optimizers import Adam
from tinyrnn.optimizers.schedules import ExponentialDecay
from tinyrnn.plotting import plot_histories

WORDS = 300
LENGTH = 300
VALIDATION = 0.1  # of the training part
MODELS = ("SimpleRNN", "LSTM", "Bidirectional")


def build_model(kind: str = "Bidirectional", batches: int = 282) -> Sequential:
    """Return one of `MODELS`, ready to be trained on so many batches an epoch."""
    if kind == "SimpleRNN":
        recurrent = [SimpleRNN(64, dropout=0.2)]
    elif kind == "LSTM":
        recurrent = [LSTM(64, dropout=0.2)]
    else:
        recurrent = [
            Bidirectional(LSTM(64, dropout=0.2, return_sequences=True)),
            Bidirectional(LSTM(64, dropout=0.2)),
        ]
    model = Sequential(
        [
            Input(shape=(LENGTH,), dtype="int32"),
            Embedding(WORDS, 100, mask_zero=True),
            *recurrent,
            Dense(64, activation="relu"),
            Dense(1, activation="sigmoid"),
        ]
    )
    steps = ExponentialDecay(0.003, decay_steps=batches, decay_rate=0.8)
    model.compile(Adam(steps, clipnorm=1.0), loss="binary_crossentropy", metrics=["accuracy"])
    return model


def main(arguments: list[str] | None = None) -> dict:
    """Train all three, evaluate, draw the curves side by side; return the figures."""
    options = common.options(
        __doc__,
        arguments,
        epochs=10,
        batch_size=64,
        reviews=(20_000, "how many to train on", 2),
        quick={"epochs": 1, "reviews": 4_000},
    )
    reviews = film_reviews.Reviews(WORDS, LENGTH, limit=options.reviews)
    trained_on = int(len(reviews.train[1]) * (1 - VALIDATION))
    batches = -(-trained_on // options.batch_size)

    figures, histories = {}, {}
    for kind in MODELS:
        print(f"\n{kind}")
        model = build_model(kind, batches)
        model.summary()
        histories[kind] = model.fit(
            *reviews.train, batch_size=options.batch_size, epochs=options.epochs, validation_split=VALIDATION
        )
        loss, accuracy = model.evaluate(*reviews.test, batch_size=500, verbose=0)
        figures[kind] = {"accuracy": accuracy, "loss": loss, "parameters": model.count_params()}
        figures[kind]["scores"] = film_reviews.score_opinions(model, reviews)

    print()
    for kind in MODELS:
        print("{:14} {parameters:>8,} weights, test accuracy {accuracy:.4f}".format(kind, **figures[kind]))
    figures["naive_bayes"] = reviews.naive_bayes()
    print(f"Naive Bayes on the same words: {figures['naive_bayes']:.4f}")

    figures["plot"] = options.figure("imdb_bidirectional.png")
    plot_histories(histories, figures["plot"])
    print(f"Curves: {figures['plot']}")
    return figures


if __name__ == "__main__":
    common.run(main)
