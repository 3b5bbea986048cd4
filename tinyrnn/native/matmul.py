"""The product of two matrices by several threads: what BLAS would need its own threads for."""

from __future__ import annotations

import numpy as np

from tinyrnn.native import own
from tinyrnn.native.jit import LANES
from tinyrnn.native.memory import clear, copy, empty, read, writers
from tinyrnn.native.product import PANEL, parallel_for, product

__all__ = ["multiply"]

_ROWS, _DEPTH = np.intp(256), np.intp(256)  # of A at once: it stays in the L2 cache, a panel of B in L1
_ZERO = np.intp(0)
_write = writers[0]


def _multiply(part, ranges, out, width, a, a_row, a_k, b, packed_b, columns, depth, lanes):
    """Set rows of `out`, `width` wide in whole vectors, to those of the product of `a` with `b`.

    All are flat; of `a` the strides of both axes are given. `b` is in order, and beyond its columns counts as
    zero, or it is packed: vector by vector, each with all its rows.
    """
    lo, hi = ranges[part, 0], ranges[part, 1]
    clear(out, lo * width, (hi - lo) * width)
    packed = empty(_ROWS * _DEPTH if a_row == 1 else _ZERO, out.dtype)
    panel = empty(_DEPTH * 2 * lanes, out.dtype)
    for k in range(0, depth, _DEPTH):
        n = min(_DEPTH, depth - k)
        for i in range(lo, hi, _ROWS):
            m = min(_ROWS, hi - i)
            for p in range(0, m if a_row == 1 else 0, PANEL):
                for j in range(n):
                    at, source = p * n + j * PANEL, i + p + (k + j) * a_k
                    if p + PANEL <= m:
                        for r in range(PANEL):
                            _write(packed, at + r, read(a, source + r))
                    else:
                        copy(packed, at, a, source, m - p)
            for v in range(0, width, 2 * lanes):
                vectors = min(2, (width - v) // lanes)
                right, at, vector, row = b, (v * depth) + k * lanes, depth * lanes, lanes
                if not packed_b:
                    right, at, vector, row = panel, _ZERO, lanes, 2 * lanes
                    filled = min(columns - v, 2 * lanes)
                    if filled < row:
                        clear(panel, 0, n * row)
                    for j in range(n):
                        copy(panel, j * row, b, (k + j) * columns + v, filled)
                if a_row == 1:
                    for p in range(0, m, PANEL):
                        product(
                            out, (i + p) * width + v, width, packed, p * n, a_row, PANEL, right, at, vector,
                            row, min(PANEL, m - p), vectors, n, lanes,
                        )  # fmt: skip
                else:
                    product(
                        out, i * width + v, width, a, i * a_row + k * a_k, a_row, a_k, right, at, vector, row,
                        m, vectors, n, lanes,
                    )  # fmt: skip


def multiply(mailbox: np.ndarray, ranges: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return ``a @ b``.

    Parameters
    ----------
    mailbox : array
        Of a team of threads.
    ranges : (parts, 2) array of int
        Of the rows of `a`: what each part computes.
    a, b : matrices of one type, float32 or float64
    """
    lanes, columns = LANES[a.dtype], b.shape[1]
    width = -(-columns // lanes) * lanes
    out = np.empty((len(a), width), a.dtype)
    if a.flags.f_contiguous and not a.flags.c_contiguous:
        left, a_row, a_k = a.T, 1, len(a)
    else:
        left, a_row, a_k = a, a.shape[1], 1
    turned = b.flags.f_contiguous and not b.flags.c_contiguous
    right = _packed(b, width, lanes) if turned else b
    flat = [own(part).reshape(-1) for part in (left, right)]
    parallel_for(a.dtype, _multiply)(
        mailbox, len(ranges), ranges, out.reshape(-1), width, flat[0], a_row, a_k, flat[1], turned,
        columns, len(b), lanes,
    )  # fmt: skip
    return out if width == columns else np.ascontiguousarray(out[:, :columns])


def _packed(b: np.ndarray, width: int, lanes: int) -> np.ndarray:
    """Return a transposed matrix in the order in which it is multiplied, filled up with zeros."""
    rows = b.T
    if len(rows) < width:
        rows = np.zeros((width, len(b)), b.dtype)
        rows[: b.shape[1]] = b.T
    return np.ascontiguousarray(rows.reshape(width // lanes, lanes, len(b)).transpose(0, 2, 1))
