"""Shapes of recurrent nets: one-to-many, many-to-one, many-to-many, on one series of hourly electricity.

- One-to-many: a date goes in, the 24 hours of that day come out. The date is one vector; `RepeatVector` hands
  it to the `GRU` at each of the 24 steps.
- Many-to-one: the 168 hours of a week go in, the highest hour of the day after comes out. The `GRU` gives
  what it remembers after the last step.
- Many-to-many, aligned: at every hour of a week the next hour is told. The `GRU` gives its output at every
  step (``return_sequences=True``), and `TimeDistributed` makes a number of each.

Where as many come out as will, and not one for each that went in, it takes an encoder and a decoder: see
spelling_to_sound.py.

Readings are scaled to 0 ... 1; the last year is for testing. Errors are square roots of mean squared errors,
beside those of a simple forecast: the day a week ago, the highest hour of the day before, the last reading.

Run it with ``python examples/topologies.py``; the options are shown by ``--help``.
"""

from __future__ import annotations

from typing import Any

import common
import numpy as np

import tinyrnn
from tinyrnn.datasets import electricity
from tinyrnn.layers import GRU, Dense, Input, RepeatVector, TimeDistributed
from tinyrnn.models import Sequential
from tinyrnn.plotting import plot_forecast

DAY, WEEK = 24, 7
TEST = 365  # days at the end

Data = tuple[np.ndarray, np.ndarray, np.ndarray]  # inputs, targets, what a simple forecast says; by day


def one_to_many(dates: np.ndarray, days: np.ndarray) -> tuple[Sequential, Data]:
    """From a date, as one vector, to its 24 hours."""
    model = Sequential(
        [
            Input((WEEK + 2,)),
            Dense(32, activation="relu"),
            RepeatVector(DAY),
            GRU(32, return_sequences=True),
            TimeDistributed(Dense(1)),
        ]
    )
    weekday = np.eye(WEEK)[dates.astype(int) % WEEK]
    of_year = 2 * np.pi * ((dates - dates.astype("datetime64[Y]")).astype(int) / 365.25)
    x = np.column_stack([weekday, np.sin(of_year), np.cos(of_year)])
    return model, (x[WEEK:], days[WEEK:, :, None], days[:-WEEK, :, None])


def many_to_one(dates: np.ndarray, days: np.ndarray) -> tuple[Sequential, Data]:
    """From the hours of a week to the highest hour of the day after."""
    model = Sequential([Input((WEEK * DAY, 1)), GRU(32), Dense(1)])
    weeks = np.lib.stride_tricks.sliding_window_view(days.ravel(), WEEK * DAY)[::DAY]
    highest = days.max(axis=1, keepdims=True)
    return model, (weeks[:-1, :, None], highest[WEEK:], highest[WEEK - 1 : -1])


def many_to_many(dates: np.ndarray, days: np.ndarray) -> tuple[Sequential, Data]:
    """From every hour of a week to the hour after it."""
    model = Sequential([Input((WEEK * DAY, 1)), GRU(32, return_sequences=True), TimeDistributed(Dense(1))])
    weeks = np.lib.stride_tricks.sliding_window_view(days.ravel(), WEEK * DAY + 1)[DAY - 1 :: DAY]
    return model, (weeks[:, :-1, None], weeks[:, 1:, None], weeks[:, :-1, None])


def rmse(said: np.ndarray, truth: np.ndarray) -> float:
    """Return the square root of the mean squared error."""
    return float(np.sqrt(np.mean((said - truth) ** 2)))


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Train the three, compare each with a simple forecast, draw a day, a year and a week."""
    options = common.options(__doc__, arguments, epochs=60, quick={"epochs": 8})
    hours, kilowatts = electricity.load_data()
    days, dates = kilowatts.reshape(-1, DAY), hours[::DAY].astype("datetime64[D]")
    low, high = days[:-TEST].min(), days[:-TEST].max()
    days = ((days - low) / (high - low)).astype("float32")

    figures: dict[str, Any] = {"plots": []}
    programs = [  # and of how many examples, with which times, the forecasts are drawn
        ("one-to-many", one_to_many, WEEK, hours),
        ("many-to-one", many_to_one, TEST, dates),
        ("many-to-many", many_to_many, 1, hours),
    ]
    for name, build, last, times in programs:
        model, (x, y, simple) = build(dates, days)
        known = slice(-TEST - WEEK)  # without the weeks that reach into the last year
        print(f"\n{name}: {x.shape[1:]} to {y.shape[1:]}, {len(x[known])} examples")
        model.compile(tinyrnn.optimizers.Adam(0.003), loss="mean_squared_error")
        model.fit(x[known], y[known], epochs=options.epochs)
        said, truth, simple = model.predict(x[-TEST:], verbose=0), y[-TEST:], simple[-TEST:]
        figures |= {name: rmse(said, truth), f"{name}, simple": rmse(simple, truth)}
        plot = options.figure(f"topologies_{build.__name__}.png")
        truth, said, simple = (values[-last:].ravel() for values in (truth, said, simple))
        plot_forecast(
            truth, {"GRU": said, "simple": simple}, times[-len(truth) :], plot, "share of the range"
        )
        print(f"Forecasts: {plot}")
        figures["plots"].append(plot)

    print(f"\n{'RMSE in the last year, share of the range':45} GRU   simple")
    for name, *_ in programs:
        print(f"  {name:41} {figures[name]:.4f}   {figures[f'{name}, simple']:.4f}")
    return figures


if __name__ == "__main__":
    common.run(main)
