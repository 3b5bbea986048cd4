"""Where a model begins: `Input`, and the layer it stands for."""

from __future__ import annotations

from typing import Any

from tinyrnn.backend import floatx
from tinyrnn.layers.base import Layer, is_shape
from tinyrnn.layers.graph import Call, SymbolicTensor

__all__ = ["Input", "InputLayer"]


class InputLayer(Layer):
    """The first layer of a model: it knows the shape of the data and passes them on.

    Parameters
    ----------
    shape : tuple of int or None, optional
        Without the batch axis; None where any length will do.
    batch_size : int, optional
        Fixed size of the batches (stateful layers need one).
    batch_shape : tuple, optional
        Both in one, instead.
    dtype : str, optional
        ``"int32"`` for token ids; `floatx()` by default.
    name : str, optional
    """

    supports_masking = True

    def __init__(
        self,
        shape: tuple | None = None,
        batch_size: int | None = None,
        dtype: str | None = None,
        batch_shape: tuple | None = None,
        name: str | None = None,
    ):
        super().__init__(name=name, dtype=dtype or floatx())
        if (shape is None) == (batch_shape is None):
            raise ValueError("Input: give either shape= (without the batch axis) or batch_shape=")
        if batch_shape is None:
            batch_shape = (batch_size, *((shape,) if isinstance(shape, int) else shape))
        if not is_shape(tuple(batch_shape)):
            raise ValueError(f"Input: expected a shape like (None, 3), found {batch_shape!r}")
        self.batch_shape = tuple(None if n is None else int(n) for n in batch_shape)
        self.built = True
        Call(self, (), {}, SymbolicTensor(self.batch_shape, self.dtype))

    input = Layer.output  # what comes in goes out

    def get_config(self) -> dict[str, Any]:
        """Return what the constructor needs: the batch shape holds the rest."""
        return {"batch_shape": self.batch_shape, "dtype": self.dtype, "name": self.name}

    def call(self, inputs: Any) -> Any:
        """Return the inputs."""
        return inputs

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the shape that was declared."""
        return self.batch_shape


def Input(  # noqa: N802 - Keras's name
    shape: tuple | None = None,
    batch_size: int | None = None,
    dtype: str | None = None,
    batch_shape: tuple | None = None,
    name: str | None = None,
) -> SymbolicTensor:
    """Return a symbolic tensor to start a model from; see `InputLayer` for the arguments."""
    return InputLayer(shape, batch_size, dtype, batch_shape, name).output
