"""Film reviews: is it praise? An LSTM reads 18,000 of them and answers for 5,000 others.

The task. Each IMDB review is a list of word numbers; the answer is 1 for praise, 0 for a slating.
The model. Word numbers become vectors (`Embedding`), an `LSTM` reads them one after the other, what it
remembers at the end decides (`Dense` with a sigmoid: the probability of praise). Padding is masked.

Run it with ``python examples/imdb_lstm.py``; the options are shown by ``--help``.
"""

from __future__ import annotations

import common
import film_reviews

import tinyrnn
from tinyrnn.layers import LSTM, Dense, Dropout, Embedding, Input, SpatialDropout1D
from tinyrnn.models import Sequential

WORDS = 10_000  # the most frequent; the others become one "unknown"


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


def main(arguments: list[str] | None = None) -> dict:
    """Train, evaluate, draw the curves, score a few sentences; return the figures."""
    options = common.options(
        __doc__,
        arguments,
        epochs=3,
        reviews=(20_000, "how many to train on", 2),
        length=(200, "how many words of a review are read"),
        batch_size=64,
        quick={"epochs": 2, "reviews": 8_000},
    )
    reviews = film_reviews.Reviews(WORDS, options.length, limit=options.reviews)

    model = build_model()
    model.summary()
    history = model.fit(
        *reviews.train, batch_size=options.batch_size, epochs=options.epochs, validation_split=0.1
    )
    _, accuracy = model.evaluate(*reviews.test, batch_size=500, verbose=0)
    print(f"\nTest accuracy: {accuracy:.4f} on {len(reviews.test[1]):,} reviews")

    plot = options.figure("imdb_lstm.png")
    history.plot(plot)
    print(f"Curves: {plot}\n")
    return {"accuracy": accuracy, "scores": film_reviews.score_opinions(model, reviews), "plot": plot}


if __name__ == "__main__":
    common.run(main)
