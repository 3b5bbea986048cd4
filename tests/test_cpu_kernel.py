"""The compiled kernel: its functions, the definition beside it, threads, files, memory."""

import os
import subprocess
import sys
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_cases import CELLS, case, draw_inputs, draw_masks, results

import tinyrnn
from tinyrnn import ops, recurrent, threads
from tinyrnn.autograd import Tensor
from tinyrnn.gradcheck import gradcheck
from tinyrnn.layers import GRU, LSTM, Add, Dense, Embedding, GlobalAveragePooling1D, Input, Lambda, SimpleRNN
from tinyrnn.lookup import Lookup
from tinyrnn.native import jit
from tinyrnn.native.files import load, read_checked, write_checked
from tinyrnn.native.functions import FUNCTIONS
from tinyrnn.recurrent import Cell, Projection, cpu, trace, workspace
from tinyrnn.recurrent.workspace import Workspace

FLOATS = ("float32", "float64")


@pytest.fixture
def busy(monkeypatch):
    """Small work too is shared out among threads, or done beforehand; how many there are may be changed."""
    for name in ("_SMALL", "_SMALL_KERNEL", "_WORTH"):
        monkeypatch.setattr(cpu, name, 1)
    yield
    threads.set_num_threads(None)


# --- functions --------------------------------------------------------------------------------------------


def function_of(name, dtype, n_inputs=1):
    """Return a compiled function for arrays: `name` in a loop, as the kernels use it."""
    function = getattr(FUNCTIONS[dtype], name)

    @numba.njit(error_model="numpy")
    def one(a, out):
        for i in range(len(out)):
            out[i] = function(a[i])

    @numba.njit(error_model="numpy")
    def two(a, b, out):
        for i in range(len(out)):
            out[i] = function(a[i], b[i])

    @numba.njit(error_model="numpy")
    def three(a, b, c, out):
        for i in range(len(out)):
            out[i] = function(a[i], b[i], c[i])

    def compute(*arrays):
        arrays = [np.array(a, dtype) for a in arrays]
        (one, two, three)[n_inputs - 1](*arrays, out := np.empty_like(arrays[0]))
        return out

    return compute


EXACT = {
    "exp": np.exp,
    "expm1": np.expm1,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "tanh": np.tanh,
    "softplus": lambda x: np.maximum(x, 0) + np.log1p(np.exp(-abs(x))),
}
LARGEST = {"float32": 87.0, "float64": 707.0}  # of what `exp` takes to a normal number, on both sides
LIMITS = {
    "exp": (0, np.inf),
    "expm1": (-1, np.inf),
    "sigmoid": (0, 1),
    "tanh": (-1, 1),
    "softplus": (0, np.inf),
}


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", EXACT)
def test_functions_are_right_to_three_units_in_the_last_place(name, dtype):
    if np.finfo(np.longdouble).nmant < np.finfo(dtype).nmant + 8:
        pytest.skip("no longer type of float to compare with here")
    sizes = np.geomspace(1e-30, LARGEST[dtype], 20_000)
    x = np.concatenate([np.linspace(-LARGEST[dtype], LARGEST[dtype], 50_001), sizes, -sizes]).astype(dtype)
    exact = EXACT[name](x.astype(np.longdouble))
    normal = abs(exact) >= np.finfo(dtype).tiny
    unit = np.spacing(abs(exact).astype(dtype)).astype(np.longdouble)
    errors = abs(function_of(name, dtype)(x) - exact) / unit
    assert errors[normal].max() <= 3
    assert normal.mean() > 0.9


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", EXACT)
def test_functions_far_from_zero_and_of_nan(name, dtype):
    far = LARGEST[dtype] * np.array([1.05, 10.0, np.inf])
    low, high = LIMITS[name]
    function, tiny = function_of(name, dtype), np.finfo(dtype).tiny
    np.testing.assert_allclose(function(-far), low, rtol=0, atol=1.001 * tiny)
    np.testing.assert_array_equal(function(far), far.astype(dtype) if name == "softplus" else high)
    np.testing.assert_array_equal(function([np.nan, 1.0])[:1], np.nan)
    np.testing.assert_array_equal(function([0.0]), np.array([EXACT[name](0.0)], dtype))


