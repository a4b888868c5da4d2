"""The wall clock of a node jumps."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from harness.environments.protocol import CanSkewClocks, Environment
from harness.nemesis import victims
from harness.nemesis.availability import lacking
from harness.nemesis.clock_drift import CLOCKS, effect_of
from harness.nemesis.protocol import Arguments, DrawContext, Effect, Layer, Traits
from harness.nemesis.system import System
from harness.targets import Target

JUMP_MS = 60_000


class Jump(victims.Victim):
    ms: Annotated[int, Meta(ge=-(10**12), le=10**12)]


class ClockJump:
    """The wall clock of a node jumps forward or back, by between 30 ms and a minute."""

    name = "clock-jump"
    traits = Traits(layer=Layer.LINKS, disturbs=frozenset({"wall-clock"}))
    takes = Jump

    def available(self, target: Target, env: Environment) -> str | None:
        return lacking(target, env, environment=CLOCKS)

    def draw(self, chance: DrawContext, system: System[CanSkewClocks, Target]) -> Arguments:
        ms = max(1, chance.scaled(JUMP_MS) >> chance.rng.randrange(12))
        node = victims.draw_node(chance, system)
        return {"victim": node, "ms": ms * chance.rng.choice((-1, 1))}

    async def inject(self, system: System[CanSkewClocks, Target], arguments: Arguments) -> Jumped:
        node = victims.resolve(arguments["victim"], system)
        before, _ = await system.env.clock_error(node)
        await system.env.jump_clock(node, arguments["ms"] * 1_000_000)
        after, _ = await system.env.clock_error(node)
        return Jumped(system, node, after - before)


class Jumped:
    def __init__(self, system: System[CanSkewClocks, Target], node: str, jumped_ns: int) -> None:
        self.did = {"node": node, "clock_ms": round(jumped_ns / 1e6, 3)}
        self._env = system.env
        self._node = node
        self._jumped_ns = jumped_ns

    async def heal(self) -> Effect:
        await self._env.jump_clock(self._node, -self._jumped_ns)
        return effect_of(self._node, self._jumped_ns)
