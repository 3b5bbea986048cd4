"""Activation functions, under Keras's names and with Keras's arguments.

Each takes a float array or `Tensor` of any shape and returns one of the same shape and type (`glu` halves
an axis); settings are Python numbers. All but `softmax`, `log_softmax`, `sparsemax` and `glu` work element
by element and are written in nothing but operations and operators, never looking at a shape or a value:
they also run on the symbols from which `tinyrnn.recurrent` derives backpropagation through time, and
`tinyrnn.fused` a launch on the GPU.

At a kink the gradient is one of the two slopes. Branches not taken are kept from overflowing: an infinity
that the forward pass discards would come back as ``0 * inf`` on the way back.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from tinyrnn import ops
from tinyrnn.backend import array_module
from tinyrnn.fused import elementwise
from tinyrnn.naming import lookup

__all__ = [  # noqa: RUF022 - in the order of the file
    "linear", "tanh", "sigmoid", "log_sigmoid", "exponential", "softplus", "softsign",
    "relu", "relu6", "leaky_relu", "elu", "celu", "selu", "gelu", "silu", "mish",
    "hard_sigmoid", "keras2_hard_sigmoid", "hard_silu", "hard_tanh",
    "sparse_plus", "sparse_sigmoid", "squareplus", "soft_shrink", "hard_shrink", "tanh_shrink", "threshold",
    "softmax", "log_softmax", "sparsemax", "glu", "get",
]  # fmt: skip


# --- smooth, element by element ---------------------------------------------------------------------------


def linear(x: Any) -> Any:
    """Return `x` itself."""
    return x


def tanh(x: Any) -> Any:
    """Return the hyperbolic tangent, in ``-1 ... 1``."""
    return ops.tanh(x)


def sigmoid(x: Any) -> Any:
    """Return the logistic function ``1 / (1 + exp(-x))``, in ``0 ... 1``."""
    return ops.sigmoid(x)


@elementwise
def log_sigmoid(x: Any) -> Any:
    """Return ``log(sigmoid(x))``, without underflow."""
    return -ops.softplus(-x)


def exponential(x: Any) -> Any:
    """Return ``exp(x)``."""
    return ops.exp(x)


@elementwise
def softplus(x: Any) -> Any:
    """Return ``log(1 + exp(x))``, without overflow."""
    return ops.softplus(x)


@elementwise
def softsign(x: Any) -> Any:
    """Return ``x / (1 + |x|)``."""
    return x / (1.0 + ops.abs(x))


@elementwise
def silu(x: Any) -> Any:
    """Return ``x * sigmoid(x)``, also called swish (Ramachandran et al., 2017, arXiv:1710.05941)."""
    return x * ops.sigmoid(x)


@elementwise
def mish(x: Any) -> Any:
    """Return ``x * tanh(softplus(x))`` (Misra, 2019, arXiv:1908.08681)."""
    return x * ops.tanh(ops.softplus(x))


@elementwise
def gelu(x: Any, approximate: bool = False) -> Any:
    """Return ``x * P(X <= x)`` for a standard normal X (Hendrycks and Gimpel, 2016, arXiv:1606.08415).

    Parameters
    ----------
    x : float array or Tensor
    approximate : bool
        Use ``0.5 * x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x**3)))`` instead of the error function.
    """
    if not approximate:
        return 0.5 * x * (1.0 + ops.erf(x * math.sqrt(0.5)))
    z = ops.clip(x, low=-10.0, high=10.0)  # where the tanh has long been 1, and the cube cannot overflow
    return 0.5 * x * (1.0 + ops.tanh(math.sqrt(2.0 / math.pi) * (z + 0.044715 * z * z * z)))


@elementwise
def squareplus(x: Any, b: float = 4) -> Any:
    """Return ``(x + sqrt(x**2 + b)) / 2``, `b` > 0 (Barron, 2021, arXiv:2112.11687)."""
    return 0.5 * (x + ops.sqrt(x * x + b))


# --- with a straight part, element by element -------------------------------------------------------------


@elementwise
def relu(x: Any, negative_slope: float = 0.0, max_value: float | None = None, threshold: float = 0.0) -> Any:
    """Return x above the threshold, below it 0 or a line of small slope.

    Parameters
    ----------
    x : float array or Tensor
    negative_slope : float
        Below the threshold the value is ``negative_slope * (x - threshold)``.
    max_value : float, optional
        The largest value returned.
    threshold : float
        Where the function leaves the identity.
    """
    y = ops.relu(x) if threshold == 0 else ops.where(x > threshold, x, 0.0)
    if max_value is not None:
        y = ops.clip(y, low=0.0, high=max_value)
    if negative_slope != 0:
        y = y - negative_slope * ops.relu(threshold - x)
    return y


def relu6(x: Any) -> Any:
    """Return `x` limited to ``0 ... 6``."""
    return relu(x, max_value=6.0)


@elementwise
def leaky_relu(x: Any, negative_slope: float = 0.2) -> Any:
    """Return `x` where positive, ``negative_slope * x`` elsewhere."""
    return ops.where(x > 0.0, x, negative_slope * x)


@elementwise
def elu(x: Any, alpha: float = 1.0) -> Any:
    """Return `x` where positive, ``alpha * (exp(x) - 1)`` elsewhere (Clevert et al., arXiv:1511.07289)."""
    return ops.where(x > 0.0, x, alpha * ops.expm1(_negative_part(x)))


@elementwise
def celu(x: Any, alpha: float = 1.0) -> Any:
    """Return `x` where positive, ``alpha * (exp(x / alpha) - 1)`` elsewhere (Barron, arXiv:1704.07483)."""
    return ops.where(x > 0.0, x, alpha * ops.expm1(_negative_part(x) / alpha))


@elementwise
def selu(x: Any) -> Any:
    """Return ``1.0507 * elu(x, 1.6733)``, whose constants keep mean 0 and variance 1 from layer to layer.

    Meant for weights from ``lecun_normal`` (Klambauer et al., 2017, arXiv:1706.02515).
    """
    return 1.0507009873554804934193349852946 * elu(x, 1.6732632423543772848170429916717)


def _negative_part(x):
    """`x` where not positive, 0 elsewhere; unlike ``minimum(x, 0)`` it has slope 1 at 0."""
    return ops.where(x > 0.0, 0.0, x)


# --- straight pieces, element by element ------------------------------------------------------------------


@elementwise
def hard_sigmoid(x: Any) -> Any:
    """Return ``x / 6 + 0.5`` limited to ``0 ... 1``; see `keras2_hard_sigmoid`."""
    return ops.clip(x / 6.0 + 0.5, low=0.0, high=1.0)


@elementwise
def keras2_hard_sigmoid(x: Any) -> Any:
    """Return ``0.2 * x + 0.5`` limited to ``0 ... 1``: the `hard_sigmoid` of Keras 2, for its models."""
    return ops.clip(0.2 * x + 0.5, low=0.0, high=1.0)


@elementwise
def hard_silu(x: Any) -> Any:
    """Return ``x * hard_sigmoid(x)``, also called hard swish (Howard et al., 2019, arXiv:1905.02244)."""
    return x * hard_sigmoid(x)


@elementwise
def hard_tanh(x: Any) -> Any:
    """Return `x` limited to ``-1 ... 1``."""
    return ops.clip(x, low=-1.0, high=1.0)


@elementwise
def sparse_sigmoid(x: Any) -> Any:
    """Return ``(x + 1) / 2`` limited to ``0 ... 1`` (Blondel et al., 2019, arXiv:1901.02324)."""
    return ops.clip(0.5 * (x + 1.0), low=0.0, high=1.0)


@elementwise
def sparse_plus(x: Any) -> Any:
    """Return the integral of `sparse_sigmoid`: 0 below -1, ``(x + 1)**2 / 4`` up to 1, `x` above."""
    bent = ops.clip(x, low=-1.0, high=1.0) + 1.0
    return 0.25 * bent * bent + ops.relu(x - 1.0)


@elementwise
def soft_shrink(x: Any, threshold: float = 0.5) -> Any:
    """Return `x` moved towards 0 by `threshold`, and 0 where it would pass it."""
    return x - ops.clip(x, low=-threshold, high=threshold)


@elementwise
def hard_shrink(x: Any, threshold: float = 0.5) -> Any:
    """Return `x` where ``|x| > threshold``, 0 elsewhere."""
    return ops.where(ops.abs(x) > threshold, x, 0.0)


@elementwise
def tanh_shrink(x: Any) -> Any:
    """Return ``x - tanh(x)``."""
    return x - ops.tanh(x)


@elementwise
def threshold(x: Any, threshold: float, default_value: float) -> Any:
    """Return `x` where it is above `threshold`, `default_value` elsewhere."""
    return ops.where(x > threshold, x, default_value)


# --- along an axis ----------------------------------------------------------------------------------------


def softmax(x: Any, axis: int = -1) -> Any:
    """Return ``exp(x) / sum(exp(x))`` over `axis`: positive, adding up to 1."""
    return ops.softmax(x, axis=axis)


def log_softmax(x: Any, axis: int = -1) -> Any:
    """Return ``log(softmax(x))`` over `axis`, without underflow."""
    return ops.log_softmax(x, axis=axis)


def sparsemax(x: Any, axis: int = -1) -> Any:
    r"""Return the point nearest to `x` among the probabilities over `axis`; many of its elements are 0.

    .. math:: p_i = \max(x_i - \tau, 0), \quad \tau = \Big(\sum_{j \in S} x_j - 1\Big) / |S|

    where S holds the largest elements, as many as stay positive (Martins and Astudillo, 2016,
    arXiv:1602.02068, algorithm 1).

    Notes
    -----
    Keras 3.15 differs: where S has two or more elements it sums the cumulative sums of S, and its result
    does not add up to 1.
    """
    xp = array_module(ops.to_array(x))
    x = x - ops.to_array(x).max(axis=axis, keepdims=True)  # large numbers would swallow the 1
    z = ops.to_array(x)
    descending = xp.flip(xp.sort(z, axis=axis), axis=axis)
    shape = [1] * z.ndim
    shape[axis] = -1
    rank = xp.arange(1, z.shape[axis] + 1, dtype=z.dtype).reshape(shape)
    count = (1.0 + rank * descending > xp.cumsum(descending, axis=axis)).sum(axis=axis, keepdims=True)
    smallest = xp.take_along_axis(descending, count - 1, axis=axis)
    support = (z >= smallest).astype(z.dtype)
    # S is constant around x, so tau is differentiated as the plain mean that it is.
    tau = (ops.sum(x * support, axis=axis, keepdims=True) - 1.0) / support.sum(axis=axis, keepdims=True)
    return ops.relu(x - tau)


def glu(x: Any, axis: int = -1) -> Any:
    """Return the first half of `x` along `axis`, gated by the sigmoid of the second (Dauphin et al., 2017).

    Raises
    ------
    ValueError
        If the axis has an odd length.
    """
    length = x.shape[axis]
    if length % 2:
        raise ValueError(f"glu: expected an even length along axis {axis}, found shape {tuple(x.shape)}")
    before = (slice(None),) * (axis % len(x.shape))
    first = ops.getitem(x, index=(*before, slice(0, length // 2)))
    second = ops.getitem(x, index=(*before, slice(length // 2, None)))
    return first * ops.sigmoid(second)


# --- by name ----------------------------------------------------------------------------------------------

_BY_NAME = {name: globals()[name] for name in __all__ if name != "get"}
_BY_NAME |= {"swish": silu, "hard_swish": hard_silu}


def get(identifier: Any) -> Callable[..., Any]:
    """Return the activation that `identifier` names.

    Parameters
    ----------
    identifier : None, str or callable
        None is `linear`; ``"swish"`` and ``"hard_swish"`` are other names of `silu` and `hard_silu`; a
        callable is returned as it is.

    Raises
    ------
    ValueError
        For an unknown name, with the nearest known one.
    """
    return linear if identifier is None else lookup("activation", identifier, _BY_NAME)
