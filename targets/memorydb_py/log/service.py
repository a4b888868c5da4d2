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
    Appended,
    Applied,
    AskStatus,
    AskTail,
    Beat,
    Behind,
    Committed,
    Entries,
    Follow,
    Hello,
    Install,
    Leading,
    Message,
    NotAppended,
    Peer,
    Positions,
    Propose,
    Record,
    Status,
    Tail,
    Trim,
    Trimmed,
    Unfollow,
    Vote,
    Voted,
    Watch,
)
from targets.memorydb_py.log.replica import Replica
from targets.memorydb_py.log.store import Store
from targets.memorydb_py.log.wire import Connection, keep_connected

BEAT_S = 0.05
SILENCE_S = 0.4
ENTRIES_BYTES_MAX = 1 << 20


@dataclass(frozen=True, kw_only=True)
class AzSettings:
    """`azs`: all three, this one among them. `create`: whether an empty store is a new one."""

    azs: Sequence[str]
    create: bool = False


async def serve_az(host: Host, settings: AzSettings) -> None:
    """Run an AZ of the log until it ends."""
    service = Service(host, settings)
    await service.run()


class _Node:
    """A node that is connected."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.accepted: deque[tuple[int, int]] = deque()  # (index, number) of what is not committed
        self.following: int | None = None  # number of its request
        self.next = 0  # index of the next record for it
        self.after = 0  # n
        self.watches = False
        self.pings = False  # it does so as long as it is there


class _OtherEnd:
    """What the others answer on connections that we made."""

    def __init__(self, replica: Replica, name: str) -> None:
        self._replica = replica
        self._name = name

    def received(self, connection: Connection, message: Message) -> None:
        match message:
            case Appended():
                self._replica.appended(self._name, message)
            case Voted():
                self._replica.voted(self._name, message)
            case Beat():
                return
            case _:
                connection.abort()

    def lost(self, connection: Connection) -> None:
        return None


class Service:
    """See the module's text. Also `Peers`."""

    def __init__(self, host: Host, settings: AzSettings) -> None:
        self._host = host
        self._create = settings.create
        self._azs = list(settings.azs)
        self._store = Store(host, self._azs, lambda: self._replica.synced())
        self._replica = Replica(host, self._store, self._azs, self, self._changed)
        self._out: dict[str, Connection] = {}
        self._nodes: dict[Connection, _Node] = {}
        self._peers: dict[Connection, None] = {}  # that other AZs made
        self._tails: list[tuple[int, int, Connection]] = []  # (round or 0, number, who asked)
        self._contradicted: list[tuple[int, Propose, Connection]] = []  # (n, what, by whom)
        self._positions: dict[str, int] = {}
        self._said: tuple[int, bool] = (0, False)
        self._committed = 0
        self._unneeded = 0  # n
        self._trim_wanted = asyncio.Event()

    async def run(self) -> None:
        """For ever."""
        await self._store.open(create=self._create)
        self._host.log(
            f"log: {self._store.last} records, up to {self._store.last_id}, "
            f"term {self._store.meta.term}"
        )
        await self._host.serve(lambda: Connection(self, lambda connection: None))
        dialing = [self._dial(az) for az in self._azs if az != self._host.name]
        await asyncio.gather(self._replica.run(), self._beat(), self._trim_on(), *dialing)

    async def _dial(self, az: str) -> None:
        def opened(connection: Connection) -> None:
            self._out[az] = connection
            connection.send(Peer(self._host.name))
            self._replica.connected(az)

        await keep_connected(self._host, az, _OtherEnd(self._replica, az), opened, SILENCE_S)

    async def _beat(self) -> None:
        loop = asyncio.get_running_loop()
        before = loop.time()
        while True:
            await asyncio.sleep(BEAT_S)
            now = loop.time()
            if now - before < 2 * BEAT_S:  # else it is this process that has been away
                for connection, node in list(self._nodes.items()):
                    if node.pings and now - connection.heard > SILENCE_S:
                        connection.abort()
            before = now
            for connection in (*self._nodes, *self._peers):
                connection.send(Beat(self._replica.fresh))
            for connection, node in list(self._nodes.items()):
                self._feed(connection, node)  # what did not fit its socket before

    def send(self, name: str, message: Message) -> None:
        connection = self._out.get(name)
        if connection is not None and connection.open:
            connection.send(message)

    # --- who connects to us

    def received(self, connection: Connection, message: Message) -> None:
        match message:
            case Append() | Install() | Vote():
                self._replica.receive(message, connection.send)
            case Propose():
                self._propose(connection, message)
            case Applied():
                self._note_position(connection, message.n)
            case AskTail():
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
            case AskStatus():
                r = self._replica
                trimmed = self._store.base.last
                connection.send(Status(r.is_member, r.leads, r.term, r.committed_id.n, trimmed))
            case Peer():
                self._peers[connection] = None
            case _:
                connection.abort()

    def lost(self, connection: Connection) -> None:
        self._peers.pop(connection, None)
        node = self._nodes.pop(connection, None)
        if node is not None and all(n.name != node.name for n in self._nodes.values()):
            self._positions.pop(node.name, None)
            self._say_position(node.name, GONE)
        self._tails = [t for t in self._tails if t[2] is not connection]
        self._contradicted = [c for c in self._contradicted if c[2] is not connection]

    def _note_position(self, connection: Connection, n: int) -> None:
        node = self._nodes.get(connection)
        if node is None:
            connection.abort()
            return
        node.pings = True
        if self._positions.get(node.name) != n:
            self._positions[node.name] = n
            self._say_position(node.name, n)

    def _say_position(self, name: str, n: int) -> None:
        for connection, watcher in self._nodes.items():
            if watcher.watches and watcher.name != name:
                connection.send(Positions({name: n}))

    def _watch(self, connection: Connection, on: bool) -> None:
        node = self._nodes.get(connection)
        if node is not None:
            node.watches = on
            if on:
                connection.send(Positions(self._positions))

    # --- what is not kept

    def _trim(self, connection: Connection, n: int) -> None:
        if connection not in self._nodes:
            connection.abort()
            return
        self._unneeded = max(self._unneeded, n)
        self._trim_wanted.set()

    async def _trim_on(self) -> None:
        """For ever."""
        while True:
            await self._trim_wanted.wait()
            self._trim_wanted.clear()
            await self._store.trim(self._unneeded, self._replica.commit)

    # --- appends

    def _propose(self, connection: Connection, ask: Propose) -> None:
        node = self._nodes.get(connection)
        replica, store = self._replica, self._store
        if node is None or ask.last < ask.first:
            connection.abort()
            return
        if not replica.leads or ask.term != replica.term:
            return  # it was told that we do not lead, or is being told
        batch = Batch(ask.epoch, ask.first, ask.last, ask.payload)
        last = store.last_id
        if ask.first > last.n + 1:
            # What follows a contradiction is refused with it, by the client itself.
            if all(by is not connection for _, _, by in self._contradicted):
                connection.send(Behind(ask.number))
        elif ask.first <= last.n:
            self._again(connection, node, ask)
        elif last != Id(ask.after_epoch, ask.first - 1) or not may_follow(ask, last.epoch):
            self._contradict(connection, last.n, ask)
        else:
            index = replica.propose(batch)
            if index is not None:
                node.accepted.append((index, ask.number))

    def _again(self, connection: Connection, node: _Node, ask: Propose) -> None:
        """Something is there already: the same, of an earlier connection, or something else."""
        index = self._store.index_of(ask.last)
        while index <= self._store.last:
            record = self._replica.read(index)
            if record.kind == ENTRIES or record.last > ask.last:
                break
            index += 1
        there = self._replica.read(index) if index <= self._store.last else None
        same = there is not None and (there.epoch, there.first, there.last, there.payload) == (
            ask.epoch, ask.first, ask.last, ask.payload,
        )  # fmt: skip
        if same:
            node.accepted.append((index, ask.number))
            self._changed()
        else:
            self._contradict(connection, ask.first, ask)

    def _contradict(self, connection: Connection, n: int, ask: Propose) -> None:
        self._contradicted.append((n, ask, connection))
        self._changed()

    # --- reads

    def _ask_tail(self, connection: Connection, number: int) -> None:
        if self._replica.leads:
            round = self._replica.ask_round() if self._replica.settled else 0
            self._tails.append((round, number, connection))

    def _follow(self, connection: Connection, ask: Follow) -> None:
        node = self._nodes.get(connection)
        if node is None:
            connection.abort()
            return
        node.following, node.after = ask.number, ask.after
        if ask.after < self._store.base.last:
            self._lack(connection, node)
            return
        # What is not committed may yet be cut off.
        node.next = min(self._store.index_of(ask.after + 1), self._replica.commit + 1)
        self._feed(connection, node)

    def _lack(self, connection: Connection, node: _Node) -> None:
        """What it is to get next has been trimmed."""
        assert node.following is not None
        connection.send(Trimmed(node.following, self._store.base.last))
        node.following = None

    def _feed(self, connection: Connection, node: _Node) -> None:
        """Committed entries that a node has not got yet, as long as it takes them."""
        replica = self._replica
        while node.following is not None and node.next <= replica.commit and connection.writable:
            if node.next <= self._store.base.index:
                self._lack(connection, node)
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

    # --- when something has changed

    def _changed(self) -> None:
        replica = self._replica
        says = (replica.term, replica.leads)
        if says != self._said:
            self._say_who_leads(says)
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
        if self._contradicted:
            self._refuse()
        if self._tails:
            self._answer_tails()

    def _say_who_leads(self, says: tuple[int, bool]) -> None:
        self._said = says
        for connection, node in self._nodes.items():
            node.accepted.clear()
            connection.send(Leading(*says))
        self._contradicted.clear()
        self._tails.clear()

    def _acknowledge(self, connection: Connection, node: _Node) -> None:
        numbers = []
        while node.accepted and node.accepted[0][0] <= self._replica.commit:
            numbers.append(node.accepted.popleft()[1])
        if numbers:
            connection.send(Committed(numbers))

    def _refuse(self) -> None:
        """What contradicts a committed entry."""
        tail = self._replica.committed_id
        waiting = []
        for n, ask, connection in self._contradicted:
            if n <= tail.n:
                connection.send(NotAppended(ask.number, *tail))
            else:
                waiting.append((n, ask, connection))
        self._contradicted = waiting

    def _answer_tails(self) -> None:
        replica = self._replica
        if not replica.settled:
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
    """Whether a proposal may follow an entry of an epoch: of the same, or the first of its own."""
    return ask.epoch == epoch or ask.epoch == ask.first == ask.last
