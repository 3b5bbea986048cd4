"""The HDF5 files of Keras 2, which Keras 3 still writes if asked for ``.h5``: the whole model in one file.

The root's attributes hold the configuration as JSON; ``model_weights`` has a group for each layer, whose
attribute ``weight_names`` tells the paths of its arrays in order. Files of weights alone have these groups at
the root.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from tinyrnn.layers.base import Layer, layers_inside
from tinyrnn.layers.cells import RNNCell
from tinyrnn.naming import warn_user
from tinyrnn.saving import hdf5
from tinyrnn.saving.configs import revive
from tinyrnn.saving.older import from_cudnn, is_cudnn, refuse_first
from tinyrnn.saving.weights import arrays_in, assign, build_optimizer, of_optimizer

__all__ = ["load_model", "load_weights", "weights_in"]


def load_model(file: hdf5.Group, custom_objects: Mapping[str, Any] | None, compile: bool) -> Any:
    """Make the model that a file holds."""
    if "model_config" not in file.attributes:
        raise ValueError("no model: the file has no model_config (load_weights reads files of weights)")
    described = json.loads(file.attributes["model_config"])
    version = file.attributes.get("keras_version", "1")
    trained_with = json.loads(file.attributes.get("training_config", "null"))
    if compile and trained_with:
        described["compile_config"] = {
            "optimizer": trained_with.get("optimizer_config"),
            "loss": trained_with.get("loss"),
            "loss_weights": trained_with.get("loss_weights"),
            "metrics": trained_with.get("metrics"),
            "weighted_metrics": trained_with.get("weighted_metrics"),
        }
    model = revive(described, custom_objects, 2 * file.count_bytes(), version, compile)
    load_weights(model, weights_in(file))
    if model.optimizer is not None:
        _load_optimizer(model, file, version)
    return model


def weights_in(file: hdf5.Group) -> hdf5.Group | None:
    """Return the group of the layers' weights; None if the file is none of Keras 2's."""
    group = file.get("model_weights") or file
    return group if "layer_names" in group.attributes or "layer_names0" in group.attributes else None


def load_weights(model: Any, group: hdf5.Group, skip_mismatch: bool = False, by_name: bool = False) -> None:
    """Put the weights of a file into a built model, all or none.

    Parameters
    ----------
    model : Model
    group : hdf5.Group
        What `weights_in` returned.
    skip_mismatch : bool
        Leave layers for which the file has other arrays as they are, with a warning.
    by_name : bool
        Match layers by their names, and leave those that the file does not have. By default by their order.

    Raises
    ------
    ValueError
        If layers and arrays do not fit each other.
    """
    if group is None:
        raise ValueError("the file has no weights")
    refuse_first(group.attributes.get("keras_version", "1"))
    saved = {name: _arrays(group, name) for name in _names(group, "layer_names")}
    layers = [layer for layer in model.layers if layer.weights]
    if by_name:
        pairs = [(layer, saved[layer.name]) for layer in layers if layer.name in saved]
    else:
        with_weights = [arrays for arrays in saved.values() if arrays]
        if len(with_weights) != len(layers):
            raise ValueError(
                f"{model.name}: expected weights for {len(layers)} layers, found them for {len(with_weights)}"
            )
        pairs = list(zip(layers, with_weights, strict=True))
    found: list[tuple[Any, np.ndarray]] = []
    for layer, arrays in pairs:
        variables = _in_order(layer)
        arrays = _modern_weights(layer, arrays)
        expected = [v.shape for v in variables]
        if [a.shape for a in arrays] == expected:
            found += zip(variables, arrays, strict=True)
            continue
        problem = f"{layer.name}: expected weights of shapes {expected}, found {[a.shape for a in arrays]}"
        if not skip_mismatch:
            raise ValueError(problem)
        warn_user(f"skipped: {problem}")
    assign(found)


def _in_order(layer: Layer) -> list[Any]:
    """Return the weights of a layer in the file's order: the frozen ones of all layers inside come last."""
    return [*layer.trainable_weights, *layer.non_trainable_weights]


def _names(group: hdf5.Group, attribute: str) -> list[str]:
    """Return a list of names, which Keras splits into ``attribute0``, ``attribute1``, ... if it is long."""
    if attribute in group.attributes:
        return list(group.attributes[attribute])
    parts: list[str] = []
    while f"{attribute}{len(parts)}" in group.attributes:
        parts.append(group.attributes[f"{attribute}{len(parts)}"])
    return [name for part in parts for name in part]


def _arrays(group: hdf5.Group, layer: str) -> list[np.ndarray]:
    return arrays_in(group, [f"{layer}/{name}" for name in _names(group[layer], "weight_names")])


def _modern_weights(layer: Layer, arrays: list[np.ndarray]) -> list[np.ndarray]:
    """Return the arrays of a layer, those of CuDNN's layers as those of today's."""
    variables, arrays = _in_order(layer), list(arrays)
    if len(arrays) != len(variables):
        return arrays
    place = {id(variable): i for i, variable in enumerate(variables)}
    for cell in layers_inside(layer):
        at = [place[id(w)] for w in cell.weights] if isinstance(cell, RNNCell) else []
        if is_cudnn([arrays[i] for i in at]):
            for i, array in zip(at, from_cudnn([arrays[i] for i in at]), strict=True):
                arrays[i] = array
    return arrays


def _load_optimizer(model: Any, file: hdf5.Group, version: str) -> None:
    """Put the optimizer's state in place; that of Keras before 2.11 had another order, under other names."""
    optimizer, group = model.optimizer, file.get("optimizer_weights")
    if group is None:
        return
    names = _names(group, "weight_names")
    if len(names) > 2:
        build_optimizer(model, file)
    if version.startswith("3.") or names[:1] == ["iteration:0"]:
        assign(of_optimizer(optimizer, arrays_in(group, names)))
    elif names:
        warn_user(f"{optimizer.name}: the state that Keras {version} kept is not read; it starts afresh")
