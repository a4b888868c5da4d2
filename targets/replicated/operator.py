"""Primaries with asynchronous replicas, and an operator who promotes replicas.

The common part of the targets for vanilla servers and for the model of them. A target implements
how a node is started (`spec`); everything else uses commands that all of these servers support.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from harness.clients import RedisConnection
from harness.environments.protocol import CanStart, Environment, ProcessSpec
from harness.errors import EnvironmentFailed, Unreachable, UsageError
from harness.targets import Disturbance, TargetOptions
from harness.topology import Shard, Topology
from targets.control import ControlPath, fields
from targets.replicated.lineage import Claim, Lineage

START_TIMEOUT_S = 20.0
ASK_EVERY_NS = 10**9


class OperatorFailover:
    """A target whose primaries are those that the operator announced, or, in the environment
    `external`, the nodes that claim to be primaries."""

    name: str
    version = "unknown"
    promises: frozenset[str] = frozenset()
    depends_on: frozenset[Disturbance] = frozenset({"links", "processes", "disks", "roles"})
    alarms: Sequence[str] = ()
    damage: Sequence[str] = ()
    clock_error_ms = 10
    hands_over = False

    def __init__(self, env: Environment, options: TargetOptions) -> None:
        self.env = env
        self.options = options
        self.starter = env if isinstance(env, CanStart) else None  # None: the servers already run
        self.control = ControlPath(env, options.credentials)
        self._now = Topology(self.shards())
        self._asked: int | None = None  # last query; None for nodes that it starts
        self._lineages: dict[str, Lineage] = {}  # by shard
        self._reached: dict[str, None] = {}  # external nodes that ever answered
        self._doubts: dict[str, None] = {}
        self._asking: asyncio.Task[None] | None = None

    def spec(self, node: str) -> ProcessSpec:
        """Return how to start a node now: as its shard's primary, or as a replica of that."""
        raise NotImplementedError

    def shards(self) -> Sequence[Shard]:
        """Return the shards, without primaries; the first node of each begins as the primary."""
        return (Shard(nodes=self.env.nodes, primary=None),)

    def primary_of(self, node: str) -> str | None:
        """Return the primary of a node's shard."""
        shard = self._now.of_node(node)
        return None if shard is None else shard.primary

    # --- starting and restarting

    async def start(self) -> None:
        if self.starter is None:
            await self._begin_with_running()
            return
        for shard in self._now.shards:
            self._announce(shard, shard.nodes[0])
        for node in self.env.nodes:
            await self.starter.start(self.spec(node))
        try:
            await self.settle(START_TIMEOUT_S)
        except EnvironmentFailed as e:
            for node in self.env.nodes:
                if await self.env.state(node) == "dead":
                    raise UsageError(f"{self.version} did not start: {e}") from e
            raise

    async def restart(self, node: str) -> None:
        assert self.starter is not None, "the harness kills only nodes that it started"
        await self.starter.start(self.spec(node))
        await self.control.wait(node, self.control.answers, "does not answer", 10.0)

    async def settle(self, timeout_s: float) -> None:
        wait = self.control.wait
        for node in self.env.nodes:
            await wait(node, self._linked, "is not up and linked", timeout_s)
        for shard in self._now.shards:
            if shard.primary is not None and len(shard.nodes) > 1:
                await wait(shard.primary, self._followed, "lacks acknowledgements", timeout_s)

    async def close(self) -> None:
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)
        await self.control.close()

    async def _begin_with_running(self) -> None:
        """Identify the servers that already run, and find the primaries among them."""
        servers: dict[str, str] = {}  # node by run id
        error: EnvironmentFailed | None = None
        for node in self.env.nodes:
            try:
                info = fields(await self.control.ask(node, "INFO", "server"))
            except EnvironmentFailed as e:
                error = e
                continue
            self._reached.setdefault(node)
            for name in ("valkey_version", "redis_version"):
                if name in info and self.version == "unknown":
                    self.version = f"{name.removesuffix('_version').capitalize()} {info[name]}"
            run_id = info.get("run_id", "")
            if run_id and run_id in servers:
                raise UsageError(
                    f"--nodes: {servers[run_id]} and {node} are the same server (run id {run_id})"
                )
            servers[run_id] = node
        if not self._reached:
            raise Unreachable(f"--nodes: {error}")
        await self._ask_all()
        if not self._now.primaries:
            raise UsageError("none of the given nodes claims to be a primary")

    async def doubts(self) -> list[str]:
        """Return what external servers do that no valid run shows: two of them claim to be the
        primary of one shard, or one never answered."""
        if self.starter is None:
            await self._ask_all(at_the_end=True)
            for node in self.env.nodes:
                if node not in self._reached:
                    self._doubts.setdefault(f"{node} was never reached")
        return list(self._doubts)

    async def _linked(self, node: str) -> bool:
        role = await self.control.role(node)
        if role is None:
            return False
        if self.starter is None:
            return True
        if node == self.primary_of(node):
            return bool(role[0] == "master")
        return bool(role[0] == "slave" and role[3] == "connected")

    async def _followed(self, primary: str) -> bool:
        """Return whether every replica has acknowledged an offset: after a diskless synchronization
        a "connected" replica does not get the stream before its first acknowledgement."""
        role = await self.control.role(primary)
        shard = self._now.of_node(primary)
        if role is None or role[0] != "master" or shard is None:
            return False
        acknowledged = [int(offset) for _, _, offset in role[2]]
        return len(acknowledged) >= len(shard.nodes) - 1 and all(acknowledged)

    # --- the topology

    def topology(self) -> Topology:
        asking = self._asking is not None and not self._asking.done()
        if self._asked is not None and self.env.now() - self._asked >= ASK_EVERY_NS and not asking:
            self._asked = self.env.now()
            self._asking = asyncio.get_running_loop().create_task(self._ask_all())
        return self._now

    def _announce(self, shard: Shard, primary: str | None) -> None:
        shards = self._now.shards
        self._now = Topology(
            tuple(replace(s, primary=primary) if s.name == shard.name else s for s in shards)
        )

    async def _ask_all(self, *, at_the_end: bool = False) -> None:
        """Ask external servers which of them are primaries, and follow the newest of each shard."""
        first = not self._now.primaries
        self._asked = self.env.now()
        nodes = self.env.nodes
        asked = await asyncio.gather(*map(self._claim, nodes))
        claims = {claim.node: claim for claim in asked if claim is not None}
        for shard in self._now.shards:
            of_shard = [claims[node] for node in shard.nodes if node in claims]
            lineage = self._lineages.setdefault(shard.name, Lineage())
            self._announce(shard, lineage.newest(of_shard))
            if len(of_shard) > 1 and (first or at_the_end):
                when = "at the beginning" if first else "at the end"
                both = " and ".join(claim.node for claim in of_shard)
                self._doubts.setdefault(f"{both} claim to be the primary {when}, each of them")

    async def _claim(self, node: str) -> Claim | None:
        """Return a node's claim to be a primary; None if it does not answer or is a replica."""
        try:
            info = fields(await self.control.ask(node, "INFO", "replication", timeout_s=1.0))
        except EnvironmentFailed:
            return None
        self._reached.setdefault(node)
        if info.get("role") != "master":
            return None
        offset = info.get("master_repl_offset", "0")
        return Claim(
            node,
            info.get("master_replid", ""),
            info.get("master_replid2", ""),
            int(offset) if offset.isdecimal() else 0,
        )

    def open_to(self, node: str, client_host: str, *, readonly: bool = False) -> RedisConnection:
        return RedisConnection(
            self.env.address(node, seen_from=client_host),
            self.options.credentials,
            self.options.timeout_s,
        )

    def tolerates(self, out: set[str], cut: set[tuple[str, str]]) -> bool:
        return True  # it may lose writes by design

    def links(self, topology: Topology) -> set[tuple[str, str]]:
        used: set[tuple[str, str]] = set()
        for shard in topology.shards:
            if shard.primary is not None:
                for other in (*shard.replicas, *self.env.client_hosts):
                    used |= {(shard.primary, other), (other, shard.primary)}
        return used

    # --- an operator's failover

    async def promote(self, node: str) -> dict[str, Any]:
        shard = self._now.of_node(node)
        assert shard is not None
        old = shard.primary
        before = await self.control.role(old, timeout_s=0.2) if old is not None else None
        await self.control.ask(node, "REPLICAOF", "NO", "ONE")
        role = await self.control.role(node)
        if role is None or role[0] != "master":
            raise EnvironmentFailed(f"{node} did not become a primary: {role}")
        self._announce(shard, node)
        return {
            "old": old,
            "new": node,
            "new_offset": role[1],
            "old_offset": before[1] if before is not None and before[0] == "master" else None,
        }

    async def repoint(self, nodes: Sequence[str]) -> list[str]:
        reached = []
        for node in nodes:
            primary = self.primary_of(node)
            if primary is None or node == primary:
                continue
            host, port = self.env.address(primary, seen_from=node)
            try:
                await self.control.ask(node, "REPLICAOF", host, port)
            except EnvironmentFailed:
                continue
            reached.append(node)
        return reached
