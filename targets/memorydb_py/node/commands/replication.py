"""WAIT, ROLE, FAILOVER and SHUTDOWN: the commands about replicas and the lease."""

from __future__ import annotations

from targets.engine.parsing import integer
from targets.engine.resp import OK, BadSyntax, Command, Error
from targets.memorydb_py.node.commands.table import Commands
from targets.memorydb_py.node.connection import Connection
from targets.memorydb_py.node.node import Node

COMMANDS: Commands = Commands()


@COMMANDS.command("WAIT", 3, "noscript")
def _wait(node: Node, session: Connection, command: Command) -> None:
    try:
        wanted = integer(command[1])
        timeout_ms = integer(command[2], "ERR timeout is not an integer or out of range")
    except Error as e:
        session.reply(e)
        return
    if session.diverted is not None:  # within EXEC it does not wait
        session.reply(node.waits.reached(session.written))
    elif timeout_ms < 0:
        session.reply(Error("ERR timeout is negative"))
    elif not node.serving:
        session.reply(
            Error(
                "ERR WAIT cannot be used with replica instances. Please also note that since "
                "Redis 4.0 if a replica is configured to be writable (which is not the "
                "default) writes to replicas are just local and are not propagated."
            )
        )
    else:
        node.waits.add(session, wanted, timeout_ms)


@COMMANDS.command("ROLE", 1, "noscript loading stale fast")
def _role(node: Node, session: Connection, command: Command) -> None:
    if node.serving:
        replicas = [
            [*_where(node.context.nodes.get(name)), b"%d" % n]
            for name, n in sorted(node.waits.positions.items())
        ]
        session.reply([b"master", node.shard.applied.n, replicas])
        return
    host, port = _where(node.context.nodes.get(node.shard.leader or ""))
    link = b"connected" if node.shard.ready and node.shard.knows_leader() else b"connect"
    session.reply([b"slave", host, int(port), link, node.shard.applied.n])


@COMMANDS.command("REPLICAOF", 3, "admin noscript stale no_async_loading no_multi")
def _replicaof(node: Node, session: Connection, command: Command) -> None:
    session.reply(Error("ERR REPLICAOF not allowed in cluster mode."))


@COMMANDS.command("FAILOVER", -1, "admin noscript stale no_multi")
def _failover(node: Node, session: Connection, command: Command) -> None:
    """FAILOVER [TO host port]: hand the lease over to another node."""
    successor = None
    words = [w.upper() for w in command[1:]]
    if words[:1] == [b"TO"] and len(words) == 3:
        wanted = (command[2].decode("latin-1"), command[3])
        for name, (host, port) in node.context.nodes.items():
            if wanted == (host, b"%d" % port):
                successor = name
        if successor is None or successor == node.host.name:
            session.reply(Error("ERR FAILOVER target HOST and PORT is not a replica."))
            return
    elif words:
        session.reply(BadSyntax())
        return
    if not node.serving:
        session.reply(Error("ERR FAILOVER is not valid when server is a replica."))
        return
    session.reply(OK)
    node.hand_over(successor)


@COMMANDS.command("SHUTDOWN", -1, "admin noscript loading stale no_multi allow_busy")
def _shutdown(node: Node, session: Connection, command: Command) -> None:
    words = [w.upper() for w in command[1:]]
    if any(w not in (b"NOSAVE", b"SAVE", b"NOW", b"FORCE") for w in words):
        session.reply(BadSyntax())
        return
    session.block()
    node.shut_down()


def _where(address: tuple[str, int] | None) -> tuple[bytes, bytes]:
    return (b"", b"0") if address is None else (address[0].encode(), b"%d" % address[1])
