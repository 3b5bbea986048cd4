"""Losses: how far predictions are from what was wanted, as Keras defines and averages them.

A loss function, ``mean_squared_error(y_true, y_pred)``, returns one value per element of the batch: the
last axis (the classes, the outputs) is averaged or summed away. A `Loss` object calls such a function and
reduces its values to one number, minding the mask of the predictions and the weights of the samples.

Shapes and types, everywhere in this file: `y_pred` is ``(batch, ..., outputs)`` of floats, an array or a
`Tensor`; `y_true` has the same shape, or lacks (or has one more) last axis of length 1, and is brought to the
type of `y_pred`. Other shapes are a ValueError. Labels by number have no axis of classes.

On purpose not as in Keras 3.15:

- `sample_weight` of shape ``(batch,)`` is one per sample for values ``(batch, time)`` too, where Keras fails
  or, if batch and time are of one length, takes it along time. "mean_with_sample_weight" divides by the
  weights of all values, where Keras forgets to repeat weights ``(batch, 1)`` over time.
- Labels ``(batch, time)`` for predictions ``(batch, time, 1)`` give a value for each step; Keras averages
  over time at once, so that masks do not fit and the reductions "sum" and "none" give other numbers.
- Labels and predictions of different shapes are not broadcast; a label that is no class is an error.
- The type of the predictions is kept: float64 is not rounded to float32.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

from tinyrnn import ops
from tinyrnn.autograd import Tensor, primitive
from tinyrnn.backend import EPSILON, array_module, floatx, is_float, on_device, placed, to_host, verify
from tinyrnn.cuda import crossentropy
from tinyrnn.fused import derived_gradients, row_mean
from tinyrnn.naming import Configurable, lookup, nearest, snake_case, warn_user

__all__ = [  # noqa: RUF022 - in the order of the file
    "mean_squared_error", "mean_absolute_error", "mean_absolute_percentage_error",
    "mean_squared_logarithmic_error", "huber", "log_cosh", "cosine_similarity", "poisson",
    "binary_crossentropy", "categorical_crossentropy", "sparse_categorical_crossentropy", "kl_divergence",
    "hinge", "squared_hinge", "categorical_hinge",
    "Loss", "LossFunctionWrapper",
    "MeanSquaredError", "MeanAbsoluteError", "MeanAbsolutePercentageError", "MeanSquaredLogarithmicError",
    "Huber", "LogCosh", "CosineSimilarity", "Poisson",
    "BinaryCrossentropy", "CategoricalCrossentropy", "SparseCategoricalCrossentropy", "KLDivergence",
    "Hinge", "SquaredHinge", "CategoricalHinge",
    "get", "resolve",
]  # fmt: skip


# --- bringing labels and predictions together -------------------------------------------------------------


def as_floats(x: Any, dtype: Any = None) -> Any:
    """Return `x` as an array or tensor of type `dtype`; if None, of its own float type or else `floatx()`."""
    x = placed(x) if hasattr(x, "dtype") else Tensor(x).data
    found = x.dtype
    wanted = dtype or (found if is_float(found) else floatx())
    return x if found == wanted else ops.cast(x, dtype=wanted)


def match_shapes(name: str, y_true: Any, y_pred: Any) -> tuple[Any, Any]:
    """Return both in one shape, that of `y_pred`; an axis of length 1 at the end may be missing in either.

    Raises
    ------
    ValueError
        If they differ in anything else; broadcasting ``(batch,)`` against ``(batch, 1)`` to
        ``(batch, batch)`` is never meant.
    """
    wanted, found = tuple(y_pred.shape), tuple(y_true.shape)
    if found == wanted:
        return y_true, y_pred
    if found == (*wanted, 1) and len(wanted) == 1:
        return y_true, ops.reshape(y_pred, shape=found)
    if found == (*wanted, 1) or (*found, 1) == wanted:
        return ops.reshape(y_true, shape=wanted), y_pred
    raise ValueError(f"{name}: expected y_true of the shape {wanted} of y_pred, found {found}")


def _paired(function: Callable) -> Callable:
    """Let a loss function see floats of one type and one shape only."""

    @functools.wraps(function)
    def prepared(y_true, y_pred, *args, **kwargs):
        y_pred = as_floats(y_pred)
        y_true, y_pred = match_shapes(function.__name__, as_floats(y_true, y_pred.dtype), y_pred)
        return function(y_true, y_pred, *args, **kwargs)

    return prepared


# --- regression -------------------------------------------------------------------------------------------


@primitive
def _mean_squared_difference(a, b):
    d = a - b
    return (d * d).sum(axis=-1) / float(d.shape[-1])


_mean_squared_difference.gradient(
    a=lambda g, a, b: g[..., None] * ((2.0 / a.shape[-1]) * (a - b)),
    b=lambda g, a, b: g[..., None] * ((2.0 / b.shape[-1]) * (b - a)),
)


def _squared_difference(y_true, y_pred):
    return ops.square(y_true - y_pred)


@_paired
def mean_squared_error(y_true: Any, y_pred: Any) -> Any:
    """Return ``mean((y_true - y_pred)**2)`` over the last axis."""
    return row_mean(_squared_difference, y_true, y_pred, on_host=_mean_squared_difference)


@_paired
def mean_absolute_error(y_true: Any, y_pred: Any) -> Any:
    """Return ``mean(|y_true - y_pred|)`` over the last axis."""
    return row_mean(_absolute_difference, y_true, y_pred)


def _absolute_difference(y_true, y_pred):
    return ops.abs(y_true - y_pred)


@_paired
def mean_absolute_percentage_error(y_true: Any, y_pred: Any) -> Any:
    """Return ``100 * mean(|y_true - y_pred| / max(|y_true|, 1e-7))`` over the last axis, in percent."""
    return 100.0 * row_mean(_relative_difference, y_true, y_pred)


def _relative_difference(y_true, y_pred):
    return ops.abs((y_true - y_pred) / ops.maximum(ops.abs(y_true), EPSILON))


@_paired
def mean_squared_logarithmic_error(y_true: Any, y_pred: Any) -> Any:
    """Return ``mean((log(1 + y_true) - log(1 + y_pred))**2)`` over the last axis; negatives count as 1e-7."""
    return row_mean(_squared_logarithmic_difference, y_true, y_pred)


def _squared_logarithmic_difference(y_true, y_pred):
    logs = [ops.log1p(ops.maximum(y, EPSILON)) for y in (y_true, y_pred)]
    return ops.square(logs[0] - logs[1])


@_paired
def huber(y_true: Any, y_pred: Any, delta: float = 1.0) -> Any:
    """Return the mean over the last axis of ``e**2 / 2`` for errors up to `delta`, a straight line beyond.

    The line is ``delta * (|e| - delta / 2)``: value and slope are continuous (Huber, 1964).
    """
    return row_mean(_huber, y_true, y_pred, delta)


def _huber(y_true, y_pred, delta):
    error = y_pred - y_true
    bounded = ops.clip(error, low=-delta, high=delta)
    return bounded * (error - 0.5 * bounded)


@_paired
def log_cosh(y_true: Any, y_pred: Any) -> Any:
    """Return ``mean(log(cosh(y_pred - y_true)))`` over the last axis, without overflow."""
    return row_mean(_log_cosh, y_true, y_pred)


def _log_cosh(y_true, y_pred):
    error = y_pred - y_true
    return error + ops.softplus(-2.0 * error) - math.log(2.0)


@_paired
def cosine_similarity(y_true: Any, y_pred: Any, axis: int = -1) -> Any:
    """Return minus the cosine of the angle of vectors along `axis`: -1 alike, 1 opposite, 0 for zeros."""
    return -ops.sum(_unit(y_true, axis) * _unit(y_pred, axis), axis=axis)


def _unit(x, axis):
    return x / ops.maximum(ops.norm(x, axis=axis, keepdims=True), EPSILON)


@_paired
def poisson(y_true: Any, y_pred: Any) -> Any:
    """Return ``mean(y_pred - y_true * log(y_pred + 1e-7))`` over the last axis.

    The negative log-likelihood of counts under rates `y_pred`, without its constant.
    """
    return row_mean(_poisson, y_true, y_pred)


def _poisson(y_true, y_pred):
    return y_pred - y_true * ops.log(y_pred + EPSILON)


# --- probabilities ----------------------------------------------------------------------------------------


def _inside(p):
    """Probabilities kept from 0 and 1, where the logarithm fails."""
    return ops.clip(p, low=EPSILON, high=1.0 - EPSILON)


@primitive(composed=True)
def _log_loss(y, p):
    return -(y * ops.log(p) + (1.0 - y) * ops.log(1.0 - p))


_log_loss.gradient(
    y=lambda g, p: g * (ops.log(1.0 - p) - ops.log(p)),
    p=lambda g, y, p: g * ((p - y) / (p * (1.0 - p))),
)


@primitive(composed=True)
def _log_loss_of_logits(y, x):
    return y * ops.softplus(-x) + (1.0 - y) * ops.softplus(x)


_log_loss_of_logits.gradient(
    y=lambda g, x: g * -x,
    x=lambda g, y, x: g * ((1.0 - y) * ops.sigmoid(x) - y * ops.sigmoid(-x)),
)


@_paired
def binary_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, label_smoothing: float = 0.0, axis: int = -1
) -> Any:
    """Return ``-mean(y_true * log(p) + (1 - y_true) * log(1 - p))`` over `axis`.

    Parameters
    ----------
    y_true : array
        Labels 0 or 1, or probabilities.
    y_pred : float array or Tensor
        Probabilities p, taken within 1e-7 of 0 and 1; or logits.
    from_logits : bool
        ``p = sigmoid(y_pred)``; never saturates, so better than a sigmoid layer before the loss.
    label_smoothing : float
        Labels move this far towards 1/2: ``y * (1 - s) + s / 2``.
    axis : int
        The axis to average over.
    """
    is_usual = not from_logits and axis in (-1, len(y_pred.shape) - 1)
    return row_mean(
        _binary_crossentropy, y_true, y_pred, from_logits, label_smoothing, axis=axis,
        on_host=(lambda y, p: _mean_log_loss(_smoothed(y, label_smoothing), p)) if is_usual else None,
    )  # fmt: skip


def _binary_crossentropy(y_true, y_pred, from_logits, label_smoothing):
    y_true = _smoothed(y_true, label_smoothing)
    return _log_loss_of_logits(y_true, y_pred) if from_logits else _log_loss(y_true, _inside(y_pred))


def _smoothed(y, by):
    return y * (1.0 - by) + 0.5 * by if by else y


@primitive
def _mean_log_loss(y, p):
    return ops.mean(_log_loss(y, _inside(p)), axis=-1)


def _mean_log_loss_gradient(g, y, p):
    inside = _inside(p)
    kept = ops.to_array(p) == ops.to_array(inside)
    return (g[..., None] / float(p.shape[-1])) * ((inside - y) / (inside * (1.0 - inside)) * kept)


_mean_log_loss.gradient(
    y=lambda g, p: (g[..., None] / float(p.shape[-1])) * (ops.log(1.0 - _inside(p)) - ops.log(_inside(p))),
    p=_mean_log_loss_gradient,
)


@_paired
def categorical_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, label_smoothing: float = 0.0, axis: int = -1
) -> Any:
    """Return ``-sum(y_true * log(p))`` over the classes.

    Parameters
    ----------
    y_true : array
        One-hot rows, or probabilities of the classes.
    y_pred : float array or Tensor
        Probabilities, divided by their sum and then taken within 1e-7 of 0 and 1; or logits.
    from_logits : bool
        ``p = softmax(y_pred)``.
    label_smoothing : float
        Labels move this far towards the uniform: ``y * (1 - s) + s / classes``.
    axis : int
        The axis of the classes.
    """
    classes = y_pred.shape[axis]
    if classes == 1:
        warn_user(
            f"categorical_crossentropy: y_pred of shape {tuple(y_pred.shape)} has one class, so its loss "
            "is constant; for two classes in one output use binary_crossentropy"
        )
    if on_device(ops.to_array(y_pred)) and axis in (-1, len(y_pred.shape) - 1):
        return _device_crossentropy(y_true, y_pred, from_logits=from_logits, smoothing=label_smoothing)
    return _categorical(y_true, y_pred, from_logits, label_smoothing, axis)


def _categorical(y_true, y_pred, from_logits, label_smoothing, axis):
    if label_smoothing:
        y_true = y_true * (1.0 - label_smoothing) + label_smoothing / y_pred.shape[axis]
    if from_logits:
        return -ops.sum(y_true * ops.log_softmax(y_pred, axis=axis), axis=axis)
    return _log_loss_of_classes(y_true, y_pred, axis=axis)


def _normalized(p, axis):
    return _inside(p / ops.sum(p, axis=axis, keepdims=True))


@primitive
def _log_loss_of_classes(y, p, *, axis):
    return -ops.sum(y * ops.log(_normalized(p, axis)), axis=axis)


def _log_loss_of_classes_gradient(g, y, p, axis):
    """Return ``g * (sum(y) - y / q) / total`` with ``q = p / total``; labels whose q is too small count 0."""
    total = ops.sum(p, axis=axis, keepdims=True)
    q = p / total
    inside = _inside(q)
    y = y * (ops.to_array(q) == ops.to_array(inside))
    return (ops.expand_dims(g, axis=axis) / total) * (ops.sum(y, axis=axis, keepdims=True) - y / inside)


_log_loss_of_classes.gradient(
    y=lambda g, p, axis: -ops.expand_dims(g, axis=axis) * ops.log(_normalized(p, axis)),
    p=_log_loss_of_classes_gradient,
)


@primitive(residuals=True)
def _device_crossentropy(labels, scores, *, from_logits, smoothing=0.0, ignore=None, ok=None):
    """The cross-entropy over the last axis, of probabilities or numbers as labels, on a GPU."""
    ok = array_module(scores).ones((), "bool") if ok is None else ok
    return crossentropy.crossentropy(labels, scores, ok, from_logits, smoothing, ignore)


@_device_crossentropy.gradients
def _device_crossentropy_gradients(g, labels, scores, residuals, needs, from_logits, smoothing, ignore):
    (g,) = g
    if not needs[0] and not isinstance(g, Tensor):
        return None, crossentropy.crossentropy_gradient(g, residuals)
    if len(labels.shape) == len(scores.shape):
        definition = functools.partial(
            _categorical, from_logits=from_logits, label_smoothing=smoothing, axis=-1
        )
    else:
        definition = functools.partial(_sparse, from_logits=from_logits, ignore_class=ignore)
    return derived_gradients(definition, g, (labels, scores), needs)


def sparse_categorical_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, ignore_class: int | None = None, axis: int = -1
) -> Any:
    """Return ``-log(p[label])``: `categorical_crossentropy` for labels given as numbers.

    Parameters
    ----------
    y_true : array of int, ``(batch, ...)`` or ``(batch, ..., 1)``
        Classes, ``0 ... classes - 1``; whole numbers of a float type are accepted.
    y_pred : float array or Tensor, ``(batch, ..., classes)``
        Probabilities or logits, as in `categorical_crossentropy`.
    from_logits : bool
        ``p = softmax(y_pred)``.
    ignore_class : int, optional
        A label, any number, whose elements count 0; the result's mask says so if it is a `Tensor`.
    axis : int
        The axis of the classes.

    Raises
    ------
    ValueError
        For labels of a wrong shape, with fractions, or out of range (Keras gives those a loss of 0). On a
        GPU what depends on the labels' values is said later, when something is fetched.
    """
    y_pred = as_floats(y_pred)
    rank = len(y_pred.shape)
    labels = _shaped_labels("sparse_categorical_crossentropy", placed(y_true), y_pred.shape, axis)
    if axis % rank != rank - 1:
        y_pred = ops.transpose(y_pred, axes=[*(i for i in range(rank) if i != axis % rank), axis % rank])
    classes = y_pred.shape[-1]
    if on_device(labels):  # the kernel looks at the labels too
        ok = array_module(labels).ones((), "bool")
        values = _device_crossentropy(labels, y_pred, from_logits=from_logits, ignore=ignore_class, ok=ok)
        verify(ok, lambda: _wrong_label(to_host(labels), classes, ignore_class))
    else:
        labels = _whole("sparse_categorical_crossentropy", labels)
        if not _is_class(labels, classes, ignore_class).all():
            raise _wrong_label(labels, classes, ignore_class)
        values = _sparse(labels, y_pred, from_logits, ignore_class)
    if ignore_class is not None and isinstance(values, Tensor):
        values.mask = labels != ignore_class
    return values


def _sparse(labels, y_pred, from_logits, ignore_class):
    ids = labels.astype("int64", copy=False)
    ignored = None if ignore_class is None else ids == ignore_class
    if ignored is not None:
        ids = array_module(ids).where(ignored, 0, ids)
    if from_logits:
        log_p = _pick(ops.log_softmax(y_pred), ids)
    else:
        log_p = ops.log(_inside(_pick(y_pred, ids) / ops.sum(y_pred, axis=-1)))
    return -log_p if ignored is None else ops.where(ignored, 0.0, -log_p)


def _pick(scores, ids):
    """``scores[..., ids]``, one element per row; costs no one-hot array of the size of the scores."""
    classes = scores.shape[-1]
    starts = array_module(ids).arange(0, ids.size * classes, classes).reshape(ids.shape)
    return ops.take(ops.reshape(scores, shape=(ids.size * classes,)), starts + ids)


def class_ids(name: str, y_true: Any, y_pred_shape: tuple[int, ...], axis: int = -1) -> Any:
    """Return labels as integers, in the shape of `y_pred` without its axis of classes.

    Raises
    ------
    ValueError
        For other shapes and for fractions; `name` begins the message.
    """
    return _whole(name, _shaped_labels(name, y_true, y_pred_shape, axis))


def _shaped_labels(name, y_true, y_pred_shape, axis):
    given = ops.to_array(y_true if hasattr(y_true, "dtype") else Tensor(y_true))
    axis = axis % len(y_pred_shape)
    wanted = tuple(n for i, n in enumerate(y_pred_shape) if i != axis)
    with_axis = tuple(n if i != axis else 1 for i, n in enumerate(y_pred_shape))
    if given.shape not in (wanted, with_axis):
        raise ValueError(
            f"{name}: expected labels of shape {wanted} or {with_axis} for y_pred of shape "
            f"{tuple(y_pred_shape)}, found {given.shape}"
        )
    return given.reshape(wanted)


def _whole(name, labels):
    ids = labels.astype("int64", copy=False)
    if labels.dtype.kind == "f":
        verify((labels == ids).all(), lambda: _not_whole(name, to_host(labels)))
    return ids


def _not_whole(name, labels):
    wrong = labels[labels != labels.astype("int64")]
    return ValueError(f"{name}: expected whole numbers as labels, found {wrong[0]}")


def _is_class(ids, classes, ignore_class):
    right = (ids >= 0) & (ids < classes)
    return right if ignore_class is None else right | (ids == ignore_class)


def _wrong_label(labels, classes, ignore_class):
    name, ids = "sparse_categorical_crossentropy", labels.astype("int64")
    if (labels != ids).any():
        return _not_whole(name, labels)
    position = tuple(int(i[0]) for i in (~_is_class(ids, classes, ignore_class)).nonzero())
    return ValueError(
        f"{name}: expected labels in 0 ... {classes - 1}, found {int(ids[position])} at {position}"
    )


@_paired
def kl_divergence(y_true: Any, y_pred: Any) -> Any:
    """Return ``sum(y_true * log(y_true / y_pred))`` over the last axis, both taken within ``1e-7 ... 1``."""
    y_true, y_pred = (ops.clip(y, low=EPSILON, high=1.0) for y in (y_true, y_pred))
    return ops.sum(y_true * ops.log(y_true / y_pred), axis=-1)


# --- margins ----------------------------------------------------------------------------------------------


def _signs(y_true):
    """Labels -1 and 1 from labels that are all 0 or 1; other labels as they are."""
    labels = ops.to_array(y_true)
    binary = ((labels == 0) | (labels == 1)).all()
    return ops.where(binary, 2.0 * y_true - 1.0, y_true)


@_paired
def hinge(y_true: Any, y_pred: Any) -> Any:
    """Return ``mean(max(1 - y_true * y_pred, 0))`` over the last axis, for labels -1 and 1 or 0 and 1."""
    return row_mean(_hinge, _signs(y_true), y_pred)


def _hinge(signs, y_pred):
    return ops.relu(1.0 - signs * y_pred)


@_paired
def squared_hinge(y_true: Any, y_pred: Any) -> Any:
    """Return ``mean(max(1 - y_true * y_pred, 0)**2)`` over the last axis, for labels -1 and 1 or 0 and 1."""
    return row_mean(_squared_hinge, _signs(y_true), y_pred)


def _squared_hinge(signs, y_pred):
    return ops.square(_hinge(signs, y_pred))


@_paired
def categorical_hinge(y_true: Any, y_pred: Any) -> Any:
    """Return ``max(1 + best wrong - right, 0)`` for one-hot `y_true`.

    Right is ``sum(y_true * y_pred)``, best wrong is ``max((1 - y_true) * y_pred)``, over the last axis.
    """
    right = ops.sum(y_true * y_pred, axis=-1)
    wrong = ops.max((1.0 - y_true) * y_pred, axis=-1)
    return ops.relu(wrong - right + 1.0)


# --- from values to one number ----------------------------------------------------------------------------

REDUCTIONS = ("sum_over_batch_size", "mean", "sum", "mean_with_sample_weight", "none", None)


def joint_mask(*tensors: Any) -> Any:
    """Return where all masks of `tensors` are True; None if none of them has a mask."""
    masks = [t.mask for t in tensors if isinstance(t, Tensor) and t.mask is not None]
    return functools.reduce(lambda a, b: a & b, masks) if masks else None


def merge_weights(values: Any, sample_weight: Any = None, mask: Any = None) -> Any:
    """Return the product of weights and mask in shape and type of `values`; None if there are neither.

    Both fit the leading axes of `values`: weights of shape ``(batch,)`` for values ``(batch, time)`` are one
    per sample, also where batch and time are of one length. Axes after the first may have length 1.

    Raises
    ------
    ValueError
        For any other shape.
    """
    merged = None
    for what, factor in (("sample_weight", sample_weight), ("mask", mask)):
        if factor is None or (what == "mask" and values.shape == ()):  # one number for the whole batch
            continue
        factor = _spread(what, factor, values)
        merged = factor if merged is None else merged * factor
    return merged


def _spread(what, weight, values):
    """`weight` repeated along the trailing axes that it lacks, and cast."""
    shape = tuple(values.shape)
    weight = array_module(ops.to_array(values)).asarray(ops.to_array(weight), dtype=values.dtype)
    found = weight.shape
    leading = found[:-1] if len(found) == len(shape) + 1 and found[-1] == 1 else found
    fits = len(leading) <= len(shape) and all(
        n == m or (n == 1 and i > 0) for i, (n, m) in enumerate(zip(leading, shape, strict=False))
    )
    if not fits:
        known = " or ".join(str(shape[: i + 1]) for i in range(len(shape))) or "()"
        raise ValueError(f"{what}: values of shape {shape} take weights of shape {known}, found {found}")
    weight = weight.reshape(leading + (1,) * (len(shape) - len(leading)))
    return array_module(weight).broadcast_to(weight, shape)


def reduce_values(
    values: Any, sample_weight: Any = None, mask: Any = None, reduction: str | None = "sum_over_batch_size"
) -> Any:
    r"""Weight the values of a loss function and reduce them.

    With weights w and a mask m of 0 and 1 (both 1 if not given)

    =========================  ==============================================
    sum_over_batch_size, mean  :math:`\sum w m \ell / \sum m`
    sum                        :math:`\sum w m \ell`
    mean_with_sample_weight    :math:`\sum w m \ell / \sum w m`
    none, None                 :math:`w m \ell`, not reduced
    =========================  ==============================================

    The first divides by the number of elements, not by their weights, as Keras does. Where the divisor is 0
    the result is 0. A loss function that returned a single number is not reduced.

    Parameters
    ----------
    values : array or Tensor, ``(batch, ...)``
    sample_weight, mask : array, optional
        As in `merge_weights`.
    reduction : str or None
    """
    weight = merge_weights(values, sample_weight, mask)
    if weight is not None:
        values = values * weight
    if reduction in ("none", None) or values.shape == ():
        return values
    if reduction == "sum" or not values.size:
        return ops.sum(values)
    if reduction == "mean_with_sample_weight" and weight is not None:
        count = weight.sum()
    elif mask is not None:
        count = _spread("mask", mask, values).sum()
    else:
        return ops.mean(values)
    return ops.sum(values) / array_module(count).where(count == 0, 1, count)


class Loss(Configurable):
    """Base of losses: a subclass writes `call`, which returns one value per element.

    Parameters
    ----------
    name : str, optional
        The class's in snake case unless given.
    reduction : {"sum_over_batch_size", "mean", "sum", "mean_with_sample_weight", "none", None}
        What becomes of the values, see `reduce_values`.
    dtype : str, optional
        Compute in this float type; unless given in that of the predictions.

    Raises
    ------
    ValueError
        For an unknown reduction.
    """

    def __init__(
        self, name: str | None = None, reduction: str | None = "sum_over_batch_size", dtype: str | None = None
    ):
        if reduction not in REDUCTIONS:
            hint = nearest(str(reduction), filter(None, REDUCTIONS))
            raise ValueError(f"{type(self).__name__}: unknown reduction {reduction!r}{hint}")
        self.name = name or snake_case(type(self).__name__)
        self.reduction = reduction
        self.dtype = dtype

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the values, in the shape of `y_pred` without its last axis.

        Parameters
        ----------
        y_true : array or Tensor
            Of the float type of `y_pred`.
        y_pred : Tensor
        """
        raise NotImplementedError(f"{type(self).__name__}: a loss must define call(y_true, y_pred)")

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Return the loss of a batch.

        Parameters
        ----------
        y_true : array
        y_pred : array or Tensor
            Elements for which the tensor's `mask` is False do not count.
        sample_weight : array, optional
            One per sample, ``(batch,)``, or one per value.

        Returns
        -------
        Tensor or array
            A `Tensor` if `y_pred` or `y_true` is one; a single number unless the reduction is "none".

        Raises
        ------
        ValueError
            For shapes that do not fit.
        """
        prediction = as_floats(y_pred, self.dtype)
        prediction = prediction if isinstance(prediction, Tensor) else Tensor(prediction)
        values = self.call(as_floats(y_true, prediction.dtype), prediction)
        loss = reduce_values(values, sample_weight, joint_mask(y_pred, values), self.reduction)
        return loss if isinstance(y_pred, Tensor) or isinstance(y_true, Tensor) else ops.to_array(loss)


class _FunctionLoss(Loss):
    """A loss whose values come from `fn`, called with the attributes that `settings` names."""

    fn: Callable
    settings: tuple[str, ...] = ()

    def __init__(
        self, reduction: str | None = "sum_over_batch_size", name: str | None = None, dtype: str | None = None
    ):
        super().__init__(name, reduction, dtype)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the values of the function."""
        return self.fn(y_true, y_pred, **{name: getattr(self, name) for name in self.settings})


