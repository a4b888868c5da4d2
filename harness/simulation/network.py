"""TCP between simulated machines, and faults of their links.

A connection is two ordered streams of segments. A cut link does not close it: segments are held,
and sent once the link heals. A connection is ended by a running kernel (FIN, RST) or by a timer:
keep-alive where it is enabled, or 924 s of retransmission. Lost segments are retransmitted, so a
lossy link is only a slow one.
"""

from __future__ import annotations

import asyncio
import errno
import os
import random
import socket
import zlib
from asyncio import Handle
from collections.abc import Callable, Iterable
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any, Protocol

from harness.simulation.delays import Delays
from harness.simulation.link import LOOPBACK_NS, RETRANSMIT_NS, Link
from harness.simulation.loop import NANOS, START_NS, SimulatedLoop
from harness.simulation.process import PROCESS, Listener, Process
from harness.simulation.trace import Trace
from harness.simulation.transport import Kind, Transport, timed_out

RETRANSMIT_LIMIT_NS = 924 * NANOS  # Linux' tcp_retries2 of 15
SYN_TRIES = 7  # with time-outs of 1, 2, 4, … s: 127 s in all


class Hosts(Protocol):
    """Resolves names to machines, addresses and listeners."""

    def machine_powered(self, name: str) -> bool:
        """Return whether the machine of a process is powered on; client hosts always are."""
        ...

    def ip(self, name: str) -> str: ...

    def process_at(self, host: str, port: int) -> str:
        """Return the name of the process at a host, given by name or IP address, and a port."""
        ...

    def listener(self, name: str, port: int) -> Listener | None: ...


class SimulatedServer(asyncio.AbstractServer):
    """The server that the loop's `create_server` returns."""

    def __init__(self, process: Process, port: int, address: tuple[str, int]) -> None:
        self._process = process
        self._port = port
        self._forever: asyncio.Future[None] | None = None
        self.sockets = [_Listening(address)]

    def close(self) -> None:
        self._process.listeners.pop(self._port, None)
        if self._forever is not None and not self._forever.done():
            self._forever.cancel()

    async def wait_closed(self) -> None:
        return None

    def is_serving(self) -> bool:
        return self._port in self._process.listeners

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    async def start_serving(self) -> None:
        return None

    async def serve_forever(self) -> None:
        self._forever = asyncio.get_running_loop().create_future()
        await self._forever


@dataclass
class _Listening:
    address: tuple[str, int]

    def getsockname(self) -> tuple[str, int]:
        return self.address


