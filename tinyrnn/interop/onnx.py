"""A model as an ONNX graph, for other programs to run.

Most layers are called on symbols that write down what is computed (`onnx_graph`). Told here is what ONNX has
operators of its own for, the recurrent ones, and what knows masks.

ONNX's operators know of masks only that a sequence may be shorter than the others. So the valid steps are
gathered at the front, the operator runs over as many as there are, and its outputs are gathered back.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinyrnn import activations, ops
from tinyrnn.autograd import Tensor, no_grad
from tinyrnn.files import write_whole
from tinyrnn.interop.onnx_graph import GraphBuilder, Value, int64, onnx
from tinyrnn.layers import (
    GRU,
    LSTM,
    RNN,
    Bidirectional,
    Embedding,
    GlobalAveragePooling1D,
    GRUCell,
    Layer,
    LSTMCell,
    Masking,
    SimpleRNN,
    SimpleRNNCell,
    TimeDistributed,
)
from tinyrnn.layers.base import call_parameters
from tinyrnn.layers.bidirectional import MERGES
from tinyrnn.layers.graph import SymbolicTensor
from tinyrnn.version import __version__

__all__ = ["export_onnx"]

FIRST_OPSET = 18
SUPPORTED = "supported are Sequential models and functional ones that are a chain of layers"


def export_onnx(model: Any, path: str | os.PathLike, opset: int = FIRST_OPSET) -> None:
    """Write a model as an ONNX file that computes what ``model.predict`` does.

    ::

        export_onnx(model, "model.onnx")
        session = onnxruntime.InferenceSession("model.onnx")
        (y,) = session.run(None, {model.input_names[0]: x})

    Parameters
    ----------
    model : Sequential, or functional model that is a chain
        Built, of float32. Recurrent layers have the built-in cells. Layers of your own and Lambdas may
        compute with operators and `tinyrnn.ops`.
    path : str or path
        The file is there whole or not at all.
    opset : int
        The version of ONNX's operators, from 18 on.

    Raises
    ------
    ImportError
        If onnx is not installed.
    ValueError
        For a model that is not built, and for what cannot be written in ONNX: names the layer and says what
        is supported.
    OSError
        If the file cannot be written.

    Notes
    -----
    Input and output have the model's names, shapes and types. Batches may have any size, and sequences any
    length where the model says so; the axes are called ``batch`` and ``time``. Masked steps are skipped as
    here. An id that an `Embedding` does not know is an error of the program that runs the graph, but for
    negative ones, which count from the end of the table.
    """
    last = onnx().defs.onnx_opset_version()
    if not FIRST_OPSET <= opset <= last:
        raise ValueError(f"export_onnx: opset: expected {FIRST_OPSET} ... {last}, found {opset}")
    write_whole(path, _convert(model, opset).SerializeToString())


# --- models -----------------------------------------------------------------------------------------------


class _ExportError(ValueError):
    """What cannot be exported; the message names the layer."""


def _convert(model: Any, opset: int) -> Any:
    """Return the model as a checked ``ModelProto``."""
    declared = _input_of(model)
    (source,), (target,) = model.input_names, model.output_names
    builder = GraphBuilder([source, target], model.weights)
    x = Value(builder, source, (None, *declared.shape[1:]), declared.dtype)
    with no_grad():
        result = _model(model, Tensor(x)).data
    helper = onnx().helper
    builder.nodes.append(helper.make_node("Identity", [result.name], [target], name=target))
    axes = ["batch", "time", *(f"axis_{i}" for i in range(2, x.ndim))]
    shape = [axis if n is None else n for axis, n in zip(axes, x.shape, strict=False)]
    graph = helper.make_graph(
        builder.nodes,
        model.name,
        [_described(source, shape, x.dtype)],
        [_described(target, ["batch", *result.shape[1:]], result.dtype)],
        builder.constants,
    )
    versions = [helper.make_opsetid("", opset)]
    program = {"producer_name": "tinyrnn", "producer_version": __version__}
    proto = helper.make_model_gen_version(graph, opset_imports=versions, **program)
    _name_axes(proto, axes)
    onnx().checker.check_model(proto, full_check=True)
    return proto


def _name_axes(proto: Any, known: list[str]) -> None:
    """Name the axes of the output: as those of the input that they are, or else by a name of their own."""
    settings = {"check_type": True, "strict_mode": True, "data_prop": True}
    inferred = onnx().shape_inference.infer_shapes(proto, **settings)
    output = proto.graph.output[0]
    output.CopyFrom(inferred.graph.output[0])
    for i, axis in enumerate(output.type.tensor_type.shape.dim):
        if not axis.HasField("dim_value") and axis.dim_param not in known:
            axis.dim_param = f"{output.name}_axis_{i}"


def _input_of(model: Any) -> SymbolicTensor:
    """Return the symbolic input of a model that has one, and one output."""
    if not _is_model(model):
        raise TypeError(f"export_onnx: expected a model, found {model!r}")
    if not _is_row(model):
        raise _ExportError(f"export_onnx: {model.name}: a model that is a class of its own; {SUPPORTED}")
    if not model.built:
        raise _ExportError(
            f"export_onnx: {model.name}: not built yet; call it on data, or build(input_shape)"
        )
    for what, nest in (("input", model.input), ("output", model.output)):
        if not isinstance(nest, SymbolicTensor):
            raise _ExportError(f"export_onnx: {model.name}: has several {what}s; {SUPPORTED}")
    if model.input.dtype not in ("float32", "float64", "int32", "int64"):
        raise _ExportError(f"export_onnx: {model.name}: expected float or int inputs, found {model.input}")
    return model.input


def _is_model(layer: Any) -> bool:
    return isinstance(layer, Layer) and hasattr(layer, "_graph")


def _is_row(model: Any) -> bool:
    """Whether this is a Sequential or a functional model, and computes as these do."""
    return type(model).call.__module__ == "tinyrnn.models" and hasattr(model, "_layers")


def _described(name: str, shape: list, dtype: Any) -> Any:
    helper = onnx().helper
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape)


def _model(model: Any, x: Tensor) -> Tensor:
    """Write down the layers of a model, one after the other."""
    if not _is_row(model):
        raise ValueError(f"is a class of its own; {SUPPORTED}")
    (x,) = model._accept(x, None)
    if model._graph is not None:
        return model._graph.run([x], _apply)
    for layer in model.layers:
        x = _apply(layer, x)
    return x


def _apply(layer: Layer, x: Any, *args: Any, **kwargs: Any) -> Tensor:
    """Write down a layer."""
    try:
        if not isinstance(x, Tensor) or args or kwargs:
            raise ValueError(f"takes more than one input; {SUPPORTED}")
        if np.dtype(layer.dtype).kind == "f" and layer.dtype != "float32":
            raise ValueError(f"computes in {layer.dtype}; supported is float32")
        x.data.builder.scope = layer.name
        export = _model if _is_model(layer) else EXPORTS.get(type(layer), _trace)
        y = export(layer, layer._as_tensor(x))
        if not isinstance(y, Tensor) or not isinstance(y.data, Value):
            raise ValueError(f"expected one output computed from the input, found {y!r}")
        return y
    except (_ExportError, MemoryError):  # of a layer inside, already told
        raise
    except Exception as error:  # whatever a layer of one's own may raise on symbols
        kind = type(layer).__name__
        raise _ExportError(f"export_onnx: {layer.name}: this {kind} cannot be exported: {error}") from error


def _trace(layer: Layer, x: Tensor) -> Tensor:
    """Call a layer on symbols, as `Layer.__call__` does on numbers."""
    if layer.sublayers:
        raise ValueError("it has layers inside; of those supported are Bidirectional and TimeDistributed")
    given = {"training": False, "mask": x.mask}
    takes = call_parameters(type(layer))
    try:
        y = layer.call(x, **{name: value for name, value in given.items() if name in takes})
    except AttributeError as error:
        raise ValueError(f"it computes with more than operators and tinyrnn.ops ({error})") from error
    layer._mask_out(x, y, x.mask)
    return y


# --- layers that make or use masks ------------------------------------------------------------------------


def _masked(value: Value, mask: Any = None) -> Tensor:
    y = Tensor(value)
    y.mask = mask
    return y


def _any(x: Value, axes: tuple[int, ...]) -> Value:
    """Return whether something along these axes is True."""
    return ops.max(ops.cast(x, dtype="int32"), axis=axes) > 0


def _embedding(layer: Embedding, x: Tensor) -> Tensor:
    ids = x.data
    mask = ops.not_equal(ids, 0) if layer.mask_zero else None
    if ids.dtype.kind == "f":
        ids = ops.cast(ids, dtype="int32")
    return _masked(ops.take(layer.embeddings.data, ids), mask)


def _masking(layer: Masking, x: Tensor) -> Tensor:
    mask = _any(ops.not_equal(x.data, layer.mask_value), (-1,))
    return _masked(ops.where(ops.expand_dims(mask, axis=-1), x.data, 0), mask)


def _average(layer: GlobalAveragePooling1D, x: Tensor) -> Tensor:
    if x.mask is None:
        return _trace(layer, x)
    settings = {"axis": layer.time_axis, "keepdims": layer.keepdims}
    mask = ops.expand_dims(x.mask, axis=3 - layer.time_axis)
    count = ops.sum(ops.cast(mask, dtype=x.dtype), **settings)
    return _masked(ops.sum(ops.where(mask, x.data, 0.0), **settings) / ops.maximum(count, 1.0))


def _time_distributed(layer: TimeDistributed, x: Tensor) -> Tensor:
    """Write down the layer inside for rows that are the time steps."""
    inner, mask = layer.layer, x.mask
    of_elements = mask is not None and mask.ndim > 2
    y = _apply(inner, _masked(_fold(x.data), _fold(mask) if of_elements else None))
    if not of_elements:
        return _masked(_unfold(y.data, x.data), mask)
    if inner.supports_masking and y.mask is not None:
        return _masked(_unfold(y.data, x.data), _unfold(y.mask, x.data))
    return _masked(_unfold(y.data, x.data), _any(mask, tuple(range(2, mask.ndim))))


def _fold(x: Value) -> Value:
    """Make ``(B * T, ...)`` of ``(B, T, ...)``."""
    return _reshape(x, [int64(-1), x.builder.shape_of(x, 2)], (None, *x.shape[2:]))


def _unfold(y: Value, like: Value) -> Value:
    """Make ``(B, T, ...)`` of ``(B * T, ...)``, with the lengths of `like`."""
    lengths = [y.builder.shape_of(like, 0, 2), y.builder.shape_of(y, 1)]
    return _reshape(y, lengths, (*like.shape[:2], *y.shape[1:]))


def _reshape(x: Value, lengths: list, shape: tuple) -> Value:
    """Give `x` a shape of which more is known when the graph runs."""
    joined = x.builder.node("Concat", *lengths, shape=(len(shape),), axis=0)
    return x.builder.node("Reshape", x, joined, shape=shape)


# --- recurrent layers -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Operator:
    """ONNX's operator for a cell: its name, where its gates are in Keras, and the activations it asks for."""

    name: str
    gates: tuple[int, ...]
    activations: tuple[str, ...]

    def reordered(self, columns: np.ndarray) -> np.ndarray:
        """Return a weight, by columns, in the operator's order, by rows."""
        parts = np.split(columns, len(self.gates), axis=-1)
        return np.concatenate([parts[g] for g in self.gates], axis=-1).T


