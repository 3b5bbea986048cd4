"""Sequences of different lengths as one array."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinyrnn.naming import nearest

__all__ = ["pad_sequences"]

SIDES = ("pre", "post")


def pad_sequences(
    sequences: Sequence[Any],
    maxlen: int | None = None,
    dtype: Any = "int32",
    padding: str = "pre",
    truncating: str = "pre",
    value: float | str = 0.0,
) -> np.ndarray:
    """Bring sequences to one length: pad the short ones, cut the long ones.

    Parameters
    ----------
    sequences : list of sequences
        Lists or arrays of ids, or of feature vectors: of shapes ``(T_i, ...)`` that differ in ``T_i`` only.
    maxlen : int, optional
        Length of every row; that of the longest sequence unless given.
    dtype : dtype
        Of the result. ``object`` keeps strings whole; a string type such as ``"<U8"`` cuts them to its width.
    padding, truncating : {"pre", "post"}
        Fill, cut, at the beginning or at the end of a sequence.
    value : float or str
        What to fill with.

    Returns
    -------
    array of shape (len(sequences), maxlen, ...)

    Raises
    ------
    ValueError
        For sequences without a length or of unlike shapes, a negative `maxlen`, a side that is neither
        ``"pre"`` nor ``"post"``, a string as `value` of an array of numbers.

    Examples
    --------
    >>> pad_sequences([[1], [2, 3], [4, 5, 6]], maxlen=2)
    array([[0, 1],
           [2, 3],
           [5, 6]], dtype=int32)
    """
    _check_side("padding", padding)
    _check_side("truncating", truncating)
    dtype = np.dtype(dtype)
    if isinstance(value, str) and dtype.kind not in "OUS":
        raise ValueError(
            f"value: {value!r} does not fit dtype {dtype.name}; dtype=object holds strings of any length"
        )
    lengths = _lengths(sequences)
    if maxlen is None:
        maxlen = max(lengths, default=0)
    elif maxlen < 0:
        raise ValueError(f"maxlen: expected 0 or more, found {maxlen}")

    step_shape = next((np.asarray(s).shape[1:] for s, n in zip(sequences, lengths, strict=True) if n), ())
    out = np.full((len(lengths), maxlen, *step_shape), value, dtype=dtype)
    for i, (s, n) in enumerate(zip(sequences, lengths, strict=True)):
        kept = min(n, maxlen)
        if not kept:
            continue
        s = np.asarray(s[n - kept :] if truncating == "pre" else s[:kept], dtype=dtype)
        if s.shape[1:] != step_shape:
            raise ValueError(
                f"sequences: expected steps of shape {step_shape}, found {s.shape[1:]} at position {i}"
            )
        start = maxlen - kept if padding == "pre" else 0
        out[i, start : start + kept] = s
    return out


def _check_side(argument: str, side: str) -> None:
    if side not in SIDES:
        raise ValueError(f"{argument}: expected 'pre' or 'post', found {side!r}{nearest(str(side), SIDES)}")


def _lengths(sequences: Sequence[Any]) -> list[int]:
    if not hasattr(sequences, "__len__"):
        raise ValueError(f"sequences: expected a list of sequences, found {type(sequences).__name__}")
    for i, s in enumerate(sequences):
        if not hasattr(s, "__len__"):
            raise ValueError(f"sequences: expected sequences in the list, found {s!r} at position {i}")
    return [len(s) for s in sequences]
