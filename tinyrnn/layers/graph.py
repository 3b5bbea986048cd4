"""Calling layers on what has no values yet: the graph of a functional model.

``Input(shape)`` makes a `SymbolicTensor`; a layer called on one returns another and leaves a `Call`
behind: the layer, its arguments, its results. `Model(inputs, outputs)` reads these backwards.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tinyrnn.autograd import Primitive, Symbolic, Tensor
from tinyrnn.nest import leaves, map_leaves

__all__ = ["Call", "Graph", "SymbolicTensor", "is_symbolic", "shapes_of"]


class SymbolicTensor(Symbolic):
    """A tensor of a model to be: it has a shape, a type and a history, but no values.

    Attributes
    ----------
    shape : tuple of int or None
        The batch axis first; None where any length will do.
    dtype : str
    call : Call
        The call of a layer whose result this is.
    index : int
        Which of its results.
    name : str
        Of the layer that made it.
    """

    def __init__(self, shape: tuple, dtype: str):
        self.shape = tuple(shape)
        self.dtype = str(dtype)
        self.call: Call | None = None
        self.index = 0

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def name(self) -> str:
        """The name of the layer whose result this is."""
        return self.call.layer.name

    def apply(self, op: Primitive, inputs: tuple, static: dict) -> Any:
        """Refuse: an operation is no layer."""
        raise TypeError(
            f"ops.{op.name} on the symbolic output of layer {self.name!r}: in a functional model "
            "wrap operations in a Lambda layer or in a layer of your own"
        )

    def __iter__(self) -> Any:
        raise TypeError(
            f"the output of layer {self.name!r} is one tensor, nothing to unpack; "
            "a recurrent layer returns its states too with return_state=True"
        )

    def __repr__(self) -> str:
        return f"<SymbolicTensor shape={self.shape}, dtype={self.dtype}, of layer {self.name!r}>"


_numbers = itertools.count()


class Call:
    """One use of a layer in a graph of symbolic tensors.

    Attributes
    ----------
    layer : Layer
    args, kwargs
        What it was called with, symbolic tensors in any nest.
    outputs
        A symbolic tensor or a nest of them.
    inputs : list of SymbolicTensor
        Those among the arguments.
    index : int
        The how-manieth symbolic call of its layer this is.
    number : int
        Rises from call to call, in any graph.
    """

    def __init__(self, layer: Any, args: tuple, kwargs: dict, outputs: Any):
        self.layer = layer
        self.args = args
        self.kwargs = kwargs
        self.outputs = outputs
        self.inputs = [x for x in in_order([args, kwargs]) if isinstance(x, SymbolicTensor)]
        self.index = len(layer.calls)
        self.number = next(_numbers)
        layer.calls.append(self)
        for i, x in enumerate(_present(outputs)):
            x.call, x.index = self, i


def is_symbolic(nest: Any) -> bool:
    """Whether a symbolic tensor stands anywhere in `nest`."""
    if isinstance(nest, (Tensor, np.ndarray, bool)):  # the usual: to ask whether it is a Mapping takes long
        return False
    if isinstance(nest, (list, tuple)):
        return any(map(is_symbolic, nest))
    if isinstance(nest, Mapping):
        return any(map(is_symbolic, nest.values()))
    return isinstance(nest, SymbolicTensor)


def shapes_of(nest: Any) -> Any:
    """Return the shape of a tensor or array, or those of a nest, None where there is no array."""
    if isinstance(nest, Tensor):
        return nest.shape
    if isinstance(nest, list | tuple) and not is_numbers(nest):
        return [shapes_of(x) for x in nest]
    if isinstance(nest, dict):
        return {key: shapes_of(x) for key, x in nest.items()}
    return None if nest is None else tuple(np.shape(nest) if not hasattr(nest, "shape") else nest.shape)


def is_numbers(nest: Any) -> bool:
    """Whether a list, however deep, holds nothing but numbers: an array, not a nest of arrays."""
    is_list = isinstance(nest, list | tuple) and len(nest) > 0
    return is_list and all(isinstance(x, int | float | np.generic) for x in leaves(nest))


def in_order(nest: Any) -> list:
    """Return what stands in a nest, in dictionaries in the order of their keys, as in Keras."""
    if isinstance(nest, Mapping):
        return [x for key in sorted(nest) for x in in_order(nest[key])]
    return [x for item in nest for x in in_order(item)] if isinstance(nest, list | tuple) else [nest]


def _present(nest: Any) -> list:
    return [x for x in in_order(nest) if x is not None]


# --- graphs ----------------------------------------------------------------------------------------------


class Graph:
    """The calls of layers that lead from some symbolic tensors to others.

    Parameters
    ----------
    inputs, outputs : SymbolicTensor, or list or dictionary of them
        What lies behind an input does not matter.

    Attributes
    ----------
    input_nest, output_nest
        As they were given, but for lists of one tensor, which are that tensor.
    inputs, outputs : list of SymbolicTensor
        The tensors in them, see `in_order`.
    calls : list of Call
        In the order in which they were made, and can be run.
    layers : list of Layer
        Those farthest from the outputs first, as in Keras: the order of a model's weights.

    Raises
    ------
    ValueError
        If an input or output is no symbolic tensor, an output depends on something that is no input, or
        two layers have the same name.
    """

    def __init__(self, inputs: Any, outputs: Any):
        self.input_nest, self.output_nest = _checked(inputs, "inputs"), _checked(outputs, "outputs")
        self.inputs, self.outputs = in_order(self.input_nest), in_order(self.output_nest)
        found, met = _search(self.outputs, self.inputs)
        self.layers = self._by_depth(found, met)
        self.calls = sorted(found, key=lambda call: call.number)
        names = [layer.name for layer in self.layers]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"Model: two layers are called {name!r}; give them different names")
        last_use = {x: call for call in self.calls for x in call.inputs if x not in self.outputs}
        self._finished: dict[Call, list[SymbolicTensor]] = {call: [] for call in self.calls}
        for x, call in last_use.items():
            self._finished[call].append(x)

    def _by_depth(self, calls: list[Call], met: list[Any]) -> list[Any]:
        """Sort layers by the longest way to an output, then by the order in which the search met them.

        As in Keras, a call of a layer counts as far away as the layer's calls before it in the way back.
        """
        of_call: dict[Call, int] = {}
        of_layer: dict[Any, int] = {}
        for call in reversed(calls):
            depth = max(of_call.get(call, 0), of_layer.get(call.layer, 0))
            of_layer[call.layer] = depth
            for x in call.inputs:
                of_call[x.call] = max(of_call.get(x.call, 0), depth + 1)
        unused = [x.call.layer for x in self.inputs if x.call.layer not in of_layer]
        return sorted(dict.fromkeys([*unused, *met]), key=lambda layer: -of_layer.get(layer, 0))

    @property
    def is_chain(self) -> bool:
        """Whether every layer is used once, on the result of the one before."""
        pairs = itertools.pairwise(self.calls)
        one_after_another = all(len(b.inputs) == 1 and b.inputs[0].call is a for a, b in pairs)
        return one_after_another and len(self.layers) == len(self.calls)

    def calls_of(self, layer: Any) -> list[Call]:
        """Return those calls of a layer that belong to this graph, in the order in which they were made."""
        return [call for call in layer.calls if call in self._finished]

    def run(self, values: list, apply: Callable | None = None) -> Any:
        """Compute the outputs.

        Parameters
        ----------
        values : list
            Of the inputs, in their order.
        apply : callable, optional
            ``apply(layer, *args, **kwargs)`` in place of ``layer(*args, **kwargs)``.
        """
        known = dict(zip(self.inputs, values, strict=True))
        for call in self.calls:
            if not call.inputs:
                continue
            args = [_filled(x, known) for x in call.args]
            kwargs = {key: _filled(x, known) for key, x in call.kwargs.items()}
            results = apply(call.layer, *args, **kwargs) if apply else call.layer(*args, **kwargs)
            if isinstance(call.outputs, SymbolicTensor) and isinstance(results, Tensor):
                known[call.outputs] = results
            else:
                known.update(zip(_present(call.outputs), _present(results), strict=True))
            for x in self._finished[call]:  # so that the memory of inner results is free again
                del known[x]
        return _filled(self.output_nest, known)


def _filled(nest: Any, known: dict) -> Any:
    """Return a nest with their values in the place of symbolic tensors."""
    if isinstance(nest, list | tuple | Mapping):
        return map_leaves(lambda x: _filled(x, known), nest)
    return known[nest] if isinstance(nest, SymbolicTensor) else nest


def _checked(nest: Any, what: str) -> Any:
    if not list(leaves(nest)):
        raise ValueError(f"Model: {what}: expected at least one, found {nest!r}")
    for x in leaves(nest):
        if not isinstance(x, SymbolicTensor):
            raise ValueError(
                f"Model: {what}: expected what Input() and layers called on it return, found {x!r}"
            )
    return nest[0] if isinstance(nest, list | tuple) and len(nest) == 1 else nest


def _search(outputs: list, inputs: list) -> tuple[list[Call], list[Any]]:
    """Go from the outputs back to the inputs, depth first.

    Returns the calls, each after those it depends on, and the layers in the order in which they were met.
    There is no recursion: a chain may be long.
    """
    calls, met, seen, ends = [], {}, set(), set(inputs)
    todo = [(x, False) for x in reversed(outputs)]
    while todo:
        x, inputs_are_done = todo.pop()
        is_end = x in ends and bool(x.call.inputs)
        if inputs_are_done:
            calls.append(x.call)
        elif x.call not in seen and not is_end:
            if not x.call.inputs and x not in ends:
                known = ", ".join(repr(i.name) for i in inputs)
                raise ValueError(
                    f"Model: the outputs depend on the input {x.name!r} of shape {x.shape}, "
                    f"which is not among the inputs {known}"
                )
            seen.add(x.call)
            met[x.call.layer] = None
            todo += [(x, True), *((y, False) for y in reversed(x.call.inputs))]
    return calls, list(met)
