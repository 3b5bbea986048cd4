"""Four recurrent layers on top of each other: shapes, and how the gradient shrinks with depth and time.

The task. Film reviews of IMDB, 100 words each: praise or not.
The model. Embedding, four SimpleRNN of 32 units, Dense. A recurrent layer hands a sequence to the next one
only with ``return_sequences=True``: (batch, time, units), the output of every step. The last layer of them
returns the output of its last step, (batch, units), for the decision.

What to look at. The loss hangs on the last step of the top layer. From there the gradient goes back in
time, where each step multiplies it by the slope of tanh and by U^T, and down the layers, by the slope and by
W^T. So a lower layer gets something from above at every step: over the last few its gradient builds up, and
only where nothing more is to come from above does it fall by its own factor. We print the norm at the states
of every layer, before training and after it, the factor per step back without the last tenth of the steps,
and beside it the mean slope: at large states tanh is flat.

Run it with ``python examples/deep_rnn.py``; the options are shown by ``--help``.
"""

from __future__ import annotations

import common
import film_reviews
import numpy as np

from tinyrnn import Sequential
from tinyrnn.inspection import factor_per_step, gradient_norms
from tinyrnn.layers import Dense, Embedding, Input, SimpleRNN
from tinyrnn.optimizers import Adam
from tinyrnn.plotting import plot_gradient_norms

WORDS = 10_000
LAYERS, UNITS = 4, 32
SAMPLE = 64  # reviews, full ones, whose gradient is looked at


def build_model(length: int) -> Sequential:
    """Return the classifier, ready to be trained."""
    model = Sequential([Input((length,), dtype="int32"), Embedding(WORDS, 32)])
    for n in range(1, LAYERS + 1):
        model.add(SimpleRNN(UNITS, return_sequences=n < LAYERS, name=f"rnn_{n}"))
    model.add(Dense(1, activation="sigmoid"))
    # Without a limit on the gradient's norm a single batch can undo what many have taught.
    model.compile(Adam(0.001, clipnorm=1.0), "binary_crossentropy", metrics=["accuracy"])
    return model


def slopes(model: Sequential, x: np.ndarray) -> dict[str, float]:
    """Return the slope of tanh, 1 - h^2, at the output of each layer: the root of its mean square."""
    found, h = {}, x
    for layer in model.layers[:-1]:
        h = layer(h)
        if isinstance(layer, SimpleRNN):
            found[f"{layer.name}/h"] = float(np.sqrt(np.mean((1 - h.numpy() ** 2) ** 2)))
    return found


def print_norms(title: str, norms: dict[str, np.ndarray], slopes: dict[str, float]) -> dict[str, float]:
    """Print the norms at some time steps of every layer, the top one first; return the factors per step."""
    length = len(norms["rnn_1/h"])
    steps = np.unique(np.linspace(1, length, 5).round().astype(int))
    inner = 9 * length // 10  # over the last steps the gradient of the lower layers still builds up
    factors = {layer: factor_per_step(values[:inner]) for layer, values in norms.items()}
    numbers = "".join(f"{t:10}" for t in steps)
    print(f"\n|dL/dh_t| {title}\n  t =    {numbers}   factor per step back   slope of tanh")
    for layer, values in reversed(norms.items()):
        numbers = "".join(f"{values[t - 1]:10.1e}" for t in steps)
        decibels = 20 * np.log10(factors[layer])
        print(f"  {layer:7}{numbers}{factors[layer]:12.3f}  ({decibels:+.2f} dB){slopes[layer]:14.2f}")
    return factors


def main(arguments: list[str] | None = None) -> dict:
    """Show the shapes, train, show the norms of the gradient before and after."""
    options = common.options(
        __doc__,
        arguments,
        epochs=3,
        length=(100, "how many words of a review are read", 3),
        reviews=(20_000, "how many to train on", 2),
        quick={"epochs": 1, "reviews": 4_000},
    )
    reviews = film_reviews.Reviews(WORDS, options.length, limit=options.reviews)
    x_test, y_test = reviews.test
    full = np.flatnonzero((x_test > 0).all(axis=1))[:SAMPLE]
    sample = x_test[full], y_test[full]

    model = build_model(options.length)
    model.summary()
    before, slopes_before = gradient_norms(model, *sample), slopes(model, sample[0])
    model.fit(*reviews.train, batch_size=64, epochs=options.epochs, validation_split=0.1)
    after = gradient_norms(model, *sample)
    _, accuracy = model.evaluate(*reviews.test, batch_size=500, verbose=0)
    print(f"\nTest accuracy: {accuracy:.4f} on {len(x_test):,} reviews")

    factors = {
        "before": print_norms("before training", before, slopes_before),
        "after": print_norms("after", after, slopes(model, sample[0])),
    }
    plot = options.figure("deep_rnn.png")
    plot_gradient_norms({"before training": before, "after training": after}, plot)
    print(f"\nPlot: {plot}")
    return {"accuracy": accuracy, "before": before, "after": after, "factors": factors}


if __name__ == "__main__":
    common.run(main)
