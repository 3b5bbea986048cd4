"""Models against the same models in Keras; and what Keras has no equal of: states, copies, errors."""

import json
from types import SimpleNamespace

import jax
import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras.src.backend import get_keras_mask
from keras_oracle import compare_layer, draw, float_type

import tinyrnn.layers
from tinyrnn import layers as L  # noqa: N812
from tinyrnn import ops
from tinyrnn.layers import Dense, Embedding, Input
from tinyrnn.models import Functional, Model, Sequential, clone_model
from tinyrnn.naming import custom_object_scope
from tinyrnn.nest import leaves

OURS = SimpleNamespace(layers=tinyrnn.layers, Input=Input, Model=Model, Sequential=Sequential)
THEIRS = SimpleNamespace(
    layers=keras.layers, Input=keras.Input, Model=keras.Model, Sequential=keras.Sequential
)

pytestmark = pytest.mark.filterwarnings("ignore:.*mask:UserWarning")

IDS = np.array([[3, 1, 4, 0], [5, 2, 6, 5], [1, 0, 0, 0]])


def build_both(build):
    """Build a model in both libraries, in float64."""
    with float_type("float64"):
        return build(OURS), build(THEIRS)


def compare_models(build, inputs):
    """Compare what the models ``build(lib)`` say and compute with the same weights; return ours."""
    ours, theirs = build_both(build)
    with jax.disable_jit(), float_type("float64"):
        ours(inputs), theirs(inputs)  # builds where that is deferred
        assert [layer.name for layer in ours.layers] == [layer.name for layer in theirs.layers]
        assert [w.name for w in ours.weights] == [w.name for w in theirs.weights]
        weights = [draw(*w.shape, seed=k) for k, w in enumerate(theirs.weights)]
        ours.set_weights(weights)
        theirs.set_weights(weights)
        found, expected = ours(inputs), theirs(inputs)
    compare_outputs(found, expected)
    assert ours.input_shape == theirs.input_shape
    assert ours.output_shape == theirs.output_shape
    assert ours.count_params() == theirs.count_params()
    return ours


def compare_outputs(found, expected):
    found, expected = list(leaves(found)), list(leaves(expected))
    for y, z in zip(found, expected, strict=True):
        np.testing.assert_allclose(y.data, z, rtol=1e-9, atol=1e-9)
        assert (y.mask is None) == (get_keras_mask(z) is None)
        assert y.mask is None or (y.mask == get_keras_mask(z)).all()


# --- the same numbers as Keras ----------------------------------------------------------------------------


def test_sequential_carries_masks():
    def build(lib):
        layers = lib.layers
        return lib.Sequential(
            [
                lib.Input((None,), dtype="int32", name="ids"),
                layers.Embedding(7, 4, mask_zero=True, name="e"),
                layers.Bidirectional(layers.SimpleRNN(3, return_sequences=True), name="b"),
                layers.Dropout(0.5, name="drop"),
                layers.SimpleRNN(3, name="g"),
                layers.Dense(2, name="d"),
            ]
        )

    model = compare_models(build, IDS)
    assert model.get_layer("e")(IDS).mask.sum() == 8
    assert model.built
    assert not model.get_layer("drop").weights


def test_deferred_sequential():
    def build(lib):
        return lib.Sequential([lib.layers.Dense(3, name="a"), lib.layers.Dense(2, name="b")], name="s")

    ours, theirs = build_both(build)
    assert not ours.built
    assert ours.weights == theirs.weights == []
    assert not hasattr(ours, "input_shape")
    assert compare_models(build, draw(4, 5)).input_shape == (4, 5)


def test_deferred_sequential_takes_other_lengths_and_batches():
    model = Sequential([Embedding(9, 4), L.LSTM(3), Dense(1)])
    assert model(IDS).shape == (3, 1)
    assert model(IDS[:2, :3]).shape == (2, 1)
    assert model.inputs[0].dtype == "int32"


