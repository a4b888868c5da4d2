"""Power loss: writes that were not synced are lost, and connections end without notice."""

from __future__ import annotations

from harness.environments.protocol import CanCutPower, Environment
from harness.errors import EnvironmentFailed
from harness.nemesis import victims
from harness.nemesis.availability import lacking
from harness.nemesis.protocol import (
    Arguments,
    DrawContext,
    Effect,
    Layer,
    Skipped,
    Traits,
    rolled_back_on_failure,
)
from harness.nemesis.system import System
from harness.targets import Target

POWER = (CanCutPower, "can't cut the power of machines")


class PowerLoss:
    """The host of a node loses power, which healing restores."""

    name = "power"
    traits = Traits(
        layer=Layer.PROCESSES, disturbs=frozenset({"processes", "disks"}), ends_processes=True
    )
    takes = victims.Victim

    def available(self, target: Target, env: Environment) -> str | None:
        return lacking(target, env, environment=POWER)

    def draw(self, chance: DrawContext, system: System[CanCutPower, Target]) -> Arguments:
        return {"victim": victims.draw_node(chance, system)}

    async def inject(self, system: System[CanCutPower, Target], arguments: Arguments) -> Off:
        """Switch off the node's host or, if its loss is not tolerated, the first whose loss is."""
        node = victims.resolve(arguments["victim"], system)
        host = system.env.processes[node]
        able = [h for h in system.hosts if system.tolerated(system.on(h))]
        if not able:
            raise Skipped("no host may be lost now")
        return await switch_off(system, [host if host in able else able[0]])


class PowerLossOfAll:
    """All hosts lose power at once, which healing restores."""

    name = "power-all"
    traits = Traits(
        layer=Layer.PROCESSES,
        disturbs=frozenset({"processes", "disks"}),
        stops_everything=True,
        ends_processes=True,
    )
    takes = dict

    def available(self, target: Target, env: Environment) -> str | None:
        return lacking(target, env, environment=POWER)

    def draw(self, chance: DrawContext, system: System[CanCutPower, Target]) -> Arguments:
        return {}

    async def inject(self, system: System[CanCutPower, Target], arguments: Arguments) -> Off:
        return await switch_off(system, system.hosts)


async def switch_off(system: System[CanCutPower, Target], hosts: list[str]) -> Off:
    """Cut the power of hosts; the result restores it."""
    nodes = [p for host in hosts for p in system.on(host)]
    primaries = system.target.topology().primaries
    # A node that another fault has killed loses power too, but that fault restarts it.
    mine = [n for n in nodes if n not in system.down]
    off = Off(system, nodes, mine, was_primary=any(p in nodes for p in primaries))
    async with rolled_back_on_failure(off):
        system.down.update(nodes)
        await system.env.power_off(hosts)
    return off


class Off:
    """Hosts without power. `mine`: the processes that healing restarts."""

    def __init__(
        self,
        system: System[CanCutPower, Target],
        nodes: list[str],
        mine: list[str],
        *,
        was_primary: bool,
    ) -> None:
        self.did = {"nodes": nodes, "was_primary": was_primary}
        self._system = system
        self._mine = mine

    async def heal(self) -> Effect:
        system, nodes = self._system, list(self._mine)
        effective = bool(nodes)
        for node in nodes:
            effective = effective and await system.env.state(node) == "dead"
        failed: EnvironmentFailed | None = None
        for node in nodes:
            try:
                if await system.env.state(node) == "dead":
                    await system.target.restart(node)
            except EnvironmentFailed as e:
                failed = e
            if await system.env.state(node) != "dead":
                self._mine.remove(node)
                system.down.discard(node)
        if failed is not None:
            raise failed
        return Effect(effective, {"nodes": nodes})
