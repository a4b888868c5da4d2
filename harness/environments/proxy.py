"""The fault proxy: forwards every TCP link of a local run, in a separate process.

`python -m harness.environments.proxy` reads commands as JSON lines from stdin and answers on
stdout. When stdin ends (the harness has ended, for whatever reason) it kills the processes that it
guards, and exits. As a separate process it takes no time of the clients' event loop.

A link (a, b) is a listening port on which a reaches b. Its connections carry two directed flows,
(a, b) and (b, a). A cut flow holds its bytes while the connection stays open, as in a network
partition: after healing they arrive in order, those of a sender that closed meanwhile included.
A connection attempted during a cut is established once the cut heals.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import socket
import struct
import sys
from collections import deque
from collections.abc import Callable
from typing import Any, Final

# A pipe that holds more stops reading its source, as with a full TCP window.
HELD_BYTES_MAX: Final = 16 << 20
EOF: Final = "eof"
RESET: Final = "reset"
Item = tuple[float, bytes | str]


class Flow:
    """The traffic from one process to another, over all connections, and the faults on it."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.cut = False
        self.delay_s = self.jitter_s = self.bytes_per_s = 0.0
        self.pipes: set[Pipe] = set()
        self.passed = self.held_total = self.dropped = self.delayed = 0

    @property
    def clear(self) -> bool:
        """Whether no fault affects the flow."""
        return not (self.cut or self.delay_s or self.jitter_s or self.bytes_per_s)

    def due(self, now: float, last: float, size: int) -> float:
        """Return when bytes that are sent now arrive; never before those sent earlier (`last`)."""
        jitter = self.jitter_s * self.rng.random() if self.jitter_s else 0.0
        pace = size / self.bytes_per_s if self.bytes_per_s else 0.0
        return max(now + self.delay_s + jitter, max(now, last) + pace)

    def stats(self) -> dict[str, int]:
        return {
            "passed": self.passed,
            "held_total": self.held_total,
            "delayed": self.delayed,
            "held_now": sum(p.held for p in self.pipes),
            "dropped": self.dropped,
        }


