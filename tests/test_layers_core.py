"""Dense, activations, Masking, Lambda and the reshaping layers, beside Keras; what every layer shares."""

import json
import warnings

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras_oracle import MASKS, TOLERANCE, compare, compare_layer, draw, float_type, make_mask

from tinyrnn import layers, ops
from tinyrnn.autograd import Tensor
from tinyrnn.layers.base import get_layer
from tinyrnn.naming import custom_object_scope

masks = st.sampled_from([None, *MASKS])


def sequence(seed=0):
    return draw(4, 3, 5, seed=seed)


# --- Dense ------------------------------------------------------------------------------------------------


@given(
    shape=st.sampled_from([(4, 5), (4, 3, 5)]),
    activation=st.sampled_from([None, "tanh", "softmax"]),
    use_bias=st.booleans(),
    regularizer=st.sampled_from([None, "l1", "l2"]),
    activity=st.sampled_from([None, "l2"]),
    seed=st.integers(0, 1000),
)
def test_dense(shape, activation, use_bias, regularizer, activity, seed):
    compare(
        lambda library: library.Dense(
            3,
            activation,
            use_bias=use_bias,
            kernel_regularizer=regularizer,
            bias_regularizer=regularizer,
            activity_regularizer=activity,
        ),
        draw(*shape, seed=seed),
        seed=seed,
    )


@given(mask=masks)
def test_dense_passes_its_mask_on(mask):
    compare(lambda library: library.Dense(3), sequence(), make_mask(mask, 4, 3))


def test_dense_starts_with_zero_bias_and_the_asked_kernel():
    layer = layers.Dense(2, kernel_initializer="ones", name="dense")
    y = layer(np.float32([[1, 2, 3]]))
    np.testing.assert_array_equal(y.data, [[6, 6]])
    np.testing.assert_array_equal(layer.bias.data, [0, 0])
    assert [w.path for w in layer.weights] == ["dense/kernel", "dense/bias"]


def test_frozen_dense_has_no_gradient_and_no_penalty():
    def make(library):
        layer = library.Dense(3, kernel_regularizer="l2")
        layer.trainable = False
        return layer

    ours, theirs = compare(make, draw(4, 5))
    assert ours.trainable_weights == theirs.trainable_weights == ours.losses == []


def test_constraints_reach_the_weights():
    layer = layers.Dense(3, kernel_constraint="non_neg", bias_constraint="max_norm")
    layer.build((None, 4))
    assert [type(w.constraint).__name__ for w in layer.weights] == ["NonNeg", "MaxNorm"]


def test_integers_become_floats():
    ids = np.arange(12).reshape(3, 4)
    layer = layers.Dense(2)
    y = layer(ids)
    assert y.dtype == np.float32
    np.testing.assert_array_equal(y.data, layer(ids.astype("float32")).data)


@pytest.mark.parametrize("units", [0, -1, 2.5, True, "3"])
def test_dense_units_must_be_positive(units):
    with pytest.raises(ValueError, match=r"Dense: units: expected an integer from 1 on, found"):
        layers.Dense(units)


def test_dense_errors_and_it_still_works():
    layer = layers.Dense(3, name="out")
    x = draw(4, 5)
    y = layer(x).data
    with pytest.raises(ValueError, match=r"out: was built for inputs with 5 features, found 6"):
        layer(draw(4, 6))
    with pytest.raises(ValueError, match=r"out: expected at least 2 axes \(batch, ..., features\)"):
        layer(draw(5))
    np.testing.assert_array_equal(layer(x).data, y)
    with pytest.raises(ValueError, match=r"dense: the length of the last axis must be known"):
        layers.Dense(3, name="dense")(layers.Input((4, None)))
    with pytest.raises(ValueError, match=r"unknown activation 'tahn'; did you mean 'tanh'"):
        layers.Dense(3, "tahn")


# --- activations ------------------------------------------------------------------------------------------


@given(
    name=st.sampled_from(["tanh", "sigmoid", "relu", "softplus", "softmax", "linear"]),
    mask=masks,
)
def test_activation(name, mask):
    compare(lambda library: library.Activation(name), sequence(), make_mask(mask, 4, 3))


