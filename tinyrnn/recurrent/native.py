"""What compiled loops are built from: raw reads and writes, products, and the functions of cells.

Importing this imports Numba; only the compiled kernel does, when it first runs.
"""

from __future__ import annotations

import hashlib
import math
import pickle
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils, serialize
from numba.core.caching import CompileResultCacheImpl, NullCache
from numba.core.registry import cpu_target
from numba.extending import intrinsic

from tinyrnn.recurrent.files import cache_folder, read_checked, write_checked
from tinyrnn.recurrent.layout import WRITERS

__all__ = [
    "FUNCTIONS", "LANES", "clear", "copy", "entry", "flush_denormals", "jit", "prefetch", "product", "read",
    "restore_denormals", "whole_vectors", "writers",
]  # fmt: skip


def jit(function: Callable) -> Any:
    """Compile a function for numbers and arrays, without the interpreter's lock (a decorator).

    Division by zero gives inf as in NumPy, which lets a loop with a division in it be vectorised;
    ``a * b + c`` may be rounded once instead of twice.
    """
    return numba.njit(nogil=True, error_model="numpy", fastmath={"contract"})(function)


def entry(function: Callable) -> Any:
    """Compile a function of a generated module that is called from outside: `jit`, kept on disk."""
    dispatcher = jit(function)
    dispatcher._cache = _DiskCache(function)
    return dispatcher


class _DiskCache(NullCache):
    """Keeps compiled code in the cache folder.

    Numba's own cache breaks a run when its index is damaged, and refuses to start without a folder to
    write to. The key covers all that the code depends on: the generated text, this file, the versions, the
    processor and the types.
    """

    _environment = repr((sys.version, numba.__version__, Path(__file__).read_text()))

    def __init__(self, function: Callable):
        self._function = function
        self._results = CompileResultCacheImpl.__new__(CompileResultCacheImpl)  # without its own folder

    def _path(self, signature: Any, codegen: Any) -> Path:
        module = self._function.__globals__["__name__"].rpartition(".")[2]
        key = repr((self._environment, codegen.magic_tuple(), signature)).encode()
        name = f"{module}_{self._function.__name__}_{hashlib.sha256(key).hexdigest()[:16]}.bin"
        return cache_folder() / name

    def load_overload(self, signature: Any, target_context: Any) -> Any:
        target_context.refresh()
        data = read_checked(self._path(signature, target_context.codegen()))
        return None if data is None else self._results.rebuild(target_context, pickle.loads(data))

    def save_overload(self, signature: Any, result: Any) -> None:
        if not result.library.has_dynamic_globals:
            path = self._path(signature, result.codegen)
            write_checked(path, serialize.dumps(self._results.reduce(result)))


def _vector_bytes() -> int:
    """Return the width of a vector register of the processor that is compiled for."""
    features = cpu_target.target_context.codegen().magic_tuple()[2]
    return 64 if "+avx512f" in features else 32 if "+avx2" in features else 16


