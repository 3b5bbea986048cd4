"""Files of Keras 2, and of the first Keras 3, built by hand from the documented layout.

Their layout was compared with files that Keras 2.15 and 2.2.4 themselves wrote.
"""

import io
import json
import zipfile

import h5py
import numpy as np
import pytest

import tinyrnn
from tinyrnn import Input, Model, Sequential, layers
from tinyrnn.models import load_model, model_from_json
from tinyrnn.saving import ModelFileError

rng = np.random.default_rng(0)
SEQUENCES = rng.standard_normal((4, 5, 3)).astype("float32")
IDS = np.array([[1, 2, 3, 0], [4, 0, 0, 0], [2, 2, 1, 3], [3, 1, 0, 0]])


# --- what Keras 2 wrote -------------------------------------------------------------------------------------


def layer(kind, name, **config):
    return {"class_name": kind, "config": {"name": name, "trainable": True, "dtype": "float32", **config}}


def sequential(*described):
    return {"class_name": "Sequential", "config": {"name": "old", "layers": list(described)}}


def called(described, *nodes):
    """Put a layer into a graph."""
    return {**described, "name": described["config"]["name"], "inbound_nodes": list(nodes)}


def start(name, *shape, **config):
    return called(
        layer("InputLayer", name, batch_input_shape=[None, *shape], sparse=False, ragged=False, **config)
    )


def graph(described, inputs, outputs, name="old"):
    config = {"name": name, "trainable": True, "layers": described}
    return {"class_name": "Functional", "config": config | {"input_layers": inputs, "output_layers": outputs}}


def write_names(group, attribute, names, chunks=1):
    if chunks == 1:
        group.attrs[attribute] = [name.encode() for name in names]
        return
    for i, some in enumerate(np.array_split(np.array([name.encode() for name in names]), chunks)):
        group.attrs[f"{attribute}{i}"] = some


def write_weights(group, weights, version="2.15.0", chunks=1):
    """Write, for each layer, its arrays by their names."""
    write_names(group, "layer_names", list(weights), chunks)
    group.attrs["backend"] = b"tensorflow"
    if version:
        group.attrs["keras_version"] = version.encode()
    for name, arrays in weights.items():
        inner = group.create_group(name)
        write_names(inner, "weight_names", list(arrays), chunks if len(arrays) > 1 else 1)
        for path, values in arrays.items():
            inner[path] = values


def write_model(path, described, weights, version="2.15.0", training=None, optimizer=None, chunks=1):
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps(described).encode()
        if version:
            file.attrs["keras_version"] = version.encode()
        write_weights(file.create_group("model_weights"), weights, version, chunks)
        if training:
            file.attrs["training_config"] = json.dumps(training).encode()
        if optimizer:
            group = file.create_group("optimizer_weights")
            write_names(group, "weight_names", list(optimizer))
            for name, values in optimizer.items():
                group[name] = values
    return path


def write_archive(path, described, arrays):
    """Write a ``.keras`` file of Keras 2.15."""
    memory = io.BytesIO()
    with h5py.File(memory, "w") as file:
        for name, values in arrays.items():
            file[name] = values
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": "2.15.0"}))
        archive.writestr("config.json", json.dumps(described))
        archive.writestr("model.weights.h5", memory.getvalue())
    return path


def random_like(model):
    values = [0.5 * rng.standard_normal(w.shape).astype(w.dtype) for w in model.weights]
    model.set_weights(values)
    return values


