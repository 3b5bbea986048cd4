"""Learning rate schedules: the learning rate as a function of the number of steps made.

The optimizer asks with the number of updates *before* the one it is about to make, so the first update
sees step 0. With gradient accumulation every batch counts as a step.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

from tinyrnn.naming import Configurable, lookup

__all__ = [
    "CosineDecay",
    "CosineDecayRestarts",
    "ExponentialDecay",
    "InverseTimeDecay",
    "LearningRateSchedule",
    "PiecewiseConstantDecay",
    "PolynomialDecay",
    "get",
]


class LearningRateSchedule(Configurable):
    """Base of schedules: define `__call__`."""

    def __call__(self, step: int) -> float:
        """Return the learning rate of the update that follows `step` earlier ones."""
        raise NotImplementedError(f"{type(self).__name__}: a schedule defines __call__(step)")


def _positive(owner: LearningRateSchedule, name: str, value: Any) -> Any:
    if not value > 0:
        raise ValueError(f"{type(owner).__name__}: {name}: expected a positive number, found {value!r}")
    return value


class ExponentialDecay(LearningRateSchedule):
    """``initial_learning_rate * decay_rate ** (step / decay_steps)``.

    Parameters
    ----------
    initial_learning_rate : float
    decay_steps : int
    decay_rate : float
    staircase : bool
        Round the exponent down to a whole number.
    name : str
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: int,
        decay_rate: float,
        staircase: bool = False,
        name: str = "ExponentialDecay",
    ):
        self.initial_learning_rate = initial_learning_rate
        self.decay_steps = _positive(self, "decay_steps", decay_steps)
        self.decay_rate = decay_rate
        self.staircase = staircase
        self.name = name

    def __call__(self, step: int) -> float:
        """Return the learning rate after `step` updates."""
        return self.initial_learning_rate * self.decay_rate ** self._progress(step)

    def _progress(self, step: int) -> float:
        p = step / self.decay_steps
        return math.floor(p) if self.staircase else p


class InverseTimeDecay(ExponentialDecay):
    """``initial_learning_rate / (1 + decay_rate * step / decay_steps)``.

    Parameters
    ----------
    initial_learning_rate : float
    decay_steps : int
    decay_rate : float
    staircase : bool
        Round ``step / decay_steps`` down to a whole number.
    name : str
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: int,
        decay_rate: float,
        staircase: bool = False,
        name: str = "InverseTimeDecay",
    ):
        super().__init__(initial_learning_rate, decay_steps, decay_rate, staircase, name)

    def __call__(self, step: int) -> float:
        """Return the learning rate after `step` updates."""
        return self.initial_learning_rate / (1 + self.decay_rate * self._progress(step))


class PiecewiseConstantDecay(LearningRateSchedule):
    """``values[i]`` up to and including step ``boundaries[i]``, after the last boundary ``values[-1]``.

    Parameters
    ----------
    boundaries : sequence of int
        Increasing.
    values : sequence of float
        One more than boundaries.
    name : str
    """

    def __init__(self, boundaries: Sequence[int], values: Sequence[float], name: str = "PiecewiseConstant"):
        if len(boundaries) != len(values) - 1:
            raise ValueError(
                "PiecewiseConstantDecay: expected one value more than boundaries, "
                f"found {len(values)} values and {len(boundaries)} boundaries"
            )
        if list(boundaries) != sorted(set(boundaries)):
            raise ValueError(f"PiecewiseConstantDecay: expected increasing boundaries, found {boundaries}")
        self.boundaries = boundaries
        self.values = values
        self.name = name

    def __call__(self, step: int) -> float:
        """Return the learning rate after `step` updates."""
        return self.values[bisect_left(self.boundaries, step)]


class PolynomialDecay(LearningRateSchedule):
    """``(initial - end) * (1 - step / decay_steps) ** power + end``; after `decay_steps`, `end`.

    Parameters
    ----------
    initial_learning_rate : float
    decay_steps : int
    end_learning_rate : float
    power : float
    cycle : bool
        Instead of staying at the end, stretch the decay to the next multiple of `decay_steps`: the rate
        jumps up after each one and falls to the end again.
    name : str
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: int,
        end_learning_rate: float = 0.0001,
        power: float = 1.0,
        cycle: bool = False,
        name: str = "PolynomialDecay",
    ):
        self.initial_learning_rate = initial_learning_rate
        self.decay_steps = _positive(self, "decay_steps", decay_steps)
        self.end_learning_rate = end_learning_rate
        self.power = power
        self.cycle = cycle
        self.name = name

    def __call__(self, step: int) -> float:
        """Return the learning rate after `step` updates."""
        cycles = max(1, math.ceil(step / self.decay_steps)) if self.cycle else 1
        p = min(1.0, step / (self.decay_steps * cycles))
        height = self.initial_learning_rate - self.end_learning_rate
        return height * (1 - p) ** self.power + self.end_learning_rate


