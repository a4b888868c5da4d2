"""The clocks of a node run too fast or too slow."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from harness.environments.protocol import CanSkewClocks, Environment
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

DRIFT_PPM = 50_000  # at strength 100 %: a clock gains or loses up to three seconds a minute
NOTICEABLE_NS = 1_000_000
CLOCKS = (CanSkewClocks, "can't skew the clocks of machines")


class Drift(victims.Victim):
    ppm: Annotated[int, Meta(ge=-900_000, le=900_000)]


class ClockDrift:
    """The clocks of a node run too fast or too slow, and so do its timers and leases."""

    name = "clock-drift"
    traits = Traits(layer=Layer.LINKS, disturbs=frozenset({"wall-clock", "clock-rate"}))
    takes = Drift

    def available(self, target: Target, env: Environment) -> str | None:
        return lacking(target, env, environment=CLOCKS)

    def draw(self, chance: DrawContext, system: System[CanSkewClocks, Target]) -> Arguments:
        most = min(900_000, chance.scaled(DRIFT_PPM))
        ppm = chance.rng.randint(most // 10, most) * chance.rng.choice((-1, 1))
        return {"victim": victims.draw_node(chance, system), "ppm": ppm}

    async def inject(self, system: System[CanSkewClocks, Target], arguments: Arguments) -> Drifting:
        node = victims.resolve(arguments["victim"], system)
        _, before = await system.env.clock_error(node)
        drifting = Drifting(system, node, arguments["ppm"], before)
        async with rolled_back_on_failure(drifting):
            await system.env.drift_clock(node, arguments["ppm"])
        return drifting


class Drifting:
    def __init__(
        self, system: System[CanSkewClocks, Target], node: str, ppm: int, before: int
    ) -> None:
        self.did = {"node": node, "ppm": ppm}
        self._env = system.env
        self._node = node
        self._before = before

    async def heal(self) -> Effect:
        """Undo what the wall clock gained; a monotonic clock can't be set back."""
        await self._env.drift_clock(self._node, 0)
        _, after = await self._env.clock_error(self._node)
        gained = after - self._before
        await self._env.jump_clock(self._node, -gained)
        return effect_of(self._node, gained)


def effect_of(node: str, ahead_ns: int) -> Effect:
    """Return the effect of a wall clock that was ahead (or behind: negative) by so much."""
    measured = {"node": node, "ahead_ms": round(ahead_ns / 1e6, 3)}
    return Effect(abs(ahead_ns) >= NOTICEABLE_NS, measured)
