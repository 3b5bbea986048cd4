"""Activations: values and gradients against Keras, behaviour at the extremes, and on symbols."""

import inspect

import jax
import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tinyrnn import activations, ops
from tinyrnn.autograd import Symbolic, Tensor, grad
from tinyrnn.gradcheck import gradcheck

# Every function, with every setting that changes what it does.
ELEMENTWISE = [
    ("linear", {}),
    ("tanh", {}),
    ("sigmoid", {}),
    ("log_sigmoid", {}),
    ("exponential", {}),
    ("softplus", {}),
    ("softsign", {}),
    ("silu", {}),
    ("mish", {}),
    ("gelu", {}),
    ("gelu", {"approximate": True}),
    ("squareplus", {}),
    ("squareplus", {"b": 0.3}),
    ("relu", {}),
    ("relu", {"negative_slope": 0.1}),
    ("relu", {"max_value": 1.5}),
    ("relu", {"threshold": 0.7}),
    ("relu", {"negative_slope": 0.3, "max_value": 6.0, "threshold": 0.7}),
    ("relu6", {}),
    ("leaky_relu", {}),
    ("leaky_relu", {"negative_slope": 1.5}),
    ("elu", {}),
    ("elu", {"alpha": 0.4}),
    ("celu", {}),
    ("celu", {"alpha": 0.4}),
    ("selu", {}),
    ("hard_sigmoid", {}),
    ("hard_silu", {}),
    ("hard_tanh", {}),
    ("sparse_plus", {}),
    ("sparse_sigmoid", {}),
    ("soft_shrink", {}),
    ("soft_shrink", {"threshold": 1.2}),
    ("hard_shrink", {}),
    ("hard_shrink", {"threshold": 1.2}),
    ("tanh_shrink", {}),
    ("threshold", {"threshold": 0.3, "default_value": -2.0}),
]
ALONG_AXIS = [
    ("softmax", {}),
    ("softmax", {"axis": 0}),
    ("log_softmax", {}),
    ("log_softmax", {"axis": 1}),
    ("glu", {}),
    ("glu", {"axis": 1}),
]


pytestmark = pytest.mark.usefixtures("double")

each = pytest.mark.parametrize(("name", "options"), ELEMENTWISE, ids=lambda v: str(v))
each_along_axis = pytest.mark.parametrize(("name", "options"), ALONG_AXIS, ids=lambda v: str(v))

# Away from every kink above, from the smallest slope to deep saturation.
POINTS = np.array([-9e4, -800.0, -40.0, -8.1, -2.3, -0.9, -0.1, 1e-9, 0.2, 0.9, 2.3, 8.1, 40.0, 700.0])


def values(shape):
    return arrays(np.float64, shape, elements=st.floats(-60, 60))


def ours(name, options):
    return lambda x: getattr(activations, name)(x, **options)


def theirs(name, options):
    return lambda x: getattr(keras.activations, name)(x, **options)


def gradient(function, x):
    x = Tensor(x, requires_grad=True)
    ops.sum(function(x)).backward()
    return x.grad


def test_nothing_is_left_untested():
    tested = {name for name, _ in ELEMENTWISE + ALONG_AXIS} | {"sparsemax", "keras2_hard_sigmoid", "get"}
    assert tested == set(activations.__all__)