def assert_same_predictions(found, expected, x):
    for a, b in zip(_list(found.predict(x, verbose=0)), _list(expected.predict(x, verbose=0)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def _list(x):
    return x if isinstance(x, list | tuple) else [x]


def from_json(described, version="2.15.0"):
    return model_from_json(json.dumps({**described, "keras_version": version, "backend": "tensorflow"}))


def assert_reads(described, expected, x):
    """A configuration of Keras 2 makes the model that `expected` is."""
    found = from_json(described)
    found.set_weights(random_like(expected))
    assert_same_predictions(found, expected, x)
    return found


# --- whole files --------------------------------------------------------------------------------------------


RECURRENT = {"time_major": False, "implementation": 2, "unroll": False}

WORDS = sequential(
    layer(
        "Embedding",
        "e",
        batch_input_shape=[None, 4],
        input_dim=5,
        output_dim=3,
        mask_zero=True,
        input_length=4,
    ),
    layer(
        "Bidirectional",
        "bi",
        layer=layer("LSTM", "lstm", units=2, return_sequences=True, **RECURRENT),
        merge_mode="concat",
    ),
    layer("TimeDistributed", "td", layer=layer("Dense", "inner", units=2, activation="tanh")),
    layer("GRU", "gru", units=2, reset_after=True, **RECURRENT),
)
NAMES = {
    "e": ["e/embeddings:0"],
    "bi": [
        f"bi/{way}_lstm/lstm_cell/{w}:0"
        for way in ("forward", "backward")
        for w in ("kernel", "recurrent_kernel", "bias")
    ],
    "td": ["td/kernel:0", "td/bias:0"],
    "gru": ["gru/gru_cell/kernel:0", "gru/gru_cell/recurrent_kernel:0", "gru/gru_cell/bias:0"],
}


def words():
    """Make the model that `WORDS` describes, and its weights as a file has them."""
    model = Sequential(
        [
            Input((4,), dtype="int32"),
            layers.Embedding(5, 3, mask_zero=True, name="e"),
            layers.Bidirectional(layers.LSTM(2, return_sequences=True), name="bi"),
            layers.TimeDistributed(layers.Dense(2, "tanh"), name="td"),
            layers.GRU(2, name="gru"),
        ]
    )
    values = iter(random_like(model))
    return model, {name: {path: next(values) for path in paths} for name, paths in NAMES.items()}


@pytest.mark.parametrize("chunks", [1, 3])
def test_whole_model(tmp_path, chunks):
    expected, weights = words()
    found = load_model(write_model(tmp_path / "old.h5", WORDS, weights, chunks=chunks))
    assert_same_predictions(found, expected, IDS)
    assert [x.name for x in found.layers] == ["e", "bi", "td", "gru"]


def test_weights_alone_by_order_and_by_name(tmp_path):
    expected, weights = words()
    other = {"unknown": {"kernel:0": np.zeros((2, 2))}, "gru": weights["gru"], "no_weights": {}}
    for name, content in {"all.h5": weights, "some.h5": other}.items():
        with h5py.File(tmp_path / name, "w") as file:
            write_weights(file, content)
    found, _ = words()
    before = found.get_layer("bi").get_weights()
    found.load_weights(tmp_path / "some.h5", by_name=True)
    for a, b in zip(found.get_layer("gru").get_weights(), weights["gru"].values(), strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(found.get_layer("bi").get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(ModelFileError, match="4 layers, found them for 2"):
        found.load_weights(tmp_path / "some.h5")
    found.load_weights(tmp_path / "all.h5")
    assert_same_predictions(found, expected, IDS)


def test_archive_of_keras_2_15_with_state_of_the_optimizer(tmp_path):
    described = {"module": "keras", **sequential(layer("LSTM", "l", units=2, **RECURRENT))}
    described["config"]["layers"][0]["config"]["batch_input_shape"] = [None, 5, 3]
    described["compile_config"] = {
        "optimizer": {
            "class_name": "Custom>Adam",
            "config": {"learning_rate": 0.01, "is_legacy_optimizer": False},
        },
        "loss": {
            "class_name": "MeanSquaredError",
            "config": {"reduction": "auto", "name": "mse", "fn": "mse"},
        },
        "steps_per_execution": None,
    }
    expected = Sequential([Input((5, 3)), layers.LSTM(2)])
    random_like(expected)
    expected.compile(tinyrnn.optimizers.Adam(0.01), "mse")
    expected.fit(SEQUENCES, np.ones((4, 2)), epochs=3, verbose=0)
    arrays = {f"layers/lstm/cell/vars/{i}": w.numpy() for i, w in enumerate(expected.weights)}
    without_rate = [s for s in expected.optimizer.variables if s.name != "learning_rate"]
    arrays |= {f"optimizer/vars/{i}": slot.data for i, slot in enumerate(without_rate)}
    found = load_model(write_archive(tmp_path / "old.keras", described, arrays))
    assert_same_predictions(found, expected, SEQUENCES)
    assert found.optimizer.iterations == 3
    histories = [m.fit(SEQUENCES, np.ones((4, 2)), epochs=2, verbose=0).history for m in (found, expected)]
    np.testing.assert_allclose(histories[0]["loss"], histories[1]["loss"], rtol=1e-6)


def test_frozen_weights_come_last(tmp_path):
    inner = layer("Dense", "d", units=2, batch_input_shape=[None, 5, 3]), layer("LSTM", "l", units=2)
    inner[0]["config"]["trainable"] = False
    expected = Sequential([Input((5, 3)), layers.Dense(2), layers.LSTM(2)])
    dense, bias, *lstm = random_like(expected)
    path = write_model(
        tmp_path / "old.h5",
        sequential({**sequential(*inner), "class_name": "Sequential"}),
        {"old": dict(zip("abcde", [*lstm, dense, bias], strict=True))},
    )
    assert_same_predictions(load_model(path), expected, SEQUENCES)


def test_a_frozen_layer_stays_frozen():
    frozen = layer("LSTM", "l", units=2, batch_input_shape=[None, 5, 3])
    frozen["config"]["trainable"] = False
    found = from_json(sequential(frozen, layer("Dense", "d", units=1)))
    assert [w.path for w in found.trainable_weights] == ["d/kernel", "d/bias"]


# --- settings -----------------------------------------------------------------------------------------------


def test_old_settings_are_passed_over():
    described = sequential(
        layer("InputLayer", "i", batch_input_shape=[None, 5, 3], sparse=False, ragged=False),
        layer("SpatialDropout1D", "s", rate=0.1),
        layer(
            "RNN",
            "r",
            cell=layer("LSTMCell", "c", units=2, implementation=1),
            num_constants=None,
            **RECURRENT,
        ),
        layer("RepeatVector", "v", n=2),
        layer("Flatten", "f", data_format="channels_last"),
        layer("Dense", "d", units=2, dtype={"class_name": "Policy", "config": {"name": "mixed_float16"}}),
    )
    expected = Sequential(
        [
            Input((5, 3)),
            layers.RNN(layers.LSTMCell(2)),
            layers.RepeatVector(2),
            layers.Flatten(),
            layers.Dense(2),
        ]
    )
    assert_reads(described, expected, SEQUENCES)


def test_a_list_of_layers_was_a_sequential():
    described = {
        "class_name": "Sequential",
        "config": [layer("Dense", "d", units=2, batch_input_shape=[None, 3])],
    }
    assert_reads(described, Sequential([Input((3,)), layers.Dense(2)]), SEQUENCES[0])


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"time_major": True}, "time_major=True"),
        ({"ragged": True}, "ragged=True"),
        ({"activation": "no such"}, "no such"),
    ],
)
def test_what_would_mean_something_is_refused(setting, message):
    config = {"units": 2, "batch_input_shape": [None, 5, 3]} | setting
    with pytest.raises(ModelFileError, match=message):
        from_json(sequential(layer("LSTM", "l", **config)))


