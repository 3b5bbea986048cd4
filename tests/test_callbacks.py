"""Callbacks decide, record and print what Keras's do."""

import builtins
import contextlib
import math
import re

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyrnn import callbacks, metrics
from tinyrnn.callbacks import Callback, CallbackList
from tinyrnn.plotting import plot_histories, plot_history
from tinyrnn.progress import ProgressBar


class Optimizer:
    learning_rate = 1.0


class Model:
    """As much of a model as a callback sees: its weights are the number of the epoch."""

    def __init__(self, metrics=()):
        self.optimizer = Optimizer()
        self.metrics = list(metrics)
        self.stop_training = False
        self.weights = None

    def get_weights(self):
        return [self.weights]

    def set_weights(self, weights):
        (self.weights,) = weights


def run(callback, values, name="val_loss", stop=True):
    """Feed a callback the values of a quantity; return what it decided after each epoch, and the model."""
    model = Model()
    callback.set_model(model)
    callback.on_train_begin()
    decisions = []
    for epoch, value in enumerate(values):
        model.weights = epoch
        callback.on_epoch_end(epoch, {name: value})
        decisions.append((model.stop_training, model.optimizer.learning_rate, callback.wait, callback.best))
        if stop and model.stop_training:
            break
    callback.on_train_end()
    return decisions, model


# Values that float32, in which Keras compares, holds exactly.
quantities = st.lists(st.integers(0, 12).map(lambda n: n / 8), min_size=1, max_size=12)


# --- decisions --------------------------------------------------------------------------------------------


@given(
    quantities,
    st.fixed_dictionaries(
        {
            "patience": st.integers(0, 3),
            "min_delta": st.sampled_from([0, 0.125, 0.25]),
            "mode": st.sampled_from(["auto", "min", "max"]),
            "baseline": st.sampled_from([None, 0.5, 1.0]),
            "restore_best_weights": st.booleans(),
            "start_from_epoch": st.integers(0, 3),
        }
    ),
)
def test_early_stopping_decides_as_keras_does(values, settings):
    ours, theirs = callbacks.EarlyStopping(**settings), keras.callbacks.EarlyStopping(**settings)
    found, model = run(ours, values)
    expected, keras_model = run(theirs, values)
    assert found == expected
    assert model.weights == keras_model.weights
    assert (ours.stopped_epoch, ours.best_epoch) == (theirs.stopped_epoch, theirs.best_epoch)


@given(
    quantities,
    st.fixed_dictionaries(
        {
            "patience": st.integers(0, 3),
            "factor": st.sampled_from([0.5, 0.25]),
            "min_delta": st.sampled_from([0, 0.125]),
            "mode": st.sampled_from(["auto", "min", "max"]),
            "cooldown": st.integers(0, 2),
            "min_lr": st.sampled_from([0.0, 0.25]),
        }
    ),
)
def test_reduce_lr_on_plateau_decides_as_keras_does(values, settings):
    found, _ = run(callbacks.ReduceLROnPlateau(**settings), values)
    expected, _ = run(keras.callbacks.ReduceLROnPlateau(**settings), values)
    assert found == expected


def test_nan_is_never_an_improvement():
    """Keras takes NaN for the best value if it comes first, and then never sees an improvement."""
    stopping = callbacks.EarlyStopping(patience=2)
    decisions, _ = run(stopping, [math.nan, 3.0, 2.0, math.nan, math.nan])
    assert [stopped for stopped, *_ in decisions] == [False, False, False, False, True]
    assert stopping.best == 2.0


def test_a_metric_says_in_which_direction_it_improves():
    model = Model()
    stopping = callbacks.EarlyStopping("val_out_accuracy", patience=1)
    model.metrics = [type("Accuracy", (), {"name": "accuracy", "direction": "max"})]
    stopping.set_model(model)
    stopping.on_train_begin()
    for epoch, value in enumerate([0.5, 0.6, 0.55]):
        stopping.on_epoch_end(epoch, {"val_out_accuracy": value})
    assert (stopping.best, stopping.stopped_epoch) == (0.6, 2)


