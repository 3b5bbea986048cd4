"""Losses: values and gradients against Keras, reductions against their definition, and what is refused."""

import jax
import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from keras.src.backend import set_keras_mask

from tinyrnn import losses, ops
from tinyrnn.autograd import Tensor
from tinyrnn.gradcheck import gradcheck

CLASSES = 4
SHAPES = [(3, CLASSES), (2, 5, CLASSES), (3, 3, CLASSES)]  # a batch, sequences, as many steps as samples

# What kinds of labels and predictions a loss is made for, and every setting that changes it.
CASES = [
    ("MeanSquaredError", "real", "real", {}),
    ("MeanAbsoluteError", "real", "real", {}),
    ("MeanAbsolutePercentageError", "real", "real", {}),
    ("MeanSquaredLogarithmicError", "real", "real", {}),
    ("Huber", "real", "real", {}),
    ("Huber", "real", "real", {"delta": 0.3}),
    ("LogCosh", "real", "real", {}),
    ("CosineSimilarity", "real", "real", {}),
    ("CosineSimilarity", "real", "real", {"axis": 1}),
    ("Poisson", "count", "probability", {}),
    ("BinaryCrossentropy", "binary", "probability", {}),
    ("BinaryCrossentropy", "binary", "probability", {"label_smoothing": 0.2}),
    ("BinaryCrossentropy", "binary", "real", {"from_logits": True}),
    ("BinaryCrossentropy", "probability", "real", {"from_logits": True, "label_smoothing": 0.2}),
    ("CategoricalCrossentropy", "one_hot", "probability", {}),
    ("CategoricalCrossentropy", "probability", "probability", {"label_smoothing": 0.2}),
    ("CategoricalCrossentropy", "one_hot", "real", {"from_logits": True}),
    ("SparseCategoricalCrossentropy", "label", "probability", {}),
    ("SparseCategoricalCrossentropy", "label", "real", {"from_logits": True}),
    ("SparseCategoricalCrossentropy", "label", "probability", {"ignore_class": 1}),
    ("SparseCategoricalCrossentropy", "label_or_minus", "real", {"from_logits": True, "ignore_class": -1}),
    ("KLDivergence", "probability", "probability", {}),
    ("Hinge", "sign", "real", {}),
    ("Hinge", "binary", "real", {}),
    ("SquaredHinge", "binary", "real", {}),
    ("SquaredHinge", "real", "real", {}),
    ("CategoricalHinge", "one_hot", "real", {}),
]
each = pytest.mark.parametrize(("name", "labels", "predictions", "options"), CASES, ids=lambda v: str(v))


pytestmark = pytest.mark.usefixtures("double")


def draw(kind, shape, rng):
    """Return labels or predictions of one kind."""
    rows = shape[:-1]
    return {
        "real": lambda: 2.0 * rng.standard_normal(shape),
        "probability": lambda: rng.random(shape),
        "count": lambda: rng.integers(0, 5, shape),
        "binary": lambda: rng.integers(0, 2, shape),
        "sign": lambda: 2 * rng.integers(0, 2, shape) - 1,
        "one_hot": lambda: np.eye(CLASSES)[rng.integers(0, CLASSES, rows)],
        "label": lambda: rng.integers(0, CLASSES, rows),
        "label_or_minus": lambda: rng.integers(-1, CLASSES, rows),
    }[kind]()


