"""Every differentiable operation: its forward, and directly below it its gradient.

Positional arguments are inputs (tensors, arrays or numbers), keyword-only ones are settings. Without a
`Tensor` among the inputs an operation is a plain array function and returns an array. Gradients are
written in the operations of this file, so they can be differentiated again; what broadcasting repeated
is summed up again by the engine.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinyrnn import blas
from tinyrnn.autograd import Primitive, Symbolic, Tensor, broadcast_to, primitive
from tinyrnn.backend import array_module, is_float, on_device
from tinyrnn.cuda import elementwise, rows, scatter

__all__ = [  # noqa: RUF022 - in the order of the file
    "add", "subtract", "multiply", "divide", "negative", "power",
    "exp", "expm1", "log", "log1p", "sqrt", "square", "abs", "sign", "sin", "cos", "erf",
    "tanh", "sigmoid", "relu", "softplus", "maximum", "minimum", "where", "clip",
    "greater", "greater_equal", "less", "less_equal", "equal", "not_equal", "argmax", "one_hot",
    "sum", "mean", "var", "max", "min", "cumsum", "logsumexp", "softmax", "log_softmax", "norm",
    "matmul", "affine", "reshape", "transpose", "swapaxes", "expand_dims", "squeeze", "broadcast_to", "flip",
    "getitem", "put", "take", "scatter_add", "concatenate", "stack", "unstack", "cast", "stop_gradient",
    "to_array",
]  # fmt: skip


def to_array(x: Any) -> Any:
    """Return the array of a tensor; anything else as it is."""
    return x.data if isinstance(x, Tensor) else x


# --- arithmetic -------------------------------------------------------------------------------------------


@primitive
def add(a, b):
    """``a + b``."""
    return a + b


add.gradient(a=lambda g: g, b=lambda g: g)


@primitive
def subtract(a, b):
    """``a - b``."""
    return a - b


subtract.gradient(a=lambda g: g, b=lambda g: -g)


@primitive
def multiply(a, b):
    """``a * b``, elementwise."""
    return a * b


multiply.gradient(a=lambda g, b: g * b, b=lambda g, a: g * a)


@primitive
def divide(a, b):
    """``a / b``, elementwise."""
    return a / b


divide.gradient(a=lambda g, b: g / b, b=lambda g, b, out: -g * out / b)


@primitive
def negative(x):
    """``-x``."""
    return -x


negative.gradient(x=lambda g: -g)


@primitive
def power(x, *, exponent):
    """``x ** exponent`` for a number `exponent`."""
    return x**exponent


# For exponent 0 the rule must not form 0 * x**-1, which is nan at x = 0.
power.gradient(x=lambda g, x, exponent: g * (exponent * x ** (exponent - 1)) if exponent else g * 0.0)


# --- elementwise functions --------------------------------------------------------------------------------


@primitive
def exp(x):
    """The exponential function."""
    return array_module(x).exp(x)


exp.gradient(x=lambda g, out: g * out)


@primitive
def expm1(x):
    """``exp(x) - 1``, exact for small x."""
    return array_module(x).expm1(x)


expm1.gradient(x=lambda g, out: g * (out + 1.0))


@primitive
def log(x):
    """The natural logarithm."""
    return array_module(x).log(x)


log.gradient(x=lambda g, x: g / x)


@primitive
def log1p(x):
    """``log(1 + x)``, exact for small x."""
    return array_module(x).log1p(x)


log1p.gradient(x=lambda g, x: g / (1.0 + x))


@primitive
def sqrt(x):
    """The square root."""
    return array_module(x).sqrt(x)


sqrt.gradient(x=lambda g, out: g * 0.5 / out)


@primitive
def square(x):
    """``x * x``."""
    return x * x


square.gradient(x=lambda g, x: g * (2.0 * x))


@primitive
def abs(x):
    """The absolute value; its gradient at 0 is 0."""
    return array_module(x).abs(x)


abs.gradient(x=lambda g, x: g * sign(x))


@primitive
def sign(x):
    """-1, 0 or 1; its gradient is 0."""
    return array_module(x).sign(x)


@primitive
def sin(x):
    """The sine."""
    return array_module(x).sin(x)


sin.gradient(x=lambda g, x: g * cos(x))


@primitive
def cos(x):
    """The cosine."""
    return array_module(x).cos(x)


cos.gradient(x=lambda g, x: g * -sin(x))


@primitive
def erf(x):
    """The error function, ``2/sqrt(pi) * integral of exp(-t*t) from 0 to x``."""
    xp = array_module(x)
    if xp is not np:
        from cupyx.scipy.special import erf as on_device

        return on_device(x)
    return np.asarray(np.frompyfunc(math.erf, 1, 1)(x)).astype(np.asarray(x).dtype)


erf.gradient(x=lambda g, x: g * (2.0 / math.sqrt(math.pi)) * exp(-(x * x)))


@primitive
def tanh(x):
    """The hyperbolic tangent."""
    return array_module(x).tanh(x)


def _tanh_gradient(g, out):
    return elementwise.apply("tanh_gradient", g, out) if on_device(g) else g * (1.0 - out * out)


tanh.gradient(x=_tanh_gradient)


@primitive
def sigmoid(x):
    """The logistic function ``1 / (1 + exp(-x))``, exact in relative terms at both ends."""
    xp = array_module(x)
    if xp is not np and is_float(x.dtype):
        return elementwise.apply("sigmoid", x)
    z = xp.exp(-xp.abs(x))  # never overflows
    return xp.where(x >= 0, 1.0, z) / (1.0 + z)


def _sigmoid_gradient(g, out):
    return elementwise.apply("sigmoid_gradient", g, out) if on_device(g) else g * (out * (1.0 - out))


sigmoid.gradient(x=_sigmoid_gradient)


@primitive
def relu(x):
    """``max(x, 0)``; its gradient at 0 is 0."""
    return array_module(x).maximum(x, 0.0)


def _relu_gradient(g, out):
    return elementwise.apply("relu_gradient", g, out) if on_device(g) else g * (out > 0.0)


relu.gradient(x=_relu_gradient)


@primitive
def softplus(x):
    """``log(1 + exp(x))``, without overflow."""
    xp = array_module(x)
    return xp.logaddexp(x, 0.0)


softplus.gradient(x=lambda g, x: g * sigmoid(x))


@primitive
def maximum(a, b):
    """The larger of two, elementwise; where they are equal each gets half of the gradient."""
    return array_module(a, b).maximum(a, b)


maximum.gradient(
    a=lambda g, a, b: g * (0.5 * (1.0 + sign(a - b))),
    b=lambda g, a, b: g * (0.5 * (1.0 + sign(b - a))),
)


@primitive
def minimum(a, b):
    """The smaller of two, elementwise; where they are equal each gets half of the gradient."""
    return array_module(a, b).minimum(a, b)


minimum.gradient(
    a=lambda g, a, b: g * (0.5 * (1.0 + sign(b - a))),
    b=lambda g, a, b: g * (0.5 * (1.0 + sign(a - b))),
)


@primitive
def where(condition, a, b):
    """``a`` where `condition` holds, ``b`` elsewhere."""
    return array_module(condition, a, b).where(condition, a, b)


where.gradient(
    a=lambda g, condition: where(condition, g, 0.0),
    b=lambda g, condition: where(condition, 0.0, g),
)


@primitive
def clip(x, *, low, high):
    """`x` limited to ``low ... high`` (numbers); outside, the gradient is 0."""
    return array_module(x).clip(x, low, high)


clip.gradient(x=lambda g, x, low, high: where(_within(x, low, high), g, 0.0))


def _within(x, low, high):
    x = to_array(x)
    return (x >= low) * (x <= high)


# --- comparisons and counting: no gradient ----------------------------------------------------------------


@primitive
def greater(a, b):
    """``a > b``."""
    return a > b


@primitive
def greater_equal(a, b):
    """``a >= b``."""
    return a >= b


@primitive
def less(a, b):
    """``a < b``."""
    return a < b


@primitive
def less_equal(a, b):
    """``a <= b``."""
    return a <= b


@primitive
def equal(a, b):
    """``a == b``, elementwise."""
    return a == b


@primitive
def not_equal(a, b):
    """``a != b``, elementwise."""
    return a != b


@primitive
def argmax(x, *, axis=-1):
    """The position of the first maximum along `axis`."""
    return array_module(x).argmax(x, axis=axis)


@primitive(casts=True)
def one_hot(ids, *, depth, dtype="float32"):
    """Rows of the identity matrix: ``ids`` of any shape to ``ids.shape + (depth,)``; zeros out of range."""
    xp = array_module(ids)
    return (xp.asarray(ids)[..., None] == xp.arange(depth)).astype(dtype)


# --- reductions -------------------------------------------------------------------------------------------


def _axes(axis, ndim) -> tuple[int, ...]:
    """`axis` as a tuple of non-negative numbers."""
    if axis is None:
        return tuple(range(ndim))
    return tuple(int(a) % ndim for a in ((axis,) if isinstance(axis, int | np.integer) else axis))


def _restore(g, shape, axis, keepdims):
    """Give a reduced `g` back the axes that were reduced away, with length 1; a number fits any shape."""
    if keepdims or axis is None:
        return g
    axes = _axes(axis, len(shape))
    return reshape(g, shape=tuple(1 if i in axes else n for i, n in enumerate(shape)))


@primitive
def sum(x, *, axis=None, keepdims=False):
    """The sum over `axis` (a number, a tuple, or all)."""
    return x.sum(axis=axis, keepdims=keepdims)


def _spread(g, shape, axis, keepdims):
    """Repeat a reduced `g` along the axes that were reduced away."""
    return broadcast_to(_restore(g, shape, axis, keepdims), shape=shape)


sum.gradient(x=lambda g, x_shape, axis, keepdims: _spread(g, x_shape, axis, keepdims))


@primitive
def mean(x, *, axis=None, keepdims=False):
    """The mean over `axis` (a number, a tuple, or all)."""
    if on_device(x):  # in one launch
        return x.mean(axis=axis, keepdims=keepdims)
    return x.sum(axis=axis, keepdims=keepdims) / _count(x.shape, axis)


def _count(shape, axis) -> float:
    if isinstance(axis, int):
        return float(shape[axis])
    return float(math.prod(shape if axis is None else [shape[a] for a in _axes(axis, len(shape))]))


mean.gradient(
    x=lambda g, x_shape, axis, keepdims: _spread(g / _count(x_shape, axis), x_shape, axis, keepdims)
)


def var(x, *, axis=None, keepdims=False):
    """Return the (biased) variance over `axis`."""
    return mean(square(x - mean(x, axis=axis, keepdims=True)), axis=axis, keepdims=keepdims)


@primitive
def max(x, *, axis=None, keepdims=False):
    """The maximum over `axis`; equal maxima share the gradient."""
    return array_module(x).max(x, axis=axis, keepdims=keepdims)


@primitive
def min(x, *, axis=None, keepdims=False):
    """The minimum over `axis`; equal minima share the gradient."""
    return array_module(x).min(x, axis=axis, keepdims=keepdims)


def _extremum_gradient(g, x, out, axis, keepdims):
    chosen = to_array(x) == to_array(_restore(out, x.shape, axis, keepdims))
    share = chosen / chosen.sum(axis=axis, keepdims=True)
    return _restore(g, x.shape, axis, keepdims) * share.astype(x.dtype)


max.gradient(x=_extremum_gradient)
min.gradient(x=_extremum_gradient)


@primitive
def cumsum(x, *, axis):
    """The running sum along `axis`."""
    return array_module(x).cumsum(x, axis=axis)


cumsum.gradient(x=lambda g, axis: flip(cumsum(flip(g, axis=axis), axis=axis), axis=axis))


@primitive
def logsumexp(x, *, axis=-1, keepdims=False):
    """``log(sum(exp(x)))`` over `axis`, without overflow."""
    xp = array_module(x)
    top = xp.max(x, axis=axis, keepdims=True)
    top = xp.where(xp.isfinite(top), top, 0.0)
    out = xp.log(xp.sum(xp.exp(x - top), axis=axis, keepdims=True)) + top
    return out if keepdims else xp.squeeze(out, axis=axis)


logsumexp.gradient(
    x=lambda g, x, axis, keepdims: _restore(g, x.shape, axis, keepdims) * softmax(x, axis=axis)
)


@primitive
def softmax(x, *, axis=-1):
    """``exp(x) / sum(exp(x))`` over `axis`, without overflow."""
    xp = array_module(x)
    if xp is not np and _axes(axis, x.ndim) == (x.ndim - 1,):
        return rows.softmax(x)
    e = xp.exp(x - xp.max(x, axis=axis, keepdims=True))
    return e / xp.sum(e, axis=axis, keepdims=True)


def _softmax_gradient(g, out, axis):
    if on_device(g) and _axes(axis, out.ndim) == (out.ndim - 1,):
        return rows.softmax_gradient(g, out)
    return out * (g - sum(g * out, axis=axis, keepdims=True))


softmax.gradient(x=_softmax_gradient)


@primitive
def log_softmax(x, *, axis=-1):
    """``log(softmax(x))`` over `axis`, without overflow."""
    xp = array_module(x)
    x = x - xp.max(x, axis=axis, keepdims=True)
    return x - xp.log(xp.sum(xp.exp(x), axis=axis, keepdims=True))


log_softmax.gradient(x=lambda g, out, axis: g - exp(out) * sum(g, axis=axis, keepdims=True))


@primitive
def norm(x, *, axis=None, keepdims=False):
    """The Euclidean norm over `axis`; its gradient at 0 is 0."""
    xp = array_module(x)
    return xp.sqrt(xp.sum(x * x, axis=axis, keepdims=keepdims))


def _norm_gradient(g, x, out, axis, keepdims):
    out = _restore(out, x.shape, axis, keepdims)
    zero = to_array(out) == 0
    return _restore(g, x.shape, axis, keepdims) * (x / where(zero, 1.0, out))


norm.gradient(x=_norm_gradient)


# --- products ---------------------------------------------------------------------------------------------


@primitive
def matmul(a, b):
    """The matrix product ``a @ b`` of any ranks, by NumPy's rules (vectors, stacks of matrices)."""
    return _product(a, b)


