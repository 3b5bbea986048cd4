"""The equations of the recurrent cells, and nothing else.

A cell says what happens to one unit in one time step. It is written once, in ordinary operators and
activations; backpropagation through time and every kernel are derived from this text.

The arguments of `step` carry one attribute per name that the cell declares:

``x.i``   the pre-activation that the input gives gate ``i``:  ``x W_i + b_i``
``r.i``   the one that the recurrent state gives it:  ``h U_i`` (plus ``b_r`` for a cell with two biases)
``s.c``   the previous value of state ``c``
``p.w``   the per-unit parameter ``w``

Sources: Hochreiter and Schmidhuber (1997) with the forget gate of Gers et al. (2000) for the LSTM, Cho
et al. (2014) for the GRU; the variants, their order of gates and their names are Keras's.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from tinyrnn import activations
from tinyrnn.naming import nearest

__all__ = ["GRU", "LSTM", "Cell", "Names", "SimpleRNN"]


class Names(SimpleNamespace):
    """The arguments of a step: one attribute for each name."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise AttributeError(f"step: the cell declares no {name!r}{nearest(name, vars(self))}")


class Cell:
    """What a cell states about itself; subclasses define `step`.

    Attributes
    ----------
    gates : tuple of str
        In the order of the columns of the kernels, each as wide as the cell has units.
    states : tuple of str
        The first is the output.
    params : tuple of str
        Per-unit parameters, like the peepholes of an LSTM.
    two_biases : bool
        The recurrent product has a bias of its own.
    late_gates : tuple of str
        The last gates, whose recurrent product is taken not of the output but of what `late_input`
        returns; that can depend on the pre-activations of the others.
    activation, recurrent_activation : callable
        For the cell to use; by default the hyperbolic tangent and the logistic function.
    """

    gates: tuple[str, ...] = ()
    states: tuple[str, ...] = ("h",)
    params: tuple[str, ...] = ()
    two_biases: bool = False
    late_gates: tuple[str, ...] = ()

    changes = 0  # counts what was set on the cell: code derived before it is stale

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if not name.startswith("_"):
            vars(self)["changes"] = self.changes + 1

    activation = staticmethod(activations.tanh)
    recurrent_activation = staticmethod(activations.sigmoid)

    def step(self, x: Any, r: Any, s: Any, p: Any) -> Any:
        """Return the new states, a tuple in the order of `states` (or the only one)."""
        raise TypeError(f"{type(self).__name__} does not define step(x, r, s, p)")

    def late_input(self, x: Any, r: Any, s: Any, p: Any) -> Any:
        """Return what the recurrent kernel of `late_gates` multiplies."""
        raise TypeError(f"{type(self).__name__} has late_gates but does not define late_input(x, r, s, p)")


class SimpleRNN(Cell):
    """``h = act(x W + b + h U)``."""

    gates = ("h",)

    def step(self, x, r, s, p):
        """One time step."""
        return self.activation(x.h + r.h)


class LSTM(Cell):
    """Long short-term memory: input, forget and output gate, candidate, cell state."""

    gates = ("i", "f", "c", "o")
    states = ("h", "c")

    def step(self, x, r, s, p):
        """One time step."""
        i = self.recurrent_activation(x.i + r.i)
        f = self.recurrent_activation(x.f + r.f)
        o = self.recurrent_activation(x.o + r.o)
        c = f * s.c + i * self.activation(x.c + r.c)
        return o * self.activation(c), c


class GRU(Cell):
    """Gated recurrent unit.

    With `reset_after` the reset gate acts on the recurrent product of the candidate, which then has a
    bias of its own; without, as first published, on what the product is taken of.
    """

    gates = ("z", "r", "h")
    reset_after = True

    @property
    def two_biases(self):
        """Whether the recurrent product has a bias."""
        return self.reset_after

    @property
    def late_gates(self):
        """The gate whose recurrent product waits for the reset gate."""
        return () if self.reset_after else ("h",)

    def late_input(self, x, r, s, p):
        """What the candidate sees of the past, if the reset comes first."""
        return self.recurrent_activation(x.r + r.r) * s.h

    def step(self, x, r, s, p):
        """One time step."""
        z = self.recurrent_activation(x.z + r.z)
        past = self.recurrent_activation(x.r + r.r) * r.h if self.reset_after else r.h
        h = self.activation(x.h + past)
        return z * s.h + (1.0 - z) * h
