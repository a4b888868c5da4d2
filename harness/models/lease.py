"""A lock that expires, with fencing tokens."""

from __future__ import annotations

from typing import Any

from harness.models.base import INCONSISTENT, unknown_operation

State = tuple[Any, int]  # the owner that holds the lock, or None; the last token


class Lease:
    """A lock with `acquire`, invoked with (owner, None), completed with (owner, token), or with
    (owner, None) where another owner held it; `release`, completed with owner or (owner, whether it
    held the lock); `expire` of the lease of (owner, token or None), which comes after its grant and
    does nothing if the owner holds the lock no more; and `read` of the last token. Tokens count
    from 1. Owners acquire once."""

    recurs = True

    def init(self) -> State:
        return None, 0

    def step(self, state: State, f: str, value: Any, known: bool) -> Any:
        holder, last = state
        if f == "acquire":
            owner, token = value
            if known and token is None:
                return state if holder is not None else INCONSISTENT
            if holder is not None or (known and token != last + 1):
                return INCONSISTENT
            return owner, last + 1
        if f == "release":
            owner, held = value if isinstance(value, tuple) else (value, None)
            if known and held is not None and bool(held) != (holder == owner):
                return INCONSISTENT
            return (None, last) if holder == owner else state
        if f == "expire":
            owner, token = value
            if token is not None and token > last:
                return INCONSISTENT
            return (None, last) if holder == owner else state
        if f == "read":
            return state if not known or value == last else INCONSISTENT
        raise unknown_operation("lease", f, "acquire, release, expire and read")

    def reads(self, f: str, value: Any) -> bool:
        return f == "read"