@given(
    max_value=st.sampled_from([None, 0.0, 0.8]),
    slope=st.sampled_from([0.0, 0.2]),
    threshold=st.sampled_from([0.0, 0.3]),
    mask=masks,
)
def test_relu(max_value, slope, threshold, mask):
    compare(lambda library: library.ReLU(max_value, slope, threshold), sequence(), make_mask(mask, 4, 3))


@pytest.mark.parametrize("options", [{}, {"negative_slope": 0.0}, {"negative_slope": 0.7}])
def test_leaky_relu(options):
    compare(lambda library: library.LeakyReLU(**options), sequence())


def test_leaky_relu_knows_the_old_spelling():
    with pytest.warns(FutureWarning, match="alpha= is an old spelling, accepted here; write negative_slope="):
        layer = layers.LeakyReLU(alpha=0.1)
    np.testing.assert_allclose(layer(np.float32([-1, 1])).data, [-0.1, 1])


@pytest.mark.parametrize(
    "make",
    [
        lambda v: layers.ReLU(max_value=v),
        lambda v: layers.ReLU(negative_slope=v),
        lambda v: layers.ReLU(threshold=v),
        lambda v: layers.LeakyReLU(v),
    ],
)
def test_slopes_and_limits_must_not_be_negative(make):
    for value in (-0.1, "a"):
        with pytest.raises(ValueError, match=r"ReLU: \w+: expected a number from 0 on, found"):
            make(value)


@given(axis=st.sampled_from([-1, 1, (1, 2)]), elements=st.sampled_from(["none", "some", "broadcast"]))
def test_softmax(axis, elements):
    x = sequence()
    mask = {"none": None, "some": x > -0.5, "broadcast": np.ones((1, 3, 5)) * (np.arange(5) != 2)}[elements]
    given = {} if mask is None else {"mask": mask.astype(bool)}
    compare(lambda library: library.Softmax(axis), x, **given)


def test_softmax_only_passes_a_mask_of_steps_on():
    x, mask = Tensor(np.float32(sequence())), make_mask("right", 4, 3)
    x.mask = mask
    y = layers.Softmax()(x)
    np.testing.assert_array_equal(y.data, ops.softmax(x.data))
    np.testing.assert_array_equal(y.mask, mask)
    with pytest.raises(ValueError, match=r"soft: expected a mask for inputs of shape \(4, 3, 5\)"):
        layers.Softmax(name="soft")(x, mask=np.ones((4, 2, 5), bool))


# --- Masking, Lambda --------------------------------------------------------------------------------------


@given(mask=masks, value=st.sampled_from([0.0, -1.0]))
def test_masking(mask, value):
    x = sequence()
    x[..., 0] = value  # one feature of that value does not mask a step
    if mask is not None:
        x[~make_mask(mask, 4, 3)] = value
    compare(lambda library: library.Masking(value), x)


def test_masking_replaces_a_mask():
    x = sequence()
    x[:, 1] = 0
    compare(lambda library: library.Masking(), x, make_mask("right", 4, 3))


def test_lambda():
    compare(lambda library: library.Lambda(lambda x: x[:, -1] * 2.0), sequence())
    compare(lambda library: library.Lambda(lambda x, a: x * a, arguments={"a": 3.0}), sequence())
    compare(lambda library: library.Lambda(lambda x: x[:, 0], output_shape=(5,)), sequence())
    compare(
        lambda library: library.Lambda(lambda xs: xs[0] + xs[1], output_shape=lambda shapes: shapes[0]),
        [sequence(), sequence(1)],
    )


def test_lambda_and_masks():
    x, mask = sequence(), make_mask("holes", 4, 3)
    compare(lambda library: library.Lambda(lambda x: x * 2.0), x, mask)  # dropped
    compare(lambda library: library.Lambda(lambda x: x * 2.0, mask=lambda x, mask: mask), x, mask)
    compare(lambda library: library.Lambda(lambda x: x * 2.0, mask=mask), x)


def test_lambda_hands_mask_and_training_to_functions_that_take_them():
    x = Tensor(np.float32(sequence()))
    x.mask = make_mask("left", 4, 3)
    seen = []

    def look(x, mask, training):
        seen.append((mask, training))
        return x * 1.0

    layers.Lambda(look, mask=lambda x, mask: mask)(x, training=True)
    np.testing.assert_array_equal(seen[0][0], x.mask)
    assert seen[0][1] is True


