"""What a user may get wrong: a clear error that names the place, and a model that still works."""

import warnings

import numpy as np
import pytest

import tinyrnn
from tinyrnn.layers import GRU, LSTM, Dense, Embedding, Input, SimpleRNN

rng = np.random.default_rng(0)
X = rng.standard_normal((8, 5, 3)).astype("float32")
IDS = rng.integers(0, 10, (8, 5))
Y = rng.integers(0, 2, 8)


def series_model():
    model = tinyrnn.Sequential([Input((None, 3)), LSTM(4, name="memory"), Dense(1, activation="sigmoid")])
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    return model


def token_model():
    model = tinyrnn.Sequential([Input((None,)), Embedding(10, 4, name="words"), GRU(3), Dense(1)])
    model.compile("adam", "mse")
    return model


def stateful_model():
    model = tinyrnn.Sequential(
        [Input(batch_shape=(4, 5, 3)), SimpleRNN(2, stateful=True, name="keeper"), Dense(1)]
    )
    model.compile("adam", "mse")
    return model


def with_id(value):
    ids = IDS.copy()
    ids[2, 3] = value
    return ids


def states(*shapes):
    return [np.zeros(s, "float32") for s in shapes]


CASES = {
    "rank": (series_model, lambda m: m.predict(X[0], verbose=0), ["expected shape", r"\(5, 3\)"]),
    "feature size": (series_model, lambda m: m.fit(X[:, :, :2], Y, verbose=0), ["3", r"\(8, 5, 2\)"]),
    "token id too large": (
        token_model,
        lambda m: m.predict(with_id(10), verbose=0),
        ["words", "10", r"\(2, 3\)"],
    ),
    "token id negative": (
        token_model,
        lambda m: m.fit(with_id(-1), Y, verbose=0, shuffle=False),
        ["words", "-1"],
    ),
    "state count": (
        series_model,
        lambda m: m.layers[0](X, initial_state=states((8, 4))),
        ["memory", "2", "1"],
    ),
    "state size": (
        series_model,
        lambda m: m.layers[0](X, initial_state=states((8, 4), (8, 3))),
        ["memory", r"\(8, 4\)", r"\(8, 3\)"],
    ),
    "batch size of a stateful layer": (
        stateful_model,
        lambda m: m.predict(X[:3], verbose=0),
        ["keeper", "batches of 4, found one of 3"],
    ),
    "unknown loss": (
        series_model,
        lambda m: m.compile("adam", "binary_crossentropi"),
        ["binary_crossentropy"],
    ),
    "unknown optimizer": (series_model, lambda m: m.compile("adamm", "mse"), ["did you mean 'adam'"]),
    "unknown metric": (series_model, lambda m: m.compile("adam", "mse", metrics=["acuracy"]), ["accuracy"]),
    "unknown activation": (
        series_model,
        lambda m: Dense(3, activation="sigmoyd"),
        ["did you mean 'sigmoid'"],
    ),
    "unknown initializer": (
        series_model,
        lambda m: Dense(3, kernel_initializer="glorot"),
        ["did you mean 'Glorot"],
    ),
    "empty batch": (series_model, lambda m: m.fit(X[:0], Y[:0], verbose=0), ["no samples"]),
    "empty batch to predict": (series_model, lambda m: m.predict(X[:0], verbose=0), ["no samples"]),
    "zero time steps": (series_model, lambda m: m.predict(X[:, :0], verbose=0), ["memory", "time step"]),
    "numbers of samples": (series_model, lambda m: m.fit(X, Y[:7], verbose=0), ["x: 8", "y: 7"]),
    "number of weights": (
        series_model,
        lambda m: m.fit(X, Y, sample_weight=np.ones(5), verbose=0),
        ["sample_weight: 5"],
    ),
    "no targets": (series_model, lambda m: m.fit(X, verbose=0), ["y"]),
    "shape of targets": (
        series_model,
        lambda m: m.fit(X, np.ones((8, 3)), verbose=0),
        [r"\(8, 1\)", r"\(8, 3\)"],
    ),
    "rows of different lengths": (
        token_model,
        lambda m: m.fit([[1, 2], [3]], Y[:2], verbose=0),
        ["pad_sequences"],
    ),
    "weights of another model": (
        series_model,
        lambda m: m.set_weights([np.ones(3)]),
        ["expected 5", "found 1"],
    ),
    "unknown layer": (series_model, lambda m: m.get_layer("memori"), ["memory"]),
}


@pytest.mark.parametrize("case", CASES)
def test_error_is_clear_and_the_model_still_works(case):
    make, mistake, expected = CASES[case]
    model = make()
    x = IDS if make is token_model else X[:4] if make is stateful_model else X
    before = model.predict(x, verbose=0)
    if make is stateful_model:
        model.reset_states()
    with pytest.raises((ValueError, IndexError)) as caught:
        mistake(model)
    for words in expected:
        assert caught.match(words)
    np.testing.assert_array_equal(model.predict(x, verbose=0), before)
    model.fit(x, Y[: len(x)], batch_size=4, epochs=1, verbose=0)


def test_unbuilt_and_uncompiled():
    model = tinyrnn.Sequential([LSTM(4), Dense(1)])
    with pytest.raises(ValueError, match=r"compile\(optimizer, loss\) first"):
        model.fit(X, Y)
    with pytest.raises(ValueError, match="not built"):
        model.count_params()
    model.compile("sgd", "mse")
    model.fit(X, Y, verbose=0)


def test_a_loss_that_is_not_a_number_is_said_and_does_not_break_the_model():
    model = series_model()
    weights = model.get_weights()
    bad = X.copy()
    bad[0, 0, 0] = np.nan
    with pytest.warns(UserWarning, match="loss is nan"):
        model.fit(bad, Y, verbose=0)
    model.set_weights(weights)  # the object is sound, its weights are what training made of them
    model.compile("adam", "binary_crossentropy")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        history = model.fit(X, Y, verbose=0)
    assert np.isfinite(history.history["loss"][0])
