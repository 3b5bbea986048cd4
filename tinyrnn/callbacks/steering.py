"""Small callbacks that steer a training: a schedule, a stop at NaN, functions of one's own."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable

import numpy as np

from tinyrnn.callbacks.base import HOOKS, Callback
from tinyrnn.naming import nearest

__all__ = ["LambdaCallback", "LearningRateScheduler", "TerminateOnNaN"]


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
