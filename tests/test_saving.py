"""Model files: equal predictions and equal training in Keras and here, both ways; nothing lost on the way."""

import json
import subprocess
import sys
import warnings
import zipfile
from types import SimpleNamespace

import h5py
import jax
import keras
import numpy as np
import pytest
from keras_oracle import float_type

import tinyrnn
from tinyrnn import Input, Model, ModelFileError, Sequential, load_model, ops
from tinyrnn import layers as L  # noqa: N812
from tinyrnn.layers.base import get_layer
from tinyrnn.models import clone_model, model_from_json
from tinyrnn.naming import serialize
from tinyrnn.saving import custom_object_scope
from tinyrnn.saving.configs import portable, readable
from tinyrnn.saving.hdf5 import read

OURS = SimpleNamespace(layers=L, Input=Input, Model=Model, Sequential=Sequential)
THEIRS = SimpleNamespace(
    layers=keras.layers, Input=keras.Input, Model=keras.Model, Sequential=keras.Sequential
)
rng = np.random.default_rng(0)
IDS = rng.integers(0, 9, (6, 5))
X = rng.standard_normal((6, 5, 3)).astype("float32")


# --- models of either library, and data for them ----------------------------------------------------------


def tagger(lib):
    return lib.Sequential(
        [
            lib.Input((None,), dtype="int32"),
            lib.layers.Embedding(9, 4, mask_zero=True),
            lib.layers.Bidirectional(lib.layers.LSTM(3, return_sequences=True)),
            lib.layers.SpatialDropout1D(0.0),
            lib.layers.TimeDistributed(lib.layers.Dense(2, activation="relu")),
            lib.layers.LayerNormalization(),
            lib.layers.GRU(3, recurrent_regularizer="l2"),
            lib.layers.Dense(1, kernel_constraint="max_norm"),
        ]
    ), IDS


def stacked(lib):
    cells = [lib.layers.LSTMCell(3), lib.layers.GRUCell(2, reset_after=False), lib.layers.LSTMCell(2)]
    return lib.Sequential(
        [
            lib.Input((5, 3)),
            lib.layers.Masking(),
            lib.layers.RNN(cells, return_sequences=True),
            lib.layers.SimpleRNN(3, activation="relu", go_backwards=True, return_sequences=True),
            lib.layers.Bidirectional(lib.layers.GRU(2), merge_mode="sum"),
            lib.layers.RepeatVector(2),
            lib.layers.Flatten(),
            lib.layers.Dense(1),
        ]
    ), X


def encoder_decoder(lib):
    source, target = lib.Input((None, 3), name="source"), lib.Input((None, 3), name="target")
    _, *states = lib.layers.LSTM(4, return_state=True)(source)
    read = lib.layers.LSTM(4, return_sequences=True)(target, initial_state=states)
    both = lib.layers.Concatenate()([read, target])
    found = lib.layers.GlobalAveragePooling1D()(both)
    return lib.Model([source, target], lib.layers.Dense(1)(found)), [X, X[:, ::-1].copy()]


def twice(lib):
    """A layer used twice, and a model within a model."""
    shared = lib.layers.Dense(4, activation="tanh", name="shared")
    inner_input = lib.Input((4,))
    inner = lib.Model(inner_input, lib.layers.Dense(2)(inner_input), name="inner")
    row = lib.Sequential([lib.Input((2,)), lib.layers.Dense(3), lib.layers.Dense(2)], name="row")
    a, b = lib.Input((3,), name="a"), lib.Input((3,), name="b")
    joined = lib.layers.Add()([inner(shared(a)), row(inner(shared(b)))])
    return lib.Model({"a": a, "b": b}, lib.layers.Dense(1)(joined)), {"a": X[:, 0], "b": X[:, 1]}


def attentive(lib):
    words = lib.Input((5,), dtype="int32")
    x = lib.layers.Embedding(9, 4)(words)
    x = lib.layers.Attention(use_scale=True)([x, lib.layers.LSTM(4, return_sequences=True)(x)])
    return lib.Model(words, lib.layers.Dense(1)(lib.layers.GlobalMaxPooling1D()(x))), IDS