@pytest.mark.parametrize("version", ["2.2.4", "3.0.5"])
def test_hard_sigmoid_is_that_of_the_version(version):
    described = sequential(
        layer("Activation", "a", activation="hard_sigmoid", batch_input_shape=[None, 5, 3])
    )
    if version.startswith("3"):
        begin = {"class_name": "InputLayer", "config": {"batch_shape": [None, 5, 3], "name": "i"}}
        described["config"]["layers"].insert(0, begin)
    x = 4 * SEQUENCES
    expected = np.clip(0.2 * x + 0.5, 0, 1) if version == "2.2.4" else np.clip(x / 6 + 0.5, 0, 1)
    np.testing.assert_allclose(from_json(described, version).predict(x, verbose=0), expected, atol=1e-6)


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "Dense"])
def test_hard_sigmoid_inside_layers(kind):
    setting = "activation" if kind == "Dense" else "recurrent_activation"
    described = layer(kind, "x", units=2, batch_input_shape=[None, 5, 3], **{setting: "hard_sigmoid"})
    options = {setting: "keras2_hard_sigmoid"} | ({"reset_after": False} if kind == "GRU" else {})
    expected = Sequential([Input((5, 3)), getattr(layers, kind)(2, **options)])
    assert_reads(sequential(described), expected, SEQUENCES)


