"""Regularizers and constraints: values, and gradients, against Keras."""

import jax
import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras_oracle import draw, float_type

from tinyrnn import constraints, regularizers
from tinyrnn.autograd import Tensor

TOLERANCE = {"float64": 1e-9, "float32": 2e-6}

factors = st.sampled_from([0.0, 0.01, 0.5, 3.0])
axes = st.sampled_from([0, 1, 2, -1, [0, 1], [0, 2]])
REGULARIZERS = {
    "L1": st.fixed_dictionaries({"l1": factors}),
    "L2": st.fixed_dictionaries({"l2": factors}),
    "L1L2": st.fixed_dictionaries({"l1": factors, "l2": factors}),
    "OrthogonalRegularizer": st.fixed_dictionaries(
        {"factor": factors, "mode": st.sampled_from(["rows", "columns"])}
    ),
}
CONSTRAINTS = {
    "NonNeg": st.just({}),
    "UnitNorm": st.fixed_dictionaries({"axis": axes}),
    "MaxNorm": st.fixed_dictionaries({"max_value": st.sampled_from([0.5, 2]), "axis": axes}),
    "MinMaxNorm": st.fixed_dictionaries(
        {
            "min_value": st.sampled_from([0.0, 1.5]),
            "max_value": st.sampled_from([1.5, 2.0]),
            "rate": st.sampled_from([0.0, 0.3, 1.0]),
            "axis": axes,
        }
    ),
}


# --- regularizers -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", REGULARIZERS)
@given(data=st.data())
@settings(max_examples=10)
def test_penalty_and_gradient_equal_keras(name, dtype, data):
    config = data.draw(REGULARIZERS[name])
    x = draw(3, 4, seed=data.draw(st.integers(0, 99))).astype(dtype)
    ours = getattr(regularizers, name)(**config)
    with float_type(dtype):
        theirs = getattr(keras.regularizers, name)(**config)
        expected, gradient = jax.value_and_grad(theirs)(jax.numpy.asarray(x))
    w = Tensor(x, requires_grad=True)
    penalty = ours(w)
    penalty.backward()
    assert penalty.shape == ()
    assert penalty.dtype == w.grad.dtype == dtype
    close = {"rtol": TOLERANCE[dtype], "atol": TOLERANCE[dtype]}
    np.testing.assert_allclose(penalty.numpy(), expected, **close)
    np.testing.assert_allclose(w.grad, gradient, **close)
    np.testing.assert_allclose(ours(x), expected, **close)
    assert ours.get_config() == config
    assert theirs.get_config().keys() == config.keys()


def test_penalties_by_hand():
    x = np.array([[1.0, -2.0], [0.0, 3.0]])
    assert regularizers.L1(0.5)(x) == 3.0
    assert regularizers.L2(0.5)(x) == 7.0
    assert regularizers.L1L2(0.5, 0.25)(x) == 6.5
    assert regularizers.OrthogonalRegularizer(0.5)(np.array([[1.0, 0.0], [1.0, 1.0]])) == pytest.approx(
        0.5 / np.sqrt(2)
    )


def test_one_row_and_rows_of_zeros_are_orthogonal():
    regularizer = regularizers.OrthogonalRegularizer()
    assert regularizer(np.ones((1, 3))) == 0
    assert regularizer(np.array([[0.0, 0.0], [1.0, 2.0]])) == 0


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("l1", {"l1": 0.01}),
        ("L2", {"l2": 0.01}),
        ("l1_l2", {"l1": 0.01, "l2": 0.01}),
        ("L1L2", {"l1": 0.01, "l2": 0.01}),
        ("orthogonal_regularizer", {"factor": 0.01, "mode": "rows"}),
    ],
)
def test_regularizer_by_name(name, config):
    assert regularizers.get(name).get_config() == config


def test_regularizer_aliases():
    assert regularizers.l1 is regularizers.L1
    assert regularizers.l2(0.5).get_config() == {"l2": 0.5}
    assert regularizers.l1_l2().get_config() == {"l1": 0.0, "l2": 0.0}
    config = {"l1": 0.5, "l2": 0.0}
    assert regularizers.get({"class_name": "L1L2", "config": config}).get_config() == config


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: regularizers.L1(-0.1), "L1: l1: expected a finite number from 0 on, found -0.1"),
        (lambda: regularizers.L2(float("nan")), "L2: l2: .* found nan"),
        (lambda: regularizers.L1L2(l2=float("inf")), "L1L2: l2: .* found inf"),
        (lambda: regularizers.L2("0.1"), "L2: l2: .* found '0.1'"),
        (lambda: regularizers.OrthogonalRegularizer(mode="row"), "mode: expected 'rows' or .* found 'row'"),
        (lambda: regularizers.OrthogonalRegularizer()(np.ones(3)), r"a matrix, found the shape \(3,\)"),
        (lambda: regularizers.get("l1_l3"), "unknown regularizer 'l1_l3'; did you mean 'l1_l2'"),
    ],
)
def test_regularizer_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# --- constraints ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", CONSTRAINTS)
@given(data=st.data())
@settings(max_examples=10)
def test_constraint_equals_keras(name, dtype, data):
    config = data.draw(CONSTRAINTS[name])
    w = draw(3, 4, 2, seed=data.draw(st.integers(0, 99))).astype(dtype)
    w[:, 1] = 0
    before = w.copy()
    ours = getattr(constraints, name)(**config)
    with float_type(dtype):
        theirs = getattr(keras.constraints, name)(**config)
        expected = theirs(w)
    found = ours(w)
    assert found.dtype == dtype
    np.testing.assert_allclose(found, expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])
    np.testing.assert_array_equal(w, before)
    assert ours.get_config() == theirs.get_config()


def test_constraints_by_hand():
    w = np.array([[3.0, 0.3, -1.0], [4.0, 0.4, 0.0]])
    np.testing.assert_allclose(constraints.UnitNorm()(w), [[0.6, 0.6, -1], [0.8, 0.8, 0]], rtol=1e-6)
    np.testing.assert_allclose(constraints.MaxNorm(1)(w), [[0.6, 0.3, -1], [0.8, 0.4, 0]], rtol=1e-6)
    np.testing.assert_allclose(constraints.MaxNorm(1, axis=1)(w[:, :2]) ** 2 @ [1, 1], [1, 1], rtol=1e-6)
    np.testing.assert_allclose(
        constraints.MinMaxNorm(1.0, 3.0, rate=0.5)(w), [[2.4, 0.45, -1], [3.2, 0.6, 0]], rtol=1e-6
    )
    np.testing.assert_array_equal(constraints.NonNeg()(w), [[3, 0.3, 0], [4, 0.4, 0]])


@pytest.mark.parametrize("name", CONSTRAINTS)
def test_constraint_by_name(name):
    snake = keras.src.utils.naming.to_snake_case(name)
    assert type(constraints.get(name)) is type(constraints.get(snake)) is getattr(constraints, snake)
    again = constraints.get(keras.src.constraints.serialize(getattr(keras.constraints, name)()))
    assert again.get_config() == constraints.get(name).get_config()


def test_constraint_of_ones_own():
    def halve(w):
        return w / 2

    assert constraints.get(halve) is halve
    assert constraints.get(None) is None
    with pytest.raises(ValueError, match="unknown constraint 'maxnorm'; did you mean"):
        constraints.get("maxnorm")
    with pytest.raises(NotImplementedError, match=r"Constraint: a constraint defines __call__\(w\)"):
        constraints.Constraint()(np.ones(2))
