"""A connection: requests and replies in order, each reply sent once its data are committed."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol, TypeVar, cast

from targets.engine.resp import Command, Error, RequestParser, encode
from targets.servers.statistics import Statistics
from targets.servers.turns import Turns

REQUEST_BYTES_MAX = 1 << 30  # of requests that are not executed, as client-query-buffer-limit
BEHIND_BYTES_MAX = 16 << 20  # of requests that wait for something other than the client
UNSENT_BYTES_MAX = 4 << 20  # of a client's replies: while it has more, its commands wait
WRITE_BYTES = 1 << 20  # of replies that are sent at once
S_contra = TypeVar("S_contra", contravariant=True)


class Server(Protocol[S_contra]):
    """A server, as its sessions use it.

    Positions are those of a log or file: a reply may be sent when everything up to its position is
    committed. `committed`: the last such position. `parked`: the number of waiting replies.
    """

    committed: int
    parked: int
    statistics: Statistics
    turns: Turns

    def over_limit(self, session: S_contra, size: int) -> bool:
        """Return whether a client's `size` bytes of unsent replies exceed its limit."""
        ...

    def begin(self, session: S_contra) -> None:
        """The connection was opened."""
        ...

    def end(self, session: S_contra) -> None:
        """The connection was closed."""
        ...

    def handle(self, session: S_contra, todo: deque[Command]) -> None:
        """Execute commands and remove them from `todo`, until the session is blocked or full, the
        turn is over, or none are left. Calls `reply` or `block` once for each."""
        ...

    def wait_for(self, position: int, then: Callable[[int], None]) -> None:
        """Call `then` with the committed position once it has reached `position`."""
        ...


