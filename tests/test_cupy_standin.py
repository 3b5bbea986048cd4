"""The stand-in for CuPy: refuses what CuPy refuses, counts what CuPy does, computes what NumPy computes."""

import copy
import subprocess
import sys

import numpy as np
import pytest
from cupy_standin import on_cpu


@pytest.fixture
def a(standin):
    return standin.asarray(np.arange(6, dtype="float32").reshape(2, 3))


# --- refusals ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "mixed",
    [
        lambda xp, a: a + np.ones(3),
        lambda xp, a: np.ones(3) + a,
        lambda xp, a: a @ np.ones(3),
        lambda xp, a: np.ones((2, 2)) @ a,
        lambda xp, a: a > np.ones(3),
        lambda xp, a: a.__iadd__(np.ones(3, "float32")),
        lambda xp, a: np.ones(3).__iadd__(a[0]),
        lambda xp, a: xp.concatenate([a, np.ones((2, 3))]),
        lambda xp, a: xp.where(a > 0, np.ones(3), a),
        lambda xp, a: xp.where(np.ones(3, bool), a, a),
        lambda xp, a: xp.sum(np.ones(3)),
        lambda xp, a: xp.sum([1.0, 2.0]),
        lambda xp, a: xp.tanh(np.ones(3)),
        lambda xp, a: np.add(a, a, out=np.ones((2, 3))),
        lambda xp, a: np.asarray(a),
        lambda xp, a: np.array([a[0, 0], a[0, 1]]),
        lambda xp, a: a.clip(np.zeros(3), 1),
        lambda xp, a: xp.sum(a, where=True),  # not a parameter of CuPy's
        lambda xp, a: xp.clip(a, min=0),
    ],
)
def test_host_and_device_do_not_mix(standin, a, mixed):
    with pytest.raises(TypeError):
        mixed(standin, a)


@pytest.mark.parametrize("x", [2, 2.0, True, np.float32(2), np.float64(2), np.int64(2)])
def test_numbers_mix_by_the_rules_of_numpy(standin, a, x):
    host = a.get()
    for f in (lambda a: a + x, lambda a: x * a, lambda a: x - a, lambda a: a**x, lambda a: a >= x):
        found, expected = f(a), f(host)
        assert isinstance(found, standin.ndarray)
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found.get(), expected)


def test_assignments_of_host_arrays_are_refused(standin, a):
    for index in (slice(None), ..., 0):
        with pytest.raises(ValueError, match="non-scalar"):
            a[index] = np.ones(3, "float32")
    with pytest.raises(ValueError, match="non-scalar"):
        standin.copyto(a, np.ones((2, 3), "float32"))
    a[0] = np.float32(7)
    assert a.get()[0].tolist() == [7, 7, 7]


def test_what_it_lacks_is_named(standin):
    with pytest.raises(AttributeError, match="no 'errstate'"):
        standin.errstate  # noqa: B018
    with pytest.raises(NotImplementedError, match=r"logical_or\.accumulate"):
        standin.logical_or.accumulate(standin.ones(3, bool))


def test_objects_are_refused(standin):
    for x in (["a"], np.array([None])):
        with pytest.raises(ValueError, match="Unsupported dtype"):
            standin.asarray(x)


# --- counts -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "waits",
    [
        lambda xp, a: a.get(),
        lambda xp, a: xp.asnumpy(a),
        lambda xp, a: a.tolist(),
        lambda xp, a: a[0, 0].item(),
        lambda xp, a: float(a[0, 0]),
        lambda xp, a: int(a[0, 0]),
        lambda xp, a: bool(a[0, 0]),
        lambda xp, a: a[a > 1],
        lambda xp, a: a.__setitem__(a > 1, 0.0),
        lambda xp, a: a.nonzero(),
        lambda xp, a: xp.nonzero(a),
        lambda xp, a: xp.where(a),
        lambda xp, a: xp.flatnonzero(a),
        lambda xp, a: xp.unique(a),
        lambda xp, a: repr(a),
        lambda xp, a: f"{a[0, 0]:.3f}",
        lambda xp, a: 1.0 in a[0],
    ],
)
def test_what_the_host_waits_for_is_counted(standin, a, waits):
    before = standin.copies.to_host
    waits(standin, a)
    assert standin.copies.to_host > before
    with standin.no_host_copies(), pytest.raises(standin.HostCopyError, match="a copy to the host"):
        waits(standin, a)
    waits(standin, a)


