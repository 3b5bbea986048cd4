"""From the order of a cell's gates to that of the compiled loop's columns, and back.

The joint kernel ``[W; U]`` is packed in the order in which the loop reads it. All functions go by `Places`:
which neighbouring columns stand for which neighbouring gates, once for the input and once for the state.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tinyrnn.recurrent.workspace import empty

__all__ = ["Places", "from_columns", "pack", "pack_transposed", "to_columns", "unpack"]


class Places(NamedTuple):
    """Where the gates' numbers stand.

    Attributes
    ----------
    of_x, of_r : tuple of (column, gate, count)
        Runs of columns that hold the input's, the state's pre-activations of a run of gates. Many columns
        hold the sum of both.
    columns, gates : int
        How many there are.
    """

    of_x: tuple[tuple[int, int, int], ...]
    of_r: tuple[tuple[int, int, int], ...]
    columns: int
    gates: int

    @classmethod
    def of(cls, columns: list[tuple[int, bool, bool]], gates: int) -> Places:
        """Return the places of columns given as ``(gate, of the input, of the state)``."""
        runs: tuple[list, list] = ([], [])
        for c, (gate, *of) in enumerate(columns):
            for found in (run for run, wanted in zip(runs, of, strict=True) if wanted):
                column, first, count = found[-1] if found else (-1, -1, 0)
                if (column + count, first + count) == (c, gate):
                    found[-1] = column, first, count + 1
                else:
                    found.append((c, gate, 1))
        return cls(*map(tuple, runs), len(columns), gates)


def pack(W: np.ndarray, U: np.ndarray, places: Places, width: int, lanes: int) -> np.ndarray:
    """Return the joint kernel packed for the way forward.

    Parameters
    ----------
    W, U : (features, gates * units), (units, gates * units)
        Any of the two may have no rows.
    places : Places
    width, lanes : int
        Of a column, in numbers: the units filled up to whole vectors; of a vector.

    Returns
    -------
    (columns * vectors * depth * lanes,) array
        Parts that no column is multiplied with have any value.
    """
    out = empty((places.columns, width // lanes, len(W) + len(U), lanes), U.dtype)
    for part, start, runs in ((W, 0, places.of_x), (U, len(W), places.of_r)):
        source = _filled(part, places.gates, len(part), width)
        source = source.reshape(len(part), places.gates, width // lanes, lanes)
        for column, gate, count in runs:
            target = out[column : column + count, :, start : start + len(part)]
            target[...] = source[:, gate : gate + count].transpose(1, 2, 0, 3)
    return out.reshape(-1)


def pack_transposed(W: np.ndarray, U: np.ndarray, places: Places, width: int, lanes: int) -> np.ndarray:
    """Return the transpose of the joint kernel, packed for the way back; see `pack`.

    Returns
    -------
    (vectors * columns * width * lanes,) array
        The vectors of W's rows, filled up, then those of U's.
    """
    of_x, of_r = -(-len(W) // lanes), -(-len(U) // lanes)
    out = empty((of_x + of_r, places.columns, width, lanes), U.dtype)
    for part, start, vectors, runs in ((W, 0, of_x, places.of_x), (U, of_x, of_r, places.of_r)):
        source = _filled(part, places.gates, vectors * lanes, width)
        source = source.reshape(vectors, lanes, places.gates, width)
        for column, gate, count in runs:
            target = out[start : start + vectors, column : column + count]
            target[...] = source[:, :, gate : gate + count].transpose(0, 2, 3, 1)
    return out.reshape(-1)


def unpack(d_kernels: np.ndarray, d_W: np.ndarray, d_U: np.ndarray, places: Places) -> None:
    """Add up the gradients of a packed kernel that several threads have found, into those of its parts.

    Parameters
    ----------
    d_kernels : (threads, columns, depth, width)
    d_W, d_U : as the parts
        Zeros.
    """
    for part, start, runs in ((d_W, 0, places.of_x), (d_U, len(d_W), places.of_r)):
        out = part.reshape(len(part), places.gates, part.shape[1] // places.gates)
        for column, gate, count in runs:
            target = out[:, gate : gate + count]
            for d_kernel in d_kernels[:, column : column + count, start : start + len(part), : out.shape[2]]:
                target += d_kernel.transpose(1, 0, 2)


def to_columns(z: np.ndarray, b_r: np.ndarray | None, places: Places, width: int) -> np.ndarray:
    """Spread the input's pre-activations over the columns, and add the state's bias.

    Parameters
    ----------
    z : (n, gates * units)
    b_r : (gates * units,), optional

    Returns
    -------
    (n, columns * width) array
        Possibly `z` itself.
    """
    units = z.shape[1] // places.gates
    if b_r is None and _is_same(places.of_x, places, units, width):
        return z
    out = np.zeros((len(z), places.columns, width), z.dtype)
    for column, gate, count in places.of_x:
        source = z.reshape(len(z), places.gates, units)[:, gate : gate + count]
        out[:, column : column + count, :units] = source
    for column, gate, count in places.of_r if b_r is not None else ():
        out[:, column : column + count, :units] += b_r.reshape(-1, units)[gate : gate + count]
    return out.reshape(len(z), places.columns * width)


def from_columns(d_z: np.ndarray, runs: tuple, places: Places, units: int) -> np.ndarray:
    """Return the gradient of pre-activations from that of the columns.

    Parameters
    ----------
    d_z : (n, columns * width)
    runs : tuple
        ``places.of_x`` or ``places.of_r``: whose pre-activations are meant.
    places : Places
    units : int

    Returns
    -------
    (n, gates * units) array
        Possibly `d_z` itself.
    """
    width = d_z.shape[1] // places.columns
    if _is_same(runs, places, units, width):
        return d_z
    out = np.zeros((len(d_z), places.gates, units), d_z.dtype)
    for column, gate, count in runs:
        source = d_z.reshape(len(d_z), places.columns, width)[:, column : column + count, :units]
        out[:, gate : gate + count] = source
    return out.reshape(len(d_z), places.gates * units)


def _is_same(runs: tuple, places: Places, units: int, width: int) -> bool:
    """Return whether columns and gates are the same numbers in the same order."""
    return units == width and runs == ((0, 0, places.gates),) and places.columns == places.gates


def _filled(part: np.ndarray, gates: int, rows: int, width: int) -> np.ndarray:
    """Return one part of the kernel with zeros below, and to the right of each gate."""
    units = part.shape[1] // gates
    if (rows, width) == (len(part), units):
        return part
    out = np.zeros((rows, gates, width), part.dtype)
    out[: len(part), :, :units] = part.reshape(len(part), gates, units)
    return out
