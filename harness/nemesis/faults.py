"""The protocol of a fault, and which there are."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from harness.environments.protocol import Environment, Grudge
from harness.errors import UsageError
from harness.nemesis.grudges import flows, join
from harness.targets import Failover, Readmits, Target

# The kinds of `--nemesis all`, as far as environment and target can do them.
ALL = ("partition", "slow", "lossy", "clock-drift", "clock-jump", "kill", "pause", "restart",
       "wipe", "power", "power-all", "pause-lease", "failover")  # fmt: skip
HELPERS_PERCENT = 40  # how often a process that is no node is drawn, where there are some


@dataclass
class System:
    """What a fault acts on, and what the other faults of the moment have done to it."""

    env: Environment
    target: Target
    rng: random.Random
    together: frozenset[str] = frozenset()  # the faults of the present cycle
    grudges: dict[str, Grudge] = field(default_factory=dict)  # by the fault that holds it
    down: set[str] = field(default_factory=set)
    paused: set[str] = field(default_factory=set)
    strength_percent: int = 100
    beyond_tolerance: bool = False
    wiped: set[str] = field(default_factory=set)  # not readmitted yet

    @property
    def helpers(self) -> list[str]:
        """Processes of the target that are no nodes."""
        return [p for p in self.env.processes if p not in self.env.nodes]

    @property
    def azs(self) -> list[str]:
        """The processes of the target's log."""
        return list(self.target.azs) if isinstance(self.target, Readmits) else []

    @property
    def hosts(self) -> list[str]:
        return list(dict.fromkeys(self.env.processes.values()))

    def on(self, host: str) -> list[str]:
        """The processes of a host."""
        return [p for p, h in self.env.processes.items() if h == host]

    def tolerated(self, more: Iterable[str], grudge: Grudge | None = None) -> bool:
        """Whether the target survives it if these are lost too; `grudge`: what is to be cut."""
        if self.beyond_tolerance:
            return True
        out = self.down | self.paused | self.wiped | set(more)
        return self.target.tolerates(out, flows(self.grudge() if grudge is None else grudge))

    def scaled(self, most: int) -> int:
        """How bad a fault may be at most, in this run."""
        return max(1, most * self.strength_percent // 100)

    async def primary(self) -> str:
        """The present primary; the first node where there is none."""
        return await self.target.primary() or self.env.nodes[0]

    async def draw_node(self) -> str | None:
        """A node that is up: the primary as often as not. Where a failover goes with this fault
        always the primary; never, where the primary itself has to hand over. None when every node
        is down or paused."""
        up = [n for n in self.env.nodes if n not in self.down | self.paused]
        primary = await self.primary()
        if "failover" in self.together and "hand-over" in self.target.capabilities:
            up = [n for n in up if n != primary]
            return self.rng.choice(up) if up else None
        wanted = "failover" in self.together or self.rng.random() < 0.5
        if wanted and primary in up:
            return primary
        return self.rng.choice(up) if up else None

    async def draw_process(self) -> str | None:
        """A node as above, or now and then another process that may be lost."""
        spare = [p for p in self.helpers if p not in self.down and self.tolerated([p])]
        if spare and self.rng.randrange(100) < HELPERS_PERCENT:
            return self.rng.choice(spare)
        return await self.draw_node()

    def grudge(self) -> Grudge:
        """Everything that is cut at the moment."""
        return join(self.grudges.values())


class Fault(Protocol):
    """One kind of fault: how to inject it, how to heal it, what it needs.

    `rank`: order within a cycle in which several faults overlap. `needs`: capabilities of the
    environment, and "failover" of the target. `min_nodes`: with fewer it could do nothing.
    """

    name: str
    rank: int
    needs: frozenset[str]
    min_nodes: int

    async def inject(self, system: System, /) -> dict[str, Any]:
        """Break something; returns what was done, as JSON."""
        ...

    async def heal(self, system: System, /) -> dict[str, Any]:
        """Mend it; returns the measured effect with `effective` true or false."""
        ...


def registry() -> Mapping[str, Fault]:
    """All faults by the name that `--nemesis` takes."""
    from harness.nemesis.clocks import ClockDrift, ClockJump
    from harness.nemesis.failover import PromoteReplica
    from harness.nemesis.links import LossyLinks, SlowLinks
    from harness.nemesis.partition import KINDS, OF_THE_LOG, Partition
    from harness.nemesis.power import PowerLoss, PowerLossOfAll
    from harness.nemesis.processes import Kill, Pause, PauseAtLease, Restart, Wipe

    faults: list[Fault] = [
        Partition(),
        SlowLinks(),
        LossyLinks(),
        ClockDrift(),
        ClockJump(),
        Kill(),
        Pause(),
        Restart(),
        Wipe(),
        PauseAtLease(),
        PowerLoss(),
        PowerLossOfAll(),
        PromoteReplica(),
    ]
    faults += [Partition(kind) for kind in (*KINDS, *OF_THE_LOG)]
    return {f.name: f for f in faults}


def choose(
    names: str, env: Environment, target: Target, drawn: Sequence[str] | None = None
) -> list[Fault]:
    """The faults of `--nemesis`: comma-separated names, `none`, or `all` that can be done here
    (those of them that were `drawn`, if there are any).

    Raises `UsageError` for an unknown name, and for a fault that target or environment can't do.
    """
    known = registry()
    able = set(env.capabilities) | target.capabilities
    able |= {"failover"} if isinstance(target, Failover) else set()
    if not able & {"network", "kill", "pause"}:
        able.discard("failover")
    if names == "none":
        return []
    if names == "all":
        chosen = [
            known[n] for n in ALL if known[n].needs <= able and known[n].min_nodes <= len(env.nodes)
        ]
        if not chosen:
            raise UsageError(f"--nemesis all: the {env.name} environment injects no faults")
        return [f for f in chosen if drawn is None or f.name in drawn] or chosen
    chosen = []
    for name in names.split(","):
        if name in ("all", "none"):
            raise UsageError(f"--nemesis {names}: {name!r} stands alone")
        if name not in known:
            raise UsageError(f"unknown fault {name!r}; there are: {', '.join(known)}, all, none")
        missing = sorted(known[name].needs - able)
        if missing:
            raise UsageError(
                f"--nemesis {name}: the {env.name} environment with target "
                f"{target.name} can't do that (it needs {', '.join(missing)}); "
                f"{_where(missing)}"
            )
        if known[name].min_nodes > len(env.nodes):
            raise UsageError(
                f"--nemesis {name} needs at least {known[name].min_nodes} nodes: give --nodes"
            )
        if known[name] not in chosen:
            chosen.append(known[name])
    return sorted(chosen, key=lambda f: f.rank)


def _where(missing: Sequence[str]) -> str:
    """Who could do it."""
    if "failover" in missing:
        return "targets with an operator's failover can"
    if set(missing) & {"log", "lease"}:
        return "target memorydb can"
    if set(missing) & {"loss", "clock", "power"}:
        return "the simulated environment can"
    return "the local environment can"
