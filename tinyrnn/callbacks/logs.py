"""Logs of a training whose numbers may still be on a GPU."""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, Mapping, ValuesView
from typing import Any

from tinyrnn.backend import on_device, to_host
from tinyrnn.ops import to_array

__all__ = ["Logs", "as_logs"]


class Logs(dict):
    """A dictionary of numbers that fetches them from the GPU when one is read.

    All of them at once, and once: whoever reads no value does not wait for the device. Keys, their number and
    order can be looked at for nothing.
    """

    @property
    def waits(self) -> bool:
        """Whether there is something to fetch."""
        return any(_on_device(value) for value in super().values())

    def fetch(self) -> Logs:
        """Fetch what is on the device, and return these logs."""
        for key, value in super().items():
            if _on_device(value):
                self[key] = _as_float(value)
        return self

    def by_name(self) -> Logs:
        """Return the same logs in the order of their names, nothing fetched."""
        return Logs(sorted(super().items(), key=lambda item: item[0]))

    def __iter__(self) -> Iterator[str]:  # defined, so that ``dict(logs)`` asks for the values below
        return super().__iter__()

    def __getitem__(self, key: str) -> Any:
        self.fetch()
        return super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        """Return a value, or `default`."""
        self.fetch()
        return super().get(key, default)

    def values(self) -> ValuesView:
        """Return the values."""
        self.fetch()
        return super().values()

    def items(self) -> ItemsView:
        """Return names and values."""
        self.fetch()
        return super().items()

    def copy(self) -> dict[str, Any]:
        """Return a plain dictionary of the numbers."""
        return dict(self.items())

    def pop(self, *args: Any) -> Any:
        """Take a value out and return it."""
        self.fetch()
        return super().pop(*args)

    def popitem(self) -> tuple[str, Any]:
        """Take the last item out and return it."""
        self.fetch()
        return super().popitem()

    def setdefault(self, key: str, default: Any = None) -> Any:
        """Return a value, `default` if there was none and now is."""
        self.fetch()
        return super().setdefault(key, default)

    def __or__(self, other: Mapping[str, Any]) -> dict[str, Any]:
        return self.copy() | dict(other)

    def __ror__(self, other: Mapping[str, Any]) -> dict[str, Any]:
        return dict(other) | self.copy()

    def __eq__(self, other: object) -> bool:
        return self.copy() == other

    def __ne__(self, other: object) -> bool:
        return self.copy() != other

    __hash__ = None

    def __repr__(self) -> str:
        return repr(self.copy())

    def __reduce__(self) -> tuple:
        return dict, (self.copy(),)


def as_logs(logs: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return logs as they are if all of their numbers are on the host, or else so that they can be read."""
    if isinstance(logs, Logs) or not any(map(_on_device, logs.values())):
        return logs
    return Logs(logs)


def _on_device(value: Any) -> bool:
    return not isinstance(value, float) and on_device(to_array(value))


def _as_float(value: Any) -> Any:
    value = to_host(to_array(value))
    return value if value.ndim else value.item()
