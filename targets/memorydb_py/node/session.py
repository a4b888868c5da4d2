"""A connection: requests in order, replies in order, each when what it shows is committed."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol, cast

from targets.engine import Blocked
from targets.engine.resp import Command, Error, Push, Requests, encode
from targets.memorydb_py.node.statistics import Statistics

REQUEST_BYTES_MAX = 1 << 30
BEHIND_BYTES_MAX = 16 << 20  # of requests behind one that blocks
UNREAD_BYTES_MAX = 256 << 20  # of replies that a client does not take


class Server(Protocol):
    """What a session needs of the node."""

    committed: int
    parked: int
    statistics: Statistics

    def begin(self, session: Session) -> None:
        """It is there."""
        ...

    def end(self, session: Session) -> None:
        """It is gone."""
        ...

    def check_lease(self) -> None:
        """Before commands that have come are executed."""
        ...

    def handle(self, session: Session, todo: deque[Command]) -> None:
        """Execute commands, and take them away, until the session is blocked or there are none:
        `reply` or `block` is called for each, once."""
        ...

    def wait_for(self, n: int, then: Callable[[int], None]) -> None:
        """To be called when entry n is committed."""
        ...


class Waiting:
    """A command that blocks: executed again when one of its keys is written."""

    __slots__ = ("blocked", "timer")

    def __init__(self, blocked: Blocked) -> None:
        self.blocked = blocked
        self.timer: asyncio.TimerHandle | None = None


class Session(asyncio.Protocol):
    """See the module's text."""

    def __init__(self, server: Server, number: int, *, trusted: bool) -> None:
        self.number = number
        self.transport: asyncio.Transport
        self.protocol = 2
        self.name = b""
        self.library: dict[bytes, bytes] = {}
        self.readonly = False
        self.replies_wanted: str = "on"  # "off", "skip": CLIENT REPLY
        self.written = 0  # n of the last entry of this client
        self.queued: list[Command] | None = None  # since MULTI
        self.aborted = False
        self.watched: dict[bytes, bool] = {}  # whether it had expired already
        self.touched = False  # something watched has changed
        self.waiting: Waiting | None = None
        self.subscriptions: dict[tuple[bytes, bytes], None] = {}  # (kind, name): see `channels`
        self.since = asyncio.get_running_loop().time()
        self.last_command = b""
        self.closing = False
        self._behind = 0  # bytes that came while it was blocked
        self.largest = 0  # bytes: no command of this client is longer
        self.blocked = False
        self.diverted: list[Any] | None = None  # where replies go that belong to a greater one
        self.diverted_n = 0  # what they have to wait for
        self._server = server
        self._requests = Requests(trusted=trusted)
        self._todo: deque[Command] = deque()
        self.out: list[bytes] = []  # replies that go with the next write
        self._parked: deque[tuple[int, bytes]] = deque()
        self._busy = False

    def log_in(self) -> None:
        self._requests.trusted = True

    def log_out(self, *, trusted: bool) -> None:
        """`trusted`: no password is needed."""
        self._requests.trusted = trusted

    @property
    def trusted(self) -> bool:
        return self._requests.trusted

    @property
    def direct(self) -> bool:
        """Whether a reply that waits for nothing may go to `out` as it is, encoded."""
        return (
            self.queued is None
            and self._requests.trusted
            and self.replies_wanted == "on"
            and not self._parked
            and not self.listens_only
        )

    @property
    def listens_only(self) -> bool:
        """Whether it may do no more than listen: in RESP2 replies can't be told from messages."""
        return bool(self.subscriptions) and self.protocol == 2

    # --- the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._server.begin(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.closing = True
        self._todo.clear()
        self._server.parked -= len(self._parked)
        self._parked.clear()
        self._server.end(self)

    def data_received(self, data: bytes) -> None:
        if self.closing:
            return
        self._server.statistics.input_bytes += len(data)
        size = len(data) + self._requests.left()
        if size > self.largest:
            self.largest = size
        self._todo += self._requests.feed(data)
        if self.blocked:
            self._behind += len(data)
            if self._behind > BEHIND_BYTES_MAX:
                self.transport.pause_reading()
        self._go_on()
        if self._requests.error is not None:
            self.reply(Error(f"ERR Protocol error: {self._requests.error}"))
            self.close()
        elif self._requests.left() > REQUEST_BYTES_MAX:
            self.close()

    def _go_on(self) -> None:
        if not self._todo or self.blocked:
            return
        self._server.check_lease()
        self._busy = True
        try:
            self._server.handle(self, self._todo)
        finally:
            self._busy = False
        self._ship()

    def _ship(self) -> None:
        if self.out and not self._busy:
            data = b"".join(self.out)
            self.out.clear()
            self._server.statistics.output_bytes += len(data)
            if not self.transport.is_closing():
                self.transport.write(data)
                if self.transport.get_write_buffer_size() > UNREAD_BYTES_MAX:
                    self.transport.abort()

    # --- replies

    def reply(self, reply: Any, n: int = 0) -> None:
        """A reply that may be sent when entry n is committed, after all replies before it."""
        if type(reply) is Error:
            self._server.statistics.error(reply)
        if self.diverted is not None:
            self.diverted.append(reply)
            self.diverted_n = max(self.diverted_n, n)
            return
        if self.replies_wanted != "on":
            if self.replies_wanted == "skip":
                self.replies_wanted = "on"
            return
        self.send(encode(reply, self.protocol), n)

    def send(self, data: bytes, n: int = 0) -> None:
        """A reply that is encoded already."""
        parked = self._parked
        if n <= self._server.committed and not parked:
            self.out.append(data)
            if not self._busy:
                self._ship()
            return
        if parked:
            parked.append((max(n, parked[-1][0]), data))
        else:
            parked.append((n, data))
            self._server.wait_for(n, self.committed_to)
        self._server.parked += 1

    def push(self, message: Push) -> None:
        """What is no reply, but comes after those of before."""
        if not self.closing:
            self.send(encode(message, self.protocol))

    def committed_to(self, n: int) -> None:
        """Entries up to n are committed."""
        parked = self._parked
        while parked and parked[0][0] <= n:
            self.out.append(parked.popleft()[1])
            self._server.parked -= 1
        if not self._busy:
            self._ship()
        if parked:
            self._server.wait_for(parked[0][0], self.committed_to)
        elif self.closing:
            self.transport.close()

    @property
    def parked(self) -> int:
        """How many replies wait."""
        return len(self._parked)

    def block(self) -> None:
        """Nothing more is executed until `unblock`."""
        self.blocked = True

    def unblock(self) -> None:
        """What came meanwhile is done next: not within whatever has woken it, which may be one of
        many that wake each other."""
        self.blocked = False
        self.waiting = None
        if self._behind > BEHIND_BYTES_MAX and not self.closing:
            self.transport.resume_reading()
        self._behind = 0
        asyncio.get_running_loop().call_soon(self._go_on)

    def close(self) -> None:
        """After the replies that are due."""
        self.closing = True
        self._todo.clear()
        if not self._parked:
            self._busy = False
            self._ship()
            self.transport.close()

    def abort(self) -> None:
        """At once: what was asked has an unknown outcome."""
        self.closing = True
        self._todo.clear()
        self.out.clear()
        self.transport.abort()


class Wait:
    """A client in WAIT: for so many replicas to have applied entry n."""

    def __init__(self, session: Session, n: int, wanted: int) -> None:
        self.session = session
        self.n = n
        self.wanted = wanted
        self.timer: asyncio.TimerHandle | None = None
