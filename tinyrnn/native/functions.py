"""The functions of cells, in arithmetic that vectorises."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from types import SimpleNamespace

import numpy as np
from numba import types
from numba.extending import intrinsic

from tinyrnn.native.jit import jit

__all__ = ["FUNCTIONS"]


@intrinsic
def _bits(typing_context, x):
    """Return the bits of a float as an integer of the same size."""
    integer = types.int32 if x == types.float32 else types.int64

    def generate(context, builder, signature, args):
        return builder.bitcast(args[0], context.get_value_type(integer))

    return integer(x), generate


@intrinsic
def _of_bits(typing_context, i):
    """Return the float of these bits."""
    real = types.float32 if i == types.int32 else types.float64

    def generate(context, builder, signature, args):
        return builder.bitcast(args[0], context.get_value_type(real))

    return real(i), generate


_LN2 = Decimal("0.693147180559945309417232121458")


def _make_functions(
    number: type, integer: type, mantissa: int, bias: int, degree: int
) -> dict[str, Callable]:
    """Return the functions of cells for one type of float, in arithmetic that vectorises.

    All rest on ``exp(x) = s (1 + q)`` with a power of two s and ``q = exp(r) - 1``, ``|r| <= ln(2) / 2``, a
    Taylor polynomial. ``exp(x) - 1 = s q + (s - 1)`` then loses nothing to cancellation, and neither does
    ``tanh(x) = (exp(2x) - 1) / (exp(2x) + 1)``. Errors are below 3 units in the last place. Within one
    part in a hundred of the exponents at which `exp` overflows or vanishes, it is infinite or zero; the
    logistic function does not fall below the smallest normal number.

    Parameters
    ----------
    number, integer : type
        The float and the integer of its size.
    mantissa, bias : int
        Bits of the float's fraction; what its exponent counts from.
    degree : int
        Of the polynomial.
    """
    per_octave = number(1 / math.log(2))
    rounder = number(1.5 * 2.0**mantissa)  # added, it moves the nearest integer into the lowest bits
    few = number(2.0 ** (mantissa // 2))
    ln2_high = number(np.floor(math.log(2) * few) / few)  # times an exponent it is exact
    ln2_low = number(_LN2 - Decimal(float(ln2_high)))
    one, two, zero = number(1), number(2), number(0)
    largest = number(math.log(2) * (bias - 1))  # beyond, the power of two is no float
    infinity = number(np.inf)
    far = number(0.5 * math.log(2) * (mantissa + 4))  # beyond, tanh is one
    taylor = tuple(number(1 / math.factorial(k)) for k in range(degree, 1, -1))

    @jit
    def parts(x):
        """Return s and q."""
        n = x * per_octave + rounder
        s = _of_bits(integer((_bits(n) << mantissa) + (bias << mantissa)))
        n = n - rounder
        r = x - n * ln2_high
        r = r - n * ln2_low
        q = taylor[0]
        for k in range(1, degree - 1):
            q = q * r + taylor[k]
        return s, q * r * r + r

    @jit
    def within(x, limit):
        """Return `x` limited to both sides; nan stays."""
        x = limit if x > limit else x
        return -limit if x < -limit else x

    @jit
    def exp(x):
        s, q = parts(within(x, largest))
        y = infinity if x > largest else s + s * q
        return zero if x < -largest else y

    @jit
    def expm1(x):
        s, q = parts(within(x, largest))
        return infinity if x > largest else s * q + (s - one)

    @jit
    def sigmoid(x):
        s, q = parts(within(-x, largest))
        return one / (one + (s + s * q))

    @jit
    def tanh(x):
        s, q = parts(two * within(x, far))
        e = s * q + (s - one)
        return e / (e + two)

    @jit
    def maximum(a, b):
        return a if a > b or a != a else b

    @jit
    def minimum(a, b):
        return a if a < b or a != a else b

    @jit
    def relu(x):
        return maximum(x, zero)

    @jit
    def softplus(x):
        return maximum(x, zero) + number(math.log1p(exp(-number(abs(x)))))

    @jit
    def sign(x):
        return one if x > zero else -one if x < zero else x  # nan stays

    @jit
    def absolute(x):
        return number(abs(x))

    @jit
    def clip(x, low, high):
        return minimum(maximum(x, low), high)

    @jit
    def where(condition, a, b):
        return a if condition != zero else b

    found = {"exp": exp, "expm1": expm1, "sigmoid": sigmoid, "tanh": tanh, "maximum": maximum}
    found |= {"minimum": minimum, "relu": relu, "softplus": softplus, "sign": sign, "abs": absolute}
    return found | {"clip": clip, "where": where} | _of_the_library(number)


def _of_the_library(number: type) -> dict[str, Callable]:
    """Return functions that are left to the C library: right, one number at a time."""

    def make(function):
        return jit(lambda x: number(function(x)))

    names = ("log", "log1p", "sqrt", "sin", "cos", "erf")
    return {name: make(getattr(math, name)) for name in names}


FUNCTIONS = {
    "float32": SimpleNamespace(**_make_functions(np.float32, np.int32, 23, 127, 7)),
    "float64": SimpleNamespace(**_make_functions(np.float64, np.int64, 52, 1023, 13)),
}
