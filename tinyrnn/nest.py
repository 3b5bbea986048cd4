"""Nested lists, tuples and dictionaries of things: what a layer may take and return."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

__all__ = ["leaves", "map_leaves"]


def leaves(nest: Any) -> Iterator[Any]:
    """Yield what stands in lists, tuples and dictionaries, in order, None included."""
    if nest is None or hasattr(nest, "dtype"):  # the usual: whether it is a Mapping takes long to find out
        yield nest
    elif isinstance(nest, (list, tuple)):
        for item in nest:
            yield from leaves(item)
    elif isinstance(nest, Mapping):
        for item in nest.values():
            yield from leaves(item)
    else:
        yield nest


def map_leaves(function: Callable[[Any], Any], nest: Any) -> Any:
    """Return the same nest with `function` applied to every leaf."""
    if nest is None or hasattr(nest, "dtype"):
        return function(nest)
    if isinstance(nest, (list, tuple)):
        return type(nest)([map_leaves(function, item) for item in nest])
    if isinstance(nest, Mapping):
        return {key: map_leaves(function, item) for key, item in nest.items()}
    return function(nest)
