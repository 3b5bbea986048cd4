"""What Keras before 3 wrote, said in today's words.

Sources: files written by Keras 2.15 and 2.2.4, and the documentation of those before. What changed:

- ``hard_sigmoid`` was ``clip(0.2 x + 0.5, 0, 1)``; it is ``clip(x / 6 + 0.5, 0, 1)`` today.
- A GRU that does not say `reset_after` resets before.
- CuDNNLSTM and CuDNNGRU were layers of their own, with two biases and kernels in another order.
- A model's graph was written as lists ``[layer, call, result, {arguments}]``.
- Metrics that were given for one output were meant for each.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from tinyrnn.losses import ALIASES
from tinyrnn.naming import warn_user

__all__ = ["from_cudnn", "is_cudnn", "modern", "refuse_first", "without_context"]

MODELS = ("Functional", "Model", "Sequential")
RECURRENT = ("Bidirectional", "GRU", "LSTM", "RNN", "SimpleRNN")
CUDNN = {"CuDNNLSTM": "LSTM", "CuDNNGRU": "GRU"}
OPERATIONS = ("SlicingOpLambda", "TFOpLambda", "TensorFlowOpLayer")
STATES = {"GRUCell": 1, "LSTMCell": 2, "SimpleRNNCell": 1}


def refuse_first(version: str) -> None:
    """Raise ValueError for files of Keras 0 and 1, which had other names for everything."""
    if version.partition(".")[0] in ("0", "1"):
        raise ValueError(f"written by Keras {version}; files of Keras 2 and 3 are read")


def modern(value: Any) -> Any:
    """Return a configuration of Keras 2 as Keras 3 would have written it."""
    if isinstance(value, list | tuple):
        return [modern(v) for v in value]
    if not isinstance(value, Mapping):
        return value
    if "class_name" not in value or not isinstance(value.get("config"), Mapping | list):
        return {key: modern(v) for key, v in value.items()}
    kind, config = value["class_name"], modern(value["config"])
    if kind == "Sequential":
        config = _row(config if isinstance(config, Mapping) else {"layers": config})
    elif kind in ("Functional", "Model") and "input_layers" in config:
        kind, config = "Functional", _graph(config)
    elif isinstance(config, Mapping):
        kind, config = _object(kind, dict(config))
    found = {**value, "class_name": kind, "config": config}
    if isinstance(value.get("compile_config"), Mapping):
        found["compile_config"] = _training(modern(value["compile_config"]), config)
    return found


def _object(kind: str, config: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Translate the name and the settings of anything that is no model."""
    if kind in OPERATIONS:
        raise ValueError(
            f"{config.get('name')}: operations between layers are not supported, only layers are"
        )
    for key in ("activation", "recurrent_activation"):
        if config.get(key) == "hard_sigmoid":
            config[key] = "keras2_hard_sigmoid"
    if kind in ("GRU", "GRUCell"):
        config.setdefault("reset_after", False)
    kind = CUDNN.get(kind, kind)  # a CuDNNGRU always reset after, as ours does by default
    if kind == "InputLayer" and "batch_input_shape" in config:
        config["batch_shape"] = config.pop("batch_input_shape")
    if kind == "LeakyReLU" and "alpha" in config:
        config["negative_slope"] = config.pop("alpha")
    if kind == "VarianceScaling" and config.get("distribution") == "normal":
        config["distribution"] = "truncated_normal"
    if kind == "MeanMetricWrapper":
        config["fn"] = ALIASES.get(config.get("fn"), config.get("fn"))
    if config.get("reduction") == "auto":
        del config["reduction"]
    if {"lr", "decay", "schedule_decay"} & set(config):
        config = _modern_optimizer(kind, config)
    return kind, config