@pytest.mark.parametrize("how", ["array", "list", "dict", "functional"])
def test_one_input_however_given(how):
    model = Sequential([Input((5,), name="x"), Dense(2)])
    if how == "functional":
        model = Model(model.input, model.output)
    x = draw(3, 5).astype("float32")
    given = {"array": x, "list": [x], "dict": {"x": x, "unused": 0.0}, "functional": x}[how]
    np.testing.assert_allclose(model(given).data, ops.to_array(x @ model.layers[-1].kernel), rtol=1e-5)


def test_several_inputs_and_outputs():
    def build(lib):
        a, b = lib.Input((3,), name="a"), lib.Input((4,), name="b")
        both = lib.layers.Concatenate(name="both")([lib.layers.Dense(4, name="of_a")(a), b])
        return lib.Model([a, b], [lib.layers.Dense(1, name="y")(both), lib.layers.Dense(2, name="z")(both)])

    model = compare_models(build, [draw(5, 3), draw(5, 4)])
    assert isinstance(model, Functional)
    assert model.input_names == ["a", "b"]
    assert model.output_names == ["y", "z"]
    x = [draw(5, 3), draw(5, 4)]
    for y, z in zip(model(x), model({"b": x[1], "a": x[0]}), strict=True):
        assert (y.data == z.data).all()


def test_dictionaries_of_inputs_and_outputs():
    def build(lib):
        b, a = lib.Input((2,), name="b"), lib.Input((3,), name="a")
        p = lib.layers.Dense(1, name="x")(lib.layers.Dense(4, name="y")(a))
        return lib.Model({"b": b, "a": a}, {"q": lib.layers.Dense(4, name="z")(b), "p": p})

    model = compare_models(build, {"a": draw(5, 3), "b": draw(5, 2)})
    assert model.input_names == ["a", "b"]
    assert model.output_names == ["p", "q"]
    assert set(model({"a": draw(1, 3), "b": draw(1, 2)})) == {"p", "q"}


def test_shared_layers_at_different_depths():
    def build(lib):
        x = lib.Input((3,), name="x")
        a, b = lib.layers.Dense(3, name="a"), lib.layers.Dense(3, name="b")
        return lib.Model(x, lib.layers.Add(name="sum")([a(b(a(x))), b(x)]))

    model = compare_models(build, draw(2, 3))
    assert len(model.weights) == 4


def test_nested_models_share_their_weights():
    def build(lib):
        layers = lib.layers
        i = lib.Input((4,), name="i")
        inner = lib.Model(i, layers.Dense(3, name="k")(layers.Dense(4, name="h")(i)), name="inner")
        row = lib.Sequential([layers.Dense(4, name="r"), inner], name="row")  # built by its call
        x = lib.Input((4,), name="x")
        return lib.Model(
            x, layers.Concatenate(name="c")([inner(x), row(x), inner(layers.Dense(4, name="d")(x))])
        )

    model = compare_models(build, draw(2, 4))
    assert len(model.weights) == 8
    assert model.get_layer("row").get_layer("inner") is model.get_layer("inner")


def test_mask_passes_through_nested_models():
    def build(lib):
        layers = lib.layers
        ids = lib.Input((None,), dtype="int32", name="ids")
        h = lib.Input((None, 4), name="h")
        inner = lib.Model(h, layers.SimpleRNN(3, return_sequences=True, name="l")(h), name="inner")
        row = lib.Sequential([lib.Input((None, 3)), layers.Dense(3, name="d")], name="row")
        x = layers.Embedding(7, 4, mask_zero=True, name="e")(ids)
        return lib.Model(ids, layers.SimpleRNN(2, name="g")(row(inner(x))))

    compare_models(build, IDS)


def test_encoder_decoder():
    def build(lib):
        layers = lib.layers
        source, target = lib.Input((None, 3), name="source"), lib.Input((None, 2), name="target")
        _, h, c = layers.LSTM(4, return_state=True, name="encoder")(source)
        y = layers.LSTM(4, return_sequences=True, name="decoder")(target, initial_state=[h, c])
        return lib.Model([source, target], layers.Dense(5, name="out")(y))

    ours, theirs = build_both(build)
    with float_type("float64"):
        compare_layer(ours, theirs, [draw(2, 3, 3), draw(2, 2, 2)], shapes=False)  # and the gradients


