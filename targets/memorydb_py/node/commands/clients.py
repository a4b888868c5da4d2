"""CLIENT: the connections of clients."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from targets.engine.parsing import integer
from targets.engine.resp import OK, BadSyntax, Command, Error
from targets.memorydb_py.node.commands.table import Commands, add_container, wrong_words
from targets.memorydb_py.node.connection import Connection
from targets.memorydb_py.node.node import Node

COMMANDS: Commands = Commands()

_FLAGS = "noscript loading stale"
_ADMIN = f"admin {_FLAGS}"
_TYPES = (b"normal", b"master", b"replica", b"slave", b"pubsub")
Filter = Callable[[Connection], bool]

add_container(COMMANDS, "CLIENT")


@COMMANDS.command("CLIENT|ID", 2, _FLAGS)
def _id(node: Node, session: Connection, command: Command) -> None:
    """Return the number of this connection."""
    session.reply(session.number)


@COMMANDS.command("CLIENT|GETNAME", 2, _FLAGS)
def _getname(node: Node, session: Connection, command: Command) -> None:
    """Return the name of this connection."""
    session.reply(session.name or None)


@COMMANDS.command("CLIENT|SETNAME", 3, _FLAGS)
def _setname(node: Node, session: Connection, command: Command) -> None:
    """<name>: give this connection a name."""
    if any(not 33 <= byte <= 126 for byte in command[2]):
        session.reply(
            Error("ERR Client names cannot contain spaces, newlines or special characters.")
        )
    else:
        session.name = command[2]
        session.reply(OK)


@COMMANDS.command("CLIENT|SETINFO", 4, _FLAGS)
def _setinfo(node: Node, session: Connection, command: Command) -> None:
    """(LIB-NAME|LIB-VER) <value>: set name or version of the client's library."""
    if command[2].upper() not in (b"LIB-NAME", b"LIB-VER"):
        session.reply(Error("ERR Unrecognized option for CLIENT SETINFO"))
        return
    session.library[command[2].lower()] = command[3]
    session.reply(OK)


@COMMANDS.command("CLIENT|INFO", 2, _FLAGS)
def _info(node: Node, session: Connection, command: Command) -> None:
    """Return the state of this connection."""
    session.reply(_described(session).encode())


@COMMANDS.command("CLIENT|LIST", -2, _ADMIN)
def _list(node: Node, session: Connection, command: Command) -> None:
    """[TYPE (NORMAL|MASTER|REPLICA|PUBSUB) | ID <id> ...]: return the state of connections."""
    words = command[2:]
    fits: Filter = lambda each: True  # noqa: E731
    try:
        if words and words[0].upper() == b"ID" and len(words) > 1:
            wanted = [integer(word, "ERR Invalid client ID") for word in words[1:]]
            fits = lambda each: each.number in wanted  # noqa: E731
        elif words:
            if words[0].upper() != b"TYPE" or len(words) != 2:
                raise BadSyntax
            fits = _of_type(words[1])
    except Error as e:
        session.reply(e)
        return
    lines = [_described(each) for each in node.sessions.values() if fits(each)]
    session.reply("".join(lines).encode())


def _of_type(word: bytes) -> Filter:
    """Return the filter of a TYPE. Raises `Error`. Nodes don't connect to each other, so there are
    no connections of type `master` or `replica`."""
    wanted = word.lower()
    if wanted not in _TYPES:
        raise Error(f"ERR Unknown client type '{word.decode('latin-1')}'")
    return lambda each: wanted == (b"pubsub" if each.subscriptions else b"normal")


def _address(session: Connection) -> str:
    host, port, *_ = session.transport.get_extra_info("peername") or ("?", 0)
    return f"{host}:{port}"


