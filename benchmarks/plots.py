"""The results as pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.protocol import FRAMEWORKS
from benchmarks.report import Row, ratio, sgemm_rate, share_of_sgemm, typical
from benchmarks.sections import SIZES, TINYRNN, TINYRNN_GPU

COLOURS = dict(zip((TINYRNN, *FRAMEWORKS), ("#c1272d", "#0072b2", "#e69f00", "#009e73"), strict=True))
GREY = "#777777"
TRAINING, PREDICTION = COLOURS[TINYRNN], "#f0a6a8"
UNITS = {"time": "time steps", "batch": "rows of a batch", "units": "units"}


def draw(sections: Mapping[str, Sequence[Row]], folder: Path) -> list[Path]:
    """Draw what the sections have data for; returns the files written."""
    paths = []
    for name, make in _PLOTS.items():
        figure = make(sections)
        if figure is not None:
            paths.append(folder / f"{name}.png")
            figure.savefig(paths[-1], dpi=150, bbox_inches="tight")
    return paths


def draw_ratios(sections: Mapping[str, Sequence[Row]]) -> Figure | None:
    """How many times faster than the fastest peer each model is, in training and in prediction."""
    actions = [action for action in ("fit", "predict") if sections.get(action)]
    if not actions:
        return None
    names = [row["name"] for row in sections[actions[0]]]
    bars = {action: [ratio(row) for row in sections[action]] for action in actions}
    figure, axes = _bars(names, bars, {"fit": TRAINING, "predict": PREDICTION}, "{:.2f}".format)
    axes.axvline(1.0, color=GREY, linewidth=1, linestyle="--", zorder=0, label="as fast as the fastest peer")
    axes.set_xlabel("time of the fastest peer / time of tinyrnn")
    axes.set_title("tinyrnn beside the fastest of its peers (more is better)", loc="left")
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


def draw_kernels(sections: Mapping[str, Sequence[Row]]) -> Figure | None:
    """What share of the speed of a matrix product the recurrent layers reach."""
    rows = sections.get("kernels")
    if not rows:
        return None
    rate = sgemm_rate(rows)
    shares = {"share": [share_of_sgemm(row, rate) for row in rows]}
    figure, axes = _bars([row["name"] for row in rows], shares, {"share": COLOURS[TINYRNN]}, "{:.0%}".format)
    axes.set_xlim(0.0, 1.0)
    axes.xaxis.set_major_formatter("{x:.0%}")
    axes.set_xlabel("share of the rate of a 2048 x 2048 float32 product")
    axes.set_title("Recurrent layers alone, there and back", loc="left")
    return figure


def draw_growth(sections: Mapping[str, Sequence[Row]]) -> Figure | None:
    """Time of a training step against each size."""
    rows = sections.get("growth")
    if not rows:
        return None
    figure, panels = _panels(rows)
    for axes, here in panels:
        for side, colour in COLOURS.items():
            _curve(axes, here, lambda row, side=side: typical(row, side), 1e3, colour, side)
    first, _ = panels[0]
    first.set_ylabel("milliseconds")
    first.legend(frameon=False)
    figure.suptitle(
        "Training step of Embedding 5000x64, LSTM 64, B32 T100 with one size changed", x=0.01, ha="left"
    )
    return figure


def draw_crossover(sections: Mapping[str, Sequence[Row]]) -> Figure | None:
    """How many times faster than on the CPU tinyrnn is on the GPU, against each size."""

    def gain(row):
        return ratio(row, [TINYRNN], TINYRNN_GPU)

    rows = [row for row in sections.get("crossover", ()) if "axis" in row["info"]]
    if all(gain(row) is None for row in rows):
        return None
    figure, panels = _panels(rows)
    for axes, here in panels:
        for action, label, colour in (
            ("fit", "training step", TRAINING),
            ("predict", "prediction", PREDICTION),
        ):
            of_action = [row for row in here if row["info"]["action"] == action]
            _curve(axes, of_action, gain, 1.0, colour, label)
        axes.axhline(1.0, color=GREY, linewidth=1, linestyle="--", zorder=0, label="as fast as the CPU")
    first, _ = panels[0]
    first.set_ylabel("time on the CPU / time on the GPU")
    first.legend(frameon=False)
    figure.suptitle(
        "tinyrnn on the GPU: Embedding 5000x64, LSTM 64, B32 T100 with one size changed", x=0.01, ha="left"
    )
    return figure


def draw_lengths(sections: Mapping[str, Sequence[Row]]) -> Figure | None:
    """Time of a training step as the share of valid steps falls."""
    rows = sections.get("lengths")
    if not rows:
        return None
    (row,) = rows
    full, *padded = row["seconds"]
    figure = Figure(figsize=(5.5, 4.2), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle="--", label="in proportion")
    for padding, colour in (("right", COLOURS[TINYRNN]), ("left", COLOURS["PyTorch"])):
        sides = [full, *(side for side in padded if row["info"]["padding"][side] == padding)]
        points = [(row["info"]["valid"][side], ratio(row, [side], full)) for side in sides]
        axes.plot(*zip(*points, strict=True), "o-", color=colour, label=f"padded {padding}")
    axes.set_xlim(0.0, 1.05)
    axes.set_ylim(bottom=0.0)
    axes.xaxis.set_major_formatter("{x:.0%}")
    axes.set_xlabel("steps that are no padding")
    axes.set_ylabel("time of a training step / without padding")
    axes.set_title("Sequences of different lengths", loc="left")
    axes.legend(frameon=False)
    _tidy(axes, "both")
    return figure


_PLOTS: dict[str, Callable[[Mapping[str, Sequence[Row]]], Figure | None]] = {
    "ratios": draw_ratios,
    "kernels": draw_kernels,
    "growth": draw_growth,
    "lengths": draw_lengths,
    "crossover": draw_crossover,
}


def _panels(rows: Sequence[Row]) -> tuple[Figure, list[tuple[Axes, list[Row]]]]:
    """Return a figure with axes for each of the sizes, and the rows that belong there."""
    figure = Figure(figsize=(12.0, 4.2), layout="constrained")
    panels = []
    for axis, axes in zip(SIZES, figure.subplots(1, len(SIZES), sharey=True), strict=True):
        here = [row for row in rows if row["info"]["axis"] == axis]
        values = sorted({row["info"]["value"] for row in here})
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xticks(values, map(str, values))
        axes.minorticks_off()
        axes.yaxis.set_major_formatter("{x:g}")
        axes.set_xlabel(UNITS[axis])
        _tidy(axes, "both")
        panels.append((axes, here))
    return figure, panels


def _curve(axes, rows, value, scale, colour, label):
    """Draw what is known of a value against the size."""
    points = [(row["info"]["value"], scale * v) for row in rows if (v := value(row)) is not None]
    if points:
        axes.plot(*zip(*points, strict=True), "o-", color=colour, markersize=4, label=label)


def _bars(names, values, colours, form):
    """Draw groups of horizontal bars, the first on top, with their numbers; None is no bar."""
    figure = Figure(figsize=(11.0, 1.2 + 0.28 * len(names) * (0.6 + len(values))), layout="constrained")
    axes = figure.subplots()
    height = 0.8 / len(values)
    for k, (label, lengths) in enumerate(values.items()):
        places = [i + (k - (len(values) - 1) / 2) * height for i in range(len(names))]
        found = [0.0 if length is None else length for length in lengths]
        bars = axes.barh(places, found, 0.92 * height, color=colours[label], label=label)
        texts = ["-" if length is None else form(length) for length in lengths]
        axes.bar_label(
            bars, texts, padding=3, fontsize=8, bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5}
        )
    axes.set_yticks(range(len(names)), names)
    axes.margins(x=0.08, y=0.01)
    axes.invert_yaxis()
    _tidy(axes, "x")
    return figure, axes


def _tidy(axes, grid):
    axes.grid(axis=grid, color="#dddddd", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