VECTOR_BYTES = _vector_bytes()
LANES = {np.dtype(t): VECTOR_BYTES // np.dtype(t).itemsize for t in ("float32", "float64")}

# --- memory -----------------------------------------------------------------------------------------------
#
# A loop reads some arrays and writes others. LLVM vectorises it only if it knows that a write cannot change
# what is read later; with a dozen rows of a few arrays it gives up checking. `read` and the `writers` say so:
# within one function, no location that one of them writes is touched by another in another turn of the loop.


def _scopes(module: ir.Module) -> list:
    """Return one alias scope for each writer."""
    domain = module.add_metadata([ir.MetaDataString(module, "tinyrnn")])
    return [module.add_metadata([ir.MetaDataString(module, f"write {k}"), domain]) for k in range(WRITERS)]


def _address(context: Any, builder: ir.IRBuilder, array_type: Any, array: Any, index: Any) -> Any:
    data = context.make_array(array_type)(context, builder, array).data
    return builder.gep(data, [index], source_etype=context.get_value_type(array_type.dtype))


@intrinsic
def read(typing_context, array, index):
    """Return ``array.flat[index]``, index unchecked, as independent of all writers."""

    def generate(context, builder, signature, args):
        value = builder.load(_address(context, builder, signature.args[0], *args))
        value.set_metadata("noalias", builder.module.add_metadata(_scopes(builder.module)))
        return value

    return array.dtype(array, types.intp), generate


def _make_writer(k: int) -> Callable:
    @intrinsic
    def write(typing_context, array, index, value):
        def generate(context, builder, signature, args):
            store = builder.store(args[2], _address(context, builder, signature.args[0], *args[:2]))
            scopes = _scopes(builder.module)
            store.set_metadata("alias.scope", builder.module.add_metadata([scopes[k]]))
            store.set_metadata("noalias", builder.module.add_metadata(scopes[:k] + scopes[k + 1 :]))
            return context.get_dummy_value()

        return types.void(array, types.intp, array.dtype), generate

    return write


@intrinsic
def copy(typing_context, to, to_at, source, source_at, n):
    """Copy n neighbouring numbers of ``source.flat`` to ``to.flat``; few, for which a call would be slow."""

    def generate(context, builder, signature, args):
        to, to_at, source, source_at, n = args
        scalar = context.get_value_type(signature.args[0].dtype)
        lanes = LANES[np.dtype(signature.args[0].dtype.name)]
        whole = builder.and_(n, n.type(-lanes))

        size = VECTOR_BYTES // lanes

        def move(start, stop, step, kind):
            def place(array_type, array, index):
                address = _address(context, builder, array_type, array, index)
                return builder.bitcast(address, kind.as_pointer())

            with cgutils.for_range_slice(builder, start, stop, n.type(step)) as (k, _):
                value = builder.load(place(signature.args[2], source, builder.add(source_at, k)), align=size)
                builder.store(value, place(signature.args[0], to, builder.add(to_at, k)), align=size)

        move(n.type(0), whole, lanes, ir.VectorType(scalar, lanes))
        move(whole, n, 1, scalar)
        return context.get_dummy_value()

    return types.void(to, types.intp, source, types.intp, types.intp), generate


@intrinsic
def whole_vectors(typing_context):
    """Let loops of the function that says this use the widest registers; LLVM stops at half of AVX-512."""

    def generate(context, builder, signature, args):
        attributes = builder.function.attributes
        set.add(attributes, f'"prefer-vector-width"="{8 * VECTOR_BYTES}"')  # its own `add` knows no strings
        return context.get_dummy_value()

    return types.void(), generate


@intrinsic
def prefetch(typing_context, array, index, n):
    """Ask for n neighbouring numbers of ``array.flat`` ahead of their use; the place may even be outside."""

    def generate(context, builder, signature, args):
        array, index, n = args
        pointer, number = ir.PointerType(ir.IntType(8)), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [pointer, number, number, number])
        ask = builder.module.declare_intrinsic("llvm.prefetch.p0", (), kind)
        line = 64 // context.get_abi_sizeof(context.get_value_type(signature.args[0].dtype))
        with cgutils.for_range_slice(builder, n.type(0), n, n.type(line)) as (k, _):
            address = _address(context, builder, signature.args[0], array, builder.add(index, k))
            to_read, in_all_caches, data = number(0), number(3), number(1)
            builder.call(ask, [builder.bitcast(address, pointer), to_read, in_all_caches, data])
        return context.get_dummy_value()

    return types.void(array, types.intp, types.intp), generate


@intrinsic
def clear(typing_context, to, to_at, n):
    """Set n neighbouring numbers of ``to.flat`` to zero."""

    def generate(context, builder, signature, args):
        target = _address(context, builder, signature.args[0], *args[:2])
        size = context.get_abi_sizeof(context.get_value_type(signature.args[0].dtype))
        cgutils.memset(builder, target, builder.mul(args[2], args[2].type(size)), 0)
        return context.get_dummy_value()

    return types.void(to, types.intp, types.intp), generate


writers = [_make_writer(k) for k in range(WRITERS)]

# --- denormal numbers -------------------------------------------------------------------------------------
#
# Gradients that vanish over hundreds of steps become denormal, and arithmetic with such numbers is many times
# slower. The loops take them for zero, as TensorFlow and JAX do everywhere; outside nothing changes.