MODELS = [tagger, stacked, encoder_decoder, twice, attentive]
OPTIMIZERS = {
    tagger: lambda lib: lib.Adam(0.01, amsgrad=True),
    stacked: lambda lib: lib.RMSprop(0.01, momentum=0.5, centered=True),
    encoder_decoder: lambda lib: lib.Nadam(lib.schedules.ExponentialDecay(0.02, 2, 0.5)),
    twice: lambda lib: lib.SGD(0.01, momentum=0.9, nesterov=True, use_ema=True),
    attentive: lambda lib: lib.AdamW(0.01, clipnorm=0.5, gradient_accumulation_steps=2),
}
Y = np.arange(6.0, dtype="float32")[:, None]


def made(build, lib, optimizers):
    model, x = build(lib)
    model.compile(OPTIMIZERS[build](optimizers), "mse", metrics=["mae"])
    return model, x


def steps(model, x, n=3):
    """Return the losses and metrics of some steps of training."""
    return [model.train_on_batch(x, Y) for _ in range(n)]


def predict(model, x):
    return np.asarray(model.predict(x, verbose=0))


def assert_close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-5)


# --- both ways --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=MODELS, ids=lambda build: build.__name__)
def keras_files(request, tmp_path_factory):
    """A model of Keras in the middle of its training: its files, and what it predicts and does next."""
    folder = tmp_path_factory.mktemp("keras")
    model, x = made(request.param, THEIRS, keras.optimizers)
    steps(model, x)
    for name in ("m.keras", "m.weights.h5", "m.h5"):
        (model.save_weights if "weights" in name else model.save)(folder / name)
    json_text, predictions, iterations = model.to_json(), predict(model, x), int(model.optimizer.iterations)
    return SimpleNamespace(
        build=request.param,
        folder=folder,
        x=x,
        json=json_text,
        shapes=[tuple(w.shape) for w in model.weights],
        predictions=predictions,
        iterations=iterations,
        next=steps(model, x),
    )


@pytest.mark.parametrize("name", ["m.keras", "m.h5", "m.weights.h5"])
def test_we_open_files_of_keras_and_go_on_training(keras_files, name):
    if name == "m.weights.h5":
        model, _ = made(keras_files.build, OURS, tinyrnn.optimizers)
        model.load_weights(keras_files.folder / name)
    else:
        model = load_model(keras_files.folder / name)
    assert [w.shape for w in model.weights] == keras_files.shapes
    assert_close(predict(model, keras_files.x), keras_files.predictions)
    assert model.optimizer.iterations == keras_files.iterations
    assert_close(steps(model, keras_files.x), keras_files.next)


def test_we_read_the_json_of_keras(keras_files):
    model = model_from_json(keras_files.json)
    assert model.compiled
    model.load_weights(keras_files.folder / "m.keras")
    assert_close(predict(model, keras_files.x), keras_files.predictions)


def test_keras_opens_our_files_and_goes_on_training(keras_files, tmp_path):
    model, x = made(keras_files.build, OURS, tinyrnn.optimizers)
    steps(model, x)
    model.save(tmp_path / "m.keras")
    model.save_weights(tmp_path / "m.weights.h5")
    theirs = keras.models.load_model(tmp_path / "m.keras")
    expected = predict(model, x)
    assert_close(predict(theirs, x), expected)
    assert int(theirs.optimizer.iterations) == model.optimizer.iterations > 0
    next_steps = steps(model, x)
    assert_close(steps(theirs, x), next_steps)
    theirs.load_weights(tmp_path / "m.weights.h5")  # back to before these steps, optimizer and all
    assert_close(predict(theirs, x), expected)
    assert_close(steps(theirs, x), next_steps)
    from_json = keras.models.model_from_json(model.to_json())
    assert [tuple(w.shape) for w in from_json.weights] == [w.shape for w in model.weights]