def _product(a, b):
    if len(b.shape) == 2 and len(a.shape) > 2:  # one product over all rows, where NumPy would loop
        return _product(_as_rows(a), b).reshape(*a.shape[:-1], b.shape[-1])
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray) and a.ndim == b.ndim == 2:
        return blas.matmul(a, b)
    return a @ b


def _as_rows(x):
    return reshape(x, shape=(math.prod(x.shape[:-1]), x.shape[-1]))


def _matmul_gradient_a(g, b, a_shape):
    if len(b.shape) == 1:
        return expand_dims(g, axis=-1) * b if len(a_shape) > 1 else g * b
    if len(a_shape) == 1:
        return matmul(b, expand_dims(g, axis=-1))[..., 0]
    return matmul(g, _transposed(b))


def _matmul_gradient_b(g, a, b_shape):
    if len(a.shape) == 1:
        return expand_dims(a, axis=-1) * expand_dims(g, axis=-2) if len(b_shape) > 1 else g * a
    if len(b_shape) == 1:
        return matmul(_transposed(a), expand_dims(g, axis=-1))[..., 0]
    if len(b_shape) == 2 and len(a.shape) > 2:  # again one product, not a stack of them to sum up
        a, g = _as_rows(a), _as_rows(g)
    return matmul(_transposed(a), g)


