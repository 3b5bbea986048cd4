"""Dropout, noise and penalties: off at inference, fixed by the seed, with the statistics they promise."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras_oracle import compare, draw, make_mask

import tinyrnn
from tinyrnn import layers
from tinyrnn.autograd import Tensor

NOISY = [
    lambda **k: layers.Dropout(0.4, **k),
    lambda **k: layers.SpatialDropout1D(0.4, **k),
    lambda **k: layers.GaussianNoise(0.4, **k),
    lambda **k: layers.GaussianDropout(0.4, **k),
]


@pytest.fixture
def x():
    return np.float32(draw(20, 30, 10) + 5.0)


@pytest.mark.parametrize("make", NOISY)
def test_off_at_inference(make, x):
    layer = make()
    np.testing.assert_array_equal(layer(x).data, x)
    np.testing.assert_array_equal(layer(x, training=False).data, x)
    assert np.abs(layer(x, training=True).data - x).max() > 0.1


@pytest.mark.parametrize(
    "make",
    [
        lambda library: library.Dropout(0.4),
        lambda library: library.SpatialDropout1D(0.4),
        lambda library: library.GaussianNoise(0.4),
        lambda library: library.GaussianDropout(0.4),
        lambda library: library.Dropout(1.0),
    ],
)
def test_inference_beside_keras(make):
    compare(make, draw(4, 3, 5), make_mask("holes", 4, 3))


def test_rates_0_and_1_beside_keras():
    for make in (
        lambda library: library.Dropout(0.0),
        lambda library: library.Dropout(1),
        lambda library: library.GaussianNoise(0.0),
        lambda library: library.GaussianDropout(0.0),
        lambda library: library.SpatialDropout1D(1.0),
    ):
        compare(make, draw(4, 3, 5), make_mask("holes", 4, 3), training=True)


@pytest.mark.parametrize("make", NOISY)
def test_the_seed_fixes_the_noise(make, x):
    a, b, other = make(seed=1), make(seed=1), make(seed=2)
    first = a(x, training=True).data
    np.testing.assert_array_equal(first, b(x, training=True).data)
    second = a(x, training=True).data
    assert (second != first).any()  # new noise each call
    np.testing.assert_array_equal(second, b(x, training=True).data)
    assert (other(x, training=True).data != first).any()


@pytest.mark.parametrize("make", NOISY)
def test_the_global_seed_fixes_the_noise_of_unseeded_layers(make, x):
    def run():
        tinyrnn.utils.set_random_seed(3)
        return [make()(x, training=True).data for _ in range(2)]

    one, two = run(), run()
    np.testing.assert_array_equal(one, two)
    assert (one[0] != one[1]).any()


@given(rate=st.sampled_from([0.1, 0.5, 0.9]), dtype=st.sampled_from(["float32", "float64"]))
def test_dropout_keeps_or_drops_each_value(rate, dtype):
    x = Tensor(draw(60, 70), requires_grad=True, dtype=dtype)
    y = layers.Dropout(rate, seed=5, dtype=dtype)(x, training=True)
    kept = y.data != 0
    np.testing.assert_allclose(y.data, np.where(kept, x.data / (1 - rate), 0), rtol=1e-6)
    assert y.dtype == dtype
    # 4200 fair decisions: five standard deviations
    assert abs(kept.mean() - (1 - rate)) < 5 * np.sqrt(rate * (1 - rate) / kept.size)
    u = draw(60, 70, seed=1).astype(dtype)
    y.backward(u)
    np.testing.assert_allclose(x.grad, np.where(kept, u / (1 - rate), 0), rtol=1e-6)


def test_which_values_are_dropped_does_not_depend_on_the_float_type():
    kept = [
        layers.Dropout(0.5, seed=5, dtype=dtype)(np.ones((9, 9)), training=True).data != 0
        for dtype in ("float32", "float64")
    ]
    np.testing.assert_array_equal(*kept)


def test_dropping_everything():
    x = Tensor(np.ones((50, 4), "float32"), requires_grad=True)
    y = layers.Dropout(1.0)(x, training=True)
    np.testing.assert_array_equal(y.data, 0)
    y.backward(np.ones(y.shape))
    np.testing.assert_array_equal(x.grad, 0)


@pytest.mark.parametrize(
    ("noise_shape", "axis"),
    [((None, 1, None), 1), ((20, 1, 10), 1), ([1, None, None], 0), ((None, 30, 1), 2)],
)
def test_noise_shape_shares_decisions(noise_shape, axis, x):
    kept = layers.Dropout(0.5, noise_shape=noise_shape, seed=1)(x, training=True).data != 0
    first = kept.take([0], axis)
    np.testing.assert_array_equal(kept, np.broadcast_to(first, kept.shape))
    assert 0.2 < first.mean() < 0.8
    for other in {0, 1, 2} - {axis}:
        assert (kept != kept.take([0], other)).any()


def test_spatial_dropout_drops_whole_features(x):
    y = layers.SpatialDropout1D(0.5, seed=1)(x, training=True).data
    kept = y != 0
    np.testing.assert_array_equal(kept, np.broadcast_to(kept[:, :1], kept.shape))
    assert 0.3 < kept.mean() < 0.7
    np.testing.assert_allclose(y[kept], x[kept] * 2, rtol=1e-6)


def test_gaussian_noise_has_its_deviation():
    x = np.float32(draw(200, 200))
    noise = layers.GaussianNoise(0.3, seed=1)(x, training=True).data - x
    assert abs(noise.mean()) < 5 * 0.3 / 200
    assert abs(noise.std() - 0.3) < 0.01
    assert abs((noise**4).mean() / 0.3**4 - 3) < 0.2  # a normal distribution's fourth moment


def test_gaussian_dropout_multiplies_with_the_variance_of_dropout():
    x = Tensor(np.full((200, 200), 2.0, "float32"), requires_grad=True)
    y = layers.GaussianDropout(0.2, seed=1)(x, training=True)
    factor = y.data / 2.0
    assert abs(factor.mean() - 1) < 0.01
    assert abs(factor.var() - 0.2 / 0.8) < 0.01
    y.backward(np.ones(y.shape))
    np.testing.assert_allclose(x.grad, factor, rtol=1e-6)


def test_masks_are_passed_on_in_training(x):
    mask = make_mask("left", 20, 30)
    for make in NOISY:
        tensor = Tensor(x)
        tensor.mask = mask
        np.testing.assert_array_equal(make()(tensor, training=True).mask, mask)


@pytest.mark.parametrize("rate", [-0.1, 1.1, "0.5", None, True, float("nan")])
@pytest.mark.parametrize("kind", [layers.Dropout, layers.SpatialDropout1D, layers.GaussianDropout])
def test_rates_are_fractions(kind, rate):
    with pytest.raises(ValueError, match=f"{kind.__name__}: rate: expected a number from 0 to 1, found"):
        kind(rate)


def test_bad_arguments():
    with pytest.raises(ValueError, match="GaussianDropout: rate: 1 would need noise of infinite variance"):
        layers.GaussianDropout(1.0)
    with pytest.raises(ValueError, match=r"GaussianNoise: stddev: expected a number from 0 on, found -0\.1"):
        layers.GaussianNoise(-0.1)
    for shape in ("ab", (0, 1), (1.5,), 3):
        with pytest.raises(ValueError, match="Dropout: noise_shape: expected positive integers or None"):
            layers.Dropout(0.5, noise_shape=shape)


def test_misfits_at_the_call_and_it_still_works(x):
    layer = layers.Dropout(0.5, noise_shape=(None, 1), name="drop")
    with pytest.raises(
        ValueError, match=r"drop: noise_shape \(None, 1\) does not broadcast to the shape \(20, 30, 10\)"
    ):
        layer(x, training=True)
    assert layer(x[0], training=True).shape == (30, 10)
    spatial = layers.SpatialDropout1D(0.5, name="sp")
    with pytest.raises(
        ValueError, match=r"sp: expected 3 axes \(batch, time, features\), found shape \(30, 10\)"
    ):
        spatial(x[0])
    assert spatial(x, training=True).shape == x.shape


@given(l1=st.sampled_from([0.0, 0.3]), l2=st.sampled_from([0.0, 0.2]))
def test_activity_regularization(l1, l2):
    compare(lambda library: library.ActivityRegularization(l1, l2), draw(4, 3, 5), make_mask("right", 4, 3))


def test_activity_regularization_is_divided_by_the_batch():
    layer = layers.ActivityRegularization(l2=0.5)
    layer(np.ones((4, 3)))
    assert [loss.item() for loss in layer.losses] == [0.5 * 12 / 4]
    with tinyrnn.no_grad():
        layer(np.ones((4, 3)))
    with pytest.raises(ValueError, match="l1"):
        layers.ActivityRegularization(-1.0)