VALUES = np.array([-np.inf, -30.0, -2.5, -1.0, -0.3, 0.0, 0.3, 1.0, 2.5, 30.0, np.inf, np.nan])


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", sorted(trace.FUNCTIONS))
def test_functions_are_those_of_the_operations(name, dtype):
    a, b = (x.reshape(-1).astype(dtype) for x in np.meshgrid(VALUES, VALUES))
    with np.errstate(all="ignore"):
        if name == "where":
            found, expected = function_of(name, dtype, 3)(a > b, a, b), ops.where(a > b, a, b)
        elif name == "clip":
            low, high = np.full_like(a, -0.5), np.full_like(a, 2.0)
            found, expected = function_of(name, dtype, 3)(a, low, high), ops.clip(a, low=-0.5, high=2.0)
        elif name in ("maximum", "minimum"):
            found, expected = function_of(name, dtype, 2)(a, b), getattr(ops, name)(a, b)
        else:
            found, expected = function_of(name, dtype)(a), getattr(ops, name)(a)
    eps, tiny = np.finfo(dtype).eps, np.finfo(dtype).tiny
    np.testing.assert_allclose(found, expected, rtol=8 * eps, atol=2 * tiny)


@pytest.mark.parametrize("dtype", FLOATS)
def test_every_function_a_formula_may_hold_is_there(dtype):
    assert vars(FUNCTIONS[dtype]).keys() == trace.FUNCTIONS


# --- beside the definition --------------------------------------------------------------------------------


def draw_projection(cell, batch, length, units, source, dtype, seed=0):
    """Return a projection of 5 features, and all inputs: its parts and the others, of size about one.

    With the source "computed" there is no projection; what it would give is the first input.
    """
    xz, U, *others = draw_inputs(cell, batch, length, units, seed, dtype)
    U /= units**0.5
    if source == "computed":
        return None, [xz, U, *others]
    rng = np.random.default_rng(seed + 1)
    features, width = 5, U.shape[1]

    def draw(*shape):
        return rng.standard_normal(shape).astype(dtype)

    x, ids, masks = draw(batch, length, features), None, None
    if source == "table":
        x, ids = draw(9, features), rng.integers(0, 9, (batch, length))
    elif source == "dropped":
        masks = ((rng.random((len(cell.gates), batch, features)) < 0.6) / 0.6).astype(dtype)
    b = None if source == "no bias" else draw(width)
    projection = Projection(x, draw(features, width) / 2, b, ids, masks)
    return projection, [*projection.parts, U, *others]


def assert_close(found, expected, dtype):
    """Compare outputs, states and gradients, each to rounding of its largest number."""
    for a, b in zip([*found[0], *found[1]], [*expected[0], *expected[1]], strict=True):
        assert a.dtype == dtype
        tolerance = {"float64": 1e-11, "float32": 2e-5}[dtype]
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * max(1, abs(b).max()))


# Each costs seconds of compiling: all that a cell may have, in few pairs.
COMPILED = [
    ("SimpleRNN", "float32"), ("LSTM", "float32"), ("LSTM", "float64"), ("GRU", "float32"),
    ("GRU, reset before", "float64"), ("Peephole", "float64"), ("LateWithParameter", "float64"),
]  # fmt: skip


