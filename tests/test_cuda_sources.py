"""Every CUDA source that the package emits compiles for the GPUs it is made for: no warning, no spill."""

import ast
import inspect

import nvrtc
import pytest
from test_cuda_kernels import RULES, make_optimizer

from tinyrnn import activations, fused, losses
from tinyrnn.cuda import clipping, crossentropy, elementwise, random, rows, scatter
from tinyrnn.cuda.module import source
from tinyrnn.optimizers.compiled_gpu import emit
from tinyrnn.optimizers.traced import TracedRule

pytestmark = pytest.mark.skipif(bool(nvrtc.missing()), reason=nvrtc.missing())

ARCHITECTURES = ("sm_80", "sm_90")
FLOATS = ("float32", "float64")


def check(code):
    for arch in ARCHITECTURES:
        cubin, log = nvrtc.compile(code, arch)
        assert cubin
        assert not nvrtc.warnings(log), log
        found = nvrtc.resources(log)
        assert found, log
        for kernel, takes in found.items():
            assert takes["spill_stores"] == 0, (kernel, takes)


@pytest.mark.parametrize("dtype", FLOATS)
def test_written_kernels(dtype):
    check(random._kernel(dtype, "uniform").code)
    check(rows._softmax_kernel(dtype, "softmax").code)
    check(clipping._kernel(dtype, 16, "scale").code)
    for id_type in ("int32", "int64"):
        check(scatter._kernel(dtype, id_type, "add_runs").code)
    for expression, names in elementwise.EXPRESSIONS.values():
        check(elementwise._kernel(expression, names, dtype).code)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("label_type", ["", "int32", "float32"])
def test_crossentropies(label_type, dtype):
    for from_logits in (False, True):
        check(crossentropy._kernel(dtype, label_type, from_logits, "crossentropy").code)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", RULES)
def test_updates(name, dtype):
    for weights in (1, 16) if name in ("Adam", "Nadam") else (3,):
        optimizer = make_optimizer(name)
        slots = [slot for group in optimizer.slots() for slot in group]
        optimizer.build([])
        rule = TracedRule(optimizer, optimizer.coefficients(0.1, 1), slots)
        check(source(dtype, emit(name, rule, slots, weights)))


FUSED = {  # settings
    losses._squared_difference: [()], losses._absolute_difference: [()], losses._relative_difference: [()],
    losses._squared_logarithmic_difference: [()], losses._huber: [(1.0,)], losses._log_cosh: [()],
    losses._poisson: [()], losses._binary_crossentropy: [(False, 0.1), (True, 0.0)], losses._hinge: [()],
    losses._squared_hinge: [()],
}  # fmt: skip


def test_all_fused_losses_are_compiled():
    calls = [node for node in ast.walk(ast.parse(inspect.getsource(losses))) if isinstance(node, ast.Call)]
    found = {ast.unparse(call.args[0]) for call in calls if ast.unparse(call.func) == "row_mean"}
    assert found == {function.__name__ for function in FUSED}


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("function", FUSED, ids=lambda function: function.__name__)
def test_fused_losses(function, dtype):
    for settings in FUSED[function]:
        for of in (None, 1):
            check(fused._row_kernel(function, settings, dtype, of).code)


ACTIVATIONS = {name: f for name, f in vars(activations).items() if hasattr(f, "__wrapped__")}


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name, dtype):
    function = ACTIVATIONS[name].__wrapped__
    settings = {"threshold": (0.3, 0.1)}.get(name)
    if settings is None:
        settings = tuple(p.default for p in list(inspect.signature(function).parameters.values())[1:])
    for of in (None, 0):
        check(fused._element_kernel(function, settings, dtype, of).code)
