"""The functions of CuPy's namespace: NumPy's, with CuPy's parameters and nothing that CuPy lacks."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from cupy_standin import device
from cupy_standin.arrays import check_dtype, ndarray, operate, unwrap, wrap

# --- making arrays ----------------------------------------------------------------------------------------


def array(obj, dtype=None, copy=True, order="K", subok=False, ndmin=0, *, blocking=False):
    """Return a new device array: a copy of one, of one of the host, of numbers or of device arrays."""
    if isinstance(obj, ndarray):
        return operate(lambda a: np.array(a, dtype, copy=copy or None, order=order, ndmin=ndmin), obj)
    if _holds_device_arrays(obj):
        return operate(lambda a: np.array(a, dtype, ndmin=ndmin), obj)
    device.send()
    found = np.array(obj, dtype, order=order, ndmin=ndmin)
    check_dtype(found.dtype)
    return wrap(found)


def _holds_device_arrays(obj: Any) -> bool:
    if isinstance(obj, tuple | list):
        return any(isinstance(x, ndarray) or _holds_device_arrays(x) for x in obj)
    return False


def asarray(a, dtype=None, order=None, *, copy=None, blocking=False):
    """Return `a` as a device array, itself if it is one of that type."""
    return array(a, dtype, copy=bool(copy), order=order or "K")


def asanyarray(a, dtype=None, order=None, *, copy=None, blocking=False):
    """Return `a` as a device array."""
    return asarray(a, dtype, order, copy=copy)


def ascontiguousarray(a, dtype=None):
    """Return `a` without gaps, itself if it has none."""
    if not isinstance(a, ndarray):
        return array(a, dtype, order="C")
    return operate(lambda a: a if _fits(a, dtype) else np.array(a, dtype, order="C", ndmin=1), a)


def _fits(a: np.ndarray, dtype: Any) -> bool:
    return a.flags.c_contiguous and a.ndim > 0 and (dtype is None or a.dtype == np.dtype(dtype))


def asnumpy(a, stream=None, order="C", out=None, *, blocking=True):
    """Return `a` as a NumPy array."""
    return a.get(stream, order, out, blocking) if isinstance(a, ndarray) else np.asarray(a, order=order)


def empty(shape, dtype=float, order="C"):
    """Return fresh memory."""
    return ndarray(shape, dtype, order=order)


def empty_like(prototype, dtype=None, order="K", subok=None, shape=None):
    """Return fresh memory for an array like `prototype`."""
    like = np.empty_like(unwrap(prototype), dtype, order, shape=shape)
    return empty(like.shape, like.dtype, "C" if like.flags.c_contiguous else "F")


def full(shape, fill_value, dtype=None, order="C"):
    """Return an array full of one number."""
    if dtype is None:
        dtype = fill_value.dtype if isinstance(fill_value, ndarray) else np.array(fill_value).dtype
    found = empty(shape, dtype, order)
    found.fill(fill_value)
    return found


def full_like(a, fill_value, dtype=None, order="K", subok=None, shape=None):
    """Return an array like `a`, full of one number."""
    found = empty_like(a, dtype, order, shape=shape)
    found.fill(fill_value)
    return found


def zeros(shape, dtype=float, order="C"):
    """Return zeros."""
    return full(shape, 0, dtype, order)


def zeros_like(a, dtype=None, order="K", subok=None, shape=None):
    """Return zeros like `a`."""
    return full_like(a, 0, dtype, order, shape=shape)


def ones(shape, dtype=float, order="C"):
    """Return ones."""
    return full(shape, 1, dtype, order)


def ones_like(a, dtype=None, order="K", subok=None, shape=None):
    """Return ones like `a`."""
    return full_like(a, 1, dtype, order, shape=shape)


# --- told apart -------------------------------------------------------------------------------------------


def copyto(dst, src, casting="same_kind", where=None):
    """Copy values into an array."""
    if isinstance(src, np.ndarray):
        if src.size != 1:
            raise ValueError("non-scalar numpy.ndarray cannot be used for copyto")
        src = src.reshape(())[()]
    touched = [x for x in (dst, src, where) if isinstance(x, ndarray)]
    dst, src, where = dst._array, unwrap(src), True if where is None else unwrap(where)
    device.issue(lambda: np.copyto(dst, src, casting, where=where), *touched)


def where(condition, x=None, y=None):
    """Return `x` where `condition` holds, `y` elsewhere."""
    if x is None and y is None:
        return nonzero(condition)
    if not isinstance(condition, ndarray | np.bool_):
        raise TypeError(f"where: expected a device array as condition, found {type(condition)}")
    return operate(np.where, condition, x, y)


def nonzero(a):
    """Return where `a` is not zero; the host waits for how many there are."""
    return a.nonzero()


def take(a, indices, axis=None, out=None):
    """Return elements along an axis."""
    return a.take(indices, axis, out)


def take_along_axis(a, indices, axis):
    """Return elements along an axis, by indices that go along with the others; they wrap around."""
    if axis is None:
        a, axis = a.ravel(), 0
    length = a.shape[axis]
    return operate(lambda a, i: np.take_along_axis(a, i % length, axis), a, indices)


def put_along_axis(arr, indices, values, axis):
    """Set elements along an axis."""
    length = arr.shape[axis]
    touched = [x for x in (arr, indices, values) if isinstance(x, ndarray)]
    arr, indices, values = arr._array, unwrap(indices) % length, unwrap(values)
    device.issue(lambda: np.put_along_axis(arr, indices, values, axis), *touched)


def repeat(a, repeats, axis=None):
    """Repeat elements."""
    return a.repeat(repeats, axis)


def sort(a, axis=-1, kind=None):
    """Return the elements in order."""
    return operate(lambda a: np.sort(a, axis, kind="stable"), a)


def argsort(a, axis=-1, kind=None):
    """Return the order of the elements."""
    return a.argsort(axis, kind)


def argmax(a, axis=None, dtype=None, out=None, keepdims=False):
    """Return the position of the first maximum."""
    return a.argmax(axis, out, dtype, keepdims)


def argmin(a, axis=None, dtype=None, out=None, keepdims=False):
    """Return the position of the first minimum."""
    return a.argmin(axis, out, dtype, keepdims)


def reshape(a, newshape, order="C", *, copy=None):
    """Return the elements in another shape."""
    return a.reshape(newshape, order=order, copy=copy)


def astype(x, dtype, /, *, copy=True):
    """Return the elements as another type."""
    return x.astype(dtype, copy=copy)


def broadcast_to(array, shape):
    """Return a view in which elements are repeated."""
    return operate(np.broadcast_to, array, shape=shape)


def matmul(*args, axes=None, axis=None, keepdims=False, casting="same_kind", dtype=None, signature=None,
           order="K", out=None):  # fmt: skip
    """Return the matrix product."""
    return operate(np.matmul, *args, out=out)


def size(a, axis=None):
    """Return the number of elements."""
    return np.size(unwrap(a), axis)


def shape(a):
    """Return the shape."""
    return a.shape


def ndim(a):
    """Return the number of axes."""
    return a.ndim


def result_type(*arrays_and_dtypes):
    """Return the type that operations on all of these have."""
    return np.result_type(*map(unwrap, arrays_and_dtypes))


def isscalar(element):
    """Return whether it is a number."""
    return np.isscalar(element)


def iscomplexobj(x):
    """Return whether its type is complex."""
    return np.iscomplexobj(unwrap(x))


def may_share_memory(a, b, max_work=None):
    """Return whether two arrays may overlap."""
    return np.may_share_memory(unwrap(a), unwrap(b))


def shares_memory(a, b, max_work=None):
    """Return whether two arrays overlap."""
    return np.shares_memory(unwrap(a), unwrap(b))


def get_array_module(*args):
    """Return the module that arrays belong to."""
    import cupy_standin

    return cupy_standin if any(isinstance(x, ndarray) for x in args) else np


# --- NumPy's functions, with CuPy's parameters ------------------------------------------------------------

AS_IN_NUMPY = """
all(a, axis=None, out=None, keepdims=False)
allclose(a, b, rtol=1e-05, atol=1e-08, equal_nan=False)
amax(a, axis=None, out=None, keepdims=False)
amin(a, axis=None, out=None, keepdims=False)
any(a, axis=None, out=None, keepdims=False)
append(arr, values, axis=None)
argpartition(a, kth, axis=-1)
argwhere(a)
around(a, decimals=0, out=None)
array_equal(a1, a2, equal_nan=False)
array_split(ary, indices_or_sections, axis=0)
atleast_1d(*arys)
atleast_2d(*arys)
average(a, axis=None, weights=None, returned=False, *, keepdims=False)
bincount(x, weights=None, minlength=None)
broadcast_arrays(*args)
clip(a, a_min, a_max, out=None)
column_stack(tup)
concatenate(tup, axis=0, out=None, *, dtype=None, casting='same_kind')
copy(a, order='K')
count_nonzero(a, axis=None)
cumprod(a, axis=None, dtype=None, out=None)
cumsum(a, axis=None, dtype=None, out=None)
diag(v, k=0)
diagonal(a, offset=0, axis1=0, axis2=1)
diff(a, n=1, axis=-1, prepend=None, append=None)
dot(a, b, out=None)
einsum(*operands, **kwargs)
expand_dims(a, axis)
flatnonzero(a)
flip(a, axis=None)
hstack(tup, *, dtype=None, casting='same_kind')
inner(a, b)
isclose(a, b, rtol=1e-05, atol=1e-08, equal_nan=False)
isin(element, test_elements, assume_unique=False, invert=False)
max(a, axis=None, out=None, keepdims=False)
mean(a, axis=None, dtype=None, out=None, keepdims=False)
median(a, axis=None, out=None, overwrite_input=False, keepdims=False)
min(a, axis=None, out=None, keepdims=False)
moveaxis(a, source, destination)
nan_to_num(x, copy=True, nan=0.0, posinf=None, neginf=None)
nanmax(a, axis=None, out=None, keepdims=False)
nanmin(a, axis=None, out=None, keepdims=False)
nansum(a, axis=None, dtype=None, out=None, keepdims=False)
outer(a, b, out=None)
pad(array, pad_width, mode='constant', **kwargs)
partition(a, kth, axis=-1)
prod(a, axis=None, dtype=None, out=None, keepdims=False)
ravel(a, order='C')
roll(a, shift, axis=None)
round(a, decimals=0, out=None)
searchsorted(a, v, side='left', sorter=None)
split(ary, indices_or_sections, axis=0)
squeeze(a, axis=None)
stack(tup, axis=0, out=None, *, dtype=None, casting='same_kind')
std(a, axis=None, dtype=None, out=None, ddof=0, keepdims=False)
sum(a, axis=None, dtype=None, out=None, keepdims=False)
swapaxes(a, axis1, axis2)
tensordot(a, b, axes=2)
tile(A, reps)
trace(a, offset=0, axis1=0, axis2=1, dtype=None, out=None)
transpose(a, axes=None)
trapezoid(y, x=None, dx=1.0, axis=-1)
tril(m, k=0)
triu(m, k=0)
unique(ar, return_index=False, return_inverse=False, return_counts=False, axis=None, *, equal_nan=True)
var(a, axis=None, dtype=None, out=None, ddof=0, keepdims=False)
vdot(a, b)
vstack(tup, *, dtype=None, casting='same_kind')
arange(start, stop=None, step=1, dtype=None)
eye(N, M=None, k=0, dtype=float, order='C')
identity(n, dtype=float)
indices(dimensions, dtype=int)
linspace(start, stop, num=50, endpoint=True, retstep=False, dtype=None, axis=0)
tri(N, M=None, k=0, dtype=float)
"""

WAITS = ("argwhere", "average", "bincount", "flatnonzero", "isin", "unique")
"""Functions for whose result the host waits."""

ARRAYS = ("a", "a1", "a2", "ar", "array", "arr", "ary", "b", "element", "m", "v", "x", "y")
"""Parameters that take no list of numbers."""


def _of_numpy(line: str) -> Callable:
    name, parameters = line.rstrip(")").split("(", 1)
    signature, of_numpy = inspect.signature(eval(f"lambda {parameters}: None")), getattr(np, name)

    def function(*args, **settings):
        bound = signature.bind(*args, **settings)
        for parameter, x in bound.arguments.items():
            if isinstance(x, list | tuple) and parameter in ARRAYS:
                raise TypeError(f"{name}: expected a device array for {parameter}, found {type(x)}")
        if name in WAITS:
            device.fetch(name)
        out = bound.arguments.pop("out", None)
        return operate(of_numpy, *bound.args, out=out, **bound.kwargs)

    function.__name__, function.__signature__ = name, signature
    return function


# --- elementwise functions --------------------------------------------------------------------------------

UFUNCS = """
abs absolute add arccos arcsin arctan arctan2 arctanh bitwise_and bitwise_not bitwise_or bitwise_xor cbrt ceil
copysign cos cosh divide equal exp exp2 expm1 fabs float_power floor floor_divide fmax fmin fmod greater
greater_equal hypot invert isfinite isinf isnan left_shift less less_equal log log10 log1p log2 logaddexp
logaddexp2 logical_and logical_not logical_or logical_xor maximum minimum mod multiply negative not_equal
positive power reciprocal remainder right_shift rint sign signbit sin sinh sqrt square subtract tan tanh
true_divide trunc
"""

SCATTERS = {"add": "scatter_add", "maximum": "scatter_max", "minimum": "scatter_min"}


class ufunc:  # noqa: N801
    """An elementwise function: NumPy's, with the methods that CuPy has for it."""

    def __init__(self, of_numpy: np.ufunc, name: str):
        self._of_numpy, self.name, self.__name__ = of_numpy, f"cupy_{name}", name
        self.nin, self.nout, self.nargs = of_numpy.nin, of_numpy.nout, of_numpy.nargs

    def __repr__(self) -> str:
        return f"<ufunc '{self.name}'>"

    def __call__(self, *args, out=None, dtype=None, casting="same_kind", where=None):
        if len(args) == self.nargs:
            *args, out = args
        if isinstance(out, tuple):
            (out,) = out
        settings = {} if where is None else {"where": where}
        if where is not None and out is None:
            out = empty(np.broadcast_shapes(*map(np.shape, unwrap(args))), self._result_type(args, dtype))
        if not any(isinstance(x, ndarray) for x in (*args, out)):  # of numbers it makes an array, too
            return wrap(self._of_numpy(*unwrap(tuple(args)), dtype=dtype))
        return operate(self._of_numpy, *args, out=out, dtype=dtype, casting=casting, **settings)

    def _result_type(self, args, dtype):
        types = [x.dtype if isinstance(x, ndarray) else type(x) for x in args]
        return self._of_numpy.resolve_dtypes((*types, None), signature=dtype)[-1]

    def at(self, a, indices, b=None):
        """Apply it in place at indices, which may be repeated."""
        if self.__name__ not in SCATTERS:
            raise NotImplementedError(f"`{self.name}.at` is not supported yet")
        getattr(a, SCATTERS[self.__name__])(indices, b)

    def reduce(self, array, axis=0, dtype=None, out=None, keepdims=False):
        """Apply it along an axis."""
        return self._method("reduce", "sum", "prod")(array, axis, dtype, out, keepdims)

    def accumulate(self, array, axis=0, dtype=None, out=None):
        """Apply it along an axis, keeping all results."""
        return self._method("accumulate", "cumsum", "cumprod")(array, axis, dtype, out)

    def _method(self, name: str, of_add: str, of_multiply: str) -> Callable:
        found = {"add": of_add, "multiply": of_multiply}.get(self.__name__)
        if found is None:
            raise NotImplementedError(f"`{self.name}.{name}` is not supported yet")
        return getattr(ndarray, found)

    def outer(self, A, B, **kwargs):
        """Apply it to all pairs."""
        return self(A.reshape(A.shape + (1,) * B.ndim), B, **kwargs)


def _erf(x, out=None):
    """The error function, of `cupyx.scipy.special`."""
    return operate(lambda a: np.asarray(np.frompyfunc(math.erf, 1, 1)(a), a.dtype), x)


# --- the same things as NumPy's ---------------------------------------------------------------------------

THE_SAME = """
bool_ dtype e finfo float16 float32 float64 iinfo inf int16 int32 int64 int8 intp issubdtype nan newaxis pi
promote_types uint16 uint32 uint64 uint8 can_cast bool broadcast_shapes complex64 complex128 floating integer
number generic
"""

NAMES = {
    name: x for name, x in globals().items() if getattr(x, "__module__", "") == __name__ and name[0] != "_"
}
NAMES |= {line.split("(")[0]: _of_numpy(line) for line in AS_IN_NUMPY.strip().splitlines()}
NAMES |= {name: ufunc(getattr(np, name), name) for name in UFUNCS.split()}
NAMES |= {name: getattr(np, name) for name in THE_SAME.split()}
"""What `cupy_standin` offers, by name; not in this file's own names, where `any` and `sum` are Python's."""
