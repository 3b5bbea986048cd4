"""Model files from strangers: nothing in them is run, nothing they claim believed, none stops the program."""

import base64
import copy
import io
import itertools
import json
import marshal
import random
import struct
import time
import tracemalloc
import warnings
import zipfile

import h5py
import numpy as np
import pytest
from test_hdf5 import file_of, link_out, mutated

from tinyrnn import Input, Model, ModelFileError, Sequential, load_model
from tinyrnn import layers as L  # noqa: N812
from tinyrnn.saving.hdf5 import write

ALLOWED = 500e6  # bytes of memory, or twenty times the size of the file, as `load_model` says


@pytest.fixture(scope="module")
def members(tmp_path_factory):
    """The parts of a good file, one model with every kind of thing in it."""
    words, first = Input((None,), dtype="int32", name="words"), Input((3,), name="first")
    h = L.Embedding(6, 2, mask_zero=True)(words)
    h = L.Bidirectional(L.LSTM(2, dropout=0.1, recurrent_regularizer="l2"))(h)
    model = Model(
        [words, first], L.Dense(1)(L.Concatenate()([h, L.RNN(L.GRUCell(2))(L.RepeatVector(2)(first))]))
    )
    model.compile("adam", "mse", metrics=["mae"])
    model.train_on_batch([np.ones((2, 3), int), np.ones((2, 3))], np.ones((2, 1)))
    path = tmp_path_factory.mktemp("good") / "m.keras"
    model.save(path)
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def packed(members, compression=zipfile.ZIP_STORED):
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return memory.getvalue()


def with_config(members, change):
    """Return a file whose configuration ``change(config)`` has changed."""
    config = json.loads(members["config.json"])
    changed = change(config)
    return packed(members | {"config.json": json.dumps(config if changed is None else changed)})


def refused(tmp_path, data, message):
    path = tmp_path / "stranger.keras"
    path.write_bytes(data)
    with pytest.raises(ModelFileError, match=message):
        load_model(path)


# --- code -------------------------------------------------------------------------------------------------


def row(*layers):
    return {"module": "keras", "class_name": "Sequential", "config": {"name": "row", "layers": list(layers)}}


def entry(class_name, module="keras.layers", **config):
    return {"module": module, "class_name": class_name, "config": config}


INPUT = entry("InputLayer", batch_shape=[None, 3], dtype="float32", name="i")


