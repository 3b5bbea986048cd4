"""Where a training stands, so that another process goes on from there to the same bits.

Weights, the optimizer's state and the generators of random numbers are in any file of weights. What else a
step depends on: the place in the shuffled data, the states of stateful layers, what metrics have counted in
this epoch, and what callbacks have decided by.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyrnn.autograd import no_grad

__all__ = ["go_on", "progress_of"]


def progress_of(model: Any, epoch: int, batch: int) -> dict[str, Any]:
    """Return where the training of a model stands, in plain values and arrays.

    Parameters
    ----------
    model : Model
        In the middle of fit.
    epoch, batch : int
        What comes next, counted from 0.
    """
    batches, callbacks = model.in_training
    return {
        "epoch": epoch,
        "batch": batch,
        "stop_training": model.stop_training,
        "learning_rate": [slot.data.item() for slot in _learning_rate(model)],
        "data": batches.place(),
        "states": model.get_states(),
        "metrics": [_counted(metric) for metric in model.metrics] if batch else [],
        "callbacks": [[type(c).__name__, c.get_state()] for c in _with_states(callbacks)],
    }


def go_on(model: Any, progress: dict[str, Any]) -> None:
    """Bring a model, its data and its callbacks to where `progress_of` was called; its weights are there."""
    batches, callbacks = model.in_training
    last = batches.go_to(progress["data"])
    if progress["batch"]:
        with no_grad():
            model.test_step(last)  # metrics are made when they see the first batch
        for metric, counted in zip(model.metrics, progress["metrics"], strict=True):
            vars(metric).update(counted)
    for slot, value in zip(_learning_rate(model), progress["learning_rate"], strict=True):
        slot.data[...] = value  # a callback may have changed it where the epoch began, a second time
    model.set_states(progress["states"])
    model.stop_training = progress["stop_training"]
    kept = list(progress["callbacks"])
    for c in _with_states(callbacks):
        mine = next((i for i, (name, _) in enumerate(kept) if name == type(c).__name__), None)
        if mine is not None:  # a callback that was not there before has nothing to remember
            c.set_state(kept.pop(mine)[1])


def _with_states(callbacks: Any) -> list:
    """Return the callbacks, without objects that have hooks but nothing else of one."""
    return [c for c in callbacks.callbacks if hasattr(c, "get_state")]


def _learning_rate(model: Any) -> list:
    """Return the learning rate as a variable; none where a schedule decides."""
    return [slot for slot in model.optimizer.variables if slot.name == "learning_rate"]


def _counted(metric: Any) -> dict[str, Any]:
    """Return the numbers among a metric's attributes: what it has added up, beside its settings."""
    kinds = int | float | np.ndarray | np.generic
    return {name: value for name, value in vars(metric).items() if isinstance(value, kinds)}
