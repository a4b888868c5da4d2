"""Helpers for the tables of a node's own commands."""

from __future__ import annotations

from targets.engine.parsing import printable
from targets.engine.resp import Command, Error, Simple
from targets.engine.table import Table
from targets.memorydb_py.node.connection import Connection
from targets.memorydb_py.node.node import Node, Run

Commands = Table[Run]


def wrong_words(command: Command) -> Error:
    """Return the error for arguments that a subcommand does not take."""
    name, part = (printable(word) for word in command[:2])
    return Error(
        f"ERR unknown subcommand or wrong number of arguments for '{part}'. "
        f"Try {name.upper()} HELP."
    )


def add_container(table: Commands, name: str) -> None:
    """Add a command that has subcommands. Its HELP prints the first lines of their docstrings."""

    def help_(node: Node, session: Connection, command: Command) -> None:
        """Print this help."""
        lines = [f"{name} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"]
        prefix = f"{name}|".encode()
        for subcommand, spec in sorted(table.items()):
            if subcommand.startswith(prefix):
                first = (spec.run.__doc__ or "").partition("\n")[0]
                lines += [subcommand.removeprefix(prefix).decode(), f"    {first}"]
        session.reply([Simple(line.encode()) for line in lines])

    table.container(name, lambda node, session, command: None, help_)
