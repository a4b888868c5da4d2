"""The interface of a target, the system under test.

A target is a class that takes an `Environment` and `TargetOptions`, registered by an entry point in
the group `harness.targets`, or given as `module:Class`. Every target implements `Target`; optional
capabilities are protocols of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

from harness.clients import Credentials, RedisConnection
from harness.history.events import Digests, LogEntry
from harness.history.record import TargetInfo
from harness.topology import Topology

__all__ = [
    "Audited",
    "Digests",
    "Disturbance",
    "Doubting",
    "Failover",
    "HasLease",
    "HasLog",
    "LogEntry",
    "Target",
    "TargetInfo",
    "TargetOptions",
    "Volatile",
]

# What a fault disturbs, and a target or a workload depends on. `clock-rate`: the rate of monotonic
# clocks, which leases depend on; `wall-clock`: the time of day, which expiry depends on.
Disturbance = Literal["links", "processes", "disks", "roles", "clock-rate", "wall-clock"]


@dataclass(frozen=True, kw_only=True)
class TargetOptions:
    """`binary`: the server to run. `options`: passed to the server. `timeout_s`: per operation."""

    binary: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    credentials: Credentials = field(default_factory=Credentials)
    timeout_s: float = 1.0


@runtime_checkable
class Target(Protocol):
    """The system under test, in an environment.

    `promises`: its guarantees: "replica-prefixes", reads of each replica are growing prefixes;
    "fenced", a node that is not the primary refuses operations meant for it; and "log", its log can
    be audited. `depends_on`: the parts of the environment on which its correctness may depend;
    faults in other parts can't affect it. `alarms`: texts that indicate a crash if they are in the
    log of a process; `damage`: those that indicate that it found its data damaged, which only
    faults of disks explain. `clock_error_ms`: by how much the times of its nodes may be wrong when
    no fault changes their clocks.
    """

    name: str
    promises: frozenset[str]
    depends_on: frozenset[Disturbance]
    alarms: Sequence[str]
    damage: Sequence[str]
    clock_error_ms: int

    async def start(self) -> None:
        """Start every node and wait until the target serves; raises `UsageError` when a node
        refuses its options, `EnvironmentFailed` when it does not come up."""
        ...

    async def restart(self, node: str) -> None:
        """Start a node that is dead, in the role that it should have now."""
        ...

    async def settle(self, timeout_s: float) -> None:
        """Wait until every node is up and linked; raises `EnvironmentFailed`."""
        ...

    def topology(self) -> Topology:
        """Return the shards as they are now, as far as it is known; before `start`, without
        primaries."""
        ...

    def tolerates(self, out: set[str], cut: set[tuple[str, str]]) -> bool:
        """Return whether it keeps its data, and can continue, while these processes are out of
        action and these directed links are cut."""
        ...

    def links(self, topology: Topology) -> set[tuple[str, str]]:
        """Return the directed links that are in use with such a topology."""
        ...

    def open_to(self, node: str, client_host: str, *, readonly: bool = False) -> RedisConnection:
        """Return a new connection to a node. `readonly`: for reads, whatever role it has."""
        ...

    async def close(self) -> None:
        """Close what the target itself has opened. The environment stops the processes."""
        ...

    def describe(self) -> TargetInfo:
        """Return the description of the target for the results."""
        ...


@runtime_checkable
class Failover(Target, Protocol):
    """A target with an operator's failover. `hands_over`: the primary itself performs it."""

    hands_over: bool

    async def promote(self, node: str) -> dict[str, Any]:
        """Make a replica the primary of its shard without asking the old one; clients follow.

        Return what was observed: `old` and `new` primary, `old_offset`, `new_offset`.
        """
        ...

    async def repoint(self, nodes: Sequence[str]) -> list[str]:
        """Make these nodes replicas of the present primary of their shard; return those that were
        reached."""
        ...


@runtime_checkable
class Doubting(Target, Protocol):
    """A target that may notice reasons why no run against it can be valid."""

    async def doubts(self) -> list[str]:
        """Return the reasons, in words; called at the end of a run."""
        ...


@runtime_checkable
class Volatile(Target, Protocol):
    """A target that may run without persistence. `volatile`: that it does, and what to give
    instead, in words; None if it keeps its data when its processes end."""

    @property
    def volatile(self) -> str | None: ...


@runtime_checkable
class HasLease(Target, Protocol):
    """A target whose primary serves while it has a lease. `lease_ms`: how long one lasts."""

    lease_ms: int


@runtime_checkable
class HasLog(Target, Protocol):
    """A target with a replicated log of its own. `azs`: its processes."""

    azs: Sequence[str]

    async def readmitted(self, process: str) -> bool:
        """Return whether a process of the log that was wiped is a voting member again."""
        ...


@runtime_checkable
class Audited(Target, Protocol):
    """A target whose log can be read from outside."""

    async def audit(self) -> tuple[list[LogEntry], Digests]:
        """Return the entries of the log, and digests of nodes, copies and snapshots, after the last
        write; `Digests.error` is set if the log could not be read."""
        ...
