"""The joint kernel ``[W; U]`` of a recurrent layer in the order in which its loop reads it.

The loop's *columns* (see `recurrent/loop.py`) are given as rows of an array: the number of the gate, whether
W counts for it, whether U does. The kernels are (rows, gates * units); a column is `width` wide, the units
filled up with zeros to whole vectors of `lanes` numbers. What does not count for a column gets any value.
"""

from __future__ import annotations

import numpy as np

from tinyrnn.native.jit import inlined, jit
from tinyrnn.native.memory import add, clear, copy, read, writers

__all__ = ["pack", "pack_transposed", "unpack"]

_write = writers[0]
_ZERO, _OF_X, _OF_R = np.intp(0), np.intp(1), np.intp(2)  # literals would each be compiled for
_BLOCK = np.intp(16)  # numbers of a row that are read while what they are written to is at hand


def pack(part, ranges, out, W, U, columns, units, width, lanes):
    """Pack the kernel for the way forward: columns, vectors, rows, lanes.

    A part has some of the vectors of all columns.
    """
    vectors, depth = width // lanes, len(W) + len(U)
    for u in range(ranges[part, 0], ranges[part, 1]):
        first = (u % vectors) * lanes
        source, n = columns[u // vectors, 0] * units + first, min(lanes, units - first)
        if columns[u // vectors, _OF_X]:
            _pack_vector(out, u * depth * lanes, W, source, n, lanes)
        if columns[u // vectors, _OF_R]:
            _pack_vector(out, (u * depth + len(W)) * lanes, U, source, n, lanes)


@inlined
def _pack_vector(out, at, kernel, source, n, lanes):
    """Pack n numbers of every row of one kernel."""
    for k in range(len(kernel)):
        if n < lanes:
            clear(out, at + k * lanes, lanes)
        copy(out, at + k * lanes, kernel, k * kernel.shape[1] + source, n)


def pack_transposed(part, ranges, out, W, U, columns, units, width, lanes):
    """Pack the transposed kernel for the way back: vectors of rows, columns, `width`, lanes.

    The rows of W, filled up to whole vectors, come before those of U. A part has some of the vectors.
    """
    of_x = -(-len(W) // lanes)
    for u in range(ranges[part, 0], ranges[part, 1]):
        kernel, first, of = (W, u * lanes, _OF_X) if u < of_x else (U, (u - of_x) * lanes, _OF_R)
        rows, stride = min(lanes, len(kernel) - first), kernel.shape[1]
        for c in range(len(columns)):
            if not columns[c, of]:
                continue
            at, source = (u * len(columns) + c) * width * lanes, first * stride + columns[c, 0] * units
            if rows < lanes or units < width:
                clear(out, at, width * lanes)
            for block in range(0, units, _BLOCK):
                for i in range(rows):
                    for j in range(block, min(block + _BLOCK, units)):
                        _write(out, at + j * lanes + i, read(kernel, source + i * stride + j))


def unpack(part, ranges, d_kernels, columns, units, width, d_W, d_U, d_b, d_b_r):
    """Add up, by gate, the gradients by column that several threads have found for a joint kernel.

    `d_kernels` is (threads, numbers): the rows of W, those of U, and at the very end one for the biases. What
    is given without rows is left out. A part has some of the rows.
    """
    row, kernel = len(columns) * width, len(d_W) + len(d_U)
    for k in range(ranges[part, 0], ranges[part, 1]):
        if k < len(d_W):
            _unpack_row(d_W, k, d_kernels, k * row, columns, _OF_X, units, width)
        elif k < kernel:
            _unpack_row(d_U, k - len(d_W), d_kernels, k * row, columns, _OF_R, units, width)
        else:
            biases = d_kernels.shape[1] - row
            _unpack_row(d_b, _ZERO, d_kernels, biases, columns, _OF_X, units, width)
            _unpack_row(d_b_r, _ZERO, d_kernels, biases, columns, _OF_R, units, width)


@jit
def _unpack_row(out, k, d_kernels, at, columns, of, units, width):
    """Write one row of a gradient."""
    if len(out) == 0:
        return
    clear(out, k * out.shape[1], out.shape[1])
    for c in range(len(columns)):
        if columns[c, of]:
            for thread in range(len(d_kernels)):
                to = k * out.shape[1] + columns[c, 0] * units
                add(out, to, d_kernels, thread * d_kernels.shape[1] + at + c * width, units)
