"""The transaction log as a node sees it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

import msgspec


class Id(NamedTuple):
    """Of an entry: the n of the leadership entry that it was written under, and its own n."""

    epoch: int
    n: int

    def __str__(self) -> str:
        return f"{self.epoch}.{self.n}"


ZERO = Id(0, 0)  # before the first entry


class Batch(msgspec.Struct, frozen=True, array_like=True):
    """Entries first..last of one epoch, committed together; `payload` holds them, as their writer
    encoded them. It is a leadership entry where `epoch` equals `first`."""

    epoch: int
    first: int
    last: int
    payload: bytes

    @property
    def id(self) -> Id:
        """Of the last entry."""
        return Id(self.epoch, self.last)


class Refused(Exception):
    """The entry that an append had to follow is not the last one, and never will be. `tail`: the
    last committed entry then."""

    def __init__(self, tail: Id) -> None:
        super().__init__(f"refused: the log is at {tail}")
        self.tail = tail


class TransactionLog(Protocol):
    """Appends may be made before earlier ones are acknowledged: each names the last of them."""

    def append(self, after: Id, batch: Batch) -> asyncio.Future[None]:
        """Done when the batch is durable; raises `Refused`. Waits as long as it takes."""
        ...

    async def tail(self) -> Id:
        """The last committed entry: of the moment of the call, or later."""
        ...

    def follow(
        self, after: int, deliver: Callable[[Batch], None], trimmed: Callable[[int], None]
    ) -> None:
        """From now on deliver every committed batch that holds an entry after n, in order; replaces
        what was followed before. The first one may begin before it. `trimmed`: what comes next is
        not kept any more, nor is anything up to this n; nothing more will come."""
        ...

    def unfollow(self) -> None:
        """Deliver nothing more."""
        ...

    def applied(self, n: int) -> None:
        """This node has applied everything up to n."""
        ...

    def positions(self, watch: Callable[[Mapping[str, int]], None] | None) -> None:
        """How far each other node that is connected has applied, whenever it changes; None: no
        more."""
        ...

    def trim(self, n: int) -> None:
        """Entries up to n need not be kept: whoever lacks them can begin with a snapshot."""
        ...

    def close(self) -> None: ...
