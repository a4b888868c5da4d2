"""Hashes and sorted sets: fields with values."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from harness.models.base import (
    ANY,
    INCONSISTENT,
    KEEP,
    REMOVED,
    Model,
    unknown_operation,
)


class _Fields:
    """The common part of both. A state is the set of (field, value) pairs. `names`: the operations
    that set, get and delete a field."""

    recurs = True
    names: tuple[str, str, str]
    model: str

    def __init__(self) -> None:
        self.part_model: Model = _Field(self.names)

    def init(self) -> frozenset[Any]:
        return frozenset()

    def step(self, state: frozenset[Any], f: str, value: Any, known: bool) -> Any:
        if f == "read":
            return state if not known or _pairs(value) == state else INCONSISTENT
        part = self.part(f, value, known)
        if part is None:
            raise unknown_operation(self.model, f, f"{', '.join(self.names)} and read")
        field, of_field = part
        before = dict(state).get(field)
        after = self.part_model.step(before, f, of_field, known)
        if after is INCONSISTENT or after == before:
            return after if after is INCONSISTENT else state
        others = frozenset(pair for pair in state if pair[0] != field)
        return others if after is None else others | {(field, after)}

    def versions(self, f: str, value: Any, known: bool) -> tuple[Any, Any] | None:
        if f == "read" or (f == self.names[1] and not known):
            return (_pairs(value) if known else ANY), KEEP
        return None

    def reads(self, f: str, value: Any) -> bool:
        return f in ("read", self.names[1])

    def part(self, f: str, value: Any, known: bool) -> tuple[Hashable, Any] | None:
        put, get, delete = self.names
        if f == put:
            return value[0], value[1:]
        if f == get:
            return value if isinstance(value, tuple) else (value, None)
        if f == delete:
            return value if isinstance(value, tuple) else (value, None)
        return None

    def mentions(self, f: str, value: Any, known: bool) -> frozenset[Hashable]:
        if f == "read":
            return frozenset(field for field, _ in _pairs(value)) if known else frozenset()
        part = self.part(f, value, known)
        return frozenset({part[0]}) if part is not None else frozenset()

    def forget(self, f: str, value: Any, known: bool) -> Any:
        put, _, delete = self.names
        if f == put:
            return value[:2]
        return value[0] if f == delete and isinstance(value, tuple) else value

    def without(self, f: str, value: Any, known: bool, dropped: frozenset[Hashable]) -> Any:
        if f == "read":
            return tuple(p for p in _pairs(value) if p[0] not in dropped) if known else value
        return REMOVED if not dropped.isdisjoint(self.mentions(f, value, known)) else value


class Hash(_Fields):
    """A hash with `set` [field, value], completed with that or with [field, value, whether the
    field is new], `get` [field, value seen, or null], `delete` field, completed with that or with
    [field, whether it existed], and `read` of all [field, value]. Initially empty."""

    names = ("set", "get", "delete")
    model = "hash"


class SortedSet(_Fields):
    """A sorted set with `add` [member, score], completed with that or with [member, score, whether
    the member is new], `score` [member, score seen, or null], `remove` member, completed with that
    or with [member, whether it existed], `pop-min`, completed with the least [member, score] by
    score, then by member, or null, and `read` of all [member, score]. Initially empty."""

    names = ("add", "score", "remove")
    model = "sorted-set"

    def step(self, state: frozenset[Any], f: str, value: Any, known: bool) -> Any:
        if f != "pop-min":
            return super().step(state, f, value, known)
        least = min(state, key=lambda pair: (pair[1], pair[0]), default=None)
        if known and least != value:
            return INCONSISTENT
        return state - {least}

    def mentions(self, f: str, value: Any, known: bool) -> frozenset[Hashable]:
        if f == "pop-min":
            return frozenset({value[0]}) if known and value is not None else frozenset()
        return super().mentions(f, value, known)


class _Field:
    """One field: its value, or None. Values of operations are those of `_Fields.part`, without the
    field's name."""

    recurs = True

    def __init__(self, names: tuple[str, str, str]) -> None:
        self._put, self._get, self._delete = names

    def init(self) -> None:
        return None

    def step(self, state: Any, f: str, value: Any, known: bool) -> Any:
        if f == self._get:
            return state if not known or value == state else INCONSISTENT
        installs, result = (value[0], value[1:]) if f == self._put else (None, (value,))
        changes = state is None if f == self._put else state is not None
        if known and result and result[0] is not None and result[0] != changes:
            return INCONSISTENT
        return installs

    def versions(self, f: str, value: Any, known: bool) -> tuple[Any, Any] | None:
        if f == self._get:
            return (value if known else ANY), KEEP
        result = value[1] if f == self._put and len(value) > 1 else None
        if f == self._delete:
            result = value
        if not known or result is None:
            return ANY, value[0] if f == self._put else None
        if f == self._put:
            return (None, value[0]) if result else None
        return None if result else (None, KEEP)


def _pairs(value: Any) -> frozenset[Any]:
    if isinstance(value, Mapping):
        return frozenset(value.items())
    return frozenset(value or ())
