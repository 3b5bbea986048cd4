"""The framework on a GPU: the same programs give the same numbers, and no training step waits for one."""

import contextlib
import copy
import math
import sys
import types

import numpy as np
import pytest

import tinyrnn
from tinyrnn import backend, layers, losses, metrics, ops, optimizers
from tinyrnn.backend import DeviceError, on_device
from tinyrnn.callbacks.logs import Logs
from tinyrnn.data import ClassWeight, as_batch
from tinyrnn.layers import (
    GRU,
    LSTM,
    RNN,
    Bidirectional,
    Dense,
    Embedding,
    Input,
    Lambda,
    LSTMCell,
    Masking,
    SimpleRNN,
    TimeDistributed,
)
from tinyrnn.models import Model, Sequential

rng = np.random.default_rng(7)
B, T, F = 4, 5, 3
SEQUENCES = rng.standard_normal((B, T, F)).astype("float32")
VECTORS = rng.standard_normal((B, F)).astype("float32")
IDS = rng.integers(1, 9, (B, T))
IDS[1, 3:] = IDS[2, 1:] = 0


@pytest.fixture
def gpu(device_library):
    """The GPU is the current device during the test."""
    tinyrnn.set_device("gpu")
    yield device_library
    tinyrnn.set_device("cpu")


@pytest.fixture
def counted(standin):
    """The same on the stand-in for CuPy, which counts copies and has as much memory as one says."""
    tinyrnn.set_device("gpu")
    yield standin
    tinyrnn.set_device("cpu")


def quietly(library):
    """A context that refuses copies from the GPU to the host, where that can be found out."""
    if tinyrnn.get_device() == "cpu":
        return contextlib.nullcontext()
    return getattr(library, "no_host_copies", contextlib.nullcontext)()


@contextlib.contextmanager
def on(device):
    """A context with another current device, from the same random numbers and names."""
    before = tinyrnn.get_device()
    tinyrnn.set_device(device)
    tinyrnn.set_random_seed(3)
    try:
        yield
    finally:
        tinyrnn.set_device(before)


def on_both(run):
    """What ``run()`` returns on the CPU and on the GPU, made of the same random numbers."""
    found = []
    for device in ("cpu", "gpu"):
        with on(device):
            found.append(run())
    return found


def assert_close(a, b):
    np.testing.assert_equal(np.shape(a), np.shape(b))
    np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6)


def steps(model, batch, gpu, count=2):
    """Two training steps and one of evaluation; return all logs, the outputs and the weights.

    On the GPU neither may wait for the device, once the weights are there.
    """
    model.predict_on_batch(batch[0])
    batch = as_batch(batch)
    with quietly(gpu):
        logs = [model.train_step(batch) for _ in range(count)]
        model.reset_metrics()
        with tinyrnn.no_grad():
            logs.append(model.test_step(batch))
            outputs = model.predict_step(batch)
    if tinyrnn.get_device() == "gpu":
        assert all(on_device(w.data) for w in model.weights)
    outputs = outputs if isinstance(outputs, list | tuple) else [outputs]
    return [list(entry.values()) for entry in logs], [y.numpy() for y in outputs], model.get_weights()


def assert_same_training(make, batch, gpu, compare=assert_close):
    cpu, device = on_both(lambda: steps(make(), batch, gpu))
    assert len(cpu[0][0]) == len(device[0][0])
    for a, b in zip([*cpu[0], *cpu[1], *cpu[2]], [*device[0], *device[1], *device[2]], strict=True):
        for x, y in zip(a, b, strict=True) if isinstance(a, list) else [(a, b)]:
            compare(x, y)
    return device


# --- which device -----------------------------------------------------------------------------------------


def test_the_cpu_unless_told_otherwise():
    assert tinyrnn.get_device() == "cpu"
    assert type(layers.Variable(np.ones(2)).data) is np.ndarray


def test_gpu(gpu):
    assert tinyrnn.get_device() == "gpu"
    assert backend.device_reason() == "asked for"
    assert isinstance(tinyrnn.Tensor([1.0, 2.0]).data, gpu.ndarray)
    assert tinyrnn.Tensor([1.0]).dtype == "float32"
    assert isinstance(layers.Variable(np.ones(2)).data, gpu.ndarray)
    assert type(tinyrnn.Tensor([1.0]).numpy()) is np.ndarray
    tinyrnn.set_device("cpu")
    assert type(tinyrnn.Tensor([1.0]).data) is np.ndarray


def test_auto_takes_what_there_is(standin):
    tinyrnn.set_device("auto")
    assert (tinyrnn.get_device(), backend.device_reason()) == ("gpu", "it can be used")
    standin.device_count = 0
    tinyrnn.set_device("auto")
    assert tinyrnn.get_device() == "cpu"
    assert backend.device_reason().startswith("CuPy 14.0.0 finds no GPU")


def test_an_unknown_device():
    with pytest.raises(ValueError, match="device: expected one of cpu, gpu, auto, found 'tpu'"):
        tinyrnn.set_device("tpu")


@pytest.fixture
def undecided(monkeypatch):
    """No device has been chosen yet."""
    monkeypatch.setattr(backend, "_module", None)


def test_the_environment_says_where_a_program_begins(standin, undecided, monkeypatch):
    monkeypatch.setenv("TINYRNN_DEVICE", "gpu")
    assert on_device(tinyrnn.Tensor([1.0]).data)
    monkeypatch.setenv("TINYRNN_DEVICE", "cpu")  # read once
    assert tinyrnn.get_device() == "gpu"
    tinyrnn.set_device("cpu")


