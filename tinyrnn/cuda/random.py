"""Random numbers that are made on the GPU, where they are needed.

They depend on the seed, on the place in the array and on nothing else: on no GPU and no order of threads.
Seeds are whole numbers below 2**63, drawn on the host by the generator of whoever asks.
"""

from __future__ import annotations

import functools
import math
from pathlib import Path
from typing import Any

import numpy as np

from tinyrnn.backend import device_module
from tinyrnn.cuda.module import Kernel, read_source, source

__all__ = ["keep_factors", "normal", "uniform"]

_THREADS = 256


def uniform(shape: tuple[int, ...], seed: int, dtype: Any) -> Any:
    """Return numbers spread evenly over 0 ... 1, without 1.

    Parameters
    ----------
    shape : tuple of int
    seed : int
        In ``0 ... 2**63 - 1``.
    dtype : {"float32", "float64"}
    """
    return _drawn("uniform", shape, seed, dtype, 16 // np.dtype(dtype).itemsize)


def normal(shape: tuple[int, ...], stddev: float, seed: int, dtype: Any) -> Any:
    """Return normal numbers of mean 0; other arguments as for `uniform`."""
    return _drawn("normal", shape, seed, dtype, 16 // np.dtype(dtype).itemsize, float(stddev))


def keep_factors(shape: tuple[int, ...], rate: float, seed: int, dtype: Any) -> Any:
    """Return 0 with the probability `rate`, and ``1 / (1 - rate)`` elsewhere.

    Where the zeros are does not depend on the type. Other arguments as for `uniform`.
    """
    factor = 1 / (1 - rate) if rate < 1 else 0.0
    return _drawn("keep_factors", shape, seed, dtype, 4, round(rate * 2**32), factor)


def _drawn(name: str, shape: Any, seed: int, dtype: Any, group: int, *args: Any) -> Any:
    """Launch a kernel whose threads make `group` numbers each."""
    out = device_module().empty(shape, np.dtype(dtype))
    if out.size:
        blocks = math.ceil(out.size / (group * _THREADS))
        _kernel(np.dtype(dtype).name, name)(blocks, _THREADS, out, out.size, int(seed), *args)
    return out


@functools.cache
def _kernel(dtype: str, name: str) -> Kernel:
    return Kernel(source(dtype, read_source(Path(__file__).with_name("random.cu"))), name)
