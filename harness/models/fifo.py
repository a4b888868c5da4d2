"""A queue: first in, first out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.models.base import DEQUEUE, ENQUEUE, INCONSISTENT, unknown_operation


class FifoQueue:
    """`enqueue v`; `dequeue`, completed with a value, or None where the queue was empty. Empty at
    first."""

    recurs = True
    queue_roles: Mapping[str, int] = {"enqueue": ENQUEUE, "dequeue": DEQUEUE}

    def init(self) -> tuple[Any, ...]:
        return ()

    def step(self, state: tuple[Any, ...], f: str, value: Any, known: bool) -> Any:
        if f == "enqueue":
            return (*state, value)
        if f != "dequeue":
            raise unknown_operation("fifo-queue", f, "enqueue and dequeue")
        if known and (state[0] if state else None) != value:
            return INCONSISTENT
        return state[1:]
