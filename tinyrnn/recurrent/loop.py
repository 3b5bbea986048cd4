"""The loop over time that Numba compiles: rows of a batch, from the first step to the last, and back.

This text is compiled together with the step of one cell: `emit` puts both into one module. It is the same
for every cell. A function that is `parallel` does one *part* of its work: the rows ``lo`` to ``hi`` that
`ranges` gives it, each part on a thread of its own, and none waits for another.

Layout
------
A cell's pre-activations stand in *columns*, each `width` wide: its units, filled up to whole vectors. A gate
that only ever sees the sum of its two pre-activations has one column, another has one for the input's and
one for the state's. The columns form *groups*, a row of the array `groups` each::

    first column, number of columns, first k, last k + 1, late

with k the rows of the joint kernel ``[W; U]`` (`features` of the input, then `units`) that count for them.
Arrays are flat where only the loop reads them:

=========== ============================== ========================================================
kernel      columns, vectors, depth, lanes the joint kernel, packed for the way forward
kernel_t    vectors, columns * width, lanes its transpose, packed for the way back
base        rows, columns * width          what the pre-activations start from: the biases, or
                                           rows already projected, chosen by `index` (batch, time)
drop        gates, batch, depth, or empty  factors of input and state, by gate
tape        by row and time                the values that the way back needs, `width` each
=========== ============================== ========================================================
"""

from __future__ import annotations

import numpy as np

from tinyrnn.native.jit import inlined, jit
from tinyrnn.native.memory import (
    add,
    add_scaled,
    clear,
    copy,
    empty,
    prefetch,
    scale,
    zeros,
)
from tinyrnn.native.product import PANEL, product, transposed_product
from tinyrnn.native.team import parallel

__all__ = ["backward", "forward"]

# --- what the text of a cell puts in the place of these ---------------------------------------------------

LATE = False
forward_step = late_forward = backward_step = late_backward = jit(lambda: None)

# --- the way forward --------------------------------------------------------------------------------------

# Constants are compiled as values of their own unless they have a type.
ONE = np.intp(1)
ZERO, EARLY, LAST = np.intp(0), np.intp(0), np.intp(1)
AHEAD = np.intp(2)  # steps; rows of the batch are far apart, too many for the processor to foresee each one


@inlined
def drop_out(out, a, drop, gate, batch_rows, n, depth):
    """Multiply n rows of `a` with the factors of one gate."""
    for i in range(n):
        scale(out, i * depth, a, i * depth, depth, drop, (gate * drop.shape[1] + batch_rows[i]) * depth)


@inlined
def multiply(z, z_row, a, depth, kernel, groups, late, gate_of, drop, dropped, batch_rows, n, width, lanes):
    """Add the products of the rows of `a` with the joint kernel to the pre-activations."""
    vectors = width // lanes
    for g in range(len(groups)):
        first, count, k0, k1 = groups[g, 0], groups[g, 1], groups[g, 2], groups[g, 3]
        if groups[g, 4] != late:
            continue
        if drop.size == 0:
            at = (first * vectors * depth + k0) * lanes
            product(
                z, first * width, z_row, a, k0, depth, ONE, kernel, at, depth * lanes, lanes,
                n, count * vectors, k1 - k0, lanes,
            )  # fmt: skip
            continue
        for c in range(first, first + count):
            drop_out(dropped, a, drop, gate_of[c], batch_rows, n, depth)
            at = (c * vectors * depth + k0) * lanes
            product(
                z, c * width, z_row, dropped, k0, depth, ONE, kernel, at, depth * lanes, lanes,
                n, vectors, k1 - k0, lanes,
            )  # fmt: skip


@inlined
def put_back(states, new, active, n, n_states, rows, width):
    """Put the new states of the rows that took a step back among those of all rows."""
    for k in range(n_states):
        for i in range(n):
            copy(states, (k * rows + active[i]) * width, new, (k * rows + i) * width, width)


