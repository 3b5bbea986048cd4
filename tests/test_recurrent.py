"""The kernels against the definition, the derivation, the generated code."""

import os
import stat
import traceback
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyrnn import activations, ops, recurrent
from tinyrnn.autograd import Tensor, grad, no_grad
from tinyrnn.gradcheck import gradcheck
from tinyrnn.recurrent import array, cells, unrolled
from tinyrnn.recurrent import trace as trace_module
from tinyrnn.recurrent.emit import emit_python
from tinyrnn.recurrent.files import load
from tinyrnn.recurrent.trace import TraceError, trace

# --- cells to try -----------------------------------------------------------------------------------------


class Peephole(cells.LSTM):
    params = ("p_i", "p_f", "p_o")

    def step(self, x, r, s, p):
        i = ops.sigmoid(x.i + r.i + p.p_i * s.c)
        f = ops.sigmoid(x.f + r.f + p.p_f * s.c)
        c = f * s.c + i * ops.tanh(x.c + r.c)
        o = ops.sigmoid(x.o + r.o + p.p_o * c)
        return o * ops.tanh(c), c


class Coupled(cells.Cell):
    """Forgets exactly what it does not take in; its second state counts slowly."""

    gates = ("f", "c")
    states = ("h", "n")

    def step(self, x, r, s, p):
        f = ops.sigmoid(x.f + r.f)
        return f * s.h + (1.0 - f) * ops.tanh(x.c + r.c), 0.5 * s.n + ops.square(x.f)


class LateWithParameter(cells.Cell):
    """Everything at once: a late gate, a parameter, two biases, two states."""

    gates = ("a", "b")
    late_gates = ("b",)
    states = ("h", "m")
    params = ("w",)
    two_biases = True

    def late_input(self, x, r, s, p):
        return ops.tanh(x.a + r.a) * s.m + p.w * s.h

    def step(self, x, r, s, p):
        a = ops.sigmoid(r.a)
        return a * s.h + ops.tanh(x.b + r.b), a * s.m + p.w * r.b


class MinGRU(cells.Cell):
    """Gates that depend on the input alone: no recurrent product at all."""

    gates = ("z", "h")

    def step(self, x, r, s, p):
        z = ops.sigmoid(x.z)
        return z * s.h + (1.0 - z) * x.h


class Half(cells.Cell):
    """One gate leaves out its recurrent product, a late one its part of the input."""

    gates = ("a", "b", "c")
    late_gates = ("c",)
    states = ("h", "m")

    def late_input(self, x, r, s, p):
        return ops.tanh(r.b) * s.m

    def step(self, x, r, s, p):
        return ops.sigmoid(x.a) * s.h + ops.tanh(r.c), 0.5 * s.m + x.b


def with_activations(cell, activation, recurrent_activation="sigmoid"):
    cell.activation = activations.get(activation)
    cell.recurrent_activation = activations.get(recurrent_activation)
    return cell


def reset_before():
    cell = cells.GRU()
    cell.reset_after = False
    return cell


CELLS = {
    "SimpleRNN": cells.SimpleRNN,
    "LSTM": cells.LSTM,
    "GRU": cells.GRU,
    "GRU, reset before": reset_before,
    "SimpleRNN relu": lambda: with_activations(cells.SimpleRNN(), "relu"),
    "LSTM softsign, hard_sigmoid": lambda: with_activations(cells.LSTM(), "softsign", "hard_sigmoid"),
    "GRU gelu": lambda: with_activations(cells.GRU(), "gelu"),
    "LSTM elu, linear": lambda: with_activations(cells.LSTM(), "elu", "linear"),
    "Peephole": Peephole,
    "Coupled": Coupled,
    "LateWithParameter": LateWithParameter,
    "MinGRU": MinGRU,
    "Half": Half,
}

# --- values and gradients ---------------------------------------------------------------------------------


def draw_inputs(cell, batch, length, units, seed, dtype):
    """Return xz, U, b_r, params, states0 as one flat list of arrays."""
    rng = np.random.default_rng(seed)
    width = len(cell.gates) * units
    shapes = [(batch, length, width), (units, width)]
    shapes += [(width,)] * cell.two_biases + [(units,)] * len(cell.params)
    shapes += [(batch, units)] * len(cell.states)
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def results(kernel, cell, inputs, mask, rec_mask, reverse, used):
    """Return outputs, states, and the gradients of all inputs for random gradients of those `used`."""
    tensors = [Tensor(x, requires_grad=True) for x in inputs]
    arguments = recurrent._unpack(cell, tensors)
    outputs, states = recurrent.run(cell, *arguments, mask, rec_mask, reverse, kernel)
    rng = np.random.default_rng(1)
    seeds = [rng.standard_normal(y.shape).astype(y.dtype) for y in (outputs, *states)]
    chosen = {"all": slice(None), "outputs": slice(1), "last state": slice(len(states), None)}[used]
    gradients = grad([outputs, *states][chosen], tensors, seeds[chosen])
    return [y.data for y in (outputs, *states)], [g.data for g in gradients]


