"""The links of a process, and their counters."""

from __future__ import annotations

from typing import Any

from harness.environments.protocol import CanPartition
from harness.nemesis.system import System


def of(system: System[Any, Any], process: str) -> list[tuple[str, str]]:
    """Return the directed pairs (from, to) of a process and each other one, both ways."""
    everyone = (*system.env.processes, *system.env.client_hosts)
    others = [n for n in everyone if n != process]
    return [pair for other in others for pair in ((process, other), (other, process))]


async def count(system: System[CanPartition, Any], process: str, what: str) -> int:
    """Return the sum of a counter, such as `delayed`, over the links of a process."""
    stats = await system.env.network.stats()
    return sum(stats[pair][what] for pair in of(system, process) if pair in stats)
