"""The table that ``model.summary()`` prints, the same text as Keras's."""

from __future__ import annotations

import math
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

from tinyrnn.layers.base import Layer, map_shapes
from tinyrnn.layers.graph import in_order
from tinyrnn.training import Trainer

__all__ = ["print_summary"]

# Heading, alignment, and where the column ends as a fraction of the line.
COLUMNS = (("Layer (type)", "left", 0.45), ("Output Shape", "left", 0.80), ("Param #", "right", 1.0))
COLUMNS_OF_GRAPH = (
    ("Layer (type)", "left", 0.3),
    ("Output Shape", "left", 0.56),
    ("Param #", "right", 0.74),
    ("Connected to", "left", 1.0),
)
LINE, LINE_OF_GRAPH, LINE_FOR_TRAINABLE = 88, 108, 12

NUMBER, UNKNOWN, NAME, YES, NO = "color(34)", "color(45)", "color(33)", "bold color(34)", "bold color(9)"


def print_summary(
    model: Any,
    line_length: int | None = None,
    positions: Sequence[float] | None = None,
    print_fn: Callable[[str], Any] | None = None,
    expand_nested: bool = False,
    show_trainable: bool = False,
    layer_range: Sequence[str] | None = None,
) -> None:
    """Print a table of a model's layers: name and type, output shape, number of weights.

    A graph that is no simple chain has a column of what each layer is connected to, ``name[i][j]``: the
    result ``j`` of that layer's call ``i``.

    Parameters
    ----------
    model : Model
    line_length : int, optional
        Of all lines; by default 88 characters, 108 with connections, 12 more with `show_trainable`, but
        never more than fit into the terminal.
    positions : list of float, optional
        Where the columns end, in fractions of the line.
    print_fn : callable, optional
        Gets the whole text, in one call, instead of the terminal.
    expand_nested : bool
        Show the layers of models inside the model, too.
    show_trainable : bool
        Show whether each layer is trained.
    layer_range : (str, str), optional
        Regular expressions, matched at the beginning of the names: show only the layers from the first
        match of one to the last match of the other.

    Raises
    ------
    ValueError
        If a column would be narrower than 4 characters, or `layer_range` matches nothing.
    """
    from rich.console import Console
    from rich.text import Text

    columns, width = _layout(model, line_length, positions, show_trainable)
    layers = _in_range(model.layers, layer_range)
    table = _table(model, layers, columns, width, expand_nested)
    console = Console(highlight=False)
    if print_fn is not None:
        console = Console(highlight=False, force_terminal=False, color_system=None)
        console.begin_capture()
    console.width = max(console.width, width)
    console.print(Text(f'Model: "{model.name}"', "bold"))
    console.print(table)
    for name, arrays in _totals(model).items():
        count, size = sum(a.size for a in arrays), sum(map(_size, arrays))
        console.print(Text.assemble((f" {name}: ", "bold"), (f"{count:,}", NUMBER), f" ({_readable(size)})"))
    if print_fn is not None:
        print_fn(console.end_capture())


def _totals(model: Any) -> dict[str, list]:
    """Return the arrays that are counted, by what is said of them."""
    trainable = [w.data for w in model.trainable_weights]
    fixed = [w.data for w in model.non_trainable_weights]
    optimizer = model.optimizer
    state = [v.data for v in optimizer.variables] if optimizer is not None and optimizer.built else []
    totals = {"Total params": [*trainable, *fixed, *state], "Trainable params": trainable}
    return totals | {"Non-trainable params": fixed} | ({"Optimizer params": state} if state else {})


def _size(array: Any) -> int:
    """Return how many bytes Keras has for an array: single numbers, of the optimizer, have four."""
    return array.nbytes if array.ndim else 4


def _readable(size: float) -> str:
    """Return a number of bytes in the unit that suits it."""
    units = ("B", "KB", "MB", "GB", "TB", "PB")
    k = min(int(math.log(size, 1024)), len(units) - 1) if size else 0
    return f"{size / 1024**k:.2f} {units[k]}"


# --- layout -----------------------------------------------------------------------------------------------


def _layout(model, line_length, positions, show_trainable) -> tuple[list[tuple[str, str, int]], int]:
    """Return heading, alignment and width of every column, and the width of the table."""
    has_branches = model._graph is not None and not model._graph.is_chain
    columns, width = (COLUMNS_OF_GRAPH, LINE_OF_GRAPH) if has_branches else (COLUMNS, LINE)
    ends = list(positions or [end for _, _, end in columns])
    headings = [(heading, align) for heading, align, _ in columns]
    if show_trainable:
        width += LINE_FOR_TRAINABLE
        ends = [0.9 * end for end in ends] + [1.0]
        headings.append(("Trainable", "center"))
    if len(ends) != len(headings):
        raise ValueError(f"positions: expected {len(columns)}, one for each column; found {len(positions)}")
    width = line_length or min(width, shutil.get_terminal_size().columns - 4)
    stops = [0]
    for end in ends:
        stops.append(int(end * width))
    widths = [b - a for a, b in pairwise(stops)]
    if min(widths) < 4:
        raise ValueError(
            f"line_length, positions: columns need 4 characters each; {width} in all give {widths}"
        )
    return [(*heading, w) for heading, w in zip(headings, widths, strict=True)], width


