"""What goes on inside a model: how large the gradient is at every time step of its recurrent layers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tinyrnn.autograd import Tensor, enable_grad, grad
from tinyrnn.backend import to_host
from tinyrnn.data import as_batch
from tinyrnn.layers.base import Layer
from tinyrnn.layers.cells import StackedRNNCells
from tinyrnn.layers.recurrent import RNN
from tinyrnn.recurrent.unrolled import Run, watching

__all__ = ["factor_per_step", "gradient_norms"]


def gradient_norms(model: Any, x: Any, y: Any = None, sample_weight: Any = None) -> dict[str, np.ndarray]:
    """Return the norm of the gradient with respect to every state, at every time step.

    For a state ``h_t``, as the step at time t computes it, that is the Euclidean norm of ``dL/dh_t`` over
    units and sequences, where L is the loss of this batch as `compile` defines it. The gradient is the whole
    one, through everything that is computed from the state: the output at time t, the states after it, in
    the same step too (in an LSTM, ``c_t`` acts through ``h_t = o_t * tanh(c_t)``). Where it is tiny, the
    model can't learn from what it read at that time or before (Hochreiter, 1991; Bengio, Simard and Frasconi,
    1994).

    Parameters
    ----------
    model : Model
        Compiled. Any cell will do, a user's own too; dropout is off. Neither the weights nor the states of a
        stateful layer change.
    x, y, sample_weight
        One batch, as for `train_on_batch`.

    Returns
    -------
    dict of str to float64 array of shape (time,)
        By layer and state: ``"lstm/h"`` and ``"lstm/c"``, ``"bidirectional/forward_gru/h"``, and
        ``"rnn/lstm_cell/h"`` for cells that are stacked in one layer. States of a Keras-style cell, which
        have no names, are ``"rnn/state_1"``, ``"rnn/state_2"``, ... A layer that is called again has entries
        of its own: ``"lstm (call 2)/h"``. Times are those of the input, whichever way the layer reads. Masked
        steps count nothing; nan where a step is masked in all sequences.

    Raises
    ------
    ValueError
        If the model is not compiled with a loss or has no recurrent layer; for data that do not fit.

    Notes
    -----
    The layers run as a graph of tensors, whatever their `kernel`: slow, and with the memory of a graph.
    """
    if not model.compiled:
        raise ValueError(f"gradient_norms: {model.name} has no loss; call compile(optimizer, loss) first")
    runs, loss = _run(model, *as_batch((x, y, sample_weight)))
    if not runs:
        raise ValueError(f"gradient_norms: {model.name} has no recurrent layer")
    states = [state for run in runs for states in run.states.values() for state in states]
    found = iter(grad(loss, states))
    names = dict(_cells(model))
    calls: dict[str, int] = {}
    norms = {}
    for run in runs:
        name = names.get(run.cell, run.cell.name)
        calls[name] = calls.get(name, 0) + 1
        label = name if calls[name] == 1 else f"{name} (call {calls[name]})"
        for state, values in zip(_state_names(run), _norms(run, found), strict=True):
            norms[f"{label}/{state}"] = values
    return norms


def factor_per_step(norms: Any) -> float:
    """Return by what the gradient is multiplied on one step back in time, on the average.

    That is the geometric mean between the first and the last step: below 1 the gradient vanishes, above 1 it
    explodes. 20 times its decimal logarithm is the change in decibels; nan if both norms are 0.

    Parameters
    ----------
    norms : array of shape (time,)
        One of those that `gradient_norms` returns. Steps of nan, at either end, are left out.

    Raises
    ------
    ValueError
        If there are not two time steps to compare.
    """
    norms = np.asarray(norms, "float64")
    times = np.flatnonzero(~np.isnan(norms)) if norms.ndim == 1 else []
    if len(times) < 2:
        raise ValueError(
            f"norms: expected at least two time steps, found shape {norms.shape}, {len(times)} used"
        )
    first, last = times[0], times[-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.exp((np.log(norms[first]) - np.log(norms[last])) / (last - first)))


def _run(model: Any, x: Any, y: Any, sample_weight: Any) -> tuple[list[Run], Tensor]:
    """Return the watched runs of all recurrent layers and the loss; leave the model as it was."""
    states = model.get_states()
    averages = model._compiled_loss.averages if model._compiled_loss else []
    before = [dict(vars(average)) for average in averages]
    try:
        with enable_grad(), watching() as runs:
            loss = model.compute_loss(x, y, model(x, training=False), sample_weight, training=False)
    finally:
        model._call_losses = []
        model.set_states(states)
        for average, values in zip(averages, before, strict=True):
            vars(average).update(values)
    return runs, loss


def _cells(layer: Layer, path: str = "") -> Iterator[tuple[Any, str]]:
    """Yield the cells inside a layer, each with the names of the layers that lead to it."""
    for inner in layer.sublayers:
        name = f"{path}{inner.name}"
        if isinstance(inner, RNN) and not isinstance(inner.cell, StackedRNNCells):
            yield inner.cell, name
        elif isinstance(layer, StackedRNNCells) and not isinstance(inner, StackedRNNCells):
            yield inner, name
        else:  # a stack of cells has no part in the name
            yield from _cells(inner, path if isinstance(inner, StackedRNNCells) else f"{name}/")


def _state_names(run: Run) -> list[str]:
    names = getattr(run.cell, "states", None)
    if names is not None:
        return list(names)
    return [f"state_{k + 1}" for k in range(len(next(iter(run.states.values()))))]


def _norms(run: Run, gradients: Iterator[Tensor]) -> Iterator[np.ndarray]:
    """Yield the norms of each state's gradients, in order of time; takes the gradients of the run."""
    values = np.array([[_norm(next(gradients)) for _ in states] for states in run.states.values()])
    values = values[np.argsort(list(run.states))]
    if run.mask is not None:
        values[~to_host(run.mask).any(axis=0)] = np.nan
    yield from values.T


def _norm(gradient: Tensor) -> float:
    """Return the Euclidean norm, in float64: squares of float32 vanish where the gradient does not yet."""
    return float(np.linalg.norm(gradient.numpy().astype("float64").ravel()))
