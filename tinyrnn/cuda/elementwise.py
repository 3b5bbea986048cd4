"""Arithmetic on every element alike that a GPU would otherwise do in a launch for each operation."""

from __future__ import annotations

import functools
import math
from typing import Any

from tinyrnn.backend import array_module
from tinyrnn.cuda.module import Kernel, own, source

__all__ = ["EXPRESSIONS", "apply"]

_THREADS = 256
_MOST_BLOCKS = 4096

EXPRESSIONS = {
    "sigmoid": ("ops_sigmoid(x)", ("x",)),
    "sigmoid_gradient": ("g * (out * (1 - out))", ("g", "out")),
    "tanh_gradient": ("g * (1 - out * out)", ("g", "out")),
    "relu_gradient": ("g * real(out > 0)", ("g", "out")),
}
"""What is computed, in CUDA C, and the names of the arrays."""


def apply(name: str, *arrays: Any) -> Any:
    """Return one of `EXPRESSIONS`, of float arrays of one shape and type."""
    expression, names = EXPRESSIONS[name]
    out = array_module(*arrays).empty(arrays[-1].shape, arrays[-1].dtype)
    launch(_kernel(expression, names, out.dtype.name), out, arrays)
    return out


def launch(kernel: Kernel, out: Any, arrays: Any) -> None:
    """Launch a kernel made of `loop`."""
    blocks = min(math.ceil(out.size / _THREADS), _MOST_BLOCKS)
    if blocks:
        kernel(blocks, _THREADS, *map(own, arrays), out, out.size)


def loop(result: str, names: tuple[str, ...], dtype: Any, body: list[str] = ()) -> Kernel:
    """Return the kernel that writes the expression `result` of elements of arrays with these names.

    Parameters
    ----------
    body : list of str
        Statements before it.
    """
    arrays = ", ".join(f"const real* {name}_all" for name in names)
    reads = [f"const real {name} = {name}_all[i];" for name in names]
    return Kernel(source(dtype, _LOOP.format(
        arrays=arrays, body="\n        ".join([*reads, *body, f"result[i] = {result};"]),
    )), "elementwise")  # fmt: skip


_LOOP = """
extern "C" __global__ void elementwise({arrays}, real* result, Index size) {{
    const Index threads = (Index)gridDim.x * blockDim.x;
    for (Index i = (Index)blockIdx.x * blockDim.x + threadIdx.x; i < size; i += threads) {{
        {body}
    }}
}}
"""


@functools.cache
def _kernel(expression: str, names: tuple[str, ...], dtype: str) -> Kernel:
    return loop(expression, names, dtype)