def test_directions_of_metrics_are_those_of_keras():
    compared = 0
    for name in metrics.__all__:
        kind, theirs = getattr(metrics, name), getattr(keras.metrics, name, None)
        if (
            isinstance(kind, type)
            and isinstance(theirs, type)
            and name not in ("Metric", "MeanMetricWrapper")
        ):
            expected = {"up": "max", "down": "min"}.get(getattr(theirs(), "_direction", None))
            assert kind().direction == expected, name
            compared += 1
    assert compared > 15
    assert [metrics.get(name).direction for name in ("mse", "accuracy", "poisson")] == ["min", "max", "min"]
    assert metrics.get(lambda y_true, y_pred: y_pred).direction is None


def test_what_cannot_be_monitored():
    with pytest.raises(ValueError, match="unknown mode 'mim'; did you mean 'min'"):
        callbacks.EarlyStopping(mode="mim")
    with pytest.raises(ValueError, match="say mode='max' or mode='min'"):
        run(callbacks.EarlyStopping("strange"), [1.0, 2.0], "strange")
    with pytest.warns(UserWarning, match="the logs have no 'val_loss'; did you mean 'loss'"):
        run(callbacks.EarlyStopping(), [1.0], "loss")
    with pytest.raises(ValueError, match="factor: expected a number below 1, found 1"):
        callbacks.ReduceLROnPlateau(factor=1.0)


def test_decisions_are_told_if_asked_for(capsys):
    run(callbacks.EarlyStopping(patience=1, verbose=1, restore_best_weights=True), [1.0, 2.0])
    run(callbacks.ReduceLROnPlateau(patience=1, factor=0.5, verbose=1), [1.0, 2.0])
    assert capsys.readouterr().out.split("\n") == [
        "Epoch 2: early stopping",
        "Restoring model weights from the end of the best epoch: 1.",
        "",
        "Epoch 2: ReduceLROnPlateau reducing learning rate to 0.5.",
        "",
    ]


def test_learning_rate_scheduler(capsys):
    for schedule, expected in (
        (lambda epoch, rate: rate * 0.5, 0.25),
        (lambda epoch: 1.0 / (epoch + 2), 1 / 3),
    ):
        model, logs = Model(), {}
        scheduler = callbacks.LearningRateScheduler(schedule, verbose=1)
        scheduler.set_model(model)
        for epoch in range(2):
            scheduler.on_epoch_begin(epoch)
            scheduler.on_epoch_end(epoch, logs)
        assert logs["learning_rate"] == model.optimizer.learning_rate == expected
    assert "Epoch 2: LearningRateScheduler setting learning rate to 0.25.\n" in capsys.readouterr().out
    scheduler.schedule = lambda epoch: 1
    with pytest.raises(ValueError, match="schedule: expected a float, found 1"):
        scheduler.on_epoch_begin(0)


def test_terminate_on_nan(capsys):
    for bad in (math.nan, math.inf):
        model = Model()
        terminate = callbacks.TerminateOnNaN()
        terminate.set_model(model)
        terminate.on_train_batch_end(0, {"loss": 1.0})
        assert not model.stop_training
        terminate.on_train_batch_end(3, {"loss": bad})
        assert model.stop_training
    assert capsys.readouterr().out == "Batch 3: Invalid loss, terminating training\n" * 2
    with pytest.raises(RuntimeError, match="loss is nan at batch 2"):
        callbacks.TerminateOnNaN(raise_error=True).on_train_batch_end(2, {"loss": math.nan})


# --- records ----------------------------------------------------------------------------------------------

ROWS = [
    {"loss": 0.1, "accuracy": 1 / 3, "per_class": np.array([0.25, 0.5])},
    {"loss": 2.0, "accuracy": 1e-7, "per_class": np.array([1.0, 0.0]), "val_loss": 3.0},
    {"loss": math.nan, "extra": 1.0},
]


@pytest.mark.parametrize("separator", [",", ";"])
@pytest.mark.parametrize("rows", [ROWS, ROWS[1:]])
def test_csv_files_are_those_of_keras(tmp_path, rows, separator):
    files = []
    for module in (callbacks, keras.callbacks):
        path = tmp_path / f"{module.__name__}.csv"
        for append in (False, False, True):  # written, overwritten, gone on with
            logger = module.CSVLogger(path, separator, append)
            logger.on_train_begin()
            for epoch, logs in enumerate(rows):
                logger.on_epoch_end(epoch, dict(logs))
            logger.on_train_end()
        files.append(path.read_bytes())
    assert files[0] == files[1]
    assert files[0].count(b"epoch") == 1
    assert files[0].count(b"\n") == 1 + 2 * len(rows)


