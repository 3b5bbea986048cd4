"""What is raced against what: each section is a list of races."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from benchmarks.models import GATES, INFERENCE, Model, growing_model, recurrent_flops, review_model, shrunk
from benchmarks.protocol import FRAMEWORKS, Entry, Rules, Worker, race

TINYRNN, ONNX, SGEMM = "tinyrnn", "ONNX Runtime", "sgemm"
TINYRNN_GPU, TORCH_GPU, TORCH_TF32 = "tinyrnn on the GPU", "PyTorch on the GPU", "PyTorch with TF32"
ON_GPU = (TINYRNN_GPU, TORCH_GPU, TORCH_TF32)

LIGHTER = {"predict": "predict_one", "predict_on_batch": "predict_on_batch", "model(x)": "call"}
"""The ways to have one batch computed, by the action that does it; each does less around the layers."""

SIZES = {
    "time": (10, 30, 100, 300, 1000),
    "batch": (1, 4, 16, 64, 256),
    "units": (16, 64, 128, 256, 512),
}
SHARES = (0.75, 0.5, 0.25, 0.1)
ROUGH_ROUNDS = 3  # for curves over decades, where a few per cent do not show


@dataclass(frozen=True)
class Settings:
    """What the command line asks for.

    Attributes
    ----------
    models : sequence of Model
        For whole models and kernels.
    peers : sequence of str
        The sides to take part, by their names in `benchmarks.protocol.PEERS`.
    rules : Rules
    tokens : str
        How often words occur, see `Model`.
    tiny : bool
        Run every model at a fraction of its size.
    every : int
        Take every so many of the sizes in `SIZES`.
    """

    models: Sequence[Model]
    peers: Sequence[str]
    rules: Rules
    tokens: str = "zipf"
    tiny: bool = False
    every: int = 1

    def adapted(self, model: Model) -> Model:
        """Return the model as it is to be run: with these words, and tiny if asked for."""
        model = replace(model, tokens=self.tokens)
        return shrunk(model) if self.tiny else model


@dataclass(frozen=True)
class Race:
    """Entries that take turns; those that compute the `same` are compared. `info` goes into the results."""

    name: str
    entries: list[Entry]
    same: bool = True
    info: dict[str, Any] = field(default_factory=dict)
    rough: bool = False


def _entries(settings: Settings, action: str, model: Model, sides: Iterable[str]) -> list[Entry]:
    """Return entries of those `sides` that take part; tinyrnn on the CPU always does."""
    taking_part = (side for side in sides if side == TINYRNN or side in settings.peers)
    return [Entry(side, side, action, settings.adapted(model)) for side in taking_part]


def _frameworks(settings: Settings, action: str, model: Model) -> list[Entry]:
    return _entries(settings, action, model, (TINYRNN, *FRAMEWORKS))


def _whole_models(action: str) -> Callable[[Settings], Iterator[Race]]:
    def races(settings):
        for model in settings.models:
            yield Race(model.title, _frameworks(settings, action, model))

    return races


def _inference(settings: Settings) -> Iterator[Race]:
    for original in INFERENCE:
        model = settings.adapted(original)
        entries = [Entry(side, TINYRNN, action, model) for side, action in LIGHTER.items()]
        if ONNX in settings.peers:
            entries.append(Entry(ONNX, ONNX, "call", model))
        yield Race(original.title, entries)


def _variants(settings: Settings) -> Iterator[Race]:
    models = {
        "LSTM 64": review_model(),
        "a cell of one's own (peephole LSTM)": review_model(recurrent="PeepholeLSTM"),
        "recurrent_dropout=0.2": review_model(recurrent_dropout=0.2),
        "go_backwards=True": review_model(go_backwards=True),
        "a mask with holes, 10 % of the steps": replace(review_model(), valid=0.9, padding="holes"),
    }
    yield _of_tinyrnn("training step", settings, models)


def _lengths(settings: Settings) -> Iterator[Race]:
    models = {"no padding": review_model()}
    for padding in ("right", "left"):
        for share in SHARES:
            models[f"{share:.0%} valid, padded {padding}"] = replace(
                review_model(), valid=share, padding=padding
            )
    yield _of_tinyrnn("training step", settings, models)


def _of_tinyrnn(name: str, settings: Settings, models: Mapping[str, Model]) -> Race:
    """Race variants of a model of tinyrnn; the first is what the others are compared with."""
    entries = [Entry(side, TINYRNN, "fit", settings.adapted(model)) for side, model in models.items()]
    valid = {side: model.valid for side, model in models.items()}
    padding = {side: model.padding for side, model in models.items()}
    return Race(name, entries, same=False, info={"valid": valid, "padding": padding})


def _kernels(settings: Settings) -> Iterator[Race]:
    for original in settings.models:
        model = settings.adapted(original)
        entries = [Entry(TINYRNN, TINYRNN, "recurrent_layers", model), Entry(SGEMM, SGEMM, "sgemm", model)]
        yield Race(original.title, entries, same=False, info={"flops": recurrent_flops(model)})


def _sizes(settings: Settings) -> Iterator[tuple[str, Model, dict[str, Any]]]:
    """Yield the growing models, with their names and what to say of them."""
    for axis, values in SIZES.items():
        for value in values[:: settings.every]:
            yield f"{axis} {value}", growing_model(**{axis: value}), {"axis": axis, "value": value}


def _growth(settings: Settings) -> Iterator[Race]:
    for name, model, info in _sizes(settings):
        yield Race(name, _frameworks(settings, "fit", model), info=info, rough=True)


def target(model: Model) -> float:
    """Return what the time of PyTorch on the GPU divided by that of tinyrnn there should be at least."""
    widest = max(layer.units for layer in model.layers if layer.kind in GATES)
    return 1.0 if widest <= 128 else 0.8


def _cudnn(settings: Settings) -> Iterator[Race]:
    for model in settings.models:
        entries = _entries(settings, "fit", model, ON_GPU)
        yield Race(model.title, entries, info={"target": target(model)})


def _crossover(settings: Settings) -> Iterator[Race]:
    whole: list[tuple[str, Model, dict[str, Any]]] = [(model.title, model, {}) for model in settings.models]
    for name, model, info in (*whole, *_sizes(settings)):
        for action in ("fit", "predict"):
            entries = _entries(settings, action, model, (TINYRNN, TINYRNN_GPU))
            yield Race(name, entries, info={"action": action, **info}, rough=bool(info))


SECTIONS = {
    "fit": _whole_models("fit"),
    "predict": _whole_models("predict"),
    "inference": _inference,
    "variants": _variants,
    "lengths": _lengths,
    "kernels": _kernels,
    "growth": _growth,
}
GPU_SECTIONS = {"cudnn": _cudnn, "crossover": _crossover}


def run_section(
    name: str, settings: Settings, workers: Mapping[str, Worker], tell: Callable[[str], Any]
) -> list[dict[str, Any]]:
    """Run the races of a section.

    Parameters
    ----------
    name : str
        One of `SECTIONS` or `GPU_SECTIONS`.
    settings : Settings
    workers : dict of Worker by name
    tell : callable
        Told the name of each race before it starts.

    Returns
    -------
    list of dict
        One per race: its ``name``, its ``info``, and what `benchmarks.protocol.race` returns.
    """
    rows = []
    for each in (SECTIONS | GPU_SECTIONS)[name](settings):
        tell(f"{name}: {each.name}")
        rules = settings.rules
        if each.rough:
            rules = replace(rules, rounds=min(rules.rounds, ROUGH_ROUNDS), seconds=rules.seconds / 2)
        result = race(workers, each.entries, rules, each.same)
        rows.append({"name": each.name, "info": each.info, **result})
    return rows