def test_gru_of_before_reset_after():
    found = from_json(sequential(layer("GRU", "g", units=2, batch_input_shape=[None, 5, 3])), "2.1.0")
    kernel, recurrent, bias = random_like(found)
    assert bias.shape == (6,)
    h = np.zeros((4, 2))
    for x in SEQUENCES.transpose(1, 0, 2):
        projected, z_r = x @ kernel + bias, slice(0, 4)
        z, r = np.hsplit(1 / (1 + np.exp(-projected[:, z_r] - h @ recurrent[:, z_r])), 2)
        h = z * h + (1 - z) * np.tanh(projected[:, 4:] + (r * h) @ recurrent[:, 4:])
    np.testing.assert_allclose(found.predict(SEQUENCES, verbose=0), h, atol=1e-5)


def test_leaky_relu():
    described = sequential(layer("LeakyReLU", "r", alpha=0.25, batch_input_shape=[None, 5, 3]))
    expected = np.where(SEQUENCES > 0, SEQUENCES, 0.25 * SEQUENCES)
    np.testing.assert_allclose(from_json(described).predict(SEQUENCES, verbose=0), expected)


# --- CuDNN --------------------------------------------------------------------------------------------------


def as_cudnn(kernel, recurrent, bias):
    """Lay the weights of an LSTM, or of a GRU that resets after, out as CuDNN has them.

    Each gate's matrices have a row for each unit; the numbers of the input's matrix, row by row, were then
    taken for those of a matrix with a row for each feature.
    """
    gates = recurrent.shape[1] // recurrent.shape[0]
    kernel = np.hstack([k.T.reshape(k.shape) for k in np.hsplit(kernel, gates)])
    recurrent = np.hstack([k.T for k in np.hsplit(recurrent, gates)])
    return [kernel, recurrent, np.concatenate([0.25 * bias, 0.75 * bias]) if bias.ndim == 1 else bias.ravel()]


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
@pytest.mark.parametrize("around", ["nothing", "Bidirectional", "Sequential"])
def test_cudnn(tmp_path, kind, around):
    old, new = layer(f"CuDNN{kind}", "c", units=2, return_sequences=True), getattr(layers, kind)
    recurrent = new(2, return_sequences=True)
    if around == "Bidirectional":
        old, recurrent = (
            layer(around, "b", layer=old, merge_mode="sum"),
            layers.Bidirectional(recurrent, "sum"),
        )
    shape = {"batch_input_shape": [None, 5, 3]}
    described = sequential(layer("Dense", "d", units=3, **shape), old)
    expected = Sequential([Input((5, 3)), layers.Dense(3), recurrent])
    values = random_like(expected)
    arrays = values[:2] + [a for i in range(2, len(values), 3) for a in as_cudnn(*values[i : i + 3])]
    weights = {
        "d": dict(zip("ab", arrays[:2], strict=True)),
        "c": dict(zip("cdefgh", arrays[2:], strict=False)),
    }
    if around == "Sequential":
        described, weights = sequential(described), {"old": dict(zip("abcde", arrays, strict=True))}
    path = write_model(tmp_path / "old.h5", described, weights, version="2.2.4")
    assert_same_predictions(load_model(path), expected, SEQUENCES)


# --- graphs -------------------------------------------------------------------------------------------------


def test_states_to_begin_with_stood_among_the_inputs():
    described = graph(
        [
            start("a", 5, 3),
            start("b", 5, 3),
            called(layer("LSTM", "enc", units=2, return_state=True), [["a", 0, 0, {}]]),
            called(
                layer("LSTM", "dec", units=2),
                [["b", 0, 0, {"training": None}], ["enc", 0, 1, {"constants": None}], ["enc", 0, 2, {}]],
            ),
        ],
        [["a", 0, 0], ["b", 0, 0]],
        [["dec", 0, 0]],
    )
    a, b = Input((5, 3)), Input((5, 3))
    _, *states = layers.LSTM(2, return_state=True)(a)
    expected = Model([a, b], layers.LSTM(2)(b, initial_state=states))
    assert_reads(described, expected, [SEQUENCES, SEQUENCES[::-1]])


