"""One sequence on its way through the kernels of the GPU: what comes in, what is kept, what comes back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

__all__ = ["Gradients", "Run"]


@dataclass
class Run:
    """What both ways share; arrays without gaps, of the shapes that `persistent.cu` tells.

    Attributes
    ----------
    sizes : tuple of int
        Batch, length and units.
    xz : (batch, length, gates * units) or None
        What the input gives the gates, without `x_bias`; only for the way forward.
    keep : bool
        Whether there will be a way back.
    before, late, tape : arrays, if kept
    borrowed : object, optional
        Whose arrays these are: they stay as they are while it is there.
    """

    sizes: tuple[int, int, int]
    xz: Any
    x_bias: Any
    U: Any
    r_bias: Any
    params: Any
    states0: Any
    mask: Any
    factors: Any
    reverse: bool
    keep: bool
    before: Any = None
    late: Any = None
    tape: Any = None
    borrowed: Any = None


class Gradients(NamedTuple):
    """What the way back through the steps finds.

    Attributes
    ----------
    xz, rz : (batch, length, gates * units)
        Of what input and state give the gates; one array if they are always the same.
    states0 : (states, batch, units)
    x_bias, r_bias : (gates * units,)
    params : (params, units) or None
    """

    xz: Any
    rz: Any
    states0: Any
    x_bias: Any
    r_bias: Any
    params: Any
