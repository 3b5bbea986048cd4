"""What is measured: models as data. Every side builds its own from them, with the same weights and inputs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

GATES = {"SimpleRNN": 1, "GRU": 3, "LSTM": 4, "PeepholeLSTM": 4}


@dataclass(frozen=True)
class Layer:
    """One layer; `kind` is Keras's name of it, or ``PeepholeLSTM``.

    Attributes
    ----------
    units : int
        The width of its output, of one direction.
    words : int
        The vocabulary of an Embedding.
    sequences, both_ways : bool
        Of a recurrent layer: it returns every step; it is inside a Bidirectional.
    options : dict
        More arguments of the layer in Keras's spelling; only tinyrnn and Keras heed them.
    """

    kind: str
    units: int = 0
    words: int = 0
    sequences: bool = False
    both_ways: bool = False
    activation: str | None = None
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Model:
    """A stack of layers, the shape of its batches, and what its data look like.

    Attributes
    ----------
    loss : str
        Keras's name of it; the data have targets to match.
    inputs : {"tokens", "one-hot", "real"}
        Word numbers for an Embedding first, or `features` floats a step.
    states : bool
        The states of the (only) layer are inputs and outputs too.
    tokens : {"zipf", "uniform"}
        How often words occur: the k-th in proportion to 1/k as in natural text, or all alike.
    valid : float
        The share of steps that are no padding.
    padding : {"right", "left", "holes"}
        Where the padding (word 0) is: after sequences of differing lengths, before them, or anywhere.
    """

    name: str
    batch: int
    time: int
    layers: tuple[Layer, ...]
    loss: str = "binary_crossentropy"
    inputs: str = "tokens"
    features: int = 0
    states: bool = False
    tokens: str = "zipf"
    valid: float = 1.0
    padding: str = "right"

    @property
    def title(self) -> str:
        """The name and the shape of a batch."""
        return f"{self.name}, B{self.batch} T{self.time}"

    def to_json(self) -> dict[str, Any]:
        """Return the model as nested dictionaries, for `from_json`."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Model:
        """Return the model that `to_json` wrote."""
        return cls(**{**data, "layers": tuple(Layer(**layer) for layer in data["layers"])})


# --- the models ---------------------------------------------------------------------------------------------

PRAISE = Layer("Dense", 1, activation="sigmoid")


def _reviews(name: str, batch: int, time: int, *layers: Layer) -> Model:
    """A model that tells praise from blame."""
    return Model(name, batch, time, (*layers, PRAISE))


def _words(words: int, width: int) -> Layer:
    return Layer("Embedding", width, words=words)


def _imdb_300(name: str, *layers: Layer) -> Model:
    """A model of 300 words that reads 300 steps."""
    hidden = Layer("Dense", 64, activation="relu")
    return _reviews(f"Embedding 300x100, {name}, Dense 64", 64, 300, _words(300, 100), *layers, hidden)


MODELS = (
    _reviews(
        "Embedding 5000x32, LSTM 32, LSTM 16", 32, 100,
        _words(5000, 32), Layer("LSTM", 32, sequences=True), Layer("LSTM", 16),
    ),
    Model(
        "one-hot 42, SimpleRNN 128, softmax", 128, 10,
        (Layer("SimpleRNN", 128), Layer("Dense", 42, activation="softmax")),
        loss="categorical_crossentropy", inputs="one-hot", features=42,
    ),
    _reviews("Embedding 2002x128, LSTM 64", 32, 40, _words(2002, 128), Layer("LSTM", 64)),
    Model(
        "Embedding 5002x128, GRU 64, RepeatVector, GRU 64, softmax 46", 32, 250,
        (
            _words(5002, 128), Layer("GRU", 64), Layer("RepeatVector"), Layer("GRU", 64, sequences=True),
            Layer("Dense", 46, activation="softmax"),
        ),
        loss="categorical_crossentropy",
    ),
    Model(
        "LSTM 10 on one feature", 96, 20, (Layer("LSTM", 10), Layer("Dense", 1)),
        loss="mean_squared_error", inputs="real", features=1,
    ),
    _imdb_300("SimpleRNN 64", Layer("SimpleRNN", 64)),
    _imdb_300("LSTM 64", Layer("LSTM", 64)),
    _imdb_300(
        "two Bidirectional LSTM 64",
        Layer("LSTM", 64, both_ways=True, sequences=True), Layer("LSTM", 64, both_ways=True),
    ),
    _reviews(
        "Embedding 10000x32, SimpleRNN 32 x 2", 128, 500,
        _words(10000, 32), Layer("SimpleRNN", 32, sequences=True), Layer("SimpleRNN", 32),
    ),
    _reviews("Embedding 10000x32, LSTM 32", 128, 500, _words(10000, 32), Layer("LSTM", 32)),
    _reviews("Embedding 10000x512, LSTM 512", 64, 50, _words(10000, 512), Layer("LSTM", 512)),
)  # fmt: skip
"""The models of the tables, in their order."""


