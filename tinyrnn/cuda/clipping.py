"""Parts of a flat array scaled down to a norm: two launches for up to sixteen parts."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tinyrnn.backend import array_module
from tinyrnn.cuda.module import Kernel, read_source, source

__all__ = ["clip_norms"]

_MOST, _THREADS, _PARTIAL = 16, 256, 64


def clip_norms(flat: Any, spans: Sequence[slice], limit: float, together: bool) -> None:
    """Scale parts of `flat` in place so that their norms are at most `limit`.

    Parameters
    ----------
    flat : (n,) float array
    spans : sequence of slice
    limit : float
    together : bool
        Whether the parts have one norm. If that is not finite, all elements become NaN.
    """
    partial = array_module(flat).empty((len(spans), _PARTIAL), flat.dtype)
    groups = [(i, spans[i : i + _MOST]) for i in range(0, len(spans), _MOST)]
    for first, group in groups:
        _launch("squares", group, flat, partial[first:])
    for first, group in groups:
        of = (partial, float(limit), len(spans)) if together else (partial[first:], float(limit), 0)
        _launch("scale", group, flat, *of)


def _launch(name: str, spans: Sequence[slice], flat: Any, *args: Any) -> None:
    bounds = [n for span in spans for n in (span.start, span.stop - span.start)]
    _kernel(flat.dtype.name, len(spans), name)((_PARTIAL, len(spans)), _THREADS, *bounds, flat, *args)


@functools.cache
def _kernel(dtype: str, count: int, name: str) -> Kernel:
    parameters = ", ".join(f"Index start_{i}, Index size_{i}" for i in range(count))
    cases = " ".join(f"case {i}: start = start_{i}, size = size_{i}; break;" for i in range(count))
    macros = f"#define SPANS {parameters}\n#define CHOOSE switch (blockIdx.y) {{ {cases} }}"
    return Kernel(source(dtype, macros, read_source(Path(__file__).with_name("clipping.cu"))), name)
