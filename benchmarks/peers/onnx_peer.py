"""ONNX Runtime: a graph of one LSTM node, fed in the layout that it wants."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from benchmarks.models import Model, draw_batches, draw_weights
from benchmarks.peers import Numbers, outputs_of

OPSET = 14
_threads = 1


def start(threads: int) -> str:
    """Remember the threads for the sessions to come."""
    global _threads
    _threads = threads
    return "ONNX Runtime is fed time first, as its LSTM node wants it, and transposes nothing"


def lstm_graph(model: Model) -> bytes:
    """Return the ONNX model of a single LSTM layer, with its weights inside.

    Inputs ``x (T, B, features)`` and, if the model says so, ``h0`` and ``c0 (1, B, units)``; outputs the last
    state ``h (1, B, units)``, and ``c``.
    """
    (layer,) = model.layers
    assert layer.kind == "LSTM", "only an LSTM layer is built here"
    kernel, recurrent_kernel, bias = draw_weights(model)

    def in_onnx_order(w):
        i, f, c, o = np.split(w, 4, axis=-1)
        return np.ascontiguousarray(np.concatenate([i, o, f, c], axis=-1).T)[None]

    weights = {
        "W": in_onnx_order(kernel),
        "R": in_onnx_order(recurrent_kernel),
        "B": np.concatenate([in_onnx_order(bias), np.zeros_like(bias)[None]], axis=-1),
    }

    def described(name, *shape):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    state = (1, model.batch, layer.units)
    initial = ["h0", "c0"] if model.states else []
    final = ["h", "c"] if model.states else ["h"]
    inputs = ["x", "W", "R", "B"] + (["", *initial] if initial else [])
    graph = helper.make_graph(
        [helper.make_node("LSTM", inputs, ["", *final], hidden_size=layer.units)],
        "lstm",
        [described("x", model.time, model.batch, model.features), *(described(n, *state) for n in initial)],
        [described(n, *state) for n in final],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    opsets = [helper.make_opsetid("", OPSET)]
    return helper.make_model_gen_version(graph, opset_imports=opsets).SerializeToString()


class Program:
    """A session of ONNX Runtime."""

    def __init__(self, model: Model):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = _threads, 1
        providers = ["CPUExecutionProvider"]
        self.session = onnxruntime.InferenceSession(lstm_graph(model), options, providers=providers)
        x, _ = draw_batches(model, 1)
        zeros = np.zeros((1, model.batch, model.layers[0].units), np.float32)
        names = [entry.name for entry in self.session.get_inputs()]
        self.feed = dict.fromkeys(names, zeros) | {"x": np.ascontiguousarray(x.swapaxes(0, 1))}

    def numbers(self, action: str) -> Numbers:
        """Return some outputs."""
        return outputs_of(self.session.run(None, self.feed)[0])

    def call(self, steps: int) -> Callable[[], None]:
        """The outputs for one batch, so many times."""

        def run():
            for _ in range(steps):
                self.session.run(None, self.feed)

        return run