case = st.fixed_dictionaries(
    {
        "name": st.sampled_from(list(CELLS)),
        "dtype": st.sampled_from(["float64", "float32"]),
        "batch": st.integers(1, 3),
        "length": st.sampled_from([1, 2, 5]),
        "masked": st.sampled_from([None, "random", "right", "left", "empty row"]),
        "dropped": st.booleans(),
        "reverse": st.booleans(),
        "used": st.sampled_from(["all", "outputs", "last state"]),
        "seed": st.integers(0, 999),
    }
)


def draw_masks(case, gates, units):
    rng = np.random.default_rng(case["seed"])
    batch, length = case["batch"], case["length"]
    steps, lengths = np.arange(length), rng.integers(1, length + 1, (batch, 1))
    mask = {
        None: None,
        "random": rng.random((batch, length)) < 0.6,
        "right": steps < lengths,
        "left": steps >= length - lengths,
        "empty row": np.arange(batch)[:, None] + 0 * steps > 0,
    }[case["masked"]]
    rec_mask = (rng.random((gates, batch, units)) < 0.6) / 0.6 if case["dropped"] else None
    return mask, rec_mask if rec_mask is None else rec_mask.astype(case["dtype"])


@pytest.mark.parametrize("kernel", [k for k in recurrent.KERNELS if k != "unrolled"])
@given(case=case, units=st.integers(1, 3))
def test_kernel_equals_definition(kernel, case, units):
    cell = CELLS[case["name"]]()
    inputs = draw_inputs(cell, case["batch"], case["length"], units, case["seed"], case["dtype"])
    arguments = (cell, inputs, *draw_masks(case, len(cell.gates), units), case["reverse"], case["used"])
    tolerance = {"float64": 1e-10, "float32": 2e-4}[case["dtype"]]
    for found, expected in zip(results(kernel, *arguments), results("unrolled", *arguments), strict=True):
        for a, b in zip(found, expected, strict=True):
            assert a.dtype == case["dtype"]
            np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("kernel", recurrent.KERNELS)
def test_gradients_agree_with_differences(kernel, name):
    cell = CELLS[name]()
    inputs = draw_inputs(cell, 2, 3, 2, 0, "float64")
    mask = np.array([[True, True, False], [False, True, True]])

    def function(*tensors):
        outputs, states = recurrent.run(cell, *recurrent._unpack(cell, tensors), mask, kernel=kernel)
        return [outputs, *states]

    gradcheck(function, inputs, order=2, tolerance=1e-5)


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("kernel", recurrent.KERNELS)
def test_no_gradient_is_all_zero(kernel, name):
    cell = CELLS[name]()
    _, gradients = results(kernel, cell, draw_inputs(cell, 2, 4, 3, 0, "float64"), None, None, False, "all")
    unused = {"MinGRU": [1]}.get(name, [])  # it has no recurrent product: nothing reaches U
    for i, g in enumerate(gradients):
        assert (np.abs(g).max() > 1e-6) == (i not in unused)


def test_second_order_of_one_input_computed_from_another():
    """The re-derivation must not count a path twice when xz depends on the initial state."""
    cell = cells.GRU()
    inputs = draw_inputs(cell, 2, 3, 2, 0, "float64")

    def function(state, U, b_r):
        xz = ops.stack([ops.concatenate([state] * 3, axis=1) * k for k in (1.0, 2.0)], axis=1)
        return recurrent.run(cell, xz, U, b_r, [], [state])[0]

    gradcheck(function, [inputs[3], inputs[1], inputs[2]], order=2, tolerance=1e-5)