def _one_lstm(batch: int, time: int, features: int, units: int, states: bool = False) -> Model:
    name = f"LSTM {features} to {units}{', states in and out' * states}"
    layers = (Layer("LSTM", units),)
    return Model(name, batch, time, layers, loss="mean_squared_error", inputs="real", features=features,
                 states=states)  # fmt: skip


INFERENCE = (
    _one_lstm(32, 100, 32, 32),
    _one_lstm(64, 300, 100, 64),
    _one_lstm(64, 100, 256, 256),
    _one_lstm(64, 50, 512, 512),
    _one_lstm(1, 100, 64, 64),
    _one_lstm(1, 1, 64, 64),
    _one_lstm(1, 1, 64, 64, states=True),
)
"""Single layers, for inference."""


def review_model(*, batch: int = 64, time: int = 300, recurrent: str = "LSTM", **options: Any) -> Model:
    """Return the 300-word model with another recurrent layer, and padding masked."""
    embedding = Layer("Embedding", 100, words=300, options={"mask_zero": True})
    layer = Layer(recurrent, 64, options=options)
    return _reviews("variant", batch, time, embedding, layer, Layer("Dense", 64, activation="relu"))


def growing_model(*, batch: int = 32, time: int = 100, units: int = 64) -> Model:
    """Return the model whose cost is followed while one of its sizes grows."""
    return _reviews(f"Embedding 5000x64, LSTM {units}", batch, time, _words(5000, 64), Layer("LSTM", units))


def shrunk(model: Model) -> Model:
    """Return the same model at a fraction of its size, to see that everything runs."""
    layers = (replace(x, units=min(x.units, 5), words=min(x.words, 20)) for x in model.layers)
    features = min(model.features, 4)
    batch, time = min(model.batch, 4), min(model.time, 6)
    return replace(model, layers=tuple(layers), features=features, batch=batch, time=time)


# --- weights and arithmetic ---------------------------------------------------------------------------------


def input_widths(model: Model) -> Iterator[tuple[Layer, int]]:
    """Go through the layers; yield each with the number of features it is given."""
    width = model.features
    for layer in model.layers:
        yield layer, width
        width = layer.units * (1 + layer.both_ways) or width


def draw_weights(model: Model) -> list[np.ndarray]:
    """Return the weights to start with, in Keras's order, the same in every process.

    They are drawn as Keras draws them, but for biases that differ a little from unit to unit, so that one in
    a wrong place is noticed.
    """
    rng = np.random.default_rng(1)
    found = (w for layer, width in input_widths(model) for w in _draw_layer(layer, width, rng))
    return [w.astype(np.float32) for w in found]


