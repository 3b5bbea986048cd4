"""Several callbacks as one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tinyrnn.callbacks.base import HOOKS, Callback
from tinyrnn.callbacks.logs import Logs
from tinyrnn.callbacks.recording import History, ProgbarLogger
from tinyrnn.naming import nearest
from tinyrnn.nest import leaves

__all__ = ["CallbackList"]


class CallbackList:
    """Several callbacks as one: ``callbacks.on_epoch_end(epoch, logs)`` calls that hook of each.

    Parameters
    ----------
    callbacks : Callback, iterable of them, or None
    add_history, add_progbar : bool
        Add a `History`, a `ProgbarLogger` if there is none yet.
    model : Model
    **params
        For the callbacks: ``verbose``, ``epochs``, ``steps``.

    Raises
    ------
    TypeError
        For something that is no callback.
    """

    def __init__(
        self,
        callbacks: Any = None,
        add_history: bool = False,
        add_progbar: bool = False,
        model: Any = None,
        **params: Any,
    ):
        self.callbacks = [c for c in leaves(callbacks) if c is not None]
        for c in self.callbacks:
            if isinstance(c, type) or not hasattr(c, "on_epoch_end"):
                raise TypeError(f"callbacks: expected Callback objects, found {c!r}")
        for wanted, kind in ((add_history, History), (add_progbar, ProgbarLogger)):
            if wanted and not any(isinstance(c, kind) for c in self.callbacks):
                self.callbacks.append(kind())
        self.callbacks.sort(key=lambda c: getattr(c, "comes_last", False))
        for c in self.callbacks:
            c.set_model(model)
            c.set_params(params)

        self._having: dict[str, list[Callback]] = {}  # by hook, those that do something there

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"CallbackList has no {name!r}{nearest(name, HOOKS)}")

    def _call(self, hook: str, index: tuple, logs: dict | None) -> None:
        if hook not in self._having:
            self._having[hook] = [c for c in self.callbacks if _has(c, hook)]
        if self._having[hook]:
            if isinstance(logs, Logs):
                logs = logs.by_name()
            else:
                logs = {key: _as_float(value) for key, value in sorted((logs or {}).items())}
            for c in self._having[hook]:
                getattr(c, hook)(*index, logs)

    def close(self) -> None:
        """Leave the terminal as it was, also after an error."""
        for c in self.callbacks:
            if isinstance(c, ProgbarLogger):
                c.close()


def _hook_of_all(hook: str) -> Callable:
    """Return a hook of `CallbackList`, which calls that of each."""
    if "_epoch_" in hook or "_batch_" in hook:
        return lambda self, index, logs=None: self._call(hook, (index,), logs)
    return lambda self, logs=None: self._call(hook, (), logs)


for _hook in HOOKS:
    setattr(CallbackList, _hook, _hook_of_all(_hook))


def _has(callback: Any, hook: str) -> bool:
    """Whether a callback does anything at a hook: those of batches are called often."""
    hooks = (hook, hook.replace("_train_", "_")) if "_train_batch_" in hook else (hook,)
    return any(getattr(getattr(callback, h), "__func__", None) is not vars(Callback)[h] for h in hooks)


def _as_float(value: Any) -> Any:
    """Return a number of any library, also a tensor's, as Python's; other things as they are."""
    return float(value) if getattr(value, "ndim", None) == 0 else value
