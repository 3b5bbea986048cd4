"""TimeDistributed beside Keras, and beside its definition, step by step."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras_oracle import MASKS, compare, draw, make_mask

from tinyrnn import layers, ops
from tinyrnn.autograd import Tensor
from tinyrnn.backend import set_floatx

masks = st.sampled_from([None, *MASKS])


@given(
    mask=masks,
    activation=st.sampled_from([None, "tanh", "softmax"]),
)
def test_dense(mask, activation):
    compare(
        lambda library: library.TimeDistributed(library.Dense(2, activation)),
        draw(4, 3, 5),
        make_mask(mask, 4, 3),
    )


@pytest.mark.parametrize(
    "make",
    [
        lambda library: library.TimeDistributed(library.Dense(2)),
        lambda library: library.TimeDistributed(library.LayerNormalization()),
        lambda library: library.TimeDistributed(library.GlobalAveragePooling1D()),
        lambda library: library.TimeDistributed(library.Flatten()),
        lambda library: library.TimeDistributed(library.TimeDistributed(library.Dense(2))),
        lambda library: library.TimeDistributed(library.LSTM(2, return_sequences=True)),
        lambda library: library.TimeDistributed(library.Bidirectional(library.SimpleRNN(2))),
    ],
)
def test_inner_layers_of_sequences(make):
    compare(make, draw(4, 3, 2, 5))


def test_inner_embedding():
    ids = np.random.default_rng(0).integers(0, 7, (4, 3, 2))
    compare(lambda library: library.TimeDistributed(library.Embedding(7, 5)), ids)


def words(seed=0):
    """A mask (documents, sentences, words) with an empty sentence and an empty document."""
    mask = np.stack([make_mask(kind, 3, 2) for kind in ("right", "left", "holes", "all")])
    mask[1, 2] = False
    mask[2] = False
    return mask


@pytest.mark.parametrize(
    "make",
    [
        lambda library: library.TimeDistributed(library.LSTM(2, return_sequences=True)),
        lambda library: library.TimeDistributed(library.Dense(2)),
    ],
)
def test_masks_of_words_are_handed_on(make):
    compare(make, draw(4, 3, 2, 5), words())


def test_elements_to_leave_out_of_a_softmax():
    x = draw(4, 3, 5)
    compare(lambda library: library.TimeDistributed(library.Softmax()), x, mask=x > -0.5)


class Marked(layers.Layer):
    """Takes a mask ``(B,)``: which samples count."""

    supports_masking = True

    def build(self, input_shape):
        self.scale = self.add_weight((input_shape[-1],), "ones", "scale")

    def compute_output_shape(self, input_shape):
        return input_shape

    def call(self, inputs, mask=None):
        return inputs * self.scale if mask is None else ops.where(mask[:, None], inputs * self.scale, -1.0)


INNER = {
    "dense": (lambda: layers.Dense(2, "tanh"), (4, 3, 5), (4, 3)),
    "marked": (Marked, (4, 3, 5), (4, 3)),
    "last state": (lambda: layers.LSTM(2), (4, 3, 2, 5), (4, 3, 2)),
    "all states": (lambda: layers.GRU(2, return_sequences=True), (4, 3, 2, 5), (4, 3, 2)),
    "average": (layers.GlobalAveragePooling1D, (4, 3, 2, 5), (4, 3, 2)),
}


@pytest.mark.parametrize("kind", INNER)
def test_equals_its_definition(kind):
    make, shape, mask_shape = INNER[kind]
    mask = words() if len(mask_shape) == 3 else words()[..., 0]
    x = Tensor(draw(*shape), requires_grad=True, dtype="float64")
    set_floatx("float64")
    inner = make()
    layer = layers.TimeDistributed(inner)
    together = layer(x, mask=mask)
    takes_mask = kind != "dense"
    steps = [inner(x[:, t], **({"mask": mask[:, t]} if takes_mask else {})) for t in range(3)]
    apart = ops.stack(steps, axis=1)
    np.testing.assert_allclose(together.data, apart.data, rtol=1e-12, atol=1e-12)
    u = draw(*together.shape, seed=9)
    gradients = []
    for y in (together, apart):
        for leaf in [x, *layer.weights]:
            leaf.grad = None
        y.backward(u)
        gradients.append([leaf.grad for leaf in [x, *layer.weights]])
    for a, b in zip(*gradients, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)
        assert np.abs(a).max() > 0


@pytest.mark.parametrize(
    "inner", [lambda: layers.LSTM(2), layers.GlobalAveragePooling1D, lambda: layers.Flatten()]
)
def test_sentences_without_words_are_masked(inner):
    """Documents (B, T, S) of sentences: what is left is a mask of sentences."""
    layer = layers.TimeDistributed(inner())
    y = layer(draw(4, 3, 2, 5), mask=words())
    np.testing.assert_array_equal(y.mask, words().any(axis=2))
    assert layers.LSTM(2)(y).shape == (4, 2)


def test_a_mask_of_steps_is_not_for_an_inner_sequence():
    layer = layers.TimeDistributed(layers.LSTM(2))
    x, mask = draw(4, 3, 2, 5), make_mask("right", 4, 3)
    y = layer(x, mask=mask)
    np.testing.assert_array_equal(y.data, layer(x).data)
    np.testing.assert_array_equal(y.mask, mask)


def test_states_of_an_inner_layer_get_the_time_axis():
    layer = layers.TimeDistributed(layers.LSTM(2, return_state=True))
    y, h, c = layer(draw(4, 3, 2, 5))
    assert y.shape == h.shape == c.shape == (4, 3, 2)
    np.testing.assert_array_equal(y.data, h.data)
    assert list(layer.compute_output_shape((None, 3, 2, 5))) == [(None, 3, 2)] * 3


def test_training_reaches_the_inner_layer():
    layer = layers.TimeDistributed(layers.Dropout(0.5, seed=1))
    x = np.ones((4, 3, 5))
    assert (layer(x).data == 1).all()
    y = layer(x, training=True).data
    assert set(np.unique(y)) == {0, 2}
    assert (y[:, 0] != y[:, 1]).any()  # each step has decisions of its own


def test_inner_activity_regularizer_counts():
    layer = layers.TimeDistributed(layers.Dense(2, activity_regularizer="l2"))
    y = layer(draw(4, 3, 5)).data
    np.testing.assert_allclose([loss.item() for loss in layer.losses], [0.01 * (y**2).sum() / 12], rtol=1e-5)


def test_weights_are_the_inner_layers():
    inner = layers.Dense(2, name="inner")
    layer = layers.TimeDistributed(inner, name="outer")
    layer(draw(4, 3, 5))
    assert layer.weights == inner.weights
    assert [w.path for w in layer.weights] == ["outer/inner/kernel", "outer/inner/bias"]
    layer.trainable = False
    assert layer.trainable_weights == []
    theirs = keras.layers.TimeDistributed(keras.layers.Dense(2, name="inner"), name="outer")
    theirs(draw(4, 3, 5))
    assert [w.path for w in theirs.weights] == [w.path for w in layer.weights]


def test_errors_and_it_still_works():
    layer = layers.TimeDistributed(layers.Dense(2, name="inner"), name="td")
    x = draw(4, 3, 5)
    y = layer(x).data
    with pytest.raises(
        ValueError, match=r"td: expected at least 3 axes \(batch, time, ...\), found shape \(4, 5\)"
    ):
        layer(draw(4, 5))
    with pytest.raises(ValueError, match=r"inner: was built for inputs with 5 features, found 6"):
        layer(draw(4, 3, 6))
    with pytest.raises(ValueError, match=r"td: expected a mask \(4, 3, ...\), found shape \(4, 2\)"):
        layer(x, mask=np.ones((4, 2)))
    np.testing.assert_array_equal(layer(x).data, y)
    with pytest.raises(TypeError, match="expected a layer, found 3"):
        layers.TimeDistributed(3)
    with pytest.raises(ValueError, match=r"layer 'l' is stateful; its states cannot pass between steps"):
        layers.TimeDistributed(layers.LSTM(2, stateful=True, name="l"))
