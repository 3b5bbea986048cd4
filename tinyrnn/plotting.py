"""Curves of a training, drawn with matplotlib (``pip install tinyrnn[plot]``)."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import Any

__all__ = ["plot_history"]

COLUMNS = 3
PANEL = (4.2, 3.2)  # inches


def plot_history(history: Any, path: str | os.PathLike | None = None) -> Any:
    """Draw the loss and every metric over the epochs: one panel each, training and validation together.

    Parameters
    ----------
    history : History or dict of str to list of float
        What fit returned, or its `history`.
    path : str or path, optional
        Where to save the figure; the ending says in which format (``.png``, ``.svg``, ``.pdf``).

    Returns
    -------
    matplotlib.figure.Figure
        It belongs to no window and no global state: nothing needs to be closed.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If nothing was recorded.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("curves are drawn with matplotlib: pip install tinyrnn[plot]") from error
    curves, epochs_of = (
        (history, {}) if isinstance(history, Mapping) else (history.history, history.epochs_of)
    )
    panels = list(dict.fromkeys(key.removeprefix("val_") for key in curves))
    if not panels:
        raise ValueError("history: nothing was recorded")
    columns = min(COLUMNS, len(panels))
    rows = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(PANEL[0] * columns, PANEL[1] * rows), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, name in zip(grid, panels, strict=False):
        for key, label in ((name, "training"), (f"val_{name}", "validation")):
            if key in curves:
                _draw_curve(axes, epochs_of.get(key, range(len(curves[key]))), curves[key], label)
        _finish_panel(axes, name)
    for axes in grid[len(panels) :]:
        axes.remove()
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