OPERATORS = {
    SimpleRNNCell: Operator("RNN", (0,), ("activation",)),
    LSTMCell: Operator("LSTM", (0, 3, 1, 2), ("recurrent_activation", "activation", "activation")),
    GRUCell: Operator("GRU", (0, 1, 2), ("recurrent_activation", "activation")),
}

# What the operators know, with alpha and beta where they have them.
ACTIVATIONS: dict[Callable, tuple] = {
    activations.tanh: ("Tanh",),
    activations.sigmoid: ("Sigmoid",),
    activations.relu: ("Relu",),
    activations.softsign: ("Softsign",),
    activations.softplus: ("Softplus",),
    activations.leaky_relu: ("LeakyRelu", 0.2),
    activations.elu: ("Elu", 1.0),
    activations.linear: ("Affine", 1.0, 0.0),
    activations.hard_sigmoid: ("HardSigmoid", 1.0 / 6.0, 0.5),
}


@dataclass(frozen=True)
class Steps:
    """Where the valid steps of masked sequences are.

    Attributes
    ----------
    order : int64 (B, T)
        The steps with the valid ones first, both in their order.
    up_to : int64 (B, T)
        How many are valid up to each step, itself included.
    valid : int64 (B, T)
        The mask, in ones and zeros.
    count : int64 (B, 1)
        How many are valid.
    """

    order: Value
    up_to: Value
    valid: Value
    count: Value


