"""Registers: a value that is read, written, and compared and set."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from harness.history.columns import DIFFERED
from harness.models.base import (
    ANY,
    BOUND,
    CAS,
    INCONSISTENT,
    KEEP,
    READ,
    REMOVED,
    WRITE,
    AllBut,
    unknown_operation,
)


class Register:
    """A register with `write v` and `read v`. Initially None."""

    recurs = True
    roles: Mapping[str, int] = {"read": READ, "write": WRITE}

    def init(self) -> None:
        return None

    def step(self, state: Any, f: str, value: Any, known: bool) -> Any:
        requires, installs = self.versions(f, value, known)
        if isinstance(requires, AllBut):
            return INCONSISTENT if state == requires.state else state
        if requires is not ANY and requires != state:
            return INCONSISTENT
        return state if installs is KEEP else installs

    def versions(self, f: str, value: Any, known: bool) -> tuple[Any, Any]:
        if f == "read":
            return (value if known else ANY), KEEP
        if f == "write":
            return ANY, value
        raise unknown_operation("register", f, "read and write")

    def mentions(self, f: str, value: Any, known: bool) -> frozenset[Hashable]:
        return frozenset({value}) if value is not None else frozenset()

    def forget(self, f: str, value: Any, known: bool) -> Any:
        return value

    def without(self, f: str, value: Any, known: bool, dropped: frozenset[Hashable]) -> Any:
        return REMOVED if value in dropped else value


class CasRegister(Register):
    """A register with `cas` (and `cas-watch`): invoked with (old, new), completed with (old, new)
    if it wrote new, or with (old, new, seen). It writes new if seen equals old; else it only
    observes seen, or, if seen is DIFFERED (of `harness.history.columns`), that the value was not
    old.
    """

    roles: Mapping[str, int] = {
        "read": READ,
        "write": WRITE,
        "cas": CAS,
        "cas-watch": CAS,
    }

    def versions(self, f: str, value: Any, known: bool) -> tuple[Any, Any]:
        if f not in ("cas", "cas-watch"):
            return super().versions(f, value, known)
        if not known:
            return value[0], value[1]
        old, new, seen = value if len(value) == 3 else (*value, value[0])
        if seen is DIFFERED:
            return AllBut(old), KEEP
        return (old, new) if seen == old else (seen, KEEP)

    def mentions(self, f: str, value: Any, known: bool) -> frozenset[Hashable]:
        return frozenset() if f.startswith("cas") else super().mentions(f, value, known)

    def without(self, f: str, value: Any, known: bool, dropped: frozenset[Hashable]) -> Any:
        if f.startswith("cas") and DIFFERED in value:  # it may have seen a dropped value
            return REMOVED
        if f.startswith("cas"):  # without one swap those after it are not legal
            return value if dropped.isdisjoint(value) else BOUND
        return super().without(f, value, known, dropped)
