"""Recurrent cells with weights: one time step at a time, or a whole sequence through a kernel.

The equations are in `tinyrnn.recurrent.cells`; here they get weights, dropout and Keras's arguments.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from numbers import Real
from typing import Any

import numpy as np

from tinyrnn import activations, constraints, initializers, ops, recurrent, regularizers
from tinyrnn.autograd import Tensor
from tinyrnn.backend import EPSILON, array_module, device_module, draw_seed, get_device, new_generator
from tinyrnn.cuda import random
from tinyrnn.layers.base import Layer, get_layer, positive_int
from tinyrnn.lookup import Lookup
from tinyrnn.naming import snake_case
from tinyrnn.recurrent import cells, unrolled

__all__ = ["CallCell", "GRUCell", "LSTMCell", "RNNCell", "SimpleRNNCell", "StackedRNNCells", "as_cell"]


class RNNCell(Layer, cells.Cell):
    """A recurrent cell with weights; base of the built-in ones and of a user's own.

    A subclass states its gates, states and per-unit parameters and one time step, see
    `tinyrnn.recurrent.cells.Cell`; weights, backpropagation and kernels follow from that::

        class PeepholeLSTM(RNNCell):
            gates = ("i", "f", "c", "o")
            states = ("h", "c")
            params = ("p_i", "p_f", "p_o")

            def step(self, x, r, s, p):
                i = sigmoid(x.i + r.i + p.p_i * s.c)
                f = sigmoid(x.f + r.f + p.p_f * s.c)
                c = f * s.c + i * tanh(x.c + r.c)
                o = sigmoid(x.o + r.o + p.p_o * c)
                return o * tanh(c), c

        layer = RNN(PeepholeLSTM(64), return_sequences=True)

    Weights, in order: ``kernel (F, G * units)``, ``recurrent_kernel (units, G * units)``, ``bias
    (G * units,)`` (or ``(2, G * units)``, input and recurrent, with `two_biases`), then the parameters,
    ``(units,)`` each, zeros at first.

    Parameters
    ----------
    units : int
        Positive.
    activation : str or callable
        ``tanh`` by default.
    use_bias : bool
    kernel_initializer, recurrent_initializer, bias_initializer : optional
    kernel_regularizer, recurrent_regularizer, bias_regularizer : optional
    kernel_constraint, recurrent_constraint, bias_constraint : optional
    dropout, recurrent_dropout : float
        Fraction of the inputs, and of the recurrent state where it enters the product, to drop in
        training; one mask for all time steps (Gal and Ghahramani, 2016).
    seed : int, optional
        Of the dropout masks.
    """

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        **kwargs: Any,
    ):
        kwargs.pop("implementation", None)  # Keras's choice between two ways to compute the same
        super().__init__(**kwargs)
        self.units = positive_int(self, "units", units)
        self.activation = activations.get(activation)
        self.use_bias = use_bias
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.recurrent_initializer = initializers.get(recurrent_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.recurrent_regularizer = regularizers.get(recurrent_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.kernel_constraint = constraints.get(kernel_constraint)
        self.recurrent_constraint = constraints.get(recurrent_constraint)
        self.bias_constraint = constraints.get(bias_constraint)
        self.dropout = self._rate("dropout", dropout)
        self.recurrent_dropout = self._rate("recurrent_dropout", recurrent_dropout)
        self.seed = seed
        self._generator = new_generator(seed)
        self._masks: tuple | None = None

    def _rate(self, argument: str, value: Any) -> float:
        """Return a fraction; as in Keras, what lies outside of 0 ... 1 is taken for the nearer end."""
        if not isinstance(value, Real):
            raise ValueError(f"{type(self).__name__}: {argument}: expected a number, found {value!r}")
        return min(1.0, max(0.0, float(value)))

    @property
    def state_size(self) -> int | list[int]:
        """The width of each state; a number if there is one."""
        return self.units if len(self.states) == 1 else [self.units] * len(self.states)

    @property
    def output_size(self) -> int:
        """The width of the output."""
        return self.units

    def build(self, input_shape: tuple) -> None:
        """Make the weights for inputs ``(B, F)`` or ``(B, T, F)``."""
        self.input_size = input_shape[-1]
        if self.input_size is None:
            raise ValueError(f"{self.name}: the number of features must be known, found shape {input_shape}")
        width = len(self.gates) * self.units
        self.kernel = self.add_weight(
            (self.input_size, width), self.kernel_initializer, "kernel",
            regularizer=self.kernel_regularizer, constraint=self.kernel_constraint,
        )  # fmt: skip
        self.recurrent_kernel = self.add_weight(
            (self.units, width), self.recurrent_initializer, "recurrent_kernel",
            regularizer=self.recurrent_regularizer, constraint=self.recurrent_constraint,
        )  # fmt: skip
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(
                (2, width) if self.two_biases else (width,), self.initial_bias, "bias",
                regularizer=self.bias_regularizer, constraint=self.bias_constraint,
            )  # fmt: skip
        self.parameters = [self.add_weight((self.units,), "zeros", name) for name in self.params]

    def initial_bias(self, shape: tuple, dtype: str) -> Any:
        """Return the bias to start with."""
        return self.bias_initializer(shape, dtype)

    def get_initial_state(self, batch_size: int) -> list[Tensor]:
        """Return zeros ``(batch_size, units)`` for each state."""
        zeros = device_module().zeros
        return [Tensor._of(zeros((batch_size, self.units), self.dtype), None) for _ in self.states]

    # --- dropout ---

    def draw_masks(self, batch: int, features: int) -> tuple[Any, Any]:
        """Draw new dropout masks, factors of 0 or ``1 / (1 - rate)``, None where the rate is 0.

        Returns
        -------
        input_masks : (n, batch, features) or None
            One for all gates, or with recurrent dropout one per gate, as in Keras.
        recurrent_masks : (G, batch, units) or None
            One per gate.
        """
        gates = len(self.gates)

        def draw(rate, count, width):
            if rate == 0.0:
                return None
            shape = count, batch, width
            if get_device() == "gpu":
                return random.keep_factors(shape, rate, draw_seed(self._generator), self.dtype)
            kept = self._generator.random(shape, dtype=self.dtype) >= rate
            return kept.astype(self.dtype) / max(1.0 - rate, EPSILON)

        per_gate = gates if self.recurrent_dropout else 1
        return draw(self.dropout, per_gate, features), draw(self.recurrent_dropout, gates, self.units)

    def reset_dropout_mask(self) -> None:
        """Let the next single step in training draw new dropout masks."""
        self._masks = None

    reset_recurrent_dropout_mask = reset_dropout_mask

    # --- computing ---

    def project(self, x: Any, input_masks: Any = None) -> recurrent.Projection:
        """Return what the input ``(B, T, F)`` gives the gates, ``x W + b``, not computed yet."""
        if input_masks is not None and len(input_masks) == 1:
            x, input_masks = x * input_masks[0][:, None], None
        bias = self.bias[0] if self.two_biases and self.bias is not None else self.bias
        if input_masks is None and isinstance(x, Lookup):
            return recurrent.Projection(x.table, self.kernel, bias, ids=x.ids)
        return recurrent.Projection(x, self.kernel, bias, masks=input_masks)

    @property
    def recurrent_bias(self) -> Any:
        """The bias of the recurrent product, None for a cell without."""
        return self.bias[1] if self.two_biases and self.bias is not None else None

    def call(self, inputs: Any, states: Sequence, training: bool = False) -> tuple[Any, list]:
        """Compute one time step.

        Parameters
        ----------
        inputs : (B, F)
        states : sequence of (B, units)
        training : bool
            Drop out; the masks stay the same until `reset_dropout_mask`.

        Returns
        -------
        output : (B, units)
        states : list of (B, units)
        """
        states = [self._as_tensor(s) for s in states] if isinstance(states, list | tuple) else [states]
        masks = (None, None)
        if training:
            if self._masks is None:
                self._masks = self.draw_masks(*inputs.shape)
            masks = self._masks
        weights = (self.recurrent_kernel, self.recurrent_bias, self.parameters)
        xz = self.project(inputs[:, None], masks[0]).compute()[:, 0]
        new = unrolled.step_cell(self, xz, *weights, states, masks[1])
        return new[0], new

    def run(self, x, states, mask, training, reverse, kernel) -> tuple[Any, list, recurrent.Choice]:
        """Compute a sequence ``(B, T, F)``; see `tinyrnn.recurrent.run`. Says which kernel it chose."""
        masks = self.draw_masks(x.shape[0], x.shape[2]) if training else (None, None)
        choice = recurrent.choose(self, kernel, self.recurrent_kernel)
        weights = (self.recurrent_kernel, self.recurrent_bias, self.parameters)
        projected = self.project(x, masks[0])
        settings = (mask, masks[1], reverse, choice.kernel)
        outputs, states = recurrent.run(self, projected, *weights, states, *settings)
        return outputs, states, choice


class SimpleRNNCell(RNNCell, cells.SimpleRNN):
    """Cell of `SimpleRNN`: ``h = activation(x W + b + h U)``; see `RNNCell` for the arguments."""


class LSTMCell(RNNCell, cells.LSTM):
    """Cell of `LSTM`; arguments of `RNNCell`, and these.

    Parameters
    ----------
    recurrent_activation : str or callable
        Of the gates, ``sigmoid`` by default.
    unit_forget_bias : bool
        Start the forget gate's bias at one (Jozefowicz et al., 2015).
    """

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        *args: Any,
        unit_forget_bias: bool = True,
        **kwargs: Any,
    ):
        super().__init__(units, activation, *args, **kwargs)
        self.recurrent_activation = activations.get(recurrent_activation)
        self.unit_forget_bias = unit_forget_bias

    def initial_bias(self, shape: tuple, dtype: str) -> Any:
        """Return the bias to start with: ones for the forget gate, if asked for."""
        if not self.unit_forget_bias:
            return self.bias_initializer(shape, dtype)
        u = self.units
        parts = [
            self.bias_initializer((u,), dtype),
            np.ones(u, dtype),
            self.bias_initializer((2 * u,), dtype),
        ]
        return array_module(*parts).concatenate(parts)


class GRUCell(RNNCell, cells.GRU):
    """Cell of `GRU`; arguments of `RNNCell`, and these.

    Parameters
    ----------
    recurrent_activation : str or callable
        Of the gates, ``sigmoid`` by default.
    reset_after : bool
        Apply the reset gate after the recurrent product (which then has a bias of its own) or before.
    """

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        *args: Any,
        reset_after: bool = True,
        **kwargs: Any,
    ):
        super().__init__(units, activation, *args, **kwargs)
        self.recurrent_activation = activations.get(recurrent_activation)
        self.reset_after = reset_after


class StackedRNNCells(Layer):
    """Several cells, each fed with the output of the one before, as if they were one.

    Parameters
    ----------
    cells : list of RNNCell or of Keras-style cells

    Raises
    ------
    ValueError
        If something in the list is no cell.
    """

    def __init__(self, cells: Sequence, **kwargs: Any):
        super().__init__(**kwargs)
        self.cells = [as_cell(cell) for cell in cells]
        if not self.cells:
            raise ValueError(f"{self.name}: expected at least one cell")

    @property
    def state_size(self) -> list:
        """The state sizes of the cells, one entry per cell."""
        return [cell.state_size for cell in self.cells]

    @property
    def output_size(self) -> int:
        """The width of the last cell's output."""
        return self.cells[-1].output_size

    def get_initial_state(self, batch_size: int) -> list[list[Tensor]]:
        """Return zeros for every cell's states."""
        return [cell.get_initial_state(batch_size) for cell in self.cells]

    def build(self, input_shape: tuple) -> None:
        """Build the cells, each for the output of the one before."""
        for cell in self.cells:
            self._build_inside(cell, input_shape)
            input_shape = (*input_shape[:-1], cell.output_size)

    def call(self, inputs: Any, states: Sequence, training: bool = False) -> tuple[Any, list]:
        """Compute one time step of all cells."""
        new = []
        for cell, state in zip(self.cells, states, strict=True):
            inputs, state = cell.call(inputs, state, training=training)
            new.append(state)
        return inputs, new

    def run(self, x, states, mask, training, reverse, kernel):
        """Compute a sequence, one cell after the other over all of it: the same, and faster."""
        new, choices = [], []
        for cell, state in zip(self.cells, states, strict=True):
            x, state, choice = cell.run(x, state, mask, training, reverse, kernel)
            new.append(state)
            choices.append(choice)
        return x, new, choices[0] if len(set(choices)) == 1 else choices


