"""What a system under test tells the harness, and how targets and workloads are found.

A target is a class with the methods of `Target`, made known by an entry point in the group
`harness.targets`, or given as `module:Class`.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import Any, Protocol, runtime_checkable

from harness.clients import Credentials, RedisConnection
from harness.environments.protocol import Environment
from harness.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class TargetOptions:
    """`binary`: the server to run. `options`: passed to the server as they are."""

    binary: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    credentials: Credentials = field(default_factory=Credentials)
    timeout_s: float = 1.0


class Target(Protocol):
    """The system under test, in an environment.

    `promises`: of {"replica-prefixes"}, what it says of its replicas, and "log": there is one that
    can be audited. `capabilities`: what faults may rely on, of {"log", "lease",
    "hand-over": a failover is performed by the primary itself}; `lease_ms`: of a
    primary, where there is a lease. `alarms`: texts that mean a crash when a node's log holds them.
    """

    name: str
    promises: frozenset[str]
    capabilities: frozenset[str]
    lease_ms: int
    alarms: Sequence[str]
    env: Environment

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

    async def primary(self) -> str | None: ...

    def tolerates(self, out: set[str], cut: set[tuple[str, str]]) -> bool:
        """Whether it survives, and can go on, with these processes out of action and these directed
        links cut."""
        ...

    def links(self, primary: str) -> set[tuple[str, str]]:
        """The directed links that are in use while a node is the primary."""
        ...

    def open_to(self, node: str, client_host: str, *, readonly: bool = False) -> RedisConnection:
        """`readonly`: for reads of whatever role the node has."""
        ...

    async def close(self) -> None:
        """What the target itself has open; its processes are the environment's to stop."""
        ...

    def describe(self) -> dict[str, Any]:
        """For the results: binary, version, options."""
        ...


@runtime_checkable
class Failover(Protocol):
    """An operator's failover: a capability of targets."""

    async def promote(self, node: str) -> dict[str, Any]:
        """Make a replica the primary without asking the old one; clients follow.

        Returns what was seen: the old primary, both replication offsets.
        """
        ...

    async def repoint(self, nodes: Sequence[str]) -> list[str]:
        """Make these nodes replicas of the present primary; returns those that were reached."""
        ...


@runtime_checkable
class Audited(Protocol):
    """A capability of targets that have a log."""

    async def audit(self) -> tuple[list[Any], dict[str, Any]]:
        """The effects in the log, [n, [words]] each, and what it and every node hold: `nodes`
        (digest of each), `replay` (of a replay of the log), `copies` (of each copy of the log, how
        many entries it was seen to hold), `compared` (how many were seen in more than one),
        `differing` (where two are not the same, in words), `entries`, `trimmed` (n of the last
        entry that no copy has kept), `snapshots` (of each, its digest and that of a replay up to
        its position); with `error` alone where that could not be found out."""
        ...


@runtime_checkable
class Readmits(Protocol):
    """A capability of targets that have a log. `azs`: its processes."""

    azs: Sequence[str]

    async def readmitted(self, process: str) -> bool:
        """Whether a process of the log that was wiped counts again."""
        ...


# By which a class given as module:Class is told from one of another kind.
_REQUIRED = {
    "target": ("promises", "start", "primary"),
    "workload": ("generator", "apply", "claims"),
    "model": ("init", "step"),
}


def load(group: str, name: str) -> Any:
    """The class behind a name in an entry point group, or behind `module:Class`.

    Raises `UsageError` that lists what there is.
    """
    found = {e.name: e for e in entry_points(group=group)}
    if name in found:
        return found[name].load()
    kind = group.rpartition(".")[2].removesuffix("s")
    if ":" in name:
        module, _, attribute = name.partition(":")
        if "" not in sys.path and os.getcwd() not in sys.path:
            sys.path.insert(0, os.getcwd())  # one's own target lies where one works
        try:
            made = getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError, ValueError) as e:
            raise UsageError(f"can't load the {kind} {name!r}: {e}") from e
        if not isinstance(made, type):
            raise UsageError(f"can't load the {kind} {name!r}: it is not a class")
        lacking = [each for each in _REQUIRED[kind] if not hasattr(made, each)]
        if lacking:
            raise UsageError(f"{name!r} is not a {kind}: it has no {', '.join(lacking)}")
        return made
    raise UsageError(
        f"unknown {kind} {name!r}; there are: {', '.join(sorted(found))}, or give module:Class"
    )


def names(group: str) -> list[str]:
    """What is registered in an entry point group."""
    return sorted({e.name for e in entry_points(group=group)})
