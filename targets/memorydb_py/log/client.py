"""A node's log client: finds the leader, resends unacknowledged appends, follows one AZ."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from harness.host import Host
from targets.memorydb_py.log.interface import Batch, Id, Refused
from targets.memorydb_py.log.messages import (
    GONE,
    Applied,
    Beat,
    Committed,
    Entries,
    Follow,
    Gap,
    Hello,
    Leading,
    Message,
    Positions,
    Propose,
    Refusal,
    Tail,
    TailRequest,
    Trim,
    Trimmed,
    Unfollow,
    Watch,
)
from targets.memorydb_py.log.service import SILENCE_S
from targets.memorydb_py.log.wire import Connection, keep_connected

CHECK_S = 0.05
PING_S = 0.1


class _Az:
    """One AZ as this node sees it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.connection: Connection | None = None
        self.term = 0
        self.leads = False
        self.fresh = False

    @property
    def up(self) -> bool:
        return self.connection is not None and self.connection.open


class _Proposal(NamedTuple):
    after: Id
    batch: Batch
    future: asyncio.Future[None]


class LogClient:
    """`TransactionLog` over the three AZs. An append is sent to the leader, and resent unchanged to
    each later leader until it is answered."""

    def __init__(self, host: Host, azs: Sequence[str], secret: bytes = b"") -> None:
        """`azs`: the nearest first, which is followed if possible. `secret`: of the log."""
        self._host = host
        self._secret = secret
        self._loop = asyncio.get_running_loop()
        self._azs = {az: _Az(az) for az in azs}
        self._leader: _Az | None = None
        self._unacknowledged: dict[int, _Proposal] = {}  # by number, in the order of appends
        self._tails: dict[int, asyncio.Future[Id]] = {}
        self._number = 0
        self._deliver: Callable[[Batch], None] | None = None
        self._on_trimmed: Callable[[int], None] | None = None
        self._trim_to = 0  # n up to which entries may be trimmed
        self._followed: _Az | None = None
        self._following = 0  # number of the `Follow` request
        self._received = 0  # n of the last entry delivered
        self._applied = 0
        self._positions: dict[str, dict[str, int]] = {}  # by AZ, by node
        self._watch: Callable[[Mapping[str, int]], None] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._tasks = [self._loop.create_task(self._keep(az)) for az in self._azs.values()]
        self._tasks.append(self._loop.create_task(self._check()))
        self._tasks.append(self._loop.create_task(self._ping()))

    # --- the interface

    def append(self, after: Id, batch: Batch) -> asyncio.Future[None]:
        future: asyncio.Future[None] = self._loop.create_future()
        self._number += 1
        proposal = self._unacknowledged[self._number] = _Proposal(after, batch, future)
        if self._leader is not None:
            self._propose(self._leader, self._number, proposal)
        return future

    async def tail(self) -> Id:
        self._number += 1
        number = self._number
        future = self._tails[number] = self._loop.create_future()
        self._ask(number)
        try:
            tail: Id = await future
            return tail
        finally:
            self._tails.pop(number, None)

    def follow(
        self, after: int, deliver: Callable[[Batch], None], trimmed: Callable[[int], None]
    ) -> None:
        self._received, self._deliver, self._on_trimmed = after, deliver, trimmed
        self._followed = None
        self._choose()

    def unfollow(self) -> None:
        if self._followed is not None and self._followed.up:
            self._send(self._followed, Unfollow())
        self._deliver = self._on_trimmed = self._followed = None
        self._following = 0

    def applied(self, n: int) -> None:
        if n != self._applied:
            self._applied = n
            if self._followed is not None and self._followed.up:
                self._send(self._followed, Applied(n))

    def positions(self, watch: Callable[[Mapping[str, int]], None] | None) -> None:
        self._watch = watch
        self._positions.clear()
        for az in self._azs.values():
            if az.up:
                self._send(az, Watch(watch is not None))

    def trim(self, n: int) -> None:
        self._trim_to = n
        for az in self._azs.values():
            if az.up:
                self._send(az, Trim(n))

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        for az in self._azs.values():
            if az.connection is not None:
                az.connection.abort()

    # --- connections

    async def _keep(self, az: _Az) -> None:
        def opened(connection: Connection) -> None:
            az.connection = connection
            connection.send(Hello(self._host.name))
            connection.send(Applied(self._applied))
            if self._watch is not None:
                connection.send(Watch(True))
            if self._trim_to:
                connection.send(Trim(self._trim_to))

        await keep_connected(self._host, az.name, self, opened, SILENCE_S, self._secret)

    async def _check(self) -> None:
        """Follow another AZ when the present one is disconnected or not fresh."""
        while True:
            await asyncio.sleep(CHECK_S)
            followed = self._followed
            if self._deliver is not None and (
                followed is None or not followed.up or not followed.fresh
            ):
                self._choose()

    async def _ping(self) -> None:
        """Send heartbeats to every AZ. One that hears nothing aborts the connection, and a new one
        is made at once, where TCP could wait long before it retransmits."""
        while True:
            await asyncio.sleep(PING_S)
            for az in self._azs.values():
                if az.up:
                    self._send(az, Applied(self._applied))

    def _choose(self) -> None:
        """Follow the nearest AZ that is connected and fresh."""
        able = [az for az in self._azs.values() if az.up and az.fresh]
        if self._deliver is None or not able or able[0] is self._followed:
            return
        self._followed = able[0]
        self._number += 1
        self._following = self._number
        self._send(able[0], Follow(self._following, self._received))
        self._send(able[0], Applied(self._applied))

    def _of(self, connection: Connection) -> _Az | None:
        return next((az for az in self._azs.values() if az.connection is connection), None)

    @staticmethod
    def _send(az: _Az, message: Message) -> None:
        assert az.connection is not None
        az.connection.send(message)

    def lost(self, connection: Connection) -> None:
        az = self._of(connection)
        if az is None:
            return
        az.connection, az.leads, az.fresh = None, False, False
        self._positions.pop(az.name, None)
        if self._leader is az:
            self._leader = None
            self._find_leader()
        if self._followed is az:
            self._followed = None
            self._choose()

    def received(self, connection: Connection, message: Message) -> None:
        az = self._of(connection)
        if az is None:
            return
        match message:
            case Committed():
                if az is self._leader:
                    self._acknowledged(message.numbers)
            case Entries():
                if az is self._followed and message.number == self._following:
                    self._on_entries(message)
            case Trimmed():
                if az is self._followed and message.number == self._following:
                    on_trimmed = self._on_trimmed
                    self.unfollow()
                    if on_trimmed is not None:
                        on_trimmed(message.n)
            case Beat():
                az.fresh = message.fresh
                if self._followed is None:
                    self._choose()
            case Leading():
                self._on_leading(az, message)
            case Refusal():
                if az is self._leader:
                    self._refused(message)
            case Gap():
                # It lacks entries that were acknowledged: do not take it for the leader.
                if az is self._leader and message.number in self._unacknowledged:
                    connection.abort()
            case Tail():
                future = self._tails.get(message.number)
                if future is not None and not future.done():
                    future.set_result(Id(message.epoch, message.n))
            case Positions():
                self._positions.setdefault(az.name, {}).update(message.by_node)
                if self._watch is not None:
                    self._watch(self._merged())

    def _merged(self) -> dict[str, int]:
        merged: dict[str, int] = {}
        for by_node in self._positions.values():
            for node, n in by_node.items():
                if n != GONE:
                    merged[node] = max(n, merged.get(node, 0))
        merged.pop(self._host.name, None)
        return merged

    # --- the leader

    def _on_leading(self, az: _Az, message: Leading) -> None:
        az.term, az.leads = message.term, message.leads
        if message.leads:
            az.fresh = True
        if self._leader is az:
            self._leader = None
        self._find_leader()

    def _find_leader(self) -> None:
        """Choose the leader of the latest term; resend all unacknowledged requests to a new one."""
        leading = [az for az in self._azs.values() if az.leads and az.up]
        best = max(leading, key=lambda az: az.term, default=None)
        if best is None or best is self._leader:
            return
        self._leader = best
        for number, proposal in self._unacknowledged.items():
            self._propose(best, number, proposal)
        for number in self._tails:
            self._ask(number)

    def _propose(self, leader: _Az, number: int, proposal: _Proposal) -> None:
        b = proposal.batch
        self._send(
            leader,
            Propose(number, leader.term, proposal.after.epoch, b.epoch, b.first, b.last, b.payload),
        )

    def _ask(self, number: int) -> None:
        if self._leader is not None:
            self._send(self._leader, TailRequest(number))

    def _acknowledged(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            proposal = self._unacknowledged.pop(number, None)
            if proposal is not None and not proposal.future.done():
                proposal.future.set_result(None)

    def _refused(self, message: Refusal) -> None:
        """Fail a refused proposal, and those sent later that follow it."""
        proposal = self._unacknowledged.get(message.number)
        if proposal is None:
            return
        first = proposal.batch.first
        tail = Id(message.tail_epoch, message.tail_n)
        for number, other in list(self._unacknowledged.items()):
            if number == message.number or (number > message.number and other.batch.first > first):
                del self._unacknowledged[number]
                if not other.future.done():
                    other.future.set_exception(Refused(tail))

    # --- following

    def _on_entries(self, message: Entries) -> None:
        for record in message.records:
            if record.last <= self._received:
                continue
            if record.first > self._received + 1:
                self._host.log(
                    f"log: entries between {self._received} and {record.first} are missing"
                )
                self._followed = None
                return
            if self._deliver is None:  # stopped by the previous delivery
                return
            self._deliver(Batch(record.epoch, record.first, record.last, record.payload))
            self._received = record.last
