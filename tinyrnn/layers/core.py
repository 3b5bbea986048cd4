"""The plain layers: Dense, activations, Masking, Lambda."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from tinyrnn import activations, constraints, initializers, ops, regularizers
from tinyrnn.layers.base import Layer, is_shape, map_shapes, positive_int, warn_old_spelling
from tinyrnn.naming import lookup
from tinyrnn.nest import leaves

__all__ = ["Activation", "Dense", "Lambda", "LeakyReLU", "Masking", "ReLU", "SameShape", "Softmax"]


class Dense(Layer):
    """``activation(x W + b)``, on the last axis of its input.

    Weights: ``kernel (F, units)``, ``bias (units,)``.

    Parameters
    ----------
    units : int
        Length of the output's last axis.
    activation : str or callable, optional
        Linear by default.
    use_bias : bool
    kernel_initializer, bias_initializer : optional
    kernel_regularizer, bias_regularizer, activity_regularizer : optional
    kernel_constraint, bias_constraint : optional

    Notes
    -----
    Input ``(B, ..., F)``, output ``(B, ..., units)``: each time step of a sequence by itself, with the same
    weights. The mask is passed on.
    """

    supports_masking = True
    min_ndim = 2
    input_layout = "(batch, ..., features)"
    needs_floats = True

    def __init__(
        self,
        units: int,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ):
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self.units = positive_int(self, "units", units)
        self.activation = activations.get(activation)
        self.use_bias = use_bias
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.kernel_constraint = constraints.get(kernel_constraint)
        self.bias_constraint = constraints.get(bias_constraint)

    def build(self, input_shape: tuple) -> None:
        """Make the weights."""
        self.kernel = self.add_weight(
            (self._set_input_size(input_shape), self.units), self.kernel_initializer, "kernel",
            regularizer=self.kernel_regularizer, constraint=self.kernel_constraint,
        )  # fmt: skip
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(
                (self.units,), self.bias_initializer, "bias",
                regularizer=self.bias_regularizer, constraint=self.bias_constraint,
            )  # fmt: skip

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        """Return the shape with `units` as the last length."""
        return (*input_shape[:-1], self.units)

    def call(self, inputs: Any) -> Any:
        """Compute ``(B, ..., F)`` to ``(B, ..., units)``."""
        if self.bias is None:
            return self.activation(ops.matmul(inputs, self.kernel))
        return self.activation(ops.affine(inputs, self.kernel, self.bias))


class SameShape(Layer):
    """Base of layers that change values only: shape and mask are passed on."""

    supports_masking = True

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        """Return the shape of the input."""
        return input_shape


# --- activations ------------------------------------------------------------------------------------------


class Activation(SameShape):
    """An activation function as a layer.

    Parameters
    ----------
    activation : str or callable
        See `tinyrnn.activations`.
    """

    needs_floats = True

    def __init__(self, activation: Any, **kwargs: Any):
        super().__init__(**kwargs)
        self.activation = activations.get(activation)

    def call(self, inputs: Any) -> Any:
        """Compute."""
        return self.activation(inputs)


class ReLU(SameShape):
    """``max_value`` from there up, `x` from `threshold` up, ``negative_slope * (x - threshold)`` below.

    Parameters
    ----------
    max_value : float, optional
        No limit by default.
    negative_slope : float
    threshold : float
        None of the three may be negative.
    """

    needs_floats = True

    def __init__(
        self,
        max_value: float | None = None,
        negative_slope: float = 0.0,
        threshold: float = 0.0,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.max_value = None if max_value is None else _not_negative(self, "max_value", max_value)
        self.negative_slope = _not_negative(self, "negative_slope", negative_slope)
        self.threshold = _not_negative(self, "threshold", threshold)

    def call(self, inputs: Any) -> Any:
        """Compute."""
        return activations.relu(inputs, self.negative_slope, self.max_value, self.threshold)


class LeakyReLU(SameShape):
    """`x` where positive, ``negative_slope * x`` elsewhere.

    Parameters
    ----------
    negative_slope : float
        Not negative. (The activation ``"leaky_relu"`` has 0.2.)
    """

    needs_floats = True

    def __init__(self, negative_slope: float = 0.3, **kwargs: Any):
        if "alpha" in kwargs:
            warn_old_spelling("alpha=", "negative_slope=")
            negative_slope = kwargs.pop("alpha")
        super().__init__(**kwargs)
        self.negative_slope = _not_negative(self, "negative_slope", negative_slope)

    def call(self, inputs: Any) -> Any:
        """Compute."""
        return activations.leaky_relu(inputs, self.negative_slope)


class Softmax(SameShape):
    """``exp(x) / sum(exp(x))``.

    Parameters
    ----------
    axis : int or list of int
        What sums to one.

    Notes
    -----
    A mask with as many axes as the input, which broadcasts to it, takes elements out: they get 0. A mask
    with fewer, ``(B, T)``, says which steps count and is only passed on. (Keras raises there.)

    Raises
    ------
    ValueError
        At the call, for a mask that is neither.
    """

    needs_floats = True

    def __init__(self, axis: int | list[int] = -1, **kwargs: Any):
        super().__init__(**kwargs)
        self.axis = axis

    def call(self, inputs: Any, mask: Any = None) -> Any:
        """Compute."""
        axis = tuple(self.axis) if isinstance(self.axis, list | tuple) else self.axis
        if mask is None or self._is_of_steps(mask.shape, inputs.shape):
            return ops.softmax(inputs, axis=axis)
        y = ops.softmax(ops.where(mask, inputs, -1e9), axis=axis)
        return ops.where(mask, y, 0.0)

    def _is_of_steps(self, mask: tuple, inputs: tuple) -> bool:
        """Whether a mask of this shape is about the steps of a sequence, not about elements."""
        if len(mask) < len(inputs) and mask == inputs[: len(mask)]:
            return True
        if len(mask) == len(inputs) and all(m in (1, n) for m, n in zip(mask, inputs, strict=True)):
            return False
        raise ValueError(f"{self.name}: expected a mask for inputs of shape {inputs}, found shape {mask}")


def _not_negative(owner: Layer, argument: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
        raise ValueError(f"{type(owner).__name__}: {argument}: expected a number from 0 on, found {value!r}")
    return float(value)


# --- the rest ---------------------------------------------------------------------------------------------


class Masking(SameShape):
    """Mask the time steps at which every feature has a given value.

    Parameters
    ----------
    mask_value : float

    Notes
    -----
    Input and output ``(B, T, F)``; masked steps are zeros in the output. A mask that comes with the input is
    replaced.
    """

    min_ndim = 2
    input_layout = "(batch, ..., features)"

    def __init__(self, mask_value: float = 0.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.mask_value = mask_value

    def call(self, inputs: Any) -> Any:
        """Put zeros at the masked steps."""
        return ops.where(self.compute_mask(inputs)[..., None], inputs, 0)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """Return True where a feature has another value."""
        return (ops.to_array(inputs) != self.mask_value).any(axis=-1)


class Lambda(Layer):
    """A function of yours as a layer, without weights.

    Parameters
    ----------
    function : callable
        Takes the input, a `Tensor` or a nest of them, and returns another, by means of operators and
        `tinyrnn.ops`. It may also take ``mask`` and ``training``.
    output_shape : tuple or callable, optional
        Without the batch axis, or a function of the whole input shape. By default it is found out by
        calling the function on zeros.
    mask : callable or array, optional
        ``mask(inputs, mask)``, or the mask itself, of the output; without it an input's mask is dropped.
    arguments : dict, optional
        More keyword arguments for the function.

    Notes
    -----
    A function cannot be written down: the configuration has its name, and whoever makes a layer from that
    gives the function again, ``custom_objects={"name": function}``. Functions that Keras has packed into a
    file are never run.

    Raises
    ------
    TypeError
        If `function` is not callable.
    """

    def __init__(
        self,
        function: Callable,
        output_shape: Any = None,
        mask: Any = None,
        arguments: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if isinstance(function, str):
            function = _function_by_name(self.name, function)
        if not callable(function):
            raise TypeError(f"{self.name}: function: expected something to call, found {function!r}")
        self.function = function
        of_file = isinstance(output_shape, list) and is_shape(tuple(output_shape))  # JSON has no tuples
        self.output_shape = tuple(output_shape) if of_file else output_shape
        self.mask = mask
        self.arguments = dict(arguments or {})
        self.supports_masking = mask is not None
        self._takes = frozenset(inspect.signature(function).parameters) & {"mask", "training"}

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the shape that was declared, or that of a trial."""
        if self.output_shape is None:
            return super().compute_output_shape(input_shape)
        if callable(self.output_shape):
            return self.output_shape(input_shape)
        batch = next(leaves(input_shape))
        return map_shapes(lambda shape: (batch, *shape), self.output_shape)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """Return the mask that was declared."""
        return self.mask(inputs, mask) if callable(self.mask) else self.mask

    def call(self, inputs: Any, mask: Any = None, training: bool = False) -> Any:
        """Call the function."""
        given = {"mask": mask, "training": training}
        return self.function(inputs, **{name: given[name] for name in self._takes}, **self.arguments)


def _function_by_name(layer: str, name: str) -> Callable:
    try:
        return lookup("function", name, {})
    except ValueError as error:
        raise ValueError(f"{layer}: {error}; give it in custom_objects={{{name!r}: ...}}") from error
