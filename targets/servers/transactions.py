"""MULTI and WATCH: the commands that sessions have queued, and the keys that they watch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from targets.engine.protocol import KeySpace
from targets.engine.resp import OK, Command, Error, Simple
from targets.servers.session import Session

QUEUED: Final = Simple(b"QUEUED")
NESTED_MULTI: Final = Error("ERR MULTI calls can not be nested")
NESTED_WATCH: Final = Error("ERR WATCH inside MULTI is not allowed")
NOT_ALLOWED: Final = Error("ERR Command not allowed inside a transaction")
NO_MULTI: Final = Error("ERR EXEC without MULTI")
ABORTED: Final = Error("EXECABORT Transaction discarded because of previous errors.")


def discarded(error: Error) -> Error:
    """Return EXEC's reply to a transaction that is refused as a whole."""
    return Error(f"EXECABORT Transaction discarded because of: {error}")


class Transaction(NamedTuple):
    """A transaction for EXEC. `touched`: a watched key has changed, so EXEC replies nil."""

    commands: Sequence[Command]
    watched: Sequence[bytes]
    aborted: bool
    touched: bool


class Transactions:
    """The transactions of a server's sessions. A watched key counts as changed when it expires,
    unless it had expired before it was watched. `watchers`: sessions by the keys that they
    watch."""

    def __init__(self, keys: KeySpace) -> None:
        self._keys = keys
        self.watchers: dict[bytes, dict[int, Session]] = {}

    def multi(self, session: Session) -> Any:
        """Start to queue commands; return the reply."""
        if session.queued is not None:
            return NESTED_MULTI
        session.queued, session.aborted = [], False
        return OK

    def queue(self, session: Session, command: Command, error: Error | None) -> Any:
        """Queue a command, or, if it can't be executed, abort the transaction; return the reply.
        MULTI and WATCH inside MULTI are errors that do not abort it."""
        assert session.queued is not None
        if error is None:
            session.queued.append(command)
            return QUEUED
        if error is not NESTED_MULTI and error is not NESTED_WATCH:
            session.aborted = True
        return error

    def take(self, session: Session, time_ms: int) -> Transaction:
        """End a session's transaction, for EXEC to execute it."""
        touched = session.touched or any(
            not expired_before and self._keys.is_expired(key, time_ms)
            for key, expired_before in session.watched.items()
        )
        taken = Transaction(session.queued or (), list(session.watched), session.aborted, touched)
        self.end(session)
        return taken

    def discard(self, session: Session) -> Any:
        """End a session's transaction; return the reply."""
        if session.queued is None:
            return Error("ERR DISCARD without MULTI")
        self.end(session)
        return OK

    def end(self, session: Session) -> None:
        """Forget a session's queue and watched keys."""
        session.queued, session.aborted = None, False
        self.unwatch(session)

    # --- WATCH

    def watch(self, session: Session, keys: Iterable[bytes], time_ms: int) -> None:
        for key in keys:
            session.watched.setdefault(key, self._keys.is_expired(key, time_ms))
            self.watchers.setdefault(key, {})[session.number] = session

    def unwatch(self, session: Session) -> None:
        for key in session.watched:
            watchers = self.watchers.get(key, {})
            watchers.pop(session.number, None)
            if not watchers:
                self.watchers.pop(key, None)
        session.watched.clear()
        session.touched = False

    def touch(self, keys: Iterable[bytes]) -> None:
        """Note that keys were written. The deletion of a key that had expired before it was watched
        is not a change."""
        for key in keys:
            for session in self.watchers.get(key, {}).values():
                if session.watched[key] and key not in self._keys:
                    session.watched[key] = False
                else:
                    session.touched = True
