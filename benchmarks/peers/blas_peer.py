"""NumPy's matrix product: the speed limit that the kernels are measured against."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benchmarks.models import Model

SIDE = 2048
FLOPS = 2 * SIDE**3


def start(threads: int) -> str:
    """The number of threads comes from the environment."""
    return ""


class Program:
    """The product of two large float32 matrices, whatever the model."""

    def __init__(self, model: Model):
        pass

    def sgemm(self, steps: int) -> Callable[[], None]:
        """So many products."""
        rng = np.random.default_rng(4)
        a, b = rng.standard_normal((2, SIDE, SIDE), dtype=np.float32)
        out = np.empty_like(a)

        def run():
            for _ in range(steps):
                np.matmul(a, b, out=out)

        return run
