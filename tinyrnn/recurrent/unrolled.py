"""Run a sequence as a graph of tensors, one time step after the other: the definition.

Slow and plain. Every other kernel is tested against it; any cell runs here, and gradients of any order
come from the graph. Here alone every state is a tensor, so here they can be watched.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tinyrnn import ops
from tinyrnn.autograd import Tensor
from tinyrnn.backend import is_float
from tinyrnn.nest import leaves, map_leaves
from tinyrnn.recurrent.cells import Cell, Names

__all__ = ["Run", "is_watching", "run", "step_cell", "unroll", "watching"]


class Run:
    """A sequence that was run while `watching`.

    Attributes
    ----------
    cell : object
        What ran.
    mask : bool array (B, T) or None
    states : dict of int to list of Tensor (B, units)
        What the step at each time computed, in the order of processing. Whatever depends on a state was
        computed from this very tensor, so `grad` with respect to it is the whole gradient. Where a step is
        masked its states are computed and not used: their gradient is zero.
    """

    def __init__(self, cell: Any, mask: Any):
        self.cell, self.mask = cell, mask
        self.states: dict[int, list[Tensor]] = {}

    def keep(self, t: int, output: Any, new: list, old: Sequence) -> tuple[Any, list]:
        """Take down the states of one step; return the output and the states to go on with."""
        handed_on = {id(s) for s in leaves(old)}  # the same tensor again would count for both times
        states = map_leaves(lambda s: _in_graph(s, copy=id(s) in handed_on), new)
        self.states[t] = [s for s in leaves(states) if isinstance(s, Tensor) and s.requires_grad]
        is_state = output is next(leaves(new))
        return next(leaves(states)) if is_state else output, states


def _in_graph(state: Any, copy: bool = False) -> Any:
    """Return a state with a place in the graph: a leaf if it was computed from nothing with a gradient."""
    if getattr(state, "requires_grad", False):
        return ops.broadcast_to(state, shape=state.shape) if copy else state
    return Tensor(state, requires_grad=True) if is_float(state.dtype) else state


class _Watched(threading.local):
    runs: list[Run] | None = None


_watched = _Watched()


def is_watching() -> bool:
    """Whether sequences are to run here, whatever kernel is asked for, so that their states can be seen."""
    return _watched.runs is not None


@contextmanager
def watching() -> Iterator[list[Run]]:
    """Context in which the states of every sequence that is run in this thread are kept.

    Yields
    ------
    list of Run
        Grows by one with each sequence.
    """
    before, _watched.runs = _watched.runs, []
    try:
        yield _watched.runs
    finally:
        _watched.runs = before


def unroll(
    step: Callable,
    steps: Sequence,
    states: Sequence,
    mask: Any = None,
    reverse: bool = False,
    cell: Any = None,
) -> Iterator[tuple[int, Any, list]]:
    """Call ``step(x_t, states) -> (output, states)`` for every time step.

    A masked step keeps the states and repeats the output before it, zeros if there was none.

    Parameters
    ----------
    step : callable
    steps : sequence of length T
        What `step` gets of each time step.
    states : sequence of (B, ...) tensors
    mask : bool array (B, T), optional
    reverse : bool
        Go from the last step to the first.
    cell : object, optional
        Whose step it is, for those who are `watching`.

    Yields
    ------
    tuple
        The time ``t``, the output and the states after it.
    """
    times = range(len(steps))
    output = None
    watched = Run(cell, mask) if is_watching() and cell is not None else None
    if watched is not None:
        _watched.runs.append(watched)
        states = map_leaves(_in_graph, list(states))  # so that what a frozen cell computes has a gradient
    for t in reversed(times) if reverse else times:
        new_output, new_states = step(steps[t], states)
        if watched is not None:
            new_output, new_states = watched.keep(t, new_output, list(new_states), states)
        if mask is not None:
            before = 0.0 * new_output if output is None else output
            new_output = _choose(mask[:, t], new_output, before)
            new_states = [_choose(mask[:, t], a, b) for a, b in zip(new_states, states, strict=True)]
        output, states = new_output, list(new_states)
        yield t, output, states


def _choose(valid: Any, new: Any, old: Any) -> Any:
    return ops.where(valid.reshape((-1,) + (1,) * (len(new.shape) - 1)), new, old)


def step_cell(
    cell: Cell, xz: Any, U: Any, b_r: Any, params: Sequence, states: Sequence, rec_mask: Any = None
) -> list:
    """One time step of `cell`: the recurrent products and the cell's equations.

    Parameters
    ----------
    xz : (B, G * units)
        Pre-activations of the gates from the input.
    U : (units, G * units)
    b_r : (G * units,) or None
    params : sequence of (units,)
    states : sequence of (B, units)
    rec_mask : (G, B, units), optional
        Factors of the recurrent state, per gate.

    Returns
    -------
    list of (B, units)
        The new states.
    """
    units = U.shape[0]
    index = {gate: slice(k * units, (k + 1) * units) for k, gate in enumerate(cell.gates)}

    def product(h, gate):
        if rec_mask is not None:
            h = h * rec_mask[cell.gates.index(gate)]
        r = h @ U[:, index[gate]]
        return r if b_r is None else r + b_r[index[gate]]

    x = Names(**{gate: xz[:, index[gate]] for gate in cell.gates})
    s = Names(**dict(zip(cell.states, states, strict=True)))
    p = Names(**dict(zip(cell.params, params, strict=True)))
    early = [gate for gate in cell.gates if gate not in cell.late_gates]
    r = Names(**{gate: product(states[0], gate) for gate in early})
    if cell.late_gates:
        late = cell.late_input(x, r, s, p)
        vars(r).update({gate: product(late, gate) for gate in cell.late_gates})
    new = cell.step(x, r, s, p)
    new = list(new) if isinstance(new, tuple) else [new]
    _check_states(cell, new, states)
    return new


def _check_states(cell: Cell, new: list, old: Sequence) -> None:
    """Compare what a step returned with the states before: a reduction, say, would have lost an axis."""
    found, expected = ([getattr(s, "shape", s) for s in states] for states in (new, old))
    if found != expected:
        raise ValueError(
            f"{type(cell).__name__}.step: expected the states {', '.join(cell.states)} of shapes {expected}, "
            f"found {found}"
        )


def run(cell, xz, U, b_r, params, states0, mask=None, rec_mask=None, reverse=False) -> tuple:
    """Run a sequence; the interface of all kernels, see `tinyrnn.recurrent`."""

    def step(x_t, states):
        new = step_cell(cell, x_t, U, b_r, params, states, rec_mask)
        return new[0], new

    outputs, final = [None] * xz.shape[1], None
    for t, _, final in unroll(step, ops.unstack(xz, axis=1), list(states0), mask, reverse, cell):
        outputs[t] = final[0]  # where a step is masked: the state it keeps
    return ops.stack(outputs, axis=1), final