def _steps(mask: Value) -> Steps:
    """Sort the steps of a mask ``(B, T)``, by counting; once for all layers that get this mask."""
    memo = mask.builder.memo
    if mask.name not in memo:
        valid = ops.cast(mask, dtype="int64")
        up_to, others = ops.cumsum(valid, axis=1), ops.cumsum(1 - valid, axis=1)
        count = ops.sum(valid, axis=1, keepdims=True)
        place = ops.where(mask, up_to, count + others) - 1
        step = up_to + others - 1
        order = mask.builder.node("ScatterElements", place, place, step, shape=mask.shape, axis=1)
        memo[mask.name] = Steps(order, up_to, valid, count)
    return memo[mask.name]


def _gather(x: Value, places: Value) -> Value:
    """Return ``x[b, places[b, t]]`` for all b and t: ``(B, T, F)`` in another order of the steps."""
    return x.builder.node("GatherND", x, ops.expand_dims(places, axis=-1), shape=x.shape, batch_dims=1)


def _recurrent(layer: RNN, x: Tensor) -> Tensor:
    y = _outputs(layer, x.data, x.mask)
    if layer.return_sequences and layer.go_backwards:  # the answers in the order of reading
        y = ops.flip(y, axis=1)
    return _masked(y, x.mask if layer.return_sequences else None)


