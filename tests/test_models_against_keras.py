"""Whole models, drawn at random, trained in both libraries: predictions, losses and every weight agree."""

import jax
import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras_oracle import float_type

import tinyrnn

B, T, V = 4, 5, 7  # batch, time, vocabulary: fixed, since JAX compiles for every shape


@st.composite
def recurrent(draw, sequences):
    """Return the function that makes a recurrent layer from a `layers` module."""
    kind = draw(st.sampled_from(["SimpleRNN", "LSTM", "GRU"]))
    options = {"return_sequences": sequences}
    if draw(st.booleans()):
        options["use_bias"] = False
    if kind == "GRU" and draw(st.booleans()):
        options["reset_after"] = False
    if draw(st.booleans()):
        options["kernel_regularizer"] = "l2"
    merge_mode = draw(st.sampled_from([None, "concat", "sum"]))

    def make(layers):
        layer = getattr(layers, kind)(3, **options)
        return layer if merge_mode is None else layers.Bidirectional(layer, merge_mode=merge_mode)

    return make


@st.composite
def stacks(draw):
    """Return a list of functions from a `layers` module to a layer, and whether the output has time steps."""
    masked, sequences = draw(st.booleans()), draw(st.booleans())
    makers = [lambda layers: layers.Embedding(V, 3, mask_zero=masked)]
    for _ in range(draw(st.integers(0, 1))):
        makers.append(draw(recurrent(sequences=True)))
    if draw(st.booleans()):
        makers.append(lambda layers: layers.TimeDistributed(layers.Dense(3, activation="tanh")))
    if draw(st.booleans()):
        makers.append(lambda layers: layers.LayerNormalization())
    if sequences:
        makers.append(draw(recurrent(sequences=True)))
    else:
        makers.append(
            draw(st.sampled_from([None, lambda layers: layers.GlobalAveragePooling1D()]))
            or draw(recurrent(sequences=False))
        )
    makers.append(lambda layers: layers.Dense(2, activation="softmax"))
    return makers, sequences


def build(library, makers):
    inputs = library.layers.Input((T,), dtype="int32")
    x = inputs
    for make in makers:
        x = make(library.layers)(x)
    return library.Model(inputs, x)


@given(
    stack=stacks(),
    optimizer=st.sampled_from(["sgd", "adam", "rmsprop"]),
    weighted=st.booleans(),
    seed=st.integers(0, 99),
)
@settings(max_examples=15)
def test_one_step_of_training(stack, optimizer, weighted, seed):
    makers, sequences = stack
    rng = np.random.default_rng(seed)
    x = rng.integers(0, V, (B, T))
    x[:, 0] = rng.integers(1, V, B)  # a row that is all padding: Keras's average of it is NaN
    y = rng.integers(0, 2, (B, T) if sequences else B)
    weight = rng.random(y.shape) + 0.5 if weighted else None
    with float_type("float64"), jax.disable_jit():
        ours, theirs = build(tinyrnn, makers), build(keras, makers)
        weights = [0.5 * rng.standard_normal(w.shape) for w in ours.weights]
        ours.set_weights(weights)
        theirs.set_weights(weights)
        found, expected = ours.predict(x, verbose=0), theirs.predict_on_batch(x)
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
        options = {"loss": "sparse_categorical_crossentropy"}
        ours.compile(optimizer, **options)
        theirs.compile(optimizer, **options, run_eagerly=True)
        for _ in range(2):
            loss = ours.train_on_batch(x, y, sample_weight=weight)
            np.testing.assert_allclose(loss, theirs.train_on_batch(x, y, sample_weight=weight), rtol=1e-9)
        for a, b in zip(ours.weights, theirs.weights, strict=True):
            # The optimizers divide by gradients that may be rounding errors: compare on the scale of a step.
            np.testing.assert_allclose(a.data, np.asarray(b), rtol=1e-6, atol=1e-6, err_msg=a.path)


@pytest.mark.parametrize("kind", ["SimpleRNN", "LSTM", "GRU"])
def test_encoder_decoder(kind):
    """States of one layer start another; of two inputs, the mask of one is not the other's."""

    def make(library):
        layers = library.layers
        source, target = layers.Input((T,), dtype="int32"), layers.Input((3,), dtype="int32")
        _, *states = getattr(layers, kind)(3, return_state=True)(
            layers.Embedding(V, 2, mask_zero=True)(source)
        )
        decoder = getattr(layers, kind)(3, return_sequences=True)
        y = decoder(layers.Embedding(V, 2)(target), initial_state=states)
        return library.Model([source, target], layers.Dense(V)(y))

    rng = np.random.default_rng(0)
    x = [rng.integers(0, V, (B, T)), rng.integers(0, V, (B, 3))]
    x[0][:, 0] = 1
    y = rng.standard_normal((B, 3, V))
    with float_type("float64"), jax.disable_jit():
        ours, theirs = make(tinyrnn), make(keras)
        weights = [0.5 * rng.standard_normal(w.shape) for w in ours.weights]
        ours.set_weights(weights)
        theirs.set_weights(weights)
        np.testing.assert_allclose(
            ours.predict(x, verbose=0), theirs.predict_on_batch(x), rtol=1e-9, atol=1e-12
        )
        ours.compile("sgd", "mse")
        theirs.compile("sgd", "mse", run_eagerly=True)
        np.testing.assert_allclose(ours.train_on_batch(x, y), theirs.train_on_batch(x, y), rtol=1e-9)
        for a, b in zip(ours.weights, theirs.weights, strict=True):
            np.testing.assert_allclose(a.data, np.asarray(b), rtol=1e-9, atol=1e-12, err_msg=a.path)
