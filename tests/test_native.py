"""Pieces of compiled loops, each beside plain NumPy: moving numbers, products, packing, rows of a table."""

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyrnn import threads
from tinyrnn.native import jit, memory, packing, table
from tinyrnn.native.product import PANEL, parallel_for, product, transposed_product

FLOATS = ["float32", "float64"]


def run(function, *args):
    """Run a function of a part, by ranges of rows."""
    dtype = next(a.dtype for a in args[1:] if isinstance(a, np.ndarray) and a.dtype.kind == "f")
    parallel_for(dtype, function)(threads.mailbox(len(args[0])), len(args[0]), *args)


# --- moving numbers ---------------------------------------------------------------------------------------


@numba.njit
def move(name, to, to_at, source, source_at, n, factor, factor_at):
    if name == 0:
        memory.copy(to, to_at, source, source_at, n)
    elif name == 1:
        memory.add(to, to_at, source, source_at, n)
    elif name == 2:
        memory.scale(to, to_at, source, source_at, n, factor, factor_at)
    else:
        memory.add_scaled(to, to_at, source, source_at, n, factor, factor_at)


@pytest.mark.parametrize("dtype", FLOATS)
@settings(max_examples=100)
@given(
    name=st.integers(0, 3), n=st.integers(0, 70),
    to_at=st.integers(0, 20), source_at=st.integers(0, 20), factor_at=st.integers(0, 20),
)  # fmt: skip
def test_moving_numbers(dtype, name, n, to_at, source_at, factor_at):
    """At any place, of any number; nothing beside them is written, and nothing beside them counts."""
    rng = np.random.default_rng(n)
    to, source, factor = (rng.standard_normal(100).astype(dtype) for _ in range(3))
    here, there, by = (
        slice(source_at, source_at + n),
        slice(to_at, to_at + n),
        slice(factor_at, factor_at + n),
    )
    for array, used in ((source, here), (factor, by)):
        outside = np.ones(100, bool)
        outside[used] = False
        array[outside] = np.nan
    expected = to.copy()
    added = source[here] * (factor[by] if name > 1 else 1)
    expected[there] = expected[there] + added if name % 2 else added
    move(name, to, to_at, source, source_at, n, factor, factor_at)
    np.testing.assert_allclose(to, expected, rtol=4 * np.finfo(dtype).eps, atol=0)


# --- products ---------------------------------------------------------------------------------------------


@numba.njit
def call_product(*args):
    product(*args)


@pytest.mark.parametrize("dtype", FLOATS)
@settings(max_examples=100)
@given(
    rows=st.integers(1, 20), vectors=st.integers(1, 5), depth=st.integers(1, 40),
    turned=st.booleans(), by_depth=st.booleans(), seed=st.integers(0, 999),
)  # fmt: skip
def test_product(dtype, rows, vectors, depth, turned, by_depth, seed):
    """Matrices in the middle of larger arrays, of either order; nothing else may be written."""
    lanes = jit.LANES[np.dtype(dtype)]
    rng = np.random.default_rng(seed)
    a = rng.standard_normal((depth + 2, rows + 3) if turned else (rows + 2, depth + 3)).astype(dtype)
    a_row, a_k = (1, rows + 3) if turned else (depth + 3, 1)
    b = rng.standard_normal((depth, vectors, lanes) if by_depth else (vectors, depth, lanes)).astype(dtype)
    b_vector, b_k = (lanes, vectors * lanes) if by_depth else (depth * lanes, lanes)
    c = rng.standard_normal((rows + 2, vectors * lanes + 5)).astype(dtype)
    A = (a.T if turned else a)[:rows, :depth].astype("float64")
    B = (b if by_depth else b.swapaxes(0, 1)).reshape(depth, -1).astype("float64")
    inside = (slice(1, rows + 1), slice(3, 3 + vectors * lanes))
    expected = c.astype("float64")
    expected[inside] += A @ B
    bound = np.zeros_like(expected)
    bound[inside] = (abs(c[inside]) + abs(A) @ abs(B)) * np.finfo(dtype).eps * (depth + 2)
    call_product(
        c.reshape(-1), c.shape[1] + 3, c.shape[1], a.reshape(-1), 0, a_row, a_k,
        b.reshape(-1), 0, b_vector, b_k, rows, vectors, depth, lanes,
    )  # fmt: skip
    assert (abs(c - expected) <= bound).all()


@numba.njit
def call_transposed_product(*args):
    transposed_product(*args)


