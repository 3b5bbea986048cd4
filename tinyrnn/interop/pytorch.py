"""Weights of PyTorch's ``nn.RNN``, ``nn.LSTM`` and ``nn.GRU``, taken and given.

PyTorch has the kernels transposed, the gates of the GRU in another order, and two biases. Keras has the sum
of the two, but for the GRU, where the reset gate comes between them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinyrnn import activations
from tinyrnn.layers import (
    GRU,
    LSTM,
    RNN,
    Bidirectional,
    Dropout,
    GRUCell,
    InputLayer,
    Layer,
    LSTMCell,
    SimpleRNN,
    SimpleRNNCell,
)
from tinyrnn.naming import nearest

__all__ = ["from_torch", "to_torch"]


@dataclass(frozen=True)
class Kind:
    """A kind of recurrent layer, and where PyTorch's gates are among Keras's."""

    layer: type[RNN]
    cell: type
    gates: tuple[int, ...]

    def reordered(self, array: np.ndarray) -> np.ndarray:
        """Return `array` with the gates along its first axis in the other library's order.

        The same for both ways: the orders differ in one exchange.
        """
        parts = np.split(array, len(self.gates))
        return np.concatenate([parts[g] for g in self.gates])


# nn.LSTM: i, f, g, o as in Keras. nn.GRU: r, z, n; in Keras z, r, h.
KINDS = (
    Kind(SimpleRNN, SimpleRNNCell, (0,)),
    Kind(LSTM, LSTMCell, (0, 1, 2, 3)),
    Kind(GRU, GRUCell, (1, 0, 2)),
)
ACTIVATIONS = {"tanh": activations.tanh, "relu": activations.relu}  # what nn.RNN can have
DIRECTIONS = ("", "_reverse")
KEY = re.compile(r"(weight|bias)_(ih|hh)_l(0|[1-9]\d*)(_reverse)?")


@dataclass(frozen=True)
class Layout:
    """What the names of the weights tell."""

    prefix: str
    depth: int
    directions: tuple[str, ...]
    has_biases: bool

    def keys(self, n: int, direction: str) -> list[str]:
        """Return the names of the weights of one direction of layer `n`, in PyTorch's order."""
        kinds = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")[: 4 if self.has_biases else 2]
        return [f"{self.prefix}{kind}_l{n}{direction}" for kind in kinds]

    def all_keys(self) -> Iterator[str]:
        """Yield all names, layer by layer."""
        return (key for n in range(self.depth) for d in self.directions for key in self.keys(n, d))


# --- from PyTorch -----------------------------------------------------------------------------------------


