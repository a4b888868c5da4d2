"""Faults of processes: killed, paused, restarted."""

from __future__ import annotations

import asyncio
from typing import Any

from harness.errors import EnvironmentFailed
from harness.nemesis.faults import System
from harness.targets import Readmits

READMITTED_NS = 20 * 10**9


class Kill:
    """SIGKILL of a node, or of another process of the target; healing starts it again."""

    name = "kill"
    rank = 1
    min_nodes = 1
    needs = frozenset({"kill"})

    def __init__(self) -> None:
        self._node: str | None = None

    async def inject(self, system: System, /) -> dict[str, Any]:
        node = await system.draw_process()
        if node is None:
            return {"skipped": "no node is up"}
        was_primary = node == await system.primary()
        self._node = node
        system.down.add(node)
        await system.env.kill(node)
        return {"node": node, "was_primary": was_primary}

    async def heal(self, system: System, /) -> dict[str, Any]:
        if self._node is None:
            return {"effective": False}
        node = self._node
        effective = system.env.state(node) == "dead"
        codes = [e.code for e in system.env.exits if e.process == node]
        await system.target.restart(node)
        self._node = None
        system.down.discard(node)
        return {"effective": effective, "node": node, "exit_code": codes[-1] if codes else None}


class Restart:
    """SIGKILL of a node, started again at once."""

    name = "restart"
    rank = 1
    min_nodes = 1
    needs = frozenset({"kill"})

    def __init__(self) -> None:
        self._done: dict[str, Any] = {"effective": False}

    async def inject(self, system: System, /) -> dict[str, Any]:
        self._done = {"effective": False}
        node = await system.draw_process()
        if node is None:
            return {"skipped": "no node is up"}
        was_primary = node == await system.primary()
        await system.env.kill(node)
        effective = system.env.state(node) == "dead"
        began = system.env.now()
        await system.target.restart(node)
        self._done = {
            "effective": effective,
            "node": node,
            "away_ms": round((system.env.now() - began) / 1e6),
        }
        return {"node": node, "was_primary": was_primary}

    async def heal(self, system: System, /) -> dict[str, Any]:
        return self._done


class Pause:
    """SIGSTOP of a node; healing sends SIGCONT, and what queued on its sockets is answered."""

    name = "pause"
    rank = 1
    min_nodes = 1
    needs = frozenset({"pause"})

    def __init__(self) -> None:
        self._node: str | None = None

    async def inject(self, system: System, /) -> dict[str, Any]:
        node = await system.draw_process()
        if node is None:
            return {"skipped": "no node is up"}
        self._node = node
        system.paused.add(node)
        await system.env.pause(node)
        return {"node": node, "was_primary": node == await system.primary()}

    async def heal(self, system: System, /) -> dict[str, Any]:
        if self._node is None:
            return {"effective": False}
        node = self._node
        effective = system.env.state(node) == "paused"
        await system.env.resume(node)
        self._node = None
        system.paused.discard(node)
        return {"effective": effective, "node": node}


class PauseAtLease:
    """SIGSTOP of the primary for about as long as its lease, a few times: what queued on its
    sockets meanwhile must not be answered from what it knew before."""

    name = "pause-lease"
    rank = 1
    min_nodes = 1
    needs = frozenset({"pause", "lease"})

    def __init__(self) -> None:
        self._done: dict[str, Any] = {"effective": False}

    async def inject(self, system: System, /) -> dict[str, Any]:
        self._done = {"effective": False}
        lease_ms = system.target.lease_ms
        pauses = []
        for _ in range(3):
            node = await system.primary()
            if node in system.down | system.paused:
                continue
            ms = lease_ms + system.rng.randint(-lease_ms // 2, lease_ms * 3 // 2)
            system.paused.add(node)
            await system.env.pause(node)
            stopped = system.env.state(node) == "paused"
            await asyncio.sleep(ms / 1000)
            await system.env.resume(node)
            system.paused.discard(node)
            pauses.append({"node": node, "ms": ms, "stopped": stopped})
            await asyncio.sleep(lease_ms / 2000)
        self._done = {"effective": any(p["stopped"] for p in pauses)}
        return {"pauses": pauses}

    async def heal(self, system: System, /) -> dict[str, Any]:
        return self._done


class Wipe:
    """A process of the log is killed and its disk erased; healing starts it, and waits until it
    counts again."""

    name = "wipe"
    rank = 1
    min_nodes = 1
    needs = frozenset({"kill", "log"})

    def __init__(self) -> None:
        self._process: str | None = None

    async def inject(self, system: System, /) -> dict[str, Any]:
        able = [p for p in system.azs if p not in system.down and system.tolerated([p])]
        if not able:
            return {"skipped": "none may be lost now"}
        process = self._process = system.rng.choice(able)
        system.down.add(process)
        system.wiped.add(process)
        await system.env.kill(process)
        await system.env.wipe(process)
        return {"process": process}

    async def heal(self, system: System, /) -> dict[str, Any]:
        process, target = self._process, system.target
        if process is None:
            return {"effective": False}
        assert isinstance(target, Readmits)
        effective = system.env.state(process) == "dead"
        if effective:
            await target.restart(process)
        self._process = None
        system.down.discard(process)
        began = system.env.now()
        while not await target.readmitted(process):
            if system.env.now() - began > READMITTED_NS:
                raise EnvironmentFailed(f"{process} was not readmitted")
            await asyncio.sleep(0.05)
        system.wiped.discard(process)
        return {
            "effective": effective,
            "process": process,
            "readmitted_ms": round((system.env.now() - began) / 1e6),
        }