def test_an_environment_that_names_no_device(undecided, monkeypatch):
    monkeypatch.setenv("TINYRNN_DEVICE", "GPU")
    with pytest.raises(ValueError, match="TINYRNN_DEVICE: expected one of cpu, gpu, auto, found 'GPU'"):
        tinyrnn.get_device()


def refused(match):
    with pytest.raises(DeviceError, match=match):
        tinyrnn.set_device("gpu")
    assert tinyrnn.get_device() == "cpu"
    tinyrnn.set_device("auto")
    assert tinyrnn.get_device() == "cpu"
    assert backend.device_reason() != "asked for"
    tinyrnn.set_device("cpu")


def test_no_cupy(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)  # as if it was not installed
    refused(r'needs CuPy, which cannot be imported .*: pip install "tinyrnn\[gpu\]"')


def test_an_old_cupy(standin, monkeypatch):
    monkeypatch.setattr(standin, "__version__", "13.6.0")
    refused(r"needs CuPy 14 or later, found 13\.6\.0: pip install")


def test_no_gpu(standin):
    standin.device_count = 0
    refused(r"finds no GPU \(cudaErrorNoDevice.*that CUDA_VISIBLE_DEVICES does not hide")


def test_no_driver(standin, monkeypatch):
    def fails():
        raise RuntimeError("cudaErrorInsufficientDriver: CUDA driver version is insufficient")

    monkeypatch.setattr(standin.cuda.runtime, "getDeviceCount", fails)
    refused(r"finds no GPU \(cudaErrorInsufficientDriver.*a driver that is new enough")


def test_an_old_gpu(standin, monkeypatch):
    monkeypatch.setattr(standin.cuda, "Device", lambda: types.SimpleNamespace(compute_capability="61"))
    refused(r"compute capability 6\.1, expected at least 7\.5")


# --- where arrays are -------------------------------------------------------------------------------------


def test_a_model_computes_where_it_was_made(standin):
    cpu = Sequential([Input((F,)), Dense(2)])
    with on("gpu"):
        gpu = Sequential([Input((F,)), Dense(2)])
        with pytest.raises(TypeError, match="make or load it after set_device"):
            cpu.predict(VECTORS, verbose=0)
        assert gpu.predict(VECTORS, verbose=0).shape == (B, 2)
    with pytest.raises(TypeError, match="make or load it after set_device"):
        gpu.predict(VECTORS, verbose=0)
    assert cpu.predict(VECTORS, verbose=0).shape == (B, 2)


def test_mixed_arrays(gpu):
    x = tinyrnn.Tensor(np.ones(3))
    for mixed in (lambda: ops.maximum(x, np.ones(3)), lambda: ops.matmul(np.ones((2, 3)), x)):
        with pytest.raises(TypeError, match="arrays of the host and of the device in one operation"):
            mixed()
    assert (x * np.float64(2) + 1).numpy().tolist() == [3.0] * 3  # numbers mix


def test_weights_go_in_and_out_as_arrays_of_the_host(gpu):
    model = Sequential([Input((F,)), Dense(2)])
    values = [rng.standard_normal(w.shape).astype("float32") for w in model.weights]
    model.set_weights(values)
    found = model.get_weights()
    assert all(type(w) is np.ndarray for w in found)
    np.testing.assert_equal(found, values)
    model.weights[0].assign(model.weights[0].data * 2)  # or of the device
    np.testing.assert_equal(model.get_weights()[0], values[0] * 2)


def test_data_that_are_on_the_device_stay_there(counted):
    model = Sequential([Input((F,)), Dense(1)])
    model.compile("sgd", "mse")
    x, y = counted.asarray(VECTORS), counted.ones((B, 1), "float32")
    before = counted.copies.to_host
    twice = model.fit(x, y, batch_size=2, epochs=2, verbose=0).history["loss"]
    assert counted.copies.to_host - before == 2  # the loss of either epoch
    assert np.isfinite(twice).all()


# --- every layer ------------------------------------------------------------------------------------------


def two(make, **kwargs):
    """A model that merges its input with another reading of it."""

    def model():
        x = Input((T, F))
        return Model(x, make()([x, Dense(F)(x)], **kwargs))

    return model


def one(*made, shape=(T, F), **kwargs):
    return lambda: Sequential([Input(shape, **kwargs), Dense(F), *(make() for make in made)])


class Doubled(layers.Layer):
    """A layer of one's own, whose output has to be tried out."""

    def build(self, input_shape):
        self.w = self.add_weight((input_shape[-1],), name="w")

    def call(self, inputs, training=False):
        self.add_loss(ops.mean(inputs * inputs))
        return inputs * self.w * 2.0


def wordwise(**kwargs):
    return lambda: Sequential([Input((T,), dtype="int32"), Embedding(9, F, **kwargs)])


def recurrent(make):
    """After an embedding with a mask."""
    return lambda: Sequential([Input((T,), dtype="int32"), Embedding(9, F, mask_zero=True), make()])