def _bidirectional(layer: Bidirectional, x: Tensor) -> Tensor:
    if layer.merge_mode is None:
        raise ValueError("has two outputs; supported are merge_mode='concat', 'sum', 'ave' and 'mul'")
    y = [_outputs(one, x.data, x.mask) for one in (layer.forward_layer, layer.backward_layer)]
    return _masked(MERGES[layer.merge_mode](*y), x.mask if layer.return_sequences else None)


def _outputs(layer: RNN, x: Value, mask: Any) -> Value:
    """Write down one direction; outputs are in the order of the input, whatever that of reading."""
    _refuse_settings(layer)
    if mask is None:
        return _operator(layer, x, None)
    steps = _steps(mask)
    lengths = ops.cast(ops.squeeze(ops.maximum(steps.count, 1), axis=1), dtype="int32")  # 0: not everywhere
    y = _operator(layer, _gather(x, steps.order), lengths)
    if not layer.return_sequences:
        return ops.where(_has_last(layer, mask, steps), y, 0.0)
    # The output at a step is that of the valid step read last: at or before it, backwards at or after it.
    if layer.go_backwards:
        place = steps.up_to - steps.valid
        known = place < steps.count
    else:
        place = steps.up_to - 1
        known = place >= 0
    if layer.zero_output_for_mask:
        known = mask
    y = _gather(y, ops.maximum(ops.minimum(place, steps.count - 1), 0))
    return ops.where(ops.expand_dims(known, axis=-1), y, 0.0)