def from_torch(
    state: Any, *, activation: str = "tanh", prefix: str = "", return_sequences: bool = True
) -> list[Layer]:
    """Return layers with the weights of an ``nn.RNN``, ``nn.LSTM`` or ``nn.GRU``.

    ::

        lstm = torch.nn.LSTM(16, 32, num_layers=2, batch_first=True, bidirectional=True)
        model = Sequential([Input((None, 16)), *from_torch(lstm), Dense(1)])

    Parameters
    ----------
    state : mapping of str to tensor or array, or module
        What ``state_dict()`` returned, or the module. NumPy's arrays will do, without PyTorch. Kind, sizes,
        number of layers, directions and biases are read from names and shapes.
    activation : {"tanh", "relu"}
        Of an ``nn.RNN``, whose weights do not tell. A module tells it itself.
    prefix : str
        Where in a larger model the layer is, ``"encoder.lstm"``; the rest of the model is left alone.
    return_sequences : bool
        Return the output of every step, as PyTorch does, or only of the last.

    Returns
    -------
    list of Layer
        For each of PyTorch's layers a built `SimpleRNN`, `LSTM` or `GRU`, or a `Bidirectional` of one, of the
        weights' float type. They read ``(B, T, F)``, as with ``batch_first=True``. If a module with
        ``dropout`` is given there is a `Dropout` of that rate between two of them; a state dict does not
        tell it.

    Raises
    ------
    ValueError
        If a key is missing or unknown, if a shape or a type does not fit (names the key, what was expected
        and what was found), or if there is a ``proj_size``.
    TypeError
        If `state` is neither weights nor a recurrent module.

    Notes
    -----
    Outputs, states and gradients are PyTorch's. But where it trains two biases and Keras their sum, a step
    of an optimizer moves the sum twice as far there.
    """
    rate = 0.0
    if not isinstance(state, Mapping):
        module = _recurrent_module(state, prefix)
        state, prefix, rate = module.state_dict(), "", module.dropout
        activation = getattr(module, "nonlinearity", activation)
    if activation not in ACTIVATIONS:
        hint = nearest(str(activation), ACTIVATIONS)
        raise ValueError(f"from_torch: activation: nn.RNN has no {activation!r}{hint}")
    layout = _layout(state, f"{prefix.removesuffix('.')}." if prefix else "")
    weights = {key: _as_array(key, state[key]) for key in layout.all_keys()}
    kind = _check_weights(weights, layout)
    layers: list[Layer] = []
    for n in range(layout.depth):
        if n and rate:
            layers.append(Dropout(rate, dtype=layers[-1].dtype))
        own = [[weights[key] for key in layout.keys(n, d)] for d in layout.directions]
        layers.append(_layer(kind, own, activation, return_sequences or n + 1 < layout.depth))
    return layers


def _recurrent_module(module: Any, prefix: str) -> Any:
    """Return the module, or the one inside it at `prefix`."""
    if not hasattr(module, "state_dict"):
        raise TypeError(f"from_torch: expected a state dict or a module, found {module!r}")
    found = module.get_submodule(prefix.removesuffix("."))
    if not hasattr(found, "weight_hh_l0"):
        hint = "" if prefix else "; for a layer inside of it give the prefix"
        raise TypeError(
            f"from_torch: expected an nn.RNN, nn.LSTM or nn.GRU, found {type(found).__name__}{hint}"
        )
    return found


def _layout(state: Mapping[str, Any], prefix: str) -> Layout:
    """Read the names below `prefix`; refuse what is missing or does not belong there."""
    places = [key.removesuffix("weight_hh_l0") for key in state if key.endswith(".weight_hh_l0")]
    hint = f"; there are recurrent layers at prefix {', '.join(map(repr, places))}" if places else ""
    parts = []
    for key in state:
        if key.startswith(prefix):
            match = KEY.fullmatch(key, len(prefix))
            if match is None:
                why = "proj_size is not supported" if "weight_hr_l" in key else "no weight of such a layer"
                raise ValueError(f"from_torch: {key!r}: {why}{hint}")
            parts.append(match.groups())
    if not parts:
        raise ValueError(f"from_torch: expected weights, found none with prefix {prefix!r}{hint}")
    kinds, _, numbers, reverse = zip(*parts, strict=True)
    directions = DIRECTIONS if any(reverse) else DIRECTIONS[:1]
    layout = Layout(prefix, 1 + max(map(int, numbers)), directions, "bias" in kinds)
    for key in layout.all_keys():
        if key not in state:
            raise ValueError(
                f"from_torch: {key!r} is missing; by the other keys, expected are {layout.depth} layers, "
                f"{len(directions)} directions, {'biases' if layout.has_biases else 'no biases'}"
            )
    return layout


def _as_array(key: str, x: Any) -> np.ndarray:
    dtype = str(getattr(x, "dtype", type(x).__name__)).removeprefix("torch.")
    if dtype not in ("float32", "float64"):
        raise ValueError(f"from_torch: {key!r}: expected float32 or float64, found {dtype}")
    return np.asarray(x.detach().cpu() if hasattr(x, "detach") else x)


