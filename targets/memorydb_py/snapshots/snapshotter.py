"""The off-box snapshotter: restores the newest snapshot, replays the log to its end, takes a
snapshot, verifies it by restoring it, and stores it.

As in section 4.2 of the MemoryDB paper (SIGMOD 2024), nodes take no part in it: the snapshotter
reads the log as a replica does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Container
from dataclasses import dataclass

from harness.host import Host
from targets.engine.python import PythonEngine
from targets.engine.rdb import Malformed
from targets.memorydb_py import entries
from targets.memorydb_py.log.interface import ZERO, Batch, TransactionLog
from targets.memorydb_py.replay import Inapplicable, check, checksum
from targets.memorydb_py.snapshots.objects import ObjectStore
from targets.memorydb_py.snapshots.recovery import recover, usable
from targets.memorydb_py.snapshots.snapshot import (
    Snapshot,
    assemble,
    name_of,
    positions,
    read,
    restore,
)

KEPT = 2
LOOK_S = 0.2


@dataclass(frozen=True, kw_only=True)
class SnapshotSettings:
    """`every`: by how many entries the newest snapshot is behind the log when another is taken.
    `version`: the oldest engine version of the nodes that are to read it."""

    every: int
    version: int


async def serve_snapshotter(
    host: Host, log: TransactionLog, objects: ObjectStore, settings: SnapshotSettings
) -> None:
    """Take snapshots until the process ends."""
    distrusted: dict[str, None] = {}
    while True:
        await asyncio.sleep(LOOK_S)
        try:
            stored = positions(await objects.names())
            tail = (await log.tail()).n
            newest = max((n for n, name in stored if n <= tail and name not in distrusted),
                         default=0)  # fmt: skip
            if tail - newest >= settings.every:
                name = await take(host, log, objects, settings.version, distrusted)
                if name is not None:
                    await trim(host, log, objects, settings.version, distrusted)
        except OSError as e:
            host.log(f"snapshots: the object store is not available: {e}")
            await asyncio.sleep(LOOK_S)


async def take(
    host: Host,
    log: TransactionLog,
    objects: ObjectStore,
    version: int,
    distrusted: dict[str, None],
) -> str | None:
    """Take and store a snapshot of the log as it is now; return its name, or None if the copy
    or the snapshot is wrong. `distrusted`: names of snapshots that the log has contradicted."""
    tail = await log.tail()
    start = await recover(host, objects, version, distrusted)
    copy = Copy(host, version)
    await copy.begin(start)
    await copy.follow(log, upto=tail.n)
    if copy.wrong is not None:
        host.log(f"snapshots: none up to {tail}: {copy.wrong}")
        if start is not None and copy.contradicted:
            distrusted[name_of(start.id)] = None
        return None
    made = assemble(copy.engine.rdb(), copy.id, copy.checksum, copy.leader, version)
    name = name_of(made.id)
    wrong = await verify(host, log, made.file, version)
    if wrong is not None:
        host.log(f"snapshots: {name} is not stored: {wrong}")
        return None
    await objects.put(name, made.file)
    host.log(f"snapshots: {name}, {len(copy.engine.keys)} keys, {len(made.file)} bytes")
    return name


async def trim(
    host: Host,
    log: TransactionLog,
    objects: ObjectStore,
    version: int,
    distrusted: Container[str],
) -> None:
    """Trim the log up to the second-newest usable snapshot, as the newest may yet turn out to be
    damaged, and delete those before it."""
    good = await usable(host, objects, version, distrusted)
    if len(good) < KEPT:
        return
    oldest = good[KEPT - 1][0]
    log.trim(oldest)
    for n, name in positions(await objects.names()):
        if n < oldest:
            await objects.delete(name)


async def verify(host: Host, log: TransactionLog, file: bytes, version: int) -> str | None:
    """Verify a snapshot: restore it, and replay the log from its position to the next checksum
    that a primary has appended. Return what is wrong with it, or None."""
    try:
        restored = read(file)
    except Malformed as e:
        return str(e)
    copy = Copy(host, version)
    await copy.begin(restored)
    await copy.follow(log, upto=None)
    return copy.wrong


class Copy:
    """A copy of the shard that serves no clients. `wrong`: why it stopped. `contradicted`: the
    snapshot that it started from is malformed, or does not agree with the log."""

    def __init__(self, host: Host, version: int) -> None:
        self.engine = PythonEngine(sharded=True)
        self.id = ZERO
        self.checksum = 0
        self.leader: str | None = None
        self.wrong: str | None = None
        self.contradicted = False
        self._confirmed = True  # by a checksum of the log
        self._host = host
        self._version = version
        self._upto: int | None = None
        self._done = asyncio.Event()

    async def begin(self, start: Snapshot | None) -> None:
        """Restore a snapshot, or start empty if it is None."""
        if start is None:
            return
        self.id, self.checksum, self.leader = start.id, start.checksum, start.leader
        self._confirmed = False
        try:
            await restore(self.engine, start)
        except Malformed as e:
            self.wrong, self.contradicted = str(e), True

    async def follow(self, log: TransactionLog, upto: int | None) -> None:
        """Apply the log up to a position, or, for None, up to the next checksum."""
        self._upto = upto
        if self.wrong is None and (upto is None or self.id.n < upto):
            log.follow(self.id.n, self._apply, self._on_trimmed)
            await self._done.wait()
            log.unfollow()

    def _on_trimmed(self, upto: int) -> None:
        self._stop(f"the log begins after {upto}")

    def _stop(self, why: str) -> None:
        self.wrong = why
        self._done.set()

    def _apply(self, batch: Batch) -> None:
        if self._done.is_set() or batch.last <= self.id.n:
            return
        try:
            for entry in entries.decode(batch.payload):
                if isinstance(entry, entries.Control):
                    wrong = self._observe(entry)
                    if wrong is not None:
                        self._stop(f"{wrong}, at {batch.id}")
                        return
                else:
                    self._host.charge(1)
                    check(self.engine.apply(entry))
        except Inapplicable as e:
            self.contradicted = not self._confirmed
            self._stop(f"{e}, at {batch.id}")
            return
        except entries.Undecodable as e:
            raise SystemExit(f"log: at {batch.id} {e}") from e
        self.checksum = checksum(batch, self.checksum)
        self.id = batch.id
        if self._upto is not None and batch.last >= self._upto:
            self._done.set()

    def _observe(self, entry: entries.Control) -> str | None:
        """Apply an entry about leadership; return why the copy can't continue, or None."""
        match entry:
            case entries.Leader(node, _, version, _):
                if version > self._version:
                    return f"entries of engine version {version}"
                self.leader = node
            case entries.Release():
                self.leader = None
            case entries.Renew(wanted, _):
                if wanted != self.checksum:
                    self.contradicted = not self._confirmed
                    return f"the log's checksum is {wanted:08x}, not {self.checksum:08x}"
                self._confirmed = True
                if self._upto is None:
                    self._done.set()
        return None
