"""Failover to a replica by an operator."""

from __future__ import annotations

from typing import Any, TypedDict

from harness.environments.protocol import CanKill, CanPartition, CanPause, Environment
from harness.nemesis import grudges, victims
from harness.nemesis.availability import lacking
from harness.nemesis.protocol import (
    Arguments,
    DrawContext,
    Effect,
    Layer,
    NoPrimary,
    Skipped,
    Traits,
)
from harness.nemesis.system import System
from harness.targets import Failover, Target


class FailoverArguments(TypedDict):
    """Arguments of `failover`. `to`: the replica to promote, as a role or by name."""

    to: victims.Name


class PromoteReplica:
    """An operator promotes a replica (REPLICAOF NO ONE, or memorydb's hand-over by the primary).

    Faults do not affect the operator's control path, and clients use the new primary at once. A
    replica that active faults separate from the primary is preferred. Nodes that can reach the new
    primary, including the old one, are made its replicas at once, the others on healing.
    """

    name = "failover"
    traits = Traits(layer=Layer.ROLES, disturbs=frozenset({"roles"}), moves_primary=True)
    takes = FailoverArguments

    def available(self, target: Target, env: Environment) -> str | None:
        if not isinstance(env, CanKill | CanPause | CanPartition):
            return f"the {env.name} environment injects no faults to combine with a failover"
        knows = Failover, "has no operator failover"
        return lacking(target, env, capability=knows, nodes=2)

    def draw(self, chance: DrawContext, system: System[Environment, Failover]) -> Arguments:
        shard, suffix = victims.draw_shard(chance.rng, system.target.topology())
        return {"to": f"replica {chance.rng.randint(1, max(1, len(shard.nodes) - 1))}{suffix}"}

    async def inject(self, system: System[Environment, Failover], arguments: Arguments) -> Promoted:
        target = system.target
        named = target.topology().of_node(arguments["to"])
        shard = named or victims.shard_of(arguments["to"], system)
        if shard.primary is None and not target.hands_over:
            raise NoPrimary
        cut = grudges.flows(system.grudge())
        able = [n for n in shard.replicas if n in system.up]
        separated = [n for n in able if (shard.primary, n) in cut]
        candidates = separated or able
        if not candidates and target.hands_over:  # it does not need a replica that is up
            candidates = shard.replicas
        if not candidates:
            raise Skipped("no replica is available for promotion")
        new = victims.choose(arguments["to"], candidates)
        done = await target.promote(new)
        near = [n for n in shard.nodes
                if n in system.up and n != new and not {(new, n), (n, new)} & cut]  # fmt: skip
        repointed = await target.repoint(near)
        did = {**done, "separated": new in separated, "repointed": repointed}
        return Promoted(system, did)


class Promoted:
    def __init__(self, system: System[Environment, Failover], did: dict[str, Any]) -> None:
        self.did = did
        self._system = system

    async def heal(self) -> Effect:
        system = self._system
        repointed = await system.target.repoint(
            [n for n in system.env.nodes if n not in system.down]
        )
        return Effect(True, {"new": self.did["new"], "repointed": repointed})
