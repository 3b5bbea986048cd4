"""The oracle: the same layer in tinyrnn and in Keras, compared by value.

Most tests need one line::

    compare(lambda layers: layers.Dense(3, activation="tanh"), draw(4, 5))

makes the layer in both libraries, gives both the same random weights, calls both and compares outputs,
masks, shapes, losses, and every gradient: those of the weights, of float inputs and of float arrays among
the arguments of the call (initial states). Keras runs on JAX, whose `vjp` knows nothing of our rules.
"""

import contextlib
import warnings

import jax
import keras
import numpy as np
from keras.src.backend import get_keras_mask, set_keras_mask
from keras.src.backend.common.dtypes import BIT64_TO_BIT32_DTYPE

import tinyrnn.layers
from tinyrnn import ops
from tinyrnn.autograd import Tensor
from tinyrnn.backend import set_floatx
from tinyrnn.layers.base import is_shape
from tinyrnn.nest import leaves, map_leaves

# float64: agreement to many more digits than any wrong formula has. float32: rounding, which sums of some
# hundred terms amplify.
TOLERANCE = {"float64": 1e-9, "float32": 2e-5}

MASKS = ("right", "left", "holes", "empty row", "all")


@contextlib.contextmanager
def float_type(dtype):
    """Both libraries compute in `dtype` inside.

    Left alone, Keras on JAX rounds to float32 in some operations (tanh, var, ...) even of float64 layers.
    """
    set_floatx(dtype)
    keras.config.set_floatx(dtype)
    keras.config.set_dtype_policy(dtype)  # remembered from the first layer made, whatever floatx says later
    narrowed = BIT64_TO_BIT32_DTYPE["float64"]
    BIT64_TO_BIT32_DTYPE["float64"] = dtype
    try:
        yield
    finally:
        BIT64_TO_BIT32_DTYPE["float64"] = narrowed
        set_floatx("float32")
        keras.config.set_floatx("float32")
        keras.config.set_dtype_policy("float32")


def draw(*shape, seed=0):
    """Return normal random numbers."""
    return np.random.default_rng(seed).standard_normal(shape)


def make_mask(kind, batch, time):
    """Return a mask ``(batch, time)`` of one of `MASKS`, True = use; None for None."""
    if kind is None:
        return None
    lengths = 1 + np.arange(batch)[:, None] % time
    steps = np.arange(time)
    mask = {
        "right": steps < lengths,
        "left": steps >= time - lengths,
        "holes": (steps + np.arange(batch)[:, None]) % 3 != 1,
        "empty row": (steps < lengths) & (np.arange(batch)[:, None] != 1),
        "all": np.ones((batch, time), bool),
    }[kind]
    assert mask.shape == (batch, time)
    return mask


def compare(make, inputs, mask=None, *, dtype="float64", **options):
    """Compare the layer that ``make(layers)`` returns for the `layers` of both libraries.

    `options` are those of `compare_layer`. Returns the two layers, ours first.
    """
    with float_type(dtype):
        ours, theirs = make(tinyrnn.layers), make(keras.layers)
        compare_layer(ours, theirs, inputs, mask, **options)
    return ours, theirs


def compare_layer(ours, theirs, inputs, mask=None, *, tolerance=None, shapes=True, seed=0, **call):
    """Compare two layers in everything they compute; both get the same new random weights.

    Parameters
    ----------
    ours, theirs : tinyrnn.layers.Layer, keras.layers.Layer
        Of one float type.
    inputs : array, or list of arrays
        Floats are cast to the layers' type. Integers stay, and have no gradient.
    mask : array of bool, or list of them
        Attached to the inputs, as an earlier layer would do.
    tolerance : float, optional
        Absolute and relative; that of the float type by default.
    shapes : bool
        Compare `compute_output_shape` and a symbolic call, too.
    seed : int
        Of the weights and of the weighting of the outputs.
    **call
        More arguments of the call; arrays may stand anywhere in them.
    """
    tolerance = tolerance or TOLERANCE[ours.dtype]
    inputs, call = map_leaves(lambda x: _as_float(x, ours.dtype), (inputs, call))
    rng = np.random.default_rng(seed)
    if not theirs.built:
        theirs.build(map_leaves(np.shape, inputs))  # compiled: the initializers run fast
    with warnings.catch_warnings(), jax.disable_jit():  # no compiling for every layer and length
        warnings.simplefilter("ignore")  # of masks that are dropped: that they are is compared
        ours(inputs, **call)  # builds
        assert [w.name for w in ours.weights] == [w.name for w in theirs.weights]
        assert [w.shape for w in ours.weights] == [tuple(w.shape) for w in theirs.weights]
        weights = [0.5 * rng.standard_normal(w.shape).astype(ours.dtype) for w in ours.weights]
        ours.set_weights(weights)
        theirs.set_weights(weights)
        found = _run_ours(ours, inputs, mask, call, np.random.default_rng(seed))
        expected = _run_theirs(theirs, inputs, mask, call, np.random.default_rng(seed))
    for what in expected:
        _assert_same(what, found[what], expected[what], tolerance)
    if shapes:
        compare_shapes(ours, theirs, inputs, call, [y.shape for y in found["output"]])


