"""Recording and showing what comes of a training."""

from __future__ import annotations

import csv
import os
from typing import Any

import numpy as np

from tinyrnn.callbacks.base import Callback
from tinyrnn.progress import ProgressBar

__all__ = ["CSVLogger", "History", "ProgbarLogger"]


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

    kept = ("history", "epoch", "epochs_of")

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

    def get_state(self) -> dict[str, Any]:
        """Return what stands in the file."""
        with open(self.filename, newline="") as file:
            return {"text": file.read(), "keys": self._keys}

    def set_state(self, state: dict[str, Any]) -> None:
        """Write what stood in the file: fit has begun it anew."""
        self._file.seek(0)
        self._file.truncate()
        self._file.write(state["text"])
        self._file.flush()
        if state["keys"]:
            self._keys, self._writer = state["keys"], csv.writer(self._file, delimiter=self.separator)

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
