"""What every layer has: a name, weights, masks, a first call that builds it."""

from __future__ import annotations

import functools
import inspect
import math
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinyrnn import initializers, regularizers
from tinyrnn.autograd import Tensor, no_grad
from tinyrnn.backend import array_module, floatx, placed
from tinyrnn.layers.graph import Call, SymbolicTensor, is_numbers, is_symbolic, shapes_of
from tinyrnn.layers.variable import Variable
from tinyrnn.lookup import Lookup
from tinyrnn.naming import Configurable, auto_name, lookup, nearest, snake_case, warn_user
from tinyrnn.nest import leaves, map_leaves
from tinyrnn.ops import to_array

__all__ = ["Layer", "get_layer", "warn_old_spelling"]


def warn_old_spelling(old: str, new: str) -> None:
    """Warn that an argument of an older Keras was accepted, and how it is spelled today."""
    warn_user(f"{old} is an old spelling, accepted here; write {new}", FutureWarning)


# --- what holds during a call -----------------------------------------------------------------------------


class _Running:
    """A call that is going on: the outermost begins it, and `training` may change for those inside."""

    __slots__ = ("losses", "training")

    def __init__(self, training: bool, losses: list):
        self.training = training
        self.losses = losses


@dataclass
class _Limits:
    """What a model that a file describes may still take: the file may claim anything."""

    nbytes: int  # of weights
    calls: int = 20_000  # of layers and models on symbols: models within models multiply them
    trial: int = 2**24  # elements of the zeros on which a layer is tried out

    def take(self, what: str, amount: int, message: str) -> None:
        left = getattr(self, what) - amount
        setattr(self, what, left)
        if left < 0:
            raise ValueError(message)


class _State(threading.local):
    running: _Running | None = None
    limits: _Limits | None = None  # while a model is made for a file


_state = _State()


def _once(build: Any) -> Any:
    """Let `build` do nothing for a layer that is built, and note that it is."""

    @functools.wraps(build)
    def build_once(self, input_shape):
        if not self.built:
            build(self, input_shape)
            self._note_built(input_shape)

    return build_once