class Session(asyncio.Protocol):
    """A client's connection. Servers derive classes from it, with further state.

    `written`: the position of the client's last write. `queued`: the commands since MULTI, or None.
    `aborted`: EXEC will fail. `watched`: whether each watched key had already expired.
    `touched`: a watched key has changed.
    """

    def __init__(self, server: Server[Any], number: int, *, trusted: bool = True) -> None:
        """`trusted`: clients need no password."""
        self.number = number
        self.transport: asyncio.Transport
        self.protocol = 2
        self.written = 0
        self.queued: list[Command] | None = None
        self.aborted = False
        self.watched: dict[bytes, bool] = {}
        self.touched = False
        self.closing = False
        self.blocked = False
        self.largest = 0  # upper bound of the bytes of a command so far
        self.out: list[bytes] = []  # replies of the next write
        self.diverted: list[Any] | None = None  # the replies of commands within EXEC
        self.diverted_position = 0  # the position that those replies wait for
        self._input: deque[bytes] = deque()  # what has arrived and is not parsed
        self._behind = 0  # its size
        self._reading = True
        self._waits = False  # for its turn
        self._out_bytes = 0  # in `out`
        self._parked_bytes = 0
        self.soft_since: float | None = None  # since when it exceeds its soft limit
        self._server = server
        self._requests = RequestParser(trusted=trusted)
        self._todo: deque[Command] = deque()
        self._parked: deque[tuple[int, bytes]] = deque()
        self._busy = False

    # --- the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's does not derive from it
        self.transport.set_write_buffer_limits(high=UNSENT_BYTES_MAX, low=UNSENT_BYTES_MAX // 4)
        self._server.begin(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.closing = True
        self._todo.clear()
        self._input.clear()
        self._server.parked -= len(self._parked)
        self._parked.clear()
        self._parked_bytes = 0
        self._server.end(self)

    def resume_writing(self) -> None:
        self.go_on()

    def data_received(self, data: bytes) -> None:
        if self.closing:
            return
        self._server.statistics.input_bytes += len(data)
        self._input.append(data)
        self._behind += len(data)
        if self._behind > REQUEST_BYTES_MAX:
            self.abort()
            return
        self.go_on()
        self._control_reading()

    def _control_reading(self) -> None:
        """Stop reading while much input waits, but not because the client does not read: it may do
        so only when it has sent everything. Nor while the client is blocked: it may go away."""
        reading = self._behind <= BEHIND_BYTES_MAX or self.full or self.blocked
        if reading != self._reading and not self.closing:
            self._reading = reading
            if reading:
                self.transport.resume_reading()
            else:
                self.transport.pause_reading()

    @property
    def unsent_bytes(self) -> int:
        """The bytes of replies that are not handed to the system, or wait for a commit."""
        return self.transport.get_write_buffer_size() + self._parked_bytes + self._out_bytes

    @property
    def full(self) -> bool:
        """Whether its commands wait until it has fewer unsent replies."""
        return self._out_bytes >= WRITE_BYTES or self.unsent_bytes > UNSENT_BYTES_MAX

    def go_on(self) -> None:
        """Execute what has arrived, in this session's turn."""
        if self._waits or self._busy or self.blocked or self.closing:
            return
        if (self._todo or self._input or self._requests.error is not None) and not self.full:
            self._waits = True
            self._server.turns.take(self._run)

    def _run(self) -> None:
        self._waits = False
        turns = self._server.turns
        self._busy = True
        try:
            while not (self.blocked or self.closing or self.full):
                if not self._todo and not self._parse():
                    break
                if self._todo:
                    self._server.handle(self, self._todo)
                if turns.over():
                    break
        finally:
            self._busy = False
        self._ship()
        self.go_on()
        self._control_reading()

    def _parse(self) -> bool:
        """Parse the next piece of input; return whether there was one."""
        if self._requests.error is not None:
            self.reply(Error(f"ERR Protocol error: {self._requests.error}"))
            self.close()
            return False
        if not self._input:
            return False
        data = self._input.popleft()
        self._behind -= len(data)
        self.largest = max(self.largest, len(data) + self._requests.buffered_bytes())
        self._todo += self._requests.feed(data)
        if self._requests.buffered_bytes() > REQUEST_BYTES_MAX:
            self.abort()
        return True

    def _ship(self) -> None:
        if self.out and not self._busy:
            data = self.out[0] if len(self.out) == 1 else b"".join(self.out)
            self.out.clear()
            self._out_bytes = 0
            self._server.statistics.output_bytes += len(data)
            if not self.transport.is_closing():
                self.transport.write(data)
                self.check_limit()

    def wrote(self, size: int) -> None:
        """Note the bytes that were appended to `out` directly."""
        self._out_bytes += size

    def check_limit(self) -> None:
        """Disconnect a client that does not read what it is sent."""
        if self._server.over_limit(self, self.unsent_bytes):
            self.abort()

    # --- replies

    def reply(self, reply: Any, position: int = 0) -> None:
        """Send a reply, when `position` is committed and after all earlier replies."""
        if isinstance(reply, Error):
            self._server.statistics.error(reply)
        if self.diverted is not None:
            self.diverted.append(reply)
            self.diverted_position = max(self.diverted_position, position)
        else:
            self.send(encode(reply, self.protocol), position)

    def divert(self, run: Callable[..., None], server: object, command: Command) -> Any:
        """Run one of the server's own commands within EXEC, and return its reply."""
        replies: list[Any] = []
        self.diverted = replies
        try:
            run(server, self, command)
        finally:
            self.diverted = None
        return replies[0] if replies else None

    def send(self, data: bytes, position: int = 0) -> None:
        """Send an encoded reply, when `position` is committed and after all earlier replies."""
        parked = self._parked
        if position <= self._server.committed and not parked:
            self.out.append(data)
            self._out_bytes += len(data)
            if not self._busy:
                self._ship()
            return
        if parked:
            parked.append((max(position, parked[-1][0]), data))
        else:
            parked.append((position, data))
            self._server.wait_for(position, self._committed_to)
        self._server.parked += 1
        self._parked_bytes += len(data)
        if not self._busy:
            self.check_limit()

    def _committed_to(self, position: int) -> None:
        parked = self._parked
        while parked and parked[0][0] <= position:
            data = parked.popleft()[1]
            self.out.append(data)
            self._out_bytes += len(data)
            self._parked_bytes -= len(data)
            self._server.parked -= 1
        if not self._busy:
            self._ship()
            self.go_on()
        if parked:
            self._server.wait_for(parked[0][0], self._committed_to)
        elif self.closing:
            self.transport.close()

    @property
    def parked(self) -> int:
        """The number of replies that wait for their positions."""
        return len(self._parked)

    def block(self) -> None:
        """Execute no more commands until `unblock`."""
        self.blocked = True

    def postpone(self, command: Command) -> None:
        """Execute a command later, when the session is unblocked."""
        self._todo.appendleft(command)
        self.block()

    def unblock(self) -> None:
        """Continue with the commands that have arrived meanwhile. They run from the event loop, not
        within the caller, as sessions may unblock each other in long chains."""
        self.blocked = False
        asyncio.get_running_loop().call_soon(self.go_on)

    def close(self) -> None:
        """Execute no more commands, and close the connection after the pending replies."""
        self.closing = True
        self._todo.clear()
        if not self._parked:
            self._busy = False
            self._ship()
            self.transport.close()

    def abort(self) -> None:
        """Close the connection at once: the outcome of unanswered commands is unknown."""
        self.closing = True
        self._todo.clear()
        self._input.clear()
        self.out.clear()
        self.transport.abort()