def packed_lambda():
    code = base64.b64encode(marshal.dumps((lambda x: print("run")).__code__)).decode()
    return {
        "class_name": "__lambda__",
        "config": {"value": {"code": code, "defaults": None, "closure": None}},
    }


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (entry("Lambda", function=packed_lambda()), "code from a file is never run"),
        (entry("Lambda", function=["4wEAAAA=", None, None]), "code from a file is never run"),
        (entry("Dense", units=1, activation=packed_lambda()), "code from a file is never run"),
        (entry("Lambda", function="system"), "unknown function 'system'"),
        (entry("system", "os", command="touch run"), "unknown layer 'system'"),
        (entry("Popen", "subprocess", args="true"), "unknown layer 'Popen'"),
        (entry("Dense", units=1, activation="os.system"), "unknown activation 'os.system'"),
        (entry("Dense", units=1, kernel_initializer=entry("load", "numpy", file="x")), "unknown initializer"),
        (entry("Add", "keras.src.ops.numpy"), "operations between layers are not supported"),
        (entry("Adam", "keras.optimizers"), "unknown layer 'Adam'"),
    ],
)
def test_no_code_is_run(members, tmp_path, layer, message, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused(tmp_path, with_config(members, lambda _: row(INPUT, layer)), message)
    assert not (tmp_path / "run").exists()


def test_no_pickle_is_read(members, tmp_path):
    pickled = b"cos\nsystem\n(S'touch run'\ntR."
    for name in members:
        refused(tmp_path, packed(members | {name: pickled}), "stranger.keras: ")
    refused(tmp_path, pickled, "stranger.keras: ")


def test_paths_out_of_the_archive_are_nothing_to_it(members, tmp_path):
    (tmp_path / "folder").mkdir()
    path = tmp_path / "folder" / "m.keras"
    path.write_bytes(packed(members | {"../outside": b"x", "/outside": b"x", "assets/../../y": b"x"}))
    load_model(path)
    assert [p.name for p in tmp_path.rglob("*")] == ["folder", "m.keras"]
    refused(
        tmp_path,
        packed({"../config.json": members["config.json"]}),
        "no model: the archive has no config.json",
    )


def test_links_to_other_files_are_refused(members, tmp_path):
    refused(tmp_path, packed(members | {"model.weights.h5": file_of(link_out)}), "not followed")


# --- claims -----------------------------------------------------------------------------------------------


def sizes_of(config, value):
    """Put a number in the place of every size in a configuration, one after the other."""
    for key in ("units", "input_dim", "output_dim", "n"):
        for place in _places(config):
            if isinstance(place, dict) and isinstance(place.get(key), int):
                before, place[key] = place[key], value
                yield key
                place[key] = before


def _places(nest):
    yield nest
    children = nest.values() if isinstance(nest, dict) else nest if isinstance(nest, list) else ()
    for child in children:
        yield from _places(child)


@pytest.mark.parametrize("size", [10**5, 2**31, 10**15, 10**30])
def test_a_small_file_that_claims_a_huge_model(members, tmp_path, size):
    config, tried = json.loads(members["config.json"]), 0
    for key in sizes_of(config, size):
        if key == "n":
            continue  # how often a vector is repeated takes no memory before there is one
        data = packed(members | {"config.json": json.dumps(config)})
        assert peak_of(tmp_path, data) < ALLOWED
        refused(tmp_path, data, "has more values than the file holds|stranger.keras")
        tried += 1
    assert tried >= 5


def test_a_small_file_that_unpacks_to_a_large_one(members, tmp_path):
    for name in members:
        bomb = packed(members | {name: bytes(300 * 2**20)}, zipfile.ZIP_DEFLATED)
        assert len(bomb) < 2**20
        assert peak_of(tmp_path, bomb) < 2**20
        refused(tmp_path, bomb, r"a file of [\d,]+ bytes that claims to hold 314,")


def test_a_member_that_is_larger_than_it_says(members, tmp_path):
    size = 300 * 2**20
    bomb = packed(members | {"metadata.json": bytes(size)}, zipfile.ZIP_DEFLATED)
    liar = bomb.replace(struct.pack("<I", size), struct.pack("<I", 1000))  # in both of its headers
    assert liar != bomb
    assert peak_of(tmp_path, liar) < 2**20
    refused(tmp_path, liar, "Bad CRC-32")


@pytest.mark.parametrize("way", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_ways_to_compress_that_cannot_be_read_in_pieces(members, tmp_path, way):
    refused(tmp_path, packed(members, way), "is compressed in a way that is not read")


def test_two_members_of_one_name(members, tmp_path):
    memory = io.BytesIO(packed(members))
    with zipfile.ZipFile(memory, "a") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        archive.writestr("config.json", b"{}")
    refused(tmp_path, memory.getvalue(), "config.json is in the archive 2 times")


def test_nests_without_end(members, tmp_path):
    deep = "[" * 100_000 + "]" * 100_000
    refused(tmp_path, packed(members | {"config.json": deep}), "recursion|Recursion")
    inner = row(INPUT)
    for _ in range(300):
        inner = row(INPUT, inner)
    refused(tmp_path, with_config(members, lambda _: inner), "stranger.keras: ")


def test_a_graph_that_leads_back_to_itself(members, tmp_path):
    def change(config):
        for layer in config["config"]["layers"]:
            if layer["class_name"] == "RepeatVector":
                layer["inbound_nodes"][0]["args"][0]["config"]["keras_history"] = ["dense", 0, 0]

    refused(tmp_path, with_config(members, change), "recursion|stranger.keras: ")


def test_a_layer_that_is_called_on_numbers(members, tmp_path):
    """It would compute at once, what and how much the file says, and leave nothing in the graph."""

    def change(config):
        for layer in config["config"]["layers"]:
            if layer["class_name"] == "RepeatVector":
                layer["config"]["n"] = 10**9
                layer["inbound_nodes"][0]["args"] = [[[1.0, 2.0, 3.0]]]

    refused(tmp_path, with_config(members, change), "is called on nothing of the graph")


def peak_of(tmp_path, data):
    """Return how much memory opening a file takes at its peak, whether it can be opened or not."""
    path = tmp_path / "measured.keras"
    path.write_bytes(data)
    tracemalloc.start()
    try:
        load_model(path)
    except ModelFileError:
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return peak


def test_a_good_file_takes_little_more_than_it_needs(tmp_path):
    model = Sequential([Input((None,), dtype="int32"), L.Embedding(40_000, 64), L.LSTM(64)])
    model.compile("adam", "mse")
    model.train_on_batch(np.ones((2, 3), int), np.ones((2, 64)))
    model.save(tmp_path / "m.keras")
    data = (tmp_path / "m.keras").read_bytes()
    assert len(data) > 30e6
    assert peak_of(tmp_path, data) < 6 * len(data)


def test_a_model_within_a_model_within_a_model(tmp_path, members):
    """Each calls the one in it twice: n levels make 2**n calls."""

    def tensor(name, call=0):
        return {"class_name": "__keras_tensor__", "config": {"keras_history": [name, call, 0]}}

    def entry_of(described, name, nodes):
        return described | {"name": name, "inbound_nodes": [{"args": [x], "kwargs": {}} for x in nodes]}

    inner = None
    for level in range(30):
        start = entry("InputLayer", batch_shape=[None, 3], dtype="float32", name="i")
        layers = [entry_of(start, "i", [])]
        if inner is None:
            layers.append(entry_of(entry("Activation", activation="tanh", name="m"), "m", [tensor("i")]))
        else:
            layers.append(entry_of(inner, "m", [tensor("i"), tensor("m")]))
        config = {"name": f"level{level}", "layers": layers, "input_layers": ["i", 0, 0]}
        config["output_layers"] = ["m", 0 if inner is None else 2, 0]
        inner = {"module": "keras.src.models.functional", "class_name": "Functional", "config": config}
    data = with_config(members, lambda _: inner)
    began = time.perf_counter()
    refused(tmp_path, data, "the layers of the file are called too often")
    assert time.perf_counter() - began < 60


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (entry("Dense", units=1, dtype="object"), "numbers of type 'object' are not supported"),
        (entry("_CellLayer", units=1), "unknown layer '_CellLayer'"),
        (
            entry(
                "Dense",
                units=1,
                bias_initializer={
                    "class_name": "Constant",
                    "config": {
                        "value": {"class_name": "__numpy__", "config": {"value": "x", "dtype": "U9999"}}
                    },
                },
            ),
            "an array of type 'U9999' is not supported",
        ),
    ],
)
def test_types_that_are_none_of_numbers(members, tmp_path, layer, message):
    refused(tmp_path, with_config(members, lambda _: row(INPUT, layer)), message)


