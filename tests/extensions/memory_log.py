"""A transaction log in the harness' memory, for simulated runs, and the reference on it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from harness.host import Host
from targets.memorydb_py.log.interface import ZERO, Batch, Id, LogCopies, Refused, TransactionLog
from targets.memorydb_py.processes import Parts
from targets.memorydb_py.target import MemoryDB

MOMENT_S = 0.002  # how long an append takes, and how often followers poll


class Service:
    """The storage of the log: it never fails and is never trimmed."""

    names: Sequence[str] = ("memory",)

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self.applied: dict[str, int] = {}

    @property
    def tail(self) -> Id:
        return self.batches[-1].id if self.batches else ZERO

    def since(self, n: int) -> list[Batch]:
        return [batch for batch in self.batches if batch.last > n]

    async def is_voter(self, name: str) -> bool:
        return True

    async def read(
        self,
        name: str,
        after: int,
        take: Callable[[int, Sequence[Batch]], None],
        timeout_s: float,
    ) -> int:
        take(after, self.since(after))
        return 0


class MemoryLog:
    """A process' connection to the service."""

    def __init__(self, service: Service, name: str) -> None:
        self._service, self._name = service, name
        self._following: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None

    def append(self, after: Id, batch: Batch) -> asyncio.Future[None]:
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        if after == self._service.tail:
            self._service.batches.append(batch)
            loop.call_later(MOMENT_S, lambda: done.done() or done.set_result(None))
        else:
            done.set_exception(Refused(self._service.tail))
        return done

    async def tail(self) -> Id:
        await asyncio.sleep(MOMENT_S)
        return self._service.tail

    def follow(
        self, after: int, deliver: Callable[[Batch], None], trimmed: Callable[[int], None]
    ) -> None:
        self.unfollow()

        async def poll(at: int) -> None:
            while True:
                for batch in self._service.since(at):
                    at = batch.last
                    deliver(batch)
                await asyncio.sleep(MOMENT_S)

        self._following = asyncio.get_running_loop().create_task(poll(after))

    def unfollow(self) -> None:
        if self._following is not None:
            self._following.cancel()

    def applied(self, n: int) -> None:
        self._service.applied[self._name] = n

    def positions(self, watch: Callable[[Mapping[str, int]], None] | None) -> None:
        if self._watching is not None:
            self._watching.cancel()
        if watch is not None:

            async def poll(watch: Callable[[Mapping[str, int]], None]) -> None:
                while True:
                    others = {n: at for n, at in self._service.applied.items() if n != self._name}
                    watch(others)
                    await asyncio.sleep(MOMENT_S)

            self._watching = asyncio.get_running_loop().create_task(poll(watch))

    def trim(self, n: int) -> None: ...

    def close(self) -> None: ...


class OnMemory(Parts):
    def __init__(self) -> None:
        self.service = Service()

    def log(self, host: Host, azs: Sequence[str]) -> TransactionLog:
        return MemoryLog(self.service, host.name)


class MemoryLogDB(MemoryDB):
    """The reference on a log in memory."""

    azs = ()

    def copies(self) -> LogCopies:
        self.parts = OnMemory()
        return self.parts.service

    def tolerates(self, out: set[str], cut: set[tuple[str, str]]) -> bool:
        return True
