"""What must hold of a model as an object: copies, threads, memory, what is recorded, what is imported."""

import ast
import copy
import gc
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import tinyrnn
from tinyrnn import ops
from tinyrnn.autograd import is_recording
from tinyrnn.layers import GRU, LSTM, Dense, Dropout, Embedding, Input, Layer

rng = np.random.default_rng(0)
X = rng.standard_normal((8, 5, 3)).astype("float32")
Y = rng.standard_normal((8, 1)).astype("float32")


def small_model(optimizer="adam"):
    layers = [Input((None, 3)), LSTM(4, dropout=0.2, activity_regularizer="l2"), Dropout(0.5), Dense(1)]
    model = tinyrnn.Sequential(layers)
    model.compile(optimizer, "mse", metrics=["mae"])
    return model


def encoder_decoder():
    source, target = Input((None, 3)), Input((None, 3))
    _, *states = LSTM(4, return_state=True)(source)
    y = Dense(1)(LSTM(4, return_sequences=True)(target, initial_state=states))
    model = tinyrnn.Model([source, target], y)
    model.compile("sgd", "mse")
    return model


# --- evaluation -------------------------------------------------------------------------------------------


def test_evaluation_does_not_drop_out():
    model = tinyrnn.Sequential([Input((None, 3)), LSTM(4, recurrent_dropout=0.5), Dropout(0.9), Dense(1)])
    model.compile("sgd", "mse")
    expected = np.mean((model.predict(X, verbose=0) - Y) ** 2)
    np.testing.assert_allclose(model.evaluate(X, Y, verbose=0), expected, rtol=1e-5)
    np.testing.assert_allclose(model.test_on_batch(X, Y), expected, rtol=1e-5)
    model.optimizer.learning_rate = 0.0
    history = model.fit(X, Y, validation_data=(X, Y), verbose=0).history
    np.testing.assert_allclose(history["val_loss"], expected, rtol=1e-5)
    assert abs(history["loss"][0] - expected) > 1e-3  # training did drop out


class Spy(Layer):
    """Takes down whether operations were recorded when it was called."""

    recorded = ()

    def call(self, inputs):
        self.recorded = (*self.recorded, is_recording())
        return inputs

    def compute_output_shape(self, input_shape):
        return input_shape


def test_only_training_records():
    spy = Spy()
    model = tinyrnn.Sequential([Input((5, 3)), spy, LSTM(2), Dense(1)])
    model.compile("sgd", "mse")
    for action, recorded in (
        (lambda: model.predict(X, verbose=0), False),
        (lambda: model.predict_on_batch(X), False),
        (lambda: model.evaluate(X, Y, verbose=0), False),
        (lambda: model.test_on_batch(X, Y), False),
        (lambda: model.train_on_batch(X, Y), True),
    ):
        spy.recorded = ()
        action()
        assert spy.recorded == (recorded,)


def test_a_stateful_model_that_fit_builds_starts_from_zeros():
    def trained(build_first):
        tinyrnn.set_random_seed(1)
        model = tinyrnn.Sequential([GRU(3, stateful=True), Dense(1)])
        if build_first:
            model.build((8, 5, 3))
        model.compile("sgd", "mse")
        return model.fit(X, Y, batch_size=8, shuffle=False, verbose=0).history["loss"]

    assert trained(False) == trained(True)


def test_making_a_graph_leaves_no_states_behind():
    class Inside(Layer):
        def __init__(self):
            super().__init__()
            self.memory = LSTM(4, stateful=True, bias_initializer="ones")

        def call(self, inputs):
            return self.memory(inputs)

    x = Input(batch_shape=(8, 5, 3))
    model = tinyrnn.Model(x, Inside()(x))
    assert model.get_states() == [None]
    first = model.predict(X, verbose=0)
    model.reset_states()
    np.testing.assert_array_equal(model.predict(X, verbose=0), first)


# --- copies and threads -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "optimizer", ["adam", "rmsprop", tinyrnn.optimizers.SGD(0.1, momentum=0.9, use_ema=True)]
)
def test_a_deep_copy_goes_on_training_the_same(optimizer):
    model = small_model(optimizer)
    for _ in range(2):
        model.train_on_batch(X, Y)
    model(X, training=True)
    twin = copy.deepcopy(model)
    assert not {id(w.data) for w in model.weights} & {id(w.data) for w in twin.weights}
    losses = [[m.train_on_batch(X, Y)[0] for _ in range(3)] for m in (model, twin)]
    assert losses[0] == losses[1]
    for a, b in zip(model.get_weights(), twin.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_threads_that_call_a_new_model_at_once_build_it_once():
    ids = rng.integers(0, 9, (4, 6))
    for _ in range(10):
        model = tinyrnn.Sequential([Embedding(9, 4), LSTM(3), Dense(1)])
        barrier, results = threading.Barrier(4), []

        def work(model=model, barrier=barrier, results=results):
            barrier.wait()
            results.append(model.predict(ids, verbose=0))

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(model.weights) == 6
        for result in results:
            np.testing.assert_array_equal(result, results[0])


def test_add_loss_outside_of_a_call():
    with pytest.raises(RuntimeError, match=r"dense.*\.add_loss: only inside call\(\)"):
        Dense(1).add_loss(ops.sum(np.ones(2)))


# --- memory -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [small_model, encoder_decoder])
def test_a_step_leaves_nothing_to_collect(make):
    model = make()
    x, y = (X, Y) if make is small_model else ([X, X], np.repeat(Y[:, None], 5, axis=1))
    actions = (
        lambda: model.train_on_batch(x, y),
        lambda: model.test_on_batch(x, y),
        lambda: model.predict_on_batch(x),
    )
    for action in actions:
        action()
    while gc.collect():  # earlier models, and then what only these held
        pass
    gc.disable()
    try:
        for action in actions:
            action()
        assert gc.collect() == 0
    finally:
        gc.enable()


# --- imports ----------------------------------------------------------------------------------------------


def test_importing_loads_nothing_heavy():
    heavy = "matplotlib rich pooch platformdirs numba keras jax hypothesis pandas scipy torch onnx"
    code = f"import sys, tinyrnn; print([m for m in {heavy!r}.split() if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


# From the ground up, as docs/architecture.md has them; what stands in one line does not import each other.
FLOORS = """
version files naming nest
backend progress plotting native
threads cuda
blas decoding
autograd
ops
formulas
printing
fused
lookup gradcheck activations initializers regularizers constraints preprocessing
utils datasets losses recurrent
metrics optimizers callbacks data
layers
compiling inspection interop resuming
training
summary saving
models
"""


def test_imports_go_downwards():
    floor = {name: n for n, line in enumerate(FLOORS.splitlines()) for name in line.split()}
    root = Path(tinyrnn.__file__).parent
    for path in root.rglob("*.py"):
        here = path.relative_to(root).with_suffix("").parts[0]
        if here == "__init__":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith("tinyrnn"):
                continue
            parts = node.module.split(".")[1:]
            for there in parts[:1] or [alias.name for alias in node.names]:
                assert there == here or floor[there] < floor[here], f"{path.name} imports {there}"
