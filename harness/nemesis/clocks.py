"""Clocks that go wrong, in a simulation: one node's run too fast or too slow, or are set."""

from __future__ import annotations

from typing import Any

from harness.environments.base import Machines
from harness.nemesis.faults import System

DRIFT_PPM = 50_000  # at full strength, a clock may gain or lose three seconds a minute
JUMP_NS = 60 * 10**9
NOTICEABLE_NS = 1_000_000


class ClockFault:
    """What the two have in common: a node is drawn, its clock is set right on healing."""

    rank = 0
    min_nodes = 1
    needs = frozenset({"clock"})

    def __init__(self) -> None:
        self._node: str | None = None

    async def inject(self, system: System, /) -> dict[str, Any]:
        machines = system.env
        assert isinstance(machines, Machines)
        node = self._node = await system.draw_node() or system.env.nodes[0]
        return {"node": node, **self.upset(machines, node, system)}

    def upset(self, machines: Machines, node: str, system: System) -> dict[str, Any]:
        """Make the clock wrong; returns how."""
        raise NotImplementedError

    async def heal(self, system: System, /) -> dict[str, Any]:
        machines = system.env
        assert isinstance(machines, Machines)
        if self._node is None:
            return {"effective": False}
        node, self._node = self._node, None
        error = machines.clock_error(node)
        machines.drift_clock(node, 0)
        machines.jump_clock(node, -error)
        return {
            "effective": abs(error) >= NOTICEABLE_NS,
            "node": node,
            "ahead_ms": round(error / 1e6, 3),
        }


class ClockDrift(ClockFault):
    """The clocks of a node run too fast or too slow; timers and leases with them."""

    name = "clock-drift"

    def upset(self, machines: Machines, node: str, system: System) -> dict[str, Any]:
        most = min(900_000, system.scaled(DRIFT_PPM))
        ppm = system.rng.randint(most // 10, most) * system.rng.choice((-1, 1))
        machines.drift_clock(node, ppm)
        return {"ppm": ppm}


class ClockJump(ClockFault):
    """The wall clock of a node is set forward or back, by milliseconds or by a minute."""

    name = "clock-jump"

    def upset(self, machines: Machines, node: str, system: System) -> dict[str, Any]:
        ns = system.scaled(JUMP_NS) >> system.rng.randrange(12)
        ns *= system.rng.choice((-1, 1))
        machines.jump_clock(node, ns)
        return {"ms": round(ns / 1e6, 3)}
