"""Injects and heals faults, and reports their effects."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from harness.errors import EnvironmentFailed
from harness.history import events
from harness.history.events import FaultBegan, FaultEnded
from harness.history.operations import Op
from harness.nemesis.protocol import Fault, Injected, NoPrimary, Skipped
from harness.nemesis.system import System

# Long enough for a node to start and load its data; a fault that takes longer has failed.
FAULT_TIMEOUT_S = 30.0
# How long a fault on a primary waits for an election, and how often it tries.
ELECTION_S, RETRY_S = 3.0, 0.05


class Nemesis:
    """The interpreter's last worker: operations `start-FAULT` and `stop-FAULT`.

    Their completions are always `info`, as a fault guarantees nothing; the value is what was done
    or measured. Faults are identified by number, so that several of one kind may overlap.
    """

    def __init__(self, faults: Sequence[Fault], system: System) -> None:  # type: ignore[type-arg]
        self._faults = {f.name: f for f in faults}
        self._system = system
        self._injected: dict[int, tuple[str, Injected]] = {}

    async def invoke(self, op: Op, /) -> Op:
        found = events.fault_of(op)
        assert found is not None, op.f
        kind, name = found
        number, arguments = events.fault_arguments(op)
        try:
            async with asyncio.timeout(FAULT_TIMEOUT_S):
                what = await (
                    self._begin(name, number, arguments)
                    if kind is FaultBegan
                    else self._end(name, number)
                )
        except (EnvironmentFailed, OSError, TimeoutError) as e:
            return op.completed("info", error=f"{type(e).__name__}: {e}"[:300])
        return op.completed("info", value=events.completed(what))

    async def _begin(self, name: str, number: int, arguments: dict[str, Any]) -> FaultBegan:
        try:
            injected = await self._inject(name, arguments)
        except Skipped as e:
            return FaultBegan(fault=name, number=number, skipped=str(e))
        self._injected[number] = name, injected
        return FaultBegan(fault=name, number=number, did=injected.did)

    async def _inject(self, name: str, arguments: dict[str, Any]) -> Injected:
        """Inject a fault; if it needs a primary and none is known, wait for an election."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + ELECTION_S
        while True:
            try:
                return await self._faults[name].inject(self._system, arguments)
            except NoPrimary:
                if loop.time() >= deadline:
                    raise
            await asyncio.sleep(RETRY_S)

    async def _end(self, name: str, number: int) -> FaultEnded:
        if number not in self._injected:
            return FaultEnded(fault=name, number=number)
        effect = await self._injected[number][1].heal()
        del self._injected[number]
        return FaultEnded(
            fault=name, number=number, effective=effect.effective, effect=effect.measured
        )

    def healing(self) -> list[FaultEnded]:
        """Return the ends of all active faults, in the order in which to heal them."""
        ranked = sorted(
            self._injected.items(), key=lambda item: self._faults[item[1][0]].traits.layer
        )
        return [FaultEnded(fault=name, number=number) for number, (name, _) in ranked]

    async def close(self) -> None:
        return None
