"""Reading a log from outside: what its copies contain, its effects, and the data they make."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Container, Sequence

from targets.engine.python import PythonEngine
from targets.memorydb_py import entries
from targets.memorydb_py.log.interface import Batch, LogCopies, Unreachable
from targets.memorydb_py.replay import Inapplicable, check

COLLECT_S = 0.25
COLLECT_TIMEOUT_S = 1.0
READ_TIMEOUT_S = 20.0
ERRORS = (Inapplicable, entries.Undecodable)  # of `replay`


class Copies:
    """Every batch of a log, and which of its copies were seen to contain it. The log is read a
    little at a time, as it is trimmed during the run.

    `log`: all batches. `differing`: in words, where two copies differ.
    """

    def __init__(self) -> None:
        self.log: list[Batch] = []
        self.differing: list[str] = []
        self._holders: list[dict[str, None]] = []  # of each batch
        self._indices: dict[int, int] = {}  # of batches, by their last n

    @property
    def last(self) -> int:
        """The n of the last entry that is known."""
        return self.log[-1].last if self.log else 0

    def take(self, copy: str, after: int, batches: Sequence[Batch]) -> None:
        """Add the batches that a copy has after n; raises ValueError if earlier ones were never
        read."""
        if after > self.last:
            raise ValueError(f"the entries from {self.last + 1} to {after} were trimmed unread")
        for batch in batches:
            index = self._indices.get(batch.last)
            if batch.first == self.last + 1:
                self._indices[batch.last] = len(self.log)
                self.log.append(batch)
                self._holders.append({copy: None})
            elif index is None or self.log[index] != batch:
                self.differing.append(f"{copy} has another entry {batch.id}")
            else:
                self._holders[index][copy] = None

    def entries(self, copy: str) -> int:
        """Return how many entries a copy was seen to contain."""
        return self._count(lambda holders: copy in holders)

    def compared(self) -> int:
        """Return how many entries were seen in more than one copy."""
        return self._count(lambda holders: len(holders) > 1)

    def _count(self, counts: Callable[[dict[str, None]], bool]) -> int:
        return sum(
            batch.last - batch.first + 1
            for batch, holders in zip(self.log, self._holders, strict=True)
            if counts(holders)
        )


class Collector:
    """Reads the copies of a log during a run, before entries may be trimmed: each copy in a task of
    its own, as one that is cut off has nothing new and one that is slow must not delay others."""

    def __init__(self, source: LogCopies) -> None:
        self.copies = Copies()
        self._source = source
        self._read = dict.fromkeys(source.names, 0)  # n up to which each was read
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._collect(name)) for name in self._source.names]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    async def _collect(self, name: str) -> None:
        while True:
            await asyncio.sleep(COLLECT_S)
            try:
                await self._read_after(name, self._read[name], COLLECT_TIMEOUT_S)
            except (Unreachable, ValueError):
                continue  # another copy may have the entries; if none had, `read_all` finds that

    async def read_all(self) -> int:
        """Read every copy from where its log begins; return the lowest n up to which one was
        trimmed. Raises `Unreachable`, and ValueError if entries were trimmed before any copy of
        them was read."""
        return min([await self._read_after(name, 0, READ_TIMEOUT_S) for name in self._source.names])

    async def _read_after(self, name: str, after: int, timeout_s: float) -> int:
        def take(after: int, batches: Sequence[Batch]) -> None:
            self.copies.take(name, after, batches)
            self._read[name] = batches[-1].last if batches else after

        return await self._source.read(name, after, take, timeout_s)


def replay(
    log: Sequence[Batch], positions: Container[int] = ()
) -> tuple[list[tuple[int, list[list[str]]]], str, dict[int, str]]:
    """Return (n, [words]) of every entry with effects, the digest of the data that they make, and
    the digests at some positions, if batches end there. Raises `Inapplicable` and
    `Undecodable`."""
    engine = PythonEngine()
    effects: list[tuple[int, list[list[str]]]] = []
    made = {}
    for batch in log:
        for n, entry in enumerate(entries.decode(batch.payload), batch.first):
            if not isinstance(entry, entries.Control) and entry:
                effects.append((n, [[w.decode("latin-1") for w in words] for words in entry]))
                check(engine.apply(entry))
        if batch.last in positions:
            made[batch.last] = engine.digest().decode()
    return effects, engine.digest().decode(), made
