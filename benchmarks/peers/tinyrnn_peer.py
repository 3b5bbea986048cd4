"""tinyrnn."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy as np

import tinyrnn
from benchmarks.models import GATES, Layer, input_widths
from benchmarks.peers import on_gpu
from benchmarks.peers.keras_style import KerasStyleProgram
from tinyrnn.layers import RNN, RNNCell
from tinyrnn.ops import sigmoid, tanh


def start(threads: int) -> str:
    """Say what runs an LSTM, and where; threads and device come from the environment."""
    xp = tinyrnn.backend.device_module()
    U = xp.zeros((8, 32), "float32")
    choice = tinyrnn.recurrent.choose(tinyrnn.layers.LSTM(8).cell, U=U)
    compiler = f"numba {version('numba')}, " if choice.kernel == "cpu" else ""
    gpu = f"{_gpu(xp.cuda)}; " if on_gpu() else ""
    return f"{gpu}{compiler}kernel {choice.kernel!r}: {choice.reason}"


def _gpu(cuda: Any) -> str:
    """Return in words what a side on the GPU computes with."""
    runtime = cuda.runtime
    name = runtime.getDeviceProperties(cuda.Device().id)["name"].decode()
    own, driver = (
        f"{number // 1000}.{number % 1000 // 10}"
        for number in (runtime.runtimeGetVersion(), runtime.driverGetVersion())
    )
    return f"{name}, CUDA {own}, driver for CUDA {driver}"


def wait() -> None:
    """Return when the GPU has done what it was asked for."""
    if on_gpu():
        tinyrnn.backend.device_module().cuda.Device().synchronize()


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
