"""What `compile` was told about losses and metrics, brought to the outputs of a model."""

from __future__ import annotations

import itertools
from collections.abc import Container, Mapping, Sequence
from typing import Any

from tinyrnn import losses, metrics
from tinyrnn.autograd import Tensor
from tinyrnn.backend import number
from tinyrnn.metrics.base import quotient
from tinyrnn.naming import nearest
from tinyrnn.nest import leaves
from tinyrnn.ops import to_array

__all__ = ["Average", "CompiledLoss", "CompiledMetrics", "distinct", "outputs_of"]


class Average:
    """A weighted mean: the loss of an epoch is that of its batches, weighted by their sizes.

    Of numbers on a GPU it is an array there.
    """

    def __init__(self, name: str):
        self.name = name
        self.reset_state()

    def reset_state(self) -> None:
        """Forget everything."""
        self.total, self.weight = 0.0, 0.0

    def update_state(self, value: Any, weight: float) -> None:
        """Take in one number."""
        self.total = self.total + number(to_array(value)) * weight
        self.weight += weight

    def result(self) -> Any:
        """Return the mean, 0 of nothing."""
        return quotient(self.total, self.weight)


# --- one entry for each output ----------------------------------------------------------------------------


def outputs_of(y_pred: Any, names: Sequence[str] | None) -> dict[str, Tensor]:
    """Return the outputs of a model by name, in the order of `names`.

    Outputs in a dictionary have the names of its keys; those of a model that does not name them are
    ``output_1``, ``output_2``, ... (Keras leaves them without a name, and mixes them up in the logs.)
    """
    if isinstance(y_pred, Tensor):
        outputs = [y_pred]
    elif isinstance(y_pred, Mapping):
        known = set(names or ()) == set(y_pred)
        return {name: y_pred[name] for name in (names if known else sorted(y_pred))}
    else:
        outputs = list(leaves(y_pred))
    if names is None or len(names) != len(outputs):
        names = [f"output_{i + 1}" for i in range(len(outputs))]
    return dict(zip(names, outputs, strict=True))


def distinct(names: Sequence[str] | None) -> list[str] | None:
    """Return names without repetition: of a layer that gives two outputs the second is ``name_1``."""
    if names is None or len(set(names)) == len(names):
        return names
    found: dict[str, None] = {}
    for name in names:
        found[_free(name, found)] = None
    return list(found)


def _free(name: str, taken: Container[str]) -> str:
    """Return `name`, or ``name_1``, ``name_2``, ...: the first that is not taken."""
    candidates = itertools.chain([name], (f"{name}_{n}" for n in itertools.count(1)))
    return next(c for c in candidates if c not in taken)


def by_output(value: Any, names: Sequence[str], what: str, shared: bool = False) -> list[Any]:
    """Return one entry for each output, from a list or a dictionary; None where a dictionary has none.

    Parameters
    ----------
    value
        A list with as many entries as there are outputs, a dictionary by their names, or a single thing.
    names : sequence of str
        Of the outputs.
    what : str
        For the message.
    shared : bool
        A single thing belongs to every output; otherwise there must be only one output.

    Raises
    ------
    ValueError
        For another number of entries, or a name that is no output's.
    """
    is_one = value is None or hasattr(value, "dtype")
    if not is_one and isinstance(value, Mapping):
        for key in value:
            if key not in names:
                raise ValueError(f"{what}: the model has no output {key!r}{nearest(str(key), names)}")
        return [value.get(name) for name in names]
    if not is_one and isinstance(value, list | tuple):
        if len(value) != len(names):
            raise ValueError(
                f"{what}: expected {len(names)} for the outputs {', '.join(names)}, found {len(value)}"
            )
        return list(value)
    if len(names) > 1 and not shared and value is not None:
        raise ValueError(f"{what}: expected a list or a dictionary for the outputs {', '.join(names)}")
    return [value] * len(names)


def _require(target: Any, output: str) -> None:
    if target is None:
        raise ValueError(f"y: there are no targets for the output {output!r}")


# --- losses -----------------------------------------------------------------------------------------------