_IS_X86 = cpu_target.target_context.codegen().magic_tuple()[0].startswith(("x86_64", "i686"))
_FLUSH = 0x8040  # of the control register: flush results to zero, take operands for zero


def _control_register(builder: ir.IRBuilder, name: str, place: Any) -> None:
    kind = ir.FunctionType(ir.VoidType(), [place.type])
    builder.call(builder.module.declare_intrinsic(f"llvm.x86.sse.{name}", (), kind), [place])


@intrinsic
def flush_denormals(typing_context):
    """Take denormal numbers for zero from here on; return what `restore_denormals` needs."""

    def generate(context, builder, signature, args):
        place = cgutils.alloca_once_value(builder, ir.IntType(32)(0))
        if _IS_X86:
            _control_register(builder, "stmxcsr", place)
        before = builder.load(place)
        if _IS_X86:
            builder.store(builder.or_(before, ir.IntType(32)(_FLUSH)), place)
            _control_register(builder, "ldmxcsr", place)
        return before

    return types.int32(), generate


@intrinsic
def restore_denormals(typing_context, before):
    """Treat denormal numbers as before `flush_denormals`."""

    def generate(context, builder, signature, args):
        if _IS_X86:
            place = cgutils.alloca_once_value(builder, args[0])
            _control_register(builder, "ldmxcsr", place)
        return context.get_dummy_value()

    return types.void(types.int32), generate


# --- products ---------------------------------------------------------------------------------------------


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
            address = _address(context, builder, array_type, array, index)
            return builder.bitcast(address, vector.as_pointer())

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
                left = repeated(
                    builder.load(_address(context, builder, a_type, a, offset(a_now, (i, a_row))))
                )
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
_low_wide, _low = _make_tile(1, 4), _make_tile(1, 1)


@jit
def product(c, c_at, c_row, a, a_at, a_row, a_k, b, b_at, b_vector, b_k, rows, vectors, depth, lanes):
    """Add the product of A and B to C: see `_make_tile` for how the matrices are given.

    A is (rows, depth), B is (depth, vectors * lanes). Near the speed of a BLAS's product, also for few
    rows, and of matrices of any strides: the recurrent kernel needs no other.
    """
    tall = rows - rows % TALL
    for v in range(0, vectors, 2):
        b_v = b_at + v * b_vector
        for i in range(0, tall, TALL):
            c_i, a_i = c_at + i * c_row + v * lanes, a_at + i * a_row
            if v + 1 < vectors:
                _tall_wide(c, c_i, c_row, a, a_i, a_row, a_k, b, b_v, b_vector, b_k, depth)
            else:
                _tall(c, c_i, c_row, a, a_i, a_row, a_k, b, b_v, b_vector, b_k, depth)
    wide = vectors - vectors % 4
    for i in range(tall, rows):
        c_i, a_i = c_at + i * c_row, a_at + i * a_row
        for v in range(0, wide, 4):
            b_v = b_at + v * b_vector
            _low_wide(c, c_i + v * lanes, c_row, a, a_i, a_row, a_k, b, b_v, b_vector, b_k, depth)
        for v in range(wide, vectors):
            b_v = b_at + v * b_vector
            _low(c, c_i + v * lanes, c_row, a, a_i, a_row, a_k, b, b_v, b_vector, b_k, depth)


# --- functions --------------------------------------------------------------------------------------------


@intrinsic
def _bits(typing_context, x):
    """Return the bits of a float as an integer of the same size."""
    integer = types.int32 if x == types.float32 else types.int64

    def generate(context, builder, signature, args):
        return builder.bitcast(args[0], context.get_value_type(integer))

    return integer(x), generate


@intrinsic
def _of_bits(typing_context, i):
    """Return the float of these bits."""
    real = types.float32 if i == types.int32 else types.float64

    def generate(context, builder, signature, args):
        return builder.bitcast(args[0], context.get_value_type(real))

    return real(i), generate


_LN2 = Decimal("0.693147180559945309417232121458")