def _described(session: Connection) -> str:
    age = int(asyncio.get_running_loop().time() - session.since)
    multi = -1 if session.queued is None else len(session.queued)
    flags = ("r" if session.readonly else "") + ("P" if session.subscriptions else "")
    kinds = [kind for kind, _ in session.subscriptions]
    library = session.library
    return (
        f"id={session.number} addr={_address(session)} name={session.name.decode('latin-1')} "
        f"age={age} flags={flags or 'N'} db=0 sub={kinds.count(b'')} psub={kinds.count(b'p')} "
        f"ssub={kinds.count(b's')} multi={multi} parked={session.parked} "
        f"cmd={session.last_command.decode('latin-1').lower()} user=default "
        f"lib-name={library.get(b'lib-name', b'').decode('latin-1')} "
        f"lib-ver={library.get(b'lib-ver', b'').decode('latin-1')} resp={session.protocol}\n"
    )


@COMMANDS.command("CLIENT|KILL", -3, _ADMIN)
def _kill(node: Node, session: Connection, command: Command) -> None:
    """<ip:port> | (ID|ADDR|TYPE|USER|SKIPME) <value> ...: close connections."""
    words = command[2:]
    old_form = len(words) == 1
    try:
        filters, skips_me = ([_at(words[0])], False) if old_form else _filters(words)
    except Error as e:
        session.reply(e)
        return
    victims = [
        each
        for each in node.sessions.values()
        if all(fits(each) for fits in filters) and not (skips_me and each is session)
    ]
    if old_form:
        session.reply(OK if victims else Error("ERR No such client"))
    else:
        session.reply(len(victims))
    for victim in victims:
        if victim is session:
            victim.close()
        else:
            victim.abort()


def _at(word: bytes) -> Filter:
    return lambda each: _address(each).encode() == word


def _filters(words: Command) -> tuple[list[Filter], bool]:
    """Return the filters, and whether to skip the calling connection. Raises `Error`."""
    filters: list[Filter] = []
    skips_me = True
    if len(words) % 2:
        raise BadSyntax
    for option, value in zip(words[::2], words[1::2], strict=True):
        match option.upper():
            case b"ID":
                number = integer(value, "ERR client-id should be greater than 0")
                filters.append(lambda each, number=number: each.number == number)  # type: ignore[misc]
            case b"ADDR":
                filters.append(_at(value))
            case b"TYPE":
                filters.append(_of_type(value))
            case b"USER":
                if value != b"default":
                    raise Error(f"ERR No such user '{value.decode('latin-1')}'")
            case b"SKIPME" if value.upper() in (b"YES", b"NO"):
                skips_me = value.upper() == b"YES"
            case _:
                raise BadSyntax
    return filters, skips_me


@COMMANDS.command("CLIENT|UNBLOCK", -3, _ADMIN)
def _unblock(node: Node, session: Connection, command: Command) -> None:
    """<id> [TIMEOUT|ERROR]: unblock a client with its reply at the time-out, or with an error."""
    how = command[3].upper() if len(command) > 3 else b"TIMEOUT"
    if len(command) > 4:
        session.reply(wrong_words(command))
        return
    if how not in (b"TIMEOUT", b"ERROR"):
        session.reply(Error("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR"))
        return
    try:
        other = node.sessions.get(integer(command[2]))
    except Error as e:
        session.reply(e)
        return
    if other is None or not node.blocked.waits(other):
        session.reply(0)
        return
    error = Error("UNBLOCKED client unblocked via CLIENT UNBLOCK") if how == b"ERROR" else None
    node.time_out(other, error)
    session.reply(1)


@COMMANDS.command("CLIENT|REPLY", 3, _FLAGS)
def _reply(node: Node, session: Connection, command: Command) -> None:
    """(ON|OFF|SKIP): set whether this connection gets replies."""
    what = command[2].upper()
    if what == b"ON":
        session.replies_wanted = "on"
        session.reply(OK)
    elif what == b"OFF":
        session.replies_wanted = "off"
    elif what == b"SKIP":
        session.replies_wanted = "skip" if session.replies_wanted == "on" else "off"
    else:
        session.reply(BadSyntax())


@COMMANDS.command("CLIENT|NO-EVICT", 3, _ADMIN)
def _no_evict(node: Node, session: Connection, command: Command) -> None:
    """(ON|OFF): do nothing, as clients are never evicted."""
    session.reply(OK if command[2].upper() in (b"ON", b"OFF") else BadSyntax())
