"""Saving during training, and going on after a kill: as Keras decides, and to the same bits."""

import os
import random
import signal
import subprocess
import sys
import time

import h5py
import keras
import numpy as np
import pytest

import tinyrnn
from tinyrnn import Input, ModelFileError, Sequential, load_model
from tinyrnn.callbacks import (
    BackupAndRestore,
    Callback,
    CSVLogger,
    EarlyStopping,
    LearningRateScheduler,
    ModelCheckpoint,
    ReduceLROnPlateau,
)
from tinyrnn.layers import LSTM, Dense, Dropout
from tinyrnn.utils import PyDataset

rng = np.random.default_rng(0)
X = rng.standard_normal((50, 6, 3)).astype("float32")
Y = rng.standard_normal((50, 1)).astype("float32")


def make_model(**settings):
    tinyrnn.set_random_seed(3)
    layers = [LSTM(4, dropout=0.2, recurrent_dropout=0.1, **settings), Dropout(0.3), Dense(1)]
    model = Sequential([Input(batch_shape=(10 if settings else None, 6, 3)), *layers])
    model.compile("adam", "mse", metrics=["mae"])
    return model


def names(folder):
    return sorted(path.name for path in folder.iterdir())


# --- ModelCheckpoint ----------------------------------------------------------------------------------------


class Logged(Callback):
    """Puts numbers of the test's own into the logs, before other callbacks look at them."""

    def __init__(self, losses):
        super().__init__()
        self.losses = losses

    def on_epoch_end(self, epoch, logs=None):
        logs["val_loss"] = self.losses[epoch]


def saved_by(library, folder, losses, **settings):
    """Return the names of the files that either library's ModelCheckpoint writes."""
    folder.mkdir()
    if library is keras:
        model = keras.Sequential([keras.Input((6, 3)), keras.layers.Flatten(), keras.layers.Dense(1)])
        base, checkpoint = keras.callbacks.Callback, keras.callbacks.ModelCheckpoint
        first = type("Logged", (base,), {"on_epoch_end": Logged.on_epoch_end})()
        first.losses = losses
    else:
        model, checkpoint, first = make_model(), ModelCheckpoint, Logged(losses)
    model.compile("sgd", "mse")
    settings = {"filepath": str(folder / "{epoch:02d}-{val_loss:.1f}.keras")} | settings
    model.fit(X, Y, 20, epochs=len(losses), verbose=0, callbacks=[first, checkpoint(**settings)])
    return names(folder)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"save_best_only": True},
        {"save_best_only": True, "mode": "max"},
        {"save_best_only": True, "initial_value_threshold": 2.5},
    ],
)
def test_files_are_saved_when_keras_saves_them(tmp_path, settings, capsys):
    losses = [4.0, 3.0, 5.0, 2.0, 2.0]
    found = saved_by(tinyrnn, tmp_path / "ours", losses, verbose=1, **settings)
    said = capsys.readouterr().out.replace("ours", "theirs")
    expected = saved_by(keras, tmp_path / "theirs", losses, verbose=1, **settings)
    assert found == expected
    assert said == capsys.readouterr().out


def test_every_so_many_batches_across_epochs(tmp_path):
    path = tmp_path / "{epoch}-{batch}.weights.h5"
    callback = ModelCheckpoint(path, save_weights_only=True, save_freq=4)
    make_model().fit(X, Y, 20, epochs=4, verbose=0, callbacks=callback)  # 3 batches in an epoch
    assert names(tmp_path) == ["2-1.weights.h5", "3-2.weights.h5", "4-3.weights.h5"]


def test_the_best_model_is_the_one_that_was_best(tmp_path):
    model, path = make_model(), tmp_path / "best.keras"
    history = model.fit(
        X, Y, 10, 6, verbose=0, validation_data=(X, Y), callbacks=ModelCheckpoint(path, save_best_only=True)
    ).history
    best = load_model(path)
    np.testing.assert_allclose(best.evaluate(X, Y, verbose=0)[0], min(history["val_loss"]), rtol=1e-6)