class Doubled(L.Layer):
    """A layer that says nothing of its output's shape: it is tried out."""

    def call(self, inputs):
        return inputs * 2.0


def test_a_layer_is_not_tried_out_on_all_that_an_input_claims(members, tmp_path):
    huge = entry("InputLayer", batch_shape=[None, 10**10], dtype="float32", name="i")
    data = with_config(members, lambda _: row(huge, entry("Doubled")))
    assert peak_of(tmp_path, data) < 50e6
    refused(tmp_path, data, "is too large to try a file's layer on")


def test_words_without_end(members, tmp_path):
    data = packed(members | {"config.json": "[" + "{}," * 10**6 + "{}]"}, zipfile.ZIP_DEFLATED)
    assert peak_of(tmp_path, data) < 50e6
    refused(tmp_path, data, r"config\.json has 3,000,004 bytes; 2,097,152 are read at most")


def test_an_optimizer_with_more_state_than_the_file_holds(members, tmp_path):
    numbers = {"layers/dense/vars/0": np.ones((50, 100), "f4"), "layers/dense/vars/1": np.zeros(100, "f4")}
    numbers |= {f"optimizer/vars/{i}": np.zeros((), "f4") for i in range(5)}
    config = row(
        entry("InputLayer", batch_shape=[None, 50], dtype="float32", name="i"), entry("Dense", units=100)
    )
    config["compile_config"] = {"optimizer": entry("Adam", "keras.optimizers", amsgrad=True, use_ema=True)}
    data = packed({"config.json": json.dumps(config), "model.weights.h5": write(numbers)})
    refused(tmp_path, data, "adam: its state has more numbers than the file holds")


