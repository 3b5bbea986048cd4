"""`ndarray`: an array of the device, as far as a program can tell.

It holds a NumPy array, and only what CuPy's arrays allow leads to it: what a CuPy array refuses (a NumPy
array beside it, a conversion that nobody asked for) raises the same error here, and whatever makes the host
wait is counted.
"""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from cupy_standin import device

__all__ = ["ndarray", "operate", "poisoned", "unwrap", "wrap"]

SCALARS = (bool, int, float, complex, np.bool_, np.number)


def poisoned(shape: Any, dtype: Any = float, order: str = "C") -> np.ndarray:
    """Return fresh memory as bad as it can be: every byte is 0xFF, which is nan and -1."""
    array = np.empty(shape, dtype, order)
    check_dtype(array.dtype)
    (array.T if order == "F" else array).reshape(-1).view(np.uint8).fill(255)
    return array


def check_dtype(dtype: np.dtype) -> None:
    """Raise for what no device array can hold."""
    if dtype.kind not in "biufc":
        raise ValueError(f"Unsupported dtype {dtype}")


def wrap(x: Any) -> Any:
    """Return `x` with arrays and scalars of NumPy as device arrays; tuples and lists by element."""
    if isinstance(x, np.ndarray | np.generic):
        found = ndarray.__new__(ndarray)
        found._array = np.asarray(x)
        found._memory = device.claim(found._array)
        return found
    if isinstance(x, tuple | list):
        return type(x)(map(wrap, x))
    return x


def unwrap(x: Any) -> Any:
    """Return `x` with device arrays as NumPy arrays, for NumPy's functions; NumPy arrays are refused."""
    if isinstance(x, ndarray):
        return x._array
    if isinstance(x, np.ndarray):
        raise TypeError(f"Unsupported type {type(x)}")  # of the host: never converted silently
    if isinstance(x, tuple | list):
        return type(x)(map(unwrap, x))
    return x


def operate(function: Callable, *args: Any, out: Any = None, **settings: Any) -> Any:
    """Return what NumPy's `function` computes of device arrays, as a device array or a tuple of them."""
    args_, settings_ = unwrap(args), {key: unwrap(x) for key, x in settings.items()}
    if out is not None:
        if not isinstance(out, ndarray):
            raise TypeError(f"out: expected a device array, found {type(out)}")
        into = out._array
        device.issue(lambda: function(*args_, out=into, **settings_), out, *_touched(args))
        return out
    with np.errstate(all="ignore"):
        found = function(*args_, **settings_)
    for x in args:
        if isinstance(x, ndarray) and x._array is found:
            return x
    before = len(device.pieces)
    result = wrap(found)
    if len(device.pieces) > before:  # no view
        device.copies.launches += 1
    return result


def _touched(args: Any) -> list[ndarray]:
    """Return the device arrays among arguments."""
    found = []
    for x in args:
        if isinstance(x, ndarray):
            found.append(x)
        elif isinstance(x, tuple | list):
            found += _touched(x)
    return found


def _takes_over(y: Any) -> bool:
    """Whether a binary operation is left to the right operand."""
    if hasattr(y, "__array_ufunc__"):
        return y.__array_ufunc__ is None
    return getattr(y, "__array_priority__", 0) > ndarray.__array_priority__


def _binary(name: str, reflected: bool = False) -> Callable:
    ufunc = getattr(np, name)

    def method(self, other):
        if isinstance(other, ndarray):
            return operate(ufunc, self, other)
        if _takes_over(other):
            return NotImplemented
        return ufunc(other, self) if reflected else ufunc(self, other)  # which asks both sides

    return method


def _in_place(name: str) -> Callable:
    ufunc = getattr(np, name)
    return lambda self, other: operate(ufunc, self, other, out=self)


def _of_numpy(name: str, parameters: str) -> Callable:
    """Return the method `name` of NumPy's arrays, with CuPy's parameters."""
    signature = inspect.signature(eval(f"lambda {parameters}: None"))
    of_array = getattr(np.ndarray, name)

    def method(self, *args, **settings):
        bound = signature.bind(*args, **settings)
        out = bound.arguments.pop("out", None)
        return operate(of_array, self, *bound.args, out=out, **bound.kwargs)

    method.__name__, method.__signature__ = name, signature
    return method


class Flags:
    """How an array lies in memory."""

    def __init__(self, array: np.ndarray):
        self.c_contiguous, self.f_contiguous = array.flags.c_contiguous, array.flags.f_contiguous
        self.owndata = array.flags.owndata

    def __getitem__(self, name: str) -> bool:
        return getattr(self, name.lower())


class MemoryPointer:
    """Where an array begins."""

    def __init__(self, ptr: int):
        self.ptr = ptr


