"""`Embedding`: numbers of words to vectors."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyrnn import constraints, initializers, ops, regularizers
from tinyrnn.backend import on_device, to_host, verify
from tinyrnn.layers.base import Layer, positive_int, warn_old_spelling
from tinyrnn.lookup import Lookup

__all__ = ["Embedding"]


class Embedding(Layer):
    """A table of vectors, read by row number.

    Weights: ``embeddings (input_dim, output_dim)``.

    Parameters
    ----------
    input_dim : int
        Size of the vocabulary: ids are ``0 ... input_dim - 1``.
    output_dim : int
        Length of the vectors.
    embeddings_initializer : optional
        Uniform in -0.05 ... 0.05 by default.
    embeddings_regularizer, embeddings_constraint : optional
    mask_zero : bool
        Id 0 is padding: the output carries a mask, False where the id is 0. Row 0 is a vector like the
        others; it is trained where something reads it.
    weights : array, or list with one, optional
        The table to start with.

    Notes
    -----
    Input: ids of any shape, ``(B, T)`` as a rule; floats are truncated to integers. Output
    ``(B, T, output_dim)``.

    Raises
    ------
    ValueError
        For sizes that are not positive, for `weights` of another shape.
    IndexError
        At the call, for an id out of range; names the first one and where it is. (Keras returns NaN on JAX,
        and the last row for -1.) On a GPU later, when something is fetched.
    """

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        embeddings_initializer: Any = "uniform",
        embeddings_regularizer: Any = None,
        embeddings_constraint: Any = None,
        mask_zero: bool = False,
        weights: Any = None,
        **kwargs: Any,
    ):
        length = kwargs.pop("input_length", None)
        super().__init__(**kwargs)
        if length is not None:
            warn_old_spelling("input_length=", "an Input(shape=(length,)) before the layer")
            self.batch_input_shape = self.batch_input_shape or (None, length)
        self.input_dim = positive_int(self, "input_dim", input_dim)
        self.output_dim = positive_int(self, "output_dim", output_dim)
        self.embeddings_initializer = initializers.get(embeddings_initializer)
        self.embeddings_regularizer = regularizers.get(embeddings_regularizer)
        self.embeddings_constraint = constraints.get(embeddings_constraint)
        self.mask_zero = mask_zero
        self.supports_masking = mask_zero
        if weights is not None:
            self._ensure_built(None)
            self.set_weights(weights if isinstance(weights, list) and len(weights) == 1 else [weights])

    def build(self, input_shape: Any) -> None:
        """Make the table, for ids of any shape."""
        self.embeddings = self.add_weight(
            (self.input_dim, self.output_dim), self.embeddings_initializer, "embeddings",
            regularizer=self.embeddings_regularizer, constraint=self.embeddings_constraint,
        )  # fmt: skip

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        """Return the shape of the ids and `output_dim`."""
        return (*input_shape, self.output_dim)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """Return True where the id is not 0, None without `mask_zero`."""
        return ops.to_array(inputs) != 0 if self.mask_zero else None

    def call(self, inputs: Any) -> Any:
        """Look up ids ``(...)``: vectors ``(..., output_dim)``."""
        ids = inputs.data if inputs.dtype.kind in "iu" else inputs.data.astype("int32")
        self._check_ids(ids)
        return Lookup(self.embeddings, ids)

    def _check_ids(self, ids: Any) -> None:
        if not ids.size:
            return
        if on_device(ids):  # read without its sign, a negative id is larger than all others
            inside = (ids.view(f"uint{8 * ids.itemsize}") < self.input_dim).all()
        else:
            inside = ids.min() >= 0 and ids.max() < self.input_dim
        verify(inside, lambda: self._out_of_range(to_host(ids)))

    def _out_of_range(self, ids: np.ndarray) -> IndexError:
        first = np.flatnonzero((ids < 0) | (ids >= self.input_dim))[0]
        position = tuple(int(i) for i in np.unravel_index(first, ids.shape))
        return IndexError(
            f"{self.name}: expected ids 0 ... {self.input_dim - 1} (input_dim={self.input_dim}), "
            f"found {int(ids[position])} at position {position}"
        )
