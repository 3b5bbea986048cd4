"""Reverse-mode differentiation: tensors, the graph that remembers how they were made, the way back.

How it works, in one paragraph. A `Primitive` computes with plain arrays. When one of its inputs is a
`Tensor` that needs a gradient, it leaves a `Node` behind: which primitive, which nodes its inputs came
from, and the few arrays that its gradient rule names. A node never holds a `Tensor`, so dropping an
output costs nothing and there are no reference cycles. Nodes are numbered as they are made, which is
already a topological order: going back is visiting them by falling number.

The gradient rules are written in the same operations as everything else. Given arrays they compute
arrays; given tensors they are recorded in turn, so gradients of gradients need nothing more.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from heapq import heappop, heappush
from operator import attrgetter
from typing import Any

import numpy as np

from tinyrnn.backend import array_module, floatx, is_float, placed, to_host

__all__ = [
    "Primitive",
    "Symbolic",
    "Tensor",
    "broadcast_to",
    "enable_grad",
    "grad",
    "is_recording",
    "no_grad",
    "primitive",
]


class _Mode(threading.local):
    recording = True

    def __init__(self):
        self.outside: list[bool] = []  # what held where the contexts that are open now were entered


_mode = _Mode()


def is_recording() -> bool:
    """Whether operations leave nodes behind in this thread."""
    return _mode.recording


class _Recording:
    """Context in which operations are recorded in this thread, or not; also a decorator."""

    __slots__ = ("_flag",)

    def __init__(self, flag: bool):
        self._flag = flag

    def __call__(self, function: Callable) -> Callable:
        @functools.wraps(function)
        def within(*args: Any, **kwargs: Any) -> Any:
            with _Recording(self._flag):
                return function(*args, **kwargs)

        return within

    def __enter__(self) -> None:
        _mode.outside.append(_mode.recording)
        _mode.recording = self._flag

    def __exit__(self, *exception: object) -> None:
        _mode.recording = _mode.outside.pop()


def no_grad() -> _Recording:
    """Context in which nothing is recorded, in this thread: ``with no_grad(): ...``."""
    return _Recording(False)


def enable_grad() -> _Recording:
    """Context in which operations are recorded again, inside `no_grad`."""
    return _Recording(True)


class Symbolic:
    """Base of values that stand for an array instead of holding one.

    A primitive that meets one hands itself over (`apply`) instead of computing; that is how the
    equations of a recurrent cell are read as formulas (`tinyrnn.formulas`).
    """

    shape = ()

    def apply(self, op: Primitive, inputs: tuple, static: dict) -> Any:
        """Return the value that stands for ``op(*inputs, **static)``."""
        raise TypeError(f"{type(self).__name__} does not say how to apply {op.name}")


class Tensor:
    """An array that remembers how it was computed.

    Parameters
    ----------
    data : array, Tensor, number or nested list
        Arrays keep their type; Python floats become `floatx()`. What is on the host is copied to the GPU if
        that is the current device (`set_device`).
    requires_grad : bool
        Make this a leaf whose gradient `backward` accumulates in `grad`. Only floats can have one.
    dtype : str or dtype, optional
        Convert the data to this type first.

    Attributes
    ----------
    data : numpy.ndarray or cupy.ndarray
    mask : array of bool or None
        Which time steps count, ``(batch, time)``, ``True`` = use. Set and read by layers; operations
        do not look at it.
    """

    __slots__ = ("data", "index", "mask", "node")

    def __init__(self, data: Any, requires_grad: bool = False, dtype: Any = None):
        if isinstance(data, Tensor):
            data = data.data
        if not isinstance(data, Symbolic):
            of_python = not hasattr(data, "dtype")
            if type(data) is not np.ndarray or dtype is not None:
                data = array_module(data).asarray(data, dtype=dtype)
            data = placed(data)
            if of_python and dtype is None and data.dtype == np.float64:
                data = data.astype(floatx())
            if requires_grad and not is_float(data.dtype):
                raise TypeError(f"requires_grad: only float tensors carry a gradient, found {data.dtype}")
        self.data = data
        self.node: Node | None = Leaf() if requires_grad else None
        self.index = 0
        self.mask = None

    @staticmethod
    def _of(data: Any, node: Node | None, index: int = 0) -> Tensor:
        tensor = Tensor.__new__(Tensor)
        tensor.data = data
        tensor.node = node
        tensor.index = index
        tensor.mask = None
        return tensor

    @property
    def shape(self) -> tuple[int, ...]:
        """The lengths of the axes."""
        return self.data.shape

    @property
    def dtype(self) -> np.dtype:
        """The type of the elements."""
        return self.data.dtype

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.data.shape)

    @property
    def size(self) -> int:
        """The number of elements."""
        return self.data.size

    @property
    def requires_grad(self) -> bool:
        """Whether a gradient can flow into this tensor."""
        return self.node is not None

    @property
    def grad(self) -> Any:
        """The gradient accumulated by `backward`, an array of this shape; None before, or for no leaf."""
        try:
            return self.node.grad
        except AttributeError:
            return None

    @grad.setter
    def grad(self, value: Any) -> None:
        try:
            self.node.grad = value
        except AttributeError:
            raise AttributeError("grad: only a leaf (requires_grad=True) keeps its gradient") from None

    def detach(self) -> Tensor:
        """Return the same data without its history."""
        return Tensor._of(self.data, None)

    def numpy(self) -> np.ndarray:
        """Return the data as a NumPy array, not copied where it already is one."""
        return to_host(self.data)

    def item(self) -> float | int | bool:
        """Return the only element as a Python number."""
        return self.numpy().item()

    def backward(self, seed: Any = None, retain_graph: bool = False) -> None:
        """Add the gradient of this tensor to the `grad` of every leaf it was computed from.

        Parameters
        ----------
        seed : array, optional
            The gradient of what comes after with respect to this tensor, of its shape; ones for a
            tensor of one element.
        retain_graph : bool
            Keep what the graph saved, for a second way back; by default it is freed on the way.

        Raises
        ------
        RuntimeError
            If the tensor has no history, or its graph was freed.
        ValueError
            If a seed is missing or has another shape.
        """
        given = {id(seed)}
        for (leaf, _), value in _propagate([self], [seed], None, retain_graph, False).items():
            if leaf.grad is not None:
                leaf.grad = leaf.grad + value
                continue
            # An array of its own: what is done to one gradient must not change another.
            known = id(value)
            leaf.grad = value.copy() if known in given or getattr(value, "base", None) is not None else value
            given.add(known)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.numpy(), dtype=dtype, copy=copy)

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of a tensor without axes")
        return self.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self)))

    def __bool__(self) -> bool:
        if not isinstance(self.data, Symbolic) and self.size != 1:
            raise ValueError(
                f"the truth of a tensor of {self.size} elements is not one; choose by element with ops.where"
            )
        return bool(self.data if isinstance(self.data, Symbolic) else self.numpy())

    def __float__(self) -> float:
        return float(self.numpy())

    def __int__(self) -> int:
        return int(self.numpy())

    def __repr__(self) -> str:
        more = ", requires_grad=True" if self.requires_grad else ""
        return f"{type(self).__name__}({self.data!r}{more})"


# --- the graph --------------------------------------------------------------------------------------------

_numbers = itertools.count()
_number = attrgetter("number")


class Node:
    """How one result came about: the primitive, where its inputs came from, what its rule needs."""

    __slots__ = ("n_outputs", "number", "op", "parents", "saved", "shapes", "static")

    def __init__(self, op, parents, shapes, saved, static, n_outputs):
        self.number = next(_numbers)
        self.op: Primitive = op
        self.parents: tuple[tuple[Node, int] | None, ...] = parents
        self.shapes: tuple[tuple[int, ...], ...] = shapes
        self.saved: dict[str, Any] | None = saved
        self.static: dict[str, Any] = static
        self.n_outputs: int = n_outputs


class Leaf(Node):
    """The start of a graph: it has no parents, and keeps the gradient of its tensor."""

    __slots__ = ("grad",)

    def __init__(self):
        super().__init__(None, (), (), {}, {}, 1)
        self.grad = None


class _Rule:
    """A gradient rule of `op` and, from the names of its parameters, how it is called.

    Attributes
    ----------
    apply : callable
        ``apply(node, saved, g, needs)``: call the rule for a node, given what was saved there.
    saves : list of (str, int or slice)
        What the node is to save, and where it stands in ``[*inputs, out, residuals]``.
    """

    def __init__(self, op: Primitive, function: Callable):
        names = tuple(inspect.signature(function).parameters)
        self.saves = [(name, op.places[name]) for name in names if name in op.places]
        arguments = ", ".join(_argument(op, name) for name in names)
        # One call, where looking up argument by argument would take longer than most rules.
        scope = {"function": function, **{f"default_{name}": value for name, value in op.settings.items()}}
        self.apply = eval(f"lambda node, saved, g, needs: function({arguments})", scope)


def _argument(op: Primitive, name: str) -> str:
    """Return the expression for what a rule of `op` calls `name`, in the parameters of `_Rule.apply`."""
    if name in ("g", "needs"):
        return name
    if name in op.places:
        return f"saved[{name!r}]"
    if name == "shapes":
        return "node.shapes"
    if name.endswith("_shape") and name[:-6] in op.inputs:
        return f"node.shapes[{op.inputs[name[:-6]]}]"
    if name not in op.settings:
        raise TypeError(f"{op.name}: a gradient rule asks for {name!r}; see Primitive for what there is")
    if op.settings[name] is inspect.Parameter.empty:
        return f"node.static[{name!r}]"
    return f"node.static.get({name!r}, default_{name})"


def _saved_as_tensors(node: Node) -> dict[str, Any]:
    """Return what a node has saved, as tensors that continue the graph."""
    op, saved = node.op, dict(node.saved)
    for name, i in op.inputs.items():
        if name in saved:
            saved[name] = _linked(saved[name], node.parents[i])
    if op.variadic in saved:
        saved[op.variadic] = list(map(_linked, saved[op.variadic], node.parents[len(op.inputs) :]))
    if "out" in saved:
        out = saved["out"]
        if isinstance(out, tuple):
            saved["out"] = tuple(_linked(x, (node, i)) for i, x in enumerate(out))
        else:
            saved["out"] = _linked(out, (node, 0))
    return saved


def _linked(array: Any, parent: tuple[Node, int] | None) -> Any:
    """Return a kept array as the tensor it was, if it was one with a history."""
    return array if parent is None else Tensor._of(array, *parent)


class Primitive:
    """An operation on arrays with a gradient rule.

    Positional arguments are its inputs, tensors or arrays; keyword-only ones are settings. Called
    without any `Tensor` it is a plain array function. The gradient rule stands directly below the
    forward and asks for what it needs by the names of its parameters:

    ``g``
        the gradient of the result (a tuple, None where unused, if there are several results);
    the name of an input, ``out``
        that array, kept from the forward pass;
    ``residuals``
        what the forward returned beside its results (see `residuals`);
    ``x_shape`` for an input ``x``, ``shapes``
        the shape of one input, of all;
    ``needs``
        which inputs need a gradient, a tuple of bool (joint rules);
    the name of a setting
        its value.

    A rule need not undo broadcasting: sums over broadcast axes are taken by the engine.

    Parameters
    ----------
    forward : callable
        Arrays in, one array or a tuple of arrays out.
    residuals : bool
        The forward returns ``(result, residuals)``; the second is only seen by the rule.
    casts : bool
        The result may be of a wider float type than the inputs.
    composed : bool
        The forward is written in other operations: among symbols it stands for these, with its own gradient.
    """

    def __init__(
        self, forward: Callable, residuals: bool = False, casts: bool = False, composed: bool = False
    ):
        parameters = inspect.signature(forward).parameters.values()
        self.forward = forward
        self.name = forward.__name__
        self.__name__ = forward.__name__
        self.__doc__ = forward.__doc__
        self.__module__ = forward.__module__
        self.__wrapped__ = forward
        self.inputs = {p.name: i for i, p in enumerate(parameters) if p.kind is p.POSITIONAL_OR_KEYWORD}
        self.variadic = next((p.name for p in parameters if p.kind is p.VAR_POSITIONAL), None)
        self.settings = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
        # Where in ``[*inputs, out, residuals]`` a rule finds what it names.
        self.places: dict[str, int | slice] = {"out": -2, "residuals": -1, **self.inputs}
        if self.variadic is not None:
            self.places[self.variadic] = slice(len(self.inputs), -2)
        self.has_residuals = residuals
        self.casts = casts
        self.composed = composed
        self.rules: dict[int, _Rule] = {}
        self.joint: _Rule | None = None

    def gradient(self, **rules: Callable) -> None:
        """Declare one rule per input: ``op.gradient(a=lambda g, b: g * b, ...)``."""
        self.rules = {self.inputs[name]: _Rule(self, rule) for name, rule in rules.items()}

    def gradients(self, rule: Callable) -> Callable:
        """Declare one rule for all inputs: it returns a gradient, or None, for each (a decorator)."""
        self.joint = _Rule(self, rule)
        return rule

    def __repr__(self) -> str:
        return f"<primitive {self.name}>"

    def __call__(self, *inputs: Any, **static: Any) -> Any:
        """Compute, and leave a node behind if an input needs a gradient."""
        for x in inputs:
            if isinstance(x, _TRACED):
                return self._trace(inputs, static)
        out = self.forward(*inputs, **static)
        return out[0] if self.has_residuals else out

    def _trace(self, inputs: tuple, static: dict) -> Any:
        """Compute with a tensor or a symbol among the inputs."""
        arrays, parents, has_tensor, linked, symbolic, foreign = [], [], False, False, None, False
        for x in inputs:
            parent = None
            if isinstance(x, Tensor):
                has_tensor = True
                if x.node is not None:
                    parent, linked = (x.node, x.index), True
                x = x.data
            if type(x) is not np.ndarray:
                if isinstance(x, Symbolic):
                    symbolic = x
                elif isinstance(x, np.generic):  # counts as a number: it brings no type of its own
                    x = x.item()
                elif not isinstance(x, float | int):
                    foreign = True
            arrays.append(x)
            parents.append(parent)
        if foreign:  # arrays of the GPU among them: where they are mixed, say so
            array_module(*arrays)
        residuals = None
        if symbolic is not None:
            out = symbolic.apply(self, tuple(arrays), static)
        else:
            out = self.forward(*arrays, **static)
            if self.has_residuals:
                out, residuals = out
        if not has_tensor:
            return out
        several = isinstance(out, tuple)
        out = tuple(map(_as_array, out)) if several else _as_array(out)
        node = None
        if linked and _mode.recording:
            node = self._record(arrays, parents, static, out, residuals)
        if several:
            return tuple([self._wrap(x, node, i, arrays) for i, x in enumerate(out)])
        return self._wrap(out, node, 0, arrays)

    def _record(self, arrays, parents, static, out, residuals) -> Node | None:
        """Return the node of a result, None if no rule leads back to an input."""
        n_outputs = 1
        if isinstance(out, tuple):
            n_outputs = len(out)
            out = out if n_outputs > 1 else out[0]
        values, saved = [*arrays, out, residuals], {}
        if self.joint is not None:
            for name, place in self.joint.saves:
                saved[name] = values[place]
        else:
            linked = False
            for i, parent in enumerate(parents):
                if parent is not None and i in self.rules:
                    linked = True
                    for name, place in self.rules[i].saves:
                        saved[name] = values[place]
                else:
                    parents[i] = None
            if not linked:
                return None
        shapes = [x.shape if type(x) is np.ndarray else np.shape(x) for x in arrays]
        return Node(self, tuple(parents), shapes, saved, static, n_outputs)

    def _wrap(self, out: Any, node: Node | None, index: int, arrays: list) -> Tensor:
        """Return a result as a tensor; only floats and symbols have a history."""
        if type(out) is np.ndarray or not isinstance(out, Symbolic):
            dtype = out.dtype
            if dtype == _WIDE and not self.casts:
                self._check_types(arrays)
            if dtype.kind != "f":
                node = None
        return Tensor._of(out, node, index)

    def _check_types(self, inputs) -> None:
        """Refuse to widen float32 silently: one forgotten float64 array would double all the work."""
        if any(getattr(x, "dtype", None) == np.float32 for x in inputs):
            found = [str(getattr(x, "dtype", type(x).__name__)) for x in inputs]
            raise TypeError(
                f"{self.name}: the inputs {', '.join(found)} give float64; "
                "bring them to one float type with ops.cast"
            )


def primitive(forward: Callable | None = None, **options: bool) -> Any:
    """Make a `Primitive` of a function (a decorator, with or without options)."""
    if forward is None:
        return lambda f: Primitive(f, **options)
    return Primitive(forward, **options)


_TRACED = (Tensor, Symbolic)
_WIDE = np.dtype("float64")


def _as_array(x: Any) -> Any:
    return np.asarray(x) if isinstance(x, np.generic) else x


# --- the way back -----------------------------------------------------------------------------------------


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    seeds: Any = None,
    create_graph: bool = False,
) -> Any:
    """Return the gradients of `outputs` with respect to `inputs`, leaving every `.grad` alone.

    Parameters
    ----------
    outputs : Tensor or sequence of Tensor
    inputs : Tensor or sequence of Tensor
        Leaves or anything on the way; what `outputs` do not depend on gets zeros.
    seeds : array, Tensor or sequence of them, optional
        For each output the gradient that comes in from above, of the output's shape. An output of one
        element may do without: its seed is one.
    create_graph : bool
        Record the computation, so that the result can be differentiated again. The graph is kept.

    Returns
    -------
    Tensor or list of Tensor
        As `inputs`.
    """
    one = isinstance(inputs, Tensor)
    inputs = [inputs] if one else list(inputs)
    if isinstance(outputs, Tensor):
        outputs, seeds = [outputs], [seeds]
    seeds = [None] * len(outputs) if seeds is None else list(seeds)
    if any(x.node is None for x in inputs):
        raise RuntimeError("grad: an input has no gradient; create it with requires_grad=True")
    wanted = {(x.node, x.index) for x in inputs}
    found = _propagate(list(outputs), seeds, wanted, True, create_graph)
    result = []
    for x in inputs:
        g = found.get((x.node, x.index))
        if g is None:
            g = array_module(x.data).zeros_like(x.data) if not isinstance(x.data, Symbolic) else 0.0
        result.append(g if isinstance(g, Tensor) else Tensor._of(g, None))
    return result[0] if one else result


def _propagate(outputs, seeds, wanted, retain_graph, create_graph) -> dict:
    """Carry `seeds` from `outputs` down the graph.

    Returns the gradients by ``(node, index)``: those `wanted`, or where that is None those of all
    leaves. Every node is visited once, by falling number; its gradients are dropped when it has been.
    """
    pending: dict[Node, list] = {}  # the gradients so far
    ahead: list[tuple[int, int, Node]] = []  # what is to be visited, a heap
    for x, seed in zip(outputs, seeds, strict=True):
        if x.node is None:
            if wanted is None:
                raise RuntimeError("backward: this tensor was not computed from one with requires_grad=True")
            continue
        _deposit(pending, ahead, x.node, x.index, _as_seed(x, seed, create_graph))
    on_way = None  # everything
    if wanted is not None:
        on_way = _leading_to(_reachable(pending), {node for node, _ in wanted})
    result = {}
    with _Recording(create_graph):
        while ahead:
            node = heappop(ahead)[-1]
            gradients = pending.pop(node)
            if on_way is not None:
                if node not in on_way:
                    continue
                for index, g in enumerate(gradients):
                    if g is not None and (node, index) in wanted:
                        result[node, index] = g
            _pull(node, gradients, on_way, pending, ahead, create_graph)
            if not retain_graph:
                node.saved = None  # the parents stay, so that a second way back can say what is wrong
    for leaf, (g,) in pending.items():
        if wanted is None or (leaf, 0) in wanted:
            result[leaf, 0] = g
    return result


def _as_seed(x: Tensor, seed: Any, create_graph: bool) -> Any:
    if seed is None:
        if isinstance(x.data, Symbolic):
            return 1.0
        if x.size != 1:
            raise ValueError(f"backward: a tensor of shape {x.shape} needs a seed of that shape")
        seed = array_module(x.data).ones(x.shape, x.dtype)
    elif not isinstance(x.data, Symbolic):
        if not isinstance(seed, Tensor):
            seed = array_module(x.data).asarray(seed, dtype=x.dtype)
        if seed.shape != x.shape:
            raise ValueError(f"backward: expected a seed of shape {x.shape}, found {seed.shape}")
    if create_graph:
        return seed if isinstance(seed, Tensor) else Tensor._of(seed, None)
    return seed.data if isinstance(seed, Tensor) else seed


def _reachable(start) -> set[Node]:
    seen, stack = set(start), list(start)
    while stack:
        for parent in stack.pop().parents:
            if parent is not None and parent[0] not in seen:
                seen.add(parent[0])
                stack.append(parent[0])
    return seen


def _leading_to(nodes: set[Node], targets: set[Node]) -> set[Node]:
    """Return those of `nodes` from which a gradient can reach one of `targets`."""
    leading = set()
    for node in sorted(nodes, key=_number):
        if node in targets or any(p is not None and p[0] in leading for p in node.parents):
            leading.add(node)
    return leading


def _deposit(pending: dict, ahead: list, node: Node, index: int, g: Any) -> None:
    """Add to the gradients of a node; one that is new and no leaf is put among those to visit."""
    slots = pending.get(node)
    if slots is None:
        slots = pending[node] = [None] * node.n_outputs
        if node.parents:
            heappush(ahead, (-node.number, id(node), node))  # a deep copy has the same number
    slots[index] = g if slots[index] is None else slots[index] + g


def _pull(node: Node, gradients: list, on_way: set | None, pending: dict, ahead: list, as_tensors: bool):
    """Apply the rule of `node`, and deposit what it says for each parent on the way."""
    op, saved = node.op, node.saved
    if saved is None:
        raise RuntimeError(f"{op.name}: this graph was freed by an earlier backward; use retain_graph=True")
    if as_tensors:
        saved = _saved_as_tensors(node)
    if op.joint is None:
        g, values = gradients[0] if node.n_outputs == 1 else tuple(gradients), None
    else:
        needs = tuple([p is not None and (on_way is None or p[0] in on_way) for p in node.parents])
        values = op.joint.apply(node, saved, tuple(gradients), needs)
    for i, parent in enumerate(node.parents):
        if parent is None or (on_way is not None and parent[0] not in on_way):
            continue
        value = op.rules[i].apply(node, saved, g, None) if values is None else values[i]
        if value is None:
            continue
        shape = node.shapes[i]
        if getattr(value, "shape", ()) != shape:  # it was broadcast
            value = _sum_to(value, shape=shape)
        _deposit(pending, ahead, *parent, value)


# --- broadcasting, undone by the engine -------------------------------------------------------------------


@primitive
def broadcast_to(x, *, shape):
    """Repeat `x` to `shape` by NumPy's broadcasting rules (a read-only view)."""
    is_number = isinstance(x, (np.ndarray, np.generic)) and not x.shape
    if (
        is_number and type(shape) is tuple and min(shape, default=0) >= 0
    ):  # NumPy's way takes ten times as long
        out = np.ndarray(shape, x.dtype, x, strides=(0,) * len(shape))
        out.flags.writeable = False
        return out
    return array_module(x).broadcast_to(x, shape)


broadcast_to.gradient(x=lambda g: g)


@primitive
def _sum_to(x, *, shape):
    """Sum `x` over the axes along which `shape` was broadcast to it."""
    if x.ndim > len(shape):
        x = x.sum(axis=tuple(range(x.ndim - len(shape))))
    axes = tuple([i for i, n in enumerate(shape) if n == 1 and x.shape[i] != 1])
    return x.sum(axis=axes, keepdims=True) if axes else x


_sum_to.gradient(x=lambda g, x_shape: broadcast_to(g, shape=x_shape))
