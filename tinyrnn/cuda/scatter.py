"""Rows added up by their ids, with the same bits every time: atomic additions come in any order."""

from __future__ import annotations

import functools
import math
from pathlib import Path
from typing import Any

from tinyrnn.backend import array_module
from tinyrnn.cuda.module import INTEGERS, Kernel, own, read_source, source

__all__ = ["scatter_add"]

_THREADS = 128


def scatter_add(rows: Any, ids: Any, length: int) -> Any:
    """Return the sums of rows that have one id.

    Parameters
    ----------
    rows : (..., width...) array of float32 or float64
        It begins with the axes of `ids`.
    ids : array of integers
        In ``-length ... length - 1``; -1 is the last row. Others wrap around.
    length : int

    Returns
    -------
    (length, width...) array
    """
    xp, shape = array_module(rows, ids), rows.shape[ids.ndim :]
    out, width = xp.zeros((length, *shape), rows.dtype), math.prod(shape)
    if not ids.size or not out.size:
        return out
    ids = own((ids if ids.dtype.name in INTEGERS else ids.astype("int64")).ravel()) % length
    order, n = xp.argsort(ids), ids.size
    of_chunk = max(32, 1 << math.isqrt(n).bit_length() - 1)  # as long as a run of all chunks may be
    chunks = math.ceil(n / of_chunk)
    partial = xp.empty((chunks, width), rows.dtype)
    columns = min(1 << (width - 1).bit_length(), _THREADS)
    grid = math.ceil(chunks / (_THREADS // columns)), math.ceil(width / columns)
    sizes = n, width, chunks, of_chunk, columns
    add, join = (_kernel(rows.dtype.name, ids.dtype.name, name) for name in ("add_runs", "join_runs"))
    add(grid, _THREADS, own(rows), order, ids, out, partial, *sizes)
    if chunks > 1:
        join(grid, _THREADS, order, ids, out, partial, *sizes)
    return out


@functools.cache
def _kernel(dtype: str, id_type: str, name: str) -> Kernel:
    text = read_source(Path(__file__).with_name("scatter.cu"))
    return Kernel(source(dtype, f"typedef {INTEGERS[id_type]} Id;", text), name)
