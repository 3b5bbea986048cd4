"""Recurrent layers: a cell run over a sequence, with masks and states.

Every argument of a cell is spelled once, in the cell: `LSTM(...)` takes those of `LSTMCell` and of `RNN`.
"""

from __future__ import annotations

import inspect
from typing import Any

from tinyrnn import ops, recurrent
from tinyrnn.backend import array_module, on_device
from tinyrnn.layers.base import Layer, map_shapes, warn_old_spelling
from tinyrnn.layers.cells import CallCell, GRUCell, LSTMCell, RNNCell, SimpleRNNCell, as_cell
from tinyrnn.layers.graph import shapes_of
from tinyrnn.naming import nearest, serialize, snake_case

__all__ = ["GRU", "LSTM", "RNN", "SimpleRNN"]


class RNN(Layer):
    """Run a cell over a sequence ``(B, T, F)``.

    Parameters
    ----------
    cell : RNNCell, list of cells, or object with ``call(inputs, states)`` and ``state_size``
        A list is stacked (`StackedRNNCells`).
    return_sequences : bool
        Return the output of every step, ``(B, T, units)``, not only of the last valid one, ``(B, units)``.
    return_state : bool
        Return ``(output, *states)``.
    go_backwards : bool
        Read from the last step to the first; outputs are then in the order of processing.
    stateful : bool
        Start each batch from the final states of the one before; row i goes on with row i. The gradient
        ends at the batch. See `reset_states`.
    unroll : bool
        Accepted for old programs; the result is the same either way.
    zero_output_for_mask : bool
        Output zeros at masked steps, where otherwise the output before them is repeated.
    kernel : {"auto", "unrolled", "array", "cpu", "gpu"}
        How to run, see `tinyrnn.recurrent`. What was chosen, and why, is in `kernel_choice`.

    Notes
    -----
    A masked step keeps the states. Before the first valid step the output is zeros, whatever the
    initial state.
    """

    supports_masking = True
    input_ndim = 3
    input_layout = "(batch, time, features)"
    fewer_axes_hint = "; a recurrent layer before this one needs return_sequences=True"
    needs_floats = True

    def __init__(
        self,
        cell: Any,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        zero_output_for_mask: bool = False,
        kernel: str = "auto",
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if kernel not in ("auto", *recurrent.KERNELS):
            raise ValueError(f"{self.name}: unknown kernel {kernel!r}{nearest(kernel, recurrent.KERNELS)}")
        if unroll:
            warn_old_spelling("unroll=True", "nothing: the result and the speed are the same")
        self.cell = as_cell(cell)
        self.return_sequences = return_sequences
        self.return_state = return_state
        self.go_backwards = go_backwards
        self.stateful = stateful
        self.unroll = unroll
        self.zero_output_for_mask = zero_output_for_mask
        self.kernel = kernel
        self.kernel_choice: Any = None
        self._states: Any = None

    def get_config(self) -> dict[str, Any]:
        """Return what the constructor needs; of a cell in Keras's style its own configuration."""
        config = super().get_config()
        return config | {"cell": serialize(self.cell.cell)} if isinstance(self.cell, CallCell) else config

    # --- shapes and states ---

    @property
    def state_size(self) -> Any:
        """The width of each state, as the cell says."""
        return self.cell.state_size

    def build(self, input_shape: tuple) -> None:
        """Build the cell."""
        if self.stateful and input_shape[0] is None:
            raise ValueError(
                f"{self.name}: a stateful layer needs a fixed batch size; give Input(batch_shape=...), "
                f"found shape {input_shape}"
            )
        self._build_inside(self.cell, input_shape)
        self.input_size = input_shape[-1]

    def compute_output_shape(self, input_shape: tuple) -> Any:
        """Return the shape of the output, and of the states if they are returned."""
        batch, length = input_shape[:2]
        size = self.cell.output_size
        output = (batch, length, size) if self.return_sequences else (batch, size)
        return [output, *_state_shapes(batch, self.cell.state_size)] if self.return_state else output

    def _output_shape_of_call(self, input_shape: tuple, kwargs: dict) -> Any:
        given = kwargs.get("initial_state")
        if given is not None:
            expected = _state_shapes(None, self.cell.state_size)
            found = shapes_of(given if isinstance(given, list | tuple) else [given])
            found = [f[0] if isinstance(f, list) and len(f) == 1 else f for f in found]
            if _lengths(found) != _lengths(expected):
                raise ValueError(f"{self.name}: expected initial states of shapes {expected}, found {found}")
        return self.compute_output_shape(input_shape)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """Return the mask for sequences, None for a last output and for states."""
        return mask if self.return_sequences else None

    def get_initial_state(self, batch_size: int) -> list:
        """Return zeros for each state."""
        return self.cell.get_initial_state(batch_size)

    @property
    def states(self) -> Any:
        """The states that the next batch of a stateful layer starts from, arrays; None before the first."""
        return self._states

    @states.setter
    def states(self, values: Any) -> None:
        if not self.stateful:
            raise ValueError(f"{self.name}: only a stateful layer keeps states")
        self._states = values

    def reset_states(self) -> None:
        """Let the next batch of a stateful layer start from zeros.

        Raises
        ------
        ValueError
            If the layer is not stateful.
        """
        self.states = None

    reset_state = reset_states

    def _states_to_start(self, batch: int, given: Any) -> list:
        zeros = self.cell.get_initial_state(batch)
        if given is None and self.stateful:
            given = self._states
        if given is None:
            return map_tensors(self._as_tensor, zeros)
        if not isinstance(given, list | tuple):
            given = [given]
        states = map_tensors(self._as_tensor, list(given))
        if len(states) == len(zeros):  # of stacked cells with one state each, a tensor for each will do
            states = [
                [s] if isinstance(z, list) and not isinstance(s, list) else s
                for s, z in zip(states, zeros, strict=True)
            ]
        self._check_states(states, zeros)
        return states

    def _check_states(self, found: Any, expected: Any) -> None:
        """Compare states with zeros of the right shapes, nest by nest."""
        if isinstance(expected, list):
            if not isinstance(found, list) or len(found) != len(expected):
                n = len(found) if isinstance(found, list) else 1
                raise ValueError(f"{self.name}: expected {len(expected)} initial states, found {n}")
            for f, e in zip(found, expected, strict=True):
                self._check_states(f, e)
        elif found.shape != expected.shape:
            raise ValueError(f"{self.name}: expected a state of shape {expected.shape}, found {found.shape}")

    def _check_lengths(self, batch: int, length: int) -> None:
        if length == 0:
            raise ValueError(f"{self.name}: expected at least one time step, found none")
        if self.stateful and batch != self.build_shape[0]:
            raise ValueError(
                f"{self.name}: a stateful layer goes on row by row; it was built for batches of "
                f"{self.build_shape[0]}, found one of {batch}; give batch_size={self.build_shape[0]}, and as "
                "many samples as fill whole batches"
            )

    # --- the call ---

    def call(
        self, sequences: Any, initial_state: Any = None, mask: Any = None, training: bool = False
    ) -> Any:
        """Compute.

        Parameters
        ----------
        sequences : (B, T, F)
        initial_state : tensor or list of tensors (B, units), optional
            Zeros by default.
        mask : bool (B, T), optional
            True = use this step.
        training : bool
            Whether to drop out.

        Returns
        -------
        Tensor or tuple
            The output, or with `return_state` the output and the states.
        """
        batch, length = sequences.shape[:2]
        self._check_lengths(batch, length)
        mask = self._check_mask(mask, (batch, length))
        given = initial_state is not None or (self.stateful and self._states is not None)
        states = self._states_to_start(batch, initial_state)
        outputs, states, self.kernel_choice = self.cell.run(
            sequences, states, mask, training, self.go_backwards, self.kernel
        )
        if self.stateful:
            self._states = map_tensors(lambda s: s.data, states)
        if mask is not None and (given or self.zero_output_for_mask):
            outputs = self._mask_outputs(outputs, mask)
        elif not self.return_sequences and isinstance(self.cell, RNNCell):  # the last output is a state
            return (states[0], *states) if self.return_state else states[0]
        if self.return_sequences:
            output = ops.flip(outputs, axis=1) if self.go_backwards else outputs
        else:
            output = outputs[:, 0 if self.go_backwards else -1]
        return (output, *states) if self.return_state else output

    def _check_mask(self, mask: Any, shape: tuple) -> Any:
        if mask is None:
            return None
        if mask.shape != shape:
            raise ValueError(f"{self.name}: expected a mask of shape {shape}, found {mask.shape}")
        return None if not on_device(mask) and mask.all() else mask  # nobody waits for the device's answer

    def _mask_outputs(self, outputs: Any, mask: Any) -> Any:
        """Put zeros where the output of masked steps is not the state they keep.

        Where the initial state is zeros, so is what is kept before the first valid step.
        """
        if self.zero_output_for_mask:
            return ops.where(mask[:, :, None], outputs, 0.0)
        xp = array_module(mask)
        seen = mask[:, ::-1] if self.go_backwards else mask
        seen = xp.cumsum(seen, axis=1) > 0
        seen = seen[:, ::-1] if self.go_backwards else seen
        return ops.where(seen[:, :, None], outputs, 0.0)


def map_tensors(function: Any, states: Any) -> Any:
    """Apply `function` to the states, which StackedRNNCells nests by cell."""
    return [map_tensors(function, s) if isinstance(s, (list, tuple)) else function(s) for s in states]


def _state_shapes(batch: int | None, size: Any) -> list:
    sizes = size if isinstance(size, list | tuple) else [size]
    return [_state_shapes(batch, s) if isinstance(s, list | tuple) else (batch, s) for s in sizes]


def _lengths(shapes: Any) -> Any:
    """Drop the batch axis of every shape in a nest."""
    return map_shapes(lambda shape: shape[1:], shapes)


class _CellLayer(RNN):
    """An `RNN` around one kind of cell: takes the cell's arguments and those of `RNN`."""

    cell_class: type[RNNCell]

    def __init__(self, units: int, *args: Any, use_cudnn: Any = "auto", **kwargs: Any):
        of_cell = self.cell_class._parameters().keys() - Layer._parameters().keys() | {"implementation"}
        cell_kwargs = {key: kwargs.pop(key) for key in list(kwargs) if key in of_cell}
        shared = {"dtype": kwargs.get("dtype"), "name": snake_case(self.cell_class.__name__)}
        super().__init__(self.cell_class(units, *args, **cell_kwargs, **shared), **kwargs)

    @classmethod
    def _parameters(cls) -> dict[str, inspect.Parameter]:
        of_layer = {n: p for n, p in RNN._parameters().items() if n != "cell"}
        return cls.cell_class._parameters() | of_layer

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        parameters = sorted(cls._parameters().values(), key=lambda p: p.kind)
        cls.__signature__ = inspect.Signature(parameters)

    def __getattr__(self, name: str) -> Any:
        cell = vars(self).get("cell")
        if cell is not None and name in self.cell_class._parameters():
            return getattr(cell, name)
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")


class SimpleRNN(_CellLayer):
    """Fully connected recurrent layer, ``h = activation(x W + b + h U)``.

    Weights: ``kernel (F, U)``, ``recurrent_kernel (U, U)``, ``bias (U,)``. Arguments: those of
    `SimpleRNNCell` and of `RNN`. Input ``(B, T, F)``, output ``(B, U)`` or ``(B, T, U)``.
    """

    cell_class = SimpleRNNCell


class LSTM(_CellLayer):
    """Long short-term memory (Hochreiter and Schmidhuber, 1997, with forget gates).

    ``i, f, o = sigmoid(z_i, z_f, z_o)``, ``c = f * c + i * tanh(z_c)``, ``h = o * tanh(c)`` where
    ``z = x W + h U + b``. Weights: ``kernel (F, 4U)``, ``recurrent_kernel (U, 4U)``, ``bias (4U,)``, columns
    in the order i, f, c, o. Arguments: those of `LSTMCell` and of `RNN`. Input ``(B, T, F)``, output
    ``(B, U)`` or ``(B, T, U)``; states h and c.
    """

    cell_class = LSTMCell


class GRU(_CellLayer):
    """Gated recurrent unit (Cho et al., 2014).

    ``z, r = sigmoid(...)``, ``n = tanh(x_h + r * (h U_h + b_r))``, ``h = z * h + (1 - z) * n``; with
    ``reset_after=False`` ``n = tanh(x_h + (r * h) U_h)``. Weights: ``kernel (F, 3U)``, ``recurrent_kernel
    (U, 3U)``, ``bias (2, 3U)`` or ``(3U,)``, columns in the order z, r, h. Arguments: those of `GRUCell` and
    of `RNN`. Input ``(B, T, F)``, output ``(B, U)`` or ``(B, T, U)``.
    """

    cell_class = GRUCell
