"""Metrics that are more than a mean: they need sums over all batches before they can divide."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinyrnn import ops
from tinyrnn.backend import EPSILON, array_module, device_module, on_device
from tinyrnn.losses import as_floats, joint_mask, match_shapes
from tinyrnn.metrics.base import Metric, as_array, weigh
from tinyrnn.naming import warn_user

__all__ = ["AUC", "F1Score", "Precision", "R2Score", "Recall"]


def _divide(a: Any, b: Any) -> Any:
    """``a / b``, and 0 where b is 0."""
    if on_device(b):
        return array_module(b).where(b == 0, 0.0, a / b)
    a, b = np.broadcast_arrays(np.asarray(a, "float64"), np.asarray(b, "float64"))
    return np.divide(a, b, out=np.zeros(a.shape), where=b != 0)


def _plain(x: Any) -> Any:
    """A single number as a Python float, more of them as an array, and what is on a GPU as it is."""
    return float(x) if not on_device(x) and np.ndim(x) == 0 else x


def _expect(owner: str, argument: str, value: Any, allowed: Sequence[Any]) -> None:
    if value not in allowed:
        known = ", ".join(map(repr, allowed))
        raise ValueError(f"{owner}: expected {argument} to be one of {known}, found {value!r}")


def _rows(owner, y_true, y_pred, sample_weight, dtype):
    """Labels, predictions and weights of a batch as arrays ``(rows, outputs)``."""
    mask = joint_mask(y_pred)
    y_true, y_pred = match_shapes(owner, as_array(y_true), as_floats(as_array(y_pred), dtype))
    weight = weigh(y_pred, sample_weight, mask)
    shape = (-1, y_pred.shape[-1]) if y_pred.ndim > 1 else (-1, 1)
    return y_true.reshape(shape), y_pred.reshape(shape), weight.reshape(shape)


class R2Score(Metric):
    r"""The coefficient of determination, ``1 - residual sum of squares / total sum of squares``.

    Parameters
    ----------
    class_aggregation : {"uniform_average", "variance_weighted_average", None}
        Over the outputs: their mean, their mean weighted by variance, or no mean but an array.
    num_regressors : int
        Of how many independent variables the model is made, for the adjusted score
        :math:`1 - (1 - R^2) (n - 1) / (n - p - 1)`, where n counts all elements; 0 does not adjust.
    name, dtype : optional
        As in `Metric`.

    Raises
    ------
    ValueError
        For an unknown aggregation or a negative number.
    """

    direction = "max"

    AGGREGATIONS = ("uniform_average", "variance_weighted_average", None)

    def __init__(
        self,
        class_aggregation: str | None = "uniform_average",
        num_regressors: int = 0,
        name: str | None = None,
        dtype: str | None = None,
    ):
        super().__init__(dtype, name)
        _expect("R2Score", "class_aggregation", class_aggregation, self.AGGREGATIONS)
        if num_regressors < 0:
            raise ValueError(f"R2Score: expected num_regressors of at least 0, found {num_regressors}")
        self.class_aggregation = class_aggregation
        self.num_regressors = num_regressors
        self.reset_state()

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take in a batch, ``(batch, ..., outputs)``; every output has a score of its own."""
        wanted, found, weight = _rows("R2Score", y_true, y_pred, sample_weight, self.dtype)
        self.weight = self.weight + weight.sum(axis=0)
        self.sum = self.sum + (weight * wanted).sum(axis=0)
        self.square_sum = self.square_sum + (weight * wanted * wanted).sum(axis=0)
        self.residual = self.residual + (weight * (wanted - found) ** 2).sum(axis=0)
        self.size += wanted.size

    def result(self) -> Any:
        """Return the score; nan for an output whose labels are all alike and all met."""
        with np.errstate(divide="ignore", invalid="ignore"):
            total = self.square_sum - self.sum * self.sum / self.weight
            score = 1.0 - self.residual / total
            xp = array_module(score)
            score = xp.where(xp.isinf(score), 0.0, score)
            if self.class_aggregation == "uniform_average":
                score = score.mean()
            elif self.class_aggregation == "variance_weighted_average":
                score = (total * score).sum() / total.sum()
        freedom = self.size - self.num_regressors - 1
        if self.num_regressors and freedom <= 0:
            warn_user(
                f"R2Score: {self.num_regressors} regressors are too many for {self.size} elements to adjust "
                "the score"
            )
        elif self.num_regressors:
            score = 1.0 - (1.0 - score) * (self.size - 1.0) / freedom
        return _plain(score)

    def reset_state(self) -> None:
        """Forget all batches."""
        self.weight = self.sum = self.square_sum = self.residual = device_module().zeros(())
        self.size = 0