class ndarray:  # noqa: N801
    """An array of the device.

    ``ndarray(shape, dtype)`` makes one of fresh memory.
    """

    __slots__ = ("__weakref__", "_array", "_memory")
    __array_priority__ = 100
    __hash__ = None

    def __init__(self, shape: Any, dtype: Any = float, memptr: Any = None, strides: Any = None, order="C"):
        if memptr is not None or strides is not None:
            raise NotImplementedError("the stand-in makes arrays of its own memory only")
        self._array = poisoned(shape, dtype, order)
        self._memory = device.claim(self._array)

    # what is known without asking the device
    shape = property(lambda self: self._array.shape)
    dtype = property(lambda self: self._array.dtype)
    ndim = property(lambda self: self._array.ndim)
    size = property(lambda self: self._array.size)
    nbytes = property(lambda self: self._array.nbytes)
    itemsize = property(lambda self: self._array.itemsize)
    strides = property(lambda self: self._array.strides)
    flags = property(lambda self: Flags(self._array))
    data = property(lambda self: MemoryPointer(self._array.ctypes.data))
    T = property(lambda self: wrap(self._array.T))
    mT = property(lambda self: wrap(self._array.mT))  # noqa: N815
    base = property(lambda self: None if self._array.base is None else wrap(device.root(self._array)))

    @property
    def device(self) -> Any:
        """The device on which it lies."""
        from cupy_standin import cuda

        return cuda.Device(0)

    def __len__(self) -> int:
        return len(self._array)

    def __iter__(self):
        if not self.ndim:
            raise TypeError("iteration over a 0-d array")
        return (self[i] for i in range(len(self)))

    # what the host has to wait for
    def get(self, stream: Any = None, order: str = "C", out: Any = None, blocking: bool = True) -> np.ndarray:
        """Return a NumPy array with the values."""
        device.fetch("get")
        if out is None:
            return self._array.copy(order)
        out[...] = self._array
        return out

    def set(self, arr: np.ndarray, stream: Any = None) -> None:
        """Take values of the host, of the same shape and type."""
        if not isinstance(arr, np.ndarray):
            raise TypeError("Only numpy.ndarray can be set to cupy.ndarray")
        if arr.dtype != self.dtype or arr.shape != self.shape:
            raise ValueError(f"set: expected {self.dtype} {self.shape}, found {arr.dtype} {arr.shape}")
        device.send()
        self._array[...] = arr  # at once: nothing waits in a queue here

    def item(self) -> Any:
        """Return the only number as Python's."""
        device.fetch("item")
        return self._array.item()

    def tolist(self) -> Any:
        """Return the numbers as lists."""
        device.fetch("tolist")
        return self._array.tolist()

    def tobytes(self, order: str = "C") -> bytes:
        """Return the bytes."""
        device.fetch("tobytes")
        return self._array.tobytes(order)

    def nonzero(self) -> tuple:
        """Return where it is not zero; the host waits for how many there are."""
        device.fetch("nonzero")
        return operate(np.nonzero, self)

    def __bool__(self) -> bool:
        if self.size > 1:
            raise ValueError(
                "The truth value of an array with more than one element is ambiguous. Use a.any() or a.all()"
            )
        device.fetch("bool")
        return bool(self._array)

    def __int__(self) -> int:
        device.fetch("int")
        return int(self._array)

    def __float__(self) -> float:
        device.fetch("float")
        return float(self._array)

    def __complex__(self) -> complex:
        device.fetch("complex")
        return complex(self._array)

    def __repr__(self) -> str:
        device.fetch("repr")
        return repr(self._array)

    def __str__(self) -> str:
        device.fetch("str")
        return str(self._array)

    def __format__(self, spec: str) -> str:
        device.fetch("format")
        return format(self._array[()], spec)

    def __reduce__(self) -> tuple:
        from cupy_standin import array

        return array, (self.get(),)

    def __array__(self, dtype: Any = None, copy: Any = None):
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. "
            "Please use `.get()` to construct a NumPy array explicitly."
        )

    # NumPy's functions and operators
    def __array_ufunc__(self, ufunc, method, *inputs, **settings):
        import cupy_standin

        found = getattr(cupy_standin, ufunc.__name__, None)
        if method != "__call__" or found is None:
            return NotImplemented
        out = settings.pop("out", ())
        for x in (*inputs, *out):
            if not isinstance(x, (ndarray, np.ndarray, *SCALARS)):
                return NotImplemented
        if ufunc.__name__ in COMPARISONS:
            inputs = [x.item() if isinstance(x, np.ndarray) and not x.ndim else x for x in inputs]
        return found(*inputs, out=out[0] if out else None, **settings)

    def __array_function__(self, func, types, args, settings):
        import cupy_standin

        try:
            found = operator.attrgetter(".".join([*func.__module__.split(".")[1:], func.__name__]))(
                cupy_standin
            )
        except AttributeError:
            return NotImplemented
        if found is func or not all(t in (ndarray, np.ndarray) for t in types):
            return NotImplemented
        return found(*args, **settings)

    def __matmul__(self, other):
        if not isinstance(other, ndarray):
            if _takes_over(other):
                return NotImplemented
            raise TypeError(f"Unsupported type {type(other)}")
        return operate(np.matmul, self, other)

    def __rmatmul__(self, other):
        raise TypeError(f"Unsupported type {type(other)}")

    def __neg__(self):
        return operate(np.negative, self)

    def __pos__(self):
        return self

    def __abs__(self):
        return operate(np.absolute, self)

    def __invert__(self):
        return operate(np.invert, self)

    def __copy__(self):
        return self.copy()

    def __deepcopy__(self, memo):
        return self.copy()

    # --- taking apart
    def __getitem__(self, index):
        index, whole = _index(self, index)
        if whole:
            return operate(lambda a: a[index], self)
        return wrap(self._array[index])

    def __setitem__(self, index, value):
        touched = _touched((self, value, index))
        index, advanced = _index(self, index)
        if isinstance(value, ndarray):
            value = value._array
            value = value.reshape(value.shape[_leading_ones(value.shape) :])
        elif isinstance(value, np.ndarray | list | tuple):
            if advanced:
                device.send()
            elif np.ndim(value) or not isinstance(value, np.ndarray):
                raise ValueError("non-scalar numpy.ndarray cannot be used for fill")
        elif not isinstance(value, SCALARS):
            raise TypeError(f"Unsupported type {type(value)}")
        into = self._array
        device.issue(lambda: operator.setitem(into, index, value), *touched)

    def fill(self, value):
        """Set all elements to a number."""
        into, touched = self._array, _touched((self, value))
        if isinstance(value, ndarray):
            value = value._array
        elif np.ndim(value):
            raise ValueError("non-scalar numpy.ndarray cannot be used for fill")
        device.issue(lambda: operator.setitem(into, ..., value), *touched)

    def take(self, indices, axis=None, out=None):
        """Elements along an axis; indices out of range wrap around."""
        if isinstance(indices, list | np.ndarray):
            device.send()
            indices = np.asarray(indices)
        indices = indices._array if isinstance(indices, ndarray) else indices
        return operate(lambda a, **out: np.take(a, indices, axis=axis, mode="wrap", **out), self, out=out)

    def scatter_add(self, slices, value):
        """Add `value` at indices, which may be repeated."""
        _scatter(np.add, self, slices, value)

    def scatter_max(self, slices, value):
        """Keep the larger of what is there and `value`."""
        _scatter(np.maximum, self, slices, value)

    def scatter_min(self, slices, value):
        """Keep the smaller of what is there and `value`."""
        _scatter(np.minimum, self, slices, value)

    def reshape(self, *shape, order="C", copy=None):
        """Return the elements in another shape."""
        shape = shape[0] if len(shape) == 1 else shape
        return operate(lambda a: np.reshape(a, shape, order=order, copy=copy), self)

    def transpose(self, *axes):
        """Return a view with the axes in another order."""
        return wrap(self._array.transpose(*axes))

    def astype(self, dtype, order="K", casting=None, subok=None, copy=True):
        """Return the elements as another type."""
        check_dtype(np.dtype(dtype))
        return operate(lambda a: a.astype(dtype, order, casting or "unsafe", copy=copy), self)

    def view(self, dtype=None, type=None):
        """Return a view, with the bytes read as another type."""
        return wrap(self._array.view() if dtype is None else self._array.view(dtype))

    def argmax(self, axis=None, out=None, dtype=None, keepdims=False):
        """Return the position of the first maximum."""
        return operate(lambda a, **o: a.argmax(axis, keepdims=keepdims, **o), self, out=out)

    def argmin(self, axis=None, out=None, dtype=None, keepdims=False):
        """Return the position of the first minimum."""
        return operate(lambda a, **o: a.argmin(axis, keepdims=keepdims, **o), self, out=out)

    def repeat(self, repeats, axis=None):
        """Repeat elements, as often as numbers of the host say."""
        if isinstance(repeats, ndarray):
            raise ValueError("cupy.ndaray cannot be specified as `repeats` argument.")
        return operate(lambda a: a.repeat(repeats, axis), self)

    def sort(self, axis=-1, kind=None):
        """Sort in place."""
        into = self._array
        device.issue(lambda: into.sort(axis, kind="stable"), self)

    def argsort(self, axis=-1, kind=None):
        """Return the order of the elements."""
        return operate(lambda a: a.argsort(axis, kind="stable"), self)


