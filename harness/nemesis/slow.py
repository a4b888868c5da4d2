"""Links with additional delay."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from harness.environments.protocol import CanPartition, Environment
from harness.nemesis import links, victims
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

DELAY_MS = 100
CUTS = (CanPartition, "can't cut or slow down links")


class Delay(victims.Victim):
    delay_ms: Annotated[int, Meta(ge=1, le=60_000)]


class SlowLinks:
    """All links of a process are delayed, with jitter."""

    name = "slow"
    traits = Traits(layer=Layer.LINKS, disturbs=frozenset({"links"}))
    takes = Delay

    def available(self, target: Target, env: Environment) -> str | None:
        return lacking(target, env, environment=CUTS)

    def draw(self, chance: DrawContext, system: System[CanPartition, Target]) -> Arguments:
        most = chance.scaled(DELAY_MS)
        delay_ms = chance.rng.randint(min(10, most), most)
        return {"victim": victims.draw_process(chance, system), "delay_ms": delay_ms}

    async def inject(self, system: System[CanPartition, Target], arguments: Arguments) -> Slow:
        node = victims.resolve(arguments["victim"], system)
        before = await links.count(system, node, "delayed")
        slow = Slow(system, node, arguments["delay_ms"], before)
        async with rolled_back_on_failure(slow):
            await shape(system, node, arguments["delay_ms"] / 1000)
        return slow


class Slow:
    def __init__(
        self, system: System[CanPartition, Target], node: str, delay_ms: int, before: int
    ) -> None:
        self.did = {"node": node, "delay_ms": delay_ms}
        self._system = system
        self._node = node
        self._before = before

    async def heal(self) -> Effect:
        delayed = await links.count(self._system, self._node, "delayed") - self._before
        await shape(self._system, self._node, 0.0)
        return Effect(delayed > 0, {"node": self._node, "delayed_bytes": delayed})


async def shape(system: System[CanPartition, Target], node: str, delay_s: float) -> None:
    """Delay all links of a process, with jitter; 0 ends it."""
    for source, sink in links.of(system, node):
        await system.env.network.shape(source, sink, delay_s=delay_s, jitter_s=delay_s / 4)
