"""A shard in the simulation: a log, nodes, and clients that see every byte."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Any

import hiredis

from harness.simulation.process import Process
from targets.engine.resp import pack
from targets.memorydb_py import entries
from targets.memorydb_py.log.interface import Batch
from targets.memorydb_py.node.context import NodeContext
from targets.memorydb_py.node.node import Node
from targets.memorydb_py.node.settings import ENGINE_VERSION, Settings
from targets.memorydb_py.processes import Parts
from targets.memorydb_py.snapshots.objects import ObjectStore
from targets.memorydb_py.snapshots.snapshotter import SnapshotSettings, serve_snapshotter
from tests.targets.memorydb_py.logs import AZS, Logs, fail_if_trimmed

# LONG: leases that outlast a test's withheld acknowledgements. SHORT: leases that end in a test.
LONG = {"lease-ms": "8000", "backoff-ms": "8100", "drift-percent": "0"}
SHORT = {"lease-ms": "300", "backoff-ms": "500"}
# Rounds of tests that depend on timing; `HARNESS_ROUNDS=200` for a thorough run.
ROUNDS = int(os.environ.get("HARNESS_ROUNDS", "8"))
QUIET = "nothing came"
CLOSED = "the connection was closed"


class Talk(asyncio.Protocol):
    """A connection to a node. Replies are hiredis' values; error replies are returned, not
    raised."""

    def __init__(self) -> None:
        self._parser = hiredis.Reader(replyError=hiredis.ReplyError)
        self._something = asyncio.Event()
        self._closed = False

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._parser.feed(data)
        self._something.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._closed = True
        self._something.set()

    def send(self, *commands: str | tuple[Any, ...]) -> None:
        """Send commands, each a string of words separated by blanks, or a tuple."""
        data = b""
        for command in commands:
            words = command.split() if isinstance(command, str) else command
            data += pack(w if isinstance(w, bytes) else str(w).encode() for w in words)
        self.write(data)

    def write(self, data: bytes) -> None:
        self._transport.write(data)

    def pause(self) -> None:
        """Stop reading from the socket."""
        self._transport.pause_reading()

    def resume(self) -> None:
        """Read again."""
        self._transport.resume_reading()

    async def reply(self, within: float = 20.0) -> Any:
        """Return the next reply; QUIET if none arrives in time, CLOSED if the connection was
        closed."""
        try:
            async with asyncio.timeout(within):
                while (reply := self._parser.gets()) is False:
                    if self._closed:
                        return CLOSED
                    self._something.clear()
                    await self._something.wait()
        except TimeoutError:
            return QUIET
        return reply

    async def ask(self, command: str | tuple[Any, ...], within: float = 20.0) -> Any:
        self.send(command)
        return await self.reply(within)

    async def asks(self, *commands: str | tuple[Any, ...]) -> list[Any]:
        self.send(*commands)
        return [await self.reply() for _ in commands]

    def close(self) -> None:
        self._transport.close()


class Shards(Logs):
    """A log with nodes n1, n2, ...: node i runs on the machine of AZ i, if there is one. `objects`:
    the store of snapshots."""

    def __init__(
        self,
        seed: object,
        nodes: int = 3,
        options: dict[str, str] = LONG,
        objects: ObjectStore | None = None,
        **given: Any,
    ) -> None:
        super().__init__(seed, users=given.pop("users", 0), **given)
        self.names = [f"n{i + 1}" for i in range(nodes)]
        for i in range(3, nodes):
            self.world.add_machine(f"m{i + 1}")
        self.options = options
        self.objects = objects
        self.nodes: dict[str, Node] = {}
        self.processes: dict[str, Process] = {}

    def run(self, scenario: Callable[[Any], Awaitable[None]], *, begin: bool = True) -> None:
        async def whole(_: Logs) -> None:
            for name in self.names:
                self.start_node(name)
            await self.settled()
            await scenario(self)

        super().run(whole if begin else scenario, begin=begin)

    def start_node(self, name: str, **options: str) -> None:
        nodes = {n: (n, 6379) for n in self.names}
        near = sorted(AZS, key=lambda az: (az[2:] != name[1:], az))

        async def main(host: Any) -> None:
            context = NodeContext(nodes=nodes, objects=self.objects)
            settings = Settings.parse(self.options | options)
            node = self.nodes[name] = Parts().node(host, near, settings, context)
            await node.run()

        self.nodes.pop(name, None)
        machine = self.world.machines[f"m{name[1:]}"]
        self.processes[name] = self.world.start(name, machine, main)

    def start_snapshotter(self, every: int, version: int = ENGINE_VERSION) -> None:
        async def main(host: Any) -> None:
            settings = SnapshotSettings(every=every, version=version)
            assert self.objects is not None
            await serve_snapshotter(host, Parts().log(host, AZS), self.objects, settings)

        machine = self.world.machines["m1"]
        self.processes["snapshotter"] = self.world.start("snapshotter", machine, main)

    def kill(self, *names: str) -> None:
        for name in names:
            self.world.kill(self.processes[name])

    def restart_nodes(self, *names: str) -> None:
        """Kill these nodes, or all, at once, and start them."""
        self.kill(*(names or self.names))
        for name in names or self.names:
            self.start_node(name)

    # --- roles

    def serving(self) -> list[str]:
        """Return the running nodes that hold the lease."""
        return [
            name
            for name, node in self.nodes.items()
            if self.processes[name].state == "running"
            and hasattr(node, "shard")
            and node.shard.serves()
        ]

    async def primary(self, within: float = 30.0) -> str:
        """Wait until a node serves; return it."""
        async with asyncio.timeout(within):
            while not self.serving():
                await asyncio.sleep(0.005)
        (name,) = self.serving()
        return name

    async def replicas(self) -> list[str]:
        primary = await self.primary()
        return [n for n in self.names if n != primary]

    async def settled(self) -> None:
        """Wait until every running node is ready and has applied what the primary has."""
        primary = await self.primary()
        async with asyncio.timeout(30):
            while True:
                alive = [n for n in self.names if self.processes[n].state == "running"]
                shards = [self.nodes[n].shard for n in alive if n in self.nodes]
                last = self.nodes[primary].shard.applied
                behind = [s for s in shards if s.role == "replica" and not s.ready]
                behind += [s for s in shards if s.applied != last]
                if not behind and len(shards) == len(alive):
                    return
                await asyncio.sleep(0.01)

    async def connect(self, name: str, *first: str) -> Talk:
        """Connect as an outside client. `first`: commands that must be answered OK."""
        loop = asyncio.get_running_loop()
        _, talk = await loop.create_connection(Talk, f"{name}@operator", 6379)
        for command in first:
            assert await talk.ask(command) == b"OK"
        return talk

    async def to_primary(self) -> Talk:
        return await self.connect(await self.primary())

    async def to_replica(self) -> Talk:
        return await self.connect((await self.replicas())[0], "READONLY")

    # --- the log

    def hold(self, *names: str) -> None:
        """Withhold what the AZs send to these nodes, acknowledgements included."""
        self.world.cut([(az, name) for name in names for az in AZS])

    def cut_from_log(self, *names: str) -> None:
        """Cut these nodes off from the log, in both directions."""
        self.world.cut([pair for name in names for az in AZS for pair in ((az, name), (name, az))])

    def slow(self, source: str, sink: str, delay_s: float) -> None:
        self.world.network.link(source, sink).shape(delay_s, 0, 0)

    def release(self) -> None:
        self.world.cut(())

    async def log(self) -> list[Batch]:
        """Return all committed batches."""
        made = await self.user("reader", "m1")
        tail = await made.tail()
        got: list[Batch] = []
        made.follow(0, got.append, fail_if_trimmed)
        while not got or got[-1].last < tail.n:
            await asyncio.sleep(0.01)
        self.world.kill(self.world.machines["m1"].processes["reader"])
        del self.clients["reader"]
        return got

    async def effects(self) -> list[list[list[bytes]]]:
        """Return the effects in the log, one list for each entry."""
        return [
            entry
            for batch in await self.log()
            for entry in entries.decode(batch.payload)
            if not isinstance(entry, entries.Control)
        ]

    def roles(self, what: str) -> list[str]:
        """Return the log lines in which nodes report a change of role."""
        return [line for line in self.lines if f"role: {what}" in line and line[0] == "n"]


__all__ = ["AZS", "CLOSED", "LONG", "QUIET", "ROUNDS", "SHORT", "Shards", "Talk"]
