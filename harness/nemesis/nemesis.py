"""Performs faults, and records what they did."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from harness.errors import EnvironmentFailed
from harness.history import Op
from harness.nemesis.faults import Fault, System

# Long enough for a node to start and load; a fault that takes longer failed.
FAULT_TIMEOUT_S = 30.0


class Nemesis:
    """The interpreter's last worker: operations `start-FAULT` and `stop-FAULT`.

    Their completions are always `info`, as nothing is promised of a fault; what was measured is
    the value.
    """

    def __init__(self, faults: Sequence[Fault], system: System) -> None:
        self._faults = {f.name: f for f in faults}
        self._system = system
        self.active: list[str] = []

    async def invoke(self, op: Op, /) -> Op:
        verb, _, name = op.f.partition("-")
        fault = self._faults[name]
        try:
            async with asyncio.timeout(FAULT_TIMEOUT_S):
                value = await self._perform(verb, fault, op.value)
        except (EnvironmentFailed, OSError, TimeoutError) as e:
            return op.completed("info", error=f"{type(e).__name__}: {e}"[:300])
        return op.completed("info", value=value)

    async def _perform(self, verb: str, fault: Fault, together: Any) -> dict[str, Any]:
        if verb == "start":
            self._system.together = frozenset(together or [fault.name])
            if fault.name not in self.active:
                self.active.append(fault.name)
            return await fault.inject(self._system)
        done = await fault.heal(self._system)
        if fault.name in self.active:
            self.active.remove(fault.name)
        return done

    def healing(self) -> list[str]:
        """The operations that end whatever is still broken, in order."""
        ranked = sorted(self.active, key=lambda n: self._faults[n].rank)
        return [f"stop-{name}" for name in ranked]

    async def close(self) -> None:
        return None
