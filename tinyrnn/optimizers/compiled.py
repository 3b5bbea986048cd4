"""One compiled loop for the update of all weights, derived from an optimizer's rule.

The rule's formulas (`tinyrnn.optimizers.traced`) become a loop that reads gradient, slots and weight once and
writes them once. The optimizer's numbers are arguments of the loop.
"""

from __future__ import annotations

import operator
from collections.abc import Collection, Mapping, Sequence
from ctypes import addressof, c_char
from typing import Any

import numpy as np

from tinyrnn import threads
from tinyrnn.formulas import TraceError
from tinyrnn.native.files import load
from tinyrnn.optimizers.traced import TracedRule
from tinyrnn.printing import Printer
from tinyrnn.recurrent.emit_loops import IMPORTS, NumberPrinter, functions_used, writers_used

__all__ = ["Update"]

_SMALL = 16384  # elements that one thread updates in about the time in which another is called


class Update:
    """The compiled update of an optimizer's weights.

    Parameters
    ----------
    optimizer : Optimizer
    coefficients : float or tuple of float
        What the optimizer's `coefficients` returns: here only its form counts.
    slots : collection of str
    dtype : dtype of the weights

    Raises
    ------
    TraceError
        If the rule is not elementwise arithmetic.
    """

    def __init__(self, optimizer: Any, coefficients: Any, slots: Collection[str], dtype: np.dtype):
        if not np.dtype(dtype).isnative:
            raise TraceError(
                f"{type(optimizer).__name__}: compiled code knows no numbers in another byte order"
            )
        self._rule = TracedRule(optimizer, coefficients, slots)
        source = _emit(type(optimizer).__name__, self._rule, [*slots], np.dtype(dtype).name)
        self._loop = load(source, f"{type(optimizer).__name__}_{np.dtype(dtype).name}").update
        self._dtype = np.dtype(dtype)
        self._known: tuple = [], [], None  # the last weights, their spans, and their places

    def __call__(
        self,
        optimizer: Any,
        coefficients: Any,
        weights: Sequence[np.ndarray],
        gradients: Sequence[np.ndarray],
        spans: Sequence[slice],
        keep: Sequence[float],
        slots: Mapping[str, np.ndarray],
    ) -> None:
        """Change weights and slots.

        Parameters
        ----------
        optimizer, coefficients
            Where the numbers are read.
        weights, gradients : sequences of arrays of equal shapes
        spans : sequence of slice
            Where the elements of each stand in the slots.
        keep : sequence of float
            What each weight is multiplied with before.
        slots : dict of (n,) arrays
        """
        for w in weights:
            if not w.flags.writeable:
                raise ValueError(f"{optimizer.name}: a weight of shape {w.shape} is read-only")
        targets, places = self._places(weights, spans)
        sources = [np.ascontiguousarray(g, self._dtype) for g in gradients]
        places[:, 3] = [_address(g) for g in sources]
        n = max([s.stop for s in spans])
        ranges = threads.ranges(n, 1 if n < _SMALL else threads.get_num_threads(), 64)
        keep = np.array(keep, self._dtype)
        numbers = np.array(self._rule.numbers(optimizer, coefficients), "float64")
        self._loop(threads.mailbox(len(ranges)), len(ranges), ranges, places, keep, numbers, *slots.values())
        if targets is not weights:
            for w, target in zip(weights, targets, strict=True):
                if w is not target:
                    w[...] = target

    def _places(self, weights: Sequence, spans: Sequence[slice]) -> tuple[Sequence, np.ndarray]:
        """Return the weights in order, and a row for each: start, stop, its address, room for another.

        Nearly always they are the arrays of the step before.
        """
        known, known_spans, places = self._known
        if spans == known_spans and all(map(operator.is_, weights, known)):
            return weights, places.copy()  # another thread has its own
        targets = [w if w.flags.c_contiguous else np.ascontiguousarray(w) for w in weights]
        places = np.array([(s.start, s.stop, _address(w), 0) for s, w in zip(spans, targets, strict=True)])
        if all(map(operator.is_, weights, targets)):
            self._known = targets, spans, places.copy()
        return targets, places


_Bytes = c_char * 0


def _address(a: np.ndarray) -> int:
    """Return where the numbers of an array in order are."""
    if a.flags.writeable:  # five times as fast as asking the array
        return addressof(_Bytes.from_buffer(a))
    return a.__array_interface__["data"][0]


def _emit(title: str, rule: TracedRule, slots: list[str], dtype: str) -> str:
    """Return the source of a module with the loop ``update(part, ...)``."""
    roots, numbers = [rule.step, *rule.new.values()], rule.of_numbers
    in_double = Printer({})
    hoisted = [f"k_{k} = number({in_double.text(e, whole=True)})" for k, e in enumerate(numbers)]
    printer = NumberPrinter({id(e): f"k_{k}" for k, e in enumerate(numbers)})
    body = printer.statements(roots, [], stop=numbers)
    read = ["g = read(gradient, j)", "w = read(weight, j)"]
    read += [f"s_{name} = read({name}, start + j)" for name in slots]
    write = [f"write_0(weight, j, w * keep - ({printer.text(rule.step, whole=True)}))"]
    write += [
        f"write_{k}({name}, start + j, {printer.text(e, whole=True)})"
        for k, (name, e) in enumerate(rule.new.items(), 1)
    ]
    ks, arrays = "".join(f", k_{k}" for k in range(len(numbers))), "".join(f", {name}" for name in slots)
    loop = [f"def loop(weight, gradient, start, keep{ks}{arrays}):", "whole_vectors()"]
    loop += ["for j in range(len(weight)):", *("    " + line for line in [*read, *body, *write])]
    text = "\n    ".join(loop)
    return (
        "\n\n\n".join(
            [
                f'"""{title} in {dtype}: one step of all weights, derived from the rule."""',
                IMPORTS,
                f"number, size = np.{dtype}, np.dtype(np.{dtype}).itemsize",
                *functions_used(text, dtype),
                *writers_used(text),
                f"@jit\n{text}",
                _UPDATE.format(
                    arrays=arrays,
                    numbers="\n    ".join([*(f"n_{k} = numbers[{k}]" for k in rule.used_numbers), *hoisted]),
                    ks=ks,
                ),
            ]
        )
        + "\n"
    )


_UPDATE = """
@parallel
def update(part, ranges, places, keep, numbers{arrays}):
    {numbers}
    for i in range(len(places)):
        start, stop = max(ranges[part, 0], places[i, 0]), min(ranges[part, 1], places[i, 1])
        if start < stop:
            ahead = (start - places[i, 0]) * size
            weight = carray(pointer(places[i, 2] + ahead, number), (stop - start,))
            gradient = carray(pointer(places[i, 3] + ahead, number), (stop - start,))
            loop(weight, gradient, start, keep[i]{ks}{arrays})
""".strip()
