"""What Keras before 3 wrote, said in today's words.

Sources: files written by Keras 2.15, and the documentation of those before it. The meanings that changed:

- ``hard_sigmoid`` was ``clip(0.2 x + 0.5, 0, 1)``; it is ``clip(x / 6 + 0.5, 0, 1)`` today.
- A GRU that does not say `reset_after` resets before.
- CuDNNLSTM and CuDNNGRU were layers of their own, with two biases and kernels in another order.
- A model's graph was written as lists ``[layer, call, result, {arguments}]``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["from_cudnn", "modern"]

RECURRENT = ("Bidirectional", "GRU", "LSTM", "RNN", "SimpleRNN")
CUDNN = {"CuDNNLSTM": "LSTM", "CuDNNGRU": "GRU"}


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
    elif kind in ("Functional", "Model"):
        kind = "Functional" if "input_layers" in config else kind
        config = {**config, "layers": [_with_modern_calls(layer) for layer in config.get("layers", ())]}
    elif isinstance(config, Mapping):
        kind, config = _layer(kind, dict(config))
    return {**value, "class_name": kind, "config": config}


def _layer(kind: str, config: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    for key in ("activation", "recurrent_activation"):
        if config.get(key) == "hard_sigmoid":
            config[key] = "keras2_hard_sigmoid"
    if kind in ("GRU", "GRUCell"):
        config.setdefault("reset_after", False)
    if kind in CUDNN:
        kind = CUDNN[kind]
        config |= {"reset_after": True} if kind == "GRU" else {}
    if kind == "InputLayer" and "batch_input_shape" in config:
        config["batch_shape"] = config.pop("batch_input_shape")
    if kind == "VarianceScaling" and config.get("distribution") == "normal":
        config["distribution"] = "truncated_normal"
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


def _with_modern_calls(layer: Mapping[str, Any]) -> dict[str, Any]:
    nodes = layer.get("inbound_nodes", [])
    return {**layer, "inbound_nodes": [_call(layer["class_name"], node) for node in nodes]}


def _call(kind: str, node: Any) -> dict[str, Any]:
    """Return one call of a layer: positional and named arguments."""
    if isinstance(node, Mapping):
        return dict(node)
    node = [node] if node and isinstance(node[0], str) else node
    tensors = [_tensor(reference) for reference in node]
    kwargs = {key: _argument(v) for ref in node if len(ref) > 3 for key, v in (ref[3] or {}).items()}
    if len(tensors) == 1:
        return {"args": tensors, "kwargs": kwargs}
    if kind in RECURRENT:  # the states to begin with stood behind the sequence
        return {"args": tensors[:1], "kwargs": kwargs | {"initial_state": tensors[1:]}}
    return {"args": [tensors], "kwargs": kwargs}


def _tensor(reference: Any) -> dict[str, Any]:
    return {"class_name": "__keras_tensor__", "config": {"keras_history": list(reference[:3])}}


def _argument(value: Any) -> Any:
    """Return an argument of a call; ``[layer, call, result]`` among them are tensors."""
    if not isinstance(value, list):
        return value
    if len(value) >= 3 and isinstance(value[0], str) and all(isinstance(n, int) for n in value[1:3]):
        return value[2] if value[0] == "_CONSTANT_VALUE" else _tensor(value)
    return [_argument(v) for v in value]


# --- weights ----------------------------------------------------------------------------------------------


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
