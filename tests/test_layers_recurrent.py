"""Recurrent layers against Keras: outputs, states, masks, every gradient; and what Keras lacks."""

import json

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras_oracle import MASKS, compare, compare_layer, draw, float_type, make_mask
from kernel_cases import ON_HOST

import tinyrnn
from tinyrnn import layers, ops
from tinyrnn.autograd import Tensor
from tinyrnn.layers import LSTM, RNN, GRUCell, Input, LSTMCell, RNNCell, SimpleRNN, SimpleRNNCell

B, T, F, U = 3, 4, 2, 3  # one shape for all drawn cases: JAX compiles for each anew

ACTIVATIONS = ["tanh", "relu", "sigmoid", "linear", "hard_sigmoid", "softsign", "elu", "gelu"]

options = st.fixed_dictionaries(
    {},
    optional={
        "return_sequences": st.booleans(),
        "return_state": st.booleans(),
        "go_backwards": st.booleans(),
        "use_bias": st.booleans(),
        "zero_output_for_mask": st.booleans(),
        "activation": st.sampled_from(ACTIVATIONS),
        "kernel_regularizer": st.just("l2"),
        "recurrent_regularizer": st.just("l1"),
    },
)
gates = st.fixed_dictionaries(
    {}, optional={"recurrent_activation": st.sampled_from(["sigmoid", "hard_sigmoid"])}
)


def first_step_valid(mask, options):
    """Whether every row begins with a valid step, in the order of reading.

    Where it does not, and a state was given, Keras's answer depends on its backend.
    """
    return mask is None or mask[:, -1 if options.get("go_backwards") else 0].all()


def number_of_states(kind):
    return 2 if kind == "LSTM" else 1


KINDS = ["SimpleRNN", "LSTM", "GRU", "GRU, reset before"]


def maker(kind, options):
    """Return the function from a `layers` module to the layer."""
    name, *before = kind.split(",")
    more = {"reset_after": False} if before else {}
    return lambda layers: getattr(layers, name)(U, **options, **more)


@pytest.mark.parametrize("kind", KINDS)
@given(
    options=options,
    gates=gates,
    mask=st.sampled_from([None, *MASKS]),
    state=st.booleans(),
    dtype=st.sampled_from(["float64", "float64", "float32"]),
    seed=st.integers(0, 99),
)
def test_layer(kind, options, gates, mask, state, dtype, seed):
    options = options | (gates if kind != "SimpleRNN" else {})
    mask = make_mask(mask, B, T)
    call = {}
    if state and first_step_valid(mask, options):
        call["initial_state"] = [draw(B, U, seed=seed + k) for k in range(number_of_states(kind))]
    compare(maker(kind, options), draw(B, T, F, seed=seed), mask, dtype=dtype, seed=seed, **call)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("length", [1, 2])
def test_few_steps(kind, length):
    options = {"return_sequences": True, "return_state": True}
    compare(maker(kind, options), draw(B, length, F), make_mask("holes", B, length))


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_activity_regularizer(kind):
    options = {"activity_regularizer": "l2", "return_sequences": True}
    compare(maker(kind, options), draw(B, T, F))


def test_simple_rnn_honours_activity_regularizer():
    """Keras accepts it and forgets it."""
    layer = SimpleRNN(U, activity_regularizer="l2")
    y = layer(draw(B, T, F).astype("float32"))
    (loss,) = layer.losses
    np.testing.assert_allclose(loss.item(), 0.01 * np.sum(y.data**2) / B, rtol=1e-6)


# --- dropout ----------------------------------------------------------------------------------------------


