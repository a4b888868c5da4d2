"""The primary is paused for about as long as its lease."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, TypedDict

from msgspec import Meta

from harness.environments.protocol import CanPause, Environment
from harness.nemesis.availability import lacking
from harness.nemesis.pause import PAUSES
from harness.nemesis.protocol import Arguments, DrawContext, Effect, Layer, NoPrimary, Traits
from harness.nemesis.restart import Done
from harness.nemesis.system import System
from harness.targets import HasLease, Target

PAUSE_COUNT = 3
PAUSE_MS_MAX, BETWEEN_MS_MAX = 7000, 2000
PauseMs = Annotated[int, Meta(ge=1, le=PAUSE_MS_MAX)]


class PauseLeaseArguments(TypedDict):
    """Arguments of `pause-lease`. `pauses_ms`: the length of each pause; all fit into the time
    limit of a fault."""

    pauses_ms: Annotated[list[PauseMs], Meta(min_length=1, max_length=PAUSE_COUNT)]


class PauseAtLease:
    """SIGSTOP of the primary, three times, each for about as long as its lease.

    Requests queued on its sockets meanwhile must not be answered from stale state.
    """

    name = "pause-lease"
    traits = Traits(layer=Layer.PROCESSES, disturbs=frozenset({"processes"}))
    takes = PauseLeaseArguments

    def available(self, target: Target, env: Environment) -> str | None:
        return lacking(target, env, environment=PAUSES, capability=(HasLease, "has no leases"))

    def draw(self, chance: DrawContext, system: System[CanPause, HasLease]) -> Arguments:
        lease_ms = system.target.lease_ms
        low, high = lease_ms - lease_ms // 2, lease_ms + lease_ms * 3 // 2
        drawn = [chance.rng.randint(low, high) for _ in range(PAUSE_COUNT)]
        return {"pauses_ms": [min(ms, PAUSE_MS_MAX) for ms in drawn]}

    def injection_ms(self, arguments: Arguments, target: Target) -> int:
        assert isinstance(target, HasLease)
        pauses = arguments["pauses_ms"]
        return sum(pauses) + len(pauses) * _between_ms(target)

    async def inject(self, system: System[CanPause, HasLease], arguments: Arguments) -> Done:
        pauses: list[dict[str, Any]] = []
        for ms in arguments["pauses_ms"]:
            node = _running_primary(system)
            if node is None:
                continue
            system.paused.add(node)
            try:
                await system.env.pause(node)
                stopped = await system.env.state(node) == "paused"
                await asyncio.sleep(ms / 1000)
            finally:
                await system.env.resume(node)
                system.paused.discard(node)
            pauses.append({"node": node, "ms": ms, "stopped": stopped})
            await asyncio.sleep(_between_ms(system.target) / 1000)
        if not pauses:
            raise NoPrimary
        return Done({"pauses": pauses}, Effect(any(p["stopped"] for p in pauses), {}))


def _running_primary(system: System[CanPause, HasLease]) -> str | None:
    """Return the primary of the first shard whose primary is known and runs."""
    stopped = system.down | system.paused
    primaries = system.target.topology().primaries
    return next((node for node in primaries if node not in stopped), None)


def _between_ms(target: HasLease) -> int:
    """Return the time from the end of a pause to the next one."""
    return min(target.lease_ms // 2, BETWEEN_MS_MAX)
