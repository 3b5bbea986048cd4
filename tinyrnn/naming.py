"""Names and configurations: the nearest known name, objects from strings, a config from a constructor."""

from __future__ import annotations

import difflib
import functools
import inspect
import re
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

__all__ = [
    "Configurable",
    "auto_name",
    "by_name",
    "clear_session",
    "custom_object",
    "custom_object_scope",
    "is_ours",
    "lookup",
    "nearest",
    "serialize",
    "snake_case",
    "warn_user",
]


def snake_case(name: str) -> str:
    """``"SimpleRNN" -> "simple_rnn"``, ``"MaxPooling1D" -> "max_pooling1d"``, as Keras names layers."""
    name = re.sub(r"(.)([A-Z][a-z0-9]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


_name_counts: Counter[str] = Counter()


def auto_name(kind: str) -> str:
    """Return ``kind``, ``kind_1``, ``kind_2``, ...: each once in this process, as Keras counts."""
    n = _name_counts[kind]
    _name_counts[kind] += 1
    return f"{kind}_{n}" if n else kind


def clear_session() -> None:
    """Start the automatic names over: the next LSTM is called ``lstm`` again."""
    _name_counts.clear()


def by_name(*classes: type) -> dict[str, type]:
    """Return the classes by their names and by these in snake case."""
    return {name: c for c in classes for name in (c.__name__, snake_case(c.__name__))}


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a hint for an error message: ``"; did you mean 'adam'?"``, or the list of what is known."""
    known = sorted(set(known))
    lower = {k.lower(): k for k in known}
    close = difflib.get_close_matches(name.lower(), lower, n=1)
    if close:
        return f"; did you mean {lower[close[0]]!r}?"
    return f"; known are {', '.join(known)}" if known else ""


def warn_user(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn, with the line of the user's program and not one of this package."""
    frame, depth = sys._getframe(1), 2
    while frame is not None and frame.f_globals.get("__name__", "").startswith("tinyrnn."):
        frame, depth = frame.f_back, depth + 1
    warnings.warn(message, category, stacklevel=depth)


@functools.cache
def _parameters_of(constructor: Callable) -> list[inspect.Parameter]:
    """Return the parameters of a constructor, without `self`; asking `inspect` takes its time."""
    return list(inspect.signature(constructor).parameters.values())[1:]


class Configurable:
    """An object that can be written down: for every constructor parameter it has an attribute of that name.

    Then its configuration need not be spelled a second time: `get_config` reads the attributes that the
    constructor's signature names, `from_config` calls the constructor with them.
    """

    @classmethod
    def _parameters(cls) -> dict[str, inspect.Parameter]:
        """Return the constructor's parameters; what a ``**kwargs`` passes on is looked up in the bases."""
        found: dict[str, inspect.Parameter] = {}
        for base in cls.__mro__:
            if "__init__" not in vars(base) or base is object:
                continue
            parameters = _parameters_of(vars(base)["__init__"])
            for p in parameters:
                if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY):
                    found.setdefault(p.name, p)
            if not any(p.kind is p.VAR_KEYWORD for p in parameters):
                break
        return found

    def get_config(self) -> dict[str, Any]:
        """Return what the constructor needs to make this object again, in plain Python values."""
        return {name: serialize(getattr(self, name)) for name in self._parameters() if hasattr(self, name)}

    def clone(self, **changes: Any) -> Any:
        """Return a new object made with the same arguments, but for the `changes`; nothing is shared."""
        arguments = {n: _clone(getattr(self, n)) for n in self._parameters() if hasattr(self, n)}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of old spellings: said when they were written
            return type(self)(**(arguments | changes))

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Any:
        """Make an object from what `get_config` returned, here or in Keras 3.

        Raises
        ------
        ValueError
            For a setting of Keras that is not supported.
        """
        return cls(**(_known(cls, config) if is_ours(cls) else config))


# What Keras writes, or wrote, that is no setting here, with the values for which that does not matter.
_MEANINGLESS: dict[str, tuple] = {
    "data_format": (None, "channels_last"),
    "decay": (0.0,),
    "lora_alpha": (None,),
    "lora_rank": (None,),
    "quantization_config": (None,),
    "ragged": (None, False),
    "renorm": (False,),
    "reverse_state_order": (False,),
    "sparse": (None, False),
    "time_major": (False,),
}
_WITHOUT_EFFECT = frozenset(
    {"autocast", "batch_input_shape", "dtype", "fn", "implementation", "input_length", "is_legacy_optimizer",
     "jit_compile", "trainable", "use_cudnn"}
)  # fmt: skip


