"""Links that carry everything, but badly."""

from __future__ import annotations

from typing import Any

from harness.environments.protocol import Machines
from harness.nemesis.faults import System

DELAY_MS = 100
LOSS_PERCENT = 20


class BadLinks:
    """What the two have in common: the links of a node are made worse, and mended. `measured`:
    what the network counts of it."""

    rank = 0
    min_nodes = 1
    measured: str

    def __init__(self) -> None:
        self._node: str | None = None
        self._before = 0

    async def inject(self, system: System, /) -> dict[str, Any]:
        self._node = await system.draw_process() or system.env.nodes[0]
        self._before = await self._count(system, self._node)
        return {"node": self._node, **await self.worsen(system, self._node)}

    async def worsen(self, system: System, node: str) -> dict[str, Any]:
        """Returns how."""
        raise NotImplementedError

    async def mend(self, system: System, node: str) -> None:
        raise NotImplementedError

    async def heal(self, system: System, /) -> dict[str, Any]:
        if self._node is None:
            return {"effective": False}
        node, self._node = self._node, None
        affected = await self._count(system, node) - self._before
        await self.mend(system, node)
        return {"effective": affected > 0, "node": node, self.measured: affected}

    @staticmethod
    def links(system: System, node: str) -> list[tuple[str, str]]:
        """Every directed pair with this node."""
        others = [n for n in (*system.env.processes, *system.env.client_hosts) if n != node]
        return [pair for other in others for pair in ((node, other), (other, node))]

    async def _count(self, system: System, node: str) -> int:
        stats = await system.env.network.stats()
        pairs = self.links(system, node)
        return sum(stats[pair][self.measured] for pair in pairs if pair in stats)


class SlowLinks(BadLinks):
    """All links of a node are slow, with jitter."""

    name = "slow"
    needs = frozenset({"slow"})
    measured = "delayed"  # bytes

    async def worsen(self, system: System, node: str) -> dict[str, Any]:
        least = min(10, system.scaled(DELAY_MS))
        delay_ms = system.rng.randint(least, system.scaled(DELAY_MS))
        await self._shape(system, node, delay_ms / 1000)
        return {"delay_ms": delay_ms}

    async def mend(self, system: System, node: str) -> None:
        await self._shape(system, node, 0.0)

    async def _shape(self, system: System, node: str, delay_s: float) -> None:
        for source, sink in self.links(system, node):
            await system.env.network.shape(source, sink, delay_s=delay_s, jitter_s=delay_s / 4)


class LossyLinks(BadLinks):
    """All links of a node lose segments, which TCP sends again, later and later."""

    name = "lossy"
    needs = frozenset({"loss"})
    measured = "lost"  # segments

    async def worsen(self, system: System, node: str) -> dict[str, Any]:
        percent = system.rng.randint(1, min(80, system.scaled(LOSS_PERCENT)))
        self._lose(system, node, percent / 100)
        return {"percent": percent}

    async def mend(self, system: System, node: str) -> None:
        self._lose(system, node, 0.0)

    def _lose(self, system: System, node: str, share: float) -> None:
        machines = system.env
        assert isinstance(machines, Machines)
        for source, sink in self.links(system, node):
            machines.lose(source, sink, share)