def _row(config: Mapping[str, Any]) -> dict[str, Any]:
    """Put an input layer before a first layer that states its input's shape."""
    layers = list(config.get("layers", ()))
    first = layers[0] if layers else {}
    shape = (first.get("config") or {}).get("batch_input_shape")
    if shape is not None and first["class_name"] != "InputLayer":
        dtype = "int32" if first["class_name"] == "Embedding" else first["config"].get("dtype", "float32")
        settings = {"batch_shape": shape, "dtype": dtype, "name": f"{first['config']['name']}_input"}
        layers.insert(0, {"class_name": "InputLayer", "config": settings})
    return {**config, "layers": layers}


# --- graphs -----------------------------------------------------------------------------------------------


def _graph(config: Mapping[str, Any]) -> dict[str, Any]:
    """Translate the calls of the layers, and where the graph begins and ends."""
    layers = {layer["name"]: layer for layer in config["layers"]}
    ends = {key: config[key] for key in ("input_layers", "output_layers")}
    first = _first_calls(layers, ends)

    def end(value):
        if isinstance(value, Mapping):
            return {key: end(v) for key, v in value.items()}
        if not _is_reference(value):
            return [end(v) for v in value]
        name, call, index = value[:3]
        # Of a functional model Keras 3 still counts the calls from 1 here, and here alone.
        counted = 0 if layers.get(name, {}).get("class_name") == "Functional" else first.get(name, 0)
        return [name, call - counted, index]

    def entry(layer):
        return {**layer, "inbound_nodes": [_call(layer, node, first) for node in layer["inbound_nodes"]]}

    translated = {key: end(value) for key, value in ends.items()}
    return {**config, "layers": [entry(layer) for layer in config["layers"]]} | translated


def _first_calls(layers: Mapping[str, Any], ends: Any) -> dict[str, int]:
    """Return, by name, the number that the first call of a layer has.

    That is 0, but 1 for a model within the model, call 0 having been what made it; unless it is a Sequential
    that was made without shapes. So it is told by whether the last number is one too high for the calls.
    """
    last = dict.fromkeys(layers, 0)
    for name, call in _references([[layer["inbound_nodes"] for layer in layers.values()], ends]):
        last[name] = max(last.get(name, 0), call)
    return {
        name: int(layer["class_name"] in MODELS and last[name] >= len(layer["inbound_nodes"]))
        for name, layer in layers.items()
    }


def _is_reference(value: Any) -> bool:
    """Whether this is ``[layer, call, result]``, which stands for a tensor."""
    return (
        isinstance(value, list | tuple)
        and len(value) >= 3
        and isinstance(value[0], str)
        and all(isinstance(n, int) for n in value[1:3])
    )


def _references(value: Any) -> Iterator[tuple[str, int]]:
    """Yield layer and call of every tensor in a nest."""
    if _is_reference(value):
        yield value[0], value[1]
    for inner in value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ():
        yield from _references(inner)


def _call(layer: Mapping[str, Any], node: Any, first: Mapping[str, int]) -> dict[str, Any]:
    """Return one call of a layer: positional and named arguments."""
    if isinstance(node, Mapping):
        if "args" in node:
            return dict(node)
        return {"args": [_argument(node, first)], "kwargs": {}}
    node = [node] if _is_reference(node) else node
    tensors = [_argument(reference, first) for reference in node]
    kwargs = {}
    for reference in node:
        for name, value in (reference[3] if len(reference) > 3 else {}).items():
            if value is not None:
                is_list = name == "initial_state" and isinstance(value, list) and not _is_reference(value)
                kwargs[name] = [_argument(v, first) for v in value] if is_list else _argument(value, first)
    if "constants" in kwargs:
        raise ValueError(f"{layer['name']}: constants of a recurrent layer are not supported")
    if layer["class_name"] in RECURRENT:  # the states to begin with stood behind the sequence
        states = tensors[1:] or kwargs.get("initial_state")
        if isinstance(states, list):
            kwargs["initial_state"] = _by_cells(layer["config"], states)
        return {"args": tensors[:1], "kwargs": kwargs}
    return {"args": tensors if len(tensors) == 1 else [tensors], "kwargs": kwargs}


