"""The update rules: what each optimizer makes of a gradient.

In the formulas `g` is the gradient after clipping, `lr` the learning rate, `t` the number of the step,
counted from 1. Where epsilon stands, and what starts at 0, is as in Keras; other libraries differ.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from tinyrnn import ops
from tinyrnn.autograd import Tensor
from tinyrnn.optimizers.base import Optimizer, Slot

__all__ = ["SGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "Lion", "Nadam", "RMSprop"]


class SGD(Optimizer):
    """Gradient descent, with momentum if wanted: Polyak (1964); Nesterov's: Sutskever et al. (2013).

    ``w -= lr * g``; with momentum ``m = momentum * m - lr * g; w += m``, and Nesterov's
    ``w += momentum * m - lr * g`` instead.

    Parameters
    ----------
    learning_rate : float, LearningRateSchedule or callable
    momentum : float
        In ``0 ... 1``.
    nesterov : bool
    **options
        See `Optimizer`.
    """

    def __init__(
        self, learning_rate: Any = 0.01, momentum: float = 0.0, nesterov: bool = False, **options: Any
    ):
        super().__init__(learning_rate, **options)
        if not 0 <= momentum <= 1:
            raise ValueError(f"SGD: momentum: expected a number in 0 ... 1, found {momentum!r}")
        self.momentum = momentum
        self.nesterov = nesterov

    def slots(self) -> list[dict[str, float]]:
        """Return the momentum, if there is one."""
        return [{"momentum": 0.0}] if self.momentum else []

    def update(
        self, g: Tensor, lr: float, momentum: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the step and the new slots; see the class."""
        if momentum is None:
            return lr * g, {}
        momentum = self.momentum * momentum - lr * g
        step = lr * g - self.momentum * momentum if self.nesterov else -momentum
        return step, {"momentum": momentum}


class RMSprop(Optimizer):
    """The gradient over the root of its mean square: Tieleman & Hinton (2012), lecture 6.5.

    ``v = rho * v + (1 - rho) * g²; w -= lr * g / sqrt(v + epsilon)``; if centered, with
    ``a = rho * a + (1 - rho) * g`` and ``v - a²`` in place of `v`; with momentum the steps go into
    ``m = momentum * m + step; w -= m``.

    Parameters
    ----------
    learning_rate : float, LearningRateSchedule or callable
    rho : float
    momentum : float
    epsilon : float
        Inside the root.
    centered : bool
        Divide by the standard deviation of the gradient.
    **options
        See `Optimizer`.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        rho: float = 0.9,
        momentum: float = 0.0,
        epsilon: float = 1e-7,
        centered: bool = False,
        **options: Any,
    ):
        super().__init__(learning_rate, **options)
        self.rho = rho
        self.momentum = momentum
        self.epsilon = epsilon
        self.centered = centered

    def slots(self) -> list[dict[str, float]]:
        """Return the mean square and, where wanted, the momentum and the mean of the gradient."""
        momentum = [{"momentum": 0.0}] if self.momentum > 0 else []
        return [{"velocity": 0.0}, *momentum, *([{"average_gradient": 0.0}] if self.centered else [])]

    def update(
        self,
        g: Tensor,
        lr: float,
        velocity: Tensor,
        momentum: Tensor | None = None,
        average_gradient: Tensor | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the step and the new slots; see the class."""
        velocity = _moved(velocity, g * g, 1 - self.rho)
        new, variance = {"velocity": velocity}, velocity
        if average_gradient is not None:
            new["average_gradient"] = average = _moved(average_gradient, g, 1 - self.rho)
            variance = velocity - average * average
        step = lr * g / ops.sqrt(variance + self.epsilon)
        if momentum is not None:
            new["momentum"] = step = self.momentum * momentum + step
        return step, new


class _TwoDecays(Optimizer):
    """Base of Adam and its relatives: a mean of the gradients and one of their size, each with its decay."""

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        **options: Any,
    ):
        super().__init__(learning_rate, **options)
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon


