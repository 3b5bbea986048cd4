"""Initializers: distributions, fans, orthogonality, determinism, names."""

import math

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras.src.initializers.random_initializers import compute_fans as keras_fans

from tinyrnn import initializers
from tinyrnn.backend import set_floatx, set_random_seed

RANDOM = [
    "RandomNormal", "RandomUniform", "TruncatedNormal", "VarianceScaling", "GlorotUniform", "GlorotNormal",
    "HeUniform", "HeNormal", "LecunUniform", "LecunNormal", "Orthogonal",
]  # fmt: skip
SCALED = RANDOM[3:-1]
NAMES = ["Zeros", "Ones", "Constant", "Identity", *RANDOM]

shapes = st.lists(st.integers(1, 5), min_size=0, max_size=5).map(tuple)


# --- scaled by the shape ----------------------------------------------------------------------------------


@given(shape=shapes)
def test_fans_equal_keras(shape):
    assert initializers.compute_fans(shape) == keras_fans(shape)


@given(shape=shapes.filter(len), data=st.data())
def test_fans_of_given_axes_equal_keras(shape, data):
    axes = st.lists(st.integers(0, len(shape) - 1), unique=True)
    axes = data.draw(axes), data.draw(axes)
    assert initializers.compute_fans(shape, *axes) == keras_fans(shape, *axes)


@pytest.mark.parametrize(
    ("name", "variance"),
    [
        ("GlorotUniform", 2 / (200 + 320)),
        ("GlorotNormal", 2 / (200 + 320)),
        ("HeUniform", 2 / 200),
        ("HeNormal", 2 / 200),
        ("LecunUniform", 1 / 200),
        ("LecunNormal", 1 / 200),
    ],
)
def test_variance_and_bounds_of_a_matrix(name, variance):
    values = getattr(initializers, name)(seed=1)((200, 320), "float64")
    stddev = math.sqrt(variance)
    # 64000 numbers: the mean is known to stddev / 253, the standard deviation to 0.3 %.
    assert abs(values.mean()) < stddev / 50
    assert values.std() == pytest.approx(stddev, rel=0.015)
    bound = math.sqrt(3) * stddev if name.endswith("Uniform") else 2 * stddev / 0.87962566103423978
    assert 0.98 * bound < np.abs(values).max() <= bound


@pytest.mark.parametrize("distribution", ["uniform", "normal", "truncated_normal", "untruncated_normal"])
@pytest.mark.parametrize("mode", ["fan_in", "fan_out", "fan_avg"])
def test_variance_scaling_has_the_spread_of_keras(mode, distribution):
    settings = {"scale": 3.0, "mode": mode, "distribution": distribution}
    shape = (2, 60, 250)
    ours = initializers.VarianceScaling(**settings, seed=3)(shape)
    theirs = np.asarray(keras.initializers.VarianceScaling(**settings, seed=3)(shape))
    assert ours.std() == pytest.approx(theirs.std(), rel=0.02)
    if distribution != "untruncated_normal":
        assert np.abs(ours).max() == pytest.approx(np.abs(theirs).max(), rel=0.01)


@pytest.mark.parametrize("name", SCALED)
def test_settings_are_those_of_keras(name):
    ours, theirs = getattr(initializers, name)(), getattr(keras.initializers, name)()
    assert ours.get_config() == theirs.get_config()
    for attribute in ("scale", "mode", "distribution"):
        assert getattr(ours, attribute) == getattr(theirs, attribute)


def test_given_axes_decide_the_spread():
    """An attention kernel (inputs, heads, size) whose last two axes are outputs."""
    values = initializers.GlorotUniform(seed=1, input_axes=[0], output_axes=[1, 2])((50, 8, 25))
    assert np.abs(values).max() == pytest.approx(math.sqrt(6 / (50 + 200)), rel=0.01)


def test_a_fan_of_zero_counts_as_one():
    assert initializers.HeNormal()((0, 3)).shape == (0, 3)


# --- not scaled -------------------------------------------------------------------------------------------


def test_normal_uniform_and_truncated():
    normal = initializers.RandomNormal(1.0, 0.5, seed=1)((300, 200), "float64")
    assert normal.mean() == pytest.approx(1.0, abs=0.01)
    assert normal.std() == pytest.approx(0.5, rel=0.015)
    uniform = initializers.RandomUniform(-1.0, 3.0, seed=1)((300, 200), "float64")
    assert uniform.mean() == pytest.approx(1.0, abs=0.02)
    assert -1 <= uniform.min() < -0.999
    assert 2.999 < uniform.max() < 3
    truncated = initializers.TruncatedNormal(1.0, 0.5, seed=1)((300, 200), "float64")
    assert truncated.mean() == pytest.approx(1.0, abs=0.01)
    assert truncated.std() == pytest.approx(0.5 * 0.87962566103423978, rel=0.015)
    assert 0.99 < np.abs(truncated - 1).max() <= 1
    # Cut, not clipped: nothing piles up at the bounds.
    assert (np.abs(truncated - 1) > 0.999).mean() < 0.002


def test_constants():
    np.testing.assert_array_equal(initializers.Zeros()((2, 3)), np.zeros((2, 3)))
    np.testing.assert_array_equal(initializers.Ones()((2, 3)), np.ones((2, 3)))
    np.testing.assert_array_equal(initializers.Constant(2.5)((2, 3)), np.full((2, 3), 2.5))
    np.testing.assert_array_equal(initializers.Identity(2.0)((2, 3)), [[2, 0, 0], [0, 2, 0]])
    assert initializers.Zeros()(()).shape == ()
    assert initializers.Ones()([2], "int32").dtype == "int32"


