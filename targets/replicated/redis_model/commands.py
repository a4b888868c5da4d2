"""The node's own commands: transactions, replication, INFO and CLIENT."""

from __future__ import annotations

from typing import Final

from targets.engine.parsing import integer
from targets.engine.resp import OK, Command, Error, Simple
from targets.engine.table import Table
from targets.replicated.redis_model.node import Node, Run
from targets.replicated.redis_model.replication import Link, ReplicaSession
from targets.servers.transactions import NO_MULTI

COMMANDS: Final[Table[Run]] = Table()


# --- transactions


@COMMANDS.command("MULTI", 1)
def _multi(node: Node, session: ReplicaSession, command: Command) -> None:
    session.reply(node.transactions.multi(session), node.position())


@COMMANDS.command("EXEC", 1)
def _exec(node: Node, session: ReplicaSession, command: Command) -> None:
    if session.queued is None:
        session.reply(NO_MULTI, node.position())
    else:
        node.exec(session)


@COMMANDS.command("DISCARD", 1)
def _discard(node: Node, session: ReplicaSession, command: Command) -> None:
    session.reply(node.transactions.discard(session), node.position())


@COMMANDS.command("WATCH", -2)
def _watch(node: Node, session: ReplicaSession, command: Command) -> None:
    node.transactions.watch(session, command[1:], node.time_ms())
    session.reply(OK, node.position())


@COMMANDS.command("UNWATCH", 1)
def _unwatch(node: Node, session: ReplicaSession, command: Command) -> None:
    node.transactions.unwatch(session)
    session.reply(OK, node.position())


# --- replication


@COMMANDS.command("WAIT", 3)
def _wait(node: Node, session: ReplicaSession, command: Command) -> None:
    if node.link is not None:
        session.reply(
            Error(
                "ERR WAIT cannot be used with replica instances. Please also note that since "
                "Redis 4.0 if a replica is configured to be writable (which is not the "
                "default) writes to replicas are just local and are not propagated."
            ),
            node.position(),
        )
        return
    try:
        wanted = integer(command[1])
        timeout_ms = integer(command[2], "ERR timeout is not an integer or out of range")
        if timeout_ms < 0:
            raise Error("ERR timeout is negative")
    except Error as e:
        session.reply(e, node.position())
        return
    if session.diverted is not None:  # within EXEC it does not wait
        session.reply(node.primary.reached(session.written))
        return
    reached = node.primary.wait(session, wanted, timeout_ms)
    if reached is None:
        session.block()
    else:
        session.reply(reached, node.position())


@COMMANDS.command("ROLE", 1)
def _role(node: Node, session: ReplicaSession, command: Command) -> None:
    if node.link is None:
        feeds = [
            [f.address[0].encode(), b"%d" % f.address[1], b"%d" % f.acknowledged]
            for f in node.primary.feeds.values()
        ]
        session.reply([b"master", node.stream.offset, feeds], node.position())
        return
    host, port = node.link.address
    session.reply(
        [b"slave", host.encode(), port, node.link.state.encode(), node.stream.offset],
        node.position(),
    )


@COMMANDS.command("REPLICAOF", 3)
def _replicaof(node: Node, session: ReplicaSession, command: Command) -> None:
    session.reply(_follow(node, command[1].decode("utf-8", "replace"), command[2]), node.position())


def _follow(node: Node, host: str, port: bytes) -> Simple | Error:
    """Begin to follow a primary, or, for `NO ONE`, become one; return the reply."""
    if (host.upper(), port.upper()) == ("NO", b"ONE"):
        if node.link is not None:
            node.link.close()
            node.link = None
            node.stream.fork()
            node.primary.drop()
            node.host.log(f"role: primary from {node.stream.offset}")
        return OK
    if not port.isdigit() or not 0 < int(port) < 65536:
        return Error("ERR Invalid master port")
    address = (host, int(port))
    if node.link is not None:
        if node.link.address == address:
            return Simple(b"OK Already connected to specified master")
        node.link.close()
    node.flush()
    node.link = Link(node, address)
    node.primary.drop()
    node.host.log(f"role: replica of {host} from {node.stream.offset}")
    return OK


@COMMANDS.command("REPLCONF", -1, "no_multi")
def _replconf(node: Node, session: ReplicaSession, command: Command) -> None:
    words = [w.lower() for w in command[1:]]
    try:
        if words[:1] == [b"ack"] and len(words) == 2:
            node.primary.acknowledged(session, integer(words[1]))
            return
        if words[:1] == [b"listening-port"] and len(words) == 2:
            session.listening_port = integer(words[1])
    except Error as e:
        session.reply(e, node.position())
        return
    session.reply(OK, node.position())


@COMMANDS.command("PSYNC", 3, "no_multi")
def _psync(node: Node, session: ReplicaSession, command: Command) -> None:
    node.flush()
    if node.link is not None and node.link.state != "connected":
        session.reply(Error("NOMASTERLINK Can't SYNC while not connected with my master"))
        return
    try:
        offset = integer(command[2])
    except Error as e:
        session.reply(e, node.position())
        return
    first = node.primary.attach(session, command[1].decode("ascii", "replace"), offset)
    session.send(first, node.position())


# --- about the server


@COMMANDS.command("INFO", -1)
def _info(node: Node, session: ReplicaSession, command: Command) -> None:
    role = "master" if node.link is None else "slave"
    lines = ["# Server", "redis_version:7.0.0", "redis_mode:standalone", "# Replication",
             f"role:{role}", f"connected_slaves:{len(node.primary.feeds)}",
             f"master_replid:{node.stream.id}",
             f"master_repl_offset:{node.stream.offset}"]  # fmt: skip
    session.reply("\r\n".join([*lines, ""]).encode(), node.position())


@COMMANDS.command("CLIENT", -2)
def _client(node: Node, session: ReplicaSession, command: Command) -> None:
    if command[1].upper() in (b"SETINFO", b"SETNAME"):
        session.reply(OK, node.position())
    elif command[1].upper() == b"ID":
        session.reply(session.number, node.position())
    else:
        word = command[1].decode("utf-8", "replace")
        error = Error(f"ERR unknown subcommand '{word}'. Try CLIENT HELP.")
        session.reply(error, node.position())