def test_values_of_an_lstm_by_hand():
    cell, units = cells.LSTM(), 2
    xz, U, h, c = draw_inputs(cell, 1, 3, units, 5, "float64")
    outputs, _ = recurrent.run(cell, Tensor(xz), U, None, [], [h, c])
    sigmoid = activations.sigmoid
    for t in range(3):
        i, f, g, o = np.split(xz[:, t] + h @ U, 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        np.testing.assert_allclose(outputs.data[:, t], h, rtol=1e-13)


def test_nothing_is_kept_where_no_gradient_is_needed(monkeypatch):
    kept = []
    forward = array.forward
    monkeypatch.setattr(array, "forward", lambda *a, keep: kept.append(keep) or forward(*a, keep=keep))
    cell = cells.SimpleRNN()
    xz, U, h = draw_inputs(cell, 1, 2, 2, 0, "float64")
    recurrent.run(cell, Tensor(xz), U, None, [], [h])
    recurrent.run(cell, Tensor(xz, requires_grad=True), U, None, [], [h])
    assert kept == [False, True]


# --- the derivation ---------------------------------------------------------------------------------------


def test_trace_finds_the_textbook_bptt_of_the_lstm():
    code = load(emit_python(cells.LSTM(), trace(cells.LSTM())), "LSTM")
    rng = np.random.default_rng(0)
    i, f, g, o, tanh_c, h, c, d_h, d_c = rng.random((9, 4))
    d_x, d_r, d_s, d_p = code.backward(d_h, d_c, o, f, i, g, tanh_c, h, c)
    d_c = d_c + d_h * o * (1 - tanh_c**2)
    expected = [d_c * g * i * (1 - i), d_c * c * f * (1 - f), d_c * i * (1 - g**2)]
    expected.append(d_h * tanh_c * o * (1 - o))
    np.testing.assert_allclose(d_x, expected)
    np.testing.assert_allclose(d_r, expected)
    assert d_s[0] is None  # the output enters through the recurrent product alone
    np.testing.assert_allclose(d_s[1], d_c * f)
    assert d_p == ()


@pytest.mark.parametrize(
    ("name", "saved"), [("SimpleRNN", 1), ("LSTM", 5), ("GRU", 4), ("GRU, reset before", 2), ("Peephole", 5)]
)
def test_saved_values_are_few(name, saved):
    assert len(trace(CELLS[name]()).step.saved) == saved


def test_zeros_and_ones_are_dropped_from_formulas():
    table = {}
    x = trace_module._intern(table, "symbol", ("x",))
    assert ops.multiply(x, 0.0) == ops.multiply(0.0, x) == 0.0
    assert ops.multiply(x, 1.0) is ops.multiply(1.0, x) is ops.add(x, 0.0) is ops.add(0.0, x) is x
    assert ops.add(x, 1.0) is ops.add(x, 1.0)  # equal formulas are one object


@pytest.mark.parametrize("name", ["SimpleRNN", "LSTM", "GRU", "GRU, reset before", "Peephole"])
def test_the_way_back_computes_no_transcendental_function(name):
    source = emit_python(CELLS[name](), trace(CELLS[name]()))
    backward = source[source.index("def backward") :].split("def ")[1]
    assert "tanh" not in backward
    assert "sigmoid" not in backward


ELEMENTWISE = (
    "linear tanh sigmoid hard_sigmoid relu leaky_relu elu selu gelu silu softplus softsign exponential relu6 "
    "hard_silu mish celu hard_tanh soft_shrink hard_shrink tanh_shrink squareplus sparse_plus sparse_sigmoid "
    "log_sigmoid"
)


@pytest.mark.parametrize("activation", ELEMENTWISE.split())
def test_every_elementwise_activation_can_be_derived(activation):
    cell = with_activations(cells.LSTM(), activation)
    inputs = draw_inputs(cell, 2, 3, 2, 3, "float64")
    arguments = (cell, inputs, None, None, False, "all")
    for found, expected in zip(results("array", *arguments), results("unrolled", *arguments), strict=True):
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)


def test_a_cell_first_run_without_gradients_has_them_later():
    cell = cells.LSTM()
    with no_grad():
        array.compiled(cell)
    _, gradients = results("array", cell, draw_inputs(cell, 2, 3, 2, 0, "float64"), None, None, False, "all")
    assert all(np.abs(g).max() > 1e-6 for g in gradients)


# --- the choice -------------------------------------------------------------------------------------------


class Normalized(cells.SimpleRNN):
    """A reduction over units: not elementwise."""

    def step(self, x, r, s, p):
        z = x.h + r.h
        return ops.tanh(z - ops.mean(z, axis=-1, keepdims=True))


class Holding(cells.SimpleRNN):
    """Numbers of its own: NumPy's scalars are numbers, arrays are not."""

    def __init__(self, leak):
        self.leak = leak

    def step(self, x, r, s, p):
        return self.leak * s.h + ops.tanh(x.h + r.h)


def test_numbers_of_a_cell_and_their_change():
    cell = Holding(np.float64(0.25))
    arguments = (draw_inputs(cell, 2, 3, 2, 0, "float32"), None, None, False, "all")
    for leak in (np.float64(0.25), 0.75):
        cell.leak = leak  # what was derived before is stale now
        found, expected = (results(k, cell, *arguments) for k in ("array", "unrolled"))
        np.testing.assert_allclose(found[0][0], expected[0][0], rtol=1e-6)
    assert recurrent.choose(Holding(np.ones(2))) == (
        "unrolled",
        "no kernel can be derived from Holding: an array in the place of a number",
    )


