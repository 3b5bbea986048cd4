"""A functional model's graph in words, as Keras writes it: layers, and the arguments of their calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tinyrnn.layers.base import Layer, get_layer
from tinyrnn.layers.graph import SymbolicTensor, in_order, is_symbolic
from tinyrnn.naming import nearest, serialize
from tinyrnn.nest import map_leaves

__all__ = ["TYPES", "array_of", "graph_from_config", "graph_to_config"]

TYPES = ("float16", "float32", "float64", "bool", *(f"{u}int{n}" for u in ("", "u") for n in (8, 16, 32, 64)))


def graph_to_config(model: Any) -> dict[str, Any]:
    """Write a graph as Keras does."""
    graph = model._graph

    def history(x):
        calls = graph.calls_of(x.call.layer)
        return [x.name, calls.index(x.call) if x.call in calls else 0, x.index]

    def end(x):
        name, call, index = history(x)
        return [name, call + _calls_before(x.call.layer), index]

    def entry(layer):
        calls = [call for call in graph.calls_of(layer) if call.inputs]
        nodes = [{"args": _write(list(c.args), history), "kwargs": _write(c.kwargs, history)} for c in calls]
        return serialize(layer) | {"name": layer.name, "inbound_nodes": nodes}

    return {
        "name": model.name,
        "trainable": model.trainable,
        "layers": [entry(layer) for layer in graph.layers],
        "input_layers": map_leaves(end, graph.input_nest),
        "output_layers": map_leaves(end, graph.output_nest),
    }


def _calls_before(layer: Layer) -> int:
    """Return 1 for a functional model: Keras counts the calls that are ends of a graph from there on."""
    return int(getattr(layer, "_graph", None) is not None)


def _write(value: Any, history: Callable) -> Any:
    """Return arguments of a call in plain values."""
    if isinstance(value, SymbolicTensor):
        config = {"shape": list(value.shape), "dtype": value.dtype, "keras_history": history(value)}
        return {"class_name": "__keras_tensor__", "config": config}
    if isinstance(value, list | tuple):
        return [_write(v, history) for v in value]
    if isinstance(value, Mapping):
        return {key: _write(v, history) for key, v in value.items()}
    if hasattr(value, "dtype"):
        array = np.asarray(value)
        return {"class_name": "__numpy__", "config": {"value": array.tolist(), "dtype": str(array.dtype)}}
    return value


def _read(value: Any, tensor: Callable) -> Any:
    """Return what `_write` has written; ``tensor(layer, call, index)`` looks a tensor up."""
    if isinstance(value, list):
        return [_read(v, tensor) for v in value]
    if not isinstance(value, Mapping):
        return value
    kind, config = value.get("class_name"), value.get("config")
    if kind == "__keras_tensor__":
        return tensor(*config["keras_history"])
    if kind == "__numpy__":
        return array_of(config)
    return {key: _read(v, tensor) for key, v in value.items()}


def array_of(config: Mapping[str, Any]) -> np.ndarray:
    """Return an array that was written as lists.

    Raises
    ------
    ValueError
        If its type is none of numbers.
    """
    if config["dtype"] not in TYPES:
        raise ValueError(f"an array of type {config['dtype']!r} is not supported")
    return np.asarray(config["value"], config["dtype"])


def graph_from_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Make layers, call them as it is written, and return the arguments for `Model`."""
    layers = {entry["name"]: get_layer(entry) for entry in config["layers"]}
    nodes = {entry["name"]: entry["inbound_nodes"] for entry in config["layers"]}

    def tensor(name, call, index):
        if name not in layers:
            raise ValueError(f"{config.get('name')}: the graph has no layer {name!r}{nearest(name, layers)}")
        layer = layers[name]
        while len(layer.calls) <= call:  # a shared layer may be asked for before its turn
            call_next(name)
        return in_order(layer.calls[call].outputs)[index]

    def call_next(name):
        made = len(layers[name].calls)
        if made >= len(nodes[name]):
            raise ValueError(
                f"{config.get('name')}: layer {name!r} has {made} calls in the graph, but more are used"
            )
        node = nodes[name][made]
        args, kwargs = _read(node["args"], tensor), _read(node["kwargs"], tensor)
        if not is_symbolic([args, kwargs]):  # it would compute, and leave no call behind
            raise ValueError(f"{config.get('name')}: layer {name!r} is called on nothing of the graph")
        layers[name](*args, **kwargs)

    for name in layers:
        while len(layers[name].calls) < len(nodes[name]):
            call_next(name)

    def end(value):
        if isinstance(value, Mapping):
            return {key: end(v) for key, v in value.items()}
        if not isinstance(value[0], str):
            return [end(v) for v in value]
        name, call, index = value
        return tensor(name, call - _calls_before(layers.get(name)), index)

    ends = {"inputs": end(config["input_layers"]), "outputs": end(config["output_layers"])}
    return ends | {key: config[key] for key in ("name", "trainable") if config.get(key) is not None}
