"""Callbacks that write files during training: the model as it is or was best, and a backup to go on from."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from string import Formatter
from typing import Any

import numpy as np

from tinyrnn.callbacks.base import Callback
from tinyrnn.callbacks.monitoring import MonitorCallback
from tinyrnn.files import remove_parts
from tinyrnn.naming import nearest, warn_user

__all__ = ["BackupAndRestore", "ModelCheckpoint"]


class _Every:
    """Whether it is time: after every epoch, or after every so many batches, across epochs."""

    def __init__(self, owner: Callback, save_freq: Any):
        is_count = isinstance(save_freq, int) and not isinstance(save_freq, bool) and save_freq >= 1
        if save_freq != "epoch" and not is_count:
            name = type(owner).__name__
            raise ValueError(
                f"{name}: save_freq: expected 'epoch' or a number of batches, found {save_freq!r}"
            )
        self.batches = None if save_freq == "epoch" else save_freq
        self.seen = 0

    def after_batch(self) -> bool:
        if self.batches is None:
            return False
        self.seen = (self.seen + 1) % self.batches
        return self.seen == 0

    def after_epoch(self) -> bool:
        return self.batches is None


class ModelCheckpoint(MonitorCallback):
    """Saves the model, or its weights, every now and then. A file is there whole or not at all.

    Parameters
    ----------
    filepath : str or path
        ``.keras``, or ``.weights.h5`` for weights only. Names in braces are filled in: ``{epoch}``, counted
        from 1, ``{batch}``, and whatever the logs hold, as ``"{epoch:02d}-{val_loss:.2f}.keras"``.
    monitor : str
        Name in the logs, for `save_best_only`.
    verbose : {0, 1}
        Say what is saved.
    save_best_only : bool
        Save only when the quantity is better than ever before.
    save_weights_only : bool
        Save weights and the optimizer's state, not the whole model.
    mode : {"auto", "min", "max"}
        Whether less or more is better.
    save_freq : "epoch" or int
        After every epoch, or after every so many batches.
    initial_value_threshold : float, optional
        What the quantity has to be better than the first time.

    Raises
    ------
    ValueError
        For another ending, or a `save_freq` that is neither.
    KeyError
        When saving, if a name in braces is not in the logs.
    OSError
        When saving, if it is not possible; a file that was there is as it was.
    """

    kept = ("best",)

    def __init__(
        self,
        filepath: str | os.PathLike,
        monitor: str = "val_loss",
        verbose: int = 0,
        save_best_only: bool = False,
        save_weights_only: bool = False,
        mode: str = "auto",
        save_freq: str | int = "epoch",
        initial_value_threshold: float | None = None,
    ):
        super().__init__(monitor, mode, 0)
        self.filepath = os.fspath(filepath)
        ending = ".weights.h5" if save_weights_only else ".keras"
        if not self.filepath.endswith(ending):
            raise ValueError(
                f"ModelCheckpoint: filepath: expected a name that ends in {ending}, found {self.filepath!r}"
            )
        try:
            named = [name for _, name, _, _ in Formatter().parse(self.filepath)]
        except ValueError as error:
            raise ValueError(f"ModelCheckpoint: filepath: {self.filepath!r}: {error}") from error
        if any(name is not None and not name.isidentifier() for name in named):
            raise ValueError(f"ModelCheckpoint: filepath: expected names in braces, found {self.filepath!r}")
        self.verbose = verbose
        self.save_best_only = save_best_only
        self.save_weights_only = save_weights_only
        self.save_freq = save_freq
        self.best = initial_value_threshold
        self._every = _Every(self, save_freq)
        self._epoch = 0

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Remember the epoch, for names."""
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Save, if so many batches have passed."""
        if self._every.after_batch():
            self._save({"batch": batch + 1} | (logs or {}))

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Save, if that is asked for after every epoch."""
        if self._every.after_epoch():
            self._save(logs or {})

    def _save(self, logs: dict) -> None:
        path = self._path(logs)
        if self.save_best_only and not self._is_best(logs, path):
            return
        if not self.save_best_only:
            self._say(f"saving model to {path}")
        remove_parts(path)  # an earlier run of the program may have been killed while it wrote this file
        (self.model.save_weights if self.save_weights_only else self.model.save)(path)
        self._say(f"finished saving model to {path}")

    def _path(self, logs: dict) -> str:
        try:
            return self.filepath.format(**{"epoch": self._epoch + 1, **logs})
        except KeyError as error:
            name = error.args[0]
            raise KeyError(
                f"ModelCheckpoint: filepath {self.filepath!r}: the logs have no {name!r}"
                f"{nearest(str(name), logs)}"
            ) from error

    def _is_best(self, logs: dict, path: str) -> bool:
        """Whether to save; what cannot be judged is saved, as in Keras."""
        value, best = self._value(logs), self.best
        if value is None or np.ndim(value) > 0:
            if value is not None:
                warn_user(f"ModelCheckpoint: {self.monitor} is an array and cannot be the best: saved anyway")
            return True
        before = "None" if best is None else f"{best:.5f}"
        if not self._improves(value, best):
            self._say(f"{self.monitor} did not improve from {before}")
            return False
        self._say(f"{self.monitor} improved from {before} to {value:.5f}, saving model to {path}")
        self.best = value
        return True

    def _say(self, what: str) -> None:
        if self.verbose:
            print(f"\nEpoch {self._epoch + 1}: {what}")


