"""Operations, gradients and the array kernel on the device: the numbers of the host, and nothing fetched."""

import contextlib
from functools import partial

import numpy as np
import pytest
from kernel_cases import CELLS, draw_inputs, draw_masks, results

from tinyrnn import activations, backend, ops
from tinyrnn.autograd import Tensor, grad
from tinyrnn.gradcheck import gradcheck

rng = np.random.default_rng(0)


def real(*shape):
    """Numbers away from the kinks at 0 and at 1."""
    return rng.uniform(0.2, 0.9, shape) * rng.choice([-1.0, 1.0], shape)


A, B = real(2, 3), real(2, 3)
ROW, COLUMN, CUBE, POSITIVE = real(3), real(2, 1), real(2, 3, 4), np.abs(real(2, 3))
IDS = np.array([[1, 0], [1, -1]])
CHOSEN = np.array([[True, False, True], [False, False, True]])

OPERATIONS = {  # by name: what is tried, each a function of arrays and the arrays; integers carry no gradient
    "add": [(ops.add, A, ROW), (lambda a: 1.5 + a, A)],
    "subtract": [(ops.subtract, A, COLUMN), (lambda a: 1.5 - a, A)],
    "multiply": [(ops.multiply, A, ROW), (lambda a: a * a * np.float64(2), A)],
    "divide": [(ops.divide, A, ROW), (lambda a: 1.0 / a, A)],
    "negative": [(ops.negative, A)],
    "power": [(lambda a: a**3, A), (lambda a: a**0.5, POSITIVE), (lambda a: 2.0**a, A)],
    **{name: [(getattr(ops, name), A)] for name in (
        "exp", "expm1", "square", "abs", "sign", "sin", "cos", "erf", "tanh", "sigmoid", "relu", "softplus",
    )},
    **{name: [(getattr(ops, name), POSITIVE)] for name in ("log", "log1p", "sqrt")},
    "maximum": [(ops.maximum, A, B), (lambda a: ops.maximum(a, 0.0), A)],
    "minimum": [(ops.minimum, A, ROW)],
    "where": [(ops.where, CHOSEN, A, ROW), (lambda c, a: ops.where(c, a, 0.0), CHOSEN, A)],
    "clip": [(lambda a: ops.clip(a, low=-0.5, high=0.5), A)],
    **{name: [(getattr(ops, name), A, B), (getattr(ops, name), IDS, IDS.T)] for name in (
        "greater", "greater_equal", "less", "less_equal", "equal", "not_equal",
    )},
    "argmax": [(ops.argmax, A), (lambda a: ops.argmax(a, axis=0), A)],
    "one_hot": [(lambda ids: ops.one_hot(ids, depth=3), IDS)],
    **{name: [
        (getattr(ops, name), A),
        (partial(getattr(ops, name), axis=(0, 2), keepdims=True), CUBE),
        (partial(getattr(ops, name), axis=-1), CUBE),
    ] for name in ("sum", "mean", "var", "max", "min", "norm")},
    "cumsum": [(lambda a: ops.cumsum(a, axis=1), CUBE)],
    **{name: [(getattr(ops, name), A), (partial(getattr(ops, name), axis=1), CUBE)] for name in (
        "logsumexp", "softmax", "log_softmax",
    )},
    "matmul": [
        (ops.matmul, A, real(3, 4)), (ops.matmul, A, ROW), (ops.matmul, ROW, real(3, 4)),
        (ops.matmul, ROW, ROW), (ops.matmul, CUBE, real(4, 2)), (ops.matmul, CUBE, real(2, 4, 3)),
        (lambda a, b: a @ b, A, real(3, 4)),
    ],
    "affine": [(ops.affine, A, real(3, 4), real(4)), (ops.affine, CUBE, real(4, 2), real(2))],
    "reshape": [(lambda a: ops.reshape(a, shape=(4, -1)), CUBE)],
    "transpose": [(ops.transpose, A), (lambda a: ops.transpose(a, axes=(2, 0, 1)), CUBE)],
    "swapaxes": [(lambda a: ops.swapaxes(a, axis1=0, axis2=-1), CUBE)],
    "expand_dims": [(lambda a: ops.expand_dims(a, axis=1), A)],
    "squeeze": [(lambda a: ops.squeeze(a, axis=1), COLUMN)],
    "broadcast_to": [(lambda a: ops.broadcast_to(a, shape=(4, 2, 3)), A)],
    "flip": [(lambda a: ops.flip(a, axis=1), CUBE)],
    "getitem": [
        (lambda a: ops.getitem(a, index=(0, slice(None, None, -1))), CUBE),
        (lambda a: ops.getitem(a, index=(..., None, 1)), CUBE),
        (lambda a, ids: ops.getitem(a, index=(ids, slice(1, 3))), CUBE, IDS),
        (lambda a, ids: ops.getitem(a, index=(slice(None), ids, ids)), CUBE, IDS),
    ],
    "put": [
        (lambda a: ops.put(a, index=(slice(None), 1), shape=(2, 4, 3)), A),
        (lambda a, ids: ops.put(a, index=ids, shape=(2, 3)), real(2, 2, 3), IDS),
    ],
    "take": [(ops.take, A, IDS)],
    "scatter_add": [(lambda a, ids: ops.scatter_add(a, ids, length=4), real(2, 2, 3), IDS)],
    "concatenate": [(lambda a, b: ops.concatenate([a, b], axis=0), A, real(4, 3))],
    "stack": [(lambda a, b: ops.stack([a, b], axis=1), A, B)],
    "unstack": [(lambda a: ops.unstack(a, axis=1)[::2], CUBE)],
    "cast": [(lambda a: ops.cast(a * a, dtype="float32"), A)],
    "stop_gradient": [(lambda a: a * ops.stop_gradient(a), A)],
    "to_array": [(ops.to_array, A)],
}  # fmt: skip

