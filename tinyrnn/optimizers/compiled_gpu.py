"""One launch for the update of many weights on a GPU, derived from an optimizer's rule.

What `compiled` is for the CPU: the same formulas, as CUDA C. A launch has a row of blocks for each weight;
where the weights are stands in its arguments, so nothing is copied to the device.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from tinyrnn.cuda.module import Kernel, own, source
from tinyrnn.formulas import visit
from tinyrnn.optimizers.traced import TracedRule
from tinyrnn.printing import CudaPrinter

__all__ = ["DeviceUpdate"]

_MOST = 16  # weights of one launch
_THREADS = 256
_OF_THREAD = 4  # elements of a thread, unless there are more than the blocks can have
_MOST_BLOCKS = 2048  # of one weight


class DeviceUpdate:
    """The update of an optimizer's weights on a GPU; arguments as for `Update`.

    Raises
    ------
    TraceError
        If the rule is not elementwise arithmetic.
    """

    def __init__(self, optimizer: Any, coefficients: Any, slots: Collection[str], dtype: np.dtype):
        self._rule = TracedRule(optimizer, coefficients, slots)
        self._title, self._slots, self._dtype = type(optimizer).__name__, list(slots), np.dtype(dtype)
        self._kernels: dict[int, Kernel] = {}  # by the number of weights

    def __call__(
        self,
        optimizer: Any,
        coefficients: Any,
        weights: Sequence[Any],
        gradients: Sequence[Any],
        spans: Sequence[slice],
        keep: Sequence[float],
        slots: Mapping[str, Any],
    ) -> None:
        """Change weights and slots, see `Update`."""
        values = self._rule.numbers(optimizer, coefficients)
        shared = [*slots.values(), *(float(values[k]) for k in self._rule.used_numbers)]
        everything = list(zip(weights, gradients, spans, keep, strict=True))
        for first in range(0, len(everything), _MOST):
            self._launch(everything[first : first + _MOST], shared)

    def _launch(self, parts: list[tuple], shared: list[Any]) -> None:
        targets = [own(w) for w, *_ in parts]
        arguments: list[Any] = []
        for target, (w, g, span, keep) in zip(targets, parts, strict=True):
            arguments += [target, own(g.astype(self._dtype, copy=False)), w.size, span.start, float(keep)]
        most = max(w.size for w, *_ in parts)
        blocks = min(math.ceil(most / (_THREADS * _OF_THREAD)), _MOST_BLOCKS)
        if len(parts) not in self._kernels:
            text = emit(self._title, self._rule, self._slots, len(parts))
            self._kernels[len(parts)] = Kernel(source(self._dtype, text), "update")
        self._kernels[len(parts)]((max(blocks, 1), len(parts)), _THREADS, *arguments, *shared)
        for target, (w, *_) in zip(targets, parts, strict=True):
            if w is not target:
                w[...] = target


class _DoublePrinter(CudaPrinter):
    """Prints formulas as CUDA C in double precision, whatever ``real`` is."""

    @staticmethod
    def _number(x: float) -> str:
        return repr(float(x)) if math.isfinite(x) else f"double({CudaPrinter._number(x)})"

    @staticmethod
    def _comparison(source: str) -> str:
        return f"double({source})"

    @staticmethod
    def _power(base: str, exponent: str) -> str:
        return f"pow({base}, {exponent})"


def emit(title: str, rule: TracedRule, slots: Sequence[str], count: int) -> str:
    """Return the kernel ``update`` for `count` weights, as CUDA C."""
    weights = [
        f"real* weight_{i}, const real* gradient_{i}, Index size_{i}, Index start_{i}, double keep_{i}"
        for i in range(count)
    ]
    arrays = [f"real* slot_{k}" for k in range(len(slots))]
    numbers = [f"double n_{k}" for k in rule.used_numbers]
    chosen = [
        f"case {i}: weight = weight_{i}, gradient = gradient_{i}, size = size_{i}, start = start_{i}, "
        f"keep = real(keep_{i}); break;"
        for i in range(count)
    ]
    hoisted = [
        f"const real k_{k} = real({_DoublePrinter({}).text(e, whole=True)});"
        for k, e in enumerate(rule.of_numbers)
    ]
    return _KERNEL.format(
        title=f"{title}: one step of {count} weights",
        arguments=",\n    ".join([*weights, *arrays, *numbers]),
        chosen="\n    ".join(["switch (blockIdx.y) {", *chosen, "}"]),
        hoisted="\n    ".join(hoisted),
        body="\n        ".join(_of_element(rule, slots)),
    )


_KERNEL = """
// {title}, derived from the rule. A row of blocks for each weight.
extern "C" __global__ void update(
    {arguments}) {{
    real* weight = nullptr;
    const real* gradient = nullptr;
    Index size = 0;
    [[maybe_unused]] Index start = 0;  // in the slots, if there are any
    real keep = 1;
    {chosen}
    {hoisted}
    const Index threads = (Index)gridDim.x * blockDim.x;
    for (Index j = (Index)blockIdx.x * blockDim.x + threadIdx.x; j < size; j += threads) {{
        {body}
    }}
}}
""".lstrip()


def _of_element(rule: TracedRule, slots: Sequence[str]) -> list[str]:
    """Return the statements for one element of a weight: read, compute, write."""
    places = {f"s_{name}": f"s_{k}" for k, name in enumerate(slots)}
    roots = [rule.step, *rule.new.values()]
    known = {id(e): places[e.args[0]] for e in visit(roots) if e.is_symbol and e.args[0] in places}
    printer = CudaPrinter(known | {id(e): f"k_{k}" for k, e in enumerate(rule.of_numbers)})
    read = ["const real g = gradient[j], w = weight[j];"]
    read += [f"const real s_{k} = slot_{k}[start + j];" for k in range(len(slots))]
    body = printer.statements(roots, [], stop=rule.of_numbers)
    write = [f"weight[j] = w * keep - ({printer.text(rule.step, whole=True)});"]
    write += [
        f"slot_{slots.index(name)}[start + j] = {printer.text(e, whole=True)};"
        for name, e in rule.new.items()
    ]
    return [*read, *body, *write]
