"""Lists: appends at the primary, reads at the primary and at every node.

The claims are separate, so that one that fails does not hide the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from harness.checkers.claims.replicas import (
    Converged,
    GrowingPrefixes,
    LostReads,
    Staleness,
    ValuesOfNodes,
)
from harness.checkers.linearizability import Linearizable
from harness.checkers.verdict import Checker
from harness.clients import Form, RedisConnection, replies, with_role
from harness.generators import NANOS, PENDING, Context, Generator, Later, Step, invocation, phases
from harness.history.operations import Op
from harness.models.list_append import ListAppend
from harness.targets import Disturbance
from harness.workloads.base import WorkloadOptions, final_reads, log_claims

APPENDS_A_KEY = 200
READS_PERCENT = 67
FINAL_KEYS = 30
FINAL_ROUNDS = 64  # half a second each: longer than the bound on convergence
ROUND_PAUSE_NS = NANOS // 2


class AppendsAndReads(msgspec.Struct, frozen=True):
    """Appends, and reads: half of them at the primary, half at a random node."""

    nodes: tuple[str, ...]
    reads_percent: int
    count: int = 0

    def next(self, ctx: Context, /) -> Step:
        key = self.count // APPENDS_A_KEY
        if ctx.rng.randrange(100) >= self.reads_percent:
            after = replace(self, count=self.count + 1)
            return invocation(ctx, "append", [key, self.count]), after
        node = ctx.rng.choice(self.nodes) if ctx.rng.getrandbits(1) else None
        return invocation(ctx, "read", [key, None], node=node), self

    def update(self, ctx: Context, op: Op, /) -> Generator:
        return self


class UntilConverged(msgspec.Struct, frozen=True):
    """Read every key at every node, in rounds, until a round agrees or no rounds are left."""

    nodes: tuple[str, ...]
    keys: tuple[int, ...]
    rounds: int = FINAL_ROUNDS
    todo: tuple[tuple[str, int], ...] = ()
    pending: int = 0
    seen: dict[tuple[str, int], Any] = msgspec.field(default_factory=dict)
    started: bool = False
    begins: int = 0  # time of the next round

    def next(self, ctx: Context, /) -> Step:
        if self.begins > ctx.time:
            return Later(self.begins, True), self
        if self.todo:
            node, key = self.todo[0]
            op = invocation(ctx, "read", [key, None], node=node)
            return op, replace(self, todo=self.todo[1:], pending=self.pending + 1)
        if self.pending:
            return PENDING, self
        if (self.started and self.agreed()) or self.rounds == 0 or not self.keys:
            return None
        todo = tuple((n, k) for k in self.keys for n in self.nodes)
        begins = ctx.time + ROUND_PAUSE_NS if self.started else 0
        after = replace(
            self, rounds=self.rounds - 1, todo=todo, seen={}, started=True, begins=begins
        )
        return after.next(ctx)

    def agreed(self) -> bool:
        """Return whether every node answered in this round, with the same values."""
        return len(self.seen) == len(self.nodes) * len(self.keys) and all(
            self.seen[n, k] == self.seen[self.nodes[0], k] for n in self.nodes for k in self.keys
        )

    def update(self, ctx: Context, op: Op, /) -> Generator:
        if op.type == "invoke" or op.f != "read":
            return self
        seen = self.seen
        if op.type == "ok" and op.node is not None:
            seen = {**seen, (op.node, op.value[0]): op.value[1]}
        return replace(self, seen=seen, pending=self.pending - 1)


class ReplicaReads:
    """Claims: operations on the primary are linearizable; the reads of each node are growing
    prefixes, of values that were appended; all nodes converge after healing. The staleness of
    replicas is measured."""

    name = "replica-reads"
    depends_on: frozenset[Disturbance] = frozenset()
    reads = frozenset({"read"})
    forms: Mapping[str, Form] = {}
    minimum: Mapping[str, int] = {"read": 20, "append": 10}

    def __init__(self, options: WorkloadOptions) -> None:
        self._options = options
        self._last_key = -1
        self._shown: dict[int, dict[int, tuple[str, ...]]] = {}

    def generator(self) -> Generator:
        return AppendsAndReads(self._options.nodes, self._options.reads_or(READS_PERCENT))

    def final(self) -> Generator | None:
        newest = range(max(0, self._last_key + 1 - FINAL_KEYS), self._last_key + 1)
        at_the_primary = final_reads(list(range(self._last_key + 1)))
        return phases(UntilConverged(self._options.nodes, tuple(newest)), at_the_primary)

    def claims(self) -> dict[str, Checker]:
        promised = "replica-prefixes" in self._options.promises
        return {
            "linearizable": Linearizable(ListAppend()),
            "converged": Converged(self._options.nodes),
            "replica-prefixes": GrowingPrefixes(judged=promised),
            "node-values": ValuesOfNodes(),
            "seen-then-gone": LostReads(),
            "staleness": Staleness(),
            **log_claims(self, self._options),
        }

    def effects(self, op: Op) -> list[tuple[str, ...]]:
        if op.f != "append":
            return []
        key, value = op.value
        element = value[0] if isinstance(value, list) else value
        return [("RPUSH", f"{self._options.prefix}l{key}", str(element))]

    def shown(self, op: Op) -> list[tuple[str, ...]]:
        if op.f != "read":
            return []
        key, value = op.value
        (name,) = self.keys_of(op)
        shown = self._shown.setdefault(key, {})  # one tuple per element: reads repeat them
        for v in value:
            if v not in shown:
                shown[v] = ("RPUSH", name, str(v))
        return [shown[v] for v in value]

    def keys_of(self, op: Op) -> list[str]:
        return [f"{self._options.prefix}l{op.value[0]}"]

    async def apply(self, connection: RedisConnection, op: Op, /) -> Op:
        key, value = op.value
        (name,) = self.keys_of(op)
        if op.f == "append":
            self._last_key = max(self._last_key, key)
            reply = await connection.call("RPUSH", name, value)
            length = replies.integer("RPUSH", reply, least=1)
            return op.completed("ok", value=[key, [value, length]])
        reply, role = await with_role(connection, "LRANGE", name, 0, -1)
        return op.completed("ok", value=[key, replies.numbers("LRANGE", reply)], role=role)
