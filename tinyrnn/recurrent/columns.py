"""From the order of a cell's gates to that of the compiled loop's columns, and back."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["Columns"]


class Columns:
    """Which gate each column of pre-activations stands for: the input's, the state's, or the sum of both.

    Parameters
    ----------
    gate_of : sequence of int
        The number of each column's gate.
    groups : sequence of (first, count, of the input, of the state, late)
        Neighbouring columns that are multiplied alike.
    gates : int

    Attributes
    ----------
    gate_of : (columns,) array of int
    table : (columns, 3) array of int
        Gate, of the input, of the state: by column, as `native/packing.py` wants it.
    of_x, of_r : tuple of (column, gate, count)
        Runs of columns that hold the input's, the state's pre-activations of a run of gates.
    """

    def __init__(self, gate_of: Sequence[int], groups: Sequence[tuple], gates: int):
        self._groups, self.gates = groups, gates
        rows = [
            (gate_of[c], of_x, of_r) for first, n, of_x, of_r, _ in groups for c in range(first, first + n)
        ]
        self.table = np.array(rows, np.intp).reshape(-1, 3)
        self.gate_of = self.table[:, 0].copy()
        self.of_x, self.of_r = (_runs(self.gate_of, self.table[:, k]) for k in (1, 2))
        self._known: dict[tuple[int, int], np.ndarray] = {}  # small, but wanted in every step

    def __len__(self) -> int:
        return len(self.gate_of)

    def groups(self, features: int, units: int) -> np.ndarray:
        """Return the groups of columns (see `loop.py`) for a kernel of so many rows of W and of U."""
        if (features, units) not in self._known:
            found = [
                (first, count, 0 if of_x else features, features + units if of_r else features, late)
                for first, count, of_x, of_r, late in self._groups
            ]
            self._known[features, units] = np.array(found, np.intp)
        return self._known[features, units]

    def spread(self, z: np.ndarray, b_r: np.ndarray | None, width: int) -> np.ndarray:
        """Spread the input's pre-activations over the columns, and add the state's bias.

        Parameters
        ----------
        z : (n, gates * units)
        b_r : (gates * units,), optional
        width : int
            Of a column, in numbers: the units, filled up to whole vectors.

        Returns
        -------
        (n, columns * width) array
            Possibly `z` itself.
        """
        units = z.shape[1] // self.gates
        if b_r is None and self._is_same(self.of_x, units, width):
            return z
        out = np.zeros((len(z), len(self), width), z.dtype)
        for column, gate, count in self.of_x:
            source = z.reshape(len(z), self.gates, units)[:, gate : gate + count]
            out[:, column : column + count, :units] = source
        for column, gate, count in self.of_r if b_r is not None else ():
            out[:, column : column + count, :units] += b_r.reshape(-1, units)[gate : gate + count]
        return out.reshape(len(z), len(self) * width)

    def gather(self, d_z: np.ndarray, runs: tuple, units: int) -> np.ndarray:
        """Return the gradient of pre-activations, or of what gives them, from that of the columns.

        Parameters
        ----------
        d_z : (n, columns * width)
        runs : tuple
            `of_x` or `of_r`: whose pre-activations are meant.
        units : int

        Returns
        -------
        (n, gates * units) array
            Possibly `d_z` itself.
        """
        width = d_z.shape[1] // len(self)
        if self._is_same(runs, units, width):
            return d_z
        out = np.zeros((len(d_z), self.gates * units), d_z.dtype)
        for column, gate, count in runs:
            source = d_z.reshape(len(d_z), len(self), width)[:, column : column + count, :units]
            out.reshape(len(d_z), self.gates, units)[:, gate : gate + count] = source
        return out

    def _is_same(self, runs: tuple, units: int, width: int) -> bool:
        """Whether columns and gates are the same numbers in the same order."""
        return units == width and runs == ((0, 0, self.gates),) and len(self) == self.gates


def _runs(gate_of: np.ndarray, wanted: np.ndarray) -> tuple[tuple[int, int, int], ...]:
    """Return where neighbouring columns stand for neighbouring gates, among the columns that are wanted."""
    found: list[tuple[int, int, int]] = []
    for c in np.flatnonzero(wanted).tolist():
        gate = int(gate_of[c])
        column, first, count = found[-1] if found else (-1, -1, 0)
        if (column + count, first + count) == (c, gate):
            found[-1] = column, first, count + 1
        else:
            found.append((c, gate, 1))
    return tuple(found)
