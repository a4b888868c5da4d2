"""INFO."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from targets.memorydb_py.node.server import Node

COMPATIBLE_WITH = "7.0.15"
VERSION = "0.1.0"


def information(node: Node, sections: Sequence[str]) -> str:
    """The sections that are asked for; all without any."""
    everything = not sections or set(sections) & {"all", "everything", "default"}
    parts = []
    for name, lines in _SECTIONS.items():
        if everything or name in sections:
            told = [f"{key}:{value}" for key, value in lines(node).items()]
            parts.append("\r\n".join([f"# {name.capitalize()}", *told, ""]))
    return "\r\n".join(parts)


def _server(node: Node) -> dict[str, Any]:
    return {
        "redis_version": COMPATIBLE_WITH,
        "memorydb_py_version": VERSION,
        "redis_mode": "cluster",
        "process_id": os.getpid(),
        "tcp_port": node.place.nodes.get(node.host.name, ("", 0))[1],
    }


def _clients(node: Node) -> dict[str, Any]:
    sessions = node.sessions.values()
    return {
        "connected_clients": len(node.sessions),
        "blocked_clients": sum(s.blocked for s in sessions),
        "parked_replies": node.parked,
    }


def _stats(node: Node) -> dict[str, Any]:
    return {
        "total_connections_received": node.accepted,
        "total_commands_processed": node.executed,
    }


def _replication(node: Node) -> dict[str, Any]:
    shard = node.shard
    told: dict[str, Any] = {"role": "master" if node.serving else "slave"}
    if node.serving:
        told["connected_slaves"] = len(node.positions)
        for i, (name, n) in enumerate(sorted(node.positions.items())):
            host, port = node.place.nodes.get(name, ("", 0))
            told[f"slave{i}"] = f"ip={host},port={port},state=online,offset={n},lag=0"
    else:
        host, port = node.place.nodes.get(shard.leader or "", ("", 0))
        told |= {
            "master_host": host,
            "master_port": port,
            "master_link_status": "up" if shard.ready else "down",
            "slave_read_only": 1,
        }
    return told | {
        "master_repl_offset": shard.applied.n,
        "log_epoch": shard.applied.epoch,
        "log_committed": shard.tracker.committed,
        "log_waiting": shard.tracker.waiting,
    }


def _cluster(node: Node) -> dict[str, Any]:
    return {"cluster_enabled": 1}


def _keyspace(node: Node) -> dict[str, Any]:
    state = node.shard.state
    if not state.values:
        return {}
    return {"db0": f"keys={len(state.values)},expires={len(state.expires)},avg_ttl=0"}


_SECTIONS: dict[str, Callable[[Node], dict[str, Any]]] = {
    "server": _server,
    "clients": _clients,
    "stats": _stats,
    "replication": _replication,
    "cluster": _cluster,
    "keyspace": _keyspace,
}