STATES = {"return_sequences": True}
LAYERS = {
    "GRU": [recurrent(lambda: GRU(2)), one(lambda: GRU(2, reset_after=False, go_backwards=True))],
    "LSTM": [recurrent(lambda: LSTM(2, **STATES)), recurrent(lambda: LSTM(2, zero_output_for_mask=True))],
    "RNN": [
        one(lambda: RNN(LSTMCell(2, bias_regularizer="l2"))),
        one(lambda: RNN([LSTMCell(2), LSTMCell(3)])),
        recurrent(lambda: RNN(InKerasStyle(2))),
    ],
    "SimpleRNN": [recurrent(lambda: SimpleRNN(2)), one(lambda: SimpleRNN(2, kernel="unrolled"))],
    "Activation": [one(lambda: layers.Activation("gelu")), one(lambda: layers.Activation("softplus"))],
    "ActivityRegularization": [one(lambda: layers.ActivityRegularization(0.1, 0.2))],
    "Add": [two(layers.Add)],
    "AdditiveAttention": [two(lambda: layers.AdditiveAttention(dropout=0.5), use_causal_mask=True)],
    "Attention": [two(lambda: layers.Attention(score_mode="concat", use_scale=True))],
    "Average": [two(layers.Average)],
    "Bidirectional": [
        recurrent(lambda: Bidirectional(GRU(2, **STATES))),
        one(lambda: Bidirectional(LSTM(2), merge_mode="sum")),
    ],
    "Concatenate": [two(layers.Concatenate)],
    "Dense": [one(lambda: Dense(2, kernel_constraint="max_norm", kernel_regularizer="l1_l2"))],
    "Dot": [two(lambda: layers.Dot(2, normalize=True))],
    "Dropout": [
        one(lambda: layers.Dropout(0.4)),
        one(lambda: layers.Dropout(0.4, noise_shape=(None, 1, None))),
    ],
    "Embedding": [wordwise(), wordwise(mask_zero=True, embeddings_constraint="unit_norm")],
    "Flatten": [one(layers.Flatten)],
    "GaussianDropout": [one(lambda: layers.GaussianDropout(0.3))],
    "GaussianNoise": [one(lambda: layers.GaussianNoise(0.3))],
    "GlobalAveragePooling1D": [recurrent(layers.GlobalAveragePooling1D)],
    "GlobalMaxPooling1D": [one(layers.GlobalMaxPooling1D)],
    "InputLayer": [lambda: Sequential([layers.InputLayer((T, F)), Dense(1)])],
    "Lambda": [one(lambda: Lambda(lambda x: ops.exp(x) - x))],
    "Layer": [one(Doubled)],
    "LayerNormalization": [one(layers.LayerNormalization)],
    "LeakyReLU": [one(layers.LeakyReLU)],
    "Masking": [one(lambda: Masking(0.0), lambda: GRU(2))],
    "Maximum": [two(layers.Maximum)],
    "Minimum": [two(layers.Minimum)],
    "Multiply": [two(layers.Multiply)],
    "Permute": [one(lambda: layers.Permute((2, 1)))],
    "ReLU": [one(lambda: layers.ReLU(0.8, 0.1))],
    "RepeatVector": [one(lambda: layers.RepeatVector(3), shape=(F,))],
    "Reshape": [one(lambda: layers.Reshape((-1,)))],
    "Softmax": [one(layers.Softmax)],
    "SpatialDropout1D": [one(lambda: layers.SpatialDropout1D(0.4))],
    "Subtract": [two(layers.Subtract)],
    "TimeDistributed": [recurrent(lambda: TimeDistributed(Dense(2)))],
}


class InKerasStyle(layers.Layer):
    """A cell of one's own with ``call(inputs, states)``."""

    def __init__(self, units):
        super().__init__()
        self.state_size = units

    def build(self, input_shape):
        self.w = self.add_weight((input_shape[-1], self.state_size), name="w")

    def call(self, inputs, states):
        h = ops.tanh(inputs @ self.w + states[0])
        return h, [h]


CELLS = ("GRUCell", "LSTMCell", "RNNCell", "SimpleRNNCell", "StackedRNNCells")  # run by their layers


def test_no_layer_is_forgotten():
    classes = {c.__name__ for c in map(vars(layers).get, layers.__all__) if isinstance(c, type)}
    assert classes - {"Variable", *CELLS} == set(LAYERS)


DRAWS = ("AdditiveAttention", "Dropout", "GaussianDropout", "GaussianNoise", "SpatialDropout1D")


@pytest.mark.parametrize("name", LAYERS)
def test_every_layer(name, gpu):
    for make in LAYERS[name]:

        def compiled(make=make):
            model = make()
            model.compile(optimizers.Adam(0.01), "mse", metrics=["mae"])
            return model

        with on("cpu"):
            model = make()
            x = {(None, T, F): SEQUENCES, (None, F): VECTORS, (None, T): IDS}[model.input_shape]
            y = np.ones(model.predict_on_batch(x).shape, "float32")
        if name in DRAWS:  # other random numbers than on the CPU; the first half can be compared
            found = on_both(lambda: [compiled().predict_on_batch(x)])  # noqa: B023
            assert_close(*[y for (y,) in found])
            with on("gpu"):
                logs, *_ = steps(compiled(), (x, y), gpu)
                assert np.isfinite(logs).all()
        else:
            assert_same_training(compiled, (x, y), gpu)


def test_masks_and_dropout_of_a_cell_stay_on_the_device(gpu):
    model = recurrent(lambda: GRU(2, dropout=0.5, recurrent_dropout=0.5))()
    model.compile("sgd", "mse")
    logs, *_ = steps(model, (IDS, np.ones((B, 2), "float32")), gpu)
    assert np.isfinite(logs).all()
    factors = model.layers[-1].cell.draw_masks(200, 50)[1].get()
    assert set(np.unique(factors)) == {0.0, 2.0}
    assert abs((factors == 0).mean() - 0.5) < 0.02