def test_states_of_both_directions_and_an_explicit_mask():
    def build(lib):
        layers = lib.layers
        x, mask = lib.Input((4, 3), name="x"), lib.Input((4,), dtype="bool", name="mask")
        encoder = layers.Bidirectional(layers.SimpleRNN(2, return_state=True), name="encoder")
        _, forward, backward = encoder(x, mask=mask)
        state = layers.Concatenate(name="state")([forward, backward])
        return lib.Model([x, mask], layers.GRU(4, return_sequences=True, name="g")(x, initial_state=state))

    compare_models(build, [draw(3, 4, 3), IDS > 0])


def test_all_results_of_one_layer():
    def build(lib):
        x = lib.Input((4, 3), name="x")
        y, h, c = lib.layers.LSTM(2, return_sequences=True, return_state=True, name="l")(x)
        return lib.Model(x, [c, y, h])

    model = compare_models(build, draw(2, 4, 3))
    assert model.output_names == ["l", "l_1", "l_2"]


def test_model_cut_out_of_another():
    def build(lib):
        x = lib.Input((4,), name="x")
        a = lib.layers.Dense(3, name="a")(x)
        b = lib.layers.Dense(2, name="b")(a)
        lib.Model(x, b)
        return lib.Model(a, lib.layers.Concatenate(name="c")([a, b]))

    ours, theirs = build_both(build)
    with float_type("float64"):
        compare_layer(ours, theirs, draw(5, 3), shapes=False)
    assert [w.path for w in ours.weights] == ["b/kernel", "b/bias"]
    assert [type(layer).__name__ for layer in ours.layers] == ["InputLayer", "Dense", "Concatenate"]


def test_feature_extractor():
    model = Sequential([Input((4,)), Dense(3, name="a"), Dense(2)])
    inner = Model(model.inputs, model.get_layer("a").output)
    x = draw(2, 4).astype("float32")
    assert (inner(x).data == model.get_layer("a")(x).data).all()
    assert inner.weights == model.weights[:2]


def test_unused_input_and_input_as_output():
    def build(lib):
        a, b = lib.Input((2,), name="a"), lib.Input((2,), name="b")
        return lib.Model([a, b], [lib.layers.Dense(1, name="d")(b), b])

    compare_models(build, [draw(3, 2), draw(3, 2)])


class TwoHeads(Model):
    """A model of one's own, with layers in lists and dictionaries."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.body = [Dense(units), Dense(units)]
        self.heads = {"p": Dense(1), "q": Dense(2)}

    def call(self, inputs, training=False):
        for layer in self.body:
            inputs = ops.tanh(layer(inputs))
        return {name: head(inputs) + float(training) for name, head in self.heads.items()}


def test_subclass():
    model = TwoHeads(3)
    assert not isinstance(model, Functional)
    assert model.name == "two_heads"
    assert model.output_names is None
    x = draw(5, 4).astype("float32")
    y = model(x)
    assert [w.shape for w in model.weights] == [(4, 3), (3,), (3, 3), (3,), (3, 1), (1,), (3, 2), (2,)]
    W, b, V, c, P, d, _, _ = model.get_weights()
    np.testing.assert_allclose(y["p"].data, np.tanh(np.tanh(x @ W + b) @ V + c) @ P + d, atol=1e-5)
    assert model(x, training=True)["p"].data == pytest.approx(y["p"].data + 1)
    assert len(model.layers) == 4
    assert model.compute_output_shape((None, 4)) == {"p": (None, 1), "q": (None, 2)}


def test_subclass_in_a_graph():
    x = Input((4,))
    heads = TwoHeads(3)(x)
    model = Model(x, L.Concatenate()([heads["q"], heads["p"]]))
    assert model.output_shape == (None, 3)
    x = draw(2, 4).astype("float32")
    inner = model.layers[1](x)
    assert (model(x).data == np.concatenate([inner["q"].data, inner["p"].data], -1)).all()


def test_subclass_with_a_graph():
    class Doubling(Model):
        def train_step(self, data):
            return super().train_step(data)

    x = Input((3,))
    model = Doubling(x, Dense(2)(x), name="doubling")
    assert type(model) is Doubling
    assert model(draw(2, 3)).shape == (2, 2)
    assert model.clone().output_shape == (None, 2)


def test_build_of_a_subclass():
    model = TwoHeads(3)
    with pytest.raises(ValueError, match=r"two_heads.*not built"):
        model.count_params()
    model.build((None, 4))
    assert model.count_params() == 15 + 12 + 4 + 8
    assert model.body[1].build_shape == (None, 3)


class Affine(L.Layer):
    """A user's layer with two positional arguments; states no output shape."""

    def build(self, input_shape):
        self.w = self.add_weight((input_shape[-1],), "ones", "w")

    def call(self, inputs, shift):
        return inputs * self.w + shift, ops.argmax(inputs, axis=-1)


