"""Metrics: results over several batches against Keras, masks, names, and what is refused."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras.src.backend import set_keras_mask

from tinyrnn import losses, metrics
from tinyrnn.autograd import Tensor

K = 6
FLAT, SEQUENCE = (5, K), (3, 4, K)

# What a metric is made for, the shapes it takes, every setting that changes it.
MEANS = [
    ("Accuracy", "label", "label", [SEQUENCE], {}),
    ("BinaryAccuracy", "binary", "score", [SEQUENCE], {}),
    ("BinaryAccuracy", "binary", "score", [SEQUENCE], {"threshold": 0.3}),
    ("CategoricalAccuracy", "one_hot", "score", [SEQUENCE], {}),
    ("SparseCategoricalAccuracy", "label", "score", [FLAT, SEQUENCE], {}),
    ("TopKCategoricalAccuracy", "one_hot", "score", [SEQUENCE], {}),
    ("TopKCategoricalAccuracy", "one_hot", "tied", [SEQUENCE], {"k": 2}),
    ("SparseTopKCategoricalAccuracy", "label", "tied", [SEQUENCE], {"k": 2}),
    ("SparseTopKCategoricalAccuracy", "label", "ranking", [FLAT], {"k": 3, "from_sorted_ids": True}),
    ("BinaryCrossentropy", "binary", "score", [SEQUENCE], {}),
    ("BinaryCrossentropy", "binary", "real", [FLAT], {"from_logits": True, "label_smoothing": 0.1}),
    ("CategoricalCrossentropy", "one_hot", "score", [FLAT, SEQUENCE], {}),
    ("CategoricalCrossentropy", "one_hot", "real", [FLAT], {"from_logits": True, "label_smoothing": 0.1}),
    ("SparseCategoricalCrossentropy", "label", "score", [SEQUENCE], {}),
    ("SparseCategoricalCrossentropy", "label", "real", [SEQUENCE], {"from_logits": True}),
    ("MeanSquaredError", "real", "real", [SEQUENCE], {}),
    ("MeanAbsoluteError", "real", "real", [SEQUENCE], {}),
    ("CosineSimilarity", "real", "real", [SEQUENCE], {}),
]
SCORES = [
    ("RootMeanSquaredError", "real", "real", [FLAT, SEQUENCE], {}),
    ("R2Score", "real", "real", [FLAT], {}),
    ("R2Score", "real", "real", [FLAT], {"class_aggregation": None}),
    (
        "R2Score",
        "real",
        "real",
        [FLAT],
        {"class_aggregation": "variance_weighted_average", "num_regressors": 2},
    ),
    ("Precision", "binary", "score", [FLAT, SEQUENCE], {}),
    ("Precision", "binary", "score", [FLAT], {"thresholds": [0.7, 0.2, 0.5]}),
    ("Precision", "binary", "score", [FLAT], {"thresholds": [0.0, 0.5, 1.0], "class_id": 2}),
    ("Precision", "one_hot", "tied", [FLAT], {"top_k": 2}),
    ("Recall", "binary", "score", [FLAT, SEQUENCE], {}),
    ("Recall", "binary", "score", [FLAT], {"thresholds": 0.9}),
    ("Recall", "one_hot", "score", [FLAT], {"top_k": 3, "class_id": 1, "thresholds": 0.4}),
    ("AUC", "binary", "score", [FLAT, SEQUENCE], {}),
    ("AUC", "binary", "score", [FLAT], {"curve": "PR"}),
    ("AUC", "binary", "score", [FLAT], {"summation_method": "majoring", "num_thresholds": 20}),
    ("AUC", "binary", "score", [FLAT], {"summation_method": "minoring", "curve": "PR"}),
    ("AUC", "binary", "score", [FLAT], {"thresholds": [0.9, 0.3, 0.35]}),
    ("AUC", "binary", "score", [FLAT], {"multi_label": True, "label_weights": [1.0, 2, 3, 4, 5, 6]}),
    ("AUC", "binary", "score", [FLAT], {"multi_label": True, "num_labels": K, "curve": "PR"}),
    ("AUC", "binary", "score", [FLAT], {"label_weights": [1.0, 2, 3, 4, 5, 6]}),
    ("AUC", "binary", "real", [FLAT], {"from_logits": True}),
    ("F1Score", "one_hot", "score", [FLAT], {}),
    ("F1Score", "one_hot", "few", [FLAT], {"average": "macro"}),
    ("F1Score", "binary", "score", [FLAT], {"average": "micro", "threshold": 0.4}),
    ("F1Score", "one_hot", "score", [FLAT], {"average": "weighted"}),
]


def cases(*tables):
    return pytest.mark.parametrize(
        ("name", "labels", "predictions", "shape", "options"),
        [
            pytest.param(name, y, p, shape, options, id=f"{name}-{len(shape)}-{options}")
            for table in tables
            for name, y, p, shapes, options in table
            for shape in shapes
        ],
    )


pytestmark = pytest.mark.usefixtures("double")


def draw(kind, shape, rng):
    """Return labels or predictions of one kind."""
    rows = shape[:-1]
    return {
        "real": lambda: 2.0 * rng.standard_normal(shape),
        "score": lambda: rng.random(shape),
        "tied": lambda: rng.integers(0, 3, shape) / 2.0,
        "few": lambda: rng.random(shape) * (rng.random(shape) < 0.2),
        "ranking": lambda: np.argsort(rng.random(shape), axis=-1).astype("float64"),
        "binary": lambda: rng.integers(0, 2, shape),
        "one_hot": lambda: np.eye(K)[rng.integers(0, K, rows)],
        "label": lambda: rng.integers(0, K, rows),
    }[kind]()


def run(mine, theirs, labels, predictions, shape, weight, mask, seed, batches=2):
    """Compare two metrics after each of some batches."""
    rng = np.random.default_rng(seed)
    for _ in range(batches):
        y_true, y_pred = draw(labels, shape, rng), draw(predictions, shape, rng)
        values = y_pred.shape if predictions == "label" else shape[:-1]
        w = {None: None, "sample": rng.random(shape[0]), "value": rng.random(values)}[weight]
        m = rng.random(values) < 0.6 if mask else None
        x = Tensor(y_pred)
        x.mask = m
        mine.update_state(y_true, x, w)
        x = keras.ops.convert_to_tensor(y_pred)
        if m is not None:
            set_keras_mask(x, keras.ops.convert_to_tensor(m))
        if w is not None:  # Keras can do with one for each value only
            w = np.broadcast_to(w.reshape(w.shape + (1,) * (len(values) - w.ndim)), values)
        theirs.update_state(y_true, x, w)
        np.testing.assert_allclose(mine.result(), np.asarray(theirs.result()), rtol=1e-9, atol=1e-9)


@cases(MEANS)
@settings(max_examples=6)
@given(weight=st.sampled_from([None, "sample", "value"]), mask=st.booleans(), seed=st.integers(0, 99))
def test_means_equal_those_of_keras(name, labels, predictions, shape, options, weight, mask, seed):
    mine, theirs = getattr(metrics, name)(**options), getattr(keras.metrics, name)(**options)
    run(mine, theirs, labels, predictions, shape, weight, mask, seed)


@cases(SCORES)
@settings(max_examples=3)
@given(weight=st.sampled_from([None, "sample"]), seed=st.integers(0, 99))
def test_scores_equal_those_of_keras(name, labels, predictions, shape, options, weight, seed):
    mine, theirs = getattr(metrics, name)(**options), getattr(keras.metrics, name)(**options)
    run(mine, theirs, labels, predictions, shape, weight, False, seed)


@cases(MEANS, SCORES)
def test_masked_elements_are_as_if_they_were_not_there(name, labels, predictions, shape, options):
    rng = np.random.default_rng(0)
    y_true, y_pred = draw(labels, shape, rng), draw(predictions, shape, rng)
    kept = rng.random(shape[:-1]) < 0.6
    x = Tensor(y_pred)
    x.mask = kept
    make = getattr(metrics, name)
    np.testing.assert_allclose(
        make(**options)(y_true, x), make(**options)(y_true[kept], y_pred[kept]), rtol=1e-12, atol=1e-12
    )


@cases(MEANS, SCORES)
def test_reset_forgets_and_a_batch_in_two_halves_is_the_batch(name, labels, predictions, shape, options):
    rng = np.random.default_rng(0)
    y_true, y_pred, weight = draw(labels, shape, rng), draw(predictions, shape, rng), rng.random(shape[0])
    metric = getattr(metrics, name)(**options)
    expected = metric(y_true, y_pred, weight)
    metric.reset_state()
    metric(y_true[:2], y_pred[:2], weight[:2])
    np.testing.assert_allclose(metric(y_true[2:], y_pred[2:], weight[2:]), expected, rtol=1e-12)


@cases(MEANS, SCORES)
def test_nothing_seen_is_zero(name, labels, predictions, shape, options):
    metric = getattr(metrics, name)(**options)
    if name == "R2Score":
        metric.num_regressors = 0
        assert np.isnan(metric.result())
    else:
        assert (np.asarray(metric.result()) == 0).all()


@cases(MEANS, SCORES)
def test_a_configuration_makes_the_metric_again(name, labels, predictions, shape, options):
    metric = getattr(metrics, name)(name="mine", **options)
    again = metrics.get({"class_name": name, "config": metric.get_config()})
    assert type(again) is type(metric)
    assert again.name == "mine"
    assert again.get_config() == metric.get_config()
    theirs = getattr(keras.metrics, name).from_config(metric.get_config())
    assert theirs.name == "mine"


@cases(MEANS, SCORES)
def test_results_of_one_number_are_python_floats(name, labels, predictions, shape, options):
    rng = np.random.default_rng(0)
    result = getattr(metrics, name)(**options)(draw(labels, shape, rng), draw(predictions, shape, rng))
    assert type(result) is (float if np.ndim(result) == 0 else np.ndarray)


def test_float32_predictions_are_compared_as_float32_and_added_as_float64():
    threshold = 0.3
    p = np.array([[np.float32(0.3)], [np.nextafter(np.float32(0.3), np.float32(1))]])
    for name in ("Precision", "Recall"):
        mine = getattr(metrics, name)(thresholds=threshold)
        assert mine(np.ones((2, 1)), p) == {"Precision": 1.0, "Recall": 0.5}[name]
    total = metrics.Sum()
    total.update_state(np.float32(2**24))
    total.update_state(np.float32(1))
    assert total.result() == 2**24 + 1


# --- sums and means ---------------------------------------------------------------------------------------


@given(
    shape=st.sampled_from([(), (4,), (3, 5), (2, 3, 4)]),
    axes=st.integers(0, 3),
    seed=st.integers(0, 99),
    name=st.sampled_from(["Mean", "Sum"]),
)
def test_mean_and_sum(shape, axes, seed, name):
    rng = np.random.default_rng(seed)
    mine, theirs = getattr(metrics, name)(), getattr(keras.metrics, name)()
    for weight in (None, rng.random(shape[:axes])):
        values = rng.standard_normal(shape)
        mine.update_state(values, weight)
        theirs.update_state(values, weight)
        assert mine.result() == pytest.approx(float(theirs.result()), rel=1e-12)


def test_mean_takes_numbers_and_tensors():
    mean = metrics.Mean()
    mean.update_state(1.0, 3)
    mean.update_state(Tensor(np.array(5.0), requires_grad=True), 1)
    assert mean.result() == 2.0
    assert mean([2.0, 2.0]) == 2.0


def test_an_ignored_class_is_left_out_with_and_without_weights():
    labels, p = np.array([0, 1, 2, 1]), np.random.default_rng(0).random((4, 3))
    metric = metrics.SparseCategoricalCrossentropy(ignore_class=1)
    expected = losses.SparseCategoricalCrossentropy(ignore_class=1)(labels, p)
    assert metric(labels, p) == pytest.approx(expected, rel=1e-12)
    assert metric(labels, p, np.ones(4)) == pytest.approx(expected, rel=1e-12)
    mean = metrics.Mean()
    mean.update_state(losses.sparse_categorical_crossentropy(labels, Tensor(p), ignore_class=1))
    assert mean.result() == pytest.approx(expected, rel=1e-12)


def test_labels_that_are_no_class_are_never_right():
    p = np.array([[0.1, 0.9], [0.1, 0.9]])
    assert metrics.SparseCategoricalAccuracy()(np.array([-1, 1]), p) == 0.5
    assert metrics.SparseTopKCategoricalAccuracy(k=2)(np.array([-1, 2]), p) == 0.0


def test_the_first_of_equal_scores_are_the_top():
    p = (np.arange(400)[None] % 7 == 3).astype(float)
    y = np.zeros((1, 400))
    y[0, [3, 10]] = 1
    assert metrics.Precision(top_k=2)(y, p) == 1.0


def test_an_area_by_hand():
    y, p = np.array([0, 0, 1, 1]), np.array([0.0, 0.5, 0.3, 0.9])
    assert metrics.AUC(num_thresholds=3)(y, p) == pytest.approx(0.75)
    assert metrics.AUC(num_thresholds=1000)(y, p) == pytest.approx(0.75)
    assert metrics.AUC()(y, y) == pytest.approx(1.0)
    assert metrics.AUC(curve="PR")(y, y) == pytest.approx(1.0)


def test_shapes_that_do_not_fit():
    y = np.ones((4, 3))
    for name in (
        "Accuracy",
        "BinaryAccuracy",
        "CategoricalAccuracy",
        "Precision",
        "AUC",
        "F1Score",
        "R2Score",
    ):
        with pytest.raises(
            ValueError, match=r"expected y_true of the shape \(4, 3\) of y_pred, found \(4, 2\)"
        ):
            getattr(metrics, name)()(np.ones((4, 2)), y)
    with pytest.raises(ValueError, match=r"sparse_categorical_accuracy: expected labels of shape \(4,\)"):
        metrics.SparseCategoricalAccuracy()(np.ones((4, 2)), y)
    with pytest.raises(ValueError, match=r"sample_weight: values of shape \(4,\) .* found \(3,\)"):
        metrics.MeanSquaredError()(y, y, np.ones(3))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: metrics.Precision(thresholds=[0.5, 1.5]), "Precision: expected thresholds within 0 ... 1"),
        (
            lambda: metrics.Recall(class_id=3)(np.ones((2, 2)), np.ones((2, 2))),
            "Recall: expected class_id in 0 ... 1",
        ),
        (lambda: metrics.AUC(num_thresholds=1), "AUC: expected num_thresholds of at least 2, found 1"),
        (lambda: metrics.AUC(curve="ROK"), "AUC: expected curve to be one of 'ROC', 'PR', found 'ROK'"),
        (lambda: metrics.AUC(num_labels=2), "AUC: num_labels is meant for multi_label=True"),
        (
            lambda: metrics.AUC(multi_label=True, num_labels=3)(np.ones((2, 2)), np.ones((2, 2))),
            "AUC: expected predictions for 3 labels, found 2",
        ),
        (lambda: metrics.F1Score(average="mean"), "F1Score: expected average to be one of"),
        (lambda: metrics.F1Score(threshold=0.0), "F1Score: expected threshold above 0 and up to 1"),
        (
            lambda: metrics.R2Score(class_aggregation="mean"),
            "R2Score: expected class_aggregation to be one of",
        ),
        (lambda: metrics.R2Score(num_regressors=-1), "R2Score: expected num_regressors of at least 0"),
        (lambda: metrics.get("acuracy"), "unknown metric 'acuracy'; did you mean 'accuracy'"),
    ],
)
def test_what_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_too_many_regressors_are_warned_of():
    metric = metrics.R2Score(num_regressors=3)
    with pytest.warns(UserWarning, match="3 regressors are too many for 3 elements"):
        assert metric(np.array([[1.0], [2.0], [3.0]]), np.array([[1.0], [2.0], [4.0]])) == 0.5


# --- by name ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("y_true", "y_pred", "kind"),
    [
        ((8, 1), (8, 1), "binary"),
        ((8,), (8, 1), "binary"),
        ((8, 5), (8, 5, 1), "binary"),
        ((8,), (8, 3), "sparse_categorical"),
        ((8, 5), (8, 5, 3), "sparse_categorical"),
        ((8, 1), (8, 3), "sparse_categorical"),
        ((8, 3), (8, 3), "categorical"),
        ((8, 5, 3), (8, 5, 3), "categorical"),
    ],
)
@pytest.mark.parametrize("name", ["accuracy", "acc", "ACC", "crossentropy", "ce", "mse"])
def test_names_that_depend_on_shapes(name, y_true, y_pred, kind):
    metric = metrics.resolve(name, y_true, y_pred)
    assert metric.name == name
    if name == "mse":
        assert type(metric) is metrics.MeanSquaredError
    else:
        what = "crossentropy" if name in ("crossentropy", "ce") else "accuracy"
        assert type(metric).__name__.lower() == (kind + what).replace("_", "")


def test_every_class_has_its_name():
    for name in metrics.__all__:
        made = getattr(metrics, name)
        if isinstance(made, type) and made not in (metrics.Metric, metrics.MeanMetricWrapper):
            snake = getattr(keras.metrics, name)().name.rstrip("_0123456789")
            assert type(metrics.get(name)) is made
            assert metrics.get(name).name == name
            assert made().name.rstrip("_0123456789") == snake
            assert type(metrics.get(made().name)) is made
            assert metrics.get(made).name == made().name
    assert metrics.get(None) is None


@pytest.mark.parametrize("name", [*losses.FUNCTIONS, *losses.ALIASES])
def test_losses_by_name(name):
    rng = np.random.default_rng(0)
    y, p = rng.integers(0, 2, (4, 2)), rng.random((4, 2))
    y = y[:, 0] if "sparse" in name else y
    sign = -1.0 if name == "cosine_similarity" else 1.0
    metric = metrics.get(name)
    assert metric.name == name
    assert metric(y, p) == pytest.approx(sign * losses.get(name)(y, p), rel=1e-12)


def test_functions_and_losses_of_the_user():
    def largest(y_true, y_pred, power=1):
        return np.abs(y_true - y_pred).max(axis=-1) ** power

    y, p = np.zeros((2, 2)), np.array([[1.0, 2.0], [3.0, 0.0]])
    metric = metrics.get(largest)
    assert metric.name == "largest"
    assert metric(y, Tensor(p, requires_grad=True)) == 2.5
    assert metrics.MeanMetricWrapper(largest, name="squared", power=2)(y, p) == 6.5
    loss = metrics.get(losses.Huber(delta=0.5))
    assert loss.name == "huber_loss"
    assert loss(y, p) == pytest.approx(losses.Huber(delta=0.5)(y, p))


def test_a_wrapped_function_survives_its_configuration():
    metric = metrics.MeanMetricWrapper("huber", delta=0.5)
    again = metrics.get({"class_name": "MeanMetricWrapper", "config": metric.get_config()})
    assert again.fn is losses.huber
    assert again.get_config() == {"fn": "huber", "name": "huber", "dtype": None, "delta": 0.5}
    assert again(np.zeros((1, 1)), np.ones((1, 1))) == 0.375


def test_nothing_is_recorded():
    x = Tensor(np.random.default_rng(0).random((3, K)), requires_grad=True)
    metric = metrics.MeanSquaredError()
    metric.update_state(np.zeros((3, K)), x)
    assert x.grad is None
    assert type(metric.total) is float