def test_what_may_go_wrong_with_checkpoints(tmp_path):
    with pytest.raises(ValueError, match=r"ModelCheckpoint: filepath: expected a name that ends in \.keras"):
        ModelCheckpoint(tmp_path / "m.h5")
    with pytest.raises(ValueError, match=r"expected a name that ends in \.weights\.h5, found"):
        ModelCheckpoint(tmp_path / "m.keras", save_weights_only=True)
    for wrong in ("batch", 0, True, 1.5):
        with pytest.raises(ValueError, match="save_freq: expected 'epoch' or a number of batches, found"):
            ModelCheckpoint(tmp_path / "m.keras", save_freq=wrong)
        with pytest.raises(ValueError, match="save_freq: expected 'epoch' or a number of batches, found"):
            BackupAndRestore(tmp_path, save_freq=wrong)
    with pytest.raises(ValueError, match="BackupAndRestore: backup_dir: expected a folder"):
        BackupAndRestore("")
    for wrong in ("{0}.keras", "{}.keras", "{loss.keras", "{a.b}.keras"):
        with pytest.raises(ValueError, match="ModelCheckpoint: filepath: "):
            ModelCheckpoint(tmp_path / wrong)
    callback = ModelCheckpoint(tmp_path / "{val_los}.keras")
    with pytest.raises(KeyError, match="the logs have no 'val_los'; did you mean 'val_loss'"):
        make_model().fit(X, Y, 50, verbose=0, validation_split=0.5, callbacks=callback)
    best = ModelCheckpoint(tmp_path / "m.keras", save_best_only=True)
    with pytest.warns(UserWarning, match="the logs have no 'val_loss'"):
        make_model().fit(X, Y, 50, verbose=0, callbacks=best)
    assert names(tmp_path) == ["m.keras"]


# --- BackupAndRestore ---------------------------------------------------------------------------------------


class Stop(Callback):
    """Ends the training with an error after so many batches."""

    def __init__(self, batches):
        super().__init__()
        self.left = batches

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt


def deciding():
    """Callbacks that decide by what has been."""
    return [
        EarlyStopping("loss", patience=2, restore_best_weights=True),
        ReduceLROnPlateau("val_loss", patience=1),
        LearningRateScheduler(lambda epoch, rate: 0.97 * rate),
    ]


def stopped_and_gone_on(fit, batches, folder, **settings):
    """Stop a training after so many batches, let another model go on, and return it and its history."""
    with pytest.raises(KeyboardInterrupt):
        fit(make_model(), [Stop(batches), BackupAndRestore(folder, **settings)])
    model = make_model()
    tinyrnn.set_random_seed(99)  # another process would stand elsewhere
    return model, fit(model, [BackupAndRestore(folder, **settings)])