def _transposed(x):
    return x.T if len(x.shape) == 2 else swapaxes(x, axis1=-1, axis2=-2)


matmul.gradient(a=_matmul_gradient_a, b=_matmul_gradient_b)


@primitive
def affine(a, b, c):
    """``a @ b + c``, in one operation because it is what layers are made of."""
    return _product(a, b) + c


affine.gradient(a=_matmul_gradient_a, b=_matmul_gradient_b, c=lambda g: g)


# --- shape ------------------------------------------------------------------------------------------------


@primitive
def reshape(x, *, shape):
    """`x` with its elements in another shape (one length may be -1)."""
    return x.reshape(shape)


reshape.gradient(x=lambda g, x_shape: reshape(g, shape=x_shape))


@primitive
def transpose(x, *, axes=None):
    """`x` with its axes in another order (reversed by default)."""
    return array_module(x).transpose(x, axes)


transpose.gradient(
    x=lambda g, axes: transpose(
        g, axes=None if axes is None else tuple(np.argsort(np.asarray(axes) % len(axes)))
    )
)


def swapaxes(x, *, axis1, axis2):
    """Return `x` with two axes exchanged."""
    axes = list(range(len(x.shape)))
    axes[axis1], axes[axis2] = axes[axis2], axes[axis1]
    return transpose(x, axes=tuple(axes))


