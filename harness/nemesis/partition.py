"""Network partitions."""

from __future__ import annotations

from typing import Any

from harness.environments.protocol import Grudge
from harness.errors import EnvironmentFailed
from harness.nemesis import grudges
from harness.nemesis.faults import System

# With how many nodes each kind begins to cut anything.
KINDS = {
    "one": 2, "primary": 2, "halves": 2, "minority": 2, "ring": 4, "bridge": 3, "one-way": 2,
    "client": 1,
}  # fmt: skip
# Of targets that have processes beside their nodes: a log. The primary is cut off from it; what it
# answers is held; one of its processes is cut off from all others.
OF_THE_LOG = ("log", "acks", "az")


class Partition:
    """Cuts links so that bytes are held while connections stay open. Without a kind, each time
    a kind is drawn. A grudge that would cut no link in use is drawn again."""

    rank = 0

    def __init__(self, kind: str | None = None) -> None:
        self.name = "partition" if kind is None else f"partition-{kind}"
        self.needs = frozenset({"network", "log"} if kind in OF_THE_LOG else {"network"})
        self._kind = kind
        self.min_nodes = 1 if kind is None else KINDS.get(kind, 1)
        self._before: dict[tuple[str, str], dict[str, int]] = {}

    async def inject(self, system: System, /) -> dict[str, Any]:
        primary = await system.primary()
        for _ in range(50):
            kind = self._kind or system.rng.choice(self._kinds(system))
            grudge = self._draw(system, kind, primary)
            joined = grudges.join([*system.grudges.values(), grudge])
            if self._cuts_something(system, kind, grudge, primary) and system.tolerated((), joined):
                break
        else:
            raise EnvironmentFailed(
                f"{self.name}: cuts no link in use among {len(system.env.nodes)} nodes, or more "
                "than the target survives"
            )
        self._before = await system.env.network.stats()
        system.grudges[self.name] = grudge
        await system.env.network.apply(system.grudge())
        return {"kind": kind, "primary": primary, "grudge": grudges.as_json(grudge)}

    @staticmethod
    def _kinds(system: System) -> list[str]:
        """Those that cut something here; with a failover, between nodes."""
        count = len(system.hosts)
        separate = "failover" in system.together and count > 1
        kinds = [k for k, least in KINDS.items()
                 if least <= count and not (separate and k == "client")]  # fmt: skip
        return [*kinds, *OF_THE_LOG] if system.azs else kinds

    @staticmethod
    def _draw(system: System, kind: str, primary: str) -> Grudge:
        """Hosts are cut off with everything on them."""
        hosts, rng, processes = system.hosts, system.rng, system.env.processes
        others = [h for h in hosts if h != primary]
        match kind:
            case "one":
                drawn = grudges.one_host(hosts, rng.choice(hosts))
            case "primary":
                drawn = grudges.one_host(hosts, primary)
            case "halves":
                drawn = grudges.halves(hosts, rng)
            case "minority":
                drawn = grudges.minority(hosts, rng)
            case "ring":
                drawn = grudges.majorities_ring(hosts, rng)
            case "bridge":
                drawn = grudges.bridge(hosts, rng)
            case "one-way":
                if rng.random() < 0.5:
                    drawn = grudges.one_way([primary], others)
                else:
                    drawn = grudges.one_way(others, [primary])
            case "log":
                return grudges.split([primary], system.azs)
            case "acks":
                return grudges.one_way(system.azs, [primary])
            case "az":
                az = rng.choice(system.azs)
                return grudges.split([az], [p for p in processes if p != az])
            case _:
                clients = system.env.client_hosts
                some = rng.sample(list(clients), rng.randint(1, max(1, len(clients) - 1)))
                return grudges.split(some, [primary])
        return grudges.expand(drawn, processes)

    @staticmethod
    def _cuts_something(system: System, kind: str, grudge: Grudge, primary: str) -> bool:
        """A partition of links that nobody uses would be none. With an operator's failover in the
        same cycle, the primary's stream to some replica must be cut."""
        cut = grudges.flows(grudge)
        if "failover" in system.together and kind != "client" and not system.azs:
            return any((primary, n) in cut for n in system.env.nodes)
        return bool(cut & system.target.links(primary))

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