def test_what_stays_on_the_device_copies_nothing(standin, a):
    rows = standin.asarray(np.array([1, 0, 1]))
    before = standin.copies.to_device
    with standin.no_host_copies():
        b = standin.tanh(a) * 2 + a.sum(axis=0) / a.max()
        b[0] = a[1]
        b[rows[0]] += b[rows].sum(axis=0)
        standin.add.at(b, rows, 1.0)
        copy.deepcopy(b)
        standin.allclose(a, b)
    assert (standin.copies.to_host, standin.copies.to_device) == (0, before)
    a[[0, 1]]
    assert standin.copies.to_device == before + 1


def test_views_are_no_launches(standin, a):
    before = standin.copies.launches
    b = a.reshape(3, 2).T[1:, ::-1][..., None].transpose(2, 0, 1)
    standin.broadcast_to(standin.squeeze(standin.moveaxis(b, 0, 1)), (4, 1, 3))
    a.astype("float32", copy=False)
    standin.ascontiguousarray(a)
    assert standin.copies.launches == before
    b[...] = 5.0
    assert standin.copies.launches == before + 1
    assert a.get().tolist() == [[0, 5, 2], [5, 4, 5]]
    a + 1
    a.T.copy()
    standin.ascontiguousarray(a.T)
    standin.zeros(3)
    assert standin.copies.launches == before + 5
    standin.empty(3)
    assert standin.copies.launches == before + 5


def test_a_number_of_an_array_is_a_view(standin, a):
    corner, total = a[0, 0], a.sum()
    for x in (corner, total, a.max(), a.argmax(), a.all(), standin.vdot(a, a)):
        assert isinstance(x, standin.ndarray)
        assert x.shape == ()
    corner += 1.0
    assert a.get()[0, 0] == 1


def test_memory_is_accounted_for(standin):
    standin.free_bytes = 1000
    a = standin.ones(100, "float32")
    b = a[50:]
    assert standin.free_bytes == 600
    with pytest.raises(MemoryError, match="Out of memory allocating 800 bytes") as e:
        standin.ones(200, "float32")
    assert isinstance(e.value, standin.cuda.memory.OutOfMemoryError)
    del a
    assert standin.free_bytes == 600
    del b
    assert standin.free_bytes == 1000


def test_fresh_memory_is_poisoned(standin):
    assert np.isnan(standin.empty((2, 3)).get()).all()
    assert np.isnan(standin.empty_like(standin.ones((2, 3), "float32").T).get()).all()
    assert (standin.empty(3, "int64").get() == -1).all()


# --- values -----------------------------------------------------------------------------------------------

INDEXED = [
    0, -1, (1, 2), (..., 0), (slice(None), 1), slice(None, None, -1), (None, 0), (..., None),
    ([1, 0],), ([1, 0], [2, 2]), (slice(None), [2, 0]), (0, [2, 0]), ([[0], [1]], [0, 2]),
]  # fmt: skip


@pytest.mark.parametrize("index", INDEXED, ids=str)
def test_indices(standin, a, index):
    host = a.get()
    on_device = index
    if isinstance(index, tuple):
        on_device = tuple(standin.asarray(i) if isinstance(i, list) else i for i in index)
    np.testing.assert_array_equal(a[on_device].get(), host[index])
    a[on_device] = 9
    host[index] = 9
    np.testing.assert_array_equal(a.get(), host)


def test_indices_out_of_range_wrap_around(standin, a):
    rows = standin.asarray(np.array([2, -3]))
    np.testing.assert_array_equal(a[rows].get(), a.get()[[0, 1]])
    np.testing.assert_array_equal(a[..., rows + 1].get(), a.get()[:, [0, 1]])
    np.testing.assert_array_equal(a.take(rows, axis=0).get(), a.get()[[0, 1]])
    with pytest.raises(IndexError):
        a[2]


def test_numpy_hands_over(standin, a):
    for f in (np.tanh, np.sum, lambda a: np.concatenate([a, a]), lambda a: np.add(a, 1), np.zeros_like):
        found = f(a)
        assert isinstance(found, standin.ndarray)
        np.testing.assert_array_equal(found.get(), f(a.get()))


