"""`summary` prints the same text as Keras, character by character."""

import functools
import io
from contextlib import redirect_stdout
from types import SimpleNamespace

import keras
import numpy as np
import pytest

import tinyrnn.layers
from tinyrnn.layers import Dense, Input, Layer
from tinyrnn.models import Model, Sequential
from tinyrnn.utils import clear_session

OURS = SimpleNamespace(layers=tinyrnn.layers, Input=Input, Model=Model, Sequential=Sequential)
THEIRS = SimpleNamespace(
    layers=keras.layers, Input=keras.Input, Model=keras.Model, Sequential=keras.Sequential
)


@pytest.fixture(autouse=True)
def _wide_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")


def text_of(model, **options):
    texts = []
    model.summary(print_fn=texts.append, **options)
    (text,) = texts  # in one call
    return text


@functools.cache
def both(build):
    clear_session()
    keras.utils.clear_session()
    return build(OURS), build(THEIRS)


# --- models -----------------------------------------------------------------------------------------------


def sentiment(lib, units=4):
    layers = lib.layers
    return lib.Sequential(
        [
            lib.Input((300,)),
            layers.Embedding(300, 100),
            layers.Bidirectional(layers.LSTM(units, return_sequences=True)),
            layers.Bidirectional(layers.LSTM(units)),
            layers.Dense(units, activation="relu"),
            layers.Dense(1, activation="sigmoid"),
        ],
        name="demo",
    )


def dense(lib):
    return lib.Sequential([lib.Input((300,)), lib.layers.Dense(40), lib.layers.Dense(1)])


def every_layer(lib):
    layers = lib.layers
    return lib.Sequential(
        [
            lib.Input((None, 5)),
            layers.Masking(),
            layers.SpatialDropout1D(0.2),
            layers.GRU(4, return_sequences=True),
            layers.GRU(4, reset_after=False, return_sequences=True),
            layers.TimeDistributed(layers.Dense(3)),
            layers.LayerNormalization(),
            layers.GlobalAveragePooling1D(),
            layers.RepeatVector(4),
            layers.SimpleRNN(4),
            layers.Reshape((4, 1)),
            layers.Permute((2, 1)),
            layers.Flatten(),
            layers.Activation("tanh"),
        ]
    )


def unbuilt(lib):
    layers = lib.layers
    inner = lib.Sequential([layers.Dense(4), layers.Dense(2)], name="deep")
    rnns = [layers.LSTM(4, return_sequences=True), layers.Bidirectional(layers.GRU(4)), inner]
    return lib.Sequential([layers.Embedding(9, 4), *rnns, layers.Dropout(0.5), layers.Dense(1)])


def half_built(lib):
    i = lib.Input((4,), name="i")
    inner = lib.Model(i, lib.layers.Dense(3)(i), name="inner")
    return lib.Sequential([lib.layers.Dense(4), inner, lib.layers.Dense(2)])


def called(lib):
    model = lib.Sequential([lib.layers.Dense(8), lib.layers.Dropout(0.5), lib.layers.Dense(2)])
    model(np.zeros((7, 5), "float32"))
    return model


def chain(lib):
    x = lib.Input((5, 3))
    y = lib.layers.LSTM(4, return_sequences=True, return_state=True)(x)
    return lib.Model(x, list(y))


def encoder_decoder(lib):
    layers = lib.layers
    source, target = lib.Input((None, 3), name="source"), lib.Input((None, 2), name="target")
    _, h, c = layers.LSTM(4, return_state=True, name="a_long_name_for_an_encoder")(source)
    y = layers.LSTM(4, return_sequences=True, name="decoder")(target, initial_state=[h, c])
    return lib.Model([source, target], layers.TimeDistributed(layers.Dense(5, name="out"))(y))


def nested_and_shared(lib):
    layers = lib.layers
    shared, i = layers.Dense(4, name="shared"), lib.Input((4,), name="i")
    twice = lib.Model(i, shared(shared(i)), name="twice")
    row = lib.Sequential([lib.Input((4,)), layers.Dense(1200, name="k"), layers.Dropout(0.3)], name="row")
    outer = lib.Sequential([lib.Input((4,)), twice, layers.Dense(4)], name="outer")
    j = lib.Input((4,), name="j")
    return lib.Model(j, layers.Concatenate()([row(j), twice(j), outer(twice(j)), shared(j)]), name="all")


def frozen(lib):
    model = dense(lib)
    model.layers[0].trainable = False
    return model


def unused_input(lib):
    a, b = lib.Input((3,), name="a"), lib.Input((2,), name="b")
    return lib.Model({"a": a, "b": b}, {"y": lib.layers.Dense(2)(a), "x": lib.layers.Dense(3)(a)})


def subclass(lib):
    class Tagger(lib.Model):
        def __init__(self):
            super().__init__()
            self.parts = [lib.layers.Embedding(9, 4), lib.layers.LSTM(4, return_sequences=True)]
            self.tag = lib.layers.Dense(2)
            self.never_used = lib.layers.Dense(2)

        def call(self, inputs):
            for part in self.parts:
                inputs = part(inputs)
            return self.tag(inputs)

    model = Tagger()
    model(np.zeros((2, 3), "int32"))
    return model