class Layer(Configurable):
    """Base of all layers, and of a user's own.

    A subclass defines ``build(input_shape)``, which makes its weights with `add_weight`, and
    ``call(inputs)``, which computes. `call` may also take ``training`` and ``mask``; they are handed in.
    For every parameter of its constructor a layer has an attribute of that name (see `Configurable`).

    Parameters
    ----------
    name : str, optional
        Class name in snake case and a number, by default.
    trainable : bool
        Whether its weights are changed by training.
    dtype : str, optional
        Of its weights, and of the float inputs it computes with; `floatx()` by default.
    activity_regularizer : optional
        Adds to the loss a function of the output, divided by the batch size.
    """

    supports_masking = False
    input_ndim: int | None = None  # number of axes an input must have
    min_ndim: int | None = None  # or must at least have
    needs_floats = False  # whether integers among the inputs are made floats
    input_layout = ""  # what the axes are, for the message
    fewer_axes_hint = ""  # what may be the cause if there are fewer

    def __init__(
        self,
        *,
        name: str | None = None,
        trainable: bool = True,
        dtype: str | None = None,
        activity_regularizer: Any = None,
        **old: Any,
    ):
        self.batch_input_shape = self._take_old_shapes(old)
        if old:
            unknown = next(iter(old))
            known = [p for p in self._parameters() if p != "self"]
            raise TypeError(f"{type(self).__name__}: unknown argument {unknown!r}{nearest(unknown, known)}")
        self.name = name or auto_name(snake_case(type(self).__name__))
        self.dtype = np.dtype(dtype).name if dtype else floatx()
        self.activity_regularizer = regularizers.get(activity_regularizer)
        self.built = False
        self.calls: list[Call] = []
        self.build_shape: Any = None  # the shape of the input it was built for
        self.input_size: int | None = None  # the length of the last axis it was built for
        self._trainable = bool(trainable)
        self._own_weights: list[tuple[Variable, bool]] = []
        self._call_losses: list[Tensor] = []
        self._warned_mask = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "build" in vars(cls):
            cls.build = _once(cls.build)
        known = _classes.get(cls.__name__)
        if cls.__name__.startswith("_"):  # not to be named by a file
            return
        if known is None or not known.__module__.startswith("tinyrnn."):  # ours cannot be replaced by name
            _classes[cls.__name__] = cls

    def _take_old_shapes(self, old: dict) -> tuple | None:
        """Take the shape that an older Keras let a first layer state; a Sequential makes an Input of it."""
        if "batch_input_shape" in old:
            warn_old_spelling("batch_input_shape=", "an Input(batch_shape=...) before the layer")
            return tuple(old.pop("batch_input_shape"))
        if "input_shape" in old or "input_dim" in old:
            given = "input_shape" if "input_shape" in old else "input_dim"
            warn_old_spelling(f"{given}=", "an Input(shape=...) before the layer")
            shape = old.pop(given)
            return (old.pop("batch_size", None), *((shape,) if isinstance(shape, int) else shape))
        return None

    @classmethod
    def _parameters(cls) -> dict[str, inspect.Parameter]:
        """Return the constructor's settings: the ``weights=`` that some layers take are values."""
        return {name: p for name, p in super()._parameters().items() if name != "weights"}

    def get_config(self) -> dict[str, Any]:
        """Return what the constructor needs to make this layer again (without its weights)."""
        config = super().get_config()
        return {key: config.pop(key) for key in ("name", "trainable", "dtype") if key in config} | config

    # --- weights ---

    def add_weight(
        self,
        shape: tuple[int, ...] = (),
        initializer: Any = "glorot_uniform",
        name: str = "variable",
        trainable: bool = True,
        regularizer: Any = None,
        constraint: Any = None,
        dtype: str | None = None,
    ) -> Variable:
        """Make a weight of this layer and return it.

        Parameters
        ----------
        shape : tuple of int
        initializer : str, Initializer or callable ``(shape, dtype) -> array``
        name : str
        trainable : bool
        regularizer, constraint : optional
        dtype : str, optional
            The layer's by default.
        """
        shape, dtype = tuple(shape), dtype or self.dtype
        if _state.limits is None:
            values = initializers.get(initializer)(shape, dtype)
        else:
            values = self._room_for(name, shape, dtype)
        variable = Variable(values, name, trainable and self._trainable, regularizer, constraint)
        variable.path = f"{self.name}/{name}"
        self._own_weights.append((variable, trainable))
        return variable

    def _room_for(self, name: str, shape: tuple, dtype: str) -> np.ndarray:
        """Return zeros that values of a file will replace."""
        message = f"{self.name}: {name} of shape {shape} has more values than the file holds"
        _state.limits.take("nbytes", math.prod(shape) * np.dtype(dtype).itemsize, message)
        return np.zeros(shape, dtype)

    def children(self) -> Iterator[tuple[str, Any]]:
        """Yield what may hold layers, by the names it has in files.

        As in Keras: the attributes by alphabet, those with an underscore last. A value is a layer, or a list
        or dictionary in which there may be layers.
        """
        for key in sorted(vars(self), key=lambda key: (key.startswith("_"), key)):
            if key not in _WITHOUT_LAYERS and isinstance(vars(self)[key], Layer | list | tuple | dict):
                yield key, vars(self)[key]

    @property
    def own_weights(self) -> list[Variable]:
        """The weights that belong to no layer inside: trainable ones first, in the order they were made."""
        return [w for w, _ in sorted(self._own_weights, key=lambda pair: not pair[1])]

    @property
    def sublayers(self) -> list[Layer]:
        """The layers among this layer's attributes, in lists, tuples and dictionaries too, each once."""
        found: dict[Layer, None] = {}
        for key, value in vars(self).items():
            if isinstance(value, Layer):
                found[value] = None
            elif isinstance(value, list | tuple | dict) and key not in _WITHOUT_LAYERS:
                found.update(dict.fromkeys([x for x in leaves(value) if isinstance(x, Layer)]))
        found.pop(self, None)
        return list(found)

    @property
    def weights(self) -> list[Variable]:
        """Its own weights, trainable ones first, then those of the layers inside; each once."""
        found = {id(w): w for w in self.own_weights}
        for layer in self.sublayers:
            found.update({id(w): w for w in layer.weights})
        return list(found.values())

    @property
    def trainable_weights(self) -> list[Variable]:
        """The weights that training changes."""
        return [w for w in self.weights if w.trainable]

    @property
    def non_trainable_weights(self) -> list[Variable]:
        """The weights that training leaves alone."""
        return [w for w in self.weights if not w.trainable]

    variables = weights
    trainable_variables = trainable_weights
    non_trainable_variables = non_trainable_weights

    @property
    def trainable(self) -> bool:
        """Whether training changes the weights of this layer and of those inside."""
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self._trainable = bool(value)
        for variable, trainable in self._own_weights:
            variable.trainable = trainable and self._trainable
        for layer in self.sublayers:
            layer.trainable = value

    def get_weights(self) -> list[np.ndarray]:
        """Return copies of the weights' values, in the order of `weights`."""
        return [w.numpy().copy() for w in self.weights]

    def set_weights(self, weights: list) -> None:
        """Overwrite the weights with arrays in the order of `weights`; all or none.

        Raises
        ------
        ValueError
            If their number or a shape differs.
        """
        variables, weights = self.weights, list(weights)
        found = [tuple(w.shape) if hasattr(w, "shape") else np.shape(w) for w in weights]
        if [v.shape for v in variables] != found:
            expected = ", ".join(f"{v.path} {v.shape}" for v in variables) or "none (is it built?)"
            raise ValueError(
                f"{self.name}.set_weights: expected {len(variables)} arrays: {expected}; "
                f"found {len(weights)}: {', '.join(map(str, found))}"
            )
        for variable, value in zip(variables, weights, strict=True):
            variable.assign(value)

    def count_params(self) -> int:
        """Return the number of values in all weights.

        Raises
        ------
        ValueError
            If the layer is not built.
        """
        if not self.built:
            raise ValueError(
                f"{self.name}.count_params: not built yet; call it on data, or build(input_shape)"
            )
        return sum(w.size for w in self.weights)

    # --- losses ---

    def add_loss(self, loss: Any) -> None:
        """Add a scalar tensor to the loss of the model, for this call.

        Raises
        ------
        RuntimeError
            Outside of `call`, where there is no loss to add to.
        """
        if _state.running is None:
            raise RuntimeError(f"{self.name}.add_loss: only inside call(), where a loss is computed")
        _state.running.losses.append(loss)

    @property
    def losses(self) -> list[Tensor]:
        """The regularisation of the weights now, and what the last call added."""
        return penalties(self.trainable_weights) + self._call_losses

    def _regularize_activity(self, outputs: Any) -> None:
        for y in leaves(outputs):
            self.add_loss(self.activity_regularizer(y) / float(y.shape[0]))

    # --- shapes ---

    def build(self, input_shape: Any) -> None:
        """Make the weights for inputs of this shape (a nest of shapes for a nest of inputs)."""

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the shape of the output for that of the input; None where any length will do.

        Layers of this package know; for others the layer is tried out on zeros of two sizes, and an
        axis whose length changes with the input's is None.
        """
        inputs = map_shapes(lambda s: SymbolicTensor(s, self.dtype), input_shape)
        return shapes_of(self._try_out(inputs, (), {}))

    def _try_out(self, inputs: Any, args: tuple, kwargs: dict) -> Any:
        """Return symbolic outputs, of the shapes and types that zeros of two sizes give."""

        def attempt(length):
            def zeros(x):
                if not isinstance(x, SymbolicTensor):
                    return x
                shape = [length if n is None else n for n in x.shape]
                if _state.limits is not None:
                    message = f"{self.name}: an input of {x.shape} is too large to try a file's layer on"
                    _state.limits.take("trial", math.prod(shape), message)
                return Tensor(np.zeros(shape, x.dtype))

            with no_grad():
                return self(*map_leaves(zeros, (inputs, *args)), **map_leaves(zeros, kwargs))

        def merge(y):
            other = next(larger)
            if y is None:
                return None
            lengths = zip(y.shape, other.shape, strict=True)
            return SymbolicTensor(tuple(a if a == b else None for a, b in lengths), y.dtype)

        before = [(layer, copied(layer.states)) for layer in stateful_layers(self)]
        try:
            small, larger = attempt(2), leaves(attempt(3))
        finally:  # a trial is no batch: what it left in the layers inside goes
            for layer in stateful_layers(self):
                layer.states = dict(before).get(layer)
        return map_leaves(merge, small)

    @property
    def input(self) -> Any:
        """The symbolic input of its first call, or a nest of them."""
        return self._first_call("input").args[0]

    @property
    def output(self) -> Any:
        """The symbolic output of its first call, or a nest of them: where another model may end."""
        return self._first_call("output").outputs

    def _first_call(self, what: str) -> Call:
        if not self.calls:
            raise AttributeError(f"{self.name} has no {what}: it was not called on a symbolic tensor")
        return self.calls[0]

    def check_input(self, shape: Any) -> None:
        """Compare the shape of an input with what the layer takes.

        Raises
        ------
        ValueError
            Names the layer, what it expects and what it found.
        """
        if not isinstance(shape, tuple):  # of a nest
            return
        expected, hint = None, ""
        if self.input_ndim is not None and len(shape) != self.input_ndim:
            expected, hint = self.input_ndim, self.fewer_axes_hint if len(shape) < self.input_ndim else ""
        elif self.min_ndim is not None and len(shape) < self.min_ndim:
            expected = f"at least {self.min_ndim}"
        if expected is not None:
            layout = f" {self.input_layout}" if self.input_layout else ""
            raise ValueError(f"{self.name}: expected {expected} axes{layout}, found shape {shape}{hint}")
        if self.built and self.input_size is not None and shape[-1] != self.input_size:
            raise ValueError(
                f"{self.name}: was built for inputs with {self.input_size} features, "
                f"found {shape[-1]} in an input of shape {shape}"
            )

    def _set_input_size(self, input_shape: tuple) -> int:
        """Take down, when building, the length of the last axis, and return it."""
        if input_shape[-1] is None:
            raise ValueError(
                f"{self.name}: the length of the last axis must be known to make the weights, "
                f"found shape {input_shape}"
            )
        self.input_size = int(input_shape[-1])
        return self.input_size

    def _ensure_built(self, input_shape: Any) -> None:
        if not self.built:
            self.build(input_shape)
            self._note_built(input_shape)  # also where a class has nothing to build

    def _note_built(self, input_shape: Any) -> None:
        self.built = True
        self.build_shape = input_shape
        if not self.trainable:
            self.trainable = False  # and so the layers inside

    def _build_inside(self, layer: Layer, input_shape: Any) -> None:
        """Build a layer inside this one; this one's name goes before the paths of its weights."""
        layer._ensure_built(input_shape)
        for w in layer.weights:
            w.path = f"{self.name}/{w.path}"

    # --- masks ---

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """Return the mask of the output for that of the input."""
        return mask

    def _masks_in(self, inputs: Any) -> Any:
        """Return the masks that come with the inputs: one, a list of them for a list of inputs, or None."""
        if isinstance(inputs, (list, tuple)):
            masks = [placed(getattr(x, "mask", None)) for x in inputs]
            return masks if any(m is not None for m in masks) else None
        mask = getattr(inputs, "mask", None)
        return None if mask is None else placed(mask)

    def _mask_out(self, inputs: Any, outputs: Any, mask: Any) -> None:
        """Attach the mask of the output to it."""
        if mask is not None and not self.supports_masking:
            if not self._warned_mask:
                self._warned_mask = True
                warn_user(
                    f"{self.name}: a {type(self).__name__} does not pass a mask on; what follows sees "
                    "every step of its output as valid"
                )
            mask = None
        elif self.supports_masking:
            mask = self.compute_mask(inputs, mask)
        if isinstance(outputs, Tensor) and not isinstance(mask, (list, tuple)):
            outputs.mask = mask
            return
        flat = [y for y in leaves(outputs) if isinstance(y, Tensor)]
        masks = list(mask) if isinstance(mask, list | tuple) else [mask]
        for y, m in zip(flat, masks + [None] * (len(flat) - len(masks)), strict=False):
            y.mask = m

    # --- the call ---

    def __call__(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Compute the output, building the layer first if need be.

        Parameters
        ----------
        inputs : Tensor, array, SymbolicTensor, or a nest of them
        training : bool, optional
            For the layers inside too; False unless said.
        mask : array of bool, optional
            That of the inputs by default.
        """
        if (args or kwargs) and any(map(is_symbolic, (*args, *kwargs.values()))):
            return self._call_symbolically(inputs, args, kwargs)
        if isinstance(inputs, Tensor):  # most often, and within a model nearly always
            inputs = self._as_tensor(inputs)
            shape = inputs.shape
        elif is_symbolic(inputs):
            return self._call_symbolically(inputs, args, kwargs)
        else:
            inputs = self._as_tensors(inputs)
            shape = shapes_of(inputs)
        self.check_input(shape)
        if not self.built:
            with _building:
                self._ensure_built(shape)
        outer, training = _state.running, kwargs.pop("training", None)
        if outer is None:
            _state.running = _Running(bool(training), [])
        elif training is not None:
            _state.running = _Running(bool(training), outer.losses)
        try:
            outputs = self._call(inputs, args, kwargs)
            if outer is None:
                self._call_losses = _state.running.losses
                outputs = _computed(outputs)
        finally:
            _state.running = outer
        return outputs

    def _call(self, inputs: Any, args: tuple, kwargs: dict) -> Any:
        """Run `call` with tensors; hand it the training mode and the mask if it takes them."""
        accepted = call_parameters(type(self))
        if "training" in accepted:
            kwargs["training"] = _state.running.training
        mask = kwargs.pop("mask", None)
        if mask is None:
            mask = self._masks_in(inputs)
        else:
            mask = _as_mask(mask) if is_numbers(mask) else map_leaves(_as_mask, mask)
        if "mask" in accepted:
            kwargs["mask"] = mask
        outputs = _set_apart(self.call(inputs, *args, **kwargs), inputs)
        self._mask_out(inputs, outputs, mask)
        if self.activity_regularizer is not None:
            self._regularize_activity(outputs)
        return outputs

    def call(self, inputs: Any) -> Any:
        """Compute the output; a subclass says how. May also take ``training`` and ``mask``."""
        raise TypeError(f"{type(self).__name__} does not define call(inputs)")

    def _as_tensors(self, inputs: Any) -> Any:
        if isinstance(inputs, np.ndarray) or is_numbers(inputs):
            return self._as_tensor(inputs)
        return map_leaves(self._as_tensor, inputs)

    def _as_tensor(self, x: Any) -> Any:
        tensor = x
        if not isinstance(x, Tensor):
            if x is None or isinstance(x, bool):
                return x
            if isinstance(x, Layer | str):
                raise TypeError(f"{self.name}: expected a tensor or an array to be called on, found {x!r}")
            tensor = Tensor(x)
        dtype = tensor.dtype
        if dtype != self.dtype and (self.needs_floats or dtype.kind == "f"):
            mask = tensor.mask
            tensor = tensor.astype(self.dtype)
            tensor.mask = mask
        return tensor

    def _call_symbolically(self, inputs: Any, args: tuple, kwargs: dict) -> Any:
        outputs = self.symbolic_outputs(inputs, args, kwargs)
        Call(self, (inputs, *args), kwargs, outputs)
        return outputs

    def symbolic_outputs(self, inputs: Any, args: tuple, kwargs: dict) -> Any:
        """Return what a call would for symbolic arguments, but leave no `Call`; builds the layer."""
        count_call(self)
        shape = shapes_of(inputs)
        self.check_input(shape)
        self._ensure_built(shape)
        if type(self).compute_output_shape is Layer.compute_output_shape:
            return self._try_out(inputs, args, kwargs)
        output_shape = self._output_shape_of_call(shape, kwargs)
        return map_shapes(lambda s: SymbolicTensor(s, self._output_dtype(inputs)), output_shape)

    def _output_shape_of_call(self, input_shape: Any, kwargs: dict) -> Any:
        """Return the shape of the output where it depends on more than the input's."""
        return self.compute_output_shape(input_shape)

    def _output_dtype(self, inputs: Any) -> str:
        return self.dtype

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}, built={self.built}>"


