"""MULTI, EXEC, DISCARD, WATCH and UNWATCH."""

from __future__ import annotations

from targets.engine.resp import OK, Command
from targets.engine.table import ALL
from targets.memorydb_py.node.commands.table import Commands
from targets.memorydb_py.node.connection import Connection
from targets.memorydb_py.node.node import Node
from targets.servers.transactions import NESTED_WATCH, NO_MULTI

COMMANDS: Commands = Commands()


@COMMANDS.command("MULTI", 1, "noscript loading stale fast allow_busy")
def _multi(node: Node, session: Connection, command: Command) -> None:
    session.reply(node.transactions.multi(session))


@COMMANDS.command("EXEC", 1, "noscript loading stale skip_slowlog")
def _exec(node: Node, session: Connection, command: Command) -> None:
    if session.queued is None:
        session.reply(NO_MULTI)
    else:
        node.exec(session)


@COMMANDS.command("DISCARD", 1, "noscript loading stale fast allow_busy")
def _discard(node: Node, session: Connection, command: Command) -> None:
    session.reply(node.transactions.discard(session))


@COMMANDS.command("WATCH", -2, "noscript loading stale fast allow_busy", ALL)
def _watch(node: Node, session: Connection, command: Command) -> None:
    if session.queued is not None:
        session.reply(NESTED_WATCH)
        return
    error = node.redirect(session, command, COMMANDS[b"WATCH"])
    if error is not None:
        session.reply(error)
    else:
        node.watch(session, command[1:])


@COMMANDS.command("UNWATCH", 1, "noscript loading stale fast allow_busy")
def _unwatch(node: Node, session: Connection, command: Command) -> None:
    node.transactions.unwatch(session)
    session.reply(OK)
