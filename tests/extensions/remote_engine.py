"""An engine in another process, a redis-server per node that executes four commands, and the
reference with that engine. `python -m tests.extensions.remote_engine` runs one of its nodes."""

from __future__ import annotations

import asyncio
import ctypes
import signal
import subprocess
from collections.abc import Awaitable, Iterator, Mapping, Sequence
from typing import Any

import harness
from harness.binaries import find_server
from harness.generators import Repeat, mix
from harness.host import Host
from targets.engine.protocol import Context, Engine, Outcome
from targets.engine.resp import OK, Command, Error, Simple, pack
from targets.engine.table import NO_KEYS, ONE, CommandSpec, Table
from targets.memorydb_py.__main__ import main
from targets.memorydb_py.processes import Parts
from targets.memorydb_py.target import MemoryDB

SOCKET = "engine.sock"
COMMANDS: Table[Any] = Table()
COMMANDS.command("GET", 2, "readonly fast", ONE)(None)
COMMANDS.command("SET", -3, "write denyoom", ONE)(None)
for _read in ("TYPE", "PEXPIRETIME"):  # by which the harness compares nodes
    COMMANDS.command(_read, 2, "readonly fast", ONE)(None)
COMMANDS.command("TIME", 1, "fast", NO_KEYS)(None)


class NoKeys:
    """An empty view of the keyspace: to look up a key the node would have to ask redis-server."""

    expiring = 0

    def __contains__(self, key: bytes) -> bool:
        return False

    def __len__(self) -> int:
        return 0

    def __iter__(self) -> Iterator[bytes]:
        return iter(())

    def is_expired(self, key: bytes, time_ms: int) -> bool:
        return False

    def due(self, time_ms: int, most: int) -> list[bytes]:
        return []


class RemoteEngine:
    """Sends commands to the redis-server, one at a time."""

    def __init__(self) -> None:
        self.commands: Mapping[bytes, CommandSpec[Any]] = COMMANDS
        self.keys = NoKeys()
        self._lock = asyncio.Lock()
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    def execute(self, command: Command, context: Context) -> Awaitable[Outcome]:
        return self._execute(command, context)

    def apply(self, effects: Sequence[Sequence[bytes]]) -> Awaitable[Outcome]:
        return self._apply(effects)

    def clear(self) -> Awaitable[None]:
        return self._clear()

    async def _execute(self, command: Command, context: Context) -> Outcome:
        write = command[0].upper() == b"SET"
        if write and context.deny is not None:
            return Outcome(context.deny)
        outcome = Outcome(await self._ask(command))
        outcome.reads.update(dict.fromkeys(command[1:2]))
        if write and outcome.reply == OK:
            outcome.writes[command[1]] = None
            outcome.effects.append(command)
        return outcome

    async def _apply(self, effects: Sequence[Sequence[bytes]]) -> Outcome:
        outcome = Outcome()
        for effect in effects:
            reply = await self._ask(effect)
            outcome.writes[effect[1]] = None
            if isinstance(reply, Error):
                outcome.reply = reply
        return outcome

    async def _clear(self) -> None:
        await self._ask((b"FLUSHALL",))

    async def _ask(self, command: Sequence[bytes]) -> Any:
        async with self._lock:  # the lock is fair: replies come in the order of the calls
            if self._streams is None:
                self._streams = await _connected()
            reader, writer = self._streams
            writer.write(pack(tuple(command)))
            return await _reply(reader)


async def _reply(reader: asyncio.StreamReader) -> Any:
    line = (await reader.readuntil(b"\r\n"))[:-2]
    if line[:1] == b"-":
        return Error(line[1:].decode())
    if line[:1] == b":":
        return int(line[1:])
    if line[:1] == b"+":
        return Simple(line[1:])
    if line[:1] == b"*":
        return [await _reply(reader) for _ in range(int(line[1:]))]
    size = int(line[1:])
    return None if size < 0 else (await reader.readexactly(size + 2))[:-2]


async def _connected() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Start a redis-server that ends with this process, and connect to it."""
    options = ["--port", "0", "--unixsocket", SOCKET, "--save", "", "--appendonly", "no"]
    subprocess.Popen(  # noqa: ASYNC220  (Popen returns at once)
        [str(find_server("redis")), *options],
        preexec_fn=_end_with_parent,
        stdout=subprocess.DEVNULL,
    )
    while True:
        try:
            return await asyncio.open_unix_connection(SOCKET)
        except OSError:
            await asyncio.sleep(0.01)


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


class WithRemoteEngine(Parts):
    def engine(self, host: Host) -> Engine:
        return RemoteEngine()


class RemoteEngineDB(MemoryDB):
    """The reference with an engine in another process, without snapshots and audit."""

    promises = frozenset({"replica-prefixes"})
    parts = WithRemoteEngine()
    module = "tests.extensions.remote_engine"


class GetAndSet:
    """Reads and writes of a few registers."""

    name = "get-and-set"
    depends_on: frozenset = frozenset()
    reads = frozenset({"read"})
    forms: Mapping = {}
    minimum: Mapping = {"read": 50, "write": 50}

    def __init__(self, options) -> None:
        self._prefix = options.prefix
        self._last = 0

    def generator(self):
        def write(rng):
            self._last += 1
            return "write", [rng.randrange(3), self._last]

        return mix(Repeat(lambda rng: ("read", [rng.randrange(3), None])), Repeat(write))

    def final(self):
        return None

    def keys_of(self, op):
        return [f"{self._prefix}{op.value[0]}"]

    async def apply(self, connection, op):
        key, value = op.value
        (name,) = self.keys_of(op)
        if op.f == "write":
            await connection.call("SET", name, value)
            return op.completed("ok")
        reply, role = await harness.with_role(connection, "GET", name)
        return op.completed("ok", value=[key, None if reply is None else int(reply)], role=role)

    def claims(self):
        model = harness.load("harness.models", "register")()
        return {"linearizable": harness.Linearizable(model)}


if __name__ == "__main__":
    main(WithRemoteEngine())
