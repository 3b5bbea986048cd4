"""Pooling over time beside Keras."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras_oracle import MASKS, compare, draw, make_mask

from tinyrnn import layers
from tinyrnn.autograd import Tensor

options = {
    "data_format": st.sampled_from([None, "channels_last", "channels_first"]),
    "keepdims": st.booleans(),
    "mask": st.sampled_from([None, *(kind for kind in MASKS if kind != "empty row")]),
}


@given(**options)
def test_average(data_format, keepdims, mask):
    first = data_format == "channels_first"
    compare(
        lambda library: library.GlobalAveragePooling1D(data_format, keepdims),
        draw(4, 5, 3) if first else draw(4, 3, 5),
        make_mask(mask, 4, 3),
    )


@given(**options)
def test_maximum(data_format, keepdims, mask):
    first = data_format == "channels_first"
    compare(
        lambda library: library.GlobalMaxPooling1D(data_format, keepdims),
        draw(4, 5, 3) if first else draw(4, 3, 5),
        make_mask(mask, 4, 3),
    )


def test_equal_maxima_share_the_gradient():
    x = np.round(draw(4, 3, 5))
    x[:, 1] = x[:, 0]
    compare(lambda library: library.GlobalMaxPooling1D(), x)


def test_average_of_nothing_is_zero():
    """Keras returns NaN, which then is everywhere."""
    x = Tensor(draw(4, 3, 5), requires_grad=True, dtype="float32")
    x.mask = make_mask("empty row", 4, 3)
    y = layers.GlobalAveragePooling1D()(x)
    np.testing.assert_array_equal(y.data[1], 0)
    np.testing.assert_allclose(y.data[0], x.data[0, 0], rtol=1e-6)
    y.sum().backward()
    np.testing.assert_array_equal(x.grad[1], 0)
    assert np.isfinite(x.grad).all()


def test_what_is_masked_may_be_anything():
    x = draw(4, 3, 5)
    mask = make_mask("right", 4, 3)
    clean = layers.GlobalAveragePooling1D()(x, mask=mask).data
    x[~mask] = np.nan
    np.testing.assert_array_equal(layers.GlobalAveragePooling1D()(x, mask=mask).data, clean)


@pytest.mark.parametrize("kind", [layers.GlobalAveragePooling1D, layers.GlobalMaxPooling1D])
def test_errors_and_it_still_works(kind):
    layer = kind(name="pool")
    with pytest.raises(
        ValueError, match=r"pool: expected 3 axes \(batch, time, features\), found shape \(4, 5\)"
    ):
        layer(draw(4, 5))
    assert layer(draw(4, 3, 5)).shape == (4, 5)
    with pytest.raises(
        ValueError, match=r"data_format: expected 'channels_last' or 'channels_first', found 'x'"
    ):
        kind("x")