def _draw_layer(layer: Layer, width: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Return the weights of one layer that is given `width` features."""
    if layer.kind == "Embedding":
        return [rng.uniform(-0.05, 0.05, (layer.words, layer.units))]
    if layer.kind == "Dense":
        return [_glorot(width, layer.units, rng), 0.01 * rng.standard_normal(layer.units)]
    if layer.kind not in GATES:
        return []
    return [w for _ in range(1 + layer.both_ways) for w in _draw_recurrent(layer, width, rng)]


def _draw_recurrent(layer: Layer, width: int, rng: np.random.Generator) -> list[np.ndarray]:
    units, columns = layer.units, GATES[layer.kind] * layer.units
    orthogonal = np.linalg.qr(rng.standard_normal((columns, units)))[0].T
    bias = 0.01 * rng.standard_normal((2, columns) if layer.kind == "GRU" else columns)
    if "LSTM" in layer.kind:
        bias[units : 2 * units] += 1.0  # of the forget gate
    parameters = [np.zeros(units)] * (3 if layer.kind == "PeepholeLSTM" else 0)
    return [_glorot(width, columns, rng), orthogonal, bias, *parameters]


def _glorot(rows: int, columns: int, rng: np.random.Generator) -> np.ndarray:
    limit = (6.0 / (rows + columns)) ** 0.5
    return rng.uniform(-limit, limit, (rows, columns))


def recurrent_flops(model: Model) -> int:
    """Return the floating-point operations that the products of the recurrent layers take in a training step.

    Per sequence step and direction ``2 * (features + units) * gates * units``, and that three times: the way
    forward, the gradient of what is multiplied, the gradient of the weights.
    """
    per_row_and_step = sum(
        2 * (width + layer.units) * GATES[layer.kind] * layer.units * (1 + layer.both_ways)
        for layer, width in input_widths(model)
        if layer.kind in GATES
    )
    return 3 * model.batch * model.time * per_row_and_step


# --- data ---------------------------------------------------------------------------------------------------


def draw_inputs(model: Model, batches: int, rng: np.random.Generator) -> np.ndarray:
    """Return the inputs of some batches: int32 ``(rows, T)`` or float32 ``(rows, T, features)``."""
    rows, time = batches * model.batch, model.time
    if model.inputs == "real":
        return rng.random((rows, time, model.features), dtype=np.float32)
    if model.inputs == "one-hot":
        return np.eye(model.features, dtype=np.float32)[rng.integers(model.features, size=(rows, time))]
    ranks = np.arange(1, model.layers[0].words)  # word 0 is padding
    frequencies = 1.0 / ranks if model.tokens == "zipf" else np.ones(len(ranks))
    ids = rng.choice(ranks, (rows, time), p=frequencies / frequencies.sum())
    return np.where(_valid_steps(model, rows, rng), ids, 0).astype(np.int32)


def _valid_steps(model: Model, rows: int, rng: np.random.Generator) -> np.ndarray:
    """Return which steps are no padding: bool ``(rows, T)``, on average a share of `model.valid`."""
    if model.padding == "holes":
        return rng.random((rows, model.time)) < model.valid
    spread = min(0.5, 1.0 / model.valid - 1.0)  # lengths differ by half to either side, where there is room
    lengths = model.time * model.valid * rng.uniform(1.0 - spread, 1.0 + spread, (rows, 1))
    steps = np.arange(model.time)
    return (steps[::-1] if model.padding == "left" else steps) < np.maximum(1, np.rint(lengths))


def draw_batches(model: Model, batches: int) -> tuple[np.ndarray, np.ndarray]:
    """Return inputs and targets of some batches, the same in every process."""
    rng = np.random.default_rng(2)
    x = draw_inputs(model, batches, rng)
    units = model.layers[-1].units
    if model.loss == "mean_squared_error":
        return x, rng.random((len(x), units), dtype=np.float32)
    if model.loss == "binary_crossentropy":
        return x, rng.integers(2, size=(len(x), units)).astype(np.float32)
    per_step = any(layer.kind == "RepeatVector" for layer in model.layers)
    classes = rng.integers(units, size=(len(x), model.time) if per_step else len(x))
    return x, np.eye(units, dtype=np.float32)[classes]
