"""Plots in one call, drawn with matplotlib (``pip install tinyrnn[plot]``).

Every figure belongs to no window and no global state: nothing needs to be closed. `path` says where to save
it; the ending says in which format (``.png``, ``.svg``, ``.pdf``).
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

__all__ = ["plot_bars", "plot_forecast", "plot_gradient_norms", "plot_histories", "plot_history"]

COLUMNS = 3
PANEL = (4.2, 3.2)  # inches
DPI = 100


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
    curves, epochs_of = _recorded(history)
    panels = _panels(curves)
    figure, grid = _grid(len(panels))
    for axes, name in zip(grid, panels, strict=True):
        for key, label in ((name, "training"), (f"val_{name}", "validation")):
            if key in curves:
                _draw_curve(axes, epochs_of.get(key), curves[key], label=label)
        _finish_panel(axes, name)
    return _saved(figure, path)


def plot_histories(histories: Mapping[str, Any], path: str | os.PathLike | None = None) -> Any:
    """Draw several trainings side by side: one panel for the loss and every metric, one colour for each.

    Parameters
    ----------
    histories : dict of str to (History or dict of str to list of float)
        What fit returned, by the name that the legend shows.
    path : str or path, optional
        Where to save the figure.

    Returns
    -------
    matplotlib.figure.Figure
        Training is a thin line, validation a thick one.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If nothing was recorded.
    """
    recorded = {name: _recorded(history) for name, history in histories.items()}
    panels = _panels([key for curves, _ in recorded.values() for key in curves])
    figure, grid = _grid(len(panels))
    for axes, quantity in zip(grid, panels, strict=True):
        for n, (name, (curves, epochs_of)) in enumerate(recorded.items()):
            drawn = [key for key in (quantity, f"val_{quantity}") if key in curves]
            for key in drawn:
                thick = key == drawn[-1]
                look = {"color": f"C{n}", "linewidth": 2 if thick else 0.8, "label": name if thick else None}
                _draw_curve(axes, epochs_of.get(key), curves[key], **look)
        _finish_panel(axes, quantity)
        if any(f"val_{quantity}" in curves for curves, _ in recorded.values()):
            axes.set_xlabel("epoch (thin: training, thick: validation)")
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
    figure.legend(*series.get_legend_handles_labels(), loc="outside upper center", ncols=4, fontsize="small")
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
    figure, (axes,) = _new_figure(min(9.0, 3.0 + 0.2 * len(things) * len(series)), 3.6, 1, 1)
    for i, (name, numbers) in enumerate(series.items()):
        at = np.arange(len(things)) + (i - (len(series) - 1) / 2) * width
        axes.bar(at, [numbers.get(thing, math.nan) for thing in things], width, label=name)
    axes.set(ylabel=quantity, xticks=range(len(things)), xticklabels=things)
    axes.tick_params(axis="x", rotation=45 if max(map(len, things)) > 3 else 0)
    axes.grid(alpha=0.3, axis="y")
    axes.set_axisbelow(True)
    figure.legend(loc="outside upper center", ncols=4, fontsize="small")
    return _saved(figure, path)


def plot_gradient_norms(
    norms: Mapping[str, Any],
    path: str | os.PathLike | None = None,
    quantity: str = "gradient norm",
    steps: str = "time step",
) -> Any:
    """Draw norms against the time step, on a logarithmic scale, where a steady decay is a straight line.

    Parameters
    ----------
    norms : dict of str to array of shape (T,), or dict of str to such dict
        What `tinyrnn.inspection.gradient_norms` returns, or anything of one positive number for each time
        step; several dictionaries, by their titles, get a panel each. Zeros and nan are left out.
    path : str or path, optional
        Where to save the figure.
    quantity, steps : str
        What the numbers are, and what they are counted by.

    Returns
    -------
    matplotlib.figure.Figure
        The first step is 1.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If there is nothing to draw, or something is not of shape (T,).
    """
    nested = any(isinstance(value, Mapping) for value in norms.values())
    panels = norms if nested else {"": norms}
    for title, curves in panels.items():
        if not isinstance(curves, Mapping) or not curves:
            raise ValueError(f"norms: expected a dictionary of arrays{title and f' for {title!r}'}")
        for name, values in curves.items():
            if np.ndim(values) != 1:
                raise ValueError(f"{name}: expected shape (time,), found {np.shape(values)}")
    figure, grid = _grid(len(panels))
    for axes, (title, curves) in zip(grid, panels.items(), strict=True):
        for name, values in curves.items():
            values = np.asarray(values, "float64")
            marker = "o" if len(values) < 2 else None
            axes.plot(
                np.arange(len(values)) + 1, np.where(values > 0, values, np.nan), marker=marker, label=name
            )
        axes.set(title=title, xlabel=steps, ylabel=quantity, yscale="log")
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
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
        figure.savefig(path, dpi=DPI)
    return figure


def _recorded(history: Any) -> tuple[Mapping[str, list], Mapping[str, list]]:
    """Return the values by quantity, and the epochs they belong to where those are known."""
    return (history, {}) if isinstance(history, Mapping) else (history.history, history.epochs_of)


def _panels(keys: Iterable[str]) -> list[str]:
    panels = list(dict.fromkeys(key.removeprefix("val_") for key in keys))
    if not panels:
        raise ValueError("history: nothing was recorded")
    return panels


def _grid(panels: int) -> tuple[Any, list]:
    """Return a figure of so many panels, in rows of at most `COLUMNS`, and the panels."""
    rows = math.ceil(panels / COLUMNS)
    columns = math.ceil(panels / rows)  # four are two rows of two
    figure, grid = _new_figure(PANEL[0] * columns, PANEL[1] * rows, rows, columns)
    for axes in grid[panels:]:
        axes.remove()
    return figure, list(grid[:panels])


def _draw_curve(axes: Any, epochs: list | None, values: list, **look: Any) -> None:
    marker = "o" if len(values) < 2 else None  # a single point has no line
    steps = range(len(values)) if epochs is None else epochs
    axes.plot([epoch + 1 for epoch in steps], values, marker=marker, **look)


def _finish_panel(axes: Any, name: str) -> None:
    axes.set(title=name, xlabel="epoch")
    axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    axes.grid(alpha=0.3)
    axes.legend()
