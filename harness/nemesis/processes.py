"""Faults of processes: killed, paused, restarted."""

from __future__ import annotations

from typing import Any

from harness.nemesis.faults import System


class Kill:
    """SIGKILL of a node; healing starts it again."""

    name = "kill"
    rank = 1
    min_nodes = 1
    needs = frozenset({"kill"})

    def __init__(self) -> None:
        self._node: str | None = None

    async def inject(self, system: System, /) -> dict[str, Any]:
        node = await system.draw_node()
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
        node = await system.draw_node()
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
        node = await system.draw_node()
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
