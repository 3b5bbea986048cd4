"""What all optimizers share: the order of a step, clipping, decay, averages, accumulation, the slots.

The numbers of all variables lie behind each other in one flat array: one for each slot, and one for the
gradients where these are clipped, scaled or added up. A rule (`tinyrnn.optimizers.rules`) is arithmetic on
every element alike; all weights are updated in one compiled loop (`tinyrnn.optimizers.compiled`), or
on a GPU in one launch (`compiled_gpu`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

import numpy as np

from tinyrnn.autograd import Tensor, no_grad
from tinyrnn.backend import array_module, floatx, is_float
from tinyrnn.cuda.clipping import clip_norms
from tinyrnn.formulas import TraceError
from tinyrnn.naming import Configurable, nearest, serialize, warn_user
from tinyrnn.optimizers import schedules
from tinyrnn.optimizers.compiled import Update
from tinyrnn.optimizers.compiled_gpu import DeviceUpdate
from tinyrnn.optimizers.traced import is_number

__all__ = ["Optimizer", "Slot"]


@dataclass(eq=False)
class Slot:
    """A named array of an optimizer's state; writing into `data` changes the state."""

    name: str
    path: str
    data: Any


class _Flat:
    """One array for all variables, seen whole (`flat`) and variable by variable (`views`)."""

    def __init__(self, variables: Sequence[Any], spans: Sequence[slice], dtype: Any, fill: float = 0.0):
        size = spans[-1].stop if spans else 0
        self.flat = array_module(*(v.data for v in variables)).full(size, fill, dtype=dtype)
        self.views = [self.flat[s].reshape(v.data.shape) for s, v in zip(spans, variables, strict=True)]


