"""Registers: read, write and compare-and-set over independent keys."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec.structs import replace

from harness.checkers.linearizability import Linearizable
from harness.checkers.verdict import Checker
from harness.clients import Form, RedisConnection, replies, transaction, with_role
from harness.generators import (
    Context,
    Generator,
    Step,
    invocation,
)
from harness.history.operations import Op
from harness.models.register import CasRegister
from harness.targets import Disturbance
from harness.workloads.base import (
    WorkloadOptions,
    final_reads,
    in_groups,
    log_claims,
)

GROUP = 5  # workers per key
OPERATIONS_A_KEY = 400
READS_PERCENT = 38
NEVER_WRITTEN = 0
_CAS = """
local seen = redis.call('GET', KEYS[1])
if seen == ARGV[1] then redis.call('SET', KEYS[1], ARGV[2]) end
return seen
"""


class RegisterOps(msgspec.Struct, frozen=True):
    """Reads, writes and compare-and-sets of one key.

    Written values are unique. A compare-and-set expects the value observed last, so that about
    half of them succeed; before the first observation, one that is never written.
    """

    key: int
    reads_percent: int
    count: int = 0
    seen: int = NEVER_WRITTEN

    def next(self, ctx: Context, /) -> Step:
        if ctx.rng.randrange(100) < self.reads_percent:
            return invocation(ctx, "read", [self.key, None]), self
        drawn, value = ctx.rng.randrange(5), self.count + 1
        after = replace(self, count=value)
        if drawn < 2:
            return invocation(ctx, "write", [self.key, value]), after
        f = "cas" if drawn < 4 else "cas-watch"
        return invocation(ctx, f, [self.key, [self.seen, value]]), after

    def update(self, ctx: Context, op: Op, /) -> Generator:
        if op.type != "ok" or op.value[0] != self.key:
            return self
        value = op.value[1]
        if isinstance(value, list):
            value = value[1] if value[0] == value[2] else value[2]
        return self if value is None or value == self.seen else replace(self, seen=value)


class Register:
    """Claim: the operations on each key are linearizable."""

    name = "register"
    depends_on: frozenset[Disturbance] = frozenset()
    reads = frozenset({"read"})
    forms: Mapping[str, Form] = {"cas": "script", "cas-watch": "exec"}
    minimum: Mapping[str, int] = {"read": 10, "write": 10, "cas": 5, "cas-watch": 5}

    def __init__(self, options: WorkloadOptions) -> None:
        self._options = options
        self._used: dict[int, None] = {}

    def generator(self) -> Generator:
        reads = self._options.reads_or(READS_PERCENT)
        return in_groups(
            self._options.concurrency, GROUP, lambda key: RegisterOps(key, reads), OPERATIONS_A_KEY
        )

    def final(self) -> Generator | None:
        return final_reads(sorted(self._used))

    def claims(self) -> dict[str, Checker]:
        return {
            "linearizable": Linearizable(CasRegister()),
            **log_claims(self, self._options),
        }

    def effects(self, op: Op) -> list[tuple[str, ...]]:
        """Return the SET of an operation; a compare-and-set that saw another value has none."""
        key, value = op.value
        if op.f == "read" or (op.f != "write" and len(value) == 3 and value[2] != value[0]):
            return []
        written = value if op.f == "write" else value[1]
        return [("SET", f"{self._options.prefix}r{key}", str(written))]

    def shown(self, op: Op) -> list[tuple[str, ...]]:
        key, value = op.value
        seen = value if op.f == "read" else value[2] if op.f != "write" else None
        return [] if seen is None else [("SET", f"{self._options.prefix}r{key}", str(seen))]

    def keys_of(self, op: Op) -> list[str]:
        return [f"{self._options.prefix}r{op.value[0]}"]

    async def apply(self, connection: RedisConnection, op: Op, /) -> Op:
        key, value = op.value
        (name,) = self.keys_of(op)
        self._used.setdefault(key)
        if op.f == "write":
            replies.ok("SET", await connection.call("SET", name, value))
            return op.completed("ok")
        if op.f == "read":
            reply, role = await with_role(connection, "GET", name)
            return op.completed("ok", value=[key, replies.number("GET", reply)], role=role)
        if op.f == "cas":
            reply, role = await with_role(connection, "EVAL", _CAS, 1, name, *value)
            seen = replies.number("EVAL", reply)
            if seen == value[0]:  # it wrote, so the node was a primary then
                role = None
            return op.completed("ok", value=[key, [*value, seen]], role=role)
        return await self._cas_by_watch(connection, op, name)

    @staticmethod
    async def _cas_by_watch(connection: RedisConnection, op: Op, name: str) -> Op:
        key, (old, new) = op.value
        replies.ok("WATCH", await connection.call("WATCH", name))
        reply, role = await with_role(connection, "GET", name)
        seen = replies.number("GET", reply)
        if seen != old:
            replies.ok("UNWATCH", await connection.call("UNWATCH"))
            return op.completed("ok", value=[key, [old, new, seen]], role=role)
        result, _ = await transaction(connection, ("SET", name, new))
        if result is None:
            return op.completed("fail", error="WATCH abort")
        replies.ok("SET", result[0])
        return op.completed("ok", value=[key, [old, new, old]])
