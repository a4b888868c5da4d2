"""One end of a simulated TCP connection: an asyncio transport."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from asyncio import Handle
from collections import deque
from collections.abc import Callable, Iterable
from contextvars import Context
from typing import Any, Literal, Protocol

from harness.simulation.link import Link
from harness.simulation.loop import SimulatedLoop
from harness.simulation.process import Process

Kind = Literal["data", "fin", "rst"]
KEEPALIVE_OFF = (0, 0, 0)


class Wire(Protocol):
    """The network interface that a transport uses."""

    loop: SimulatedLoop

    def send(self, end: Transport, kind: Kind, data: bytes) -> None: ...

    def consumed(self, end: Transport, size: int) -> None:
        """Acknowledge `size` bytes that the owner of `end` has read."""
        ...

    def when_acknowledged(self, end: Transport) -> None:
        """Wake a paused writer when the last acknowledgement in flight has arrived."""
        ...

    def keep_alive(self, end: Transport) -> None:
        """Start keep-alive probes."""
        ...

    def forget_held(self, end: Transport) -> int:
        """Drop the held segments of an end; return their size in bytes."""
        ...


class FakeSocket:
    """Stands in for a transport's socket: stores options, and keep-alive takes effect."""

    family, type, proto = socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._options: dict[tuple[int, int], Any] = {}

    def setsockopt(self, level: int, option: int, value: Any) -> None:
        self._options[level, option] = value
        if (level, option) == (socket.SOL_SOCKET, socket.SO_KEEPALIVE) and value:
            self._transport.network.keep_alive(self._transport)

    def getsockopt(self, level: int, option: int) -> Any:
        return self._options.get((level, option), 0)

    def keepalive(self) -> tuple[int, int, int]:
        """Return (idle seconds, seconds between probes, number of probes), zeros if it is off.
        Values that are not set are Linux' defaults."""
        if not self._options.get((socket.SOL_SOCKET, socket.SO_KEEPALIVE)):
            return KEEPALIVE_OFF
        names = (("TCP_KEEPIDLE", 7200), ("TCP_KEEPINTVL", 75), ("TCP_KEEPCNT", 9))
        idle, interval, count = (
            int(self._options.get((socket.IPPROTO_TCP, getattr(socket, name, -1)), default))
            for name, default in names
        )
        return idle, interval, count

    def getpeername(self) -> Any:
        return self._transport.get_extra_info("peername")

    def getsockname(self) -> Any:
        return self._transport.get_extra_info("sockname")

    def fileno(self) -> int:
        return -1


