"""Initializers: the values weights start from.

An initializer is called with a shape and returns an array. It is deterministic: its seed is fixed when
it is made (drawn from the default generator where none is given), so two calls with one shape give
equal values. Numbers are drawn in float64 and rounded to the type asked for, so that float32 weights
are the rounded float64 ones.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinyrnn.backend import default_generator, draw_seed, floatx, new_generator
from tinyrnn.naming import Configurable, by_name, lookup

__all__ = [  # noqa: RUF022 - in the order of the file
    "Initializer", "Zeros", "Ones", "Constant", "Identity",
    "RandomNormal", "RandomUniform", "TruncatedNormal",
    "VarianceScaling", "GlorotUniform", "GlorotNormal", "HeUniform", "HeNormal", "LecunUniform",
    "LecunNormal", "Orthogonal", "compute_fans", "get",
    "zeros", "ones", "constant", "identity", "random_normal", "random_uniform", "truncated_normal",
    "variance_scaling", "glorot_uniform", "glorot_normal", "he_uniform", "he_normal", "lecun_uniform",
    "lecun_normal", "orthogonal",
]  # fmt: skip


class Initializer(Configurable):
    """Base of initializers: define `values`."""

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> np.ndarray:
        """Return a new array.

        Parameters
        ----------
        shape : sequence of int
        dtype : dtype, optional
            `floatx()` by default.

        Returns
        -------
        numpy.ndarray
            Of `shape` and `dtype`, on the host.
        """
        return self.values(tuple(shape)).astype(dtype or floatx(), copy=False)

    def values(self, shape: tuple[int, ...]) -> np.ndarray:
        """Return the values in float64."""
        raise NotImplementedError(f"{type(self).__name__}: an initializer defines values(shape)")


class Zeros(Initializer):
    """All 0."""

    def values(self, shape: tuple[int, ...]) -> np.ndarray:
        """Return zeros."""
        return np.zeros(shape)


class Ones(Initializer):
    """All 1."""

    def values(self, shape: tuple[int, ...]) -> np.ndarray:
        """Return ones."""
        return np.ones(shape)


class Constant(Initializer):
    """One value everywhere, or given values: ``Constant(vectors)`` starts an Embedding from known vectors.

    Parameters
    ----------
    value : float or array
        A number, or an array of the shape of the weight.
    """

    def __init__(self, value: Any = 0.0):
        self.value = value

    def values(self, shape: tuple[int, ...]) -> np.ndarray:
        """Return `value` everywhere."""
        given = np.shape(self.value)
        if given and given != shape:
            raise ValueError(f"Constant: expected values of the weight's shape {shape}, found {given}")
        return np.full(shape, self.value, dtype="float64")


class Identity(Initializer):
    """The identity matrix times `gain`; ones on the diagonal of a rectangle.

    As recurrent weights of a ReLU network: Le, Jaitly & Hinton (2015), "A Simple Way to Initialize
    Recurrent Networks of Rectified Linear Units".

    Parameters
    ----------
    gain : float
    """

    def __init__(self, gain: float = 1.0):
        self.gain = gain

    def values(self, shape: tuple[int, ...]) -> np.ndarray:
        """Return the matrix; ValueError unless `shape` has two axes."""
        if len(shape) != 2:
            raise ValueError(f"Identity: expected the shape of a matrix, found {shape}")
        return self.gain * np.eye(*shape)


# --- drawn at random --------------------------------------------------------------------------------------


class _Random(Initializer):
    """An initializer with a seed of its own."""

    def __init__(self, seed: int | None = None):
        self.seed = seed
        if seed is None:
            seed = draw_seed(default_generator())
        elif not hasattr(seed, "__index__") or operator.index(seed) < 0:
            name = type(self).__name__
            raise ValueError(f"{name}: seed: expected a whole number from 0 on, found {seed!r}")
        self._seed = seed

    def values(self, shape: tuple[int, ...]) -> np.ndarray:
        """Draw the values, the same ones in every call."""
        return self.draw(new_generator(self._seed), shape)

    def draw(self, generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        """Return float64 values drawn from `generator`."""
        raise NotImplementedError(
            f"{type(self).__name__}: a random initializer defines draw(generator, shape)"
        )


def _truncated_normal(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Draw from the standard normal distribution; what lies beyond 2 is drawn again."""
    values = generator.standard_normal(shape)
    while (outside := np.abs(values) > 2).any():
        values[outside] = generator.standard_normal(np.count_nonzero(outside))
    return values


