"""How good are whole sequences, and which classes: for reports after training, not for `compile`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinyrnn.backend import to_host
from tinyrnn.losses import class_ids, joint_mask
from tinyrnn.ops import to_array

__all__ = ["accuracy_by_class", "edit_distance", "sequence_error_rate"]


def accuracy_by_class(y_true: Any, y_pred: Any, mask: Any = None) -> tuple[np.ndarray, np.ndarray]:
    """Return how often each class was recognized, and how often it was there.

    Parameters
    ----------
    y_true : array of whole numbers, ``(batch, ...)`` or ``(batch, ..., 1)``
    y_pred : array or Tensor, ``(batch, ..., classes)``
        Scores; the largest is the prediction.
    mask : bool array, ``(batch, ...)``, optional
        Where False, say on padding, nothing counts. The mask of the tensor `y_pred` unless given.

    Returns
    -------
    accuracy : float64 array (classes,)
        The share of a class's elements that were taken for it; NaN for a class that did not occur.
    count : int64 array (classes,)
        Its elements. ``np.nansum(accuracy * count) / count.sum()`` is the accuracy over all of them.

    Raises
    ------
    ValueError
        For shapes that do not fit, and for labels that are no classes where they count.
    """
    mask = joint_mask(y_pred) if mask is None else mask
    mask = mask if mask is None else to_host(mask).astype(bool)
    scores = to_host(to_array(y_pred))
    labels = class_ids("accuracy_by_class", to_host(to_array(y_true)), scores.shape)
    right = labels == scores.argmax(axis=-1)
    if mask is not None:
        if mask.shape != labels.shape:
            raise ValueError(
                f"accuracy_by_class: expected a mask of shape {labels.shape}, found {mask.shape}"
            )
        labels, right = labels[mask], right[mask]
    classes = scores.shape[-1]
    wrong = labels[(labels < 0) | (labels >= classes)]
    if wrong.size:
        raise ValueError(f"accuracy_by_class: expected labels below {classes}, found {wrong[0]}")
    count = np.bincount(labels.ravel(), minlength=classes)
    hits = np.bincount(labels[right], minlength=classes)
    return np.divide(hits, count, out=np.full(classes, np.nan), where=count > 0), count


def edit_distance(a: Sequence[Any], b: Sequence[Any]) -> int:
    """Return how many items must be inserted, deleted or replaced to make `a` out of `b` (Levenshtein, 1966).

    Examples
    --------
    >>> edit_distance("kitten", "sitting")
    3
    """
    row = list(range(len(b) + 1))  # the distances of all beginnings of b from what was read of a
    for i, x in enumerate(a, start=1):
        diagonal, row[0] = row[0], i
        for j, y in enumerate(b, start=1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (x != y))
    return row[-1]


def sequence_error_rate(
    references: Sequence[Sequence[Sequence[Any]]], hypotheses: Sequence[Sequence[Any]]
) -> float:
    """Return the edits that the hypotheses need, divided by the length of the references.

    Of words it is called word error rate, of phonemes phoneme error rate.

    Parameters
    ----------
    references : for each hypothesis a list of the sequences that would be right
        The one nearest to the hypothesis counts, the longest of these if there are several.
    hypotheses : sequences
        As many.

    Raises
    ------
    ValueError
        If there are not as many, or a hypothesis has no reference, or none of them has any item.
    """
    if len(references) != len(hypotheses):
        raise ValueError(f"references: there are {len(references)}, but {len(hypotheses)} hypotheses")
    edits = items = 0
    for i, (right, found) in enumerate(zip(references, hypotheses, strict=True)):
        if not len(right):
            raise ValueError(f"references: there is none for hypothesis {i}")
        distance, length = min((edit_distance(r, found), -len(r)) for r in right)
        edits, items = edits + distance, items - length
    if not items:
        raise ValueError("references: they have no items")
    return edits / items