@pytest.mark.usefixtures("busy")
@pytest.mark.parametrize(("name", "dtype"), COMPILED)
@settings(max_examples=25)
@given(
    case=case,
    source=st.sampled_from(["computed", "dense", "no bias", "table", "dropped"]),
    frozen=st.booleans(),
    batch=st.integers(1, 20),
    units=st.integers(1, 40),
    workers=st.integers(1, 3),
)
def test_projections_equal_definition(name, dtype, case, source, frozen, batch, units, workers):
    cell, case = CELLS[name](), case | {"batch": batch, "dtype": dtype}
    projection, inputs = draw_projection(cell, batch, case["length"], units, source, dtype, case["seed"])
    masks = draw_masks(case, len(cell.gates), units)
    arguments = (cell, inputs, *masks, case["reverse"], case["used"], projection, {0} if frozen else ())
    threads.set_num_threads(workers)
    assert_close(results("cpu", *arguments), results("unrolled", *arguments), dtype)


@pytest.mark.parametrize("name", ["LSTM", "LateWithParameter"])
@pytest.mark.parametrize("masked", [None, "random"])
@pytest.mark.parametrize("dropped", [False, True])
@pytest.mark.parametrize("beforehand", [False, True])
def test_few_rows_of_many_steps_equal_definition(name, masked, dropped, beforehand, monkeypatch):
    """What waits for the products of the kernel's gradient fills its place several times."""
    monkeypatch.setattr(cpu, "_WORTH", 1 if beforehand else 10**9)
    cell, batch, length, units = CELLS[name](), 3, 230, 9
    settings = {"batch": batch, "length": length, "masked": masked, "dropped": dropped}
    masks = draw_masks({"seed": 0, "dtype": "float64", **settings}, len(cell.gates), units)
    projection, inputs = draw_projection(cell, batch, length, units, "dense", "float64")
    if name == "LateWithParameter":
        inputs[-3] = inputs[-3] / 4  # its states must not grow from step to step
    arguments = (cell, inputs, *masks, False, "all", projection)
    assert_close(results("cpu", *arguments), results("unrolled", *arguments), "float64")


class Divided(Cell):
    """Not finite where the parameter is zero, as it is for the units that fill up a vector."""

    gates = ("a", "b")
    late_gates = ("b",)
    params = ("w",)

    def late_input(self, x, r, s, p):
        return ops.tanh(x.a + r.a) / p.w

    def step(self, x, r, s, p):
        return ops.tanh(x.b + r.b) / p.w


def test_what_fills_up_a_vector_does_not_count():
    cell = Divided()
    projection, inputs = draw_projection(cell, 3, 4, 5, "dense", "float32")
    inputs[-2] = abs(inputs[-2]) + 1
    arguments = (cell, inputs, None, None, False, "all", projection)
    assert_close(results("cpu", *arguments), results("unrolled", *arguments), "float32")


@pytest.mark.parametrize("source", ["dense", "table", "dropped"])
def test_second_order_of_a_projection(source):
    cell = CELLS["LSTM"]()
    projection, inputs = draw_projection(cell, 2, 3, 2, source, "float64")
    mask = np.array([[True, True, False], [False, True, True]])

    def function(*tensors):
        arguments = recurrent._unpack(cell, tensors, projection, len(projection.parts))
        outputs, states = recurrent.run(cell, *arguments, mask, kernel="cpu")
        return [outputs, *states]

    gradcheck(function, inputs, order=2, tolerance=1e-5)


def test_input_masks_of_a_table():
    cell = CELLS["LSTM"]()
    table, inputs = draw_projection(cell, 4, 3, 2, "table", "float32")
    dropped, _ = draw_projection(cell, 4, 3, 2, "dropped", "float32")
    arguments = (cell, inputs, None, None, False, "all", table._replace(masks=dropped.masks))
    assert_close(results("cpu", *arguments), results("unrolled", *arguments), "float32")


@pytest.mark.parametrize("form", ["Fortran", "read-only", "int32", "uint8"])
def test_ids_and_tables_of_any_form(form):
    cell = CELLS["LSTM"]()
    projection, inputs = draw_projection(cell, 4, 3, 2, "table", "float32")
    expected = results("unrolled", cell, inputs, None, None, False, "all", projection)
    if form == "Fortran":
        inputs = [np.asfortranarray(x) for x in inputs]
        projection = projection._replace(ids=np.asfortranarray(projection.ids))
    elif form == "read-only":
        for array in (*inputs, projection.ids):
            array.flags.writeable = False
    else:
        projection = projection._replace(ids=projection.ids.astype(form))
    assert_close(results("cpu", cell, inputs, None, None, False, "all", projection), expected, "float32")


