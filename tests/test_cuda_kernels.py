"""The kernels of the GPU beside the recurrent ones: by value, against what defines them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinyrnn import activations, backend, losses, ops, optimizers
from tinyrnn.autograd import Tensor, grad
from tinyrnn.cuda import random
from tinyrnn.cuda.clipping import clip_norms
from tinyrnn.cuda.module import Kernel, read_source, source
from tinyrnn.optimizers.compiled_gpu import DeviceUpdate

FLOATS = ["float32", "float64"]
TOLERANCE = {"float32": {"rtol": 1e-5, "atol": 1e-6}, "float64": {"rtol": 1e-11, "atol": 1e-12}}

RULES = {
    "SGD": {},
    "momentum": {"class": "SGD", "momentum": 0.9},
    "Nesterov": {"class": "SGD", "momentum": 0.9, "nesterov": True},
    "RMSprop": {},
    "centered": {"class": "RMSprop", "centered": True, "momentum": 0.5},
    "Adam": {},
    "AMSGrad": {"class": "Adam", "amsgrad": True},
    "AdamW": {},
    "Nadam": {},
    "Adagrad": {},
    "Adadelta": {},
    "Adamax": {},
    "Lion": {},
}


def make_optimizer(name, **options):
    settings = {**RULES[name], "learning_rate": 0.05, **options}
    return getattr(optimizers, settings.pop("class", name))(**settings)


def fetched(x):
    return backend.to_host(ops.to_array(x))


@pytest.fixture
def gpu(device_library):
    """The library of the device, which is the current one."""
    backend.set_device("gpu")
    yield device_library
    backend.set_device("cpu")


# --- random numbers ---------------------------------------------------------------------------------------


def test_philox_is_the_published_one(gpu):
    """The vectors of the authors' implementation, of counter and key."""
    test = """
    extern "C" __global__ void words(unsigned* out, unsigned long long counter, unsigned long long seed) {
        const Words found = philox(counter, seed);
        for (int i = 0; i < 4; ++i) out[i] = found.w[i];
    }
    """
    philox = read_source(Path(random.__file__).with_name("random.cu"))
    kernel = Kernel(source("float32", philox, test), "words")
    for counter, seed, expected in [
        (0, 0, "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        # the same rounds, computed one by one in Python's integers
        (2**64 - 1, 0x299F31D0A4093822, None),
    ]:
        out = gpu.zeros(4, "uint32")
        kernel(1, 1, out, np.uint64(counter), np.uint64(seed))
        found = [int(word) for word in fetched(out)]
        assert found == philox_in_python([counter & 0xFFFFFFFF, counter >> 32, 0, 0], seed)
        if expected:
            assert " ".join(f"{word:08x}" for word in found) == expected
    ones = philox_in_python([0xFFFFFFFF] * 4, 2**64 - 1)
    assert " ".join(f"{word:08x}" for word in ones) == "408f276d 41c83b0e a20bc7c6 6d5451fd"


def philox_in_python(c, seed):
    k = [seed & 0xFFFFFFFF, seed >> 32]
    for _ in range(10):
        (high0, low0), (high1, low1) = divmod(0xD2511F53 * c[0], 2**32), divmod(0xCD9E8D57 * c[2], 2**32)
        c = [high1 ^ c[1] ^ k[0], low1, high0 ^ c[3] ^ k[1], low0]
        k = [(k[0] + 0x9E3779B9) % 2**32, (k[1] + 0xBB67AE85) % 2**32]
    return c


@pytest.mark.parametrize("dtype", FLOATS)
def test_uniform_numbers(gpu, dtype):
    x = fetched(random.uniform((3, 5001), 7, dtype))
    assert x.dtype == dtype
    assert x.min() >= 0
    assert x.max() < 1
    assert len(np.unique(x)) > 0.99 * x.size
    np.testing.assert_allclose([x.mean(), x.var()], [1 / 2, 1 / 12], atol=0.01)
    assert abs(np.corrcoef(x.ravel()[:-1], x.ravel()[1:])[0, 1]) < 0.03
    words = [philox_in_python([i, 0, 0, 0], 7) for i in range(2)]
    if dtype == "float32":
        expected = np.array(words[0] + words[1], "uint32") // 2**8 / 2**24
    else:
        expected = [((a << 32 | b) >> 11) / 2**53 for w in words for a, b in (w[:2], w[2:])]
    np.testing.assert_array_equal(x.ravel()[: len(expected)], expected)


@pytest.mark.parametrize("dtype", FLOATS)
def test_normal_numbers(gpu, dtype):
    x = fetched(random.normal((4999,), 3.0, 2**62 + 1, dtype)).astype("float64") / 3
    assert np.isfinite(x).all()
    np.testing.assert_allclose([np.mean(x**k) for k in (1, 2, 3, 4)], [0, 1, 0, 3], atol=0.25)
    assert abs(np.corrcoef(x[:-1], x[1:])[0, 1]) < 0.05


@pytest.mark.parametrize("rate", [0.0, 0.3, 0.5, 1.0])
def test_keep_factors(gpu, rate):
    x, wide = (fetched(random.keep_factors((50, 101), rate, 11, dtype)) for dtype in FLOATS)
    np.testing.assert_array_equal(x == 0, wide == 0)
    np.testing.assert_allclose(np.mean(x == 0), rate, atol=0.02)
    np.testing.assert_allclose(wide[wide != 0], 1 / (1 - min(rate, 0.999)), rtol=1e-15)
    other = fetched(random.keep_factors((50, 101), rate, 12, "float32"))
    assert rate in (0, 1) or (x != other).any()


def test_random_numbers_are_one_launch_and_depend_on_the_place_alone(gpu):
    before = gpu.copies.launches if hasattr(gpu, "copies") else None
    long = random.uniform((3000,), 5, "float32")
    if before is not None:
        assert gpu.copies.launches == before + 1
    np.testing.assert_array_equal(fetched(random.uniform((7,), 5, "float32")), fetched(long)[:7])
    assert random.uniform((0, 3), 5, "float32").shape == (0, 3)


# --- adding up rows ---------------------------------------------------------------------------------------


def sums(rows, ids, length):
    found = np.zeros((length, *rows.shape[ids.ndim :]))
    np.add.at(found, ids, rows)
    return found


CASES = {  # ids: shape, which; length; shape of a row
    "spread": ((40, 30), "any", 50, (7,)),
    "one id": ((1500,), "one", 9, (3,)),
    "mostly one id": ((70, 9), "mostly one", 30, (130,)),
    "runs that end with a chunk": ((128,), "chunks", 40, (2,)),
    "fewer than a chunk": ((2, 3), "any", 4, (5, 2)),
    "numbers": ((333,), "any", 400, ()),
    "none": ((0, 4), "any", 3, (2,)),
    "nothing in a row": ((4,), "any", 3, (0,)),
    "a number as id": ((), "any", 3, (4,)),
}


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", CASES)
def test_scatter_add(gpu, name, dtype):
    shape, which, length, row = CASES[name]
    rng = np.random.default_rng(1)
    ids = rng.integers(-length, length, shape)
    if which == "chunks":
        ids = np.repeat(np.arange(128 // 32), 32) - 1
    elif which != "any":
        ids = np.where(rng.random(shape) < {"one": 1.0, "mostly one": 0.8}[which], length - 1, ids)
    rows = rng.standard_normal((*ids.shape, *row)).astype(dtype)
    for id_type in ("int64", "int32") if dtype == "float32" else ("int64", "int16"):
        given = ids.astype(id_type)
        found = ops.scatter_add(gpu.asarray(rows), gpu.asarray(given), length=length)
        assert found.dtype == dtype
        np.testing.assert_allclose(fetched(found), sums(rows, ids, length), **TOLERANCE[dtype])
        again = ops.scatter_add(gpu.asarray(rows), gpu.asarray(given), length=length)
        assert fetched(again).tobytes() == fetched(found).tobytes()


def test_scatter_add_of_rows_with_gaps(gpu):
    rows, ids = np.arange(60.0).reshape(10, 6)[:, ::2], np.arange(20)[::2] % 4
    there = gpu.asarray(np.arange(60.0).reshape(10, 6))[:, ::2], gpu.asarray(np.arange(20))[::2] % 4
    np.testing.assert_array_equal(fetched(ops.scatter_add(*there, length=4)), sums(rows, ids, 4))


@pytest.mark.parametrize("chunk_count", [2, 45])
def test_long_runs_over_many_chunks(gpu, chunk_count):
    """Runs that begin within a chunk and go on through several, beside runs of one."""
    n = 32 * chunk_count + 5
    ids = np.sort(np.where(np.arange(n) % 7 == 0, np.arange(n), n // 3 // 50 * 50))
    ids = np.random.default_rng(0).permutation(ids)
    rows = np.random.default_rng(1).standard_normal((n, 3))
    found = ops.scatter_add(gpu.asarray(rows), gpu.asarray(ids), length=n)
    np.testing.assert_allclose(fetched(found), sums(rows, ids, n), rtol=1e-11, atol=1e-12)


PUT = {
    "integers": ([0, 2, 2, -1],),
    "two axes": ([0, 2, 2], [1, 1, 1]),
    "integers and a slice": (slice(1, 3), [1, 1, 0]),
    "a mask": ([True, False, True, True],),
    "a mask and a number": ([True, False, True, True], 2),
}


@pytest.mark.parametrize("name", PUT)
def test_put(gpu, name):
    x, g = np.arange(12.0).reshape(4, 3), np.random.default_rng(0)
    index = tuple(np.array(i) if isinstance(i, list) else i for i in PUT[name])
    there = tuple(gpu.asarray(i) if isinstance(i, np.ndarray) else i for i in index)
    values = g.standard_normal(x[index].shape)
    expected = ops.put(values, index=index, shape=x.shape)
    found = ops.put(gpu.asarray(values), index=there, shape=x.shape)
    np.testing.assert_allclose(fetched(found), expected, rtol=1e-14)


# --- the update of the weights ----------------------------------------------------------------------------


@dataclass(eq=False)
class Variable:
    data: Any
    name: str
    path: str
    constraint: Any = None


SHAPES = [(3, 5), (), (1,), (1500,), (2, 257)]


def train(xp, optimizer, dtype, shapes, steps=4, missing=False):
    """Make steps with gradients that do not depend on the library; return the weights and the state."""
    rng = np.random.default_rng(5)
    arrays = [xp.asarray(rng.standard_normal(shape).astype(dtype)) for shape in shapes]
    variables = [Variable(a, f"w{i}", f"layer/w{i}") for i, a in enumerate(arrays)]
    optimizer.build(variables)
    for _ in range(steps):
        gradients = [xp.asarray(rng.standard_normal(shape).astype(dtype)) for shape in shapes]
        if missing:
            gradients[2] = None
        optimizer.apply(gradients, variables)
    return arrays + [slot.data for slot in optimizer.variables]


def expected_of(monkeypatch, *args, **options):
    """The same on the host, by the plain rule."""
    with monkeypatch.context() as patch:
        patch.setattr(optimizers.Optimizer, "_compiled", lambda *args: None)
        backend.set_device("cpu")
        found = train(np, *args, **options)
    backend.set_device("gpu")
    return found


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", RULES)
def test_update(gpu, monkeypatch, name, dtype):
    for options in ({}, {"weight_decay": 0.1, "clipvalue": 0.5}):
        expected = expected_of(monkeypatch, make_optimizer(name, **options), dtype, SHAPES)
        optimizer = make_optimizer(name, **options)
        found = train(gpu, optimizer, dtype, SHAPES)
        assert isinstance(optimizer._update_compiled[1], DeviceUpdate)
        tolerance = {"float32": {"rtol": 2e-4, "atol": 2e-6}, "float64": {"rtol": 1e-12}}[dtype]
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(fetched(a), b, **tolerance)


@pytest.mark.filterwarnings("ignore:.*no gradient for")
@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        {"clipnorm": 1.0}, {"global_clipnorm": 2.0}, {"clipvalue": 0.1},
        {"loss_scale_factor": 8.0, "gradient_accumulation_steps": 2}, {"use_ema": True},
    ],
)  # fmt: skip
def test_what_is_done_to_gradients(gpu, monkeypatch, options, missing):
    expected = expected_of(monkeypatch, make_optimizer("Adam", **options), "float64", SHAPES, missing=missing)
    found = train(gpu, make_optimizer("Adam", **options), "float64", SHAPES, missing=missing)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(fetched(a), b, rtol=1e-12)


def test_more_weights_than_fit_into_a_launch(gpu, monkeypatch):
    shapes = [(i % 5 + 1,) for i in range(37)]
    expected = expected_of(monkeypatch, make_optimizer("Adam"), "float64", shapes)
    for a, b in zip(train(gpu, make_optimizer("Adam"), "float64", shapes), expected, strict=True):
        np.testing.assert_allclose(fetched(a), b, rtol=1e-12)


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("dtype", FLOATS)
def test_norms_are_clipped(gpu, dtype, together):
    """Of parts small and large, more than fit into a launch, with gaps between them."""
    rng = np.random.default_rng(0)
    sizes = [1, 5, 300, 40000, *range(2, 30, 2)]
    stops = np.cumsum(sizes) + np.arange(len(sizes))
    flat = rng.standard_normal(stops[-1] + 1).astype(dtype)
    spans = [slice(int(b - n), int(b)) for n, b in zip(sizes, stops, strict=True)]
    norms = np.array([np.linalg.norm(flat[s].astype("float64")) for s in spans])
    norms = np.full(len(spans), np.linalg.norm(norms)) if together else norms
    expected = flat.astype("float64")
    for span, norm in zip(spans, norms, strict=True):
        expected[span] *= 3.0 / max(norm, 3.0)
    found = gpu.asarray(flat)
    clip_norms(found, spans, 3.0, together)
    np.testing.assert_allclose(fetched(found), expected, rtol=TOLERANCE[dtype]["rtol"])
    flat[spans[2]][1] = np.inf
    found = gpu.asarray(flat)
    clip_norms(found, spans, 3.0, together)
    is_nan = np.isnan(fetched(found))
    for i, span in enumerate(spans):
        assert is_nan[span].all() == together
        assert is_nan[span].any() == (together or i == 2)


def test_an_update_is_one_launch_and_fetches_nothing(standin):
    optimizer = make_optimizer("Adam")
    variables = [Variable(standin.zeros(shape), "w", "w") for shape in SHAPES]
    gradients = [standin.ones(shape) for shape in SHAPES]
    for options, most in (
        ({}, 1),
        ({"global_clipnorm": 1.0}, 4),
        ({"clipnorm": 1.0}, 4),
        ({"clipvalue": 1.0}, 3),
    ):
        optimizer = make_optimizer("Adam", **options)
        optimizer.apply(gradients, variables)
        standin.copies.reset()
        with standin.no_host_copies():
            optimizer.apply(gradients, variables)
        assert standin.copies.launches <= most, options
        assert standin.copies.to_device == 0


def test_weights_with_gaps(gpu):
    whole = gpu.zeros((4, 6))
    optimizers.SGD(1.0).apply([gpu.ones((4, 3))], [Variable(whole[:, ::2], "w", "w")])
    np.testing.assert_array_equal(fetched(whole), [[-1, 0] * 3] * 4)


class Centered(optimizers.SGD):
    """A rule that is not elementwise."""

    def update(self, g, lr, **slots):
        return lr * (g - ops.mean(g)), {}


def test_a_rule_that_is_not_elementwise(gpu, monkeypatch):
    expected = expected_of(monkeypatch, Centered(0.1), "float64", SHAPES)
    for a, b in zip(train(gpu, Centered(0.1), "float64", SHAPES), expected, strict=True):
        np.testing.assert_allclose(fetched(a), b, rtol=1e-12)


# --- functions of rows ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", ["sigmoid", "tanh", "relu"])
def test_functions_of_one_launch(gpu, name, dtype):
    """Values and gradients are those of the host, to the ends of the type."""
    x = np.array([-1e30, -90.0, -3.0, -1e-20, -0.0, 0.0, 1e-20, 0.5, 3.0, 90.0, np.inf, np.nan], dtype)
    x = np.concatenate([x, np.linspace(-9, 9, 1200, dtype=dtype)]).reshape(2, 2, -1)
    op, seed = getattr(ops, name), np.linspace(1, 2, x.size, dtype=dtype).reshape(x.shape)
    backend.set_device("cpu")
    host = Tensor(x, requires_grad=True)
    expected = op(host)
    expected_gradient = grad(expected, [host], seed)[0]
    backend.set_device("gpu")
    there = Tensor(gpu.asarray(x), requires_grad=True)
    found = op(there)
    found.backward(gpu.asarray(seed))
    tolerance = {"float32": 3e-6, "float64": 1e-14}[dtype]
    np.testing.assert_allclose(fetched(found), fetched(expected), rtol=tolerance, atol=0)
    np.testing.assert_allclose(fetched(there.grad), fetched(expected_gradient), rtol=tolerance, atol=1e-12)


ACTIVATIONS = {name: f for name, f in vars(activations).items() if hasattr(f, "__wrapped__")}
SETTINGS = {
    "threshold": [{"threshold": 0.3, "default_value": -0.5}],
    "relu": [{}, {"negative_slope": 0.1, "max_value": 2.0, "threshold": 0.5}],
    "leaky_relu": [{}, {"negative_slope": 0.4}],
    "gelu": [{}, {"approximate": True}],
    "elu": [{"alpha": 0.5}],
    "celu": [{"alpha": 1.5}],
    "squareplus": [{"b": 2}],
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(gpu, name):
    """Values and gradients are those of the host, in one launch each."""
    x = np.linspace(-4, 4, 601).reshape(1, -1)
    for settings in SETTINGS.get(name, [{}]):
        backend.set_device("cpu")
        host = Tensor(x, requires_grad=True)
        expected = ACTIVATIONS[name](host, **settings)
        gradient = grad(expected, [host], x + 5)[0]
        backend.set_device("gpu")
        there, seed = Tensor(gpu.asarray(x), requires_grad=True), gpu.asarray(x + 5)
        before = getattr(gpu, "copies", None) and gpu.copies.launches
        found = ACTIVATIONS[name](there, **settings)
        found.backward(seed)
        if before is not None:
            assert gpu.copies.launches == before + 2
        np.testing.assert_allclose(fetched(found), fetched(expected), rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(fetched(there.grad), fetched(gradient), rtol=1e-12, atol=1e-15)


WIDTHS = [1, 2, 5, 32, 257, 600]  # below, at and above what the threads of a row are


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("width", WIDTHS)
def test_softmax(gpu, width, dtype):
    rng = np.random.default_rng(0)
    x, g = (rng.standard_normal((3, 7, width)).astype(dtype) * 5 for _ in range(2))
    e = np.exp((x - x.max(axis=-1, keepdims=True)).astype("float64"))
    expected = e / e.sum(axis=-1, keepdims=True)
    there = Tensor(gpu.asarray(x), requires_grad=True)
    found = ops.softmax(there)
    np.testing.assert_allclose(fetched(found), expected, **TOLERANCE[dtype])
    (d,) = grad(found, [there], gpu.asarray(g))
    gradient = expected * (g - (g * expected).sum(axis=-1, keepdims=True))
    np.testing.assert_allclose(fetched(d), gradient, rtol=10 * TOLERANCE[dtype]["rtol"], atol=3e-6)


def test_softmax_of_what_is_no_number(gpu):
    x = np.array([[0.0, np.nan, 1.0], [-np.inf, 0.0, 0.0]])
    found = fetched(ops.softmax(gpu.asarray(x)))
    np.testing.assert_array_equal(found, [[np.nan] * 3, [0.0, 0.5, 0.5]])


LOSSES = {
    "mean_squared_error": ("any", [{}]),
    "mean_absolute_error": ("any", [{}]),
    "mean_absolute_percentage_error": ("any", [{}]),
    "mean_squared_logarithmic_error": ("positive", [{}]),
    "huber": ("any", [{}, {"delta": 0.3}]),
    "log_cosh": ("any", [{}]),
    "cosine_similarity": ("any", [{}]),
    "poisson": ("positive", [{}]),
    "binary_crossentropy": (
        "probabilities",
        [{}, {"label_smoothing": 0.2}, {"from_logits": True, "label_smoothing": 0.1}, {"axis": 1}],
    ),
    "categorical_crossentropy": (
        "probabilities",
        [{}, {"label_smoothing": 0.2}, {"from_logits": True}, {"from_logits": True, "axis": 1}],
    ),
    "sparse_categorical_crossentropy": (
        "classes",
        [{}, {"from_logits": True}, {"ignore_class": 1}, {"ignore_class": -5, "from_logits": True}],
    ),
    "kl_divergence": ("probabilities", [{}]),
    "hinge": ("signs", [{}]),
    "squared_hinge": ("signs", [{}]),
    "categorical_hinge": ("any", [{}]),
}


def labels_and_predictions(name, shape, dtype):
    rng = np.random.default_rng(3)
    kind = LOSSES[name][0]
    if kind == "any":
        y, p = rng.standard_normal(shape), rng.standard_normal(shape)
    elif kind == "signs":
        y, p = rng.choice([-1.0, 1.0], shape), rng.standard_normal(shape)
    elif kind == "positive":
        y, p = rng.random(shape) + 0.1, rng.random(shape) + 0.1
    else:
        y, p = rng.random(shape), rng.random(shape)
        p.reshape(-1)[:: max(3, p.size // 7)] = 0.0  # where it is kept from the logarithm
        p[..., 0] += 0.1
    if kind == "classes":
        y = rng.integers(0, shape[-1], shape[:-1])
        y.reshape(-1)[::4] = {1: 0}.get(shape[-1], 1)
        return y, p.astype(dtype)
    return y.astype(dtype), p.astype(dtype)


def values_and_gradients(loss, y, p, seed, options, labels_too):
    p = Tensor(p, requires_grad=True)
    inputs = [p]
    if labels_too:
        y = Tensor(y, requires_grad=True)
        inputs.append(y)
    values = loss(y, p, **options)
    return [values, *grad(values, inputs, seed)]


def test_every_loss_is_tried():
    assert set(LOSSES) == set(losses.FUNCTIONS)


@pytest.mark.filterwarnings("ignore:categorical_crossentropy.*one class")
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", LOSSES)
def test_losses(gpu, name, dtype):
    """Values and gradients are those of the host."""
    loss, shapes = losses.FUNCTIONS[name], [(5, 3, 4), (9, 1), (2, 300), (3, 2, 46)]
    tolerance = {"float32": {"rtol": 1e-4, "atol": 1e-5}, "float64": {"rtol": 1e-9, "atol": 1e-12}}[dtype]
    for options in LOSSES[name][1]:
        for shape in shapes if not options else shapes[::3]:
            y, p = labels_and_predictions(name, shape, dtype)
            out_shape = np.delete(shape, options.get("axis", -1))
            seed = np.random.default_rng(1).standard_normal(out_shape).astype(dtype)
            labels_too = LOSSES[name][0] in ("any", "probabilities") and dtype == "float64"
            backend.set_device("cpu")
            expected = values_and_gradients(loss, y, p, seed, options, labels_too)
            backend.set_device("gpu")
            there = [gpu.asarray(x) for x in (y, p, seed)]
            found = values_and_gradients(loss, *there, options, labels_too)
            for a, b in zip(found, expected, strict=True):
                assert a.dtype == dtype
                np.testing.assert_allclose(fetched(a), fetched(b), **tolerance, err_msg=f"{options} {shape}")


@pytest.mark.parametrize("name", sorted(set(LOSSES) - {"hinge", "mean_absolute_error"}))
def test_losses_have_gradients_of_second_order(gpu, name):
    for options in LOSSES[name][1]:
        y, p = labels_and_predictions(name, (3, 4), "float64")
        direction = np.random.default_rng(2).standard_normal(p.shape)

        def second(y, p, direction, options=options):
            p = Tensor(p, requires_grad=True)
            values = losses.FUNCTIONS[name](y, p, **options)
            first = grad(ops.sum(values * values), [p], create_graph=True)[0]
            return grad(ops.sum(first * direction), [p])[0]

        backend.set_device("cpu")
        expected = second(y, p, direction)
        backend.set_device("gpu")
        found = second(*(gpu.asarray(x) for x in (y, p, direction)))
        np.testing.assert_allclose(fetched(found), fetched(expected), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("ignore_class", [None, 0, -5])
@pytest.mark.parametrize("label", [-1, 4])
def test_a_label_that_is_no_class_is_told_when_something_is_fetched(gpu, label, ignore_class):
    labels = gpu.asarray(np.array([[0, 1, 3], [2, label, label]]))
    loss = losses.SparseCategoricalCrossentropy(ignore_class=ignore_class)
    value = loss(labels, gpu.ones((2, 3, 4)))
    with pytest.raises(ValueError, match=rf"expected labels in 0 \.\.\. 3, found {label} at \(1, 1\)"):
        fetched(value)
    fetched(value)  # it is told once


def test_labels_may_be_whole_floats_and_have_a_last_axis(gpu):
    scores = gpu.asarray(np.random.default_rng(0).random((2, 3, 4)))
    labels, expected = np.array([[0, 1, 3], [2, 2, 1]]), None
    for y in (labels, labels.astype("float32"), labels[..., None], labels.astype("int8")):
        found = fetched(losses.sparse_categorical_crossentropy(gpu.asarray(y), scores))
        expected = found if expected is None else expected
        np.testing.assert_array_equal(found, expected)
    wrong = losses.sparse_categorical_crossentropy(gpu.asarray([0.0, 1.5]), gpu.ones((2, 3)))
    with pytest.raises(ValueError, match=r"expected whole numbers as labels, found 1\.5"):
        fetched(wrong)


LAUNCHES = {  # forward and back, of a mean over a batch
    "mean_squared_error": 6, "huber": 6, "binary_crossentropy": 6, "categorical_crossentropy": 7,
    "sparse_categorical_crossentropy": 8,
}  # fmt: skip


@pytest.mark.parametrize("name", LAUNCHES)
def test_losses_are_few_launches(standin, name):
    backend.set_device("gpu")
    try:
        y, p = labels_and_predictions(name, (8, 5), "float32")
        y, p = standin.asarray(y), Tensor(standin.asarray(p), requires_grad=True)
        loss = losses.get(name)
        loss(y, p).backward()
        p.grad = None
        standin.copies.reset()
        with standin.no_host_copies():
            loss(y, p).backward()
        assert standin.copies.launches <= LAUNCHES[name]
        assert standin.copies.to_device == 0
    finally:
        backend.set_device("cpu")
