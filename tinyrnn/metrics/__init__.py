"""Metrics: what is counted over many batches to judge a model, as Keras defines it.

``update_state(y_true, y_pred, sample_weight=None)`` takes in a batch, ``result()`` tells the value so far,
``reset_state()`` starts over. Shapes are those of `tinyrnn.losses`. Nothing is ever differentiated: tensors
are read as arrays. On a GPU the sums stay there, and results are arrays that become numbers when they are
read.

On purpose not as in Keras 3.15:

- Sums are kept in float64; those of Keras, in float32, stop counting at 16,777,216.
- What the mask of `y_pred` leaves out counts in no metric. Keras forgets the mask in RootMeanSquaredError,
  R2Score, Precision, Recall, AUC and F1Score, and averages in a 0 for every element of the class that
  SparseCategoricalCrossentropy ignores.
- `sample_weight` of shape ``(batch,)`` is one per sample, for values of any rank.
- Names carry no ``_1``: two metrics of a class have the same name unless told otherwise.
"""

from __future__ import annotations

from typing import Any

from tinyrnn import losses
from tinyrnn.metrics import means, scores, sequences
from tinyrnn.metrics.base import Mean, Metric, Sum
from tinyrnn.metrics.means import *  # noqa: F403
from tinyrnn.metrics.scores import *  # noqa: F403
from tinyrnn.metrics.sequences import *  # noqa: F403
from tinyrnn.naming import lookup, snake_case

__all__ = ["Mean", "Metric", "Sum", "get", "resolve", *means.__all__, *scores.__all__, *sequences.__all__]

_CLASSES = [c for c in map(globals().get, __all__) if isinstance(c, type) and c is not Metric]

# A name that is both a class's and a function's means the class.
_BY_NAME: dict[str, Any] = means.FUNCTIONS | {snake_case(c.__name__): c for c in _CLASSES}
_BY_NAME |= {short: _BY_NAME[name] for short, name in losses.ALIASES.items()}
_BY_NAME |= {c.__name__: c for c in _CLASSES}


def get(identifier: Any) -> Metric | None:
    """Return the metric that `identifier` names.

    Parameters
    ----------
    identifier : None, str, dict, class, Metric or callable
        The name of a class here or of a loss function, in full or short (``"mse"``); it stays the metric's
        name. A configuration; a function ``fn(y_true, y_pred)`` or a loss, whose values are averaged.

    Raises
    ------
    ValueError
        For an unknown name, with the nearest known one.
    """
    found = lookup("metric", identifier, _BY_NAME)
    if found is not None and not isinstance(found, Metric):
        found = means.MeanMetricWrapper(found, name=getattr(found, "name", None))
    if isinstance(identifier, str):
        found.name = identifier
    return found


def resolve(identifier: Any, y_true_shape: tuple[int, ...], y_pred_shape: tuple[int, ...]) -> Metric | None:
    """As `get`; "accuracy", "acc", "crossentropy" and "ce" become those that fit the shapes of a batch."""
    short = {"acc": "accuracy", "ce": "crossentropy"}
    kind = short.get(identifier.lower(), identifier.lower()) if isinstance(identifier, str) else None
    if kind not in short.values():
        return get(identifier)
    metric = get(f"{losses.label_kind(y_true_shape, y_pred_shape)}_{kind}")
    metric.name = identifier
    return metric