MODELS = [
    sentiment, every_layer, unbuilt, half_built, called, chain, encoder_decoder, nested_and_shared,
    frozen, unused_input, subclass,
]  # fmt: skip

OPTIONS = [
    {},
    {"line_length": 61},
    {"expand_nested": True, "show_trainable": True},
    {"line_length": 130, "expand_nested": True},
    {"line_length": 95, "show_trainable": True},
]


@pytest.mark.filterwarnings("ignore:`build..` was called on layer:UserWarning")
@pytest.mark.parametrize("build", MODELS)
def test_same_text_as_keras(build):
    ours, theirs = both(build)
    for options in OPTIONS:
        assert text_of(ours, **options) == text_of(theirs, **options), options


def test_the_text_itself():
    lines = text_of(sentiment(OURS, units=64)).splitlines()
    assert lines[0] == 'Model: "demo"'
    assert {len(line) for line in lines[1:-3]} == {88}
    assert lines[-3:] == [
        " Total params: 221,617 (865.69 KB)",
        " Trainable params: 221,617 (865.69 KB)",
        " Non-trainable params: 0 (0.00 B)",
    ]


def test_width_follows_the_terminal(monkeypatch):
    ours, theirs = both(encoder_decoder)
    for columns in ("80", "100", "109"):
        monkeypatch.setenv("COLUMNS", columns)
        assert text_of(ours) == text_of(theirs)


def test_positions():
    ours, theirs = both(sentiment)
    options = {"positions": [0.2, 0.7, 1.0], "line_length": 120}
    assert text_of(ours, **options) == text_of(theirs, **options)


def test_range_of_layers():
    ours, theirs = both(sentiment)
    for layer_range in (["bi", "dense"], ["dense_1", "embedding"], ["dense$", "dense$"]):
        expected = text_of(theirs, layer_range=layer_range)
        assert text_of(ours, layer_range=layer_range) == expected
    assert "LSTM" not in expected


@pytest.mark.parametrize("optimizer", ["adam", "rmsprop", "sgd"])
def test_optimizer_has_a_line_once_built(optimizer):
    ours, theirs = both.__wrapped__(dense)
    for model in (ours, theirs):
        model.compile(optimizer, "mse")
        assert "Optimizer" not in text_of(model)
        model.optimizer.build(model.trainable_variables)
    assert text_of(ours) == text_of(theirs)
    assert "Optimizer params" in text_of(ours)


def test_float64_counts_twice():
    model = Sequential([Input((3,)), Dense(2, dtype="float64")])
    assert "Total params: 8 (64.00 B)" in text_of(model)


def test_several_outputs_in_any_nest():
    def build(lib):
        class Fork(lib.layers.Layer):
            def call(self, x):
                return {"b": x, "a": (x[:, :1], x[:, 1:])}

            if lib is THEIRS:

                def compute_output_spec(self, x):
                    parts = [keras.KerasTensor((None, n), x.dtype) for n in (1, 2)]
                    return {"b": keras.KerasTensor(x.shape, x.dtype), "a": tuple(parts)}

        x = lib.Input((3,))
        y = Fork(name="fork")(x)
        return lib.Model(x, lib.layers.Concatenate()([y["b"], y["a"][1]]))

    ours, theirs = both(build)
    assert text_of(ours, line_length=120) == text_of(theirs, line_length=120)


def test_line_longer_than_the_terminal_is_whole(monkeypatch):
    model = sentiment(OURS)
    wide = text_of(model, line_length=120)
    monkeypatch.setenv("COLUMNS", "80")
    assert text_of(model, line_length=120) == wide  # Keras cuts the columns off


def test_prints_to_the_terminal_by_default():
    model = sentiment(OURS)
    stream = io.StringIO()
    with redirect_stdout(stream):
        model.summary()
    assert stream.getvalue() == text_of(model)


def test_build_with_a_shape_of_a_subclass():
    class Two(Model):
        def __init__(self):
            super().__init__()
            self.a, self.b = Dense(3), Dense(2)

        def call(self, inputs):
            return self.b(self.a(inputs))

    model = Two()
    model.build((None, 4))
    assert "(None, 3)" in text_of(model)
    assert "(None, 2)" in text_of(model)


def test_errors():
    model = sentiment(OURS)
    for options, message in [
        ({"line_length": 12}, "columns need 4 characters each; 12 in all"),
        ({"positions": [0.5, 1.0]}, "positions: expected 3, .* found 2"),
        (
            {"layer_range": ["embedding", "gru"]},
            r"\('embedding', 'gru'\) matches none of the layers embedding",
        ),
        ({"layer_range": "embedding"}, "expected the names of two layers, found 'embedding'"),
    ]:
        with pytest.raises(ValueError, match=message):
            model.summary(**options)


def test_a_layer_of_ones_own():
    class Nothing(Layer):
        def call(self, inputs):
            return inputs

    model = Sequential([Nothing(name="nothing")])
    assert "│               0 │" in text_of(model)
