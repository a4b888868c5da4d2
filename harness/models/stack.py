"""A stack: last in, first out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.models.base import INCONSISTENT, INSERT, LAST, REMOVE, unknown_operation
from harness.models.containers import Contents


class Stack(Contents):
    """A stack with `push v` and `pop`, completed with a value, or None where it was empty.
    Initially empty."""

    discipline = LAST
    container_roles: Mapping[str, int] = {"push": INSERT, "pop": REMOVE}

    def step(self, state: tuple[Any, ...], f: str, value: Any, known: bool) -> Any:
        if f == "push":
            return (*state, value)
        if f != "pop":
            raise unknown_operation("stack", f, "push and pop")
        if known and (state[-1] if state else None) != value:
            return INCONSISTENT
        return state[:-1]