def test_random_numbers_of_the_device_come_from_the_layers_seed(gpu):
    def drawn(seed):
        return layers.Dropout(0.5, seed=seed)(np.ones((20, 20)), training=True).numpy()

    np.testing.assert_equal(drawn(1), drawn(1))
    assert (drawn(1) != drawn(2)).any()
    layer = layers.GaussianNoise(0.1, seed=1)
    first, second = (layer(np.zeros((50, 50)), training=True).numpy() for _ in range(2))
    assert (first != second).any()
    assert abs(first.std() - 0.1) < 0.01


# --- every loss, metric and optimizer ---------------------------------------------------------------------

LABELS = rng.integers(0, 3, (B, 1))
ONE_HOT = np.eye(3, dtype="float32")[LABELS[:, 0]]
REALS = rng.standard_normal((B, 3)).astype("float32")


def labels_of(name):
    """Labels, and the activation of the model, for a loss or metric that is called so in any spelling."""
    name = name.lower().replace("_", "")
    if "sparse" in name:
        return LABELS, "softmax"
    if any(
        part in name for part in ("categorical", "divergence", "hinge", "f1", "precision", "recall", "auc")
    ):
        return ONE_HOT, "softmax"
    if "binary" in name:
        return (REALS > 0).astype("int32"), "sigmoid"
    return (np.abs(REALS), "sigmoid") if name in ("poisson", "meansquaredlogarithmicerror") else (REALS, None)


def classes_of(module, base, *without):
    found = [c for c in map(vars(module).get, module.__all__) if isinstance(c, type) and issubclass(c, base)]
    return [c for c in found if c not in (base, *without)]


def classifier(loss, activation, **compiled):
    model = Sequential([Input((F,)), Dense(3, activation=activation)])
    model.compile(optimizers.SGD(0.1), loss, **compiled)
    return model


@pytest.mark.parametrize("loss", classes_of(losses, losses.Loss, losses.LossFunctionWrapper))
def test_every_loss(loss, gpu):
    y, activation = labels_of(loss.__name__)
    for weight in (None, np.arange(B)):
        assert_same_training(lambda: classifier(loss(), activation), (VECTORS, y, weight), gpu)


SETTINGS = [
    ("sparse_categorical_crossentropy", {"ignore_class": 1}),
    ("sparse_categorical_crossentropy", {"from_logits": True}),
    ("categorical_crossentropy", {"label_smoothing": 0.1, "from_logits": True}),
    ("binary_crossentropy", {"label_smoothing": 0.1}),
    ("binary_crossentropy", {"from_logits": True}),
    ("mean_squared_error", {"reduction": "mean_with_sample_weight"}),
    ("mean_squared_error", {"reduction": "sum"}),
]


@pytest.mark.parametrize(("name", "settings"), SETTINGS)
def test_settings_of_losses(name, settings, gpu):
    y, activation = labels_of(name)
    activation = None if "from_logits" in settings else activation
    make = lambda: classifier(losses.get({"class_name": name, "config": settings}), activation)  # noqa: E731
    assert_same_training(make, (VECTORS, y, np.arange(B)), gpu)


METRICS = [(c, {}) for c in classes_of(metrics, metrics.Metric)] + [
    (metrics.AUC, {"curve": "PR", "num_thresholds": 20}),
    (metrics.AUC, {"multi_label": True, "label_weights": [1.0, 2.0, 3.0]}),
    (metrics.AUC, {"summation_method": "minoring", "label_weights": [1.0, 2.0, 3.0]}),
    (metrics.F1Score, {"average": "macro"}),
    (metrics.F1Score, {"average": "weighted", "threshold": 0.3}),
    (metrics.Precision, {"thresholds": [0.6, 0.2], "class_id": 1}),
    (metrics.R2Score, {"class_aggregation": None}),
    (metrics.R2Score, {"class_aggregation": "variance_weighted_average", "num_regressors": 2}),
    (metrics.Recall, {"top_k": 2}),
    (metrics.SparseCategoricalCrossentropy, {"ignore_class": 1}),
    (metrics.TopKCategoricalAccuracy, {"k": 2}),
]


@pytest.mark.parametrize(("kind", "settings"), METRICS, ids=str)
@pytest.mark.parametrize("weight", [None, np.arange(B)], ids=["plain", "weighted"])
def test_every_metric(kind, settings, weight, gpu):
    settings = {"fn": "mean_squared_error"} if kind is metrics.MeanMetricWrapper else settings
    y, activation = labels_of(kind.__name__)
    y_pred = (
        np.exp(REALS[::-1]) / np.exp(REALS[::-1]).sum(axis=-1, keepdims=True) if activation else REALS[::-1]
    )

    if kind is metrics.Accuracy:  # of labels, some of which are right
        y_pred = np.where(np.arange(B)[:, None] < 2, y, 0)

    def run():
        metric, found = kind(**settings), []
        values = map(backend.placed, (y_pred,) if kind in (metrics.Mean, metrics.Sum) else (y, y_pred))
        values, w = list(values), backend.placed(weight)
        for _ in range(2):
            with quietly(gpu):
                metric.update_state(*values, sample_weight=w)
                result = metric.result()
            found.append(backend.to_host(result))
        metric.reset_state()
        return [*found, backend.to_host(metric(*values))]

    for a, b in zip(*on_both(run), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)
    assert np.ndim(a) or a != 0


def test_metrics_of_masked_sequences(gpu):
    names = ["mae", "RootMeanSquaredError", "R2Score", "AUC"]

    def make():
        model = recurrent(lambda: GRU(2, **STATES))()
        model.compile("sgd", "mse", metrics=names, weighted_metrics=["mse"])
        return model

    y = rng.integers(0, 2, (B, T, 2)).astype("float32")
    assert_same_training(make, (IDS, y, np.arange(B)), gpu)