def _check_weights(weights: Mapping[str, np.ndarray], layout: Layout) -> Kind:
    """Return the kind of the layers; refuse weights that have not its shapes, or several types."""
    w_ih, w_hh = (weights[key] for key in layout.keys(0, "")[:2])
    units = w_hh.shape[-1] if w_hh.ndim == 2 else 0
    kinds = {(len(kind.gates) * units, units): kind for kind in KINDS}
    if not units or w_hh.shape not in kinds:
        raise ValueError(
            f"from_torch: {layout.keys(0, '')[1]!r}: expected shape (G * units, units) with G = 1 (nn.RNN), "
            f"3 (nn.GRU) or 4 (nn.LSTM), found {w_hh.shape}"
        )
    rows, features = w_hh.shape[0], w_ih.shape[-1:]
    for n in range(layout.depth):
        for direction in layout.directions:
            shapes = [(rows, *features), (rows, units), (rows,), (rows,)]
            for key, shape in zip(layout.keys(n, direction), shapes, strict=False):
                found = weights[key]
                if (found.shape, found.dtype) != (shape, w_hh.dtype):
                    raise ValueError(
                        f"from_torch: {key!r}: expected shape {shape}, {w_hh.dtype}; "
                        f"found {found.shape}, {found.dtype}"
                    )
        features = (len(layout.directions) * units,)
    return kinds[w_hh.shape]


def _layer(kind: Kind, directions: list[list[np.ndarray]], activation: str, sequences: bool) -> Layer:
    """Return a built layer with the weights of one or two directions."""
    w_ih, w_hh, *biases = directions[0]
    settings = {"use_bias": bool(biases), "return_sequences": sequences, "dtype": w_ih.dtype.name}
    if kind.layer is SimpleRNN:
        settings["activation"] = activation
    layer: Layer = kind.layer(w_hh.shape[1], **settings)
    if len(directions) > 1:
        layer = Bidirectional(layer)
    layer.build((None, None, w_ih.shape[1]))
    layer.set_weights([w for direction in directions for w in _to_keras(kind, *direction)])
    return layer


def _to_keras(kind: Kind, w_ih: np.ndarray, w_hh: np.ndarray, *biases: np.ndarray) -> list[np.ndarray]:
    """Return kernel, recurrent kernel and bias."""
    biases = [kind.reordered(b) for b in biases]
    if biases:
        biases = [np.stack(biases) if kind.layer is GRU else biases[0] + biases[1]]
    return [kind.reordered(w_ih).T, kind.reordered(w_hh).T, *biases]


# --- to PyTorch -------------------------------------------------------------------------------------------


def to_torch(layers: Any) -> dict[str, Any]:
    """Return the weights of recurrent layers as ``nn.RNN``, ``nn.LSTM`` or ``nn.GRU`` has them.

    ::

        lstm = torch.nn.LSTM(16, 32, num_layers=2, batch_first=True)
        lstm.load_state_dict(to_torch(model.layers[1:3]))

    Parameters
    ----------
    layers : Layer, list of Layer, or model
        One or more `SimpleRNN`, `LSTM` or `GRU`, or `Bidirectional` of these that concatenate, all alike and
        built. `Dropout` between them, which is an argument of PyTorch's module, is passed over.

    Returns
    -------
    dict of str to torch.Tensor
        For ``load_state_dict`` of a module made with the same sizes (``bias=use_bias``,
        ``nonlinearity="relu"`` for a `SimpleRNN` with that activation). Copies; the second bias is zeros
        where Keras has one.

    Raises
    ------
    ImportError
        Without PyTorch.
    ValueError
        If a layer is of another class, is not built, does not fit to the first, or computes what PyTorch's
        cannot; names the layer.

    Notes
    -----
    Dropout, masks, states that are kept or returned and `return_sequences` are no matter of weights: in
    PyTorch they belong to the call. (An inner layer must have returned sequences.)
    """
    try:
        import torch
    except ImportError as error:
        raise ImportError("to_torch makes tensors of PyTorch: pip install torch") from error
    rows = _recurrent_layers(layers)
    kind = _check_alike(rows)
    first = _directions(rows[0])
    layout = Layout("", len(rows), DIRECTIONS[: len(first)], first[0].cell.use_bias)
    values = [
        value
        for layer in rows
        for one in _directions(layer)
        for value in _from_keras(kind, *(w.numpy() for w in one.weights))
    ]
    arrays = zip(layout.all_keys(), values, strict=True)
    return {key: torch.from_numpy(np.ascontiguousarray(value)) for key, value in arrays}


