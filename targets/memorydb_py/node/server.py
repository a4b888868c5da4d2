"""A node: what happens to a command before and after it is executed."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from harness.host import Host
from targets.engine import TABLE, Blocked, Call, Known, Message, find, is_expired, unknown
from targets.engine.execution import ONE, wrong_number
from targets.engine.resp import NIL_ARRAY, OK, Command, Error, Simple, encode
from targets.memorydb_py.log.client import LogClient
from targets.memorydb_py.node.channels import Channels, refused_to_listener
from targets.memorydb_py.node.own import OWN
from targets.memorydb_py.node.place import Place
from targets.memorydb_py.node.session import Session, Wait, Waiting
from targets.memorydb_py.node.settings import Settings
from targets.memorydb_py.node.shard import Shard
from targets.memorydb_py.node.statistics import Statistics
from targets.memorydb_py.slots import slot_of

CLUSTERDOWN = Error("CLUSTERDOWN The cluster is down")
LOADING = Error("LOADING MemoryDB is loading the dataset in memory")
CROSSSLOT = Error("CROSSSLOT Keys in request don't hash to the same slot")
READONLY = Error("READONLY You can't write against a read only replica.")
TRYAGAIN = Error("TRYAGAIN Too much is waiting for the transaction log")
NOAUTH = Error("NOAUTH Authentication required.")
UNBLOCKED = Error(
    "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)"
)
GROUP_GONE = Error("NOGROUP the consumer group this client was blocked on no longer exists")
STREAM_GONE = Error("UNBLOCKED the stream key no longer exists")
EXPIRE_EVERY_S = 0.1
EXPIRED_AT_ONCE = 200

_NOT_QUEUED = ("EXEC", "DISCARD", "QUIT", "RESET", "MULTI", "WATCH")


async def serve(host: Host, settings: Settings, place: Place) -> None:
    """Run a node until it ends."""
    node = Node(host, settings, place)
    await node.run()


class Node:
    """See the module's text. Also `Owner` of its shard and `Server` of its sessions."""

    def __init__(self, host: Host, settings: Settings, place: Place) -> None:
        from targets.memorydb_py.node.commands import Commands

        self.host = host
        self.settings = settings
        self.place = place
        self.sessions: dict[int, Session] = {}
        self.committed = 0
        self.parked = 0
        self.positions: Mapping[str, int] = {}
        self.channels = Channels()
        self.statistics = Statistics()
        self.since = 0.0  # by the loop's clock
        self._accepted = 0
        self.shard: Shard
        self._commands = Commands(self)
        plain = {name: known for name, known in TABLE.items() if not known.sub}
        self._engine = plain | {name.lower(): known for name, known in plain.items()}
        self._serving = False
        self._spare: Call | None = None  # for one command after the other
        self._ending: asyncio.Task[Any] | None = None
        self._waiters: dict[int, list[Callable[[int], None]]] = {}
        self._watchers: dict[bytes, dict[int, Session]] = {}
        self._blocked: dict[bytes, dict[int, Session]] = {}  # by key, in order
        self._ready: dict[bytes, None] = {}  # keys that were written and are waited for
        self._waits: dict[int, Wait] = {}  # by session

    async def run(self) -> None:
        """For ever."""
        self.since = asyncio.get_running_loop().time()
        log = LogClient(self.host, self.place.azs)
        self.shard = Shard(self.host, log, self.settings, self, self.place.objects)
        await self.host.serve(self._accept)
        await asyncio.gather(self.shard.run(), self._expire())

    def _accept(self) -> Session:
        self._accepted += 1
        self.statistics.connections += 1
        return Session(self, self._accepted, trusted=not self.settings.requirepass)

    def begin(self, session: Session) -> None:
        self.sessions[session.number] = session

    def end(self, session: Session) -> None:
        self.sessions.pop(session.number, None)
        self.unwatch(session)
        self.channels.forget(session)
        self._stop_waiting(session)
        wait = self._waits.pop(session.number, None)
        if wait is not None and wait.timer is not None:
            wait.timer.cancel()

    # --- the log

    def wait_for(self, n: int, then: Callable[[int], None]) -> None:
        self._waiters.setdefault(n, []).append(then)

    def applied(self, keys: Iterable[bytes]) -> None:
        self.touch(keys)
        if self._ready:
            self._serve_blocked()

    def publish(self, messages: Sequence[Message]) -> None:
        self.channels.deliver(messages)

    def demoted(self) -> None:
        """Clients that wait for what was not committed are disconnected; those that wait for a key
        are told, as nothing was executed for them."""
        self._serving = False
        self.positions = {}
        self._waiters.clear()
        for session in list(self.sessions.values()):
            session.touched = session.touched or bool(session.watched)
            if session.parked or session.number in self._waits:
                session.abort()
            elif session.waiting is not None:
                self._stop_waiting(session)
                session.reply(UNBLOCKED)
                session.unblock()

    def commit(self, n: int) -> None:
        before, self.committed = self.committed, n
        waiters = self._waiters
        if waiters:
            for position in range(before + 1, n + 1):
                for then in waiters.pop(position, ()):
                    then(n)

    def check_lease(self) -> None:
        self._serving = self.shard.serves()

    def time_ms(self) -> int:
        """Since 1970."""
        return self.host.wall_ns() // 1_000_000

    @property
    def serving(self) -> bool:
        """Whether it held the lease when the present commands came."""
        return self._serving

    def hand_over(self, successor: str | None) -> None:
        """Stop serving, and let another node lead."""
        self._serving = False
        self._ending = asyncio.get_running_loop().create_task(self.shard.hand_over(successor))

    def shut_down(self) -> None:
        """A clean end: what waits for the log is answered, then another node may lead at once."""

        async def end() -> None:
            successor = max(self.positions, key=lambda n: self.positions[n], default=None)
            await self.shard.hand_over(successor)
            raise SystemExit(0)

        self._serving = False
        self._ending = asyncio.get_running_loop().create_task(end())

    # --- a command

    def handle(self, session: Session, todo: deque[Command]) -> None:
        try:
            self._handle_all(session, todo)
        except Exception:  # memory may hold what the log does not
            self.shard.demote()
            raise

    def _handle_all(self, session: Session, todo: deque[Command]) -> None:
        engine, done = self._engine, 0
        while todo and not session.blocked:
            if self._serving and todo[0][0] == b"GET" and session.direct:
                done += self._read_strings(session, todo)
                if not todo:
                    break
            command = todo.popleft()
            done += 1
            known = engine.get(command[0])
            if (
                known is None
                or session.queued is not None
                or not session.trusted
                or not known.fits(command)
                or session.listens_only
            ):
                self._handle_any(session, command)
            else:
                session.last_command = command[0]
                self._execute(session, command, known)
        self.statistics.commands += done
        self.host.charge(done)

    def _read_strings(self, session: Session, todo: deque[Command]) -> int:
        """GETs of strings that are committed and have no time to live, and of keys that are not
        there: what primaries do most. Takes as many as come first; returns how many."""
        shard, out = self.shard, session.out
        values, expires, dirty = shard.state.values, shard.state.expires, shard.tracker.dirty
        done, misses, nil = 0, 0, encode(None, session.protocol)
        while todo:
            command = todo[0]
            if command[0] != b"GET" or len(command) != 2:
                break
            key = command[1]
            value = values.get(key)
            if key in dirty or key in expires:
                break
            if type(value) is bytes:
                out.append(b"$%d\r\n%s\r\n" % (len(value), value))
            elif value is None:
                out.append(nil)
                misses += 1
            else:
                break
            todo.popleft()
            done += 1
        self.statistics.misses += misses
        self.statistics.hits += done - misses
        return done

    def _handle_any(self, session: Session, command: Command) -> None:
        """Also what is not of the engine, not known, or queued."""
        known = _known(command)
        error = self._refuse(session, command, known)
        fits = known is not None and known.fits(command)
        if session.queued is not None and not (fits and _ends_transaction(known)):
            self._queue(session, command, known, error)
        elif error is not None:
            session.reply(error)
        else:
            assert known is not None
            session.last_command = command[0]
            if known.name.encode() in OWN:
                known.run(self._commands, session, command)
            elif known.name == "PING" and session.listens_only:
                session.reply([b"pong", command[1] if len(command) > 1 else b""])
            else:
                self._execute(session, command, known)

    def _refuse(self, session: Session, command: Command, known: Known | None) -> Error | None:
        """Why a command can't be executed whoever leads."""
        if known is None:
            return unknown(command)
        if not known.fits(command):
            return wrong_number(known.name)
        if not session.trusted and known.name not in ("AUTH", "HELLO", "QUIT", "RESET"):
            return NOAUTH
        return refused_to_listener(known.name) if session.listens_only else None

    def _queue(
        self, session: Session, command: Command, known: Known | None, error: Error | None
    ) -> None:
        assert session.queued is not None
        if error is None and known is not None:
            error = self._commands.not_in_transaction(known) or self.redirect(
                session, command, known
            )
        if error is not None:
            session.aborted = session.aborted or not str(error).startswith(
                ("ERR MULTI calls", "ERR WATCH inside")
            )
            session.reply(error)
            return
        session.queued.append(command)
        session.reply(Simple(b"QUEUED"))

    def _execute(self, session: Session, command: Command, known: Known) -> None:
        error = None
        if not self._serving or known.keys != ONE or known.movable is not None:
            error = self.redirect(session, command, known)
        error = error or self._too_much()
        if session.largest > self.settings.max_record_bytes and (known.write or known.nested):
            error = error or self._too_big((command,))
        if error is not None:
            session.reply(error)
            return
        call = self._spare
        if call is None or call.state is not self.shard.state:
            call = self._spare = self._call()
        may_block = self._serving or not known.write
        call.begin(self.time_ms(), None if self._serving else READONLY, may_block=may_block)
        if known.nested:
            call.room = self.settings.max_record_bytes
        reply = call.perform(known, command)
        if type(reply) is Blocked:
            self._wait_for_keys(session, Waiting(reply), call)
            return
        n = self._settle(session, call)
        session.reply(reply, n)
        if not known.write:
            found = sum(key in call.state.values for key in call.reads)
            self.statistics.hits += found
            self.statistics.misses += len(call.reads) - found
        if self._ready:
            self._serve_blocked()

    def redirect(self, session: Session, command: Command, known: Known) -> Error | None:
        """Why this node can't execute it now, and who could."""
        if known.name.encode() in OWN and not known.keys[0]:
            return None
        keys = known.keys_of(command)
        slot = slot_of(keys[0]) if keys else 0
        if len(keys) > 1 and self.crosses_slots(keys):
            return CROSSSLOT
        if self._serving:
            return None
        shard = self.shard
        data = bool(keys) or known.write or known.nested
        data = data or "readonly" in known.flags or "pubsub" in known.flags
        if not data:
            return None
        reads = not known.write and "pubsub" not in known.flags
        if session.readonly and reads and shard.role == "replica":
            return None if shard.ready else LOADING
        leader = self.place.nodes.get(shard.leader or "") if shard.knows_leader() else None
        if leader is not None:
            if known.write and not keys:
                return READONLY
            host, port = leader
            return Error(f"MOVED {slot} {host}:{port}")
        return CLUSTERDOWN

    @staticmethod
    def crosses_slots(keys: Sequence[bytes]) -> Error | None:
        slot = slot_of(keys[0])
        return CROSSSLOT if any(slot_of(key) != slot for key in keys) else None

    def _too_much(self) -> Error | None:
        """D11."""
        most = self.settings.max_waiting
        if self._serving and (self.parked >= most or self.shard.tracker.waiting >= most):
            return TRYAGAIN
        return None

    def _too_big(self, commands: Sequence[Command]) -> Error | None:
        """D9."""
        most = self.settings.max_record_bytes
        size = sum(len(word) for command in commands for word in command)
        if size <= most:
            return None
        return Error(f"ERR a record of {size} bytes is more than max-record-bytes {most}")

    def _call(self, *, may_block: bool = False) -> Call:
        """What executes commands now: on a replica nothing is written and nothing expires (D5)."""
        deny = None if self._serving else READONLY
        call = Call(self.shard.state, self.time_ms(), self.host.rng, deny, mask=False)
        call.may_block = may_block
        call.audience = self.channels.audience
        return call

    def _settle(self, session: Session | None, call: Call) -> int:
        """Append the effects of a call; returns what its reply has to wait for."""
        shard = self.shard
        if call.effects:
            effects = call.effects
            if len(effects) > 1:
                effects = [e for e in effects if e[0] not in (b"MULTI", b"EXEC")]
            n = shard.write(effects, call.writes)
            if call.messages:
                messages = call.messages
                self.wait_for(n, lambda _: self.channels.deliver(messages))
            if session is not None:
                session.written = n
            self.touch(call.writes, session)
            return n
        if call.whole:
            return shard.tracker.last
        return shard.tracker.position(call.reads)

    def touch(self, keys: Iterable[bytes], by: Session | None = None) -> None:
        """Keys were written: tell who watches them, and find out who waits for them."""
        if self._watchers:
            for key in keys:
                for session in self._watchers.get(key, {}).values():
                    if session.watched[key] and key not in self.shard.state.values:
                        session.watched[key] = False  # it had expired before it was watched
                    else:
                        session.touched = True
        if self._blocked:
            for key in keys:
                if key in self._blocked:
                    self._ready[key] = None

    # --- transactions

    def watch(self, session: Session, keys: Sequence[bytes]) -> None:
        time_ms = self.time_ms()
        for key in keys:
            session.watched.setdefault(key, is_expired(self.shard.state, key, time_ms))
            self._watchers.setdefault(key, {})[session.number] = session
        session.reply(OK, self.shard.tracker.position(keys))

    def unwatch(self, session: Session) -> None:
        for key in session.watched:
            watchers = self._watchers.get(key, {})
            watchers.pop(session.number, None)
            if not watchers:
                self._watchers.pop(key, None)
        session.watched.clear()
        session.touched = False

    def exec(self, session: Session) -> None:
        queued, aborted = session.queued, session.aborted
        assert queued is not None
        session.queued, session.aborted = None, False
        watched = list(session.watched)
        time_ms = self.time_ms()
        touched = session.touched or any(
            not before and is_expired(self.shard.state, key, time_ms)
            for key, before in session.watched.items()
        )
        self.unwatch(session)
        if aborted:
            session.reply(Error("EXECABORT Transaction discarded because of previous errors."))
            return
        error = (
            self._refuse_exec(session, queued, watched) or self._too_much() or self._too_big(queued)
        )
        if error is not None:
            moved = str(error).startswith("MOVED")
            session.reply(
                error if moved else Error(f"EXECABORT Transaction discarded because of: {error}")
            )
            return
        if touched:
            session.reply(NIL_ARRAY, self.shard.tracker.position(watched))
            return
        call = self._call()
        call.room = self.settings.max_record_bytes
        session.diverted_n = 0
        replies = []
        for command in queued:
            known_one = _known(command)
            assert known_one is not None
            if known_one.name.encode() in OWN:
                replies.append(self._commands.within_transaction(session, command, known_one))
            else:
                replies.append(call.run(command))
        for key in watched:
            call.reads[key] = None
        reads, whole = self.shard.tracker.position(call.reads), call.whole
        n = max(
            self._settle(session, call),
            reads,
            self.shard.tracker.last if whole else 0,
            session.diverted_n,
        )
        session.reply(replies, n)
        if self._ready:
            self._serve_blocked()

    def _refuse_exec(
        self, session: Session, queued: Sequence[Command], watched: Sequence[bytes]
    ) -> Error | None:
        slots: dict[int, None] = dict.fromkeys(slot_of(key) for key in watched)
        for command in queued:
            known = _known(command)
            assert known is not None
            error = self.redirect(session, command, known)
            if error is not None:
                return error
            slots.update(dict.fromkeys(slot_of(key) for key in known.keys_of(command)))
        return CROSSSLOT if len(slots) > 1 else None

    # --- blocking commands

    def _wait_for_keys(self, session: Session, waiting: Waiting, call: Call) -> None:
        """Nothing was there. A key that had expired is gone now, and that goes to the log."""
        self._settle(session, call)
        session.waiting = waiting
        session.block()
        for key in waiting.blocked.keys:
            self._blocked.setdefault(key, {})[session.number] = session
        if waiting.blocked.timeout_ms:
            waiting.timer = asyncio.get_running_loop().call_later(
                waiting.blocked.timeout_ms / 1000, self.time_out, session
            )

    def _stop_waiting(self, session: Session) -> Waiting | None:
        waiting, session.waiting = session.waiting, None
        if waiting is None:
            return None
        if waiting.timer is not None:
            waiting.timer.cancel()
        for key in waiting.blocked.keys:
            sessions = self._blocked.get(key, {})
            sessions.pop(session.number, None)
            if not sessions:
                self._blocked.pop(key, None)
        return waiting

    def time_out(self, session: Session, error: Error | None = None) -> None:
        """It has waited long enough; that its keys are empty must be committed too."""
        waiting = self._stop_waiting(session)
        if waiting is not None:
            n = self.shard.tracker.position(waiting.blocked.keys)
            session.reply(waiting.blocked.nil if error is None else error, n)
            session.unblock()

    def _serve_blocked(self) -> None:
        """Whoever has waited longest for a key that was written gets it."""
        freed: list[Session] = []
        while self._ready:
            key = next(iter(self._ready))
            del self._ready[key]
            for session in list(self._blocked.get(key, {}).values()):
                waiting = session.waiting
                assert waiting is not None
                call = self._call(may_block=True)
                reply = call.run(waiting.blocked.again)
                if isinstance(reply, Error) and str(reply).startswith("NOGROUP"):
                    reply = GROUP_GONE if key in self.shard.state.values else STREAM_GONE
                if type(reply) is Blocked or isinstance(reply, Error):
                    if call.effects:
                        self._settle(session, call)
                    if reply not in (GROUP_GONE, STREAM_GONE):
                        continue
                self._stop_waiting(session)
                n = max(self._settle(session, call), self.shard.tracker.position(call.reads))
                session.reply(reply, n)
                freed.append(session)
        for session in freed:
            session.unblock()

    # --- WAIT

    def wait(self, session: Session, wanted: int, timeout_ms: int) -> None:
        """D4: after the client's last write is committed; the time counts from then."""
        wait = self._waits[session.number] = Wait(session, session.written, wanted)
        session.block()

        def begin(n: int) -> None:
            if self._waits.get(session.number) is not wait:
                return
            if timeout_ms:
                loop = asyncio.get_running_loop()
                wait.timer = loop.call_later(timeout_ms / 1000, self._end_wait, wait)
            if self.reached(wait.n) >= wanted:
                self._end_wait(wait)

        if wait.n <= self.committed:
            begin(self.committed)
        else:
            self.wait_for(wait.n, begin)

    def _end_wait(self, wait: Wait) -> None:
        self._waits.pop(wait.session.number, None)
        if wait.timer is not None:
            wait.timer.cancel()
        wait.session.reply(self.reached(wait.n))
        wait.session.unblock()

    def reached(self, n: int) -> int:
        """How many replicas have applied entry n."""
        return sum(applied >= n for applied in self.positions.values())

    def moved(self, positions: Mapping[str, int]) -> None:
        self.positions = {n: at for n, at in positions.items() if n in self.place.nodes}
        for wait in list(self._waits.values()):
            if wait.n <= self.committed and self.reached(wait.n) >= wait.wanted:
                self._end_wait(wait)

    # --- expiry

    async def _expire(self) -> None:
        """Background work of a primary: keys whose time has come are deleted (D5)."""
        while True:
            await asyncio.sleep(EXPIRE_EVERY_S)
            self.check_lease()
            self.statistics.tick(asyncio.get_running_loop().time())
            if not self._serving:
                continue
            time_ms = self.time_ms()
            for key in self.shard.state.due(time_ms, EXPIRED_AT_ONCE):
                call = self._call()
                call.peek(key)
                self._settle(None, call)
                self.statistics.expired += 1


def _known(command: Command) -> Known | None:
    return find(TABLE, command) or find(OWN, command)


def _ends_transaction(known: Known | None) -> bool:
    return known is not None and known.name in _NOT_QUEUED