@each
@settings(max_examples=8)
@given(x=values(16))
def test_equal_to_keras(name, options, x):
    expected = np.asarray(theirs(name, options)(x))
    np.testing.assert_allclose(ours(name, options)(x), expected, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(ours(name, options)(Tensor(x)).data, expected, rtol=1e-12, atol=1e-14)


@each_along_axis
@settings(max_examples=8)
@given(x=values((2, 4, 6)))
def test_equal_to_keras_along_an_axis(name, options, x):
    expected = np.asarray(theirs(name, options)(x))
    np.testing.assert_allclose(ours(name, options)(x), expected, rtol=1e-12, atol=1e-14)


@each
def test_float32_stays_and_is_equal_to_rounding(name, options):
    x = POINTS[2:-1].astype("float32")
    y = ours(name, options)(x)
    assert y.dtype == np.float32
    assert ours(name, options)(Tensor(x)).dtype == np.float32
    assert gradient(ours(name, options), x).dtype == np.float32
    np.testing.assert_allclose(y, np.asarray(theirs(name, options)(x)), rtol=1e-5, atol=1e-6)


@each
def test_gradient_equals_that_of_keras_up_to_saturation(name, options):
    expected = jax.grad(lambda x: theirs(name, options)(x).sum())(POINTS)
    np.testing.assert_allclose(gradient(ours(name, options), POINTS), expected, rtol=1e-9, atol=1e-14)


@each
def test_gradients_of_both_orders(name, options):
    gradcheck(ours(name, options), [POINTS[(np.abs(POINTS) > 0.05) & (np.abs(POINTS) < 5)]])


@each_along_axis
def test_gradients_of_both_orders_along_an_axis(name, options):
    gradcheck(ours(name, options), [np.random.default_rng(0).normal(size=(2, 4, 6))])


@each
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_finite_at_the_extremes(name, options, dtype):
    far = 1e15 if dtype == "float32" else 1e150
    x = np.array([-far, -1e4, -0.0, 0.0, 80.0, 1e4, far], dtype)
    if name == "exponential":
        x = x[:5]
    with np.errstate(all="raise", under="ignore"):
        assert np.isfinite(ours(name, options)(x)).all()
        assert np.isfinite(gradient(ours(name, options), x)).all()


@pytest.mark.parametrize("name", ["elu", "celu"])
def test_slope_at_zero_is_that_of_both_sides(name):
    assert gradient(getattr(activations, name), np.zeros(1)) == 1.0


class Scalar(Symbolic):
    """A number in disguise: it can be computed with, but not be looked at."""

    def __init__(self, value):
        self.value = value

    def apply(self, op, inputs, static):
        return Scalar(op.forward(*(x.value if isinstance(x, Scalar) else x for x in inputs), **static))

    def __bool__(self):
        raise AssertionError("branched on a symbol")


@each
@pytest.mark.parametrize("x", [-3.3, -0.2, 0.4, 1.9])
def test_runs_on_symbols_forward_and_backward(name, options, x):
    assert ours(name, options)(Scalar(np.float64(x))).value == pytest.approx(
        ours(name, options)(np.array([x]))[0], rel=1e-14
    )
    symbol = Tensor(Scalar(np.float64(x)), requires_grad=True)
    slope = grad(ours(name, options)(symbol), symbol).data
    expected = gradient(ours(name, options), np.array([x]))[0]
    assert (slope.value if isinstance(slope, Scalar) else slope) == pytest.approx(expected, rel=1e-14)


# --- sparsemax: Keras 3.15's is wrong, so against its definition ------------------------------------------


@given(x=arrays(np.float64, (3, 5), elements=st.floats(-3, 3)), axis=st.sampled_from([0, 1, -1]))
def test_sparsemax_is_the_nearest_probability(x, axis):
    p = activations.sparsemax(x, axis=axis)
    assert (p >= 0).all()
    np.testing.assert_allclose(p.sum(axis=axis), 1.0, rtol=1e-12)
    # Nearest, because no corner of the simplex lies in the direction of x.
    away = x - p
    assert (away.max(axis=axis) <= (away * p).sum(axis=axis) + 1e-12).all()


def test_sparsemax_by_hand():
    x = np.array([[1.0, 1.0, 0.0], [3.0, 0.0, 0.0], [0.5, 0.3, -0.4]])
    expected = np.array([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0], [0.6, 0.4, 0.0]])
    np.testing.assert_allclose(activations.sparsemax(x), expected, atol=1e-15)
    large = np.array([[1, 1, 0]], "float32") + np.float32(2**23)  # the sum of two is even, less 1 it is lost
    np.testing.assert_array_equal(activations.sparsemax(large), [[0.5, 0.5, 0.0]])
    np.testing.assert_allclose(activations.sparsemax(x.T, axis=0), expected.T, atol=1e-15)


def test_sparsemax_gradients():
    x = np.array([[0.9, 0.7, -0.4, 0.1], [5.0, 0.0, 0.0, 0.0], [0.1, 0.2, 0.3, 0.25]])
    gradcheck(activations.sparsemax, [x])
    gradcheck(lambda x: activations.sparsemax(x, axis=0) ** 3, [x])


# --- by name ----------------------------------------------------------------------------------------------


def test_get_by_name():
    assert activations.get(None) is activations.linear
    assert activations.get("swish") is activations.silu
    assert activations.get("hard_swish") is activations.hard_silu
    assert activations.get(np.tanh) is np.tanh
    for name in set(activations.__all__) - {"get"}:
        assert activations.get(name) is getattr(activations, name)


def test_arguments_are_those_of_keras():
    for name in set(activations.__all__) - {"get", "keras2_hard_sigmoid"}:
        mine, its = (inspect.signature(getattr(m, name)) for m in (activations, keras.activations))
        assert [(p.name, p.default) for p in mine.parameters.values()] == [
            (p.name, p.default) for p in its.parameters.values()
        ], name


def test_the_hard_sigmoid_of_keras_2():
    x = np.array([-3.0, -2.5, -1.0, 0.0, 0.5, 2.5, 3.0])
    found = activations.keras2_hard_sigmoid(x)
    np.testing.assert_allclose(found, [0, 0, 0.3, 0.5, 0.6, 1, 1], atol=1e-15)
    np.testing.assert_allclose(gradient(activations.keras2_hard_sigmoid, x[[0, 2, 3, 6]]), [0, 0.2, 0.2, 0])


def test_unknown_name():
    with pytest.raises(ValueError, match="unknown activation 'sigmoidd'; did you mean 'sigmoid'"):
        activations.get("sigmoidd")


def test_glu_needs_an_even_axis():
    with pytest.raises(ValueError, match=r"glu: expected an even length along axis -1, found shape \(2, 3\)"):
        activations.glu(np.ones((2, 3)))
