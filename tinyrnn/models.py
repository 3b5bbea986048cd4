"""Models: layers in a row (`Sequential`), in a graph (``Model(inputs, outputs)``), or as a class says."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from tinyrnn import ops
from tinyrnn.autograd import Tensor
from tinyrnn.backend import placed, to_host, verify
from tinyrnn.interop.onnx import export_onnx
from tinyrnn.layers.base import (
    Layer,
    copied,
    count_call,
    get_layer,
    is_shape,
    layers_inside,
    map_shapes,
    stateful_layers,
)
from tinyrnn.layers.embedding import Embedding
from tinyrnn.layers.graph import Graph, SymbolicTensor, in_order, shapes_of
from tinyrnn.layers.input import Input, InputLayer
from tinyrnn.naming import custom_object_scope, nearest, serialize
from tinyrnn.nest import leaves, map_leaves
from tinyrnn.resuming import progress_of
from tinyrnn.saving.configs import describe, readable, revive
from tinyrnn.saving.graphs import graph_from_config, graph_to_config
from tinyrnn.saving.model_files import load_model, load_weights, reading, save_model, save_weights
from tinyrnn.summary import print_summary
from tinyrnn.training import Trainer

__all__ = ["Functional", "Model", "Sequential", "clone_model", "load_model", "model_from_json", "save_model"]


# --- models -----------------------------------------------------------------------------------------------


class Model(Trainer, Layer):
    """Layers that are trained together; itself a layer, for other models to contain.

    There are two ways to make one. From what `Input` and layers called on it return::

        words = Input((None,), dtype="int32")
        h = LSTM(64)(Embedding(5000, 32)(words))
        model = Model(words, Dense(1, activation="sigmoid")(h))

    Or as a class of your own that computes with the layers among its attributes, where they may stand in
    lists and dictionaries, too::

        class Tagger(Model):
            def __init__(self):
                super().__init__()
                self.embed = Embedding(5000, 32)
                self.tag = Dense(40)

            def call(self, inputs, training=False):
                return self.tag(self.embed(inputs))

    Parameters
    ----------
    inputs, outputs : SymbolicTensor, or list or dictionary of them, optional
        Where the model begins and ends. An input may also be the result of a layer, in the middle of
        another model. The model takes and returns the same nests of arrays; what is listed as inputs can be
        given as a dictionary by their names, too.
    name : str, optional
    trainable : bool
    dtype : str, optional

    Raises
    ------
    ValueError
        If the outputs cannot be computed from the inputs, or two layers have the same name. At a call: if
        inputs are missing, too many, of another shape or no numbers.

    Notes
    -----
    In a graph ``layer(x, training=True)`` holds whatever the model is called with. (In Keras 3 the model's
    own `training` wins.)
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> Model:
        """Make a `Functional` where a graph is given: the name that Keras has for it."""
        has_graph = args or "inputs" in kwargs or "outputs" in kwargs
        return super().__new__(Functional if cls is Model and has_graph else cls)

    def __init__(self, inputs: Any = None, outputs: Any = None, name: str | None = None, **kwargs: Any):
        super().__init__(name=name, **kwargs)
        self._graph: Graph | None = None
        if inputs is not None or outputs is not None:
            self._graph = _graph_from_inputs(inputs, outputs)
            self._layers = self._graph.layers
            self.built = True
            if not self.trainable:
                self.trainable = False  # and so the layers inside

    # --- what it is made of ---

    @property
    def layers(self) -> list[Layer]:
        """The layers: of a graph in the order of their weights, with its input layers; or the attributes."""
        return list(self._graph.layers) if self._graph else self.sublayers

    def get_layer(self, name: str | None = None, index: int | None = None) -> Layer:
        """Return the layer of a name, or at a place in `layers`.

        Raises
        ------
        ValueError
            If there is none, with the nearest name there is; if both or none of the arguments are given.
        """
        if (name is None) == (index is None):
            raise ValueError(f"{self.name}.get_layer: give a name or an index")
        layers = self.layers
        if name is None:
            if not -len(layers) <= index < len(layers):
                raise ValueError(f"{self.name}: no layer at index {index}; there are {len(layers)}")
            return layers[index]
        found = {layer.name: layer for layer in layers}
        if name not in found:
            raise ValueError(f"{self.name}: no layer {name!r}{nearest(name, found)}")
        return found[name]

    def summary(
        self,
        line_length: int | None = None,
        positions: list[float] | None = None,
        print_fn: Callable[[str], Any] | None = None,
        expand_nested: bool = False,
        show_trainable: bool = False,
        layer_range: tuple[str, str] | None = None,
    ) -> None:
        """Print a table of the layers; for the arguments see `tinyrnn.summary.print_summary`."""
        print_summary(self, line_length, positions, print_fn, expand_nested, show_trainable, layer_range)

    def children(self) -> Iterator[tuple[str, Any]]:
        """Yield what may hold layers, by the names it has in files: of a row or a graph ``layers`` first."""
        if "_layers" in vars(self):
            yield "layers", self.layers
        yield from (child for child in super().children() if child[0] != "_layers")

    # --- files ---

    def save(self, filepath: str | os.PathLike, overwrite: bool = True, zipped: bool | None = None) -> None:
        """Write the model to a file that `tinyrnn.load_model` and Keras 3 open.

        It holds the layers, the weights, how the model was compiled, the optimizer's state, and where the
        random numbers of dropout and shuffling stand, so that training goes on from it as if it had not
        stopped. The states of stateful layers are not in it (see `get_states`). The file is there whole or
        not at all.

        Parameters
        ----------
        filepath : str or path
            Ends in ``.keras``.
        overwrite : bool
            Replace a file that is there.
        zipped : bool, optional
            Accepted; the file is a zip archive.

        Raises
        ------
        ValueError
            For another ending, or before the model is built.
        FileExistsError
            If there is a file that may not be replaced.
        OSError
            If it cannot be written; a file that was there is as it was.
        """
        save_model(self, filepath, overwrite, zipped)

    def save_weights(self, filepath: str | os.PathLike, overwrite: bool = True) -> None:
        """Write the weights and the optimizer's state to a file ``.weights.h5``; errors as for `save`."""
        save_weights(self, filepath, overwrite)

    def load_weights(
        self, filepath: str | os.PathLike, skip_mismatch: bool = False, by_name: bool = False
    ) -> None:
        """Read weights, and the optimizer's state if the model is compiled and the file has it.

        Parameters
        ----------
        filepath : str or path
            ``.weights.h5`` or ``.keras``, of tinyrnn or Keras, or an ``.h5`` of Keras 2.
        skip_mismatch : bool
            Leave layers as they are, with a warning, for which the file has other arrays or none.
        by_name : bool
            Of an ``.h5`` take the layers by their names and not by their order.

        Raises
        ------
        ModelFileError
            If the file is damaged or does not fit; all weights are then as they were.
        OSError
            If it cannot be read.
        """
        load_weights(self, filepath, skip_mismatch, by_name)

    def save_progress(self, filepath: str | os.PathLike, epoch: int, batch: int) -> None:
        """Write, in the middle of fit, weights and all that the next step depends on.

        Parameters
        ----------
        filepath : str or path
            Ends in ``.weights.h5``; `load_weights` reads it too.
        epoch, batch : int
            What comes next, counted from 0.
        """
        save_weights(self, filepath, progress=progress_of(self, epoch, batch))

    def load_progress(self, filepath: str | os.PathLike) -> None:
        """Let the fit that begins go on from what `save_progress` wrote; errors as for `load_weights`."""
        self.resume_from = load_weights(self, filepath)

    def to_json(self, **kwargs: Any) -> str:
        """Return the model without its weights as JSON, which `model_from_json` and Keras 3 read.

        Arguments are those of `json.dumps`.
        """
        return json.dumps(describe(self), **kwargs)

    def export(self, filepath: str | os.PathLike, format: str = "onnx", **options: Any) -> None:
        """Write the model for another program to run; `options` are those of `tinyrnn.interop.export_onnx`.

        Raises
        ------
        ValueError
            For another format than ``"onnx"``, or a model that it has no words for; names the layer.
        """
        if format != "onnx":
            raise ValueError(f"{self.name}.export: unknown format {format!r}; known is 'onnx'")
        export_onnx(self, filepath, **options)

    # --- where it begins and ends ---

    def _ends(self, what: str) -> tuple[Any, Any]:
        """Return the symbolic inputs and outputs, each in the nest that was given."""
        if self._graph is None:
            raise AttributeError(f"{self.name} has no {what}: it is not made of symbolic tensors")
        return self._graph.input_nest, self._graph.output_nest

    @property
    def input(self) -> Any:
        """The symbolic input, or a nest of them."""
        return self._ends("input")[0]

    @property
    def output(self) -> Any:
        """The symbolic output, or a nest of them: where another model may go on."""
        return self._ends("output")[1]

    @property
    def inputs(self) -> list[SymbolicTensor]:
        """The symbolic inputs."""
        return in_order(self._ends("inputs")[0])

    @property
    def outputs(self) -> list[SymbolicTensor]:
        """The symbolic outputs."""
        return in_order(self._ends("outputs")[1])

    @property
    def input_shape(self) -> Any:
        """The shape of the input; a list if there are several."""
        return _one_or_all([x.shape for x in in_order(self._ends("input_shape")[0])])

    @property
    def output_shape(self) -> Any:
        """The shape of the output; a list if there are several."""
        return _one_or_all([x.shape for x in in_order(self._ends("output_shape")[1])])

    @property
    def input_names(self) -> list[str] | None:
        """The inputs' names in order: the keys of a dictionary, or their layers'; None for a plain model."""
        ends = getattr(self, "input", None)
        return None if ends is None else _names(ends)

    @property
    def output_names(self) -> list[str] | None:
        """The outputs' names in order: the keys of a dictionary, or their layers'; None for a plain model."""
        ends = getattr(self, "output", None)
        return None if ends is None else _names(ends)

    # --- shapes ---

    def build(self, input_shape: Any) -> None:
        """Make the weights of the layers inside for inputs of this shape, by trying them out on zeros."""
        if self._graph is not None:
            return
        self.compute_output_shape(input_shape)
        if is_shape(input_shape) and input_shape[0] is None:
            for layer in layers_inside(self):  # the batch of the trial says nothing
                layer.build_shape = map_shapes(lambda s: (None, *s[1:]), layer.build_shape)

    def _ensure_built(self, input_shape: Any) -> None:
        if type(self).build is Model.build and not self.built:
            self.built, self.build_shape = True, input_shape  # the layers inside, as they are called
        super()._ensure_built(input_shape)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the shape of the output for that of the input; None where any length will do."""
        inputs = map_shapes(lambda s: SymbolicTensor(s, self.dtype), input_shape)
        return shapes_of(self.symbolic_outputs(inputs, (), {}))

    def symbolic_outputs(self, inputs: Any, args: tuple, kwargs: dict) -> Any:
        """Return what a call would for symbolic arguments, but leave no `Call`."""
        count_call(self)
        if self._graph is not None:
            values = self._in_order(inputs)
            for declared, x in zip(self._graph.inputs, values, strict=True):
                self._check_shape(declared, x.shape)
            return self._graph.run(values, _symbolically)
        if type(self).compute_output_shape is not Model.compute_output_shape:
            return super().symbolic_outputs(inputs, args, kwargs)
        return self._try_out(inputs, args, kwargs)

    # --- the call ---

    def call(self, inputs: Any, mask: Any = None) -> Any:
        """Compute the outputs; a subclass without a graph says how, see `Layer.call`."""
        if self._graph is None:
            raise TypeError(f"{type(self).__name__} does not define call(inputs)")
        values = self._accept(inputs, mask)
        for declared, x in zip(self._graph.inputs, values, strict=True):
            self._check_shape(declared, x.shape)
        return self._graph.run(values)

    def _as_tensor(self, x: Any) -> Any:
        """Take inputs as they are where the model says what they should be: `_accept` converts them."""
        if x is None or isinstance(x, Tensor) or not hasattr(self, "input"):
            return super()._as_tensor(x)
        return Tensor(x)

    def _mask_out(self, inputs: Any, outputs: Any, mask: Any) -> None:
        """Leave the masks as the layers inside have attached them."""

    def _accept(self, inputs: Any, mask: Any) -> list[Tensor]:
        """Return the inputs in order, of the types that were declared and with their masks."""
        declared, _ = self._ends("inputs")
        if mask is None and isinstance(inputs, Tensor) and isinstance(declared, SymbolicTensor):
            return [_as_declared(self.name, declared, inputs, None)]
        given = self._in_order(inputs)
        masks = [None] * len(given) if mask is None else self._in_order(mask)
        values = zip(in_order(declared), given, masks, strict=True)
        return [_as_declared(self.name, *value) for value in values]

    def _in_order(self, given: Any) -> list:
        """Return what is given for every input: one thing, a list, or a dictionary by name."""
        if isinstance(given, Tensor) and isinstance(self.input, SymbolicTensor):
            return [given]
        names = self.input_names
        if isinstance(given, Mapping):
            for name in names:
                if name not in given:
                    raise ValueError(
                        f"{self.name}: input {name!r} is missing, found {', '.join(map(repr, given))}"
                    )
            given = [given[name] for name in names]
        elif isinstance(self.input, Mapping):
            raise ValueError(
                f"{self.name}: expected a dictionary of the inputs {', '.join(names)}, "
                f"found a {type(given).__name__}"
            )
        found = in_order(given)
        if len(found) != len(names):
            raise ValueError(
                f"{self.name}: expected {len(names)} inputs, {', '.join(names)}; found {len(found)}"
            )
        return found

    def _check_shape(self, declared: SymbolicTensor, shape: tuple) -> None:
        if len(shape) != len(declared.shape):
            raise _wrong_shape(self.name, declared, shape)
        for n, m in zip(declared.shape[1:], shape[1:], strict=True):
            if n != m and n is not None and m is not None:
                raise _wrong_shape(self.name, declared, shape)

    # --- the states of recurrent layers ---

    def reset_states(self) -> None:
        """Let the next batch start from zeros in every stateful layer."""
        self.set_states([None] * len(stateful_layers(self)))

    def get_states(self) -> list:
        """Return the states that the next batch will start from.

        Returns
        -------
        list
            For every stateful layer, in the order of the layers, a list of arrays ``(batch, units)``, or
            None before its first batch. The arrays are NumPy's, and copies.
        """
        return [_fetched(layer.states) for layer in stateful_layers(self)]

    def set_states(self, states: list) -> None:
        """Let the next batch start from these states, in the form in which `get_states` returns them.

        Raises
        ------
        ValueError
            If there are not as many entries as stateful layers. (Their shapes are compared when the layer
            uses them.)
        """
        layers = stateful_layers(self)
        if len(states) != len(layers):
            names = ", ".join(layer.name for layer in layers) or "(there are none)"
            raise ValueError(
                f"{self.name}.set_states: expected {len(layers)} entries, for the stateful layers {names}; "
                f"found {len(states)}"
            )
        for layer, state in zip(layers, states, strict=True):
            layer.states = map_leaves(placed, copied(state))

    # --- copies ---

    def clone(self, **changes: Any) -> Model:
        """Return a model with the same layers, all of them new, with weights of their own."""
        has_layers = self._graph is not None or isinstance(self, Sequential)
        return self._of_copies(_clone, **changes) if has_layers else super().clone(**changes)

    def _of_copies(self, copy: Callable[[Layer], Layer], **changes: Any) -> Model:
        """Return a model like this one of what `copy` makes of each layer; input layers are cloned."""
        if self._graph is None:
            raise ValueError(f"{self.name}: a model as a class copies its layers itself; no clone_function")
        copies = {layer: _copied_by(copy, layer) for layer in self.layers}
        inputs = [copies[x.call.layer].output for x in self._graph.inputs]
        outputs = self._graph.run(inputs, lambda layer, *args, **kwargs: copies[layer](*args, **kwargs))
        inputs = map_leaves(lambda x: copies[x.call.layer].output, self._graph.input_nest)
        settings = {"name": self.name, "trainable": self.trainable, "dtype": self.dtype}
        return type(self)(inputs, outputs, **(settings | changes))

    def get_config(self) -> dict[str, Any]:
        """Return what `from_config` needs to make this model again, without its weights.

        A graph is written as Keras does: ``layers``, each with its ``inbound_nodes``, the arguments of its
        calls, in which a tensor is ``[layer, number of the call, number of the result]``.
        """
        return super().get_config() if self._graph is None else graph_to_config(self)

    @classmethod
    def from_config(cls, config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None) -> Model:
        """Make a model of what `get_config` returned.

        Parameters
        ----------
        config : dict
        custom_objects : dict, optional
            Classes by the names they have in `config`; classes of layers that are defined are known.

        Raises
        ------
        ValueError
            For an unknown class of layer, or a graph with parts missing.
        """
        config = readable(config)
        with custom_object_scope(custom_objects):
            return cls(**(graph_from_config(config) if "input_layers" in config else config))


class Functional(Model):
    """What ``Model(inputs, outputs)`` returns."""


def clone_model(model: Model, clone_function: Callable[[Layer], Layer] | None = None) -> Model:
    """Return a model with the same layers, all of them new, with weights of their own.

    Parameters
    ----------
    model : Model
    clone_function : callable, optional
        Called with each layer of a Sequential or functional model but its inputs; what it returns takes the
        layer's place. A layer itself may be returned, and is then shared.
    """
    return model.clone() if clone_function is None else model._of_copies(clone_function)


def _clone(layer: Layer) -> Layer:
    return layer.clone()


def _copied_by(copy: Callable[[Layer], Layer], layer: Layer) -> Layer:
    return _clone(layer) if isinstance(layer, InputLayer) else copy(layer)


def model_from_json(json_string: str, custom_objects: Mapping[str, Any] | None = None) -> Model:
    """Make a model, with new weights, of what `Model.to_json` returned, here or in Keras 3.

    Raises
    ------
    ModelFileError
        If it is no model, or has a layer or a setting that tinyrnn does not.
    """
    with reading("model_from_json"):
        return revive(json.loads(json_string), custom_objects)


# --- models in a row --------------------------------------------------------------------------------------


class Sequential(Model):
    """Layers in a row, each computing with the result of the one before.

    With an `Input` at the beginning (or a first layer with ``input_shape=``) the weights are made as layers
    are added; without, by the first call.

    Parameters
    ----------
    layers : list of Layer, optional
    trainable : bool
    name : str, optional

    Raises
    ------
    ValueError
        If something in the list is no layer, two have the same name, or an `Input` stands anywhere but at
        the beginning.
    """

    def __init__(
        self,
        layers: list | None = None,
        trainable: bool = True,
        name: str | None = None,
        dtype: str | None = None,
    ):
        super().__init__(name=name, trainable=trainable, dtype=dtype)
        self._layers: list[Layer] = []
        self._results: list[Any] = []  # the symbolic results of the layers, once the input's shape is known
        for layer in layers or ():
            self.add(layer)

    @property
    def layers(self) -> list[Layer]:
        """The layers, without the input layer."""
        return [layer for layer in self._layers if not isinstance(layer, InputLayer)]

    def add(self, layer: Layer) -> None:
        """Put a layer, or an `Input` to begin with, behind the others; after an error nothing has changed."""
        if isinstance(layer, SymbolicTensor) and isinstance(layer.call.layer, InputLayer):
            layer = layer.call.layer
        if not isinstance(layer, Layer):
            raise ValueError(f"{self.name}.add: expected a layer, found {layer!r}")
        if any(layer.name == other.name for other in self._layers):
            raise ValueError(
                f"{self.name}.add: there is a layer {layer.name!r} already; give it another name"
            )
        if isinstance(layer, InputLayer) and self._layers:
            raise ValueError(
                f"{self.name}.add: an Input stands at the beginning; found {self._layers[0]!r} there"
            )
        if not self.trainable:
            layer.trainable = False
        shape = None if self._layers else _declared_shape(layer)
        self._append(self._layers, [layer] if shape is None else [_input_for(layer, shape), layer])

    def _append(self, before: list[Layer], layers: list[Layer]) -> None:
        results = self._results[: len(before)]
        for layer in layers:
            if isinstance(layer, InputLayer):
                results = [layer.output]
            elif results:
                results = [*results, layer(results[-1])]
        self._layers, self._results = [*before, *layers], results
        self.built = len(results) > 1

    def pop(self) -> Layer:
        """Take the last layer away and return it."""
        if not self.layers:
            raise ValueError(f"{self.name}.pop: there are no layers")
        layer = self._layers.pop()
        self._results = self._results[: len(self._layers)]
        self.built = len(self._results) > 1
        return layer

    def _ends(self, what: str) -> tuple[Any, Any]:
        if not self._results:
            raise AttributeError(f"{self.name} has no {what} yet: begin with an Input, call it, or build it")
        return self._results[0], self._results[-1]

    def build(self, input_shape: Any) -> None:
        """Make the weights for inputs of this shape.

        Raises
        ------
        ValueError
            If there are no layers, or the model begins with an input of another shape.
        """
        shape = tuple(input_shape) if isinstance(input_shape, list) else input_shape
        if not self._layers:
            raise ValueError(f"{self.name}: there are no layers; add some")
        if self._results:
            self._check_shape(self.inputs[0], shape)
        elif is_shape(shape):  # otherwise the first layer takes a nest; each is built as it is called
            self._append([], [_input_for(self._layers[0], shape), *self._layers])

    def symbolic_outputs(self, inputs: Any, args: tuple, kwargs: dict) -> Any:
        """Return what a call would for symbolic arguments, but leave no `Call`."""
        count_call(self)
        self._ensure_built(shapes_of(inputs))
        x = self._in_order(inputs)[0] if self._results else inputs
        for layer in self.layers:
            x = layer.symbolic_outputs(x, (), {})
        return x

    def call(self, inputs: Any, mask: Any = None) -> Any:
        """Compute; the tensors carry their masks from layer to layer."""
        x = self._accept(inputs, mask)[0] if self._results else inputs
        for layer in self.layers:
            x = layer(x)
        return x

    def _of_copies(self, copy: Callable[[Layer], Layer], **changes: Any) -> Sequential:
        settings = {"trainable": self.trainable, "name": self.name, "dtype": self.dtype}
        return type(self)([_copied_by(copy, layer) for layer in self._layers], **(settings | changes))

    def get_config(self) -> dict[str, Any]:
        """Return what `from_config` needs to make this model again, without its weights."""
        config = {"name": self.name, "trainable": self.trainable, "dtype": self.dtype}
        config["layers"] = [serialize(layer) for layer in self._layers]
        return config | ({"build_input_shape": self.input_shape} if self._results else {})

    @classmethod
    def from_config(
        cls, config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None
    ) -> Sequential:
        """Make a model of what `get_config` returned; see `Model.from_config`."""
        config = readable(config)
        shape = config.pop("build_input_shape", None)
        with custom_object_scope(custom_objects):
            model = cls(**(config | {"layers": [get_layer(layer) for layer in config["layers"]]}))
            if shape is not None and not model.built:
                model.build(shape)
        return model


def _declared_shape(layer: Layer) -> tuple | None:
    """Return the shape of the input that a first layer itself states."""
    if isinstance(layer, InputLayer):
        return None
    if isinstance(layer, Model) and is_shape(getattr(layer, "input_shape", None)):
        return layer.input_shape
    return layer.batch_input_shape


def _input_for(layer: Layer, shape: tuple) -> InputLayer:
    """Return the input layer in front of a first layer, of the type that it reads."""
    if isinstance(layer, Model) and hasattr(layer, "inputs"):
        dtype = layer.inputs[0].dtype
    else:
        dtype = "int32" if isinstance(layer, Embedding) else layer.dtype
    return InputLayer(batch_shape=shape, dtype=dtype)


# --- helpers ----------------------------------------------------------------------------------------------


def _graph_from_inputs(inputs: Any, outputs: Any) -> Graph:
    """Return a graph that starts at input layers: a model may be cut out of the middle of another."""
    graph = Graph(inputs, outputs)
    starts = [x.call.layer for x in graph.inputs]
    if all(isinstance(layer, InputLayer) for layer in starts):
        return graph
    fresh = {
        x: x if isinstance(x.call.layer, InputLayer) else Input(batch_shape=x.shape, dtype=x.dtype)
        for x in graph.inputs
    }
    return Graph(map_leaves(fresh.get, graph.input_nest), graph.run(list(fresh.values())))


def _fetched(states: Any) -> Any:
    return map_leaves(lambda x: None if x is None else to_host(ops.to_array(x)).copy(), states)


def _symbolically(layer: Layer, inputs: Any, *args: Any, **kwargs: Any) -> Any:
    return layer.symbolic_outputs(inputs, args, kwargs)


def _one_or_all(items: list) -> Any:
    return items[0] if len(items) == 1 else items


def _names(nest: Any) -> list[str]:
    if isinstance(nest, SymbolicTensor):
        return [nest.name]
    if isinstance(nest, Mapping):
        return sorted(nest)
    names = [x.name for x in leaves(nest)]
    earlier = [names[:i].count(name) for i, name in enumerate(names)]
    return [f"{name}_{n}" if n else name for name, n in zip(names, earlier, strict=True)]


def _wrong_shape(owner: str, declared: SymbolicTensor, shape: tuple) -> ValueError:
    return ValueError(f"{owner}: input {declared.name!r}: expected shape {declared.shape}, found {shape}")


def _as_declared(owner: str, declared: SymbolicTensor, x: Any, mask: Any) -> Tensor:
    """Return an input in the type that was declared, under its mask.

    A last axis of length 1 may be missing, or be there where it was not declared.
    """
    if x is None:
        raise ValueError(f"{owner}: input {declared.name!r} is None")
    y = x if x.dtype == declared.dtype else _cast(f"{owner}: input {declared.name!r}", x, declared.dtype)
    n, expected = len(x.shape), len(declared.shape)
    if n == expected - 1 and declared.shape[-1] == 1:
        y = ops.expand_dims(y, axis=-1)
    elif n == expected + 1 and x.shape[-1] == 1:
        y = ops.squeeze(y, axis=-1)
    elif n != expected:
        raise _wrong_shape(owner, declared, x.shape)
    mask = x.mask if mask is None else mask
    if y is x and mask is not x.mask:
        y = Tensor._of(x.data, x.node, x.index)
    if y is not x:
        y.mask = mask
    return y


def _cast(where: str, x: Tensor, dtype: str) -> Tensor:
    if x.dtype.kind not in "fiub":
        raise ValueError(f"{where}: expected numbers, found {x.dtype}")
    if x.dtype.kind == "f" and np.dtype(dtype).kind in "iu":
        error = ValueError(f"{where}: expected {dtype}, found numbers that are not whole")
        verify((x.data == x.data.round()).all(), lambda: error)
    return ops.cast(x, dtype=dtype)