class Optimizer(Configurable):
    """Base of optimizers.

    It works on variables: objects with `data` (a float array, changed in place), `name`, `path` and
    `constraint` (a function of the array, or None). A step is, in this order: drop missing gradients,
    divide by `loss_scale_factor`, accumulate, clip, decay weights, apply the rule, average, constrain,
    count. A call that only accumulates still averages, constrains and counts, as in Keras.

    A subclass defines the rule: `slots`, `update`, and where something is computed once a step,
    `coefficients`.

    Parameters
    ----------
    learning_rate : float, LearningRateSchedule or callable
        A schedule is called with the number of steps made so far; any other callable without arguments.
    weight_decay : float, optional
        Decoupled from the gradient: before each update, ``w -= learning_rate * weight_decay * w``. See
        `exclude_from_weight_decay`.
    clipnorm : float, optional
        Scale each variable's gradient down to this norm.
    clipvalue : float, optional
        Clip each element of the gradients to ``±clipvalue``.
    global_clipnorm : float, optional
        Scale all gradients down together to this norm. A norm that is not finite makes them all NaN.
    use_ema : bool
        Keep an exponential moving average of each variable, ``a = ema_momentum * a + (1 - ema_momentum)
        * w`` (the first step starts it with ``a = w``), which `finalize_variable_values` puts in place.
    ema_momentum : float
        In ``0 ... 1``.
    ema_overwrite_frequency : int, optional
        Put the averages in place of the variables also every so many steps.
    loss_scale_factor : float, optional
        What the loss was multiplied with; the gradients are divided by it.
    gradient_accumulation_steps : int, optional
        Update only every so many calls, at least 2, with the mean gradient of these.
    name : str, optional
        By default the class name in small letters.

    Raises
    ------
    ValueError
        For a whole number as learning rate, more than one way of clipping, a number out of its range, an
        unknown argument.

    Notes
    -----
    Old spellings: ``lr`` is taken for `learning_rate` and ``decay`` is ignored, both with a warning.
    """

    def __init__(
        self,
        learning_rate: float | schedules.LearningRateSchedule | Callable[[], float] = 0.001,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        loss_scale_factor: float | None = None,
        gradient_accumulation_steps: int | None = None,
        name: str | None = None,
        **unknown: Any,
    ):
        self.weight_decay = weight_decay
        self.clipnorm = clipnorm
        self.clipvalue = clipvalue
        self.global_clipnorm = global_clipnorm
        self.use_ema = use_ema
        self.ema_momentum = ema_momentum
        self.ema_overwrite_frequency = ema_overwrite_frequency
        self.loss_scale_factor = loss_scale_factor
        self.gradient_accumulation_steps = gradient_accumulation_steps
        self.name = name or type(self).__name__.lower()
        self._check_options()
        self._iteration = Slot("iteration", f"{self.name}/iteration", np.zeros((), "int64"))
        self._rate = Slot("learning_rate", f"{self.name}/learning_rate", np.zeros(()))
        self._schedule: Callable | None = None
        self._start_learning_rate(self._old_spellings(learning_rate, unknown))
        self._excluded: tuple[list, str] = ([], "")
        self.built = False

    _form: dict[str, Any] | None = None  # what the attributes are, without the values of numbers

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name not in ("_form", "_update_compiled"):  # which no rule looks at
            vars(self)["_form"] = None

    # --- the rule: what a subclass defines ----------------------------------------------------------------

    def slots(self) -> list[dict[str, float]]:
        """Return the names and initial values of the arrays kept for each variable.

        Names in one dictionary lie variable by variable in `variables`, dictionaries behind each other.
        """
        return []

    def coefficients(self, learning_rate: float, t: int) -> Any:
        """Return what `update` needs of step `t`, counted from 1; by default the learning rate."""
        return learning_rate

    def update(self, g: Tensor, c: Any, **slots: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return what is to be subtracted from the weights, and the new values of slots.

        Arithmetic and functions of `tinyrnn.ops` on every element alike: it may be run on symbols.

        Parameters
        ----------
        g : Tensor
            The gradient of some elements.
        c
            What `coefficients` returned: a float or a tuple of floats.
        **slots : Tensor
            The same elements of each slot.
        """
        raise NotImplementedError(f"{type(self).__name__}: an optimizer defines update(g, c, **slots)")

    # --- settings -----------------------------------------------------------------------------------------

    def _check_options(self) -> None:
        def refuse(option: str, expected: str) -> None:
            found = getattr(self, option)
            raise ValueError(f"{type(self).__name__}: {option}: expected {expected}, found {found!r}")

        ways = ("clipnorm", "clipvalue", "global_clipnorm")
        chosen = [f"{way}={getattr(self, way)}" for way in ways if getattr(self, way) is not None]
        if len(chosen) > 1:
            raise ValueError(
                f"{type(self).__name__}: expected one way of clipping, found {', '.join(chosen)}"
            )
        for way in ways:
            if (getattr(self, way) or 0) < 0:
                refuse(way, "a positive number")
        if self.gradient_accumulation_steps is not None and not self.gradient_accumulation_steps >= 2:
            refuse("gradient_accumulation_steps", "a whole number from 2 on")
        if not 0 <= self.ema_momentum <= 1:
            refuse("ema_momentum", "a number in 0 ... 1")
        frequency = self.ema_overwrite_frequency
        if frequency is not None and not (isinstance(frequency, int) and frequency >= 1):
            refuse("ema_overwrite_frequency", "a whole number from 1 on")

    def _old_spellings(self, learning_rate: Any, unknown: dict[str, Any]) -> Any:
        """Return the learning rate, which may hide in `unknown`; refuse what else is there."""
        name = type(self).__name__
        if unknown.pop("decay", None) is not None:
            warn_user(f"{name}: decay is ignored; use a schedule, such as InverseTimeDecay", FutureWarning)
        if "lr" in unknown:
            learning_rate = unknown.pop("lr")
            warn_user(f"{name}: lr is an old spelling of learning_rate", FutureWarning)
        if unknown:
            option = next(iter(unknown))
            raise ValueError(f"{name}: unknown argument {option!r}{nearest(option, self._parameters())}")
        return learning_rate

    def _start_learning_rate(self, value: Any) -> None:
        if isinstance(value, Mapping):
            value = schedules.get(value)
        if not callable(value) and not isinstance(value, float | np.floating):
            raise ValueError(
                f"{type(self).__name__}: learning_rate: expected a float or a schedule, found {value!r}"
            )
        self.learning_rate = value

    @property
    def learning_rate(self) -> float:
        """The learning rate of the next step.

        Assign a float, which is a TypeError where a schedule decides, or a schedule.
        """
        if isinstance(self._schedule, schedules.LearningRateSchedule):
            return float(self._schedule(int(self._iteration.data)))
        return float(self._rate.data if self._schedule is None else self._schedule())

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        if callable(value):
            self._schedule = value
        elif self._schedule is not None:
            raise TypeError(
                f"{self.name}: the learning rate follows a schedule, so it cannot be set to {value!r}; "
                "assign a schedule, or make the optimizer with a float"
            )
        else:
            self._rate.data[...] = value

    @property
    def iterations(self) -> int:
        """The number of updates made; with gradient accumulation several calls of `apply` are one."""
        return int(self._iteration.data) // (self.gradient_accumulation_steps or 1)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments in plain values; a schedule as ``{"class_name", "config"}``."""
        rate = self.learning_rate if self._schedule is None else serialize(self._schedule)
        return {**super().get_config(), "learning_rate": rate}

    def exclude_from_weight_decay(
        self, var_list: Iterable[Any] | None = None, var_names: Iterable[str] | None = None
    ) -> None:
        """Leave variables out of weight decay; a second call replaces the first.

        Parameters
        ----------
        var_list : iterable of variables, optional
        var_names : iterable of str, optional
            Variables in whose name one of these (regular expressions) is found.
        """
        self._excluded = (list(var_list or []), "|".join(var_names or []))

    @property
    def excluded(self) -> list[int]:
        """The numbers, among the variables of `build`, of those that weight decay leaves alone."""
        return [i for i, variable in enumerate(self._trainable) if not self._decays(variable)]

    @excluded.setter
    def excluded(self, numbers: Iterable[int]) -> None:
        self.exclude_from_weight_decay([self._trainable[i] for i in numbers])

    # --- state --------------------------------------------------------------------------------------------

    @property
    def slots_per_variable(self) -> int:
        """How many arrays of the size of a variable are kept for each."""
        shared = bool(self.use_ema) + bool(self.gradient_accumulation_steps)
        return shared + sum(len(group) for group in self.slots())

    def build(self, variables: Iterable[Any]) -> None:
        """Make the slots for `variables`; once built, do nothing.

        Raises
        ------
        TypeError
            Unless all variables are of one float type.
        """
        if self.built:
            return
        self._trainable = list(variables)
        self._index = {id(v): i for i, v in enumerate(self._trainable)}
        types = {str(v.data.dtype) for v in self._trainable} or {floatx()}
        if len(types) > 1 or not is_float(next(iter(types))):
            raise TypeError(f"{self.name}: expected variables of one float type, found {', '.join(types)}")
        (self._dtype,) = types
        stops = list(accumulate((v.data.size for v in self._trainable), initial=0))
        self._sizes = [v.data.size for v in self._trainable]
        self._spans = [slice(a, b) for a, b in pairwise(stops)]
        self._gradient: _Flat | None = None
        self._update_compiled: tuple[Any, Update | DeviceUpdate | None] = None, None
        shared = {"average": self.use_ema, "gradient_accumulator": self.gradient_accumulation_steps}
        self._shared = {name: self._flat() for name, wanted in shared.items() if wanted}
        self._groups = [{name: self._flat(fill) for name, fill in group.items()} for group in self.slots()]
        self._slots = {name: slot for group in self._groups for name, slot in group.items()}
        self.built = True

    def __deepcopy__(self, memo: dict) -> Optimizer:
        """Return a copy for the copies of the variables: what it finds them by, and its views, are new."""
        copy = memo[id(self)] = object.__new__(type(self))
        for name, value in vars(self).items():
            if name not in ("_index", "_gradient", "_shared", "_groups", "_slots", "_update_compiled"):
                setattr(copy, name, deepcopy(value, memo))
        if self.built:
            copy.built = False
            copy.build(copy._trainable)
            for mine, found in zip(copy.variables, self.variables, strict=True):
                mine.data[...] = found.data
        return copy

    def _flat(self, fill: float = 0.0) -> _Flat:
        return _Flat(self._trainable, self._spans, self._dtype, fill)

    @property
    def variables(self) -> list[Slot]:
        """The state in Keras's order, which is that of saved files.

        The number of calls, the learning rate unless it follows a schedule, the averages, the
        accumulated gradients, the slots of the rule.
        """
        found = [self._iteration] + ([self._rate] if self._schedule is None else [])
        if not self.built:
            return found
        for group in [{name: values} for name, values in self._shared.items()] + self._groups:
            for i, variable in enumerate(self._trainable):
                for slot, values in group.items():
                    name = f"{variable.path.replace('/', '_')}_{slot}"
                    found.append(Slot(name, f"{self.name}/{name}", values.views[i]))
        return found

    # --- a step -------------------------------------------------------------------------------------------

    def scale_loss(self, loss: Any) -> Any:
        """Return what to differentiate: the loss times `loss_scale_factor`."""
        return loss if self.loss_scale_factor is None else loss * self.loss_scale_factor

    def apply_gradients(self, grads_and_vars: Iterable[tuple[Any, Any]]) -> None:
        """Make one step, given pairs of gradient and variable; see `apply`."""
        pairs = list(grads_and_vars)
        self.apply([g for g, _ in pairs], [v for _, v in pairs])

    def apply(self, grads: Iterable[Any], variables: Iterable[Any] | None = None) -> None:
        """Make one step.

        Parameters
        ----------
        grads : iterable of array, Tensor or None
            One for each variable, never written into. None leaves a variable as it is, with a warning.
        variables : iterable of variables, optional
            By default those given to `build`; in the first call it builds.

        Raises
        ------
        ValueError
            If there is not one gradient of the right shape for each variable, if there is none at all,
            or a variable is none of those the optimizer was built with.
        """
        grads = [g.data if isinstance(g, Tensor) else g for g in grads]
        if not grads:
            return
        self._step(self._match(grads, variables))
        self._iteration.data += 1

    def _match(self, grads: list[Any], variables: Iterable[Any] | None) -> dict[int, Any]:
        """Return the gradients that are there, by the index of their variable."""
        if variables is None:
            if not self.built:
                raise ValueError(f"{self.name}: give the variables, or call build(variables) first")
            variables = self._trainable
        variables = list(variables)
        self.build(variables)
        if len(grads) != len(variables):
            raise ValueError(f"{self.name}: {len(grads)} gradients for {len(variables)} variables")
        found: dict[int, Any] = {}
        missing, sizes, dtype = [], self._sizes, self._dtype
        for g, v in zip(grads, variables, strict=True):
            i = self._index.get(id(v))
            if i is None:
                raise ValueError(f"{self.name}: {v.path}: none of the variables the optimizer was built with")
            if i in found:
                raise ValueError(f"{self.name}: {v.path}: given twice")
            if g is None:
                missing.append(v.path)
                continue
            data = v.data
            if data.size != sizes[i] or data.dtype != dtype:
                raise ValueError(
                    f"{self.name}: {v.path}: built for {sizes[i]} values in {dtype}, found "
                    f"{data.size} in {data.dtype}"
                )
            if g.shape != data.shape:
                raise ValueError(
                    f"{self.name}: {v.path}: expected a gradient of shape {data.shape}, found {g.shape}"
                )
            found[i] = g
        if not found:
            raise ValueError(f"{self.name}: no gradient for any variable: {', '.join(missing)}")
        if missing:
            warn_user(f"{self.name}: no gradient for {', '.join(missing)}")
        return found

    @np.errstate(all="ignore")  # what overflows shows in the loss; a warning would tell nothing more
    def _step(self, found: dict[int, Any]) -> None:
        gradients: dict[int, Any] | None = found
        if self._changes_gradients:
            gradients = self._changed(found)
        if gradients is not None:
            self._update(gradients)
        if self.use_ema:
            self._average()
        for i in found:
            variable = self._trainable[i]
            if variable.constraint is not None:
                variable.data[...] = variable.constraint(variable.data)

    @property
    def _changes_gradients(self) -> bool:
        """Whether the rule gets other gradients than those given."""
        clips = self.clipnorm or self.clipvalue or self.global_clipnorm
        return bool(clips or self.gradient_accumulation_steps or self.loss_scale_factor is not None)

    def _changed(self, found: dict[int, Any]) -> dict[int, Any] | None:
        """Return the gradients scaled, accumulated and clipped; None if more are to come before an update."""
        if self._gradient is None:
            self._gradient = self._flat()
        xp = array_module(self._gradient.flat)
        runs = self._runs(found)
        for run in runs:
            here = [i for i in sorted(found) if run.start <= self._spans[i].start < run.stop]
            xp.concatenate([found[i].ravel() for i in here], out=self._gradient.flat[run])
        if self.loss_scale_factor is not None:
            for run in runs:
                g = self._gradient.flat[run]
                g /= self.loss_scale_factor
        if not self._accumulated(runs):
            return None
        self._clip(found, runs)
        return {i: self._gradient.views[i] for i in found}

    def _runs(self, found: Collection[int]) -> list[slice]:
        """Return the spans of these variables in a flat array, neighbours joined."""
        if len(found) == len(self._trainable):
            return [slice(0, self._gradient.flat.size)]
        runs: list[slice] = []
        for i in sorted(found):
            span = self._spans[i]
            if runs and runs[-1].stop == span.start:
                runs[-1] = slice(runs[-1].start, span.stop)
            else:
                runs.append(span)
        return runs

    def _accumulated(self, runs: list[slice]) -> bool:
        """Add up gradients; whether they are enough for an update, and then their mean is the gradient."""
        n = self.gradient_accumulation_steps
        if not n:
            return True
        due = (int(self._iteration.data) + 1) % n == 0
        for run in runs:
            total, g = self._shared["gradient_accumulator"].flat[run], self._gradient.flat[run]
            total += g
            if due:
                g[...] = total / n
                total[...] = 0
        return due

    def _clip(self, found: Iterable[int], runs: list[slice]) -> None:
        flat = self._gradient.flat
        xp = array_module(flat)
        if xp is not np and (self.clipnorm or self.global_clipnorm):
            spans = [self._spans[i] for i in found] if self.clipnorm else runs
            clip_norms(flat, spans, self.clipnorm or self.global_clipnorm, together=not self.clipnorm)
        elif self.clipnorm:
            for i in found:
                g = flat[self._spans[i]]
                g *= self.clipnorm / xp.maximum(xp.sqrt(xp.vdot(g, g)), self.clipnorm)
        elif self.global_clipnorm:
            norm = xp.sqrt(sum(xp.vdot(flat[run], flat[run]) for run in runs))
            scale = self.global_clipnorm / xp.maximum(norm, self.global_clipnorm)
            for run in runs:
                flat[run] *= xp.where(xp.isfinite(norm), scale, np.nan)
        elif self.clipvalue:
            for run in runs:
                flat[run].clip(-self.clipvalue, self.clipvalue, out=flat[run])

    def _update(self, gradients: dict[int, Any]) -> None:
        learning_rate = self.learning_rate
        c = self.coefficients(learning_rate, self.iterations + 1)
        variables = [self._trainable[i] for i in gradients]
        keep = [1.0] * len(variables)
        if self.weight_decay is not None:
            keep = [1 - learning_rate * self.weight_decay if self._decays(v) else 1.0 for v in variables]
        weights = [v.data for v in variables]
        update = self._compiled(c)
        if update is not None:
            spans = [self._spans[i] for i in gradients]
            slots = {name: slot.flat for name, slot in self._slots.items()}
            update(self, c, weights, list(gradients.values()), spans, keep, slots)
            return
        for i, w, factor in zip(gradients, weights, keep, strict=True):
            slots = {name: slot.views[i] for name, slot in self._slots.items()}
            with no_grad():
                step, new = self.update(Tensor(gradients[i]), c, **{k: Tensor(s) for k, s in slots.items()})
            for name, value in new.items():
                slots[name][...] = value.data
            w *= factor
            w -= step.data

    def _compiled(self, c: Any) -> Update | DeviceUpdate | None:
        """Return the compiled update; None if the rule is not elementwise arithmetic."""
        if self._form is None:
            plain = bool, int, str, type(None)
            self._form = {
                name: value if isinstance(value, plain) and not is_number(value) else is_number(value)
                for name, value in vars(self).items()
            }
        form, (known, update) = self._form, self._update_compiled
        if known is not form:
            if known != form:
                on_host = array_module(*(v.data for v in self._trainable)) is np
                try:
                    update = (Update if on_host else DeviceUpdate)(self, c, list(self._slots), self._dtype)
                except TraceError:
                    update = None
            self._update_compiled = form, update
        return update

    def _decays(self, variable: Any) -> bool:
        variables, names = self._excluded
        return not any(v is variable for v in variables) and not (names and re.search(names, variable.name))

    def _average(self) -> None:
        momentum = self.ema_momentum if self.iterations else 0.0
        for variable, average in zip(self._trainable, self._shared["average"].views, strict=True):
            average *= momentum
            average += (1 - momentum) * variable.data
        if self.ema_overwrite_frequency and (self.iterations + 1) % self.ema_overwrite_frequency == 0:
            self.finalize_variable_values(self._trainable)

    def finalize_variable_values(self, variables: Sequence[Any]) -> None:
        """Overwrite `variables`, those of `build`, with their averages, as at the end of fit.

        Without `use_ema` nothing happens.
        """
        if not self.use_ema:
            return
        if len(variables) != len(self._trainable):
            raise ValueError(
                f"{self.name}: expected the {len(self._trainable)} variables of build, found {len(variables)}"
            )
        for variable, average in zip(variables, self._shared["average"].views, strict=True):
            variable.data[...] = average
