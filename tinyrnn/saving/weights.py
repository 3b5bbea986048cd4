"""The numbers of a model in an HDF5 file, laid out as Keras does.

Groups are named by the place of things: ``layers/lstm/cell/vars/0`` is the first weight of the cell of the
first LSTM among the layers. Layers in lists are called by their class, with ``_1``, ``_2`` for the next ones;
others by the attribute that holds them. The optimizer's state lies in ``optimizer/vars``.

Under ``tinyrnn/`` lies what a training needs to go on as if it had not stopped, and Keras passes over: where
the random numbers of dropout and of shuffling stand.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinyrnn.backend import array_module, to_host
from tinyrnn.layers.base import Layer
from tinyrnn.naming import snake_case, warn_user
from tinyrnn.saving import hdf5

__all__ = ["load", "progress_in", "to_bytes"]

OURS = "tinyrnn"  # the group of what Keras does not keep
PROGRESS = f"{OURS}/progress"
EXCLUDED = f"{OURS}/optimizer"  # which variables do not decay


# --- places -----------------------------------------------------------------------------------------------


@dataclass
class _Place:
    """A layer, or the optimizer, and the path of its group in a file."""

    path: str
    owner: Any
    variables: list  # things with `data`, in the order of the file

    @property
    def vars(self) -> str:
        return _join(self.path, "vars")


def _join(*parts: str) -> str:
    return "/".join(part for part in parts if part)


def _places(model: Layer) -> list[_Place]:
    """Return a place for each layer, the model itself first, and for the optimizer."""
    found = list(_layers(model, "", set()))
    optimizer = getattr(model, "optimizer", None)
    if optimizer is not None and optimizer.built:
        found.append(_Place("optimizer", optimizer, optimizer.variables))
    return found


def _layers(layer: Layer, path: str, seen: set[int]) -> Iterator[_Place]:
    if id(layer) in seen:
        return
    seen.add(id(layer))
    yield _Place(path, layer, layer.own_weights)
    for name, value in layer.children():
        yield from _inside(value, _join(path, name), seen)


def _inside(value: Any, path: str, seen: set[int]) -> Iterator[_Place]:
    """Look for layers in an attribute."""
    if isinstance(value, Layer):
        yield from _layers(value, path, seen)
    elif isinstance(value, list | tuple | dict):
        names: Counter[str] = Counter()
        for item in value.values() if isinstance(value, dict) else value:
            if isinstance(item, Layer | list | tuple | dict):
                name = snake_case(type(item).__name__) if isinstance(item, Layer) else "container"
                n, names[name] = names[name], names[name] + 1
                yield from _inside(item, _join(path, f"{name}_{n}" if n else name), seen)


# --- writing ----------------------------------------------------------------------------------------------


def to_bytes(model: Layer, progress: Any = None) -> bytes:
    """Return a file of weights.

    Parameters
    ----------
    model : Layer
        Built.
    progress : optional
        How far its training has come: a nest of plain values and arrays, for `progress_in`.
    """
    datasets: dict[str, np.ndarray] = {}
    attributes: dict[str, dict[str, str]] = {}
    places = _places(model)
    for place in places:
        attributes[place.vars] = {"name": place.owner.name}
        datasets |= {f"{place.vars}/{i}": to_host(v.data) for i, v in enumerate(place.variables)}
        generators = _generators(place.owner)
        if generators:
            states = {name: json.dumps(g.bit_generator.state) for name, g in generators.items()}
            attributes[_join(OURS, place.path)] = states
        if place.path == "optimizer" and place.owner.excluded:
            attributes[EXCLUDED] = {"numbers": json.dumps(place.owner.excluded)}
    if progress is not None:
        text = json.dumps(_without_arrays(progress, datasets))
        attributes[PROGRESS] = {"text": text}
    groups = [place.vars for place in places]  # older versions of Keras want the empty ones, too
    return hdf5.write(datasets, groups, attributes)


def _generators(owner: Any) -> dict[str, np.random.Generator]:
    """Return the generators among the attributes, of the kind that `numpy.random.default_rng` makes."""
    found = {name: g for name, g in vars(owner).items() if isinstance(g, np.random.Generator)}
    return {name: g for name, g in found.items() if isinstance(g.bit_generator, np.random.PCG64)}


def _without_arrays(nest: Any, datasets: dict[str, np.ndarray]) -> Any:
    """Return a nest for JSON; arrays go into `datasets`, and their numbers take their place."""
    if isinstance(nest, dict):
        return {key: _without_arrays(value, datasets) for key, value in nest.items()}
    if isinstance(nest, list | tuple):
        return [_without_arrays(value, datasets) for value in nest]
    if isinstance(nest, np.ndarray):
        path = f"{PROGRESS}/{sum(name.startswith(PROGRESS) for name in datasets)}"
        datasets[path] = nest
        return {"__array__": path}
    return nest.item() if isinstance(nest, np.generic) else nest


# --- reading ----------------------------------------------------------------------------------------------


def load(model: Layer, file: hdf5.Group, skip_mismatch: bool = False) -> None:
    """Put the numbers of a file into a built model, all or none, and into its optimizer if there is one.

    Parameters
    ----------
    model : Layer
    file : hdf5.Group
        The root of a file.
    skip_mismatch : bool
        Leave layers as they are, with a warning, for which the file has other arrays or none.

    Raises
    ------
    ValueError
        If the file does not have the arrays that a layer needs, or has some for a layer that is not there.
    """
    places = _places(model)
    problems = _for_nobody(file, places)
    found: list[tuple[Any, np.ndarray]] = []
    for place in places:
        group = file.get(place.vars)
        numbers = range(len(group) if isinstance(group, hdf5.Group) else 0)
        values = arrays_in(file, [f"{place.vars}/{i}" for i in numbers])
        if place.path == "optimizer":
            found += of_optimizer(place.owner, values)
        elif [v.shape for v in values] == [v.data.shape for v in place.variables]:
            found += zip(place.variables, values, strict=True)
        else:
            problems.append(_mismatch(place, values))
    if problems and not skip_mismatch:
        more = f"; and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise ValueError("; ".join(problems[:3]) + more)
    for problem in problems:
        warn_user(f"skipped: {problem}")
    assign(found)
    for place in places:
        _set_generators(place, file)
        if place.path == "optimizer" and EXCLUDED in file:
            place.owner.excluded = json.loads(file[EXCLUDED].attributes["numbers"])


def progress_in(file: hdf5.Group) -> Any:
    """Return the `progress` that `to_bytes` was given; None if there was none."""
    group = file.get(PROGRESS)
    return None if group is None else _with_arrays(json.loads(group.attributes["text"]), file)


def arrays_in(file: hdf5.Group, paths: list[str]) -> list[np.ndarray]:
    """Return the arrays at these paths; ValueError if there are none, or no numbers in them."""
    found = [file[path] for path in paths]
    for path, dataset in zip(paths, found, strict=True):
        if not isinstance(dataset, hdf5.Dataset) or not dataset.holds_numbers:
            raise ValueError(f"{path}: expected an array of numbers")
    return [dataset.read() for dataset in found]


def of_optimizer(optimizer: Any, values: list[np.ndarray]) -> list[tuple[Any, np.ndarray]]:
    """Return slots and what is to go there; nothing, with a warning, if they do not fit each other."""
    slots = optimizer.variables
    if len(values) == len(slots) - 1:  # Keras 2 does not keep the learning rate
        slots = [slot for slot in slots if slot.name != "learning_rate"]
    if [v.shape for v in values] == [slot.data.shape for slot in slots]:
        return list(zip(slots, values, strict=True))
    if values:
        warn_user(
            f"{optimizer.name}: expected {len(slots)} arrays, found {len(values)} of other number or shapes; "
            "the optimizer starts afresh"
        )
    return []


def assign(pairs: list[tuple[Any, np.ndarray]]) -> None:
    """Write values into variables and slots, on the device where these are."""
    for variable, values in pairs:
        variable.data[...] = array_module(variable.data).asarray(values, dtype=variable.data.dtype)


def _for_nobody(file: hdf5.Group, places: list[_Place]) -> list[str]:
    """Name the layers for which a file has arrays, but that are not in the model."""
    layers = file.get("layers")
    known = {place.path.split("/")[1] for place in places if place.path.startswith("layers/")}
    surplus = [name for name in (layers or ()) if name not in known and _holds_arrays(layers[name])]
    return [f"the file has arrays for layers/{name}, which is not in the model" for name in surplus]


def _holds_arrays(found: Any) -> bool:
    return isinstance(found, hdf5.Dataset) or any(_holds_arrays(found[name]) for name in found)


def _mismatch(place: _Place, values: list[np.ndarray]) -> str:
    expected = ", ".join(f"{v.name} {v.data.shape}" for v in place.variables) or "no arrays"
    found = ", ".join(str(v.shape) for v in values) or "none"
    return f"{place.owner.name}: expected {expected}; found in {place.vars} {found}"


def _set_generators(place: _Place, file: hdf5.Group) -> None:
    kept = file.get(_join(OURS, place.path))
    for name, generator in _generators(place.owner).items():
        if kept is not None and name in kept.attributes:
            generator.bit_generator.state = json.loads(kept.attributes[name])


def _with_arrays(nest: Any, file: hdf5.Group) -> Any:
    if isinstance(nest, list):
        return [_with_arrays(value, file) for value in nest]
    if isinstance(nest, dict):
        is_array = set(nest) == {"__array__"}
        if is_array:
            return file[nest["__array__"]].read()
        return {key: _with_arrays(value, file) for key, value in nest.items()}
    return nest