class LossFunctionWrapper(_FunctionLoss):
    """Any function as a `Loss`.

    Parameters
    ----------
    fn : callable or str
        ``fn(y_true, y_pred)`` returns the values, or a single number; or the name of a function of this file.
    reduction, dtype : optional
        As in `Loss`.
    name : str, optional
        The function's unless given.
    """

    def __init__(
        self,
        fn: Any,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: str | None = None,
    ):
        self.fn = lookup("loss function", fn, FUNCTIONS)
        super().__init__(reduction, name or getattr(self.fn, "__name__", None), dtype)


# --- Keras's classes --------------------------------------------------------------------------------------


class MeanSquaredError(_FunctionLoss):
    """`mean_squared_error`, reduced."""

    fn = staticmethod(mean_squared_error)


class MeanAbsoluteError(_FunctionLoss):
    """`mean_absolute_error`, reduced."""

    fn = staticmethod(mean_absolute_error)


class MeanAbsolutePercentageError(_FunctionLoss):
    """`mean_absolute_percentage_error`, reduced."""

    fn = staticmethod(mean_absolute_percentage_error)


class MeanSquaredLogarithmicError(_FunctionLoss):
    """`mean_squared_logarithmic_error`, reduced."""

    fn = staticmethod(mean_squared_logarithmic_error)