class Branching(cells.SimpleRNN):
    def step(self, x, r, s, p):
        return x.h if x.h > 0 else r.h


def test_auto_falls_back_visibly():
    assert recurrent.choose(cells.LSTM()) == ("array", "the fastest for elementwise cells")
    choice = recurrent.choose(Normalized())
    assert choice.kernel == "unrolled"
    assert choice.reason.startswith("no kernel can be derived from Normalized")
    assert "branch on a value" in recurrent.choose(Branching()).reason


def test_an_explicit_choice_that_cannot_be_honoured_raises():
    with pytest.raises(TraceError, match="kernel='array' cannot run a Normalized"):
        recurrent.choose(Normalized(), "array")
    with pytest.raises(ValueError, match="unknown kernel 'arry'; did you mean 'array'"):
        recurrent.choose(cells.LSTM(), "arry")
    assert recurrent.choose(cells.LSTM(), "unrolled").kernel == "unrolled"


def test_a_cell_without_step_or_with_too_few_results():
    class Empty(cells.Cell):
        gates = ("a",)

    class TooFew(cells.LSTM):
        def step(self, x, r, s, p):
            return x.i

    class NoTensor(cells.LSTM):
        def step(self, x, r, s, p):
            return x.i, 1.0

    class Misspelt(cells.LSTM):
        def step(self, x, r, s, p):
            return x.i, r.forget

    with pytest.raises(TraceError, match=r"NoTensor\.step: expected tensors .* found 1\.0"):
        trace(NoTensor())
    with pytest.raises(AttributeError, match="the cell declares no 'forget'; known are c, f, i, o"):
        trace(Misspelt())
    with pytest.raises(TypeError, match="Empty does not define step"):
        trace(Empty())
    with pytest.raises(ValueError, match=r"TooFew\.step: expected 2 results, found 1"):
        trace(TooFew())


# --- generated files --------------------------------------------------------------------------------------


def test_generated_module_is_a_file_one_can_read(tmp_path, monkeypatch):
    monkeypatch.setenv("TINYRNN_CACHE", str(tmp_path / "cache"))
    module = array.compiled(cells.LSTM())
    text = Path(module.__file__).read_text()
    assert text.startswith('"""LSTM: one time step and its derivative')
    assert os.listdir(tmp_path / "cache") == [os.path.basename(module.__file__)]


@pytest.mark.parametrize("obstacle", ["read-only", "a file in the way", "damaged"])
def test_cache_folder_cannot_break_a_run(tmp_path, monkeypatch, obstacle):
    folder = tmp_path / "cache"
    monkeypatch.setenv("TINYRNN_CACHE", str(folder))
    if obstacle == "a file in the way":
        folder.write_text("")
    elif obstacle == "damaged":
        path = array.compiled(cells.LSTM()).__file__
        with open(path, "wb") as file:
            file.write(b"\xff import nonsense")
    else:
        folder.mkdir()
        folder.chmod(stat.S_IRUSR | stat.S_IXUSR)
        monkeypatch.setattr("tempfile.NamedTemporaryFile", _refuse)  # root may write anywhere
    cell = cells.LSTM()
    arguments = (cell, draw_inputs(cell, 1, 2, 2, 0, "float64"), None, None, False, "all")
    found, expected = results("array", *arguments), results("unrolled", *arguments)
    np.testing.assert_allclose(found[0][0], expected[0][0])


def _refuse(*args, **kwargs):
    raise PermissionError("read-only")


def test_traceback_through_generated_code_shows_its_line(tmp_path, monkeypatch):
    monkeypatch.setenv("TINYRNN_CACHE", str(tmp_path))
    module = array.compiled(cells.SimpleRNN())
    with pytest.raises(ValueError) as caught:
        module.forward(np.ones(2), np.ones(3), np.ones(2))
    assert "tanh(x_h + r_h)" in "".join(traceback.format_exception(caught.value))


def test_unroll_repeats_the_output_before_a_masked_step():
    """For cells whose output is not their state: zeros before the first valid step."""
    steps = [np.full((2, 1), float(t)) for t in range(4)]
    mask = np.array([[False, True, False, True], [True, True, True, False]])

    def step(x_t, states):
        return x_t + 10.0, [states[0] + x_t]

    found = list(unrolled.unroll(step, steps, [np.zeros((2, 1))], mask))
    assert [y[:, 0].tolist() for _, y, _ in found] == [[0, 10], [11, 11], [11, 12], [13, 12]]
    assert found[-1][2][0][:, 0].tolist() == [4, 3]