def compare_shapes(ours, theirs, inputs, call, output_shapes):
    """Compare what both layers say of their output's shape, for a batch of any size too."""
    known = map_leaves(np.shape, inputs)
    any_batch = [(None, *shape[1:]) for shape in known] if isinstance(inputs, list) else (None, *known[1:])
    assert _flat_shapes(ours.compute_output_shape(known)) == output_shapes
    expected = _flat_shapes(theirs.compute_output_shape(any_batch))
    assert _flat_shapes(ours.compute_output_shape(any_batch)) == expected
    symbolic = map_leaves(lambda x: tinyrnn.layers.Input(x.shape[1:], dtype=x.dtype.name), inputs)
    results = list(leaves(ours(symbolic, **call)))
    assert [y.shape[1:] for y in results] == [shape[1:] for shape in output_shapes]


# --- one run of either library ----------------------------------------------------------------------------


def _run_ours(layer, inputs, mask, call, rng):
    """Return what is compared, by name: lists of arrays."""
    tensors = []

    def leaf(x):
        if not isinstance(x, np.ndarray) or x.dtype.kind != "f":
            return x
        tensors.append(Tensor(x, requires_grad=True))
        return tensors[-1]

    inputs, call = map_leaves(leaf, (inputs, call))
    _attach(inputs, mask, lambda x, m: setattr(x, "mask", m))
    outputs = list(leaves(layer(inputs, **call)))
    total = sum(ops.sum(y * u) for y, u in zip(outputs, _weighting(outputs, rng), strict=True))
    penalty = sum(layer.losses, Tensor(np.zeros((), layer.dtype)))
    for w in layer.trainable_weights:
        w.grad = None
    if total.requires_grad or penalty.requires_grad:
        (total + penalty).backward()

    def gradient(x):
        return np.zeros_like(x.data) if x.grad is None else x.grad

    return {
        "output": [y.data for y in outputs],
        "mask": [y.mask for y in outputs],
        "loss": [penalty.data],
        "gradient of weight": [gradient(w) for w in layer.trainable_weights],
        "gradient of input": [gradient(x) for x in tensors],
    }


def _run_theirs(layer, inputs, mask, call, rng):
    """Return the same for Keras."""
    if mask is not None and "initial_state" in call:
        call = {**call, "mask": mask}  # beside a single state Keras forgets that of the inputs
    floats = [x for x in leaves((inputs, call)) if isinstance(x, np.ndarray) and x.dtype.kind == "f"]

    def run(weights, floats):
        remaining = iter(floats)

        def leaf(x):
            return next(remaining) if isinstance(x, np.ndarray) and x.dtype.kind == "f" else _as_jax(x)

        arguments, keywords = map_leaves(leaf, (inputs, call))
        _attach(arguments, mask, set_keras_mask)
        mapping = list(zip(layer.trainable_variables, weights, strict=True))
        with keras.StatelessScope(state_mapping=mapping, collect_losses=True):
            outputs = list(leaves(layer(arguments, **keywords)))
            penalty = sum(layer.losses, jax.numpy.zeros((), layer.dtype))
        return (outputs, penalty), [get_keras_mask(y) for y in outputs]

    weights = [v.value for v in layer.trainable_variables]
    (outputs, penalty), pull, masks = jax.vjp(run, weights, list(map(_as_jax, floats)), has_aux=True)
    seeds = [jax.numpy.asarray(u) for u in _weighting(outputs, rng)]
    of_weights, of_inputs = pull((seeds, jax.numpy.ones((), penalty.dtype)))
    return {
        "output": outputs,
        "mask": masks,
        "loss": [penalty],
        "gradient of weight": of_weights,
        "gradient of input": of_inputs,
    }


def _attach(inputs, mask, setter):
    if mask is None:
        return
    pairs = zip(inputs, mask, strict=True) if isinstance(inputs, list) else [(inputs, mask)]
    for x, m in pairs:
        if m is not None:
            setter(x, m)


def _weighting(outputs, rng):
    """Weights that make one number of all outputs, the same for both libraries."""
    return [rng.standard_normal(y.shape).astype(str(y.dtype)) for y in outputs]


def _as_float(x, dtype):
    return x.astype(dtype) if isinstance(x, np.ndarray) and x.dtype.kind == "f" else x


def _as_jax(x):
    return jax.numpy.asarray(x) if isinstance(x, np.ndarray) else x


def _flat_shapes(shapes):
    if is_shape(shapes) or all(n is None or isinstance(n, int) for n in shapes):
        return [tuple(shapes)]
    return [tuple(s) for s in shapes]


def _assert_same(what, found, expected, tolerance):
    assert len(found) == len(expected), what
    for i, (a, b) in enumerate(zip(found, expected, strict=True)):
        assert (a is None) == (b is None), f"{what} {i}: found {a}, Keras has {b}"
        if a is not None:
            a, b = np.asarray(a), np.asarray(b)
            assert a.dtype == b.dtype, f"{what} {i}"
            assert a.shape == b.shape, f"{what} {i}"
            np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance, err_msg=f"{what} {i}")