# --- numbers ----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("busy")
@pytest.mark.parametrize("source", ["dense", "table", "dropped"])
def test_any_number_of_threads_gives_the_same(source):
    cell = CELLS["LSTM"]()
    projection, inputs = draw_projection(cell, 29, 6, 20, source, "float32")
    lengths = np.random.default_rng(0).integers(1, 7, (29, 1))
    found = []
    for workers in (1, 2, 3):
        threads.set_num_threads(workers)
        found.append(results("cpu", cell, inputs, np.arange(6) < lengths, None, False, "all", projection))
    for other in found[1:]:
        assert_close(other, found[0], "float32")


@pytest.mark.usefixtures("busy")
@pytest.mark.parametrize("rate", [0.0, 0.3])
def test_one_seed_gives_the_same_bits(rate):
    rng = np.random.default_rng(0)
    ids, y = rng.integers(0, 20, (24, 7)), rng.standard_normal((24, 1)).astype("float32")

    def trained():
        tinyrnn.set_random_seed(5)
        recurrent_layers = [
            LSTM(6, return_sequences=True, dropout=rate, recurrent_dropout=rate),
            GRU(5, dropout=rate, recurrent_dropout=rate),
        ]
        model = tinyrnn.Sequential([Embedding(20, 4, mask_zero=True), *recurrent_layers, Dense(1)])
        model.compile("adam", "mse")
        model.fit(ids, y, batch_size=12, epochs=2, verbose=0)
        return model.get_weights()

    threads.set_num_threads(2)
    for a, b in zip(trained(), trained(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("source", ["dense", "dropped", "table"])
def test_what_masked_steps_hold_does_not_count(source, value):
    cell = CELLS["GRU"]()
    projection, inputs = draw_projection(cell, 4, 5, 3, source, "float32")
    mask = np.arange(5) < np.array([[1], [5], [2], [4]])
    unread = ~mask
    if source == "table":
        mask, unread = projection.ids != 0, np.arange(9) == 0
        assert not mask.all()

    def with_unread(value):
        inputs[0][unread] = value
        outputs, gradients = results("cpu", cell, inputs, mask, None, False, "all", projection)
        return outputs + gradients

    found, expected = with_unread(value), with_unread(0.0)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)
    d_x = found[2]  # after outputs and state
    assert (d_x[unread] == 0).all()
    assert (d_x[~unread] != 0).any()


@pytest.mark.parametrize("source", ["dense", "table"])
def test_two_ways_back_give_the_same(source):
    cell = CELLS["GRU"]()
    projection, inputs = draw_projection(cell, 3, 5, 4, source, "float32")
    tensors = [Tensor(x, requires_grad=True) for x in inputs]
    outputs, _ = recurrent.run(cell, *recurrent._unpack(cell, tensors, projection, 3), kernel="cpu")
    loss = ops.sum(ops.square(outputs))
    loss.backward(retain_graph=True)
    first = [t.grad for t in tensors]
    for t in tensors:
        t.grad = None
    loss.backward()
    for t, expected in zip(tensors, first, strict=True):
        np.testing.assert_array_equal(t.grad, expected)


@pytest.mark.parametrize("source", ["computed", "dense", "dropped", "table"])
def test_a_batch_without_a_step_that_counts(source):
    cell = CELLS["GRU"]()
    projection, inputs = draw_projection(cell, 2, 3, 4, source, "float32")
    arguments = (cell, inputs, np.zeros((2, 3), bool), None, False, "all", projection)
    assert_close(results("cpu", *arguments), results("unrolled", *arguments), "float32")


def test_a_batch_of_no_rows():
    x = np.zeros((0, 4, 2), "float32")
    assert LSTM(3)(x).shape == (0, 3)
    model = tinyrnn.Sequential([Embedding(7, 3), LSTM(2)])
    y = model(np.zeros((0, 4), "int32"))
    ops.sum(y).backward()
    assert y.shape == (0, 2)
    assert all((w.grad == 0).all() and w.grad.shape == w.shape for w in model.trainable_weights)


# --- Python's threads, and processes ----------------------------------------------------------------------


def small_model():
    tinyrnn.set_random_seed(2)
    return tinyrnn.Sequential([Input((None, 5)), LSTM(6, return_sequences=True), GRU(4)])


@pytest.mark.usefixtures("busy")
def test_threads_that_predict_at_once_get_their_own_numbers():
    model = small_model()
    rng = np.random.default_rng(0)
    inputs = [rng.standard_normal((n, 7, 5)).astype("float32") for n in (3, 20, 33, 8, 1, 16)] * 4
    threads.set_num_threads(2)
    expected = [model.predict(x, verbose=0) for x in inputs]
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda x: model.predict(x, verbose=0), inputs))
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


