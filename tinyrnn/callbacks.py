"""Callbacks: what is done before and after training, epochs and batches, with Keras's names and decisions."""

from __future__ import annotations

import csv
import inspect
import math
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from tinyrnn.naming import nearest, warn_user
from tinyrnn.nest import leaves
from tinyrnn.progress import ProgressBar

__all__ = [
    "CSVLogger",
    "Callback",
    "CallbackList",
    "EarlyStopping",
    "History",
    "LambdaCallback",
    "LearningRateScheduler",
    "MonitorCallback",
    "ProgbarLogger",
    "ReduceLROnPlateau",
    "TerminateOnNaN",
]


class Callback:
    """Base of callbacks; a subclass overrides the hooks it needs.

    `logs` is a dictionary of floats, sorted by name. At the end of a batch it holds the loss and the metrics
    of the epoch so far, at the end of an epoch those of the epoch and, with ``val_`` before the name, those
    of the validation. All callbacks get the same dictionary one after the other, and `History`, the last
    but one, records what they have left in it.

    Attributes
    ----------
    model : Model
    params : dict
        ``verbose``, ``epochs`` and ``steps``.
    """

    def __init__(self):
        self.model: Any = None
        self.params: dict[str, Any] = {}

    def set_model(self, model: Any) -> None:
        """Take the model that is trained."""
        self.model = model

    def set_params(self, params: dict[str, Any]) -> None:
        """Take the settings of this run."""
        self.params = params

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Before the first epoch of fit."""

    def on_train_end(self, logs: dict | None = None) -> None:
        """After the last epoch; not after an error."""

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Before an epoch, counted from 0."""

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """After an epoch and its validation."""

    def on_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        """Do as `on_train_batch_begin`: an older name."""

    def on_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Do as `on_train_batch_end`: an older name."""

    def on_train_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        """Before a batch of training, counted from 0."""
        self.on_batch_begin(batch, logs)

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """After the weights were changed."""
        self.on_batch_end(batch, logs)

    def on_test_begin(self, logs: dict | None = None) -> None:
        """Before evaluation, also the one after an epoch."""

    def on_test_end(self, logs: dict | None = None) -> None:
        """After evaluation."""

    def on_test_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        """Before a batch of evaluation."""

    def on_test_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """After a batch of evaluation."""

    def on_predict_begin(self, logs: dict | None = None) -> None:
        """Before prediction."""

    def on_predict_end(self, logs: dict | None = None) -> None:
        """After prediction."""

    def on_predict_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        """Before a batch of prediction."""

    def on_predict_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """After a batch of prediction; ``logs["outputs"]`` holds what was predicted."""


HOOKS = tuple(name for name in vars(Callback) if name.startswith("on_"))


class CallbackList:
    """Several callbacks as one: ``callbacks.on_epoch_end(epoch, logs)`` calls that hook of each.

    Parameters
    ----------
    callbacks : Callback, iterable of them, or None
    add_history, add_progbar : bool
        Add a `History`, a `ProgbarLogger` if there is none yet.
    model : Model
    **params
        For the callbacks: ``verbose``, ``epochs``, ``steps``.

    Raises
    ------
    TypeError
        For something that is no callback.
    """

    def __init__(
        self,
        callbacks: Any = None,
        add_history: bool = False,
        add_progbar: bool = False,
        model: Any = None,
        **params: Any,
    ):
        self.callbacks = [c for c in leaves(callbacks) if c is not None]
        for c in self.callbacks:
            if isinstance(c, type) or not hasattr(c, "on_epoch_end"):
                raise TypeError(f"callbacks: expected Callback objects, found {c!r}")
        for wanted, kind in ((add_history, History), (add_progbar, ProgbarLogger)):
            if wanted and not any(isinstance(c, kind) for c in self.callbacks):
                self.callbacks.append(kind())
        for c in self.callbacks:
            c.set_model(model)
            c.set_params(params)

        self._having: dict[str, list[Callback]] = {}  # by hook, those that do something there

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"CallbackList has no {name!r}{nearest(name, HOOKS)}")

    def _call(self, hook: str, index: tuple, logs: dict | None) -> None:
        if hook not in self._having:
            self._having[hook] = [c for c in self.callbacks if _has(c, hook)]
        if self._having[hook]:
            logs = {key: _as_float(value) for key, value in sorted((logs or {}).items())}
            for c in self._having[hook]:
                getattr(c, hook)(*index, logs)

    def close(self) -> None:
        """Leave the terminal as it was, also after an error."""
        for c in self.callbacks:
            if isinstance(c, ProgbarLogger):
                c.close()


def _hook_of_all(hook: str) -> Callable:
    """Return a hook of `CallbackList`, which calls that of each."""
    if "_epoch_" in hook or "_batch_" in hook:
        return lambda self, index, logs=None: self._call(hook, (index,), logs)
    return lambda self, logs=None: self._call(hook, (), logs)


for _hook in HOOKS:
    setattr(CallbackList, _hook, _hook_of_all(_hook))


def _has(callback: Any, hook: str) -> bool:
    """Whether a callback does anything at a hook: those of batches are called often."""
    hooks = (hook, hook.replace("_train_", "_")) if "_train_batch_" in hook else (hook,)
    return any(getattr(getattr(callback, h), "__func__", None) is not vars(Callback)[h] for h in hooks)


def _as_float(value: Any) -> Any:
    """Return a number of any library, also a tensor's, as Python's; other things as they are."""
    return float(value) if getattr(value, "ndim", None) == 0 else value


# --- recording and showing --------------------------------------------------------------------------------


class History(Callback):
    """What fit returns.

    Attributes
    ----------
    history : dict of str to list of float
        The loss and every metric, epoch by epoch.
    epoch : list of int
        The epochs that were run, counted from 0.
    params : dict
        ``verbose``, ``epochs`` and ``steps``.
    """

    def __init__(self):
        super().__init__()
        self.history: dict[str, list] = {}
        self.epoch: list[int] = []
        self.epochs_of: dict[str, list[int]] = {}  # validation may not be run in every epoch

    def set_model(self, model: Any) -> None:
        """Take the model, and become its history."""
        super().set_model(model)
        model.history = self

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Start counting epochs anew."""
        self.epoch = []

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Record an epoch."""
        self.epoch.append(epoch)
        for key, value in (logs or {}).items():
            self.history.setdefault(key, []).append(value)
            self.epochs_of.setdefault(key, []).append(epoch)

    def plot(self, path: str | os.PathLike | None = None) -> Any:
        """Draw the curves; see `tinyrnn.plotting.plot_history`."""
        from tinyrnn.plotting import plot_history

        return plot_history(self, path)


class ProgbarLogger(Callback):
    """Shows the progress of fit, evaluate and predict; added by them unless ``verbose=0``."""

    def __init__(self):
        super().__init__()
        self._bar: ProgressBar | None = None
        self._target: int | None = None
        self._seen = 0
        self._in_fit = False

    def set_params(self, params: dict[str, Any]) -> None:
        """Take the settings of this run."""
        super().set_params(params)
        self._target = params.get("steps")

    def _begin(self) -> None:
        self._seen = 0
        verbose = self.params.get("verbose", 1)
        self._bar = ProgressBar(self._target, 1 if verbose == "auto" else verbose)

    def _step(self, batch: int, logs: dict | None) -> None:
        self._seen = batch + 1
        if self._bar is not None:
            self._bar.update(self._seen, logs)

    def _end(self, logs: dict | None) -> None:
        self._target = self._target or self._seen
        if self._bar is not None:
            self._bar.finish(self._seen, logs)

    def close(self) -> None:
        """Take the bar off the screen."""
        if self._bar is not None:
            self._bar.close()

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Remember that validation belongs to an epoch and shows nothing of its own."""
        self._in_fit = True

    def on_train_end(self, logs: dict | None = None) -> None:
        """Forget it."""
        self._in_fit = False

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Start a bar."""
        if self.params.get("epochs", 1) > 1 and self.params.get("verbose"):
            print(f"Epoch {epoch + 1}/{self.params['epochs']}", flush=True)
        self._begin()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Print the line of the epoch."""
        self._end(logs)

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Move the bar."""
        self._step(batch, logs)

    def on_test_begin(self, logs: dict | None = None) -> None:
        """Start a bar, unless in fit."""
        if not self._in_fit:
            self._begin()

    def on_test_end(self, logs: dict | None = None) -> None:
        """Print the line of the evaluation."""
        if not self._in_fit:
            self._end(logs)

    def on_test_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Move the bar."""
        if not self._in_fit:
            self._step(batch, logs)

    def on_predict_begin(self, logs: dict | None = None) -> None:
        """Start a bar."""
        self._begin()

    def on_predict_end(self, logs: dict | None = None) -> None:
        """Print the line of the prediction."""
        self._end(None)

    def on_predict_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Move the bar."""
        self._step(batch, None)


class CSVLogger(Callback):
    """Writes a line to a file after every epoch.

    The columns are ``epoch``, counted from 0, and the names in the first epoch's logs; where that has no
    validation, columns for one are kept free (``NA``) in case it comes later.

    Parameters
    ----------
    filename : str or path
    separator : str
    append : bool
        Go on with a file that is there; by default it is overwritten.
    """

    def __init__(self, filename: str | os.PathLike, separator: str = ",", append: bool = False):
        super().__init__()
        self.filename = os.fspath(filename)
        self.separator = separator
        self.append = append
        self._file: Any = None
        self._writer: Any = None
        self._keys: list[str] = []

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Open the file."""
        self._close()
        self._file = open(self.filename, "a" if self.append else "w", newline="")  # noqa: SIM115
        self._writer = None

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Write a line."""
        logs = logs or {}
        if self._writer is None:
            self._keys = sorted(logs)
            if not any(key.startswith("val_") for key in logs):
                self._keys += [f"val_{key}" for key in self._keys]
            self._writer = csv.writer(self._file, delimiter=self.separator)
            if not self._file.tell():
                self._writer.writerow(["epoch", *self._keys])
        self._writer.writerow([epoch, *(_as_cell(logs.get(key, "NA")) for key in self._keys)])
        self._file.flush()

    def on_train_end(self, logs: dict | None = None) -> None:
        """Close the file."""
        self._close()

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def _as_cell(value: Any) -> Any:
    if isinstance(value, str) or np.ndim(value) == 0:
        return value
    return f'"[{", ".join(map(str, value))}]"'


# --- deciding by a quantity -------------------------------------------------------------------------------


class MonitorCallback(Callback):
    """Base of callbacks that watch one quantity: whether it improves, and its best value so far.

    Parameters
    ----------
    monitor : str
        Name in the logs.
    mode : {"auto", "min", "max"}
        Whether less or more is better. "auto": less of a loss, and a metric knows itself.
    min_delta : float
        Less than this is no improvement.
    """

    def __init__(self, monitor: str, mode: str, min_delta: float):
        super().__init__()
        if mode not in ("auto", "min", "max"):
            hint = nearest(str(mode), ("auto", "min", "max"))
            raise ValueError(f"{type(self).__name__}: unknown mode {mode!r}{hint}")
        self.monitor = monitor
        self.mode = mode
        self.min_delta = abs(min_delta)
        self.best: float | None = None
        self.wait = 0

    def _value(self, logs: dict | None) -> float | None:
        """Return the quantity now; warn if it is not in the logs."""
        logs = logs or {}
        if self.monitor not in logs:
            warn_user(
                f"{type(self).__name__}: the logs have no {self.monitor!r}{nearest(self.monitor, logs)}"
            )
        return logs.get(self.monitor)

    def _improves(self, value: float, reference: float | None) -> bool:
        """Whether `value` is better than `reference` by more than `min_delta`; NaN never is."""
        if math.isnan(value) or reference is None:
            return reference is None and not math.isnan(value)
        if self._direction() == "min":
            return value + self.min_delta < reference
        return value - self.min_delta > reference

    def _direction(self) -> str:
        """Return "min" or "max"."""
        if self.mode != "auto":
            return self.mode
        name = self.monitor.removeprefix("val_")
        if name == "loss" or name.endswith("_loss"):
            return "min"
        for metric in getattr(self.model, "metrics", ()):
            if name == metric.name or name.endswith(f"_{metric.name}"):
                found = getattr(metric, "direction", None)
                if found is not None:
                    return found
        raise ValueError(
            f"{type(self).__name__}: whether more or less of {self.monitor!r} is better cannot be told from "
            "its name; say mode='max' or mode='min'"
        )


class EarlyStopping(MonitorCallback):
    """Stops training when a quantity has stopped improving.

    Parameters
    ----------
    monitor : str
        Name in the logs.
    min_delta : float
        Less than this is no improvement.
    patience : int
        Stop after this many epochs without improvement; 0 is as 1.
    verbose : {0, 1}
        Say so.
    mode : {"auto", "min", "max"}
        Whether less or more is better.
    baseline : float, optional
        Only what is better than this counts against the patience.
    restore_best_weights : bool
        Go back to the weights of the best epoch at the end, also when training was not stopped early.
    start_from_epoch : int
        Wait for this epoch (counted from 0) before looking.

    Attributes
    ----------
    best : float
    best_epoch, stopped_epoch : int
        Counted from 0; `stopped_epoch` is 0 where training was not stopped.
    wait : int
        Epochs without improvement.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        min_delta: float = 0,
        patience: int = 0,
        verbose: int = 0,
        mode: str = "auto",
        baseline: float | None = None,
        restore_best_weights: bool = False,
        start_from_epoch: int = 0,
    ):
        super().__init__(monitor, mode, min_delta)
        self.patience = patience
        self.verbose = verbose
        self.baseline = baseline
        self.restore_best_weights = restore_best_weights
        self.start_from_epoch = start_from_epoch
        self.stopped_epoch = self.best_epoch = 0
        self.best_weights: list | None = None

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Forget an earlier training."""
        self.wait = self.stopped_epoch = self.best_epoch = 0
        self.best = self.best_weights = None

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Decide whether to go on."""
        value = self._value(logs)
        if value is None or epoch < self.start_from_epoch:
            return
        if self.restore_best_weights and self.best_weights is None:
            self._keep(epoch)
        self.wait += 1
        if self._improves(value, self.best):
            self.best = value
            self.best_epoch = epoch
            if self.restore_best_weights:
                self._keep(epoch)
            if self.baseline is None or self._improves(value, self.baseline):
                self.wait = 0
        elif self.wait >= self.patience and epoch > 0:
            self.stopped_epoch = epoch
            self.model.stop_training = True

    def _keep(self, epoch: int) -> None:
        self.best_weights = self.model.get_weights()
        self.best_epoch = epoch

    def on_train_end(self, logs: dict | None = None) -> None:
        """Go back to the best weights if that was asked for."""
        if self.stopped_epoch and self.verbose:
            print(f"Epoch {self.stopped_epoch + 1}: early stopping")
        if self.best_weights is not None:
            if self.verbose:
                print(f"Restoring model weights from the end of the best epoch: {self.best_epoch + 1}.")
            self.model.set_weights(self.best_weights)