class Adam(_TwoDecays):
    """Momentum over the root of the mean square, both corrected for their start: Kingma & Ba (2015).

    ``m += (1 - beta_1) * (g - m); v += (1 - beta_2) * (g² - v)``
    ``w -= lr * sqrt(1 - beta_2^t) / (1 - beta_1^t) * m / (sqrt(v) + epsilon)``
    AMSGrad divides by the largest `v` so far: Reddi, Kale & Kumar (2018).

    Parameters
    ----------
    learning_rate : float, LearningRateSchedule or callable
    beta_1, beta_2 : float
    epsilon : float
        Added to the uncorrected root (the paper's "epsilon hat").
    amsgrad : bool
    **options
        See `Optimizer`.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        **options: Any,
    ):
        super().__init__(learning_rate, beta_1, beta_2, epsilon, **options)
        self.amsgrad = amsgrad

    def slots(self) -> list[dict[str, float]]:
        """Return both means and, for AMSGrad, the largest mean square."""
        return [{"momentum": 0.0, "velocity": 0.0}] + ([{"velocity_hat": 0.0}] if self.amsgrad else [])

    def coefficients(self, learning_rate: float, t: int) -> float:
        """Return the learning rate corrected for means that started at 0."""
        return learning_rate * math.sqrt(1 - self.beta_2**t) / (1 - self.beta_1**t)

    def update(
        self, g: Tensor, lr: float, momentum: Tensor, velocity: Tensor, velocity_hat: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the step and the new slots; see the class."""
        momentum = _moved(momentum, g, 1 - self.beta_1)
        velocity = _moved(velocity, g * g, 1 - self.beta_2)
        new = {"momentum": momentum, "velocity": velocity}
        if velocity_hat is not None:
            new["velocity_hat"] = velocity = ops.maximum(velocity_hat, velocity)
        return lr * momentum / (ops.sqrt(velocity) + self.epsilon), new