def _known(cls: type[Configurable], config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a configuration the constructor takes; the rest must mean nothing."""
    parameters = cls._parameters()
    for key, value in config.items():
        if key in parameters or key in _WITHOUT_EFFECT:
            continue
        if key in _MEANINGLESS:
            if value not in _MEANINGLESS[key]:
                raise ValueError(f"{cls.__name__}: {key}={value!r} is not supported")
        elif value not in (None, False):
            warn_user(f"{cls.__name__}: ignored {key}={value!r}, which is no setting here")
    found = {key: value for key, value in config.items() if key in parameters}
    if isinstance(found.get("dtype"), Mapping):  # a policy of Keras, for weights and for computing
        found["dtype"] = found["dtype"]["config"]["name"]
    return found


def is_ours(cls: type) -> bool:
    """Whether a class belongs to this package and not to a user."""
    return cls.__module__.partition(".")[0] == __name__.partition(".")[0]


def _clone(value: Any) -> Any:
    if isinstance(value, Configurable):
        return value.clone()
    return type(value)(map(_clone, value)) if isinstance(value, list | tuple) else value


def serialize(value: Any) -> Any:
    """Return `value` as plain Python values, functions by their name.

    Objects become ``{"module", "class_name", "config", "registered_name"}``, as Keras writes them; those that
    Keras has too have its module.
    """
    if isinstance(value, Configurable):
        cls = type(value)
        ours = is_ours(cls)
        return {
            "module": _module_in_keras(cls) if ours else cls.__module__,
            "class_name": cls.__name__,
            "config": value.get_config(),
            "registered_name": None if ours and cls.__name__ != "Functional" else cls.__name__,
        }
    if isinstance(value, list | tuple):
        return type(value)(serialize(v) for v in value)
    if isinstance(value, Mapping):
        return {k: serialize(v) for k, v in value.items()}
    if isinstance(value, np.generic):
        return value.item()
    if inspect.isfunction(value) or hasattr(value, "__wrapped__"):
        return value.__name__
    return value


def _module_in_keras(cls: type) -> str:
    """``tinyrnn.layers.recurrent -> keras.layers``, as Keras's own files have it."""
    family, _, file = cls.__module__.partition(".")[2].partition(".")
    if family == "models":
        return "keras.src.models.functional" if cls.__name__ == "Functional" else "keras"
    return f"keras.{family}.schedules" if file == "schedules" else f"keras.{family}"


# --- objects from names -----------------------------------------------------------------------------------

_custom: ContextVar[Mapping[str, Any]] = ContextVar("custom objects", default={})  # noqa: B039 - never changed


@contextmanager
def custom_object_scope(objects: Mapping[str, Any] | None) -> Iterator[None]:
    """Know classes and functions by these names, before all others, inside a ``with``.

    Parameters
    ----------
    objects : mapping of str to class or function, optional
        A name may have Keras's prefix (``"Custom>Peephole"``).
    """
    named = {name.rpartition(">")[2]: value for name, value in (objects or {}).items()}
    token = _custom.set({**_custom.get(), **named})
    try:
        yield
    finally:
        _custom.reset(token)


def custom_object(name: str) -> Any:
    """Return what `custom_object_scope` knows by this name; None outside of any."""
    return _custom.get().get(name)


def lookup(kind: str, identifier: Any, table: Mapping[str, Any]) -> Any:
    """Resolve what a user may give for an initializer, a loss, an optimizer, ...

    Parameters
    ----------
    kind : str
        What is looked for, in the words of the error message (``"optimizer"``).
    identifier : None, str, dict, class, instance or callable
        None stays None; a name is looked up (a class found is called without arguments); a dictionary
        ``{"class_name", "config"}`` is what `serialize` made; a class is called; the rest is returned.
    table : mapping of str to class or function

    Raises
    ------
    ValueError
        For an unknown name, with the nearest known one.
    TypeError
        For something that is none of these.
    """
    if identifier is None:
        return None
    if isinstance(identifier, str):
        return _make(_find(kind, identifier, table))
    if isinstance(identifier, Mapping):
        if "class_name" not in identifier:
            raise ValueError(f"{kind}: expected a dictionary with 'class_name', found {sorted(identifier)}")
        found = _find(kind, identifier["class_name"], table)
        if inspect.isclass(found):
            return found.from_config(dict(identifier.get("config") or {}))
        return found
    if callable(identifier) or isinstance(identifier, Configurable):
        return _make(identifier)
    raise TypeError(f"{kind}: expected a name, a dictionary, a class or an object, found {identifier!r}")


def _find(kind: str, name: str, table: Mapping[str, Any]) -> Any:
    custom = _custom.get()
    if name in custom:
        return custom[name]
    if name not in table:
        raise ValueError(f"unknown {kind} {name!r}{nearest(name, table)}")
    return table[name]


def _make(found: Callable) -> Any:
    return found() if inspect.isclass(found) else found