class ReduceLROnPlateau(MonitorCallback):
    """Lowers the learning rate when a quantity has stopped improving; records it in the logs.

    Parameters
    ----------
    monitor : str
        Name in the logs.
    factor : float
        What the rate is multiplied with, below 1.
    patience : int
        Epochs without improvement to wait for.
    verbose : {0, 1}
        Say so.
    mode : {"auto", "min", "max"}
        Whether less or more is better.
    min_delta : float
        Less than this is no improvement.
    cooldown : int
        Epochs to leave the rate alone after it was lowered.
    min_lr : float
        Where to stop.

    Raises
    ------
    ValueError
        For a factor of 1 or more.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        verbose: int = 0,
        mode: str = "auto",
        min_delta: float = 1e-4,
        cooldown: int = 0,
        min_lr: float = 0.0,
    ):
        super().__init__(monitor, mode, min_delta)
        if factor >= 1.0:
            raise ValueError(f"ReduceLROnPlateau: factor: expected a number below 1, found {factor}")
        self.factor = factor
        self.patience = patience
        self.verbose = verbose
        self.cooldown = cooldown
        self.min_lr = min_lr
        self.cooldown_counter = 0

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Forget an earlier training."""
        self.best = None
        self.wait = self.cooldown_counter = 0

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Decide whether to lower the rate."""
        logs = {} if logs is None else logs
        logs["learning_rate"] = float(self.model.optimizer.learning_rate)
        value = self._value(logs)
        if value is None:
            return
        if self.cooldown_counter:
            self.cooldown_counter -= 1
            self.wait = 0
        if self._improves(value, self.best):
            self.best = value
            self.wait = 0
        elif not self.cooldown_counter:
            self.wait += 1
            if self.wait >= self.patience:
                self._reduce(epoch)

    def _reduce(self, epoch: int) -> None:
        optimizer = self.model.optimizer
        old = float(optimizer.learning_rate)
        if old > self.min_lr:
            optimizer.learning_rate = max(old * self.factor, self.min_lr)
            self.cooldown_counter = self.cooldown
            self.wait = 0
            if self.verbose:
                new = optimizer.learning_rate
                print(f"\nEpoch {epoch + 1}: ReduceLROnPlateau reducing learning rate to {new}.")


# --- others -----------------------------------------------------------------------------------------------


class TerminateOnNaN(Callback):
    """Stops training as soon as the loss is NaN or infinite.

    Parameters
    ----------
    raise_error : bool
        Raise a RuntimeError; by default fit ends as usual after this batch.
    """

    def __init__(self, raise_error: bool = False):
        super().__init__()
        self.raise_error = raise_error

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Look at the loss."""
        loss = (logs or {}).get("loss")
        if loss is None or math.isfinite(loss):
            return
        if self.raise_error:
            raise RuntimeError(f"loss is {loss} at batch {batch}: training terminated")
        print(f"Batch {batch}: Invalid loss, terminating training")
        self.model.stop_training = True