class Huber(_FunctionLoss):
    """`huber`, reduced."""

    fn = staticmethod(huber)
    settings = ("delta",)

    def __init__(
        self,
        delta: float = 1.0,
        reduction: str | None = "sum_over_batch_size",
        name: str = "huber_loss",
        dtype: str | None = None,
    ):
        super().__init__(reduction, name, dtype)
        self.delta = delta


class LogCosh(_FunctionLoss):
    """`log_cosh`, reduced."""

    fn = staticmethod(log_cosh)


class CosineSimilarity(_FunctionLoss):
    """`cosine_similarity`, reduced."""

    fn = staticmethod(cosine_similarity)
    settings = ("axis",)

    def __init__(
        self,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: str | None = None,
    ):
        super().__init__(reduction, name, dtype)
        self.axis = axis


class Poisson(_FunctionLoss):
    """`poisson`, reduced."""

    fn = staticmethod(poisson)


class _Crossentropy(_FunctionLoss):
    settings = ("from_logits", "label_smoothing", "axis")

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: str | None = None,
    ):
        super().__init__(reduction, name, dtype)
        self.from_logits = from_logits
        self.label_smoothing = label_smoothing
        self.axis = axis


class BinaryCrossentropy(_Crossentropy):
    """`binary_crossentropy`, reduced."""

    fn = staticmethod(binary_crossentropy)