def test_users_layer_with_two_symbolic_arguments():
    a, b = Input((3,)), Input((3,))
    y, best = Affine()(a, b)
    assert (y.shape, y.dtype, best.shape, best.dtype) == ((None, 3), "float32", (None,), "int64")
    x = draw(2, 3).astype("float32")
    y, best = Model([a, b], [y, best])([x, 10 * x])
    np.testing.assert_allclose(y.data, 11 * x, rtol=1e-5)
    assert (best.data == x.argmax(-1)).all()


@given(st.data())
def test_any_graph_is_ordered_and_computed_as_in_keras(data):
    n_inputs = data.draw(st.integers(1, 3))
    steps = []
    for k in range(n_inputs, n_inputs + data.draw(st.integers(1, 7))):
        shared = st.integers(0, max(0, len(steps) - 1))
        steps.append((data.draw(st.sampled_from(["new", "old", "sum"])), data.draw(shared),
                      data.draw(st.integers(0, k - 1)), data.draw(st.integers(0, k - 1))))  # fmt: skip
    last = n_inputs + len(steps) - 1
    ends = data.draw(st.lists(st.integers(n_inputs, last), min_size=1, max_size=3, unique=True))

    def build(lib):
        tensors = inputs = [lib.Input((2,), name=f"i{k}") for k in range(n_inputs)]
        denses = []
        for k, (kind, which, a, b) in enumerate(steps):
            if kind == "sum":
                y = lib.layers.Add(name=f"sum{k}")([tensors[a], tensors[b]])
            elif kind == "old" and denses:
                y = denses[which % len(denses)](tensors[a])
            else:
                denses.append(lib.layers.Dense(2, name=f"dense{k}"))
                y = denses[-1](tensors[a])
            tensors = [*tensors, y]
        return lib.Model(inputs, [tensors[k] for k in ends], name="model")

    ours, theirs = build_both(build)
    assert [layer.name for layer in ours.layers] == [layer.name for layer in theirs.layers]
    assert [w.path for w in ours.weights] == [w.path for w in theirs.weights]
    weights = [draw(*w.shape, seed=k) for k, w in enumerate(ours.weights)]
    ours.set_weights(weights)
    theirs.set_weights(weights)
    x = [draw(3, 2, seed=k) for k in range(n_inputs)]
    expected = theirs(x)
    found = ours(x)
    compare_outputs(found, expected)
    assert _texts(ours) == _texts(theirs)
    again = Model.from_config(json.loads(json.dumps(ours.get_config())))
    again.set_weights(weights)
    assert _same(again(x), found)


def _texts(model):
    texts = []
    model.summary(print_fn=texts.append, line_length=76)
    return texts


def _same(a, b):
    return all((x.data == y.data).all() for x, y in zip(leaves(a), leaves(b), strict=True))


# --- training and what is trained -------------------------------------------------------------------------


def test_model_that_is_not_trainable():
    for model in (
        Sequential([Dense(2), Dense(1)], trainable=False),
        Sequential([Input((3,)), Dense(2), Dense(1)], trainable=False),
    ):
        model(draw(2, 3))
        assert model.trainable_weights == []
        assert len(model.non_trainable_weights) == 4
    x = Input((3,))
    assert Model(x, Dense(1)(x), trainable=False).trainable_weights == []


