"""tinyrnn."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy as np

import tinyrnn
from benchmarks.models import GATES, Layer, input_widths
from benchmarks.peers.keras_style import KerasStyleProgram
from tinyrnn.layers import RNN, RNNCell
from tinyrnn.ops import sigmoid, tanh


def start(threads: int) -> str:
    """Say what runs an LSTM; the number of threads comes from the environment."""
    choice = tinyrnn.recurrent.choose(tinyrnn.layers.LSTM(8).cell)
    compiler = f"numba {version('numba')}, " if choice.kernel == "cpu" else ""
    return f"{compiler}kernel {choice.kernel!r}: {choice.reason}"


class PeepholeLSTM(RNNCell):
    """A cell that a user might write: gates that see the cell state (Gers and Schmidhuber, 2000)."""

    gates = ("i", "f", "c", "o")
    states = ("h", "c")
    params = ("p_i", "p_f", "p_o")

    def step(self, x, r, s, p):
        """One time step."""
        i = sigmoid(x.i + r.i + p.p_i * s.c)
        f = sigmoid(x.f + r.f + p.p_f * s.c)
        c = f * s.c + i * tanh(x.c + r.c)
        o = sigmoid(x.o + r.o + p.p_o * c)
        return o * tanh(c), c


class Program(KerasStyleProgram):
    """A model of tinyrnn, which can be taken apart and knows another cell."""

    library = tinyrnn

    def recurrent(self, layer: Layer, **options: Any) -> Any:
        """Return the recurrent layer of one direction."""
        if layer.kind == "PeepholeLSTM":
            return RNN(PeepholeLSTM(layer.units), **layer.options, **options)
        return super().recurrent(layer, **options)

    def recurrent_layers(self, steps: int) -> Callable[[], None]:
        """The recurrent layers alone, each there and back on inputs of its own."""
        rng = np.random.default_rng(3)
        batch, time = self.model.batch, self.model.time
        cases = []
        for layer, width in input_widths(self.model):
            if layer.kind in GATES:
                x = rng.standard_normal((batch, time, width), dtype=np.float32)
                module, x = self._layer(layer), tinyrnn.Tensor(x, requires_grad=True)
                seed = rng.standard_normal(module(x).shape, dtype=np.float32)
                cases.append((module, x, seed))

        def run():
            for _ in range(steps):
                for module, x, seed in cases:
                    module(x).backward(seed)
                    for leaf in (x, *module.trainable_weights):
                        leaf.grad = None

        return run
