"""Layers that make one vector of a sequence, whatever its length."""

from __future__ import annotations

from typing import Any

from tinyrnn import ops
from tinyrnn.layers.base import Layer
from tinyrnn.layers.reshaping import check_data_format

__all__ = ["GlobalAveragePooling1D", "GlobalMaxPooling1D"]


class _GlobalPooling(Layer):
    """Base: which axis is time, and what is left of it.

    Parameters
    ----------
    data_format : {"channels_last", "channels_first"}, optional
        Time is axis 1, as everywhere here, or axis 2.
    keepdims : bool
        Keep time as an axis of length 1.
    """

    input_ndim = 3
    needs_floats = True

    def __init__(self, data_format: str | None = None, keepdims: bool = False, **kwargs: Any):
        super().__init__(**kwargs)
        self.data_format = check_data_format(self, data_format)
        self.keepdims = keepdims
        channels_last = self.data_format == "channels_last"
        self.time_axis = 1 if channels_last else 2
        self.input_layout = "(batch, time, features)" if channels_last else "(batch, features, time)"

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        """Return the shape without the time axis, or with length 1 there."""
        kept = (1,) if self.keepdims else ()
        return (*input_shape[: self.time_axis], *kept, *input_shape[self.time_axis + 1 :])


class GlobalAveragePooling1D(_GlobalPooling):
    """The mean over time, ``(B, T, F)`` to ``(B, F)``; of the steps that a mask leaves.

    ``sum(m * x) / sum(m)``; 0 where nothing is left. (Keras returns NaN there.)

    Parameters
    ----------
    data_format : {"channels_last", "channels_first"}, optional
        Time is axis 1, as everywhere here, or axis 2.
    keepdims : bool
        Keep time as an axis of length 1.
    """

    supports_masking = True

    def call(self, inputs: Any, mask: Any = None) -> Any:
        """Average."""
        settings = {"axis": self.time_axis, "keepdims": self.keepdims}
        if mask is None:
            return ops.mean(inputs, **settings)
        mask = ops.expand_dims(mask, axis=3 - self.time_axis)
        count = mask.sum(dtype=inputs.dtype, **settings).clip(1.0)
        return ops.sum(ops.where(mask, inputs, 0.0), **settings) / count

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        """Return None: the output has no time steps."""
        return None


class GlobalMaxPooling1D(_GlobalPooling):
    """The maximum over time of each feature, ``(B, T, F)`` to ``(B, F)``.

    It knows nothing of masks: as in Keras, padding takes part.

    Parameters
    ----------
    data_format : {"channels_last", "channels_first"}, optional
        Time is axis 1, as everywhere here, or axis 2.
    keepdims : bool
        Keep time as an axis of length 1.
    """

    def call(self, inputs: Any) -> Any:
        """Take the maximum."""
        return ops.max(inputs, axis=self.time_axis, keepdims=self.keepdims)
