"""A register whose value expires."""

from __future__ import annotations

from typing import Any, Final

from harness.history.columns import Marker
from harness.models.base import INCONSISTENT, unknown_operation

EXPIRED: Final = Marker("EXPIRED")


class Expiring:
    """A register with `write v`, once, `expire`, which comes after it, and `read` of v, or None
    before the write and after the expiry."""

    recurs = True

    def init(self) -> None:
        return None

    def step(self, state: Any, f: str, value: Any, known: bool) -> Any:
        if f == "write":
            return value
        if f == "expire":
            return INCONSISTENT if state is None else EXPIRED
        if f == "read":
            seen = None if state is EXPIRED else state
            return state if not known or seen == value else INCONSISTENT
        raise unknown_operation("expiring", f, "write, expire and read")

    def reads(self, f: str, value: Any) -> bool:
        return f == "read"
