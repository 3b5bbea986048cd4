"""Layers that disturb their input in training, and one that adds to the loss.

Every layer has a generator of its own, which is part of a saved model. On a GPU it draws one seed for each
call, and the numbers are drawn from that on the device: they are not those of the CPU.
"""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

import numpy as np

from tinyrnn.backend import draw_seed, new_generator, on_device
from tinyrnn.cuda import random
from tinyrnn.layers.base import Layer
from tinyrnn.layers.core import SameShape
from tinyrnn.regularizers import L1L2

__all__ = ["ActivityRegularization", "Dropout", "GaussianDropout", "GaussianNoise", "SpatialDropout1D"]


class _Disturbance(SameShape):
    """Base of layers that return their input unless they are training."""

    needs_floats = True

    def __init__(self, seed: int | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.seed = seed
        self._generator = new_generator(seed)

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Return the inputs, disturbed in training."""
        return self.disturb(inputs) if training else inputs

    def normal(self, x: Any, stddev: float) -> Any:
        """Return normal noise of mean 0 in the shape of `x`."""
        if on_device(x.data):
            return random.normal(x.shape, stddev, draw_seed(self._generator), self.dtype)
        noise = self._generator.standard_normal(x.shape, dtype=self.dtype)
        return noise * noise.dtype.type(stddev)


def check_rate(owner: Layer, argument: str, rate: Any) -> float:
    """Return `rate` if it is a fraction, 0 and 1 included; a ValueError names the layer's class if not."""
    if isinstance(rate, bool) or not isinstance(rate, Real) or not 0 <= rate <= 1:
        raise ValueError(f"{type(owner).__name__}: {argument}: expected a number from 0 to 1, found {rate!r}")
    return float(rate)


def dropout(x: Any, rate: float, generator: np.random.Generator, shape: tuple | None = None) -> Any:
    """Return `x` with the fraction `rate` of its elements zero and the others divided by ``1 - rate``.

    So its mean stays (inverted dropout; Srivastava et al., 2014). Where `shape` has a 1, one decision holds
    for the whole axis. Which elements are dropped does not depend on the float type.
    """
    if rate == 0.0:
        return x
    if rate == 1.0:
        return x * 0.0
    shape = x.shape if shape is None else shape
    if on_device(x.data):
        return x * random.keep_factors(shape, rate, draw_seed(generator), x.dtype)
    kept = generator.random(shape, dtype="float32") >= rate
    return x * (kept.astype(x.dtype) / x.dtype.type(1.0 - rate))


class Dropout(_Disturbance):
    """Put zeros at random places in training, and divide the rest by ``1 - rate``.

    Parameters
    ----------
    rate : float
        Fraction to drop, from 0 to 1.
    noise_shape : tuple of int or None, optional
        Of the random decisions: 1 where they hold for a whole axis, None for the input's length.
        ``(None, 1, None)`` drops the same features at all time steps.
    seed : int, optional
        Of the decisions: two layers with one seed drop the same. Drawn from the default generator
        otherwise.

    Raises
    ------
    ValueError
        For a rate or noise shape out of range; at the call, for a noise shape that does not fit the input.
    """

    def __init__(self, rate: float, noise_shape: tuple | None = None, seed: int | None = None, **kwargs: Any):
        super().__init__(seed, **kwargs)
        self.rate = check_rate(self, "rate", rate)
        self.noise_shape = self._check_noise_shape(noise_shape)

    def _check_noise_shape(self, shape: Any) -> tuple | None:
        if shape is None:
            return None
        if not isinstance(shape, list | tuple) or not all(n is None or _is_length(n) for n in shape):
            raise ValueError(
                f"{type(self).__name__}: noise_shape: expected positive integers or None, found {shape!r}"
            )
        return tuple(shape)

    def disturb(self, x: Any) -> Any:
        """Drop."""
        if self.noise_shape is None:
            return dropout(x, self.rate, self._generator)
        given = self.noise_shape
        if len(given) != len(x.shape) or any(
            n not in (None, 1, length) for n, length in zip(given, x.shape, strict=True)
        ):
            raise ValueError(f"{self.name}: noise_shape {given} does not broadcast to the shape {x.shape}")
        shape = tuple(length if n is None else n for n, length in zip(given, x.shape, strict=True))
        return dropout(x, self.rate, self._generator, shape)


def _is_length(n: Any) -> bool:
    return isinstance(n, int | np.integer) and not isinstance(n, bool) and n >= 1


class SpatialDropout1D(_Disturbance):
    """Drop whole features, at all time steps alike.

    Neighbouring steps are so alike that dropping single ones hardly takes anything away.

    Parameters
    ----------
    rate : float
        Fraction of the features to drop, from 0 to 1.
    seed : int, optional
    name, dtype : str, optional
        As of every layer. (Keras takes no other arguments here.)
    """

    input_ndim = 3
    input_layout = "(batch, time, features)"

    def __init__(
        self, rate: float, seed: int | None = None, name: str | None = None, dtype: str | None = None
    ):
        super().__init__(seed, name=name, dtype=dtype)
        self.rate = check_rate(self, "rate", rate)

    def disturb(self, x: Any) -> Any:
        """Drop."""
        return dropout(x, self.rate, self._generator, (x.shape[0], 1, x.shape[2]))


class GaussianNoise(_Disturbance):
    """Add normal noise of mean 0 in training.

    Parameters
    ----------
    stddev : float
        Standard deviation of the noise, from 0 on. (Keras allows no more than 1.)
    seed : int, optional
    """

    def __init__(self, stddev: float, seed: int | None = None, **kwargs: Any):
        super().__init__(seed, **kwargs)
        if isinstance(stddev, bool) or not isinstance(stddev, int | float) or not 0 <= stddev < math.inf:
            raise ValueError(f"GaussianNoise: stddev: expected a number from 0 on, found {stddev!r}")
        self.stddev = float(stddev)

    def disturb(self, x: Any) -> Any:
        """Add the noise."""
        return x + self.normal(x, self.stddev)


class GaussianDropout(_Disturbance):
    """Multiply in training with normal noise of mean 1 and variance ``rate / (1 - rate)``.

    That is the mean and variance of what `Dropout` multiplies with (Srivastava et al., 2014, section 10).

    Parameters
    ----------
    rate : float
        From 0, and less than 1.
    seed : int, optional
    """

    def __init__(self, rate: float, seed: int | None = None, **kwargs: Any):
        super().__init__(seed, **kwargs)
        self.rate = check_rate(self, "rate", rate)
        if self.rate == 1.0:
            raise ValueError("GaussianDropout: rate: 1 would need noise of infinite variance")

    def disturb(self, x: Any) -> Any:
        """Multiply with the noise."""
        return x * (1.0 + self.normal(x, math.sqrt(self.rate / (1.0 - self.rate))))


class ActivityRegularization(SameShape):
    """Return the input, and add ``(l1 * sum(|x|) + l2 * sum(x**2)) / B`` to the loss.

    Parameters
    ----------
    l1, l2 : float
        Not negative.
    """

    needs_floats = True

    def __init__(self, l1: float = 0.0, l2: float = 0.0, **kwargs: Any):
        super().__init__(activity_regularizer=L1L2(l1, l2), **kwargs)
        self.l1 = float(l1)
        self.l2 = float(l2)

    def get_config(self) -> dict[str, Any]:
        """Return what the constructor needs: the regularizer is `l1` and `l2`."""
        config = super().get_config()
        del config["activity_regularizer"]
        return config

    def call(self, inputs: Any) -> Any:
        """Return the inputs."""
        return inputs
