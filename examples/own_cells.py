"""Cells that Keras doesn't have, a few lines each, beside the LSTM: are they as accurate, and as fast.

The task. Film reviews of IMDB, 100 words each: praise or not.
The models. Embedding, a recurrent layer of 32 units, Dense; three cells take turns in the middle:

- the LSTM as it comes with tinyrnn;
- an LSTM with peepholes (Gers and Schmidhuber, 2000): the gates also see the cell state;
- an LSTM with coupled gates (Greff et al., 2017): what comes in takes the place of what is forgotten,
  i = 1 - f, which saves a gate, and a quarter of the weights.

A cell is one time step. Its weights, backpropagation through time and the compiled loop are derived from that
text, so a cell of your own runs like a built-in one. That is measured at the end, for the recurrent layers
alone: forward and back on the same batch, the three in turn.

Run it with ``python examples/own_cells.py``; the options are shown by ``--help``.
"""

from __future__ import annotations

import time

import common
import film_reviews
import numpy as np

import tinyrnn
from tinyrnn import Sequential, Tensor
from tinyrnn.layers import RNN, Dense, Dropout, Embedding, Input, LSTMCell, RNNCell
from tinyrnn.ops import sigmoid, tanh
from tinyrnn.optimizers import Adam
from tinyrnn.plotting import plot_histories
from tinyrnn.recurrent.array import compiled

WORDS = 10_000
UNITS = 32


class PeepholeLSTM(LSTMCell):
    """The gates look at the cell state, each unit with weights of its own, zeros at first."""

    params = ("p_i", "p_f", "p_o")

    def step(self, x, r, s, p):
        """One time step: x from the input, r from the recurrent state, s the states before, p the weights."""
        i = sigmoid(x.i + r.i + p.p_i * s.c)
        f = sigmoid(x.f + r.f + p.p_f * s.c)
        c = f * s.c + i * tanh(x.c + r.c)
        o = sigmoid(x.o + r.o + p.p_o * c)  # the output gate sees the new one
        return o * tanh(c), c


class CoupledLSTM(RNNCell):
    """What is forgotten makes room for what comes in: one gate for both."""

    gates = ("f", "c", "o")
    states = ("h", "c")

    def step(self, x, r, s, p):
        """One time step."""
        f = sigmoid(x.f + r.f + 1.0)  # it begins by remembering, as an LSTM whose forget bias is one
        c = f * s.c + (1.0 - f) * tanh(x.c + r.c)
        return sigmoid(x.o + r.o) * tanh(c), c


CELLS = {"LSTM": LSTMCell, "peephole LSTM": PeepholeLSTM, "coupled LSTM": CoupledLSTM}


def build_model(cell: type[RNNCell]) -> Sequential:
    """Return the classifier with this cell, ready to be trained."""
    model = Sequential(
        [
            Input((None,), dtype="int32"),
            Embedding(WORDS, 32, mask_zero=True),
            Dropout(0.3),
            RNN(cell(UNITS), name="rnn"),
            Dropout(0.3),
            Dense(1, activation="sigmoid"),
        ]
    )
    model.compile(Adam(0.002, clipnorm=1.0), "binary_crossentropy", metrics=["accuracy"])
    return model


def layer_times(models: dict[str, Sequential], x: np.ndarray, rounds: int) -> dict[str, float]:
    """Return the least time in milliseconds that each recurrent layer takes, forward and back.

    All on the same batch, and in turn, because a machine is not equally fast all the time. The least, since
    whatever else the machine does can only add to it.
    """
    words = Tensor(models["LSTM"].layers[0](x).numpy(), requires_grad=True)
    seconds: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(rounds):
        for name, model in models.items():
            begun = time.perf_counter()
            last = model.get_layer("rnn")(words)
            last.backward(np.ones(last.shape))
            seconds[name].append(time.perf_counter() - begun)
    return {name: 1000 * min(values) for name, values in seconds.items()}


def main(arguments: list[str] | None = None) -> dict:
    """Train and evaluate the three, measure their layers, draw their curves."""
    options = common.options(
        __doc__,
        arguments,
        epochs=3,
        length=(100, "how many words of a review are read"),
        reviews=(20_000, "how many to train on", 2),
        batch_size=64,
        rounds=(200, "of measuring the layers"),
        quick={"epochs": 2, "reviews": 3_000, "rounds": 30},
    )
    reviews = film_reviews.Reviews(WORDS, options.length, limit=options.reviews)

    models, histories, results = {}, {}, {}
    for name, cell in CELLS.items():
        print(f"\n{name}")
        tinyrnn.set_random_seed(options.seed)
        models[name] = model = build_model(cell)
        times = common.EpochTimes()
        histories[name] = model.fit(
            *reviews.train,
            batch_size=options.batch_size,
            epochs=options.epochs,
            validation_split=0.1,
            callbacks=[times],
        )
        _, accuracy = model.evaluate(*reviews.test, batch_size=500, verbose=0)
        weights = model.get_layer("rnn").count_params()
        results[name] = {"accuracy": accuracy, "seconds per epoch": times.typical, "weights": weights}
    for name, milliseconds in layer_times(
        models, reviews.train[0][: options.batch_size], options.rounds
    ).items():
        results[name]["milliseconds"] = milliseconds

    plain = results["LSTM"]["milliseconds"]
    print(f"\n{'':15}weights  test accuracy  s/epoch  layer: ms  of the LSTM's")
    for name, r in results.items():
        print(
            f"{name:15}{r['weights']:7,}{r['accuracy']:15.4f}{r['seconds per epoch']:9.2f}"
            f"{r['milliseconds']:11.2f}{r['milliseconds'] / plain:15.2f}"
        )
    print(f"Naive Bayes on the same words: {reviews.naive_bayes():.4f}")
    for name, model in models.items():
        cell, choice = model.get_layer("rnn").cell, model.get_layer("rnn").kernel_choice
        print(f"\n{name}: kernel {choice.kernel!r}, {choice.reason}\n  {compiled(cell).__file__}")

    plot = options.figure("own_cells.png")
    plot_histories(histories, plot)
    print(f"\nCurves: {plot}")
    return results


if __name__ == "__main__":
    common.run(main)