def test_states_in_both_directions_and_of_stacked_cells():
    stack = [layer("LSTMCell", "c0", units=3), layer("LSTMCell", "c1", units=2)]
    stacked = {"cell": layer("StackedRNNCells", "c", cells=stack)}
    described = graph(
        [
            start("a", 5, 3),
            called(
                layer("Bidirectional", "one", layer=layer("GRU", "g", units=2, return_state=True)),
                [["a", 0, 0]],
            ),
            called(
                layer("Bidirectional", "two", layer=layer("GRU", "h", units=2)),
                [["a", 0, 0, {"constants": None}], ["one", 0, 1, {}], ["one", 0, 2, {}]],
            ),
            called(layer("RNN", "r", return_state=True, **stacked), [["a", 0, 0, {}]]),
            called(layer("RNN", "s", **stacked), [["a", 0, 0, {}], *[["r", 0, i, {}] for i in (1, 2, 3, 4)]]),
        ],
        [["a", 0, 0]],
        [["two", 0, 0], ["s", 0, 0]],
    )
    # Today, too, each cell's states are results of their own: the list of a cell counts as two.
    a = Input((5, 3))
    _, *states = layers.Bidirectional(layers.GRU(2, return_state=True, reset_after=False))(a)
    two = layers.Bidirectional(layers.GRU(2, reset_after=False))(a, initial_state=states)

    def cells():
        return layers.StackedRNNCells([layers.LSTMCell(3), layers.LSTMCell(2)])

    _, *states = layers.RNN(cells(), return_state=True)(a)
    assert_reads(described, Model(a, [two, layers.RNN(cells())(a, initial_state=states)]), SEQUENCES)


def test_shared_layers_and_named_arguments():
    described = graph(
        [
            start("a", 5, 3),
            start("b", 5, 3),
            start("m", 5, dtype="bool"),
            called(layer("Dense", "d", units=3), [["a", 0, 0, {}]], [["b", 0, 0, {}]], [["l", 0, 0, {}]]),
            called(layer("LSTM", "l", units=3, return_sequences=True), [["d", 0, 0, {"mask": ["m", 0, 0]}]]),
            called(layer("Dropout", "o", rate=0.5), [["d", 2, 0, {"training": False}]]),
            called(
                layer("Attention", "t", use_scale=False, dropout=0.0),
                [
                    ["o", 0, 0, {"return_attention_scores": True}],
                    ["d", 1, 0, {"return_attention_scores": True}],
                ],
            ),
        ],
        [["a", 0, 0], ["b", 0, 0], ["m", 0, 0]],
        [["t", 0, 0], ["t", 0, 1]],
    )
    a, b, m = Input((5, 3)), Input((5, 3)), Input((5,), dtype="bool")
    d = layers.Dense(3)
    y, z = d(a), d(b)
    y = d(layers.LSTM(3, return_sequences=True)(y, mask=m))
    expected = Model([a, b, m], list(layers.Attention()([y, z], return_attention_scores=True)))
    mask = np.arange(5) < np.array([[1], [3], [5], [2]])
    found = assert_reads(described, expected, [SEQUENCES, SEQUENCES[::-1], mask])
    outputs = [found([SEQUENCES, SEQUENCES, mask], training=True)[0].numpy() for _ in range(2)]
    np.testing.assert_array_equal(*outputs)  # the dropout was told not to


def inner_graph(**names):
    nodes = [[["i", 0, 0, {}], ["j", 0, 0, {}]]]
    return graph(
        [start("i", 5, 3), start("j", 5, 3), called(layer("Concatenate", "c", axis=-1), *nodes)],
        {"one": ["i", 0, 0], "two": ["j", 0, 0]} if names else [["i", 0, 0], ["j", 0, 0]],
        [["c", 0, 0]],
        "inner",
    )


