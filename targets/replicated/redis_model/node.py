"""A node of the model: its role, and how it handles commands before and after execution."""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import count
from typing import Any

from harness.host import Host
from targets.engine.protocol import Context
from targets.engine.python import PythonEngine
from targets.engine.resp import NIL_ARRAY, Command, Error, RequestParser, pack
from targets.engine.table import CommandSpec, find, merged, unknown, wrong_number
from targets.replicated.redis_model.persistence import AppendOnlyFile
from targets.replicated.redis_model.replication import Link, Primary, ReplicaSession, Stream
from targets.replicated.redis_model.settings import Settings
from targets.servers.statistics import Statistics
from targets.servers.transactions import (
    ABORTED,
    NESTED_MULTI,
    NESTED_WATCH,
    NOT_ALLOWED,
    Transactions,
    discarded,
)
from targets.servers.turns import Turns

READONLY = Error("READONLY You can't write against a read only replica.")
NOREPLICAS = Error("NOREPLICAS Not enough good replicas to write.")
_NESTED = {"MULTI": NESTED_MULTI, "WATCH": NESTED_WATCH}

# The function of one of the node's own commands: it replies, or blocks the session.
Run = Callable[["Node", ReplicaSession, Command], None]
OwnCommands = Mapping[bytes, CommandSpec[Run]]


