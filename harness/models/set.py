"""Sets: one that only grows, and one with removals."""

from __future__ import annotations

from collections.abc import Collection, Hashable
from typing import Any

from harness.history.columns import Marker
from harness.models.base import ANY, INCONSISTENT, KEEP, REMOVED, Model, unknown_operation

NEVER = Marker("NEVER")  # required by a read that returned an element twice: no state is equal


def _split(value: Any) -> tuple[Any, Any]:
    """Return (element, result or None)."""
    if isinstance(value, tuple) and len(value) == 2 and value[1] in (None, False, True):
        return value
    return value, None


class _Elements:
    """The common part of both: a state is the set of its elements."""

    def init(self) -> frozenset[Any]:
        return frozenset()

    def step(self, state: frozenset[Any], f: str, value: Any, known: bool) -> Any:
        if f == "read":
            fits = not known or (len(value) == len(state) and frozenset(value) == state)
            return state if fits else INCONSISTENT
        if f not in ("add", "remove", "contains"):
            raise unknown_operation("set", f, "add, remove, contains and read")
        element, result = _split(value)
        inside = element in state
        if f == "contains":
            return state if not known or result is None or result == inside else INCONSISTENT
        if known and result is not None and result == (inside if f == "add" else not inside):
            return INCONSISTENT
        return state | {element} if f == "add" else state - {element}

    def reads(self, f: str, value: Any) -> bool:
        return f in ("contains", "read")

    def versions(self, f: str, value: Any, known: bool) -> tuple[Any, Any] | None:
        if f == "contains" and not known:
            return ANY, KEEP
        if f != "read" or not known:
            return None
        members = frozenset(value)
        return (members if len(members) == len(value) else NEVER), KEEP

    def mentions(self, f: str, value: Any, known: bool) -> frozenset[Hashable]:
        if f == "read":
            return frozenset(value) if known else frozenset()
        return frozenset({_split(value)[0]})

    def forget(self, f: str, value: Any, known: bool) -> Any:
        return _split(value)[0] if f in ("add", "remove") else value

    def without(self, f: str, value: Any, known: bool, dropped: frozenset[Hashable]) -> Any:
        if f == "read":
            return tuple(v for v in value if v not in dropped) if known else value
        return REMOVED if _split(value)[0] in dropped else value


class GrowSet(_Elements):
    """A set with `add e` and `read` of all members, in any order. Initially empty."""

    recurs = False

    def reaches(self, state: frozenset[Any], later: Any) -> bool:
        return later is not NEVER and state <= later


class Set(_Elements):
    """A set with `add e` and `remove e`, completed with e or [e, whether it changed anything],
    `contains` [e, whether it is a member], and `read` of all members, in any order. Elements must
    not be lists. Initially empty."""

    recurs = True

    def __init__(self) -> None:
        self.part_model: Model = _Member()

    def suited(self, names: Collection[str]) -> Model:
        return GrowSet() if {"add", "read"}.issuperset(names) else self

    def part(self, f: str, value: Any, known: bool) -> tuple[Hashable, Any] | None:
        return None if f == "read" else _split(value)


class _Member:
    """One element: a state is whether it is a member. Values of operations are their results."""

    recurs = True

    def init(self) -> bool:
        return False

    def step(self, state: bool, f: str, value: Any, known: bool) -> Any:
        requires, installs = self.versions(f, value, known)
        if requires is not ANY and requires != state:
            return INCONSISTENT
        return state if installs is KEEP else installs

    def versions(self, f: str, value: Any, known: bool) -> tuple[Any, Any]:
        if f == "contains":
            return (value if known and value is not None else ANY), KEEP
        inside = f == "add"
        if not known or value is None:
            return ANY, inside
        return (not inside, inside) if value else (inside, KEEP)