def test_training_written_in_a_graph_holds():
    x = Input((200,))
    model = Model(x, L.Dropout(0.5)(x, training=True))
    assert set(np.unique(model(np.ones((1, 200)), training=False).data)) == {0.0, 2.0}
    assert set(np.unique(model(np.ones((1, 200))).data)) == {0.0, 2.0}


def test_training_reaches_nested_layers():
    inner = Sequential([L.Dropout(0.5)])
    x = Input((200,))
    model = Model(x, inner(x))
    assert (model(np.ones((1, 200))).data == 1).all()
    assert (model(np.ones((1, 200)), training=True).data != 1).all()


def test_losses_of_all_layers_inside():
    inner = Sequential([Dense(2, kernel_regularizer="l2")])
    model = Sequential([Input((3,)), Dense(3, activity_regularizer="l2"), inner])
    model(draw(2, 3))
    kernel = model.layers[1].weights[0].data
    hidden = model.layers[0](draw(2, 3)).data
    expected = [0.01 * (kernel**2).sum(), 0.01 * (hidden**2).sum() / 2]
    assert [loss.item() for loss in model.losses] == pytest.approx(expected)


def test_outputs_are_trained_by_name():
    a, b = Input((2,), name="a"), Input((3,), name="b")
    model = Model({"b": b, "a": a}, {"q": Dense(4)(a), "p": Dense(1)(b)})
    model.compile("adam", {"p": "mse", "q": "mae"}, metrics={"p": ["mae"], "q": ["mse"]})
    x, y = {"a": draw(8, 2), "b": draw(8, 3)}, {"q": draw(8, 4), "p": draw(8, 1)}
    history = model.fit(x, y, epochs=3, verbose=0).history
    assert set(history) == {"loss", "p_loss", "p_mae", "q_loss", "q_mse"}
    assert history["loss"][-1] < history["loss"][0]
    assert {key: v.shape for key, v in model.predict(x, verbose=0).items()} == {"p": (8, 1), "q": (8, 4)}


# --- making and changing a Sequential ---------------------------------------------------------------------


def test_add_and_pop():
    model = Sequential([Input((3,)), Dense(2)])
    model.add(Dense(4, name="four"))
    assert model.output_shape == (None, 4)
    assert [layer.built for layer in model.layers] == [True, True]
    assert model.pop().name == "four"
    assert model.output_shape == (None, 2)
    assert model(draw(1, 3)).shape == (1, 2)
    model.pop()
    assert not model.built
    with pytest.raises(ValueError, match="no layers"):
        model.pop()


def test_add_after_a_deferred_build():
    model = Sequential([Dense(2)])
    model(draw(5, 3))
    model.add(Dense(4))
    assert len(model.weights) == 4
    assert model(draw(2, 3)).shape == (2, 4)


@pytest.mark.parametrize("old", [{"input_shape": (6, 3)}, {"batch_input_shape": (2, 6, 3)}])
def test_old_spelling_of_the_first_layer(old):
    with pytest.warns(FutureWarning, match=next(iter(old))):
        model = Sequential([L.LSTM(4, **old), Dense(1)])
    assert model.built
    assert model.input_shape == ((None if "input_shape" in old else 2), 6, 3)
    assert len(model.layers) == 2
    assert len(model.weights) == 5


def test_first_layer_that_is_a_model():
    inner = Sequential([Input((3,), dtype="float64"), Dense(2)])
    model = Sequential([inner, Dense(1)])
    assert model.input_shape == (None, 3)
    assert model.inputs[0].dtype == "float64"
    assert len(model.weights) == 4


def test_first_layer_that_takes_a_list():
    model = Sequential([L.Concatenate(), Dense(2)])
    assert model([draw(2, 3), draw(2, 1)]).shape == (2, 2)
    assert model.built
    assert model.weights[0].shape == (4, 2)