def _argument(value: Any, first: Mapping[str, int]) -> Any:
    """Return an argument of a call: a tensor, an array that was written as lists, or a nest."""
    if isinstance(value, Mapping):
        return {key: _argument(v, first) for key, v in value.items()}
    if not isinstance(value, list):
        return value
    if _is_reference(value):
        name, call, index = value[:3]
        if name == "_CONSTANT_VALUE":
            return _argument(index, first)
        history = [name, call - first.get(name, 0), index]
        return {"class_name": "__keras_tensor__", "config": {"keras_history": history}}
    if value and not any(_references(value)):
        array = np.asarray(value)
        if array.dtype.kind in "fiub":
            return {"class_name": "__numpy__", "config": {"value": value, "dtype": array.dtype.name}}
    return [_argument(v, first) for v in value]


def _by_cells(config: Mapping[str, Any], states: list) -> list:
    """Return the states to begin with as nests, where they are of stacked cells: they were one list."""
    inner = (config.get("layer") or {}).get("config") or config  # of a Bidirectional
    cells = ((inner.get("cell") or {}).get("config") or {}).get("cells") or ()
    sizes = [STATES.get(cell["class_name"]) for cell in cells]
    if not sizes or None in sizes or len(states) % sum(sizes):
        return states
    remaining = iter(states)
    sizes *= len(states) // sum(sizes)
    return [next(remaining) if n == 1 else [next(remaining) for _ in range(n)] for n in sizes]


# --- training ---------------------------------------------------------------------------------------------


def _modern_optimizer(kind: str, config: dict[str, Any]) -> dict[str, Any]:
    """Translate the settings of an optimizer."""
    if "lr" in config:
        config["learning_rate"] = config.pop("lr")
    if kind == "Adagrad":
        config.setdefault("initial_accumulator_value", 0.0)
    decay = config.pop("decay", 0.0)
    if kind == "Nadam":  # of the momentum, by either name
        decay = config.pop("schedule_decay", decay)
        warn_user(f"Nadam: its momentum changes faster than with the schedule_decay={decay} of Keras 2")
    elif decay:
        rate = config["learning_rate"]
        if not isinstance(rate, int | float):
            raise ValueError(f"{kind}: decay={decay} of a schedule is not supported")
        settings = {"initial_learning_rate": rate, "decay_steps": 1, "decay_rate": decay}
        config["learning_rate"] = {"class_name": "InverseTimeDecay", "config": settings}
    return config


def _training(settings: Mapping[str, Any], model: Mapping[str, Any]) -> dict[str, Any]:
    """Translate how a model was compiled.

    Parameters
    ----------
    settings : mapping
        The arguments of `compile`.
    model : mapping
        The model's configuration.
    """
    settings = dict(settings)
    optimizer = settings.get("optimizer")
    if isinstance(optimizer, Mapping) and optimizer.get("module") == "keras.optimizers.legacy":
        warn_user(f"{optimizer['class_name']}: Keras 2 did not put its state into the file; it starts afresh")
    outputs = [name for name, _ in _references(model.get("output_layers"))]
    for key in ("metrics", "weighted_metrics"):
        metrics = settings.get(key)
        if len(outputs) > 1 and isinstance(metrics, list):
            if not any(isinstance(m, list) for m in metrics):
                settings[key] = [metrics for _ in outputs]
            elif len(metrics) == len(outputs):
                settings[key] = [_of_output(m, f"{name}_") for m, name in zip(metrics, outputs, strict=True)]
    return settings


def _of_output(metrics: Any, prefix: str) -> Any:
    """Return metrics without the output's name before theirs: that is put there anyway."""
    if isinstance(metrics, list):
        return [_of_output(m, prefix) for m in metrics]
    if not isinstance(metrics, Mapping):
        return metrics
    config = metrics["config"]
    return {**metrics, "config": {**config, "name": str(config.get("name")).removeprefix(prefix)}}


# --- graphs of Keras 3 ------------------------------------------------------------------------------------