class CategoricalCrossentropy(_Crossentropy):
    """`categorical_crossentropy`, reduced."""

    fn = staticmethod(categorical_crossentropy)


class SparseCategoricalCrossentropy(_FunctionLoss):
    """`sparse_categorical_crossentropy`, reduced: the mean is over the elements not ignored."""

    fn = staticmethod(sparse_categorical_crossentropy)
    settings = ("from_logits", "ignore_class", "axis")

    def __init__(
        self,
        from_logits: bool = False,
        ignore_class: int | None = None,
        reduction: str | None = "sum_over_batch_size",
        axis: int = -1,
        name: str | None = None,
        dtype: str | None = None,
    ):
        super().__init__(reduction, name, dtype)
        self.from_logits = from_logits
        self.ignore_class = ignore_class
        self.axis = axis


class KLDivergence(_FunctionLoss):
    """`kl_divergence`, reduced."""

    fn = staticmethod(kl_divergence)


class Hinge(_FunctionLoss):
    """`hinge`, reduced."""

    fn = staticmethod(hinge)


class SquaredHinge(_FunctionLoss):
    """`squared_hinge`, reduced."""

    fn = staticmethod(squared_hinge)


class CategoricalHinge(_FunctionLoss):
    """`categorical_hinge`, reduced."""

    fn = staticmethod(categorical_hinge)


