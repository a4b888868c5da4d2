"""The process of an AZ: its connections to the other two, and to nodes."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from harness.host import Host
from targets.memorydb_py.log.interface import Batch, Id
from targets.memorydb_py.log.messages import (
    ENTRIES,
    GONE,
    Append,
    AppendReply,
    Applied,
    Beat,
    Committed,
    Entries,
    Follow,
    Gap,
    Hello,
    InstallBase,
    Leading,
    Message,
    Peer,
    Positions,
    Propose,
    Record,
    Refusal,
    Status,
    StatusRequest,
    Tail,
    TailRequest,
    Trim,
    Trimmed,
    Unfollow,
    Vote,
    VoteReply,
    Watch,
)
from targets.memorydb_py.log.replica import Replica
from targets.memorydb_py.log.store import Store
from targets.memorydb_py.log.wire import Connection, keep_connected, new_nonce

BEAT_S = 0.05
SILENCE_S = 0.4
ENTRIES_BYTES_MAX = 1 << 20


@dataclass(frozen=True, kw_only=True)
class AzSettings:
    """`azs`: all three, this one included. `create`: make an empty store an original member's.
    `secret`: that other AZs and nodes must know."""

    azs: Sequence[str]
    create: bool = False
    secret: bytes = b""


async def serve_az(host: Host, settings: AzSettings) -> None:
    """Run an AZ of the log until it ends."""
    service = Service(host, settings)
    await service.run()


class _Node:
    """A connected node."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.accepted: deque[tuple[int, int]] = deque()  # (index, number), uncommitted
        self.following: int | None = None  # number of its `Follow` request
        self.next = 0  # index of the next record for it
        self.after = 0  # n after which it follows
        self.watches = False
        self.pings = False  # whether it sends heartbeats


class _OtherEnd:
    """Receives the responses of another AZ on the connection made to it."""

    def __init__(self, replica: Replica, name: str) -> None:
        self._replica = replica
        self._name = name

    def received(self, connection: Connection, message: Message) -> None:
        match message:
            case AppendReply():
                self._replica.appended(self._name, message)
            case VoteReply():
                self._replica.voted(self._name, message)
            case Beat():
                return
            case _:
                connection.abort()

    def lost(self, connection: Connection) -> None:
        return None


