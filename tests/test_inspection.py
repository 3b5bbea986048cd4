"""Gradient norms at every time step, against the chain rule by hand and against sequences cut in two."""

import numpy as np
import pytest

import tinyrnn
from tinyrnn import Input, Model, Sequential, ops, recurrent
from tinyrnn.autograd import Tensor, grad
from tinyrnn.callbacks import Callback
from tinyrnn.inspection import factor_per_step, gradient_norms
from tinyrnn.layers import (
    GRU,
    LSTM,
    RNN,
    Bidirectional,
    Dense,
    Dropout,
    Embedding,
    GRUCell,
    Layer,
    LSTMCell,
    Masking,
    SimpleRNN,
    SimpleRNNCell,
    TimeDistributed,
)
from tinyrnn.ops import sigmoid, tanh

B, T, F, U = 3, 6, 4, 5


class Peephole(LSTMCell):
    params = ("p_i", "p_o")

    def step(self, x, r, s, p):
        i = sigmoid(x.i + r.i + p.p_i * s.c)
        f = sigmoid(x.f + r.f)
        c = f * s.c + i * tanh(x.c + r.c)
        return sigmoid(x.o + r.o + p.p_o * c) * tanh(c), c


class KerasStyle(Layer):
    """A SimpleRNN as Keras wants a cell written."""

    state_size = U

    def build(self, input_shape):
        self.W = self.add_weight((input_shape[-1], U), name="W")
        self.U = self.add_weight((U, U), name="U")

    def call(self, inputs, states):
        h = ops.tanh(inputs @ self.W + states[0] @ self.U)
        return h, [h]


@pytest.fixture(autouse=True)
def _double():
    tinyrnn.set_floatx("float64")


@pytest.fixture
def x():
    return np.random.default_rng(1).standard_normal((B, T, F))


@pytest.fixture
def y():
    return np.random.default_rng(2).standard_normal((B, 1))


def compiled(*layers):
    model = Sequential([Input((None, F)), *layers])
    model.compile("sgd", "mse")
    return model


def randomize(model, seed=0):
    """Give every weight a value: biases and peepholes begin with zeros, which would hide mistakes."""
    rng = np.random.default_rng(seed)
    model.set_weights([0.5 * rng.standard_normal(w.shape) for w in model.weights])
    return model


# --- by value ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", ["auto", "unrolled", "array"])
def test_simple_rnn_by_hand(x, y, kernel):
    model = randomize(compiled(SimpleRNN(U, kernel=kernel, name="simple_rnn"), Dense(1)))
    W, R, b, V, c = model.get_weights()
    h = [np.zeros((B, U))]
    for t in range(T):
        h.append(np.tanh(x[:, t] @ W + h[-1] @ R + b))
    dh = 2 / B * (h[-1] @ V + c - y) @ V.T
    expected = []
    for t in reversed(range(T)):
        expected.append(np.sqrt((dh**2).sum()))
        dh = dh * (1 - h[t + 1] ** 2) @ R.T
    norms = gradient_norms(model, x, y)
    assert list(norms) == ["simple_rnn/h"]
    np.testing.assert_allclose(norms["simple_rnn/h"], expected[::-1], rtol=1e-12)


class InOrderOfTime(Layer):
    """Hands on outputs without their mask, so that the loss takes every step."""

    supports_masking = True

    def __init__(self, turn):
        super().__init__()
        self.turn = turn

    def call(self, inputs):
        return ops.flip(inputs, axis=1) if self.turn else inputs * 1.0

    def compute_mask(self, inputs, mask=None):
        return None


class ProbedRNN(SimpleRNNCell):
    """Adds to the state what comes in through a gate of its own: the gradient of that is dL/dh_t."""

    gates = ("d_h", "h")

    def step(self, x, r, s, p):
        return super().step(x, r, s, p) + x.d_h + r.d_h


class ProbedGRU(GRUCell):
    gates = ("d_h", "z", "r", "h")

    def step(self, x, r, s, p):
        return super().step(x, r, s, p) + x.d_h + r.d_h


class ProbedPeephole(LSTMCell):
    gates = ("d_h", "d_c", "i", "f", "c", "o")
    params = ("p_i", "p_o")

    def step(self, x, r, s, p):
        i = sigmoid(x.i + r.i + p.p_i * s.c)
        f = sigmoid(x.f + r.f)
        c = f * s.c + i * tanh(x.c + r.c) + x.d_c + r.d_c
        return sigmoid(x.o + r.o + p.p_o * c) * tanh(c) + x.d_h + r.d_h, c