def test_groups_are_those_of_keras(keras_files, tmp_path):
    def groups(path):
        found = set()
        with h5py.File(path) as file:
            file.visititems(lambda name, x: found.add((name, getattr(x, "shape", None))))
        return {entry for entry in found if not entry[0].startswith("tinyrnn")}

    model, x = made(keras_files.build, OURS, tinyrnn.optimizers)
    steps(model, x, 1)
    model.save_weights(tmp_path / "ours.weights.h5")
    ours, theirs = groups(tmp_path / "ours.weights.h5"), groups(keras_files.folder / "m.weights.h5")
    assert {entry for entry in ours if entry[1] is not None} == {e for e in theirs if e[1] is not None}
    assert ours <= theirs


def test_a_file_of_float64(tmp_path):
    with float_type("float64"):
        model = Sequential([Input((5, 3)), L.GRU(4), L.Dense(1)])
        model.compile(tinyrnn.optimizers.Adam(0.1), "mse")
        steps(model, X)
        model.save(tmp_path / "m.keras")
        theirs = keras.models.load_model(tmp_path / "m.keras")
        np.testing.assert_allclose(predict(theirs, X), predict(model, X), rtol=1e-9, atol=1e-9)
    again = load_model(tmp_path / "m.keras")
    assert {w.dtype.name for w in again.weights} == {"float64"}
    assert again.optimizer.learning_rate == 0.1
    assert steps(again, X) == steps(model, X)


CALLS = {  # for layers that take more than one sequence of vectors, or something else
    "Add": lambda layer, x: layer([x, x]),
    "AdditiveAttention": lambda layer, x: layer([x, x]),
    "Attention": lambda layer, x: layer([x, x]),
    "Average": lambda layer, x: layer([x, x]),
    "Concatenate": lambda layer, x: layer([x, x]),
    "Dot": lambda layer, x: layer([x, x]),
    "Maximum": lambda layer, x: layer([x, x]),
    "Minimum": lambda layer, x: layer([x, x]),
    "Multiply": lambda layer, x: layer([x, x]),
    "Subtract": lambda layer, x: layer([x, x]),
}
ARGUMENTS = {
    "Activation": ("softplus",),
    "Bidirectional": lambda: (L.LSTM(2, return_sequences=True),),
    "Dense": (2,),
    "Dot": (2,),
    "Dropout": (0.5,),
    "GRU": (2,),
    "GaussianDropout": (0.5,),
    "GaussianNoise": (0.5,),
    "LSTM": (2,),
    "Permute": ((2, 1),),
    "RNN": lambda: ([L.LSTMCell(2), L.SimpleRNNCell(2)],),
    "Reshape": ((3, 5),),
    "SimpleRNN": (2,),
    "SpatialDropout1D": (0.5,),
    "TimeDistributed": lambda: (L.Dense(2, "tanh"),),
}
TESTED_OTHERWISE = [
    "Embedding",
    "InputLayer",
    "Lambda",
    "Layer",
    "RNNCell",
    "RepeatVector",
    "StackedRNNCells",
]


@pytest.mark.parametrize(
    "name",
    [
        name
        for name in L.__all__
        if isinstance(getattr(L, name), type)
        and issubclass(getattr(L, name), L.Layer)
        and name not in TESTED_OTHERWISE
        and not name.endswith("Cell")
        and "Pool1D" not in name
    ],
)
def test_every_layer_in_a_file(name, tmp_path):
    arguments = ARGUMENTS.get(name, ())
    layer = getattr(L, name)(*(arguments() if callable(arguments) else arguments))
    start = Input((5, 3))
    model = Model(start, CALLS.get(name, lambda layer, x: layer(x))(layer, start))
    for w in model.weights:
        w.assign(rng.standard_normal(w.shape))
    model.save(tmp_path / "m.keras")
    np.testing.assert_array_equal(load_model(tmp_path / "m.keras")(X).data, model(X).data)
    theirs = keras.models.load_model(tmp_path / "m.keras")
    with jax.disable_jit():
        assert_close(theirs(X), model(X).data)
    theirs.save(tmp_path / "theirs.keras")
    np.testing.assert_array_equal(load_model(tmp_path / "theirs.keras")(X).data, model(X).data)


# --- configurations ---------------------------------------------------------------------------------------


