"""`Bidirectional`: one recurrent layer reads forwards, another backwards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tinyrnn import ops
from tinyrnn.layers.base import Layer, get_layer
from tinyrnn.layers.recurrent import RNN
from tinyrnn.naming import nearest

__all__ = ["Bidirectional"]

MERGES: dict[str | None, Callable | None] = {
    "concat": lambda a, b: ops.concatenate([a, b], axis=-1),
    "sum": lambda a, b: a + b,
    "ave": lambda a, b: (a + b) * 0.5,
    "mul": lambda a, b: a * b,
    None: None,
}


def _prefixed(direction: str, layer: RNN) -> str:
    return f"{direction}_{layer.name.removeprefix(direction + '_')}"


class Bidirectional(Layer):
    """Run a recurrent layer forwards and a copy of it backwards, and merge what they say.

    Weights: all of the forward layer, then all of the backward one. Masked steps give zeros in both.

    Parameters
    ----------
    layer : RNN
        A pattern: both directions are new layers with its arguments and weights of their own.
    merge_mode : {"concat", "sum", "ave", "mul", None}
        How the two outputs become one; None returns both.
    weights : list of arrays, optional
        To start with, the first half for the forward layer.
    backward_layer : RNN, optional
        A pattern of its own for the other direction, with the opposite `go_backwards`.

    Notes
    -----
    Input ``(B, T, F)``. The output of a step is what both directions say at that time; without
    ``return_sequences`` the forward layer has read to the end, the backward one to the beginning. With
    ``return_state``: ``(output, *forward states, *backward states)``, and `initial_state` likewise.

    Raises
    ------
    ValueError
        If the layers do not fit together; says in which argument.
    """

    supports_masking = True
    input_ndim = 3
    input_layout = "(batch, time, features)"
    needs_floats = True

    def __init__(
        self,
        layer: RNN,
        merge_mode: str | None = "concat",
        weights: list | None = None,
        backward_layer: RNN | None = None,
        **kwargs: Any,
    ):
        layer = get_layer(layer)
        backward_layer = None if backward_layer is None else get_layer(backward_layer)
        if not isinstance(layer, RNN):
            raise ValueError(f"Bidirectional: expected a recurrent layer, found {layer!r}")
        super().__init__(**({"dtype": layer.dtype} | kwargs))
        if layer.batch_input_shape is not None:
            self.batch_input_shape = layer.batch_input_shape
        if merge_mode not in MERGES:
            hint = nearest(str(merge_mode), [m for m in MERGES if m])
            raise ValueError(f"{self.name}: unknown merge_mode {merge_mode!r}{hint}")
        backward = layer if backward_layer is None else backward_layer
        self._check_directions(layer, backward, backward_layer is None, merge_mode)
        zeros = {"zero_output_for_mask": layer.return_sequences}
        self.forward_layer = layer.clone(name=_prefixed("forward", layer), **zeros)
        turned = {"go_backwards": not layer.go_backwards}
        self.backward_layer = backward.clone(name=_prefixed("backward", backward), **turned, **zeros)
        self.layer = self.forward_layer
        self.merge_mode = merge_mode
        self.return_sequences = layer.return_sequences
        self.return_state = layer.return_state
        self.stateful = layer.stateful
        self._initial_weights = weights

    def _check_directions(self, layer: RNN, backward: RNN, is_copy: bool, merge_mode: str | None) -> None:
        if is_copy:
            if layer.go_backwards:
                raise ValueError(
                    f"{self.name}: layer has go_backwards=True; give a backward_layer with go_backwards=False"
                )
            return
        if backward.go_backwards == layer.go_backwards:
            raise ValueError(
                f"{self.name}: layer and backward_layer must differ in go_backwards; "
                f"both are {layer.go_backwards}"
            )
        for name in ("stateful", "return_sequences", "return_state"):
            found = getattr(layer, name), getattr(backward, name)
            if found[0] != found[1]:
                raise ValueError(
                    f"{self.name}: layer and backward_layer must agree in {name}; "
                    f"found {found[0]} and {found[1]}"
                )
        sizes = layer.cell.output_size, backward.cell.output_size
        if sizes[0] != sizes[1] and merge_mode not in ("concat", None):
            raise ValueError(
                f"{self.name}: merge_mode={merge_mode!r} needs as many units in both directions, found "
                f"{sizes[0]} and {sizes[1]}"
            )

    def build(self, input_shape: tuple) -> None:
        """Build both directions."""
        for layer in (self.forward_layer, self.backward_layer):
            self._build_inside(layer, input_shape)
        self.input_size = input_shape[-1]
        if self._initial_weights is not None:
            self.set_weights(self._initial_weights)

    def compute_output_shape(self, input_shape: tuple) -> Any:
        """Return the shape of the merged output, and of the states if they are returned."""

        def parts(layer):
            shape = layer.compute_output_shape(input_shape)
            return (shape[0], shape[1:]) if self.return_state else (shape, [])

        (forward, states_f), (backward, states_b) = parts(self.forward_layer), parts(self.backward_layer)
        if self.merge_mode is None:
            outputs = [forward, backward]
        elif self.merge_mode == "concat":
            outputs = [(*forward[:-1], forward[-1] + backward[-1])]
        else:
            outputs = [forward]
        outputs += [*states_f, *states_b]
        return outputs if len(outputs) > 1 else outputs[0]

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """Return the mask for sequences (twice if they are not merged), None for states."""
        if not self.return_sequences:
            return None
        return [mask, mask] if self.merge_mode is None else mask

    def call(
        self, sequences: Any, initial_state: Any = None, mask: Any = None, training: bool = False
    ) -> Any:
        """Compute; the arguments are those of `RNN.call`, `initial_state` with both directions' states."""
        forward, backward = self.forward_layer, self.backward_layer
        states_f = states_b = None
        if initial_state is not None:
            states = list(initial_state)
            n = len(forward.get_initial_state(1))
            if len(states) != n + len(backward.get_initial_state(1)):
                raise ValueError(
                    f"{self.name}: expected {2 * n} initial states, forward then backward; "
                    f"found {len(states)}"
                )
            states_f, states_b = states[:n], states[n:]
        y_f = forward(sequences, initial_state=states_f, mask=mask, training=training)
        y_b = backward(sequences, initial_state=states_b, mask=mask, training=training)
        states = []
        if self.return_state:
            (y_f, *states_f), (y_b, *states_b) = y_f, y_b
            states = [*states_f, *states_b]
        if self.return_sequences:  # the one that reads backwards answers in the order it read
            if forward.go_backwards:
                y_f = ops.flip(y_f, axis=1)
            else:
                y_b = ops.flip(y_b, axis=1)
        merge = MERGES[self.merge_mode]
        outputs = [y_f, y_b] if merge is None else [merge(y_f, y_b)]
        outputs += states
        return tuple(outputs) if len(outputs) > 1 else outputs[0]

    # --- states ---

    @property
    def states(self) -> Any:
        """The states of both directions of a stateful layer, None before the first batch."""
        if self.forward_layer.states is None:
            return None
        return [*self.forward_layer.states, *self.backward_layer.states]

    @states.setter
    def states(self, values: Any) -> None:
        n = None if values is None else len(values) // 2
        self.forward_layer.states = None if values is None else list(values)[:n]
        self.backward_layer.states = None if values is None else list(values)[n:]

    def reset_states(self) -> None:
        """Let the next batch of a stateful layer start from zeros."""
        self.states = None

    reset_state = reset_states
