"""Check gradients against numbers: one random direction tests any function, of first and second order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinyrnn import ops
from tinyrnn.autograd import Tensor, grad
from tinyrnn.backend import array_module, placed

__all__ = ["gradcheck"]


def gradcheck(
    function: Callable[..., Any],
    inputs: Sequence[Any],
    order: int = 2,
    step: float = 1e-5,
    tolerance: float = 1e-6,
    seed: int = 0,
) -> None:
    r"""Compare the gradients of `function` with central differences.

    For random weights ``u`` of the outputs and a random direction ``v`` of the inputs the number

    .. math:: \frac{\langle u, f(x + \epsilon v)\rangle - \langle u, f(x - \epsilon v)\rangle}{2\epsilon}
              = \langle \nabla_x \langle u, f(x)\rangle, v\rangle

    tests all elements of all gradients at once. For `order` 2 the same is asked of the gradient itself.

    Parameters
    ----------
    function : callable
        Takes as many tensors as there are inputs, returns a tensor or a sequence of tensors.
    inputs : sequence of float64 arrays
        Where to check; what is on the host is moved as by `Tensor`. Keep away from kinks.
    order : int
        Up to which order, at least 1.
    step : float
        The length epsilon of the difference.
    tolerance : float
        Largest difference allowed, relative to the larger of 1 and the numerical value.
    seed : int
        Of the directions.

    Raises
    ------
    AssertionError
        If a gradient is wrong; says of which order, and both numbers.
    TypeError
        If an input is not float64: differences need the digits.
    """
    inputs = [placed(array_module(x).asarray(x)) for x in inputs]
    xp = array_module(*inputs)
    for i, x in enumerate(inputs):
        if x.dtype != np.float64:
            raise TypeError(f"gradcheck: input {i} must be float64, found {x.dtype}")
    rng = np.random.default_rng(seed)

    def like(arrays):
        return [xp.asarray(rng.standard_normal(x.shape)) for x in arrays]

    for depth in range(1, order + 1):
        weights = like(_outputs(function, _leaves(inputs)))
        direction = like(inputs)
        gradient = _gradient_function(function, weights)

        def value(sign, function=function, weights=weights, direction=direction):
            moved = [x + sign * step * v for x, v in zip(inputs, direction, strict=True)]
            outputs = _outputs(function, _leaves(moved))
            return sum(float(xp.sum(u * y.data)) for u, y in zip(weights, outputs, strict=True))

        numerical = (value(+1) - value(-1)) / (2 * step)
        found = [g.data for g in gradient(*_leaves(inputs))]
        analytical = sum(float(xp.sum(g * v)) for g, v in zip(found, direction, strict=True))
        if not abs(numerical - analytical) <= tolerance * max(1.0, abs(numerical)):
            raise AssertionError(
                f"gradient of order {depth}: by differences {numerical:.9g}, by the rules {analytical:.9g}"
            )
        function = gradient


def _leaves(arrays) -> list[Tensor]:
    return [Tensor(x, requires_grad=True) for x in arrays]


def _outputs(function, tensors) -> list[Tensor]:
    result = function(*tensors)
    result = [result] if isinstance(result, Tensor) else list(result)
    return [y for y in result if y.dtype.kind == "f"]


def _gradient_function(function, weights):
    """Return the function from the inputs to the gradients of ``<weights, function(inputs)>``."""

    def gradient(*tensors):
        total = sum(ops.sum(y * u) for y, u in zip(_outputs(function, tensors), weights, strict=True))
        if not isinstance(total, Tensor) or total.node is None:  # constant: all its derivatives are 0
            return [Tensor(array_module(x.data).zeros(x.shape)) for x in tensors]
        return grad(total, list(tensors), create_graph=True)

    return gradient