def test_functions_of_ones_own_as_loss_and_metric(gpu):
    def loss(y_true, y_pred):
        return ops.mean(ops.abs(y_true - y_pred) ** 3, axis=-1)

    def metric(y_true, y_pred):
        return np.max(np.abs(y_true - y_pred), axis=-1)  # NumPy hands over to CuPy

    assert_same_training(lambda: classifier(loss, None, metrics=[metric]), (VECTORS, REALS), gpu)


def test_class_weights(counted):
    def weights():
        return backend.to_host(ClassWeight({0: 3, 2: 0.5})(backend.placed(LABELS), backend.placed(REALS)))

    before = counted.copies.to_host
    cpu, device = on_both(weights)
    assert counted.copies.to_host == before + 1
    np.testing.assert_array_equal(cpu, device)
    np.testing.assert_array_equal(cpu, np.array([3, 1, 0.5], "float32")[LABELS[:, 0]])


def test_reports_after_training_take_arrays_of_the_device(gpu):
    shares, counts = metrics.accuracy_by_class(gpu.asarray(LABELS), tinyrnn.Tensor(ONE_HOT))
    assert np.nansum(shares * counts) == B


@pytest.mark.parametrize("optimizer", classes_of(optimizers, optimizers.Optimizer))
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"weight_decay": 0.1, "use_ema": True, "ema_overwrite_frequency": 2},
        {"clipnorm": 0.01},
        {"global_clipnorm": 0.01, "gradient_accumulation_steps": 2},
        {"clipvalue": 0.001, "loss_scale_factor": 8.0},
    ],
    ids=str,
)
def test_every_optimizer(optimizer, settings, gpu):
    def make():
        model = Sequential(
            [Input((T, F)), SimpleRNN(2, kernel="array"), Dense(1, kernel_constraint="non_neg")]
        )
        model.compile(optimizer(0.1, **settings), "mse")
        return model

    assert_same_training(make, (SEQUENCES, np.ones((B, 1), "float32")), gpu)


# --- models -----------------------------------------------------------------------------------------------


def translator():
    source, target = Input((T,), dtype="int32", name="source"), Input((T,), dtype="int32", name="target")
    embed = Embedding(9, F, mask_zero=True)
    _, *states = LSTM(4, return_state=True, name="read")(embed(source))
    y = LSTM(4, name="write", **STATES)(embed(target), initial_state=states)
    first, second = Dense(9, activation="softmax", name="a")(y), Dense(1, name="b")(y)
    model = Model([source, target], [first, second])
    losses = ["sparse_categorical_crossentropy", "mse"]
    model.compile(optimizers.Adam(0.01), losses, loss_weights=[1.0, 0.3], metrics=[["accuracy"], ["mae"]])
    return model


def test_a_functional_model_with_several_inputs_and_outputs(gpu):
    y = [IDS, rng.standard_normal((B, T, 1)).astype("float32")]
    assert_same_training(translator, ([IDS, IDS[:, ::-1]], y), gpu)


def stateful():
    model = Sequential([Input(batch_shape=(B, T, F)), LSTM(3, stateful=True), Dense(1)])
    model.compile(optimizers.Adam(0.01), "mse")
    return model


def test_a_stateful_model(gpu):
    assert_same_training(stateful, (SEQUENCES, np.ones((B, 1), "float32")), gpu)
    model = stateful()
    model.predict_on_batch(SEQUENCES)
    (states,) = model.get_states()
    assert all(type(s) is np.ndarray for s in states)
    after = model.predict_on_batch(SEQUENCES)
    model.set_states([states])
    np.testing.assert_array_equal(model.predict_on_batch(SEQUENCES), after)
    model.reset_states()
    assert (model.predict_on_batch(SEQUENCES) != after).any()


class StepOfItsOwn(Sequential):
    """Trains as Keras's guides show it."""

    def __init__(self, layers):
        super().__init__(layers)
        self.error = metrics.MeanAbsoluteError(name="mae")

    def train_step(self, data):
        x, y = data[:2]
        y_pred = self(x, training=True)
        loss = ops.mean((y_pred - y) ** 2)
        for w in self.trainable_weights:
            w.grad = None
        loss.backward()
        self.optimizer.apply_gradients([(w.grad, w) for w in self.trainable_weights])
        self.error.update_state(y, y_pred)
        return {"mae": self.error.result(), "loss": loss}


def step_of_its_own():
    model = StepOfItsOwn([Input((F,)), Dense(3)])
    model.compile(optimizers.SGD(0.1), "mse")
    return model


def test_a_train_step_of_ones_own(counted):
    def logs():
        history = step_of_its_own().fit(VECTORS, REALS, epochs=2, verbose=0).history
        assert all(type(value) is float for values in history.values() for value in values)
        return [history["loss"], history["mae"]]

    assert_close(*on_both(logs))
    model = step_of_its_own()
    with counted.no_host_copies():
        model.train_step(as_batch((VECTORS, REALS)))