def test_failed_add_changes_nothing():
    model = Sequential()
    with pytest.warns(FutureWarning), pytest.raises(ValueError, match="expected 3 axes"):
        model.add(L.LSTM(2, input_shape=(3,), name="l"))
    with pytest.warns(FutureWarning):
        model.add(L.LSTM(2, input_shape=(5, 3), name="l"))
    with pytest.raises(ValueError, match=r"l2: expected 3 axes .*\(None, 2\)"):
        model.add(L.LSTM(2, name="l2"))
    for wrong, message in [
        ("dense", "expected a layer, found 'dense'"),
        (Dense(1, name="l"), "there is a layer 'l' already"),
        (Input((2,)), "stands at the beginning"),
    ]:
        with pytest.raises(ValueError, match=message):
            model.add(wrong)
    assert model(draw(2, 5, 3)).shape == (2, 2)


def test_failed_deferred_build_changes_nothing():
    model = Sequential([L.LSTM(2, name="lstm"), Dense(1)])
    with pytest.raises(ValueError, match=r"lstm: expected 3 axes .*\(4, 3\)"):
        model(draw(4, 3))
    assert model(draw(4, 5, 3)).shape == (4, 1)
    with pytest.raises(ValueError, match="no layers; add some"):
        Sequential(name="empty")(draw(1, 1))


# --- errors -----------------------------------------------------------------------------------------------


def _model():
    a, b = Input((3,), name="left"), Input((4, 2), name="right", dtype="int32")
    y = L.Concatenate()([Dense(2, name="d")(a), Dense(8)(L.Flatten()(b))])
    return Model([a, b], y, name="m")


RIGHT = np.ones((5, 4, 2), int)


@pytest.mark.parametrize(
    ("inputs", "error", "message"),
    [
        (draw(5, 3), ValueError, "m: expected 2 inputs, left, right; found 1"),
        ([draw(5, 3), RIGHT, RIGHT], ValueError, "m: expected 2 inputs, left, right; found 3"),
        ([draw(5, 3), None], ValueError, "m: input 'right' is None"),
        (
            {"left": draw(5, 3), "rigth": RIGHT},
            ValueError,
            "m: input 'right' is missing, found 'left', 'rigth'",
        ),
        ([draw(5, 4), RIGHT], ValueError, r"m: input 'left': expected shape \(None, 3\), found \(5, 4\)"),
        (
            [draw(5, 3), RIGHT[0]],
            ValueError,
            r"m: input 'right': expected shape \(None, 4, 2\), found \(4, 2\)",
        ),
        (
            [draw(5, 3), RIGHT + 0.5],
            ValueError,
            "m: input 'right': expected int32, found numbers .* not whole",
        ),
        ([np.array([["a", "b", "c"]]), RIGHT], ValueError, "m: input 'left': expected numbers, found <U1"),
    ],
)
def test_wrong_inputs(inputs, error, message):
    model = _model()
    with pytest.raises(error, match=message):
        model(inputs)
    assert model([draw(5, 3), RIGHT]).shape == (5, 10)
    assert model([draw(5, 3), RIGHT * 1.0]).shape == (5, 10)


def test_last_axis_of_one_may_be_missing():
    model = Sequential([Input((1,)), Dense(2)])
    assert model(np.ones(4)).shape == (4, 2)
    x = Input((6,), dtype="int32")
    assert Model(x, Embedding(3, 2)(x))(np.ones((4, 6, 1), int)).shape == (4, 6, 2)


def test_dictionary_is_required_where_it_was_declared():
    x, y = Input((2,)), Input((2,))
    model = Model({"x": x, "y": y}, L.Add()([x, y]))
    with pytest.raises(ValueError, match="expected a dictionary of the inputs x, y, found a list"):
        model([draw(1, 2), draw(1, 2)])


def test_wrong_graphs():
    a, b = Input((2,), name="a"), Input((2,), name="b")
    y = Dense(1, name="same")(a)
    for inputs, outputs, message in [
        (a, L.Add()([a, b]), r"depend on the input 'b' of shape \(None, 2\), .* the inputs 'a'"),
        (y, Dense(1)(a), r"depend on the input 'a'"),
        ([a, b], [y, Dense(1, name="same")(b)], "two layers are called 'same'"),
        ([], y, "inputs: expected at least one"),
        (a, [], "outputs: expected at least one"),
        (a, None, "outputs: expected what Input.* found None"),
        (a, Dense(1), "outputs: expected what Input.* found <Dense"),
    ]:
        with pytest.raises(ValueError, match=message):
            Model(inputs, outputs)
    assert Model(a, y)(draw(1, 2)).shape == (1, 1)
    with pytest.raises(TypeError, match=r"Model does not define call\(inputs\)"):
        Model()(draw(1, 2))
    with pytest.raises(AttributeError, match="has no input_shape"):
        _ = Model().input_shape


