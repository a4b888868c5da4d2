"""COMMAND: what the server says of its commands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from targets.engine import TABLE, Known, find
from targets.engine.documentation import described, tips
from targets.engine.execution import SYNTAX
from targets.engine.keys import matches
from targets.engine.resp import NIL_ARRAY, Command, Error, Map, Members, Simple
from targets.memorydb_py.node.own import OWN, own, own_container

if TYPE_CHECKING:
    from targets.memorydb_py.node.commands import Commands
    from targets.memorydb_py.node.session import Session

Table = Mapping[bytes, Known]
_FLAGS = "loading stale"


def every() -> Table:
    """The engine's commands and the server's."""
    return {**TABLE, **OWN}


def _names() -> list[bytes]:
    return [name for name in every() if b"|" not in name]


def information(table: Table, names: Sequence[bytes]) -> list[Any]:
    """The reply to COMMAND INFO."""
    return [_info(table, name.upper()) for name in names]


def documentation(table: Table, names: Sequence[bytes]) -> Map:
    """The reply to COMMAND DOCS."""
    wanted = [name.upper() for name in names]
    return Map((name.lower(), _docs(table, name)) for name in wanted if name in table)


own_container("COMMAND")


@own("COMMAND", -1, _FLAGS)
def _all(commands: Commands, session: Session, command: Command) -> None:
    session.reply(information(every(), _names()))


@own("COMMAND|INFO", -2, _FLAGS)
def _command_info(commands: Commands, session: Session, command: Command) -> None:
    """[<name> ...]: return arity, flags and places of keys."""
    session.reply(information(every(), command[2:] or _names()))


@own("COMMAND|COUNT", 2, _FLAGS)
def _count(commands: Commands, session: Session, command: Command) -> None:
    """Return how many commands there are."""
    session.reply(len(_names()))


@own("COMMAND|LIST", -2, _FLAGS)
def _list(commands: Commands, session: Session, command: Command) -> None:
    """[FILTERBY (MODULE <name>|ACLCAT <category>|PATTERN <pattern>)]: return names."""
    words = command[2:]
    names = [name.lower() for name in _names()]
    if words:
        how = words[1].upper() if len(words) == 3 and words[0].upper() == b"FILTERBY" else b""
        if how == b"PATTERN":
            names = [name for name in names if matches(name, words[2].lower())]
        elif how == b"MODULE":
            names = []
        elif how == b"ACLCAT":
            table, wanted = every(), b"@" + words[2].lower()
            names = [n for n in names if wanted in _categories(table[n.upper()])]
        else:
            session.reply(Error(SYNTAX))
            return
    session.reply(names)


@own("COMMAND|DOCS", -2, _FLAGS)
def _command_docs(commands: Commands, session: Session, command: Command) -> None:
    """[<name> ...]: return what arguments commands take."""
    session.reply(documentation(every(), command[2:] or _names()))


@own("COMMAND|GETKEYS", -4, _FLAGS)
def _getkeys(commands: Commands, session: Session, command: Command) -> None:
    """<command>: return its keys."""
    session.reply(_keys_of(every(), command[2:]))


def _parts(every: Table, name: bytes) -> list[bytes]:
    """The subcommands of a command."""
    return [each for each in every if each.startswith(name + b"|")]


def _docs(every: Table, name: bytes) -> Map:
    made = described(name.decode("latin-1"))
    if parts := _parts(every, name):
        made.append((b"subcommands", Map((part.lower(), _docs(every, part)) for part in parts)))
    return made


def _info(every: Table, name: bytes) -> Any:
    entry = every.get(name)
    if entry is None:
        return NIL_ARRAY
    flags = Members(Simple(flag.encode()) for flag in entry.flags)
    parts = [_info(every, part) for part in _parts(every, name)]
    return [
        name.lower(), entry.arity, flags, *entry.keys, _categories(entry), list(tips(entry.name)),
        [], parts,
    ]  # fmt: skip


def _categories(entry: Known) -> Members:
    names: list[str] = [
        f for f in ("write", "fast", "blocking", "admin", "pubsub") if f in entry.flags
    ]
    names += ["read"] if "readonly" in entry.flags else []
    names += [] if "fast" in entry.flags else ["slow"]
    return Members(Simple(f"@{name}".encode()) for name in names)


def _keys_of(every: Table, command: Command) -> Any:
    entry = find(every, command)
    if entry is None:
        return Error("ERR Invalid command specified")
    if not entry.fits(command):
        return Error("ERR Invalid number of arguments specified for command")
    keys = list(entry.keys_of(command))
    return keys or Error("ERR The command has no key arguments")
