"""Weights from PyTorch and for it: its layers and ours compute the same."""

import copy
import re
import subprocess
import sys

import numpy as np
import pytest

import tinyrnn
from tinyrnn import ops
from tinyrnn.interop import from_torch, to_torch
from tinyrnn.layers import (
    GRU,
    LSTM,
    RNN,
    Bidirectional,
    Dense,
    Dropout,
    GRUCell,
    Input,
    LSTMCell,
    Masking,
    SimpleRNN,
)

KINDS = ("RNN", "LSTM", "GRU")
TOLERANCE = {"float32": 1e-6, "float64": 1e-14}
F, U = 3, 4


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="PyTorch is not installed; make test EXTRAS=torch installs it")


def make_module(torch, kind, dtype="float32", **settings):
    torch.manual_seed(0)
    return getattr(torch.nn, kind)(F, U, batch_first=True, dtype=getattr(torch, dtype), **settings)


def draw(*shape, dtype="float32"):
    return np.random.default_rng(0).standard_normal(shape).astype(dtype)


def run(layers, x):
    for layer in layers:
        x = layer(x)
    return x


def with_states(layer):
    """Return the layer, with the same weights, as one that returns its states."""
    if isinstance(layer, Bidirectional):
        twin = Bidirectional(layer.forward_layer.clone(return_state=True))
    else:
        twin = layer.clone(return_state=True)
    twin.build(layer.build_shape)
    twin.set_weights(layer.get_weights())
    return twin


def run_with_states(layers, x):
    """Return the output and, as PyTorch has them, h_n and for an LSTM c_n ``(layers * directions, B, U)``."""
    states = []
    for layer in layers:
        x, *final = with_states(layer)(x)
        directions = 2 if isinstance(layer, Bidirectional) else 1
        states += np.split(np.stack([s.numpy() for s in final]), directions)
    return [x.numpy(), *np.stack(states, axis=1)]


# --- both ways, by value ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("num_layers", [1, 2, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_outputs_and_final_states(torch, kind, num_layers, bidirectional, bias, dtype):
    settings = {"num_layers": num_layers, "bidirectional": bidirectional, "bias": bias}
    module = make_module(torch, kind, dtype, **settings)
    x = draw(2, 5, F, dtype=dtype)
    y, states = module(torch.from_numpy(x))
    expected = [t.detach().numpy() for t in (y, *(states if kind == "LSTM" else (states,)))]
    layers = from_torch(module.state_dict())
    assert len(layers) == num_layers
    assert {layer.dtype for layer in layers} == {dtype}
    found = run_with_states(layers, x)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=TOLERANCE[dtype])

    other = make_module(torch, kind, dtype, **settings)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    other.load_state_dict(to_torch(layers))  # strict: every key, every shape
    np.testing.assert_allclose(
        other(torch.from_numpy(x))[0].detach().numpy(), expected[0], rtol=0, atol=TOLERANCE[dtype]
    )


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda **s: SimpleRNN(U, activation="relu", **s), "RNN"),
        (lambda **s: SimpleRNN(U, use_bias=False, **s), "RNN"),
        (lambda **s: LSTM(U, **s), "LSTM"),
        (lambda **s: GRU(U, **s), "GRU"),
        (lambda **s: RNN(GRUCell(U, use_bias=False), **s), "GRU"),
        (lambda **s: RNN(LSTMCell(U, dtype="float64"), dtype="float64", **s), "LSTM"),
    ],
)
def test_from_a_model_and_back(torch, make, kind, bidirectional):
    layers = [make(return_sequences=True), make()]
    if bidirectional:
        layers = [Bidirectional(layer) for layer in layers]
    model = tinyrnn.Sequential([Input((None, F)), layers[0], Dropout(0.2), layers[1]])
    rng = np.random.default_rng(1)
    model.set_weights([0.5 * rng.standard_normal(w.shape).astype(w.dtype) for w in model.weights])
    state = to_torch(model)
    first = layers[0].forward_layer if bidirectional else layers[0]
    activation = first.cell.activation.__name__
    settings = {"nonlinearity": activation} if kind == "RNN" else {}
    module = make_module(
        torch, kind, layers[0].dtype, num_layers=2, bidirectional=bidirectional,
        bias="bias_ih_l0" in state, **settings,
    )  # fmt: skip
    module.load_state_dict(state)
    x = draw(2, 5, F, dtype=layers[0].dtype)
    _, final = module(torch.from_numpy(x))
    final = (final[0] if kind == "LSTM" else final).detach().numpy()
    expected = np.concatenate([*final[-2 if bidirectional else -1 :]], axis=-1)
    found = run(layers, x).numpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE[layers[0].dtype])

    again = from_torch(state, activation=activation, return_sequences=False)
    for a, b in zip(again, layers, strict=True):
        for v, w in zip(a.get_weights(), b.get_weights(), strict=True):
            assert v.dtype == w.dtype
            np.testing.assert_array_equal(v, w)
    np.testing.assert_array_equal(run(again, x).numpy(), found)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_a_training_step(torch, kind):
    module = make_module(torch, kind, "float64", num_layers=2, bidirectional=True)
    x, weighting = draw(2, 5, F, dtype="float64"), draw(2, 5, 2 * U, dtype="float64")
    layers = from_torch(module)
    y, _ = module(torch.from_numpy(x))
    (y * torch.from_numpy(weighting)).sum().backward()
    ops.sum(run(layers, x) * weighting).backward()
    gradients = copy.deepcopy(layers)
    for twin, layer in zip(gradients, layers, strict=True):
        twin.set_weights([w.grad for w in layer.weights])
    expected = {name: p.grad.numpy() for name, p in module.named_parameters()}
    for name, found in to_torch(gradients).items():
        if name.startswith("bias_hh") and kind != "GRU":
            name = name.replace("hh", "ih")  # the one bias here has the gradient of either
            np.testing.assert_allclose(expected[name], expected[name.replace("ih", "hh")], rtol=1e-12)
            continue
        np.testing.assert_allclose(found.numpy(), expected[name], rtol=1e-10, atol=1e-12, err_msg=name)


