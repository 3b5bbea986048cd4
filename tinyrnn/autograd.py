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

import inspect
import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from tinyrnn.backend import array_module, floatx, is_float, to_host

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

_mode = threading.local()


def is_recording() -> bool:
    """Whether operations leave nodes behind in this thread."""
    return getattr(_mode, "recording", True)


@contextmanager
def _recording(flag: bool) -> Iterator[None]:
    before = is_recording()
    _mode.recording = flag
    try:
        yield
    finally:
        _mode.recording = before


def no_grad():
    """Context in which nothing is recorded, in this thread: ``with no_grad(): ...``."""
    return _recording(False)


def enable_grad():
    """Context in which operations are recorded again, inside `no_grad`."""
    return _recording(True)


class Symbolic:
    """Base of values that stand for an array instead of holding one.

    A primitive that meets one hands itself over (`apply`) instead of computing; that is how the
    equations of a recurrent cell are read as formulas (`tinyrnn.recurrent.trace`).
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
        Arrays keep their type; Python floats become `floatx()`.
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
            data = array_module(data).asarray(data, dtype=dtype)
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
        return getattr(self.node, "grad", None)

    @grad.setter
    def grad(self, value: Any) -> None:
        if not isinstance(self.node, Leaf):
            raise AttributeError("grad: only a leaf (requires_grad=True) keeps its gradient")
        self.node.grad = value

    def detach(self) -> Tensor:
        """Return the same data without its history."""
        return Tensor._of(self.data, None)

    def numpy(self) -> np.ndarray:
        """Return the data as a NumPy array, not copied where it already is one."""
        return to_host(self.data)

    def item(self) -> float | int | bool:
        """Return the only element as a Python number."""
        return self.data.item()

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
            else:  # an array of its own: what is done to one gradient must not change another
                shared = id(value) in given or getattr(value, "base", None) is not None
                leaf.grad = value.copy() if shared else value
                given.add(id(value))

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
        return bool(self.data)

    def __float__(self) -> float:
        return float(self.data)

    def __int__(self) -> int:
        return int(self.data)

    def __repr__(self) -> str:
        more = ", requires_grad=True" if self.requires_grad else ""
        return f"{type(self).__name__}({self.data!r}{more})"


# --- the graph --------------------------------------------------------------------------------------------

_numbers = itertools.count()


class Node:
    """How one result came about: the primitive, where its inputs came from, what its rule needs."""

    __slots__ = ("n_outputs", "number", "op", "parents", "saved", "shapes", "static")

    def __init__(self, op, parents, shapes, saved, static, outputs):
        self.number = next(_numbers)
        self.op: Primitive = op
        self.parents: tuple[tuple[Node, int] | None, ...] = parents
        self.shapes: tuple[tuple[int, ...], ...] = shapes
        self.saved: dict | None = saved
        self.static: dict = static
        self.n_outputs = len(outputs)

    def release(self) -> None:
        """Forget the saved arrays; the parents stay, so that a second way back can say what is wrong."""
        self.saved = None


class Leaf(Node):
    """The start of a graph: it has no parents, and keeps the gradient of its tensor."""

    __slots__ = ("grad",)

    def __init__(self):
        super().__init__(None, (), (), {}, {}, (None,))
        self.grad = None

    def release(self) -> None:
        """Nothing to forget: the gradient is for the user."""


class _Rule:
    """A gradient rule and, from the names of its parameters, what has to be saved for it."""

    def __init__(self, function: Callable):
        self.function = function
        self.names = tuple(inspect.signature(function).parameters)

    def saves(self, op: Primitive) -> list[str]:
        """Return the names of arrays the rule wants, inputs or results of `op`."""
        return [n for n in self.names if n in op.inputs or n in ("out", "residuals", op.variadic)]


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
    """

    def __init__(self, forward: Callable, residuals: bool = False, casts: bool = False):
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
        self.has_residuals = residuals
        self.casts = casts
        self.rules: dict[int, _Rule] = {}
        self.joint: _Rule | None = None

    def gradient(self, **rules: Callable) -> None:
        """Declare one rule per input: ``op.gradient(a=lambda g, b: g * b, ...)``."""
        self.rules = {self.inputs[name]: _Rule(rule) for name, rule in rules.items()}

    def gradients(self, rule: Callable) -> Callable:
        """Declare one rule for all inputs: it returns a gradient, or None, for each (a decorator)."""
        self.joint = _Rule(rule)
        return rule

    def __repr__(self) -> str:
        return f"<primitive {self.name}>"

    def __call__(self, *inputs: Any, **static: Any) -> Any:
        """Compute, and leave a node behind if an input needs a gradient."""
        arrays, parents, has_tensor, symbolic = [], [], False, None
        for x in inputs:
            parent = None
            if isinstance(x, Tensor):
                has_tensor = True
                if x.node is not None:
                    parent = (x.node, x.index)
                x = x.data
            if isinstance(x, Symbolic):
                symbolic = x
            arrays.append(x)
            parents.append(parent)
        residuals = None
        if has_tensor:  # beside a tensor NumPy's scalars count as numbers: they bring no type of their own
            arrays = [a.item() if isinstance(a, np.generic) else a for a in arrays]
        if symbolic is not None:
            out = symbolic.apply(self, tuple(arrays), static)
        else:
            out = self.forward(*arrays, **static)
            if self.has_residuals:
                out, residuals = out
        if not has_tensor:
            return out
        several = isinstance(out, tuple)
        outputs = tuple(_as_array(o) for o in (out if several else (out,)))
        self._check_types(arrays, outputs)
        node = None
        if is_recording() and any(parents):
            node = self._record(arrays, tuple(parents), static, outputs, residuals)
        tensors = tuple(Tensor._of(o, node if _differentiable(o) else None, i) for i, o in enumerate(outputs))
        return tensors if several else tensors[0]

    def _record(self, arrays, parents, static, outputs, residuals) -> Node | None:
        if self.joint is not None:
            rules = [self.joint]
        else:
            parents = tuple(p if i in self.rules else None for i, p in enumerate(parents))
            rules = [self.rules[i] for i, p in enumerate(parents) if p is not None]
            if not rules:
                return None
        saved = {}
        for name in itertools.chain.from_iterable(rule.saves(self) for rule in rules):
            if name == "out":
                saved[name] = outputs
            elif name == "residuals":
                saved[name] = residuals
            elif name == self.variadic:
                saved[name] = arrays[len(self.inputs) :]
            else:
                saved[name] = arrays[self.inputs[name]]
        return Node(self, parents, tuple(map(np.shape, arrays)), saved, static, outputs)

    def _check_types(self, inputs, outputs) -> None:
        """Refuse to widen float32 silently: one forgotten float64 array would double all the work."""
        for out in outputs:
            if not self.casts and getattr(out, "dtype", None) == np.float64:
                for x in inputs:
                    if getattr(x, "dtype", None) == np.float32:
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


