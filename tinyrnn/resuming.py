"""Where a training stands, so that another process goes on from there to the same bits.

Weights, the optimizer's state and the generators of random numbers are in any file of weights. What else a
step depends on: the place in the shuffled data, the states of stateful layers, what metrics have counted in
this epoch, and what callbacks have decided by.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinyrnn.autograd import no_grad
from tinyrnn.backend import on_device, placed, to_host

__all__ = ["checked", "go_on", "progress_of"]

COUNTS = int | float | np.ndarray | np.generic  # what a metric counts in


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
        "batches": batches.num_batches,
        "stop_training": model.stop_training,
        "learning_rate": [slot.data.item() for slot in _learning_rate(model)],
        "data": batches.place(),
        "states": model.get_states(),
        "metrics": [_counted(metric) for metric in model.metrics] if batch else [],
        "callbacks": [[type(c).__name__, c.get_state()] for c in _with_states(callbacks)],
    }


def checked(progress: Any) -> dict[str, Any]:
    """Return what `progress_of` made, if it is that.

    Raises
    ------
    ValueError
        Says what is wrong.
    """
    wanted = {
        "epoch": int, "batch": int, "batches": (int, type(None)), "stop_training": bool,
        "learning_rate": list, "data": dict, "states": list, "metrics": list, "callbacks": list,
    }  # fmt: skip
    if not isinstance(progress, dict) or set(progress) != set(wanted):
        raise ValueError("the progress of a training is damaged, or of another version")
    for name, kind in wanted.items():
        if not isinstance(progress[name], kind):
            raise ValueError(f"the progress of a training: {name}: found {progress[name]!r}")
    numbers = progress["epoch"], progress["batch"], progress["data"].get("seen")
    if not all(isinstance(n, int) and 0 <= n < 2**40 for n in numbers):
        raise ValueError(f"the progress of a training: epoch, batch and batches seen are {numbers}")
    return progress


def go_on(model: Any, progress: dict[str, Any]) -> None:
    """Bring a model, its data and its callbacks to where `progress_of` was called; its weights are there."""
    batches, callbacks = model.in_training
    if batches.num_batches != progress["batches"]:
        raise ValueError(
            f"fit: it cannot go on from a training with {progress['batches']} batches in an epoch; there are "
            f"{batches.num_batches}"
        )
    last = batches.go_to(progress["data"])
    if progress["batch"]:
        with no_grad():
            model.test_step(last)  # metrics are made when they see the first batch
        for metric, counted in zip(model.metrics, progress["metrics"], strict=True):
            _set_counted(metric, counted)
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
    """Return what a metric has added up: numbers, arrays, lists of these, and what a metric within has."""
    found: dict[str, Any] = {}
    for name, value in vars(metric).items():
        value = to_host(value) if on_device(value) else value
        if hasattr(value, "update_state"):
            found[name] = _counted(value)
        elif all(isinstance(item, COUNTS) for item in (value if isinstance(value, list) else [value])):
            found[name] = value
    return found


def _set_counted(metric: Any, counted: dict[str, Any]) -> None:
    """Put back what `_counted` returned, where it was."""
    for name, value in _counted(metric).items():
        if name not in counted:
            continue
        if isinstance(value, dict):
            _set_counted(getattr(metric, name), counted[name])
        else:
            is_placed = on_device(getattr(metric, name))
            setattr(metric, name, placed(counted[name]) if is_placed else counted[name])
