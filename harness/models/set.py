"""A set that only grows."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from harness.models.base import GONE, INCONSISTENT, KEEP, unknown_operation


class GrowSet:
    """`add e`; `read`: all members, in any order."""

    recurs = False

    def init(self) -> frozenset[Any]:
        return frozenset()

    def step(self, state: frozenset[Any], f: str, value: Any, known: bool) -> Any:
        if f == "add":
            return state | {value}
        if f == "read":
            return state if not known or frozenset(value) == state else INCONSISTENT
        raise unknown_operation("set", f, "add and read")

    def versions(self, f: str, value: Any, known: bool) -> tuple[Any, Any] | None:
        return (frozenset(value), KEEP) if f == "read" and known else None

    def reaches(self, state: frozenset[Any], later: frozenset[Any]) -> bool:
        return state <= later

    def mentions(self, f: str, value: Any, known: bool) -> frozenset[Hashable]:
        if f == "add":
            return frozenset({value})
        return frozenset(value) if known else frozenset()

    def forget(self, f: str, value: Any, known: bool) -> Any:
        return value

    def without(self, f: str, value: Any, known: bool, dropped: frozenset[Hashable]) -> Any:
        if f == "add":
            return GONE if value in dropped else value
        return tuple(v for v in value if v not in dropped) if known else value