def assert_same_weights(found, expected):
    for a, b in zip(found.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.fixture(scope="module")
def whole_run():
    def fit(model, callbacks):
        return model.fit(
            X, Y, 8, 5, verbose=0, validation_split=0.2, callbacks=deciding() + callbacks
        ).history

    model = make_model()
    return fit, model, fit(model, [])


@pytest.mark.parametrize("save_freq", ["epoch", 3, 1])
@pytest.mark.parametrize("batches", [1, 5, 6, 13, 25])  # of 5 in an epoch
def test_weights_history_and_decisions_are_those_of_one_run(whole_run, tmp_path, save_freq, batches):
    fit, expected, history = whole_run
    model, found = stopped_and_gone_on(fit, batches, tmp_path / "backup", save_freq=save_freq)
    assert_same_weights(model, expected)
    assert found == history
    assert names(tmp_path) == []


def test_a_training_that_was_stopped_early_does_not_go_on(tmp_path):
    class Killed(Callback):
        def on_train_end(self, logs=None):
            raise KeyboardInterrupt

    def fit(callbacks):
        model = make_model()
        callbacks = [EarlyStopping("mae", mode="max", restore_best_weights=True), *callbacks]
        return model, model.fit(X, Y, 10, 9, verbose=0, callbacks=callbacks).history

    expected, history = fit([])
    assert len(history["loss"]) < 9
    with pytest.raises(KeyboardInterrupt):
        fit([BackupAndRestore(tmp_path / "b"), Killed()])
    model, found = fit([BackupAndRestore(tmp_path / "b")])
    assert found == history
    assert_same_weights(model, expected)


class Batches(PyDataset):
    def __len__(self):
        return 5

    def __getitem__(self, index):
        rows = slice(10 * index, 10 * index + 10)
        return X[rows], Y[rows]


def endless():
    while True:
        yield from iter(Batches())


@pytest.mark.parametrize(
    ("data", "settings"),
    [
        (lambda: (X, Y), {"batch_size": 8}),
        (lambda: (X, Y), {"batch_size": 8, "shuffle": "batch"}),
        (lambda: (X, Y), {"batch_size": 8, "steps_per_epoch": 4}),  # epochs end within the data
        (lambda: (X, Y), {"batch_size": 8, "class_weight": {0: 2.0}}),
        (lambda: (Batches(),), {}),
        (lambda: (endless(),), {"steps_per_epoch": 3}),
    ],
)
@pytest.mark.parametrize("save_freq", ["epoch", 2])
@pytest.mark.filterwarnings("ignore:the data ended after 3 of 4 steps")
def test_all_kinds_of_data(tmp_path, data, settings, save_freq):
    def fit(model, callbacks):
        return model.fit(*data(), epochs=4, verbose=0, callbacks=callbacks, **settings).history

    expected = make_model()
    history = fit(expected, [])
    model, found = stopped_and_gone_on(fit, 9, tmp_path / "backup", save_freq=save_freq)
    assert_same_weights(model, expected)
    assert found == history


@pytest.mark.parametrize("save_freq", ["epoch", 2])
def test_states_of_stateful_layers(tmp_path, save_freq):
    def fit(model, callbacks):
        return model.fit(X, Y, 10, 4, verbose=0, shuffle=False, callbacks=callbacks).history

    def make():
        return make_model(stateful=True)

    expected = make()
    history = fit(expected, [])
    with pytest.raises(KeyboardInterrupt):
        fit(make(), [Stop(9), BackupAndRestore(tmp_path / "b", save_freq=save_freq)])
    model = make()
    assert fit(model, [BackupAndRestore(tmp_path / "b", save_freq=save_freq)]) == history
    assert_same_weights(model, expected)
    for a, b in zip(model.get_states()[0], expected.get_states()[0], strict=True):
        np.testing.assert_array_equal(a, b)


def test_lines_of_a_csv_file(tmp_path):
    def fit(model, callbacks, name):
        model.fit(X, Y, 10, 4, verbose=0, callbacks=[CSVLogger(tmp_path / name), *callbacks])

    fit(make_model(), [], "whole.csv")
    with pytest.raises(KeyboardInterrupt):
        fit(make_model(), [Stop(13), BackupAndRestore(tmp_path / "b")], "parts.csv")
    fit(make_model(), [BackupAndRestore(tmp_path / "b")], "parts.csv")
    assert (tmp_path / "parts.csv").read_text() == (tmp_path / "whole.csv").read_text()


def test_a_backup_that_is_kept_leaves_nothing_to_do(tmp_path):
    folder = tmp_path / "backup"
    model = make_model()
    model.fit(X, Y, 10, 2, verbose=0, callbacks=BackupAndRestore(folder, delete_checkpoint=False))
    assert names(folder) == ["latest.weights.h5"]
    again = make_model()
    history = again.fit(X, Y, 10, 2, verbose=0, callbacks=BackupAndRestore(folder, delete_checkpoint=False))
    assert_same_weights(again, model)
    assert history.epoch == [0, 1]
    more = again.fit(X, Y, 10, 3, verbose=0, callbacks=BackupAndRestore(folder))
    assert more.epoch == [0, 1, 2]
    assert names(tmp_path) == []


def test_keras_reads_a_backup_as_weights(tmp_path):
    model = make_model()
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, Y, 10, verbose=0, callbacks=[BackupAndRestore(tmp_path, save_freq=1), Stop(3)])
    layers = keras.layers
    theirs = keras.Sequential([keras.Input((6, 3)), layers.LSTM(4), layers.Dropout(0.3), layers.Dense(1)])
    theirs.load_weights(tmp_path / "latest.weights.h5")
    model.load_weights(tmp_path / "latest.weights.h5")
    np.testing.assert_allclose(theirs.predict(X, verbose=0), model.predict(X, verbose=0), atol=1e-5)


def test_a_damaged_backup_is_said_to_be_one_unless_there_are_two(tmp_path):
    def fit(model, callbacks):
        return model.fit(X, Y, 10, 4, verbose=0, callbacks=callbacks).history

    folder = tmp_path / "backup"
    settings = {"double_checkpoint": True}
    expected = make_model()
    history = fit(expected, [])
    with pytest.raises(KeyboardInterrupt):
        fit(make_model(), [Stop(17), BackupAndRestore(folder, **settings)])
    assert names(folder) == ["latest.weights.h5", "previous.weights.h5"]
    path = folder / "latest.weights.h5"
    path.write_bytes(path.read_bytes()[:1000])
    model = make_model()
    with pytest.warns(UserWarning, match="the last backup cannot be used, the one before is: "):
        assert fit(model, [BackupAndRestore(folder, **settings)]) == history
    assert_same_weights(model, expected)
    folder.mkdir()
    path.write_bytes(b"no backup")
    with pytest.raises(ModelFileError, match=r"latest\.weights\.h5: "):
        fit(make_model(), [BackupAndRestore(folder)])


class Largest(tinyrnn.metrics.Metric):
    """Keeps a list of numbers, one of arrays, and a metric within."""

    def __init__(self):
        super().__init__(name="largest")
        self.inner = tinyrnn.metrics.Mean()
        self.reset_state()

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.seen.append(float(np.max(y_pred.data)))
        self.arrays.append(np.array(y_pred.data[:2]))
        self.inner.update_state(y_pred.data)

    def result(self):
        return max(self.seen, default=0.0) + self.inner.result() + float(np.sum(self.arrays))

    def reset_state(self):
        self.seen, self.arrays = [], []
        self.inner.reset_state()


