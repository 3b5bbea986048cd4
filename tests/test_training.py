"""fit, evaluate and predict: Keras's numbers and calls of callbacks; errors that help and do no harm."""

import functools
import warnings

import keras
import numpy as np
import pytest
from keras_oracle import draw, float_type

import tinyrnn
from tinyrnn import callbacks, layers, losses, metrics, ops, optimizers
from tinyrnn.autograd import Tensor
from tinyrnn.layers import Dense, Embedding, Input
from tinyrnn.models import Model, Sequential
from tinyrnn.utils import PyDataset

N = 22  # samples: with batches of 5 the last has 2
X = draw(N, 3)
REAL = X.sum(axis=1, keepdims=True)
BIT = (REAL > 0).astype("int64")
CLASS = np.arange(N) * 7 % 3
TOKENS = (
    np.arange(N * 6).reshape(N, 6) * 5 % 7 * (np.arange(6) < 2 + np.arange(N)[:, None] % 5)
)  # 0 is padding
TAGS = np.arange(N * 6).reshape(N, 6) * 11 % 3
WEIGHTS = np.abs(draw(N, seed=1)) + 0.1
TOKEN_WEIGHTS = np.abs(draw(N, 6, seed=2)) + 0.1


# --- the same numbers as Keras ----------------------------------------------------------------------------


def both(make):
    """Return what ``make(layers, Input, Model, Sequential)`` makes in both libraries, of equal weights."""
    ours = make(layers, Input, Model, Sequential)
    theirs = make(keras.layers, keras.Input, keras.Model, keras.Sequential)
    weights = [0.5 * draw(*w.shape, seed=i) for i, w in enumerate(ours.weights)]
    ours.set_weights(weights)
    theirs.set_weights(weights)
    return ours, theirs


def assert_same_logs(found, expected, without=()):
    assert list(found) == list(expected)
    for key in expected:
        if key not in without:
            np.testing.assert_allclose(found[key], expected[key], rtol=1e-9, atol=1e-9, err_msg=key)


def dense(L, Input, Model, Sequential):
    first = L.Dense(4, activation="tanh", kernel_regularizer="l2", activity_regularizer="l1")
    return Sequential([Input((3,)), first, L.Dense(1, name="out")])


def bits(L, Input, Model, Sequential):
    return Sequential([Input((3,)), L.Dense(4, activation="tanh"), L.Dense(1, activation="sigmoid")])


def classes(L, Input, Model, Sequential):
    return Sequential([Input((3,)), L.Dense(3, activation="softmax")])


def tagger(L, Input, Model, Sequential):
    tags = L.TimeDistributed(L.Dense(3, activation="softmax"))
    return Sequential([Input((None,), dtype="int32"), L.Embedding(7, 4, mask_zero=True), tags])


def fork(L, Input, Model, Sequential):
    x = Input((3,), name="x")
    return Model(x, [L.Dense(3, activation="softmax", name="kind")(x), L.Dense(1, name="size")(x)])


