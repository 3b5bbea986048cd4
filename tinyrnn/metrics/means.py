"""Metrics that are the mean of a function's values: accuracies, losses, any function."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

from tinyrnn import losses
from tinyrnn.autograd import Tensor
from tinyrnn.backend import array_module, floatx, on_device
from tinyrnn.losses import class_ids, joint_mask, match_shapes
from tinyrnn.metrics.base import Mean, as_array
from tinyrnn.naming import lookup

__all__ = [  # noqa: RUF022 - in the order of the file
    "MeanMetricWrapper",
    "accuracy", "binary_accuracy", "categorical_accuracy", "sparse_categorical_accuracy",
    "top_k_categorical_accuracy", "sparse_top_k_categorical_accuracy",
    "Accuracy", "BinaryAccuracy", "CategoricalAccuracy", "SparseCategoricalAccuracy",
    "TopKCategoricalAccuracy", "SparseTopKCategoricalAccuracy",
    "BinaryCrossentropy", "CategoricalCrossentropy", "SparseCategoricalCrossentropy",
    "MeanSquaredError", "RootMeanSquaredError", "MeanAbsoluteError", "CosineSimilarity",
]  # fmt: skip


class _FunctionMean(Mean):
    """The mean of the values of `fn`, called with the attributes that `settings` names."""

    fn: Callable
    settings: tuple[str, ...] = ()

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take in a batch.

        Parameters
        ----------
        y_true : array
        y_pred : array or Tensor
            Elements for which the tensor's `mask` is False do not count.
        sample_weight : array, optional
            One per sample, ``(batch,)``, or one per value.
        """
        values = self.fn(as_array(y_true), as_array(y_pred, self.dtype), **self._settings())
        self._add(as_array(values, "float64"), sample_weight, joint_mask(y_pred, values))

    def _settings(self):
        return {name: getattr(self, name) for name in self.settings}

    @property
    def direction(self) -> str | None:
        """Less of a loss function is better, more of an accuracy; of a user's function it is not known."""
        if self.fn in losses.FUNCTIONS.values():
            return "min"
        return "max" if self.fn in FUNCTIONS.values() else None


class MeanMetricWrapper(_FunctionMean):
    """The mean of any function's values.

    Parameters
    ----------
    fn : callable or str
        ``fn(y_true, y_pred, **kwargs)`` takes arrays, on a GPU CuPy's, and returns the values; or the name of
        a loss function or of a function of this file.
    name : str, optional
        The function's unless given.
    dtype : str, optional
        As in `Metric`.
    **kwargs
        Passed to the function.
    """

    def __init__(self, fn: Any, name: str | None = None, dtype: str | None = None, **kwargs: Any):
        self.fn = lookup("metric function", fn, FUNCTIONS)
        super().__init__(name or getattr(self.fn, "__name__", None), dtype)
        self.kwargs = kwargs

    def _settings(self):
        return self.kwargs

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments, those for the function among them."""
        return super().get_config() | self.kwargs

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> MeanMetricWrapper:
        """Make a metric of what `get_config` returned: every argument it does not know is the function's."""
        return cls(**config)


# --- accuracies -------------------------------------------------------------------------------------------


def _paired(function: Callable) -> Callable:
    """Let `function` see arrays of one shape; its booleans become 1 and 0."""

    @functools.wraps(function)
    def prepared(y_true, y_pred, *args, **kwargs):
        y_true, y_pred = match_shapes(function.__name__, as_array(y_true), as_array(y_pred))
        return function(y_true, y_pred, *args, **kwargs).astype(floatx())

    return prepared


def _labelled(function: Callable) -> Callable:
    """The same for labels given as numbers."""

    @functools.wraps(function)
    def prepared(y_true, y_pred, *args, **kwargs):
        y_pred = as_array(y_pred)
        ids = class_ids(function.__name__, as_array(y_true), y_pred.shape)
        return function(ids, y_pred, *args, **kwargs).astype(floatx())

    return prepared


