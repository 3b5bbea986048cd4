"""What every callback has: the hooks that fit, evaluate and predict call."""

from __future__ import annotations

from typing import Any

__all__ = ["HOOKS", "Callback"]


class Callback:
    """Base of callbacks; a subclass overrides the hooks it needs.

    `logs` is a dictionary of floats, sorted by name; from a GPU they are fetched when one of them is read.
    At the end of a batch it holds the loss and the metrics of the epoch so far, at the end of an epoch those
    of the epoch and, with ``val_`` before the name, those of the validation. All callbacks get the same
    dictionary one after the other, and `History`, the last but one, records what they have left in it.

    Attributes
    ----------
    model : Model
    params : dict
        ``verbose``, ``epochs`` and ``steps``.
    kept : tuple of str
        Attributes that `get_state` returns: what a callback has found out in this training and decides by.
    """

    kept: tuple[str, ...] = ()

    def __init__(self):
        self.model: Any = None
        self.params: dict[str, Any] = {}

    def set_model(self, model: Any) -> None:
        """Take the model that is trained."""
        self.model = model

    def set_params(self, params: dict[str, Any]) -> None:
        """Take the settings of this run."""
        self.params = params

    def get_state(self) -> dict[str, Any]:
        """Return what must survive if the training is stopped and gone on with: plain values and arrays."""
        return {name: getattr(self, name) for name in self.kept}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take what `get_state` returned in another process."""
        for name in self.kept:
            setattr(self, name, state[name])

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
