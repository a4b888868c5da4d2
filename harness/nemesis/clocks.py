"""Clocks that go wrong, in a simulation: one node's run too fast or too slow, or are set."""

from __future__ import annotations

from typing import Any

from harness.environments.protocol import Machines
from harness.nemesis.faults import System

DRIFT_PPM = 50_000  # at full strength, a clock may gain or lose three seconds a minute
JUMP_NS = 60 * 10**9
NOTICEABLE_NS = 1_000_000


class ClockDrift:
    """The clocks of a node run too fast or too slow; timers and leases with them."""

    name = "clock-drift"
    rank = 0
    min_nodes = 1
    needs = frozenset({"clock"})

    def __init__(self) -> None:
        self._node: str | None = None
        self._before = 0

    async def inject(self, system: System, /) -> dict[str, Any]:
        machines = system.env
        assert isinstance(machines, Machines)
        node = self._node = await system.draw_node() or system.env.nodes[0]
        _, self._before = machines.clock_error(node)
        most = min(900_000, system.scaled(DRIFT_PPM))
        ppm = system.rng.randint(most // 10, most) * system.rng.choice((-1, 1))
        machines.drift_clock(node, ppm)
        return {"node": node, "ppm": ppm}

    async def heal(self, system: System, /) -> dict[str, Any]:
        """The wall clock is set back by what it gained; a monotonic clock can't be."""
        machines = system.env
        assert isinstance(machines, Machines)
        if self._node is None:
            return {"effective": False}
        node, self._node = self._node, None
        machines.drift_clock(node, 0)
        _, after = machines.clock_error(node)
        gained = after - self._before
        machines.jump_clock(node, -gained)
        return _effect(node, gained)


class ClockJump:
    """The wall clock of a node is set forward or back, by milliseconds or by a minute."""

    name = "clock-jump"
    rank = 0
    min_nodes = 1
    needs = frozenset({"clock"})

    def __init__(self) -> None:
        self._node: str | None = None
        self._jumped = 0

    async def inject(self, system: System, /) -> dict[str, Any]:
        machines = system.env
        assert isinstance(machines, Machines)
        node = self._node = await system.draw_node() or system.env.nodes[0]
        before, _ = machines.clock_error(node)
        ns = system.scaled(JUMP_NS) >> system.rng.randrange(12)
        machines.jump_clock(node, ns * system.rng.choice((-1, 1)))
        after, _ = machines.clock_error(node)
        self._jumped = after - before
        return {"node": node, "ms": round(self._jumped / 1e6, 3)}

    async def heal(self, system: System, /) -> dict[str, Any]:
        machines = system.env
        assert isinstance(machines, Machines)
        if self._node is None:
            return {"effective": False}
        node, self._node = self._node, None
        machines.jump_clock(node, -self._jumped)
        return _effect(node, self._jumped)


def _effect(node: str, ahead_ns: int) -> dict[str, Any]:
    return {
        "effective": abs(ahead_ns) >= NOTICEABLE_NS,
        "node": node,
        "ahead_ms": round(ahead_ns / 1e6, 3),
    }