def wrong_answers(name):
    """Predictions with which a loss is at its end: saturated, or exactly 0."""
    if name == "KLDivergence":
        return np.tile([0.0, 0.9], CLASSES // 2)  # its clip has a kink at 1, where JAX halves the slope
    return np.tile([0.0, 1.0], CLASSES // 2) if "entropy" in name else np.zeros(CLASSES)


@each
@pytest.mark.parametrize("shape", SHAPES[:2], ids=str)
def test_values_equal_those_of_keras(name, labels, predictions, options, shape):
    rng = np.random.default_rng(1)
    y_true, y_pred = draw(labels, shape, rng), draw(predictions, shape, rng)
    y_pred[0] = wrong_answers(name)
    if predictions == "real":
        y_pred[1] *= 1e3
    mine = getattr(losses, name)(reduction=None, **options)
    expected = getattr(keras.losses, name)(reduction=None, dtype="float64", **options)(y_true, y_pred)
    np.testing.assert_allclose(mine(y_true, y_pred), expected, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(mine(y_true, Tensor(y_pred)).data, expected, rtol=1e-9, atol=1e-9)
    assert mine(y_true, y_pred).shape == expected.shape


@each
def test_float32_stays_and_is_equal_to_rounding(name, labels, predictions, options):
    rng = np.random.default_rng(2)
    y_true, y_pred = draw(labels, SHAPES[1], rng), draw(predictions, SHAPES[1], rng).astype("float32")
    x = Tensor(y_pred, requires_grad=True)
    mine = getattr(losses, name)(**options)(y_true, x)
    mine.backward()
    assert mine.dtype == x.grad.dtype == np.float32
    expected = getattr(keras.losses, name)(dtype="float32", **options)(y_true, y_pred)
    assert mine.item() == pytest.approx(float(expected), rel=1e-5, abs=1e-6)


@each
def test_gradients_of_both_orders(name, labels, predictions, options):
    rng = np.random.default_rng(3)
    y_true, y_pred = draw(labels, SHAPES[1], rng), draw(predictions, SHAPES[1], rng)
    y_pred = 0.05 + 0.9 * y_pred if predictions == "probability" else y_pred
    weight, mask = rng.random((2, 5)), rng.random((2, 5)) < 0.7
    mask = mask if options.get("axis") != 1 else None
    loss = getattr(losses, name)(**options)

    def masked(x):
        x = x * 1.0
        x.mask = mask
        return loss(y_true, x, weight if mask is not None else None)

    gradcheck(masked, [y_pred])


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("mean_squared_error", {}),
        ("binary_crossentropy", {}),
        ("binary_crossentropy", {"from_logits": True}),
        ("binary_crossentropy", {"label_smoothing": 0.2, "axis": 1}),
        ("categorical_crossentropy", {}),
        ("categorical_crossentropy", {"label_smoothing": 0.2, "axis": 1}),
    ],
)
def test_labels_have_gradients_too(name, options):
    rng = np.random.default_rng(5)
    y_true, y_pred = 0.1 + 0.8 * rng.random((2, 2, 5, 3))
    gradcheck(lambda y, p: getattr(losses, name)(y, p, **options), [y_true, y_pred])


@each
def test_gradient_equals_that_of_keras_at_saturation(name, labels, predictions, options):
    rng = np.random.default_rng(4)
    y_true, y_pred = draw(labels, SHAPES[0], rng), draw(predictions, SHAPES[0], rng)
    y_pred[0] = wrong_answers(name) if predictions == "probability" else 1e3 * y_pred[0]
    theirs = getattr(keras.losses, name)(dtype="float64", **options)
    x = Tensor(y_pred, requires_grad=True)
    getattr(losses, name)(**options)(y_true, x).backward()
    assert np.isfinite(x.grad).all()
    expected = jax.grad(lambda x: theirs(y_true, x))(y_pred)
    np.testing.assert_allclose(x.grad, expected, rtol=1e-9, atol=1e-9)


# --- reductions -------------------------------------------------------------------------------------------


@given(
    shape=st.sampled_from(SHAPES),
    reduction=st.sampled_from(losses.REDUCTIONS),
    name=st.sampled_from(["MeanSquaredError", "SparseCategoricalCrossentropy"]),
    weight=st.sampled_from([None, "sample", "value"]),
    mask=st.sampled_from([None, "some", "none left"]),
    seed=st.integers(0, 99),
)
def test_reductions_equal_those_of_keras(shape, reduction, name, weight, mask, seed):
    rng = np.random.default_rng(seed)
    sparse = name != "MeanSquaredError"
    options = {"ignore_class": 0} if sparse else {}
    y_true, y_pred = draw("label" if sparse else "real", shape, rng), rng.random(shape)
    weights = {None: None, "sample": rng.random(shape[0]), "value": rng.random(shape[:-1])}[weight]
    masks = {None: None, "some": rng.random(shape[:-1]) < 0.7, "none left": np.zeros(shape[:-1], bool)}[mask]

    x = Tensor(y_pred)
    x.mask = masks
    found = getattr(losses, name)(reduction=reduction, **options)(y_true, x, weights)

    # Keras can do with one weight for each value, and with nothing else in every case.
    if weights is not None:
        weights = np.broadcast_to(
            weights.reshape(weights.shape + (1,) * (len(shape) - 1 - weights.ndim)), shape[:-1]
        )
    x = jax.numpy.asarray(y_pred)
    if masks is not None:
        set_keras_mask(x, jax.numpy.asarray(masks))
    theirs = getattr(keras.losses, name)(reduction=reduction, dtype="float64", **options)
    np.testing.assert_allclose(found.data, theirs(y_true, x, weights), rtol=1e-9, atol=1e-12)


def test_masked_weighted_mean_by_hand():
    y_true, y_pred = np.zeros((2, 2, 1)), Tensor(np.array([[[1.0], [2.0]], [[3.0], [100.0]]]))
    y_pred.mask = np.array([[True, True], [True, False]])
    weight = np.array([1.0, 10.0])

    def loss(reduction):
        return losses.MeanSquaredError(reduction)(y_true, y_pred, weight).data

    assert loss("sum") == 1 + 4 + 90
    assert loss("mean") == loss("sum_over_batch_size") == (1 + 4 + 90) / 3
    assert loss("mean_with_sample_weight") == (1 + 4 + 90) / 12
    np.testing.assert_array_equal(loss(None), [[1, 4], [90, 0]])


def test_weights_of_one_per_sample_are_never_taken_along_time():
    rng = np.random.default_rng(0)
    y_true, y_pred, weight = rng.random((3, 3, 2)), rng.random((3, 3, 2)), np.array([0.0, 0.0, 1.0])
    loss = losses.MeanSquaredError()
    expected = ((y_true - y_pred)[2] ** 2).mean() / 3
    for w in (weight, weight[:, None], np.tile(weight[:, None], 3), weight[:, None, None], list(weight)):
        assert loss(y_true, y_pred, w) == pytest.approx(expected, rel=1e-12)


def test_no_weight_left_is_zero_and_not_nan():
    x = Tensor(np.ones((2, 3)), requires_grad=True)
    loss = losses.MeanSquaredError("mean_with_sample_weight")(np.zeros((2, 3)), x, np.zeros(2))
    loss.backward()
    assert loss.item() == 0.0
    assert (x.grad == 0.0).all()


def test_a_tensor_comes_back_for_a_tensor_only():
    y = np.ones((2, 3))
    assert isinstance(losses.MeanSquaredError()(y, Tensor(y)), Tensor)
    assert not isinstance(losses.MeanSquaredError()(y, y), Tensor)


# --- golden numbers, extremes -----------------------------------------------------------------------------


def test_binary_crossentropy_saturates_where_float32_does():
    zero, one = np.zeros((1, 1), "float32"), np.ones((1, 1), "float32")
    assert losses.binary_crossentropy(zero, one) == pytest.approx(15.942, abs=5e-4)
    assert losses.binary_crossentropy(one, zero) == pytest.approx(16.118, abs=5e-4)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("y", [0.0, 1.0])
def test_logits_have_exact_gradients_in_saturation(y, dtype):
    x = Tensor(np.array([[-1e4, -60.0, 0.0, 60.0, 1e4]], dtype), requires_grad=True)
    losses.BinaryCrossentropy(from_logits=True)(np.full(x.shape, y), x).backward()
    z = x.data.astype("float64")
    with np.errstate(over="ignore"):
        expected = 1.0 / (1.0 + np.exp(-z)) if y == 0 else -1.0 / (1.0 + np.exp(z))
    np.testing.assert_allclose(x.grad, expected / 5, rtol=1e-5, atol=1e-40)


def test_cosine_of_zeros_has_a_gradient():
    x = Tensor(np.zeros((1, 3)), requires_grad=True)
    loss = losses.CosineSimilarity()(np.array([[3.0, 0.0, 4.0]]), x)
    loss.backward()
    assert loss.item() == 0.0
    assert np.isfinite(x.grad).all()


# --- shapes and labels ------------------------------------------------------------------------------------


def test_a_missing_last_axis_is_added_and_never_broadcast():
    y, p = np.array([1.0, 2.0, 4.0]), np.array([[1.0], [0.0], [0.0]])
    for y_true, y_pred in [(y, p), (y[:, None], p), (p, y), (p[:, 0], y[:, None])]:
        values = losses.MeanSquaredError(reduction=None)(y_true, y_pred)
        expected = keras.losses.MeanSquaredError(reduction=None)(y_true, y_pred)
        np.testing.assert_array_equal(values, expected)
        assert values.shape == (3,)


def test_a_missing_last_axis_of_sequences_keeps_the_steps_apart():
    y, p = np.array([[0, 1, 1], [1, 0, 0]]), np.full((2, 3, 1), 0.25)
    values = losses.BinaryCrossentropy(reduction="none")(y, p)
    np.testing.assert_allclose(values, -np.log(np.where(y == 1, 0.25, 0.75)))
    assert losses.BinaryCrossentropy()(y, p) == pytest.approx(float(keras.losses.BinaryCrossentropy()(y, p)))


@pytest.mark.parametrize("name", sorted(losses.FUNCTIONS))
def test_other_shapes_are_refused(name):
    expected = "expected labels of shape" if "sparse" in name else f"{name}: expected y_true of the shape"
    with pytest.raises(ValueError, match=rf"{expected}.*\(4, 3\).*found \(4, 2\)"):
        losses.get(name)(np.ones((4, 2)), np.ones((4, 3)))
    with pytest.raises(ValueError, match=r"found \(4,\)|found \(1, 1, 4\)"):
        losses.get(name)(np.ones((1, 1, 4)) if "sparse" in name else np.ones(4), np.ones((4, 3)))


@pytest.mark.parametrize("weight", [(3,), (5,), (2, 3), (5, 1), (2, 5, 2), (1,)])
def test_other_shapes_of_weights_are_refused(weight):
    y = np.ones((2, 5, 3))
    with pytest.raises(
        ValueError, match=r"sample_weight: values of shape \(2, 5\) take weights of shape \(2,\) or"
    ):
        losses.MeanSquaredError()(y, y, np.ones(weight))


def test_weights_for_a_single_number_are_refused():
    y = np.ones(3)
    with pytest.raises(ValueError, match=r"sample_weight: values of shape \(\) .* found \(3,\)"):
        losses.MeanSquaredError()(y, y, np.ones(3))


def test_labels_may_be_whole_floats_and_have_a_last_axis():
    y_pred = np.random.default_rng(0).random((2, 3, 4))
    labels = np.array([[0, 1, 3], [2, 2, 1]])
    loss = losses.SparseCategoricalCrossentropy()
    expected = loss(labels, y_pred)
    for y in (labels.astype("float32"), labels[..., None], labels.tolist(), labels.astype("int8")):
        assert loss(y, y_pred) == expected


@pytest.mark.parametrize("ignore_class", [None, 0, -5])
@pytest.mark.parametrize("label", [-1, 4, 17])
def test_labels_out_of_range_are_named(label, ignore_class):
    labels = np.array([[0, 1, 3], [2, label, label]])
    with pytest.raises(ValueError, match=rf"expected labels in 0 \.\.\. 3, found {label} at \(1, 1\)"):
        losses.SparseCategoricalCrossentropy(ignore_class=ignore_class)(labels, np.ones((2, 3, 4)))


def test_fractions_are_no_labels():
    with pytest.raises(ValueError, match=r"expected whole numbers as labels, found 1\.5"):
        losses.sparse_categorical_crossentropy(np.array([0.0, 1.5]), np.ones((2, 3)))


def test_the_axis_of_classes_may_be_another():
    rng = np.random.default_rng(0)
    y_pred, labels = rng.random((2, 4, 3)), rng.integers(0, 4, (2, 3))
    moved = y_pred.swapaxes(1, 2)
    for y in (labels, labels[:, None]):
        found = losses.sparse_categorical_crossentropy(y, y_pred, axis=1)
        np.testing.assert_allclose(found, losses.sparse_categorical_crossentropy(labels, moved))
    one_hot = np.eye(4)[labels]
    for logits in (False, True):
        found = losses.categorical_crossentropy(one_hot.swapaxes(1, 2), y_pred, logits, axis=1)
        np.testing.assert_allclose(found, losses.categorical_crossentropy(one_hot, moved, logits))
    gradcheck(lambda p: losses.sparse_categorical_crossentropy(labels, p, axis=1), [y_pred])


def test_one_class_is_warned_of():
    with pytest.warns(UserWarning, match="one class"):
        losses.categorical_crossentropy(np.ones((2, 1)), np.ones((2, 1)))


@given(
    y=arrays(np.float64, (3, 2), elements=st.sampled_from([0.0, 1.0])),
    dtype=st.sampled_from([bool, int, "float32"]),
)
@settings(max_examples=10)
def test_labels_take_the_type_of_the_predictions(y, dtype):
    p = np.linspace(0.1, 0.9, 6).reshape(3, 2)
    assert losses.BinaryCrossentropy()(y.astype(dtype), p) == losses.BinaryCrossentropy()(y, p)
    assert losses.BinaryCrossentropy()(y, p.astype("float32")).dtype == np.float32


# --- objects ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*losses.FUNCTIONS, *losses.ALIASES, *(c[0] for c in CASES)])
def test_get_by_name_as_keras_does(name):
    loss, theirs = losses.get(name), keras.losses.get(name)
    theirs = getattr(theirs, "fn", theirs)
    assert loss.fn.__name__ == theirs.__name__


@each
def test_a_configuration_makes_the_loss_again(name, labels, predictions, options):
    loss = getattr(losses, name)(reduction="sum", **options)
    again = losses.get({"class_name": name, "config": loss.get_config()})
    assert type(again) is type(loss)
    assert vars(again) == vars(loss)
    assert again.reduction == "sum"
    # Keras reads it, too.
    theirs = getattr(keras.losses, name).from_config(loss.get_config())
    assert theirs.name == loss.name


def test_names_and_arguments_are_those_of_keras():
    for name, *_ in CASES:
        theirs = getattr(keras.losses, name)()
        assert getattr(losses, name)().name == theirs.name
        assert getattr(losses, name)().reduction == theirs.reduction


def test_functions_of_the_user():
    def cubed(y_true, y_pred):
        return ops.mean(ops.abs(y_true - y_pred) ** 3, axis=-1)

    x = Tensor(np.array([[2.0, 0.0], [1.0, 1.0]]), requires_grad=True)
    loss = losses.get(cubed)
    assert loss.name == "cubed"
    assert loss(np.zeros((2, 2), int), x, np.array([1.0, 3.0])).item() == (4.0 + 3.0) / 2
    assert losses.get(losses.huber).name == "huber"
    by_name = losses.LossFunctionWrapper.from_config(losses.LossFunctionWrapper(losses.huber).get_config())
    assert by_name.fn is losses.huber


def test_a_single_number_from_a_function_is_not_reduced():
    x = Tensor(np.full((2, 3, 1), 2.0))
    x.mask = np.array([[True, False, True]] * 2)
    assert losses.get(lambda y_true, y_pred: ops.sum(y_pred))(np.zeros((2, 3, 1)), x).item() == 12.0


def test_subclasses():
    class Twice(losses.Loss):
        def call(self, y_true, y_pred):
            return 2.0 * (y_true - y_pred)[:, 0]

    assert Twice().name == "twice"
    assert Twice()(np.array([[1.0], [2.0]]), np.zeros((2, 1))) == 3.0
    with pytest.raises(NotImplementedError, match="Loss: a loss must define call"):
        losses.Loss()(np.ones(1), np.ones(1))


def test_dtype_is_that_of_the_computation():
    y = np.ones((2, 2), "float32")
    x = Tensor(y, requires_grad=True)
    loss = losses.MeanSquaredError(dtype="float64")(2 * y, x)
    loss.backward()
    assert loss.dtype == np.float64
    assert x.grad.dtype == np.float32


def test_unknown_names():
    with pytest.raises(
        ValueError, match="unknown loss 'mean_square_error'; did you mean 'mean_squared_error'"
    ):
        losses.get("mean_square_error")
    with pytest.raises(ValueError, match="MeanSquaredError: unknown reduction 'summ'; did you mean 'sum'"):
        losses.MeanSquaredError(reduction="summ")
    assert losses.get(None) is None


@pytest.mark.parametrize(
    ("y_true", "y_pred", "kind"),
    [
        ((8, 1), (8, 1), losses.BinaryCrossentropy),
        ((8,), (8, 1), losses.BinaryCrossentropy),
        ((8, 5), (8, 5, 1), losses.BinaryCrossentropy),
        ((8,), (8, 3), losses.SparseCategoricalCrossentropy),
        ((8, 5), (8, 5, 3), losses.SparseCategoricalCrossentropy),
        ((8, 5, 1), (8, 5, 3), losses.SparseCategoricalCrossentropy),
        ((8, 3), (8, 3), losses.CategoricalCrossentropy),
    ],
)
@pytest.mark.parametrize("name", ["ce", "crossentropy"])
def test_crossentropy_fits_the_shapes(name, y_true, y_pred, kind):
    assert type(losses.resolve(name, y_true, y_pred)) is kind
    assert type(losses.resolve("mse", y_true, y_pred)) is losses.MeanSquaredError