class RandomNormal(_Random):
    """Normal distribution.

    Parameters
    ----------
    mean, stddev : float
    seed : int, optional
    """

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: int | None = None):
        super().__init__(seed)
        self.mean = mean
        self.stddev = stddev

    def draw(self, generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        """Return ``mean + stddev * normal``."""
        return self.mean + self.stddev * generator.standard_normal(shape)


class TruncatedNormal(RandomNormal):
    """Normal distribution, drawn again beyond two standard deviations.

    As in Keras, `stddev` is that of the normal distribution before the tails are cut; what is drawn
    has 0.8796 times as much.

    Parameters
    ----------
    mean, stddev : float
    seed : int, optional
    """

    def draw(self, generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        """Return ``mean + stddev * truncated normal``."""
        return self.mean + self.stddev * _truncated_normal(generator, shape)


class RandomUniform(_Random):
    """Uniform distribution on ``[minval, maxval)``.

    Parameters
    ----------
    minval, maxval : float
    seed : int, optional
    """

    def __init__(self, minval: float = -0.05, maxval: float = 0.05, seed: int | None = None):
        super().__init__(seed)
        self.minval = minval
        self.maxval = maxval

    def draw(self, generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        """Return values between the bounds."""
        return generator.uniform(self.minval, self.maxval, shape)


# --- scaled by the shape ----------------------------------------------------------------------------------

# The standard deviation of a standard normal distribution cut at two.
_TRUNCATED_STDDEV = 0.87962566103423978

_MODES = ("fan_in", "fan_out", "fan_avg")
_DISTRIBUTIONS = ("truncated_normal", "untruncated_normal", "uniform")


def compute_fans(
    shape: Sequence[int], input_axes: Sequence[int] | None = None, output_axes: Sequence[int] | None = None
) -> tuple[int, int]:
    """Return ``(fan_in, fan_out)``: how many inputs and outputs a weight of `shape` connects.

    A matrix is ``(inputs, outputs)``; the leading axes of more are a receptive field, which multiplies
    both; a vector has its length as both. With `input_axes` and `output_axes` the fans are the products
    of the lengths of these axes.
    """
    shape = tuple(shape)
    if input_axes is not None and output_axes is not None:
        return math.prod(shape[i] for i in input_axes), math.prod(shape[i] for i in output_axes)
    if len(shape) < 2:
        return math.prod(shape), math.prod(shape)
    field = math.prod(shape[:-2])
    return field * shape[-2], field * shape[-1]


class VarianceScaling(_Random):
    """Values of variance ``scale / n``, where `n` is the weight's fan.

    ``uniform`` draws from ``±sqrt(3 scale / n)``; ``truncated_normal`` has standard deviation
    ``sqrt(scale / n)`` after the tails beyond two standard deviations are cut.

    Parameters
    ----------
    scale : float
        Positive.
    mode : {"fan_in", "fan_out", "fan_avg"}
        What `n` is: the number of inputs, of outputs, or their mean. At least 1.
    distribution : {"truncated_normal", "untruncated_normal", "uniform"}
        ``"normal"`` is the truncated one.
    seed : int, optional
    input_axes, output_axes : sequence of int, optional
        The axes whose lengths make up the fans, both or neither; see `compute_fans`.

    Raises
    ------
    ValueError
        For any other setting.
    """

    def __init__(
        self,
        scale: float = 1.0,
        mode: str = "fan_in",
        distribution: str = "truncated_normal",
        seed: int | None = None,
        input_axes: Sequence[int] | None = None,
        output_axes: Sequence[int] | None = None,
    ):
        super().__init__(seed)
        name = type(self).__name__
        distribution = distribution.lower()
        if distribution == "normal":
            distribution = "truncated_normal"
        if not scale > 0:
            raise ValueError(f"{name}: scale: expected a positive number, found {scale!r}")
        if mode not in _MODES:
            raise ValueError(f"{name}: mode: expected one of {', '.join(_MODES)}, found {mode!r}")
        if distribution not in _DISTRIBUTIONS:
            known = ", ".join(_DISTRIBUTIONS)
            raise ValueError(f"{name}: distribution: expected one of {known}, found {distribution!r}")
        if (input_axes is None) != (output_axes is None):
            raise ValueError(f"{name}: expected input_axes and output_axes, both or neither")
        self.scale = scale
        self.mode = mode
        self.distribution = distribution
        self.input_axes = input_axes
        self.output_axes = output_axes

    def draw(self, generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        """Return values of standard deviation ``sqrt(scale / n)``."""
        fan_in, fan_out = compute_fans(shape, self.input_axes, self.output_axes)
        n = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[self.mode]
        stddev = math.sqrt(self.scale / max(1.0, n))
        if self.distribution == "uniform":
            limit = math.sqrt(3) * stddev
            return generator.uniform(-limit, limit, shape)
        if self.distribution == "untruncated_normal":
            return stddev * generator.standard_normal(shape)
        return stddev / _TRUNCATED_STDDEV * _truncated_normal(generator, shape)


class _Scaled(VarianceScaling):
    """A `VarianceScaling` whose `recipe` (scale, mode, distribution) has a name of its own."""

    recipe: tuple[float, str, str]

    def __init__(
        self,
        seed: int | None = None,
        input_axes: Sequence[int] | None = None,
        output_axes: Sequence[int] | None = None,
    ):
        super().__init__(*self.recipe, seed=seed, input_axes=input_axes, output_axes=output_axes)


class GlorotUniform(_Scaled):
    """Uniform on ``±sqrt(6 / (fan_in + fan_out))``: Glorot & Bengio (2010)."""

    recipe = (1.0, "fan_avg", "uniform")


class GlorotNormal(_Scaled):
    """Truncated normal of standard deviation ``sqrt(2 / (fan_in + fan_out))``: Glorot & Bengio (2010)."""

    recipe = (1.0, "fan_avg", "truncated_normal")


class HeUniform(_Scaled):
    """Uniform on ``±sqrt(6 / fan_in)``, for ReLU: He et al. (2015)."""

    recipe = (2.0, "fan_in", "uniform")


class HeNormal(_Scaled):
    """Truncated normal of standard deviation ``sqrt(2 / fan_in)``, for ReLU: He et al. (2015)."""

    recipe = (2.0, "fan_in", "truncated_normal")


class LecunUniform(_Scaled):
    """Uniform on ``±sqrt(3 / fan_in)``: LeCun et al. (1998), "Efficient BackProp"."""

    recipe = (1.0, "fan_in", "uniform")


class LecunNormal(_Scaled):
    """Truncated normal of standard deviation ``sqrt(1 / fan_in)``: LeCun et al. (1998)."""

    recipe = (1.0, "fan_in", "truncated_normal")


class Orthogonal(_Random):
    """A random matrix with orthonormal rows or columns (whichever are fewer), times `gain`.

    The Q of the QR decomposition of a normal matrix, its columns multiplied by the signs of the
    diagonal of R, which makes it uniform over the orthogonal matrices: Saxe, McClelland & Ganguli
    (2014). All axes but the last together are the rows.

    Parameters
    ----------
    gain : float
    seed : int, optional
    """

    def __init__(self, gain: float = 1.0, seed: int | None = None):
        super().__init__(seed)
        self.gain = gain

    def draw(self, generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        """Return the matrix in `shape`; ValueError for fewer than two axes."""
        if len(shape) < 2:
            raise ValueError(f"Orthogonal: expected a shape of at least two axes, found {shape}")
        rows, columns = math.prod(shape[:-1]), shape[-1]
        q, r = np.linalg.qr(generator.standard_normal((max(rows, columns), min(rows, columns))))
        q *= np.sign(np.diagonal(r))
        if rows < columns:
            q = np.ascontiguousarray(q.T)
        return self.gain * q.reshape(shape)


# --- names ------------------------------------------------------------------------------------------------

zeros, ones, constant, identity = Zeros, Ones, Constant, Identity
random_normal, random_uniform, truncated_normal = RandomNormal, RandomUniform, TruncatedNormal
variance_scaling, orthogonal = VarianceScaling, Orthogonal
glorot_uniform, glorot_normal = GlorotUniform, GlorotNormal
he_uniform, he_normal = HeUniform, HeNormal
lecun_uniform, lecun_normal = LecunUniform, LecunNormal

_ALL = (
    Zeros, Ones, Constant, Identity, RandomNormal, RandomUniform, TruncatedNormal, VarianceScaling,
    GlorotUniform, GlorotNormal, HeUniform, HeNormal, LecunUniform, LecunNormal, Orthogonal,
)  # fmt: skip
_TABLE = by_name(*_ALL) | {
    "zero": Zeros,
    "one": Ones,
    "normal": RandomNormal,
    "uniform": RandomUniform,
    "IdentityInitializer": Identity,
    "OrthogonalInitializer": Orthogonal,
}


def get(identifier: Any) -> Callable | None:
    """Return the initializer that `identifier` stands for.

    Parameters
    ----------
    identifier : None, str, dict, class, array or callable
        A name (``"glorot_uniform"``, ``"GlorotUniform"``), what `get_config` made, an initializer, any
        function ``f(shape, dtype)``, or the values themselves.

    Raises
    ------
    ValueError
        For an unknown name, with the nearest known one.
    """
    if hasattr(identifier, "__array__"):
        return Constant(identifier)
    return lookup("initializer", identifier, _TABLE)