def test_a_module_tells_dropout_and_activation(torch):
    module = make_module(torch, "RNN", num_layers=3, nonlinearity="relu", dropout=0.25, bidirectional=True)
    layers = from_torch(module, return_sequences=False)
    assert [type(layer) for layer in layers] == 2 * [Bidirectional, Dropout] + [Bidirectional]
    assert layers[1].rate == 0.25
    assert [layer.return_sequences for layer in layers[::2]] == [True, True, False]
    x = draw(2, 5, F)
    expected = module.eval()(torch.from_numpy(x))[1].detach().numpy()[-2:]
    np.testing.assert_allclose(run(layers, x).numpy(), np.concatenate([*expected], axis=-1), atol=1e-6)
    training = layers[1](np.ones((50, 20, 8), "float32"), training=True).numpy()
    assert abs((training == 0).mean() - 0.25) < 0.02
    assert to_torch(layers).keys() == module.state_dict().keys()


def test_a_layer_inside_a_larger_model(torch):
    net = torch.nn.ModuleDict({"tag": torch.nn.Linear(U, 2), "encoder": torch.nn.ModuleDict()})
    net["encoder"]["lstm"] = make_module(torch, "LSTM")
    x = draw(2, 5, F)
    expected = net["encoder"]["lstm"](torch.from_numpy(x))[0].detach().numpy()
    for state, prefix in (
        (net, "encoder.lstm"),
        (net.state_dict(), "encoder.lstm"),
        (net.state_dict(), "encoder.lstm."),
    ):
        np.testing.assert_allclose(run(from_torch(state, prefix=prefix), x).numpy(), expected, atol=1e-6)
    with pytest.raises(ValueError, match=r"'tag.weight': no weight .* at prefix 'encoder.lstm.'"):
        from_torch(net.state_dict())
    with pytest.raises(TypeError, match=r"found ModuleDict; for a layer inside of it give the prefix"):
        from_torch(net)
    with pytest.raises(TypeError, match=r"found Linear$"):
        from_torch(net, prefix="tag")