@pytest.mark.parametrize("named", [False, True])
def test_calls_of_a_model_within_count_from_one(named):
    row = sequential(layer("Dense", "d", units=2, batch_input_shape=[None, 5, 6]))
    row["config"]["name"] = "row"
    first, second = [["a", 0, 0, {}], ["b", 0, 0, {}]], [["b", 0, 0, {}], ["a", 0, 0, {}]]
    if named:
        first, second = ({"one": x, "two": y} for x, y in (first, second))
    described = graph(
        [
            start("a", 5, 3),
            start("b", 5, 3),
            called(inner_graph(named=True) if named else inner_graph(), first, second),
            called(row, [["inner", 1, 0, {}]], [["inner", 2, 0, {}]]),
        ],
        [["a", 0, 0], ["b", 0, 0]],
        [["inner", 2, 0], ["row", 1, 0], ["row", 2, 0]],
    )
    a, b = Input((5, 3)), Input((5, 3))
    dense, one, two = layers.Dense(2), layers.Concatenate()([a, b]), layers.Concatenate()([b, a])
    expected = Model([a, b], [two, dense(one), dense(two)])
    assert_reads(described, expected, [SEQUENCES, SEQUENCES[::-1]])


def test_a_state_that_was_written_into_the_graph():
    h = rng.standard_normal((4, 2)).round(3)
    described = graph(
        [
            start("a", 5, 3),
            called(layer("SimpleRNN", "s", units=2), [["a", 0, 0, {"initial_state": [h.tolist()]}]]),
        ],
        ["a", 0, 0],
        ["s", 0, 0],
    )
    a, start_state = Input((5, 3)), Input((2,))
    expected = Model([a, start_state], layers.SimpleRNN(2)(a, initial_state=start_state))
    found = from_json(described)
    found.set_weights(random_like(expected))
    prediction = found.predict(SEQUENCES, verbose=0)
    np.testing.assert_allclose(prediction, expected.predict([SEQUENCES, h], verbose=0), atol=1e-6)


# --- training -----------------------------------------------------------------------------------------------


DENSE = sequential(layer("Dense", "d", units=2, batch_input_shape=[None, 3]))
ONES = {"d": {"kernel:0": np.ones((3, 2), "float32"), "bias:0": np.ones(2, "float32")}}


def trained(path, optimizer, config, state=None, version="2.15.0", **more):
    training = {"optimizer_config": {"class_name": optimizer, "config": config}, "loss": "mse", **more}
    return load_model(write_model(path / "old.h5", DENSE, ONES, version, training, state))


def test_state_of_the_first_optimizers_is_left_out_with_a_warning(tmp_path):
    state = {"training/Adam/iterations:0": np.int64(7), "training/Adam/Variable:0": np.ones((3, 2))}
    with pytest.warns(UserWarning, match=r"Keras 2\.2\.4 kept is not read; it starts afresh"):
        found = trained(
            tmp_path, "Adam", {"lr": 0.02, "decay": 0.0, "epsilon": 1e-7}, state, "2.2.4", metrics=["acc"]
        )
    assert found.optimizer.iterations == 0
    assert float(found.optimizer.learning_rate) == pytest.approx(0.02)


def test_state_of_later_optimizers_is_taken_over(tmp_path):
    state = {"iteration:0": np.int64(7)}
    for name, shape in {"d/kernel": (3, 2), "d/bias": (2,)}.items():
        state |= {f"Adam/m/{name}:0": np.full(shape, 0.5), f"Adam/v/{name}:0": np.full(shape, 0.25)}
    found = trained(tmp_path, "Custom>Adam", {"learning_rate": 0.02, "jit_compile": True}, state)
    assert found.optimizer.iterations == 7
    slots = {tuple(np.unique(s.data)) for s in found.optimizer.variables if s.data.ndim}
    assert slots == {(0.5,), (0.25,)}