@parallel
def forward(
    part, ranges, reverse, width, lanes, groups, gate_of, x, base, index, kernel, params,
    states0, mask, drop, outputs, final, tapes, tape_batch, tape_time,
):  # fmt: skip
    """Run rows of a batch through all time steps.

    There is one tape for all parts, or one for each.
    """
    lo, hi = ranges[part, 0], ranges[part, 1]
    tape = tapes[min(part, len(tapes) - 1)]
    rows, batch, length, units = hi - lo, *outputs.shape
    features, n_states, columns = x.shape[2], states0.shape[0], len(gate_of)
    depth, z_row = features + units, columns * width
    kind = outputs.dtype
    z = empty(rows * z_row, kind)
    states = zeros(n_states * rows * width, kind)
    new = empty(n_states * rows * width, kind)
    a = empty(rows * depth, kind)
    dropped = empty(rows * depth if drop.size else ZERO, kind)
    late = empty(rows * width if LATE else ZERO, kind)
    active, batch_rows, at = np.empty(rows, np.intp), np.empty(rows, np.intp), np.empty(rows, np.intp)
    for k in range(n_states):
        for i in range(rows):
            copy(states, (k * rows + i) * width, states0, (k * batch + lo + i) * units, units)
    for step in range(length):
        t = length - 1 - step if reverse else step
        n = np.intp(0)
        for i in range(rows):
            if mask.size == 0 or mask[lo + i, t]:
                active[n], batch_rows[n], at[n] = i, lo + i, (lo + i) * tape_batch + t * tape_time
                n += 1
        for i in range(n):
            b, a_at = batch_rows[i], i * depth
            copy(a, a_at, x, (b * length + t) * features, features)
            copy(a, a_at + features, states, active[i] * width, units)
            later = t - AHEAD if reverse else t + AHEAD
            prefetch(x, (b * length + later) * features, features)
            source = index[b, t] if index.size else 0
            if index.size and 0 <= later < length:
                prefetch(base, index[b, later] * z_row, z_row)
            copy(z, i * z_row, base, source * z_row, z_row)
        if n:
            multiply(
                z, z_row, a, depth, kernel, groups, EARLY, gate_of, drop, dropped, batch_rows, n, width, lanes
            )
            if LATE:
                late_forward(n, width, rows, z, z_row, states, active, late, tape, at, params)
                for i in range(n):
                    copy(a, i * depth + features, late, i * width, units)
                multiply(
                    z, z_row, a, depth, kernel, groups, LAST, gate_of, drop, dropped, batch_rows, n, width,
                    lanes,
                )  # fmt: skip
            forward_step(n, width, rows, z, z_row, states, active, new, tape, at, params)
        if n == rows:
            states, new = new, states
        else:
            put_back(states, new, active, n, n_states, rows, width)
        for i in range(rows):
            copy(outputs, ((lo + i) * length + t) * units, states, i * width, units)
    for k in range(n_states):
        for i in range(rows):
            copy(final, (k * batch + lo + i) * units, states, (k * rows + i) * width, units)


# --- the way back -----------------------------------------------------------------------------------------


@jit
def multiply_back(
    d_a, d_a_row, x_width, d_z, d_z_at, d_z_row, kernel_t, groups, late, gate_of, drop, temporary, batch_rows,
    rows_at, n, columns, features, with_x, width, lanes,
):  # fmt: skip
    """Add the gradients of the rows that `multiply` took: those of the input, then those of the state."""
    for g in range(len(groups)):
        first, count, k0, k1 = groups[g, 0], groups[g, 1], groups[g, 2], groups[g, 3]
        start = 0 if k0 < features and with_x else x_width // lanes
        stop = d_a_row // lanes if k1 > features else x_width // lanes
        if groups[g, 4] != late or start == stop:
            continue
        if drop.size == 0:
            product(
                d_a, start * lanes, d_a_row, d_z, d_z_at + first * width, d_z_row, ONE,
                kernel_t, (start * columns + first) * width * lanes, columns * width * lanes, lanes,
                n, stop - start, count * width, lanes,
            )  # fmt: skip
            continue
        for c in range(first, first + count):
            clear(temporary, 0, n * d_a_row)
            product(
                temporary, start * lanes, d_a_row, d_z, d_z_at + c * width, d_z_row, ONE,
                kernel_t, (start * columns + c) * width * lanes, columns * width * lanes, lanes,
                n, stop - start, width, lanes,
            )  # fmt: skip
            for i in range(n):
                row, depth = i * d_a_row, drop.shape[2]
                factors = (gate_of[c] * drop.shape[1] + batch_rows[rows_at + i]) * depth
                if start == 0:
                    add_scaled(d_a, row, temporary, row, features, drop, factors)
                row += x_width
                add_scaled(d_a, row, temporary, row, depth - features, drop, factors + features)