class Pipe:
    """One direction of one connection."""

    def __init__(self, flow: Flow, loop: asyncio.AbstractEventLoop) -> None:
        self.flow = flow
        self.loop = loop
        self.source: asyncio.Transport | None = None
        self.sink: asyncio.Transport | None = None
        self.queue: deque[Item] = deque()
        self.held = 0
        self.last_due = 0.0
        self.timer: asyncio.TimerHandle | None = None
        self.paused = False  # the source is not read: too much is held
        self.choked = False  # the sink's write buffer is full
        self.discards = False  # the source was killed, and its remaining bytes are dropped
        self.ended = False  # the source closed or aborted
        self.closed = False  # the end was passed on to the sink
        self.other: Pipe | None = None  # the opposite direction
        flow.pipes.add(self)

    def feed(self, data: bytes) -> None:
        flow = self.flow
        if self.discards:
            flow.dropped += len(data)
            return
        if not self.queue and self.sink is not None and flow.clear:
            flow.passed += len(data)
            self.sink.write(data)
            return
        if flow.cut:
            flow.held_total += len(data)
        elif not flow.clear:
            flow.delayed += len(data)
        self.held += len(data)
        self._put(data, len(data))
        if self.held > HELD_BYTES_MAX and self.source is not None and not self.paused:
            self.paused = True
            self.source.pause_reading()

    def end(self, how: str) -> None:
        """Queue the end of the source, closed (EOF) or aborted (RESET), behind the held bytes."""
        if self.ended:
            return
        self.ended = True
        self._put(how, 0)

    def _put(self, item: bytes | str, size: int) -> None:
        self.last_due = self.flow.due(self.loop.time(), self.last_due, size)
        self.queue.append((self.last_due, item))
        self.pump()

    def pump(self) -> None:
        """Deliver the queued items that are due."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        while self.queue and self.sink is not None and not (self.flow.cut or self.choked):
            due, item = self.queue[0]
            wait = due - self.loop.time()
            if wait > 0.0005 and not self.flow.clear:
                self.timer = self.loop.call_later(wait, self.pump)
                return
            self.queue.popleft()
            self._deliver(item)
        if self.paused and self.held < HELD_BYTES_MAX // 2:
            self.paused = False
            self.read_on()

    def read_on(self) -> None:
        """Resume reading the source, unless the pipe is paused or choked."""
        if self.source is not None and not (self.paused or self.choked):
            with contextlib.suppress(RuntimeError):
                self.source.resume_reading()

    def _deliver(self, item: bytes | str) -> None:
        assert self.sink is not None
        if isinstance(item, bytes):
            self.held -= len(item)
            self.flow.passed += len(item)
            self.sink.write(item)
        elif item == RESET:
            abort(self.sink)
        elif not self.sink.is_closing():
            with contextlib.suppress(OSError):  # its peer may just have reset it
                self.sink.write_eof()
            self.closed = True
            if self.other is not None and self.other.closed:  # both directions have ended
                self.sink.close()
                if self.source is not None:
                    self.source.close()

    def drop(self) -> None:
        """Drop the held bytes and all later ones; a queued end is kept."""
        ends = [i for i in self.queue if isinstance(i[1], str)]
        self.flow.dropped += self.held
        self.held = 0
        self.queue = deque(ends)
        self.discards = True
        self.paused = False
        self.read_on()

    def close(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
        self.flow.pipes.discard(self)


def abort(transport: asyncio.Transport) -> None:
    """Close with a TCP reset."""
    sock = transport.get_extra_info("socket")
    if sock is not None:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


class End(asyncio.Protocol):
    """One end of a connection: reads into `out`, and is the sink of `into`."""

    def __init__(
        self, out: Pipe, into: Pipe, connected: Callable[[], None], closed: Callable[[End], None]
    ) -> None:
        self.out = out
        self.into = into
        self._connected = connected
        self._closed = closed
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = self.out.source = self.into.sink = transport
        sock = transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connected()

    def data_received(self, data: bytes) -> None:
        self.out.feed(data)

    def eof_received(self) -> bool:
        self.out.end(EOF)
        return True

    def pause_writing(self) -> None:
        self.into.choked = True
        if self.into.source is not None:
            with contextlib.suppress(RuntimeError):
                self.into.source.pause_reading()

    def resume_writing(self) -> None:
        self.into.choked = False
        self.into.pump()
        self.into.read_on()

    def connection_lost(self, exc: Exception | None) -> None:
        self.out.end(RESET if exc is not None else EOF)
        self.into.sink = None
        self._closed(self)


class Link:
    """A port on which one process reaches another, and its connections."""

    def __init__(self, there: Flow, back: Flow, to: tuple[str, int], port: int) -> None:
        self.there = there
        self.back = back
        self.to = to
        self.port = port
        self.server: asyncio.Server | None = None
        self.ends: dict[End, End | None] = {}  # the accepted end -> the dialled one
        self.dials: set[asyncio.Task[None]] = set()
        self.waiting: list[End] = []

    async def listen(self) -> None:
        if self.server is None:
            loop = asyncio.get_running_loop()
            self.server = await loop.create_server(
                self._accept, "127.0.0.1", self.port, reuse_address=True, backlog=512
            )
            self.port = self.server.sockets[0].getsockname()[1]

    async def refuse(self) -> None:
        if self.server is not None:
            self.server.close()
            self.server = None

    def _accept(self) -> End:
        loop = asyncio.get_running_loop()
        there, back = Pipe(self.there, loop), Pipe(self.back, loop)
        there.other, back.other = back, there
        end = End(there, back, lambda: self._dial(end), self._gone)
        return end

    def _dial(self, end: End) -> None:
        self.ends.setdefault(end, None)
        if self.there.cut or self.back.cut:
            self.waiting.append(end)
            return
        task = asyncio.get_running_loop().create_task(self._connect(end))
        self.dials.add(task)
        task.add_done_callback(self.dials.discard)

    async def _connect(self, end: End) -> None:
        loop = asyncio.get_running_loop()
        other = End(end.into, end.out, lambda: None, self._gone)
        try:
            await loop.create_connection(lambda: other, *self.to)
        except OSError:
            if end.transport is not None:
                abort(end.transport)
            return
        self.ends[end] = other
        end.out.pump()

    def healed(self) -> None:
        """Establish the connections that waited for the cut to heal, except those given up
        meanwhile."""
        if self.there.cut or self.back.cut:
            return
        waiting, self.waiting = self.waiting, []
        for end in waiting:
            if end.transport is None or end.transport.is_closing() or end.out.ended:
                if end.transport is not None:
                    end.transport.abort()
                continue
            self._dial(end)

    def reset(self) -> int:
        """Reset every open connection; return their number."""
        connections = list(self.ends.items())
        for accepted, dialled in connections:
            for end in (accepted, dialled):
                if end is not None and end.transport is not None:
                    abort(end.transport)
        return len(connections)

    def _gone(self, end: End) -> None:
        for accepted, dialled in list(self.ends.items()):
            if end is not accepted and end is not dialled:
                continue
            other = dialled if end is accepted else accepted
            if other is None or other.transport is None or other.transport.is_closing():
                accepted.out.close()
                accepted.into.close()
                del self.ends[accepted]
            elif not end.out.queue:
                other.transport.close()
            return


class Proxy:
    """The links and flows of a run, by (source, sink), and the commands that act on them."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.flows: dict[tuple[str, str], Flow] = {}
        self.links: dict[tuple[str, str], Link] = {}
        self.guarded: set[int] = set()

    def flow(self, source: str, sink: str) -> Flow:
        return self.flows.setdefault((source, sink), Flow(self.rng))

    async def handle(self, do: str, args: dict[str, Any]) -> Any:
        handler = getattr(self, f"do_{do}")
        return await handler(**args)

    async def do_link(self, source: str, sink: str, host: str, port: int) -> int:
        """Create a link; return the port on which `source` reaches `sink`."""
        link = Link(self.flow(source, sink), self.flow(sink, source), (host, port), 0)
        await link.listen()
        self.links[source, sink] = link
        return link.port

    async def do_cut(self, flows: list[tuple[str, str]]) -> None:
        """Cut exactly these flows, and heal all others."""
        wanted = {(a, b) for a, b in flows}
        for pair, flow in self.flows.items():
            flow.cut = pair in wanted
        for flow in self.flows.values():
            for pipe in list(flow.pipes):
                pipe.pump()
        for link in self.links.values():
            link.healed()

    async def do_shape(
        self,
        source: str,
        sink: str,
        delay_s: float = 0,
        jitter_s: float = 0,
        bytes_per_s: float = 0,
    ) -> None:
        flow = self.flow(source, sink)
        flow.delay_s, flow.jitter_s, flow.bytes_per_s = delay_s, jitter_s, bytes_per_s
        for pipe in list(flow.pipes):
            pipe.pump()

    async def do_refuse(self, sink: str, refuse: bool) -> None:
        """Refuse new connections to a process, or accept them again."""
        for (_, to), link in self.links.items():
            if to == sink:
                await (link.refuse() if refuse else link.listen())

    async def do_reset(self, source: str, sink: str) -> int:
        return self.links[source, sink].reset()

    async def do_drop(self, source: str) -> None:
        """Drop the held bytes of a process that was killed."""
        for (a, _), flow in self.flows.items():
            if a == source:
                for pipe in list(flow.pipes):
                    pipe.drop()

    async def do_stats(self) -> list[tuple[str, str, dict[str, int]]]:
        return [(a, b, flow.stats()) for (a, b), flow in self.flows.items()]

    async def do_guard(self, pid: int, guard: bool) -> None:
        """Kill a process group when the harness ends; with `guard` false, no longer do so."""
        (self.guarded.add if guard else self.guarded.discard)(pid)

    def kill_guarded(self) -> None:
        for pid in sorted(self.guarded):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)


async def serve(seed: int) -> None:
    """Execute the commands from stdin until it ends, then kill the guarded process groups."""
    loop = asyncio.get_running_loop()
    proxy = Proxy(seed)
    reader = asyncio.StreamReader(limit=1 << 20)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    try:
        while line := await reader.readline():
            request = json.loads(line)
            try:
                answer = {
                    "id": request["id"],
                    "ok": await proxy.handle(request["do"], request["args"]),
                }
            except Exception as e:
                answer = {"id": request["id"], "error": f"{type(e).__name__}: {e}"}
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()
    finally:
        proxy.kill_guarded()


def main() -> None:
    # Ctrl-C reaches the whole terminal group; only the harness decides when this process ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with contextlib.suppress(BrokenPipeError):
        asyncio.run(serve(int(sys.argv[1])))


if __name__ == "__main__":
    main()
