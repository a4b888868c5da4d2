"""CLUSTER: what cluster clients ask to find their way, for a shard that holds every slot."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from targets.engine import integer
from targets.engine.execution import printable, wrong_number
from targets.engine.resp import Command, Error, Map
from targets.memorydb_py.node.slots import SLOTS, slot_of

if TYPE_CHECKING:
    from targets.memorydb_py.node.server import Node


def node_id(name: str) -> bytes:
    """40 digits, the same in every life of a node."""
    return hashlib.sha1(f"memorydb_py/{name}".encode()).hexdigest().encode()


def answer(node: Node, command: Command) -> Any:
    """The reply to CLUSTER …; raises `Error`."""
    what = command[1].upper()
    simple = {
        b"SLOTS": _slots, b"SHARDS": _shards, b"NODES": _nodes, b"INFO": _info, b"MYID": _my_id,
    }  # fmt: skip
    if what in simple:
        if len(command) != 2:
            raise wrong_number(f"cluster|{printable(what)}")
        return simple[what](node)
    if what == b"KEYSLOT":
        if len(command) != 3:
            raise wrong_number("cluster|keyslot")
        return slot_of(command[2])
    if what == b"COUNTKEYSINSLOT" and len(command) == 3:
        slot = _slot(command[2])
        return sum(slot_of(key) == slot for key in node.shard.state.values)
    if what == b"GETKEYSINSLOT" and len(command) == 4:
        slot, most = _slot(command[2]), integer(command[3])
        return [key for key in node.shard.state.values if slot_of(key) == slot][: max(0, most)]
    raise Error(f"ERR unknown subcommand '{printable(command[1])}'. Try CLUSTER HELP.")


def _slot(word: bytes) -> int:
    slot = integer(word, "ERR Invalid or out of range slot")
    if not 0 <= slot < SLOTS:
        raise Error("ERR Invalid slot")
    return slot


def _leader(node: Node) -> str | None:
    """Who leads, as far as this node knows."""
    if node.serving:
        return node.host.name
    return node.shard.leader if node.shard.knows_leader() else None


def _members(node: Node) -> list[str]:
    """The leader first."""
    leader = _leader(node)
    return sorted(node.place.nodes, key=lambda name: (name != leader, name))


def _slots(node: Node) -> Any:
    if _leader(node) is None:
        return []
    places = []
    for name in _members(node):
        host, port = node.place.nodes[name]
        places.append([host.encode(), port, node_id(name), []])
    return [[0, SLOTS - 1, *places]]


def _shards(node: Node) -> Any:
    leader = _leader(node)
    nodes = []
    for name in _members(node):
        host, port = node.place.nodes[name]
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


def _nodes(node: Node) -> Any:
    leader = _leader(node)
    epoch = node.shard.applied.epoch
    lines = []
    for name in sorted(node.place.nodes):
        host, port = node.place.nodes[name]
        flags = "master" if name == leader else "slave"
        flags = f"myself,{flags}" if name == node.host.name else flags
        of = "-" if name == leader or leader is None else node_id(leader).decode()
        slots = f" 0-{SLOTS - 1}" if name == leader else ""
        lines.append(
            f"{node_id(name).decode()} {host}:{port}@{port} {flags} {of} 0 0 {epoch} connected"
            f"{slots}\n"
        )
    return "".join(lines).encode()


def _info(node: Node) -> Any:
    up = _leader(node) is not None
    told = {
        "cluster_state": "ok" if up else "fail",
        "cluster_slots_assigned": SLOTS,
        "cluster_slots_ok": SLOTS if up else 0,
        "cluster_slots_pfail": 0,
        "cluster_slots_fail": 0 if up else SLOTS,
        "cluster_known_nodes": len(node.place.nodes),
        "cluster_size": 1,
        "cluster_current_epoch": node.shard.applied.epoch,
        "cluster_my_epoch": node.shard.applied.epoch,
    }
    return "".join(f"{key}:{value}\r\n" for key, value in told.items()).encode()


def _my_id(node: Node) -> Any:
    return node_id(node.host.name)