def make_history(*rows):
    history = callbacks.History()
    history.set_model(Model())
    history.on_train_begin()
    for epoch, logs in enumerate(rows):
        history.on_epoch_end(epoch, logs)
    return history


def test_history_records_every_epoch():
    history = make_history({"loss": 2.0}, {"loss": 1.0, "val_loss": 3.0})
    assert history.history == {"loss": [2.0, 1.0], "val_loss": [3.0]}
    assert history.epoch == [0, 1]
    assert history.model.history is history
    history.on_train_begin()
    history.on_epoch_end(2, {"loss": 0.5})
    assert history.epoch == [2]
    assert history.history["loss"] == [2.0, 1.0, 0.5]


def test_curves_have_a_panel_for_each_quantity(tmp_path):
    history = make_history(
        {"loss": 3.0, "accuracy": 0.1},
        {"loss": 2.0, "accuracy": 0.2, "val_loss": 2.5, "val_accuracy": 0.15},
        {"loss": 1.0, "accuracy": 0.3},
    )
    path = tmp_path / "curves.png"
    figure = history.plot(path)
    assert path.read_bytes()[:4] == b"\x89PNG"
    loss, accuracy = figure.axes
    assert [axes.get_title() for axes in figure.axes] == ["loss", "accuracy"]
    training, validation = loss.get_lines()
    assert training.get_xydata().tolist() == [[1, 3.0], [2, 2.0], [3, 1.0]]
    assert validation.get_xydata().tolist() == [[2, 2.5]]  # where it was measured
    assert [text.get_text() for text in accuracy.get_legend().get_texts()] == ["training", "validation"]
    plain = plot_history(history.history)
    assert plain.axes[0].get_lines()[0].get_xydata().tolist() == training.get_xydata().tolist()
    assert len(plot_history({name: [1.0] for name in "abcd"}).axes) == 4
    with pytest.raises(ValueError, match="nothing was recorded"):
        plot_history({})


def test_curves_of_several_models_side_by_side(tmp_path):
    one = make_history({"loss": 3.0, "val_loss": 2.5, "mae": 1.0}, {"loss": 2.0, "val_loss": 2.6, "mae": 0.5})
    two = {"loss": [1.0, 0.5], "f1": [0.1, 0.2]}
    path = tmp_path / "curves.png"
    figure = plot_histories({"one": one, "two": two}, path)
    assert path.read_bytes()[:4] == b"\x89PNG"
    assert [axes.get_title() for axes in figure.axes] == ["loss", "mae", "f1"]
    thin, thick, other = figure.axes[0].get_lines()
    assert thin.get_xydata().tolist() == [[1, 3.0], [2, 2.0]]
    assert thick.get_xydata().tolist() == [[1, 2.5], [2, 2.6]]
    assert other.get_xydata().tolist() == [[1, 1.0], [2, 0.5]]
    assert thin.get_color() == thick.get_color() != other.get_color()
    assert thin.get_linewidth() < thick.get_linewidth()
    legends = [[text.get_text() for text in axes.get_legend().get_texts()] for axes in figure.axes]
    assert legends == [["one", "two"], ["one"], ["two"]]
    assert figure.axes[2].lines[0].get_color() == other.get_color()  # a model keeps its colour
    with pytest.raises(ValueError, match="nothing was recorded"):
        plot_histories({"one": {}})


def test_curves_leave_matplotlibs_state_alone():
    import matplotlib.pyplot as plt

    make_history({"loss": 1.0}).plot()
    assert plt.get_fignums() == []


def test_without_matplotlib_the_error_says_what_to_install(monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"pip install tinyrnn\[plot\]"):
        make_history({"loss": 1.0}).plot()


# --- calling them -----------------------------------------------------------------------------------------


