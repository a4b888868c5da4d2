"""A priority queue: the least value is removed first."""

from __future__ import annotations

from bisect import insort
from collections.abc import Mapping
from typing import Any

from harness.models.base import INCONSISTENT, INSERT, LEAST, REMOVE, unknown_operation
from harness.models.containers import Contents


class PriorityQueue(Contents):
    """A queue with `insert v` and `remove-min`, completed with the least value, or None where it
    was empty. Values are compared as Python compares them: [priority, item] by priority first.
    Initially empty."""

    discipline = LEAST
    container_roles: Mapping[str, int] = {"insert": INSERT, "remove-min": REMOVE}

    def step(self, state: tuple[Any, ...], f: str, value: Any, known: bool) -> Any:
        if f == "insert":
            values = list(state)
            insort(values, value)
            return tuple(values)
        if f != "remove-min":
            raise unknown_operation("priority-queue", f, "insert and remove-min")
        if known and (state[0] if state else None) != value:
            return INCONSISTENT
        return state[1:]