def run_python(code, wait=True, **environment):
    """Run `code` in a process of its own, beside the helpers of the tests; return the lines it prints."""
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parent, env=os.environ | environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    return lines_of(process) if wait else process


def lines_of(process):
    out, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return out.splitlines()


FORKING = """
import os, signal, numpy as np
from test_cpu_kernel import cpu, small_model, threads

cpu._SMALL = 1
threads.set_num_threads(2)
model, x = small_model(), np.random.default_rng(0).standard_normal((20, 7, 5)).astype("float32")
expected = model.predict(x, verbose=0)


def same():
    return np.array_equal(model.predict(x, verbose=0), expected)


assert threads._team._threads  # they stay behind
child = os.fork()
if child == 0:
    signal.alarm(60)  # rather die than hang
    os._exit(0 if same() else 3)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), same())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_process_predicts_the_same():
    assert run_python(FORKING) == ["0 True"]


# --- the cache folder -------------------------------------------------------------------------------------

SMALL_MODULE = '''"""A small module."""
from tinyrnn.native.jit import *


@entry
def twice(x):
    return x + x
'''


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache folder that is still missing."""
    folder = tmp_path / "of a user" / "cache"
    monkeypatch.setenv("TINYRNN_CACHE", str(folder))
    return folder


def run_small_module():
    """Load the module as a new process does, run it, and return it."""
    module = load.__wrapped__(SMALL_MODULE, "Small")
    np.testing.assert_array_equal(module.twice(np.arange(3.0)), [0.0, 2.0, 4.0])
    return module


def from_disk(module):
    """Return whether the compiled code was read, not made."""
    stats = module.twice.stats
    assert stats.cache_hits.total() + stats.cache_misses.total() == 1
    return stats.cache_hits.total() == 1


def test_compiled_code_is_kept(cache):
    assert not from_disk(run_small_module())
    before = {path.name: path.stat().st_mtime_ns for path in cache.iterdir()}
    assert sorted(Path(name).suffix for name in before) == [".bin", ".py"]
    assert from_disk(run_small_module())
    assert {path.name: path.stat().st_mtime_ns for path in cache.iterdir()} == before


def test_other_types_are_compiled_for_themselves(cache):
    module = run_small_module()
    assert module.twice(np.arange(3, dtype="float32")).dtype == "float32"
    assert len(list(cache.glob("*.bin"))) == 2


@pytest.mark.parametrize("damage", ["empty", "cut", "one bit", "lengthened", "of another program"])
def test_damaged_code_is_compiled_again(cache, damage):
    run_small_module()
    (path,) = cache.glob("*.bin")
    data = path.read_bytes()
    middle = len(data) // 2
    path.write_bytes(
        {
            "empty": b"",
            "cut": data[:middle],
            "one bit": data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :],
            "lengthened": data + b"\0",
            "of another program": b"nonsense" * 9,
        }[damage]
    )
    assert not from_disk(run_small_module())
    assert from_disk(run_small_module())  # and was put in its place


