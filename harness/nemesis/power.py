"""Power loss, in a simulation: what was not synced is gone, and nobody is told."""

from __future__ import annotations

from typing import Any

from harness.environments.protocol import Machines
from harness.errors import EnvironmentFailed
from harness.nemesis.faults import System


class PowerLoss:
    """The host of a node loses power; healing switches it on again."""

    name = "power"
    rank = 1
    min_nodes = 1
    needs = frozenset({"power"})

    def __init__(self) -> None:
        self._nodes: list[str] = []

    async def draw(self, system: System) -> list[str]:
        node = await system.draw_node()
        hosts = [h for h in system.hosts if system.tolerated(system.on(h))]
        if node in hosts:
            return [node]
        return [system.rng.choice(hosts)] if hosts else []

    async def inject(self, system: System, /) -> dict[str, Any]:
        machines = system.env
        assert isinstance(machines, Machines)
        hosts = await self.draw(system)
        if not hosts:
            return {"skipped": "no host is up, or none that may be lost"}
        nodes = [p for host in hosts for p in system.on(host)]
        primary = await system.primary()
        # A node that another fault has killed loses power too, and is that fault's to start.
        self._nodes = [n for n in nodes if n not in system.down]
        system.down.update(nodes)
        machines.power_off(hosts)
        return {"nodes": nodes, "was_primary": primary in nodes}

    async def heal(self, system: System, /) -> dict[str, Any]:
        nodes = list(self._nodes)
        effective = bool(nodes) and all(system.env.state(n) == "dead" for n in nodes)
        failed: EnvironmentFailed | None = None
        for node in nodes:
            try:
                await system.target.restart(node)
            except EnvironmentFailed as e:
                failed = e
            if system.env.state(node) != "dead":
                self._nodes.remove(node)
                system.down.discard(node)
        if failed is not None:
            raise failed
        return {"effective": effective, "nodes": nodes}


class PowerLossOfAll(PowerLoss):
    """All hosts lose power at once."""

    name = "power-all"

    async def draw(self, system: System) -> list[str]:
        return system.hosts
