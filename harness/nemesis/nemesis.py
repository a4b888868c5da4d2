"""Performs faults, and records what they did."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from harness.errors import EnvironmentFailed
from harness.history import events
from harness.history.events import FaultBegan, FaultEnded
from harness.history.operations import Op
from harness.nemesis.protocol import Fault, Injected, Skipped
from harness.nemesis.system import System

# Long enough for a node to start and load; a fault that takes longer failed.
FAULT_TIMEOUT_S = 30.0


class Nemesis:
    """The interpreter's last worker: operations `start-FAULT` and `stop-FAULT`.

    Their completions are always `info`, as nothing is promised of a fault; what was measured is
    the value. A fault that overlaps with itself is healed in the order in which it began.
    """

    def __init__(self, faults: Sequence[Fault], system: System) -> None:  # type: ignore[type-arg]
        self._faults = {f.name: f for f in faults}
        self._system = system
        self._injected: list[tuple[str, Injected]] = []

    async def invoke(self, op: Op, /) -> Op:
        found = events.fault_of(op)
        assert found is not None, op.f
        kind, name = found
        try:
            async with asyncio.timeout(FAULT_TIMEOUT_S):
                what = await (
                    self._begin(name, op.value or {}) if kind is FaultBegan else self._end(name)
                )
        except (EnvironmentFailed, OSError, TimeoutError) as e:
            return op.completed("info", error=f"{type(e).__name__}: {e}"[:300])
        return op.completed("info", value=events.completed(what))

    async def _begin(self, name: str, arguments: dict[str, object]) -> FaultBegan:
        try:
            injected = await self._faults[name].inject(self._system, arguments)
        except Skipped as e:
            return FaultBegan(fault=name, skipped=str(e))
        self._injected.append((name, injected))
        return FaultBegan(fault=name, did=injected.did)

    async def _end(self, name: str) -> FaultEnded:
        found = next((pair for pair in self._injected if pair[0] == name), None)
        if found is None:
            return FaultEnded(fault=name)
        effect = await found[1].heal()
        self._injected.remove(found)
        return FaultEnded(fault=name, effective=effect.effective, effect=effect.measured)

    def healing(self) -> list[FaultEnded]:
        """What ends whatever is still broken, in order."""
        ranked = sorted(self._injected, key=lambda pair: self._faults[pair[0]].traits.layer)
        return [FaultEnded(fault=name) for name, _ in ranked]

    async def close(self) -> None:
        return None
