"""Expiry: a primary deletes the keys whose time to live has passed, and says so in the log."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Protocol

from harness.host import Host
from targets.engine.protocol import Context, Engine, Estimating, Outcome
from targets.engine.resp import Error
from targets.memorydb_py.node.connection import Connection
from targets.memorydb_py.node.shard import Shard
from targets.servers.later import Lane, Steps
from targets.servers.statistics import Statistics

EVERY_S = 0.02
CHECK_EVERY = 5  # rounds
EXPIRED_IN_AN_ENTRY = 64
EXPIRED_BYTES = 1 << 20  # of names of keys in an entry
EXPIRED_ELEMENTS = 10_000  # in an entry: to free them takes time
EXPIRE_NS = 3_500_000  # of each round, at most


def _retry_later() -> None:
    """Do nothing when the lease is renewed: the next round finds it so."""


class Expiring(Protocol):
    """A node, as `Expiry` uses it; see there."""

    host: Host
    engine: Engine
    shard: Shard
    statistics: Statistics

    @property
    def sessions(self) -> Mapping[int, Connection]: ...

    def check_lease(self) -> bool: ...

    def overloaded(self) -> Error | None: ...

    def time_ms(self) -> int: ...

    def now(self) -> Context: ...

    def settle(self, session: Connection | None, outcome: Outcome) -> int: ...

    def serve_all_blocked(self) -> Steps: ...


class Expiry:
    """Also disconnects clients that have exceeded the soft limit of their replies for too long."""

    def __init__(self, node: Expiring, lane: Lane) -> None:
        self._node = node
        self._lane = lane
        self._estimating = node.engine if isinstance(node.engine, Estimating) else None
        self._unlink = node.engine.commands.get(b"UNLINK")

    async def run(self) -> None:
        """Delete keys and disconnect clients, until the process ends."""
        node = self._node
        while True:
            for _ in range(CHECK_EVERY):
                await asyncio.sleep(EVERY_S)
                await self._delete_all()
            node.statistics.tick(asyncio.get_running_loop().time())
            for session in list(node.sessions.values()):
                if session.soft_since is not None:
                    session.check_limit()

    async def _delete_all(self) -> None:
        """Delete what has expired, for EXPIRE_NS at most; others are served between two entries."""
        node, spent, more = self._node, 0, True
        while more and spent < EXPIRE_NS and not self._lane.busy and node.overloaded() is None:
            if not node.check_lease():
                return
            began, before = node.host.spent_ns(), node.statistics.expired
            self._lane.do(self._delete())
            more = node.statistics.expired > before
            spent += node.host.spent_ns() - began
            await asyncio.sleep(0)

    def _due(self) -> list[bytes]:
        """Return the keys of the next entry; none while the lease is renewed for a big one."""
        node = self._node
        keys: list[bytes] = []
        size = work = 0
        for key in node.engine.keys.due(node.time_ms(), EXPIRED_IN_AN_ENTRY):
            size += len(key)
            work += self._elements(key)
            if keys and (size > EXPIRED_BYTES or work > EXPIRED_ELEMENTS):
                break
            keys.append(key)
            if work > EXPIRED_ELEMENTS and not node.shard.outlasts_work(_retry_later):
                return []
        return keys

    def _elements(self, key: bytes) -> int:
        if self._estimating is None or self._unlink is None:
            return 1
        return self._estimating.work((b"UNLINK", key), self._unlink)

    def _delete(self) -> Steps:
        """Delete keys that have expired, by a command that reads them: one entry for all."""
        node = self._node
        generation = node.shard.generation
        keys = self._due()
        if not keys:
            return
        node.host.charge(len(keys))
        outcome = yield node.engine.execute((b"EXISTS", *keys), node.now())
        if node.shard.generation != generation:
            return
        node.statistics.expired += len(outcome.writes)
        node.settle(None, outcome)
        yield from node.serve_all_blocked()  # a group's stream may have expired