def test_a_list_hands_one_sorted_dictionary_from_callback_to_callback():
    seen = []

    class Writer(Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs["added"] = 1.0

    class Reader(Callback):
        def on_epoch_end(self, epoch, logs=None):
            seen.append((epoch, list(logs)))

    listed = CallbackList([Writer(), (Reader(),), None], add_history=True, model=Model(), epochs=2)
    given = {"z": 1.0, "a": 2.0}
    listed.on_epoch_end(3, given)
    listed.on_epoch_end(4, logs=given)
    assert seen == [(3, ["a", "z", "added"]), (4, ["a", "z", "added"])]
    assert given == {"z": 1.0, "a": 2.0}
    assert listed.callbacks[-1].history == {"a": [2.0] * 2, "z": [1.0] * 2, "added": [1.0] * 2}
    assert listed.callbacks[0].params == {"epochs": 2}


def test_only_hooks_that_do_something_are_called(monkeypatch):
    """Under whichever name: nothing is prepared for the others, since batches may be short."""

    class OfClass(Callback):
        def on_train_batch_end(self, batch, logs=None):
            calls.append(("class", batch, logs))

    class OlderName(Callback):
        def on_batch_end(self, batch, logs=None):
            calls.append(("older name", batch, logs))

    calls, of_object = [], Callback()
    of_object.on_train_batch_end = lambda batch, logs=None: calls.append(("object", batch, logs))
    monkeypatch.setattr(Callback, "on_epoch_end", lambda *a: calls.append("nothing to do"))
    listed = CallbackList([Callback(), OfClass(), OlderName(), of_object], model=Model())
    listed.on_train_batch_begin(0)
    listed.on_train_batch_end(1, {"b": np.float32(2), "a": 1})
    listed.on_epoch_end(0, {"a": 1})
    assert calls == [(who, 1, {"a": 1.0, "b": 2.0}) for who in ("class", "older name", "object")]


def test_what_is_no_callback_is_refused():
    with pytest.raises(TypeError, match=r"expected Callback objects, found .*EarlyStopping"):
        CallbackList([callbacks.EarlyStopping])
    with pytest.raises(TypeError, match="expected Callback objects, found 'csv'"):
        CallbackList(["csv"])
    with pytest.raises(AttributeError, match="did you mean 'on_epoch_end'"):
        _ = CallbackList().on_epoch_ends
    with pytest.raises(TypeError, match="unknown hook 'on_epoc_end'; did you mean 'on_epoch_end'"):
        callbacks.LambdaCallback(on_epoc_end=print)


def test_a_lambda_callback_calls_its_functions():
    calls = []
    made = callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: calls.append(("epoch", epoch)),
        on_batch_end=lambda batch, logs: calls.append(("batch", batch)),
        on_test_end=lambda logs: calls.append(("test", logs)),
        on_train_end=None,
    )
    listed = CallbackList(made)
    listed.on_train_begin()
    listed.on_epoch_begin(1)
    listed.on_train_batch_end(2, {})
    listed.on_test_end({"loss": 1.0})
    listed.on_train_end()
    assert calls == [("epoch", 1), ("batch", 2), ("test", {"loss": 1.0})]


# --- progress ---------------------------------------------------------------------------------------------

VALUES = {"loss": 12.96499, "accuracy": 0.0010000001, "small": 0.00099, "zero": 0.0, "negative": -0.5}
VALUES["per_class"] = np.array([0.25, 0.5])  # the mean of such is shown


def progress(callback, params, steps=3, epochs=2):
    callback.set_params(params)
    callback.on_train_begin()
    for epoch in range(epochs):
        callback.on_epoch_begin(epoch)
        for step in range(steps):
            callback.on_train_batch_end(step, {"loss": 1.0})
        callback.on_test_begin()
        callback.on_test_batch_end(0, {"loss": 1.0})
        callback.on_test_end({"loss": 1.0})
        callback.on_epoch_end(epoch, VALUES)
    callback.on_train_end()


def without_times(text):
    return re.sub(r"\d+s (- )?\d+(ms|us|s)/step", r"TIME \1", text)


@pytest.mark.parametrize(
    "params", [{"epochs": 2, "steps": 3}, {"epochs": 1, "steps": 3}, {"epochs": 2, "steps": None}]
)
def test_one_line_an_epoch_is_as_keras_prints_it(capsys, params):
    params = {"verbose": 2, **params}
    progress(callbacks.ProgbarLogger(), params)
    ours = capsys.readouterr().out
    progress(keras.callbacks.ProgbarLogger(), params)
    theirs = capsys.readouterr().out.replace("-5.0000e-01", "-0.5000")  # it forgets that numbers have signs
    assert without_times(ours) == without_times(theirs)
    assert "3/3 - TIME -  - loss: 12.9650 - accuracy: 0.0010 - small: 9.9000e-04" in without_times(ours)


