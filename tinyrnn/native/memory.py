"""Raw memory in compiled loops: reads, writes, copies, and the treatment of denormal numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from tinyrnn.native import LINE, WRITERS
from tinyrnn.native.jit import IS_X86, LANES, VECTOR_BYTES, jit

__all__ = [
    "add", "add_scaled", "address", "clear", "copy", "empty", "pointer", "prefetch",
    "read", "scale", "whole_vectors", "writers", "zeros",
]  # fmt: skip

# --- memory -----------------------------------------------------------------------------------------------
#
# A loop reads some arrays and writes others. LLVM vectorises it only if it knows that a write cannot change
# what is read later; with a dozen rows of a few arrays it gives up checking. `read` and the `writers` say so:
# within one function, no location that one of them writes is touched by another in another turn of the loop.


def _scopes(module: ir.Module) -> list:
    """Return one alias scope for each writer."""
    domain = module.add_metadata([ir.MetaDataString(module, "tinyrnn")])
    return [module.add_metadata([ir.MetaDataString(module, f"write {k}"), domain]) for k in range(WRITERS)]


def address(context: Any, builder: ir.IRBuilder, array_type: Any, array: Any, index: Any) -> Any:
    """Return the pointer to ``array.flat[index]``, for code that an intrinsic generates."""
    data = context.make_array(array_type)(context, builder, array).data
    return builder.gep(data, [index], source_etype=context.get_value_type(array_type.dtype))


@intrinsic
def read(typing_context, array, index):
    """Return ``array.flat[index]``, index unchecked, as independent of all writers."""

    def generate(context, builder, signature, args):
        value = builder.load(address(context, builder, signature.args[0], *args))
        value.set_metadata("noalias", builder.module.add_metadata(_scopes(builder.module)))
        return value

    return array.dtype(array, types.intp), generate


def _make_writer(k: int) -> Callable:
    @intrinsic
    def write(typing_context, array, index, value):
        def generate(context, builder, signature, args):
            store = builder.store(args[2], address(context, builder, signature.args[0], *args[:2]))
            scopes = _scopes(builder.module)
            store.set_metadata("alias.scope", builder.module.add_metadata([scopes[k]]))
            store.set_metadata("noalias", builder.module.add_metadata(scopes[:k] + scopes[k + 1 :]))
            return context.get_dummy_value()

        return types.void(array, types.intp, array.dtype), generate

    return write


def _move_code(adds: bool) -> Callable:
    """Return what generates a loop ``to = source``, or ``to +=``, over n neighbouring numbers of each.

    `n` is not negative. With two arguments more the source is multiplied with neighbouring factors. What
    does not fill a vector at the end is one masked vector: units and features are rarely a power of two.
    """

    def generate(context, builder, signature, args):
        to, to_at, source, source_at, n, *factor = args
        number = context.get_value_type(signature.args[0].dtype)
        lanes = LANES[np.dtype(signature.args[0].dtype.name)]
        vector, size = ir.VectorType(number, lanes), VECTOR_BYTES // lanes
        whole = builder.and_(n, n.type(-lanes))

        def part(k, load, store):
            def place(array_type, array, index):
                pointer = address(context, builder, array_type, array, builder.add(index, k))
                return builder.bitcast(pointer, vector.as_pointer())

            there = place(signature.args[0], to, to_at)
            value = load(place(signature.args[2], source, source_at))
            if factor:
                value = builder.fmul(value, load(place(signature.args[5], *factor)))
            store(builder.fadd(load(there), value) if adds else value, there)

        with cgutils.for_range_slice(builder, n.type(0), whole, n.type(lanes)) as (k, _):
            part(k, lambda p: builder.load(p, align=size), lambda v, p: builder.store(v, p, align=size))
        with builder.if_then(builder.icmp_signed("<", whole, n)):
            part(whole, *_masked(builder, vector, size, builder.sub(n, whole)))
        return context.get_dummy_value()

    return generate


def _masked(builder: ir.IRBuilder, vector: ir.VectorType, size: int, n: Any) -> tuple[Callable, Callable]:
    """Return how to load and to store the first n numbers of a vector, zeros being loaded for the others."""
    lanes, index = vector.count, ir.VectorType(n.type, vector.count)
    one = builder.insert_element(ir.Constant(index, ir.Undefined), n, ir.IntType(32)(0))
    spread = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)
    limit = builder.shuffle_vector(one, ir.Constant(index, ir.Undefined), spread)
    mask = builder.icmp_signed("<", ir.Constant(index, list(range(lanes))), limit)
    alignment, zero = ir.IntType(32)(size), ir.Constant(vector, [0.0] * lanes)

    def intrinsic(way, result, *kinds):
        name = f"llvm.masked.{way}.v{lanes}f{8 * size}.p0"
        return builder.module.declare_intrinsic(name, (), ir.FunctionType(result, kinds))

    def load(p):
        kinds = p.type, alignment.type, mask.type, vector
        return builder.call(intrinsic("load", vector, *kinds), [p, alignment, mask, zero])

    def store(value, p):
        kinds = vector, p.type, alignment.type, mask.type
        return builder.call(intrinsic("store", ir.VoidType(), *kinds), [value, p, alignment, mask])

    return load, store


def _make_mover(adds: bool) -> Callable:
    @intrinsic
    def move(typing_context, to, to_at, source, source_at, n):
        index = types.intp
        return types.void(to, index, source, index, index), _move_code(adds)

    return move


def _make_scaler(adds: bool) -> Callable:
    @intrinsic
    def scale(typing_context, to, to_at, source, source_at, n, factor, factor_at):
        index = types.intp
        return types.void(to, index, source, index, index, factor, index), _move_code(adds)

    return scale


# Few numbers, for which a call of the C library's functions would be slow.
copy, add = _make_mover(adds=False), _make_mover(adds=True)
scale, add_scaled = _make_scaler(adds=False), _make_scaler(adds=True)


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
        line = LINE // context.get_abi_sizeof(context.get_value_type(signature.args[0].dtype))
        with cgutils.for_range_slice(builder, n.type(0), n, n.type(line)) as (k, _):
            place = address(context, builder, signature.args[0], array, builder.add(index, k))
            to_read, in_all_caches, data = number(0), number(3), number(1)
            builder.call(ask, [builder.bitcast(place, pointer), to_read, in_all_caches, data])
        return context.get_dummy_value()

    return types.void(array, types.intp, types.intp), generate


@intrinsic
def clear(typing_context, to, to_at, n):
    """Set n neighbouring numbers of ``to.flat`` to zero."""

    def generate(context, builder, signature, args):
        target = address(context, builder, signature.args[0], *args[:2])
        size = context.get_abi_sizeof(context.get_value_type(signature.args[0].dtype))
        cgutils.memset(builder, target, builder.mul(args[2], args[2].type(size)), 0)
        return context.get_dummy_value()

    return types.void(to, types.intp, types.intp), generate


@intrinsic
def pointer(typing_context, place, number):
    """Return an address as a pointer to numbers of this type, for `numba.carray`."""
    kind = types.CPointer(number.instance_type)

    def generate(context, builder, signature, args):
        return builder.inttoptr(args[0], context.get_value_type(kind))

    return kind(types.int64, number), generate


@jit
def empty(n, kind):
    """Return an array of n numbers of any value that begins with a cache line: no vector straddles two."""
    room = np.empty(n + LINE, kind)
    start = -room.ctypes.data % LINE // room.itemsize
    return room[start : start + n]


@jit
def zeros(n, kind):
    """Return an array of n zeros that begins with a cache line."""
    out = empty(n, kind)
    clear(out, 0, n)
    return out


writers = [_make_writer(k) for k in range(WRITERS)]

# --- denormal numbers -------------------------------------------------------------------------------------
#
# Gradients that vanish over hundreds of steps become denormal, and arithmetic with such numbers is many times
# slower. The loops take them for zero, as TensorFlow and JAX do everywhere; outside nothing changes.

_FLUSH = 0x8040  # of the control register: flush results to zero, take operands for zero


def _control_register(builder: ir.IRBuilder, name: str, place: Any) -> None:
    kind = ir.FunctionType(ir.VoidType(), [place.type])
    builder.call(builder.module.declare_intrinsic(f"llvm.x86.sse.{name}", (), kind), [place])


def flush_denormals(builder: ir.IRBuilder) -> Any:
    """Generate code that takes denormal numbers for zero; return what `restore_denormals` needs."""
    place = cgutils.alloca_once_value(builder, ir.IntType(32)(0))
    if IS_X86:
        _control_register(builder, "stmxcsr", place)
    before = builder.load(place)
    if IS_X86:
        builder.store(builder.or_(before, ir.IntType(32)(_FLUSH)), place)
        _control_register(builder, "ldmxcsr", place)
    return before


def restore_denormals(builder: ir.IRBuilder, before: Any) -> None:
    """Generate code that treats denormal numbers as before `flush_denormals`."""
    if IS_X86:
        _control_register(builder, "ldmxcsr", cgutils.alloca_once_value(builder, before))