def _from_keras(kind: Kind, kernel: np.ndarray, recurrent: np.ndarray, *bias: np.ndarray) -> list[np.ndarray]:
    """Return both weights and, if there is a bias, both biases."""
    if bias and kind.layer is not GRU:
        bias = (np.stack([bias[0], np.zeros_like(bias[0])]),)
    return [kind.reordered(w) for w in (kernel.T, recurrent.T, *(b for pair in bias for b in pair))]


def _directions(layer: Layer) -> list[RNN]:
    both = isinstance(layer, Bidirectional)
    return [layer.forward_layer, layer.backward_layer] if both else [layer]


def _recurrent_layers(layers: Any) -> list[Layer]:
    """Return the layers without what stands between; refuse classes that are not PyTorch's."""
    if not isinstance(layers, Sequence):
        layers = getattr(layers, "layers", [layers])
    found = [layer for layer in layers if not isinstance(layer, Dropout | InputLayer)]
    if not found:
        raise ValueError("to_torch: expected at least one recurrent layer, found none")
    for layer in found:
        if not isinstance(layer, Layer):
            raise TypeError(f"to_torch: expected a layer, found {layer!r}")
        if isinstance(layer, Bidirectional):
            _check(layer, "merge_mode", "concat", layer.merge_mode)
        cells = [getattr(one, "cell", None) for one in _directions(layer)]
        if any(type(cell) not in [kind.cell for kind in KINDS] for cell in cells):
            raise ValueError(
                f"to_torch: {layer.name}: expected SimpleRNN, LSTM, GRU or a Bidirectional of one, found a "
                f"{type(layer).__name__}; of a larger model give model.layers[i:j]"
            )
        if not layer.built:
            raise ValueError(f"to_torch: {layer.name}: not built yet; call it on data, or build(input_shape)")
    return found


def _check_alike(layers: list[Layer]) -> Kind:
    """Return the kind of the layers; refuse settings that one module of PyTorch cannot have."""
    first = _directions(layers[0])
    cell = first[0].cell
    kind = next(kind for kind in KINDS if kind.cell is type(cell))
    features = layers[0].input_size
    for n, layer in enumerate(layers):
        both = _directions(layer)
        _check(layer, "directions", len(first), len(both))
        _check(layer, "features", features, layer.input_size)
        if n + 1 < len(layers):
            _check(layer, "return_sequences", True, both[0].return_sequences)
        for one, backwards in zip(both, (False, True), strict=False):
            _check(layer, "cell", kind.cell, type(one.cell))
            _check(layer, "go_backwards", backwards, one.go_backwards)
            for what in ("units", "use_bias", "dtype"):
                _check(layer, what, getattr(cell, what), getattr(one.cell, what))
            for what, expected in _computing(kind, cell).items():
                _check(layer, what, expected, getattr(one.cell, what))
        features = len(both) * cell.units
    return kind


def _computing(kind: Kind, cell: Any) -> dict[str, Any]:
    """Return the settings of a cell without which it does not compute what PyTorch does."""
    if kind.layer is SimpleRNN:
        is_known = cell.activation in ACTIVATIONS.values()
        return {"activation": cell.activation if is_known else activations.tanh}
    settings = {"activation": activations.tanh, "recurrent_activation": activations.sigmoid}
    return settings | ({"reset_after": True} if kind.layer is GRU else {})


def _check(layer: Layer, what: str, expected: Any, found: Any) -> None:
    if found != expected:
        expected, found = (getattr(x, "__name__", x) for x in (expected, found))
        raise ValueError(f"to_torch: {layer.name}: {what}: expected {expected}, found {found}")