def test_code_of_another_version_is_not_run(cache, monkeypatch):
    run_small_module()
    monkeypatch.setattr(jit._DiskCache, "_environment", "another version")
    assert not from_disk(run_small_module())
    assert len(list(cache.glob("*.bin"))) == 2


def test_a_file_that_holds_another_text_is_replaced(cache):
    path = Path(run_small_module().__file__)
    path.write_text("raise RuntimeError")
    run_small_module()
    assert path.read_text() == SMALL_MODULE


@pytest.mark.parametrize(
    "obstacle", ["a file in its place", "read-only", "full", "folders in the files' places"]
)
def test_without_a_place_to_keep_it_code_runs(cache, monkeypatch, obstacle):
    def refuse(*args, **kwargs):
        raise PermissionError("read-only")

    def fill(fd, data):
        raise OSError("no space left")

    if obstacle == "a file in its place":
        cache.parent.mkdir()
        cache.write_text("")
    elif obstacle == "read-only":  # root may write anywhere: it is refused here
        monkeypatch.setattr("tinyrnn.native.files.write_whole", refuse)
        monkeypatch.setattr(Path, "mkdir", refuse)
    elif obstacle == "full":
        monkeypatch.setattr(os, "replace", fill)
    else:
        for name in [run_small_module().__file__, *cache.glob("*.bin")]:
            Path(name).unlink()
            Path(name).mkdir()
    for _ in range(2):
        assert not from_disk(run_small_module())


def test_a_write_that_fails_leaves_nothing(cache):
    (cache / "in the way").mkdir(parents=True)
    write_checked(cache / "in the way", b"data")
    assert os.listdir(cache) == ["in the way"]


def test_checked_files(tmp_path, monkeypatch):
    path = tmp_path / "new" / "file"
    assert read_checked(path) is None
    write_checked(path, b"data")
    assert read_checked(path) == b"data"
    if hasattr(os, "getuid"):
        monkeypatch.setattr(os, "getuid", lambda: path.stat().st_uid + 1)
        assert read_checked(path) is None  # another user may have written anything


PREDICTING = """
import numpy as np
from kernel_cases import CELLS, draw_inputs, results

cell = CELLS["SimpleRNN"]()
outputs, gradients = results("cpu", cell, draw_inputs(cell, 4, 3, 5, 0, "float32"), None, None, False, "all")
print(*(repr(float(np.sum(np.abs(a), dtype="float64"))) for a in outputs + gradients))
"""


def test_processes_that_start_at_once_on_an_empty_folder(cache):
    cell = CELLS["SimpleRNN"]()
    inputs = draw_inputs(cell, 4, 3, 5, 0, "float32")
    outputs, gradients = results("unrolled", cell, inputs, None, None, False, "all")
    expected = [np.abs(a).sum() for a in outputs + gradients]
    both = [run_python(PREDICTING, wait=False) for _ in range(2)]
    numbers = [lines_of(process) for process in both]
    made = {path.name: path.stat().st_mtime_ns for path in cache.iterdir()}
    assert {Path(name).suffix for name in made} == {".bin", ".py"}
    numbers.append(run_python(PREDICTING))
    assert {path.name: path.stat().st_mtime_ns for path in cache.iterdir()} == made  # nothing compiled
    for (line,) in numbers:
        np.testing.assert_allclose([float(x) for x in line.split()], expected, rtol=1e-5)


