"""A queue: first in, first out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.models.base import FIRST, INCONSISTENT, INSERT, REMOVE, unknown_operation
from harness.models.containers import Contents


class FifoQueue(Contents):
    """A queue with `enqueue v` and `dequeue`, completed with a value, or None where it was empty.
    Initially empty."""

    discipline = FIRST
    container_roles: Mapping[str, int] = {"enqueue": INSERT, "dequeue": REMOVE}

    def step(self, state: tuple[Any, ...], f: str, value: Any, known: bool) -> Any:
        if f == "enqueue":
            return (*state, value)
        if f != "dequeue":
            raise unknown_operation("fifo-queue", f, "enqueue and dequeue")
        if known and (state[0] if state else None) != value:
            return INCONSISTENT
        return state[1:]