def _make_functions(
    number: type, integer: type, mantissa: int, bias: int, degree: int
) -> dict[str, Callable]:
    """Return the functions of cells for one type of float, in arithmetic that vectorises.

    All rest on ``exp(x) = s (1 + q)`` with a power of two s and ``q = exp(r) - 1``, ``|r| <= ln(2) / 2``, a
    Taylor polynomial. ``exp(x) - 1 = s q + (s - 1)`` then loses nothing to cancellation, and neither does
    ``tanh(x) = (exp(2x) - 1) / (exp(2x) + 1)``. Errors are below 3 units in the last place. Within one
    part in a hundred of the exponents at which `exp` overflows or vanishes, it is infinite or zero; the
    logistic function does not fall below the smallest normal number.

    Parameters
    ----------
    number, integer : type
        The float and the integer of its size.
    mantissa, bias : int
        Bits of the float's fraction; what its exponent counts from.
    degree : int
        Of the polynomial.
    """
    per_octave = number(1 / math.log(2))
    rounder = number(1.5 * 2.0**mantissa)  # added, it moves the nearest integer into the lowest bits
    few = number(2.0 ** (mantissa // 2))
    ln2_high = number(np.floor(math.log(2) * few) / few)  # times an exponent it is exact
    ln2_low = number(_LN2 - Decimal(float(ln2_high)))
    one, two, zero = number(1), number(2), number(0)
    largest = number(math.log(2) * (bias - 1))  # beyond, the power of two is no float
    infinity = number(np.inf)
    far = number(0.5 * math.log(2) * (mantissa + 4))  # beyond, tanh is one
    taylor = tuple(number(1 / math.factorial(k)) for k in range(degree, 1, -1))

    @jit
    def parts(x):
        """Return s and q."""
        n = x * per_octave + rounder
        s = _of_bits(integer((_bits(n) << mantissa) + (bias << mantissa)))
        n = n - rounder
        r = x - n * ln2_high
        r = r - n * ln2_low
        q = taylor[0]
        for k in range(1, degree - 1):
            q = q * r + taylor[k]
        return s, q * r * r + r

    @jit
    def within(x, limit):
        """Return `x` limited to both sides; nan stays."""
        x = limit if x > limit else x
        return -limit if x < -limit else x

    @jit
    def exp(x):
        s, q = parts(within(x, largest))
        y = infinity if x > largest else s + s * q
        return zero if x < -largest else y

    @jit
    def expm1(x):
        s, q = parts(within(x, largest))
        return infinity if x > largest else s * q + (s - one)

    @jit
    def sigmoid(x):
        s, q = parts(within(-x, largest))
        return one / (one + (s + s * q))

    @jit
    def tanh(x):
        s, q = parts(two * within(x, far))
        e = s * q + (s - one)
        return e / (e + two)

    @jit
    def maximum(a, b):
        return a if a > b or a != a else b

    @jit
    def minimum(a, b):
        return a if a < b or a != a else b

    @jit
    def relu(x):
        return maximum(x, zero)

    @jit
    def softplus(x):
        return maximum(x, zero) + number(math.log1p(exp(-number(abs(x)))))

    @jit
    def sign(x):
        return one if x > zero else -one if x < zero else x  # nan stays

    @jit
    def absolute(x):
        return number(abs(x))

    @jit
    def clip(x, low, high):
        return minimum(maximum(x, low), high)

    @jit
    def where(condition, a, b):
        return a if condition != zero else b

    found = {"exp": exp, "expm1": expm1, "sigmoid": sigmoid, "tanh": tanh, "maximum": maximum}
    found |= {"minimum": minimum, "relu": relu, "softplus": softplus, "sign": sign, "abs": absolute}
    return found | {"clip": clip, "where": where} | _of_the_library(number)


def _of_the_library(number: type) -> dict[str, Callable]:
    """Return functions that are left to the C library: right, one number at a time."""

    def make(function):
        return jit(lambda x: number(function(x)))

    names = ("log", "log1p", "sqrt", "sin", "cos", "erf")
    return {name: make(getattr(math, name)) for name in names}


FUNCTIONS = {
    "float32": SimpleNamespace(**_make_functions(np.float32, np.int32, 23, 127, 7)),
    "float64": SimpleNamespace(**_make_functions(np.float64, np.int64, 52, 1023, 13)),
}