def test_weights_are_copies(torch):
    module = make_module(torch, "LSTM")
    layers = from_torch(module)
    before = layers[0].get_weights()
    with torch.no_grad():
        module.weight_ih_l0.add_(1.0)
    np.testing.assert_array_equal(layers[0].get_weights()[0], before[0])
    state = to_torch(layers)
    state["weight_hh_l0"].add_(1.0)
    np.testing.assert_array_equal(layers[0].get_weights()[1], before[1])


# --- without PyTorch --------------------------------------------------------------------------------------


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def arrays(gates=4, depth=1, bidirectional=False, bias=True, units=U, prefix=""):
    """Return a state dict of arrays."""
    rng, state, features = np.random.default_rng(2), {}, F
    for n in range(depth):
        for direction in ("", "_reverse")[: 1 + bidirectional]:
            shapes = {"weight_ih": (gates * units, features), "weight_hh": (gates * units, units)}
            if bias:
                shapes |= {"bias_ih": (gates * units,), "bias_hh": (gates * units,)}
            for kind, shape in shapes.items():
                state[f"{prefix}{kind}_l{n}{direction}"] = rng.standard_normal(shape)
        features = units * (1 + bidirectional)
    return state


def test_the_equations_of_pytorch_s_gru():
    state = arrays(gates=3)
    w_ih, w_hh, b_ih, b_hh = state.values()
    x, h = draw(2, 5, F, dtype="float64"), np.zeros((2, U))
    for t in range(5):
        x_r, x_z, x_n = np.split(x[:, t] @ w_ih.T + b_ih, 3, axis=-1)
        h_r, h_z, h_n = np.split(h @ w_hh.T + b_hh, 3, axis=-1)
        r, z = sigmoid(x_r + h_r), sigmoid(x_z + h_z)
        n = np.tanh(x_n + r * h_n)
        h = (1 - z) * n + z * h
    np.testing.assert_allclose(run(from_torch(state, return_sequences=False), x).numpy(), h, atol=1e-12)