def test_fit_evaluate_and_predict(counted):
    """Whole programs: the same curves, and copies to the host for each epoch, not for each batch."""
    x, y = rng.standard_normal((24, F)).astype("float32"), rng.integers(0, 3, (24, 1))

    def run():
        model = classifier("sparse_categorical_crossentropy", "softmax", metrics=["accuracy"])
        history = model.fit(
            x, y, batch_size=2, epochs=2, validation_split=0.25, class_weight={0: 2.0}, verbose=0
        ).history
        assert all(type(value) is float for values in history.values() for value in values)
        predicted = model.predict(x, batch_size=5, verbose=0)
        assert type(predicted) is np.ndarray
        return [*history.values(), model.evaluate(x, y, verbose=0), predicted]

    for a, b in zip(*on_both(run), strict=True):
        assert_close(a, b)
    model = classifier("sparse_categorical_crossentropy", "softmax", metrics=["accuracy"])
    before = counted.copies.to_host
    model.fit(x, y, batch_size=2, epochs=3, verbose=0)
    # Of an epoch of twelve batches: the loss, the accuracy, and whether the labels were classes.
    assert counted.copies.to_host - before == 3 * 3


def test_float64(gpu):
    tinyrnn.set_floatx("float64")

    def close(a, b):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)

    y = [IDS, rng.standard_normal((B, T, 1))]
    *_, weights = assert_same_training(translator, ([IDS, IDS[:, ::-1]], y), gpu, close)
    assert {w.dtype for w in weights} == {np.dtype("float64")}


def test_batches_of_a_generator(counted):
    def batches():
        for x, y in zip(VECTORS, REALS, strict=True):
            yield x[None].tolist(), y[None]

    def losses_():
        return classifier("mse", None).fit(batches(), verbose=0).history["loss"]

    assert_close(*on_both(losses_))
    before = counted.copies.to_host
    losses_()
    assert counted.copies.to_host == before + 1


def test_a_deep_copy_goes_on_training_the_same(gpu):
    batch = SEQUENCES, np.ones((B, 1), "float32")
    model = Sequential([Input((T, F)), GRU(2), layers.Dropout(0.5), Dense(1)])
    model.compile(optimizers.Adam(0.1, use_ema=True), "mse")
    model.train_on_batch(*batch)
    twin = copy.deepcopy(model)
    first, second = ([m.train_on_batch(*batch) for _ in range(3)] for m in (model, twin))
    assert first == second
    assert all(on_device(w.data) for w in twin.weights)


def test_making_a_graph_of_a_layer_that_is_tried_out(gpu):
    x = Input((T, F))
    y = Lambda(lambda x: ops.concatenate([x, tinyrnn.Tensor(np.ones(x.shape, "float32"))]))(x)
    assert y.shape == (None, T, 2 * F)
    assert Model(x, y).predict(SEQUENCES, verbose=0)[..., F:].min() == 1


# --- logs -------------------------------------------------------------------------------------------------


def waiting(gpu):
    return Logs({"b": gpu.asarray(2.0), "a": gpu.asarray([1.0, 3.0]), "c": 0.5, "t": tinyrnn.Tensor(7.0)})


READERS = {
    "[]": lambda logs: logs["b"],
    "get": lambda logs: logs.get("b"),
    "values": lambda logs: next(iter(logs.values())),
    "items": lambda logs: dict(logs.items())["b"],
    "dict": lambda logs: dict(logs)["b"],
    "**": lambda logs: {**logs}["b"],
    "update": lambda logs: _updated(logs)["b"],
    "|": lambda logs: (logs | {"c": 1})["b"],
    "other |": lambda logs: ({"c": 1} | logs)["b"],
    "copy": lambda logs: logs.copy()["b"],
    "pop": lambda logs: logs.pop("b"),
    "popitem": lambda logs: [logs.popitem() for _ in range(4)][-1][1],
    "setdefault": lambda logs: logs.setdefault("b", 1.0),
    "by_name": lambda logs: logs.by_name()["b"],
    "==": lambda logs: 2.0 if logs.by_name() != {} else None,
    "repr": lambda logs: eval(repr(logs.by_name()), {"array": np.array})["b"],
}


def _updated(logs):
    found = {}
    found.update(logs)
    return found


@pytest.mark.parametrize("how", READERS)
def test_logs_are_numbers_however_they_are_read(how, counted):
    logs = waiting(counted)
    with counted.no_host_copies():
        assert (len(logs), "b" in logs, list(logs), logs.waits) == (4, True, ["b", "a", "c", "t"], True)
        assert list(logs.by_name()) == ["a", "b", "c", "t"]
        logs["new"] = 1
        del logs["new"]
    with pytest.raises(counted.HostCopyError), counted.no_host_copies():
        READERS[how](logs)
    found = READERS[how](waiting(counted))
    assert type(found) is float
    assert found == 2.0


def test_logs_are_fetched_once(counted):
    logs = waiting(counted)
    assert logs["a"].tolist() == [1.0, 3.0]
    assert (logs["t"], logs.waits) == (7.0, False)
    with counted.no_host_copies():
        assert logs["b"] == 2.0


class Reader(tinyrnn.callbacks.Callback):
    """Reads the loss after some batches."""

    def __init__(self, *batches):
        super().__init__()
        self.batches, self.losses = batches, []

    def on_train_batch_end(self, batch, logs=None):
        assert list(logs) == sorted(logs)
        if batch in self.batches:
            self.losses.append(logs["loss"])


def test_callbacks_read_logs_when_they_need_them(counted):
    x, y = rng.standard_normal((20, F)).astype("float32"), rng.standard_normal((20, 3)).astype("float32")

    def run(*callbacks):
        tinyrnn.set_random_seed(3)
        model = classifier("mse", None)
        before = counted.copies.to_host
        model.fit(x, y, batch_size=2, verbose=0, callbacks=list(callbacks))
        return counted.copies.to_host - before

    assert run() == 1
    reader = Reader(0, 4, 9)
    assert run(reader) == 3 + 1
    on_host = Reader(0, 4, 9)
    with on("cpu"):
        run(on_host)
    assert_close(reader.losses, on_host.losses)
    assert run(tinyrnn.callbacks.EarlyStopping("loss")) == 1