# --- right and wrong at thresholds ------------------------------------------------------------------------


class _Thresholded(Metric):
    """What Precision, Recall and AUC share: counting above thresholds.

    Attributes
    ----------
    cuts : array, ``(thresholds,)``
        A prediction is positive where it is larger.
    true_positives, false_positives : array, ``(thresholds, columns)``
        Weights of the positive predictions that are right, wrong; one column for all labels, or one each.
    positives, negatives : array, ``(columns,)``
        Weights of all labels 1, 0.
    """

    direction = "max"

    cuts: np.ndarray

    def _count(self, y_true, y_pred, weight):
        """Take in arrays ``(rows, columns)``."""
        y_true = y_true.astype(bool)
        cuts = array_module(y_pred).asarray(self.cuts, dtype=y_pred.dtype)
        self.true_positives = self.true_positives + _above(y_pred, weight * y_true, cuts)
        self.false_positives = self.false_positives + _above(y_pred, weight * ~y_true, cuts)
        self.positives = self.positives + (weight * y_true).sum(axis=0)
        self.negatives = self.negatives + (weight * ~y_true).sum(axis=0)

    def reset_state(self) -> None:
        """Forget all batches."""
        xp = device_module()
        self.true_positives = self.false_positives = xp.zeros((len(self.cuts), 1))
        self.positives = self.negatives = xp.zeros(1)


def _above(scores, weight, cuts):
    """Per cut and column the weights of the scores above it; no comparison of all pairs."""
    if on_device(scores):  # where counting into bins would have to wait for the number of bins
        columns = zip(scores.T, weight.T, strict=True)
        return array_module(scores).stack([_above_sorted(*column, cuts) for column in columns], axis=1)
    order = np.argsort(cuts)
    counts = np.empty((len(cuts), scores.shape[1]))
    for column in range(scores.shape[1]):
        passed = np.searchsorted(cuts[order], scores[:, column], side="left")  # cuts below the score
        sums = np.bincount(passed, weight[:, column], minlength=len(cuts) + 1)
        counts[order, column] = np.cumsum(sums[:0:-1])[::-1]
    return counts


def _above_sorted(scores, weight, cuts):
    """Per cut the weights of the scores above it, of one column."""
    xp = array_module(scores)
    order = xp.argsort(scores)
    sums = xp.concatenate([xp.zeros(1), xp.cumsum(weight[order])])
    return sums[-1] - sums[xp.searchsorted(scores[order], cuts, side="right")]