def test_decay_of_the_learning_rate(tmp_path):
    found = trained(tmp_path, "SGD", {"lr": 0.1, "decay": 0.5, "momentum": 0.0, "nesterov": False})
    x, y = np.ones((1, 3)), np.zeros((1, 2))
    kernel = [found.get_weights()[0][0, 0]]
    for _ in range(3):
        found.train_on_batch(x, y)
        kernel.append(found.get_weights()[0][0, 0])
    expected, w, b = [1.0], 1.0, 1.0
    for step in range(3):
        gradient = 3 * w + b  # of the mean of two squares
        w, b = (v - 0.1 / (1 + 0.5 * step) * gradient for v in (w, b))
        expected.append(w)
    np.testing.assert_allclose(kernel, expected, rtol=1e-5)


def test_a_model_is_read_without_an_optimizer_that_is_not_here(tmp_path):
    with pytest.raises(ModelFileError, match=r"unknown optimizer 'Ftrl'.*compile=False"):
        trained(tmp_path, "Ftrl", {"learning_rate": 0.1})
    assert not load_model(tmp_path / "old.h5", compile=False).compiled


def test_nadam_and_adagrad(tmp_path):
    with pytest.warns(UserWarning, match=r"Nadam: .* schedule_decay=0\.004"):
        trained(tmp_path, "Nadam", {"lr": 0.002, "schedule_decay": 0.004})
    found = trained(tmp_path, "Adagrad", {"lr": 0.01, "decay": 0.0})
    assert found.optimizer.get_config()["initial_accumulator_value"] == 0


@pytest.mark.parametrize("metrics", [["mae"], [["mae"], ["mae"]], "objects"])
def test_metrics_of_several_outputs(metrics):
    if metrics == "objects":  # these have their output's name in their own
        settings = {"fn": "mae", "dtype": "float32"}
        metrics = [
            [{"class_name": "MeanMetricWrapper", "config": {"name": f"{u}_mae", **settings}}] for u in "uv"
        ]
    described = graph(
        [start("a", 3), *[called(layer("Dense", u, units=1), [["a", 0, 0, {}]]) for u in "uv"]],
        [["a", 0, 0]],
        [["u", 0, 0], ["v", 0, 0]],
    )
    described["compile_config"] = {"optimizer": "sgd", "loss": "mse", "metrics": metrics}
    found = from_json(described).evaluate(np.ones((2, 3)), [np.ones((2, 1))] * 2, return_dict=True, verbose=0)
    assert set(found) == {"loss", "u_loss", "v_loss", "u_mae", "v_mae"}


def test_legacy_optimizers_warn_that_an_archive_has_no_state():
    described = {**DENSE, "compile_config": {"loss": "mse"}}
    described["compile_config"]["optimizer"] = {
        "module": "keras.optimizers.legacy",
        "class_name": "Adam",
        "config": {"learning_rate": 0.01},
    }
    with pytest.warns(UserWarning, match="starts afresh"):
        from_json(described)


@pytest.mark.filterwarnings("error")
def test_without_compiling_nobody_is_warned(tmp_path):
    optimizer = {"module": "keras.optimizers.legacy", "class_name": "Nadam", "config": {"decay": 0.004}}
    arrays = {f"layers/dense/vars/{i}": values for i, values in enumerate(ONES["d"].values())}
    write_archive(tmp_path / "old.keras", {**DENSE, "compile_config": {"optimizer": optimizer}}, arrays)
    assert not load_model(tmp_path / "old.keras", compile=False).compiled


# --- what is refused ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("described", "message"),
    [
        (layer("Lambda", "x", function=["4wEAAAA=", None, None], function_type="lambda"), "never run"),
        (layer("TFOpLambda", "x", function="math.multiply"), "operations between layers"),
        (layer("Conv1D", "x", filters=2), "unknown layer 'Conv1D'"),
    ],
)
def test_layers_that_are_refused(described, message):
    with pytest.raises(ModelFileError, match=message):
        from_json(sequential(layer("Dense", "d", units=2, batch_input_shape=[None, 3]), described))


@pytest.mark.parametrize("version", ["1.2.2", None])
def test_keras_1_is_refused(tmp_path, version):
    described = [
        {"class_name": "Dense", "config": {"name": "d", "output_dim": 2, "batch_input_shape": [None, 3]}}
    ]
    old = write_model(tmp_path / "old.h5", {"class_name": "Sequential", "config": described}, ONES, version)
    with pytest.raises(ModelFileError, match=r"Keras 1.*files of Keras 2 and 3 are read"):
        load_model(old)
    with h5py.File(tmp_path / "weights.h5", "w") as file:
        write_weights(file, ONES, version)
    model = Sequential([Input((3,)), layers.Dense(2)])
    with pytest.raises(ModelFileError, match=r"Keras 1.*files of Keras 2 and 3 are read"):
        model.load_weights(tmp_path / "weights.h5")