def test_given_values():
    vectors = np.arange(6.0).reshape(2, 3)
    for initializer in (initializers.Constant(vectors), initializers.get(vectors)):
        values = initializer((2, 3))
        np.testing.assert_array_equal(values, vectors)
        values[...] = 0
    assert vectors.any()


# --- orthogonal -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(7, 7), (9, 4), (4, 9), (2, 3, 4), (3, 2, 20), (1, 5), (5, 1)])
def test_orthogonal(shape):
    q = initializers.Orthogonal(gain=2.0, seed=5)(shape, "float64").reshape(-1, shape[-1])
    product = q.T @ q if q.shape[0] >= q.shape[1] else q @ q.T
    np.testing.assert_allclose(product, 4 * np.eye(min(q.shape)), atol=1e-12)


def test_orthogonal_is_uniform():
    """Without the signs of R the diagonal of Q would be negative for (almost) every seed."""
    diagonals = [np.diagonal(initializers.Orthogonal(seed=seed)((6, 6))) for seed in range(200)]
    assert np.abs(np.mean(diagonals)) < 0.05


# --- determinism ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RANDOM)
def test_an_instance_repeats_itself(name):
    make = getattr(initializers, name)
    unseeded = make()
    np.testing.assert_array_equal(unseeded((4, 6)), unseeded((4, 6)))
    np.testing.assert_array_equal(make(seed=3)((4, 6)), make(seed=3)((4, 6)))
    assert not np.array_equal(make(seed=3)((4, 6)), make(seed=4)((4, 6)))
    assert not np.array_equal(make()((4, 6)), make()((4, 6)))


@pytest.mark.parametrize("name", RANDOM)
def test_unseeded_ones_follow_the_global_seed(name):
    def draw():
        set_random_seed(11)
        return [getattr(initializers, name)()((3, 3)) for _ in range(2)]

    np.testing.assert_array_equal(draw(), draw())


@pytest.mark.parametrize("name", NAMES)
def test_types(name):
    """float32 values are the float64 ones, rounded; the default is floatx."""
    initializer = getattr(initializers, name)()
    wide = initializer((3, 5), "float64")
    assert wide.dtype == "float64"
    assert initializer((3, 5)).dtype == "float32"
    np.testing.assert_array_equal(initializer((3, 5)), wide.astype("float32"))
    set_floatx("float64")
    assert initializer((3, 5)).dtype == "float64"


# --- names and configurations -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_names_and_configurations_are_those_of_keras(name):
    ours, theirs = getattr(initializers, name)(), getattr(keras.initializers, name)()
    if name != "Identity":  # whose gain Keras forgets
        assert ours.get_config() == theirs.get_config()
    again = initializers.get(keras.initializers.serialize(theirs))
    assert type(again) is type(ours)
    assert again.get_config() == ours.get_config()
    snake = keras.src.utils.naming.to_snake_case(name)
    assert getattr(initializers, snake) is type(initializers.get(snake)) is type(ours)
    assert type(initializers.get(name)) is type(ours)


def test_a_seed_survives_the_configuration():
    initializer = initializers.GlorotNormal(seed=42)
    again = initializers.get({"class_name": "GlorotNormal", "config": initializer.get_config()})
    np.testing.assert_array_equal(again((3, 3)), initializer((3, 3)))


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        ("uniform", "RandomUniform"),
        ("normal", "RandomNormal"),
        ("zero", "Zeros"),
        ("one", "Ones"),
        ("IdentityInitializer", "Identity"),
        ("OrthogonalInitializer", "Orthogonal"),
    ],
)
def test_aliases(alias, name):
    assert type(initializers.get(alias)).__name__ == type(keras.initializers.get(alias)).__name__ == name


def test_get_takes_functions_instances_classes_and_none():
    def ramp(shape, dtype):
        return np.arange(math.prod(shape), dtype=dtype).reshape(shape)

    assert initializers.get(ramp) is ramp
    initializer = initializers.Ones()
    assert initializers.get(initializer) is initializer
    assert type(initializers.get(initializers.Ones)) is initializers.Ones
    assert initializers.get(None) is None


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: initializers.get("glorot_unifrom"), "unknown initializer .* did you mean 'glorot_uniform'"),
        (lambda: initializers.VarianceScaling(0.0), "VarianceScaling: scale: expected a positive number"),
        (lambda: initializers.VarianceScaling(mode="fan"), "mode: expected one of fan_in, .* found 'fan'"),
        (lambda: initializers.VarianceScaling(distribution="cauchy"), "distribution: .* found 'cauchy'"),
        (lambda: initializers.HeNormal(input_axes=[0]), "HeNormal: .* both or neither"),
        (lambda: initializers.HeNormal(seed=0.5), "HeNormal: seed: expected a whole number .* found 0.5"),
        (lambda: initializers.Orthogonal(seed=-1), "Orthogonal: seed: .* found -1"),
        (lambda: initializers.Orthogonal()((4,)), r"Orthogonal: .* at least two axes, found \(4,\)"),
        (lambda: initializers.Identity()((2, 2, 2)), r"Identity: .* of a matrix, found \(2, 2, 2\)"),
        (lambda: initializers.Constant([1.0, 2.0])((3, 2)), r"Constant: .* shape \(3, 2\), found \(2,\)"),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_something_else_is_no_initializer():
    with pytest.raises(TypeError, match="initializer: expected a name"):
        initializers.get(3)
