"""Optimizers: how weights follow their gradients, with Keras's names, defaults and numbers."""

from __future__ import annotations

from typing import Any

from tinyrnn.naming import lookup
from tinyrnn.optimizers import schedules
from tinyrnn.optimizers.base import Optimizer, Slot
from tinyrnn.optimizers.rules import SGD, Adadelta, Adagrad, Adam, Adamax, AdamW, Lion, Nadam, RMSprop

__all__ = [
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Lion",
    "Nadam",
    "Optimizer",
    "RMSprop",
    "Slot",
    "get",
    "schedules",
]

_CLASSES = [SGD, RMSprop, Adam, AdamW, Nadam, Adagrad, Adadelta, Adamax, Lion]
_TABLE = {name: c for c in _CLASSES for name in (c.__name__, c.__name__.lower())}


def get(identifier: Any) -> Optimizer | None:
    """Return the optimizer that `identifier` stands for.

    Parameters
    ----------
    identifier : None, str, dict, class or Optimizer
        A name in capitals or not (``"adam"``, ``"Adam"``), what `get_config` made in
        ``{"class_name", "config"}``, or an optimizer.

    Raises
    ------
    ValueError
        For an unknown name, with the nearest known one, and for something that is no optimizer.
    """
    if isinstance(identifier, str):
        identifier = identifier.lower()
    found = lookup("optimizer", identifier, _TABLE)
    if found is not None and not isinstance(found, Optimizer):
        raise ValueError(f"optimizer: expected a name or an Optimizer, found {identifier!r}")
    return found
