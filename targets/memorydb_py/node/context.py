"""What a node knows of its surroundings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from harness.host import Address
from targets.memorydb_py.snapshots.objects import ObjectStore


@dataclass(frozen=True)
class Usage:
    """What a process uses: bytes of memory, now and at most, and seconds of processors."""

    process_id: int = 0
    memory: int = 0
    memory_peak: int = 0
    user_s: float = 0.0
    system_s: float = 0.0


@dataclass(frozen=True, kw_only=True)
class NodeContext:
    """`nodes`: the addresses of the shard's nodes, as clients reach them. `objects`: the store of
    snapshots, if there is one. `usage`: asks the operating system, where there is one."""

    nodes: Mapping[str, Address]
    objects: ObjectStore | None = None
    usage: Callable[[], Usage] = Usage
