"""The recurrent kernels of the GPU against the definition: by value, outputs and every gradient."""

import gc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kernel_cases import CELLS, case, draw_inputs, draw_masks, results

from tinyrnn import backend, ops, recurrent
from tinyrnn.autograd import Tensor, grad, no_grad
from tinyrnn.gradcheck import gradcheck
from tinyrnn.layers import GRU, LSTM
from tinyrnn.recurrent import cells, gpu, persistent, stepwise
from tinyrnn.recurrent.projection import Projection

WAYS = ["persistent", "partly held", "stepwise"]


@pytest.fixture(params=WAYS)
def way(request, monkeypatch):
    """Which of the ways a kernel runs, whatever its size."""
    choose_way(request.param, monkeypatch)
    return request.param


def choose_way(name, monkeypatch):
    if name == "stepwise":
        monkeypatch.setattr(gpu, "fit", lambda *sizes: None)
    elif name == "partly held":  # a pack of the kernel in registers, the others in shared memory
        monkeypatch.setattr(gpu, "fit", lambda g, u, o, kind, most: partly(g, u, kind, most))


def partly(gates, units, kind, most):
    fitted = persistent.fit(gates, units, 0, kind, most)
    lanes = 16 // np.dtype(kind).itemsize
    held = min(lanes, fitted.held)
    more = (fitted.held - held) * fitted.threads * np.dtype(kind).itemsize
    return fitted._replace(held=held, shared=fitted.shared + more)


def on_device(library, x):
    return None if x is None else library.asarray(x)


def compare(library, cell, inputs, mask, rec_mask, reverse, used, tolerance, **more):
    """Run on the device and, as defined, on the host."""
    expected = results("unrolled", cell, inputs, mask, rec_mask, reverse, used, **more)
    there = [library.asarray(x) for x in inputs]
    masks = on_device(library, mask), on_device(library, rec_mask)
    found = results("gpu", cell, there, *masks, reverse, used, **more)
    for of_found, of_expected in zip(found, expected, strict=True):
        for a, b in zip(of_found, of_expected, strict=True):
            assert isinstance(a, library.ndarray)
            assert a.dtype == inputs[0].dtype
            np.testing.assert_allclose(backend.to_host(a), b, rtol=tolerance, atol=tolerance)


@given(case=case, units=st.sampled_from([3, 5]))
def test_kernel_equals_definition(device_library, way, case, units):
    cell = CELLS[case["name"]]()
    inputs = draw_inputs(cell, case["batch"], case["length"], units, case["seed"], case["dtype"])
    masks = draw_masks(case, len(cell.gates), units)
    tolerance = {"float64": 1e-10, "float32": 2e-4}[case["dtype"]]
    compare(device_library, cell, inputs, *masks, case["reverse"], case["used"], tolerance)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["LSTM", "GRU, reset before", "Peephole"])
def test_sizes_beyond_a_tile(device_library, way, name, dtype):
    """More rows and units than a tile has, and depths that its teams go through in several rounds."""
    cell = CELLS[name]()
    inputs = draw_inputs(cell, 35, 3, 37 if way != "stepwise" else 75, 1, dtype)
    inputs[1] = inputs[1] * np.asarray(0.2, dtype)
    mask = np.random.default_rng(2).random((35, 3)) < 0.7
    compare(device_library, cell, inputs, mask, None, True, "all", {"float64": 1e-10, "float32": 5e-4}[dtype])


@pytest.mark.parametrize("with_bias", [False, True])
def test_projection(device_library, way, with_bias):
    """The kernel multiplies the input itself, and returns the gradients of the parts."""
    cell = CELLS["GRU"]()
    _, *others = draw_inputs(cell, 3, 4, 5, 0, "float64")
    rng = np.random.default_rng(3)
    parts = [rng.standard_normal(shape) for shape in ((3, 4, 2), (2, 15), (15,))][: 2 + with_bias]
    projection = Projection(None, None, None if not with_bias else parts[2]).of([None] * len(parts))
    for frozen in ((), (0,)):
        arguments = None, None, False, "all", 1e-10
        compare(
            device_library, cell, [*parts, *others], *arguments, projection=projection._replace(
                **dict(zip(("x", "W", "b"), parts, strict=False))), frozen=frozen,
        )  # fmt: skip