def fix_masks(ours, theirs, kind, rates, seed):
    """Give both layers the same dropout masks; theirs draws a list with recurrent dropout, else one."""
    rng = np.random.default_rng(seed)
    n = {"SimpleRNN": 1, "LSTM": 4}.get(kind, 3)

    def masks(rate, count, width):
        return (rng.random((count, B, width)) >= rate) / (1 - rate) if rate else None

    of_input = masks(rates[0], n if rates[1] else 1, F)
    of_state = masks(rates[1], n, U)
    ours.cell.draw_masks = lambda batch, features: (of_input, of_state)

    def theirs_for(masks):
        if masks is None:
            return None
        return (
            list(map(keras.ops.convert_to_tensor, masks))
            if len(masks) > 1
            else keras.ops.convert_to_tensor(masks[0])
        )

    theirs.cell.get_dropout_mask = lambda x: theirs_for(of_input)
    theirs.cell.get_recurrent_dropout_mask = lambda x: theirs_for(of_state)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rates", [(0.4, 0.0), (0.0, 0.4), (0.4, 0.3)])
@pytest.mark.parametrize("mask", [None, "holes"])
def test_dropout_with_given_masks(kind, rates, mask):
    options = {"dropout": rates[0], "recurrent_dropout": rates[1], "return_sequences": True}
    with float_type("float64"):
        ours, theirs = maker(kind, options)(layers), maker(kind, options)(keras.layers)
        fix_masks(ours, theirs, kind, rates, seed=3)
        compare_layer(ours, theirs, draw(B, T, F), make_mask(mask, B, T), training=True, shapes=False)


@pytest.mark.parametrize("cell", [SimpleRNNCell, LSTMCell, GRUCell])
def test_drawn_masks(cell):
    """One mask for all gates, one per gate with recurrent dropout; inverted; new ones each call."""
    n = len(cell(1).gates)
    of_input, of_state = cell(50, dropout=0.25).draw_masks(40, 30)
    assert of_state is None
    assert of_input.shape == (1, 40, 30)
    of_input, of_state = cell(50, dropout=0.25, recurrent_dropout=0.5).draw_masks(40, 30)
    assert (of_input.shape, of_state.shape) == ((n, 40, 30), (n, 40, 50))
    for masks, rate in ((of_input, 0.25), (of_state, 0.5)):
        assert masks.dtype == np.float32
        np.testing.assert_allclose(np.unique(masks), [0, 1 / (1 - rate)], rtol=1e-6)
        assert abs((masks == 0).mean() - rate) < 0.05
    assert np.abs(cell(5, dropout=0.5, recurrent_dropout=0.5, seed=1).draw_masks(4, 5)[0]).max() == 2.0


def test_dropout_only_in_training_and_by_seed():
    x = draw(B, T, F).astype("float32")
    layer = LSTM(U, dropout=0.5, recurrent_dropout=0.5, seed=7)
    still = layer(x).data
    np.testing.assert_array_equal(layer(x, training=False).data, still)
    first, second = layer(x, training=True).data, layer(x, training=True).data
    assert not np.array_equal(first, still)
    assert not np.array_equal(first, second)
    again = LSTM(U, dropout=0.5, recurrent_dropout=0.5, seed=7)
    again(x)
    again.set_weights(layer.get_weights())
    np.testing.assert_array_equal(again(x, training=True).data, first)


def test_dropping_everything():
    layer = LSTM(U, dropout=1.0, recurrent_dropout=1.0)
    layer(np.ones((B, T, F), "float32"))
    x = draw(B, T, F).astype("float32")
    zeros = layer(np.zeros_like(x)).data
    assert np.isfinite(layer(x, training=True).data).all()
    assert not np.array_equal(layer(x).data, zeros)


def test_a_single_step_keeps_its_masks_until_reset():
    cell = LSTMCell(U, dropout=0.5, recurrent_dropout=0.5, seed=1)
    x, states = draw(B, F).astype("float32"), [draw(B, U).astype("float32")] * 2
    first, _ = cell(x, states, training=True)
    np.testing.assert_array_equal(cell(x, states, training=True)[0].data, first.data)
    cell.reset_dropout_mask()
    assert not np.array_equal(cell(x, states, training=True)[0].data, first.data)


