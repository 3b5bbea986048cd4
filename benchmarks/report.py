"""The results as tables, for a terminal and in Markdown; the ratios are formed here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median, quantiles
from typing import Any

from rich.table import Table as RichTable

from benchmarks.peers.blas_peer import FLOPS as SGEMM_FLOPS
from benchmarks.protocol import FRAMEWORKS
from benchmarks.sections import LIGHTER, ONNX, SGEMM, TINYRNN, TINYRNN_GPU, TORCH_GPU, TORCH_TF32

Row = Mapping[str, Any]


# --- numbers ------------------------------------------------------------------------------------------------


def typical(row: Row, side: str) -> float | None:
    """Return the median of the seconds per step of one side, None if it has none."""
    times = row["seconds"].get(side)
    return median(times) if times else None


def spread(times: Sequence[float]) -> float:
    """Return half the distance of the quartiles, relative to the median."""
    if len(times) < 2:
        return 0.0
    low, middle, high = quantiles(times, n=4, method="inclusive")
    return (high - low) / 2 / middle


def ratio(row: Row, peers: Iterable[str] = FRAMEWORKS, own: str = TINYRNN) -> float | None:
    """Return how many times the seconds of `own` the fastest of `peers` takes, None if one is missing."""
    ours = typical(row, own)
    theirs = [seconds for peer in peers if (seconds := typical(row, peer)) is not None]
    return min(theirs) / ours if theirs and ours else None


def sgemm_rate(rows: Sequence[Row]) -> float | None:
    """Return the best rate of a matrix product in the run, in operations per second."""
    times = [t for row in rows for t in row["seconds"].get(SGEMM, ())]
    return SGEMM_FLOPS / min(times) if times else None


def share_of_sgemm(row: Row, rate: float | None) -> float | None:
    """Return the rate of the recurrent layers in units of `rate`."""
    ours = typical(row, TINYRNN)
    return row["info"]["flops"] / ours / rate if ours and rate else None


# --- tables -------------------------------------------------------------------------------------------------


@dataclass
class Table:
    """A title, a line that explains, columns of text, and notes of what is missing."""

    title: str
    caption: str
    columns: list[str]
    rows: list[list[str]]
    notes: list[str] = field(default_factory=list)

    def to_rich(self) -> RichTable:
        """Return it for a terminal."""
        table = RichTable(
            title=self.title, caption="\n".join([self.caption, *self.notes]), title_justify="left"
        )
        for i, column in enumerate(self.columns):
            table.add_column(column, justify="right" if i else "left", overflow="fold")
        for row in self.rows:
            table.add_row(*row)
        return table

    def to_markdown(self) -> str:
        """Return it for a README."""
        lines = [f"### {self.title}", "", self.caption, ""]
        lines += _markdown_row(self.columns), _markdown_row(["---", *["---:"] * (len(self.columns) - 1)])
        lines += map(_markdown_row, self.rows)
        lines += ["", *(f"- {note}" for note in self.notes)] if self.notes else []
        return "\n".join(lines) + "\n"


def _markdown_row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def tables(sections: Mapping[str, Sequence[Row]]) -> list[Table]:
    """Return a table for each section."""
    return [make(rows) for name, make in _TABLES.items() if (rows := sections.get(name))]


def markdown(header: Iterable[str], tables: Iterable[Table]) -> str:
    """Return header and tables in Markdown."""
    return "\n".join([*(f"- {line}" for line in header), "", *(table.to_markdown() for table in tables)])


def number(value: float) -> str:
    """Return a number with three digits, without an exponent."""
    return f"{value:.0f}" if value >= 100 else f"{value:#.3g}"


def _time(row: Row, side: str) -> str:
    times = row["seconds"].get(side)
    return f"{number(1e3 * median(times))} ±{spread(times):.0%}" if times else "-"


def _or_dash(value: float | None, form: Callable[[float], str] = number) -> str:
    return "-" if value is None else form(value)


def _sides(rows: Sequence[Row], known: Iterable[str]) -> list[str]:
    """Return which of the `known` sides took part or tried to."""
    return [side for side in known if any(side in row["seconds"] or side in row["failed"] for row in rows)]


def _notes(rows: Sequence[Row]) -> list[str]:
    """Return why times are missing, each reason once."""
    found: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        for side, reason in row["failed"].items():
            found.setdefault((side, reason), []).append(row["name"])
    return [
        f"{side}: {reason}" + ("" if len(names) == len(rows) else f" ({'; '.join(names)})")
        for (side, reason), names in found.items()
    ]


def _beside_frameworks(title: str, caption: str) -> Callable[[Sequence[Row]], Table]:
    def make(rows):
        sides = _sides(rows, (TINYRNN, *FRAMEWORKS))
        columns = ["milliseconds", *sides, "best peer / tinyrnn"]
        lines = [[row["name"], *(_time(row, side) for side in sides), _or_dash(ratio(row))] for row in rows]
        return Table(title, caption, columns, lines, _notes(rows))

    return make


def _inference(rows: Sequence[Row]) -> Table:
    sides = _sides(rows, (*LIGHTER, ONNX))
    columns = ["milliseconds", *sides, *(f"{ONNX} / {own}" for own in LIGHTER)]
    lines = [
        [
            row["name"],
            *(_time(row, side) for side in sides),
            *(_or_dash(ratio(row, [ONNX], own)) for own in LIGHTER),
        ]
        for row in rows
    ]
    caption = (
        "Inference of one batch by one LSTM layer: three calls of tinyrnn, one doing less than the other."
    )
    return Table("One layer beside ONNX Runtime", caption, columns, lines, _notes(rows))


def _beside_the_first(title: str, caption: str) -> Callable[[Sequence[Row]], Table]:
    def make(rows):
        lines = []
        for row in rows:
            base = next(iter(row["seconds"]))
            times = {side: ratio(row, [side], base) for side in row["seconds"]}
            lines += [[side, _time(row, side), _or_dash(times[side])] for side in times]
        return Table(title, caption, ["", "milliseconds", "times the first"], lines, _notes(rows))

    return make


def _kernels(rows: Sequence[Row]) -> Table:
    rate = sgemm_rate(rows)

    def line(row):
        ours = typical(row, TINYRNN)
        rate_here = row["info"]["flops"] / ours / 1e9 if ours else None
        share = _or_dash(share_of_sgemm(row, rate), "{:.0%}".format)
        return [row["name"], _time(row, TINYRNN), _or_dash(rate_here), share]

    caption = (
        "The recurrent layers alone, there and back, beside a float32 product of 2048 x 2048, which reached "
        f"{_or_dash(rate and rate / 1e9)} GFLOP/s in the same run."
    )
    columns = ["", "milliseconds", "GFLOP/s", "share of sgemm"]
    return Table(
        "Recurrent layers beside a matrix product", caption, columns, list(map(line, rows)), _notes(rows)
    )


def _cudnn(rows: Sequence[Row]) -> Table:
    lines = [
        [
            row["name"],
            *(_time(row, side) for side in (TINYRNN_GPU, TORCH_GPU)),
            _or_dash(ratio(row, [TORCH_GPU], TINYRNN_GPU)),
            number(row["info"]["target"]),
            _time(row, TORCH_TF32),
        ]
        for row in rows
    ]
    columns = ["milliseconds", TINYRNN_GPU, TORCH_GPU, "PyTorch / tinyrnn", "at least", TORCH_TF32]
    caption = (
        "Whole models, a training step of one batch on the same GPU: in float32, and in the last column with "
        "recurrent layers in TF32."
    )
    return Table("Training step on the GPU", caption, columns, _spelled_out(lines), _notes(rows))


def _crossover(rows: Sequence[Row]) -> Table:
    columns, lines = ["milliseconds"], {}
    for action in ("training step", "prediction"):
        columns += [f"{action}, CPU", f"{action}, GPU", "CPU / GPU"]
    for row in rows:  # of one model the training step comes first
        times = [_time(row, TINYRNN), _time(row, TINYRNN_GPU)]
        cells = [*times, _or_dash(ratio(row, [TINYRNN], TINYRNN_GPU))]
        lines.setdefault(row["name"], [row["name"]]).extend(cells)
    caption = (
        "tinyrnn on the CPU and on the GPU: whole models; then Embedding 5000x64, LSTM 64, B32 T100 with one "
        "size changed. Above 1 the GPU is faster."
    )
    title = "From which size on the GPU pays"
    return Table(title, caption, columns, _spelled_out(lines.values()), _notes(rows))


def _spelled_out(lines: Iterable[Sequence[str]]) -> list[list[str]]:
    return [["not measured" if cell == "-" else cell for cell in line] for line in lines]


_TABLES: dict[str, Callable[[Sequence[Row]], Table]] = {
    "fit": _beside_frameworks("Training step", "Whole models, through fit: a step of one batch."),
    "predict": _beside_frameworks("Prediction", "Whole models, through predict: one batch."),
    "inference": _inference,
    "variants": _beside_the_first(
        "What an LSTM may be asked for", "A training step of the 300-word model with one thing changed."
    ),
    "lengths": _beside_the_first(
        "Sequences of different lengths", "The same model, padding masked; lengths differ within a batch."
    ),
    "kernels": _kernels,
    "growth": _beside_frameworks(
        "How the cost grows", "Training step of Embedding 5000x64, LSTM 64, B32 T100 with one size changed."
    ),
    "cudnn": _cudnn,
    "crossover": _crossover,
}
