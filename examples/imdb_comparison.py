"""Film reviews of 500 words: two SimpleRNNs against an LSTM, and what a mask is for.

The task. Each IMDB review is a list of word numbers; the answer is 1 for praise, 0 for a slating. Reviews
are cut after 500 words, and shorter ones, most of them, are filled with zeros *at the end*.
The models. Two SimpleRNNs of 32 units on top of each other, or one LSTM of 32, both with a fifth of the
inputs left out in training; the LSTM leaves out a fifth of its recurrent state too.

A median review has 175 words: the layers then read 325 zeros before they are asked. A SimpleRNN has long
forgotten the review by then, and an LSTM hardly knows better. ``mask_zero=True`` makes them skip the zeros,
so their memory stays what it was after the last word. Both ways are trained here, to see the difference.

Run it with ``python examples/imdb_comparison.py``; the options are shown by ``--help``.
"""

from __future__ import annotations

import common
import film_reviews

from tinyrnn.layers import LSTM, Dense, Embedding, Input, SimpleRNN
from tinyrnn.models import Sequential
from tinyrnn.optimizers import Adam
from tinyrnn.plotting import plot_histories

WORDS = 10_000
LENGTH = 500
MODELS = ("SimpleRNN", "LSTM")
RUN_AWAY = 0.05  # accuracy on the training part above that on the validation part


def build_model(kind: str = "LSTM", masked: bool = False) -> Sequential:
    """Return one of `MODELS`, ready to be trained; `masked`, it skips the zeros at the end."""
    if kind == "SimpleRNN":
        recurrent = [SimpleRNN(32, dropout=0.2, return_sequences=True), SimpleRNN(32, dropout=0.2)]
    else:
        recurrent = [LSTM(32, dropout=0.2, recurrent_dropout=0.2)]
    model = Sequential(
        [
            Input(shape=(LENGTH,), dtype="int32"),
            Embedding(WORDS, 32, mask_zero=masked),
            *recurrent,
            Dense(1, activation="sigmoid"),
        ]
    )
    model.compile(optimizer=Adam(learning_rate=0.001), loss="binary_crossentropy", metrics=["accuracy"])
    return model


def remark(curves: dict[str, list[float]]) -> str:
    """Return what is to be said when training runs away from validation; nothing where it does not."""
    gap = curves["accuracy"][-1] - curves["val_accuracy"][-1]
    best = min(range(len(curves["val_loss"])), key=curves["val_loss"].__getitem__)
    notes = []
    if gap > RUN_AWAY:
        notes.append(f"right on {gap:.1%} more of the training part than of the validation part")
    if best + 1 < len(curves["val_loss"]):
        notes.append(f"validation loss was lowest after epoch {best + 1}")
    return "; ".join(notes)


def main(arguments: list[str] | None = None) -> dict:
    """Train all four, evaluate, print the table, draw the curves side by side; return the figures."""
    options = common.options(
        __doc__,
        arguments,
        epochs=3,
        batch_size=128,
        reviews=(20_000, "how many to train on", 2),
        quick={"epochs": 2, "reviews": 8_000, "batch_size": 64},
    )
    reviews = film_reviews.Reviews(WORDS, LENGTH, options.reviews, padding="post", truncating="post")

    figures, histories = {}, {}
    for masked in (False, True):
        for kind in MODELS:
            name = f"{kind}, masked" if masked else kind
            print(f"\n{name}")
            model = build_model(kind, masked)
            times = common.EpochTimes()
            histories[name] = model.fit(
                *reviews.train,
                batch_size=options.batch_size,
                epochs=options.epochs,
                validation_split=0.2,
                callbacks=[times],
            )
            _, accuracy = model.evaluate(*reviews.test, batch_size=500, verbose=0)
            figures[name] = {
                "accuracy": accuracy,
                "seconds": times.typical,
                "parameters": model.count_params(),
            }

    line = "{:18} {parameters:8,} {training:9.4f} {validation:11.4f} {accuracy:7.4f} {seconds:8.1f}  {remark}"
    print(f"\n{'':18} {'weights':>8} {'training':>9} {'validation':>11} {'test':>7} {'s/epoch':>8}")
    for name, found in figures.items():
        curves = histories[name].history
        found["training"], found["validation"] = curves["accuracy"][-1], curves["val_accuracy"][-1]
        found["remark"] = remark(curves)
        print(line.format(name, **found))
    figures["naive_bayes"] = reviews.naive_bayes()
    print(f"Naive Bayes on the same words: {figures['naive_bayes']:.4f}")

    figures["plot"] = options.figure("imdb_comparison.png")
    curves = plot_histories(histories)
    curves.axes[-1].get_legend().remove()  # the same as beside, and it would cover curves
    curves.savefig(figures["plot"])
    print(f"Curves: {figures['plot']}")
    return figures


if __name__ == "__main__":
    common.run(main)