def test_an_accumulation_adds_up_what_is_repeated(standin):
    a, rows = standin.zeros(3), standin.asarray(np.array([0, 2, 0]))
    standin.add.at(a, rows, standin.asarray(np.array([1.0, 2, 4])))
    assert a.get().tolist() == [5, 0, 2]
    with pytest.raises(TypeError, match="only supports"):
        standin.add.at(standin.zeros(3, "int64"), rows, 1)


def test_it_is_there_for_one_test(standin):
    import cupy
    from cupyx.scipy.special import erf

    assert cupy is standin
    np.testing.assert_allclose(erf(standin.asarray(np.array([0.5]))).get(), [0.5204998778130465])


def test_it_is_gone_after_the_test():
    assert getattr(sys.modules.get("cupy"), "__name__", None) != "cupy_standin"


# --- CUDA C on the CPU ------------------------------------------------------------------------------------

runs_kernels = pytest.mark.skipif(bool(on_cpu.missing()), reason=on_cpu.missing())

TOTAL = """
extern "C" __global__ void __launch_bounds__(256) total(const float* x, float* out, int n, bool waits) {
    extern __shared__ __align__(16) unsigned char memory[];
    float* sums = reinterpret_cast<float*>(memory);
    const int me = threadIdx.x;
    float sum = 0;
    for (int i = me; i < n; i += blockDim.x) sum += x[i];
    sums[me] = sum;
    for (int half = blockDim.x / 2; half > 0; half /= 2) {
        if (waits) __syncthreads();
        if (me < half) sums[me] += sums[me + half];
    }
    if (me == 0) out[blockIdx.x] = sums[0];
}
"""


def launch(standin, body, *args, parameters="float* x", block=32, **settings):
    """Launch one block of a kernel with this body."""
    code = f'extern "C" __global__ void kernel({parameters}) {{\n{body}\n}}'
    standin.RawModule(code=code).get_function("kernel")((1,), (block,), args, **settings)


@runs_kernels
def test_a_kernel_computes(standin):
    x, out = standin.asarray(np.arange(1000, dtype="float32")), standin.empty(3, "float32")
    total = standin.RawKernel(TOTAL, "total")
    with standin.no_host_copies():
        total((3,), (64,), (x, out, np.int32(1000), True), shared_mem=256)
    assert out.get().tolist() == [499500.0] * 3
    total((1,), (64,), (x[100:], out[1:2], np.int32(2), True), shared_mem=256)  # views: where they begin
    assert out.get().tolist() == [499500.0, 201.0, 499500.0]
    assert total.max_threads_per_block == 256


@runs_kernels
def test_a_missing_barrier_is_found(standin):
    x, out = standin.ones(64, "float32"), standin.empty(1, "float32")
    standin.RawKernel(TOTAL, "total")((1,), (64,), (x, out, np.int32(64), False), shared_mem=256)
    assert out.get()[0] != 64


@runs_kernels
def test_a_barrier_that_some_do_not_reach_is_found(standin):
    x = standin.ones(64, "float32")
    for body in (
        "if (threadIdx.x) __syncthreads();",
        "if (threadIdx.x)\n__syncthreads();\nelse\n__syncthreads();",
    ):
        with pytest.raises(RuntimeError, match="same __syncthreads"):
            launch(standin, body, x)


@runs_kernels
@pytest.mark.parametrize("at", ["n", "-1", "n + 100"])
def test_a_write_out_of_bounds_is_found(standin, at):
    x, n = standin.ones(64, "float32"), np.int32(64)
    with pytest.raises(RuntimeError, match=r"outside of an argument, an array of \(64,\) float32"):
        launch(standin, f"x[{at}] = 5;", x, n, parameters="float* x, int n")
    with pytest.raises(RuntimeError, match="outside of its 256 bytes of shared memory"):
        launch(
            standin, f"extern __shared__ float s[];\ns[{at}] = x[0];", x, n,
            parameters="float* x, int n", shared_mem=256,
        )  # fmt: skip


