"""The kernels against the definition, the derivation, the generated code."""

import os
import stat
import traceback
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kernel_cases import CELLS, ON_HOST, case, draw_inputs, draw_masks, results, with_activations

from tinyrnn import activations, ops, recurrent
from tinyrnn.autograd import Tensor, no_grad
from tinyrnn.formulas import TraceError, symbol
from tinyrnn.gradcheck import gradcheck
from tinyrnn.native.files import load
from tinyrnn.recurrent import array, cells, unrolled
from tinyrnn.recurrent.emit import emit_python
from tinyrnn.recurrent.trace import trace

# --- values and gradients ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", ["array", "cpu"])
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
@pytest.mark.parametrize("kernel", ON_HOST)
def test_gradients_agree_with_differences(kernel, name):
    cell = CELLS[name]()
    inputs = draw_inputs(cell, 2, 3, 2, 0, "float64")
    mask = np.array([[True, True, False], [False, True, True]])

    def function(*tensors):
        outputs, states = recurrent.run(cell, *recurrent._unpack(cell, tensors), mask, kernel=kernel)
        return [outputs, *states]

    gradcheck(function, inputs, order=2, tolerance=1e-5)


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("kernel", ON_HOST)
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
    x = symbol(table, "x")
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
    assert recurrent.choose(cells.LSTM()) == (
        "cpu",
        "compiled from the cell's equations: the fastest on a CPU",
    )
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


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache folder that is still missing; nothing is known of modules loaded from another."""
    monkeypatch.setenv("TINYRNN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(array, "load", load.__wrapped__)
    return tmp_path / "cache"


def test_generated_module_is_a_file_one_can_read(cache):
    module = array.compiled(cells.LSTM())
    text = Path(module.__file__).read_text()
    assert text.startswith('"""LSTM: one time step and its derivative')
    assert os.listdir(cache) == [os.path.basename(module.__file__)]


@pytest.mark.parametrize("obstacle", ["read-only", "a file in the way", "damaged"])
def test_cache_folder_cannot_break_a_run(cache, monkeypatch, obstacle):
    if obstacle == "a file in the way":
        cache.write_text("")
    elif obstacle == "damaged":
        path = array.compiled(cells.LSTM()).__file__
        with open(path, "wb") as file:
            file.write(b"\xff import nonsense")
    else:
        cache.mkdir()
        cache.chmod(stat.S_IRUSR | stat.S_IXUSR)
        monkeypatch.setattr("tinyrnn.native.files.write_whole", _refuse)  # root may write anywhere
    cell = cells.LSTM()
    arguments = (cell, draw_inputs(cell, 1, 2, 2, 0, "float64"), None, None, False, "all")
    found, expected = results("array", *arguments), results("unrolled", *arguments)
    np.testing.assert_allclose(found[0][0], expected[0][0])


def _refuse(*args, **kwargs):
    raise PermissionError("read-only")


def test_traceback_through_generated_code_shows_its_line(cache):
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