COMPARISONS = ("greater", "greater_equal", "less", "less_equal", "equal", "not_equal")

OPERATORS = {
    "add": "add", "sub": "subtract", "mul": "multiply", "truediv": "true_divide", "floordiv": "floor_divide",
    "mod": "remainder", "pow": "power", "lshift": "left_shift", "rshift": "right_shift",
    "and": "bitwise_and", "or": "bitwise_or", "xor": "bitwise_xor",
}  # fmt: skip
for _name, _ufunc in OPERATORS.items():
    setattr(ndarray, f"__{_name}__", _binary(_ufunc))
    setattr(ndarray, f"__r{_name}__", _binary(_ufunc, reflected=True))
    setattr(ndarray, f"__i{_name}__", _in_place(_ufunc))
for _name, _ufunc in zip(("gt", "ge", "lt", "le", "eq", "ne"), COMPARISONS, strict=True):
    setattr(ndarray, f"__{_name}__", _binary(_ufunc))

METHODS = {  # NumPy's, with the parameters of CuPy's
    "all": "axis=None, out=None, keepdims=False",
    "any": "axis=None, out=None, keepdims=False",
    "clip": "min=None, max=None, out=None",
    "copy": "order='C'",
    "cumprod": "axis=None, dtype=None, out=None",
    "cumsum": "axis=None, dtype=None, out=None",
    "diagonal": "offset=0, axis1=0, axis2=1",
    "dot": "b, out=None",
    "flatten": "order='C'",
    "max": "axis=None, out=None, keepdims=False",
    "mean": "axis=None, dtype=None, out=None, keepdims=False",
    "min": "axis=None, out=None, keepdims=False",
    "prod": "axis=None, dtype=None, out=None, keepdims=None",
    "ravel": "order='C'",
    "round": "decimals=0, out=None",
    "searchsorted": "v, side='left', sorter=None",
    "squeeze": "axis=None",
    "std": "axis=None, dtype=None, out=None, ddof=0, keepdims=False",
    "sum": "axis=None, dtype=None, out=None, keepdims=False",
    "swapaxes": "axis1, axis2",
    "trace": "offset=0, axis1=0, axis2=1, dtype=None, out=None",
    "var": "axis=None, dtype=None, out=None, ddof=0, keepdims=False",
}
for _name, _parameters in METHODS.items():
    setattr(ndarray, _name, _of_numpy(_name, _parameters))