def test_lambda_that_returns_its_input_leaves_the_inputs_mask_alone():
    x = Tensor(np.float32(sequence()), requires_grad=True)
    x.mask = mask = make_mask("left", 4, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        y = layers.Lambda(lambda x: x)(x)
    assert x.mask is mask
    assert y.mask is None
    y.sum().backward()
    np.testing.assert_array_equal(x.grad, np.ones(x.shape))


def test_lambda_finds_out_its_shape():
    layer = layers.Lambda(lambda x: ops.concatenate([x, x], axis=1)[..., :2])
    assert layer.compute_output_shape((None, 3, 5)) == (None, 6, 2)
    assert layer.compute_output_shape((None, None, 5)) == (None, None, 2)


def test_lambda_needs_a_function():
    with pytest.raises(TypeError, match="lambda: function: expected something to call, found 3"):
        layers.Lambda(3, name="lambda")


def test_a_layer_that_drops_a_mask_says_so_once():
    x = Tensor(np.float32(sequence()))
    x.mask = make_mask("left", 4, 3)
    layer = layers.Flatten(name="flat")
    with pytest.warns(UserWarning, match="flat: a Flatten does not pass a mask on"):
        layer(x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        layer(x)


# --- reshaping --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 3])
def test_repeat_vector(n):
    compare(lambda library: library.RepeatVector(n), draw(4, 5))


@given(target=st.sampled_from([(15,), (5, 3), (-1,), (5, -1), (-1, 1, 3), (3, 5, 1)]), mask=masks)
def test_reshape(target, mask):
    compare(lambda library: library.Reshape(target), sequence(), make_mask(mask, 4, 3))


@given(shape=st.sampled_from([(4,), (4, 5), (4, 3, 5)]), first=st.booleans())
def test_flatten(shape, first):
    data_format = "channels_first" if first else None
    compare(lambda library: library.Flatten(data_format), draw(*shape))


@given(mask=masks)
def test_permute(mask):
    compare(lambda library: library.Permute((2, 1)), sequence(), make_mask(mask, 4, 3))


@pytest.mark.parametrize("dims", [(1, 2, 3), (3, 1, 2)])
def test_permute_more_axes(dims):
    compare(lambda library: library.Permute(dims), draw(4, 3, 2, 5))


@pytest.mark.parametrize(
    "make",
    [
        lambda library: library.Reshape((-1, 5)),
        lambda library: library.Reshape((6, 5)),
        lambda library: library.Flatten(),
        lambda library: library.Permute((2, 1)),
        lambda library: library.Masking(),
        lambda library: library.Dense(2),
        lambda library: library.GlobalAveragePooling1D(),
        lambda library: library.TimeDistributed(library.Dense(2)),
    ],
)
def test_shapes_of_sequences_of_any_length(make):
    shape = (None, None, 5)
    assert make(layers).compute_output_shape(shape) == tuple(make(keras.layers).compute_output_shape(shape))


def test_reshaping_errors_and_they_still_work():
    reshape = layers.Reshape((2, -1), name="r")
    with pytest.raises(
        ValueError, match=r"r: 15 values per sample, found in an input of shape \(4, 3, 5\), cannot"
    ):
        reshape(sequence())
    assert reshape(draw(4, 6)).shape == (4, 2, 3)
    repeat = layers.RepeatVector(2, name="rep")
    with pytest.raises(
        ValueError, match=r"rep: expected 2 axes \(batch, features\), found shape \(4, 3, 5\)"
    ):
        repeat(sequence())
    assert repeat(draw(4, 5)).shape == (4, 2, 5)
    with pytest.raises(ValueError, match="permute: expected 4 axes, found shape"):
        layers.Permute((1, 3, 2), name="permute")(sequence())


def test_reshaping_refuses_bad_arguments():
    with pytest.raises(
        ValueError, match="Reshape: target_shape: expected lengths from 0 on and at most one -1"
    ):
        layers.Reshape((-1, -1))
    with pytest.raises(ValueError, match="Reshape: target_shape"):
        layers.Reshape((-2, 3))
    with pytest.raises(ValueError, match="RepeatVector: n: expected an integer from 1 on, found 0"):
        layers.RepeatVector(0)
    with pytest.raises(ValueError, match=r"Permute: dims: expected 1 ... n in some order, found \(0, 1\)"):
        layers.Permute((0, 1))
    with pytest.raises(ValueError, match="Flatten: data_format: expected 'channels_last' or"):
        layers.Flatten("last")


# --- every layer ------------------------------------------------------------------------------------------

EVERY = [
    (layers.Dense(3, "tanh", kernel_regularizer="l2", kernel_constraint="max_norm"), (4, 5)),
    (layers.Activation("relu"), (4, 5)),
    (layers.ReLU(1.0, 0.1, 0.2), (4, 5)),
    (layers.LeakyReLU(0.2), (4, 5)),
    (layers.Softmax([1, 2]), (4, 3, 5)),
    (layers.Masking(0.5), (4, 3, 5)),
    (layers.RepeatVector(3), (4, 5)),
    (layers.Reshape((5, -1)), (4, 3, 5)),
    (layers.Flatten("channels_first"), (4, 3, 5)),
    (layers.Permute((2, 1)), (4, 3, 5)),
    (layers.Dropout(0.5, noise_shape=(None, 1), seed=1), (4, 5)),
    (layers.SpatialDropout1D(0.5, seed=1), (4, 3, 5)),
    (layers.GaussianNoise(0.5, seed=1), (4, 5)),
    (layers.GaussianDropout(0.5, seed=1), (4, 5)),
    (layers.ActivityRegularization(0.1, 0.2), (4, 5)),
    (layers.Embedding(7, 2, mask_zero=True, weights=np.ones((7, 2))), (4, 3)),
    (layers.LayerNormalization(axis=[1, 2], epsilon=0.1, center=False), (4, 3, 5)),
    (layers.GlobalAveragePooling1D(keepdims=True), (4, 3, 5)),
    (layers.GlobalMaxPooling1D("channels_first"), (4, 3, 5)),
    (layers.Add(), [(4, 5), (4, 5)]),
    (layers.Subtract(), [(4, 5), (4, 5)]),
    (layers.Multiply(), [(4, 5), (4, 5)]),
    (layers.Average(), [(4, 5), (4, 5)]),
    (layers.Maximum(), [(4, 5), (4, 5)]),
    (layers.Minimum(), [(4, 5), (4, 5)]),
    (layers.Concatenate(axis=1), [(4, 5), (4, 2)]),
    (layers.Dot((1, 1), normalize=True), [(4, 5), (4, 5)]),
    (layers.Attention(use_scale=True, score_mode="concat", dropout=0.1, seed=2), [(4, 3, 5), (4, 2, 5)]),
    (layers.AdditiveAttention(use_scale=False, dropout=0.1, seed=2), [(4, 3, 5), (4, 2, 5)]),
    (layers.TimeDistributed(layers.Dense(3, "tanh")), (4, 3, 5)),
]

IN_FLOAT32 = (  # the other tests are in float64
    layers.Dense,
    layers.Embedding,
    layers.LayerNormalization,
    layers.GlobalAveragePooling1D,
    layers.Attention,
    layers.TimeDistributed,
)


def inputs_of(layer, shape):
    if isinstance(layer, layers.Embedding):
        return np.arange(12).reshape(shape) % 7
    return [draw(*s, seed=i) for i, s in enumerate(shape)] if isinstance(shape, list) else draw(*shape)


@pytest.mark.parametrize(("layer", "shape"), EVERY, ids=lambda x: getattr(x, "name", ""))
def test_config_makes_the_layer_again(layer, shape):
    config = layer.get_config()
    again = type(layer).from_config(json.loads(json.dumps(config)))  # plain values only
    assert json.dumps(again.get_config()) == json.dumps(config)
    x = inputs_of(layer, shape)
    y = layer(x)
    again(x)
    again.set_weights(layer.get_weights())
    np.testing.assert_array_equal(again(x).data, y.data)
    assert again.compute_output_shape(shape) == y.shape


@pytest.mark.parametrize(("layer", "shape"), EVERY, ids=lambda x: getattr(x, "name", ""))
def test_keras_makes_the_same_of_the_config(layer, shape):
    config = layer.get_config()
    if "layer" in config:
        config["layer"] |= {"module": "keras.layers"}
    theirs = getattr(keras.layers, type(layer).__name__).from_config(config)
    assert theirs.name == layer.name
    if isinstance(layer, IN_FLOAT32):
        compare_layer(layer, theirs, inputs_of(layer, shape))


@pytest.mark.parametrize(("layer", "shape"), EVERY, ids=lambda x: getattr(x, "name", ""))
def test_gradients_are_float32_and_reach_everything(layer, shape):
    x = inputs_of(layer, shape)
    arrays = x if isinstance(x, list) else [x]
    tensors = [Tensor(np.float32(a), requires_grad=True) if a.dtype.kind == "f" else a for a in arrays]
    y = layer(tensors if isinstance(x, list) else tensors[0], training=True)
    assert y.dtype == np.float32
    (y * np.float32(draw(*y.shape, seed=9))).sum().backward()
    leaves = [t for t in tensors if isinstance(t, Tensor)] + layer.trainable_weights
    assert leaves
    for leaf in leaves:
        assert leaf.grad.dtype == np.float32
        assert leaf.grad.shape == leaf.shape
        assert np.abs(leaf.grad).max() > 0


@pytest.mark.parametrize(
    "make",
    [
        lambda: layers.LSTM(2, trainable=False),
        lambda: layers.Bidirectional(layers.GRU(2), trainable=False),
        lambda: layers.TimeDistributed(layers.Dense(2), trainable=False),
        lambda: layers.RNN([layers.LSTMCell(2), layers.GRUCell(2)], trainable=False),
    ],
)
def test_a_layer_made_untrainable_has_untrainable_layers_inside(make):
    layer = make()
    layer(draw(2, 3, 4))
    assert layer.trainable_weights == []
    assert len(layer.non_trainable_weights) == len(layer.weights) > 0


def test_config_of_a_lambda_needs_its_function():
    def double(x):
        return x * 2.0

    layer = layers.Lambda(double, output_shape=(2,), name="twice")
    config = json.loads(json.dumps(layer.get_config()))
    assert config["function"] == "double"
    with pytest.raises(ValueError, match="twice: unknown function 'double'; give it in custom_objects"):
        layers.Lambda.from_config(config)
    with custom_object_scope({"double": double}):
        again = layers.Lambda.from_config(config)
    np.testing.assert_array_equal(again(np.float32([[1, 2]])).data, [[2, 4]])
    assert again.compute_output_shape((None, 2)) == (None, 2)


def test_a_layer_is_made_of_its_class_name_and_config():
    class Halve(layers.Layer):
        def call(self, inputs):
            return inputs * 0.5

    again = get_layer({"class_name": "Halve", "config": {"name": "h"}})
    assert (type(again), again.name) == (Halve, "h")
    with pytest.raises(ValueError, match="unknown layer 'Dens'; did you mean 'Dense'"):
        get_layer({"class_name": "Dens", "config": {}})
    with pytest.raises(TypeError, match="expected a layer, found 'Dense'"):
        get_layer("Dense")


def test_a_users_class_does_not_take_the_name_of_ours():
    class Dense(layers.Layer):
        pass

    made = get_layer({"class_name": "Dense", "config": {"units": 2}})
    assert type(made) is layers.Dense


def test_the_oracle_sees_a_difference():
    """A wrong slope, a wrong mask and a wrong gradient must each be found, or all tests here are idle."""
    with pytest.raises(AssertionError, match="output 0"):
        compare(lambda library: library.LeakyReLU(0.3 if library is layers else 0.3001), sequence())
    with pytest.raises(AssertionError, match="mask 0"):
        compare(
            lambda library: library.Lambda(
                lambda x: x * 1.0, mask=(lambda x, m: m if library is layers else ~m)
            ),
            sequence(),
            make_mask("right", 4, 3),
        )
    with pytest.raises(AssertionError, match="gradient of input 0"):
        compare(
            lambda library: library.Lambda(
                lambda x: x * 1.0 if library is layers else keras.ops.stop_gradient(x), output_shape=(3, 5)
            ),
            sequence(),
        )
    assert TOLERANCE["float64"] == 1e-9
    with float_type("float64"):
        assert layers.Dense(2).dtype == keras.layers.Dense(2).dtype == "float64"