def test_the_progress_bar_does_not_fetch_between_two_drawings(counted, monkeypatch, capsys):
    monkeypatch.setattr("tinyrnn.progress.INTERVAL", 1000)
    model = classifier("mse", None)
    x, y = rng.standard_normal((20, F)).astype("float32"), rng.standard_normal((20, 3)).astype("float32")
    before = counted.copies.to_host
    model.fit(x, y, batch_size=2, verbose=1)
    assert counted.copies.to_host - before == 1
    assert "loss: " in capsys.readouterr().out


def test_a_loss_that_is_no_number_is_remarked_upon_at_the_end_of_the_epoch(gpu):
    model = classifier("mse", None)
    y = np.full((B, 3), np.nan, "float32")
    with pytest.warns(UserWarning, match="loss is nan in epoch 1: a lower learning rate"):
        model.fit(VECTORS, y, batch_size=1, epochs=2, verbose=0)
    with pytest.warns(UserWarning, match="loss is nan at batch 1 of epoch 1"), on("cpu"):
        classifier("mse", None).fit(VECTORS, y, batch_size=1, epochs=2, verbose=0)


def test_training_ends_at_nan_when_asked_to(gpu, capsys):
    model = classifier("mse", None)
    seen = Reader()
    y = np.ones((B, 3), "float32")
    y[1:] = np.nan
    with pytest.warns(UserWarning, match="loss is nan"):
        model.fit(
            VECTORS,
            y,
            batch_size=1,
            shuffle=False,
            verbose=0,
            callbacks=[tinyrnn.callbacks.TerminateOnNaN(), seen],
        )
    assert "Batch 1: Invalid loss" in capsys.readouterr().out


# --- checks -----------------------------------------------------------------------------------------------


def tagger(**compiled):
    model = Sequential(
        [Input((T,), dtype="int32"), Embedding(9, F, name="words"), Dense(3, activation="softmax")]
    )
    model.compile("sgd", "sparse_categorical_crossentropy", **compiled)
    return model


def test_an_id_out_of_range_is_said_when_something_is_fetched(counted):
    model, y = tagger(), np.zeros((B, T), "int32")
    wrong = IDS.copy()
    wrong[2, 1] = 11
    message = r"words: expected ids 0 \.\.\. 8 \(input_dim=9\), found 11 at position \(2, 1\)"
    with counted.no_host_copies():
        model.train_step(as_batch((wrong, y)))
    with pytest.raises(IndexError, match=message):
        model.predict(IDS, verbose=0)
    wrong[2, 1] = -3
    with pytest.raises(IndexError, match="found -3 at position"):
        model.predict(wrong, verbose=0)
    with pytest.raises(IndexError, match="found -3 at position"):
        model.train_on_batch(wrong, y)
    with pytest.raises(IndexError, match="found -3 at position"):
        model.fit(wrong, y, verbose=0)
    for _ in range(2):  # and the model still works
        assert math.isfinite(model.train_on_batch(IDS, y))


def test_labels_that_are_no_classes(gpu):
    model = tagger()
    y = np.zeros((B, T), "int32")
    y[3, 4] = 3
    with pytest.raises(ValueError, match=r"expected labels in 0 \.\.\. 2, found 3 at \(3, 4\)"):
        model.train_on_batch(IDS, y)
    with pytest.raises(ValueError, match=r"expected whole numbers as labels, found 0\.5"):
        model.train_on_batch(IDS, np.full((B, T), 0.5))
    assert math.isfinite(model.train_on_batch(IDS, np.zeros((B, T), "int32")))


def test_ids_with_fractions(gpu):
    with pytest.raises(ValueError, match="expected int32, found numbers that are not whole"):
        tagger().predict(IDS + 0.5, verbose=0)


def test_a_check_on_the_host_is_looked_at_at_once(gpu):
    backend.verify(True, lambda: ValueError("no"))
    with pytest.raises(ValueError, match="no"):
        backend.verify(np.bool_(False), lambda: ValueError("no"))


def test_checks_are_looked_at_after_a_bounded_number(counted, monkeypatch):
    monkeypatch.setattr(backend, "MOST_WAITING", 5)
    with counted.no_host_copies():
        for ok in (True, False, False, True):
            backend.verify(counted.asarray(ok), lambda: ValueError("first"))
    with pytest.raises(ValueError, match="first"):
        backend.verify(counted.asarray(True), lambda: ValueError("last"))
    assert counted.copies.to_host == 1
    backend.check_now()  # what failed is over


# --- memory -----------------------------------------------------------------------------------------------


def test_out_of_memory(counted):
    model = classifier("mse", None)
    model.train_on_batch(VECTORS, REALS)
    many = rng.standard_normal((4000, F)).astype("float32")
    message = (
        r"sequential.*\.train_step: the memory of the GPU does not suffice for a batch of shapes "
        r"\(4000, 3\), \(4000, 3\) \(Out of memory.*\): a smaller batch_size may help"
    )
    counted.free_bytes = 2 * many.nbytes + 1000  # enough for the batch, and no more
    with pytest.raises(MemoryError, match=message):
        model.fit(many, many, batch_size=4000, verbose=0)
    assert math.isfinite(model.train_on_batch(VECTORS, REALS))
    counted.free_bytes = many.nbytes + 1000
    with pytest.raises(MemoryError, match=r"predict_step: .* \(4000, 3\) "):
        model.predict(many, batch_size=4000, verbose=0)
    assert np.isfinite(model.predict(VECTORS, verbose=0)).all()