def _as_array(x: Any) -> Any:
    return np.asarray(x) if isinstance(x, np.generic) else x


def _differentiable(x: Any) -> bool:
    return isinstance(x, Symbolic) or x.dtype.kind == "f"


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
    pending: dict[Node, list] = {}
    for x, seed in zip(outputs, seeds, strict=True):
        if x.node is None:
            if wanted is None:
                raise RuntimeError("backward: this tensor was not computed from one with requires_grad=True")
            continue
        _deposit(pending, x.node, x.index, _as_seed(x, seed, create_graph))
    nodes = _reachable(pending)
    on_way = nodes if wanted is None else _leading_to(nodes, {node for node, _ in wanted})
    result = {}
    with _recording(create_graph):
        for node in sorted(nodes, key=lambda n: n.number, reverse=True):
            gradients = pending.pop(node, None)
            if gradients is None or node not in on_way:
                continue
            for index, g in enumerate(gradients):
                if g is not None and (isinstance(node, Leaf) if wanted is None else (node, index) in wanted):
                    result[node, index] = g
            for (parent, index), g in _pull(node, gradients, on_way, create_graph):
                _deposit(pending, parent, index, g)
            if not retain_graph:
                node.release()
    return result


def _as_seed(x: Tensor, seed: Any, create_graph: bool) -> Any:
    if seed is None:
        if isinstance(x.data, Symbolic):
            return 1.0
        if x.size != 1:
            raise ValueError(f"backward: a tensor of shape {x.shape} needs a seed of that shape")
        seed = array_module(x.data).ones_like(x.data)
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
    for node in sorted(nodes, key=lambda n: n.number):
        if node in targets or any(p is not None and p[0] in leading for p in node.parents):
            leading.add(node)
    return leading


