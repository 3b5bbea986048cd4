"""The teaching examples: a network by hand, stacked layers, cells of one's own, gradients through time."""

import warnings
from types import SimpleNamespace

import common
import deep_rnn
import gradients_through_time
import numpy as np
import own_cells
import pytest
import rnn_by_hand

from tinyrnn import Sequential
from tinyrnn.layers import RNN, Dense


def test_epoch_times_leave_validation_and_the_first_epoch_out(monkeypatch):
    now = iter([0.0, 5.0, 10.0, 12.0, 20.0, 24.0, 30.0, 31.0])  # the times at begin and end of 4 epochs
    monkeypatch.setattr(common, "time", SimpleNamespace(perf_counter=lambda: next(now)))
    times = common.EpochTimes()
    model = Sequential([Dense(1)])
    model.compile("sgd", "mse")
    x, y = np.zeros((4, 1)), np.zeros((4, 1))
    model.fit(x, y, epochs=3, validation_split=0.5, callbacks=[times], verbose=0)
    model.fit(x, y, epochs=1, callbacks=[times], verbose=0)
    assert times.seconds == [5.0, 2.0, 4.0, 1.0]
    assert times.typical == 2.0
    times.seconds = [7.0]
    assert times.typical == 7.0


# --- rnn_by_hand ------------------------------------------------------------------------------------------


def test_by_hand_and_every_kernel_agree(tmp_path, capsys):
    result = rnn_by_hand.main(["--out", str(tmp_path)])
    for dtype, tolerance in (("float64", 1e-12), ("float32", 2e-5)):
        found = result["differences"][dtype]
        assert list(found) == ["unrolled", "array", "cpu"]
        assert all(list(values) == ["h", "dL/dW", "dL/dU", "dL/db"] for values in found.values())
        assert max(value for values in found.values() for value in values.values()) < tolerance
    assert result["shares"].shape == (100,)
    assert result["shares"].sum() == pytest.approx(1.0)
    assert result["norms"]["dL/dU"][0] == 0.0  # before the first step there is no state
    sizes, earlier = result["norms"]["dL/dW"], result["earlier"]["dL/dW"]
    assert sizes[0] == earlier[0] > 0
    assert (earlier <= sizes.cumsum() * (1 + 1e-9)).all()
    assert (tmp_path / "rnn_by_hand.png").exists()
    assert "this and later\n   100 " in capsys.readouterr().out


def test_the_gradient_by_hand_is_the_slope_of_the_loss():
    """Of the program's own loss, by differences: the package has no part in it."""
    rng = np.random.default_rng(0)
    shapes = [(5, 4), (4, 4), (4,), (4, 5), (5,)]
    weights = rnn_by_hand.Weights(*(rng.standard_normal(shape) for shape in shapes))
    x, y = rng.standard_normal((7, 5)), 2
    h = rnn_by_hand.forward(x, weights)
    terms, dh = rnn_by_hand.backward(x, y, h, weights)
    assert dh.shape == (7, 4)

    def loss(**changed):
        w = weights._replace(**changed)
        return -np.log(rnn_by_hand.guess(rnn_by_hand.forward(x, w)[-1], w)[y])

    for name in ("W", "U", "b"):
        way = rng.standard_normal(getattr(weights, name).shape)
        up, down = (loss(**{name: getattr(weights, name) + e * way}) for e in (1e-6, -1e-6))
        assert (getattr(terms, name).sum(0) * way).sum() == pytest.approx((up - down) / 2e-6, rel=1e-7)


def test_shares_are_measured_along_the_sum():
    terms = np.array([[[3.0, 1.0]], [[1.0, -1.0]], [[0.0, 4.0]], [[0.0, -4.0]]])  # their sum is [4, 0]
    np.testing.assert_allclose(rnn_by_hand.shares(terms), [0.75, 0.25, 0.0, 0.0])
    np.testing.assert_allclose(rnn_by_hand.norms(terms), [10**0.5, 2**0.5, 4.0, 4.0])


def test_a_place_outside_of_the_text():
    with pytest.raises(SystemExit, match=r"--start: expected a number from 0 to .*, found 123456789"):
        rnn_by_hand.main(["--start", "123456789"])


# --- deep_rnn ---------------------------------------------------------------------------------------------


def test_slopes_are_those_of_tanh_at_every_layers_output():
    model = deep_rnn.build_model(6)
    x = np.random.default_rng(0).integers(1, 100, (3, 6))
    found, h = deep_rnn.slopes(model, x), model.layers[0](x).numpy()
    assert list(found) == [f"rnn_{n}/h" for n in (1, 2, 3, 4)]
    for layer, value in zip(model.layers[1:-1], found.values(), strict=True):
        W, U, b = layer.get_weights()
        states = [np.zeros((3, 32))]
        for t in range(6):
            states.append(np.tanh(h[:, t] @ W + states[-1] @ U + b))
        h = np.stack(states[1:], axis=1)
        seen = h if layer.return_sequences else h[:, -1]
        assert value == pytest.approx(np.sqrt(np.mean((1 - seen**2) ** 2)), rel=1e-4)


