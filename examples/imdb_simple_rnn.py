"""Film reviews: is it praise? A SimpleRNN, and what an LSTM has over it.

The task. Each IMDB review is a list of word numbers, the last 100 of it; the answer is 1 for praise, 0 for a
slating.
The models. The same but for one layer. A SimpleRNN writes its whole memory anew at every word, ``h = tanh(W
x + U h + b)``: what it read 50 words ago has gone through 50 products with U and as many tanh's. An LSTM has
gates that leave a memory alone until there is a reason to change it.

The test part is given to ``fit`` as ``validation_data``, to watch it after each epoch; nothing is chosen by
it.

Run it with ``python examples/imdb_simple_rnn.py``; the options are shown by ``--help``.
"""

from __future__ import annotations

import common
import film_reviews

from tinyrnn.layers import LSTM, Dense, Embedding, Input, SimpleRNN
from tinyrnn.models import Sequential
from tinyrnn.plotting import plot_histories

WORDS = 10_000
LENGTH = 100
LAYERS = {"SimpleRNN": SimpleRNN, "LSTM": LSTM}


def build_model(layer: str = "SimpleRNN") -> Sequential:
    """Return the classifier with that recurrent layer, ready to be trained."""
    model = Sequential(
        [
            Input(shape=(LENGTH,), dtype="int32"),
            Embedding(WORDS, 32),
            LAYERS[layer](64),
            Dense(1, activation="sigmoid"),
        ]
    )
    model.compile(optimizer="adam", loss="binary_crossentropy", metrics=["accuracy"])
    return model


def main(arguments: list[str] | None = None) -> dict:
    """Train both, evaluate, draw the curves side by side, score sentences; return the figures."""
    options = common.options(
        __doc__,
        arguments,
        epochs=5,
        batch_size=64,
        reviews=(20_000, "how many to train on"),
        quick={"epochs": 2, "reviews": 8_000},
    )
    reviews = film_reviews.Reviews(WORDS, LENGTH, limit=options.reviews)

    figures, histories = {}, {}
    for name in LAYERS:
        print(f"\n{name}")
        model = build_model(name)
        model.summary()
        histories[name] = model.fit(
            *reviews.train, batch_size=options.batch_size, epochs=options.epochs, validation_data=reviews.test
        )
        loss, accuracy = model.evaluate(*reviews.test, batch_size=500, verbose=0)
        figures[name] = {
            "accuracy": accuracy,
            "loss": loss,
            "scores": film_reviews.score_opinions(model, reviews),
        }

    print()
    for name in LAYERS:
        best = max(histories[name].history["val_accuracy"])
        print(f"{name:10} test accuracy {figures[name]['accuracy']:.4f}, best of all epochs {best:.4f}")
    figures["naive_bayes"] = reviews.naive_bayes()
    print(f"Naive Bayes on the same words: {figures['naive_bayes']:.4f}")

    figures["plot"] = options.figure("imdb_simple_rnn.png")
    plot_histories(histories, figures["plot"])
    print(f"Curves: {figures['plot']}")
    return figures


if __name__ == "__main__":
    common.run(main)
