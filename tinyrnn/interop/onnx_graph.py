"""Operations of `tinyrnn.ops` written down as nodes of an ONNX graph.

A `Value` stands for an array of the graph to be. Layers that compute with operators and `tinyrnn.ops` are
called on values as they are on arrays, and every operation leaves its nodes in the `GraphBuilder`: no
equation is written a second time. (So are the cells' steps called on symbols in `tinyrnn.recurrent.trace`.)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from tinyrnn import ops
from tinyrnn.autograd import Primitive, Symbolic
from tinyrnn.backend import to_host

__all__ = ["GraphBuilder", "Value", "onnx"]

END = np.iinfo(np.int64).max  # of a slice: to the end of the axis, whatever its length


def onnx() -> Any:
    """Return the package.

    Raises
    ------
    ImportError
        If it is not installed.
    """
    try:
        import onnx
    except ImportError as error:
        raise ImportError("ONNX files are written with onnx: pip install tinyrnn[onnx]") from error
    return onnx


class Value(Symbolic):
    """An array of the graph to be.

    Attributes
    ----------
    builder : GraphBuilder
    name : str
    shape : tuple of int or None
        None where any length will do.
    dtype : numpy.dtype
    """

    def __init__(self, builder: GraphBuilder, name: str, shape: Sequence, dtype: Any):
        self.builder = builder
        self.name = name
        self.shape = tuple(shape)
        self.dtype = np.dtype(dtype)

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    def apply(self, op: Primitive, inputs: tuple, static: dict) -> Any:
        """Write the operation down, and return its result.

        Raises
        ------
        TypeError
            If it has no counterpart in ONNX.
        """
        if op.name in ELEMENTWISE:
            return _elementwise(self.builder, ELEMENTWISE[op.name], inputs)
        if op.name not in OPERATIONS:
            raise TypeError(f"ops.{op.name} has no counterpart")
        return OPERATIONS[op.name](self.builder, *inputs, **(op.settings | static))

    def __bool__(self) -> bool:
        raise TypeError("a branch on a value; use ops.where")

    def __array__(self, *_: Any, **__: Any) -> np.ndarray:
        raise TypeError("there are no numbers before the graph runs")

    def __repr__(self) -> str:
        return f"<Value {self.name} shape={self.shape} dtype={self.dtype}>"


class GraphBuilder:
    """The nodes and constants of a graph, as they are added.

    Parameters
    ----------
    reserved : iterable of str
        Names of inputs and outputs, which no other value may have.
    weights : iterable of Variable
        Whose arrays appear in the graph under their paths.

    Attributes
    ----------
    nodes, constants : list
        Of ``NodeProto`` and ``TensorProto``.
    scope : str
        What names begin with: the layer that is being written down.
    memo : dict
        What users of the builder need not write down again.
    """

    def __init__(self, reserved: Iterable[str], weights: Iterable[Any] = ()):
        self.nodes: list = []
        self.constants: list = []
        self.scope = ""
        self.memo: dict[str, Any] = {}
        self._names = Counter(reserved)
        self._paths = {id(w.data): w.path for w in weights}
        self._known: dict[Any, Value] = {}

    def node(
        self, op: str, *inputs: Any, shape: Sequence, dtype: Any = None, result: int = 0, **settings: Any
    ) -> Value:
        """Add a node, and return one of its results.

        Parameters
        ----------
        op : str
            As ONNX calls it.
        *inputs : Value, array or None
            An array becomes a constant of the graph; None leaves out what is optional.
        shape : tuple of int or None
            Of the result.
        dtype : optional
            Of the result; that of the first input by default.
        result : int
            Which result; the others are left out.
        **settings
            The attributes of the node.
        """
        value = Value(self, self._unique(f"{self.scope}/{op}"), shape, dtype or inputs[0].dtype)
        names = ["" if x is None else self._value(x).name for x in inputs]
        while not names[-1]:
            names.pop()
        outputs = [""] * result + [value.name]
        self.nodes.append(onnx().helper.make_node(op, names, outputs, name=value.name, **settings))
        return value

    def constant(self, name: str, array: np.ndarray) -> Value:
        """Add an array to the graph."""
        value = Value(self, self._unique(name), array.shape, array.dtype)
        values = np.asarray(to_host(array), order="C")
        self.constants.append(onnx().numpy_helper.from_array(values, value.name))
        return value

    def shape_of(self, x: Value, start: int = 0, end: int = END) -> Value:
        """Return the lengths of some axes, known when the graph runs."""
        return self.node("Shape", x, shape=(len(x.shape[start:end]),), dtype="int64", start=start, end=end)

    def _value(self, x: Any) -> Value:
        """Return a value, or the constant for an array: a weight, or one that may be used again."""
        if isinstance(x, Value):
            return x
        name = self._paths.get(id(x))
        key = id(x) if name else (x.dtype, x.shape, x.tobytes())
        if key not in self._known:
            self._known[key] = self.constant(name or "constant", x)
        return self._known[key]

    def _unique(self, name: str) -> str:
        self._names[name] += 1
        n = self._names[name]
        return name if n == 1 else self._unique(f"{name}_{n - 1}")


def int64(*numbers: int) -> np.ndarray:
    """Return lengths or axes as ONNX wants them."""
    return np.asarray(numbers, np.int64)


# --- element by element -----------------------------------------------------------------------------------

COMPARISONS = {
    "greater": "Greater", "greater_equal": "GreaterOrEqual", "less": "Less", "less_equal": "LessOrEqual",
    "equal": "Equal",
}  # fmt: skip
ELEMENTWISE = COMPARISONS | {
    "add": "Add", "subtract": "Sub", "multiply": "Mul", "divide": "Div", "negative": "Neg",
    "exp": "Exp", "log": "Log", "sqrt": "Sqrt", "abs": "Abs", "sign": "Sign", "sin": "Sin", "cos": "Cos",
    "erf": "Erf", "tanh": "Tanh", "sigmoid": "Sigmoid", "relu": "Relu", "softplus": "Softplus",
    "maximum": "Max", "minimum": "Min", "where": "Where",
}  # fmt: skip


def _elementwise(builder: GraphBuilder, op: str, inputs: Sequence) -> Value:
    """Write down an operation whose operands broadcast; numbers take the type of the others."""
    dtypes = {x.dtype for x in inputs if hasattr(x, "dtype")} - {np.dtype(bool)}
    if len(dtypes) > 1:
        raise TypeError(f"{op}: expected operands of one type, found {', '.join(sorted(map(str, dtypes)))}")
    dtype = dtypes.pop() if dtypes else np.dtype("float32")
    operands = [x if hasattr(x, "dtype") else _number(x, dtype) for x in inputs]
    shape = _broadcast([x.shape for x in operands])
    is_comparison = op in COMPARISONS.values()
    return builder.node(op, *operands, shape=shape, dtype="bool" if is_comparison else dtype)


def _number(x: float, dtype: np.dtype) -> np.ndarray:
    if dtype.kind in "iu" and x != int(x):
        raise TypeError(f"expected a whole number among integers, found {x}")
    return np.asarray(x, dtype)


def _broadcast(shapes: Sequence[tuple]) -> tuple:
    """Return the shape that shapes broadcast to; a length that is not known may turn out to be 1."""
    ndim = max(map(len, shapes))
    columns = zip(*((1,) * (ndim - len(s)) + s for s in shapes), strict=True)
    return tuple(_common(set(column) - {1}) for column in columns)


def _common(lengths: set) -> int | None:
    known = lengths - {None}
    return known.pop() if known else None if lengths else 1


# --- the others -------------------------------------------------------------------------------------------


def _power(builder, x, *, exponent):
    return _elementwise(builder, "Pow", [x, exponent])


def _clip(builder, x, *, low, high):
    limits = [None if n is None else _number(n, x.dtype) for n in (low, high)]
    return builder.node("Clip", x, *limits, shape=x.shape)


def _not_equal(builder, a, b):
    same = ops.equal(a, b)
    return builder.node("Not", same, shape=same.shape)


def _cast(builder, x, *, dtype):
    to = onnx().helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    return builder.node("Cast", x, shape=x.shape, dtype=dtype, to=to)


def _axes(axis: Any, ndim: int) -> list[int]:
    """Return axes as a list, counted from 0, in order."""
    if axis is None:
        return list(range(ndim))
    return sorted(int(a) % ndim for a in ([axis] if isinstance(axis, int | np.integer) else axis))


def _reduction(op: str) -> Callable:
    def reduce(builder, x, *, axis, keepdims):
        axes = _axes(axis, x.ndim)
        shape = [1 if a in axes else n for a, n in enumerate(x.shape) if keepdims or a not in axes]
        return builder.node(op, x, int64(*axes), shape=shape, keepdims=int(keepdims))

    return reduce


def _argmax(builder, x, *, axis):
    shape = [n for a, n in enumerate(x.shape) if a != axis % x.ndim]
    return builder.node("ArgMax", x, shape=shape, dtype="int64", axis=axis, keepdims=0)


def _cumsum(builder, x, *, axis):
    return builder.node("CumSum", x, np.asarray(axis, np.int64), shape=x.shape)


def _softmax(builder, x, *, axis):
    if isinstance(axis, int):
        return builder.node("Softmax", x, shape=x.shape, axis=axis)
    e = ops.exp(x - ops.max(x, axis=axis, keepdims=True))
    return e / ops.sum(e, axis=axis, keepdims=True)


def _log_softmax(builder, x, *, axis):
    return builder.node("LogSoftmax", x, shape=x.shape, axis=axis)


def _matmul(builder, a, b):
    if len(a.shape) < 2 or len(b.shape) < 2:
        raise TypeError("ops.matmul of vectors has no counterpart")
    shape = (*_broadcast([a.shape[:-2], b.shape[:-2]]), a.shape[-2], b.shape[-1])
    return builder.node("MatMul", a, b, shape=shape)


def _reshape(builder, x, *, shape):
    """The batch axis, if not known, stays the batch axis; one other length may be left open."""
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    if [n for n in shape if n != 1] == [n for n in x.shape if n != 1]:
        return _other_ones(builder, x, shape)
    target = list(shape)
    if target and target[0] is None and x.shape[0] is None:
        target[0] = 0  # as in x
    target = [-1 if n is None else n for n in target]
    if target.count(-1) > 1:
        raise TypeError(f"ops.reshape to {shape}: only one length besides the batch's may be unknown")
    known = tuple(None if n == -1 else n for n in shape)
    return builder.node("Reshape", x, int64(*target), shape=known)


def _other_ones(builder: GraphBuilder, x: Value, shape: tuple) -> Value:
    """Drop and add axes of length 1."""
    for op, of in (("Squeeze", x.shape), ("Unsqueeze", shape)):
        axes = [a for a, n in enumerate(of) if n == 1]
        if axes:
            result = [n for n in of if n != 1] if op == "Squeeze" else shape
            x = builder.node(op, x, int64(*axes), shape=result)
    return x


def _transpose(builder, x, *, axes):
    axes = tuple(reversed(range(x.ndim))) if axes is None else [a % x.ndim for a in axes]
    return builder.node("Transpose", x, shape=[x.shape[a] for a in axes], perm=axes)


def _broadcast_to(builder, x, *, shape):
    lengths = int64(*(1 if n is None else n for n in shape))  # 1: as long as x is
    return builder.node("Expand", x, lengths, shape=_broadcast([x.shape, shape]))


def _flip(builder, x, *, axis):
    axes = _axes(axis, x.ndim)
    back = int64(*[-1] * len(axes))
    return builder.node("Slice", x, back, int64(*[-END] * len(axes)), int64(*axes), back, shape=x.shape)


def _getitem(builder, x, *, index):
    """Take numbers, slices, None and the ellipsis for an index, axis by axis."""
    index = list(index) if isinstance(index, tuple) else [index]
    if not all(n is None or n is Ellipsis or isinstance(n, int | slice) for n in index):
        raise TypeError("an index with arrays has no counterpart")
    if Ellipsis not in index:
        index.append(Ellipsis)
    i = index.index(Ellipsis)
    index[i : i + 1] = [slice(None)] * (x.ndim + 1 - sum(n is not None for n in index))
    of_axes = [n for n in index if n is not None]
    for axis, n in reversed(list(enumerate(of_axes))):
        x = _take_slice(builder, x, axis, n)
    for axis, n in enumerate(n for n in index if not isinstance(n, int)):
        if n is None:
            x = ops.expand_dims(x, axis=axis)
    return x


def _take_slice(builder: GraphBuilder, x: Value, axis: int, n: int | slice) -> Value:
    """Take a number or a slice along one axis."""
    before, length, after = x.shape[:axis], x.shape[axis], x.shape[axis + 1 :]
    if isinstance(n, int):
        return builder.node("Gather", x, int64(n).reshape(()), shape=(*before, *after), axis=axis)
    if n == slice(None):
        return x
    step = 1 if n.step is None else n.step
    start = (0 if step > 0 else -1) if n.start is None else n.start
    stop = (END if step > 0 else -END) if n.stop is None else n.stop
    result = None if length is None else len(range(*n.indices(length)))
    places = (int64(start), int64(stop), int64(axis), int64(step))
    return builder.node("Slice", x, *places, shape=(*before, result, *after))


def _take(builder, table, ids):
    shape = (*ids.shape, *table.shape[1:])
    return builder.node("Gather", table, ids, shape=shape, dtype=table.dtype, axis=0)


def _concatenate(builder, *arrays, axis):
    axis %= len(arrays[0].shape)
    lengths = [x.shape[axis] for x in arrays]
    shape = list(_broadcast([(*x.shape[:axis], 1, *x.shape[axis + 1 :]) for x in arrays]))
    shape[axis] = None if None in lengths else sum(lengths)
    return builder.node("Concat", *arrays, shape=shape, axis=axis)


# By the names of the operations; those that are others in disguise are written in these.
OPERATIONS: dict[str, Callable] = {
    "power": _power,
    "clip": _clip,
    "not_equal": _not_equal,
    "cast": _cast,
    "square": lambda builder, x: x * x,
    "expm1": lambda builder, x: ops.exp(x) - 1.0,
    "log1p": lambda builder, x: ops.log(x + 1.0),
    "sum": _reduction("ReduceSum"),
    "mean": _reduction("ReduceMean"),
    "max": _reduction("ReduceMax"),
    "min": _reduction("ReduceMin"),
    "logsumexp": _reduction("ReduceLogSumExp"),
    "norm": _reduction("ReduceL2"),
    "argmax": _argmax,
    "cumsum": _cumsum,
    "softmax": _softmax,
    "log_softmax": _log_softmax,
    "matmul": _matmul,
    "affine": lambda builder, a, b, c: _matmul(builder, a, b) + c,
    "reshape": _reshape,
    "transpose": _transpose,
    "broadcast_to": _broadcast_to,
    "flip": _flip,
    "getitem": _getitem,
    "take": _take,
    "_concatenate": _concatenate,
    "_stack": lambda builder, *arrays, axis: ops.concatenate(
        [ops.expand_dims(x, axis=axis) for x in arrays], axis=axis
    ),
}
