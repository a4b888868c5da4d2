"""A process of the target's log loses its disk."""

from __future__ import annotations

import asyncio
from typing import Annotated, TypedDict

from msgspec import Meta

from harness.environments.protocol import CanKill, Environment
from harness.errors import EnvironmentFailed
from harness.nemesis.availability import lacking
from harness.nemesis.kill import KILLS
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
from harness.targets import HasLog, Target

READMITTED_NS = 20 * 10**9
LOG = (HasLog, "has no log of its own")


class WipeArguments(TypedDict):
    """Arguments of `wipe`. `number`: from 1, among the AZs whose loss is tolerated on injection."""

    number: Annotated[int, Meta(ge=1)]


class Wipe:
    """A process of the log is killed and its disk erased; healing restarts it and waits until it
    is readmitted as a voting member."""

    name = "wipe"
    traits = Traits(
        layer=Layer.PROCESSES, disturbs=frozenset({"processes", "disks"}), ends_processes=True
    )
    takes = WipeArguments

    def available(self, target: Target, env: Environment) -> str | None:
        return lacking(target, env, environment=KILLS, capability=LOG)

    def draw(self, chance: DrawContext, system: System[CanKill, HasLog]) -> Arguments:
        return {"number": chance.rng.randint(1, len(system.azs))}

    async def inject(self, system: System[CanKill, HasLog], arguments: Arguments) -> Wiped:
        """Wipe the process of that number among those whose loss is tolerated now."""
        able = [p for p in system.azs if p not in system.down and system.tolerated([p])]
        if not able:
            raise Skipped("no process of the log may be lost now")
        process = able[(arguments["number"] - 1) % len(able)]
        wiped = Wiped(system, process)
        async with rolled_back_on_failure(wiped):
            system.down.add(process)
            system.wiped.add(process)
            await system.env.kill(process)
            await system.env.wipe(process)
        return wiped


class Wiped:
    def __init__(self, system: System[CanKill, HasLog], process: str) -> None:
        self.did = {"process": process}
        self._system = system
        self._process = process
        self._effective = False

    async def heal(self) -> Effect:
        system, process = self._system, self._process
        if await system.env.state(process) == "dead":
            self._effective = True
            await system.target.restart(process)
        system.down.discard(process)
        began = system.env.now()
        while not await system.target.readmitted(process):
            if system.env.now() - began > READMITTED_NS:
                raise EnvironmentFailed(f"{process} was not readmitted")
            await asyncio.sleep(0.05)
        system.wiped.discard(process)
        readmitted_ms = round((system.env.now() - began) / 1e6)
        return Effect(self._effective, {"process": process, "readmitted_ms": readmitted_ms})