# --- files ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("here", "there"), [("cpu", "gpu"), ("gpu", "cpu")])
def test_a_file_of_one_device_is_opened_on_the_other(here, there, gpu, tmp_path):
    y = [IDS, np.ones((B, T, 1), "float32")]
    with on(here):
        model = translator()
        model.train_on_batch([IDS, IDS], y)
        model.save(tmp_path / "model.keras")
        model.save_weights(tmp_path / "w.weights.h5")
        expected, logs = model.get_weights(), model.train_on_batch([IDS, IDS], y)
    with on(there):
        model = tinyrnn.load_model(tmp_path / "model.keras")
        assert all(on_device(w.data) == (there == "gpu") for w in model.weights)
        np.testing.assert_equal(model.get_weights(), expected)
        assert_close(model.train_on_batch([IDS, IDS], y), logs)  # the optimizer's state was there, too
        model.load_weights(tmp_path / "w.weights.h5")
        np.testing.assert_equal(model.get_weights(), expected)


class KilledError(Exception):
    """The program is gone."""


class Killer(tinyrnn.callbacks.Callback):
    """Ends a training in the middle."""

    def __init__(self, batch):
        super().__init__()
        self.left = batch

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if not self.left:
            raise KilledError


@pytest.mark.parametrize("killed_at", [3, 5, 8])
def test_a_training_that_was_killed_goes_on_to_the_same_bits(killed_at, gpu, tmp_path):
    x, y = rng.standard_normal((6 * B, T, F)).astype("float32"), rng.integers(0, 2, (6 * B, 1))

    def train(*callbacks):
        tinyrnn.set_random_seed(3)
        layers_ = [
            Input(batch_shape=(B, T, F)),
            LSTM(3, stateful=True),
            layers.Dropout(0.3),
            Dense(1, activation="sigmoid"),
        ]
        model = Sequential(layers_)
        model.compile("adam", "binary_crossentropy", metrics=["accuracy", "AUC"])
        history = model.fit(x, y, batch_size=B, epochs=2, verbose=0, callbacks=list(callbacks)).history
        return model.get_weights(), history

    expected = train()
    with pytest.raises(KilledError):
        train(tinyrnn.callbacks.BackupAndRestore(tmp_path, save_freq=1), Killer(killed_at))
    weights, history = train(tinyrnn.callbacks.BackupAndRestore(tmp_path, save_freq=1))
    np.testing.assert_equal(weights, expected[0])
    assert history == expected[1]


def test_weights_of_pytorch_and_onnx_pass_through_the_host(gpu, tmp_path):
    onnx = pytest.importorskip("onnx")
    model = recurrent(lambda: LSTM(2))()
    model.export(tmp_path / "model.onnx")
    found = onnx.load(str(tmp_path / "model.onnx")).graph.initializer
    table = next(onnx.numpy_helper.to_array(w) for w in found if w.name.endswith("embeddings"))
    np.testing.assert_array_equal(table, model.get_weights()[0])


def test_what_looks_at_a_model(gpu, capsys):
    model = translator()
    y = [IDS, np.ones((B, T, 1), "float32")]
    model.train_on_batch([IDS, IDS], y)
    model.summary()
    assert "Trainable params" in capsys.readouterr().out
    norms = tinyrnn.inspection.gradient_norms(model, [IDS, IDS], y)
    with on("cpu"):
        on_host = translator()
        on_host.set_weights(model.get_weights())
        expected = tinyrnn.inspection.gradient_norms(on_host, [IDS, IDS], y)
    assert norms.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(norms[name], values, rtol=1e-3)
    twin = tinyrnn.models.clone_model(model)
    twin.set_weights(model.get_weights())
    a, b = (m.predict([IDS, IDS], verbose=0)[0] for m in (model, twin))
    np.testing.assert_array_equal(a, b)


def test_decoding_takes_what_a_step_returns(gpu):
    table = np.eye(4, dtype="float32")[[1, 2, 3, 3]]

    def step(symbols, states):
        return gpu.asarray(table[symbols]), [gpu.asarray(states[0])]

    found = tinyrnn.decoding.greedy_search(step, [gpu.zeros((2, 1))], start=0, end=3, maxlen=5)
    assert found == [[1, 2], [1, 2]]
    assert tinyrnn.decoding.sample(tinyrnn.Tensor(table), temperature=0).tolist() == [1, 2, 3, 3]


def test_checks_of_a_fit_that_ends_by_an_exception_are_dropped(counted):
    class Stop(tinyrnn.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            raise KeyboardInterrupt

    wrong = Sequential([Input((T,)), Embedding(3, 2), LSTM(2), Dense(1)])
    wrong.compile("sgd", "mse")
    with pytest.raises(KeyboardInterrupt):
        wrong.fit(np.full((B, T), 9), np.zeros((B, 1), "float32"), verbose=0, callbacks=[Stop()])
    other = Sequential([Input((T, F)), LSTM(2)])
    assert other.predict(SEQUENCES, verbose=0).shape == (B, 2)


def test_a_label_with_a_fraction_is_not_the_class_to_ignore(gpu):
    p = gpu.asarray(np.full((2, 3), 1 / 3, "float32"))
    labels = gpu.asarray(np.array([0.5, 1.0], "float32"))
    losses.sparse_categorical_crossentropy(labels, p, ignore_class=0)
    with pytest.raises(ValueError, match=r"expected whole numbers as labels, found 0\.5"):
        backend.to_host(p)
