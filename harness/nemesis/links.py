"""The links of a process, and what the network has counted of them."""

from __future__ import annotations

from typing import Any

from harness.environments.protocol import CanPartition
from harness.nemesis.system import System


def of(system: System[Any, Any], process: str) -> list[tuple[str, str]]:
    """Every directed pair with this process."""
    everyone = (*system.env.processes, *system.env.client_hosts)
    others = [n for n in everyone if n != process]
    return [pair for other in others for pair in ((process, other), (other, process))]


async def count(system: System[CanPartition, Any], process: str, what: str) -> int:
    """The sum of a count, such as `delayed`, over the links of a process."""
    stats = await system.env.network.stats()
    return sum(stats[pair][what] for pair in of(system, process) if pair in stats)
