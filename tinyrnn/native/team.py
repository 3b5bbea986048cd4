"""Several threads on one piece of work, in compiled code: its parts are posted and taken in a microsecond.

Whoever has work posts it in a *mailbox*: a function of the number of a part, and how many parts there are.
The threads of a team look into the mailbox (`serve`), take parts, and so does the one who posted, until none
is left. So nothing depends on how many threads are there, or whether they are awake. Waking a thread that
sleeps takes the operating system fifty times as long; `tinyrnn.threads` keeps the team.

A mailbox holds one piece of work at a time. Who finds it busy does all parts alone.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import typeof, types
from numba.core import cgutils
from numba.core.callconv import RETCODE_NONE, RETCODE_OK
from numba.core.compiler_lock import global_compiler_lock
from numba.extending import intrinsic

from tinyrnn.native.jit import IS_X86, call_shared, entry, jit, keep, share
from tinyrnn.native.memory import flush_denormals, restore_denormals

__all__ = ["make_mailbox", "parallel", "release", "reserve", "serve"]

# The words of a mailbox stand far apart: a thread that watches one does not slow down writing another.
_APART = 16
_BUSY, _LEFT, _DONE, _CODE, _ARGUMENTS = (k * _APART for k in range(5))
_TURNS = 500  # of looking, before others that wait for the processor are let on it
_WORD, _BYTES = ir.IntType(64), ir.IntType(8).as_pointer()
_YIELD = "sched_yield" if llvm.address_of_symbol("sched_yield") else None


def make_mailbox() -> np.ndarray:
    """Return an empty mailbox."""
    return np.zeros(5 * _APART, np.int64)


# --- single words, read and written as all threads see them -----------------------------------------------


def _place(context: Any, builder: ir.IRBuilder, signature: Any, mailbox: Any, word: Any) -> Any:
    data = context.make_array(signature.args[0])(context, builder, mailbox).data
    return builder.gep(data, [word], source_etype=_WORD)


@intrinsic
def _load(typing_context, mailbox, word):
    def generate(context, builder, signature, args):
        return builder.load_atomic(_place(context, builder, signature, *args), "acquire", 8)

    return types.int64(mailbox, types.int64), generate


@intrinsic
def _store(typing_context, mailbox, word, value):
    def generate(context, builder, signature, args):
        builder.store_atomic(args[2], _place(context, builder, signature, *args[:2]), "release", 8)
        return context.get_dummy_value()

    return types.void(mailbox, types.int64, types.int64), generate


@intrinsic
def _add(typing_context, mailbox, word, value):
    def generate(context, builder, signature, args):
        return builder.atomic_rmw("add", _place(context, builder, signature, *args[:2]), args[2], "acq_rel")

    return types.int64(mailbox, types.int64, types.int64), generate


@intrinsic
def _replace(typing_context, mailbox, word, old, new):
    """Set a word to `new` if it is `old`; return whether it was."""

    def generate(context, builder, signature, args):
        place = _place(context, builder, signature, *args[:2])
        return builder.extract_value(builder.cmpxchg(place, *args[2:], "acq_rel", "monotonic"), 1)

    return types.boolean(mailbox, types.int64, types.int64, types.int64), generate


@intrinsic
def _relax(typing_context):
    """Tell the processor that this thread is only waiting."""

    def generate(context, builder, signature, args):
        if IS_X86:
            kind = ir.FunctionType(ir.VoidType(), [])
            builder.call(builder.module.declare_intrinsic("llvm.x86.sse2.pause", (), kind), [])
        return context.get_dummy_value()

    return types.void(), generate


@intrinsic
def _let_others_on(typing_context):
    """Offer the processor to other threads that have something to do."""

    def generate(context, builder, signature, args):
        if _YIELD:
            kind = ir.FunctionType(ir.IntType(32), [])
            builder.call(cgutils.get_or_insert_function(builder.module, kind, _YIELD), [])
        return context.get_dummy_value()

    return types.void(), generate


# --- taking parts -----------------------------------------------------------------------------------------


@intrinsic
def _call(typing_context, code, arguments, part):
    """Call the function at an address that `_address` returned."""

    def generate(context, builder, signature, args):
        kind = ir.FunctionType(ir.VoidType(), [_WORD, _BYTES])
        code, arguments, part = args
        builder.call(builder.inttoptr(code, kind.as_pointer()), [part, builder.inttoptr(arguments, _BYTES)])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), generate


@jit
def take(mailbox):
    """Return the number of a part that is the caller's to do from now on; -1 if none is left."""
    while True:
        left = _load(mailbox, _LEFT)
        if left <= 0:
            return -1
        if _replace(mailbox, _LEFT, left, left - 1):
            return left - 1


@jit
def wait(mailbox, parts):
    """Return when all parts are done."""
    turns = 0
    while _load(mailbox, _DONE) < parts:
        _relax()
        turns += 1
        if turns % _TURNS == 0:
            _let_others_on()


@entry
def serve(mailbox, turns):
    """Take parts and do them, until nothing has come for so many turns of looking."""
    turn = 0
    while turn < turns:
        part = take(mailbox)
        if part < 0:
            _relax()
            turn += 1
            if turn % _TURNS == 0:
                _let_others_on()
            continue
        _call(_load(mailbox, _CODE), _load(mailbox, _ARGUMENTS), part)
        _add(mailbox, _DONE, 1)
        turn = 0


# --- posting ----------------------------------------------------------------------------------------------


@entry
def reserve(mailbox):
    """Return whether the mailbox was free; from now on it is the caller's."""
    return _replace(mailbox, _BUSY, 0, 1)


@entry
def release(mailbox):
    """Let others post."""
    _store(mailbox, _BUSY, 0)


