"""Models in words: the JSON that Keras writes, written so that any Keras 3 reads it, read from any of them.

An object is ``{"module", "class_name", "config", "registered_name"}``. Keras does not read what a later Keras
has added to a configuration, so `portable` writes only what differs from the defaults. `revive` makes objects
of the classes that this package has or the caller names, and of no others: no module is imported and no
function unpacked because a file says so.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from tinyrnn import constraints, initializers, layers, losses, metrics, optimizers, regularizers
from tinyrnn.layers.base import get_layer, limited_by_file, map_shapes
from tinyrnn.naming import custom_object_scope, serialize, snake_case
from tinyrnn.saving.graphs import TYPES, array_of
from tinyrnn.saving.older import modern, refuse_first, without_context
from tinyrnn.version import __version__

__all__ = ["describe", "portable", "revive"]

FAMILIES = {
    "keras.constraints": constraints,
    "keras.initializers": initializers,
    "keras.layers": layers,
    "keras.losses": losses,
    "keras.metrics": metrics,
    "keras.optimizers": optimizers,
    "keras.optimizers.schedules": optimizers.schedules,
    "keras.regularizers": regularizers,
}
UNKNOWN_TO_KERAS = ("kernel",)  # how a layer is run is nobody's business but this machine's
RESOLVED = {"activation": "linear", "data_format": "channels_last"}  # what None stands for
OURS = "tinyrnn_version"  # marks what this package has written
ALIASES = {"uniform": "random_uniform", "normal": "random_normal"}


# --- writing ----------------------------------------------------------------------------------------------


def describe(model: Any) -> dict[str, Any]:
    """Return a model in plain values, with how it was compiled; without its numbers."""
    found = portable(serialize(model)) | {OURS: __version__}
    if getattr(model, "_graph", None) is None and not hasattr(model, "input"):
        found["build_config"] = {"input_shape": map_shapes(list, model.build_shape)}
    if model.compiled:
        settings = portable(model.get_compile_config())
        found["compile_config"] = {key: value for key, value in settings.items() if value is not None}
    return found


def portable(value: Any) -> Any:
    """Return a configuration without the settings that are the defaults, for JSON.

    Constants in arrays, which an initializer may hold, are left out: the weights themselves tell.
    """
    if isinstance(value, list | tuple):
        return [portable(v) for v in value]
    if isinstance(value, np.ndarray):
        return {"class_name": "__numpy__", "config": {"value": value.tolist(), "dtype": str(value.dtype)}}
    if not isinstance(value, Mapping):
        return value
    cls = getattr(FAMILIES.get(value.get("module")), str(value.get("class_name")), None)
    if cls is None:
        return {key: portable(v) for key, v in value.items()}
    parameters = cls._parameters()
    kept = {}
    for key, setting in value["config"].items():
        setting = portable(setting)
        if key not in UNKNOWN_TO_KERAS and not _is_default(setting, parameters.get(key)):
            kept[key] = setting
    return {**value, "config": kept} | {k: portable(value[k]) for k in ("inbound_nodes",) if k in value}


def _is_default(setting: Any, parameter: inspect.Parameter | None) -> bool:
    if isinstance(setting, dict) and setting.get("class_name") == "Constant":
        values = setting["config"].get("value")
        if isinstance(values, dict) and values.get("class_name") == "__numpy__":
            return True
    if parameter is None or parameter.default is inspect.Parameter.empty or parameter.name == "name":
        return False
    default = RESOLVED.get(parameter.name) if parameter.default is None else parameter.default
    if setting is None and parameter.default is None:
        return True
    if isinstance(default, str) and isinstance(setting, dict) and not setting.get("config"):
        return snake_case(setting["class_name"]) == ALIASES.get(default, default)
    return type(setting) is type(default) and setting == default


# --- reading ----------------------------------------------------------------------------------------------


def revive(
    described: Mapping[str, Any],
    custom_objects: Mapping[str, Any] | None = None,
    nbytes: int | None = None,
    version: str | None = None,
    compile: bool = True,
) -> Any:
    """Make a model of what `describe`, or any Keras, has written.

    Parameters
    ----------
    described : mapping
    custom_objects : mapping of str to class or function, optional
    nbytes : int, optional
        Make weights of no more than so many bytes, zeros that are to be filled from a file; by default they
        are drawn as for any new model.
    version : str, optional
        Of the Keras that wrote it; by default what `described` says of it, else 3.
    compile : bool
        Whether to compile it as it was.

    Raises
    ------
    ValueError
        For unknown classes and functions, and for anything that would need code from the file.
    """
    if not isinstance(described, Mapping) or "class_name" not in described:
        raise ValueError(
            f"expected a model in words, with its class_name, found a {type(described).__name__}"
        )
    version = str(version or described.get("keras_version", "3"))
    refuse_first(version)
    described = {key: v for key, v in described.items() if compile or key != "compile_config"}
    if version.startswith("2."):
        described = modern(described)
    elif OURS not in described:
        described = without_context(described)
    described = readable(described)
    with warnings.catch_warnings(), custom_object_scope(custom_objects):
        warnings.simplefilter("ignore", FutureWarning)  # old spellings are in old files
        if nbytes is None:
            model = _built(described)
        else:
            with limited_by_file(nbytes):
                model = _built(described)
        settings = described.get("compile_config")
        if settings:
            known = inspect.signature(model.compile).parameters
            try:
                model.compile_from_config({key: value for key, value in settings.items() if key in known})
            except ValueError as error:
                raise ValueError(f"{error}; with compile=False the model is read alone") from error
    return model


def _built(described: Mapping[str, Any]) -> Any:
    model = get_layer(described)
    if not hasattr(model, "compile_from_config"):
        raise ValueError(f"expected a model, found a {type(model).__name__}")
    shape = (described.get("build_config") or {}).get("input_shape")
    if not model.built and shape is not None:
        model.build(_as_shapes(shape))
    return model


def _as_shapes(shape: Any) -> Any:
    """Return tuples in the place of JSON's lists of lengths."""
    if isinstance(shape, Mapping):
        return {key: _as_shapes(value) for key, value in shape.items()}
    is_one = all(n is None or isinstance(n, int) for n in shape)
    return tuple(shape) if is_one else [_as_shapes(s) for s in shape]