class CallCell(Layer):
    """A cell in Keras's style: any object with ``call(inputs, states)`` and ``state_size``.

    Its step may be anything, so it runs as a graph of tensors, one time step after the other.
    """

    def __init__(self, cell: Any, name: str | None = None, **kwargs: Any):
        cell = get_layer(cell) if isinstance(cell, Mapping) else cell
        name = name or getattr(cell, "name", None) or snake_case(type(cell).__name__)
        super().__init__(name=name, **kwargs)
        self.cell = cell
        takes = inspect.signature(cell.call).parameters
        self._takes_training = "training" in takes

    def clone(self, **changes: Any) -> CallCell:
        """Return a cell of its own: a layer is made anew, any other object is copied."""
        if not isinstance(self.cell, Layer):
            changes = {"cell": deepcopy(self.cell)} | changes
        return super().clone(**changes)

    def children(self) -> Iterator[tuple[str, Any]]:
        """Yield what the cell does: in files there is no wrapper around it."""
        return self.cell.children() if isinstance(self.cell, Layer) else iter(())

    @property
    def own_weights(self) -> list[Any]:
        """Those of the cell."""
        return self.cell.own_weights if isinstance(self.cell, Layer) else []

    @property
    def state_size(self) -> Any:
        """What the cell says."""
        return self.cell.state_size

    @property
    def output_size(self) -> int:
        """What the cell says, or the width of its first state."""
        size = getattr(self.cell, "output_size", None)
        return self._sizes()[0] if size is None else size

    def _sizes(self) -> list:
        size = self.cell.state_size
        return list(size) if isinstance(size, list | tuple) else [size]

    def get_initial_state(self, batch_size: int) -> list[Tensor]:
        """Return what the cell says, or zeros."""
        if hasattr(self.cell, "get_initial_state"):
            states = self.cell.get_initial_state(batch_size=batch_size)
            return list(states) if isinstance(states, list | tuple) else [states]
        shapes = [size if isinstance(size, tuple | list) else (size,) for size in self._sizes()]
        return [Tensor(device_module().zeros((batch_size, *shape), self.dtype)) for shape in shapes]

    def build(self, input_shape: tuple) -> None:
        """Build the cell for ``(B, F)``."""
        shape = (input_shape[0], *input_shape[2:])
        if isinstance(self.cell, Layer):
            self.cell._ensure_built(shape)
        elif hasattr(self.cell, "build"):
            self.cell.build(shape)

    def call(self, inputs: Any, states: Sequence, training: bool = False) -> tuple[Any, list]:
        """Compute one time step."""
        more = {"training": training} if self._takes_training else {}
        one = not isinstance(self.cell.state_size, list | tuple)
        output, new = self.cell.call(inputs, list(states), **more)
        return output, [new] if one and not isinstance(new, list | tuple) else list(new)

    def run(self, x, states, mask, training, reverse, kernel):
        """Compute a sequence, step by step."""
        if kernel not in ("auto", "unrolled"):
            raise ValueError(f"{self.name}: a cell with call(inputs, states) runs unrolled, not {kernel!r}")
        steps = ops.unstack(x, axis=1)

        def step(x_t, states):
            return self.call(x_t, states, training)

        outputs, final = [None] * len(steps), None
        for t, output, final in unrolled.unroll(step, steps, states, mask, reverse, self):  # noqa: B007
            outputs[t] = output
        choice = recurrent.Choice("unrolled", f"{type(self.cell).__name__} defines call(inputs, states)")
        return ops.stack(outputs, axis=1), final, choice


def as_cell(cell: Any) -> Any:
    """Return something with `run`: the cell, several stacked, or a Keras-style one wrapped."""
    if isinstance(cell, list | tuple):
        return StackedRNNCells(cell)
    if isinstance(cell, dict):
        return as_cell(get_layer(cell))
    if isinstance(cell, RNNCell | StackedRNNCells | CallCell):
        return cell
    if hasattr(cell, "return_sequences"):
        raise ValueError(f"RNN: {cell!r} is a layer; an RNN takes a cell, like LSTMCell")
    if not hasattr(cell, "call") or not hasattr(cell, "state_size"):
        raise ValueError(
            "RNN: a cell needs call(inputs, states) and state_size, or step(x, r, s, p) as a subclass of "
            f"RNNCell; found {cell!r}"
        )
    return CallCell(cell)