# --- by name ----------------------------------------------------------------------------------------------

_CLASSES = (
    MeanSquaredError, MeanAbsoluteError, MeanAbsolutePercentageError, MeanSquaredLogarithmicError,
    Huber, LogCosh, CosineSimilarity, Poisson,
    BinaryCrossentropy, CategoricalCrossentropy, SparseCategoricalCrossentropy, KLDivergence,
    Hinge, SquaredHinge, CategoricalHinge,
)  # fmt: skip

FUNCTIONS = {c.fn.__name__: c.fn for c in _CLASSES}

ALIASES = {
    "bce": "binary_crossentropy",
    "kld": "kl_divergence",
    "mae": "mean_absolute_error",
    "mape": "mean_absolute_percentage_error",
    "mse": "mean_squared_error",
    "msle": "mean_squared_logarithmic_error",
}
ALIASES |= {short.upper(): name for short, name in ALIASES.items()}

_BY_NAME: dict[str, type[Loss]] = {c.fn.__name__: c for c in _CLASSES}
_BY_NAME |= {short: _BY_NAME[name] for short, name in ALIASES.items()}
_BY_NAME |= {c.__name__: c for c in (*_CLASSES, LossFunctionWrapper)}


def get(identifier: Any) -> Loss | None:
    """Return the loss that `identifier` names.

    Parameters
    ----------
    identifier : None, str, dict, class, Loss or callable
        A class's or a function's name, or a short one (``"mse"``, ``"bce"``, ...); a configuration; a
        function ``fn(y_true, y_pred)``, which is wrapped. None stays None: an output without a loss.

    Raises
    ------
    ValueError
        For an unknown name, with the nearest known one.
    """
    found = lookup("loss", identifier, _BY_NAME)
    return found if found is None or isinstance(found, Loss) else LossFunctionWrapper(found)


def resolve(identifier: Any, y_true_shape: tuple[int, ...], y_pred_shape: tuple[int, ...]) -> Loss | None:
    """As `get`; ``"crossentropy"`` and ``"ce"`` are the cross-entropy that fits the shapes of a batch."""
    if isinstance(identifier, str) and identifier.lower() in ("crossentropy", "ce"):
        identifier = f"{label_kind(y_true_shape, y_pred_shape)}_crossentropy"
    return get(identifier)


def label_kind(y_true_shape: tuple[int, ...], y_pred_shape: tuple[int, ...]) -> str:
    """Return what labels the shapes mean, as in Keras: "binary", "sparse_categorical" or "categorical"."""
    if len(y_pred_shape) < 2 or y_pred_shape[-1] == 1:
        return "binary"
    if len(y_true_shape) < len(y_pred_shape) or y_true_shape[-1] == 1:
        return "sparse_categorical"
    return "categorical"