# --- memory -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layer_class", [LSTM, GRU, SimpleRNN])
def test_training_takes_little_more_memory_than_what_it_saves(layer_class):
    batch, length, features, units = 64, 100, 32, 64
    layer = layer_class(units, return_sequences=True)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((batch, length, features)).astype("float32")
    seed = rng.standard_normal((batch, length, units)).astype("float32")

    def train():
        layer(x).backward(seed)

    train()  # compiles, and makes the weights' gradients
    workspace._free.clear()  # memory for the tape that was already there would not be counted
    tracemalloc.start()
    try:
        train()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    saved = (cpu.compiled(layer.cell).layout.slots + 1) * batch * length * units * 4
    assert saved < peak <= 1.5 * saved


# --- other processors -------------------------------------------------------------------------------------

ON_A_PROCESSOR = """
import numpy as np
from kernel_cases import CELLS
from test_cpu_kernel import assert_close, draw_projection, function_of, results
from tinyrnn.native import jit

print(jit.VECTOR_BYTES)
x = np.linspace(-20, 20, 1001)
np.testing.assert_allclose(function_of("tanh", "float32")(x), np.tanh(x), rtol=1e-6)
cell = CELLS["LSTM"]()
for source, units in (("dense", 5), ("table", 37)):
    projection, inputs = draw_projection(cell, 11, 4, units, source, "float32")
    arguments = (cell, inputs, None, None, False, "all", projection)
    assert_close(results("cpu", *arguments), results("unrolled", *arguments), "float32")
"""


@pytest.mark.parametrize(
    ("name", "features", "vector_bytes"),
    [("haswell", "+avx,+avx2,+fma,+f16c,+bmi,+bmi2", 32), ("x86-64", "+sse2", 16)],
)
def test_other_processors(name, features, vector_bytes):
    if not jit.IS_X86:
        pytest.skip("the processors stood in for are of the x86 family")
    if vector_bytes > jit.VECTOR_BYTES:
        pytest.skip("this processor is older")
    lines = run_python(ON_A_PROCESSOR, NUMBA_CPU_NAME=name, NUMBA_CPU_FEATURES=features)
    assert lines == [str(vector_bytes)]


# --- rows of a table --------------------------------------------------------------------------------------

IDS = np.random.default_rng(3).integers(0, 7, (6, 5))


@pytest.fixture
def computed(monkeypatch):
    """The lookups whose rows were computed."""
    found = []
    compute = Lookup.computed
    monkeypatch.setattr(Lookup, "computed", lambda self: found.append(self) or compute(self))
    return found


@pytest.mark.parametrize("mask_zero", [False, True])
def test_rows_that_a_recurrent_layer_reads_are_not_computed(computed, mask_zero):
    model = tinyrnn.Sequential([Embedding(7, 3, mask_zero=mask_zero), LSTM(2), Dense(1)])
    model.compile("sgd", "mse")
    model.train_on_batch(IDS, np.ones((6, 1)))
    model.predict(IDS, verbose=0)
    assert computed == []


@pytest.mark.parametrize(
    "reader",
    [Dense(2), GlobalAveragePooling1D(), LSTM(2, dropout=0.5), LSTM(2, dropout=0.5, recurrent_dropout=0.5)],
    ids=["Dense", "pooling", "dropout", "dropout by gate"],
)
def test_rows_that_anything_else_reads_are_computed(computed, reader):
    tinyrnn.Sequential([Embedding(7, 3), reader])(IDS, training=True)
    assert computed


def test_a_lookup_is_a_tensor():
    table = Tensor(np.random.default_rng(0).standard_normal((7, 3)), requires_grad=True)
    lookup = Lookup(table, IDS)
    assert (lookup.shape, lookup.ndim, lookup.dtype, len(lookup)) == ((6, 5, 3), 3, "float64", 6)
    assert lookup._rows is None  # so far nobody has looked
    np.testing.assert_array_equal(lookup.data, table.data[IDS])
    assert lookup.size == 90
    assert lookup.requires_grad
    ops.sum(lookup * 2.0).backward()
    np.testing.assert_array_equal(
        table.grad, 2.0 * np.bincount(IDS.reshape(-1), minlength=7)[:, None] * np.ones(3)
    )


