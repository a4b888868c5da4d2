"""Asynchronous replication: one stream of effects, counted in bytes.

A primary executes and answers at once, and ships afterwards. A replica asks to continue (PSYNC)
from where it is; if the primary does not have that any more, or the replica went another way after
a failover, it is sent everything. As in Redis 7.0: replication.c.
"""

from __future__ import annotations

import asyncio
import contextlib
import traceback
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from harness.host import Address, Host
from targets.engine.resp import Command, Error, RequestParser, pack
from targets.replicated.redis_model.persistence import Units
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
    """What replication needs of its node."""

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
        """Append entries to the stream; `lasting`: and to the file."""
        ...

    def flush(self) -> None:
        """Send what was appended."""
        ...


class Stream:
    """The bytes of the replication stream that a node still has, and under which name."""

    def __init__(self, new_id: Callable[[], str]) -> None:
        self._new_id = new_id
        self.id = new_id()
        self.offset = 0
        self._before = ("", -1)  # the name it had until an offset
        self._kept = bytearray()
        self._first = 1  # offset of the first byte kept

    def add(self, data: bytes) -> None:
        self.offset += len(data)
        self._kept += data
        if len(self._kept) > 2 * BACKLOG_BYTES:
            drop = len(self._kept) - BACKLOG_BYTES
            del self._kept[:drop]
            self._first += drop

    def since(self, stream_id: str, offset: int) -> bytes | None:
        """What follows, from `offset` on; None if that can't be said."""
        name, until = self._before
        if stream_id != self.id and (stream_id != name or offset > until):
            return None
        if not self._first <= offset <= self.offset + 1:
            return None
        return bytes(self._kept[offset - self._first :])

    def fork(self, new_id: str | None = None) -> None:
        """From here on it is another stream; what came before is shared."""
        self._before = (self.id, self.offset + 1)
        self.id = new_id or self._new_id()

    def restart(self, stream_id: str, offset: int) -> None:
        """It is another stream from the beginning, of which nothing is kept."""
        self.id, self.offset, self._before = stream_id, offset, ("", -1)
        self._kept.clear()
        self._first = offset + 1


class Feed:
    """A replica, as its primary sees it."""

    def __init__(self, session: ReplicaSession, address: Address, now: float) -> None:
        self.session = session
        self.address = address
        self.acknowledged = 0
        self.heard = now  # seconds, of the loop's clock


class Link:
    """A replica's connection to its primary: made, lost and made again until it is closed."""

    def __init__(self, node: Owner, address: Address) -> None:
        self.address = address
        self.state = "connect"
        self._node = node
        self._writer: asyncio.StreamWriter | None = None
        self._task = asyncio.get_running_loop().create_task(self._follow())

    def close(self) -> None:
        self._task.cancel()
        self._hang_up()

    def acknowledge(self) -> None:
        """Tell the primary how far this node is."""
        if self._writer is not None and self.state == "connected":
            offset = b"%d" % self._node.stream.offset
            self._writer.write(pack((b"REPLCONF", b"ACK", offset)))

    async def _follow(self) -> None:
        while True:
            try:
                await self._once()
            except (OSError, EOFError, TimeoutError) as e:
                self._node.host.log(f"replication: {type(e).__name__}: {e}")
            except Exception:  # what the primary sent makes no sense: not to be lived with
                self._node.host.log(traceback.format_exc())
                raise SystemExit(1) from None
            self._hang_up()
            await asyncio.sleep(RETRY_S)

    def _hang_up(self) -> None:
        self.state = "connect"
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    async def _once(self) -> None:
        """Until the connection ends."""
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
                node.primary.drop()  # its replicas have to hear of the other name
        node.host.log(f"role: replica of {self.address[0]}, {verdict} at {stream.offset}")
        self.state = "connected"
        self.acknowledge()
        await self._stream(reader)

    @staticmethod
    async def _status(reader: asyncio.StreamReader) -> str:
        line = (await reader.readline()).decode()
        if line[:1] != "+":
            raise ConnectionError(f"the primary said {line.strip() or 'nothing'}")
        return line[1:].strip()

    async def _stream(self, reader: asyncio.StreamReader) -> None:
        parser, units = RequestParser(), Units()
        while True:
            async with asyncio.timeout(STREAM_TIMEOUT_S):
                data = await reader.read(65536)
            if not data:
                raise ConnectionError("the primary hung up")
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
    """The replicas of a node, and who waits for them."""

    def __init__(self, node: Owner) -> None:
        self._node = node
        self.feeds: dict[int, Feed] = {}
        self.waiting: dict[int, Waiting] = {}

    def reached(self, offset: int) -> int:
        """How many replicas have acknowledged this much."""
        return sum(feed.acknowledged >= offset for feed in self.feeds.values())

    def healthy(self, max_lag_s: float, now: float) -> int:
        """How many were heard of lately."""
        return sum(now - feed.heard <= max_lag_s for feed in self.feeds.values())

    def attach(self, session: ReplicaSession, stream_id: str, offset: int) -> bytes:
        """PSYNC: returns what is to be sent first; the stream follows from now on."""
        node = self._node
        now = asyncio.get_running_loop().time()
        host = session.transport.get_extra_info("peername")[0]
        feed = Feed(session, (host, session.listening_port), now)
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
            waiting = self.waiting.get(number)  # answering one may end another
            if waiting is not None:
                self._check(waiting)

    def wait(self, session: ReplicaSession, wanted: int, timeout_ms: int) -> int | None:
        """The reply to WAIT, or None: it comes later, when replicas have acknowledged it."""
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
        """A session waits no longer, or is gone."""
        waiting = self.waiting.pop(session.number, None)
        if waiting is not None and waiting.timer is not None:
            waiting.timer.cancel()

    def drop(self) -> None:
        """The node's role has changed: replicas have to ask again, who waits is told so."""
        for feed in list(self.feeds.values()):
            feed.session.transport.close()
        self.feeds.clear()
        for waiting in list(self.waiting.values()):
            self.forget(waiting.session)
            waiting.session.reply(UNBLOCKED)
            waiting.session.close()

    async def keep(self, ping_s: float) -> None:
        """Pings in the stream, so that silence means something; for ever."""
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
