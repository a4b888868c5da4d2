"""Network partitions: cut links hold their bytes while connections stay open.

A grudge is drawn among roles (`primary`; `replica 1`, the first of the other nodes) and names of
hosts, processes of the log and client hosts. Roles are resolved when it is injected, and a host is
cut off with all processes on it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, Literal, TypedDict

from msgspec import Meta

from harness.environments.protocol import CanPartition, Environment, Grudge
from harness.errors import UsageError
from harness.nemesis import grudges, victims
from harness.nemesis.availability import lacking
from harness.nemesis.protocol import (
    Arguments,
    DrawContext,
    Effect,
    Layer,
    NoPrimary,
    Skipped,
    Traits,
    rolled_back_on_failure,
)
from harness.nemesis.slow import CUTS
from harness.nemesis.system import System
from harness.nemesis.wipe import LOG
from harness.targets import Target
from harness.topology import Shard, Topology

TRIES = 50  # attempts to draw a grudge that cuts a link in use and is tolerated by the target
Draw = Callable[[list[str], System[Any, Any], random.Random], Grudge]


def _one_way(hosts: list[str], system: System[Any, Any], rng: random.Random) -> Grudge:
    primary, *others = hosts
    if rng.random() < 0.5:
        return grudges.one_way([primary], others)
    return grudges.one_way(others, [primary])


def _clients(hosts: list[str], system: System[Any, Any], rng: random.Random) -> Grudge:
    clients = list(system.env.client_hosts)
    some = rng.sample(clients, rng.randint(1, max(1, len(clients) - 1)))
    return grudges.split(some, hosts[:1])


def _az(hosts: list[str], system: System[Any, Any], rng: random.Random) -> Grudge:
    az = rng.choice(system.azs)
    return grudges.split([az], [p for p in system.env.processes if p != az])


# By kind: the least number of hosts, and the function that draws a grudge among them.
KINDS: Mapping[str, tuple[int, Draw]] = {
    "one": (2, lambda hosts, system, rng: grudges.one_host(hosts, rng.choice(hosts))),
    "primary": (2, lambda hosts, system, rng: grudges.one_host(hosts, hosts[0])),
    "halves": (2, lambda hosts, system, rng: grudges.halves(hosts, rng)),
    "minority": (2, lambda hosts, system, rng: grudges.minority(hosts, rng)),
    "ring": (4, lambda hosts, system, rng: grudges.majorities_ring(hosts, rng)),
    "bridge": (3, lambda hosts, system, rng: grudges.bridge(hosts, rng)),
    "one-way": (2, _one_way),
    "client": (1, _clients),
}
LOG_KINDS: Mapping[str, Draw] = {
    "log": lambda hosts, system, rng: grudges.split(hosts[:1], system.azs),
    "acks": lambda hosts, system, rng: grudges.one_way(system.azs, hosts[:1]),
    "az": _az,
}
WITHIN_A_HOST = frozenset(LOG_KINDS)  # kinds that cut single processes, not hosts
DRAWN = Traits(layer=Layer.LINKS, disturbs=frozenset({"links"}))
NAMED = Traits(layer=Layer.LINKS, disturbs=frozenset({"links"}), in_all=False)


def check_grudge(grudge: dict[str, list[str]], system: System[Any, Any]) -> None:
    """Raise `UsageError` for names that are neither a host, a process nor a role of a node."""
    shards = system.target.topology().shards
    roles = [role for shard in shards for role in _names(shard, of_several=len(shards) > 1)]
    known = (*roles, *system.hosts, *system.env.processes, *system.env.client_hosts)
    for sink, sources in grudge.items():
        for name in (sink, *sources):
            if name not in known:
                raise UsageError(
                    f"{name!r} is neither a host nor a role: give one of "
                    f"{', '.join(dict.fromkeys(known))}"
                )


class Grudges(TypedDict):
    """Arguments of a partition. `kind`: those of `LOG_KINDS` have a grudge among processes, the
    others among hosts. `grudge`: {name: names whose packets it drops}."""

    kind: Literal[
        "one", "primary", "halves", "minority", "ring", "bridge", "one-way", "client", "log",
        "acks", "az",
    ]  # fmt: skip
    grudge: Annotated[dict[str, list[str]], Meta(extra={"check": check_grudge})]


class Partition:
    """A partition of a random kind."""

    name = "partition"
    traits = DRAWN
    takes = Grudges
    kind: ClassVar[str | None] = None

    def available(self, target: Target, env: Environment) -> str | None:
        kind = self.kind or ""
        return lacking(
            target, env, environment=CUTS,
            capability=LOG if kind in LOG_KINDS else None,
            nodes=KINDS[kind][0] if kind in KINDS else 1,
        )  # fmt: skip

    def draw(self, chance: DrawContext, system: System[CanPartition, Target]) -> Arguments:
        """Draw a grudge that cuts a link in use, and that the target tolerates, whichever node is
        the primary when it is injected. Raises `UsageError` if there is none."""
        kinds = [self.kind] if self.kind is not None else _kinds(chance, system)
        topology = system.target.topology()
        hosts = _roles(system, victims.draw_shard(chance.rng, topology)[0])
        for _ in range(TRIES):
            kind = chance.rng.choice(kinds)
            draw = LOG_KINDS[kind] if kind in LOG_KINDS else KINDS[kind][1]
            grudge = draw(hosts, system, chance.rng)
            assumed = [topology.with_primary(node) for node in system.env.nodes]
            if all(_fits(system, kind, grudge, each, chance) for each in assumed):
                return {"kind": kind, "grudge": grudges.as_json(grudge)}
        raise UsageError(
            f"--nemesis {self.name}: among {len(system.env.nodes)} nodes it does not cut a link in "
            "use, or cuts more than the target tolerates"
        )

    async def inject(self, system: System[CanPartition, Target], arguments: Arguments) -> Cut:
        topology, kind = system.target.topology(), arguments["kind"]
        grudge = _resolved(system, kind, grudges.from_json(arguments["grudge"]), topology)
        if not grudges.flows(grudge) & system.target.links(topology):
            raise Skipped("it would not cut a link that is in use")
        if not system.tolerated((), grudges.join([*system.grudges.values(), grudge])):
            raise Skipped("together with the active faults it is more than the target tolerates")
        before = await system.env.network.stats()
        did = {"kind": kind, "primaries": topology.primaries, "grudge": grudges.as_json(grudge)}
        cut = Cut(system, system.hold(grudge), grudge, before, did)
        async with rolled_back_on_failure(cut):
            await system.env.network.apply(system.grudge())
        return cut


class Cut:
    def __init__(
        self,
        system: System[CanPartition, Target],
        number: int,
        grudge: Grudge,
        before: dict[tuple[str, str], dict[str, int]],
        did: dict[str, Any],
    ) -> None:
        self.did = did
        self._system = system
        self._number = number
        self._flows = grudges.flows(grudge)
        self._before = before

    async def heal(self) -> Effect:
        """Heal the partition; the effect is the number of bytes held on the links that it cut."""
        network = self._system.env.network
        try:
            after = await network.stats()
        finally:
            self._system.grudges.pop(self._number, None)
            await network.apply(self._system.grudge())
        held = {
            pair: after[pair]["held_total"] - self._before.get(pair, {}).get("held_total", 0)
            for pair in sorted(self._flows)
            if pair in after
        }
        total = sum(held.values())
        by_link = {f"{a}>{b}": n for (a, b), n in held.items() if n > 0}
        return Effect(total > 0, {"bytes_held": total, "by_link": by_link})


def _roles(system: System[Any, Any], first: Shard) -> list[str]:
    """Return the hosts: nodes by role, the primary of `first` first, others by name."""
    shards = system.target.topology().shards
    roles: list[str] = []
    for shard in sorted(shards, key=lambda shard: shard.name != first.name):
        roles += _names(shard, of_several=len(shards) > 1)
    return [*roles, *(host for host in system.hosts if host not in system.env.nodes)]


def _names(shard: Shard, *, of_several: bool) -> list[str]:
    """Return the roles in a shard, the primary first."""
    suffix = f" of {shard.name}" if of_several else ""
    replicas = (f"replica {i}{suffix}" for i in range(1, len(shard.nodes)))
    return [f"primary{suffix}", *replicas]


def _kinds(chance: DrawContext, system: System[Any, Any]) -> list[str]:
    """Return the kinds that can cut a link here; between servers, if the primary moves."""
    count = len(system.hosts)
    separate = chance.primary_moves and count > 1
    kinds = [k for k, (least, _) in KINDS.items()
             if least <= count and not (separate and k == "client")]  # fmt: skip
    return [*kinds, *LOG_KINDS] if system.azs else kinds


def _resolved(system: System[Any, Any], kind: str, grudge: Grudge, topology: Topology) -> Grudge:
    """Resolve a grudge to processes. Raises `Skipped` if a primary that it names is not known."""
    names: dict[str, str] = {}
    mentioned = {*grudge, *(source for sources in grudge.values() for source in sources)}
    for shard in topology.shards:
        roles = _names(shard, of_several=len(topology.shards) > 1)
        if shard.primary is not None:
            names |= zip(roles, [shard.primary, *shard.replicas], strict=True)
        elif mentioned & set(roles):
            raise NoPrimary
    named = {
        names.get(sink, sink): frozenset(names.get(source, source) for source in sources)
        for sink, sources in grudge.items()
    }
    return named if kind in WITHIN_A_HOST else grudges.expand(named, system.env.processes)


def _fits(
    system: System[Any, Any], kind: str, grudge: Grudge, topology: Topology, chance: DrawContext
) -> bool:
    """Return whether a grudge cuts a link in use, and the target tolerates it, with a topology.
    If the primary moves, its replication stream to some replica must be cut."""
    found = _resolved(system, kind, grudge, topology)
    cut = grudges.flows(found)
    if chance.primary_moves and kind != "client" and not system.azs:
        streams = ((s.primary, replica) for s in topology.shards for replica in s.replicas)
        if not any(stream in cut for stream in streams):
            return False
    elif not cut & system.target.links(topology):
        return False
    return system.tolerated((), found)


class PartitionOne(Partition):
    """One node is cut off from all others."""

    name = "partition-one"
    kind = "one"
    traits = NAMED


class PartitionPrimary(Partition):
    """The primary is cut off from all other nodes."""

    name = "partition-primary"
    kind = "primary"
    traits = NAMED


class PartitionHalves(Partition):
    """The nodes are split into two halves."""

    name = "partition-halves"
    kind = "halves"
    traits = NAMED


class PartitionMinority(Partition):
    """A minority of the nodes is cut off from the majority."""

    name = "partition-minority"
    kind = "minority"
    traits = NAMED


class PartitionRing(Partition):
    """Every node sees a majority, but no two see the same one."""

    name = "partition-ring"
    kind = "ring"
    traits = NAMED


class PartitionBridge(Partition):
    """Two components of nodes, and one node connected to both."""

    name = "partition-bridge"
    kind = "bridge"
    traits = NAMED


class PartitionOneWay(Partition):
    """The links between the primary and the other nodes are cut in one direction."""

    name = "partition-one-way"
    kind = "one-way"
    traits = NAMED


class PartitionClient(Partition):
    """Some client hosts are cut off from the primary."""

    name = "partition-client"
    kind = "client"
    traits = NAMED


class PartitionLog(Partition):
    """The primary is cut off from the log only."""

    name = "partition-log"
    kind = "log"
    traits = NAMED


class PartitionAcks(Partition):
    """The links from the log to the primary are cut, but not those from the primary to the log."""

    name = "partition-acks"
    kind = "acks"
    traits = NAMED


class PartitionAz(Partition):
    """One process of the log is cut off from all other processes."""

    name = "partition-az"
    kind = "az"
    traits = NAMED
