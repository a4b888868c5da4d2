"""A counter whose additions return the sum."""

from __future__ import annotations

from typing import Any

from harness.models.base import INCONSISTENT, KEEP, unknown_operation


class Counter:
    """A counter with `add`, invoked with d, completed with (d, value after it), or with d where
    that is not known, and `read` of the value. Initially 0."""

    recurs = True
    cumulative = True

    def init(self) -> int:
        return 0

    def step(self, state: int, f: str, value: Any, known: bool) -> Any:
        if f == "add":
            delta, after = value if isinstance(value, tuple) else (value, None)
            if after is not None and after != state + delta:
                return INCONSISTENT
            return state + delta
        if f == "read":
            return state if not known or value == state else INCONSISTENT
        raise unknown_operation("counter", f, "add and read")

    def versions(self, f: str, value: Any, known: bool) -> tuple[Any, Any] | None:
        if not known:
            return None
        if f == "read":
            return value, KEEP
        delta, after = value if isinstance(value, tuple) else (value, None)
        return (after - delta, after) if after is not None else None
