"""`Variable`: a weight."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyrnn.autograd import Leaf, Tensor
from tinyrnn.backend import array_module

__all__ = ["Variable"]


class Variable(Tensor):
    """A weight: a leaf of the graph with a name, changed in place by optimizers.

    Parameters
    ----------
    data : array
        Copied, to the current device; its type is the weight's.
    name : str
        Within its layer (``"kernel"``).
    trainable : bool
        Whether gradients are computed for it.
    regularizer, constraint : callable, optional
        See `tinyrnn.regularizers` and `tinyrnn.constraints`.

    Attributes
    ----------
    path : str
        ``layer/name``, unique in a model.
    """

    def __init__(self, data, name="variable", trainable=True, regularizer=None, constraint=None):
        super().__init__(array_module(data).array(data))
        self.name = name
        self.path = name
        self.regularizer = regularizer
        self.constraint = constraint
        self.trainable = trainable

    @property
    def trainable(self) -> bool:
        """Whether gradients are computed for this weight."""
        return self.node is not None

    @trainable.setter
    def trainable(self, value: bool) -> None:
        if value != self.trainable:
            self.node = Leaf() if value else None

    def assign(self, value: Any) -> None:
        """Overwrite the values, in place.

        Raises
        ------
        ValueError
            If `value` has another shape.
        """
        value = value.data if isinstance(value, Tensor) else value
        found = value.shape if hasattr(value, "shape") else np.shape(value)
        if found != self.shape:
            raise ValueError(f"{self.path}: expected values of shape {self.shape}, found {found}")
        self.data[...] = array_module(self.data).asarray(value, dtype=self.dtype)

    def __repr__(self) -> str:
        return f"<Variable {self.path} shape={self.shape} dtype={self.dtype}>"