def test_before_is_before_the_training(small_imdb, tmp_path, monkeypatch, capsys):
    events, drawn = [], []

    def spy(owner, name):
        original = getattr(owner, name)

        def spied(*args, **kwargs):
            events.append((name, original(*args, **kwargs)))
            return events[-1][1]

        monkeypatch.setattr(owner, name, spied)

    spy(deep_rnn, "gradient_norms")
    spy(deep_rnn, "slopes")
    spy(Sequential, "fit")
    monkeypatch.setattr(deep_rnn, "plot_gradient_norms", lambda panels, path: drawn.append(panels))
    result = deep_rnn.main(["--length", "9", "--epochs", "1", "--out", str(tmp_path)])
    trained = [name for name, _ in events].index("fit")
    halves = {"before": dict(events[:trained]), "after": dict(events[trained + 1 :])}
    first, second = capsys.readouterr().out.split("|dL/dh_t| ")[1:]
    assert first.startswith("before training\n")
    assert second.startswith("after\n")
    for (when, half), printed, panel in zip(halves.items(), (first, second), drawn[0].items(), strict=True):
        norms = half["gradient_norms"]
        assert result[when] is norms is panel[1]
        assert panel[0].startswith(when)
        assert f"rnn_4/h{norms['rnn_4/h'][0]:10.1e}" in printed
        assert f"dB){half['slopes']['rnn_4/h']:14.2f}\n" in printed


def test_gradients_of_stacked_layers(small_imdb, tmp_path, capsys):
    result = deep_rnn.main(["--length", "9", "--epochs", "6", "--out", str(tmp_path)])
    assert result["accuracy"] > 0.9
    names = [f"rnn_{n}/h" for n in (1, 2, 3, 4)]
    for when in ("before", "after"):
        norms = result[when]
        assert list(norms) == names
        assert all(values.shape == (9,) and (values > 0).all() for values in norms.values())
        for name, values in norms.items():  # from step 8 back to the first: the last tenth builds up
            assert result["factors"][when][name] == pytest.approx((values[0] / values[7]) ** (1 / 7))
    assert (tmp_path / "deep_rnn.png").exists()
    out = capsys.readouterr().out
    assert "(None, 9, 32)" in out
    assert "  t =             1         3         5         7         9" in out


# --- own_cells --------------------------------------------------------------------------------------------


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def peephole_step(z, c, p):
    i, f, g, o = np.split(z, 4, axis=-1)
    c_new = sigmoid(f + p[1] * c) * c + sigmoid(i + p[0] * c) * np.tanh(g)
    return sigmoid(o + p[2] * c_new) * np.tanh(c_new), c_new


def coupled_step(z, c, p):
    f, g, o = np.split(z, 3, axis=-1)
    c_new = c + sigmoid(-f - 1) * (np.tanh(g) - c)
    return sigmoid(o) * np.tanh(c_new), c_new


@pytest.mark.parametrize(
    ("cell", "step"), [(own_cells.PeepholeLSTM, peephole_step), (own_cells.CoupledLSTM, coupled_step)]
)
def test_own_cells_are_their_equations(cell, step):
    rng = np.random.default_rng(0)
    layer = RNN(cell(3, dtype="float64"), return_sequences=True, kernel="array", dtype="float64")
    layer.build((2, 5, 4))
    layer.set_weights([rng.standard_normal(w.shape) for w in layer.weights])
    W, U, b, *p = layer.get_weights()
    x = rng.standard_normal((2, 5, 4))
    h = c = np.zeros((2, 3))
    expected = []
    for t in range(5):
        h, c = step(x[:, t] @ W + h @ U + b, c, p)
        expected.append(h)
    np.testing.assert_allclose(layer(x).numpy(), np.stack(expected, axis=1), rtol=1e-12)


