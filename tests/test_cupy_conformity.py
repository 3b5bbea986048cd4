"""The stand-in offers nothing that CuPy lacks, by name and parameter: this needs CuPy, but no GPU."""

import inspect
import re

import cupy_standin
import pytest
from cupy_standin import arrays, cuda, functions

cupy = pytest.importorskip("cupy", reason="CuPy is not installed", exc_type=ImportError)

NOT_OF_CUPY = {  # what tests ask of the stand-in
    "HostCopyError", "copies", "device_count", "device_properties", "free_bytes", "modules", "no_host_copies",
    "reset",
}  # fmt: skip
OWN_FILES = {"arrays", "device", "functions", "on_cpu"}


def test_every_name_is_one_of_cupy():
    names = {n for n in vars(cupy_standin) if not n.startswith("_")} - NOT_OF_CUPY - OWN_FILES
    names -= {"annotations", "sys", "types"}
    assert not [n for n in names if not hasattr(cupy, n)]


def parameters(of):
    """Return the parameters of a function, or what the documentation of a compiled one says of them."""
    try:
        signature = inspect.signature(of)
    except ValueError:
        inside = re.match(r"[\w.]*\((.*)\)", of.__doc__)[1]
        inside = re.sub(r"\b(?:Py_ssize_t|int|_ndarray_base) (?=\w)", "", inside)
        signature = inspect.signature(eval(f"lambda {inside}: None"))
    return [(p.name, p.kind, p.default) for p in signature.parameters.values() if p.name != "self"]


FUNCTIONS = [
    n for n, x in functions.NAMES.items() if inspect.isfunction(x) and x.__module__.startswith("cupy_")
]


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_functions_have_its_parameters(name):
    if name == "size":  # its documentation is in the language of its compiler
        return
    assert parameters(functions.NAMES[name]) == parameters(getattr(cupy, name))


METHODS = [n for n, x in vars(arrays.ndarray).items() if inspect.isfunction(x) and not n.startswith("_")]


@pytest.mark.parametrize("name", sorted(METHODS))
def test_methods_have_its_parameters(name):
    assert parameters(getattr(arrays.ndarray, name)) == parameters(getattr(cupy.ndarray, name))


def test_arrays_have_nothing_else():
    assert not [
        name
        for name in vars(arrays.ndarray)
        if not hasattr(cupy.ndarray, name) and name not in {"_array", "_memory", "__weakref__"}
    ]


def test_elementwise_functions_have_its_methods():
    for name in functions.UFUNCS.split():
        found = getattr(cupy, name)
        assert isinstance(found, cupy.ufunc)
        assert (found.nin, found.nout) == (functions.NAMES[name].nin, functions.NAMES[name].nout)
        if name in functions.SCATTERS:
            assert found._scatter_op
    for name in ("at", "accumulate", "reduce", "outer"):
        written = re.search(r"\((.*)\)", getattr(cupy.ufunc, name).__doc__)[1]
        ours = str(inspect.signature(getattr(functions.ufunc, name)))
        assert ours == f"({written})"


def test_what_is_the_same_as_numpys_is():
    for name in functions.THE_SAME.split():
        ours, theirs = functions.NAMES[name], getattr(cupy, name)
        assert ours is theirs or callable(ours) or ours == theirs or ours != ours  # nan


@pytest.mark.parametrize("kind", ["Device", "Event", "Graph", "MemoryPool", "Stream"])
def test_objects_of_cuda_have_nothing_else(kind):
    ours, theirs = getattr(cuda, kind), getattr(cupy.cuda, kind)
    for name, x in vars(ours).items():
        if name.startswith("_"):
            continue
        assert hasattr(theirs, name), name
        if inspect.isfunction(x):
            assert parameters(x) == parameters(getattr(theirs, name)), name


def test_cuda_has_nothing_else():
    for place in ("", "driver", "compiler", "memory", "stream", "graph", "runtime"):
        ours = getattr(cuda, place) if place else cuda
        theirs = getattr(cupy.cuda, place) if place else cupy.cuda
        names = {n for n in vars(ours) if not n.startswith("_")}
        names -= {"annotations", "cupy_standin", "time", "types", "weakref", "state", "Any"}
        names -= {"PROPERTIES", "ATTRIBUTES", "pool", "get_default_memory_pool"}
        names -= (
            {"CUDARuntimeError", "CUDADriverError", "CompileException", "OutOfMemoryError"}
            if not place
            else set()
        )
        assert not [n for n in names if not hasattr(theirs, n)], place
        for name in names:
            if isinstance(getattr(ours, name), type) and issubclass(getattr(ours, name), Exception):
                assert getattr(ours, name).__bases__ == getattr(theirs, name).__bases__
    for name in cuda.ATTRIBUTES:
        assert hasattr(cupy.cuda.runtime, f"cudaDevAttr{name}")


def test_kernels_have_nothing_else():
    for ours, theirs in ((cupy_standin.RawKernel, cupy.RawKernel), (cupy_standin.RawModule, cupy.RawModule)):
        assert not [n for n in vars(ours) if n[0] != "_" and not hasattr(theirs, n)]
    for options in ([], ["-DA"]):
        for library in (cupy_standin, cupy):
            with pytest.raises(TypeError, match="options"):
                library.RawModule(code="", options=options)