@_paired
def accuracy(y_true: Any, y_pred: Any) -> Any:
    """Return 1 where label and prediction are equal, 0 elsewhere."""
    return y_true == y_pred


@_paired
def binary_accuracy(y_true: Any, y_pred: Any, threshold: float = 0.5) -> Any:
    """Return 1 where a label 0 or 1 says whether ``y_pred > threshold``, 0 elsewhere."""
    return y_true == (y_pred > threshold)


@_paired
def categorical_accuracy(y_true: Any, y_pred: Any) -> Any:
    """Return 1 where the largest element along the last axis is at one place in both, 0 elsewhere."""
    return y_true.argmax(axis=-1) == y_pred.argmax(axis=-1)


@_labelled
def sparse_categorical_accuracy(y_true: Any, y_pred: Any) -> Any:
    """Return 1 where the class of the largest score is the label, 0 elsewhere.

    Parameters
    ----------
    y_true : array of whole numbers, ``(batch, ...)`` or ``(batch, ..., 1)``
        A label that is no class, say -1, is never right.
    y_pred : array, ``(batch, ..., classes)``
    """
    return y_true == y_pred.argmax(axis=-1)


def top_k_categorical_accuracy(y_true: Any, y_pred: Any, k: int = 5) -> Any:
    """As `sparse_top_k_categorical_accuracy`, for one-hot labels."""
    y_true, y_pred = match_shapes("top_k_categorical_accuracy", as_array(y_true), as_array(y_pred))
    return sparse_top_k_categorical_accuracy(y_true.argmax(axis=-1), y_pred, k)


@_labelled
def sparse_top_k_categorical_accuracy(
    y_true: Any, y_pred: Any, k: int = 5, from_sorted_ids: bool = False
) -> Any:
    """Return 1 where fewer than k classes have a larger score than the label, 0 elsewhere.

    Parameters
    ----------
    y_true : array of whole numbers, ``(batch, ...)`` or ``(batch, ..., 1)``
        A label that is no class is never right.
    y_pred : array, ``(batch, ..., classes)``
        Scores; or the numbers of the classes by falling score.
    k : int
    from_sorted_ids : bool
        `y_pred` holds the numbers.
    """
    labels = y_true[..., None]
    if from_sorted_ids:
        return (labels == y_pred[..., :k]).any(axis=-1)
    known = (labels >= 0) & (labels < y_pred.shape[-1])
    xp = array_module(y_pred)
    score = xp.take_along_axis(y_pred, xp.where(known, labels, 0), axis=-1)
    score = xp.where(xp.isnan(score), -math.inf, score)
    return known[..., 0] & ((y_pred > score).sum(axis=-1) < k)


class Accuracy(_FunctionMean):
    """How often prediction and label are equal: for labels as predictions, not for scores."""

    fn = staticmethod(accuracy)


class BinaryAccuracy(_FunctionMean):
    """The mean of `binary_accuracy`."""

    fn = staticmethod(binary_accuracy)
    settings = ("threshold",)

    def __init__(self, name: str | None = None, dtype: str | None = None, threshold: float = 0.5):
        super().__init__(name, dtype)
        self.threshold = threshold


class CategoricalAccuracy(_FunctionMean):
    """The mean of `categorical_accuracy`."""

    fn = staticmethod(categorical_accuracy)


class SparseCategoricalAccuracy(_FunctionMean):
    """The mean of `sparse_categorical_accuracy`."""

    fn = staticmethod(sparse_categorical_accuracy)


class TopKCategoricalAccuracy(_FunctionMean):
    """The mean of `top_k_categorical_accuracy`."""

    fn = staticmethod(top_k_categorical_accuracy)
    settings = ("k",)

    def __init__(self, k: int = 5, name: str | None = None, dtype: str | None = None):
        super().__init__(name, dtype)
        self.k = k


