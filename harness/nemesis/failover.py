"""An operator promotes a replica without asking the old primary."""

from __future__ import annotations

from typing import Any

from harness.errors import EnvironmentFailed
from harness.nemesis import grudges
from harness.nemesis.faults import System
from harness.targets import Failover


class PromoteReplica:
    """REPLICAOF NO ONE by a control path outside the links that faults act on; clients follow.

    A replica that the faults of the moment separate from the primary is preferred. Nodes that
    reach the new primary, the old one among them, are re-pointed at once, the others on healing.
    """

    name = "failover"
    rank = 2
    min_nodes = 2
    needs = frozenset({"failover"})

    def __init__(self) -> None:
        self._done: dict[str, Any] | None = None

    async def inject(self, system: System, /) -> dict[str, Any]:
        target = system.target
        assert isinstance(target, Failover)
        primary = await system.primary()
        cut = grudges.flows(system.grudge())
        up = [n for n in system.env.nodes if n not in system.down | system.paused]
        able = [n for n in up if n != primary]
        separated = [n for n in able if (primary, n) in cut]
        candidates = separated or able
        if not candidates and "hand-over" in target.capabilities:  # nobody is there to take it
            candidates = [n for n in system.env.nodes if n != primary]
        if not candidates:
            raise EnvironmentFailed("no replica is there to be promoted")
        new = system.rng.choice(candidates)
        self._done = await target.promote(new)
        near = [n for n in up if n != new and not {(new, n), (n, new)} & cut]
        repointed = await target.repoint(near)
        return {**self._done, "separated": new in separated, "repointed": repointed}

    async def heal(self, system: System, /) -> dict[str, Any]:
        target = system.target
        assert isinstance(target, Failover)
        repointed = await target.repoint([n for n in system.env.nodes if n not in system.down])
        done, self._done = self._done, None
        if done is None:
            return {"effective": False, "repointed": repointed}
        return {"effective": True, "new": done["new"], "repointed": repointed}
