"""The recurrent kernels of the GPU against the definition: by value, outputs and every gradient."""

import gc
import weakref

import numpy as np
import nvrtc
import pytest
from hypothesis import given, settings
from kernel_cases import CELLS, case, draw_inputs, draw_masks, results

from tinyrnn import backend, ops, recurrent
from tinyrnn.autograd import Tensor, grad, no_grad
from tinyrnn.layers import GRU, LSTM
from tinyrnn.recurrent import cells, gpu, persistent, stepwise
from tinyrnn.recurrent.projection import Projection
from tinyrnn.recurrent.trace import TraceError

WAYS = ["persistent", "partly held", "stepwise"]


@pytest.fixture(params=WAYS)
def way(request, monkeypatch):
    """Which of the ways a kernel runs, whatever its size."""
    choose_way(request.param, monkeypatch)
    return request.param


def choose_way(name, monkeypatch):
    if name == "stepwise":
        monkeypatch.setattr(gpu, "fit", lambda *sizes: None)
    elif name == "partly held":  # a pack of the kernel in registers, the others in shared memory
        monkeypatch.setattr(gpu, "fit", lambda g, u, o, kind, most: partly(g, u, kind, most))


def partly(gates, units, kind, most):
    fitted = persistent.fit(gates, units, 0, kind, most)
    lanes = 16 // np.dtype(kind).itemsize
    held = min(lanes, fitted.held)
    more = (fitted.held - held) * fitted.threads * np.dtype(kind).itemsize
    return fitted._replace(held=held, shared=fitted.shared + more)


def on_device(library, x):
    return None if x is None else library.asarray(x)