@jit
def _post(mailbox, parts, code, arguments):
    """Offer the parts of a piece of work to all."""
    _store(mailbox, _CODE, code)
    _store(mailbox, _ARGUMENTS, arguments)
    _store(mailbox, _DONE, 0)
    _store(mailbox, _LEFT, parts)  # last: whoever sees this sees the rest


@entry
def _work(mailbox, parts, code, arguments):
    """Have all parts done."""
    if parts == 1 or not reserve(mailbox):
        for part in range(parts):
            _call(code, arguments, part)
        return
    _post(mailbox, parts, code, arguments)
    while True:
        part = take(mailbox)
        if part < 0:
            break
        _call(code, arguments, part)
        _add(mailbox, _DONE, 1)
    wait(mailbox, parts)
    release(mailbox)


@functools.cache
def provide_work() -> str:
    """Compile what every parallel function calls, and return its name (see `share`)."""
    share(_work, (types.int64[::1], types.int64, types.int64, types.int64), "tinyrnn_work")
    return "tinyrnn_work"


@intrinsic
def work(typing_context, mailbox, parts, code, arguments):
    """Call `_work`."""

    def generate(context, builder, signature, args):
        return call_shared(context, builder, provide_work(), signature, args)

    return types.void(mailbox, *[types.int64] * 3), generate


@intrinsic
def _address(typing_context, code, arguments):
    """Return the address of a function of a part and of its arguments, and that of these arguments.

    Behind the arguments stands whether a part has failed. Denormal numbers are zero while a part runs.

    `code` is the address of a function compiled for the number of a part and for the arguments.
    """
    kinds = (types.int64, *arguments.types)

    def generate(context, builder, signature, args):
        shell = ir.Function(
            builder.module, ir.FunctionType(ir.VoidType(), [_WORD, _BYTES]), f"part.{builder.function.name}"
        )
        shell.linkage = "internal"
        inner = ir.IRBuilder(shell.append_basic_block())
        held = ir.LiteralStructType([_WORD, context.get_value_type(arguments), _WORD])
        place = inner.bitcast(shell.args[1], held.as_pointer())
        code, values = (inner.load(cgutils.gep_inbounds(inner, place, 0, k)) for k in range(2))
        values = [shell.args[0], *(inner.extract_value(values, k) for k in range(len(arguments)))]
        kind = context.call_conv.get_function_type(types.none, kinds)
        results = [cgutils.alloca_once(inner, t.pointee) for t in kind.args[:2]]
        before = flush_denormals(inner)
        status = inner.call(
            inner.inttoptr(code, kind.as_pointer()),
            [*results, *context.get_arg_packer(kinds).as_arguments(inner, values)],
        )
        restore_denormals(inner, before)
        fine = [inner.icmp_signed("==", status, s) for s in (RETCODE_OK, RETCODE_NONE)]
        with inner.if_then(inner.not_(inner.or_(*fine)), likely=False):
            inner.store(_WORD(1), cgutils.gep_inbounds(inner, place, 0, 2))
        inner.ret_void()
        place = cgutils.alloca_once(builder, held)
        for k, value in enumerate((*args, _WORD(0))):
            builder.store(value, cgutils.gep_inbounds(builder, place, 0, k))
        pair = [builder.ptrtoint(p, _WORD) for p in (shell, place)]
        return context.make_tuple(builder, signature.return_type, pair)

    return types.UniTuple(types.int64, 2)(types.int64, arguments), generate


@intrinsic
def _has_failed(typing_context, place, arguments):
    """Return whether a part has failed, by the place that `_address` returned for these arguments."""

    def generate(context, builder, signature, args):
        held = ir.LiteralStructType([_WORD, context.get_value_type(arguments), _WORD])
        place = builder.inttoptr(args[0], held.as_pointer())
        failed = builder.load(cgutils.gep_inbounds(builder, place, 0, 2))
        return builder.icmp_signed("!=", failed, _WORD(0))

    return types.boolean(types.int64, arguments), generate


@functools.cache
def _runner(kinds: tuple) -> Any:
    """Return the compiled function that runs parts of any code compiled for arguments of these types."""

    def run(mailbox, parts, code, *args):
        shell, arguments = _address(code, args)
        work(mailbox, parts, shell, arguments)
        return _has_failed(arguments, args)

    provide_work()
    dispatcher = entry(run)
    dispatcher.compile((types.int64[::1], types.int64, types.int64, types.Tuple(kinds)))
    dispatcher.disable_compile()
    return dispatcher


class parallel:  # noqa: N801 - a decorator
    """Compile ``function(part, *args)``, to be called as ``function(mailbox, parts, *args)`` (a decorator).

    Its code is kept on disk. What a part computes must not depend on other parts: they run at once, and in
    any order. All calls are of the same types: those of the first.
    """

    def __init__(self, function: Callable):
        self._part = keep(jit(function), function)
        self._run: Any = None

    def __call__(self, mailbox: np.ndarray, parts: int, *args: Any) -> None:
        """Run the parts with these arguments, on all threads that look into the mailbox.

        A MemoryError is all that may happen.
        """
        if self._run is None:
            self._compile(tuple(typeof(a) for a in args))
        if self._run(mailbox, parts, self._code, *args):
            raise MemoryError("not enough memory for what a compiled loop needs beside its results")

    def _compile(self, kinds: tuple) -> None:
        with global_compiler_lock:
            whole = (types.int64, *kinds)
            self._part.compile(whole)
            found = self._part.overloads[whole]
            self._code = found.library.get_pointer_to_function(found.fndesc.llvm_func_name)
            self._run = _runner(kinds)