def expand_dims(x, *, axis):
    """Return `x` with a new axis of length 1 at `axis`."""
    ndim = len(x.shape) + 1
    axis %= ndim
    return reshape(x, shape=(*x.shape[:axis], 1, *x.shape[axis:]))


def squeeze(x, *, axis):
    """Return `x` without its `axis` (or axes) of length 1."""
    axes = _axes(axis, len(x.shape))
    if any(x.shape[a] != 1 for a in axes):
        raise ValueError(f"squeeze: expected length 1 at axis {axis}, found shape {x.shape}")
    return reshape(x, shape=tuple(n for i, n in enumerate(x.shape) if i not in axes))


@primitive
def flip(x, *, axis):
    """`x` in reverse order along `axis` (a view)."""
    return array_module(x).flip(x, axis)


flip.gradient(x=lambda g, axis: flip(g, axis=axis))


# --- taking apart and putting together --------------------------------------------------------------------


@primitive
def getitem(x, *, index):
    """``x[index]``: numbers, slices, None, `...`, arrays of integers or of bool."""
    return x[index]


getitem.gradient(x=lambda g, index, x_shape: put(g, index=index, shape=x_shape))


@primitive
def put(x, *, index, shape):
    """Zeros of `shape` with `x` added at ``[index]``: the reverse of `getitem`."""
    xp = array_module(x)
    out = xp.zeros(shape, x.dtype)
    if all(i is None or i is Ellipsis or isinstance(i, int | slice) for i in _as_tuple(index)):
        out[index] = x
    elif xp is np:  # an element may have been taken several times
        xp.add.at(out, index, x)
    else:  # there CuPy adds in any order
        taken = xp.arange(out.size).reshape(shape)[index]
        x = broadcast_to(x, shape=taken.shape)
        out = scatter.scatter_add(x, taken, out.size).reshape(shape)
    return out


