"""Links that lose segments."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from harness.environments.protocol import CanLose, Environment
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

LOSS_PERCENT = 20


class Loss(victims.Victim):
    percent: Annotated[int, Meta(ge=1, le=90)]


class LossyLinks:
    """All links of a process lose segments, which TCP retransmits with growing delays."""

    name = "lossy"
    traits = Traits(layer=Layer.LINKS, disturbs=frozenset({"links"}))
    takes = Loss

    def available(self, target: Target, env: Environment) -> str | None:
        return lacking(target, env, environment=(CanLose, "can't make links lose segments"))

    def draw(self, chance: DrawContext, system: System[CanLose, Target]) -> Arguments:
        percent = chance.rng.randint(1, min(80, chance.scaled(LOSS_PERCENT)))
        return {"victim": victims.draw_process(chance, system), "percent": percent}

    async def inject(self, system: System[CanLose, Target], arguments: Arguments) -> Lossy:
        node = victims.resolve(arguments["victim"], system)
        before = await links.count(system, node, "lost")
        lossy = Lossy(system, node, arguments["percent"], before)
        async with rolled_back_on_failure(lossy):
            await lose(system, node, arguments["percent"] / 100)
        return lossy


class Lossy:
    def __init__(
        self, system: System[CanLose, Target], node: str, percent: int, before: int
    ) -> None:
        self.did = {"node": node, "percent": percent}
        self._system = system
        self._node = node
        self._before = before

    async def heal(self) -> Effect:
        lost = await links.count(self._system, self._node, "lost") - self._before
        await lose(self._system, self._node, 0.0)
        return Effect(lost > 0, {"node": self._node, "lost_segments": lost})


async def lose(system: System[CanLose, Target], node: str, share: float) -> None:
    """Make all links of a process lose this share of their segments."""
    for source, sink in links.of(system, node):
        await system.env.lose(source, sink, share)