@jit
def flush(
    d_kernel, with_bias, a, v, depth, d_z, d_z_row, groups, gate_of, drop, dropped, packed, panel, batch_rows,
    n, width, lanes,
):  # fmt: skip
    """Add what n rows, of several time steps, give to the gradients of the joint kernel and the biases."""
    row = len(gate_of) * width
    for i in range(n if with_bias else 0):
        add(d_kernel, (depth + PANEL - 1) * row, d_z, i * d_z_row, row)
    for g in range(len(groups)):
        first, count, k0, k1 = groups[g, 0], groups[g, 1], groups[g, 2], groups[g, 3]
        left = v if groups[g, 4] else a
        if drop.size == 0:
            transposed_product(
                d_kernel, k0 * row + first * width, row, left, k0, depth, d_z, first * width, d_z_row,
                packed, panel, n, k1 - k0, count * width // lanes, lanes,
            )  # fmt: skip
            continue
        for c in range(first, first + count):
            drop_out(dropped, left, drop, gate_of[c], batch_rows, n, depth)
            transposed_product(
                d_kernel, k0 * row + c * width, row, dropped, k0, depth, d_z, c * width, d_z_row,
                packed, panel, n, k1 - k0, width // lanes, lanes,
            )  # fmt: skip


@parallel
def backward(
    part, ranges, reverse, width, lanes, groups, gate_of, x, index, kernel_t, params, states0, mask, drop,
    outputs, tape, tape_batch, tape_time, late_slot, d_outputs, d_states, with_x, d_x, d_bases, with_bias,
    d_kernels, all_d_params,
):  # fmt: skip
    """Carry the gradients of rows of a batch back through all time steps.

    `d_states` holds those of the final states at first, those of the initial ones in the end. The gradients
    of `base`, of the joint kernel and the parameters are what each part has found; where every step has its
    own row of `base`, there is one array of it for all. That of the biases, if wanted, is the last row of the
    kernel's.

    The products for the kernel's gradient wait until enough rows have come together (`flush`).
    """
    lo, hi = ranges[part, 0], ranges[part, 1]
    d_base, d_kernel, d_params = d_bases[min(part, len(d_bases) - 1)], d_kernels[part], all_d_params[part]
    clear(d_kernel, 0, len(d_kernel))
    if len(d_bases) == len(ranges):
        clear(d_base, 0, len(d_base))
    rows, batch, length, units = hi - lo, *outputs.shape
    features, n_states, columns = x.shape[2], states0.shape[0], len(gate_of)
    n_params = len(params) // width
    depth, d_z_row = features + units, columns * width + lanes
    x_width = -(-features // lanes) * lanes
    d_a_row = x_width + width
    kind = outputs.dtype
    capacity = max(rows, min(128, 262144 // (depth + d_z_row)))
    a = zeros(capacity * depth + width, kind)
    v = zeros(capacity * depth + width if LATE else ZERO, kind)
    d_z = empty(capacity * d_z_row, kind)
    waiting = np.empty(capacity, np.intp)  # the rows of the batch that `a` and `d_z` hold
    dropped = empty(capacity * depth if drop.size else ZERO, kind)
    packed = empty(capacity * (depth + PANEL), kind)
    panel = empty(capacity * 2 * lanes, kind)
    d_a = empty(rows * d_a_row, kind)
    temporary = empty(rows * d_a_row if drop.size else ZERO, kind)
    d_late = empty(rows * width if LATE else ZERO, kind)
    d = zeros(n_states * rows * width, kind)
    new = empty(n_states * rows * width, kind)
    for_params = empty(n_params * rows * width, kind)
    active, at = np.empty(rows, np.intp), np.empty(rows, np.intp)
    for k in range(n_states):
        for i in range(rows):
            copy(d, (k * rows + i) * width, d_states, (k * batch + lo + i) * units, units)
    end = np.intp(0)
    for step in range(length - 1, -1, -1):
        t = length - 1 - step if reverse else step
        if d_outputs.size:
            for i in range(rows):
                add(d, i * width, d_outputs, ((lo + i) * length + t) * units, units)
        if end + rows > capacity:
            flush(
                d_kernel, with_bias, a, v, depth, d_z, d_z_row, groups, gate_of, drop, dropped, packed, panel,
                waiting, end, width, lanes,
            )  # fmt: skip
            end = np.intp(0)
        n = np.intp(0)
        for i in range(rows):
            if mask.size == 0 or mask[lo + i, t]:
                active[n], waiting[end + n], at[n] = i, lo + i, (lo + i) * tape_batch + t * tape_time
                n += 1
        if n == 0:
            continue
        for i in range(n):
            b, a_at = lo + active[i], (end + i) * depth
            later = t + AHEAD if reverse else t - AHEAD
            prefetch(x, (b * length + later) * features, features)
            prefetch(outputs, (b * length + (later + 1 if reverse else later - 1)) * units, units)
            if d_outputs.size:
                prefetch(d_outputs, (b * length + later) * units, units)
            if index.size and 0 <= later < length:
                prefetch(d_base, index[b, later] * columns * width, columns * width)
            copy(a, a_at, x, (b * length + t) * features, features)
            if step == 0:
                copy(a, a_at + features, states0, b * units, units)
            else:
                before = t + 1 if reverse else t - 1
                copy(a, a_at + features, outputs, (b * length + before) * units, units)
        backward_step(
            n, width, rows, d, active, tape, at, a, end * depth + features, depth, d_z, end * d_z_row,
            d_z_row, new, for_params, params, units,
        )  # fmt: skip
        clear(d_a, 0, n * d_a_row)
        if LATE:
            for i in range(n):
                v_at = (end + i) * depth
                copy(v, v_at, a, v_at, features)
                copy(v, v_at + features, tape, at[i] + late_slot * width, units)
            multiply_back(
                d_a, d_a_row, x_width, d_z, end * d_z_row, d_z_row, kernel_t, groups, LAST, gate_of, drop,
                temporary, waiting, end, n, columns, features, with_x, width, lanes,
            )  # fmt: skip
            for i in range(n):
                copy(d_late, i * width, d_a, i * d_a_row + x_width, width)
                clear(d_a, i * d_a_row + x_width, width)
            late_backward(
                n, width, rows, d_late, tape, at, a, end * depth + features, depth, d_z, end * d_z_row,
                d_z_row, new, for_params, params, units,
            )  # fmt: skip
        multiply_back(
            d_a, d_a_row, x_width, d_z, end * d_z_row, d_z_row, kernel_t, groups, EARLY, gate_of, drop,
            temporary, waiting, end, n, columns, features, with_x, width, lanes,
        )  # fmt: skip
        for i in range(n):
            if with_x:
                copy(d_x, ((lo + active[i]) * length + t) * features, d_a, i * d_a_row, features)
            add(new, i * width, d_a, i * d_a_row + x_width, width)
            if index.size:
                source = index[lo + active[i], t] * columns * width
                add(d_base, source, d_z, (end + i) * d_z_row, columns * width)
        if n == rows:
            d, new = new, d
        else:
            put_back(d, new, active, n, n_states, rows, width)
        for k in range(n_params):
            for i in range(n):
                add(d_params, k * width, for_params, (k * rows + i) * width, width)
        end += n
    flush(
        d_kernel, with_bias, a, v, depth, d_z, d_z_row, groups, gate_of, drop, dropped, packed, panel,
        waiting, end, width, lanes,
    )  # fmt: skip
    for k in range(n_states):
        for i in range(rows):
            copy(d_states, (k * batch + lo + i) * units, d, (k * rows + i) * width, units)
