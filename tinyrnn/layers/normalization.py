"""`LayerNormalization`: mean 0 and variance 1 of every sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinyrnn import constraints, initializers, ops, regularizers
from tinyrnn.layers.core import SameShape

__all__ = ["LayerNormalization"]


class LayerNormalization(SameShape):
    """``gamma * (x - mean) / sqrt(variance + epsilon) + beta``, by sample and time step (Ba et al., 2016).

    Weights: ``gamma``, ``beta``, of the lengths of the normalized axes.

    Parameters
    ----------
    axis : int or sequence of int
        Over which axes mean and (biased) variance are taken; the last by default.
    epsilon : float
        Keeps the division finite.
    center, scale : bool
        Whether there is a beta, a gamma.
    beta_initializer, gamma_initializer : optional
    beta_regularizer, gamma_regularizer : optional
    beta_constraint, gamma_constraint : optional

    Raises
    ------
    ValueError
        At the call, if an axis does not exist or has another length than the layer was built for.
    """

    needs_floats = True

    def __init__(
        self,
        axis: int | Sequence[int] = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.axis = list(axis) if isinstance(axis, list | tuple) else axis
        self.epsilon = epsilon
        self.center = center
        self.scale = scale
        self.beta_initializer = initializers.get(beta_initializer)
        self.gamma_initializer = initializers.get(gamma_initializer)
        self.beta_regularizer = regularizers.get(beta_regularizer)
        self.gamma_regularizer = regularizers.get(gamma_regularizer)
        self.beta_constraint = constraints.get(beta_constraint)
        self.gamma_constraint = constraints.get(gamma_constraint)

    def _axes(self, n_axes: int) -> tuple[int, ...]:
        """Return the normalized axes of an input, counted from 0, in order."""
        axes = self.axis if isinstance(self.axis, list) else [self.axis]
        return tuple(sorted(a % n_axes for a in axes))

    def check_input(self, shape: Any) -> None:
        """Compare the normalized axes of an input with those the weights were made for."""
        super().check_input(shape)
        axes = self.axis if isinstance(self.axis, list) else [self.axis]
        if any(not -len(shape) <= a < len(shape) for a in axes):
            raise ValueError(f"{self.name}: axis {self.axis} does not exist in an input of shape {shape}")
        lengths = tuple(shape[a] for a in self._axes(len(shape)))
        if None in lengths or (self.built and lengths != self._lengths):
            expected = self._lengths if self.built else "known lengths"
            raise ValueError(
                f"{self.name}: expected {expected} at axis {self.axis}, found {lengths} in shape {shape}"
            )

    def build(self, input_shape: tuple) -> None:
        """Make the weights."""
        self._lengths = tuple(input_shape[a] for a in self._axes(len(input_shape)))
        self.gamma = self.beta = None
        if self.scale:
            self.gamma = self.add_weight(
                self._lengths, self.gamma_initializer, "gamma",
                regularizer=self.gamma_regularizer, constraint=self.gamma_constraint,
            )  # fmt: skip
        if self.center:
            self.beta = self.add_weight(
                self._lengths, self.beta_initializer, "beta",
                regularizer=self.beta_regularizer, constraint=self.beta_constraint,
            )  # fmt: skip

    def call(self, inputs: Any) -> Any:
        """Normalize."""
        axes = self._axes(len(inputs.shape))
        shape = tuple(n if a in axes else 1 for a, n in enumerate(inputs.shape))
        centered = inputs - ops.mean(inputs, axis=axes, keepdims=True)
        variance = ops.mean(ops.square(centered), axis=axes, keepdims=True)
        y = centered / ops.sqrt(variance + self.epsilon)
        if self.gamma is not None:
            y = y * ops.reshape(self.gamma, shape=shape)
        return y if self.beta is None else y + ops.reshape(self.beta, shape=shape)
