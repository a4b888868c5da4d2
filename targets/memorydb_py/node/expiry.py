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

EVERY_S = 0.1
EXPIRED_IN_AN_ENTRY = 256
EXPIRED_BYTES = 1 << 20  # of names of keys in an entry
EXPIRED_ELEMENTS = 10_000  # in an entry: to free them takes time
EXPIRE_NS = 25_000_000  # a quarter of the time, at most


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

    async def run(self) -> None:
        """Delete keys and disconnect clients, until the process ends."""
        node = self._node
        while True:
            await asyncio.sleep(EVERY_S)
            node.statistics.tick(asyncio.get_running_loop().time())
            for session in list(node.sessions.values()):
                if session.soft_since is not None:
                    session.check_limit()
            await self._delete_all()

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
        engine = self._node.engine
        if not isinstance(engine, Estimating):
            return 1
        return engine.work((b"UNLINK", key), engine.commands[b"UNLINK"])

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
