"""Plots in one call, drawn with matplotlib (``pip install tinyrnn[plot]``).

Every figure belongs to no window and no global state: nothing needs to be closed. `path` says where to save
it; the ending says in which format (``.png``, ``.svg``, ``.pdf``).
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["plot_bars", "plot_forecast", "plot_history"]

COLUMNS = 3
PANEL = (4.2, 3.2)  # inches


def plot_history(history: Any, path: str | os.PathLike | None = None) -> Any:
    """Draw the loss and every metric over the epochs: one panel each, training and validation together.

    Parameters
    ----------
    history : History or dict of str to list of float
        What fit returned, or its `history`.
    path : str or path, optional
        Where to save the figure.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If nothing was recorded.
    """
    curves, epochs_of = (
        (history, {}) if isinstance(history, Mapping) else (history.history, history.epochs_of)
    )
    panels = list(dict.fromkeys(key.removeprefix("val_") for key in curves))
    if not panels:
        raise ValueError("history: nothing was recorded")
    columns = min(COLUMNS, len(panels))
    rows = math.ceil(len(panels) / columns)
    figure, grid = _new_figure(PANEL[0] * columns, PANEL[1] * rows, rows, columns)
    for axes, name in zip(grid, panels, strict=False):
        for key, label in ((name, "training"), (f"val_{name}", "validation")):
            if key in curves:
                _draw_curve(axes, epochs_of.get(key, range(len(curves[key]))), curves[key], label)
        _finish_panel(axes, name)
    for axes in grid[len(panels) :]:
        axes.remove()
    return _saved(figure, path)


def plot_forecast(
    truth: Any,
    forecasts: Mapping[str, Any],
    times: Any = None,
    path: str | os.PathLike | None = None,
    quantity: str = "value",
) -> Any:
    """Draw forecasts of a series with the truth, and below how far each is off.

    Parameters
    ----------
    truth : array of shape (T,)
    forecasts : dict of str to array of shape (T,)
        By the names they get in the legend, with the root of their mean squared error (RMSE).
    times : array of shape (T,), optional
        What to write along the axis: numbers or datetime64; 0 ... T - 1 unless given.
    path : str or path, optional
        Where to save the figure.
    quantity : str
        What the series is of, and its unit.

    Returns
    -------
    matplotlib.figure.Figure
        Two axes with a common axis of time: the series, and the errors.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If there is no forecast, or something is not of the length of the truth.
    """
    truth = np.asarray(truth)
    if truth.ndim != 1 or not truth.size:
        raise ValueError(f"truth: expected a series of shape (T,), found shape {truth.shape}")
    if not forecasts:
        raise ValueError("forecasts: expected at least one")
    times = np.arange(len(truth)) if times is None else np.asarray(times)
    for name, values in {"times": times, **forecasts}.items():
        if np.shape(values) != truth.shape:
            raise ValueError(f"{name}: expected shape {truth.shape}, that of truth, found {np.shape(values)}")

    figure, (series, errors) = _new_figure(9.0, 5.0, 2, 1, sharex=True, height_ratios=[2, 1])
    series.plot(times, truth, color="black", linewidth=2, label="truth")
    for name, values in forecasts.items():
        off = np.asarray(values) - truth
        series.plot(times, values, linewidth=1.2, label=f"{name}, RMSE {math.sqrt(np.mean(off**2)):.4g}")
        errors.plot(times, off, linewidth=1.2)
    errors.axhline(0.0, color="black", linewidth=0.8)
    series.set(ylabel=quantity)
    errors.set(ylabel="forecast - truth")
    if np.issubdtype(times.dtype, np.datetime64):
        from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

        locator = AutoDateLocator()
        errors.xaxis.set_major_locator(locator)
        errors.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    for axes in (series, errors):
        axes.grid(alpha=0.3)
    series.legend(loc="upper right", ncols=2, fontsize="small")
    return _saved(figure, path)


def plot_bars(
    series: Mapping[str, Mapping[str, float]],
    path: str | os.PathLike | None = None,
    quantity: str = "accuracy",
) -> Any:
    """Draw numbers side by side: a group of bars for each thing, in it a bar for each that is compared.

    Parameters
    ----------
    series : dict of str to dict of str to float
        For each model, or whatever is compared, the number of each thing, say the accuracy by tag. The things
        come in the order of the first; one that is missing, or is NaN, has no bar.
    path : str or path, optional
        Where to save the figure.
    quantity : str
        What the numbers are.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If there is nothing to draw.
    """
    things = list(dict.fromkeys(thing for numbers in series.values() for thing in numbers))
    if not things:
        raise ValueError("series: nothing to draw")
    width = 0.84 / len(series)
    figure, (axes,) = _new_figure(max(5.0, 1.0 + 0.25 * len(things) * (1 + len(series))), 3.6, 1, 1)
    for i, (name, numbers) in enumerate(series.items()):
        at = np.arange(len(things)) + (i - (len(series) - 1) / 2) * width
        axes.bar(at, [numbers.get(thing, math.nan) for thing in things], width, label=name)
    axes.set(ylabel=quantity, xticks=range(len(things)), xticklabels=things)
    axes.tick_params(axis="x", rotation=45 if max(map(len, things)) > 3 else 0)
    axes.grid(alpha=0.3, axis="y")
    axes.set_axisbelow(True)
    figure.legend(loc="outside upper center", ncols=4, fontsize="small")
    return _saved(figure, path)


def _new_figure(width: float, height: float, rows: int, columns: int, **grid: Any) -> tuple[Any, Any]:
    """Return a figure (inches) of its own, and its axes in one row after the other."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("plots are drawn with matplotlib: pip install tinyrnn[plot]") from error
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False, **grid).ravel()


def _saved(figure: Any, path: str | os.PathLike | None) -> Any:
    if path is not None:
        figure.savefig(path, dpi=150)
    return figure


def _draw_curve(axes: Any, epochs: Any, values: list, label: str) -> None:
    marker = "o" if len(values) < 2 else None  # a single point has no line
    axes.plot([epoch + 1 for epoch in epochs], values, label=label, marker=marker)


def _finish_panel(axes: Any, name: str) -> None:
    axes.set(title=name, xlabel="epoch")
    axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    axes.grid(alpha=0.3)
    axes.legend()
