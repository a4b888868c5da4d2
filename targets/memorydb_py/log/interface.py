"""The transaction log: what nodes, the snapshotter and the audit know of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

import msgspec


class Id(NamedTuple):
    """The id of an entry: the n of the leadership entry it was written under, and its own n."""

    epoch: int
    n: int

    def __str__(self) -> str:
        return f"{self.epoch}.{self.n}"


ZERO = Id(0, 0)  # before the first entry


class Batch(msgspec.Struct, frozen=True, array_like=True):
    """Entries first..last of one epoch, committed together. `payload`: the entries, as their writer
    encoded them. A batch whose `epoch` equals `first` is a leadership entry."""

    epoch: int
    first: int
    last: int
    payload: bytes

    @property
    def id(self) -> Id:
        """The id of the last entry."""
        return Id(self.epoch, self.last)


class Refused(Exception):
    """The precondition of an append failed for good: the entry that it names is not the last one.
    `tail`: the last committed entry then."""

    def __init__(self, tail: Id) -> None:
        super().__init__(f"refused: the log is at {tail}")
        self.tail = tail


class TransactionLog(Protocol):
    """A log with conditional appends, which may be pipelined: each names the one before it."""

    def append(self, after: Id, batch: Batch) -> asyncio.Future[None]:
        """Append a batch directly after an entry. The future is done when the batch is durable,
        however long that takes, or raises `Refused`."""
        ...

    async def tail(self) -> Id:
        """Return the id of the last committed entry, as of the call or later."""
        ...

    def follow(
        self, after: int, deliver: Callable[[Batch], None], trimmed: Callable[[int], None]
    ) -> None:
        """Deliver every committed batch with an entry beyond position `after`, in order, from now
        on; replaces an earlier call. The first batch may begin before that position. If the next
        entries were trimmed, `trimmed` is called with the position up to which the log was trimmed,
        and nothing is delivered."""
        ...

    def unfollow(self) -> None:
        """Stop delivering."""
        ...

    def applied(self, n: int) -> None:
        """Report that this node has applied all entries up to n."""
        ...

    def positions(self, watch: Callable[[Mapping[str, int]], None] | None) -> None:
        """Call `watch` with the n that each other connected node has applied, whenever one
        changes; None: stop."""
        ...

    def trim(self, n: int) -> None:
        """Allow the log to drop entries up to n: a node without them can restore a snapshot."""
        ...

    def close(self) -> None: ...


class Unreachable(Exception):
    """A copy of the log could not be read in time."""


class LogCopies(Protocol):
    """The copies of a log, each read by itself: what an audit compares. `names`: of the copies."""

    names: Sequence[str]

    async def is_voter(self, name: str) -> bool:
        """Return whether a copy is a voting member. Raises `Unreachable`."""
        ...

    async def read(
        self,
        name: str,
        after: int,
        take: Callable[[int, Sequence[Batch]], None],
        timeout_s: float,
    ) -> int:
        """Read the committed entries of a copy after an n; return the n after which it begins.

        Calls `take(n, batches after n)` as they arrive: first with no batches, to say where it
        begins, which is later if the next entries were trimmed. Batches taken before a failure are
        valid. Raises `Unreachable`.
        """
        ...
