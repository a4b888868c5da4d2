"""DEBUG, for tests and for the harness."""

from __future__ import annotations

from targets.engine.protocol import Digestible
from targets.engine.resp import Command, Error, Simple
from targets.memorydb_py.node.commands.table import Commands, add_container
from targets.memorydb_py.node.connection import Connection
from targets.memorydb_py.node.node import Node

COMMANDS: Commands = Commands()

add_container(COMMANDS, "DEBUG")


@COMMANDS.command("DEBUG|DIGEST", 2, "admin noscript loading stale")
def _digest(node: Node, session: Connection, command: Command) -> None:
    """Return a checksum of all data, once they are committed."""
    shard = node.shard
    if isinstance(node.engine, Digestible):
        session.reply(Simple(node.engine.digest()), shard.tracker.last)
    else:
        session.reply(Error("ERR this engine has no digest"))