# --- cells ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["SimpleRNN", "LSTM", "GRU"])
def test_one_step_of_a_cell(kind):
    x, states = draw(B, F), [draw(B, U, seed=k + 1) for k in range(number_of_states(kind))]
    compare(lambda layers: getattr(layers, f"{kind}Cell")(U), x, states=states, shapes=False)


@given(
    mask=st.sampled_from([None, "right", "holes", "empty row"]),
    options=st.fixed_dictionaries(
        {}, optional={k: st.booleans() for k in ("return_sequences", "go_backwards")}
    ),
)
def test_stacked_cells(mask, options):
    def make(layers):
        return layers.RNN([layers.LSTMCell(U), layers.GRUCell(2), layers.SimpleRNNCell(U)], **options)

    compare(make, draw(B, T, F), make_mask(mask, B, T), shapes=False)


def test_stacked_cells_return_the_states_of_each():
    layer = RNN([LSTMCell(U), GRUCell(2)], return_state=True)
    y, lstm, gru = layer(draw(B, T, F).astype("float32"))
    assert [s.shape for s in lstm] == [(B, U), (B, U)]
    assert [s.shape for s in gru] == [(B, 2)]
    np.testing.assert_array_equal(y.data, gru[0].data)
    again, *_ = layer(draw(B, T, F).astype("float32"), initial_state=[lstm, gru])
    assert not np.array_equal(again.data, y.data)
    with pytest.raises(ValueError, match=r"rnn.*: expected 2 initial states, found 1"):
        layer(draw(B, T, F), initial_state=[lstm])


class KerasStyleCell:
    """A cell as one writes it for Keras: no base class."""

    state_size = 2

    def __init__(self, library_ops, offset):
        self.ops, self.offset = library_ops, offset

    def call(self, inputs, states):
        new = self.ops.tanh(inputs) * 0.5 + states[0]
        return new + self.offset, [new]


@pytest.mark.parametrize(
    ("mask", "offset"), [(None, 0.5), ("right", 0.0), ("left", 0.0), ("holes", 0.0), ("empty row", 0.0)]
)
@pytest.mark.parametrize("sequences", [False, True])
def test_keras_style_cell(mask, offset, sequences):
    """With a mask the output must be the state: else Keras's answer depends on its backend."""

    class Theirs(keras.layers.Layer, KerasStyleCell):
        def __init__(self):
            keras.layers.Layer.__init__(self)
            KerasStyleCell.__init__(self, keras.ops, offset)

        call = KerasStyleCell.call

    with float_type("float64"):
        ours = RNN(KerasStyleCell(ops, offset), return_sequences=sequences)
        theirs = keras.layers.RNN(Theirs(), return_sequences=sequences)
        compare_layer(ours, theirs, draw(B, T, 2), make_mask(mask, B, T), shapes=False)
    assert ours.kernel_choice == ("unrolled", "KerasStyleCell defines call(inputs, states)")