# Attributes of a layer that hold many things, but no layers of its own.
_WITHOUT_LAYERS = ("calls", "build_shape", "_call_losses", "_own_weights", "_to_train")

_building = threading.RLock()  # two threads may call a new layer at once: one builds, the other waits

# --- helpers ----------------------------------------------------------------------------------------------

_classes: dict[str, type[Layer]] = {}


def get_layer(layer: Any) -> Layer:
    """Return a layer; make it of ``{"class_name", "config"}``, as a configuration holds it.

    Every class of layers is known by its name, a user's own too, once it has been defined.

    Raises
    ------
    ValueError
        For an unknown class, with the nearest known one.
    TypeError
        For something that is no layer.
    """
    made = lookup("layer", layer, _classes) if isinstance(layer, Mapping) else layer
    if not isinstance(made, Layer):
        raise TypeError(f"expected a layer, found {layer!r}")
    return made


@contextmanager
def limited_by_file(nbytes: int) -> Iterator[None]:
    """Make what a file describes inside a ``with``: weights are zeros, for the file's numbers to replace.

    Parameters
    ----------
    nbytes : int
        How much all weights may take.

    Raises
    ------
    ValueError
        As soon as they take more, layers are called on symbols too often, or are tried out on too large an
        input: whatever a file claims.
    """
    before, _state.limits = _state.limits, _Limits(nbytes)
    try:
        yield
    finally:
        _state.limits = before