class Node:
    """A Redis server with asynchronous replication. It is the primary if `link` is None.

    Positions of replies are bytes of the append-only file: with `appendfsync always` a reply waits
    until the file is synced, otherwise all positions are 0.
    """

    def __init__(self, host: Host, settings: Settings, commands: OwnCommands) -> None:
        """`commands`: the node's own, in addition to the engine's."""
        self.host = host
        self.engine = PythonEngine()
        self.stream = Stream(lambda: f"{host.rng.getrandbits(160):040x}")
        self.link: Link | None = None
        self.sessions: dict[int, ReplicaSession] = {}
        self.primary = Primary(self)
        self.transactions = Transactions(self.engine.keys)
        self.statistics = Statistics()
        self.turns = Turns(host.spent_ns)
        self.port = 0
        self.committed = 0
        self.parked = 0
        self._own = commands
        self._table: Mapping[bytes, CommandSpec[Any]] = merged([self.engine.commands, commands])
        self._settings = settings
        self._file: AppendOnlyFile | None = None
        if settings.appendonly:
            self._file = AppendOnlyFile(host, settings.appendfsync, self._synced)
        self._circumstances = Context(0, host.rng)
        self._replies_wait = settings.appendonly and settings.appendfsync == "always"
        self._unsent = bytearray()
        self._unlogged = bytearray()
        self._accepted = 0
        self._waiters: list[tuple[int, int, Callable[[int], None]]] = []  # a heap, by position
        self._numbers = count()

    async def run(self, primary: str | None) -> None:
        """Load the append-only file, then serve until the process ends. `primary`: the name of the
        process to replicate from."""
        if self._file is not None:
            for command in await self._file.open():
                self._apply(command)
        server = await self.host.serve(self._accept)
        self.port = server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
        if primary is None:
            self.host.log("role: primary")
        else:
            self.link = Link(self, self.host.address(primary))
        work = [self.primary.keep(self._settings.repl_ping_replica_period)]
        if self._file is not None:
            work.append(self._file.every_second())
        await asyncio.gather(*work)

    def _accept(self) -> ReplicaSession:
        self._accepted += 1
        return ReplicaSession(self, self._accepted)

    def begin(self, session: ReplicaSession) -> None:
        self.sessions[session.number] = session

    def end(self, session: ReplicaSession) -> None:
        self.sessions.pop(session.number, None)
        self.transactions.unwatch(session)
        self.primary.feeds.pop(session.number, None)
        self.primary.forget(session)

    def over_limit(self, session: ReplicaSession, size: int) -> bool:
        return False

    def time_ms(self) -> int:
        """Return the time of day in milliseconds since 1970."""
        return self.host.wall_ns() // 1_000_000

    # --- the append-only file

    def position(self) -> int:
        """Return the position that a reply which shows the present data has to wait for."""
        if self._file is None or not self._replies_wait:
            return 0
        return self._file.appended + len(self._unlogged)

    def wait_for(self, position: int, then: Callable[[int], None]) -> None:
        heapq.heappush(self._waiters, (position, next(self._numbers), then))

    def _synced(self, position: int) -> None:
        self.committed = position
        while self._waiters and self._waiters[0][0] <= position:
            heapq.heappop(self._waiters)[2](position)

    # --- the stream

    def propagate(self, entries: Sequence[Command], *, lasting: bool = True) -> None:
        """Append entries to the stream, and to the file if they are `lasting`; `flush` sends
        them."""
        for entry in entries:
            data = pack(entry)
            self.stream.add(data)
            self._unsent += data
            if lasting:
                self._unlogged += data

    def flush(self) -> None:
        """Append the propagated entries to the file, then send them to replicas."""
        if not self._unsent:
            return
        data, lasting = bytes(self._unsent), bytes(self._unlogged)
        self._unsent.clear()
        self._unlogged.clear()
        if self._file is not None:
            self._file.append(lasting)
        position = self.position()
        for feed in list(self.primary.feeds.values()):
            feed.session.send(data, position)

    def snapshot(self) -> bytes:
        """Return the data as commands that recreate them in an empty replica."""
        return b"".join(pack(command) for command in self.engine.rewritten())

    # --- as a replica

    def apply(self, entries: Sequence[Command]) -> None:
        """Apply entries of the primary's stream that take effect together, and propagate them with
        the same offsets."""
        for entry in entries:
            self.host.charge(1)
            self.transactions.touch(self._apply(entry))
        self.propagate(entries, lasting=entries[0][0] not in (b"PING", b"REPLCONF"))

    def _apply(self, entry: Command) -> Iterable[bytes]:
        """Apply an entry of a stream or file; return the keys that have changed."""
        if entry[0].upper() not in self.engine.commands:  # MULTI, EXEC, REPLCONF
            return ()
        outcome = self.engine.apply([entry])
        if isinstance(outcome.reply, Error):
            raise ValueError(f"{entry[0]!r} of the stream can't be applied: {outcome.reply}")
        return outcome.writes

    def replace(self, payload: bytes, stream_id: str, offset: int) -> None:
        """Replace all data by the primary's. `payload`: commands that recreate them."""
        self.flush()
        changed = dict.fromkeys(self.engine.keys)
        self.engine.clear()
        for command in RequestParser().feed(payload):
            changed.update(dict.fromkeys(self._apply(command)))
        if self._file is not None:
            self._file.rewrite(payload)
        self.primary.drop()
        self.stream.restart(stream_id, offset)
        self.transactions.touch(changed)

    # --- commands

    def handle(self, session: ReplicaSession, todo: deque[Command]) -> None:
        while todo and not session.blocked:
            self._handle(session, todo.popleft())
        self.flush()

    def _handle(self, session: ReplicaSession, command: Command) -> None:
        self.host.charge(1)
        spec = find(self._table, command)
        error = self._refuse(command, spec)
        if session.queued is not None:
            if error is None and spec is not None:
                no_multi = NOT_ALLOWED if "no_multi" in spec.flags else None
                error = no_multi or _NESTED.get(spec.name)
            if error is not None and command[0].upper() == b"EXEC":
                self.transactions.end(session)
                session.reply(discarded(error), self.position())
                return
            if error is not None or (spec is not None and spec.name not in ("EXEC", "DISCARD")):
                queued = self.transactions.queue(session, command, error)
                session.reply(queued, self.position())
                return
        if error is not None or spec is None:
            session.reply(error, self.position())
            return
        own = self._own.get(spec.name.encode())
        if own is not None:
            own.run(self, session, command)
        else:
            replies = self.execute(session, [command])
            session.reply(replies[0], self.position())
        session.written = self.stream.offset

    def _refuse(self, command: Command, spec: CommandSpec[Any] | None) -> Error | None:
        if spec is None:
            return unknown(self._table, command)
        if not spec.fits(command):
            return wrong_number(spec.name)
        return self.denied() if spec.write else None

    def denied(self) -> Error | None:
        """Return why commands that may write are refused now, or None."""
        if self.link is not None:
            return READONLY
        if self._file is not None and self._file.error is not None:
            return Error(f"MISCONF Errors writing to the AOF file: {self._file.error}")
        wanted = self._settings.min_replicas_to_write
        if wanted:
            now = asyncio.get_running_loop().time()
            if self.primary.healthy(self._settings.min_replicas_max_lag, now) < wanted:
                return NOREPLICAS
        return None

    def execute(self, session: ReplicaSession, commands: Sequence[Command]) -> list[Any]:
        """Execute commands; their effects are propagated as one. Return the replies."""
        context = self._circumstances
        context.time_ms = self.time_ms()
        replies: list[Any] = []
        effects: list[Command] = []
        for command in commands:
            spec = find(self._table, command)
            own = None if spec is None else self._own.get(spec.name.encode())
            if own is not None:  # in a transaction
                replies.append(session.divert(own.run, self, command))
                continue
            context.deny = self.denied()  # REPLICAOF may be among them
            outcome = self.engine.execute(command, context)
            replies.append(outcome.reply)
            effects += [e for e in outcome.effects if e[0] not in (b"MULTI", b"EXEC")]
            if outcome.writes:
                self.transactions.touch(outcome.writes)
        if len(effects) > 1:
            effects = [(b"MULTI",), *effects, (b"EXEC",)]
        self.propagate(effects)
        return replies

    def exec(self, session: ReplicaSession) -> None:
        """Execute the session's transaction."""
        commands, _, aborted, touched = self.transactions.take(session, self.time_ms())
        deny = self.denied()
        if aborted:
            session.reply(ABORTED, self.position())
        elif touched:
            session.reply(NIL_ARRAY, self.position())
        elif deny is not None and any(self._writes(command) for command in commands):
            session.reply(discarded(deny), self.position())
        else:
            replies = self.execute(session, commands)
            session.reply(replies, self.position())

    def _writes(self, command: Command) -> bool:
        spec = find(self._table, command)
        return spec is not None and spec.write