class Transport(asyncio.Transport):
    """One end of a connection. `process` is None for the harness' clients."""

    def __init__(
        self,
        network: Wire,
        number: int,
        process: Process | None,
        link: Link,
        addresses: tuple[Any, Any],
        context: Context,
    ) -> None:
        """`link`: the link to the peer. `addresses`: (own, the peer's)."""
        super().__init__()
        self.network = network
        self.number = number
        self.process = process
        self.link = link
        self.context = context
        self.peer: Transport
        self.protocol: Any = None
        self.gone = False  # closed in its kernel
        self.horizon = 0  # when the last segment arrives, so that the next arrives later
        self.unsent = 0  # segments waiting for the process' processor
        self.held: list[tuple[Kind, bytes]] = []  # segments, by a cut link
        self.acks_held = 0  # bytes whose acknowledgement a cut link holds
        self.acks: deque[tuple[int, int]] = deque()  # (time of arrival, bytes) in flight
        self.silent_since: int | None = None  # when the retransmission time-out began
        self.failed_probes = 0
        self._unread: list[tuple[Kind, bytes]] = []
        self._inflight = 0
        self._high, self._low = 65536, 16384
        self._reading = True
        self._closing = False
        self._eof_sent = False
        self._writing_paused = False
        self._socket = FakeSocket(self)
        self._info = {"sockname": addresses[0], "peername": addresses[1], "socket": self._socket}

    # --- asyncio.Transport

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._info.get(name, default)

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol

    def get_protocol(self) -> Any:
        return self.protocol

    def is_closing(self) -> bool:
        return self._closing

    def is_reading(self) -> bool:
        return self._reading and not self._closing

    def pause_reading(self) -> None:
        self._reading = False

    def resume_reading(self) -> None:
        self._reading = True
        unread, self._unread = self._unread, []
        for kind, data in unread:
            self.give(kind, data)

    def write(self, data: Any) -> None:
        if not isinstance(data, bytes | bytearray | memoryview):
            raise TypeError(f"data must be bytes-like, not {type(data).__name__}")
        if self._eof_sent:
            raise RuntimeError("Cannot call write() after write_eof()")
        if self._closing or not data:
            return
        taken = bytes(data)
        self._inflight += len(taken)
        self.network.send(self, "data", taken)
        if self._inflight > self._high and not self._writing_paused:
            self.settle_acks()
            if self._inflight > self._high:
                self._writing_paused = True
                self.protocol.pause_writing()
                self.network.when_acknowledged(self)

    def writelines(self, list_of_data: Iterable[Any]) -> None:
        self.write(b"".join(list_of_data))

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        if not self._eof_sent and not self._closing:
            self._eof_sent = True
            self.network.send(self, "fin", b"")

    def get_write_buffer_size(self) -> int:
        self.settle_acks()
        return self._inflight

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._low, self._high

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high = high if high is not None else 65536 if low is None else 4 * low
        self._low = low if low is not None else self._high // 4

    def close(self) -> None:
        if self._closing:
            return
        if self._unread:  # a kernel resets if it discards unread data
            self.network.send(self, "rst", b"")
        elif not self._eof_sent:
            self.network.send(self, "fin", b"")
        self._end(None)

    def abort(self) -> None:
        if not self._closing:
            self.network.send(self, "rst", b"")
            self._end(None)

    # --- the kernel

    @property
    def paused(self) -> bool:
        """Whether the protocol's writing is paused until the peer acknowledges more."""
        return self._writing_paused

    def give(self, kind: Kind, data: bytes) -> None:
        """Handle a segment that has arrived; runs in the owner's context."""
        if self._closing:
            if kind == "data" and not self.peer.gone:
                self.network.send(self, "rst", b"")
            return
        if kind == "rst":
            self.fail(ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"))
        elif not self._reading:
            self._unread.append((kind, data))
        elif kind == "fin":
            if not self._guarded(self.protocol.eof_received):
                self.close()
        else:
            self.network.consumed(self, len(data))
            self._guarded(self.protocol.data_received, data)

    def fail(self, error: OSError) -> None:
        """End the connection with an error, unless it is closing."""
        if not self._closing:
            self._end(error)

    def settle_acks(self) -> None:
        """Process the acknowledgements that have arrived by now."""
        now = self.network.loop.now_ns
        while self.acks and self.acks[0][0] <= now:
            self._inflight -= self.acks.popleft()[1]

    def resume_writing_data(self) -> None:
        """Resume the protocol's writing if enough was acknowledged; runs in the owner's context."""
        self.settle_acks()
        if self._writing_paused and not self._closing and self._inflight <= self._low:
            self._writing_paused = False
            self.protocol.resume_writing()

    def _guarded(self, call: Callable[..., Any], *args: Any) -> Any:
        """Call the protocol; as in asyncio, an error is reported and aborts the connection."""
        try:
            return call(*args)
        except Exception as e:
            loop = self.network.loop
            loop.call_exception_handler(
                {
                    "message": f"{call.__qualname__} failed",
                    "exception": e,
                    "transport": self,
                    "protocol": self.protocol,
                }
            )
            self.abort()
            return True

    def _end(self, error: OSError | None) -> None:
        self._closing = True
        self.gone = True
        self._unread.clear()
        if error is not None:
            self.network.forget_held(self)
        if self.process is not None:
            self.process.connections.pop(self.number, None)
        loop = self.network.loop
        if self.protocol is not None:
            loop.deliver(
                self.process,
                Handle(self.protocol.connection_lost, (error,), loop, self.context),
            )

    def mark_dead(self) -> None:
        """Mark this end closed without calling its protocol, because its process is dead."""
        self._closing = True
        self.gone = True


def timed_out() -> OSError:
    return TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
