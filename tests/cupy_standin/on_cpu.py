"""CUDA C compiled for the CPU, and run there.

Compiled code is kept in a folder of the user's below the system's folder for temporary files, by a hash of
all that it was made from, so that processes side by side may share it. `on_cpu.h` says what runs how, and
what is found: besides what it says there, indices outside of an array, addresses that are not aligned,
integers that overflow, and writes a little outside of an argument or of shared memory.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import mmap
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cupy_standin
from cupy_standin import device
from cupy_standin.arrays import ndarray

__all__ = ["RawKernel", "RawModule", "missing"]

HEADER = Path(__file__).with_name("on_cpu.h")
CHECKS = "-fsanitize=bounds,alignment,null,signed-integer-overflow,integer-divide-by-zero,shift"
FLAGS = ("-std=c++17", "-O0", "-fPIC", "-U_FORTIFY_SOURCE", "-fno-exceptions", "-ffp-contract=off", "-w")


def missing() -> str:
    """Return why kernels cannot run here, an empty text if they can."""
    if not sys.platform.startswith("linux"):
        return "running CUDA C on the CPU needs Linux"
    return "" if _compiler() else "running CUDA C on the CPU needs a C++ compiler (c++, g++ or clang++)"


def _compiler() -> str | None:
    return next(filter(None, map(shutil.which, ("g++", "clang++", "c++"))), None)


# --- compiling --------------------------------------------------------------------------------------------

KERNEL = re.compile(
    r'extern\s+"C"\s+__global__\s+void\s+(?:__launch_bounds__\s*(\((?:[^()]|\([^()]*\))*\))\s*)?(\w+)'
)
DYNAMIC = re.compile(r"extern\s+__shared__\s+(?:__align__\(\d+\)\s+)?([\w ]+?)\s+(\w+)\s*\[\s*\]\s*;")


def translate(code: str, defines: Sequence[str]) -> str:
    """Return the source for the CPU: the header, `code`, and a way to launch each of its kernels."""
    command = [_compiler(), "-E", "-x", "c++", *defines, "-"]  # so that kernels under #if are told apart
    code = _run(command, None, f'#line 1 "kernel"\n{code}')
    kernels = KERNEL.findall(code)
    code = KERNEL.sub(lambda m: m[0].replace('extern "C"', "", 1), code)
    code = DYNAMIC.sub(r"\1* const \2 = reinterpret_cast<\1*>(standin::shared_memory);", code)
    bounds = [f"constexpr int standin_bound_{name} = {bound or 1024};" for bound, name in kernels]
    entries = [ENTRY.replace("NAME", name) for _, name in kernels]
    head = f'#include "{HEADER}"\nnamespace {{ namespace cuda_source {{\n'
    return "\n".join([head + code, '#line 1 "entries"', *bounds, "}}", *entries])


ENTRY = """
extern "C" int standin_launch_NAME(standin::Launch* launch) {
    return standin::run_grid(launch, &standin::Kernel<&cuda_source::NAME>::call);
}
extern "C" const char* standin_signature_NAME() {
    return standin::Kernel<&cuda_source::NAME>::signature();
}
extern "C" int standin_threads_NAME() { return cuda_source::standin_bound_NAME; }
"""


@functools.cache
def _version(compiler: str) -> str:
    return subprocess.run([compiler, "--version"], capture_output=True, text=True, check=True).stdout


@functools.cache
def _folder() -> Path:
    folder = Path(tempfile.gettempdir()) / f"cupy_standin-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():  # of somebody else: nothing is loaded from there
        return Path(tempfile.mkdtemp(prefix="cupy_standin-"))
    return folder


@functools.cache
def build(code: str, defines: tuple[str, ...]) -> ctypes.CDLL:
    """Compile `code`, or find what was compiled from the same text, and load it.

    Where that is impossible the test that asks for it is skipped.
    """
    if missing():
        pytest.skip(missing())
    compiler, source = _compiler(), translate(code, defines)
    parts = (source, HEADER.read_text(), _version(compiler), CHECKS, *FLAGS, *defines)
    library = _folder() / (hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32] + ".so")
    if not library.exists():
        with tempfile.TemporaryDirectory(dir=_folder()) as work:
            (Path(work) / "kernel.cpp").write_text(source)
            # In two steps: linked with the checks, it would want the compiler's own answers to them.
            _run([compiler, *FLAGS, *defines, CHECKS, "-c", "kernel.cpp", "-o", "kernel.o"], work)
            _run([compiler, "-shared", "kernel.o", "-o", "kernel.so"], work)
            os.replace(Path(work) / "kernel.so", library)
    return ctypes.CDLL(str(library))


def _run(command: list[str], folder: str | None, text: str | None = None) -> str:
    done = subprocess.run(command, cwd=folder, input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        raise cupy_standin.cuda.compiler.CompileException(done.stderr, "", "kernel", command)
    return done.stdout


# --- launching --------------------------------------------------------------------------------------------

MARGIN = 4096  # bytes around what a kernel may write to, in which writes are found
STACK = 1 << 16
_lock = threading.Lock()  # of what a compiled library has in one place for all threads


class Launch(ctypes.Structure):
    """What `on_cpu.h` calls Launch."""

    _fields_ = (
        ("grid", ctypes.c_uint * 3),
        ("block", ctypes.c_uint * 3),
        ("args", ctypes.POINTER(ctypes.c_void_p)),
        ("shared", ctypes.c_void_p),
        ("shared_bytes", ctypes.c_size_t),
        ("stacks", ctypes.c_void_p),
        ("stack_bytes", ctypes.c_size_t),
        ("seed", ctypes.c_uint64),
        ("error", ctypes.c_char_p),
        ("error_bytes", ctypes.c_size_t),
    )


@functools.cache
def _stacks() -> Any:
    """Return memory for the stacks of a block's threads, the same for all kernels."""
    memory = mmap.mmap(-1, 1024 * STACK, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)  # taken when touched
    return (ctypes.c_char * len(memory)).from_buffer(memory)


