"""Embedding beside Keras, and what it does with ids that Keras has no answer for."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras_oracle import compare, draw

from tinyrnn import layers


def ids(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 7, shape)


@given(
    shape=st.sampled_from([(4,), (4, 3)]),
    kind=st.sampled_from(["int32", "int64", "uint8"]),
    mask_zero=st.booleans(),
    regularizer=st.sampled_from([None, "l2"]),
    seed=st.integers(0, 1000),
)
def test_embedding(shape, kind, mask_zero, regularizer, seed):
    compare(
        lambda library: library.Embedding(7, 5, embeddings_regularizer=regularizer, mask_zero=mask_zero),
        ids(*shape, seed=seed).astype(kind),
        seed=seed,
    )


def test_gradient_of_a_row_is_the_sum_over_its_uses():
    layer = layers.Embedding(4, 2)
    y = layer(np.array([[1, 1, 3], [1, 0, 3]]))
    u = np.arange(12, dtype="float32").reshape(2, 3, 2)
    y.backward(u)
    expected = np.zeros((4, 2))
    for word, g in zip([1, 1, 3, 1, 0, 3], u.reshape(6, 2), strict=True):
        expected[word] += g
    np.testing.assert_array_equal(layer.embeddings.grad, expected)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_float_ids_are_truncated(dtype):
    layer = layers.Embedding(7, 5, mask_zero=True)
    x = ids(4, 3)
    y = layer((x + 0.75 * (x > 0)).astype(dtype))
    np.testing.assert_array_equal(y.data, layer(x).data)
    np.testing.assert_array_equal(y.mask, x != 0)


def test_row_0_is_a_row_like_the_others():
    layer = layers.Embedding(3, 2, mask_zero=True)
    y = layer(np.array([[0, 2]]))
    np.testing.assert_array_equal(y.data[0], layer.embeddings.data[[0, 2]])
    assert (layer.embeddings.data[0] != 0).all()
    y.sum().backward()
    np.testing.assert_array_equal(layer.embeddings.grad, [[1, 1], [0, 0], [1, 1]])


def test_initial_values_are_small_and_uniform():
    table = layers.Embedding(500, 40)
    table.build(None)
    values = table.embeddings.data
    assert values.dtype == np.float32
    assert -0.05 <= values.min() < -0.0499 < 0.0499 < values.max() <= 0.05
    assert [w.path for w in table.weights] == [f"{table.name}/embeddings"]


@pytest.mark.parametrize("as_list", [False, True])
def test_weights_to_start_with(as_list):
    w = draw(7, 5)
    layer = layers.Embedding(7, 5, weights=[w] if as_list else w)
    np.testing.assert_array_equal(layer(ids(4, 3)).data, np.float32(w)[ids(4, 3)])
    assert "weights" not in layer.get_config()
    with pytest.raises(ValueError, match=r"expected 1 arrays: .*embeddings \(7, 5\); found 1: \(5, 7\)"):
        layers.Embedding(7, 5, weights=w.T)


def test_input_length_is_taken_with_a_warning():
    with pytest.warns(FutureWarning, match="input_length= is an old spelling") as caught:
        layer = layers.Embedding(7, 5, input_length=10)
    assert len(caught) == 1
    assert layer(ids(4, 3)).shape == (4, 3, 5)  # any length
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        layers.Embedding(7, 5)


@pytest.mark.parametrize(
    ("bad", "position"), [(-1, (2, 1)), (7, (2, 1)), (10**12, (0, 0)), (-(2**31), (3, 2))]
)
def test_ids_out_of_range_are_named(bad, position):
    layer = layers.Embedding(7, 5, name="words")
    x = ids(4, 3)
    good = layer(x).data
    wrong = x.copy()
    wrong[position] = bad
    wrong[3, 2] = bad  # the first is reported
    with pytest.raises(IndexError) as error:
        layer(wrong)
    assert str(error.value) == (
        f"words: expected ids 0 ... 6 (input_dim=7), found {bad} at position {position}"
    )
    np.testing.assert_array_equal(layer(x).data, good)


def test_the_last_id_and_no_id_at_all():
    layer = layers.Embedding(7, 5)
    np.testing.assert_array_equal(layer(np.array([6])).data, layer.embeddings.data[6:])
    assert layer(np.zeros((0, 3), int)).shape == (0, 3, 5)


@pytest.mark.parametrize("size", [0, -3, 2.0, None, True])
def test_sizes_must_be_positive(size):
    with pytest.raises(ValueError, match="Embedding: input_dim: expected an integer from 1 on, found"):
        layers.Embedding(size, 5)
    with pytest.raises(ValueError, match="Embedding: output_dim: expected an integer from 1 on, found"):
        layers.Embedding(7, size)