def norms_of_probes(probed, layer, x, mask, targets):
    """Return the norms ``(states, T)`` of the gradients that a fused kernel finds for the probes."""
    cell, n = layer.cell, len(layer.cell.states) * U

    def widened(a):
        return np.concatenate([np.zeros((*a.shape[:-1], n)), a], axis=-1)

    bias = cell.bias.data[0] if cell.two_biases else cell.bias.data
    recurrent_bias = widened(cell.bias.data[1]) if cell.two_biases else None
    params = [p.data for p in cell.parameters] or [np.zeros(U)] * len(probed.params)
    xz = Tensor(widened(x @ cell.kernel.data + bias), requires_grad=True)
    outputs, _ = recurrent.run(
        probed, xz, widened(cell.recurrent_kernel.data), recurrent_bias, params,
        layer.get_initial_state(B), mask, None, layer.go_backwards, "array",
    )  # fmt: skip
    probes = grad(ops.mean(ops.square(outputs - targets)), xz).data[:, :, :n]
    return np.linalg.norm(probes.reshape(B, T, -1, U), axis=(0, 3)).T


CELLS = [
    (SimpleRNNCell, ProbedRNN, {}),
    (LSTMCell, ProbedPeephole, {}),
    (GRUCell, ProbedGRU, {}),
    (GRUCell, ProbedGRU, {"reset_after": False}),
    (Peephole, ProbedPeephole, {}),
]


@pytest.mark.parametrize("go_backwards", [False, True])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(("cell", "probed", "settings"), CELLS)
def test_any_cell_gives_the_gradient_of_what_is_added(x, cell, probed, settings, masked, go_backwards):
    targets = np.random.default_rng(3).standard_normal((B, T, U))
    mask = np.array([[1, 1, 0, 1, 0, 0], [0, 1, 0, 0, 1, 1], [1, 0, 0, 1, 1, 0]], bool) if masked else None
    if masked:
        x = np.where(mask[..., None], x, 99.0)
    layer = RNN(cell(U, **settings), return_sequences=True, go_backwards=go_backwards, name="layer")
    model = randomize(compiled(Masking(99.0), layer, InOrderOfTime(go_backwards)))
    norms = gradient_norms(model, x, targets)
    assert list(norms) == [f"layer/{state}" for state in layer.cell.states]
    expected = norms_of_probes(probed(U, **settings), layer, x, mask, targets)
    for found, values in zip(norms.values(), expected, strict=True):
        if masked:
            assert np.isnan(found[2])
            found, values = np.delete(found, 2), np.delete(values, 2)
        assert (values > 0).all()
        np.testing.assert_allclose(found, values, rtol=1e-12)


def test_a_state_that_is_handed_on_has_a_gradient_at_every_time(x):
    """The first cell state goes on unchanged, but what each step adds to it is another gradient."""

    class Sum(SimpleRNNCell):
        states = ("h", "kept")

        def step(self, x, r, s, p):
            return x.h + 0.5 * s.kept, s.kept

    model = randomize(compiled(RNN(Sum(U), return_sequences=True, name="rnn")))
    norms = gradient_norms(model, x, np.ones((B, T, U)))
    direct = gradient_norms(model, x, np.ones((B, T, U)))["rnn/h"]
    assert norms["rnn/kept"][-1] == 0.0
    assert len(set(norms["rnn/kept"])) == T
    np.testing.assert_allclose(norms["rnn/kept"][-2], 0.5 * direct[-1])


def test_two_outputs_sample_weights_and_penalties_count():
    """What scales the loss scales the gradient."""
    inputs = Input((T, F))
    h = SimpleRNN(U, name="rnn", kernel_regularizer="l2")(inputs)
    model = Model(inputs, [Dense(1, name="a")(h), Dense(1, name="b")(h)])
    model.compile("sgd", ["mse", "mae"], loss_weights=[2.0, 0.0])
    one = Model(inputs, model.get_layer("a").output)
    one.compile("sgd", "mse")
    x, y = np.ones((B, T, F)), np.ones((B, 1))
    expected = gradient_norms(one, x, y)["rnn/h"]
    np.testing.assert_allclose(gradient_norms(model, x, [y, y])["rnn/h"], 2 * expected)
    np.testing.assert_allclose(gradient_norms(one, x, y, 3 * np.ones(B))["rnn/h"], 3 * expected)


