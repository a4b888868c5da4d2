"""Counters: increments by positive amounts, whose sums are answered and read."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec.structs import replace

from harness.checkers.claims.counter import CounterAccounting
from harness.checkers.linearizability import Linearizable
from harness.checkers.verdict import Checker
from harness.clients import Form, RedisConnection, replies, with_role
from harness.generators import Context, Generator, Step, invocation
from harness.history.operations import Op
from harness.models.counter import Counter as CounterModel
from harness.targets import Disturbance
from harness.workloads.base import WorkloadOptions, final_reads, log_claims

READS_PERCENT = 25
LIVE_COUNTERS = 4
ADDS_A_COUNTER = 250  # few enough that those of unknown outcome do not make it hard to judge


class AddsAndReads(msgspec.Struct, frozen=True):
    """Increments by 1 to 5 of the live counters, and reads of them."""

    reads_percent: int
    added: tuple[int, ...] = (0,) * LIVE_COUNTERS  # increments so far, by slot

    def next(self, ctx: Context, /) -> Step:
        slot = ctx.rng.randrange(LIVE_COUNTERS)
        key = self.added[slot] // ADDS_A_COUNTER * LIVE_COUNTERS + slot
        if ctx.rng.randrange(100) < self.reads_percent:
            return invocation(ctx, "read", [key, None]), self
        added = (*self.added[:slot], self.added[slot] + 1, *self.added[slot + 1 :])
        return invocation(ctx, "add", [key, ctx.rng.randint(1, 5)]), replace(self, added=added)

    def update(self, ctx: Context, op: Op, /) -> Generator:
        return self


class Counter:
    """Claims: increments and reads are linearizable; every sum lies between that of the
    acknowledged and that of the attempted increments, and none is answered twice."""

    name = "counter"
    depends_on: frozenset[Disturbance] = frozenset()
    reads = frozenset({"read"})
    forms: Mapping[str, Form] = {}
    minimum: Mapping[str, int] = {"add": 20, "read": 5}

    def __init__(self, options: WorkloadOptions) -> None:
        self._options = options
        self._used: dict[int, None] = {}

    def generator(self) -> Generator:
        return AddsAndReads(self._options.reads_or(READS_PERCENT))

    def final(self) -> Generator | None:
        return final_reads(sorted(self._used))

    def claims(self) -> dict[str, Checker]:
        return {
            "counter": CounterAccounting(),
            "linearizable": Linearizable(CounterModel()),
            **log_claims(self, self._options),
        }

    def effects(self, op: Op) -> list[tuple[str, ...]]:
        """Return nothing: increments by the same amount can't be distinguished."""
        return []

    def shown(self, op: Op) -> list[tuple[str, ...]]:
        return []

    def keys_of(self, op: Op) -> list[str]:
        return [f"{self._options.prefix}c{op.value[0]}"]

    async def apply(self, connection: RedisConnection, op: Op, /) -> Op:
        key, value = op.value
        (name,) = self.keys_of(op)
        if op.f == "add":
            self._used.setdefault(key)
            after = replies.integer("INCRBY", await connection.call("INCRBY", name, value))
            return op.completed("ok", value=[key, [value, after]])
        reply, role = await with_role(connection, "GET", name)
        return op.completed("ok", value=[key, replies.number("GET", reply) or 0], role=role)