class CompiledLoss:
    """The losses of all outputs, and their weighted sum.

    Parameters
    ----------
    loss : str, Loss, function, or a list or dictionary of them by output
        A single one is taken for every output; None leaves an output without a loss.
    weights : float, list or dict, optional
        What each is multiplied with in the sum; 1 by default.
    names : list of str, optional
        Of the outputs, where they are known already.

    Raises
    ------
    ValueError
        For unknown losses and names of outputs, at once; the rest shows with the first batch.
    """

    def __init__(self, loss: Any, weights: Any = None, names: Sequence[str] | None = None):
        for identifier in leaves(loss):
            losses.resolve(identifier, (1, 1), (1, 1))
        self.loss, self.weights = loss, weights
        self.terms: dict[str, tuple[losses.Loss, float, Average]] | None = None
        if names:
            self._by_output(names)

    def _by_output(self, names: Sequence[str]) -> list[tuple[Any, Any]]:
        asked = by_output(self.loss, names, "loss", shared=True)
        return list(zip(asked, by_output(self.weights, names, "loss_weights"), strict=True))

    def _build(self, targets: list, outputs: dict[str, Tensor]) -> None:
        terms = {}
        names = list(outputs)
        for name, (loss, weight), y in zip(names, self._by_output(names), targets, strict=True):
            if loss is None:
                continue
            _require(y, name)
            loss = losses.resolve(loss, y.shape, outputs[name].shape)
            terms[name] = loss, 1.0 if weight is None else float(weight), Average(f"{name}_loss")
        self.terms = terms

    def __call__(self, y: Any, outputs: dict[str, Tensor], sample_weight: Any = None) -> list[Tensor]:
        """Return the weighted losses of one batch, scalars, and take them into account without the weights.

        Parameters
        ----------
        y, sample_weight : array, or list or dictionary by output
        outputs : dict of Tensor
            See `outputs_of`.
        """
        targets = by_output(y, list(outputs), "y")
        if self.terms is None:
            self._build(targets, outputs)
        weights = by_output(sample_weight, list(outputs), "sample_weight", shared=True)
        values = []
        for (name, y_pred), y_true, weight in zip(outputs.items(), targets, weights, strict=True):
            if name in self.terms:
                _require(y_true, name)
                loss, factor, average = self.terms[name]
                value = _loss_of_output(name, loss, y_true, y_pred, weight)
                if len(self.terms) > 1:
                    average.update_state(value, len(y_pred))
                values.append(value if factor == 1.0 else value * factor)
        return values

    @property
    def averages(self) -> list[Average]:
        """The averages of the single losses, where there are several."""
        found = [average for _, _, average in (self.terms or {}).values()]
        return found if len(found) > 1 else []


def _loss_of_output(name: str, loss: losses.Loss, y_true: Any, y_pred: Tensor, weight: Any) -> Tensor:
    try:
        value = loss(y_true, y_pred, weight)
    except ValueError as error:
        raise ValueError(f"output {name!r}: {error}") from error
    if value.shape != ():
        raise ValueError(
            f"output {name!r}: expected one number as loss, found an array of shape {value.shape}"
        )
    return value


# --- metrics ----------------------------------------------------------------------------------------------


class CompiledMetrics:
    """The metrics of all outputs.

    Parameters
    ----------
    unweighted, weighted : list or dict of str, Metric or function
        Without and with the sample weights. One output takes all that are given; for several there is an
        entry, one metric or a list, for each output.
    names : list of str, optional
        Of the outputs, where they are known already.

    Raises
    ------
    ValueError
        For unknown metrics and names of outputs, at once; the rest shows with the first batch.
    """

    def __init__(self, unweighted: Any = None, weighted: Any = None, names: Sequence[str] | None = None):
        self.asked = {"metrics": unweighted or None, "weighted_metrics": weighted or None}
        for what, value in self.asked.items():
            if value is not None and not isinstance(value, list | tuple | Mapping):
                raise ValueError(f"{what}: expected a list or a dictionary, found {value!r}")
            for identifier in leaves(value):
                metrics.resolve(identifier, (1, 1), (1, 1))
        self.entries: dict[str, tuple[metrics.Metric, int, bool]] | None = None  # by key in the logs
        if names:
            self._by_output(names)

    def _by_output(self, names: Sequence[str]) -> list[tuple[Any, int, bool]]:
        """Return every metric asked for, with the number of its output and whether it is weighted."""
        found = []
        for what, value in self.asked.items():
            takes_all = len(names) == 1 and not isinstance(value, Mapping)
            of_outputs = [value] if takes_all else by_output(value, names, what)
            for i, asked in enumerate(of_outputs):
                found += [(m, i, what == "weighted_metrics") for m in leaves(asked) if m is not None]
        return found

    def _build(self, targets: list, outputs: dict[str, Tensor]) -> None:
        names, entries = list(outputs), {}
        for asked, i, weighted in self._by_output(names):
            _require(targets[i], names[i])
            metric = metrics.resolve(asked, targets[i].shape, outputs[names[i]].shape)
            prefix = f"{names[i]}_" if len(names) > 1 else ""
            key = prefix + metric.name
            if weighted and key in entries:
                key = f"{prefix}weighted_{metric.name}"
            entries[_free(key, entries)] = metric, i, weighted
        self.entries = dict(sorted(entries.items())) if len(names) > 1 else entries  # as Keras orders them

    def update_state(self, y: Any, outputs: dict[str, Tensor], sample_weight: Any = None) -> None:
        """Take in a batch; arguments as for `CompiledLoss`."""
        targets = by_output(y, list(outputs), "y")
        if self.entries is None:
            self._build(targets, outputs)
        predictions = list(outputs.values())
        weights = by_output(sample_weight, list(outputs), "sample_weight", shared=True)
        for metric, i, weighted in self.entries.values():
            _require(targets[i], list(outputs)[i])
            metric.update_state(targets[i], predictions[i], weights[i] if weighted else None)

    @property
    def wanted(self) -> bool:
        """Whether there are any."""
        return any(self.asked.values())

    def results(self) -> dict[str, Any]:
        """Return the values so far, by key."""
        return {key: metric.result() for key, (metric, _, _) in (self.entries or {}).items()}

    def reset_state(self) -> None:
        """Forget all batches."""
        for metric, _, _ in (self.entries or {}).values():
            metric.reset_state()