def _in_range(layers: list[Layer], layer_range: Sequence[str] | None) -> list[Layer]:
    """Return the layers between the two that are meant, both included."""
    if layer_range is None:
        return layers
    if isinstance(layer_range, str) or len(layer_range) != 2:
        raise ValueError(f"layer_range: expected the names of two layers, found {layer_range!r}")
    first, last = ([i for i, x in enumerate(layers) if re.match(name, x.name)] for name in layer_range)
    if not first or not last:
        names = ", ".join(layer.name for layer in layers)
        raise ValueError(f"layer_range: {tuple(layer_range)} matches none of the layers {names}")
    if first[0] > last[-1]:
        first, last = last, first
    return layers[first[0] : last[-1] + 1]


# --- cells ------------------------------------------------------------------------------------------------


def _table(model: Any, layers: list[Layer], columns: list, width: int, expand_nested: bool) -> Any:
    from rich.table import Column, Table

    heads = [Column(heading, justify=align, width=w) for heading, align, w in columns]
    table = Table(*heads, width=width, show_lines=True)
    for layer, level in _rows(layers, expand_nested):
        cells = {
            "Layer (type)": _name_cell(layer, level),
            "Output Shape": _shape_cell(layer),
            "Param #": _count_cell(layer),
            "Connected to": _connection_cell(model, layer),
            "Trainable": _trainable_cell(layer),
        }
        table.add_row(*(cells[heading] for heading, _, _ in columns))
    return table


def _rows(layers: list[Layer], expand_nested: bool, level: int = 0) -> Iterator[tuple[Layer, int]]:
    """Yield each layer and how deep in other models it stands."""
    for layer in layers:
        yield layer, level
        if expand_nested and isinstance(layer, Trainer):
            yield from _rows(layer.layers, True, level + 1)


def _text(*parts: Any) -> Any:
    from rich.text import Text

    return Text.assemble(*parts)


def _name_cell(layer: Layer, level: int) -> Any:
    indent = "   " * level + "└ " if level else ""
    return _text(f"{indent}{layer.name} (", (type(layer).__name__, NAME), ")")


def _shape_cell(layer: Layer) -> Any:
    shapes = [_shape_parts(shape) for shape in _output_shapes(layer)]
    if len(shapes) > 1:
        return _text("[", *_joined(shapes), "]")
    return _text(*shapes[0]) if shapes else _text("?")


def _output_shapes(layer: Layer) -> list[tuple]:
    """Return what the last call in a graph gave, or what the layer gives for what it was built for."""
    if layer.calls:
        return [x.shape for x in in_order(layer.calls[-1].outputs) if x is not None]
    if isinstance(layer, Trainer) and hasattr(layer, "outputs"):
        return [x.shape for x in layer.outputs]
    shapes: list[tuple] = []
    if layer.build_shape is not None:
        map_shapes(shapes.append, layer.compute_output_shape(layer.build_shape))
    return shapes


def _shape_parts(shape: tuple) -> list:
    return ["(", *_joined([[(str(n), UNKNOWN if n is None else NUMBER)] for n in shape]), ")"]


def _joined(items: list[list]) -> list:
    return [part for i, item in enumerate(items) for part in ([", "] if i else []) + item]


def _count_cell(layer: Layer) -> Any:
    has_nothing_to_build = type(layer).build is Layer.build and not layer.sublayers
    if not layer.built and not has_nothing_to_build:
        return _text(("0", NUMBER), " (unbuilt)")
    return _text((f"{sum(w.size for w in layer.weights):,}", NUMBER))


def _connection_cell(model: Any, layer: Layer) -> Any:
    calls = model._graph.calls_of(layer) if model._graph is not None else []
    links = [
        [f"{x.name}[", (str(x.call.index), NUMBER), "][", (str(x.index), NUMBER), "]"]
        for call in calls
        for x in call.inputs
    ]
    return _text(*_joined(links)) if links else _text("-")


def _trainable_cell(layer: Layer) -> Any:
    if not layer.weights:
        return _text(("-", "bold"))
    return _text(("Y", YES) if layer.trainable else ("N", NO))
