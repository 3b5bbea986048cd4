"""Functions of rows, the last axis of arrays: one launch each, with the same bits every time."""

from __future__ import annotations

import functools
import math
from pathlib import Path
from typing import Any

from tinyrnn.backend import array_module
from tinyrnn.cuda.module import Kernel, own, read_source, source

__all__ = ["THREADS", "over_rows", "row_source", "softmax", "softmax_gradient"]

THREADS = 256


def row_source(dtype: Any, *texts: str) -> str:
    """Return a whole source with `rows.cu` in front of `texts`."""
    return source(dtype, read_source(Path(__file__).with_name("rows.cu")), *texts)


def over_rows(kernel: Kernel, shape: tuple[int, ...], *args: Any) -> None:
    """Launch over the rows of `shape` a kernel whose last arguments are rows, width and lanes: `rows.cu`."""
    rows, width = math.prod(shape[:-1]), shape[-1]
    lanes = min(1 << max(width - 1, 0).bit_length(), THREADS)
    if rows:
        kernel(math.ceil(rows / (THREADS // lanes)), THREADS, *args, rows, width, lanes)


def softmax(x: Any) -> Any:
    """Return the softmax over the last axis of a float array."""
    out = array_module(x).empty(x.shape, x.dtype)
    over_rows(_softmax_kernel(x.dtype.name, "softmax"), x.shape, own(x), out)
    return out


def softmax_gradient(g: Any, out: Any) -> Any:
    """Return the gradient of the input of a `softmax`, given that of its result."""
    d = array_module(g, out).empty(out.shape, out.dtype)
    over_rows(_softmax_kernel(out.dtype.name, "softmax_gradient"), out.shape, own(g), own(out), d)
    return d


@functools.cache
def _softmax_kernel(dtype: str, name: str) -> Kernel:
    return Kernel(row_source(dtype, read_source(Path(__file__).with_name("softmax.cu"))), name)
