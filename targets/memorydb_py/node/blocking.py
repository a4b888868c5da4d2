"""Blocked clients: in a blocking command, until a key is written, or in WAIT, for replicas."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from targets.engine.protocol import Blocked
from targets.engine.resp import Error
from targets.memorydb_py.node.connection import Connection


class Waiting:
    """A client in a blocking command, and the timer of its time-out."""

    __slots__ = ("blocked", "timer")

    def __init__(self, blocked: Blocked) -> None:
        self.blocked = blocked
        self.timer: asyncio.TimerHandle | None = None


class BlockedClients:
    """Clients whose commands are executed again when one of their keys was written. `ready`: keys
    that were written and have blocked clients. `by_key`: the clients blocked on each key.
    `serving`: the client whose command the engine is executing again. `late`: that client and the
    error to reply, if its time ran out meanwhile."""

    def __init__(self) -> None:
        self.ready: dict[bytes, None] = {}
        self.serving: Connection | None = None
        self.late: tuple[Connection, Error | None] | None = None
        self._waiting: dict[int, Waiting] = {}  # by session
        self.by_key: dict[bytes, dict[int, Connection]] = {}  # in order of arrival

    def add(
        self, session: Connection, blocked: Blocked, time_out: Callable[[Connection], None]
    ) -> None:
        """Block a session until `remove`. `time_out` is called after the command's time-out."""
        waiting = self._waiting[session.number] = Waiting(blocked)
        session.block()
        for key in blocked.keys:
            self.by_key.setdefault(key, {})[session.number] = session
        if blocked.timeout_ms:
            waiting.timer = asyncio.get_running_loop().call_later(
                blocked.timeout_ms / 1000, time_out, session
            )

    def remove(self, session: Connection) -> Blocked | None:
        """Remove a session; return what it was blocked on, or None if it was not blocked."""
        waiting = self._waiting.pop(session.number, None)
        if waiting is None:
            return None
        if waiting.timer is not None:
            waiting.timer.cancel()
        for key in waiting.blocked.keys:
            sessions = self.by_key.get(key, {})
            sessions.pop(session.number, None)
            if not sessions:
                self.by_key.pop(key, None)
        return waiting.blocked

    def on(self, session: Connection) -> Blocked | None:
        """Return what a session is blocked on, or None."""
        waiting = self._waiting.get(session.number)
        return None if waiting is None else waiting.blocked

    def waits(self, session: Connection) -> bool:
        """Return whether a session is in a blocking command."""
        return session.number in self._waiting

    def of(self, key: bytes) -> list[tuple[Connection, Blocked]]:
        """Return the sessions blocked on a key, each with its command, in order of arrival."""
        sessions = self.by_key.get(key, {}).values()
        return [(session, self._waiting[session.number].blocked) for session in sessions]

    def touch(self, keys: Iterable[bytes]) -> None:
        """Note that keys were written."""
        for key in keys:
            if key in self.by_key:
                self.ready[key] = None


class Log(Protocol):
    """The log, as WAIT uses it."""

    committed: int

    def wait_for(self, position: int, then: Callable[[int], None]) -> None:
        """Call `then` once the position is committed."""
        ...


class Wait:
    """A client in WAIT, until `wanted` replicas have applied the entry at `position`."""

    def __init__(self, session: Connection, position: int, wanted: int) -> None:
        self.session = session
        self.position = position
        self.wanted = wanted
        self.timer: asyncio.TimerHandle | None = None


class Waits:
    """Clients in WAIT. `positions`: the last position that each replica has applied.

    The time-out of WAIT begins when the client's last write is committed.
    """

    def __init__(self, log: Log) -> None:
        self.positions: Mapping[str, int] = {}
        self._log = log
        self._waits: dict[int, Wait] = {}  # by session

    def __contains__(self, session: Connection) -> bool:
        return session.number in self._waits

    def reached(self, position: int) -> int:
        """Return how many replicas have applied the entry at a position."""
        return sum(applied >= position for applied in self.positions.values())

    def add(self, session: Connection, wanted: int, timeout_ms: int) -> None:
        """Block a session until enough replicas have applied its last write, or its time-out."""
        wait = self._waits[session.number] = Wait(session, session.written, wanted)
        session.block()

        def begin(committed: int) -> None:
            if self._waits.get(session.number) is not wait:
                return
            if timeout_ms:
                loop = asyncio.get_running_loop()
                wait.timer = loop.call_later(timeout_ms / 1000, self._end, wait)
            if self.reached(wait.position) >= wanted:
                self._end(wait)

        if wait.position <= self._log.committed:
            begin(self._log.committed)
        else:
            self._log.wait_for(wait.position, begin)

    def _end(self, wait: Wait) -> None:
        self.forget(wait.session)
        wait.session.reply(self.reached(wait.position))
        wait.session.unblock()

    def forget(self, session: Connection) -> None:
        """End a session's WAIT, if it is in one, without a reply."""
        wait = self._waits.pop(session.number, None)
        if wait is not None and wait.timer is not None:
            wait.timer.cancel()

    def moved(self, positions: Mapping[str, int]) -> None:
        """Set the positions that replicas have applied; end each WAIT that is satisfied now."""
        self.positions = positions
        for wait in list(self._waits.values()):
            if wait.position <= self._log.committed and self.reached(wait.position) >= wait.wanted:
                self._end(wait)