class _PrecisionRecall(_Thresholded):
    """The parameters of `Precision` and `Recall`."""

    def __init__(
        self,
        thresholds: float | Sequence[float] | None = None,
        top_k: int | None = None,
        class_id: int | None = None,
        name: str | None = None,
        dtype: str | None = None,
    ):
        super().__init__(dtype, name)
        # With top_k all scores that remain are positive.
        default = 0.5 if top_k is None else _NEVER
        self.cuts = np.atleast_1d(np.asarray(default if thresholds is None else thresholds, "float64"))
        if thresholds is not None and not ((self.cuts >= 0) & (self.cuts <= 1)).all():
            raise ValueError(f"{type(self).__name__}: expected thresholds within 0 ... 1, found {thresholds}")
        self.thresholds = thresholds
        self.top_k = top_k
        self.class_id = class_id
        self.reset_state()

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take in a batch of labels 0 and 1 and probabilities, ``(batch, ..., outputs)``."""
        owner = type(self).__name__
        y_true, y_pred, weight = _rows(owner, y_true, y_pred, sample_weight, self.dtype)
        classes = y_pred.shape[1]
        if self.top_k is not None:
            y_pred = _only_top(y_pred, self.top_k)
        if self.class_id is not None:
            if not 0 <= self.class_id < classes:
                raise ValueError(f"{owner}: expected class_id in 0 ... {classes - 1}, found {self.class_id}")
            y_true, y_pred, weight = (x[:, self.class_id] for x in (y_true, y_pred, weight))
        self._count(*(x.reshape(-1, 1) for x in (y_true, y_pred, weight)))

    def _result(self, of: np.ndarray) -> Any:
        quotient = _divide(self.true_positives, of)[:, 0]
        return _plain(quotient[0] if len(quotient) == 1 else quotient)


_NEVER = -1e10
"""A score below every threshold."""


def _only_top(scores, k):
    """The `k` largest of each row, `_NEVER` in place of the others."""
    xp = array_module(scores)
    order = xp.argsort(-scores, axis=-1, kind="stable")
    return xp.where(xp.argsort(order, axis=-1) < k, scores, _NEVER)


class Precision(_PrecisionRecall):
    """The part of positive predictions that is right, ``tp / (tp + fp)``; 0 if none is positive.

    Parameters
    ----------
    thresholds : float or sequence of float, optional
        Predictions above it are positive, 0.5 unless given; for a sequence the result is an array.
    top_k : int, optional
        Only the k largest predictions of a row can be positive (and all of them are, without thresholds).
    class_id : int, optional
        Look at this output only.
    name, dtype : optional
        As in `Metric`.

    Raises
    ------
    ValueError
        For a threshold outside ``0 ... 1``.
    """

    def result(self) -> Any:
        """Return the precision, an array if there are several thresholds."""
        return self._result(self.true_positives + self.false_positives)


class Recall(_PrecisionRecall):
    """The part of labels 1 that is predicted, ``tp / (tp + fn)``; parameters as in `Precision`."""

    def result(self) -> Any:
        """Return the recall, an array if there are several thresholds."""
        return self._result(self.positives)


class AUC(_Thresholded):
    """The area under a curve of two rates, as the threshold between 0 and 1 moves.

    Parameters
    ----------
    num_thresholds : int
        The curve has that many points, their thresholds spaced evenly.
    curve : {"ROC", "PR"}
        Recall over the rate of false positives; or precision over recall.
    summation_method : {"interpolation", "minoring", "majoring"}
        Between two points: the trapezoid (for PR the curve of Davis and Goadrich, 2006, since precision is
        not linear between points), or the smaller or the larger rectangle.
    name, dtype : optional
        As in `Metric`.
    thresholds : sequence of float, optional
        Within ``0 ... 1``, in place of even ones; 0 and 1 are added.
    multi_label : bool
        Have a curve for each output of ``(batch, outputs)`` and average the areas, instead of one curve.
    num_labels : int, optional
        The number of outputs, if `multi_label`.
    label_weights : sequence of float, optional
        One per output: weights of the average, or without `multi_label` of the predictions.
    from_logits : bool
        Predictions are passed through a sigmoid first.

    Raises
    ------
    ValueError
        For arguments or shapes that do not fit.
    """

    def __init__(
        self,
        num_thresholds: int = 200,
        curve: str = "ROC",
        summation_method: str = "interpolation",
        name: str | None = None,
        dtype: str | None = None,
        thresholds: Sequence[float] | None = None,
        multi_label: bool = False,
        num_labels: int | None = None,
        label_weights: Sequence[float] | None = None,
        from_logits: bool = False,
    ):
        super().__init__(dtype, name)
        if thresholds is None and num_thresholds < 2:
            raise ValueError(f"AUC: expected num_thresholds of at least 2, found {num_thresholds}")
        if num_labels and not multi_label:
            raise ValueError("AUC: num_labels is meant for multi_label=True")
        self.curve = curve.upper()
        self.summation_method = summation_method.lower()
        _expect("AUC", "curve", self.curve, ("ROC", "PR"))
        _expect("AUC", "summation_method", self.summation_method, ("interpolation", "minoring", "majoring"))
        self.num_thresholds = num_thresholds
        self.thresholds = thresholds
        self.multi_label = multi_label
        self.num_labels = num_labels
        self.label_weights = label_weights
        self.from_logits = from_logits
        if thresholds is None:
            thresholds = np.arange(1, num_thresholds - 1) / (num_thresholds - 1)
        self.cuts = np.array([-EPSILON, *sorted(thresholds), 1.0 + EPSILON])  # all predictions lie between
        self.reset_state()

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take in a batch of labels 0 and 1 and probabilities, ``(batch, ..., outputs)``."""
        y_true, y_pred, weight = _rows("AUC", y_true, y_pred, sample_weight, self.dtype)
        columns = y_pred.shape[1]
        if self.multi_label and columns != (self.num_labels or columns):
            raise ValueError(f"AUC: expected predictions for {self.num_labels} labels, found {columns}")
        y_pred = ops.sigmoid(y_pred) if self.from_logits else y_pred.clip(0.0, 1.0)
        if self.multi_label:
            self._count(y_true, y_pred, weight)
            return
        if self.label_weights is not None:
            weight = weight * array_module(weight).asarray(self.label_weights, "float64")
        self._count(*(x.reshape(-1, 1) for x in (y_true, y_pred, weight)))

    def result(self) -> float:
        """Return the area."""
        if self.curve == "PR" and self.summation_method == "interpolation":
            areas = self._interpolated_precision()
        else:
            recall = _divide(self.true_positives, self.positives)
            if self.curve == "ROC":
                areas = self._areas(_divide(self.false_positives, self.negatives), recall)
            else:
                found = self.true_positives + self.false_positives
                areas = self._areas(recall, _divide(self.true_positives, found))
        areas = areas.sum(axis=0)
        if self.multi_label and self.label_weights is not None:
            weights = array_module(areas).asarray(self.label_weights, "float64")
            return _plain(_divide((areas * weights).sum(), weights.sum()))
        return _plain(areas.mean())

    def _areas(self, x, y):
        """Between neighbouring points of a curve; x falls as the threshold rises."""
        xp = array_module(x)
        height = {
            "interpolation": lambda a, b: (a + b) / 2.0,
            "minoring": xp.minimum,
            "majoring": xp.maximum,
        }[self.summation_method]
        return (x[:-1] - x[1:]) * height(y[:-1], y[1:])

    def _interpolated_precision(self):
        """Area between neighbouring points when true positives grow linearly with all positives.

        With p = tp + fp and tp = a + s p in between, the integral of tp / p over tp is s (dtp + a dlog(p)).
        """
        xp = array_module(self.true_positives)
        tp, p = self.true_positives, self.true_positives + self.false_positives
        d_tp = tp[:-1] - tp[1:]
        slope = _divide(d_tp, xp.maximum(p[:-1] - p[1:], 0.0))
        start = tp[1:] - slope * p[1:]
        both = (p[:-1] > 0) & (p[1:] > 0)
        ratio = xp.where(both, _divide(p[:-1], xp.maximum(p[1:], 0.0)), 1.0)
        return _divide(slope * (d_tp + start * xp.log(ratio)), xp.maximum(self.positives, 0.0))


