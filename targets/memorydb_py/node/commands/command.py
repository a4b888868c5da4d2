"""COMMAND: the commands of the server, with their arity, flags, keys and documentation."""

from __future__ import annotations

from typing import Any

from targets.engine.descriptions import (
    Table,
    categories,
    documentation,
    information,
    names_of,
)
from targets.engine.keys import matches
from targets.engine.resp import BadSyntax, Command, Error
from targets.engine.table import find
from targets.memorydb_py.node.commands.table import Commands, add_container
from targets.memorydb_py.node.connection import Connection
from targets.memorydb_py.node.node import Node

COMMANDS: Commands = Commands()

_FLAGS = "loading stale"


add_container(COMMANDS, "COMMAND")


@COMMANDS.command("COMMAND", -1, _FLAGS)
def _all(node: Node, session: Connection, command: Command) -> None:
    session.reply(information(node.table, names_of(node.table)))


@COMMANDS.command("COMMAND|INFO", -2, _FLAGS)
def _command_info(node: Node, session: Connection, command: Command) -> None:
    """[<name> ...]: return arity, flags and positions of keys."""
    session.reply(information(node.table, command[2:] or names_of(node.table)))


@COMMANDS.command("COMMAND|COUNT", 2, _FLAGS)
def _count(node: Node, session: Connection, command: Command) -> None:
    """Return the number of commands."""
    session.reply(len(names_of(node.table)))


@COMMANDS.command("COMMAND|LIST", -2, _FLAGS)
def _list(node: Node, session: Connection, command: Command) -> None:
    """[FILTERBY (MODULE <name>|ACLCAT <category>|PATTERN <pattern>)]: return names of commands."""
    words = command[2:]
    names = [name.lower() for name in names_of(node.table)]
    if words:
        how = words[1].upper() if len(words) == 3 and words[0].upper() == b"FILTERBY" else b""
        if how == b"PATTERN":
            names = [name for name in names if matches(name, words[2].lower())]
        elif how == b"MODULE":
            names = []
        elif how == b"ACLCAT":
            table, wanted = node.table, b"@" + words[2].lower()
            names = [n for n in names if wanted in categories(table[n.upper()])]
        else:
            session.reply(BadSyntax())
            return
    session.reply(names)


@COMMANDS.command("COMMAND|DOCS", -2, _FLAGS)
def _command_docs(node: Node, session: Connection, command: Command) -> None:
    """[<name> ...]: return the documentation of commands."""
    session.reply(documentation(node.table, command[2:] or names_of(node.table)))


@COMMANDS.command("COMMAND|GETKEYS", -4, _FLAGS)
def _getkeys(node: Node, session: Connection, command: Command) -> None:
    """<command> <arg> ...: return the keys of a command."""
    session.reply(_keys_of(node.table, command[2:]))


def _keys_of(table: Table, command: Command) -> Any:
    entry = find(table, command)
    if entry is None:
        return Error("ERR Invalid command specified")
    if not entry.fits(command):
        return Error("ERR Invalid number of arguments specified for command")
    keys = list(entry.keys_of(command))
    return keys or Error("ERR The command has no key arguments")
