"""CLUSTER: the topology, as cluster clients query it: one shard has every slot."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from functools import wraps
from itertools import islice
from typing import Any

from targets.engine.parsing import integer
from targets.engine.resp import Command, Error, Map
from targets.memorydb_py.node.commands.table import Commands, add_container
from targets.memorydb_py.node.connection import Connection
from targets.memorydb_py.node.node import Node
from targets.memorydb_py.slots import SLOTS, slot_of

COMMANDS: Commands = Commands()

_FLAGS = "stale"
NO_SLOT_OR_NUMBER = "ERR Invalid slot or number of keys"

add_container(COMMANDS, "CLUSTER")


def node_id(name: str) -> bytes:
    """Return the id of a node: 40 hexadecimal digits, unchanged by restarts."""
    return hashlib.sha1(f"memorydb_py/{name}".encode()).hexdigest().encode()


def _subcommand(name: str) -> Callable[[Callable[[Node], Any]], Callable[[Node], Any]]:
    """Register a subcommand without arguments, by the function that returns its reply."""

    def register(reply_of: Callable[[Node], Any]) -> Callable[[Node], Any]:
        @COMMANDS.command(f"CLUSTER|{name}", 2, _FLAGS)
        @wraps(reply_of)
        def answer(node: Node, session: Connection, command: Command) -> None:
            session.reply(reply_of(node))

        return reply_of

    return register


@COMMANDS.command("CLUSTER|KEYSLOT", 3, _FLAGS)
def _keyslot(node: Node, session: Connection, command: Command) -> None:
    """<key>: return the slot of a key."""
    session.reply(slot_of(command[2]))


@COMMANDS.command("CLUSTER|COUNTKEYSINSLOT", 3, _FLAGS)
def _countkeysinslot(node: Node, session: Connection, command: Command) -> None:
    """<slot>: return the number of keys in a slot."""
    _reply_of_keys(node, session, command, lambda keys: sum(1 for _ in keys))


@COMMANDS.command("CLUSTER|GETKEYSINSLOT", 4, _FLAGS)
def _getkeysinslot(node: Node, session: Connection, command: Command) -> None:
    """<slot> <count>: return at most <count> keys of a slot."""

    def some(keys: Iterator[bytes]) -> list[bytes]:
        most = integer(command[3])
        if most < 0:
            raise Error(NO_SLOT_OR_NUMBER)
        return list(islice(keys, most))

    _reply_of_keys(node, session, command, some, NO_SLOT_OR_NUMBER)


def _reply_of_keys(
    node: Node,
    session: Connection,
    command: Command,
    reply_of: Callable[[Iterator[bytes]], Any],
    no_slot: str = "ERR Invalid slot",
) -> None:
    """Reply with a function of the keys of a slot, once all keys are committed."""
    if not node.serving:
        session.reply(Error("CLUSTERDOWN The cluster is down"))
        return
    try:
        slot = integer(command[2])
        if not 0 <= slot < SLOTS:
            raise Error(no_slot)
        reply = reply_of(key for key in node.engine.keys if slot_of(key) == slot)
    except Error as e:
        reply = e
    session.reply(reply, node.shard.tracker.last)


def _leader(node: Node) -> str | None:
    """Return the primary, as far as this node knows, or None."""
    if node.serving:
        return node.host.name
    return node.shard.leader if node.shard.knows_leader() else None


def _members(node: Node) -> list[str]:
    """Return the names of all nodes, the primary first."""
    leader = _leader(node)
    return sorted(node.context.nodes, key=lambda name: (name != leader, name))


@_subcommand("SLOTS")
def _slots(node: Node) -> Any:
    """Return the ranges of slots, each with its nodes."""
    if _leader(node) is None:
        return []
    nodes = []
    for name in _members(node):
        host, port = node.context.nodes[name]
        nodes.append([host.encode(), port, node_id(name), []])
    return [[0, SLOTS - 1, *nodes]]


@_subcommand("SHARDS")
def _shards(node: Node) -> Any:
    """Return the shards, with their nodes."""
    leader = _leader(node)
    nodes = []
    for name in _members(node):
        host, port = node.context.nodes[name]
        nodes.append(
            Map(
                [
                    (b"id", node_id(name)),
                    (b"port", port),
                    (b"ip", host.encode()),
                    (b"endpoint", host.encode()),
                    (b"role", b"master" if name == leader else b"replica"),
                    (b"replication-offset", node.shard.applied.n),
                    (b"health", b"online"),
                ]
            )
        )
    return [Map([(b"slots", [0, SLOTS - 1]), (b"nodes", nodes)])]


@_subcommand("NODES")
def _nodes(node: Node) -> Any:
    """Return the nodes, with their roles and slots, one per line."""
    leader = _leader(node)
    epoch = node.shard.applied.epoch
    lines = []
    for name in sorted(node.context.nodes):
        host, port = node.context.nodes[name]
        flags = "master" if name == leader else "slave"
        flags = f"myself,{flags}" if name == node.host.name else flags
        primary = "-" if name == leader or leader is None else node_id(leader).decode()
        slots = f" 0-{SLOTS - 1}" if name == leader else ""
        lines.append(
            f"{node_id(name).decode()} {host}:{port}@{port} {flags} {primary} 0 0 {epoch} connected"
            f"{slots}\n"
        )
    return "".join(lines).encode()


@_subcommand("INFO")
def _info(node: Node) -> Any:
    """Return the state of the cluster."""
    up = _leader(node) is not None
    fields = {
        "cluster_state": "ok" if up else "fail",
        "cluster_slots_assigned": SLOTS,
        "cluster_slots_ok": SLOTS if up else 0,
        "cluster_slots_pfail": 0,
        "cluster_slots_fail": 0 if up else SLOTS,
        "cluster_known_nodes": len(node.context.nodes),
        "cluster_size": 1,
        "cluster_current_epoch": node.shard.applied.epoch,
        "cluster_my_epoch": node.shard.applied.epoch,
    }
    return "".join(f"{key}:{value}\r\n" for key, value in fields.items()).encode()


@_subcommand("MYID")
def _my_id(node: Node) -> Any:
    """Return the id of this node."""
    return node_id(node.host.name)
