"""Sets: unique elements are added, and read back to find lost, duplicate and stale ones."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec.structs import replace

from harness.checkers.claims.set import SetAccounting
from harness.checkers.linearizability import Linearizable
from harness.checkers.verdict import Checker
from harness.clients import Form, RedisConnection, replies, with_role
from harness.generators import (
    Context,
    Generator,
    Step,
    invocation,
)
from harness.history.operations import Op
from harness.models.set import GrowSet
from harness.targets import Disturbance
from harness.workloads.base import WorkloadOptions, final_reads, log_claims

READS_PERCENT = 20
ELEMENTS_A_KEY = 256  # so that a read of a whole key fits into a line of the history


class Adds(msgspec.Struct, frozen=True):
    """Adds to the newest key, and reads of it."""

    reads_percent: int
    count: int = 0

    def next(self, ctx: Context, /) -> Step:
        key = self.count // ELEMENTS_A_KEY
        if ctx.rng.randrange(100) < self.reads_percent:
            return invocation(ctx, "read", [key, None]), self
        return invocation(ctx, "add", [key, self.count]), replace(self, count=self.count + 1)

    def update(self, ctx: Context, op: Op, /) -> Generator:
        return self


class Set:
    """Claims: adds and reads are linearizable; an element that was acknowledged or read is in every
    later read, once, and nothing else is."""

    name = "set"
    depends_on: frozenset[Disturbance] = frozenset()
    reads = frozenset({"read"})
    forms: Mapping[str, Form] = {}
    minimum: Mapping[str, int] = {"add": 20, "read": 5}

    def __init__(self, options: WorkloadOptions) -> None:
        self._options = options
        self._used: dict[int, None] = {}

    def generator(self) -> Generator:
        return Adds(self._options.reads_or(READS_PERCENT))

    def final(self) -> Generator | None:
        return final_reads(sorted(self._used))

    def claims(self) -> dict[str, Checker]:
        return {
            "set": SetAccounting(),
            "linearizable": Linearizable(GrowSet()),
            **log_claims(self, self._options),
        }

    def effects(self, op: Op) -> list[tuple[str, ...]]:
        if op.f != "add":
            return []
        key, value = op.value
        element = value[0] if isinstance(value, list) else value
        return [("SADD", f"{self._options.prefix}s{key}", str(element))]

    def shown(self, op: Op) -> list[tuple[str, ...]]:
        key, value = op.value
        seen = value if op.f == "read" else []
        return [("SADD", f"{self._options.prefix}s{key}", str(v)) for v in seen]

    def keys_of(self, op: Op) -> list[str]:
        return [f"{self._options.prefix}s{op.value[0]}"]

    async def apply(self, connection: RedisConnection, op: Op, /) -> Op:
        key, value = op.value
        (name,) = self.keys_of(op)
        if op.f == "add":
            self._used.setdefault(key)
            reply = await connection.call("SADD", name, value)
            added = replies.integer("SADD", reply, least=0, most=1)
            return op.completed("ok", value=[key, [value, bool(added)]])
        reply, role = await with_role(connection, "SMEMBERS", name)
        return op.completed(
            "ok", value=[key, sorted(replies.numbers("SMEMBERS", reply))], role=role
        )