def count_call(owner: Layer) -> None:
    """Take down that a layer is called on symbols, while a model is made for a file."""
    if _state.limits is not None:
        _state.limits.take("calls", 1, f"{owner.name}: the layers of the file are called too often")


def layers_inside(layer: Layer) -> list[Layer]:
    """Return all layers inside one, and those inside them."""
    found = {}
    for inner in layer.sublayers:
        found |= dict.fromkeys([inner, *layers_inside(inner)])
    return list(found)


def stateful_layers(layer: Layer) -> list[Layer]:
    """Return the outermost layers inside one that keep states from batch to batch."""
    found = {}
    for inner in layer.sublayers:
        keeps = getattr(inner, "stateful", False) and hasattr(inner, "states")
        found |= dict.fromkeys([inner] if keeps else stateful_layers(inner))
    return list(found)


def penalties(weights: Iterable[Variable]) -> list[Tensor]:
    """Return the regularization of those of `weights` that have one."""
    return [w.regularizer(w) for w in weights if w.regularizer is not None]


def copied(states: Any) -> Any:
    """Return copies of the arrays in a nest of states."""
    return map_leaves(lambda x: None if x is None else to_array(x).copy(), states)


def positive_int(owner: Layer, argument: str, value: Any) -> int:
    """Return `value` if it is an integer from 1 on.

    Raises
    ------
    ValueError
        Names the layer's class, the argument and what was found.
    """
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < 1:
        raise ValueError(
            f"{type(owner).__name__}: {argument}: expected an integer from 1 on, found {value!r}"
        )
    return int(value)


