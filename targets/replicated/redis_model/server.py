"""A node: sessions, roles, what happens to a command before and after it is executed."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from harness.host import Host
from targets.engine import (
    INT64,
    TABLE,
    State,
    execute,
    integer,
    is_expired,
    is_write,
    refuse,
    wrong_arity,
)
from targets.engine.resp import (
    NIL_ARRAY,
    OK,
    Command,
    Error,
    Requests,
    Simple,
    encode,
    pack,
)
from targets.replicated.redis_model.persistence import AppendOnlyFile, Policy
from targets.replicated.redis_model.replication import Link, Primary, Stream

READONLY = Error("READONLY You can't write against a read only replica.")
NOREPLICAS = Error("NOREPLICAS Not enough good replicas to write.")
_NOT_ALLOWED = Error("ERR Command not allowed inside a transaction")
NOT_IN_A_TRANSACTION = {
    b"MULTI": Error("ERR MULTI calls can not be nested"),
    b"WATCH": Error("ERR WATCH inside MULTI is not allowed"),
    b"PSYNC": _NOT_ALLOWED,
    b"REPLCONF": _NOT_ALLOWED,
}
NEVER_MS = -INT64  # for entries of the stream: nothing expires but by the primary's word


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Options by the names of redis.conf."""

    appendonly: bool = False
    appendfsync: Policy = "everysec"
    min_replicas_to_write: int = 0
    min_replicas_max_lag: float = 10.0
    repl_ping_replica_period: float = 1.0

    @classmethod
    def parse(cls, options: Mapping[str, str]) -> Settings:
        """Raises ValueError that names the option."""
        parsers: dict[str, Callable[[str], Any]] = {
            "appendonly": _yes_no,
            "appendfsync": _policy,
            "min-replicas-to-write": lambda text: int(_within(text, 0, 1000)),
            "min-replicas-max-lag": lambda text: _within(text, 0, 1e6),
            "repl-ping-replica-period": lambda text: _within(text, 0.01, 10),
        }
        given = {}
        for name, text in options.items():
            if name not in parsers:
                raise ValueError(f"{name}: the model knows {', '.join(parsers)}")
            try:
                given[name.replace("-", "_")] = parsers[name](text)
            except ValueError as e:
                raise ValueError(f"{name}={text}: {e}") from e
        return cls(**given)


def _yes_no(text: str) -> bool:
    if text not in ("yes", "no"):
        raise ValueError("give yes or no")
    return text == "yes"


