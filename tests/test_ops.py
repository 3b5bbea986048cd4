"""Every operation: its values against NumPy, its gradients against differences to second order."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinyrnn import ops
from tinyrnn.autograd import Primitive, Tensor
from tinyrnn.gradcheck import gradcheck

SHAPES = hnp.array_shapes(min_dims=0, max_dims=3, min_side=1, max_side=3)


def numbers(shape, domain, seed):
    """Random numbers of a domain, away from kinks and poles."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(0.2, 1.5, shape)
    signs = rng.choice([-1.0, 1.0], shape)
    return {"real": x * signs, "positive": x, "above -1": x * signs * 0.5}[domain]


UNARY = {
    "negative": ("real", np.negative),
    "exp": ("real", np.exp),
    "expm1": ("real", np.expm1),
    "log": ("positive", np.log),
    "log1p": ("above -1", np.log1p),
    "sqrt": ("positive", np.sqrt),
    "square": ("real", np.square),
    "abs": ("real", np.abs),
    "sin": ("real", np.sin),
    "cos": ("real", np.cos),
    "erf": ("real", np.vectorize(math.erf, otypes=[float])),
    "tanh": ("real", np.tanh),
    "sigmoid": ("real", lambda x: 1 / (1 + np.exp(-x))),
    "relu": ("real", lambda x: np.where(x > 0, x, 0)),
    "softplus": ("real", lambda x: np.log(1 + np.exp(x))),
    "sign": ("real", np.sign),
}


@pytest.mark.parametrize("name", UNARY)
@given(shape=SHAPES, seed=st.integers(0, 99))
def test_unary(name, shape, seed):
    domain, reference = UNARY[name]
    x = numbers(shape, domain, seed)
    op = getattr(ops, name)
    np.testing.assert_allclose(op(x), reference(x), rtol=1e-13)
    gradcheck(op, [x])


BINARY = {
    "add": ("real", np.add),
    "subtract": ("real", np.subtract),
    "multiply": ("real", np.multiply),
    "divide": ("real", np.divide),
    "maximum": ("real", np.maximum),
    "minimum": ("real", np.minimum),
}


@pytest.mark.parametrize("name", BINARY)
@given(
    shapes=hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=3, max_side=3), seed=st.integers(0, 99)
)
def test_binary_broadcasts(name, shapes, seed):
    _, reference = BINARY[name]
    a, b = (numbers(shape, "real", seed + i) for i, shape in enumerate(shapes.input_shapes))
    b = np.where(np.abs(a - b).min() < 0.01, b + 0.03, b) if name in ("maximum", "minimum") else b
    op = getattr(ops, name)
    np.testing.assert_allclose(op(a, b), reference(a, b), rtol=1e-13)
    gradcheck(op, [a, b])


@given(
    shapes=hnp.mutually_broadcastable_shapes(num_shapes=3, max_dims=3, max_side=3), seed=st.integers(0, 99)
)
def test_where_broadcasts(shapes, seed):
    condition, a, b = (numbers(shape, "real", seed + i) for i, shape in enumerate(shapes.input_shapes))
    condition = condition > 0
    np.testing.assert_array_equal(ops.where(condition, a, b), np.where(condition, a, b))
    gradcheck(lambda a, b: ops.where(condition, a * a, b * a * b), [a, b])


@pytest.mark.parametrize("exponent", [0, 1, 2, 3, -1, 0.5])
def test_power(exponent):
    x = numbers((2, 3), "positive", 1)
    np.testing.assert_allclose(Tensor(x) ** exponent, x**exponent)
    gradcheck(lambda x: x**exponent, [x])


def test_power_zero_at_zero_has_gradient_zero():
    x = Tensor([0.0, 1.0], requires_grad=True)
    ops.sum(ops.power(x, exponent=0)).backward()
    assert x.grad.tolist() == [0.0, 0.0]


@given(shape=SHAPES, seed=st.integers(0, 99))
def test_clip(shape, seed):
    x = numbers(shape, "real", seed)
    x = np.where(np.abs(np.abs(x) - 0.7) < 0.01, x + 0.1, x)
    np.testing.assert_array_equal(ops.clip(x, low=-0.7, high=0.7), np.clip(x, -0.7, 0.7))
    gradcheck(lambda x: ops.clip(x, low=-0.7, high=0.7) ** 2, [x])


@st.composite
def shape_and_axis(draw):
    shape = draw(hnp.array_shapes(min_dims=1, max_dims=3, max_side=3))
    axes = st.integers(-len(shape), len(shape) - 1)
    several = st.lists(st.integers(0, len(shape) - 1), min_size=1, unique=True).map(tuple)
    return shape, draw(st.one_of(st.none(), axes, several))


