"""LayerNormalization beside Keras and beside its formula."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras_oracle import MASKS, compare, draw, make_mask

from tinyrnn import layers
from tinyrnn.gradcheck import gradcheck


@given(
    axis=st.sampled_from([-1, 1, (1, 2), [-2, -1]]),
    center=st.booleans(),
    scale=st.booleans(),
    regularizer=st.sampled_from([None, "l2"]),
    mask=st.sampled_from([None, *MASKS]),
)
def test_layer_normalization(axis, center, scale, regularizer, mask):
    compare(
        lambda library: library.LayerNormalization(
            axis,
            0.01,
            center=center,
            scale=scale,
            gamma_regularizer=regularizer,
            beta_regularizer=regularizer,
        ),
        draw(4, 3, 5),
        make_mask(mask, 4, 3),
    )


def test_axes_may_be_counted_from_either_end():
    """Keras sorts -1 before 1, and the weights no longer fit the axes."""
    a, b = layers.LayerNormalization([-1, 1]), layers.LayerNormalization([1, 2])
    x = draw(4, 3, 5)
    a.build(x.shape)
    b.build(x.shape)
    a.set_weights([draw(3, 5), draw(3, 5, seed=1)])
    b.set_weights(a.get_weights())
    np.testing.assert_array_equal(a(x).data, b(x).data)


def test_statistics():
    y = layers.LayerNormalization(epsilon=1e-12)(draw(4, 3, 5) * 7 + 3).data
    np.testing.assert_allclose(y.mean(axis=-1), 0, atol=1e-6)
    np.testing.assert_allclose(y.std(axis=-1), 1, atol=1e-6)


def test_a_constant_gives_beta_and_finite_gradients():
    layer = layers.LayerNormalization(beta_initializer="ones", dtype="float64")
    np.testing.assert_array_equal(layer(np.full((2, 5), 3.0)).data, np.ones((2, 5)))
    gradcheck(layer, [np.full((2, 5), 3.0)], order=1, tolerance=1e-4)


def test_second_order():
    layer = layers.LayerNormalization(dtype="float64", gamma_initializer="random_normal")
    gradcheck(layer, [draw(2, 3, 5)])


def test_errors_and_it_still_works():
    layer = layers.LayerNormalization([1, 2], name="norm")
    y = layer(draw(4, 3, 5)).data
    with pytest.raises(
        ValueError, match=r"norm: expected \(3, 5\) at axis \[1, 2\], found \(2, 5\) in shape \(4, 2, 5\)"
    ):
        layer(draw(4, 2, 5))
    with pytest.raises(ValueError, match=r"norm: axis \[1, 2\] does not exist in an input of shape \(4, 5\)"):
        layer(draw(4, 5))
    np.testing.assert_array_equal(layer(draw(4, 3, 5)).data, y)
    with pytest.raises(ValueError, match=r"expected known lengths at axis -1, found \(None,\)"):
        layers.LayerNormalization()(layers.Input((3, None)))