def test_only_what_differs_from_the_defaults_is_written(tmp_path):
    model = Sequential([Input((3, 2)), L.LSTM(2, kernel="array"), L.Dense(1, "tanh", name="last")])
    model.save(tmp_path / "m.keras")
    with zipfile.ZipFile(tmp_path / "m.keras") as archive:
        assert archive.namelist() == ["metadata.json", "config.json", "model.weights.h5"]
        config = json.loads(archive.read("config.json"))
    lstm, dense = config["config"]["layers"][1:]
    assert lstm["config"] == {"name": model.layers[0].name, "dtype": "float32", "units": 2}
    assert dense["config"] == {"name": "last", "dtype": "float32", "units": 1, "activation": "tanh"}


CONFIGURED = {
    "LSTM": {
        "units": 2,
        "dropout": 0.1,
        "recurrent_initializer": "glorot_normal",
        "bias_regularizer": "l1",
        "seed": 3,
    },
    "GRU": {"units": 2, "reset_after": False, "kernel_constraint": "unit_norm", "zero_output_for_mask": True},
    "SimpleRNN": {"units": 2, "activation": "relu", "return_state": True, "stateful": True},
    "Embedding": {"input_dim": 4, "output_dim": 2, "embeddings_initializer": "ones", "mask_zero": True},
    "Dense": {"units": 3, "kernel_initializer": keras.initializers.RandomNormal(0.1, 0.2, 5)},
    "Dropout": {"rate": 0.5, "noise_shape": (None, 1, 3), "seed": 1},
    "LayerNormalization": {"epsilon": 0.1, "center": False},
    "Permute": {"dims": (2, 1)},
    "Reshape": {"target_shape": (-1, 2)},
    "Attention": {"score_mode": "concat", "dropout": 0.2},
    "AdditiveAttention": {"use_scale": False},
    "GaussianNoise": {"stddev": 0.3},
    "LeakyReLU": {"negative_slope": 0.1},
    "Softmax": {"axis": 1},
    "Masking": {"mask_value": 2.0},
    "Dot": {"axes": (1, 2), "normalize": True},
    "ActivityRegularization": {"l1": 0.1, "l2": 0.2},
    "GlobalAveragePooling1D": {"keepdims": True},
}


@pytest.mark.parametrize("name", CONFIGURED)
def test_settings_survive_the_way_here_and_back(name):
    theirs = getattr(keras.layers, name)(**CONFIGURED[name])
    written = keras.saving.serialize_keras_object(theirs)
    ours = get_layer(readable(written))
    rewritten = json.loads(json.dumps(portable(serialize(ours))))
    back = keras.saving.deserialize_keras_object(rewritten)
    assert json.dumps(back.get_config(), default=str) == json.dumps(theirs.get_config(), default=str)
    assert len(rewritten["config"]) <= 2 + len(CONFIGURED[name])  # the name, the type, what was set


def test_configurations_of_keras_without_a_file():
    assert L.Dense.from_config(keras.layers.Dense(3, "relu").get_config()).units == 3
    cells = [keras.layers.LSTMCell(2), keras.layers.GRUCell(3)]
    assert L.RNN.from_config(keras.layers.RNN(cells).get_config()).cell.cells[1].units == 3
    for build in (tagger, encoder_decoder):
        model, _ = build(THEIRS)
        ours = (Sequential if build is tagger else Model).from_config(model.get_config())
        assert [w.shape for w in ours.weights] == [tuple(w.shape) for w in model.weights]


def test_settings_that_tinyrnn_does_not_have():
    config = {"units": 2, "name": "d"}
    with pytest.warns(UserWarning, match="Dense: ignored colour='blue', which is no setting here"):
        L.Dense.from_config(config | {"colour": "blue"})
    with pytest.raises(ValueError, match="LSTM: time_major=True is not supported"):
        L.LSTM.from_config(config | {"time_major": True})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        L.LSTM.from_config(config | {"time_major": False, "implementation": 1, "quantization_config": None})


# --- what is one's own ------------------------------------------------------------------------------------


class Peephole(L.LSTMCell):
    params = ("p_i",)

    def step(self, x, r, s, p):
        i = ops.sigmoid(x.i + r.i + p.p_i * s.c)
        c = ops.sigmoid(x.f + r.f) * s.c + i * ops.tanh(x.c + r.c)
        return ops.sigmoid(x.o + r.o) * ops.tanh(c), c