@pytest.mark.parametrize("dtype", FLOATS)
@settings(max_examples=100)
@given(rows=st.integers(1, 40), depth=st.integers(1, 40), vectors=st.integers(1, 5), seed=st.integers(0, 999))
def test_transposed_product(dtype, rows, depth, vectors, seed):
    """Matrices in the middle of larger arrays; beside them only what fills the last panel is written."""
    lanes = jit.LANES[np.dtype(dtype)]
    rng = np.random.default_rng(seed)
    a = rng.standard_normal((rows + 1, depth + 3)).astype(dtype)
    b = rng.standard_normal((rows + 1, vectors * lanes + 5)).astype(dtype)
    c = rng.standard_normal((depth + PANEL + 1, vectors * lanes + 7)).astype(dtype)
    A, B = a[:rows, 2 : 2 + depth].astype("float64"), b[:rows, 3 : 3 + vectors * lanes].astype("float64")
    inside = (slice(1, depth + 1), slice(4, 4 + vectors * lanes))
    expected = c.astype("float64")
    expected[inside] += A.T @ B
    bound = np.zeros_like(expected)
    bound[inside] = (abs(c[inside]) + abs(A.T) @ abs(B)) * np.finfo(dtype).eps * (rows + 2)
    filling = (slice(depth + 1, 1 + -(-depth // PANEL) * PANEL), inside[1])
    packed, panel = np.empty(rows * (depth + PANEL), dtype), np.empty(rows * 2 * lanes, dtype)
    call_transposed_product(
        c.reshape(-1), c.shape[1] + 4, c.shape[1], a.reshape(-1), 2, a.shape[1], b.reshape(-1), 3, b.shape[1],
        packed, panel, rows, depth, vectors, lanes,
    )  # fmt: skip
    c[filling] = expected[filling]
    assert (abs(c - expected) <= bound).all()


# --- kernels by column ------------------------------------------------------------------------------------

# Gate, whether the input's kernel counts, whether the state's: one has two columns, another only the input.
COLUMNS = np.array([(0, 1, 1), (1, 1, 0), (1, 0, 1), (2, 1, 0)], np.intp)


def padded(kernel, units, width):
    """Return a kernel as (rows, gates, width)."""
    gates = kernel.shape[1] // units
    out = np.zeros((len(kernel), gates, width), kernel.dtype)
    out[:, :, :units] = kernel.reshape(len(kernel), gates, units)
    return out


@pytest.mark.parametrize("dtype", FLOATS)
@settings(max_examples=40)
@given(features=st.integers(0, 40), units=st.integers(1, 40), parts=st.integers(1, 3))
def test_packing(dtype, features, units, parts):
    lanes = jit.LANES[np.dtype(dtype)]
    width, row = -(-units // lanes) * lanes, len(COLUMNS) * (-(-units // lanes) * lanes)
    rng = np.random.default_rng(units)
    W, U = (rng.standard_normal((n, 3 * units)).astype(dtype) for n in (features, units))
    of = {1: slice(0, features), 2: slice(features, features + units)}

    out = np.full(row * (features + units), np.nan, dtype)
    settings = (COLUMNS, units, width, lanes)
    run(packing.pack, threads.ranges(row // lanes, parts), out, W, U, *settings)
    found = out.reshape(len(COLUMNS), width // lanes, features + units, lanes).swapaxes(1, 2)
    for c, which in np.argwhere(COLUMNS[:, 1:]):
        expected = padded((W, U)[which], units, width)[:, COLUMNS[c, 0]]
        np.testing.assert_array_equal(found[c, of[which + 1]].reshape(-1, width), expected)

    vectors = [-(-n // lanes) for n in (features, units)]
    out = np.full(sum(vectors) * lanes * row, np.nan, dtype)
    run(packing.pack_transposed, threads.ranges(sum(vectors), parts), out, W, U, *settings)
    found = out.reshape(sum(vectors), len(COLUMNS), width, lanes)
    for c, which in np.argwhere(COLUMNS[:, 1:]):
        there = slice(vectors[0]) if which == 0 else slice(vectors[0], None)
        of_rows = found[there, c].swapaxes(1, 2).reshape(-1, width)
        expected = np.zeros((vectors[which] * lanes, width), dtype)
        expected[: len((W, U)[which])] = padded((W, U)[which], units, width)[:, COLUMNS[c, 0]]
        np.testing.assert_array_equal(of_rows, expected)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("with_biases", [True, False])
@settings(max_examples=20)
@given(
    features=st.integers(0, 20), units=st.integers(1, 40), found=st.integers(1, 3), parts=st.integers(1, 3)
)
def test_unpacking(dtype, with_biases, features, units, found, parts):
    lanes = jit.LANES[np.dtype(dtype)]
    width = -(-units // lanes) * lanes
    rng = np.random.default_rng(units)
    rows, spare = features + units, 3
    d = rng.standard_normal((found, rows + spare, len(COLUMNS), width)).astype(dtype)
    out = [np.full((n, 3 * units), np.nan, dtype) for n in (features, units, *[int(with_biases)] * 2)]
    ranges = threads.ranges(rows + with_biases, parts)
    run(packing.unpack, ranges, d.reshape(found, -1), COLUMNS, units, width, *out)
    total = d.astype("float64").sum(axis=0)[:, :, :units]
    for which, result, source in zip(
        (1, 2, 1, 2), out, (total[:features], total[features:rows], total[-1:], total[-1:]), strict=True
    ):
        expected = np.zeros((len(source), 3, units))
        for c in np.flatnonzero(COLUMNS[:, which]):
            expected[:, COLUMNS[c, 0]] = source[:, c]
        np.testing.assert_allclose(
            result,
            expected.reshape(len(source), 3 * units)[: len(result)],
            rtol=0,
            atol=20 * np.finfo(dtype).eps,
        )


# --- rows of a table --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("with_table", [True, False])
@settings(max_examples=30)
@given(
    n=st.integers(1, 300), share=st.floats(0.0, 1.0), features=st.integers(1, 40), units=st.integers(1, 20),
    parts=st.integers(1, 3), found=st.integers(1, 3),
)  # fmt: skip
def test_rows_of_a_table(dtype, with_table, n, share, features, units, parts, found):
    """There and back, with columns that see the input and one that does not."""
    lanes, eps = jit.LANES[np.dtype(dtype)], np.finfo(dtype).eps
    width = -(-units // lanes) * lanes
    rng = np.random.default_rng(n)
    chosen = np.flatnonzero(rng.random(n) < share)
    rows = rng.standard_normal((n, features)).astype(dtype)
    W, U = rng.standard_normal((features, 3 * units)).astype(dtype), np.zeros((0, 3 * units), dtype)
    row, groups = len(COLUMNS) * width, [(0, 1, 0, features, 0), (1, 1, 0, features, 0)]
    groups = np.array([*groups, (2, 1, features, features, 0), (3, 1, 0, features, 0)], np.intp)
    by_column = np.zeros((features, len(COLUMNS), width))
    for c in np.flatnonzero(COLUMNS[:, 1]):
        by_column[:, c] = padded(W, units, width)[:, COLUMNS[c, 0]]
    by_column = by_column.reshape(features, row)
    ranges, settings = threads.ranges(len(chosen), parts, 8), (COLUMNS, units, width, lanes)

    kernel, out = np.full(row * features, np.nan, dtype), np.full(len(chosen) * row, np.nan, dtype)
    bias = rng.standard_normal(row).astype(dtype)
    run(packing.pack, threads.ranges(row // lanes, 1), kernel, W, U, *settings)
    run(table.project, ranges, out, bias, rows, chosen, kernel, groups, width, lanes)
    expected = bias + rows[chosen].astype("float64") @ by_column
    np.testing.assert_allclose(out.reshape(-1, row), expected, rtol=0, atol=400 * eps)

    d = rng.standard_normal((found, len(chosen) * row)).astype(dtype)
    d_z = d.astype("float64").sum(axis=0).reshape(-1, row)
    kernel_t = np.full(-(-features // lanes) * lanes * row, np.nan, dtype)
    run(packing.pack_transposed, threads.ranges(-(-features // lanes), 1), kernel_t, W, U, *settings)
    d_rows = np.full((n if with_table else 0, features), np.nan, dtype)
    d_kernels = np.full((len(ranges), (features + PANEL) * row), np.nan, dtype)
    run(
        table.project_back, ranges, d, rows, chosen, kernel_t, groups, d_rows, d_kernels, width, lanes,
    )  # fmt: skip
    d_kernel = d_kernels.reshape(len(ranges), features + PANEL, len(COLUMNS), width).sum(axis=0)
    expected = (rows[chosen].T @ d_z).reshape(features, len(COLUMNS), width)
    sees = COLUMNS[:, 1] == 1
    np.testing.assert_allclose(d_kernel[:features, sees], expected[:, sees], rtol=0, atol=3000 * eps)
    np.testing.assert_allclose(d_kernel[-1].reshape(-1), d_z.sum(axis=0), rtol=0, atol=3000 * eps)
    if with_table:
        expected = np.zeros((n, features))
        expected[chosen] = d_z @ by_column.T
        np.testing.assert_allclose(d_rows, expected, rtol=0, atol=1000 * eps)
