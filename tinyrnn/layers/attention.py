"""Attention: means of a sequence's steps, weighted by how well each step answers a query."""

from __future__ import annotations

from typing import Any

from tinyrnn import ops
from tinyrnn.backend import array_module, new_generator
from tinyrnn.layers.base import Layer, is_shape
from tinyrnn.layers.regularization import check_rate, dropout
from tinyrnn.naming import nearest

__all__ = ["AdditiveAttention", "Attention"]

SCORE_MODES = ("dot", "concat")
FAR_BELOW = 1e9  # subtracted from the scores of masked steps: exp() of that is 0


class Attention(Layer):
    """``softmax(scores) V``, the scores being products of queries and keys (Luong et al., 2015).

    Weights: with `use_scale` ``scale ()``, with ``score_mode="concat"`` ``concat_score_weight ()``.

    Parameters
    ----------
    use_scale : bool
        Learn a factor of the scores.
    score_mode : {"dot", "concat"}
        ``"dot"``: ``scale * q . k``. ``"concat"``: ``weight * sum(tanh(scale * (q + k)))`` over the features.
    dropout : float
        Fraction of the softmax to drop in training.
    seed : int, optional
        Of the dropout.

    Notes
    -----
    Called on a list ``[query (B, Tq, d), value (B, Tv, dv)]`` or ``[query, value, key (B, Tv, d)]``; the
    keys are the values if not given. Output ``(B, Tq, dv)``. Masks ``[query_mask, value_mask]``: steps
    masked in the value get no weight, steps masked in the query give zeros. The scores are not divided by
    ``sqrt(d)``. Where all steps of the value are masked, they share the weight as if none was.

    Raises
    ------
    ValueError
        For an unknown score mode; at the call, if the inputs do not fit together.
    """

    supports_masking = True
    needs_floats = True

    def __init__(
        self,
        use_scale: bool = False,
        score_mode: str = "dot",
        dropout: float = 0.0,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if score_mode not in SCORE_MODES:
            raise ValueError(
                f"Attention: unknown score_mode {score_mode!r}{nearest(str(score_mode), SCORE_MODES)}"
            )
        self.use_scale = use_scale
        self.score_mode = score_mode
        self.dropout = check_rate(self, "dropout", dropout)
        self.seed = seed
        self._generator = new_generator(seed)

    def check_input(self, shape: Any) -> None:
        """Require a query, a value and maybe a key that fit together."""
        if is_shape(shape) or len(shape) not in (2, 3):
            raise ValueError(
                f"{self.name}: expected [query, value] or [query, value, key], found shape {shape}"
            )
        query, value, key = (*shape, shape[1])[:3]
        if any(len(s) != 3 for s in shape):
            raise ValueError(f"{self.name}: expected inputs (batch, time, features), found shapes {shape}")
        if query[-1] != key[-1]:
            raise ValueError(
                f"{self.name}: expected query and key with one number of features, found {query} and {key}"
            )
        if None not in (value[1], key[1]) and value[1] != key[1]:
            raise ValueError(
                f"{self.name}: expected a key for each step of the value, found {key} and {value}"
            )

    def build(self, input_shape: Any) -> None:
        """Make the weights."""
        self.scale = self.add_weight((), "ones", "scale") if self.use_scale else None
        if self.score_mode == "concat":
            self.concat_score_weight = self.add_weight((), "ones", "concat_score_weight")

    def compute_output_shape(self, input_shape: Any) -> tuple:
        """Return ``(B, Tq, dv)``."""
        return (*input_shape[0][:-1], input_shape[1][-1])

    def _output_shape_of_call(self, input_shape: Any, kwargs: dict) -> Any:
        output = self.compute_output_shape(input_shape)
        if not kwargs.get("return_attention_scores"):
            return output
        return [output, (*input_shape[0][:-1], input_shape[1][1])]

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """Return the mask of the query."""
        return None if mask is None else mask[0]

    def call(
        self,
        inputs: Any,
        mask: Any = None,
        training: bool = False,
        return_attention_scores: bool = False,
        use_causal_mask: bool = False,
    ) -> Any:
        """Attend.

        Parameters
        ----------
        inputs : list of tensors
            ``[query, value]`` or ``[query, value, key]``.
        mask : list of (B, T) bool or None, optional
            ``[query_mask, value_mask]``.
        training : bool
            Whether to drop out.
        return_attention_scores : bool
            Return the softmax ``(B, Tq, Tv)``, too.
        use_causal_mask : bool
            Let step t of the query see steps 0 ... t of the value only.
        """
        if mask is not None and (not isinstance(mask, list | tuple) or len(mask) not in (2, 3)):
            raise ValueError(f"{self.name}: mask: expected a list [query_mask, value_mask], found {mask!r}")
        query, value, key = (*inputs, inputs[1])[:3]
        query_mask, value_mask = (None, None) if mask is None else mask[:2]
        scores = self.scores(query, key)
        valid = self._visible(scores, value_mask, use_causal_mask)
        if valid is not None:
            scores = ops.where(valid, scores, scores - FAR_BELOW)
        weights = ops.softmax(scores)
        if training:
            weights = dropout(weights, self.dropout, self._generator)
        outputs = ops.matmul(weights, value)
        if query_mask is not None:
            outputs = ops.where(query_mask[..., None], outputs, 0.0)
        return (outputs, weights) if return_attention_scores else outputs

    def scores(self, query: Any, key: Any) -> Any:
        """Return how well each key answers each query, ``(B, Tq, Tv)``."""
        if self.score_mode == "dot":
            scores = ops.matmul(query, ops.swapaxes(key, axis1=-1, axis2=-2))
            return scores if self.scale is None else scores * self.scale
        sums = _pairwise_sums(query, key)
        sums = sums if self.scale is None else sums * self.scale
        return self.concat_score_weight * ops.sum(ops.tanh(sums), axis=-1)

    def _visible(self, scores: Any, value_mask: Any, causal: bool) -> Any:
        """Return which steps of the value each step of the query may see, None for all."""
        valid = None if value_mask is None else value_mask[:, None, :]
        if not causal:
            return valid
        past = array_module(scores.data).tri(*scores.shape[-2:], dtype=bool)
        return past if valid is None else valid & past


def _pairwise_sums(query: Any, key: Any) -> Any:
    """Return ``q + k`` of all pairs, ``(B, Tq, Tv, d)``."""
    return ops.expand_dims(query, axis=-2) + ops.expand_dims(key, axis=-3)


class AdditiveAttention(Attention):
    """Attention with scores ``sum(scale * tanh(q + k))`` over the features (Bahdanau et al., 2015).

    Weights: with `use_scale` ``scale (d,)``. Inputs, masks and output are those of `Attention`.

    Parameters
    ----------
    use_scale : bool
        Learn a factor for each feature.
    dropout : float
        Fraction of the softmax to drop in training.
    **kwargs
        ``seed`` of the dropout, and those of every layer.
    """

    def __init__(self, use_scale: bool = True, dropout: float = 0.0, **kwargs: Any):
        super().__init__(use_scale=use_scale, dropout=dropout, **kwargs)

    def build(self, input_shape: Any) -> None:
        """Make the weights."""
        width = self._set_input_size(input_shape[0])
        self.scale = self.add_weight((width,), "glorot_uniform", "scale") if self.use_scale else None

    def scores(self, query: Any, key: Any) -> Any:
        """Return how well each key answers each query, ``(B, Tq, Tv)``."""
        y = ops.tanh(_pairwise_sums(query, key))
        return ops.sum(y if self.scale is None else y * self.scale, axis=-1)