class LearningRateScheduler(Callback):
    """Sets the learning rate before every epoch, and records it in the logs.

    Parameters
    ----------
    schedule : callable
        ``schedule(epoch, learning_rate)`` or ``schedule(epoch)`` returns the rate, a float; epochs count
        from 0.
    verbose : {0, 1}
        Say so.

    Raises
    ------
    ValueError
        In an epoch for which the schedule returns no float.
    """

    def __init__(self, schedule: Callable, verbose: int = 0):
        super().__init__()
        self.schedule = schedule
        self.verbose = verbose

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Set the rate."""
        optimizer = self.model.optimizer
        arguments = [epoch, float(optimizer.learning_rate)]
        rate = self.schedule(*arguments if _takes_two(self.schedule) else arguments[:1])
        if not isinstance(rate, float | np.floating):
            raise ValueError(f"LearningRateScheduler: schedule: expected a float, found {rate!r}")
        optimizer.learning_rate = float(rate)
        if self.verbose:
            print(f"\nEpoch {epoch + 1}: LearningRateScheduler setting learning rate to {rate}.")

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Record the rate."""
        if logs is not None:
            logs["learning_rate"] = float(self.model.optimizer.learning_rate)


def _takes_two(function: Callable) -> bool:
    try:
        inspect.signature(function).bind(0, 0.0)
    except TypeError:
        return False
    return True


class LambdaCallback(Callback):
    """A callback made of functions: ``LambdaCallback(on_epoch_end=lambda epoch, logs: ...)``.

    Parameters
    ----------
    **hooks : callable
        By the name of the hook, with its arguments (see `Callback`).

    Raises
    ------
    TypeError
        For a name that is no hook.
    """

    def __init__(self, **hooks: Callable | None):
        super().__init__()
        for name, function in hooks.items():
            if name not in HOOKS:
                raise TypeError(f"LambdaCallback: unknown hook {name!r}{nearest(name, HOOKS)}")
            if function is not None:
                setattr(self, name, function)
