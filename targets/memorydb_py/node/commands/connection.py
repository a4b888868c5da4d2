"""AUTH, HELLO, RESET, READONLY and other commands of a connection."""

from __future__ import annotations

from targets.engine.parsing import integer, printable
from targets.engine.resp import OK, BadSyntax, Command, Error, Map, Simple
from targets.memorydb_py.node.commands.information import COMPATIBLE_WITH
from targets.memorydb_py.node.commands.table import Commands
from targets.memorydb_py.node.connection import Connection
from targets.memorydb_py.node.node import Node

COMMANDS: Commands = Commands()
WRONG_PASSWORD = Error("WRONGPASS invalid username-password pair or user is disabled.")


@COMMANDS.command("AUTH", -2, "noscript loading stale fast no_auth no_multi allow_busy")
def _auth(node: Node, session: Connection, command: Command) -> None:
    if len(command) > 3:
        session.reply(BadSyntax())
        return
    if not node.settings.requirepass and len(command) == 2:
        session.reply(
            Error(
                "ERR AUTH <password> called without any password configured for the default "
                "user. Are you sure your configuration is correct?"
            )
        )
        return
    user, password = (b"default", command[1]) if len(command) == 2 else command[1:3]
    session.reply(OK if _logs_in(node, session, user, password) else WRONG_PASSWORD)


def _logs_in(node: Node, session: Connection, user: bytes, password: bytes) -> bool:
    wanted = node.settings.requirepass.encode(errors="surrogateescape")
    if user != b"default" or (wanted and password != wanted):
        return False
    session.trusted = True
    return True


@COMMANDS.command("HELLO", -1, "noscript loading stale fast no_auth no_multi allow_busy")
def _hello(node: Node, session: Connection, command: Command) -> None:
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
            if not _logs_in(node, session, words.pop(0), words.pop(0)):
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
    role = b"master" if node.shard.serves() else b"replica"
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


@COMMANDS.command("QUIT", -1, "noscript loading stale fast no_auth no_multi allow_busy")
def _quit(node: Node, session: Connection, command: Command) -> None:
    session.reply(OK)
    session.close()


@COMMANDS.command("RESET", 1, "noscript loading stale fast no_auth no_multi allow_busy")
def _reset(node: Node, session: Connection, command: Command) -> None:
    node.transactions.end(session)
    session.protocol, session.name, session.readonly = 2, b"", False
    session.replies_wanted = "on"
    node.channels.forget(session)
    session.trusted = not node.settings.requirepass
    session.reply(Simple(b"RESET"))


@COMMANDS.command("SELECT", 2, "loading stale fast")
def _select(node: Node, session: Connection, command: Command) -> None:
    try:
        number = integer(command[1])
    except Error as e:
        session.reply(e)
        return
    session.reply(OK if number == 0 else Error("ERR SELECT is not allowed in cluster mode"))


@COMMANDS.command("READONLY", 1, "loading stale fast")
def _readonly(node: Node, session: Connection, command: Command) -> None:
    session.readonly = True
    session.reply(OK)


@COMMANDS.command("READWRITE", 1, "loading stale fast")
def _readwrite(node: Node, session: Connection, command: Command) -> None:
    session.readonly = False
    session.reply(OK)