REDUCTIONS = {"sum": np.sum, "mean": np.mean, "max": np.max, "min": np.min, "var": np.var}


@pytest.mark.parametrize("name", [*REDUCTIONS, "norm", "logsumexp"])
@given(case=shape_and_axis(), keepdims=st.booleans(), seed=st.integers(0, 99))
def test_reductions(name, case, keepdims, seed):
    (shape, axis), op = case, getattr(ops, name)
    x = numbers(shape, "real", seed)
    if name == "logsumexp":
        axis = axis if isinstance(axis, int) else -1
        expected = np.log(np.exp(x).sum(axis=axis, keepdims=keepdims))
    elif name == "norm":
        expected = np.sqrt(np.sum(x * x, axis=axis, keepdims=keepdims))
    else:
        expected = REDUCTIONS[name](x, axis=axis, keepdims=keepdims)
    np.testing.assert_allclose(op(x, axis=axis, keepdims=keepdims), expected, rtol=1e-12)
    gradcheck(lambda x: op(x, axis=axis, keepdims=keepdims), [x])


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "cumsum"])
@given(case=shape_and_axis(), seed=st.integers(0, 99))
def test_along_an_axis(name, case, seed):
    shape, axis = case
    axis = axis if isinstance(axis, int) else -1
    x = numbers(shape, "real", seed)
    e = np.exp(x)
    expected = {
        "softmax": lambda: e / e.sum(axis=axis, keepdims=True),
        "log_softmax": lambda: x - np.log(e.sum(axis=axis, keepdims=True)),
        "cumsum": lambda: np.cumsum(x, axis=axis),
    }[name]()
    op = getattr(ops, name)
    np.testing.assert_allclose(op(x, axis=axis), expected, rtol=1e-12, atol=1e-14)
    gradcheck(lambda x: op(x, axis=axis), [x])


MATMUL_SHAPES = [
    ((4,), (4,)),
    ((3, 4), (4,)),
    ((4,), (4, 2)),
    ((3, 4), (4, 2)),
    ((2, 3, 4), (4, 5)),
    ((2, 3, 4), (4,)),
    ((4,), (2, 4, 3)),
    ((2, 3, 4), (2, 4, 5)),
    ((2, 1, 3, 4), (5, 4, 2)),
    ((3, 4), (5, 4, 2)),
    ((1, 3, 4), (2, 4, 1)),
]


@pytest.mark.parametrize(("a", "b"), MATMUL_SHAPES)
def test_matmul_of_any_rank(a, b):
    a, b = numbers(a, "real", 1), numbers(b, "real", 2)
    np.testing.assert_allclose(ops.matmul(a, b), a @ b)
    gradcheck(ops.matmul, [a, b])
    c = numbers((a @ b).shape[-1:], "real", 3)
    np.testing.assert_allclose(ops.affine(a, b, c), a @ b + c)
    gradcheck(ops.affine, [a, b, c])


SHAPE_OPS = {
    "reshape": (lambda x: ops.reshape(x, shape=(4, -1)), lambda x: x.reshape(4, -1)),
    "transpose": (lambda x: ops.transpose(x), lambda x: x.T),
    "transpose to axes": (lambda x: ops.transpose(x, axes=(1, -1, 0)), lambda x: x.transpose(1, 2, 0)),
    "swapaxes": (lambda x: ops.swapaxes(x, axis1=0, axis2=-1), lambda x: np.swapaxes(x, 0, 2)),
    "expand_dims": (lambda x: ops.expand_dims(x, axis=-2), lambda x: np.expand_dims(x, -2)),
    "squeeze": (lambda x: ops.squeeze(ops.expand_dims(x, axis=1), axis=1), lambda x: x),
    "broadcast_to": (
        lambda x: ops.broadcast_to(x, shape=(5, 2, 3, 4)),
        lambda x: np.broadcast_to(x, (5, 2, 3, 4)),
    ),
    "flip": (lambda x: ops.flip(x, axis=1), lambda x: x[:, ::-1]),
    "unstack": (lambda x: ops.unstack(x, axis=1)[1], lambda x: x[:, 1]),
    "stack": (lambda x: ops.stack([x, x * x, x], axis=1), lambda x: np.stack([x, x * x, x], 1)),
    "concatenate": (
        lambda x: ops.concatenate([x, x * x[:, :1]], axis=1),
        lambda x: np.concatenate([x, x * x[:, :1]], 1),
    ),
    "cast": (lambda x: ops.cast(x, dtype="float64") * x, lambda x: x * x),
    "integer": (lambda x: x[1], lambda x: x[1]),
    "slices": (lambda x: x[:, 1:, ::-2], lambda x: x[:, 1:, ::-2]),
    "ellipsis, new axis": (lambda x: x[..., None, 0], lambda x: x[..., None, 0]),
    "repeated rows": (lambda x: x[[0, 1, 0]], lambda x: x[[0, 1, 0]]),
    "array and slice": (lambda x: x[:, np.array([2, 2, 0])], lambda x: x[:, [2, 2, 0]]),
    "bool": (
        lambda x: x[np.arange(24).reshape(2, 3, 4) % 5 == 0],
        lambda x: x[np.arange(24).reshape(2, 3, 4) % 5 == 0],
    ),
    "put": (
        lambda x: ops.put(x, index=(slice(None), slice(1, 4)), shape=(2, 5, 4)),
        lambda x: np.pad(x, ((0, 0), (1, 1), (0, 0))),
    ),
}