def readable(value: Any) -> Any:
    """Return Keras's JSON without what only Keras needs: names for functions, policies for types."""
    if isinstance(value, list | tuple):
        return [readable(v) for v in value]
    if not isinstance(value, Mapping):
        return value
    kind, config = value.get("class_name"), value.get("config")
    if kind is None:
        return {key: readable(v) for key, v in value.items()}
    if kind == "__lambda__" or (kind == "Lambda" and not isinstance(_function_of(config), str)):
        raise ValueError("a Lambda holds Python code, and code from a file is never run")
    if str(value.get("module")).startswith("keras.src.ops"):
        raise ValueError(f"{kind}: operations between layers are not supported, only layers are")
    if kind == "function":
        return config
    if kind in ("DTypePolicy", "Policy"):
        return _float_type(config["name"])
    if kind == "__tuple__":
        return tuple(readable(v) for v in value["items"])
    if kind in ("__tensor__", "__numpy__"):
        return array_of(config)
    if isinstance(config, Mapping) and isinstance(config.get("dtype"), str):
        config = {**config, "dtype": _float_type(config["dtype"])}
    kept = {
        key: readable(v) for key, v in value.items() if key not in ("module", "registered_name", "config")
    }
    kept["config"] = readable(config)
    return kept | {"class_name": str(kind).rpartition(">")[2]}


def _function_of(config: Any) -> Any:
    """Return the name of a Lambda's function, if it is told by its name."""
    function = config.get("function") if isinstance(config, Mapping) else None
    return function.get("config") if isinstance(function, Mapping) else function


def _float_type(policy: str) -> str:
    if policy in TYPES:
        return policy
    if policy in ("mixed_float16", "mixed_bfloat16"):  # weights are of 32 bits
        return "float32"
    raise ValueError(f"numbers of type {policy!r} are not supported")