class Heads(Model):
    """Layers among the attributes, in lists, in lists of lists, in dictionaries."""

    def __init__(self, units=3, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.read = L.LSTM(units)
        self.heads = [L.Dense(2), [L.Dense(2), L.Dense(2)]]
        self.named = {"b": L.Dense(2), "a": L.Dropout(0.1)}

    def call(self, inputs):
        h = self.read(inputs)
        first, (second, third) = self.heads
        return first(h) + second(h) * third(h) + self.named["a"](self.named["b"](h))


def cubic(x):
    return x * x * x


def strange_loss(y_true, y_pred):
    return ops.mean(ops.square(y_pred - y_true) + 0.1 * ops.abs(y_pred), axis=-1)


def test_cells_functions_and_models_of_ones_own(tmp_path):
    model = Sequential([Input((5, 3)), L.RNN(Peephole(2)), L.Dense(1, cubic), L.Lambda(cubic)])
    model.compile("adam", strange_loss, metrics=[strange_loss])
    steps(model, X)
    model.save(tmp_path / "m.keras")
    with pytest.raises(ModelFileError, match="unknown activation 'cubic'"):
        load_model(tmp_path / "m.keras")
    again = load_model(tmp_path / "m.keras", {"cubic": cubic, "strange_loss": strange_loss})
    np.testing.assert_array_equal(predict(again, X), predict(model, X))
    assert steps(again, X) == steps(model, X)
    with pytest.raises(ModelFileError, match="unknown loss 'strange_loss'"):
        load_model(tmp_path / "m.keras", {"cubic": cubic})
    assert not load_model(tmp_path / "m.keras", {"Custom>cubic": cubic}, compile=False).compiled
    with custom_object_scope({"cubic": cubic}):
        load_model(tmp_path / "m.keras", compile=False)


def test_a_model_as_a_class(tmp_path):
    model = Heads(2)
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match=r"heads.*\.save: not built yet"):
        model.save(tmp_path / "m.keras")
    model.fit(X, np.ones((6, 2)), verbose=0)
    model.save(tmp_path / "m.keras")
    again = load_model(tmp_path / "m.keras")
    assert (type(again), again.units) == (Heads, 2)
    np.testing.assert_array_equal(predict(again, X), predict(model, X))
    with zipfile.ZipFile(tmp_path / "m.keras") as archive:
        names = read(archive.read("model.weights.h5"))
    assert list(names["heads"]) == ["container", "dense"]
    assert list(names["heads/container"]) == ["dense", "dense_1"]
    assert [len(names[f"{path}/vars"]) for path in ("named/dense", "named/dropout", "read/cell")] == [2, 0, 3]


# --- going on ---------------------------------------------------------------------------------------------


def dropping():
    """A model with every kind of chance in it."""
    return Sequential(
        [
            Input((5, 3)),
            L.GaussianNoise(0.1),
            L.Bidirectional(L.LSTM(3, dropout=0.3, recurrent_dropout=0.3, return_sequences=True)),
            L.TimeDistributed(L.Dropout(0.3)),
            L.RNN([L.GRUCell(2, dropout=0.2), Peephole(2, recurrent_dropout=0.2)]),
            L.Dense(1),
        ]
    )


GOING_ON = {
    "adam": lambda o: o.Adam(0.01, amsgrad=True, global_clipnorm=1.0),
    "schedule": lambda o: o.SGD(o.schedules.CosineDecay(0.1, 9), momentum=0.9, nesterov=True),
    "averages": lambda o: o.RMSprop(0.01, centered=True, use_ema=True, ema_overwrite_frequency=2),
    "accumulated": lambda o: o.Nadam(0.01, gradient_accumulation_steps=3),
    "adadelta": lambda o: o.Adadelta(1.0),
    "adagrad": lambda o: o.Adagrad(0.1, clipvalue=0.01),
    "adamax": lambda o: o.Adamax(0.01, loss_scale_factor=4.0),
    "lion": lambda o: o.Lion(0.001, weight_decay=0.01),
}


