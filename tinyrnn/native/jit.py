"""Compiling: functions for Numba, and their code kept on disk."""

from __future__ import annotations

import hashlib
import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import numba
import numpy as np
from numba import types
from numba.core import cgutils, serialize
from numba.core.caching import CompileResultCacheImpl, NullCache
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import cpu_target

from tinyrnn.native.files import cache_folder, read_checked, write_checked

__all__ = ["IS_X86", "LANES", "VECTOR_BYTES", "call_shared", "entry", "inlined", "jit", "keep", "share"]


# A process forked while another thread compiles would wait for that thread, which is not in it.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=global_compiler_lock.acquire,
        after_in_parent=global_compiler_lock.release,
        after_in_child=global_compiler_lock.release,
    )


def jit(function: Callable) -> Any:
    """Compile a function that compiled code calls, without the interpreter's lock (a decorator).

    Division by zero gives inf as in NumPy, which lets a loop with a division in it be vectorised;
    ``a * b + c`` may be rounded once instead of twice.
    """
    return numba.njit(no_cpython_wrapper=True, no_cfunc_wrapper=True, **_OPTIONS)(function)


def inlined(function: Callable) -> Any:
    """Copy a function into those that call it, before they are compiled: it is compiled only with them."""
    return numba.njit(inline="always", no_cpython_wrapper=True, no_cfunc_wrapper=True, **_OPTIONS)(function)


_OPTIONS = {"nogil": True, "error_model": "numpy", "fastmath": {"contract"}}


def entry(function: Callable) -> Any:
    """Compile a function that is called from Python, and keep its code on disk (a decorator)."""
    return keep(numba.njit(no_cfunc_wrapper=True, **_OPTIONS)(function), function)


def keep(dispatcher: Any, function: Callable) -> Any:
    """Keep the code of a compiled function on disk, by the name and the module of `function`."""
    dispatcher._cache = _DiskCache(function)
    return dispatcher


def share(dispatcher: Any, kinds: tuple, name: str) -> None:
    """Compile a function for these types, and let all other code call it by `name`.

    Numba compiles a function again with each one that calls it; what is shared is compiled once. Code that
    was read from disk needs its names to be known, so a module shares what it calls before it is run.
    """
    dispatcher.compile(kinds)
    found = dispatcher.overloads[kinds]
    llvm.add_symbol(name, found.library.get_pointer_to_function(found.fndesc.llvm_func_name))


def call_shared(context: Any, builder: Any, name: str, signature: Any, args: Any) -> Any:
    """Generate the call of a function that `share` has named, for an intrinsic."""
    kind = context.call_conv.get_function_type(types.none, signature.args)
    function = cgutils.get_or_insert_function(builder.module, kind, name)
    context.call_conv.call_function(builder, function, types.none, signature.args, args)
    return context.get_dummy_value()


class _DiskCache(NullCache):
    """Keeps compiled code in the cache folder.

    Numba's own cache breaks a run when its index is damaged, and refuses to start without a folder to
    write to. The key covers all that the code depends on: the generated text, this package, the versions, the
    processor and the types.
    """

    _package = [path.read_text() for path in sorted(Path(__file__).parent.glob("*.py"))]
    _environment = repr((sys.version, numba.__version__, _package))

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
IS_X86 = cpu_target.target_context.codegen().magic_tuple()[0].startswith(("x86_64", "i686"))