class Guarded:
    """Memory with a margin on both sides, all of it 0xFF."""

    def __init__(self, size: int):
        self.size = size
        self.whole = np.full(size + 2 * MARGIN + 256, 0xFF, np.uint8)
        start = self.whole.ctypes.data + MARGIN
        self.first = MARGIN + -start % 256
        self.address = self.whole.ctypes.data + self.first

    def is_intact(self) -> bool:
        """Whether nothing was written to the margins."""
        stop = self.first + self.size
        return bool((self.whole[: self.first] == 0xFF).all() and (self.whole[stop:] == 0xFF).all())


class RawKernel:
    """A kernel; called with ``(grid, block, args)`` it is launched."""

    def __init__(self, code: str, name: str, options: tuple[str, ...] = (), **settings: Any):
        self.code, self.name, self.options = code, name, _checked(options)
        self._shared_limit = 48 << 10

    @functools.cached_property
    def _library(self) -> ctypes.CDLL:
        defines = tuple(option for option in self.options if option.startswith("-D"))
        return build(self.code, defines)

    @functools.cached_property
    def _signature(self) -> list[str]:
        try:
            signature = getattr(self._library, f"standin_signature_{self.name}")
        except AttributeError:
            raise cupy_standin.cuda.driver.CUDADriverError(
                f"CUDA_ERROR_NOT_FOUND: named symbol not found: {self.name}"
            ) from None
        signature.restype = ctypes.c_char_p
        return [code for code in signature().decode().split(",") if code]

    def compile(self, log_stream: Any = None) -> None:
        """Compile it now."""
        self._signature  # noqa: B018

    @property
    def max_threads_per_block(self) -> int:
        """The most threads of a block: what the source says in ``__launch_bounds__``."""
        self.compile()
        return getattr(self._library, f"standin_threads_{self.name}")()

    @property
    def max_dynamic_shared_size_bytes(self) -> int:
        """The most dynamic shared memory that a launch may ask for."""
        return self._shared_limit

    @max_dynamic_shared_size_bytes.setter
    def max_dynamic_shared_size_bytes(self, size: int) -> None:
        most = cupy_standin.device_properties["sharedMemPerBlockOptin"]
        if size > most:
            raise _invalid(f"max_dynamic_shared_size_bytes of {self.name}: {size}, at most {most}")
        self._shared_limit = size

    def __call__(self, grid, block, args, *, shared_mem=0, stream=None, enable_cooperative_groups=False):
        grid, block = (_three(sizes) for sizes in (grid, block))
        self._check(grid, block, shared_mem)
        arguments = self._arguments(args)
        touched = [x for x in args if isinstance(x, ndarray)]
        device.issue(lambda: self._run(grid, block, arguments, shared_mem), *touched)

    def _check(self, grid: list[int], block: list[int], shared: int) -> None:
        threads, most = int(np.prod(block)), self.max_threads_per_block
        if min(grid + block) < 1 or max(grid[1:]) > 65535 or grid[0] >= 2**31 or block[2] > 64:
            raise _invalid(f"launch of {self.name}: grid {grid}, block {block}")
        if threads > most:
            raise _invalid(f"launch of {self.name}: {threads} threads in a block, at most {most}")
        if shared > self._shared_limit:
            raise _invalid(
                f"launch of {self.name}: {shared} bytes of shared memory, at most {self._shared_limit}"
            )

    def _arguments(self, args: Sequence[Any]) -> list[tuple[str, Any]]:
        """Return every argument with the code of its parameter, or raise for one that does not fit."""
        codes = self._signature
        if len(codes) != len(args):
            raise TypeError(f"{self.name}: expected {len(codes)} arguments, found {len(args)}")
        return [
            (code, self._fitting(place, code, x))
            for place, (code, x) in enumerate(zip(codes, args, strict=True))
        ]

    def _fitting(self, place: int, code: str, x: Any) -> Any:
        which = f"{self.name}: argument {place}"
        if isinstance(x, ndarray):
            if code[0] != "*":
                raise TypeError(f"{which}: expected a number ({code}), found an array")
            if not x.flags.c_contiguous:
                raise ValueError(f"{which}: expected an array without gaps, found strides {x.strides}")
            of = code.lstrip("*c")
            if of not in _codes(x.dtype):
                raise TypeError(f"{which}: expected an array of {of}, found {x.dtype}")
            return x._array
        if not isinstance(x, np.generic) and isinstance(x, bool | int | float):
            x = {bool: np.bool_, int: np.int64, float: np.float64}[type(x)](x)
        if x is None:
            x = np.intp(0)
        if not isinstance(x, np.generic):
            raise TypeError(f"{which}: Unsupported type {type(x)}")
        if code[0] == "*":
            if x.dtype.itemsize != 8 or x != 0:
                raise TypeError(f"{which}: expected a device array ({code}), found {x!r}")
        elif code not in _codes(x.dtype):
            raise TypeError(f"{which}: expected a number of {code}, found {x.dtype}")
        return x

    def _run(self, grid: list[int], block: list[int], arguments: list, shared: int) -> None:
        guards = {}  # by the array that owns the memory: a copy in a frame, and whether it may be written
        for code, x in arguments:
            if isinstance(x, np.ndarray) and x.size:
                owner = device.root(x)
                if id(owner) not in guards:
                    guards[id(owner)] = [owner, _framed(owner), False]
                guards[id(owner)][2] |= code[1] != "c"
        pointers, kept = [], []
        for code, x in arguments:
            value = x if code[0] != "*" else np.uint64(_pointer(x, guards))
            kept.append(np.atleast_1d(value))
            pointers.append(kept[-1].ctypes.data)
        memory = Guarded(shared)
        self._launch(grid, block, pointers, memory)
        if not memory.is_intact():
            raise RuntimeError(f"{self.name}: it writes outside of its {shared} bytes of shared memory")
        for owner, (frame, low, size), written in guards.values():
            if not frame.is_intact():
                raise RuntimeError(
                    f"{self.name}: it writes outside of an argument, an array of {owner.shape} {owner.dtype}"
                )
            if written:
                ctypes.memmove(low, frame.address, size)

    def _launch(self, grid: list[int], block: list[int], pointers: list[int], memory: Guarded) -> None:
        error = ctypes.create_string_buffer(512)
        args = (ctypes.c_void_p * max(len(pointers), 1))(*pointers)
        with _lock:
            seed = 0x9E3779B97F4A7C15 * (cupy_standin.copies.launches + 1) % 2**64 or 1
            launch = Launch(
                tuple(grid), tuple(block), args, memory.address, memory.size,
                ctypes.addressof(_stacks()), STACK, seed, ctypes.cast(error, ctypes.c_char_p), len(error),
            )  # fmt: skip
            if getattr(self._library, f"standin_launch_{self.name}")(ctypes.byref(launch)):
                raise RuntimeError(f"{self.name}: {error.value.decode()}")