def test_a_call_returns_rows():
    embedding = Embedding(7, 3, mask_zero=True)
    y = embedding(IDS)
    assert type(y) is Tensor
    np.testing.assert_array_equal(y.mask, IDS != 0)


def test_a_call_returns_rows_among_other_results():
    tokens = Input((None,), dtype="int32")
    embedding = Embedding(7, 3)
    rows = embedding(tokens)
    model = tinyrnn.Model(tokens, [rows, LSTM(2)(rows)])
    y, _ = model(IDS)
    expected = embedding.embeddings.data[IDS]
    embedding.set_weights([np.zeros((7, 3), "float32")])
    np.testing.assert_array_equal(y.data, expected)


def read_once(embedding, first, second, tokens):
    return first(embedding(tokens))


def read_by_two(embedding, first, second, tokens):
    rows = embedding(tokens)
    return Add()([first(rows), second(rows)])


def looked_up_twice(embedding, first, second, tokens):
    others = Lambda(lambda ids: ids[:, ::2])(tokens)
    return Add()([first(embedding(tokens)), second(embedding(others))])


def read_otherwise_too(embedding, first, second, tokens):
    rows = embedding(tokens)
    return Add()([first(rows), GlobalAveragePooling1D()(rows)])


@pytest.mark.parametrize("graph", [read_once, read_by_two, looked_up_twice, read_otherwise_too])
@pytest.mark.parametrize(
    "settings", [{}, {"mask_zero": True}, {"embeddings_regularizer": "l2"}, {"trainable": False}]
)
def test_a_training_step_equals_that_with_computed_rows(graph, settings):
    tinyrnn.set_floatx("float64")

    def changes(kernel):
        tinyrnn.set_random_seed(4)
        tokens = Input((None,), dtype="int32")
        embedding = Embedding(7, 3, embeddings_initializer="normal", **settings)
        first, second = LSTM(3, kernel=kernel), LSTM(3, kernel=kernel, go_backwards=True)
        model = tinyrnn.Model(tokens, graph(embedding, first, second, tokens))
        model.compile(tinyrnn.optimizers.SGD(1.0), "mse")
        table, before = embedding.get_weights()[0], model.get_weights()
        model.train_on_batch(IDS, np.ones((6, 3)))
        changed = embedding.get_weights()[0] - table
        return [changed, *(b - a for a, b in zip(before, model.get_weights(), strict=True))]

    found, expected = changes("cpu"), changes("unrolled")
    assert (abs(found[0]).max() > 1e-6) == settings.get("trainable", True)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-12)


# --- memory that is used again ----------------------------------------------------------------------------


def test_workspaces_are_lent_to_one_at_a_time():
    workspace._free.clear()
    first, second = Workspace((1000,), "float32"), Workspace((10, 100), "float32")
    assert first.array.shape == (1000,)
    assert first.array.dtype == "float32"
    assert not np.shares_memory(first.array, second.array)
    address = first.array.ctypes.data
    del first
    much, fitting = Workspace((4000,), "float32"), Workspace((450,), "float64")
    assert much.array.ctypes.data != address
    assert fitting.array.ctypes.data == address
    assert fitting.array.shape == (450,)


# --- cells of many values ---------------------------------------------------------------------------------


class Many(Cell):
    """More values to write in a step than there are writers."""

    gates = tuple(f"g{k}" for k in range(20))
    states = tuple(f"s{k}" for k in range(20))

    def step(self, x, r, s, p):
        values = zip(vars(x).values(), vars(r).values(), vars(s).values(), strict=True)
        return tuple(ops.tanh(a + b) * c + a for a, b, c in values)


def test_a_cell_of_many_values():
    inputs = draw_inputs(Many(), 3, 4, 2, 0, "float32")
    arguments = (Many(), inputs, None, None, False, "all")
    assert_close(results("cpu", *arguments), results("unrolled", *arguments), "float32")
