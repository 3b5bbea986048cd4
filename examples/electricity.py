"""Electricity, an hour ahead: an LSTM that forgets after every window, and one that goes on.

The task. Of 26,304 hourly readings, scaled to 0 ... 1, twenty in a row predict the next; the last fifth of
the time is for testing. The forecasts to beat are the last reading, and the reading a day before.
The model. An `LSTM` of 10 units reads the window, a `Dense` makes one number of what it remembers.

Stateless: windows come in any order, and each is read from zeros. Stateful: row i of a batch starts from what
the LSTM remembered at the end of row i of the batch before. That helps where its window goes on where the
other ended, and `in_order` lays the windows out like that. With windows simply in the order of time, each of
the 96 rows jumps ahead 96 hours after having read 20, and the memory it brings along is misleading: the last
line of figures.

Run it with ``python examples/electricity.py``; the options are shown by ``--help``.
"""

from __future__ import annotations

from typing import Any

import common
import numpy as np

import tinyrnn
from tinyrnn.datasets import electricity
from tinyrnn.layers import LSTM, Dense, Input
from tinyrnn.models import Sequential
from tinyrnn.plotting import plot_forecast

LENGTH, BATCH = 20, 96
DAY, WEEK = 24, 168
TEST = 0.2


def build_model(stateful: bool) -> Sequential:
    """Return the forecaster; a stateful one must know how many rows there are to remember."""
    model = Sequential(
        [
            Input(batch_shape=(BATCH if stateful else None, LENGTH, 1)),
            LSTM(10, stateful=stateful),
            Dense(1),
        ]
    )
    model.compile("adam", loss="mean_squared_error")
    return model


def windows(series: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return all windows (N, LENGTH, 1) with the reading after each (N,), N a multiple of the batch."""
    cut = np.lib.stride_tricks.sliding_window_view(series, LENGTH + 1)
    cut = cut[: len(cut) // BATCH * BATCH]
    return cut[:, :LENGTH, None], cut[:, LENGTH]


def in_order(count: int) -> np.ndarray:
    """Return the windows' numbers such that each row of a batch goes on where it ended in the batch before.

    Window s is followed by window s + LENGTH. Chains of these, one for each s below LENGTH, are laid end to
    end and cut into BATCH rows; the batches are the columns.
    """
    chains = np.concatenate([np.arange(s, count, LENGTH) for s in range(LENGTH)])
    return chains.reshape(BATCH, -1).T.ravel()


def train(model: Sequential, x: np.ndarray, y: np.ndarray, epochs: int, stateful: bool) -> None:
    """Train; a stateful model by single epochs, always from zeros, with the windows as they come."""
    if not stateful:
        model.fit(x, y, batch_size=BATCH, epochs=epochs)
        return
    for epoch in range(epochs):
        print(f"Epoch {epoch + 1}/{epochs}")
        model.fit(x, y, batch_size=BATCH, epochs=1, shuffle=False)
        model.reset_states()


def forecast(model: Sequential, x: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Return what the model says to every window, read in this order."""
    said = np.empty(len(x), x.dtype)
    said[order] = model.predict(x[order], batch_size=BATCH, verbose=0)[:, 0]
    return said


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Train all three, compare them with simple forecasts, draw a week."""
    options = common.options(__doc__, arguments, epochs=5, quick={"epochs": 2})
    hours, kilowatts = electricity.load_data()
    split = round(len(hours) * (1 - TEST))
    low, high = kilowatts[:split].min(), kilowatts[:split].max()
    scaled = ((kilowatts - low) / (high - low)).astype("float32")
    x, y = windows(scaled[:split])
    x_test, truth = windows(scaled[split - LENGTH :])
    when = split + np.arange(len(truth))
    print(f"{len(x):,} windows to train on, {len(x_test):,} to test with, of {LENGTH} hours each\n")

    forecasts = {"last reading": scaled[when - 1], "a day before": scaled[when - DAY]}
    plain, continued = np.arange(len(x)), in_order(len(x))
    for name, stateful, order, test_order in [
        ("stateless", False, plain, np.arange(len(x_test))),
        ("stateful", True, continued, in_order(len(x_test))),
        ("stateful, with gaps", True, plain, np.arange(len(x_test))),
    ]:
        print(name)
        tinyrnn.set_random_seed(options.seed)  # all start from the same weights
        model = build_model(stateful)
        train(model, x[order], y[order], options.epochs, stateful)
        forecasts[name] = forecast(model, x_test, test_order)

    errors = {name: float(np.sqrt(np.mean((said - truth) ** 2))) for name, said in forecasts.items()}
    print("\nRoot mean squared error, as a share of the range of the readings:")
    for name, error in errors.items():
        print(f"  {name:20} {error:.4f}")

    week = slice(-WEEK, None)
    drawn = {name: forecasts[name][week] for name in ("a day before", "stateless", "stateful")}
    plot = options.figure("electricity.png")
    plot_forecast(truth[week], drawn, hours[when[week]], plot, "consumption, share of the range")
    print(f"\nThe last week: {plot}")
    return errors | {"plot": plot}


if __name__ == "__main__":
    common.run(main)