def _within(text: str, least: float, most: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not least <= value <= most:
        raise ValueError(f"give a number between {least:g} and {most:g}")
    return value


def _policy(text: str) -> str:
    if text not in ("always", "everysec", "no"):
        raise ValueError("give always, everysec or no")
    return text


async def serve(host: Host, settings: Settings, primary: str | None) -> None:
    """Run a node until it ends; `primary`: the name of the process that it is a replica of."""
    node = Node(host, settings)
    await node.run(primary)


class Session(asyncio.Protocol):
    """A connection: requests in order, replies in order."""

    def __init__(self, node: Node, number: int) -> None:
        self.number = number
        self.transport: asyncio.Transport
        self.listening_port = 0
        self.written = 0  # offset of the stream after the last command of this client
        self.queued: list[Command] | None = None  # since MULTI
        self.aborted = False
        self.watched: dict[bytes, bool] = {}  # whether it had expired already
        self.touched = False  # something watched has changed
        self._node = node
        self._parser = Requests()
        self._todo: list[Command] = []
        self._blocked = False
        self._ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance
        self._node.sessions[self.number] = self

    def connection_lost(self, exc: Exception | None) -> None:
        self._node.forget(self)

    def data_received(self, data: bytes) -> None:
        if self._ended:
            return
        self._todo += self._parser.feed(data)
        self._go_on()
        if self._parser.error is not None:
            self.end(Error(f"ERR Protocol error: {self._parser.error}"))

    def _go_on(self) -> None:
        replies = []
        while self._todo and not self._blocked:
            reply = self._node.handle(self, self._todo.pop(0))
            if reply:
                replies.append(reply)
        self._node.flush()
        if replies:
            self._node.send(self, b"".join(replies))

    def block(self) -> None:
        self._blocked = True

    def end(self, reply: Any) -> None:
        """A last reply; nothing more is executed."""
        self._ended = True
        self._todo.clear()
        self._node.send(self, encode(reply), close=True)

    def unblock(self, reply: Any) -> None:
        """The reply that was waited for; what came meanwhile is done now."""
        self._blocked = False
        self._node.send(self, encode(reply))
        self._go_on()


class Node:
    """See the module's text. It is the primary where `link` is None."""

    def __init__(self, host: Host, settings: Settings) -> None:
        self.host = host
        self.state = State()
        self.stream = Stream(lambda: f"{host.rng.getrandbits(160):040x}")
        self.link: Link | None = None
        self.sessions: dict[int, Session] = {}
        self.primary = Primary(self)
        self.port = 0
        self._settings = settings
        self._file = AppendOnlyFile(host, settings.appendfsync) if settings.appendonly else None
        self._unsent = bytearray()
        self._unlogged = bytearray()
        self._count = 0
        self._special: dict[bytes, tuple[int, Callable[[Session, Command], bytes | None]]] = {
            b"MULTI": (1, self._multi),
            b"EXEC": (1, self._exec),
            b"DISCARD": (1, self._discard),
            b"WATCH": (-2, self._watch),
            b"UNWATCH": (1, self._unwatch),
            b"WAIT": (3, self._wait),
            b"ROLE": (1, self._role),
            b"REPLICAOF": (3, self._replicaof),
            b"REPLCONF": (-1, self._replconf),
            b"PSYNC": (3, self._psync),
            b"INFO": (-1, self._info),
            b"CLIENT": (-2, self._client),
        }

    async def run(self, primary: str | None) -> None:
        """Load what is on the disk, then serve for ever."""
        if self._file is not None:
            for command in await self._file.open():
                self._apply(self.state, command)
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

    def _accept(self) -> Session:
        self._count += 1
        return Session(self, self._count)

    def forget(self, session: Session) -> None:
        self.sessions.pop(session.number, None)
        self.primary.feeds.pop(session.number, None)
        self.primary.forget(session)

    # --- out

    def propagate(self, entries: list[Command], *, lasting: bool = True) -> None:
        """Put entries on the stream; `flush` ships them, to the file too if they are `lasting`."""
        for entry in entries:
            data = pack(entry)
            self.stream.add(data)
            self._unsent += data
            if lasting:
                self._unlogged += data

    def flush(self) -> None:
        """Ship what was executed: to the file, then to replicas."""
        if not self._unsent:
            return
        data, lasting = bytes(self._unsent), bytes(self._unlogged)
        self._unsent.clear()
        self._unlogged.clear()
        feeds = list(self.primary.feeds.values())

        def ship() -> None:
            for feed in feeds:
                feed.session.transport.write(data)

        if self._file is not None:
            self._file.append(lasting)
            self._file.hold(ship)
        else:
            ship()

    def send(self, session: Session, data: bytes, *, close: bool = False) -> None:
        def write() -> None:
            session.transport.write(data)
            if close:
                session.transport.close()

        if self._file is not None:
            self._file.hold(write)
        else:
            write()

    # --- as a replica

    def apply(self, entries: list[Command]) -> None:
        """Entries of the primary's stream, together; they go on under their own offsets."""
        for entry in entries:
            self.host.charge(1)
            self._touch(self._apply(self.state, entry))
        self.propagate(entries, lasting=entries[0][0] not in (b"PING", b"REPLCONF"))

    def _apply(self, state: State, entry: Command) -> dict[bytes, None]:
        """An entry of a stream or file; returns the keys that have changed."""
        if entry[0].upper() not in TABLE:  # the stream's own: MULTI, EXEC, REPLCONF
            return {}
        done = execute(state, entry, NEVER_MS, self.host.rng)
        if isinstance(done.reply, Error):
            raise ValueError(f"{entry[0]!r} of the stream can't be applied: {done.reply}")
        return done.writes

    def replace(self, payload: bytes, stream_id: str, offset: int) -> None:
        """Everything is replaced by what the primary has."""
        state = State(scripts=self.state.scripts)
        for command in Requests().feed(payload):
            self._apply(state, command)
        self.flush()
        if self._file is not None:
            self._file.rewrite(payload)
        self.primary.drop()
        before, self.state = self.state, state
        self.stream.restart(stream_id, offset)
        self._touch({**before.values, **state.values})

    # --- in

    def handle(self, session: Session, command: Command) -> bytes | None:
        """The reply, encoded; None for none, or not yet."""
        self.host.charge(1)
        name = command[0].upper()
        special = self._special.get(name)
        error = wrong_arity(command, special[0]) if special else refuse(command)
        if error is None:
            error = self._denied(command)
        if session.queued is not None:
            if error is None and name in NOT_IN_A_TRANSACTION:
                error = NOT_IN_A_TRANSACTION[name]
            if error is not None:
                return self._abort(session, name, error)
            if name not in (b"EXEC", b"DISCARD"):
                session.queued.append(command)
                return b"+QUEUED\r\n"
        if error is not None:
            return encode(error)
        reply = special[1](session, command) if special else self._execute(session, [command])[0]
        session.written = self.stream.offset
        return reply

    def _abort(self, session: Session, name: bytes, error: Error) -> bytes:
        """An error within a transaction: EXEC will refuse it, or does."""
        if name == b"EXEC":
            self._end_transaction(session)
            return encode(Error(f"EXECABORT Transaction discarded because of: {error}"))
        if error is not NOT_IN_A_TRANSACTION.get(name) or error is _NOT_ALLOWED:
            session.aborted = True
        return encode(error)

    def _execute(self, session: Session, commands: list[Command]) -> list[bytes]:
        """Execute together; their effects are propagated as one. Returns encoded replies."""
        time_ms = self.host.wall_ns() // 1_000_000
        replies, effects = [], []
        for command in commands:
            special = self._special.get(command[0].upper())
            if special is not None:  # in a transaction
                replies.append(self._within_transaction(session, command))
                continue
            deny = self._denied_to_write()
            done = execute(self.state, command, time_ms, self.host.rng, deny)
            replies.append(encode(done.reply))
            effects += [e for e in done.effects if e[0] not in (b"MULTI", b"EXEC")]
            self._touch(done.writes)
        if len(effects) > 1:
            effects = [(b"MULTI",), *effects, (b"EXEC",)]
        self.propagate(effects)
        return replies

    def _denied(self, command: Command) -> Error | None:
        return self._denied_to_write() if is_write(command) else None

    def _denied_to_write(self) -> Error | None:
        """Why a command that may write is refused now, if it is."""
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

    def _touch(self, keys: Mapping[bytes, object]) -> None:
        """Keys have changed: whoever watches them is told at EXEC. That a key which had expired
        before it was watched is removed at last is no change."""
        for session in self.sessions.values():
            for key in session.watched:
                if key not in keys:
                    continue
                if session.watched[key] and key not in self.state.values:
                    session.watched[key] = False
                else:
                    session.touched = True

    # --- transactions

    def _multi(self, session: Session, command: Command) -> bytes:
        session.queued, session.aborted = [], False
        return encode(OK)

    def _exec(self, session: Session, command: Command) -> bytes:
        queued, aborted = session.queued, session.aborted
        if queued is None:
            return encode(Error("ERR EXEC without MULTI"))
        time_ms = self.host.wall_ns() // 1_000_000
        touched = session.touched or any(
            not before and is_expired(self.state, key, time_ms)
            for key, before in session.watched.items()
        )
        self._end_transaction(session)
        if aborted:
            return encode(Error("EXECABORT Transaction discarded because of previous errors."))
        if touched:
            return encode(NIL_ARRAY)
        deny = self._denied_to_write()
        if deny is not None and any(is_write(c) for c in queued):
            return encode(Error(f"EXECABORT Transaction discarded because of: {deny}"))
        replies = self._execute(session, queued)
        return b"*%d\r\n" % len(replies) + b"".join(replies)

    def _within_transaction(self, session: Session, command: Command) -> bytes:
        """A command of the server itself, from EXEC's queue."""
        name = command[0].upper()
        if name == b"WAIT":
            return self._wait(session, command, in_transaction=True) or encode(None)
        return self._special[name][1](session, command) or encode(None)

    def _discard(self, session: Session, command: Command) -> bytes:
        if session.queued is None:
            return encode(Error("ERR DISCARD without MULTI"))
        self._end_transaction(session)
        return encode(OK)

    def _end_transaction(self, session: Session) -> None:
        session.queued, session.aborted = None, False
        session.watched.clear()
        session.touched = False

    def _watch(self, session: Session, command: Command) -> bytes:
        time_ms = self.host.wall_ns() // 1_000_000
        for key in command[1:]:
            session.watched.setdefault(key, is_expired(self.state, key, time_ms))
        return encode(OK)

    def _unwatch(self, session: Session, command: Command) -> bytes:
        session.watched.clear()
        session.touched = False
        return encode(OK)

    # --- replication

    def _wait(
        self, session: Session, command: Command, *, in_transaction: bool = False
    ) -> bytes | None:
        if self.link is not None:
            return encode(
                Error(
                    "ERR WAIT cannot be used with replica instances. Please also note that since "
                    "Redis 4.0 if a replica is configured to be writable (which is not the "
                    "default) writes to replicas are just local and are not propagated."
                )
            )
        try:
            wanted = integer(command[1])
        except Error as e:
            return encode(e)
        try:
            timeout_ms = integer(command[2])
        except Error:
            return encode(Error("ERR timeout is not an integer or out of range"))
        if timeout_ms < 0:
            return encode(Error("ERR timeout is negative"))
        if in_transaction:  # it does not wait there
            return encode(self.primary.reached(session.written))
        reached = self.primary.wait(session, wanted, timeout_ms)
        if reached is None:
            session.block()
            return None
        return encode(reached)

    def _role(self, session: Session, command: Command) -> bytes:
        if self.link is None:
            feeds = [
                [f.address[0].encode(), b"%d" % f.address[1], b"%d" % f.acknowledged]
                for f in self.primary.feeds.values()
            ]
            return encode([b"master", self.stream.offset, feeds])
        host, port = self.link.address
        return encode([b"slave", host.encode(), port, self.link.state.encode(), self.stream.offset])

    def _replicaof(self, session: Session, command: Command) -> bytes:
        host, port = command[1].decode("utf-8", "replace"), command[2]
        if (host.upper(), port.upper()) == ("NO", b"ONE"):
            if self.link is not None:
                self.link.close()
                self.link = None
                self.stream.fork()
                self.primary.drop()
                self.host.log(f"role: primary from {self.stream.offset}")
            return encode(OK)
        if not port.isdigit() or not 0 < int(port) < 65536:
            return encode(Error("ERR Invalid master port"))
        address = (host, int(port))
        if self.link is not None:
            if self.link.address == address:
                return encode(Simple(b"OK Already connected to specified master"))
            self.link.close()
        self.flush()
        self.link = Link(self, address)
        self.primary.drop()
        self.host.log(f"role: replica of {host} from {self.stream.offset}")
        return encode(OK)

    def _replconf(self, session: Session, command: Command) -> bytes | None:
        words = [w.lower() for w in command[1:]]
        try:
            if words[:1] == [b"ack"] and len(words) == 2:
                self.primary.acknowledged(session, integer(words[1]))
                return None
            if words[:1] == [b"listening-port"] and len(words) == 2:
                session.listening_port = integer(words[1])
        except Error as e:
            return encode(e)
        return encode(OK)

    def _psync(self, session: Session, command: Command) -> bytes:
        self.flush()
        if self.link is not None and self.link.state != "connected":
            return encode(Error("NOMASTERLINK Can't SYNC while not connected with my master"))
        try:
            offset = integer(command[2])
        except Error as e:
            return encode(e)
        return self.primary.attach(session, command[1].decode("ascii", "replace"), offset)

    # --- about the server

    def _info(self, session: Session, command: Command) -> bytes:
        role = "master" if self.link is None else "slave"
        lines = ["# Server", "redis_version:7.0.0", "redis_mode:standalone", "# Replication",
                 f"role:{role}", f"connected_slaves:{len(self.primary.feeds)}",
                 f"master_replid:{self.stream.id}",
                 f"master_repl_offset:{self.stream.offset}"]  # fmt: skip
        return encode("\r\n".join([*lines, ""]).encode())

    def _client(self, session: Session, command: Command) -> bytes:
        if command[1].upper() in (b"SETINFO", b"SETNAME"):
            return encode(OK)
        if command[1].upper() == b"ID":
            return encode(session.number)
        word = command[1].decode("utf-8", "replace")
        return encode(Error(f"ERR unknown subcommand '{word}'. Try CLIENT HELP."))
