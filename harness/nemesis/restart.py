"""A process is killed and restarted at once."""

from __future__ import annotations

from typing import Any

from harness.environments.protocol import CanKill, Environment
from harness.nemesis import victims
from harness.nemesis.availability import lacking
from harness.nemesis.kill import KILLS
from harness.nemesis.protocol import Arguments, DrawContext, Effect, Layer, Traits
from harness.nemesis.system import System
from harness.targets import Target


class Restart:
    """SIGKILL of a node, or of another process of the target, which is restarted at once."""

    name = "restart"
    traits = Traits(layer=Layer.PROCESSES, disturbs=frozenset({"processes"}), ends_processes=True)
    takes = victims.Victim

    def available(self, target: Target, env: Environment) -> str | None:
        return lacking(target, env, environment=KILLS)

    def draw(self, chance: DrawContext, system: System[CanKill, Target]) -> Arguments:
        return {"victim": victims.draw_process(chance, system)}

    async def inject(self, system: System[CanKill, Target], arguments: Arguments) -> Done:
        node = victims.resolve(arguments["victim"], system)
        was_primary = system.target.topology().is_primary(node)
        await system.env.kill(node)
        effective = await system.env.state(node) == "dead"
        began = system.env.now()
        if effective:
            await system.target.restart(node)
        away_ms = round((system.env.now() - began) / 1e6)
        return Done(
            {"node": node, "was_primary": was_primary},
            Effect(effective, {"node": node, "away_ms": away_ms}),
        )


class Done:
    """A fault that is over and needs no healing."""

    def __init__(self, did: dict[str, Any], effect: Effect) -> None:
        self.did = did
        self._effect = effect

    async def heal(self) -> Effect:
        return self._effect
