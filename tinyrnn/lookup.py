"""Rows of a table that are looked up only if someone looks at them."""

from __future__ import annotations

from typing import Any

from tinyrnn import ops
from tinyrnn.autograd import Tensor

__all__ = ["Lookup"]


class Lookup(Tensor):
    """``table[ids]``, a tensor that is computed when its data are first used.

    What follows an embedding may do better with the table and the ids than with the rows: most rows are
    repeats, and a recurrent layer multiplies each distinct one once.

    Parameters
    ----------
    table : Tensor (n, F)
    ids : array of integers

    Attributes
    ----------
    table, ids
        As given.
    """

    __slots__ = ("_rows", "ids", "table")

    def __init__(self, table: Tensor, ids: Any):
        self.table = table
        self.ids = ids
        self.mask = None
        self._rows: Tensor | None = None

    def computed(self) -> Tensor:
        """Return the rows, an ordinary tensor."""
        if self._rows is None:
            self._rows = ops.take(self.table, self.ids)
        self._rows.mask = self.mask
        return self._rows

    data = property(lambda self: self.computed().data)
    node = property(lambda self: self.computed().node)
    index = property(lambda self: self.computed().index)

    @property
    def shape(self) -> tuple[int, ...]:
        """The lengths of the axes."""
        return (*self.ids.shape, *self.table.shape[1:])

    @property
    def dtype(self) -> Any:
        """The type of the elements."""
        return self.table.dtype

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)