@pytest.mark.parametrize("optimizer", GOING_ON)
@pytest.mark.parametrize("whole", [True, False])
def test_a_training_goes_on_bit_for_bit(optimizer, whole, tmp_path):
    def fit(model, first, last):
        return model.fit(X, Y, 4, last, verbose=0, initial_epoch=first).history

    def fresh():
        model = dropping()
        model.compile(GOING_ON[optimizer](tinyrnn.optimizers), "mse", metrics=["mae"])
        return model

    model = fresh()
    fit(model, 0, 2)
    path = tmp_path / ("m.keras" if whole else "m.weights.h5")
    (model.save if whole else model.save_weights)(path)
    expected = fit(model, 2, 4)
    tinyrnn.set_random_seed(99)  # another process would stand elsewhere
    again = load_model(path) if whole else fresh()
    again.load_weights(path)
    assert fit(again, 2, 4) == expected
    for a, b in zip(again.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_what_does_not_decay_is_remembered(tmp_path):
    model = Sequential([Input((5, 3)), L.LSTM(2), L.Dense(1)])
    optimizer = tinyrnn.optimizers.AdamW(0.1, weight_decay=0.5)
    optimizer.exclude_from_weight_decay([model.weights[0]], ["bias"])
    model.compile(optimizer, "mse")
    steps(model, X)
    model.save(tmp_path / "m.keras")
    again = load_model(tmp_path / "m.keras")
    assert again.optimizer.excluded == [0, 2, 4]
    assert steps(again, X) == steps(model, X)


def test_frozen_layers_stay_frozen(tmp_path):
    model = Sequential([Input((5, 3)), L.LSTM(2, trainable=False), L.Dense(1)])
    model.compile("adam", "mse")
    steps(model, X)
    model.save(tmp_path / "m.keras")
    again = load_model(tmp_path / "m.keras")
    assert [w.trainable for w in again.weights] == [False] * 3 + [True] * 2
    assert steps(again, X) == steps(model, X)
    assert steps(keras.models.load_model(tmp_path / "m.keras"), X, 1)


def test_states_of_stateful_layers_are_not_in_a_file(tmp_path):
    model = Sequential([Input(batch_shape=(6, 5, 3)), L.LSTM(2, stateful=True)])
    first = predict(model, X)
    assert (predict(model, X) != first).any()
    model.save(tmp_path / "m.keras")
    np.testing.assert_array_equal(predict(load_model(tmp_path / "m.keras"), X), first)


def test_loading_for_prediction_needs_nothing_but_numpy_and_numba(tmp_path):
    model, x = tagger(OURS)
    model.save(tmp_path / "m.keras")
    np.save(tmp_path / "x.npy", x)
    code = (
        "import sys, numpy, tinyrnn\n"
        f"model = tinyrnn.load_model({str(tmp_path / 'm.keras')!r})\n"
        f"print(model.predict(numpy.load({str(tmp_path / 'x.npy')!r}), verbose=0).tolist())\n"
        "print([m for m in ('keras', 'tensorflow', 'torch', 'jax', 'h5py') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    predictions, loaded = map(json.loads, done.stdout.splitlines())
    assert_close(predictions, predict(model, x))
    assert loaded == []


# --- what a user may get wrong ----------------------------------------------------------------------------


@pytest.fixture
def small():
    model = Sequential([Input((5, 3)), L.LSTM(2, name="memory"), L.Dense(1, name="last")], name="small")
    model.compile("adam", "mse")
    return model


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("m.h5", r"small.save: expected a name that ends in .keras, found 'm.h5'; Keras 2's format is read"),
        ("m", r"small.save: expected a name that ends in .keras, found 'm'$"),
    ],
)
def test_names_of_files(small, tmp_path, name, message):
    with pytest.raises(ValueError, match=message):
        small.save(tmp_path / name)
    with pytest.raises(ValueError, match=r"small.save_weights: expected a name that ends in .weights.h5"):
        small.save_weights(tmp_path / name)
    assert not any(tmp_path.iterdir())