class AdamW(Adam):
    """Adam with weight decay apart from the gradient: Loshchilov & Hutter (2019).

    Every optimizer here decays weights in this way; this one does so by default.

    Parameters
    ----------
    learning_rate : float, LearningRateSchedule or callable
    weight_decay : float
    beta_1, beta_2, epsilon, amsgrad
        See `Adam`.
    **options
        See `Optimizer`.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        weight_decay: float = 0.004,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        **options: Any,
    ):
        if weight_decay is None:
            raise ValueError("AdamW: weight_decay: expected a number, found None")
        super().__init__(
            learning_rate, beta_1, beta_2, epsilon, amsgrad, weight_decay=weight_decay, **options
        )


class Nadam(_TwoDecays):
    """Adam with Nesterov's momentum: Dozat (2016).

    ``u_t = beta_1 * (1 - 0.96^t / 2); P = u_1 * ... * u_t``
    ``m += (1 - beta_1) * (g - m); v += (1 - beta_2) * (g² - v)``
    ``m' = u_(t+1) * m / (1 - P * u_(t+1)) + (1 - u_t) * g / (1 - P); v' = v / (1 - beta_2^t)``
    ``w -= lr * m' / (sqrt(v') + epsilon)``

    Parameters
    ----------
    learning_rate : float, LearningRateSchedule or callable
    beta_1, beta_2 : float
    epsilon : float
    **options
        See `Optimizer`.
    """

    def build(self, variables: Iterable[Any]) -> None:
        """Make both means for each variable, and the product P."""
        if not self.built:
            self._u_product = Slot("u_product", f"{self.name}/u_product", np.ones(()))
        super().build(variables)

    def slots(self) -> list[dict[str, float]]:
        """Return both means."""
        return [{"momentum": 0.0, "velocity": 0.0}]

    @property
    def variables(self) -> list[Slot]:
        """The state in Keras's order; the product P comes last."""
        return super().variables + ([self._u_product] if self.built else [])

    def coefficients(self, learning_rate: float, t: int) -> tuple[float, float, float]:
        """Return the weights of the momentum and of the gradient, and the correction of the mean square."""
        u, u_next = (self.beta_1 * (1 - 0.5 * 0.96**i) for i in (t, t + 1))
        self._u_product.data[...] *= u
        product = float(self._u_product.data)
        return (
            learning_rate * u_next / (1 - product * u_next),
            learning_rate * (1 - u) / (1 - product),
            1 - self.beta_2**t,
        )

    def update(
        self, g: Tensor, c: tuple[float, float, float], momentum: Tensor, velocity: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the step and the new slots; see the class."""
        of_momentum, of_gradient, correction = c
        momentum = _moved(momentum, g, 1 - self.beta_1)
        velocity = _moved(velocity, g * g, 1 - self.beta_2)
        step = (of_momentum * momentum + of_gradient * g) / (ops.sqrt(velocity / correction) + self.epsilon)
        return step, {"momentum": momentum, "velocity": velocity}


class Adagrad(Optimizer):
    """The gradient over the root of the sum of all squares: Duchi, Hazan & Singer (2011).

    ``a += g²; w -= lr * g / sqrt(a + epsilon)``

    Parameters
    ----------
    learning_rate : float, LearningRateSchedule or callable
    initial_accumulator_value : float
        What `a` starts at.
    epsilon : float
        Inside the root.
    **options
        See `Optimizer`.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        initial_accumulator_value: float = 0.1,
        epsilon: float = 1e-7,
        **options: Any,
    ):
        super().__init__(learning_rate, **options)
        self.initial_accumulator_value = initial_accumulator_value
        self.epsilon = epsilon

    def slots(self) -> list[dict[str, float]]:
        """Return the sum of squares."""
        return [{"accumulator": self.initial_accumulator_value}]

    def update(self, g: Tensor, lr: float, accumulator: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the step and the new slots; see the class."""
        accumulator = accumulator + g * g
        return lr * g / ops.sqrt(accumulator + self.epsilon), {"accumulator": accumulator}


class Adadelta(Optimizer):
    """RMSprop in the unit of the weights: Zeiler (2012).

    ``a = rho * a + (1 - rho) * g²; step = sqrt(d + epsilon) / sqrt(a + epsilon) * g``
    ``d = rho * d + (1 - rho) * step²; w -= lr * step``

    Parameters
    ----------
    learning_rate : float, LearningRateSchedule or callable
        The paper's formula has 1.0.
    rho : float
    epsilon : float
    **options
        See `Optimizer`.
    """

    def __init__(self, learning_rate: Any = 0.001, rho: float = 0.95, epsilon: float = 1e-7, **options: Any):
        super().__init__(learning_rate, **options)
        self.rho = rho
        self.epsilon = epsilon

    def slots(self) -> list[dict[str, float]]:
        """Return the mean squares of gradients and of steps."""
        return [{"accumulated_grad": 0.0, "accumulated_delta_var": 0.0}]

    def update(
        self, g: Tensor, lr: float, accumulated_grad: Tensor, accumulated_delta_var: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the step and the new slots; see the class."""
        grad = _moved(accumulated_grad, g * g, 1 - self.rho)
        step = ops.sqrt(accumulated_delta_var + self.epsilon) / ops.sqrt(grad + self.epsilon) * g
        delta = _moved(accumulated_delta_var, step * step, 1 - self.rho)
        return lr * step, {"accumulated_grad": grad, "accumulated_delta_var": delta}


class Adamax(_TwoDecays):
    """Adam with the largest gradient in place of the root mean square: Kingma & Ba (2015), section 7.1.

    ``m += (1 - beta_1) * (g - m); u = max(beta_2 * u, |g|)``
    ``w -= lr / (1 - beta_1^t) * m / (u + epsilon)``

    Parameters
    ----------
    learning_rate : float, LearningRateSchedule or callable
    beta_1, beta_2 : float
    epsilon : float
    **options
        See `Optimizer`.
    """

    def slots(self) -> list[dict[str, float]]:
        """Return the mean and the decaying maximum."""
        return [{"momentum": 0.0, "norm": 0.0}]

    def coefficients(self, learning_rate: float, t: int) -> float:
        """Return the learning rate corrected for a mean that started at 0."""
        return learning_rate / (1 - self.beta_1**t)

    def update(
        self, g: Tensor, lr: float, momentum: Tensor, norm: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the step and the new slots; see the class."""
        momentum = _moved(momentum, g, 1 - self.beta_1)
        norm = ops.maximum(self.beta_2 * norm, ops.abs(g))
        return lr * momentum / (norm + self.epsilon), {"momentum": momentum, "norm": norm}


class Lion(Optimizer):
    """The sign of a mixture of gradient and momentum: Chen et al. (2023).

    ``w -= lr * sign(beta_1 * m + (1 - beta_1) * g); m = beta_2 * m + (1 - beta_2) * g``

    Parameters
    ----------
    learning_rate : float, LearningRateSchedule or callable
        All steps have this size: usually a third to a tenth of Adam's.
    beta_1 : float
        In ``0 < beta_1 <= 1``.
    beta_2 : float
    **options
        See `Optimizer`.
    """

    def __init__(self, learning_rate: Any = 0.001, beta_1: float = 0.9, beta_2: float = 0.99, **options: Any):
        super().__init__(learning_rate, **options)
        if not 0 < beta_1 <= 1:
            raise ValueError(f"Lion: beta_1: expected 0 < beta_1 <= 1, found {beta_1!r}")
        self.beta_1 = beta_1
        self.beta_2 = beta_2

    def slots(self) -> list[dict[str, float]]:
        """Return the momentum."""
        return [{"momentum": 0.0}]

    def update(self, g: Tensor, lr: float, momentum: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the step and the new slots; see the class."""
        step = lr * ops.sign(self.beta_1 * momentum + (1 - self.beta_1) * g)
        return step, {"momentum": _moved(momentum, g, 1 - self.beta_2)}


def _moved(mean: Tensor, towards: Tensor, by: Any) -> Tensor:
    """Return a running mean moved towards a value: ``mean + by * (towards - mean)``."""
    return mean + by * (towards - mean)
