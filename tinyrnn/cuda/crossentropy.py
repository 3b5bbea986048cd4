"""The cross-entropy of rows of probabilities or logits, and its gradient: one launch each."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, NamedTuple

from tinyrnn.backend import array_module
from tinyrnn.cuda.module import INTEGERS, Kernel, broadcast_number, own, read_source
from tinyrnn.cuda.rows import over_rows, row_source

__all__ = ["Residuals", "crossentropy", "crossentropy_gradient"]


class Residuals(NamedTuple):
    """What the way back needs."""

    labels: tuple[Any, ...]
    scores: Any
    scale: Any
    weight: Any
    kinds: tuple[str, str, bool]


_LABELS = INTEGERS | {"float32": "float", "float64": "double"}


def crossentropy(
    labels: Any, scores: Any, ok: Any, from_logits: bool, smoothing: float = 0.0, ignore: int | None = None
) -> tuple[Any, Residuals]:
    """Return ``-sum(y * log(p))`` over the last axis of `scores`, ``(...)``.

    Parameters
    ----------
    labels : (..., classes) array of the type of `scores`, or (...) array of numbers
        Probabilities y, or classes by number, whole ones of a float type too.
    scores : (..., classes) array
        Logits, or probabilities: divided by their sum, then taken within 1e-7 of 0 and 1.
    ok : array of one bool
        Becomes False if a number is no class; the nearest one is taken.
    from_logits : bool
    smoothing : float
        How far probabilities y move towards the uniform.
    ignore : int, optional
        The number of a class whose rows give 0.
    """
    xp, classes = array_module(labels, scores), scores.shape[-1]
    sparse = labels.ndim < scores.ndim
    if not sparse:
        given = own(labels), 1.0 - smoothing, smoothing / classes
    else:
        labels = labels if labels.dtype.name in _LABELS else labels.astype("int64")
        given = own(labels), int(ignore is not None), int(ignore or 0)
    scores = own(scores)
    out, scale, weight = (xp.empty(scores.shape[:-1], scores.dtype) for _ in range(3))
    kinds = scores.dtype.name, labels.dtype.name if sparse else "", from_logits
    over_rows(_kernel(*kinds, "crossentropy"), scores.shape, *given, scores, out, scale, weight, ok)
    return out, Residuals(given, scores, scale, weight, kinds)


def crossentropy_gradient(g: Any, residuals: Residuals) -> Any:
    """Return the gradient of the scores, given that of the result."""
    given, scores, scale, weight, kinds = residuals
    d = array_module(g, scores).empty(scores.shape, scores.dtype)
    over_rows(
        _kernel(*kinds, "crossentropy_gradient"),
        scores.shape,
        *given,
        scores,
        scale,
        weight,
        *broadcast_number(g),
        d,
    )
    return d


@functools.cache
def _kernel(dtype: str, label_type: str, from_logits: bool, name: str) -> Kernel:
    lines = [f"#define FROM_LOGITS {int(from_logits)}", f"#define SPARSE {int(bool(label_type))}"]
    lines += [f"typedef {_LABELS[label_type]} Label;"] if label_type else []
    text = read_source(Path(__file__).with_name("crossentropy.cu"))
    return Kernel(row_source(dtype, *lines, text), name)