@pytest.mark.parametrize("case", SHAPE_OPS)
def test_shapes(case):
    op, reference = SHAPE_OPS[case]
    x = numbers((2, 3, 4), "real", 3)
    np.testing.assert_array_equal(op(Tensor(x)), reference(x))
    gradcheck(lambda x: op(x) * op(x), [x])


@given(
    ids=hnp.arrays(
        np.int64, hnp.array_shapes(min_dims=0, max_dims=3, max_side=3, min_side=0), elements=st.integers(0, 4)
    ),
    row=hnp.array_shapes(min_dims=0, max_dims=2, max_side=3),
)
def test_take_and_scatter_add(ids, row):
    table = numbers((5, *row), "real", 4)
    rows = numbers((*ids.shape, *row), "real", 5)
    np.testing.assert_array_equal(ops.take(table, ids), table[ids])
    expected = np.zeros((5, *row))
    np.add.at(expected, ids, rows)
    np.testing.assert_allclose(ops.scatter_add(rows, ids, length=5), expected, atol=1e-14)
    gradcheck(lambda t: ops.take(t, ids) ** 2, [table])
    gradcheck(lambda r: ops.scatter_add(r, ids, length=5) ** 2, [rows])


def test_every_primitive_is_tested_here():
    tested = {
        *UNARY,
        *BINARY,
        *REDUCTIONS,
        "power",
        "clip",
        "where",
        "norm",
        "logsumexp",
        "softmax",
        "log_softmax",
    }
    tested |= {"cumsum", "matmul", "affine", "take", "scatter_add", "getitem", *SHAPE_OPS}
    without_gradient = {
        "greater",
        "greater_equal",
        "less",
        "less_equal",
        "equal",
        "not_equal",
        "argmax",
        "one_hot",
    }
    primitives = {name for name in ops.__all__ if isinstance(getattr(ops, name), Primitive)}
    assert primitives <= tested | without_gradient
    for name in primitives - without_gradient - {"sign"}:
        assert getattr(ops, name).rules or getattr(ops, name).joint, name


@pytest.mark.parametrize("number", [np.array(3.0, ">f8"), np.float32(3), np.array(7), 2.5], ids=repr)
@pytest.mark.parametrize("shape", [(), (4,), (2, 0), (2, 3, 4)])
def test_a_number_is_repeated_without_being_copied(number, shape):
    out = ops.broadcast_to(number, shape=shape)
    expected = np.broadcast_to(number, shape)
    np.testing.assert_array_equal(out, expected)
    assert (out.dtype, out.strides, out.flags.writeable) == (expected.dtype, expected.strides, False)


def test_comparisons_and_counting_carry_no_gradient():
    x = Tensor([1.0, 2.0, 2.0], requires_grad=True)
    for result in (
        x > 1.5,
        x >= 2.0,
        x < 2.0,
        x <= 1.0,
        ops.equal(x, 2.0),
        ops.not_equal(x, 2.0),
        ops.argmax(x),
    ):
        assert not result.requires_grad
    assert (x > 1.5).data.tolist() == [False, True, True]
    assert ops.argmax(x).item() == 1
    assert ops.one_hot(np.array([1, 3]), depth=3).tolist() == [[0, 1, 0], [0, 0, 0]]