class SimulatedNetwork:
    """The network of a world: the loop's `Connector`, the transports' `Wire`, and the faults."""

    def __init__(
        self, loop: SimulatedLoop, hosts: Hosts, delays: Delays, seed: str, trace: Trace
    ) -> None:
        self.loop = loop
        self.hosts = hosts
        self._delays = delays
        self._seed = seed
        self._trace = trace
        self._links: dict[tuple[str, str], Link] = {}
        self._open: dict[int, Transport] = {}
        self._connections = 0
        self._ports: dict[str, int] = {}
        self._cuts: frozenset[tuple[str, str]] = frozenset()

    def link(self, source: str, sink: str) -> Link:
        found = self._links.get((source, sink))
        if found is None:
            rng = random.Random(f"{self._seed}/link/{source}>{sink}")
            found = self._links[source, sink] = Link(source, sink, self._delays, rng)
            found.cut = (source, sink) in self._cuts and not found.perfect
        return found

    def links(self) -> list[Link]:
        return [self._links[pair] for pair in sorted(self._links)]

    # --- interface of the loop

    def resolve(self, host: str) -> str:
        """Return the IP address of a name; raises gaierror."""
        sink, _, _ = host.partition("@")
        return self.hosts.ip(sink)

    def listen(self, factory: Callable[[], Any], port: int) -> SimulatedServer:
        process = PROCESS.get()
        if process is None:
            raise OSError(errno.EADDRNOTAVAIL, "only simulated processes can listen")
        machine = process.machine
        if port in process.listeners:
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
        process.listeners[port] = Listener(process, factory, copy_context())
        self._note(f"listen {process.name} {port}")
        return SimulatedServer(process, port, (machine.ip, port))

    async def connect(self, factory: Callable[[], Any], host: str, port: int) -> tuple[Any, Any]:
        """Connect to a process. `host`: its name or IP address; the harness' clients, which are
        not on a machine, give `name@source`."""
        sink, _, source = host.partition("@")
        process = PROCESS.get()
        if process is not None:
            source, sink = process.name, self.hosts.process_at(host, port)
        elif not source:
            raise _unknown(host)
        self.hosts.ip(sink)
        self._connections += 1
        number = self._connections
        made: asyncio.Future[Transport] = self.loop.create_future()
        self._note(f"connect {source}>{sink}:{port} #{number}")
        attempt = _Attempt(self, number, process, source, sink, port, factory, made)
        attempt.send_syn(0)
        transport = await made
        return transport, transport.protocol

    # --- segments

    def send(self, end: Transport, kind: Kind, data: bytes) -> None:
        """Send a segment as soon as the process' processor is free, after those sent before."""
        process, now = end.process, self.loop.now_ns
        if (
            process is None
            or process.state == "dead"
            or (process.busy_until <= now and not end.unsent)
        ):
            self._leave(end, kind, data)
        else:
            end.unsent += 1
            handle = Handle(self._leave_late, (end, kind, data), self.loop, end.context)
            at = max(now, process.busy_until)
            self.loop.at(at, process.name, self.loop.run_now, handle)

    def _leave_late(self, end: Transport, kind: Kind, data: bytes) -> None:
        end.unsent -= 1
        self._leave(end, kind, data)

    def _leave(self, end: Transport, kind: Kind, data: bytes) -> None:
        link = end.link
        if link.cut or end.held:
            end.held.append((kind, data))
            link.held_total += len(data)
            link.held_now += len(data)
            self._unanswered(end)
            return
        self._transmit(end, kind, data)

    def _transmit(self, end: Transport, kind: Kind, data: bytes, later: int = 0) -> None:
        link, now = end.link, self.loop.now_ns
        at = end.horizon = max(link.arrival(now, len(data), later), end.horizon + 1)
        self._note(
            f"{link.source}>{link.sink} #{end.number // 2} {kind} {len(data)} "
            f"{zlib.crc32(data):08x} +{at - now} ns"
        )
        self.loop.at(at, link.sink, self._arrive, end.peer, kind, data)

    def _arrive(self, end: Transport, kind: Kind, data: bytes) -> None:
        """Receive a segment in the kernel of the receiving machine."""
        sender = end.peer
        if not self.hosts.machine_powered(end.link.source):
            self._unanswered(sender)
            return
        if end.gone:
            if kind != "rst" and not sender.gone:
                self._leave(end, "rst", b"")  # by the kernel, even if the process is paused
            return
        sender.silent_since = None
        self.loop.deliver(end.process, Handle(end.give, (kind, data), self.loop, end.context))

    def consumed(self, end: Transport, size: int) -> None:
        """Acknowledge `size` bytes that the owner of `end` has read; a cut link delays that."""
        sender = end.peer
        if end.link.cut:
            sender.acks_held += size
            return
        self._acknowledge(sender, self.loop.now_ns + 2 * LOOPBACK_NS, size)

    def _acknowledge(self, end: Transport, at: int, size: int) -> None:
        """Have an acknowledgement of `size` bytes arrive at the sender, after earlier ones."""
        if end.acks:
            at = max(at, end.acks[-1][0])
        end.acks.append((at, size))
        if end.paused:
            self.when_acknowledged(end)

    def when_acknowledged(self, end: Transport) -> None:
        """Wake a paused writer when the last acknowledgement in flight has arrived."""
        if end.acks:
            self.loop.at(end.acks[-1][0], end.link.source, self._acknowledged, end)

    def _acknowledged(self, end: Transport) -> None:
        if not end.gone:
            self.loop.deliver(
                end.process, Handle(end.resume_writing_data, (), self.loop, end.context)
            )

    # --- time-outs

    def _unanswered(self, end: Transport) -> None:
        """Start the retransmission time-out of an end, unless it is running."""
        if end.silent_since is None:
            end.silent_since = now = self.loop.now_ns
            limit = now + RETRANSMIT_LIMIT_NS
            self.loop.at(limit, end.link.source, self._give_up, end, now)

    def _give_up(self, end: Transport, since: int) -> None:
        if end.silent_since == since and not end.gone:
            self._fail(end, timed_out())

    def keep_alive(self, end: Transport) -> None:
        """Start keep-alive probes; called once per connection, when the option is set."""
        if not end.failed_probes:
            self.loop.at(self.loop.now_ns + NANOS, end.link.source, self._arm_probe, end)

    def _arm_probe(self, end: Transport) -> None:
        idle, interval, _ = end.get_extra_info("socket").keepalive()
        wait = interval if end.failed_probes else idle
        if wait and not end.gone:
            self.loop.at(self.loop.now_ns + wait * NANOS, end.link.source, self._probe, end)

    def _probe(self, end: Transport) -> None:
        if end.gone:
            return
        link, back = end.link, end.peer.link
        if link.cut or back.cut or not self.hosts.machine_powered(link.sink):
            end.failed_probes += 1
            if end.failed_probes >= end.get_extra_info("socket").keepalive()[2]:
                self._fail(end, timed_out())
                return
        elif end.peer.gone:
            self._fail(end, ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"))
            return
        else:
            end.failed_probes = 0
        self._arm_probe(end)

    def _fail(self, end: Transport, error: OSError) -> None:
        if end.gone:
            return
        self._note(f"fail #{end.number // 2} at {end.link.source}: {error.strerror}")
        self.loop.deliver(end.process, Handle(end.fail, (error,), self.loop, end.context))

    # --- faults

    def cut(self, flows: Iterable[tuple[str, str]]) -> None:
        """Cut exactly these directed links; segments held on others are released."""
        self._cuts = frozenset(flows)
        self._note("cut " + " ".join(f"{a}>{b}" for a, b in sorted(self._cuts)))
        healed = []
        for link in self.links():
            was, link.cut = link.cut, (link.source, link.sink) in self._cuts and not link.perfect
            if was and not link.cut:
                healed.append(link)
        for link in healed:
            for end in self._ends():
                if end.link is link:
                    self._release(end)
                elif end.peer.link is link and end.acks_held:
                    self._acknowledge(end, self.loop.now_ns + RETRANSMIT_NS, end.acks_held)
                    end.acks_held = 0

    def _release(self, end: Transport) -> None:
        """Send the held segments at a random time, as TCP's next retransmission."""
        held, end.held = end.held, []
        if not held:
            return
        end.link.held_now -= sum(len(data) for _, data in held)
        end.silent_since = None
        later = end.link.rng.randrange(RETRANSMIT_NS)
        for kind, data in held:
            self._transmit(end, kind, data, later)

    def drop_held(self, source: str) -> None:
        """Drop the held segments of a dead process, but for resets."""
        for end in self._ends():
            if end.link.source == source and end.held:
                reset = [segment for segment in end.held if segment[0] == "rst"]
                end.link.dropped += self.forget_held(end)
                end.held = reset

    @staticmethod
    def forget_held(end: Transport) -> int:
        """Drop the held segments of an end; return their size in bytes."""
        size = sum(len(data) for _, data in end.held)
        end.link.held_now -= size
        end.held.clear()
        return size

    def reset(self, source: str, sink: str) -> int:
        """Reset the connections that `source` opened to `sink`; return their number."""
        count = 0
        for end in self._ends():
            if end.number % 2 == 0 and (end.link.source, end.link.sink) == (source, sink):
                count += 1
                for side in (end, end.peer):
                    error = ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")
                    self._fail(side, error)
        self._note(f"reset {source}>{sink} {count}")
        return count

    def kill(self, process: Process, *, silent: bool) -> None:
        """Close the connections and listeners of a dead process; its kernel sends resets, unless
        it is dead too (`silent`)."""
        for number in sorted(process.connections):
            end = process.connections[number]
            process.holds.append(end)
            end.mark_dead()
            if silent:
                self.forget_held(end)
                continue
            self.send(end, "rst", b"")
        process.connections.clear()
        process.listeners.clear()

    def boot(self, names: Iterable[str]) -> None:
        """Machines are on again: reset old connections whose peers still retransmit to them."""
        booted = frozenset(names)
        for end in self._ends():
            if end.link.sink in booted and end.peer.gone and end.silent_since is not None:
                at = self.loop.now_ns + end.link.rng.randrange(RETRANSMIT_NS)
                self.loop.at(at, end.link.source, self._reset_stale, end)

    def _reset_stale(self, end: Transport) -> None:
        if not (end.link.cut or end.peer.link.cut):
            self._fail(end, ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"))

    def established(self, ends: tuple[Transport, Transport]) -> None:
        """Register both ends of a new connection."""
        for end in ends:
            self._open[end.number] = end

    def local_port(self, name: str) -> int:
        self._ports[name] = self._ports.get(name, 40000) + 1
        return self._ports[name]

    def tear_down(self) -> None:
        """Mark all connections as closed, after the run."""
        for end in self._open.values():
            end.mark_dead()

    def _ends(self) -> list[Transport]:
        """Return the ends that are open, have an open peer or hold segments, in order of creation;
        forgets the others."""
        self._open = {
            n: end
            for n, end in self._open.items()
            if not (end.gone and end.peer.gone and not end.held)
        }
        return list(self._open.values())

    def _note(self, what: str) -> None:
        self._trace.add(self.loop.now_ns - START_NS, what)


class _Attempt:
    """A connection attempt: SYN, its retransmissions, SYN-ACK."""

    def __init__(
        self,
        network: SimulatedNetwork,
        number: int,
        process: Process | None,
        source: str,
        sink: str,
        port: int,
        factory: Callable[[], Any],
        made: asyncio.Future[Transport],
    ) -> None:
        self._network = network
        self._number = number
        self._process = process
        self._port = port
        self._factory = factory
        self._made = made
        self._context = copy_context()
        self._there = network.link(source, sink)
        self._back = network.link(sink, source)
        self._settled = False  # for the kernels; a paused process may not have noticed

    def send_syn(self, tries: int) -> None:
        """Send a SYN and schedule the next, unless the attempt is settled or was cancelled."""
        loop, hosts = self._network.loop, self._network.hosts
        if self._settled or self._made.done():
            return
        if tries == SYN_TRIES:
            self._answer(timed_out())
            return
        loop.at(loop.now_ns + (NANOS << tries), self._there.source, self.send_syn, tries + 1)
        if not self._there.cut and hosts.machine_powered(self._there.sink):
            at = loop.now_ns + self._there.latency()
            loop.at(at, self._there.sink, self._arrived)

    def _arrived(self) -> None:
        """Receive the SYN in the other kernel, and answer it."""
        network, loop = self._network, self._network.loop
        sink = self._there.sink
        if self._settled or self._back.cut or not network.hosts.machine_powered(sink):
            return
        at = loop.now_ns + self._back.latency()
        listener = network.hosts.listener(sink, self._port)
        if listener is None:
            refused = ConnectionRefusedError(
                errno.ECONNREFUSED, f"Connect call failed {(sink, self._port)!r}"
            )
            loop.at(at, self._there.source, self._answer, refused)
            return
        loop.at(at, self._there.source, self._establish, listener)

    def _answer(self, error: OSError) -> None:
        loop = self._network.loop
        if self._settled:
            return
        self._settled = True
        handle = Handle(_set_exception, (self._made, error), loop, self._context)
        loop.deliver(self._process, handle)

    def _establish(self, listener: Listener) -> None:
        """Receive the SYN-ACK: create both ends, if both processes are still alive."""
        network, loop = self._network, self._network.loop
        server = listener.process
        if self._settled or self._made.done() or server.state == "dead":
            return
        if self._process is not None and self._process.state == "dead":
            return
        self._settled = True
        source, sink = self._there.source, self._there.sink
        here = (network.hosts.ip(source), network.local_port(source))
        there = (server.machine.ip, self._port)
        near = Transport(
            network, 2 * self._number, self._process, self._there, (here, there), self._context
        )
        far = Transport(
            network,
            2 * self._number + 1,
            server,
            self._back,
            (there, here),
            listener.context.copy(),
        )
        near.peer, far.peer = far, near
        network.established((near, far))
        network._note(f"established {source}>{sink}:{self._port} #{self._number}")
        server.connections[far.number] = far
        if self._process is not None:
            self._process.connections[near.number] = near
        loop.deliver(server, Handle(_accept, (far, listener.factory), loop, far.context))
        loop.deliver(
            self._process,
            Handle(_connected, (near, self._factory, self._made), loop, self._context),
        )


def _accept(transport: Transport, factory: Callable[[], Any]) -> None:
    try:
        transport.protocol = factory()
        transport.protocol.connection_made(transport)
    except Exception:
        transport.abort()
        raise


def _connected(
    transport: Transport, factory: Callable[[], Any], made: asyncio.Future[Transport]
) -> None:
    if made.done():
        transport.abort()
        return
    try:
        _accept(transport, factory)
    except Exception as e:
        made.set_exception(e)
    else:
        made.set_result(transport)


def _set_exception(made: asyncio.Future[Transport], error: OSError) -> None:
    if not made.done():
        made.set_exception(error)


def _unknown(host: str) -> socket.gaierror:
    return socket.gaierror(socket.EAI_NONAME, f"{host!r} is not of the form process@client_host")
