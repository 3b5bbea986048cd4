"""CUDA C compiled by NVRTC, NVIDIA's compiler as a library, without a GPU: the wheel nvidia-cuda-nvrtc."""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import re
from collections.abc import Sequence
from pathlib import Path

__all__ = ["CompileError", "compile", "missing", "resources", "warnings"]


class CompileError(Exception):
    """The source does not compile; the message is what the compiler says."""


@functools.cache
def missing() -> str:
    """Return why NVRTC cannot be used here, an empty text if it can."""
    path = _path()
    if path is None:
        return "NVRTC is missing: pip install nvidia-cuda-nvrtc"
    try:
        _library()
    except OSError as error:
        return f"NVRTC cannot be loaded: {error}"
    return ""


def _path() -> Path | None:
    """Return where the wheel lies: in a folder by CUDA's version since 13."""
    spec = importlib.util.find_spec("nvidia")
    folders = map(Path, spec.submodule_search_locations or ()) if spec else ()
    found = [path for folder in folders for path in folder.glob("*/lib/libnvrtc.so.*")]
    return max(found, default=None, key=lambda path: int(path.name.rsplit(".", 1)[1]))


@functools.cache
def _library() -> ctypes.CDLL:
    path = _path()
    for builtins in path.parent.glob("libnvrtc-builtins.so.*"):  # which it would look for elsewhere
        ctypes.CDLL(str(builtins))
    return ctypes.CDLL(str(path))


def compile(source: str, arch: str = "sm_90", options: Sequence[str] = ()) -> tuple[bytes, str]:
    """Compile for one kind of GPU.

    Parameters
    ----------
    source : str
    arch : str
        Such as ``"sm_90"``.
    options : sequence of str
        Further options of NVRTC; it is always asked for C++17 and for what `resources` reads.

    Returns
    -------
    bytes, str
        The machine code (a cubin), and what the compiler says: warnings, registers.

    Raises
    ------
    CompileError
        With what the compiler says.
    """
    nvrtc, program = _library(), ctypes.c_void_p()
    _check(nvrtc.nvrtcCreateProgram(ctypes.byref(program), source.encode(), b"kernel.cu", 0, None, None))
    try:
        given = [f"--gpu-architecture={arch}", "--std=c++17", "--ptxas-options=-v", *options]
        texts = (ctypes.c_char_p * len(given))(*(option.encode() for option in given))
        failed = nvrtc.nvrtcCompileProgram(program, len(given), texts)
        log = _read(program, "nvrtcGetProgramLogSize", "nvrtcGetProgramLog").rstrip(b"\0").decode()
        if failed:
            raise CompileError(log or f"NVRTC: error {failed}")
        return _read(program, "nvrtcGetCUBINSize", "nvrtcGetCUBIN"), log
    finally:
        nvrtc.nvrtcDestroyProgram(ctypes.byref(program))


def _read(program: ctypes.c_void_p, size_of: str, of: str) -> bytes:
    size = ctypes.c_size_t()
    _check(getattr(_library(), size_of)(program, ctypes.byref(size)))
    found = ctypes.create_string_buffer(size.value)
    _check(getattr(_library(), of)(program, found))
    return found.raw


def _check(failed: int) -> None:
    if failed:
        raise RuntimeError(f"NVRTC: error {failed}")


def warnings(log: str) -> list[str]:
    """Return the warnings that `compile` found."""
    return [line for line in log.splitlines() if re.search(r"\bwarning\b", line)]


def resources(log: str) -> dict[str, dict[str, int]]:
    """Return by kernel what it takes: ``registers``, ``stack``, ``spill_stores`` and ``shared`` (bytes)."""
    found, kernel = {}, None
    for line in log.splitlines():
        if start := re.search(r"Compiling entry function '(\w+)'", line):
            kernel = found[start[1]] = {"registers": 0, "stack": 0, "spill_stores": 0, "shared": 0}
        elif kernel is not None:
            for name, pattern in PATTERNS.items():
                if number := re.search(pattern, line):
                    kernel[name] = int(number[1])
    return found


PATTERNS = {
    "registers": r"Used (\d+) registers",
    "stack": r"(\d+) bytes stack frame",
    "spill_stores": r"(\d+) bytes spill stores",
    "shared": r"(\d+) bytes smem",
}