def test_norms_of_float32_do_not_vanish_before_the_gradient_does():
    tinyrnn.set_floatx("float32")
    model = compiled(SimpleRNN(U, "linear", recurrent_initializer="zeros", name="rnn"))
    x, y = np.ones((1, 1, F), "float32"), np.ones((1, U), "float32")
    tiny = gradient_norms(model, x, y, np.array([1e-30], "float32"))["rnn/h"]
    np.testing.assert_allclose(tiny / gradient_norms(model, x, y)["rnn/h"], 1e-30, rtol=1e-5)


# --- every kind of layer ----------------------------------------------------------------------------------


def test_keras_style_cells_give_what_the_same_equations_give(x, y):
    x[1, 3:] = x[2, :2] = x[0, 2] = 99.0
    ours = compiled(Masking(99.0), SimpleRNN(U, use_bias=False, name="rnn"), Dense(1))
    theirs = compiled(Masking(99.0), RNN(KerasStyle(), name="rnn"), Dense(1))
    randomize(ours)
    theirs.set_weights(ours.get_weights())
    norms = gradient_norms(theirs, x, y)
    assert list(norms) == ["rnn/state_1"]
    np.testing.assert_allclose(norms["rnn/state_1"], gradient_norms(ours, x, y)["rnn/h"], rtol=1e-12)


def test_the_output_of_a_keras_style_cell_may_be_a_state_that_is_handed_on(x):
    class Hold(Layer):
        state_size = U

        def call(self, inputs, states):
            return states[0], [states[0]]

    held = compiled(RNN(Hold(), return_sequences=True, name="rnn"))
    settings = {"kernel_initializer": "zeros", "recurrent_initializer": "identity"}
    same = compiled(SimpleRNN(U, "linear", return_sequences=True, name="rnn", **settings))
    targets = np.random.default_rng(3).standard_normal((B, T, U))
    expected = gradient_norms(same, x, targets)["rnn/h"]
    np.testing.assert_allclose(gradient_norms(held, x, targets)["rnn/state_1"], expected, rtol=1e-12)


def test_stacked_cells_give_what_stacked_layers_give(x, y):
    cells = [LSTMCell(U, name="below"), GRUCell(U, name="above")]
    inside = compiled(RNN(cells, name="stack"), Dense(1))
    layers = compiled(LSTM(U, return_sequences=True, name="below"), GRU(U, name="above"), Dense(1))
    randomize(inside)
    layers.set_weights(inside.get_weights())
    norms, expected = gradient_norms(inside, x, y), gradient_norms(layers, x, y)
    assert list(norms) == ["stack/below/h", "stack/below/c", "stack/above/h"]
    for key, values in expected.items():
        np.testing.assert_allclose(norms[f"stack/{key}"], values, rtol=1e-12)


def test_bidirectional_layers_are_told_in_time_of_the_input(x, y):
    both = compiled(Bidirectional(LSTM(U, name="lstm"), name="both"), Dense(1))
    randomize(both)
    back = compiled(LSTM(U, go_backwards=True, name="lstm"), Dense(1))
    weights = both.get_weights()
    weights[6][:U] = 0.0  # the dense layer takes only what the backward layer says
    both.set_weights(weights)
    back.set_weights([*weights[3:6], weights[6][U:], weights[7]])
    norms, expected = gradient_norms(both, x, y), gradient_norms(back, x, y)
    names = [f"both/{way}_lstm/{state}" for way in ("forward", "backward") for state in "hc"]
    assert list(norms) == names
    for state in "hc":
        np.testing.assert_allclose(norms[f"both/backward_lstm/{state}"], expected[f"lstm/{state}"])
        assert not norms[f"both/forward_lstm/{state}"].any()


def test_layers_in_models_in_wrappers_and_called_twice(x, y):
    shared = SimpleRNN(U, name="rnn")
    first, second, many = Input((T, F)), Input((T, F)), Input((2, T, F))
    within = Sequential([Input((T, F)), GRU(2, name="gru")], name="within")
    each = TimeDistributed(LSTM(2, name="lstm"), name="td")(many)
    parts = [shared(first), shared(second), tinyrnn.layers.Flatten()(each)]
    model = Model([first, second, many], Dense(1)(tinyrnn.layers.concatenate([*parts, within(first)])))
    model.compile("sgd", "mse")
    norms = gradient_norms(model, [x, x, np.stack([x, x], axis=1)], y)
    assert set(norms) == {"rnn/h", "rnn (call 2)/h", "td/lstm/h", "td/lstm/c", "within/gru/h"}
    assert all(values.shape == (T,) and (values > 0).all() for values in norms.values())