ACTIVATIONS = {name: activations.get(name) for name in activations.__all__ if name != "get"}
ACTIVATIONS["threshold"] = lambda x: activations.threshold(x, 0.1, -0.5)


def nothing_fetched(library):
    """A context in which the stand-in raises when something is fetched; CuPy does not tell."""
    return getattr(library, "no_host_copies", contextlib.nullcontext)()


def results_of(function, arrays):
    """Return what `function` gives of arrays and of tensors, and its gradients of first and second order."""
    plain = function(*arrays)
    tensors = [Tensor(x, requires_grad=x.dtype.kind == "f") for x in arrays]
    leaves = [x for x in tensors if x.node is not None]
    outputs = function(*(x if x.node is not None else x.data for x in tensors))
    found = [*_as_list(plain), *map(ops.to_array, _as_list(outputs))]
    total = sum(ops.sum(ops.cast(y, dtype="float64") * (k + 2.0)) for k, y in enumerate(_as_list(outputs)))
    for _ in range(2):
        if not isinstance(total, Tensor) or total.node is None:
            break
        gradients = grad(total, leaves, create_graph=True)
        found += [g.data for g in gradients]
        total = sum(ops.sum(g * ops.tanh(x) * g) for g, x in zip(gradients, leaves, strict=True))
    return found


def _as_list(x):
    return list(x) if isinstance(x, tuple | list) else [x]


def assert_same_on_device(library, function, arrays):
    expected = results_of(function, arrays)
    there = [library.asarray(x) for x in arrays]
    with nothing_fetched(library):
        found = results_of(function, there)
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert isinstance(a, library.ndarray)
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        # CuPy's functions are within a few units in the last place of NumPy's
        tolerance = 1e-6 if b.dtype == np.float32 else 1e-12
        np.testing.assert_allclose(backend.to_host(a), b, rtol=tolerance, atol=tolerance)


def test_no_operation_is_forgotten():
    assert set(OPERATIONS) == set(ops.__all__)


@pytest.mark.parametrize("name", OPERATIONS)
def test_operation(device_library, name):
    for function, *arrays in OPERATIONS[name]:
        assert_same_on_device(device_library, function, arrays)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation(device_library, name):
    for x in (CUBE, 3 * CUBE.astype("float32")):
        assert_same_on_device(device_library, ACTIVATIONS[name], [x])


def test_gradcheck_takes_arrays_of_the_device(device_library):
    x = device_library.asarray(A)
    gradcheck(lambda x: ops.tanh(x @ x.T), [x])
    gradcheck(lambda x: ops.sum(x * 0.0 + 1.0) * 2.0, [x])  # constant
    with pytest.raises(AssertionError, match="gradient of order 1"):
        gradcheck(lambda x: x * ops.stop_gradient(x), [x])


def test_gradients_accumulate_on_the_device(device_library):
    x = Tensor(device_library.asarray(A), requires_grad=True)
    with nothing_fetched(device_library):
        for _ in range(2):
            ops.mean(x * x).backward()
    np.testing.assert_allclose(backend.to_host(x.grad), 4 * A / A.size)
    unused, y = Tensor(device_library.asarray(B), requires_grad=True), ops.sum(x * 3.0, axis=0)
    with nothing_fetched(device_library):
        seeded, zeros = grad(y, [x, unused], seeds=device_library.asarray(ROW))
    np.testing.assert_allclose(backend.to_host(seeded.data), np.broadcast_to(3 * ROW, A.shape))
    assert isinstance(zeros.data, device_library.ndarray)
    assert not backend.to_host(zeros.data).any()


def test_mixed_arrays_are_an_error(device_library):
    x = device_library.asarray(A)
    for mixed in (
        lambda: ops.maximum(x, B),
        lambda: ops.where(CHOSEN, x, x),
        lambda: ops.concatenate([x, B]),
        lambda: ops.scatter_add(x, np.array([0, 1]), length=2),
    ):
        with pytest.raises(TypeError, match="arrays of the host and of the device"):
            mixed()
    for mixed in (
        lambda: x + Tensor(B),
        lambda: Tensor(B) * x,
        lambda: ops.matmul(x, B.T),
        lambda: ops.add(B, x),
    ):
        with pytest.raises(TypeError):
            mixed()


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("masked", [None, "random"])
def test_array_kernel(device_library, name, masked):
    cell = CELLS[name]()
    case = {"batch": 3, "length": 4, "seed": 1, "dtype": "float64", "masked": masked, "dropped": bool(masked)}
    inputs = draw_inputs(cell, 3, 4, 5, 1, "float64")
    mask, rec_mask = draw_masks(case, len(cell.gates), 5)
    expected = results("array", cell, inputs, mask, rec_mask, True, "all")
    there = [device_library.asarray(x) for x in inputs]
    masks = [None if m is None else device_library.asarray(m) for m in (mask, rec_mask)]
    with nothing_fetched(device_library):
        found = results("array", cell, there, *masks, True, "all")
    for of_found, of_expected in zip(found, expected, strict=True):
        for a, b in zip(of_found, of_expected, strict=True):
            np.testing.assert_allclose(backend.to_host(a), b, rtol=1e-11, atol=1e-12)


def test_gradcheck_moves_what_is_on_the_host(device_library):
    backend.set_device("gpu")
    try:
        gradcheck(lambda x: ops.tanh(x @ x.T), [A])
    finally:
        backend.set_device("cpu")
