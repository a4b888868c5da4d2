"""INFO: the state and the statistics of a node."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from targets.engine.resp import Command
from targets.memorydb_py.node.commands.table import Commands
from targets.memorydb_py.node.connection import Connection
from targets.memorydb_py.node.node import Node

COMMANDS: Commands = Commands()

COMPATIBLE_WITH = "7.0.15"
VERSION = "0.1.0"


def information(node: Node, sections: Sequence[str]) -> str:
    """Return the text of these sections of INFO, or of all if none is given."""
    everything = not sections or set(sections) & {"all", "everything", "default"}
    parts = []
    for name, lines in _SECTIONS.items():
        if everything or name in sections:
            fields = [f"{key}:{value}" for key, value in lines(node).items()]
            parts.append("\r\n".join([f"# {name.capitalize()}", *fields, ""]))
    return "\r\n".join(parts)


def _server(node: Node) -> dict[str, Any]:
    up_s = int(asyncio.get_running_loop().time() - node.since)
    return {
        "redis_version": COMPATIBLE_WITH,
        "memorydb_py_version": VERSION,
        "engine_version": node.settings.engine_version,
        "redis_mode": "cluster",
        "arch_bits": 64,
        "process_id": node.context.usage().process_id,
        "tcp_port": node.context.nodes.get(node.host.name, ("", 0))[1],
        "server_time_usec": node.host.wall_ns() // 1000,
        "uptime_in_seconds": up_s,
        "uptime_in_days": up_s // 86400,
    }


def _clients(node: Node) -> dict[str, Any]:
    sessions = node.sessions.values()
    return {
        "connected_clients": len(node.sessions),
        "blocked_clients": sum(s.blocked for s in sessions),
        "pubsub_clients": sum(bool(s.subscriptions) for s in sessions),
        "parked_replies": node.parked,
    }


def _memory(node: Node) -> dict[str, Any]:
    """Return the memory of the whole process: that of the data alone is not known."""
    usage = node.context.usage()
    return {
        "used_memory": usage.memory,
        "used_memory_human": _human(usage.memory),
        "used_memory_rss": usage.memory,
        "used_memory_peak": usage.memory_peak,
        "used_memory_peak_human": _human(usage.memory_peak),
        "maxmemory": 0,
        "maxmemory_policy": "noeviction",
    }


def _human(size: int) -> str:
    value = float(size)
    for unit in "BKMG":
        if value < 1024 or unit == "G":
            break
        value /= 1024
    return f"{value:.2f}{unit}"


def _persistence(node: Node) -> dict[str, Any]:
    """Return the fields of RDB and AOF persistence, which the node does not use."""
    return {
        "loading": int(node.shard.role == "replica" and not node.shard.ready),
        "async_loading": 0,
        "rdb_changes_since_last_save": 0,
        "rdb_bgsave_in_progress": 0,
        "aof_enabled": 0,
        "aof_rewrite_in_progress": 0,
    }


def _stats(node: Node) -> dict[str, Any]:
    counted, listeners = node.statistics, node.channels.listeners
    return {
        "total_connections_received": counted.connections,
        "total_commands_processed": counted.commands,
        "instantaneous_ops_per_sec": counted.commands_per_second,
        "total_net_input_bytes": counted.input_bytes,
        "total_net_output_bytes": counted.output_bytes,
        "rejected_connections": 0,
        "expired_keys": counted.expired,
        "evicted_keys": 0,
        "keyspace_hits": counted.hits,
        "keyspace_misses": counted.misses,
        "pubsub_channels": len(listeners[b""]),
        "pubsub_patterns": len(listeners[b"p"]),
        "pubsubshard_channels": len(listeners[b"s"]),
        "latest_fork_usec": 0,
        "total_error_replies": sum(counted.errors.values()),
    }


def _cpu(node: Node) -> dict[str, Any]:
    usage = node.context.usage()
    return {"used_cpu_sys": f"{usage.system_s:.6f}", "used_cpu_user": f"{usage.user_s:.6f}"}


def _errorstats(node: Node) -> dict[str, Any]:
    counted = sorted(node.statistics.errors.items())
    return {f"errorstat_{word}": f"count={count}" for word, count in counted}


def _replication(node: Node) -> dict[str, Any]:
    shard = node.shard
    fields: dict[str, Any] = {"role": "master" if node.serving else "slave"}
    if node.serving:
        fields["connected_slaves"] = len(node.waits.positions)
        for i, (name, n) in enumerate(sorted(node.waits.positions.items())):
            host, port = node.context.nodes.get(name, ("", 0))
            fields[f"slave{i}"] = f"ip={host},port={port},state=online,offset={n},lag=0"
    else:
        host, port = node.context.nodes.get(shard.leader or "", ("", 0))
        fields |= {
            "master_host": host,
            "master_port": port,
            "master_link_status": "up" if shard.ready else "down",
            "slave_read_only": 1,
        }
    return fields | {
        "master_repl_offset": shard.applied.n,
        "log_epoch": shard.applied.epoch,
        "log_committed": shard.tracker.committed,
        "log_waiting": shard.tracker.waiting,
    }


def _cluster(node: Node) -> dict[str, Any]:
    return {"cluster_enabled": 1}


def _keyspace(node: Node) -> dict[str, Any]:
    keys = node.engine.keys
    if not len(keys):
        return {}
    return {"db0": f"keys={len(keys)},expires={keys.expiring},avg_ttl=0"}


_SECTIONS: dict[str, Callable[[Node], dict[str, Any]]] = {
    "server": _server,
    "clients": _clients,
    "memory": _memory,
    "persistence": _persistence,
    "stats": _stats,
    "replication": _replication,
    "cpu": _cpu,
    "modules": lambda node: {},
    "errorstats": _errorstats,
    "cluster": _cluster,
    "keyspace": _keyspace,
}


@COMMANDS.command("INFO", -1, "loading stale")
def _info(node: Node, session: Connection, command: Command) -> None:
    sections = [w.decode("latin-1").lower() for w in command[1:]]
    session.reply(information(node, sections).encode())