class BackupAndRestore(Callback):
    """Lets a training that was killed go on where it was: run the same program again.

    After every epoch (or every few batches) everything that the next step depends on goes into one file of
    the folder: weights, the optimizer's state, random numbers, the place in the shuffled data, metrics, the
    states of stateful layers, what other callbacks have found out, the history. At the beginning of fit such
    a file is looked for. The final weights are those of a run that was never stopped, bit for bit; Keras
    repeats the epoch that was going on.

    It does its work after all other callbacks. Data from a generator must come again in the same order, and
    what a callback of your own has to remember it must say (`Callback.get_state`).

    Parameters
    ----------
    backup_dir : str or path
        A folder for this training alone.
    save_freq : "epoch" or int
        After every epoch, or after every so many batches.
    double_checkpoint : bool
        Keep the backup before the last one too, for a disk that damages files.
    delete_checkpoint : bool
        Remove the backups at the end of fit; otherwise the next fit has nothing to do.

    Raises
    ------
    ValueError
        For a `save_freq` that is neither.
    ModelFileError
        At the beginning of fit, if the backup is damaged or belongs to another model.
    """

    comes_last = True

    def __init__(
        self,
        backup_dir: str | os.PathLike,
        save_freq: str | int = "epoch",
        double_checkpoint: bool = False,
        delete_checkpoint: bool = True,
    ):
        super().__init__()
        if not backup_dir:
            raise ValueError("BackupAndRestore: backup_dir: expected a folder, found an empty name")
        self.backup_dir = backup_dir
        self.save_freq = save_freq
        self.double_checkpoint = double_checkpoint
        self.delete_checkpoint = delete_checkpoint
        self._every = _Every(self, save_freq)
        self._latest = Path(backup_dir) / "latest.weights.h5"
        self._previous = Path(backup_dir) / "previous.weights.h5"
        self._epoch = 0

    def get_state(self) -> dict[str, Any]:
        """Return how long ago the last backup was."""
        return {"seen": self._every.seen}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take what `get_state` returned."""
        self._every.seen = state["seen"]

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Look for a backup, and let fit go on from there."""
        remove_parts(self._latest)
        found = [path for path in (self._latest, self._previous) if path.exists()]
        for path in found:
            try:
                self.model.load_progress(path)
                break
            except ValueError as error:
                if path is found[-1]:
                    raise
                warn_user(f"BackupAndRestore: the last backup cannot be used, the one before is: {error}")

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Remember the epoch."""
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Write a backup, if so many batches have passed."""
        if self._every.after_batch():
            self._save(self._epoch, batch + 1)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Write a backup, if that is asked for after every epoch."""
        if self._every.after_epoch():
            self._save(epoch + 1, 0)

    def _save(self, epoch: int, batch: int) -> None:
        if self.double_checkpoint and self._latest.exists():
            os.replace(self._latest, self._previous)
        self.model.save_progress(self._latest, epoch, batch)

    def on_train_end(self, logs: dict | None = None) -> None:
        """Remove the backups."""
        if self.delete_checkpoint:
            for path in (self._latest, self._previous):
                path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # the folder may hold something else
                Path(self.backup_dir).rmdir()
