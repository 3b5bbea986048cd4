"""Rows of a table before and after a recurrent loop: each is multiplied once, however often it occurs.

Kernels are packed as in `native/packing.py`, groups of columns are those of `recurrent/loop.py`: here only
those count that see the input. A part has some of the rows.
"""

from __future__ import annotations

import numpy as np

from tinyrnn.native.memory import add, clear, copy, empty
from tinyrnn.native.product import PANEL, product, transposed_product

__all__ = ["project", "project_back"]

_ROWS = np.intp(128)  # at once: they stay in the L2 cache
_ZERO = np.intp(0)


def project(part, ranges, out, bias, table, chosen, kernel, groups, width, lanes):
    """Set the rows of `out`, by column, to the bias and the product of a chosen row and the kernel."""
    features, row, vectors = table.shape[1], len(bias), width // lanes
    a = empty(_ROWS * features, out.dtype)
    for i in range(ranges[part, 0], ranges[part, 1], _ROWS):
        n = min(_ROWS, ranges[part, 1] - i)
        for r in range(n):
            copy(a, r * features, table, chosen[i + r] * features, features)
            copy(out, (i + r) * row, bias, 0, row)
        for g in range(len(groups)):
            first, count = groups[g, 0], groups[g, 1]
            if groups[g, 2] < features:
                product(
                    out, i * row + first * width, row, a, 0, features, 1,
                    kernel, first * vectors * features * lanes, features * lanes, lanes,
                    n, count * vectors, features, lanes,
                )  # fmt: skip


def project_back(
    part, ranges, d_bases, table, chosen, kernel_t, groups, d_table, d_kernels, width, lanes
):  # fmt: skip
    """Go back through `project`.

    `d_bases` holds what each part of the loop has found for the rows of `out`, and is written over. `d_table`
    may have no rows; all of them are written. Each part has a gradient of the kernel with `PANEL` rows more,
    of which the last is the gradient of the bias.
    """
    d_z, d_kernel, features = d_bases[0], d_kernels[part], table.shape[1]
    row, x_width = len(d_kernel) // (features + PANEL), -(-features // lanes) * lanes
    lo, hi = ranges[part, 0], ranges[part, 1]
    a, packed = empty(_ROWS * features, d_z.dtype), empty(_ROWS * (features + PANEL), d_z.dtype)
    panel, d_a = empty(_ROWS * 2 * lanes, d_z.dtype), empty(_ROWS * x_width, d_z.dtype)
    clear(d_kernel, 0, len(d_kernel))
    done = chosen[lo - 1] + 1 if lo else _ZERO  # rows of d_table
    for i in range(lo, hi, _ROWS):
        n = min(_ROWS, hi - i)
        for r in range(n):
            at = (i + r) * row
            for k in range(1, len(d_bases)):
                add(d_z, at, d_bases[k], at, row)
            add(d_kernel, (features + PANEL - 1) * row, d_z, at, row)
            copy(a, r * features, table, chosen[i + r] * features, features)
        clear(d_a, 0, n * x_width)
        for g in range(len(groups)):
            first, count = groups[g, 0], groups[g, 1]
            at = i * row + first * width
            if groups[g, 2] == features:
                continue
            transposed_product(
                d_kernel, first * width, row, a, 0, features, d_z, at, row, packed, panel,
                n, features, count * width // lanes, lanes,
            )  # fmt: skip
            if len(d_table):
                product(
                    d_a, 0, x_width, d_z, at, row, 1,
                    kernel_t, first * width * lanes, row * lanes, lanes,
                    n, x_width // lanes, count * width, lanes,
                )  # fmt: skip
        for r in range(n if len(d_table) else 0):
            clear(d_table, done * features, (chosen[i + r] - done) * features)
            copy(d_table, chosen[i + r] * features, d_a, r * x_width, features)
            done = chosen[i + r] + 1
    if hi == len(chosen) and len(d_table):
        clear(d_table, done * features, (len(d_table) - done) * features)
