"""Keys that expire: present until their deadline, absent after it."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec.structs import replace

from harness.checkers.claims.ttl import LinearizableExpiry, TimesToLive
from harness.checkers.verdict import Checker
from harness.clients import Form, RedisConnection, replies, with_role
from harness.generators import Context, Generator, Step, invocation
from harness.history.operations import Op
from harness.targets import Disturbance
from harness.workloads.base import WorkloadOptions, final_reads, log_claims

READS_PERCENT = 80
LIVE_KEYS = 150  # how many of the newest keys reads use
TTL_MS = (50, 1000)
LONG_PERCENT = 10  # of the keys: they outlive the run
LONG_TTL_MS = (1_000_000, 2_000_000)
FINAL_KEYS = 60


class SetsAndReads(msgspec.Struct, frozen=True):
    """Sets, each of a new key with a random TTL, and reads of the newest keys."""

    reads_percent: int
    count: int = 0

    def next(self, ctx: Context, /) -> Step:
        if ctx.rng.randrange(100) < self.reads_percent:
            key = max(0, self.count - 1 - ctx.rng.randrange(LIVE_KEYS))
            return invocation(ctx, "read", [key, None]), self
        long = ctx.rng.randrange(100) < LONG_PERCENT
        value = [self.count, ctx.rng.randint(*(LONG_TTL_MS if long else TTL_MS))]
        return invocation(ctx, "set", value), replace(self, count=self.count + 1)

    def update(self, ctx: Context, op: Op, /) -> Generator:
        return self


class Ttl:
    """Claims: sets, reads and expiries are linearizable; a key has its value from its set to its
    deadline, as far as the clocks allow, and none after it; it does not reappear."""

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
            "ttl": TimesToLive(),
            "linearizable": LinearizableExpiry(),
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
            replies.ok("SET", await connection.call("SET", name, key, "PX", value))
            self._acknowledged.append(key)
            return op.completed("ok")
        reply, role = await with_role(connection, "GET", name)
        return op.completed("ok", value=[key, replies.number("GET", reply)], role=role)

    def effects(self, op: Op) -> list[tuple[str, ...]]:
        key = op.value[0]
        return [("SET", self._name(key), str(key))] if op.f == "set" else []

    def shown(self, op: Op) -> list[tuple[str, ...]]:
        key, value = op.value
        return [("SET", self._name(key), str(key))] if op.f == "read" and value is not None else []
