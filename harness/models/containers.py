"""The common part of queues, stacks and priority queues."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from harness.models.base import INSERT, REMOVED


class Contents:
    """A state is a tuple of the values inside. Values are independent: without all operations on
    one the others stay as legal as they were."""

    recurs = True
    container_roles: Mapping[str, int]

    def init(self) -> tuple[Any, ...]:
        return ()

    def mentions(self, f: str, value: Any, known: bool) -> frozenset[Hashable]:
        inserted = self.container_roles[f] == INSERT
        return frozenset({value}) if inserted or (known and value is not None) else frozenset()

    def forget(self, f: str, value: Any, known: bool) -> Any:
        return value

    def without(self, f: str, value: Any, known: bool, dropped: frozenset[Hashable]) -> Any:
        return REMOVED if not dropped.isdisjoint(self.mentions(f, value, known)) else value