def _deposit(pending: dict, node: Node, index: int, g: Any) -> None:
    slots = pending.get(node)
    if slots is None:
        slots = pending[node] = [None] * node.n_outputs
    slots[index] = g if slots[index] is None else slots[index] + g


def _pull(node: Node, gradients: list, on_way: set[Node], as_tensors: bool) -> Iterator[tuple]:
    """Apply the rule of `node`; yield ``((parent, index), gradient)`` for each parent on the way."""
    if not node.parents:
        return
    op = node.op
    if node.saved is None:
        raise RuntimeError(f"{op.name}: this graph was freed by an earlier backward; use retain_graph=True")
    needs = tuple(p is not None and p[0] in on_way for p in node.parents)
    g = tuple(gradients) if node.n_outputs > 1 or op.joint else gradients[0]
    if op.joint is not None:
        results = enumerate(_call(op.joint, node, g, needs, as_tensors))
    else:
        results = (
            (i, _call(op.rules[i], node, g, needs, as_tensors)) for i, need in enumerate(needs) if need
        )
    for i, value in results:
        if needs[i] and value is not None:
            yield node.parents[i], _unbroadcast(value, node.shapes[i])


def _call(rule: _Rule, node: Node, g: Any, needs: tuple, as_tensors: bool) -> Any:
    """Call `rule` with what its parameters name; tensors that continue the graph if asked for."""
    op = node.op

    def wrap(x, parent):
        return Tensor._of(x, *parent) if as_tensors and parent is not None else x

    arguments = []
    for name in rule.names:
        if name == "g":
            value = g
        elif name in op.inputs:
            i = op.inputs[name]
            value = wrap(node.saved[name], node.parents[i])
        elif name == "out":
            value = tuple(wrap(x, (node, i)) for i, x in enumerate(node.saved["out"]))
            value = value if node.n_outputs > 1 else value[0]
        elif name == op.variadic:
            first = len(op.inputs)
            value = [wrap(x, p) for x, p in zip(node.saved[name], node.parents[first:], strict=True)]
        elif name == "residuals":
            value = node.saved[name]
        elif name == "shapes":
            value = node.shapes
        elif name == "needs":
            value = needs
        elif name.endswith("_shape") and name[:-6] in op.inputs:
            value = node.shapes[op.inputs[name[:-6]]]
        else:
            value = node.static.get(name, op.settings.get(name))
        arguments.append(value)
    return rule.function(*arguments)


# --- broadcasting, undone by the engine -------------------------------------------------------------------


@primitive
def broadcast_to(x, *, shape):
    """Repeat `x` to `shape` by NumPy's broadcasting rules (a read-only view)."""
    return array_module(x).broadcast_to(x, shape)


broadcast_to.gradient(x=lambda g: g)


@primitive
def _sum_to(x, *, shape):
    """Sum `x` over the axes along which `shape` was broadcast to it."""
    lead = x.ndim - len(shape)
    axes = tuple(range(lead)) + tuple(
        i + lead for i, n in enumerate(shape) if n == 1 and x.shape[i + lead] != 1
    )
    return x.sum(axis=axes, keepdims=True).reshape(shape)


_sum_to.gradient(x=lambda g, x_shape: broadcast_to(g, shape=x_shape))


def _unbroadcast(g: Any, shape: tuple[int, ...]) -> Any:
    return g if np.shape(g) == shape else _sum_to(g, shape=shape)