class LayerCell(layers.Layer):
    """A cell in Keras's style that is a layer, with weights."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = self.state_size = units

    def build(self, input_shape):
        self.w = self.add_weight((input_shape[-1], self.units), name="w")

    def call(self, inputs, states):
        h = ops.tanh(inputs @ self.w + states[0])
        return h, [h]


def test_a_keras_style_cell_can_be_wrapped_cloned_and_written_down():
    x = draw(B, T, F).astype("float32")
    both = layers.Bidirectional(RNN(LayerCell(U)))
    assert both(x).shape == (B, 2 * U)
    first, second = both.get_weights()
    assert not np.array_equal(first, second)
    for cell in (LayerCell(U), [LayerCell(U), LSTMCell(2)]):
        layer = RNN(cell, return_sequences=True)
        layer(x)
        again = RNN.from_config(json.loads(json.dumps(layer.get_config())))
        assert again.get_config() == layer.get_config()
        for other in (again, layer.clone(name="other")):
            other(x)
            other.set_weights(layer.get_weights())
            np.testing.assert_array_equal(other(x).data, layer(x).data)


def test_cloning_copies_a_cell_that_is_no_layer():
    class Counting:
        state_size = 2
        calls = 0

        def call(self, inputs, states):
            self.calls += 1
            return inputs, states

    layer = RNN(Counting())
    copy = layer.clone(name="copy")
    copy(draw(B, T, F).astype("float32"))
    assert (copy.cell.cell.calls, layer.cell.cell.calls) == (T, 0)


class Peephole(LSTMCell):
    """As a user writes it."""

    params = ("p_i", "p_f", "p_o")

    def step(self, x, r, s, p):
        i = ops.sigmoid(x.i + r.i + p.p_i * s.c)
        f = ops.sigmoid(x.f + r.f + p.p_f * s.c)
        c = f * s.c + i * ops.tanh(x.c + r.c)
        o = ops.sigmoid(x.o + r.o + p.p_o * c)
        return o * ops.tanh(c), c


def test_a_users_cell_runs_in_the_same_kernels():
    x = draw(B, T, F).astype("float32")
    mask = make_mask("holes", B, T)
    layer = RNN(Peephole(U), return_sequences=True)
    plain = LSTM(U, return_sequences=True)
    y = layer(x, mask=mask)
    plain(x)
    assert [w.shape for w in layer.weights] == [(F, 4 * U), (U, 4 * U), (4 * U,), (U,), (U,), (U,)]
    assert [w.name for w in layer.weights][3:] == ["p_i", "p_f", "p_o"]
    plain.set_weights(layer.get_weights()[:3])  # peepholes start at zero: a plain LSTM
    np.testing.assert_allclose(plain(x, mask=mask).data, y.data, rtol=1e-6, atol=1e-8)
    assert layer.kernel_choice.kernel == "cpu"
    ops.sum(y).backward()
    assert all(np.abs(w.grad).max() > 0 for w in layer.weights)


@pytest.mark.parametrize("kernel", ON_HOST)
def test_kernel_can_be_chosen(kernel):
    layer = LSTM(U, kernel=kernel)
    layer(draw(B, T, F).astype("float32"))
    assert layer.kernel_choice == (kernel, "asked for")
    with pytest.raises(ValueError, match="unknown kernel 'unroled'; did you mean 'unrolled'"):
        LSTM(U, kernel="unroled")


# --- masks and states -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("backwards", [False, True])
def test_output_before_the_first_valid_step_is_zeros(kind, backwards):
    """With a given state too; Keras does this on TensorFlow and PyTorch, but not on JAX."""
    layer = maker(kind, {"return_sequences": True, "return_state": True, "go_backwards": backwards})(layers)
    x = draw(2, T, F).astype("float32")
    mask = np.array([[False, True, True, False], [False] * T])
    states = [draw(2, U, seed=k).astype("float32") for k in range(number_of_states(kind))]
    y, *final = layer(x, mask=mask, initial_state=states)
    y = y.data
    assert not y[0, 0].any()
    assert not y[1].any()
    np.testing.assert_array_equal(y[0, 3], y[0, 2])  # the last step repeats
    np.testing.assert_array_equal(final[0].data[0], y[0, 3])
    for state, initial in zip(final, states, strict=True):
        np.testing.assert_array_equal(state.data[1], initial[1])  # an empty row keeps its state


@pytest.mark.parametrize("backwards", [False, True])
def test_zeros_before_the_first_valid_step_in_the_order_of_reading(backwards):
    x, h = draw(1, T, F).astype("float32"), draw(1, U).astype("float32")
    mask = np.array([[True, True, False, False]] if backwards else [[False, False, True, True]])
    layer = SimpleRNN(U, return_sequences=True, go_backwards=backwards, stateful=True)
    given = layer(x, mask=mask, initial_state=h).data[0]  # in the order of reading: two masked, two valid
    assert not given[:2].any()
    assert given[2:].any()
    kept = layer(x, mask=mask).data[0]  # the same where the state comes from the batch before
    assert not kept[:2].any()
    assert kept[2:].any()
    mask = mask[:, ::-1].copy()
    repeated = layer(x, mask=mask, initial_state=h).data[0]  # two valid, two masked: these repeat
    np.testing.assert_array_equal(repeated[1:], repeated[[1, 1, 1]])
    assert repeated[1].any()


def test_right_padding_changes_nothing():
    x = draw(2, T, F).astype("float32")
    mask = make_mask("right", 2, T)
    for backwards in (False, True):
        layer = LSTM(U, go_backwards=backwards)
        y = layer(x, mask=mask).data
        for row in range(2):
            short = x[row : row + 1, mask[row]]
            np.testing.assert_allclose(y[row : row + 1], layer(short).data, rtol=1e-5)


def test_integer_masks_and_one_state_without_a_list():
    x, h = draw(B, T, F).astype("float32"), draw(B, U).astype("float32")
    layer = SimpleRNN(U)
    mask = make_mask("holes", B, T)
    expected = layer(x, initial_state=[h], mask=mask).data
    np.testing.assert_array_equal(layer(x, initial_state=h, mask=mask.astype(int)).data, expected)


def test_stateful_carries_on():
    x = draw(B, 6, F).astype("float32")
    whole = LSTM(U, return_sequences=True)
    expected = whole(x).data
    parts = LSTM(U, return_sequences=True, stateful=True)
    parts(x[:, :1])
    parts.set_weights(whole.get_weights())
    parts.reset_states()
    found = [parts(x[:, a : a + 2]).data for a in (0, 2, 4)]
    np.testing.assert_allclose(np.concatenate(found, axis=1), expected, rtol=1e-6)
    parts.reset_state()
    np.testing.assert_array_equal(parts(x[:, :2]).data, found[0])
    kept = [s.copy() for s in parts.states]
    parts(x[:, 2:4])
    parts.states = kept
    np.testing.assert_array_equal(parts(x[:, 2:4]).data, found[1])


def test_stateful_initial_state_overrides_and_is_continued():
    x = draw(B, 2, F).astype("float32")
    layer = SimpleRNN(U, stateful=True)
    h = draw(B, U).astype("float32")
    first = layer(x, initial_state=h).data
    np.testing.assert_array_equal(layer.states[0], first)
    layer(x)
    np.testing.assert_array_equal(layer(x, initial_state=h).data, first)


def test_stateful_cuts_the_gradient():
    layer = SimpleRNN(U, stateful=True)
    first = Tensor(draw(B, 2, F).astype("float32"), requires_grad=True)
    layer(first)
    ops.sum(layer(draw(B, 2, F).astype("float32"))).backward()
    assert first.grad is None


def test_stateful_against_keras():
    with float_type("float64"):
        ours, theirs = layers.GRU(U, stateful=True), keras.layers.GRU(U, stateful=True)
        parts = [draw(B, T, F, seed=k) for k in range(3)]
        ours(parts[0])
        theirs(parts[0])
        ours.set_weights([np.asarray(w) for w in theirs.get_weights()])
        ours.reset_states()
        theirs.reset_states()
        for x in parts:
            np.testing.assert_allclose(ours(x).data, np.asarray(theirs(x)), rtol=1e-9)


# --- start values and sizes -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "count"), [("LSTM", 98_816), ("GRU", 74_496), ("GRU, reset before", 74_112)]
)
def test_parameter_counts(kind, count):
    name, *before = kind.split(",")
    layer = getattr(layers, name)(128, **({"reset_after": False} if before else {}))
    layer.build((None, None, 64))
    assert layer.count_params() == count


def test_initial_weights():
    layer = LSTM(5)
    layer.build((None, None, 3))
    _, recurrent, bias = layer.get_weights()
    assert bias.tolist() == [0.0] * 5 + [1.0] * 5 + [0.0] * 10
    np.testing.assert_allclose(recurrent @ recurrent.T, np.eye(5), atol=1e-5)  # rows of the whole matrix
    layer = LSTM(5, unit_forget_bias=False, bias_initializer="ones")
    layer.build((None, None, 3))
    assert layer.get_weights()[2].tolist() == [1.0] * 20


def test_arguments_of_the_cell_are_the_layers():
    layer = layers.GRU(4, "relu", recurrent_dropout=0.2, reset_after=False, name="g", return_state=True)
    assert (layer.units, layer.recurrent_dropout, layer.reset_after, layer.cell.name) == (
        4,
        0.2,
        False,
        "gru_cell",
    )
    assert layer.activation is tinyrnn.activations.relu
    config = layer.get_config()
    assert config["units"] == 4
    assert config["recurrent_initializer"]["class_name"] == "Orthogonal"
    assert type(layer).from_config(config).get_config() == config
    with pytest.raises(AttributeError, match="GRU has no attribute 'unit'"):
        layer.unit  # noqa: B018


def test_config_of_stacked_cells():
    layer = RNN([LSTMCell(3), GRUCell(2, reset_after=False)], go_backwards=True)
    config = layer.get_config()
    again = RNN.from_config(config)
    assert again.get_config() == config
    assert [type(c) for c in again.cell.cells] == [LSTMCell, GRUCell]


def test_clone_shares_nothing():
    layer = RNN([LSTMCell(3), GRUCell(2)], name="r")
    layer.build((None, None, F))
    copy = layer.clone(name="s")
    copy.build((None, None, F))
    assert copy.name == "s"
    assert not {id(w) for w in layer.weights} & {id(w) for w in copy.weights}
    assert not np.array_equal(layer.get_weights()[0], copy.get_weights()[0])


def test_paths_of_weights():
    layer = LSTM(2, name="l")
    layer.build((None, None, 3))
    assert [w.path for w in layer.weights] == [
        f"l/lstm_cell/{n}" for n in ("kernel", "recurrent_kernel", "bias")
    ]


# --- bad input --------------------------------------------------------------------------------------------


def test_errors_name_the_layer_and_what_was_found():
    x = draw(B, T, F).astype("float32")
    layer = LSTM(U, name="memory")
    with pytest.raises(
        ValueError, match=r"memory: expected 3 axes \(batch, time, features\), found shape \(4, 2\)"
    ):
        layer(x[0])
    expected = layer(x).data
    cases = [
        (lambda: layer(x[:, :, :1]), r"was built for inputs with 2 features, found 1 in .* \(3, 4, 1\)"),
        (lambda: layer(x[:, :0]), "expected at least one time step, found none"),
        (lambda: layer(x, initial_state=x[:, 0]), "expected 2 initial states, found 1"),
        (
            lambda: layer(x, initial_state=[np.ones((B, U)), x[:, 0]]),
            r"expected a state of shape \(3, 3\), found \(3, 2\)",
        ),
        (lambda: layer(x, mask=np.ones((B, 2))), r"expected a mask of shape \(3, 4\), found \(3, 2\)"),
        (lambda: layer.reset_states(), "only a stateful layer keeps states"),
        (lambda: layer.set_weights([x]), r"expected 3 arrays: memory/lstm_cell/kernel \(2, 12\)"),
    ]
    for action, message in cases:
        with pytest.raises(ValueError, match=f"memory.*: {message}"):
            action()
        np.testing.assert_array_equal(layer(x).data, expected)  # it still works


def test_symbolic_states_are_checked_where_they_are_given():
    x = Input((T, F))
    with pytest.raises(ValueError, match=r"of shapes \[\(None, 3\)\], found \[.*, .*\]"):
        layers.GRU(U)(x, initial_state=[Input((U,)), Input((U,))])
    with pytest.raises(ValueError, match=r"initial states of shapes .*\(None, 3\).* found .*\(None, 4\)"):
        LSTM(U)(x, initial_state=[Input((U,)), Input((4,))])
    with pytest.raises(TypeError, match=r"nothing to unpack; .* return_state=True"):
        _, _, _ = LSTM(U)(x)
    with pytest.raises(ValueError, match=r"found shape \(None, 3\); a recurrent layer before this one needs"):
        LSTM(U)(LSTM(U)(x))
    LSTM(U)(x, initial_state=[Input((U,)), Input((U,))])


def test_stateful_needs_one_batch_size():
    layer = LSTM(U, stateful=True, name="s")
    with pytest.raises(ValueError, match="s: a stateful layer needs a fixed batch size"):
        layer(Input((T, F)))
    x = draw(B, T, F).astype("float32")
    layer(x)
    for _ in range(2):
        with pytest.raises(ValueError, match=r"s: a stateful .* built for batches of 3, found one of 2"):
            layer(x[:2])
        layer.reset_states()
    layer(x)


@pytest.mark.parametrize("units", [0, -1, 2.5, "8", True])
def test_units_must_be_positive(units):
    with pytest.raises(ValueError, match="LSTMCell: units: expected an integer from 1 on, found"):
        LSTM(units)


def test_numbers_of_numpy_are_numbers():
    layer = LSTM(np.int64(3), dropout=np.float32(0.25))
    model = tinyrnn.Sequential([Input((np.int64(5), np.int32(2))), layer, layers.RepeatVector(np.int64(2))])
    config = json.loads(json.dumps(model.get_config()))
    assert config["layers"][1]["config"]["dropout"] == 0.25
    with pytest.raises(ValueError, match=r"LSTMCell: dropout: expected a number, found '0\.2'"):
        LSTM(3, dropout="0.2")


def test_unknown_arguments_and_names():
    with pytest.raises(
        TypeError, match="LSTM: unknown argument 'return_sequence'; did you mean 'return_sequences'"
    ):
        LSTM(U, return_sequence=True)
    with pytest.raises(ValueError, match="unknown activation 'thanh'; did you mean 'tanh'"):
        LSTM(U, activation="thanh")
    with pytest.raises(ValueError, match=r"a cell needs call\(inputs, states\) and state_size"):
        RNN(object())
    with pytest.raises(ValueError, match=r"LSTM name=.* is a layer; an RNN takes a cell"):
        RNN(LSTM(U))
    with pytest.raises(ValueError, match="expected at least one cell"):
        RNN([])


def test_old_spellings():
    with pytest.warns(FutureWarning, match="unroll=True is an old spelling"):
        layer = SimpleRNN(U, unroll=True)
    x = draw(B, T, F).astype("float32")
    y = layer(x).data
    plain = SimpleRNN(U)
    plain(x)
    plain.set_weights(layer.get_weights())
    np.testing.assert_array_equal(plain(x).data, y)
    assert LSTM(U, implementation=1, use_cudnn=False)(x).shape == (B, U)
    assert issubclass(Peephole, RNNCell)


@pytest.mark.parametrize("nested", [True, False])
def test_initial_states_of_stacked_cells_with_one_state_each(nested):
    def cells():
        return [tinyrnn.layers.GRUCell(3), tinyrnn.layers.SimpleRNNCell(2)]

    source, target = tinyrnn.Input((4, 3)), tinyrnn.Input((5, 3))
    _, *states = tinyrnn.layers.RNN(cells(), return_state=True)(source)
    reader = tinyrnn.layers.RNN(cells(), return_sequences=True)
    y = reader(target, initial_state=[[s] for s in states] if nested else states)
    model = tinyrnn.Model([source, target], y)
    x, z = draw(2, 4, 3), draw(2, 5, 3, seed=1)
    encoder = next(layer for layer in model.layers if getattr(layer, "return_state", False))
    _, *found = encoder(x)
    np.testing.assert_array_equal(model.predict([x, z], verbose=0), reader(z, initial_state=found).data)
    assert (reader(z, initial_state=found).data != reader(z).data).any()
