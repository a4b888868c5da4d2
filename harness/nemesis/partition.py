"""Network partitions."""

from __future__ import annotations

from typing import Any

from harness.environments.base import Grudge
from harness.errors import EnvironmentFailed
from harness.nemesis import grudges
from harness.nemesis.faults import System

# With how many nodes each kind begins to cut anything.
KINDS = {
    "one": 2, "primary": 2, "halves": 2, "minority": 2, "ring": 4, "bridge": 3, "one-way": 2,
    "client": 1,
}  # fmt: skip


class Partition:
    """Cuts links so that bytes are held while connections stay open. Without a kind, each time
    a kind is drawn. A grudge that would cut no link in use is drawn again."""

    rank = 0
    needs = frozenset({"network"})

    def __init__(self, kind: str | None = None) -> None:
        self.name = "partition" if kind is None else f"partition-{kind}"
        self._kind = kind
        self.min_nodes = 1 if kind is None else KINDS[kind]
        self._before: dict[tuple[str, str], dict[str, int]] = {}

    async def inject(self, system: System, /) -> dict[str, Any]:
        primary = await system.primary()
        for _ in range(50):
            kind = self._kind or system.rng.choice(self._kinds(system))
            grudge = self._draw(system, kind, primary)
            if self._cuts_something(system, kind, grudge, primary):
                break
        else:
            raise EnvironmentFailed(
                f"{self.name}: cuts no link in use among {len(system.env.nodes)} nodes"
            )
        self._before = await system.env.network.stats()
        system.grudges[self.name] = grudge
        await system.env.network.apply(system.grudge())
        return {"kind": kind, "primary": primary, "grudge": grudges.as_json(grudge)}

    @staticmethod
    def _kinds(system: System) -> list[str]:
        """Those that cut something here; with a failover, between nodes."""
        count = len(system.env.nodes)
        separate = "failover" in system.together and count > 1
        return [k for k, least in KINDS.items()
                if least <= count and not (separate and k == "client")]  # fmt: skip

    @staticmethod
    def _draw(system: System, kind: str, primary: str) -> Grudge:
        nodes, rng = system.env.nodes, system.rng
        others = [n for n in nodes if n != primary]
        match kind:
            case "one":
                return grudges.one_host(nodes, rng.choice(nodes))
            case "primary":
                return grudges.one_host(nodes, primary)
            case "halves":
                return grudges.halves(nodes, rng)
            case "minority":
                return grudges.minority(nodes, rng)
            case "ring":
                return grudges.majorities_ring(nodes, rng)
            case "bridge":
                return grudges.bridge(nodes, rng)
            case "one-way":
                if rng.random() < 0.5:
                    return grudges.one_way([primary], others)
                return grudges.one_way(others, [primary])
            case _:
                hosts = system.env.client_hosts
                some = rng.sample(list(hosts), rng.randint(1, max(1, len(hosts) - 1)))
                return grudges.split(some, [primary])

    @staticmethod
    def _cuts_something(system: System, kind: str, grudge: Grudge, primary: str) -> bool:
        """Links in use run between the primary and its replicas, and clients and the primary.

        With a failover in the same cycle, the primary's stream to some replica must be cut.
        """
        cut = grudges.flows(grudge)
        if "failover" in system.together and kind != "client":
            return any((primary, n) in cut for n in system.env.nodes)
        return any(primary in pair for pair in cut)

    async def heal(self, system: System, /) -> dict[str, Any]:
        after = await system.env.network.stats()
        held = {
            pair: stats["held_total"] - self._before.get(pair, {}).get("held_total", 0)
            for pair, stats in after.items()
        }
        mine = grudges.flows(system.grudges.pop(self.name, {}))
        held = {pair: n for pair, n in held.items() if pair in mine}
        total = sum(held.values())
        await system.env.network.apply(system.grudge())
        return {
            "effective": total > 0,
            "bytes_held": total,
            "by_link": {f"{a}>{b}": n for (a, b), n in sorted(held.items()) if n > 0},
        }