def test_own_cells_are_trained_beside_the_lstm(small_imdb, tmp_path, capsys):
    arguments = ["--length", "15", "--epochs", "6", "--rounds", "2", "--out", str(tmp_path)]
    result = own_cells.main(arguments)
    assert [r["weights"] for r in result.values()] == [8320, 8320 + 3 * 32, 8320 * 3 // 4]
    for name, found in result.items():
        assert found["accuracy"] > 0.95, name
        assert found["milliseconds"] > 0
    assert (tmp_path / "own_cells.png").exists()
    out = capsys.readouterr().out
    assert out.count("kernel 'cpu'") == 3
    assert "peephole LSTM: kernel 'cpu'" in out


# --- gradients_through_time -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def gradients(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plots")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # without clipping the loss may become infinite, and fit says so
        arguments = ["--sequences", "960", "--epochs", "2", "--out", str(folder)]
        return gradients_through_time.main(arguments), folder


def test_gradients_vanish_and_explode_as_the_initialisation_lets_expect(gradients):
    result, folder = gradients
    numbers = result["numbers"]
    for panel, curves in result["norms"].items():
        for name, norms in curves.items():
            found = numbers[f"{panel}: {name}"]
            assert norms.shape == (100,)
            assert found["factor"] == pytest.approx((norms[0] / norms[-1]) ** (1 / 99))
            if "norm" in found:  # one step back multiplies by a slope of at most 1 and by U^T
                assert (norms[:-1] / norms[1:]).max() <= found["norm"] * (1 + 1e-4)
                assert found["radius"] <= found["norm"] * (1 + 1e-4)
    assert numbers["SimpleRNN, tanh: orthogonal"]["factor"] < 1
    assert numbers["SimpleRNN, tanh: 2 x orthogonal"]["ratio"] > 1e3
    assert numbers["SimpleRNN, relu: identity"]["ratio"] > 0.1
    # A relu lets half of the units through: half of the squares, of a gradient without direction.
    assert numbers["SimpleRNN, relu: orthogonal"]["factor"] == pytest.approx(0.5**0.5, abs=0.05)
    gates = [numbers[f"gates: LSTM, forget bias {bias}"]["factor"] for bias in (0, 1, 4)]
    assert gates == sorted(gates)
    cells = [numbers[f"cell state: LSTM, forget bias {bias}"]["factor"] for bias in (0, 1, 4)]
    assert cells == sorted(cells)
    assert cells[0] < 0.75 < cells[1] < 1.0 < cells[2]
    # Of the h's the loss sees the last alone; those before act through the next step's gates.
    h, c = (result["norms"][panel]["LSTM, forget bias 4"] for panel in ("gates", "cell state"))
    assert h[-4] < 0.1 * h[-1]
    assert c[-4] > 0.9 * c[-1]
    assert (
        numbers["gates: GRU, update bias 0"]["ratio"] < 1e-9 < numbers["gates: GRU, update bias 4"]["ratio"]
    )
    assert (folder / "gradients_through_time.png").exists()


@pytest.mark.parametrize("bias", [0, 1, 4])
def test_the_bias_is_that_of_the_gate_which_keeps_the_memory(bias):
    """Nothing read, no recurrent weights: what is left of a memory is the sigmoid of the bias."""
    x, ones, kept = np.zeros((1, 1, 3), "float32"), np.ones((1, 64), "float32"), sigmoid(bias)
    lstm, gru = gradients_through_time.lstm(bias), gradients_through_time.gru(bias)
    for layer in (lstm, gru):
        layer.build(x.shape)
        kernel, recurrent, b = layer.get_weights()
        layer.set_weights([kernel, 0 * recurrent, b])
    (c,) = (state for name, state in last_states(lstm, x, {"h": 0 * ones, "c": ones}) if name == "c")
    np.testing.assert_allclose(c, kept, rtol=1e-6)
    ((_, h),) = last_states(gru, x, {"h": ones})
    np.testing.assert_allclose(h, kept, rtol=1e-6)


def last_states(layer, x, states):
    """Return the states after one step of a layer from these, by their names."""
    _, found = layer.cell(x[:, 0], list(states.values()))
    return [(name, state.numpy()) for name, state in zip(states, found, strict=True)]


def test_only_the_global_norm_keeps_the_direction(gradients):
    clipped = gradients[0]["clipped"]
    none, value, norm, global_norm = clipped.values()
    assert none["norm"] > 10
    assert none["cosine"] == pytest.approx(1.0, abs=1e-3)
    assert global_norm["norm"] == pytest.approx(0.5, rel=1e-3)
    assert global_norm["cosine"] == pytest.approx(1.0, abs=1e-3)
    assert norm["least"] == pytest.approx(1.0, abs=1e-3)
    assert norm["cosine"] < 0.9
    assert value["least"] < 0.9


def test_without_clipping_the_training_is_lost(gradients):
    result, folder = gradients
    none, *others = result["trained"].values()
    assert none["largest"] > 1e6
    assert none["dead"] > 0.5
    for found in others:
        assert found["largest"] < 1e4
        assert found["dead"] < 0.5
        assert found["loss"] < none["loss"]
    for plot in ("clipping.png", "clipping_loss.png"):
        assert (folder / plot).exists()