class F1Score(Metric):
    """The harmonic mean of precision and recall.

    Parameters
    ----------
    average : {None, "micro", "macro", "weighted"}
        A score per class, as an array; one score of all classes counted together; the mean of the classes'
        scores; that mean weighted by how many labels a class has.
    threshold : float, optional
        Predictions above it are positive; unless given only the largest of each row is.
    name, dtype : optional
        As in `Metric`.

    Raises
    ------
    ValueError
        For an unknown average, or a threshold outside ``0 < threshold <= 1``.
    """

    direction = "max"

    def __init__(
        self,
        average: str | None = None,
        threshold: float | None = None,
        name: str | None = None,
        dtype: str | None = None,
    ):
        super().__init__(dtype, name)
        _expect("F1Score", "average", average, (None, "micro", "macro", "weighted"))
        if threshold is not None and not 0 < threshold <= 1:
            raise ValueError(f"F1Score: expected threshold above 0 and up to 1, found {threshold}")
        self.average = average
        self.threshold = threshold
        self.reset_state()

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take in a batch of one-hot or multi-hot labels and scores, ``(batch, ..., classes)``."""
        y_true, y_pred, weight = _rows("F1Score", y_true, y_pred, sample_weight, self.dtype)
        if self.threshold is None:
            largest = y_pred.max(axis=-1, keepdims=True)
            not_zero = array_module(y_pred).abs(y_pred) > 1e-9  # a row of zeros names no class
            positive = (y_pred >= largest) & not_zero
        else:
            positive = y_pred > self.threshold
        axis = None if self.average == "micro" else 0
        self.true_positives = self.true_positives + (weight * positive * y_true).sum(axis=axis)
        self.predicted = self.predicted + (weight * positive).sum(axis=axis)
        self.labelled = self.labelled + (weight * y_true).sum(axis=axis)

    def result(self) -> Any:
        """Return the score, an array if there is no average."""
        precision = self.true_positives / (self.predicted + EPSILON)
        recall = self.true_positives / (self.labelled + EPSILON)
        score = 2.0 * precision * recall / (precision + recall + EPSILON)
        if self.average == "weighted":
            score = (score * self.labelled / (self.labelled.sum() + EPSILON)).sum()
        elif self.average is not None:
            score = score.mean()
        return _plain(score)

    def reset_state(self) -> None:
        """Forget all batches."""
        self.true_positives = self.predicted = self.labelled = device_module().zeros(())
