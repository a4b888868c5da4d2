"""The environment of a node: addresses, the object store, resource usage."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from harness.host import Address
from targets.memorydb_py.snapshots.objects import ObjectStore


@dataclass(frozen=True)
class Usage:
    """The resource usage of a process: bytes of memory, now and at its peak, and CPU seconds."""

    process_id: int = 0
    memory: int = 0
    memory_peak: int = 0
    user_s: float = 0.0
    system_s: float = 0.0


@dataclass(frozen=True, kw_only=True)
class NodeContext:
    """What a process provides to its node. `nodes`: the addresses of the shard's nodes, as clients
    reach them. `objects`: the store of snapshots, or None. `usage`: returns the resource usage of
    the process, by default zeros."""

    nodes: Mapping[str, Address]
    objects: ObjectStore | None = None
    usage: Callable[[], Usage] = Usage