def test_metrics_of_ones_own_go_on_counting(tmp_path):
    def fit(callbacks):
        model = make_model()
        model.compile("adam", "mse", metrics=[Largest()])
        return model.fit(X, Y, 10, 2, verbose=0, callbacks=callbacks).history

    history = fit([])
    with pytest.raises(KeyboardInterrupt):
        fit([Stop(3), BackupAndRestore(tmp_path / "b", save_freq=1)])
    assert fit([BackupAndRestore(tmp_path / "b", save_freq=1)]) == history


def test_a_callback_that_tells_what_cannot_be_written(tmp_path):
    class Sets(Callback):
        def get_state(self):
            return {"seen": {1, 2}}

    with pytest.raises(TypeError, match="set is not JSON serializable; what get_state of a callback returns"):
        make_model().fit(X, Y, 10, verbose=0, callbacks=[Sets(), BackupAndRestore(tmp_path)])


def test_other_data_than_those_of_the_backup(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        make_model().fit(X, Y, 10, verbose=0, callbacks=[BackupAndRestore(tmp_path, save_freq=1), Stop(3)])
    with pytest.raises(ValueError, match="a training with 5 batches in an epoch; there are 3"):
        make_model().fit(X, Y, 20, verbose=0, callbacks=BackupAndRestore(tmp_path))
    with h5py.File(tmp_path / "latest.weights.h5", "r+") as file:
        file["tinyrnn/progress"].attrs["text"] = '{"epoch": -1}'
    with pytest.raises(ModelFileError, match="the progress of a training is damaged"):
        make_model().fit(X, Y, 10, verbose=0, callbacks=BackupAndRestore(tmp_path))


def test_a_backup_of_another_model(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        make_model().fit(X, Y, 10, verbose=0, callbacks=[BackupAndRestore(tmp_path, save_freq=1), Stop(3)])
    other = Sequential([Input((6, 3)), LSTM(5), Dense(1)])
    other.compile("adam", "mse")
    with pytest.raises(ModelFileError, match=r"lstm.*: expected kernel \(3, 20\)"):
        other.fit(X, Y, verbose=0, callbacks=BackupAndRestore(tmp_path))
    assert names(tmp_path) == ["latest.weights.h5"]


# --- killed -------------------------------------------------------------------------------------------------

PROGRAM = """
import sys
import numpy as np
import tinyrnn
from tinyrnn.callbacks import BackupAndRestore, ModelCheckpoint
from tinyrnn.layers import LSTM, Dense, Dropout, Input

folder, save_freq = sys.argv[1], sys.argv[2]
save_freq = int(save_freq) if save_freq.isdigit() else save_freq
rng = np.random.default_rng(0)
x, y = rng.standard_normal((64, 8, 3)).astype("float32"), rng.standard_normal((64, 1)).astype("float32")
tinyrnn.set_random_seed(1)
model = tinyrnn.Sequential([Input((8, 3)), LSTM(8, dropout=0.1), Dropout(0.2), Dense(1)])
model.compile("adam", "mse", metrics=["mae"])
backup = BackupAndRestore(folder + "/backup", save_freq=save_freq)
callbacks = [ModelCheckpoint(folder + "/model.keras"), backup]
print("begun", flush=True)
history = model.fit(x, y, batch_size=8, epochs=40, verbose=0, callbacks=callbacks)
np.savez(folder + "/end.npz", *model.get_weights(), losses=history.history["loss"])
"""


def run(program, folder, save_freq, kill_after=None):
    """Run the program, or kill it some seconds after it has begun to train; return how long it ran."""
    command = [sys.executable, str(program), str(folder), str(save_freq)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "begun\n"
        began = time.perf_counter()
        if kill_after is not None:
            time.sleep(kill_after)
            process.send_signal(signal.SIGKILL)
        process.wait()
    return time.perf_counter() - began


@pytest.mark.parametrize("save_freq", ["epoch", 3])
def test_a_program_that_is_killed_again_and_again_ends_with_the_same_bits(tmp_path, save_freq):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    killed.mkdir()
    took = run(program, whole, save_freq)
    chance, kills = random.Random(os.getpid()), 0
    while not (killed / "end.npz").exists():
        # A part of `took` goes by before the first step, so to come to the end takes a long run.
        run(program, killed, save_freq, took * chance.uniform(0, 0.5 if kills < 3 else 1.2))
        kills += 1
        if (killed / "model.keras").exists():
            load_model(killed / "model.keras")  # whole, whenever the program was killed
        assert kills < 100, "no progress"
    assert kills >= 3
    found, expected = np.load(killed / "end.npz"), np.load(whole / "end.npz")
    assert len(expected["losses"]) == 40
    for name in expected.files:
        np.testing.assert_array_equal(found[name], expected[name])
    assert names(killed) == ["end.npz", "model.keras"]
