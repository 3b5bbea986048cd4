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
from tinyrnn.resuming import checked
from tinyrnn.saving import hdf5

__all__ = ["arrays_in", "assign", "build_optimizer", "load", "of_optimizer", "to_bytes"]

# Groups of what Keras does not keep.
CHANCE = "tinyrnn/chance"  # by the place of layers: where their random numbers stand
EXCLUDED = "tinyrnn/excluded"  # which variables do not decay
PROGRESS = "tinyrnn/progress"  # of a training


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
        if name == "vars":  # a layer of this name would have its numbers where its owner's are
            raise ValueError(
                f"{layer.name}: an attribute that holds layers cannot be called 'vars' in a file"
            )
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
        How far its training has come: a nest of plain values and arrays.
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
            attributes[_join(CHANCE, place.path)] = states
        if place.path == "optimizer" and place.owner.excluded:
            attributes[EXCLUDED] = {"numbers": json.dumps(place.owner.excluded)}
    if progress is not None:
        arrays: dict[str, np.ndarray] = {}
        try:
            text = json.dumps(_without_arrays(progress, arrays))
        except TypeError as error:
            raise TypeError(
                f"the progress of a training: {error}; what get_state of a callback returns, and what a "
                "metric counts in, are numbers, strings, arrays, and lists and dictionaries of them"
            ) from error
        datasets |= arrays
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
        path = f"{PROGRESS}/{len(datasets)}"
        datasets[path] = nest
        return {"__array__": path}
    return nest.item() if isinstance(nest, np.generic) else nest


# --- reading ----------------------------------------------------------------------------------------------


def load(model: Layer, file: hdf5.Group, skip_mismatch: bool = False) -> Any:
    """Put the numbers of a file into a built model, all or none, and into its optimizer if there is one.

    Returns the `progress` that `to_bytes` was given, None if there was none.

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
        If the file does not have the arrays that a layer needs, or has some for a layer that is not there, or
        something else in it is not as it should be.
    """
    group = file.get("optimizer/vars")
    if isinstance(group, hdf5.Group) and len(group) > 2:  # more than a number of steps and a learning rate
        build_optimizer(model, file)
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
    states = [state for place in places for state in _generator_states(place, file)]
    excluded, progress = _excluded(model, file), _progress(file)
    assign(found)  # all has been checked: from here on nothing may fail
    for generator, state in states:
        generator.bit_generator.state = state
    if excluded is not None:
        model.optimizer.excluded = excluded
    return progress


def build_optimizer(model: Any, file: hdf5.Group) -> None:
    """Make the optimizer's slots, for the numbers of a file."""
    optimizer = getattr(model, "optimizer", None)
    if optimizer is None or optimizer.built:
        return
    nbytes = optimizer.slots_per_variable * sum(w.data.nbytes for w in model.trainable_weights)
    if nbytes > 2 * file.count_bytes():
        raise ValueError(f"{optimizer.name}: its state has more numbers than the file holds")
    optimizer.build(model.trainable_weights)


def _excluded(model: Any, file: hdf5.Group) -> list[int] | None:
    """Return which variables do not decay; None if the file does not say."""
    if EXCLUDED not in file or getattr(model, "optimizer", None) is None or not model.optimizer.built:
        return None
    numbers, count = json.loads(_text(file, EXCLUDED, "numbers")), len(model.trainable_weights)
    if not isinstance(numbers, list) or not all(isinstance(n, int) and 0 <= n < count for n in numbers):
        raise ValueError(f"{EXCLUDED}: expected numbers of the {count} variables, found {numbers!r}")
    return numbers


def _progress(file: hdf5.Group) -> Any:
    if PROGRESS not in file:
        return None
    return checked(_with_arrays(json.loads(_text(file, PROGRESS, "text")), file))


def _text(file: hdf5.Group, path: str, name: str) -> str:
    """Return an attribute that must be there, and a string."""
    text = file[path].attributes.get(name)
    if not isinstance(text, str):
        raise ValueError(f"{path}: expected a text {name!r}, found {text!r}")
    return text


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
        _check_iteration(slots, values)
        return list(zip(slots, values, strict=True))
    if values:
        warn_user(
            f"{optimizer.name}: expected {len(slots)} arrays, found {len(values)} of other number or shapes; "
            "the optimizer starts afresh"
        )
    return []


def _check_iteration(slots: list, values: list[np.ndarray]) -> None:
    """Refuse a number of steps that is none: rates and averages are computed from it."""
    for slot, value in zip(slots, values, strict=True):
        if slot.name == "iteration" and not (0 <= value < 2**53 and value == round(float(value))):
            raise ValueError(f"optimizer: expected a number of steps, found {value}")


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


def _generator_states(place: _Place, file: hdf5.Group) -> Iterator[tuple[np.random.Generator, dict]]:
    """Yield the generators of a layer of which the file has the states, with these, tried out."""
    kept = file.get(_join(CHANCE, place.path))
    for name, generator in _generators(place.owner).items():
        if kept is not None and name in kept.attributes:
            state = json.loads(_text(file, _join(CHANCE, place.path), name))
            np.random.PCG64(0).state = state
            yield generator, state


def _with_arrays(nest: Any, file: hdf5.Group) -> Any:
    if isinstance(nest, list):
        return [_with_arrays(value, file) for value in nest]
    if isinstance(nest, dict):
        if set(nest) == {"__array__"}:
            return file[nest["__array__"]].read()
        return {key: _with_arrays(value, file) for key, value in nest.items()}
    return nest