@runs_kernels
def test_what_is_read_before_it_is_written_is_no_number(standin):
    for body in (
        "x[threadIdx.x] = x[32 + threadIdx.x];",
        "x[threadIdx.x] = x[(int)threadIdx.x - 32];",
        "__shared__ float s[32];\nx[threadIdx.x] = s[threadIdx.x];\n__syncthreads();\ns[threadIdx.x] = 1;",
        "extern __shared__ float s[];\nx[threadIdx.x] = s[threadIdx.x];",
    ):
        x = standin.ones(32, "float32")
        for _ in range(2):  # shared memory does not outlive a block
            launch(standin, body, x, shared_mem=128)
        assert np.isnan(x.get()).all()


@runs_kernels
@pytest.mark.parametrize(
    ("body", "found"),
    [
        ("float a[4] = {};\nx[0] = a[threadIdx.x];", "an index outside of its array, at line 3"),
        ("__shared__ float a[4];\na[threadIdx.x] = 0;", "an index outside of its array, at line 3"),
        ("*reinterpret_cast<double*>(x + 1) = 0;", "not aligned, at line 2"),
        ("int n = 2147483647;\nx[0] = n + (int)blockDim.x;", "overflows"),
        ("x[0] = 1 / (int)(blockDim.x - 32);", "divided by zero"),
        ("float* y = x - (x - (float*)0);\ny[0] = 1;", "null pointer"),
    ],
)
def test_what_the_compiler_checks_is_found(standin, body, found):
    with pytest.raises(RuntimeError, match=found):
        launch(standin, body, standin.ones(32, "float32"))


@runs_kernels
def test_arguments_have_to_fit(standin):
    x = standin.ones((8, 8), "float32")
    with pytest.raises(ValueError, match="argument 0: expected an array without gaps"):
        launch(standin, "", x.T)
    with pytest.raises(TypeError, match="argument 0: expected an array of f4, found float64"):
        launch(standin, "", x.astype("float64"))
    with pytest.raises(TypeError, match="expected a number of i4, found int64"):
        launch(standin, "", 3, parameters="int n")
    with pytest.raises(TypeError, match="expected a number of f4, found float64"):
        launch(standin, "", np.float64(3), parameters="float n")
    with pytest.raises(TypeError, match="argument 0: Unsupported type"):
        launch(standin, "", np.ones(3, "float32"))
    with pytest.raises(TypeError, match="expected 1 arguments, found 2"):
        launch(standin, "", x, x)
    launch(standin, "x[0] = !y;", x, np.uint64(0), parameters="float* x, const double* y")
    assert x.get()[0, 0] == 1


@runs_kernels
def test_launches_have_to_fit(standin):
    x = standin.ones(4, "float32")
    for grid, block in (((0,), (32,)), ((1,), (2048,)), ((1, 70000), (32,)), ((1,), (1, 1, 65))):
        with pytest.raises(RuntimeError, match="CUDA_ERROR_INVALID_VALUE"):
            standin.RawKernel('extern "C" __global__ void f() {}', "f")(grid, block, ())
    with pytest.raises(RuntimeError, match="512 threads in a block, at most 256"):
        standin.RawKernel(TOTAL, "total")((1,), (512,), (x, x, np.int32(4), True))
    kernel = standin.RawKernel('extern "C" __global__ void f() {}', "f")
    with pytest.raises(RuntimeError, match="65536 bytes of shared memory, at most 49152"):
        kernel((1,), (32,), (), shared_mem=65536)
    kernel.max_dynamic_shared_size_bytes = 65536
    kernel((1,), (32,), (), shared_mem=65536)
    with pytest.raises(RuntimeError, match="at most 232448"):
        kernel.max_dynamic_shared_size_bytes = 300000
    standin.device_properties.update(sharedMemPerBlockOptin=65536)
    with pytest.raises(RuntimeError, match="at most 65536"):
        kernel.max_dynamic_shared_size_bytes = 100000


@runs_kernels
def test_a_wrong_source_says_where(standin):
    with pytest.raises(standin.cuda.compiler.CompileException, match="kernel:2"):
        launch(standin, "nonsense;", standin.ones(1, "float32"))
    with pytest.raises(RuntimeError, match="named symbol not found: other"):
        standin.RawModule(code='extern "C" __global__ void f() {}').get_function("other")


def test_without_a_compiler_tests_are_skipped(standin, monkeypatch):
    monkeypatch.setattr(on_cpu, "_compiler", lambda: None)
    with pytest.raises(pytest.skip.Exception, match="running CUDA C on the CPU needs"):
        launch(standin, "x[0] = 17;", standin.ones(1, "float32"))