# --- weights for a model that is there ----------------------------------------------------------------------


@pytest.fixture
def trained():
    model = Sequential([Input((4, 3)), L.LSTM(2, dropout=0.1), L.Dense(1)])
    model.compile("adam", "mse")
    model.train_on_batch(np.ones((2, 4, 3)), np.ones((2, 1)))
    return model


def state_of(model):
    chance = model.layers[0].cell._generator.bit_generator.state
    return [*model.get_weights(), *(v.data.copy() for v in model.optimizer.variables)], chance


def unchanged(model, path, message):
    (before, chance) = state_of(model)
    with pytest.raises(ModelFileError, match=message):
        model.load_weights(path)
    after, now = state_of(model)
    assert now == chance
    for a, b in zip(after, before, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("group", "name", "value", "message"),
    [
        ("tinyrnn/chance/layers/lstm/cell", "_generator", "[]", "weights.h5: "),
        (
            "tinyrnn/chance/layers/lstm/cell",
            "_generator",
            '{"bit_generator": "PCG64", "state": 5}',
            "weights.h5: ",
        ),
        ("tinyrnn/chance/layers/lstm/cell", "_generator", 5, "expected a text '_generator'"),
        ("tinyrnn/excluded", "numbers", "null", "expected numbers of the 5 variables"),
        ("tinyrnn/excluded", "numbers", "[99]", "expected numbers of the 5 variables"),
        ("tinyrnn/progress", "text", "{}", "the progress of a training is damaged"),
        ("tinyrnn/progress", "other", "{}", "expected a text 'text'"),
    ],
)
def test_a_file_that_is_refused_leaves_the_model_as_it_was(trained, tmp_path, group, name, value, message):
    path = tmp_path / "m.weights.h5"
    trained.save_weights(path)
    trained.train_on_batch(np.zeros((2, 4, 3)), np.ones((2, 1)))
    with h5py.File(path, "r+") as file:
        file.require_group(group).attrs[name] = value
    unchanged(trained, path, message)


@pytest.mark.parametrize("steps", [-5, np.nan, 2.0**60])
def test_a_number_of_steps_that_is_none(trained, tmp_path, steps):
    path = tmp_path / "m.weights.h5"
    trained.save_weights(path)
    with h5py.File(path, "r+") as file:
        del file["optimizer/vars/0"]
        file["optimizer/vars/0"] = steps
    unchanged(trained, path, "expected a number of steps")


def test_two_thousand_damaged_files_of_weights(trained, tmp_path):
    path = tmp_path / "m.weights.h5"
    trained.save_weights(path)
    good, loaded = path.read_bytes(), 0
    for seed in range(2000):
        path.write_bytes(mutated(good, seed + 10**6))
        before = state_of(trained)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of an optimizer that starts afresh
            try:
                trained.load_weights(path)
                loaded += 1
                continue
            except ModelFileError:
                pass
        after = state_of(trained)
        assert after[1] == before[1]
        for a, b in zip(after[0], before[0], strict=True):
            np.testing.assert_array_equal(a, b)
    assert 200 < loaded < 1800


