"""Counters: increments by positive amounts, read back at the end."""

from __future__ import annotations

import random
from collections.abc import Mapping

from harness.checkers.claims.accounting import CounterAccounting
from harness.checkers.verdict import Checker
from harness.clients import Form, RedisConnection, with_role
from harness.generators import Generator, Repeat
from harness.history.operations import Op
from harness.targets import Disturbance
from harness.workloads.base import AnsweredByReplica, WorkloadOptions, final_reads, log_claims

READS_PERCENT = 25
COUNTERS = 4


class Counter:
    """Claim: every value read, the final one too, lies between the sum of the acknowledged and
    the sum of the attempted increments."""

    name = "counter"
    depends_on: frozenset[Disturbance] = frozenset()
    reads = frozenset({"read"})
    forms: Mapping[str, Form] = {}
    minimum: Mapping[str, int] = {"add": 20, "read": 5}

    def __init__(self, options: WorkloadOptions) -> None:
        self._options = options
        self._used: dict[int, None] = {}

    def generator(self) -> Generator:
        """Return increments by 1 to 5, and reads."""
        reads = self._options.reads_or(READS_PERCENT)

        def draw(rng: random.Random) -> tuple[str, list[int | None]]:
            key = rng.randrange(COUNTERS)
            if rng.randrange(100) < reads:
                return "read", [key, None]
            return "add", [key, rng.randint(1, 5)]

        return Repeat(draw)

    def final(self) -> Generator | None:
        return final_reads(sorted(self._used))

    def claims(self) -> dict[str, Checker]:
        return {
            "counter": CounterAccounting(),
            "demoted": AnsweredByReplica(),
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
            after = await connection.call("INCRBY", name, value)
            return op.completed("ok", value=[key, [value, int(after)]])
        reply, role = await with_role(connection, "GET", name)
        return op.completed("ok", value=[key, int(reply or 0)], role=role)
