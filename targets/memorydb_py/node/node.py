"""A node: how it handles a command before and after the engine executes it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

from harness.host import Host
from targets.engine.protocol import (
    Blocked,
    Context,
    Engine,
    Estimating,
    Message,
    Outcome,
    PlainStrings,
)
from targets.engine.resp import NIL_ARRAY, OK, Command, Error, encode
from targets.engine.table import ONE, CommandSpec, find, merged, unknown, wrong_number
from targets.memorydb_py.log.interface import TransactionLog
from targets.memorydb_py.node.blocking import BlockedClients, Waits
from targets.memorydb_py.node.channels import Channels, refused_to_listener
from targets.memorydb_py.node.connection import Connection
from targets.memorydb_py.node.context import NodeContext
from targets.memorydb_py.node.expiry import Expiry
from targets.memorydb_py.node.settings import Settings
from targets.memorydb_py.node.shard import Shard
from targets.memorydb_py.node.tracker import Tracker
from targets.memorydb_py.slots import crosses_slots, slot_of
from targets.servers.later import Lane, Steps
from targets.servers.session import WRITE_BYTES
from targets.servers.statistics import Statistics
from targets.servers.transactions import ABORTED, NOT_ALLOWED, Transactions, discarded
from targets.servers.turns import Turns

CLUSTERDOWN = Error("CLUSTERDOWN The cluster is down")
LOADING = Error("LOADING MemoryDB is loading the dataset in memory")
CROSSSLOT = Error("CROSSSLOT Keys in request don't hash to the same slot")
READONLY = Error("READONLY You can't write against a read only replica.")
TRYAGAIN = Error("TRYAGAIN Too much is waiting for the transaction log")
NOAUTH = Error("NOAUTH Authentication required.")
UNBLOCKED = Error(
    "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)"
)
STRINGS_AT_ONCE = 64  # GETs between two looks at the clock
LONG_WORK = 10_000  # elements: the lease must outlast a command that looks at so many
BIG_BYTES = 1 << 20  # of requests: the log takes longer for them than for others
BYTES_AN_ELEMENT = 100  # of such a request

_WITHOUT_AUTH = ("AUTH", "HELLO", "QUIT", "RESET")
_NOT_QUEUED = ("EXEC", "DISCARD", "QUIT", "RESET", "MULTI", "WATCH")

# The function of one of the node's own commands: it replies, or blocks the session.
Run = Callable[["Node", Connection, Command], None]
OwnCommands = Mapping[bytes, CommandSpec[Run]]


class Node:
    """Executes commands and sends each reply when the data that it shows are committed. It is also
    the `Owner` of its shard and the `Server` of its sessions."""

    def __init__(
        self,
        host: Host,
        engine: Engine,
        log: TransactionLog,
        tracker: Tracker,
        commands: OwnCommands,
        *,
        settings: Settings,
        context: NodeContext,
    ) -> None:
        """`commands`: the node's own, in addition to the engine's."""
        self.host = host
        self.engine = engine
        self.settings = settings
        self.context = context
        self.sessions: dict[int, Connection] = {}
        self.committed = 0
        self.parked = 0
        self.channels = Channels()
        self.statistics = Statistics()
        self.since = 0.0  # the start, by the loop's clock
        self.turns = Turns(host.spent_ns)
        self._lane = Lane(self._engine_failed)
        self.shard = Shard(host, engine, log, tracker, settings, self, self._lane, context.objects)
        self.transactions = Transactions(engine.keys)
        self.blocked = BlockedClients()
        self.waits = Waits(self)
        # Read for every command, so without attribute look-ups on their owners.
        self._watchers, self._blockers = self.transactions.watchers, self.blocked.by_key
        self._ready = self.blocked.ready
        self.table: Mapping[bytes, CommandSpec[Any]] = merged([engine.commands, commands])
        self._own = commands
        plain = {name: spec for name, spec in engine.commands.items() if not spec.compound}
        self._plain = plain | {name.lower(): spec for name, spec in plain.items()}
        self._strings = engine if isinstance(engine, PlainStrings) else None
        self._estimating = engine if isinstance(engine, Estimating) else None
        self._brief = frozenset() if self._estimating is None else self._estimating.brief
        self._tracker = tracker
        # A replica refuses writes, and shows keys that have expired until a DEL of the primary
        # arrives.
        self._circumstances = Context(
            0, host.rng, READONLY, mask=False, audience=self.channels.audience
        )
        self._accepted = 0
        self._serving = False
        self._ending: asyncio.Task[Any] | None = None
        self._waiters: dict[int, list[Callable[[int], None]]] = {}

    async def run(self) -> None:
        """Serve until the process ends."""
        self.since = asyncio.get_running_loop().time()
        await self.host.serve(self._accept)
        await asyncio.gather(self.shard.run(), Expiry(self, self._lane).run())

    def _accept(self) -> Connection:
        self._accepted += 1
        self.statistics.connections += 1
        return Connection(self, self._accepted, trusted=not self.settings.requirepass)

    def begin(self, session: Connection) -> None:
        self.sessions[session.number] = session

    def end(self, session: Connection) -> None:
        self.sessions.pop(session.number, None)
        self.transactions.unwatch(session)
        self.channels.forget(session)
        self.blocked.remove(session)
        self.waits.forget(session)

    def over_limit(self, session: Connection, size: int) -> bool:
        limit = self.settings.output_limits["pubsub" if session.subscriptions else "normal"]
        over, session.soft_since = limit.exceeded(
            size, session.soft_since, asyncio.get_running_loop().time()
        )
        if over:
            self.host.log(f"client {session.number}: {size} bytes of replies are too many")
        return over

    # --- the log

    def wait_for(self, position: int, then: Callable[[int], None]) -> None:
        self._waiters.setdefault(position, []).append(then)

    def applied(self, keys: Iterable[bytes]) -> None:
        self._touch(keys)
        if self.blocked.ready:
            self._serve_blocked()

    def publish(self, messages: Sequence[Message]) -> None:
        self.channels.deliver(messages)

    def demoted(self) -> None:
        """Disconnect clients in WAIT, and those whose replies wait for a commit: their outcome is
        unknown. Clients blocked on a key get an error, as their commands were not executed."""
        self._serving = False
        self.waits.positions = {}
        self._waiters.clear()
        for session in list(self.sessions.values()):
            session.touched = session.touched or bool(session.watched)
            if session.parked or session in self.waits:
                session.abort()
            elif self.blocked.remove(session) is not None:
                session.reply(UNBLOCKED)
                session.unblock()

    def commit(self, position: int) -> None:
        before, self.committed = self.committed, position
        waiters = self._waiters
        if waiters:
            for each in range(before + 1, position + 1):
                for then in waiters.pop(each, ()):
                    then(position)

    def moved(self, positions: Mapping[str, int]) -> None:
        nodes = self.context.nodes
        self.waits.moved({name: n for name, n in positions.items() if name in nodes})

    def time_ms(self) -> int:
        """Return the time of day in milliseconds since 1970."""
        return self.host.wall_ns() // 1_000_000

    @property
    def serving(self) -> bool:
        """Whether the node held the lease when the commands being executed arrived."""
        return self._serving

    def check_lease(self) -> bool:
        """Return whether the node holds the lease now, and set `serving`."""
        self._serving = self.shard.serves()
        return self._serving

    def hand_over(self, successor: str | None) -> None:
        """Stop serving, and hand the lease over; `successor`: None for any node."""
        self._serving = False
        self._ending = asyncio.get_running_loop().create_task(self.shard.hand_over(successor))

    def shut_down(self) -> None:
        """End the process gracefully: send the replies that wait for the log, then hand the lease
        over to the replica that has applied most."""
        positions = self.waits.positions

        async def end() -> None:
            successor = max(positions, key=lambda name: positions[name], default=None)
            await self.shard.hand_over(successor)
            raise SystemExit(0)

        self._serving = False
        self._ending = asyncio.get_running_loop().create_task(end())

    # --- a command

    def handle(self, session: Connection, todo: deque[Command]) -> None:
        if self._lane.busy:
            session.block()
            self._lane.when_free(session.unblock)
            return
        # Check the lease now, after the request arrived, which may have waited in a buffer.
        self.check_lease()
        try:
            self._handle_all(session, todo)
        except Exception:
            self.shard.demote()  # the data may differ from the log
            raise

    @staticmethod
    def _engine_failed(error: BaseException) -> None:
        """End the process: an engine whose answer is missing may have executed the command."""
        raise SystemExit(f"engine: {type(error).__name__}: {error}") from error

    def _handle_all(self, session: Connection, todo: deque[Command]) -> None:
        plain, done, over = self._plain, 0, self.turns.over
        while todo and not session.blocked:
            if done:
                self.host.charge(done)
                self.statistics.commands += done
                done = 0
                if over() or session.full:
                    return
            if self._serving and todo[0][0] == b"GET" and session.direct:
                done += self._read_strings(session, todo)
                if not todo:
                    break
            command = todo.popleft()
            done += 1
            spec = plain.get(command[0])
            if (
                spec is None
                or session.queued is not None
                or not session.trusted
                or not spec.fits(command)
                or session.listens_only
            ):
                self._handle_any(session, command)
            else:
                session.last_command = command[0]
                self._execute(session, command, spec)
        self.statistics.commands += done
        self.host.charge(done)

    def _read_strings(self, session: Connection, todo: deque[Command]) -> int:
        """Answer the GETs at the head of `todo` that read committed strings without a time to live,
        or absent keys: a primary's most frequent commands. Return their number."""
        if self._strings is None:
            return 0
        out, dirty, plain = session.out, self._tracker.dirty, self._strings.plain
        done, misses, size, nil = 0, 0, 0, encode(None, session.protocol)
        while todo and done < STRINGS_AT_ONCE and size < WRITE_BYTES:
            command = todo[0]
            if command[0] != b"GET" or len(command) != 2 or command[1] in dirty:
                break
            try:
                value = plain(command[1])
            except KeyError:
                break
            if value is None:
                out.append(nil)
                misses += 1
            else:
                out.append(b"$%d\r\n%s\r\n" % (len(value), value))
                size += len(value)
            todo.popleft()
            done += 1
        session.wrote(size)
        self.statistics.misses += misses
        self.statistics.hits += done - misses
        return done

    def _handle_any(self, session: Connection, command: Command) -> None:
        """Handle any command, also one of the node's own, an unknown one, or one in MULTI."""
        spec = find(self.table, command)
        error = self._refuse(session, command, spec)
        if session.queued is not None and not (
            spec is not None and spec.fits(command) and spec.name in _NOT_QUEUED
        ):
            if error is None and spec is not None:
                no_multi = NOT_ALLOWED if "no_multi" in spec.flags else None
                error = no_multi or self.redirect(session, command, spec)
            session.reply(self.transactions.queue(session, command, error))
        elif error is not None:
            session.reply(error)
        else:
            assert spec is not None
            session.last_command = command[0]
            own = self._own.get(spec.name.encode())
            if own is not None:
                own.run(self, session, command)
            elif spec.name == "PING" and session.listens_only:
                session.reply([b"pong", command[1] if len(command) > 1 else b""])
            else:
                self._execute(session, command, spec)

    def _refuse(
        self, session: Connection, command: Command, spec: CommandSpec[Any] | None
    ) -> Error | None:
        """Return the error for a command that can't be executed in any role, or None."""
        if spec is None:
            return unknown(self.table, command)
        if not spec.fits(command):
            return wrong_number(spec.name)
        if not session.trusted and spec.name not in _WITHOUT_AUTH:
            return NOAUTH
        return refused_to_listener(spec.name) if session.listens_only else None

    def _execute(self, session: Connection, command: Command, spec: CommandSpec[Any]) -> None:
        error = None
        if not self._serving or spec.keys != ONE or spec.movable is not None:
            error = self.redirect(session, command, spec)
        error = error or self.overloaded()
        if session.largest > self.settings.max_record_bytes and (spec.write or spec.nested):
            error = error or self._too_big((command,))
        if error is not None:
            session.reply(error)
            return
        if spec.name not in self._brief or session.largest > BIG_BYTES:
            work = self._work(session, command, spec)
            if work >= LONG_WORK and self._waits_for_lease(session, command):
                return
        context = self._circumstances
        context.time_ms = self.host.wall_ns() // 1_000_000
        context.deny = None if self._serving else READONLY
        context.may_block = self._serving or not spec.write
        context.resumed = False
        context.room = self.settings.max_record_bytes if spec.nested else None
        outcome = self.engine.execute(command, context)
        if isinstance(outcome, Outcome):
            self._answer(session, spec, outcome)
        else:
            self._lane.do(self._answer_later(session, spec, outcome))
        if self._ready:
            self._serve_blocked()

    def _waits_for_lease(self, session: Connection, command: Command) -> bool:
        """Return whether a command that may take long is executed later, when the lease outlasts
        it: meanwhile nothing else is done, so it could not be renewed."""
        if not self._serving or self.shard.outlasts_work(session.unblock):
            return False
        session.postpone(command)
        return True

    def _work(self, session: Connection, command: Command, spec: CommandSpec[Any]) -> int:
        """Return roughly how many elements a command may look at."""
        if self._estimating is None or spec.name.encode() in self._own:
            return 0
        work = self._estimating.work(command, spec)
        if session.largest > BIG_BYTES:
            work += sum(map(len, command)) // BYTES_AN_ELEMENT
        return work

    def _answer(self, session: Connection, spec: CommandSpec[Any], outcome: Outcome) -> None:
        reply = outcome.reply
        if type(reply) is Blocked:
            self.settle(session, outcome)  # deletions of keys that had expired
            self.blocked.add(session, reply, self.time_out)
            return
        session.reply(reply, self.settle(session, outcome))
        if not spec.write:
            found = sum(key in self.engine.keys for key in outcome.reads)
            self.statistics.hits += found
            self.statistics.misses += len(outcome.reads) - found

    def _answer_later(
        self, session: Connection, spec: CommandSpec[Any], coming: Awaitable[Outcome]
    ) -> Steps:
        session.block()
        generation = self.shard.generation
        outcome = yield coming
        if self.shard.generation != generation:
            session.abort()  # its effects are lost: the data are rebuilt
            return
        self._answer(session, spec, outcome)
        if not self.blocked.waits(session):
            session.unblock()
        yield from self.serve_all_blocked()

    def redirect(
        self, session: Connection, command: Command, spec: CommandSpec[Any]
    ) -> Error | None:
        """Return None if this node can execute a command now, or an error, such as MOVED."""
        if spec.name.encode() in self._own and not spec.keys[0]:
            return None
        keys = spec.keys_of(command)
        slot = slot_of(keys[0]) if keys else 0
        if len(keys) > 1 and crosses_slots(keys):
            return CROSSSLOT
        if self._serving:
            return None
        shard = self.shard
        data = bool(keys) or spec.write or spec.nested
        data = data or "readonly" in spec.flags or "pubsub" in spec.flags
        if not data:
            return None
        reads = not spec.write and "pubsub" not in spec.flags
        if session.readonly and reads and shard.role == "replica":
            return None if shard.ready else LOADING
        leader = self.context.nodes.get(shard.leader or "") if shard.knows_leader() else None
        if leader is not None:
            if spec.write and not keys:
                return READONLY
            host, port = leader
            return Error(f"MOVED {slot} {host}:{port}")
        return CLUSTERDOWN

    def overloaded(self) -> Error | None:
        """Return TRYAGAIN while `max_waiting` replies or uncommitted entries wait for the log."""
        most = self.settings.max_waiting
        if self._serving and (self.parked >= most or self._tracker.waiting >= most):
            return TRYAGAIN
        return None

    def _too_big(self, commands: Sequence[Command]) -> Error | None:
        """Return an error if the entry of these commands might exceed `max_record_bytes`."""
        most = self.settings.max_record_bytes
        size = sum(len(word) for command in commands for word in command)
        if size <= most:
            return None
        return Error(f"ERR a record of {size} bytes is more than max-record-bytes {most}")

    def now(
        self, *, may_block: bool = False, resumed: bool = False, room: int | None = None
    ) -> Context:
        """Return the context in which a command is executed now."""
        context = self._circumstances
        context.time_ms = self.time_ms()
        context.deny = None if self._serving else READONLY
        context.may_block = may_block
        context.resumed = resumed
        context.room = room
        return context

    def settle(self, session: Connection | None, outcome: Outcome) -> int:
        """Append a command's effects to the log; return the position its reply waits for."""
        if outcome.effects:
            effects: Sequence[Command] = outcome.effects
            if len(effects) > 1:
                effects = [e for e in effects if e[0] not in (b"MULTI", b"EXEC")]
            position = self.shard.write(effects, outcome.writes)
            if outcome.messages:
                messages = outcome.messages
                self.wait_for(position, lambda _: self.channels.deliver(messages))
            if session is not None:
                session.written = position
            self._touch(outcome.writes)
            return position
        if outcome.whole:
            return self._tracker.last
        return self._tracker.position(outcome.reads)

    def _touch(self, keys: Iterable[bytes]) -> None:
        """Notify the clients that watch keys, or are blocked on them, of a write."""
        if self._watchers:
            self.transactions.touch(keys)
        if self._blockers:
            self.blocked.touch(keys)

    # --- transactions

    def watch(self, session: Connection, keys: Sequence[bytes]) -> None:
        self.transactions.watch(session, keys, self.time_ms())
        session.reply(OK, self._tracker.position(keys))

    def exec(self, session: Connection) -> None:
        """Execute the session's transaction as one entry of the log."""
        if session.queued and not session.aborted:
            specs = ((c, find(self.table, c)) for c in session.queued)
            work = sum(self._work(session, c, spec) for c, spec in specs if spec is not None)
            if work >= LONG_WORK and self._waits_for_lease(session, (b"EXEC",)):
                return
        commands, watched, aborted, touched = self.transactions.take(session, self.time_ms())
        if aborted:
            session.reply(ABORTED)
            return
        error = self._refuse_exec(session, commands, watched)
        error = error or self.overloaded() or self._too_big(commands)
        if error is not None:
            session.reply(error if error.code == "MOVED" else discarded(error))
        elif touched:
            session.reply(NIL_ARRAY, self._tracker.position(watched))
        else:
            self._lane.do(self._execute_all(session, commands, watched))
            if self._lane.busy:
                session.block()

    def _execute_all(
        self, session: Connection, commands: Sequence[Command], watched: Sequence[bytes]
    ) -> Steps:
        context = self.now(room=self.settings.max_record_bytes)
        generation = self.shard.generation
        whole, replies = Outcome(), []
        session.diverted_position = 0
        for command in commands:
            spec = find(self.table, command)
            assert spec is not None
            own = self._own.get(spec.name.encode())
            if own is not None:
                replies.append(session.divert(own.run, self, command))
                continue
            outcome = yield self.engine.execute(command, context)
            if self.shard.generation != generation:
                session.abort()  # its effects are lost: the data are rebuilt
                return
            replies.append(outcome.reply)
            whole.add(outcome)
        whole.reads.update(dict.fromkeys(watched))
        position = max(
            self._tracker.position(whole.reads),
            self._tracker.last if whole.whole else 0,
            session.diverted_position,
        )
        session.reply(replies, max(self.settle(session, whole), position))
        if session.blocked:  # the engine answered asynchronously
            session.unblock()
        yield from self.serve_all_blocked()

    def _refuse_exec(
        self, session: Connection, commands: Sequence[Command], watched: Sequence[bytes]
    ) -> Error | None:
        slots: dict[int, None] = dict.fromkeys(slot_of(key) for key in watched)
        for command in commands:
            spec = find(self.table, command)
            assert spec is not None
            error = self.redirect(session, command, spec)
            if error is not None:
                return error
            slots.update(dict.fromkeys(slot_of(key) for key in spec.keys_of(command)))
        return CROSSSLOT if len(slots) > 1 else None

    # --- blocking commands

    def time_out(self, session: Connection, error: Error | None = None) -> None:
        """End a blocking command with nil or an error, once its keys' changes are committed."""
        if self.blocked.serving is session:  # its command is being executed: see what it returns
            self.blocked.late = (session, error)
            return
        blocked = self.blocked.remove(session)
        if blocked is not None:
            position = self._tracker.position(blocked.keys)
            session.reply(blocked.nil if error is None else error, position)
            session.unblock()

    def _serve_blocked(self) -> None:
        self._lane.when_free(lambda: self._lane.do(self.serve_all_blocked()))

    def serve_all_blocked(self) -> Steps:
        """Execute the commands of clients blocked on keys that were written, for each key in order
        of their arrival."""
        served: list[Connection] = []
        ready, generation = self.blocked.ready, self.shard.generation
        while ready:
            key = next(iter(ready))
            del ready[key]
            for session, blocked in self.blocked.of(key):
                if self.blocked.on(session) is not blocked:
                    continue  # it has gone, or timed out, while others were served
                self.blocked.serving = session
                context = self.now(may_block=True, resumed=True)
                outcome = yield self.engine.execute(blocked.again[key], context)
                self.blocked.serving = None
                late, self.blocked.late = self.blocked.late, None
                if self.shard.generation != generation:
                    return  # no client is blocked any more, and the data are rebuilt
                reply = outcome.reply
                if type(reply) is Blocked:
                    if outcome.effects:
                        self.settle(session, outcome)
                    if late is not None:
                        self.time_out(*late)
                    continue
                read = self._tracker.position(outcome.reads)
                position = max(self.settle(session, outcome), read)
                if self.blocked.remove(session) is not None:  # else it was disconnected meanwhile
                    session.reply(reply, position)
                    served.append(session)
        for session in served:
            session.unblock()