def test_groups_that_share_their_groups(trained, tmp_path):
    """Thirty levels, each with two names for the next: 2**30 paths."""
    path = tmp_path / "m.weights.h5"
    trained.save_weights(path)
    with h5py.File(path, "r+") as file:
        group = file.create_group("layers/extra")
        for _ in range(30):
            group["b"] = group.create_group("a")
            group = group["a"]
    unchanged(trained, path, "is in the file more than once")


# --- damaged ----------------------------------------------------------------------------------------------

STRANGE = [
    None,
    True,
    0,
    -1,
    1.5,
    10**12,
    1e999,
    "",
    "x",
    "tanh",
    [],
    [1],
    [None, None],
    {},
    {"class_name": "LSTM"},
]


def mutated_json(text, seed):
    """Return JSON in which one to three values are others, are gone, or stand elsewhere."""
    chance, config = random.Random(seed), json.loads(text)
    for _ in range(chance.choice([1, 1, 2, 3])):
        nests = [nest for nest in _places(config) if isinstance(nest, dict | list) and nest]
        nest = chance.choice(nests)
        key = chance.choice(list(nest) if isinstance(nest, dict) else range(len(nest)))
        kind = chance.random()
        if kind < 0.5:
            nest[key] = chance.choice(STRANGE)
        elif kind < 0.7:
            del nest[key]
        elif kind < 0.9:
            nest[key] = copy.deepcopy(chance.choice(nests))
        elif isinstance(nest, dict):
            nest[chance.choice(["units", "name", "dtype", "extra", "class_name"])] = nest.pop(key)
    return json.dumps(config)


def damaged_files(members, count):
    """Yield damaged files: the archive itself, and good archives of damaged parts."""
    whole = packed(members)
    for seed in range(count):
        kind = seed % 4
        if kind == 0:
            yield mutated(whole, seed)
        elif kind == 1:
            yield packed(members | {"model.weights.h5": mutated(members["model.weights.h5"], seed)})
        elif kind == 2:
            yield packed(members | {"config.json": mutated(members["config.json"], seed)})
        else:
            yield packed(members | {"config.json": mutated_json(members["config.json"], seed)})


def damaged_h5(count):
    """Yield damaged files of Keras 2."""
    layers = [
        entry("LSTM", name="lstm", units=2, batch_input_shape=[None, 4, 3]),
        entry("Dense", name="d", units=1),
    ]
    weights = {"lstm": [(3, 8), (2, 8), (8,)], "d": [(2, 1), (1,)]}

    def fill(file, config):
        file.attrs.update({"model_config": config, "keras_version": "2.15.0"})
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = list(weights)
        for name, shapes in weights.items():
            for i, shape in enumerate(shapes):
                group[f"{name}/{i}"] = np.ones(shape, "f4")
            group[name].attrs["weight_names"] = [str(i) for i in range(len(shapes))]

    config = json.dumps(row(*layers))
    good = file_of(lambda file: fill(file, config))
    yield good
    for seed in range(count):
        if seed % 2:
            yield mutated(good, seed)
        else:
            text = mutated_json(config, seed)
            yield file_of(lambda file, text=text: fill(file, text))


def opens(path):
    """Whether a file can be opened; if not, it is refused as the documentation says."""
    try:
        load_model(path)
    except ModelFileError as error:
        if str(error).startswith(f"{path}: "):
            return False
        raise
    return True


def test_ten_thousand_damaged_files_open_or_are_refused(members, tmp_path):
    path = tmp_path / "stranger.keras"
    opened = slowest = most = 0
    files = itertools.chain([packed(members)], damaged_files(members, 8000), damaged_h5(2000))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of settings that are not known
        for i, data in enumerate(files):
            path.write_bytes(data)
            began = time.perf_counter()
            opened += opens(path)
            slowest = max(slowest, time.perf_counter() - began)
            if i % 40 < 4:  # measuring memory takes its time
                most = max(most, peak_of(tmp_path, data))
    assert 1000 < opened < 9000  # the mutations are neither harmless nor hopeless
    assert most < ALLOWED
    assert slowest < 30  # generous: the machine may be busy