def test_get_layer():
    model = _model()
    assert model.get_layer("d") is model.get_layer(index=3)
    assert model.get_layer(index=-1).name == model.layers[-1].name
    for arguments, message in [
        ({"name": "dd"}, "m: no layer 'dd'; did you mean 'd'"),
        ({"index": 7}, "m: no layer at index 7; there are 6"),
        ({}, "give a name or an index"),
        ({"name": "d", "index": 0}, "give a name or an index"),
    ]:
        with pytest.raises(ValueError, match=message):
            model.get_layer(**arguments)


# --- states -----------------------------------------------------------------------------------------------


def _stateful():
    x = Input(batch_shape=(2, 3, 1))
    h = L.Bidirectional(L.LSTM(2, stateful=True, return_sequences=True))(x)
    inner = Sequential([L.GRU(3, stateful=True)])
    return Model(x, inner(h))


def test_states_can_be_kept_set_and_reset():
    model = _stateful()
    x = draw(2, 3, 1).astype("float32")
    assert model.get_states() == [None, None]
    first = model(x).data
    states = model.get_states()
    assert [len(s) for s in states] == [4, 1]
    second = model(x).data
    assert not np.allclose(first, second)
    model.set_states(states)
    assert (model(x).data == second).all()
    assert not np.allclose(states[1][0], model.get_states()[1][0])  # ours is a copy
    model.reset_states()
    assert (model(x).data == first).all()
    with pytest.raises(
        ValueError, match=r"expected 2 entries, for the stateful layers bidirectional.*, gru.*found 1"
    ):
        model.set_states([None])
    assert Sequential([Dense(2)]).get_states() == []


def test_states_are_left_alone_by_a_trial():
    class Wrapped(Model):
        def __init__(self):
            super().__init__()
            self.rnn = L.GRU(2, stateful=True)

        def call(self, inputs):
            return self.rnn(inputs)

    model = Wrapped()
    assert model.compute_output_shape((4, 3, 1)) == (4, 2)
    assert model.get_states() == [None]


# --- copies and configurations ----------------------------------------------------------------------------


def _all_kinds():
    """A model with everything that a configuration has to hold."""
    source, target = Input((None,), dtype="int32", name="source"), Input((None, 2), name="target")
    embed = Embedding(9, 4, mask_zero=True, name="embed")
    encoder = L.Bidirectional(L.LSTM(3, return_state=True), name="encoder")
    _, h, c, _, _ = encoder(embed(source))
    decoder = L.LSTM(3, return_sequences=True, name="decoder")
    step = Input((3,), name="step")
    head = Model(step, Dense(3, name="out")(Dense(3, name="in")(step)), name="head")
    row = Sequential([L.Dropout(0.1), Dense(3, kernel_regularizer="l2")], name="row")
    y = decoder(target, initial_state=[h, c], mask=np.array([[True, True, False]]))
    y = L.TimeDistributed(Sequential([Dense(3)]), name="each")(y)
    merged = L.Add(name="sum")([head(row(h)), head(c), L.GlobalMaxPooling1D(name="max")(y)])
    return Model({"source": source, "target": target}, {"y": y, "sum": merged, "head": head(h)}, name="all")


def _run_all(model):
    return model({"source": IDS[:1], "target": draw(1, 3, 2)})


def test_config_makes_the_same_model():
    model = _all_kinds()
    config = json.loads(json.dumps(model.get_config()))
    again = Model.from_config(config)
    assert json.loads(json.dumps(again.get_config())) == config
    assert [w.path for w in again.weights] == [w.path for w in model.weights]
    assert not _same(_run_all(model)["y"], _run_all(again)["y"])
    again.set_weights(model.get_weights())
    assert _same(_run_all(model), _run_all(again))