def compare(library, cell, inputs, mask, rec_mask, reverse, used, tolerance, **more):
    """Run on the device and, as defined, on the host."""
    expected = results("unrolled", cell, inputs, mask, rec_mask, reverse, used, **more)
    there = [library.asarray(x) for x in inputs]
    masks = on_device(library, mask), on_device(library, rec_mask)
    found = results("gpu", cell, there, *masks, reverse, used, **more)
    for of_found, of_expected in zip(found, expected, strict=True):
        for a, b in zip(of_found, of_expected, strict=True):
            assert isinstance(a, library.ndarray)
            assert a.dtype == inputs[0].dtype
            np.testing.assert_allclose(backend.to_host(a), b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", CELLS)
@settings(max_examples=5)  # of a source that takes a second to compile
@given(case=case)
def test_kernel_equals_definition(device_library, way, name, case):
    cell, places = CELLS[name](), list(CELLS)
    dtype = ["float64", "float32"][(places.index(name) + WAYS.index(way)) % 2]  # each cell has both
    case = case | {"dtype": dtype}
    inputs = draw_inputs(cell, case["batch"], case["length"], 5, case["seed"], dtype)
    inputs[1] = inputs[1] * np.asarray(0.3, dtype)  # an LSTM without squashing functions explodes otherwise
    masks = draw_masks(case, len(cell.gates), 5)
    tolerance = {"float64": 1e-10, "float32": 2e-4}[dtype]
    compare(device_library, cell, inputs, *masks, case["reverse"], case["used"], tolerance)


@pytest.mark.parametrize(
    ("name", "dtype"), [("LSTM", "float32"), ("GRU, reset before", "float64"), ("SimpleRNN", "float32")]
)
def test_sizes_beyond_a_tile(device_library, way, name, dtype):
    """More rows and units than a tile has, and depths that its teams go through in several rounds."""
    cell = CELLS[name]()
    inputs = draw_inputs(cell, 35, 3, 37 if way != "stepwise" else 75, 1, dtype)
    inputs[1] = inputs[1] * np.asarray(0.2, dtype)
    mask = np.random.default_rng(2).random((35, 3)) < 0.7
    compare(device_library, cell, inputs, mask, None, True, "all", {"float64": 1e-10, "float32": 5e-4}[dtype])


def test_a_batch_without_rows(device_library, way):
    backend.set_device("gpu")
    layer = LSTM(5, return_sequences=True)
    y = layer(np.zeros((0, 4, 3), "float32"))
    ops.sum(y).backward()
    assert y.shape == (0, 4, 5)
    assert not any(backend.to_host(w.grad).any() for w in layer.weights)


@pytest.mark.parametrize("with_bias", [False, True])
def test_projection(device_library, way, with_bias):
    """The kernel multiplies the input itself, and returns the gradients of the parts."""
    cell = CELLS["GRU"]()
    _, *others = draw_inputs(cell, 3, 4, 5, 0, "float64")
    rng = np.random.default_rng(3)
    parts = [rng.standard_normal(shape) for shape in ((3, 4, 2), (2, 15), (15,))][: 2 + with_bias]
    projection = Projection(None, None, None if not with_bias else parts[2]).of([None] * len(parts))
    for frozen in ((), (0,)):
        arguments = None, None, False, "all", 1e-10
        compare(
            device_library, cell, [*parts, *others], *arguments, projection=projection._replace(
                **dict(zip(("x", "W", "b"), parts, strict=False))), frozen=frozen,
        )  # fmt: skip


# --- launches, graphs and memory --------------------------------------------------------------------------


def test_all_steps_are_one_launch_and_nothing_is_fetched(standin):
    layer = device_layer(standin, LSTM, 8)
    counts = []
    for length in (20, 50):
        inputs = standin.asarray(np.zeros((3, length, 2), "float32"))
        for w in layer.weights:
            w.grad = None
        before = standin.copies.launches
        with standin.no_host_copies():
            ops.sum(layer(inputs)).backward()
        counts.append(standin.copies.launches - before)
    assert counts[0] == counts[1] < 20


def device_layer(library, kind, units, **options):
    backend.set_device("gpu")
    layer = kind(units, **options)
    layer(library.asarray(np.zeros((1, 1, 2), "float32")))
    return layer


def test_launches_of_each_step_are_recorded_once_and_repeated(standin, monkeypatch):
    choose_way("stepwise", monkeypatch)
    cell, rng = cells.LSTM(), np.random.default_rng(0)
    graphs = []
    launch = standin.cuda.Graph.launch
    monkeypatch.setattr(
        standin.cuda.Graph, "launch", lambda self, *a: (graphs.append(self), launch(self, *a))
    )
    for k in range(4):
        inputs = draw_inputs(cell, 3, 6, 5, k, "float64")
        mask = rng.random((3, 6)) < 0.7
        compare(standin, cell, inputs, mask, None, False, "all", 1e-10)
    assert len(graphs) == 6  # forward and back, from the second time on
    assert len({id(graph) for graph in graphs}) == 2
    monkeypatch.setenv("TINYRNN_CUDA_GRAPHS", "0")
    compare(standin, cell, draw_inputs(cell, 3, 4, 5, 0, "float64"), None, None, False, "all", 1e-10)
    compare(standin, cell, draw_inputs(cell, 3, 4, 5, 1, "float64"), None, None, False, "all", 1e-10)
    assert len(graphs) == 6


def test_buffers_of_other_shapes_go_without_the_garbage_collector(standin, monkeypatch):
    choose_way("stepwise", monkeypatch)
    alive, make = weakref.WeakSet(), stepwise.Buffers.__init__
    monkeypatch.setattr(
        stepwise.Buffers, "__init__", lambda self, form: (alive.add(self), make(self, form))[1]
    )
    gc.disable()
    try:
        for length in range(1, 15):
            compare(standin, cells.LSTM(), draw_inputs(cells.LSTM(), 2, length, 3, 0, "float64"), *LAST)
    finally:
        gc.enable()
    assert len(alive) <= 8
    stepwise.release()
    assert not alive


LAST = None, None, False, "last state", 1e-10


def test_little_shared_memory(standin, monkeypatch):
    """As on the oldest GPUs: fewer teams share a product."""
    choose_way("stepwise", monkeypatch)
    monkeypatch.setattr(gpu, "most_shared", lambda xp: 64 << 10)
    standin.device_properties.update(sharedMemPerBlockOptin=64 << 10)
    cell = cells.LSTM()
    compare(standin, cell, draw_inputs(cell, 3, 4, 5, 0, "float64"), None, np.full((4, 3, 5), 2.0), *LAST[2:])


def test_gates_that_fit_into_no_block(standin, monkeypatch):
    class Wide(cells.Cell):
        gates = tuple(f"g{k}" for k in range(65))

        def step(self, x, r, s, p):
            return ops.tanh(sum(getattr(x, g) + getattr(r, g) for g in self.gates))

    choose_way("stepwise", monkeypatch)
    U = standin.asarray(np.zeros((2, 130)))
    expected = ("array", "65 gates are too many for a block of this GPU")
    assert recurrent.choose(Wide(), "auto", U) == expected
    with pytest.raises(TraceError, match="kernel='gpu' cannot run a Wide: 65 gates are too many"):
        recurrent.choose(Wide(), "gpu", U)


def test_sequences_at_the_same_time_do_not_share_memory(device_library, way):
    """Two ways forward before their ways back; a way back twice; outputs stay when their sequence is gone."""
    cell = CELLS["GRU"]()
    drawn = [draw_inputs(cell, 2, 4, 3, k, "float64") for k in range(3)]
    tensors = [[Tensor(device_library.asarray(x), requires_grad=True) for x in xs] for xs in drawn]
    runs = [recurrent.run(cell, *recurrent._unpack(cell, ts), kernel="gpu")[0] for ts in tensors]
    twice = [grad(ops.sum(y * y), ts) for y, ts in zip(runs, tensors, strict=True) for _ in range(2)]
    for k, xs in enumerate(drawn):
        host = [Tensor(x, requires_grad=True) for x in xs]
        y = recurrent.run(cell, *recurrent._unpack(cell, host), kernel="unrolled")[0]
        np.testing.assert_allclose(runs[k].numpy(), y.data, rtol=1e-10)
        for found in twice[2 * k : 2 * k + 2]:
            for a, b in zip(found, grad(ops.sum(y * y), host), strict=True):
                np.testing.assert_allclose(a.numpy(), b.data, rtol=1e-10, atol=1e-12)
    kept = [y.numpy() for y in runs]
    data = [y.data for y in runs]
    del runs, twice
    gc.collect()
    with no_grad():
        recurrent.run(cell, *recurrent._unpack(cell, tensors[0]), kernel="gpu")
    for a, b in zip(kept, data, strict=True):
        np.testing.assert_array_equal(a, backend.to_host(b))


def test_second_order(device_library, way):
    """Gradients of gradients, which come from the definition, on the device."""
    cell = CELLS["LSTM"]()
    found = []
    for kernel, place in (("unrolled", np.asarray), ("gpu", device_library.asarray)):
        drawn = draw_inputs(cell, 2, 2, 2, 0, "float64")
        tensors = [Tensor(place(x), requires_grad=True) for x in drawn]
        outputs, states = recurrent.run(cell, *recurrent._unpack(cell, tensors), kernel=kernel)
        first = grad(ops.sum(outputs * outputs) + ops.sum(states[1]), tensors, create_graph=True)
        found.append([g.numpy() for g in grad([ops.sum(g * g) for g in first], tensors)])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


# --- the choice -------------------------------------------------------------------------------------------


def test_the_choice_says_how_it_runs(standin):
    small = device_layer(standin, LSTM, 8).kernel_choice
    assert small.kernel == "gpu"
    assert "all time steps in one launch" in small.reason
    large = device_layer(standin, GRU, 400).kernel_choice
    assert large.kernel == "gpu"
    assert "a launch for each time step" in large.reason
    assert device_layer(standin, LSTM, 8, kernel="array").kernel_choice == ("array", "asked for")


def test_a_kernel_for_another_device_is_refused(standin):
    with pytest.raises(ValueError, match=r"kernel='cpu': the weights are on the gpu; see tinyrnn.set_device"):
        device_layer(standin, LSTM, 8, kernel="cpu")
    backend.set_device("cpu")
    with pytest.raises(ValueError, match=r"kernel='gpu': the weights are on the cpu"):
        LSTM(8, kernel="gpu")(np.zeros((1, 1, 2), "float32"))


# --- what fits --------------------------------------------------------------------------------------------

A100, H100 = 166_912, 232_448  # bytes of shared memory that a block may have


@pytest.mark.parametrize(
    ("name", "units", "dtype", "most", "fits"),
    [
        ("LSTM", 64, "float32", A100, True),
        ("LSTM", 128, "float32", A100, True),
        ("LSTM", 200, "float32", H100, False),
        ("SimpleRNN", 128, "float32", A100, True),
        ("LSTM", 64, "float64", A100, True),
        ("LSTM", 512, "float32", H100, False),
        ("GRU", 342, "float32", H100, False),
    ],
)
def test_what_fits_into_a_block(name, units, dtype, most, fits):
    code = gpu.Code(CELLS[name]())
    fitted = code.fitted(units, dtype, most)
    assert (fitted is not None) == fits
    if fits:
        size = np.dtype(dtype).itemsize
        assert fitted.threads * fitted.held * size <= 4 * persistent._REGISTERS
        assert fitted.held % (16 // size) == 0


# --- the compiler for real GPUs ---------------------------------------------------------------------------

needs_nvrtc = pytest.mark.skipif(nvrtc.missing() != "", reason=nvrtc.missing())
BUILT_IN = ["SimpleRNN", "LSTM", "GRU", "GRU, reset before"]
LARGE = [(name, "largest", dtype) for name in BUILT_IN for dtype in ("float32", "float64")]
SMALL = [(name, 20, "float32") for name in CELLS] + [(name, 20, "float64") for name in BUILT_IN]


@needs_nvrtc
@pytest.mark.parametrize("arch", ["sm_80", "sm_90"])
@pytest.mark.parametrize(("name", "units", "dtype"), LARGE + SMALL)
def test_all_steps_compile_for(arch, name, units, dtype):
    cell = CELLS[name]()
    code, most = gpu.Code(cell), A100 if arch == "sm_80" else H100
    if units == "largest":
        units = max(n for n in range(1, 1025) if code.fitted(n, dtype, most))
    fitted = code.fitted(units, dtype, most)
    check(persistent.Persistent(code.step, fitted, units, dtype, code.late > 0).code, arch, fitted.threads)


@needs_nvrtc
@pytest.mark.parametrize("arch", ["sm_80", "sm_90"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", [*BUILT_IN, "LateWithParameter"])
def test_each_step_compiles_for(arch, dtype, name):
    cell = CELLS[name]()
    drops = (name == "LSTM") == (dtype == "float64")  # with recurrent dropout and without
    check(stepwise.Stepwise(cell, gpu.Code(cell).step, dtype, drops).code, arch, 256)


def check(code, arch, threads):
    """Compile, and see that nothing is warned of and that a block of threads has the registers it wants."""
    _, log = nvrtc.compile(code, arch)
    assert not nvrtc.warnings(log)
    for name, used in nvrtc.resources(log).items():
        assert used["registers"] * threads <= persistent._REGISTERS, name
        assert used["spill_stores"] <= 128, name  # bytes: a few numbers
