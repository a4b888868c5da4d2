"""COMMAND: the commands of the server, with their arity, flags, keys and documentation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from targets.engine.documentation import described, tips
from targets.engine.keys import matches
from targets.engine.resp import NIL_ARRAY, BadSyntax, Command, Error, Map, Members, Simple
from targets.engine.table import CommandSpec, find
from targets.memorydb_py.node.commands.table import Commands, add_container
from targets.memorydb_py.node.connection import Connection
from targets.memorydb_py.node.node import Node

COMMANDS: Commands = Commands()

Table = Mapping[bytes, CommandSpec[Any]]
_FLAGS = "loading stale"


def _names(table: Table) -> list[bytes]:
    return [name for name in table if b"|" not in name]


def information(table: Table, names: Sequence[bytes]) -> list[Any]:
    """Return the reply to COMMAND INFO."""
    return [_info(table, name.upper()) for name in names]


def documentation(table: Table, names: Sequence[bytes]) -> Map:
    """Return the reply to COMMAND DOCS."""
    wanted = [name.upper() for name in names]
    return Map((name.lower(), _docs(table, name)) for name in wanted if name in table)


add_container(COMMANDS, "COMMAND")


@COMMANDS.command("COMMAND", -1, _FLAGS)
def _all(node: Node, session: Connection, command: Command) -> None:
    session.reply(information(node.table, _names(node.table)))


@COMMANDS.command("COMMAND|INFO", -2, _FLAGS)
def _command_info(node: Node, session: Connection, command: Command) -> None:
    """[<name> ...]: return arity, flags and positions of keys."""
    session.reply(information(node.table, command[2:] or _names(node.table)))


@COMMANDS.command("COMMAND|COUNT", 2, _FLAGS)
def _count(node: Node, session: Connection, command: Command) -> None:
    """Return the number of commands."""
    session.reply(len(_names(node.table)))


@COMMANDS.command("COMMAND|LIST", -2, _FLAGS)
def _list(node: Node, session: Connection, command: Command) -> None:
    """[FILTERBY (MODULE <name>|ACLCAT <category>|PATTERN <pattern>)]: return names of commands."""
    words = command[2:]
    names = [name.lower() for name in _names(node.table)]
    if words:
        how = words[1].upper() if len(words) == 3 and words[0].upper() == b"FILTERBY" else b""
        if how == b"PATTERN":
            names = [name for name in names if matches(name, words[2].lower())]
        elif how == b"MODULE":
            names = []
        elif how == b"ACLCAT":
            table, wanted = node.table, b"@" + words[2].lower()
            names = [n for n in names if wanted in _categories(table[n.upper()])]
        else:
            session.reply(BadSyntax())
            return
    session.reply(names)


@COMMANDS.command("COMMAND|DOCS", -2, _FLAGS)
def _command_docs(node: Node, session: Connection, command: Command) -> None:
    """[<name> ...]: return the documentation of commands."""
    session.reply(documentation(node.table, command[2:] or _names(node.table)))


@COMMANDS.command("COMMAND|GETKEYS", -4, _FLAGS)
def _getkeys(node: Node, session: Connection, command: Command) -> None:
    """<command> <arg> ...: return the keys of a command."""
    session.reply(_keys_of(node.table, command[2:]))


def _parts(table: Table, name: bytes) -> list[bytes]:
    """Return the names of a command's subcommands."""
    return [each for each in table if each.startswith(name + b"|")]


def _docs(table: Table, name: bytes) -> Map:
    made = described(name.decode("latin-1"))
    if parts := _parts(table, name):
        made.append((b"subcommands", Map((part.lower(), _docs(table, part)) for part in parts)))
    return made


def _info(table: Table, name: bytes) -> Any:
    entry = table.get(name)
    if entry is None:
        return NIL_ARRAY
    flags = Members(Simple(flag.encode()) for flag in entry.flags)
    parts = [_info(table, part) for part in _parts(table, name)]
    return [
        name.lower(), entry.arity, flags, *entry.keys, _categories(entry), list(tips(entry.name)),
        [], parts,
    ]  # fmt: skip


def _categories(entry: CommandSpec[Any]) -> Members:
    names: list[str] = [
        f for f in ("write", "fast", "blocking", "admin", "pubsub") if f in entry.flags
    ]
    names += ["read"] if "readonly" in entry.flags else []
    names += [] if "fast" in entry.flags else ["slow"]
    return Members(Simple(f"@{name}".encode()) for name in names)


def _keys_of(table: Table, command: Command) -> Any:
    entry = find(table, command)
    if entry is None:
        return Error("ERR Invalid command specified")
    if not entry.fits(command):
        return Error("ERR Invalid number of arguments specified for command")
    keys = list(entry.keys_of(command))
    return keys or Error("ERR The command has no key arguments")