@pytest.mark.parametrize("name", ["sigmoid", "softplus", "logsumexp", "softmax", "log_softmax", "tanh"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_extremes_stay_finite(name, dtype):
    x = Tensor(np.array([-1e4, -100.0, 0.0, 100.0, 1e4], dtype), requires_grad=True)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        y = getattr(ops, name)(x)
        ops.sum(y).backward()
    assert np.isfinite(y.data).all()
    assert np.isfinite(x.grad).all()
    assert y.dtype == x.grad.dtype == dtype


def test_sigmoid_keeps_relative_precision():
    x = np.array([-80.0, -20.0], np.float32)
    np.testing.assert_allclose(ops.sigmoid(x), np.exp(x.astype(float)), rtol=1e-6)


def test_norm_and_abs_at_zero_have_gradient_zero():
    for op in (ops.norm, lambda x: ops.sum(ops.abs(x)), lambda x: ops.sum(ops.relu(x))):
        x = Tensor(np.zeros(3), requires_grad=True)
        op(x).backward()
        assert x.grad.tolist() == [0.0, 0.0, 0.0]


def test_equal_maxima_share_the_gradient():
    x = Tensor([2.0, 1.0, 2.0], requires_grad=True)
    ops.max(x).backward()
    assert x.grad.tolist() == [0.5, 0.0, 0.5]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_types_are_kept(dtype):
    x = Tensor(numbers((2, 3), "positive", 0).astype(dtype), requires_grad=True)
    for name in [n for n in UNARY if n != "sign"]:
        y = getattr(ops, name)(x)
        assert y.dtype == dtype, name
        (g,) = [ops.sum(y * 2 + 1.5).backward() or x.grad]
        assert g.dtype == dtype, name


def test_float_types_do_not_mix():
    a, b = Tensor(np.ones(2, np.float32)), np.ones(2)
    with pytest.raises(TypeError, match=r"multiply: the inputs float32, float64 give float64.*ops\.cast"):
        a * b
    assert (a * ops.cast(b, dtype="float32")).dtype == np.float32


def test_errors_name_the_operation():
    with pytest.raises(ValueError, match="squeeze: expected length 1 at axis 0"):
        ops.squeeze(np.ones((2, 3)), axis=0)


def test_ties_and_bounds_have_the_gradients_that_are_written():
    a, b = (Tensor([1.0, 2.0], requires_grad=True) for _ in range(2))
    ops.sum(ops.maximum(a, b)).backward()
    assert a.grad.tolist() == b.grad.tolist() == [0.5, 0.5]
    a.grad = b.grad = None
    ops.sum(ops.minimum(a, b)).backward()
    assert a.grad.tolist() == b.grad.tolist() == [0.5, 0.5]
    x = Tensor([-1.0, 0.0, 1.0, 1.5], requires_grad=True)
    ops.sum(ops.clip(x, low=-1.0, high=1.0)).backward()
    assert x.grad.tolist() == [1.0, 1.0, 1.0, 0.0]


def test_the_gradient_of_a_cast_comes_back_in_the_first_type():
    x = Tensor(np.ones(2, "float32"), requires_grad=True)
    ops.sum(ops.cast(x, dtype="float64") * 2.0).backward()
    assert x.grad.dtype == np.float32


def test_negative_ids_count_from_the_end():
    table = Tensor(numbers((5, 2), "real", 0), requires_grad=True)
    ops.sum(ops.take(table, np.array([-1, 4, 0]))).backward()
    assert table.grad[:, 0].tolist() == [1, 0, 0, 0, 2]


def test_products_of_nothing():
    a = Tensor(np.ones((2, 4, 0)), requires_grad=True)
    y = a @ np.ones((0, 2))
    assert y.data.tolist() == np.zeros((2, 4, 2)).tolist()
    ops.sum(y).backward()
    assert a.grad.shape == (2, 4, 0)


def test_powers_of_tensors_and_scalars_of_numpy():
    x, y = numbers((2, 3), "positive", 0), numbers((3,), "real", 1)
    gradcheck(lambda x, y: Tensor(1.0, dtype="float64") * x**y + 2.0**y + abs(y), [x, y])
    np.testing.assert_allclose((Tensor(x) ** Tensor(y)).data, x**y)
    t = Tensor(np.ones(2, "float32"), requires_grad=True)
    for result in (np.float64(2) * t, t / np.sqrt(4.0), t ** np.int64(3), ops.sum(t, axis=np.int64(0))):
        assert result.dtype == np.float32
        ops.sum(result).backward()


def test_functions_of_numpy_are_the_operations():
    x = Tensor([0.5, 1.0], requires_grad=True)
    y = np.tanh(x) + np.multiply(np.ones(2, "float32"), x)
    assert isinstance(y, Tensor)
    ops.sum(y).backward()
    np.testing.assert_allclose(x.grad, 2.0 - np.tanh([0.5, 1.0]) ** 2, rtol=1e-6)
    with pytest.raises(TypeError, match=r"np\.arctan cannot be differentiated; see tinyrnn\.ops"):
        np.arctan(x)