put.gradient(x=lambda g, index: getitem(g, index=index))


def _as_tuple(index):
    return index if isinstance(index, tuple) else (index,)


@primitive
def take(table, ids):
    """Rows of `table`: ``(n, ...)`` and integers of any shape to ``ids.shape + (...)``."""
    return table[ids]


take.gradient(table=lambda g, ids, table_shape: scatter_add(g, ids, length=table_shape[0]))


@primitive
def scatter_add(x, ids, *, length):
    """Rows of `x` added up by their `ids`: the reverse of `take`, ``(length, ...)``."""
    if array_module(x, ids) is not np:
        return scatter.scatter_add(x, ids, length)
    row_shape = x.shape[ids.ndim :]
    rows, ids = x.reshape((ids.size, *row_shape)), ids.reshape(-1) % length  # -1 is the last row
    out = np.zeros((length, *row_shape), x.dtype)
    if ids.size:
        _add_rows(out, rows, ids)
    return out


def _add_rows(out, rows, ids):
    """``np.add.at(out, ids, rows)``, far faster: ids that occur equally often are added up as one array."""
    order = np.argsort(ids, kind="stable")
    found, starts, counts = np.unique(ids[order], return_index=True, return_counts=True)
    for n in np.unique(counts):
        chosen = counts == n
        of_id = order[starts[chosen, None] + np.arange(n)]  # (ids, n): where each occurs
        out[found[chosen]] = rows[of_id].sum(axis=1)


scatter_add.gradient(x=lambda g, ids: take(g, ids))


@primitive
def _concatenate(*arrays, axis):
    return array_module(*arrays).concatenate(arrays, axis=axis)


@_concatenate.gradients
def _concatenate_gradients(g, shapes, axis):
    (g,) = g
    start, pieces = 0, []
    for shape in shapes:
        index = [slice(None)] * len(shape)
        index[axis] = slice(start, start + shape[axis])
        pieces.append(getitem(g, index=tuple(index)))
        start += shape[axis]
    return pieces


def concatenate(tensors, *, axis=-1):
    """Return the tensors or arrays of a sequence joined along an existing `axis`."""
    return _concatenate(*tensors, axis=axis)


@primitive
def _stack(*arrays, axis):
    return array_module(*arrays).stack(arrays, axis=axis)


_stack.gradients(lambda g, axis: unstack(g[0], axis=axis))


def stack(tensors, *, axis=0):
    """Return the tensors or arrays of a sequence, all of one shape, joined along a new `axis`."""
    return _stack(*tensors, axis=axis)


@primitive
def unstack(x, *, axis=0):
    """The slices along `axis`, a tuple.

    Taking a sequence apart with `getitem` costs a full-size array of zeros per step on the way back;
    this costs one for all steps.
    """
    return tuple(array_module(x).moveaxis(x, axis, 0))