def _half_cosine(p: float, alpha: float, scale: float = 1.0) -> float:
    """Fall from `scale` (plus `alpha` of the rest) at ``p = 0`` to `alpha` at ``p = 1``."""
    return (1 - alpha) * scale * 0.5 * (1 + math.cos(math.pi * p)) + alpha


class CosineDecay(LearningRateSchedule):
    """Half a cosine wave down to `alpha` of the start: Loshchilov & Hutter (2017), "SGDR".

    ``rate * ((1 - alpha) * (1 + cos(pi * step / decay_steps)) / 2 + alpha)``, where `rate` is
    `initial_learning_rate`. With a `warmup_target` the rate first rises linearly to it in
    `warmup_steps`, and then falls from there.

    Parameters
    ----------
    initial_learning_rate : float
    decay_steps : int
    alpha : float
    name : str
    warmup_target : float, optional
    warmup_steps : int
        Without `warmup_target` it has no effect.
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: int,
        alpha: float = 0.0,
        name: str = "CosineDecay",
        warmup_target: float | None = None,
        warmup_steps: int = 0,
    ):
        self.initial_learning_rate = initial_learning_rate
        self.decay_steps = _positive(self, "decay_steps", decay_steps)
        self.alpha = alpha
        self.name = name
        self.warmup_target = warmup_target
        self.warmup_steps = warmup_steps

    def __call__(self, step: int) -> float:
        """Return the learning rate after `step` updates."""
        start = self.initial_learning_rate
        if self.warmup_target is not None:
            if step < self.warmup_steps:
                return start + (self.warmup_target - start) * step / self.warmup_steps
            start = self.warmup_target
            step = step - self.warmup_steps
        return start * _half_cosine(min(1.0, step / self.decay_steps), self.alpha)


class CosineDecayRestarts(LearningRateSchedule):
    """Half a cosine wave, again and again: Loshchilov & Hutter (2017), "SGDR".

    Period `i` lasts ``first_decay_steps * t_mul ** i`` steps and starts at
    ``initial_learning_rate * m_mul ** i``.

    Parameters
    ----------
    initial_learning_rate : float
    first_decay_steps : int
    t_mul : float
        At least 1.
    m_mul : float
    alpha : float
        The part of `initial_learning_rate` that remains.
    name : str
    """

    def __init__(
        self,
        initial_learning_rate: float,
        first_decay_steps: int,
        t_mul: float = 2.0,
        m_mul: float = 1.0,
        alpha: float = 0.0,
        name: str = "SGDRDecay",
    ):
        if not t_mul >= 1:
            raise ValueError(f"CosineDecayRestarts: t_mul: expected a number from 1 on, found {t_mul!r}")
        self.initial_learning_rate = initial_learning_rate
        self.first_decay_steps = _positive(self, "first_decay_steps", first_decay_steps)
        self.t_mul = t_mul
        self.m_mul = m_mul
        self.alpha = alpha
        self.name = name

    def __call__(self, step: int) -> float:
        """Return the learning rate after `step` updates."""
        p = step / self.first_decay_steps
        if self.t_mul == 1:
            period = math.floor(p)
            p -= period
        else:
            # After n periods 1 + t + ... + t^(n-1) = (t^n - 1) / (t - 1) of the first one are over. The
            # small number keeps the logarithm's rounding from missing the step of a restart.
            period = math.floor(math.log(1 + p * (self.t_mul - 1), self.t_mul) + 1e-9)
            length = self.t_mul**period
            p = (p - (length - 1) / (self.t_mul - 1)) / length
        return self.initial_learning_rate * _half_cosine(p, self.alpha, self.m_mul**period)


_CLASSES = [
    ExponentialDecay,
    InverseTimeDecay,
    PiecewiseConstantDecay,
    PolynomialDecay,
    CosineDecay,
    CosineDecayRestarts,
]
_TABLE = {c.__name__: c for c in _CLASSES}


def get(identifier: Any) -> Any:
    """Return the schedule that a dictionary ``{"class_name", "config"}`` stands for; others unchanged.

    Raises
    ------
    ValueError
        For an unknown class, with the nearest known one.
    """
    return lookup("learning rate schedule", identifier, _TABLE)