# --- indices ----------------------------------------------------------------------------------------------


def _index(of: ndarray, index: Any) -> tuple[tuple, bool]:
    """Return `index` for NumPy, and whether it holds arrays (the result is then no view).

    A mask makes the host wait for how many elements it has; numbers in an array wrap around where NumPy
    would complain.
    """
    parts, found, advanced, axis = index if isinstance(index, tuple) else (index,), [], False, 0
    taken = sum(_axes_of(part) for part in parts)
    for part in parts:
        if isinstance(part, ndarray | np.ndarray | list | tuple | bool | np.bool_):
            advanced = True
            if not isinstance(part, ndarray):
                device.send()
            part = part._array if isinstance(part, ndarray) else np.asarray(part)
            if not part.size and part.dtype.kind == "f":
                part = part.astype(int)
            if part.dtype.kind == "b":
                device.fetch("the number of elements of a mask")
            elif part.dtype.kind in "iu":
                part = part % max(of.shape[axis], 1) if axis < of.ndim else part
            else:
                raise IndexError(
                    f"arrays used as indices must be of integer or boolean type. (actual: {part.dtype})"
                )
            axis += part.ndim if part.dtype.kind == "b" else 1
        elif part is Ellipsis:
            axis += of.ndim - taken
        elif part is not None:
            axis += 1
        found.append(part)
    if not any(part is Ellipsis for part in found):
        found.append(...)  # so that an element is a view of no dimensions, not a number
    return tuple(found), advanced


def _axes_of(part: Any) -> int:
    """How many axes a part of an index uses up."""
    if part is None or part is Ellipsis:
        return 0
    masks = isinstance(part, ndarray | np.ndarray) and part.dtype.kind == "b"
    return part.ndim if masks else 1


def _leading_ones(shape: tuple[int, ...]) -> int:
    return next((i for i, n in enumerate(shape) if n != 1), len(shape))


SCATTERED = ("int32", "float16", "float32", "float64", "uint32", "uint64")


def _scatter(ufunc: np.ufunc, a: ndarray, index: Any, value: Any) -> None:
    touched, into = _touched((a, index, value)), a._array
    index, advanced = _index(a, index)
    if advanced and a.dtype.name not in SCATTERED:
        raise TypeError(f"scatter_{ufunc.__name__} only supports {', '.join(SCATTERED)}, not {a.dtype}")
    value = value._array if isinstance(value, ndarray) else np.asarray(unwrap(value))
    value = value.astype(a.dtype, copy=False)
    device.issue(lambda: ufunc.at(into, index, value), *touched)
