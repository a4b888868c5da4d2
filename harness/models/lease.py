"""A lock that expires, with fencing tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.history.columns import OPEN
from harness.models.base import INCONSISTENT, Model, Operation, last_read, unknown_operation

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

    def constrained(self, operations: Sequence[Operation]) -> Model:
        """Tokens tell how many acquires of unknown outcome were granted, and between which others;
        a search would try all of them anywhere."""
        certain = [e for e in operations if e.known and e.ret != OPEN]
        taken = {e.value[1] for e in certain if e.f == "acquire" and e.value[1] is not None}
        last = last_read(certain)
        return _Counted(frozenset(taken), None if last is None else last.value)


class _Counted(Lease):
    """A `Lease` whose acquires of unknown outcome get neither a token of `taken`, which another one
    got, nor one beyond the `last`."""

    def __init__(self, taken: frozenset[int], last: int | None) -> None:
        self._taken = taken
        self._last = last

    def step(self, state: State, f: str, value: Any, known: bool) -> Any:
        if f == "acquire" and not known:
            token = state[1] + 1
            if token in self._taken or (self._last is not None and token > self._last):
                return INCONSISTENT
        return super().step(state, f, value, known)

    def constrained(self, operations: Sequence[Operation]) -> Model:
        return self
