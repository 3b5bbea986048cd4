"""Attention beside Keras."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras_oracle import MASKS, compare, draw, make_mask

from tinyrnn import layers

masks = st.sampled_from([None, *MASKS])


def inputs(n=2):
    """A query of 3 steps, a value of 2 with 4 features, keys for it."""
    query, key, value = draw(4, 3, 5), draw(4, 2, 5, seed=1), draw(4, 2, 4, seed=2)
    return [query, key] if n == 2 else [query, value, key]


def pair_of(query, value):
    return [make_mask(query, 4, 3), make_mask(value, 4, 2)]


@given(
    use_scale=st.booleans(),
    score_mode=st.sampled_from(["dot", "concat"]),
    causal=st.booleans(),
    query=masks,
    value=masks,
    seed=st.integers(0, 100),
)
def test_attention(use_scale, score_mode, causal, query, value, seed):
    compare(
        lambda library: library.Attention(use_scale, score_mode),
        inputs(),
        pair_of(query, value),
        use_causal_mask=causal,
        seed=seed,
        # Scores pushed 1e9 down have few digits left: they show where all steps are masked.
        tolerance=1e-6 if value == "empty row" else None,
    )


@given(use_scale=st.booleans(), causal=st.booleans(), query=masks, value=masks)
def test_additive_attention(use_scale, causal, query, value):
    compare(
        lambda library: library.AdditiveAttention(use_scale),
        inputs(),
        pair_of(query, value),
        use_causal_mask=causal,
        tolerance=1e-6 if value == "empty row" else None,
    )


@pytest.mark.parametrize("kind", ["Attention", "AdditiveAttention"])
def test_keys_of_their_own_and_the_scores(kind):
    compare(
        lambda library: getattr(library, kind)(),
        inputs(3),
        [*pair_of("right", "right"), None],
        return_attention_scores=True,
        shapes=False,  # Keras's compute_output_shape does not know of the scores
    )
    symbolic = [layers.Input(shape) for shape in [(3, 5), (2, 4), (2, 5)]]
    outputs = getattr(layers, kind)()(symbolic, return_attention_scores=True)
    assert [y.shape for y in outputs] == [(None, 3, 4), (None, 3, 2)]


def test_weights_sum_to_one_and_leave_masked_steps_out():
    mask = make_mask("right", 4, 2)
    _, weights = layers.Attention()(inputs(), mask=[None, mask], return_attention_scores=True)
    np.testing.assert_allclose(weights.data.sum(axis=-1), 1, rtol=1e-6)
    np.testing.assert_array_equal(weights.data * ~mask[:, None], 0)


def test_causal_attention_sees_no_future():
    x = draw(4, 3, 5)
    y = layers.Attention()([x, x], use_causal_mask=True).data
    changed = x.copy()
    changed[:, 2] += 1
    np.testing.assert_array_equal(
        layers.Attention()([x, changed], use_causal_mask=True).data[:, :2], y[:, :2]
    )
    np.testing.assert_allclose(y[:, 0], x[:, 0], rtol=1e-6)


@pytest.mark.parametrize("kind", [layers.Attention, layers.AdditiveAttention])
def test_dropout_drops_weights(kind):
    layer = kind(dropout=0.5, seed=3)
    _, clean = layer(inputs(), return_attention_scores=True)
    output, dropped = layer(inputs(), return_attention_scores=True, training=True)
    kept = dropped.data != 0
    assert 0.1 < kept.mean() < 0.9
    np.testing.assert_allclose(dropped.data, np.where(kept, clean.data / 0.5, 0), rtol=1e-6)
    np.testing.assert_allclose(output.data, dropped.data @ np.float32(inputs()[1]), rtol=1e-5)
    again = kind(dropout=0.5, seed=3)
    again(inputs())
    again.set_weights(layer.get_weights())
    np.testing.assert_array_equal(again(inputs(), training=True).data, output.data)


def test_errors_and_it_still_works():
    layer = layers.Attention(name="att")
    query, value = inputs()
    for bad, message in [
        (query, r"expected \[query, value\] or \[query, value, key\], found shape \(4, 3, 5\)"),
        ([query], r"expected \[query, value\] or"),
        ([query, value[0]], r"expected inputs \(batch, time, features\)"),
        ([query, value[..., :4]], "expected query and key with one number of features"),
        ([query, value, query], "expected a key for each step of the value"),
    ]:
        with pytest.raises(ValueError, match=f"att: {message}"):
            layer(bad)
    with pytest.raises(ValueError, match=r"att: mask: expected a list \[query_mask, value_mask\]"):
        layer([query, value], mask=np.ones((4, 2)))
    assert layer([query, value]).shape == (4, 3, 5)
    with pytest.raises(ValueError, match="unknown score_mode 'dott'; did you mean 'dot'"):
        layers.Attention(score_mode="dott")
    with pytest.raises(ValueError, match="Attention: dropout: expected a number from 0 to 1, found 2"):
        layers.Attention(dropout=2)