@runs_kernels
def test_the_header_has_no_warnings():
    compiler = on_cpu._compiler()
    command = [compiler, "-std=c++17", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-x", "c++"]
    done = subprocess.run([*command, str(on_cpu.HEADER)], capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr


# --- the device -------------------------------------------------------------------------------------------


def test_the_device_is_what_a_test_says(standin):
    cuda = standin.cuda
    assert cuda.runtime.getDeviceCount() == 1
    assert cuda.Device().compute_capability == "90"
    assert cuda.Device().attributes["MaxSharedMemoryPerBlockOptin"] == 227 * 1024
    standin.device_properties.update(major=7, minor=0)
    assert cuda.Device(0).compute_capability == "70"
    assert cuda.runtime.getDeviceProperties(0)["major"] == 7
    standin.device_count = 0
    for ask in (cuda.runtime.getDeviceCount, lambda: cuda.Device().compute_capability):
        with pytest.raises(cuda.runtime.CUDARuntimeError, match="cudaErrorNoDevice"):
            ask()
    assert not standin.is_available()


# --- streams and graphs -----------------------------------------------------------------------------------


@runs_kernels
def test_a_graph_runs_what_was_recorded(standin):
    a, b, total = standin.ones(4), standin.zeros((2, 4)), standin.empty(())
    twice = standin.RawKernel('extern "C" __global__ void twice(double* x) { x[threadIdx.x] *= 2; }', "twice")
    stream = standin.cuda.Stream(non_blocking=True)
    before = standin.copies.launches
    with stream:
        assert standin.cuda.get_current_stream() is stream
        stream.begin_capture()
        twice((1,), (4,), (a,))
        b[1] = a
        standin.add(b[0], a, out=b[0])
        b *= 10.0
        standin.sum(b, out=total)
        standin.copyto(a, b[1])
        graph = stream.end_capture()
    assert standin.copies.launches == before
    assert a.get().tolist() == [1] * 4
    for expected in (160.0, 3360.0):  # 2 * 10 + 2 * 10, then 40 * 10 + (20 + 40) * 10, minus rounding: none
        graph.launch(stream)
        np.testing.assert_allclose(total.get(), reference(expected))
    assert standin.copies.launches == before + 2


def reference(expected):
    """Return the sum that the graph finds in its first and second run, as NumPy computes it."""
    a, b = np.ones(4), np.zeros((2, 4))
    while True:
        a *= 2
        b[1] = a
        b[0] += a
        b *= 10
        a[...] = b[1]
        if b.sum() >= expected:
            return b.sum()


def test_what_cannot_be_recorded_raises(standin):
    a, host = standin.ones(4), np.ones(4)
    stream = standin.cuda.Stream(non_blocking=True)
    for work in (
        lambda: a + 1,
        lambda: standin.empty(3),
        lambda: a.sum(),
        lambda: a.get(),
        lambda: float(a[0]),
        lambda: standin.asarray(host),
        lambda: a[a > 0],
        lambda: stream.synchronize(),
    ):
        with stream:
            stream.begin_capture()
            with pytest.raises(
                standin.cuda.runtime.CUDARuntimeError, match="cudaErrorStreamCaptureUnsupported"
            ):
                work()
            stream.end_capture()
    with pytest.raises(standin.cuda.runtime.CUDARuntimeError, match="default stream"):
        standin.cuda.get_current_stream().begin_capture()
    a += 1  # not into the stream: at once
    assert a.get().tolist() == [2] * 4


def test_a_graph_does_not_keep_memory(standin):
    a, b = standin.ones(4), standin.ones(4)
    with standin.cuda.Stream() as stream:
        stream.begin_capture()
        a += b[:1]
        graph = stream.end_capture()
    graph.launch()
    assert a.get().tolist() == [2] * 4
    del b
    with pytest.raises(RuntimeError, match="memory that was freed"):
        graph.launch()


def test_waiting_for_the_device_is_counted(standin):
    event = standin.cuda.Event()
    event.record()
    later = standin.cuda.get_current_stream().record()
    assert standin.cuda.get_elapsed_time(event, later) >= 0
    for wait in (event.synchronize, standin.cuda.Device().synchronize, standin.cuda.Stream.null.synchronize):
        with standin.no_host_copies(), pytest.raises(standin.HostCopyError):
            wait()
