"""The joint kernel ``[W; U]`` in the order in which the compiled loop reads it, and its gradient back."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tinyrnn.recurrent.workspace import empty

__all__ = ["pack", "pack_transposed", "unpack"]


def pack(W: np.ndarray, U: np.ndarray, places: list, units: int, width: int, lanes: int) -> np.ndarray:
    """Return the joint kernel packed for the way forward.

    Parameters
    ----------
    W, U : (features, gates * units), (rows, gates * units)
        Any of the two may have no rows.
    places : list of (gate, of W, of U)
        For every column the gate that it belongs to, and which part it is multiplied with.
    units, width, lanes : int
        Of a gate; filled up to whole vectors; of a vector.

    Returns
    -------
    (columns * vectors * depth * lanes,) array
        Parts that no column is multiplied with have any value.
    """
    depth = len(W) + len(U)
    out = empty((len(places), width // lanes, depth, lanes), U.dtype)
    for c, part, start, columns in _parts(W, U, places, units):
        source = _filled(part[:, columns], len(part), width).reshape(len(part), -1, lanes)
        out[c, :, start : start + len(part)] = source.transpose(1, 0, 2)
    return out.reshape(-1)


def pack_transposed(
    W: np.ndarray, U: np.ndarray, places: list, units: int, width: int, lanes: int
) -> np.ndarray:
    """Return the transpose of the joint kernel, packed for the way back; see `pack`.

    Returns
    -------
    (vectors * columns * width * lanes,) array
        The vectors of W's rows, filled up, then those of U's.
    """
    of_x, of_h = -(-len(W) // lanes), -(-len(U) // lanes)
    out = empty((of_x + of_h, len(places), width, lanes), U.dtype)
    for c, part, _, columns in _parts(W, U, places, units):
        first, vectors = (0, of_x) if part is W else (of_x, of_h)
        source = _filled(part[:, columns], vectors * lanes, width).reshape(vectors, lanes, width)
        out[first : first + vectors, c] = source.transpose(0, 2, 1)
    return out.reshape(-1)


def unpack(d_kernels: np.ndarray, d_W: np.ndarray, d_U: np.ndarray, places: list, units: int) -> None:
    """Add up the gradients of a packed kernel that several threads have found, into those of its parts.

    Parameters
    ----------
    d_kernels : (threads, columns, depth, width)
    d_W, d_U : as the parts
        Zeros.
    """
    for c, part, start, columns in _parts(d_W, d_U, places, units):
        for d_kernel in d_kernels:
            part[:, columns] += d_kernel[c, start : start + len(part), :units]


def _parts(
    W: np.ndarray, U: np.ndarray, places: list, units: int
) -> Iterator[tuple[int, np.ndarray, int, slice]]:
    """Yield for each column and each part it is multiplied with: both, the part's first row, its columns."""
    for c, (gate, of_x, of_r) in enumerate(places):
        columns = slice(gate * units, (gate + 1) * units)
        if of_x and len(W):
            yield c, W, 0, columns
        if of_r and len(U):
            yield c, U, len(W), columns


def _filled(a: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Return `a` with zeros to the right and below, so that it has this shape."""
    if a.shape == (rows, columns):
        return a
    out = np.zeros((rows, columns), a.dtype)
    out[: len(a), : a.shape[1]] = a
    return out