@unstack.gradients
def _unstack_gradients(g, x_shape, axis):
    pieces = list(g)
    used = next(p for p in pieces if p is not None)
    zeros = 0.0 * used
    return (stack([zeros if p is None else p for p in pieces], axis=axis),)


# --- types ------------------------------------------------------------------------------------------------


@primitive(casts=True)
def cast(x, *, dtype):
    """`x` as another type; the gradient comes back in the type of `x`."""
    return x.astype(dtype, copy=False)


@cast.gradients
def _cast_gradients(g, x):
    return (cast(g[0], dtype=x.dtype),)


def stop_gradient(x):
    """Return the same values, cut off from their history."""
    return x.detach() if isinstance(x, Tensor) else x


# --- the operators and methods of Tensor, and of what stands for one --------------------------------------


def _reflected(op: Primitive):
    return lambda a, b: op(b, a)


def _power(x, exponent):
    if isinstance(exponent, np.generic):
        exponent = exponent.item()
    if not isinstance(exponent, int | float):  # of tensors: for positive bases
        return exp(exponent * log(x))
    return square(x) if exponent == 2 else power(x, exponent=exponent)


def _getitem(x, index):
    index = tuple(map(to_array, index)) if isinstance(index, tuple) else to_array(index)
    return getitem(x, index=index)


_OF_NUMPY = {
    getattr(np, name): op
    for name, op in {
        "add": add, "subtract": subtract, "multiply": multiply, "divide": divide, "negative": negative,
        "matmul": matmul, "maximum": maximum, "minimum": minimum, "greater": greater, "less": less,
        "greater_equal": greater_equal, "less_equal": less_equal, "equal": equal, "not_equal": not_equal,
        "exp": exp, "expm1": expm1, "log": log, "log1p": log1p, "sqrt": sqrt, "square": square, "abs": abs,
        "sign": sign, "sin": sin, "cos": cos, "tanh": tanh,
    }.items()
}  # fmt: skip


def _array_ufunc(self, ufunc, method, *inputs, **settings):
    """Take NumPy's functions for the operations here: ``array + tensor``, ``np.tanh(tensor)``."""
    if ufunc not in _OF_NUMPY or method != "__call__" or settings:
        raise TypeError(f"np.{ufunc.__name__} cannot be differentiated; see tinyrnn.ops for what can")
    return _OF_NUMPY[ufunc](*inputs)


for _class in (Tensor, Symbolic):
    _class.__array_ufunc__ = _array_ufunc
    _class.__add__ = lambda a, b: add(a, b)
    _class.__sub__ = lambda a, b: subtract(a, b)
    _class.__mul__ = lambda a, b: multiply(a, b)
    _class.__truediv__ = lambda a, b: divide(a, b)
    _class.__radd__ = _reflected(add)
    _class.__rsub__ = _reflected(subtract)
    _class.__rmul__ = _reflected(multiply)
    _class.__rtruediv__ = _reflected(divide)
    _class.__neg__ = lambda x: negative(x)
    _class.__pow__ = _power
    _class.__rpow__ = lambda x, base: exp(x * math.log(base))
    _class.__abs__ = lambda x: abs(x)
    _class.__gt__ = lambda a, b: greater(a, b)
    _class.__ge__ = lambda a, b: greater_equal(a, b)
    _class.__lt__ = lambda a, b: less(a, b)
    _class.__le__ = lambda a, b: less_equal(a, b)

Tensor.__matmul__ = lambda a, b: matmul(a, b)
Tensor.__rmatmul__ = _reflected(matmul)
Tensor.__getitem__ = _getitem
Tensor.T = property(lambda x: transpose(x), doc="The tensor with its axes reversed.")
Tensor.reshape = lambda x, *shape: reshape(x, shape=shape[0] if isinstance(shape[0], tuple | list) else shape)
Tensor.transpose = lambda x, *axes: transpose(x, axes=axes or None)
Tensor.astype = lambda x, dtype: cast(x, dtype=dtype)
Tensor.sum = lambda x, axis=None, keepdims=False: sum(x, axis=axis, keepdims=keepdims)
Tensor.mean = lambda x, axis=None, keepdims=False: mean(x, axis=axis, keepdims=keepdims)
Tensor.max = lambda x, axis=None, keepdims=False: max(x, axis=axis, keepdims=keepdims)
Tensor.min = lambda x, axis=None, keepdims=False: min(x, axis=axis, keepdims=keepdims)
