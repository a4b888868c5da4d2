"""Asynchronous replication, as in replication.c of Redis 7.0: one stream, counted in bytes.

A primary executes and replies at once, and sends the effects afterwards. A replica asks to continue
from its offset (PSYNC); if that is no longer in the primary's backlog, or their streams diverged at
a failover, it gets a full resynchronization.
"""

from __future__ import annotations

import asyncio
import contextlib
import traceback
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from harness.host import Address, Host
from targets.engine.resp import Command, Error, RequestParser, pack
from targets.replicated.redis_model.persistence import TransactionGrouper
from targets.servers.session import Server, Session

BACKLOG_BYTES = 16 * 1024 * 1024
CONNECT_TIMEOUT_S = 60.0
STREAM_TIMEOUT_S = 60.0
RETRY_S = 1.0
GETACK = (b"REPLCONF", b"GETACK", b"*")
UNBLOCKED = Error(
    "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)"
)


class ReplicaSession(Session):
    """A connection of a client, or of a replica, whose server listens at `listening_port`."""

    def __init__(self, server: Server[Any], number: int) -> None:
        super().__init__(server, number)
        self.listening_port = 0


class Owner(Protocol):
    """A node, as its replication uses it."""

    host: Host
    stream: Stream
    link: Link | None
    primary: Primary
    port: int

    def apply(self, entries: Sequence[Command]) -> None:
        """Apply entries of the primary's stream that take effect together."""
        ...

    def replace(self, payload: bytes, stream_id: str, offset: int) -> None:
        """Replace all data by the primary's."""
        ...

    def snapshot(self) -> bytes:
        """Return all data, as commands."""
        ...

    def propagate(self, entries: Sequence[Command], *, lasting: bool = True) -> None:
        """Append entries to the stream, and to the file if they are `lasting`."""
        ...

    def flush(self) -> None:
        """Append to the file, and send to replicas, what was propagated."""
        ...


class Stream:
    """A node's replication stream: its id and offset, and a backlog of its last bytes."""

    def __init__(self, new_id: Callable[[], str]) -> None:
        self._new_id = new_id
        self.id = new_id()
        self.offset = 0
        self._before = ("", -1)  # the previous id, and the offset up to which it is valid
        self._kept = bytearray()
        self._first = 1  # offset of the first byte in the backlog

    def add(self, data: bytes) -> None:
        self.offset += len(data)
        self._kept += data
        if len(self._kept) > 2 * BACKLOG_BYTES:
            drop = len(self._kept) - BACKLOG_BYTES
            del self._kept[:drop]
            self._first += drop

    def since(self, stream_id: str, offset: int) -> bytes | None:
        """Return the stream from `offset` on; None if a full resynchronization is needed."""
        name, until = self._before
        if stream_id != self.id and (stream_id != name or offset > until):
            return None
        if not self._first <= offset <= self.offset + 1:
            return None
        return bytes(self._kept[offset - self._first :])

    def fork(self, new_id: str | None = None) -> None:
        """Give the stream a new id from here on; before, it is the same as under the old id."""
        self._before = (self.id, self.offset + 1)
        self.id = new_id or self._new_id()

    def restart(self, stream_id: str, offset: int) -> None:
        """Replace the stream by another one, at an offset, with an empty backlog."""
        self.id, self.offset, self._before = stream_id, offset, ("", -1)
        self._kept.clear()
        self._first = offset + 1


class ReplicaState:
    """A replica of this node, with the offset that it has acknowledged."""

    def __init__(self, session: ReplicaSession, address: Address, now: float) -> None:
        self.session = session
        self.address = address
        self.acknowledged = 0
        self.heard = now  # last acknowledgement, by the loop's clock


class Link:
    """A replica's connection to its primary, reopened whenever it is lost, until `close`."""

    def __init__(self, node: Owner, address: Address) -> None:
        self.address = address
        self.state = "connect"
        self._node = node
        self._writer: asyncio.StreamWriter | None = None
        self._task = asyncio.get_running_loop().create_task(self._follow())

    def close(self) -> None:
        self._task.cancel()
        self._disconnect()

    def acknowledge(self) -> None:
        """Send this node's offset to the primary."""
        if self._writer is not None and self.state == "connected":
            offset = b"%d" % self._node.stream.offset
            self._writer.write(pack((b"REPLCONF", b"ACK", offset)))

    async def _follow(self) -> None:
        while True:
            try:
                await self._once()
            except (OSError, EOFError, TimeoutError) as e:
                self._node.host.log(f"replication: {type(e).__name__}: {e}")
            except Exception:  # what the primary sent can't be applied: end the process
                self._node.host.log(traceback.format_exc())
                raise SystemExit(1) from None
            self._disconnect()
            await asyncio.sleep(RETRY_S)

    def _disconnect(self) -> None:
        self.state = "connect"
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    async def _once(self) -> None:
        """Connect, synchronize, and apply the stream until the connection ends."""
        node = self._node
        self.state = "connecting"
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            reader, self._writer = await asyncio.open_connection(*self.address)
            self._writer.write(pack((b"PING",)))
            await self._status(reader)
            self._writer.write(pack((b"REPLCONF", b"listening-port", b"%d" % node.port)))
            await self._status(reader)
        self.state = "sync"
        stream = node.stream
        self._writer.write(pack((b"PSYNC", stream.id.encode(), b"%d" % (stream.offset + 1))))
        async with asyncio.timeout(STREAM_TIMEOUT_S):
            verdict, *rest = (await self._status(reader)).split()
            if verdict == "FULLRESYNC":
                size = int((await reader.readline())[1:])
                node.replace(await reader.readexactly(size), rest[0], int(rest[1]))
            elif rest and rest[0] != stream.id:
                stream.fork(rest[0])
                node.primary.drop()  # its replicas have to learn the new id
        node.host.log(f"role: replica of {self.address[0]}, {verdict} at {stream.offset}")
        self.state = "connected"
        self.acknowledge()
        await self._stream(reader)

    @staticmethod
    async def _status(reader: asyncio.StreamReader) -> str:
        line = (await reader.readline()).decode()
        if line[:1] != "+":
            raise ConnectionError(f"the primary replied {line.strip() or 'nothing'}")
        return line[1:].strip()

    async def _stream(self, reader: asyncio.StreamReader) -> None:
        parser, units = RequestParser(), TransactionGrouper()
        while True:
            async with asyncio.timeout(STREAM_TIMEOUT_S):
                data = await reader.read(65536)
            if not data:
                raise ConnectionError("the primary closed the connection")
            for command in parser.feed(data):
                unit = units.take(command)
                if unit is not None:
                    self._node.apply(unit)
                if command == GETACK:
                    self.acknowledge()
            self._node.flush()
            if parser.error is not None:
                raise ValueError(f"the primary's stream: {parser.error}")


