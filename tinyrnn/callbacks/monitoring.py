"""Deciding by a quantity: stop, or learn more slowly, when it has stopped improving."""

from __future__ import annotations

import math

from tinyrnn.callbacks.base import Callback
from tinyrnn.naming import nearest, warn_user

__all__ = ["EarlyStopping", "MonitorCallback", "ReduceLROnPlateau"]


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

    kept = ("best", "best_epoch", "best_weights", "stopped_epoch", "wait")

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

    kept = ("best", "cooldown_counter", "wait")

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