def _checked(options: Any) -> tuple[str, ...]:
    if not isinstance(options, tuple):
        raise TypeError(
            f"Argument 'options' has incorrect type (expected tuple, got {type(options).__name__})"
        )
    return options


def _invalid(what: str) -> Exception:
    return cupy_standin.cuda.driver.CUDADriverError(f"CUDA_ERROR_INVALID_VALUE: {what}")


def _three(sizes: Sequence[int]) -> list[int]:
    return [int(n) for n in sizes] + [1] * (3 - len(sizes))


def _codes(dtype: np.dtype) -> tuple[str, ...]:
    """The codes of the types in C++ that an element of `dtype` can be read as."""
    if dtype.kind == "b":
        return "b1", "u1", "i1", "?"
    return (f"{dtype.kind}{dtype.itemsize}", *(("b1", "i1") if dtype == np.uint8 else ()), "?")


def _framed(owner: np.ndarray) -> tuple[Guarded, int, int]:
    low, high = np.lib.array_utils.byte_bounds(owner)
    frame = Guarded(high - low)
    ctypes.memmove(frame.address, low, high - low)
    return frame, low, high - low


def _pointer(x: Any, guards: dict) -> int:
    if not isinstance(x, np.ndarray) or not x.size:
        return 0
    _, (frame, low, _), _ = guards[id(device.root(x))]
    return frame.address + x.ctypes.data - low


class RawModule:
    """A source with kernels."""

    def __init__(
        self, code: str, *, options: tuple[str, ...] = (), name_expressions: Any = None, **settings: Any
    ):
        if name_expressions:
            raise NotImplementedError("the stand-in finds kernels by their name in C only")
        self.code, self.options, self._kernels = code, _checked(options), {}

    def get_function(self, name: str) -> RawKernel:
        """Return the kernel `name`, the same every time."""
        if name not in self._kernels:
            kernel = RawKernel(self.code, name, self.options)
            kernel.compile()
            self._kernels[name] = kernel
        return self._kernels[name]

    def compile(self, log_stream: Any = None) -> None:
        """Compile it now."""
        build(self.code, tuple(option for option in self.options if option.startswith("-D")))