def test_clone_shares_nothing():
    model = _all_kinds()
    copy = clone_model(model)
    assert copy.get_config() == model.get_config()
    assert not {id(w) for w in copy.weights} & {id(w) for w in model.weights}
    assert not _same(_run_all(model)["y"], _run_all(copy)["y"])
    copy.set_weights(model.get_weights())
    assert _same(_run_all(model), _run_all(copy))


@pytest.mark.parametrize("built", [False, True])
def test_sequential_config_and_clone(built):
    model = Sequential(
        [L.Masking(), L.GRU(3, return_sequences=True), L.TimeDistributed(Dense(2))], name="row"
    )
    if built:
        model.build((None, 4, 5))
    config = json.loads(json.dumps(model.get_config()))
    for copy in (Sequential.from_config(config), clone_model(model)):
        assert copy.built == built
        assert json.loads(json.dumps(copy.get_config())) == config
        assert [w.shape for w in copy.weights] == [w.shape for w in model.weights]
        assert copy.name == "row"


def test_sequential_built_by_its_config():
    config = Sequential([Dense(2)]).get_config() | {"build_input_shape": [None, 3]}
    assert Sequential.from_config(config).input_shape == (None, 3)


def test_subclass_config_and_clone():
    model = TwoHeads(3, name="mine")
    assert {key: model.get_config()[key] for key in ("name", "units")} == {"name": "mine", "units": 3}
    for copy in (TwoHeads.from_config(model.get_config()), clone_model(model)):
        assert (copy.units, copy.name) == (3, "mine")
        assert copy.layers[0] is not model.layers[0]


def test_classes_by_other_names():
    x = Input((3,))
    config = json.loads(json.dumps(Model(x, Dense(2, name="d")(x)).get_config()).replace('"Dense"', '"Dens"'))
    with pytest.raises(ValueError, match="unknown layer 'Dens'; did you mean 'Dense'"):
        Model.from_config(config)
    assert Model.from_config(config, custom_objects={"Dens": Dense}).get_layer("d").units == 2
    with custom_object_scope({"Dens": Dense}):
        assert Model.from_config(config).get_layer("d").units == 2
    with pytest.raises(ValueError, match="unknown layer 'Dens'"):
        Model.from_config(config)


def test_config_with_parts_missing():
    x = Input((3,), name="x")
    model = Model(x, Dense(2, name="d")(x), name="m")
    text = json.dumps(model.get_config())
    with pytest.raises(ValueError, match="m: the graph has no layer 'y'"):
        Model.from_config(json.loads(text.replace('["x", 0, 0]}', '["y", 0, 0]}')))
    with pytest.raises(ValueError, match=r"m: layer 'd' .* 1 call"):
        Model.from_config(json.loads(text.replace('["d", 0, 0]', '["d", 1, 0]')))


def test_config_that_keras_writes():
    """Layout of the graph as Keras has it: layers, their calls, ends, nested models."""

    def build(lib):
        i = lib.Input((4,), name="i")
        shared = lib.layers.Dense(4, name="shared")
        f = lib.Model(i, shared(shared(i)), name="f")
        j = lib.Input((4,), name="j")
        return lib.Model(j, f(lib.layers.Add(name="sum")([f(j), j])), name="g")

    def graph(config):
        if "layers" not in config:
            return None
        return {key: config[key] for key in ("name", "input_layers", "output_layers")} | {
            "layers": [(c["name"], c["class_name"], nodes(c), graph(c["config"])) for c in config["layers"]]
        }

    def nodes(entry):
        return [
            {"args": node["args"], "kwargs": {k: v for k, v in node["kwargs"].items() if v is not None}}
            for node in entry["inbound_nodes"]
        ]

    ours, theirs = (json.loads(json.dumps(m.get_config())) for m in build_both(build))
    theirs = json.loads(
        json.dumps(theirs).replace('"module": "keras", ', "").replace(', "registered_name": null', "")
    )
    assert json.dumps(graph(ours)) == json.dumps(graph(theirs))
