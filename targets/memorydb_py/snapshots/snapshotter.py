"""The off-box snapshotter: restores, replays to the tail, dumps, rehearses, uploads.

The paper, 4.2; behaviours 41 to 46 of the project's memorydb.md. Nodes take no part in it: it
reads the log as a replica does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Container, Sequence
from dataclasses import dataclass

from harness.host import Host
from targets.engine import Call, State
from targets.engine.rdb import Malformed
from targets.memorydb_py import entries
from targets.memorydb_py.log.client import LogClient
from targets.memorydb_py.log.interface import ZERO, Batch, TransactionLog
from targets.memorydb_py.node.shard import NEVER_MS, Inapplicable, Shard, checksum
from targets.memorydb_py.snapshots.objects import Objects
from targets.memorydb_py.snapshots.recovery import recover, usable
from targets.memorydb_py.snapshots.snapshot import Snapshot, name_of, positions, read, write

KEPT = 2
LOOK_S = 0.2


@dataclass(frozen=True, kw_only=True)
class SnapshotSettings:
    """`azs`: of the log, the nearest first. `every`: a snapshot is taken when the newest is so many
    entries behind the log. `version`: the oldest engine's that is to read them."""

    azs: Sequence[str]
    every: int
    version: int


async def serve_snapshotter(host: Host, settings: SnapshotSettings, objects: Objects) -> None:
    """Keep the newest snapshot fresh, for ever."""
    log = LogClient(host, settings.azs)
    distrusted: dict[str, None] = {}
    while True:
        await asyncio.sleep(LOOK_S)
        try:
            there = positions(await objects.names())
            tail = (await log.tail()).n
            of_newest = max((n for n, name in there if n <= tail and name not in distrusted),
                            default=0)  # fmt: skip
            if tail - of_newest >= settings.every:
                name = await take(host, log, objects, settings.version, distrusted)
                if name is not None:
                    await trim(host, log, objects, settings.version, distrusted)
        except OSError as e:
            host.log(f"snapshots: the store can't be had: {e}")
            await asyncio.sleep(LOOK_S)


async def take(
    host: Host,
    log: TransactionLog,
    objects: Objects,
    version: int,
    distrusted: dict[str, None],
) -> str | None:
    """One snapshot of the log as it is now; returns its name when it is in the store, None where
    something speaks against it. `distrusted`: snapshots that the log has contradicted."""
    tail = await log.tail()
    start = await recover(host, objects, version, distrusted)
    shadow = Shadow(host, start, version)
    await shadow.follow(log, upto=tail.n)
    if shadow.wrong is not None:
        host.log(f"snapshots: none up to {tail}: {shadow.wrong}")
        if start is not None and shadow.contradicted:
            distrusted[name_of(start.id)] = None
        return None
    made = Snapshot(shadow.state, shadow.id, shadow.checksum, shadow.leader, version)
    name, data = name_of(made.id), write(made)
    wrong = await rehearse(host, log, data, version)
    if wrong is not None:
        host.log(f"snapshots: {name} is not offered: {wrong}")
        return None
    await objects.put(name, data)
    host.log(f"snapshots: {name}, {len(made.state.values)} keys, {len(data)} bytes")
    return name


async def trim(
    host: Host,
    log: TransactionLog,
    objects: Objects,
    version: int,
    distrusted: Container[str],
) -> None:
    """Let the log forget what the second-newest usable snapshot holds, so that one may yet turn out
    to be damaged (D13, behaviour 44), and delete those before it."""
    good = await usable(host, objects, version, distrusted)
    if len(good) < KEPT:
        return
    oldest = good[KEPT - 1][0]
    log.trim(oldest)
    for n, name in positions(await objects.names()):
        if n < oldest:
            await objects.delete(name)


async def rehearse(host: Host, log: TransactionLog, data: bytes, version: int) -> str | None:
    """What is wrong with a snapshot: it is restored, and the log is replayed from its position to
    the next checksum that a primary has put in."""
    try:
        restored = await read(data)
    except Malformed as e:
        return str(e)
    shadow = Shadow(host, restored, version)
    await shadow.follow(log, upto=None)
    return shadow.wrong


class Shadow:
    """A copy of the shard that serves nobody. `wrong`: why it went no further. `contradicted`:
    whether that is because the log does not go with what it began with."""

    def __init__(self, host: Host, start: Snapshot | None, version: int) -> None:
        self.state = State(sharded=True) if start is None else start.state
        self.id = ZERO if start is None else start.id
        self.checksum = 0 if start is None else start.checksum
        self.leader = None if start is None else start.leader
        self.wrong: str | None = None
        self.contradicted = False
        self._confirmed = start is None  # by a checksum of the log
        self._host = host
        self._version = version
        self._call = Call(self.state, NEVER_MS, host.rng)
        self._upto: int | None = None
        self._done = asyncio.Event()

    async def follow(self, log: TransactionLog, upto: int | None) -> None:
        """To an entry; None: to the next checksum."""
        self._upto = upto
        if upto is None or self.id.n < upto:
            log.follow(self.id.n, self._apply, self._lacking)
            await self._done.wait()
            log.unfollow()

    def _lacking(self, upto: int) -> None:
        self.wrong = f"the log begins after {upto}"
        self._done.set()

    def _apply(self, batch: Batch) -> None:
        if self._done.is_set() or batch.last <= self.id.n:
            return
        for entry in entries.decode(batch.payload):
            if entries.is_effects(entry):
                self._host.charge(1)
                try:
                    Shard.apply_effects(self._call, entry)
                    self._call.messages.clear()  # nobody listens here
                    wrong = None
                except Inapplicable as e:
                    wrong = str(e)
                    self.contradicted = not self._confirmed
            else:
                wrong = self._look(entry)
            if wrong is not None:
                self.wrong = f"{wrong}, at {batch.id}"
                self._done.set()
                return
        self.checksum = checksum(batch, self.checksum)
        self.id = batch.id
        if self._upto is not None and batch.last >= self._upto:
            self._done.set()

    def _look(self, entry: entries.Entry) -> str | None:
        if entry[0] == entries.LEADER:
            if entries.version_of(entry) > self._version:
                return f"entries of engine version {entries.version_of(entry)}"
            self.leader = entry[1]
        if entry[0] == entries.RELEASE:
            self.leader = None
        if entry[0] == entries.RENEW:
            if entry[1] != self.checksum:
                self.contradicted = not self._confirmed
                return f"the log's checksum is {entry[1]:08x}, not {self.checksum:08x}"
            self._confirmed = True
            if self._upto is None:
                self._done.set()
        return None
