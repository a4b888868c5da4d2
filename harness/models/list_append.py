"""An append-only list."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from harness.models.base import INCONSISTENT, KEEP, REMOVED, unknown_operation


class ListAppend:
    """A list with `append`, invoked with v, completed with (v, length after it), or (v, None) where
    the length is not known, and `read` of the whole list. Initially empty."""

    recurs = False

    def init(self) -> tuple[Any, ...]:
        return ()

    def step(self, state: tuple[Any, ...], f: str, value: Any, known: bool) -> Any:
        if f == "append":
            element, length = value if known else (value, None)
            if length is not None and length != len(state) + 1:
                return INCONSISTENT
            return (*state, element)
        if f == "read":
            return state if not known or tuple(value or ()) == state else INCONSISTENT
        raise unknown_operation("list", f, "append and read")

    def versions(self, f: str, value: Any, known: bool) -> tuple[Any, Any] | None:
        return (tuple(value or ()), KEEP) if f == "read" and known else None

    def reaches(self, state: tuple[Any, ...], later: tuple[Any, ...]) -> bool:
        return later[: len(state)] == state

    def mentions(self, f: str, value: Any, known: bool) -> frozenset[Hashable]:
        if f == "append":
            return frozenset({value[0] if known else value})
        return frozenset(value or ()) if known else frozenset()

    def forget(self, f: str, value: Any, known: bool) -> Any:
        return (value[0], None) if f == "append" and known else value

    def without(self, f: str, value: Any, known: bool, dropped: frozenset[Hashable]) -> Any:
        """Without a value the lengths are wrong, so they are removed, too."""
        if f == "append":
            element = value[0] if known else value
            if element in dropped:
                return REMOVED
            return (element, None) if known else element
        return tuple(v for v in value or () if v not in dropped) if known else value
