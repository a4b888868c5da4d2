"""The server's own commands: connections, transactions, replication, what it says of itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from targets.engine import Known, integer
from targets.engine.execution import ALL, printable
from targets.engine.resp import OK, Command, Error, Map, Simple
from targets.memorydb_py.node import (  # noqa: F401  (they register commands)
    clients,
    cluster,
    command_table,
    configuration,
    debugging,
    subscriptions,
)
from targets.memorydb_py.node.information import COMPATIBLE_WITH, information
from targets.memorydb_py.node.own import OWN, own
from targets.memorydb_py.node.session import Session

if TYPE_CHECKING:
    from targets.memorydb_py.node.server import Node

WRONG_PASSWORD = Error("WRONGPASS invalid username-password pair or user is disabled.")
IN_TRANSACTION = {
    "WATCH": Error("ERR WATCH inside MULTI is not allowed"),
    "MULTI": Error("ERR MULTI calls can not be nested"),
}
NOT_IN_A_TRANSACTION = Error("ERR Command not allowed inside a transaction")


class Commands:
    """See the module's text. Each method replies, or blocks the session."""

    def __init__(self, node: Node) -> None:
        self.node = node

    def not_in_transaction(self, command: Known) -> Error | None:
        allowed = "no_multi" not in command.flags
        return None if allowed else NOT_IN_A_TRANSACTION

    def within_transaction(self, session: Session, command: Command, entry: Known) -> Any:
        """The reply of one of these commands from EXEC's queue."""
        if entry.name == "WAIT":
            return self.node.reached(session.written)
        return _answer(lambda: entry.run(self, session, command), session)

    # --- the connection

    @own("AUTH", -2, "noscript loading stale fast no_auth no_multi allow_busy")
    def auth(self, session: Session, command: Command) -> None:
        if len(command) > 3:
            session.reply(Error("ERR syntax error"))
            return
        if not self.node.settings.requirepass and len(command) == 2:
            session.reply(
                Error(
                    "ERR AUTH <password> called without any password configured for the default "
                    "user. Are you sure your configuration is correct?"
                )
            )
            return
        user, password = (b"default", command[1]) if len(command) == 2 else command[1:3]
        session.reply(OK if self._logs_in(session, user, password) else WRONG_PASSWORD)

    def _logs_in(self, session: Session, user: bytes, password: bytes) -> bool:
        wanted = self.node.settings.requirepass.encode(errors="surrogateescape")
        if user != b"default" or (wanted and password != wanted):
            return False
        session.log_in()
        return True

    @own("HELLO", -1, "noscript loading stale fast no_auth no_multi allow_busy")
    def hello(self, session: Session, command: Command) -> None:
        words = list(command[1:])
        version = session.protocol
        if words:
            try:
                version = integer(
                    words.pop(0), "ERR Protocol version is not an integer or out of range"
                )
            except Error as e:
                session.reply(e)
                return
            if version not in (2, 3):
                session.reply(Error("NOPROTO unsupported protocol version"))
                return
        name = None
        while words:
            word = words.pop(0).upper()
            if word == b"AUTH" and len(words) >= 2:
                if not self._logs_in(session, words.pop(0), words.pop(0)):
                    session.reply(WRONG_PASSWORD)
                    return
            elif word == b"SETNAME" and words:
                name = words.pop(0)
            else:
                session.reply(Error(f"ERR Syntax error in HELLO option '{printable(word)}'"))
                return
        if not session.trusted:
            session.reply(
                Error(
                    "NOAUTH HELLO must be called with the client already authenticated, otherwise "
                    "the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the "
                    "client and select the RESP protocol version at the same time"
                )
            )
            return
        session.protocol = version
        session.name = session.name if name is None else name
        role = b"master" if self.node.shard.serves() else b"replica"
        session.reply(
            Map(
                [
                    (b"server", b"redis"),
                    (b"version", COMPATIBLE_WITH.encode()),
                    (b"proto", version),
                    (b"id", session.number),
                    (b"mode", b"cluster"),
                    (b"role", role),
                    (b"modules", []),
                ]
            )
        )

    @own("QUIT", -1, "noscript loading stale fast no_auth no_multi allow_busy")
    def quit(self, session: Session, command: Command) -> None:
        session.reply(OK)
        session.close()

    @own("RESET", 1, "noscript loading stale fast no_auth no_multi allow_busy")
    def reset(self, session: Session, command: Command) -> None:
        session.queued, session.aborted = None, False
        self.node.unwatch(session)
        session.protocol, session.name, session.readonly = 2, b"", False
        session.replies_wanted = "on"
        self.node.channels.forget(session)
        session.log_out(trusted=not self.node.settings.requirepass)
        session.reply(Simple(b"RESET"))

    @own("SELECT", 2, "loading stale fast")
    def select(self, session: Session, command: Command) -> None:
        try:
            number = integer(command[1])
        except Error as e:
            session.reply(e)
            return
        session.reply(OK if number == 0 else Error("ERR SELECT is not allowed in cluster mode"))

    @own("READONLY", 1, "loading stale fast")
    def readonly(self, session: Session, command: Command) -> None:
        session.readonly = True
        session.reply(OK)

    @own("READWRITE", 1, "loading stale fast")
    def readwrite(self, session: Session, command: Command) -> None:
        session.readonly = False
        session.reply(OK)

    # --- transactions

    @own("MULTI", 1, "noscript loading stale fast allow_busy")
    def multi(self, session: Session, command: Command) -> None:
        if session.queued is not None:
            session.reply(IN_TRANSACTION["MULTI"])
            return
        session.queued, session.aborted = [], False
        session.reply(OK)

    @own("EXEC", 1, "noscript loading stale skip_slowlog")
    def exec(self, session: Session, command: Command) -> None:
        if session.queued is None:
            session.reply(Error("ERR EXEC without MULTI"))
        else:
            self.node.exec(session)

    @own("DISCARD", 1, "noscript loading stale fast allow_busy")
    def discard(self, session: Session, command: Command) -> None:
        if session.queued is None:
            session.reply(Error("ERR DISCARD without MULTI"))
            return
        session.queued, session.aborted = None, False
        self.node.unwatch(session)
        session.reply(OK)

    @own("WATCH", -2, "noscript loading stale fast allow_busy", ALL)
    def watch(self, session: Session, command: Command) -> None:
        if session.queued is not None:
            session.reply(IN_TRANSACTION["WATCH"])
            return
        error = self.node.redirect(session, command, OWN[b"WATCH"])
        if error is not None:
            session.reply(error)
        else:
            self.node.watch(session, command[1:])

    @own("UNWATCH", 1, "noscript loading stale fast allow_busy")
    def unwatch(self, session: Session, command: Command) -> None:
        self.node.unwatch(session)
        session.reply(OK)

    # --- replication

    @own("WAIT", 3, "noscript")
    def wait(self, session: Session, command: Command) -> None:
        try:
            wanted = integer(command[1])
            timeout_ms = integer(command[2], "ERR timeout is not an integer or out of range")
        except Error as e:
            session.reply(e)
            return
        if timeout_ms < 0:
            session.reply(Error("ERR timeout is negative"))
        elif not self.node.serving:
            session.reply(
                Error(
                    "ERR WAIT cannot be used with replica instances. Please also note that since "
                    "Redis 4.0 if a replica is configured to be writable (which is not the "
                    "default) writes to replicas are just local and are not propagated."
                )
            )
        else:
            self.node.wait(session, wanted, timeout_ms)

    @own("ROLE", 1, "noscript loading stale fast")
    def role(self, session: Session, command: Command) -> None:
        node = self.node
        if node.serving:
            replicas = [
                [*_where(node.place.nodes.get(name)), b"%d" % n]
                for name, n in sorted(node.positions.items())
            ]
            session.reply([b"master", node.shard.applied.n, replicas])
            return
        host, port = _where(node.place.nodes.get(node.shard.leader or ""))
        link = b"connected" if node.shard.ready and node.shard.knows_leader() else b"connect"
        session.reply([b"slave", host, int(port), link, node.shard.applied.n])

    @own("REPLICAOF", 3, "admin noscript stale no_async_loading no_multi")
    def replicaof(self, session: Session, command: Command) -> None:
        session.reply(Error("ERR REPLICAOF not allowed in cluster mode."))

    @own("FAILOVER", -1, "admin noscript stale no_multi")
    def failover(self, session: Session, command: Command) -> None:
        """FAILOVER [TO host port]: a graceful hand-over."""
        node = self.node
        successor = None
        words = [w.upper() for w in command[1:]]
        if words[:1] == [b"TO"] and len(words) == 3:
            wanted = (command[2].decode("latin-1"), command[3])
            for name, (host, port) in node.place.nodes.items():
                if wanted == (host, b"%d" % port):
                    successor = name
            if successor is None or successor == node.host.name:
                session.reply(Error("ERR FAILOVER target HOST and PORT is not a replica."))
                return
        elif words:
            session.reply(Error("ERR syntax error"))
            return
        if not node.serving:
            session.reply(Error("ERR FAILOVER is not valid when server is a replica."))
            return
        session.reply(OK)
        node.hand_over(successor)

    @own("SHUTDOWN", -1, "admin noscript loading stale no_multi allow_busy")
    def shutdown(self, session: Session, command: Command) -> None:
        words = [w.upper() for w in command[1:]]
        if any(w not in (b"NOSAVE", b"SAVE", b"NOW", b"FORCE") for w in words):
            session.reply(Error("ERR syntax error"))
            return
        session.block()
        self.node.shut_down()

    # --- about the server

    @own("INFO", -1, "loading stale")
    def info(self, session: Session, command: Command) -> None:
        sections = [w.decode("latin-1").lower() for w in command[1:]]
        session.reply(information(self.node, sections).encode())


def _where(address: tuple[str, int] | None) -> tuple[bytes, bytes]:
    return (b"", b"0") if address is None else (address[0].encode(), b"%d" % address[1])


def _answer(run: Callable[[], None], session: Session) -> Any:
    """The reply of a command that is executed within EXEC."""
    got: list[Any] = []
    session.diverted = got
    try:
        run()
    finally:
        session.diverted = None
    return got[0] if got else None