def _computed(outputs: Any) -> Any:
    """Return `outputs` with rows looked up now: a user may change the table before looking at them."""
    if isinstance(outputs, Tensor):
        return outputs.computed() if isinstance(outputs, Lookup) else outputs
    return map_leaves(_computed, outputs) if isinstance(outputs, (list, tuple, Mapping)) else outputs


def _set_apart(outputs: Any, inputs: Any) -> Any:
    """Return `outputs` with every tensor that is an input replaced by another of the same history.

    The mask of the output is attached to it, and an input must keep its own.
    """
    if isinstance(inputs, Tensor) and isinstance(outputs, Tensor):
        return Tensor._of(outputs.data, outputs.node, outputs.index) if outputs is inputs else outputs
    given = {id(x) for x in leaves(inputs) if isinstance(x, Tensor)}
    if not any(id(y) in given for y in leaves(outputs)):
        return outputs
    return map_leaves(lambda y: Tensor._of(y.data, y.node, y.index) if id(y) in given else y, outputs)


_parameters_of_call: dict[type, frozenset[str]] = {}


def call_parameters(cls: type) -> frozenset[str]:
    """Return the names of the parameters of a layer class's `call`."""
    if cls not in _parameters_of_call:
        _parameters_of_call[cls] = frozenset(inspect.signature(cls.call).parameters)
    return _parameters_of_call[cls]


def _as_mask(mask: Any) -> Any:
    if mask is None:
        return None
    mask = mask.data if isinstance(mask, Tensor) else mask
    return placed(array_module(mask).asarray(mask)).astype(bool)


def is_shape(x: Any) -> bool:
    """Whether this is one shape, a tuple of lengths or None, and not a nest of shapes."""
    return isinstance(x, tuple) and all(n is None or isinstance(n, int | np.integer) for n in x)


def map_shapes(function: Any, shapes: Any) -> Any:
    """Apply `function` to every shape of a nest of shapes (a tuple of lengths is a shape)."""
    if shapes is None:
        return None
    if is_shape(shapes):
        return function(shapes)
    if isinstance(shapes, dict):
        return {key: map_shapes(function, s) for key, s in shapes.items()}
    return type(shapes)(map_shapes(function, s) for s in shapes)
