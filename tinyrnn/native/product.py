"""Products of matrices in registers: the one piece of dense arithmetic that the compiled loops need.

They are compiled once for a type of float, and called by name (`provide`).
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.extending import intrinsic
from numba.np.numpy_support import from_dtype

from tinyrnn.native.jit import LANES, VECTOR_BYTES, call_shared, entry, share
from tinyrnn.native.memory import address, copy, read, writers
from tinyrnn.native.team import parallel

__all__ = ["PANEL", "parallel_for", "product", "provide", "transposed_product"]


def _make_tile(rows: int, vectors: int) -> Callable:
    """Return the function that adds a product to one tile of a matrix, held in registers meanwhile.

    ``C[i, v] += sum over k of A[i, k] B[k, v]`` for `rows` numbers i and `vectors` vectors v. Each matrix is
    an array, the offset of its first element, and two strides: ``c`` by row (its vectors are neighbours),
    ``a`` by row and by k, ``b`` by vector and by k.
    """

    @intrinsic
    def tile(typing_context, c, c_at, c_row, a, a_at, a_row, a_k, b, b_at, b_vector, b_k, depth):
        index = types.intp
        signature = types.void(c, index, index, a, index, index, index, b, index, index, index, index)
        return signature, _tile_code(rows, vectors)

    return tile


def _tile_code(rows: int, vectors: int) -> Callable:
    def generate(context, builder, signature, args):
        c_type, a_type, b_type = signature.args[0], signature.args[3], signature.args[7]
        c, c_at, c_row, a, a_at, a_row, a_k, b, b_at, b_vector, b_k, depth = args
        scalar = context.get_value_type(c_type.dtype)
        lanes = LANES[np.dtype(c_type.dtype.name)]
        size = VECTOR_BYTES // lanes
        vector = ir.VectorType(scalar, lanes)
        name = f"llvm.fma.v{lanes}f{8 * size}"
        fma = builder.module.declare_intrinsic(name, (), ir.FunctionType(vector, [vector] * 3))

        def offset(start, *steps):
            for number, stride in steps:
                start = builder.add(start, builder.mul(context.get_constant(types.intp, number), stride))
            return start

        def vector_at(array_type, array, index):
            pointer = address(context, builder, array_type, array, index)
            return builder.bitcast(pointer, vector.as_pointer())

        def repeated(value):
            one = builder.insert_element(ir.Constant(vector, ir.Undefined), value, ir.IntType(32)(0))
            zeros = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)
            return builder.shuffle_vector(one, ir.Constant(vector, ir.Undefined), zeros)

        tile = range(rows), range(vectors)
        neighbour = context.get_constant(types.intp, lanes)
        places = [
            [vector_at(c_type, c, offset(c_at, (i, c_row), (v, neighbour))) for v in tile[1]] for i in tile[0]
        ]
        sums = [
            [cgutils.alloca_once_value(builder, builder.load(p, align=size)) for p in row] for row in places
        ]
        with cgutils.for_range(builder, depth) as loop:
            b_now = builder.add(b_at, builder.mul(loop.index, b_k))
            a_now = builder.add(a_at, builder.mul(loop.index, a_k))
            right = [
                builder.load(vector_at(b_type, b, offset(b_now, (v, b_vector))), align=size) for v in tile[1]
            ]
            for i in tile[0]:
                left = repeated(builder.load(address(context, builder, a_type, a, offset(a_now, (i, a_row)))))
                for v in tile[1]:
                    total = builder.call(fma, [left, right[v], builder.load(sums[i][v])])
                    builder.store(total, sums[i][v])
        for i in tile[0]:
            for v in tile[1]:
                builder.store(builder.load(sums[i][v]), places[i][v], align=size)
        return context.get_dummy_value()

    return generate


TALL = 8 if VECTOR_BYTES != 32 else 4  # AVX2 has 16 registers, half of those of AVX-512 and NEON
_tall_wide, _tall = _make_tile(TALL, 2), _make_tile(TALL, 1)
_half_wide, _half = _make_tile(TALL // 2, 2), _make_tile(TALL // 2, 1)
_low_wide, _low = _make_tile(1, 4), _make_tile(1, 1)


@entry
def _product(c, c_at, c_row, a, a_at, a_row, a_k, b, b_at, b_vector, b_k, rows, vectors, depth, lanes):
    """Add the product of A and B to C: see `_make_tile` for how the matrices are given.

    A is (rows, depth), B is (depth, vectors * lanes). Near the speed of a BLAS's product, also for few
    rows, and of matrices of any strides: the recurrent kernel needs no other.
    """
    tall = rows - rows % TALL
    half = rows - rows % (TALL // 2)
    for v in range(0, vectors, 2):
        b_v = b_at + v * b_vector
        for i in range(0, tall, TALL):
            c_i, a_i = c_at + i * c_row + v * lanes, a_at + i * a_row
            if v + 1 < vectors:
                _tall_wide(c, c_i, c_row, a, a_i, a_row, a_k, b, b_v, b_vector, b_k, depth)
            else:
                _tall(c, c_i, c_row, a, a_i, a_row, a_k, b, b_v, b_vector, b_k, depth)
        if half > tall:
            c_i, a_i = c_at + tall * c_row + v * lanes, a_at + tall * a_row
            if v + 1 < vectors:
                _half_wide(c, c_i, c_row, a, a_i, a_row, a_k, b, b_v, b_vector, b_k, depth)
            else:
                _half(c, c_i, c_row, a, a_i, a_row, a_k, b, b_v, b_vector, b_k, depth)
    wide = vectors - vectors % 4
    for i in range(half, rows):
        c_i, a_i = c_at + i * c_row, a_at + i * a_row
        for v in range(0, wide, 4):
            b_v = b_at + v * b_vector
            _low_wide(c, c_i + v * lanes, c_row, a, a_i, a_row, a_k, b, b_v, b_vector, b_k, depth)
        for v in range(wide, vectors):
            b_v = b_at + v * b_vector
            _low(c, c_i + v * lanes, c_row, a, a_i, a_row, a_k, b, b_v, b_vector, b_k, depth)


_providers: list[Callable[[str], str]] = []  # in an order in which they can be compiled


def _by_name(compiled: Any, arguments: str) -> Any:
    """Return what other compiled code calls, so that `compiled` is compiled once: see `share`.

    `arguments` has an ``a`` for every flat array of numbers, an ``i`` for every index.
    """

    def kinds(array):
        return tuple(array if letter == "a" else types.int64 for letter in arguments)

    @functools.cache
    def provide_one(dtype):
        name = f"tinyrnn{compiled.py_func.__name__}_{dtype}"
        share(compiled, kinds(types.Array(from_dtype(np.dtype(dtype)), 1, "C")), name)
        return name

    def call(typing_context, *given):
        array = types.Array(given[0].dtype, 1, "C")
        if any(letter == "a" and found != array for letter, found in zip(arguments, given, strict=True)):
            raise TypingError(f"{compiled}: expected flat arrays of one type, found {given}")

        def generate(context, builder, signature, args):
            return call_shared(context, builder, provide_one(array.dtype.name), signature, args)

        return types.void(*kinds(array)), generate

    context = inspect.Parameter("typing_context", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(compiled.py_func).parameters.values()
    call.__signature__ = inspect.Signature([context, *parameters])  # Numba wants to know how many
    _providers.append(provide_one)
    return intrinsic(call)


product = _by_name(_product, "aiiaiiiaiiiiiii")

_write = writers[0]
PANEL = np.intp(8)  # numbers that stand packed together for a product with a transposed matrix


@entry
def _transposed_product(
    c, c_at, c_row, a, a_at, a_row, b, b_at, b_row, packed, panel, rows, depth, vectors, lanes
):
    """Add the product of A transposed and B to C: a sum over many rows.

    A is (rows, depth), B is (rows, vectors * lanes). C has a row for each column of A, and after them up to
    ``PANEL - 1`` more that get any value. A and B are packed first: rows far apart in memory would drive each
    other out of the cache. `packed` has room for ``rows * (depth + PANEL)`` numbers, `panel` for ``rows * 2 *
    lanes``.
    """
    for k in range(0, depth, PANEL):
        n = min(PANEL, depth - k)
        for i in range(rows):
            to, source = k * rows + i * PANEL, a_at + i * a_row + k
            if n == PANEL:
                for j in range(PANEL):
                    _write(packed, to + j, read(a, source + j))
            else:
                copy(packed, to, a, source, n)
    for v in range(0, vectors, 2):
        n = min(2, vectors - v)
        for i in range(rows):
            copy(panel, i * 2 * lanes, b, b_at + i * b_row + v * lanes, n * lanes)
        for k in range(0, depth, PANEL):
            product(
                c, c_at + k * c_row + v * lanes, c_row, packed, k * rows, 1, PANEL, panel, 0, lanes,
                2 * lanes, PANEL, n, rows, lanes,
            )  # fmt: skip


transposed_product = _by_name(_transposed_product, "aiiaiiaiiaaiiii")


def provide(number: type) -> None:
    """Share the products for one type of float: before code that calls them is read from disk."""
    for provide_one in _providers:
        provide_one(np.dtype(number).name)


@functools.cache
def parallel_for(dtype: np.dtype, function: Callable) -> parallel:
    """Return `function`, which calls products, as one that is `parallel` for arrays of one type of float."""
    provide(dtype.type)
    return parallel(function)
