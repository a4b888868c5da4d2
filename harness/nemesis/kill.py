"""A process is killed, and restarted on healing."""

from __future__ import annotations

from harness.environments.protocol import CanKill, Environment
from harness.nemesis import victims
from harness.nemesis.availability import lacking
from harness.nemesis.protocol import (
    Arguments,
    DrawContext,
    Effect,
    Layer,
    Traits,
    rolled_back_on_failure,
)
from harness.nemesis.system import System
from harness.targets import Target

KILLS = (CanKill, "can't kill processes")


class Kill:
    """SIGKILL of a node, or of another process of the target; healing restarts it."""

    name = "kill"
    traits = Traits(layer=Layer.PROCESSES, disturbs=frozenset({"processes"}), ends_processes=True)
    takes = victims.Victim

    def available(self, target: Target, env: Environment) -> str | None:
        return lacking(target, env, environment=KILLS)

    def draw(self, chance: DrawContext, system: System[CanKill, Target]) -> Arguments:
        return {"victim": victims.draw_process(chance, system)}

    async def inject(self, system: System[CanKill, Target], arguments: Arguments) -> Killed:
        node = victims.resolve(arguments["victim"], system)
        killed = Killed(system, node, system.target.topology().is_primary(node))
        async with rolled_back_on_failure(killed):
            system.down.add(node)
            await system.env.kill(node)
        return killed


class Killed:
    def __init__(self, system: System[CanKill, Target], node: str, was_primary: bool) -> None:
        self.did = {"node": node, "was_primary": was_primary}
        self._system = system
        self._node = node

    async def heal(self) -> Effect:
        system, node = self._system, self._node
        effective = await system.env.state(node) == "dead"
        codes = [e.code for e in system.env.exits if e.process == node]
        if effective:
            await system.target.restart(node)
        system.down.discard(node)
        measured = {"node": node, "exit_code": codes[-1] if codes else None}
        if not effective:
            measured["outlived"] = "its server still answers"
        return Effect(effective, measured)