class SparseTopKCategoricalAccuracy(_FunctionMean):
    """The mean of `sparse_top_k_categorical_accuracy`."""

    fn = staticmethod(sparse_top_k_categorical_accuracy)
    settings = ("k", "from_sorted_ids")

    def __init__(
        self, k: int = 5, name: str | None = None, dtype: str | None = None, from_sorted_ids: bool = False
    ):
        super().__init__(name, dtype)
        self.k = k
        self.from_sorted_ids = from_sorted_ids


# --- losses as metrics ------------------------------------------------------------------------------------


class MeanSquaredError(_FunctionMean):
    """The mean of `tinyrnn.losses.mean_squared_error`."""

    fn = staticmethod(losses.mean_squared_error)


class MeanAbsoluteError(_FunctionMean):
    """The mean of `tinyrnn.losses.mean_absolute_error`."""

    fn = staticmethod(losses.mean_absolute_error)


class RootMeanSquaredError(_FunctionMean):
    """The square root of the mean of all squared errors."""

    direction = "min"

    @staticmethod
    def fn(y_true: Any, y_pred: Any) -> Any:
        """Return the squared errors, every one for itself."""
        return losses.mean_squared_error(y_true[..., None], y_pred[..., None])

    def result(self) -> float:
        """Return the root of the mean."""
        mean = super().result()
        return array_module(mean).sqrt(mean) if on_device(mean) else math.sqrt(mean)


class CosineSimilarity(_FunctionMean):
    """The mean cosine of the angle between vectors: 1 alike, where the loss of this name is -1."""

    direction = "max"
    settings = ("axis",)

    def __init__(self, name: str | None = None, dtype: str | None = None, axis: int = -1):
        super().__init__(name, dtype)
        self.axis = axis

    @staticmethod
    def fn(y_true: Any, y_pred: Any, axis: int = -1) -> Any:
        """Return the cosines."""
        return -losses.cosine_similarity(y_true, y_pred, axis)


class BinaryCrossentropy(_FunctionMean):
    """The mean of `tinyrnn.losses.binary_crossentropy`."""

    fn = staticmethod(losses.binary_crossentropy)
    settings = ("from_logits", "label_smoothing")

    def __init__(
        self,
        name: str | None = None,
        dtype: str | None = None,
        from_logits: bool = False,
        label_smoothing: float = 0,
    ):
        super().__init__(name, dtype)
        self.from_logits = from_logits
        self.label_smoothing = label_smoothing


class CategoricalCrossentropy(_FunctionMean):
    """The mean of `tinyrnn.losses.categorical_crossentropy`."""

    fn = staticmethod(losses.categorical_crossentropy)
    settings = ("from_logits", "label_smoothing", "axis")

    def __init__(
        self,
        name: str | None = None,
        dtype: str | None = None,
        from_logits: bool = False,
        label_smoothing: float = 0,
        axis: int = -1,
    ):
        super().__init__(name, dtype)
        self.from_logits = from_logits
        self.label_smoothing = label_smoothing
        self.axis = axis


class SparseCategoricalCrossentropy(_FunctionMean):
    """The mean of `tinyrnn.losses.sparse_categorical_crossentropy` over the elements not ignored."""

    direction = "min"
    settings = ("from_logits", "ignore_class", "axis")

    def __init__(
        self,
        name: str | None = None,
        dtype: str | None = None,
        from_logits: bool = False,
        ignore_class: int | None = None,
        axis: int = -1,
    ):
        super().__init__(name, dtype)
        self.from_logits = from_logits
        self.ignore_class = ignore_class
        self.axis = axis

    @staticmethod
    def fn(y_true: Any, y_pred: Any, **settings: Any) -> Tensor:
        """Return the values in a tensor, whose mask leaves out the ignored class."""
        return losses.sparse_categorical_crossentropy(y_true, Tensor(y_pred), **settings)


FUNCTIONS: dict[str, Callable] = losses.FUNCTIONS | {
    function.__name__: function
    for function in (
        accuracy,
        binary_accuracy,
        categorical_accuracy,
        sparse_categorical_accuracy,
        top_k_categorical_accuracy,
        sparse_top_k_categorical_accuracy,
    )
}