def without_context(value: Any) -> Any:
    """Return a configuration of Keras 3 without what its calls were made in: training mode and masks.

    Keras notes them for each call, but goes by the model's training mode and by the masks that there are. The
    versions before 3.4 also noted the operations by which the masks of Embedding and Masking are computed, as
    if these were layers.
    """
    if isinstance(value, list | tuple):
        return [without_context(v) for v in value]
    if not isinstance(value, Mapping):
        return value
    config = value.get("config")
    if isinstance(config, Mapping) and "input_layers" in config:
        value = {**value, "config": _without_mask_operations(config)}
    if set(value) == {"args", "kwargs"}:
        return {**value, "kwargs": {k: v for k, v in value["kwargs"].items() if k != "training"}}
    return {key: without_context(v) for key, v in value.items()}


def _without_mask_operations(config: Mapping[str, Any]) -> dict[str, Any]:
    layers = config["layers"]
    if not any(layer["class_name"] == "NotEqual" for layer in layers):
        return dict(config)
    masked = [
        (_history(node["args"][0]), layer["config"].get("mask_value", 0))
        for layer in layers
        for node in layer["inbound_nodes"]
        if layer["class_name"] == "Masking" or layer["config"].get("mask_zero")
    ]
    masks: set[str] = set()
    for layer in layers:
        if layer["class_name"] in ("NotEqual", "Any"):
            tensor, *rest = layer["inbound_nodes"][0]["args"]
            of_ids = layer["class_name"] == "NotEqual" and (_history(tensor), *rest) in masked
            if of_ids or (layer["class_name"] == "Any" and _history(tensor)[0] in masks):
                masks.add(layer["name"])

    def node(call):
        histories = [_history(x) for x in _tensors(call["kwargs"].get("mask"))]
        if not histories or any(name not in masks for name, *_ in histories):
            return call
        return {**call, "kwargs": {k: v for k, v in call["kwargs"].items() if k != "mask"}}

    kept = [layer for layer in layers if layer["name"] not in masks]
    return {**config, "layers": [{**x, "inbound_nodes": [node(n) for n in x["inbound_nodes"]]} for x in kept]}


def _tensors(value: Any) -> Iterator[Mapping[str, Any]]:
    """Yield the tensors in a nest of arguments."""
    if isinstance(value, Mapping) and value.get("class_name") == "__keras_tensor__":
        yield value
    elif isinstance(value, Mapping | list):
        for inner in value.values() if isinstance(value, Mapping) else value:
            yield from _tensors(inner)


def _history(tensor: Mapping[str, Any]) -> tuple:
    """Return the layer, the call and the number of the result that a tensor is."""
    return tuple(tensor["config"]["keras_history"])


# --- weights ----------------------------------------------------------------------------------------------


def is_cudnn(weights: list[np.ndarray]) -> bool:
    """Whether these are the weights of a CuDNNLSTM or CuDNNGRU, to be told by their two biases."""
    if len(weights) != 3 or weights[1].ndim != 2:
        return False
    return weights[2].shape == (2 * weights[1].shape[1],)


def from_cudnn(weights: list[np.ndarray]) -> list[np.ndarray]:
    """Return the weights of a CuDNNLSTM or CuDNNGRU as those of an LSTM, or of a GRU that resets after.

    Parameters
    ----------
    weights : list of arrays
        Kernel ``(F, G U)`` and recurrent kernel ``(U, G U)``, the block of each gate laid out the other way
        round, and bias ``(2 G U,)``: that of the input, then that of the recurrent product.
    """
    kernel, recurrent, bias = weights
    gates = recurrent.shape[1] // recurrent.shape[0]
    kernel = np.hstack([k.T.reshape(k.shape, order="F") for k in np.hsplit(kernel, gates)])
    recurrent = np.hstack([k.T for k in np.hsplit(recurrent, gates)])
    biases = bias.reshape(2, -1)
    return [kernel, recurrent, biases.sum(axis=0) if gates == 4 else biases]