class Waiting:
    """A client that waits for replicas (WAIT)."""

    def __init__(
        self, session: ReplicaSession, wanted: int, offset: int, timer: asyncio.TimerHandle | None
    ) -> None:
        self.session = session
        self.wanted = wanted
        self.offset = offset
        self.timer = timer


class Primary:
    """The replicas of a node, and the clients in WAIT."""

    def __init__(self, node: Owner) -> None:
        self._node = node
        self.feeds: dict[int, ReplicaState] = {}
        self.waiting: dict[int, Waiting] = {}

    def reached(self, offset: int) -> int:
        """Return how many replicas have acknowledged an offset."""
        return sum(feed.acknowledged >= offset for feed in self.feeds.values())

    def healthy(self, max_lag_s: float, now: float) -> int:
        """Return how many replicas were heard from in the last `max_lag_s` seconds."""
        return sum(now - feed.heard <= max_lag_s for feed in self.feeds.values())

    def attach(self, session: ReplicaSession, stream_id: str, offset: int) -> bytes:
        """Add a replica after its PSYNC; return what to send first, before the stream."""
        node = self._node
        now = asyncio.get_running_loop().time()
        host = session.transport.get_extra_info("peername")[0]
        feed = ReplicaState(session, (host, session.listening_port), now)
        kept = node.stream.since(stream_id, offset)
        self.feeds[session.number] = feed
        if kept is not None:
            node.host.log(f"partial resynchronization of {host} from {offset}")
            return f"+CONTINUE {node.stream.id}\r\n".encode() + kept
        node.host.log(f"full resynchronization of {host} at {node.stream.offset}")
        payload = node.snapshot()
        head = f"+FULLRESYNC {node.stream.id} {node.stream.offset}\r\n${len(payload)}\r\n"
        return head.encode() + payload

    def acknowledged(self, session: ReplicaSession, offset: int) -> None:
        feed = self.feeds.get(session.number)
        if feed is None:
            return
        feed.acknowledged = max(feed.acknowledged, offset)
        feed.heard = asyncio.get_running_loop().time()
        for number in list(self.waiting):
            waiting = self.waiting.get(number)  # replying to one may end another
            if waiting is not None:
                self._check(waiting)

    def wait(self, session: ReplicaSession, wanted: int, timeout_ms: int) -> int | None:
        """Return the reply to WAIT, or None if it is sent when replicas have acknowledged."""
        reached = self.reached(session.written)
        if reached >= wanted:
            return reached
        timer = None
        if timeout_ms:
            loop = asyncio.get_running_loop()
            timer = loop.call_later(timeout_ms / 1000, self._time_out, session.number)
        self.waiting[session.number] = Waiting(session, wanted, session.written, timer)
        self._node.propagate([GETACK], lasting=False)
        return None

    def _check(self, waiting: Waiting) -> None:
        reached = self.reached(waiting.offset)
        if reached >= waiting.wanted:
            self._end(waiting, reached)

    def _time_out(self, number: int) -> None:
        waiting = self.waiting[number]
        self._end(waiting, self.reached(waiting.offset))

    def _end(self, waiting: Waiting, reply: Any) -> None:
        self.forget(waiting.session)
        waiting.session.reply(reply)
        waiting.session.unblock()

    def forget(self, session: ReplicaSession) -> None:
        """End a session's WAIT, if it is in one, without a reply."""
        waiting = self.waiting.pop(session.number, None)
        if waiting is not None and waiting.timer is not None:
            waiting.timer.cancel()

    def drop(self) -> None:
        """Disconnect replicas and, with an error, clients in WAIT: the role or stream changes."""
        for feed in list(self.feeds.values()):
            feed.session.transport.close()
        self.feeds.clear()
        for waiting in list(self.waiting.values()):
            self.forget(waiting.session)
            waiting.session.reply(UNBLOCKED)
            waiting.session.close()

    async def keep(self, ping_s: float) -> None:
        """Every `ping_s` seconds, send PING to replicas, or an acknowledgement to the primary, and
        disconnect replicas that are silent; never return."""
        while True:
            await asyncio.sleep(ping_s)
            node = self._node
            if node.link is not None:
                node.link.acknowledge()
                continue
            now = asyncio.get_running_loop().time()
            for number, feed in list(self.feeds.items()):
                if now - feed.heard > STREAM_TIMEOUT_S:
                    with contextlib.suppress(KeyError):
                        del self.feeds[number]
                    feed.session.transport.close()
            if self.feeds:
                node.propagate([(b"PING",)], lasting=False)
                node.flush()