def changed(state, key, value):
    return {**state, key: value}


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({}, "expected weights, found none with prefix ''"),
        (arrays(prefix="rnn."), "'rnn.weight_ih_l0': no weight of such a layer; there are recurrent layers "
                                "at prefix 'rnn.'"),
        (changed(arrays(), "weight_hr_l0", np.ones((2, U))), "'weight_hr_l0': proj_size is not supported"),
        (changed(arrays(), "weight_ih_l01", np.ones(1)), "'weight_ih_l01': no weight of such a layer"),
        (changed(arrays(bias=False), "bias_ih_l0", np.ones(4 * U)),
         "'bias_hh_l0' is missing; by the other keys, expected are 1 layers, 1 directions, biases"),
        (changed(arrays(), "weight_ih_l2", np.ones((4 * U, U))),
         "'weight_ih_l1' is missing; by the other keys, expected are 3 layers, 1 directions, biases"),
        (changed(arrays(), f"weight_ih_l{10**15}", np.ones(1)), "'weight_ih_l1' is missing"),
        (changed(arrays(), "bias_hh_l0_reverse", np.ones(4 * U)), "'weight_ih_l0_reverse' is missing"),
        (changed(arrays(), "weight_hh_l0", np.ones((2 * U, U))),
         "'weight_hh_l0': expected shape (G * units, units) with G = 1 (nn.RNN), 3 (nn.GRU) or 4 (nn.LSTM), "
         "found (8, 4)"),
        (changed(arrays(), "weight_hh_l0", np.ones(())), "found ()"),
        (changed(arrays(), "weight_ih_l0", np.ones((3 * U, F))),
         "'weight_ih_l0': expected shape (16, 3), float64; found (12, 3), float64"),
        (changed(arrays(depth=2, bidirectional=True), "weight_ih_l1_reverse", np.ones((4 * U, U))),
         "'weight_ih_l1_reverse': expected shape (16, 8), float64; found (16, 4), float64"),
        (changed(arrays(), "bias_ih_l0", np.ones(U)), "expected shape (16,), float64; found (4,), float64"),
        (changed(arrays(), "bias_ih_l0", np.ones(4 * U, "float32")), "found (16,), float32"),
        (changed(arrays(), "bias_ih_l0", np.ones(4 * U, "float16")),
         "'bias_ih_l0': expected float32 or float64, found float16"),
        (changed(arrays(), "bias_ih_l0", [1.0]), "'bias_ih_l0': expected float32 or float64, found list"),
    ],
)  # fmt: skip
def test_a_state_dict_that_does_not_fit(state, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        from_torch(state)


def test_bad_arguments():
    with pytest.raises(ValueError, match=r"nn.RNN has no 'rele'; did you mean 'relu'\?"):
        from_torch(arrays(gates=1), activation="rele")
    with pytest.raises(TypeError, match=r"expected a state dict or a module, found 3"):
        from_torch(3)
    with pytest.raises(ValueError, match=r"none with prefix 'lstm.'; there are .* at prefix 'gru.'"):
        from_torch(arrays(prefix="gru."), prefix="lstm")


def built(*layers):
    tinyrnn.Sequential([Input((None, F)), *layers])
    return list(layers)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: [], "expected at least one recurrent layer"),
        (lambda: LSTM(U, name="a"), "a: not built yet"),
        (lambda: built(LSTM(U, return_sequences=True), Dense(2, name="a")), "a: .* a Dense; .*layers.i:j"),
        (lambda: built(Masking(name="a"), LSTM(U)), "a: .* found a Masking"),
        (lambda: built(RNN([LSTMCell(U), LSTMCell(U)], name="a")), "a: .* found a RNN"),
        (lambda: built(LSTM(U, name="a", activation="relu")), "a: activation: expected tanh, found relu"),
        (lambda: built(SimpleRNN(U, name="a", activation="elu")), "a: activation: expected tanh, found elu"),
        (lambda: built(GRU(U, name="a", recurrent_activation="hard_sigmoid")),
         "a: recurrent_activation: expected sigmoid, found hard_sigmoid"),
        (lambda: built(GRU(U, name="a", reset_after=False)), "a: reset_after: expected True, found False"),
        (lambda: built(LSTM(U, name="a", go_backwards=True)), "a: go_backwards: expected False, found True"),
        (lambda: built(Bidirectional(LSTM(U), merge_mode="sum", name="a")),
         "a: merge_mode: expected concat, found sum"),
        (lambda: built(Bidirectional(LSTM(U), backward_layer=LSTM(5, go_backwards=True), name="a")),
         "a: units: expected 4, found 5"),
        (lambda: built(Bidirectional(LSTM(U), backward_layer=GRU(U, go_backwards=True), name="a")),
         "a: cell: expected LSTMCell, found GRUCell"),
        (lambda: built(LSTM(U, return_sequences=True), LSTM(5, name="a")), "a: units: expected 4, found 5"),
        (lambda: built(LSTM(U, return_sequences=True), GRU(U, name="a")),
         "a: cell: expected LSTMCell, found GRUCell"),
        (lambda: built(LSTM(U, return_sequences=True), Bidirectional(LSTM(U), name="a")),
         "a: directions: expected 1, found 2"),
        (lambda: built(LSTM(U, return_sequences=True), LSTM(U, use_bias=False, name="a")),
         "a: use_bias: expected True, found False"),
        (lambda: built(SimpleRNN(U, activation="relu", return_sequences=True), SimpleRNN(U, name="a")),
         "a: activation: expected relu, found tanh"),
        (lambda: built(LSTM(U, name="a")) + built(LSTM(U)), "a: return_sequences: expected True, found"),
        (lambda: built(LSTM(U, return_sequences=True)) + built(LSTM(U, name="a")),
         "a: features: expected 4, found 3"),
    ],
)  # fmt: skip
def test_layers_that_pytorch_does_not_have(torch, make, message):
    with pytest.raises(ValueError, match=f"to_torch: {message}"):
        to_torch(make())


def test_no_layer(torch):
    with pytest.raises(TypeError, match="expected a layer, found 3"):
        to_torch(3)


def test_without_pytorch_it_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ImportError, match="pip install torch"):
        to_torch(built(LSTM(U)))


def test_from_torch_does_not_import_pytorch():
    code = (
        "import sys, numpy as np; from tinyrnn.interop import from_torch;"
        "from_torch({'weight_ih_l0': np.ones((4, 3)), 'weight_hh_l0': np.ones((4, 4))});"
        "print('torch' in sys.modules or 'onnx' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"
