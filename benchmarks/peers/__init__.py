"""The sides of the comparison, one file each.

A file offers ``start(threads)``, called once, which returns what the header says of this side; and
``Program(model)``, the model ready to run. Its ``numbers(action)`` are what all sides must agree on, and it
has a method for each action (``fit``, ``predict``, ...) that draws data for so many steps and returns a
function without arguments, which takes these steps and is what is timed. A file whose side may compute on a
GPU offers ``wait()`` too, which returns when all that it was asked for is done.
"""

import os
from collections.abc import Callable

import numpy as np

Numbers = dict[str, list[float]]
"""``loss`` and ``fall``, or ``outputs``."""


def on_gpu() -> bool:
    """Whether this process is a side that computes on a GPU."""
    return os.environ.get("BENCHMARKS_DEVICE") == "gpu"


AGREED_STEPS = 4
AGREED_OUTPUTS = 100


def losses_of(step: Callable[[], float]) -> Numbers:
    """Return the loss that the first step finds, and how it falls in the next ones."""
    losses = [step() for _ in range(AGREED_STEPS)]
    return {"loss": losses[:1], "fall": [losses[0] - loss for loss in losses[1:]]}


def outputs_of(outputs: np.ndarray) -> Numbers:
    """Return the first outputs."""
    return {"outputs": outputs.ravel()[:AGREED_OUTPUTS].tolist()}