class Service:
    """The server of an AZ. Implements `Peers`."""

    def __init__(self, host: Host, settings: AzSettings) -> None:
        self._host = host
        self._create = settings.create
        self._secret = settings.secret
        self._azs = list(settings.azs)
        self._store = Store(host, self._azs, lambda: self._replica.synced())
        self._replica = Replica(host, self._store, self._azs, self, self._changed)
        self._out: dict[str, Connection] = {}
        self._nodes: dict[Connection, _Node] = {}
        self._peers: dict[Connection, str] = {}  # the names of the AZs that made them
        self._tails: list[tuple[int, int, Connection]] = []  # (round or 0, number, source)
        # (n, request, source): to be refused once entry n is committed
        self._conflicts: list[tuple[int, Propose, Connection]] = []
        self._positions: dict[str, int] = {}
        self._announced: tuple[int, bool] = (0, False)
        self._committed = 0
        self._trim_to = 0  # n up to which entries may be trimmed
        self._trim_wanted = asyncio.Event()

    async def run(self) -> None:
        """Run the AZ. Never returns."""
        await self._store.open(create=self._create)
        self._host.log(
            f"log: {self._store.last} records, up to {self._store.last_id}, "
            f"term {self._store.meta.term}"
        )
        await self._host.serve(self._accept)
        dialing = [self._dial(az) for az in self._azs if az != self._host.name]
        await asyncio.gather(self._replica.run(), self._beat(), self._trim_on(), *dialing)

    def _accept(self) -> Connection:
        return Connection(
            self,
            lambda connection: None,
            name=self._host.name,
            accepts=True,
            nonce=new_nonce(self._host),
            secret=self._secret,
        )

    async def _dial(self, az: str) -> None:
        def opened(connection: Connection) -> None:
            self._out[az] = connection
            connection.send(Peer(self._host.name))
            self._replica.connected(az)

        end = _OtherEnd(self._replica, az)
        await keep_connected(self._host, az, end, opened, SILENCE_S, self._secret)

    async def _beat(self) -> None:
        loop = asyncio.get_running_loop()
        before = loop.time()
        while True:
            await asyncio.sleep(BEAT_S)
            now = loop.time()
            if now - before < 2 * BEAT_S:  # else this process itself was stalled
                for connection, node in list(self._nodes.items()):
                    if node.pings and now - connection.heard > SILENCE_S:
                        connection.abort()
            before = now
            for connection in (*self._nodes, *self._peers):
                connection.send(Beat(self._replica.fresh))
            for connection, node in list(self._nodes.items()):
                self._feed(connection, node)  # what its socket had no room for

    def send(self, name: str, message: Message) -> None:
        connection = self._out.get(name)
        if connection is not None and connection.open:
            connection.send(message)

    def heard(self, name: str) -> float:
        connection = self._out.get(name)
        return connection.heard if connection is not None and connection.open else 0.0

    # --- incoming connections

    def received(self, connection: Connection, message: Message) -> None:
        match message:
            case Append() | InstallBase() | Vote():
                if self._peers.get(connection) != message.name:
                    connection.abort()
                else:
                    self._replica.receive(message, connection.send)
            case Propose():
                self._propose(connection, message)
            case Applied():
                self._note_position(connection, message.n)
            case TailRequest():
                self._ask_tail(connection, message.number)
            case Follow():
                self._follow(connection, message)
            case Unfollow():
                if connection in self._nodes:
                    self._nodes[connection].following = None
            case Trim():
                self._trim(connection, message.n)
            case Hello():
                self._nodes[connection] = _Node(message.node)
                connection.send(Leading(self._replica.term, self._replica.leads))
            case Watch():
                self._watch(connection, message.on)
            case StatusRequest():
                r = self._replica
                trimmed = self._store.base.last
                connection.send(Status(r.is_member, r.leads, r.term, r.committed_id.n, trimmed))
            case Peer() if message.name in self._azs:
                self._peers[connection] = message.name
            case _:
                connection.abort()

    def lost(self, connection: Connection) -> None:
        self._peers.pop(connection, None)
        node = self._nodes.pop(connection, None)
        if node is not None and all(n.name != node.name for n in self._nodes.values()):
            self._positions.pop(node.name, None)
            self._send_position(node.name, GONE)
        self._tails = [t for t in self._tails if t[2] is not connection]
        self._conflicts = [c for c in self._conflicts if c[2] is not connection]

    def _note_position(self, connection: Connection, n: int) -> None:
        node = self._nodes.get(connection)
        if node is None:
            connection.abort()
            return
        node.pings = True
        if self._positions.get(node.name) != n:
            self._positions[node.name] = n
            self._send_position(node.name, n)

    def _send_position(self, name: str, n: int) -> None:
        for connection, watcher in self._nodes.items():
            if watcher.watches and watcher.name != name:
                connection.send(Positions({name: n}))

    def _watch(self, connection: Connection, on: bool) -> None:
        node = self._nodes.get(connection)
        if node is not None:
            node.watches = on
            if on:
                connection.send(Positions(self._positions))

    # --- trimming

    def _trim(self, connection: Connection, n: int) -> None:
        if connection not in self._nodes:
            connection.abort()
            return
        self._trim_to = max(self._trim_to, n)
        self._trim_wanted.set()

    async def _trim_on(self) -> None:
        """Trim whenever asked to. Never returns."""
        while True:
            await self._trim_wanted.wait()
            self._trim_wanted.clear()
            await self._store.trim(self._trim_to, self._replica.commit)

    # --- appends

    def _propose(self, connection: Connection, ask: Propose) -> None:
        node = self._nodes.get(connection)
        replica, store = self._replica, self._store
        if node is None or ask.last < ask.first:
            connection.abort()
            return
        if not replica.leads or ask.term != replica.term:
            return  # the node knows, or is about to learn, that this AZ does not lead
        batch = Batch(ask.epoch, ask.first, ask.last, ask.payload)
        last = store.last_id
        if ask.first > last.n + 1:
            # The client itself refuses what follows a refused proposal.
            if all(by is not connection for _, _, by in self._conflicts):
                connection.send(Gap(ask.number))
        elif ask.first <= last.n:
            self._again(connection, node, ask)
        elif last != Id(ask.after_epoch, ask.first - 1) or not may_follow(ask, last.epoch):
            self._add_conflict(connection, last.n, ask)
        else:
            index = replica.propose(batch)
            if index is not None:
                node.accepted.append((index, ask.number))

    def _again(self, connection: Connection, node: _Node, ask: Propose) -> None:
        """Handle a proposal for entries that exist already: the same ones, resent, or others."""
        index = self._store.index_of(ask.last)
        while index <= self._store.last:
            record = self._replica.read(index)
            if record.kind == ENTRIES or record.last > ask.last:
                break
            index += 1
        found = self._replica.read(index) if index <= self._store.last else None
        same = found is not None and (found.epoch, found.first, found.last, found.payload) == (
            ask.epoch, ask.first, ask.last, ask.payload,
        )  # fmt: skip
        if same:
            node.accepted.append((index, ask.number))
            self._changed()
        else:
            self._add_conflict(connection, ask.first, ask)

    def _add_conflict(self, connection: Connection, n: int, ask: Propose) -> None:
        self._conflicts.append((n, ask, connection))
        self._changed()

    # --- reads

    def _ask_tail(self, connection: Connection, number: int) -> None:
        if self._replica.leads:
            round = self._replica.ask_round() if self._replica.commit_is_complete else 0
            self._tails.append((round, number, connection))

    def _follow(self, connection: Connection, ask: Follow) -> None:
        node = self._nodes.get(connection)
        if node is None:
            connection.abort()
            return
        node.following, node.after = ask.number, ask.after
        if ask.after < self._store.base.last:
            self._send_trimmed(connection, node)
            return
        # Records that are not committed may still be truncated.
        node.next = min(self._store.index_of(ask.after + 1), self._replica.commit + 1)
        self._feed(connection, node)

    def _send_trimmed(self, connection: Connection, node: _Node) -> None:
        """Tell a node that its next entries have been trimmed."""
        assert node.following is not None
        connection.send(Trimmed(node.following, self._store.base.last))
        node.following = None

    def _feed(self, connection: Connection, node: _Node) -> None:
        """Send a node the committed entries that it lacks, while its socket is writable."""
        replica = self._replica
        while node.following is not None and node.next <= replica.commit and connection.writable:
            if node.next <= self._store.base.index:
                self._send_trimmed(connection, node)
                return
            records: list[Record] = []
            size = 0
            while node.next <= replica.commit and size < ENTRIES_BYTES_MAX:
                record = replica.read(node.next)
                node.next += 1
                if record.kind == ENTRIES:
                    records.append(record)
                    size += len(record.payload)
            if records:
                connection.send(Entries(node.following, records))

    # --- after changes

    def _changed(self) -> None:
        replica = self._replica
        leading = (replica.term, replica.leads)
        if leading != self._announced:
            self._announce_leader(leading)
        if replica.commit > self._committed:
            self._committed = replica.commit
            for connection, node in list(self._nodes.items()):
                self._acknowledge(connection, node)
                self._feed(connection, node)
        else:
            for connection, node in list(self._nodes.items()):
                if node.accepted and node.accepted[0][0] <= replica.commit:
                    self._acknowledge(connection, node)
                if node.next <= replica.commit:
                    self._feed(connection, node)
        if self._conflicts:
            self._refuse()
        if self._tails:
            self._answer_tails()

    def _announce_leader(self, leading: tuple[int, bool]) -> None:
        self._announced = leading
        for connection, node in self._nodes.items():
            node.accepted.clear()
            connection.send(Leading(*leading))
        self._conflicts.clear()
        self._tails.clear()

    def _acknowledge(self, connection: Connection, node: _Node) -> None:
        numbers = []
        while node.accepted and node.accepted[0][0] <= self._replica.commit:
            numbers.append(node.accepted.popleft()[1])
        if numbers:
            connection.send(Committed(numbers))

    def _refuse(self) -> None:
        """Refuse the proposals that contradict a committed entry."""
        tail = self._replica.committed_id
        waiting = []
        for n, ask, connection in self._conflicts:
            if n <= tail.n:
                connection.send(Refusal(ask.number, *tail))
            else:
                waiting.append((n, ask, connection))
        self._conflicts = waiting

    def _answer_tails(self) -> None:
        replica = self._replica
        if not replica.commit_is_complete:
            return
        round = replica.ask_round() if any(t[0] == 0 for t in self._tails) else 0
        waiting = []
        for asked, number, connection in self._tails:
            if asked and replica.confirmed(asked):
                connection.send(Tail(number, *replica.committed_id))
            else:
                waiting.append((asked or round, number, connection))
        self._tails = waiting


def may_follow(ask: Propose, epoch: int) -> bool:
    """Return whether a proposal may follow an entry of an epoch: it is of that epoch, or the
    first entry of its own."""
    return ask.epoch == epoch or ask.epoch == ask.first == ask.last