@pytest.mark.parametrize("frozen", [["a"], ["a", "b"]])
def test_frozen_layers_have_states_too(x, y, frozen):
    model = compiled(LSTM(U, return_sequences=True, name="a"), LSTM(U, name="b"), Dense(1))
    randomize(model)
    expected = gradient_norms(model, x, y)
    for name in frozen:
        model.get_layer(name).trainable = False
    model.compile("sgd", "mse")
    found = gradient_norms(model, x, y)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-12)


# --- what it leaves alone ---------------------------------------------------------------------------------


def test_the_model_stays_as_it_was(y):
    layers = [
        Input(batch_shape=(B, T), dtype="int32"),
        Embedding(9, F, mask_zero=True),
        LSTM(U, stateful=True, dropout=0.5, name="lstm"),
        Dropout(0.5),
        Dense(1),
    ]
    model = Sequential(layers)
    model.compile("adam", "mse", metrics=["mae"])
    ids = np.random.default_rng(0).integers(0, 9, (B, T))
    model.train_on_batch(ids, y)
    states, weights, metrics = model.get_states(), model.get_weights(), model.get_metrics_result()
    first = gradient_norms(model, ids, y)
    second = gradient_norms(model, ids, y)
    np.testing.assert_array_equal(first["lstm/c"], second["lstm/c"])
    np.testing.assert_array_equal(model.get_states()[0], states[0])
    for a, b in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert model.get_metrics_result() == metrics
    model.predict(ids, batch_size=B, verbose=0)
    assert model.get_layer("lstm").kernel_choice.kernel == "cpu"


def test_no_graph_stays_and_no_grad_is_no_hindrance(x, y):
    model = compiled(GRU(U, name="gru", activity_regularizer="l2"), Dense(1))
    expected = gradient_norms(model, x, y)
    assert model.losses == []
    with tinyrnn.no_grad():
        np.testing.assert_array_equal(gradient_norms(model, x, y)["gru/h"], expected["gru/h"])


def test_looking_at_it_while_it_trains_changes_nothing(x, y):
    def trained(*callbacks):
        tinyrnn.set_random_seed(1)
        inputs = Input((T, F))
        h = GRU(U, dropout=0.3)(inputs)
        model = Model(inputs, [Dense(1, name="a")(h), Dense(1, name="b")(h)])
        model.compile("adam", "mse")
        return model.fit(x, [y, y], epochs=2, batch_size=2, callbacks=callbacks, verbose=0).history

    class Look(Callback):
        def on_train_batch_end(self, batch, logs=None):
            gradient_norms(self.model, x, [y, y])

    assert trained(Look()) == trained()


# --- errors -----------------------------------------------------------------------------------------------


def test_errors_say_what_is_missing(x, y):
    model = Sequential([Input((None, F)), SimpleRNN(U), Dense(1)], name="mine")
    with pytest.raises(ValueError, match=r"gradient_norms: mine has no loss; call compile"):
        gradient_norms(model, x, y)
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="samples"):
        gradient_norms(model, x, y[:2])
    assert gradient_norms(model, x, y)
    dense = Sequential([Input((F,)), Dense(1)], name="flat")
    dense.compile("sgd", "mse")
    with pytest.raises(ValueError, match="gradient_norms: flat has no recurrent layer"):
        gradient_norms(dense, x[:, 0], y)


# --- the factor of a step ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("norms", "factor"),
    [
        ([1.0, 2.0, 4.0, 8.0], 0.5),
        ([8.0, 5.0, 2.0], 2.0),
        ([np.nan, np.nan, 9.0, 3.0, 1.0, np.nan], 3.0),
        ([1e-300, 1.0, 1e300], 1e-300),
        ([0.0, 1.0], 0.0),
        ([0.0, 0.0], np.nan),
    ],
)
def test_factor_per_step(norms, factor):
    np.testing.assert_allclose(factor_per_step(np.array(norms)), factor, rtol=1e-10)


@pytest.mark.parametrize("norms", [[1.0], [np.nan, 1.0], [[1.0, 2.0]]])
def test_factor_per_step_needs_two_steps(norms):
    with pytest.raises(ValueError, match="norms: expected at least two time steps"):
        factor_per_step(norms)
