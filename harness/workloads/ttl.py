"""Keys that expire: an expired key must not reappear."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec.structs import replace

from harness.checkers.claims.ttl import NeverReappears
from harness.checkers.verdict import Checker
from harness.clients import Form, RedisConnection, with_role
from harness.generators import Context, Generator, Step, invocation
from harness.history.operations import Op
from harness.targets import Disturbance
from harness.workloads.base import AnsweredByReplica, WorkloadOptions, final_reads, log_claims
from harness.workloads.register import number

READS_PERCENT = 80
LIVE_KEYS = 150  # how many of the newest keys reads use
TTL_MS = (50, 1000)
FINAL_KEYS = 60


class SetsAndReads(msgspec.Struct, frozen=True):
    """Sets, each of a new key with a random TTL, and reads of the newest keys."""

    reads_percent: int
    count: int = 0

    def next(self, ctx: Context, /) -> Step:
        if ctx.rng.randrange(100) < self.reads_percent:
            key = max(0, self.count - 1 - ctx.rng.randrange(LIVE_KEYS))
            return invocation(ctx, "read", [key, None]), self
        value = [self.count, ctx.rng.randint(*TTL_MS)]
        return invocation(ctx, "set", value), replace(self, count=self.count + 1)

    def update(self, ctx: Context, op: Op, /) -> Generator:
        return self


class Ttl:
    """Claim: a key that existed and was then read as absent does not reappear."""

    name = "ttl"
    depends_on: frozenset[Disturbance] = frozenset({"wall-clock"})
    reads = frozenset({"read"})
    forms: Mapping[str, Form] = {}
    minimum: Mapping[str, int] = {"set": 20, "read": 20}

    def __init__(self, options: WorkloadOptions) -> None:
        self._options = options
        self._acknowledged: list[int] = []

    def generator(self) -> Generator:
        return SetsAndReads(self._options.reads_or(READS_PERCENT))

    def final(self) -> Generator | None:
        """Read the newest keys whose set was acknowledged: for those absence is conclusive."""
        return final_reads(sorted(self._acknowledged)[-FINAL_KEYS:])

    def claims(self) -> dict[str, Checker]:
        return {
            "absent-for-ever": NeverReappears(),
            "demoted": AnsweredByReplica(),
            **log_claims(self, self._options),
        }

    def _name(self, key: int) -> str:
        return f"{self._options.prefix}x{key}"

    def keys_of(self, op: Op) -> list[str]:
        return [self._name(op.value[0])]

    async def apply(self, connection: RedisConnection, op: Op, /) -> Op:
        key, value = op.value
        name = self._name(key)
        if op.f == "set":
            await connection.call("SET", name, key, "PX", value)
            self._acknowledged.append(key)
            return op.completed("ok")
        reply, role = await with_role(connection, "GET", name)
        return op.completed("ok", value=[key, number(reply)], role=role)

    def effects(self, op: Op) -> list[tuple[str, ...]]:
        key = op.value[0]
        return [("SET", self._name(key), str(key))] if op.f == "set" else []

    def shown(self, op: Op) -> list[tuple[str, ...]]:
        key, value = op.value
        return [("SET", self._name(key), str(key))] if op.f == "read" and value is not None else []
