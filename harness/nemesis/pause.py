"""A process is paused, and resumed on healing."""

from __future__ import annotations

from harness.environments.protocol import CanPause, Environment
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

PAUSES = (CanPause, "can't stop processes")


class Pause:
    """SIGSTOP of a process; healing sends SIGCONT, and its queued requests are processed."""

    name = "pause"
    traits = Traits(layer=Layer.PROCESSES, disturbs=frozenset({"processes"}))
    takes = victims.Victim

    def available(self, target: Target, env: Environment) -> str | None:
        return lacking(target, env, environment=PAUSES)

    def draw(self, chance: DrawContext, system: System[CanPause, Target]) -> Arguments:
        return {"victim": victims.draw_process(chance, system)}

    async def inject(self, system: System[CanPause, Target], arguments: Arguments) -> Paused:
        node = victims.resolve(arguments["victim"], system)
        paused = Paused(system, node, system.target.topology().is_primary(node))
        async with rolled_back_on_failure(paused):
            system.paused.add(node)
            await system.env.pause(node)
        return paused


class Paused:
    def __init__(self, system: System[CanPause, Target], node: str, was_primary: bool) -> None:
        self.did = {"node": node, "was_primary": was_primary}
        self._system = system
        self._node = node

    async def heal(self) -> Effect:
        effective = await self._system.env.state(self._node) == "paused"
        await self._system.env.resume(self._node)
        self._system.paused.discard(self._node)
        return Effect(effective, {"node": self._node})