def test_constants_are_refused():
    nodes = [["a", 0, 0, {"constants": [["b", 0, 0]]}]]
    described = graph(
        [start("a", 5, 3), start("b", 2), called(layer("GRU", "g", units=2), nodes)], ["a", 0, 0], ["g", 0, 0]
    )
    with pytest.raises(ModelFileError, match="constants"):
        from_json(described)


# --- the first Keras 3 --------------------------------------------------------------------------------------


def tensor(*history):
    return {
        "class_name": "__keras_tensor__",
        "config": {"shape": [None], "dtype": "float32", "keras_history": history},
    }


def node(*args, **kwargs):
    return {"args": list(args), "kwargs": kwargs}


def operation(kind, name, *args, **config):
    described = {"module": "keras.src.ops.numpy", "class_name": kind, "config": {"name": name, **config}}
    return called(described, node(*args))


def keras_3_0(compared_with=0):
    """Return a graph as Keras 3.0 to 3.3 wrote it: with how its masks are computed."""
    word, vector = called(layer("InputLayer", "a", batch_shape=[None, 4])), start("b", 5, 3)
    word["config"]["dtype"] = "int32"
    vector["config"] |= {"batch_shape": vector["config"].pop("batch_input_shape")}
    embedding = layer("Embedding", "e", input_dim=5, output_dim=3, mask_zero=True)
    return graph(
        [
            word,
            vector,
            called(embedding, node(tensor("a", 0, 0))),
            called(layer("Masking", "m", mask_value=0.5), node(tensor("b", 0, 0))),
            operation("NotEqual", "n0", tensor("a", 0, 0), compared_with),
            operation("NotEqual", "n1", tensor("b", 0, 0), 0.5),
            operation("Any", "any", tensor("n1", 0, 0), axis=-1, keepdims=False),
            called(
                layer("LSTM", "l", units=2), node(tensor("e", 0, 0), training=False, mask=tensor("n0", 0, 0))
            ),
            called(
                layer("GRU", "g", units=2), node(tensor("m", 0, 0), training=False, mask=tensor("any", 0, 0))
            ),
        ],
        [["a", 0, 0], ["b", 0, 0]],
        [["l", 0, 0], ["g", 0, 0]],
    )


def test_masks_are_not_read_but_computed():
    a, b = Input((4,), dtype="int32"), Input((5, 3))
    e, m = layers.Embedding(5, 3, mask_zero=True)(a), layers.Masking(0.5)(b)
    expected = Model([a, b], [layers.LSTM(2)(e), layers.GRU(2)(m)])
    found = from_json(keras_3_0(), "3.3.3")
    found.set_weights(random_like(expected))
    x = SEQUENCES.copy()
    x[1, 2:] = 0.5
    assert_same_predictions(found, expected, [IDS, x])
    with pytest.raises(ModelFileError, match="operations between layers"):
        from_json(keras_3_0(compared_with=1), "3.3.3")


def test_training_mode_is_the_model_s_and_not_the_file_s():
    described = graph(
        [
            called(layer("InputLayer", "a", batch_shape=[None, 5, 3])),
            called(layer("Dropout", "d", rate=0.5), node(tensor("a", 0, 0), training=False)),
        ],
        ["a", 0, 0],
        ["d", 0, 0],
    )
    found = from_json(described, "3.15.1")
    assert (found(SEQUENCES, training=True).numpy() == 0).any()
    np.testing.assert_array_equal(found.predict(SEQUENCES, verbose=0), SEQUENCES)
    a = Input((5, 3))
    ours = Model(a, layers.Dropout(0.5)(a, training=False))
    again = model_from_json(ours.to_json())
    np.testing.assert_array_equal(again(SEQUENCES, training=True).numpy(), SEQUENCES)