@pytest.mark.parametrize("params", [{"steps": 3}, {"steps": None}])
def test_a_bar_in_a_pipe_is_one_line_an_epoch(capsys, params):
    progress(callbacks.ProgbarLogger(), {"verbose": "auto", "epochs": 2, **params})
    out = capsys.readouterr().out
    values = "loss: 12.9650 - accuracy: 0.0010 - small: 9.9000e-04 - zero: 0.0000e+00 - negative: -0.5000"
    values += " - per_class: 0.3750"
    line = f"3/3 {'━' * 20} TIME  - {values}"
    assert without_times(out).split("\n") == ["Epoch 1/2", line, "Epoch 2/2", line, ""]


def test_an_epoch_that_was_cut_short_says_so(capsys):
    bar = ProgressBar(10)
    bar.update(4)
    bar.finish(4, {})
    assert re.fullmatch(rf" 4/10 {'━' * 8} {{12}} \d+s \d+.s/step\n", capsys.readouterr().out)


def test_evaluate_and_predict_show_their_own_progress(capsys):
    logger = callbacks.ProgbarLogger()
    logger.set_params({"verbose": 2, "epochs": 1, "steps": 12})
    for begin, step, end in (
        (logger.on_test_begin, logger.on_test_batch_end, logger.on_test_end),
        (logger.on_predict_begin, logger.on_predict_batch_end, logger.on_predict_end),
    ):
        begin()
        for i in range(12):
            step(i, {"loss": 1.0})
        end({"loss": 0.5})
    first, second = capsys.readouterr().out.splitlines()
    assert without_times(first) == "12/12 - TIME -  - loss: 0.5000"
    assert without_times(second) == "12/12 - TIME - "


class Terminal:
    """A standard output that says it is a terminal."""

    encoding = "utf-8"

    def __init__(self):
        self.text = ""

    def write(self, text):
        self.text += text
        return len(text)

    def flush(self):
        pass

    def isatty(self):
        return True

    def fileno(self):
        raise OSError


@pytest.fixture
def terminal(monkeypatch):
    for name, value in (("TERM", "xterm"), ("COLUMNS", "60")):
        monkeypatch.setenv(name, value)
    for name in ("NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("tinyrnn.progress.INTERVAL", 0.0)
    return Terminal()


def plain(text):
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def test_a_bar_in_a_terminal_moves_and_ends_in_a_full_line(terminal):
    values = {f"quantity_{i}": 1.0 for i in range(8)}  # wider than the terminal
    with contextlib.redirect_stdout(terminal):
        bar = ProgressBar(5)
        for step in range(5):
            bar.update(step + 1, values)
        bar.finish(5, values)
    assert [f"{step}/5 ━" in plain(terminal.text) for step in range(1, 6)] == [True] * 5
    last = plain(terminal.text).splitlines()[-1]
    assert last.startswith(f"5/5 {'━' * 20} 0s ")
    assert last.endswith("quantity_7: 1.0000")
    assert terminal.text.count("\x1b[?25l") == terminal.text.count("\x1b[?25h") == 1  # the cursor is back


def test_an_error_gives_the_terminal_back(terminal):
    with contextlib.redirect_stdout(terminal):
        listed = CallbackList(None, add_progbar=True, verbose=1, epochs=1, steps=3)
        listed.on_train_begin()
        listed.on_epoch_begin(0)
        listed.on_train_batch_end(0, {"loss": np.float32(2.0)})
        listed.close()
    assert "loss: 2.0000" in plain(terminal.text)
    assert terminal.text.count("\x1b[?25l") == terminal.text.count("\x1b[?25h") == 1
    assert ProgressBar._on_screen is False


def test_a_second_bar_only_prints_its_line(terminal):
    with contextlib.redirect_stdout(terminal):
        outer = ProgressBar(2)
        inner = ProgressBar(3)
        inner.update(1)
        inner.finish(3)
        outer.update(1)
        outer.finish(2)
    assert f"3/3 {'━' * 20} 0s" in plain(terminal.text)
    assert "1/3" not in plain(terminal.text)
    assert ProgressBar._on_screen is False


def test_a_terminal_without_unicode_gets_a_bar_of_letters(capsys, monkeypatch):
    bar = ProgressBar(2)
    monkeypatch.setattr(type(bar._console), "encoding", "ascii")
    bar.finish(1)
    assert capsys.readouterr().out.startswith("1/2 ==========.......... 0s")
