"""Bidirectional against Keras: merging, masks, states, directions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras_oracle import MASKS, compare, draw, make_mask

from tinyrnn import layers
from tinyrnn.layers import GRU, LSTM, RNN, Bidirectional, Dense, GRUCell, Input, LSTMCell, SimpleRNN

B, T, F, U = 3, 4, 2, 3


@given(
    kind=st.sampled_from(["LSTM", "GRU", "SimpleRNN"]),
    merge_mode=st.sampled_from(["concat", "sum", "ave", "mul", None]),
    sequences=st.booleans(),
    states=st.booleans(),
    mask=st.sampled_from([None, *MASKS]),
    seed=st.integers(0, 99),
)
def test_against_keras(kind, merge_mode, sequences, states, mask, seed):
    def make(layers):
        inner = getattr(layers, kind)(U, return_sequences=sequences, return_state=states)
        return layers.Bidirectional(inner, merge_mode=merge_mode)

    # Of a nest of outputs Keras's and our symbolic shapes are nested differently.
    shapes = not states and merge_mode is not None
    compare(make, draw(B, T, F, seed=seed), make_mask(mask, B, T), seed=seed, shapes=shapes)


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_initial_state_is_split(kind):
    n = 2 if kind == "LSTM" else 1

    def make(layers):
        return layers.Bidirectional(getattr(layers, kind)(U, return_sequences=True))

    initial = [draw(B, U, seed=k) for k in range(2 * n)]
    compare(make, draw(B, T, F), initial_state=initial, shapes=False)


@pytest.mark.parametrize("sequences", [False, True])
@pytest.mark.parametrize("forward_is_backwards", [False, True])
def test_backward_layer_of_its_own(sequences, forward_is_backwards):
    def make(layers):
        first = layers.LSTM(U, return_sequences=sequences, go_backwards=forward_is_backwards)
        second = layers.GRU(U, return_sequences=sequences, go_backwards=not forward_is_backwards)
        return layers.Bidirectional(first, backward_layer=second)

    if forward_is_backwards:  # Keras flips the second output whatever its direction
        layer = make(layers)
        x = draw(B, T, F).astype("float32")
        y = layer(x).data
        forward = layer.forward_layer(x).data
        expected = forward[:, ::-1] if sequences else forward
        np.testing.assert_array_equal(y[..., :U], expected)
    else:
        compare(make, draw(B, T, F))


def test_backward_layer_with_other_units():
    """The size of the output is that of both, in the next layer too."""
    layer = Bidirectional(
        LSTM(3, return_sequences=True), backward_layer=LSTM(5, return_sequences=True, go_backwards=True)
    )
    y = layer(Input((T, F)))
    assert y.shape == (None, T, 8)
    assert Dense(1)(layer(draw(B, T, F).astype("float32"))).shape == (B, T, 1)
    with pytest.raises(
        ValueError, match="merge_mode='sum' needs as many units in both directions, found 3 and 5"
    ):
        Bidirectional(LSTM(3), "sum", backward_layer=LSTM(5, go_backwards=True))


def test_right_padding_changes_nothing():
    x = draw(2, T, F).astype("float32")
    mask = make_mask("right", 2, T)
    layer = Bidirectional(LSTM(U))
    y = layer(x, mask=mask).data
    for row in range(2):
        np.testing.assert_allclose(y[row], layer(x[row : row + 1, mask[row]]).data[0], rtol=1e-5)


def test_weights_in_order_and_given():
    layer = Bidirectional(LSTM(U, name="l"), name="b")
    layer.build((None, T, F))
    names = [
        f"{d}_l/lstm_cell/{n}"
        for d in ("forward", "backward")
        for n in ("kernel", "recurrent_kernel", "bias")
    ]
    assert [w.path for w in layer.weights] == [f"b/{n}" for n in names]
    forward, _, _, backward, *_ = layer.get_weights()
    assert not np.array_equal(forward, backward)
    again = Bidirectional(LSTM(U), weights=layer.get_weights())
    again.build((None, T, F))
    for a, b in zip(again.get_weights(), layer.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_stateful_with_mask_and_states():
    """What Keras refuses: stateful, return_state and a mask together."""
    layer = Bidirectional(GRU(U, stateful=True, return_state=True, return_sequences=True))
    x, mask = draw(B, T, F).astype("float32"), make_mask("right", B, T)
    first = [y.data for y in layer(x, mask=mask)]
    assert [y.shape for y in first] == [(B, T, 2 * U), (B, U), (B, U)]
    np.testing.assert_array_equal(layer.states[0], first[1])
    np.testing.assert_array_equal(layer.states[1], first[2])
    second = [y.data for y in layer(x, mask=mask)]
    assert not np.array_equal(first[0], second[0])
    layer.reset_states()
    assert layer.states is None
    np.testing.assert_array_equal(layer(x, mask=mask)[0].data, first[0])
    layer.states = first[1:]
    np.testing.assert_array_equal(layer(x, mask=mask)[0].data, second[0])


def test_seed_is_the_same_in_both_directions():
    layer = Bidirectional(SimpleRNN(U, dropout=0.5, seed=3))
    layer.build((None, T, F))
    masks = [d.cell.draw_masks(B, F)[0] for d in (layer.forward_layer, layer.backward_layer)]
    np.testing.assert_array_equal(*masks)
    layer = Bidirectional(SimpleRNN(U, dropout=0.5))
    masks = [d.cell.draw_masks(40, F)[0] for d in (layer.forward_layer, layer.backward_layer)]
    assert not np.array_equal(*masks)


def test_around_any_cell():
    layer = Bidirectional(RNN([LSTMCell(2), GRUCell(U)], return_sequences=True))
    assert layer(draw(B, T, F).astype("float32")).shape == (B, T, 2 * U)
    assert len(layer.weights) == 12


def test_config_round_trip():
    layer = Bidirectional(LSTM(U, return_sequences=True, name="l"), merge_mode="ave", name="b")
    layer.build((None, T, F))
    config = layer.get_config()
    assert "weights" not in config
    again = Bidirectional.from_config(config)
    assert again.get_config() == config
    copy = layer.clone(name="c")
    copy.build((None, T, F))
    assert (copy.forward_layer.name, copy.backward_layer.name) == ("forward_l", "backward_l")
    assert not np.array_equal(copy.get_weights()[0], layer.get_weights()[0])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Bidirectional(Dense(3)), "expected a recurrent layer, found <Dense"),
        (lambda: Bidirectional(LSTM(3), merge_mode="avg"), "unknown merge_mode 'avg'; did you mean 'ave'"),
        (
            lambda: Bidirectional(LSTM(3, go_backwards=True)),
            "layer has go_backwards=True; give a backward_layer",
        ),
        (
            lambda: Bidirectional(LSTM(3), backward_layer=LSTM(3)),
            "must differ in go_backwards; both are False",
        ),
        (
            lambda: Bidirectional(LSTM(3), backward_layer=LSTM(3, go_backwards=True, return_state=True)),
            "must agree in return_state; found False and True",
        ),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_wrong_number_of_states():
    layer = Bidirectional(LSTM(U), name="b")
    x = draw(B, T, F).astype("float32")
    expected = layer(x).data
    with pytest.raises(ValueError, match="b: expected 4 initial states, forward then backward; found 2"):
        layer(x, initial_state=[np.zeros((B, U), "float32")] * 2)
    np.testing.assert_array_equal(layer(x).data, expected)
