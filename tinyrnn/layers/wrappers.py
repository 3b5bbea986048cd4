"""`TimeDistributed`: a layer applied to every time step."""

from __future__ import annotations

from typing import Any

from tinyrnn import ops
from tinyrnn.layers.base import Layer, call_parameters, get_layer, map_shapes
from tinyrnn.nest import map_leaves

__all__ = ["TimeDistributed"]


class TimeDistributed(Layer):
    """Apply a layer to each time step of its input, with the same weights.

    ``y[:, t] = layer(x[:, t], mask=mask[:, t])`` for all `t`, computed in one call: time steps are rows of
    a larger batch.

    Parameters
    ----------
    layer : Layer
        Takes ``(B, ...)``; not a stateful one, since its states would have to pass from step to step.

    Notes
    -----
    Input ``(B, T, ...)``, output ``(B, T, ...)``. A mask ``(B, T, ...)`` is handed on, without its time axis,
    to an inner layer whose `call` takes one (a recurrent layer has no use for ``(B,)`` and does not get it).
    The output has the mask that the inner layer gives its output, or else True for the steps at which the
    input's mask has a True: documents ``(B, T, S)`` of padded sentences, read by a `TimeDistributed` LSTM,
    are masked ``(B, T)`` where a sentence is empty. (Keras leaves the axis S in the mask.) The activity
    regularizer of the inner layer counts, divided by ``B * T``. (Keras forgets it.)

    Raises
    ------
    TypeError
        If `layer` is no layer.
    ValueError
        For a stateful layer; at the call, for inputs of fewer than 3 axes or a mask that does not fit.
    """

    supports_masking = True
    min_ndim = 3
    input_layout = "(batch, time, ...)"

    def __init__(self, layer: Layer, **kwargs: Any):
        layer = get_layer(layer)
        super().__init__(**({"dtype": layer.dtype} | kwargs))
        if getattr(layer, "stateful", False):
            raise ValueError(
                f"{self.name}: layer {layer.name!r} is stateful; its states cannot pass between steps"
            )
        self.layer = layer

    def build(self, input_shape: tuple) -> None:
        """Build the inner layer for one step."""
        self._build_inside(self.layer, _one_step(input_shape))

    def compute_output_shape(self, input_shape: tuple) -> Any:
        """Return the shape of the inner layer's output, with the time axis."""
        shape = self.layer.compute_output_shape(_one_step(input_shape))
        return map_shapes(lambda s: (s[0], input_shape[1], *s[1:]), shape)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """Return the inner layer's mask with the time axis, or which steps have anything valid."""
        if mask is None:
            return None
        if mask.ndim > 2 and self.layer.supports_masking:
            inner = self.layer.compute_mask(_fold(ops.to_array(inputs)), _fold(mask))
            if inner is not None:
                return inner.reshape(mask.shape[:2] + inner.shape[1:])
        return mask.any(axis=tuple(range(2, mask.ndim)))

    def call(self, inputs: Any, mask: Any = None) -> Any:
        """Compute all steps at once."""
        batch, time = inputs.shape[:2]
        if mask is not None and mask.shape[:2] != (batch, time):
            raise ValueError(f"{self.name}: expected a mask ({batch}, {time}, ...), found shape {mask.shape}")
        handed = {"mask": _fold(mask)} if self._hands_on(mask) else {}
        outputs = self.layer(_fold(inputs), **handed)
        return map_leaves(lambda y: ops.reshape(y, shape=(batch, time, *y.shape[1:])), outputs)

    def _hands_on(self, mask: Any) -> bool:
        if mask is None or "mask" not in call_parameters(type(self.layer)):
            return False
        return mask.ndim > 2 or self.layer.input_ndim != 3


def _one_step(shape: tuple) -> tuple:
    return (shape[0], *shape[2:])


def _fold(x: Any) -> Any:
    """Make ``(B * T, ...)`` of ``(B, T, ...)``."""
    return ops.reshape(x, shape=(x.shape[0] * x.shape[1], *x.shape[2:]))