def test_files_that_are_there_or_not(small, tmp_path):
    small.save(tmp_path / "new folder" / "m.keras")
    with pytest.raises(FileExistsError, match=r"m\.keras exists; give overwrite=True"):
        small.save(tmp_path / "new folder" / "m.keras", overwrite=False)
    with pytest.raises(FileNotFoundError):
        load_model(tmp_path / "m.keras")
    with pytest.raises(FileNotFoundError):
        small.load_weights(tmp_path / "m.weights.h5")
    with pytest.raises(IsADirectoryError):
        load_model(tmp_path)
    with pytest.raises(TypeError, match="load_model: custom_objects: expected a dictionary, found \\['x'\\]"):
        load_model(tmp_path / "new folder" / "m.keras", ["x"])


@pytest.mark.parametrize("content", [b"", b"PK", b"a text", b"\x89HDF\r\n\x1a\n", bytes(1000)])
def test_files_that_are_no_models(small, tmp_path, content):
    (tmp_path / "m.keras").write_bytes(content)
    with pytest.raises(ModelFileError, match=r"m\.keras: "):
        load_model(tmp_path / "m.keras")
    with pytest.raises(ModelFileError, match=r"m\.keras: "):
        small.load_weights(tmp_path / "m.keras")


def test_weights_that_do_not_fit(small, tmp_path):
    other = Sequential([Input((5, 3)), L.LSTM(2), L.Dense(4, name="other")])
    other.save_weights(tmp_path / "m.weights.h5")
    before = small.get_weights()
    message = r"last: expected kernel \(2, 1\), bias \(1,\); found in layers/dense/vars \(2, 4\), \(4,\)"
    with pytest.raises(ModelFileError, match=message):
        small.load_weights(tmp_path / "m.weights.h5")
    for a, b in zip(small.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.warns(UserWarning, match="skipped: last: expected"):
        small.load_weights(tmp_path / "m.weights.h5", skip_mismatch=True)
    np.testing.assert_array_equal(small.get_weights()[0], other.get_weights()[0])
    np.testing.assert_array_equal(small.get_weights()[3], before[3])


def test_weights_for_a_layer_that_is_not_there(small, tmp_path):
    longer = Sequential([Input((5, 3)), L.LSTM(2), L.Dense(1), L.Dense(1)])
    longer.save_weights(tmp_path / "m.weights.h5")
    with pytest.raises(
        ModelFileError, match="the file has arrays for layers/dense_1, which is not in the model"
    ):
        small.load_weights(tmp_path / "m.weights.h5")


def test_an_optimizer_of_another_kind_starts_afresh(small, tmp_path):
    steps(small, X)
    small.save_weights(tmp_path / "m.weights.h5")
    small.compile("sgd", "mse")
    with pytest.warns(UserWarning, match=r"sgd: expected 2 arrays, found \d+ of other number or shapes"):
        small.load_weights(tmp_path / "m.weights.h5")
    assert small.optimizer.iterations == 0


def test_a_full_disk_leaves_the_file_that_was_there(small, tmp_path):
    path = tmp_path / "m.keras"
    small.save(path)
    before = path.read_bytes()
    code = (
        "import resource, signal, tinyrnn\n"
        f"model = tinyrnn.load_model({str(path)!r})\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))\n"
        f"model.save({str(path)!r})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "File too large; what was there is unchanged" in done.stderr
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["m.keras"]


def test_copies_have_weights_of_their_own(small):
    again = clone_model(small)
    assert [w.shape for w in again.weights] == [w.shape for w in small.weights]
    assert not {id(w) for w in again.weights} & {id(w) for w in small.weights}
    assert (again.get_weights()[0] != small.get_weights()[0]).any()


@pytest.mark.parametrize("build", [tagger, twice])
def test_copies_of_other_layers(build):
    model, x = build(OURS)

    def narrower(layer):
        return L.Dense(1, name=layer.name) if layer is model.layers[-1] else layer

    again = clone_model(model, narrower)
    assert [layer.name for layer in again.layers] == [layer.name for layer in model.layers]
    assert again.layers[-2] is model.layers[-2]
    assert again.layers[-1] is not model.layers[-1]
    assert predict(again, x).shape == predict(model, x).shape
    with pytest.raises(ValueError, match="a model as a class copies its layers itself"):
        clone_model(Heads(), narrower)