# What is trained, on what, how compiled, how fitted. The longer names are what each adds.
FITS = {
    "regression, partial batch, regularizers, validation_split": (
        dense, X, REAL, {"optimizer": "sgd", "loss": "mse", "metrics": ["mae"]},
        {"validation_split": 0.3, "epochs": 3},
    ),
    "weights of samples, weighted metrics, validation with weights": (
        bits, X, BIT,
        {"optimizer": "adam", "loss": "binary_crossentropy", "metrics": ["accuracy"],
         "weighted_metrics": ["accuracy", "mse"]},
        {"sample_weight": WEIGHTS, "validation_data": (X[::-1], BIT, WEIGHTS), "epochs": 3,
         "initial_epoch": 1},
    ),
    "weights of classes, epochs of few steps, validation every other epoch": (
        classes, X, CLASS,
        {"optimizer": "rmsprop", "loss": "sparse_categorical_crossentropy", "weighted_metrics": ["acc"]},
        {"class_weight": {0: 2.0, 2: 0.5}, "steps_per_epoch": 2, "epochs": 4, "validation_data": (X, CLASS),
         "validation_freq": 2, "validation_steps": 2, "validation_batch_size": 7},
    ),
    "masks, weights of tokens": (
        tagger, TOKENS, TAGS,
        {"optimizer": "adam", "loss": "sparse_categorical_crossentropy", "weighted_metrics": ["accuracy"]},
        {"sample_weight": TOKEN_WEIGHTS, "validation_data": (TOKENS[::-1], TAGS), "epochs": 2},
    ),
    "two outputs": (
        fork, {"x": X}, [CLASS, REAL],
        {"optimizer": "sgd", "loss": {"kind": "sparse_categorical_crossentropy", "size": "mse"},
         "loss_weights": {"kind": 0.5, "size": 2.0}, "metrics": {"size": ["mae", "mse"]},
         "weighted_metrics": {"kind": ["accuracy"]}},
        {"sample_weight": [WEIGHTS, WEIGHTS[::-1]], "epochs": 2,
         "validation_data": ({"x": X}, {"size": REAL, "kind": CLASS})},
    ),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:(the data ended|Your input ran out)")
@pytest.mark.parametrize("case", FITS)
def test_fit_is_that_of_keras(case):
    make, x, y, compiled, fitted = FITS[case]
    # Keras on JAX takes the metrics of training after the mask is lost; those of validation have it.
    lost = ["weighted_accuracy", "accuracy"] if make is tagger else []
    with float_type("float64"):
        ours, theirs = both(make)
        logs = []
        for model in (ours, theirs):
            model.compile(**compiled)
            history = model.fit(x, y, batch_size=5, shuffle=False, verbose=0, **fitted)
            logs.append(history.history)
        assert_same_logs(*logs, without=lost)
        assert ours.history.epoch == theirs.history.epoch
        assert ours.history.params == theirs.history.params
        for a, b in zip(ours.get_weights(), theirs.get_weights(), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)
        expected = theirs.evaluate(x, y, batch_size=5, verbose=0, return_dict=True)
        assert_same_logs(ours.evaluate(x, y, batch_size=5, verbose=0, return_dict=True), expected)
        values = ours.evaluate(x, y, batch_size=5, verbose=0)
        np.testing.assert_allclose(values, [expected[name] for name in ours.metrics_names], rtol=1e-9)
        np.testing.assert_allclose(
            np.concatenate([np.ravel(p) for p in _as_list(ours.predict(x, batch_size=5, verbose=0))]),
            np.concatenate([np.ravel(p) for p in _as_list(theirs.predict(x, batch_size=5, verbose=0))]),
            rtol=1e-9,
        )


def _as_list(outputs):
    return outputs if isinstance(outputs, list) else [outputs]


def test_single_batches_are_those_of_keras():
    with float_type("float64"):
        ours, theirs = both(bits)
        found = []
        for model in (ours, theirs):
            model.compile("adam", "bce", metrics=["mae"], weighted_metrics=["accuracy"])
            found.append(
                [
                    model.train_on_batch(X, BIT, sample_weight=WEIGHTS),
                    model.train_on_batch(X, BIT, sample_weight=WEIGHTS[::-1]),
                    model.test_on_batch(X, BIT, sample_weight=WEIGHTS),
                    model.predict_on_batch(X).ravel(),
                    list(model.train_on_batch(X, BIT, class_weight={1: 3.0}, return_dict=True).values()),
                ]
            )
        for a, b in zip(*found, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9)
        assert list(ours.test_on_batch(X, BIT, return_dict=True)) == ["accuracy", "loss", "mae"]


class Recorder:
    """Takes down the calls of hooks; to be mixed into a Callback of either library."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def __getattribute__(self, name):
        if not name.startswith("on_"):
            return super().__getattribute__(name)
        return functools.partial(self.record, name)

    def record(self, name, *args, logs=None, **kwargs):
        logs = next((a for a in args if isinstance(a, dict)), logs)
        index = [a for a in args if isinstance(a, int)]
        self.calls.append((name, *index, sorted(logs or {})))


def test_hooks_are_called_as_in_keras():
    with float_type("float64"):
        models = both(bits)
        found = []
        for model, module in zip(models, (callbacks, keras.callbacks), strict=True):
            recorder = type("Both", (Recorder, module.Callback), {})()
            model.compile("sgd", "mse", metrics=["mae"])
            model.fit(X, BIT, batch_size=12, epochs=2, verbose=0, validation_split=0.3, callbacks=[recorder])
            model.evaluate(X, BIT, batch_size=12, verbose=0, callbacks=[recorder])
            model.predict(X, batch_size=12, verbose=0, callbacks=[recorder])
            found.append(recorder.calls)
    assert found[0] == found[1]
    names = [name for name, *_ in found[0]]
    assert names[:4] == ["on_train_begin", "on_epoch_begin", "on_train_batch_begin", "on_train_batch_end"]


# --- data of every kind -----------------------------------------------------------------------------------


def trained(x=X, y=BIT, seed=0, compiled=None, **fitted):
    """Return the history and the weights of a small model after training."""
    tinyrnn.utils.set_random_seed(seed)
    model = Sequential([Input((3,)), Dense(4, activation="tanh"), Dense(1, activation="sigmoid")])
    model.compile(**{"optimizer": "adam", "loss": "bce", "metrics": ["accuracy"], **(compiled or {})})
    history = model.fit(x, y, **{"verbose": 0, **fitted})
    return history.history, model


def same_bits(a, b):
    return a[0] == b[0] and all(
        np.array_equal(v, w) for v, w in zip(a[1].get_weights(), b[1].get_weights(), strict=True)
    )


class Batches(PyDataset):
    def __len__(self):
        return 5

    def __getitem__(self, i):
        rows = slice(5 * i, 5 * i + 5)
        return X[rows], BIT[rows]


def test_generators_and_data_sets_train_as_arrays_do():
    def generator(n):
        for i in range(n):
            yield Batches()[i % 5]

    settings = {"epochs": 2, "shuffle": False}
    expected = trained(batch_size=5, **settings)
    assert same_bits(trained(Batches(), None, **settings), expected)
    assert same_bits(trained(generator(10), None, steps_per_epoch=5, **settings), expected)
    assert same_bits(trained(X.tolist(), BIT.tolist(), batch_size=5, **settings), expected)
    assert same_bits(trained(Tensor(X), Tensor(BIT), batch_size=5, **settings), expected)
    assert same_bits(trained([X], [BIT], batch_size=5, **settings), expected)


def test_validation_data_of_every_kind():
    def check(validation_data, **settings):
        history, _ = trained(epochs=2, shuffle=False, validation_data=validation_data, **settings)
        return history["val_loss"]

    expected = check((X, BIT), validation_batch_size=5)
    assert check(Batches()) == expected
    assert check((b for b in [Batches()[i] for i in range(5)] * 2), validation_steps=5) == expected
    with pytest.warns(FutureWarning, match=r"validation_data=\(x, y\)") as caught:
        assert check([X, BIT], validation_batch_size=5) == expected
    assert len(caught) == 1
    assert caught[0].filename.endswith("test_training.py")


def test_a_generator_to_validate_on_may_run_dry():
    validation = (Batches()[i] for i in range(5))
    with pytest.warns(UserWarning, match="the data ended after 0 steps"):
        history, _ = trained(epochs=2, validation_data=validation)
    assert len(history["val_loss"]) == 1


def test_validation_data_go_before_validation_split():
    history, _ = trained(validation_data=(X, BIT), validation_split=0.5, shuffle=False)
    assert history["val_loss"] == trained(validation_data=(X, BIT), shuffle=False)[0]["val_loss"]


def test_a_generator_that_runs_dry_ends_training():
    """Keras goes on with the two batches that it has looked at first."""

    def generator():
        yield from (Batches()[i] for i in range(5))

    with pytest.warns(UserWarning, match="the data have ended before epoch 2"):
        history, _ = trained(generator(), None, epochs=4)
    assert len(history["loss"]) == 1
    with pytest.warns(UserWarning, match="the data ended after 2 of 3 steps"), pytest.warns(match="epoch 3"):
        history, _ = trained(generator(), None, epochs=4, steps_per_epoch=3)
    assert len(history["loss"]) == 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trained(generator(), None)  # the end of an only epoch needs no warning


def test_predictions_have_the_form_of_the_outputs():
    x = Input((3,))
    single, pair = Dense(2, name="a"), [Dense(2, name="b")(x), Dense(1, name="c")(x)]
    as_array = Sequential([Input((3,)), single]).predict(X, batch_size=4, verbose=0)
    assert type(as_array) is np.ndarray
    np.testing.assert_array_equal(as_array, single(X).numpy())
    as_list = Model(x, pair).predict(X, batch_size=4, verbose=0)
    assert [y.shape for y in as_list] == [(N, 2), (N, 1)]
    as_dict = Model(x, {"second": pair[1], "first": pair[0]}).predict(X, batch_size=4, verbose=0)
    assert {name: y.shape for name, y in as_dict.items()} == {"first": (N, 2), "second": (N, 1)}


def test_predictions_of_sequences_of_different_length_cannot_be_joined():
    each_step = Sequential([Input((None,), dtype="int32"), Embedding(5, 2)])
    batches = [np.ones((2, n), int) for n in (3, 4)]
    with pytest.raises(
        ValueError, match=r"outputs of \(3, 2\) and \(4, 2\) for each sample cannot be joined"
    ):
        each_step.predict(((b,) for b in batches), verbose=0)
    last = Sequential([Input((None,), dtype="int32"), Embedding(5, 2), layers.GlobalMaxPooling1D()])
    assert last.predict(((b,) for b in batches), verbose=0).shape == (4, 2)


# --- chance -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shuffle", [True, "batch", False])
def test_the_same_seed_gives_the_same_bits(shuffle):
    settings = {"epochs": 3, "batch_size": 4, "shuffle": shuffle, "validation_split": 0.2}
    first = trained(**settings)
    assert same_bits(first, trained(**settings))
    assert first[0] != trained(seed=1, **settings)[0]


def test_shuffling_changes_the_order_and_only_of_training():
    ordered, shuffled = trained(batch_size=4, shuffle=False), trained(batch_size=4)
    assert not same_bits(ordered, shuffled)
    model = shuffled[1]
    np.testing.assert_array_equal(model.predict(X, batch_size=3, verbose=0), model.predict(X, verbose=0))


# --- what is counted --------------------------------------------------------------------------------------


class Penalized(layers.Layer):
    def call(self, inputs):
        self.add_loss(ops.mean(ops.square(inputs)))
        return inputs


def test_losses_of_layers_are_part_of_every_loss():
    model = Sequential(
        [Input((3,)), Penalized(), Dense(1, kernel_regularizer="l2", activity_regularizer="l1")]
    )
    model.compile(optimizers.SGD(0.0), "mse")
    y = model.predict(X, verbose=0)
    expected = np.mean((REAL - y) ** 2) + np.mean(X**2)
    expected += 0.01 * np.sum(model.get_weights()[0] ** 2) + 0.01 * np.abs(y).sum() / N
    found = [model.evaluate(X, REAL, batch_size=N, verbose=0), model.train_on_batch(X, REAL)]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    alone = Sequential([Input((3,)), Dense(1), Penalized()])
    alone.compile("sgd")  # without a loss of the outputs
    before = alone.evaluate(X, verbose=0)
    alone.fit(X, epochs=3, verbose=0)
    assert alone.evaluate(X, verbose=0) < before


def test_evaluation_sees_at_once_which_weights_are_regularized():
    model = Sequential([Input((3,)), Dense(1, kernel_regularizer="l2")])
    model.compile(optimizers.SGD(0.0), "mse")
    model.train_on_batch(X, REAL)
    with_penalty = model.evaluate(X, REAL, verbose=0)
    model.layers[0].trainable = False
    penalty = 0.01 * np.sum(model.get_weights()[0] ** 2)
    np.testing.assert_allclose(model.evaluate(X, REAL, verbose=0), with_penalty - penalty, rtol=1e-5)


def test_metrics_start_anew_in_every_epoch_evaluation_and_batch():
    _, model = trained(epochs=2)
    once = model.evaluate(X, BIT, verbose=0)
    assert model.evaluate(X, BIT, verbose=0) == once
    np.testing.assert_allclose(model.test_on_batch(X, BIT), once, rtol=1e-6)
    assert model.test_on_batch(X, BIT) == model.test_on_batch(X, BIT)


def test_outputs_without_a_loss_and_without_names():
    class Pair(Model):
        def __init__(self):
            super().__init__()
            self.a, self.b = Dense(1), Dense(2)

        def call(self, inputs):
            return [self.a(inputs), self.b(inputs)]

    model = Pair()
    model.compile("sgd", loss=["mse", None], metrics=[["mae"], []])
    with pytest.warns(UserWarning, match="no gradient for"):
        assert list(model.fit(X, [REAL, None], verbose=0).history) == ["loss", "output_1_mae"]
    model.compile("sgd", loss="mse", metrics=[None, ["mae", "mae"]])
    keys = list(model.fit(X, [REAL, X[:, :2]], verbose=0).history)
    assert keys == ["loss", "output_1_loss", "output_2_loss", "output_2_mae", "output_2_mae_1"]
    shared, ends = Dense(1, name="d"), [Input((3,)), Input((3,))]
    twice = Model(ends, [shared(ends[0]), shared(ends[1])])
    twice.compile("sgd", {"d": "mse", "d_1": "mae"})
    assert list(twice.fit([X, X], [REAL, REAL], verbose=0).history) == ["d_1_loss", "d_loss", "loss"]


def test_names_that_depend_on_the_shapes():
    for y, output, kind in (
        (BIT, 1, "binary"),
        (CLASS, 3, "sparse_categorical"),
        (np.eye(3)[CLASS], 3, "categorical"),
    ):
        tinyrnn.utils.set_random_seed(0)
        model = Sequential([Input((3,)), Dense(output, activation="sigmoid" if output == 1 else "softmax")])
        found = []
        for loss, accuracy in (("ce", "acc"), (f"{kind}_crossentropy", f"{kind}_accuracy")):
            model.compile("sgd", loss, metrics=[accuracy])
            found.append(model.evaluate(X, y, verbose=0))
        assert found[0] == found[1]


def test_a_loss_must_be_one_number_and_there_must_be_one():
    model = Sequential([Input((3,)), Dense(1, name="out")])
    model.compile("sgd", losses.MeanSquaredError(reduction=None))
    with pytest.raises(
        ValueError, match=r"output 'out': expected one number as loss, found an array of shape \(22,\)"
    ):
        model.fit(X, REAL, verbose=0)
    for loss in (None, [None]):
        model.compile("sgd", loss)
        with pytest.raises(ValueError, match=r"no loss to compute; give compile\(loss=...\) one"):
            model.fit(X, REAL, verbose=0)


def test_functions_and_objects_serve_as_losses_and_metrics():
    def miss(y_true, y_pred):
        return ops.mean(ops.abs(y_true - y_pred), axis=-1)

    found = trained(compiled={"loss": miss, "metrics": [miss, metrics.MeanAbsoluteError(name="object")]})[0]
    assert list(found) == ["loss", "miss", "object"]
    np.testing.assert_allclose(found["loss"], found["miss"], rtol=1e-6)
    objects = {"loss": losses.MeanAbsoluteError(), "metrics": [metrics.MeanAbsoluteError]}
    assert trained(compiled=objects)[0]["loss"] == found["loss"]


def test_the_average_of_weights_is_put_in_place_at_the_end():
    seen = []
    peek = callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: seen.append(model.get_weights()[0])
    )
    model = Sequential([Input((3,)), Dense(1)])
    model.compile(optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5), "mse")
    model.fit(X, REAL, batch_size=11, epochs=2, verbose=0, callbacks=peek)
    average = seen[0]
    for weights in seen[1:]:
        average = 0.5 * average + 0.5 * weights
    np.testing.assert_allclose(model.get_weights()[0], average, rtol=1e-6)


def test_a_step_may_be_ones_own():
    class Own(Sequential):
        def train_step(self, data):
            logs = super().train_step(data)
            return {**logs, "twice": 2 * logs["loss"]}

        def compute_loss(self, x, y, y_pred, sample_weight=None, training=True):
            return 3.0 * super().compute_loss(x, y, y_pred, sample_weight, training)

    model = Own([Input((3,)), Dense(1)])
    model.compile(optimizers.SGD(0.0), "mse")
    logs = model.fit(X, REAL, verbose=0).history
    assert logs["twice"] == [2 * logs["loss"][0]]
    assert logs["loss"][0] == pytest.approx(3 * np.mean((model.predict(X, verbose=0) - REAL) ** 2), rel=1e-5)


# --- callbacks in training --------------------------------------------------------------------------------


def test_callbacks_can_stop_training():
    stop = callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: setattr(model, "stop_training", epoch == 1)
    )
    model = Sequential([Input((3,)), Dense(1)])
    model.compile("sgd", "mse")
    assert model.fit(X, REAL, epochs=9, verbose=0, callbacks=[stop]).epoch == [0, 1]
    assert model.fit(X, REAL, epochs=2, verbose=0).epoch == [0, 1]
    assert model.fit(X, REAL, epochs=5, initial_epoch=3, verbose=0).epoch == [3, 4]


def test_early_stopping_restores_and_plateaus_are_recorded():
    model = Sequential([Input((3,)), Dense(1)])
    model.compile(optimizers.SGD(10.0), "mse")  # diverges: the first epoch is the best
    kept = []
    found = model.fit(
        X, REAL, epochs=9, verbose=0, validation_split=0.3,
        callbacks=[
            callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: kept.append(model.get_weights())),
            callbacks.EarlyStopping(patience=2, restore_best_weights=True),
            callbacks.ReduceLROnPlateau(patience=1, factor=0.5),
        ],
    )  # fmt: skip
    assert len(found.epoch) == 3
    np.testing.assert_array_equal(model.get_weights()[0], kept[0][0])
    assert found.history["learning_rate"] == [10.0, 10.0, 5.0]


def test_early_stopping_knows_that_accuracies_grow():
    stop = callbacks.EarlyStopping("val_accuracy", patience=5, restore_best_weights=True)
    history, model = trained(seed=1, epochs=30, batch_size=2, validation_data=(X, BIT), callbacks=stop)
    assert stop.best == max(history["val_accuracy"]) > history["val_accuracy"][0]
    assert model.evaluate(X, BIT, verbose=0)[1] == stop.best


def test_a_model_is_built_before_callbacks_see_it():
    seen = []
    model = Sequential([Dense(2), Dense(1)])
    model.compile("sgd", "mse")
    peek = callbacks.LambdaCallback(on_train_begin=lambda logs: seen.extend(w.shape for w in model.weights))
    model.fit(X, REAL, verbose=0, callbacks=[peek])
    assert seen == [(3, 2), (2,), (2, 1), (1,)]


def test_fit_evaluate_and_predict_show_what_they_do(capsys):
    _, model = trained()
    model.fit(X, BIT, epochs=2, validation_split=0.3)
    model.fit(X, BIT, verbose=2)
    model.evaluate(X, BIT)
    model.predict(X)
    lines = capsys.readouterr().out.splitlines()
    bar = "━" * 20
    for line, start, keys in zip(
        lines,
        ["Epoch 1/2", f"1/1 {bar} ", "Epoch 2/2", f"1/1 {bar} ", "1/1 - 0s - ", f"1/1 {bar} ", f"1/1 {bar} "],
        [[], ["accuracy", "loss", "val_accuracy", "val_loss"]] * 2 + [["accuracy", "loss"]] * 2 + [[]],
        strict=True,
    ):
        assert line.startswith(start)
        assert [part.split(":")[0] for part in line.split(" - ") if ": " in part] == keys


# --- what goes wrong --------------------------------------------------------------------------------------


def test_a_wrong_compile_changes_nothing_and_a_right_one_recovers():
    model = Sequential([Input((3,)), Dense(1, name="out")])
    with pytest.raises(ValueError, match=r"call compile\(optimizer, loss\) first"):
        model.fit(X, REAL, verbose=0)
    for arguments, message in (
        ({"optimizer": "adm"}, "did you mean 'adam'"),
        ({"loss": "mean_square_error"}, "did you mean 'mean_squared_error'"),
        ({"metrics": ["acuracy"]}, "did you mean .*accuracy"),
        ({"weighted_metrics": ["acuracy"]}, "did you mean .*accuracy"),
        ({"metrics": "mae"}, "metrics: expected a list or a dictionary"),
        ({"loss": {"uot": "mse"}}, "loss: the model has no output 'uot'; did you mean 'out'"),
        ({"loss": ["mse", "mse"]}, "loss: expected 1 for the outputs out, found 2"),
        ({"loss": "mse", "loss_weights": [1.0, 2.0]}, "loss_weights: expected 1"),
    ):
        with pytest.raises(ValueError, match=message):
            model.compile(**arguments)
        assert not model.compiled
    model.compile("sgd", "mse", metrics=["mae"])
    model.fit(X, REAL, verbose=0)
    expected = model.evaluate(X, REAL, verbose=0)
    with pytest.raises(ValueError, match="did you mean"):
        model.compile("sgd", "mse", metrics=["acuracy"])
    assert model.evaluate(X, REAL, verbose=0) == expected
    model.compile("sgd", "mae")
    assert model.evaluate(X, REAL, verbose=0) == pytest.approx(expected[1], rel=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((X, REAL[:5]), "x: 22, y: 5"),
        ((X[:0], REAL[:0]), "no samples"),
        ((X, None), "y: there are no targets for the output 'out'"),
        ((X, [REAL, REAL]), "y: expected 1 for the outputs out, found 2"),
        ((X, {"tuo": REAL}), "y: the model has no output 'tuo'"),
        ((X, draw(N, 2)), r"expected y_true of the shape \(.*, 1\) of y_pred, found \(.*, 2\)"),
        ((X[:, :2], REAL), "inputs with 3 features, found 2"),
        ((X, REAL, 0), "batch_size"),
    ],
)
def test_a_failed_fit_does_no_harm(arguments, message):
    def make():
        tinyrnn.utils.set_random_seed(0)
        model = Sequential([Input((3,)), Dense(1, name="out")])
        model.compile("adam", "mse", metrics=["mae"])
        return model

    model = make()
    with pytest.raises(ValueError, match=message):
        model.fit(*arguments, verbose=0)
    settings = {"epochs": 2, "shuffle": False, "verbose": 0}
    assert model.fit(X, REAL, **settings).history == make().fit(X, REAL, **settings).history


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"class_weight": {0: 2.0}, "sample_weight": WEIGHTS}, "give one of them, not both"),
        ({"verbose": 3}, "verbose: expected 'auto', 0, 1 or 2"),
        ({"validation_split": 1.5}, "validation_split: 1.5 of 22 samples leaves nothing"),
        ({"validation_data": (X, BIT, WEIGHTS, WEIGHTS)}, "validation_data: expected .* found 4 items"),
        ({"validation_freq": 0}, "validation_freq: expected a number from 1 on, or a list, found 0"),
        ({"validation_freq": "2"}, "validation_freq"),
        ({"steps_per_epoch": 0}, "steps: expected a whole number from 1 on"),
    ],
)
def test_wrong_settings_of_fit(settings, message):
    with pytest.raises(ValueError, match=message):
        trained(**settings)


def test_a_loss_that_is_no_number_is_told_once_and_training_goes_on(capsys):
    y = REAL.copy()
    y[7] = np.nan
    model = Sequential([Input((3,)), Dense(1)])
    model.compile("sgd", "mse")
    with pytest.warns(UserWarning, match="loss is nan at batch 2 of epoch 1") as caught:
        history = model.fit(X, y, batch_size=5, epochs=2, shuffle=False, verbose=2)
    assert len(caught) == 1
    assert caught[0].filename.endswith("test_training.py")
    assert np.isnan(history.history["loss"]).all()
    assert capsys.readouterr().out.count("loss: nan") == 2
    model.set_weights([np.zeros((3, 1)), np.zeros(1)])
    assert np.isfinite(model.fit(X, REAL, verbose=0).history["loss"]).all()


def test_training_ends_at_the_batch_with_nan_if_asked_to(capsys):
    y = REAL.copy()
    y[7] = np.nan
    model = Sequential([Input((3,)), Dense(1)])
    model.compile("sgd", "mse")
    seen = []
    count = callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append(batch))
    with pytest.warns(UserWarning, match="loss is nan"):
        history = model.fit(
            X,
            y,
            batch_size=5,
            epochs=3,
            shuffle=False,
            verbose=0,
            callbacks=[callbacks.TerminateOnNaN(), count],
        )
    assert seen == [0, 1]
    assert history.epoch == [0]
    assert capsys.readouterr().out == "Batch 1: Invalid loss, terminating training\n"


class Idle(layers.Layer):
    """Has a weight that nothing depends on."""

    def build(self, input_shape):
        self.idle = self.add_weight((2,), "ones", "idle")

    def call(self, inputs):
        return inputs


def test_weights_without_a_gradient_are_told_of_once():
    model = Sequential([Input((3,)), Idle(name="idle"), Dense(1)])
    model.compile("sgd", "mse")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(X, REAL, batch_size=5, epochs=2, verbose=0)
    assert [str(w.message) for w in caught] == ["sgd: no gradient for idle/idle"]
    np.testing.assert_array_equal(model.get_weights()[0], [1, 1])


def test_a_model_without_trainable_weights_is_only_measured():
    model = Sequential([Input((3,)), Dense(1)])
    model.trainable = False
    model.compile("sgd", "mse")
    before = model.get_weights()
    model.fit(X, REAL, verbose=0)
    np.testing.assert_array_equal(model.get_weights()[0], before[0])


def test_what_is_trainable_is_settled_by_compile():
    model = Sequential([Input((3,)), Dense(2, name="first"), Dense(1)])
    model.compile("adam", "mse")
    model.fit(X, REAL, verbose=0)
    model.get_layer("first").trainable = False
    with pytest.raises(ValueError, match=r"changed since compile\(\) \(first/kernel, first/bias\)"):
        model.fit(X, REAL, verbose=0)
    model.evaluate(X, REAL, verbose=0)
    model.compile("adam", "mse")
    before = model.get_weights()
    model.fit(X, REAL, verbose=0)
    after = model.get_weights()
    np.testing.assert_array_equal(before[0], after[0])
    assert (before[2] != after[2]).all()


def test_an_error_in_a_callback_leaves_a_model_to_go_on_with():
    def fail(batch, logs):
        raise RuntimeError("mine")

    _, model = trained()
    ended = []
    hooks = callbacks.LambdaCallback(on_train_batch_end=fail, on_train_end=lambda logs: ended.append(1))
    with pytest.raises(RuntimeError, match="mine"):
        model.fit(X, BIT, verbose=0, callbacks=hooks)
    assert not ended  # as in Keras
    model.fit(X, BIT, verbose=0)


def test_what_compile_was_told_can_be_told_again():
    _, model = trained(compiled={"optimizer": optimizers.SGD(0.5, momentum=0.5), "loss": losses.Huber(2.0)})
    config = model.get_compile_config()
    assert config["optimizer"]["config"]["momentum"] == 0.5
    other = Sequential([Input((3,)), Dense(4, activation="tanh"), Dense(1, activation="sigmoid")])
    assert other.get_compile_config() == {}
    other.compile_from_config(config)
    assert other.get_compile_config() == config
    other.set_weights(model.get_weights())
    assert other.evaluate(X, BIT, verbose=0) == model.evaluate(X, BIT, verbose=0)