def _has_last(layer: RNN, mask: Value, steps: Steps) -> Value:
    """Return whether there is a last output ``(B, 1)``, or zeros in its place."""
    if not layer.zero_output_for_mask:
        return steps.count > 0
    last = slice(0, 1) if layer.go_backwards else slice(-1, None)
    return ops.getitem(mask, index=(slice(None), last))


def _refuse_settings(layer: RNN) -> None:
    for setting in ("stateful", "return_state"):
        if getattr(layer, setting):
            raise ValueError(f"{setting}=True is not supported: what is exported keeps and returns no states")
    if type(layer.cell) not in OPERATORS:
        raise ValueError(
            f"a {type(layer.cell).__name__} has no operator in ONNX; supported are the cells of SimpleRNN, "
            "LSTM and GRU"
        )


def _operator(layer: RNN, x: Value, lengths: Any) -> Value:
    """Write down the operator, which has time first: outputs ``(B, T, U)``, or the last ones ``(B, U)``."""
    cell, builder = layer.cell, x.builder
    x = ops.transpose(x, axes=(1, 0, 2))
    operator = OPERATORS[type(cell)]
    kernels = {"W": cell.kernel, "R": cell.recurrent_kernel}
    weights = {name: operator.reordered(kernel.numpy()) for name, kernel in kernels.items()}
    if cell.bias is not None:
        bias = cell.bias.numpy()
        both = bias if cell.two_biases else [bias, np.zeros_like(bias)]
        weights["B"] = np.concatenate([operator.reordered(b) for b in both])
    constants = [builder.constant(f"{layer.name}/{name}", w[None]) for name, w in weights.items()]
    inputs = (x, *constants, *[None] * (3 - len(constants)), lengths)
    settings = _activations(cell, operator) | {"hidden_size": cell.units}
    settings["direction"] = "reverse" if layer.go_backwards else "forward"
    if type(cell) is GRUCell:
        settings["linear_before_reset"] = int(cell.reset_after)
    time, batch, _ = x.shape
    if not layer.return_sequences:
        last = builder.node(operator.name, *inputs, shape=(1, batch, cell.units), result=1, **settings)
        return ops.squeeze(last, axis=0)
    y = builder.node(operator.name, *inputs, shape=(time, 1, batch, cell.units), **settings)
    return ops.transpose(ops.squeeze(y, axis=1), axes=(1, 0, 2))


def _activations(cell: Any, operator: Operator) -> dict[str, list]:
    """Return the attributes that tell the activations of a cell."""
    found = []
    for which in operator.activations:
        function = getattr(cell, which)
        if function not in ACTIVATIONS:
            known = ", ".join(sorted(f.__name__ for f in ACTIVATIONS))
            name = getattr(function, "__name__", repr(function))
            raise ValueError(f"{which}: ONNX's {operator.name} has no {name}; supported are {known}")
        found.append(ACTIVATIONS[function])
    attributes = {
        "activations": [name for name, *_ in found],
        "activation_alpha": [more[0] for _, *more in found if more],
        "activation_beta": [more[1] for _, *more in found if len(more) > 1],
    }
    return {key: value for key, value in attributes.items() if value}


EXPORTS: dict[type, Callable] = {
    Embedding: _embedding,
    Masking: _masking,
    GlobalAveragePooling1D: _average,
    TimeDistributed: _time_distributed,
    RNN: _recurrent,
    SimpleRNN: _recurrent,
    LSTM: _recurrent,
    GRU: _recurrent,
    Bidirectional: _bidirectional,
}
