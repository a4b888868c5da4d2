"""SET, WAIT and GET: a value that was read must survive a failover.

Writers SET a unique value and WAIT for `REPLICAS` replicas; readers GET at the primary. Redis
answers reads with a value before any replica has it, so a failover can lose a value that was
already read.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import redis.exceptions as rx
from msgspec.structs import replace

from harness.checkers.linearizability import Linearizable
from harness.checkers.verdict import Checker
from harness.clients import Form, RedisConnection, replies, with_role
from harness.errors import UsageError
from harness.generators import NANOS, AnyOf, Context, Generator, On, Step, invocation, shares
from harness.history.operations import Op
from harness.models.register import Register as RegisterModel
from harness.targets import Disturbance
from harness.workloads.base import WorkloadOptions, final_reads, log_claims

REPLICAS = 1
WAIT_MS = 500  # shorter than the client's time-out, so that WAIT is answered
LIVE_KEYS = 3
KEY_LIFE_NS = 6 * NANOS


def live_key(slot: int, time: int) -> int:
    """Return the key of a slot at a time: a new one every `KEY_LIFE_NS`, staggered by slot."""
    generation = (time + slot * KEY_LIFE_NS // LIVE_KEYS) // KEY_LIFE_NS
    return int(generation) * LIVE_KEYS + slot


class Writes(msgspec.Struct, frozen=True):
    """Writes of unique values to the live keys."""

    count: int = 0

    def next(self, ctx: Context, /) -> Step:
        key = live_key(ctx.rng.randrange(LIVE_KEYS), ctx.time)
        after = replace(self, count=self.count + 1)
        return invocation(ctx, "write", [key, after.count]), after

    def update(self, ctx: Context, op: Op, /) -> Generator:
        return self


class Reads(msgspec.Struct, frozen=True):
    """Reads of the live keys."""

    def next(self, ctx: Context, /) -> Step:
        key = live_key(ctx.rng.randrange(LIVE_KEYS), ctx.time)
        return invocation(ctx, "read", [key, None]), self

    def update(self, ctx: Context, op: Op, /) -> Generator:
        return self


class Wait:
    """Claim: the reads and writes of each key are linearizable."""

    name = "wait"
    depends_on: frozenset[Disturbance] = frozenset()
    reads = frozenset({"read"})
    forms: Mapping[str, Form] = {}
    minimum: Mapping[str, int] = {"read": 20, "write": 10}

    def __init__(self, options: WorkloadOptions) -> None:
        if options.concurrency < 2:
            raise UsageError("--workload wait needs --concurrency 2 or more: a reader and a writer")
        if options.timeout_s <= WAIT_MS / 1000 + 0.1:
            raise UsageError(
                f"--workload wait needs a --timeout of more than {WAIT_MS / 1000 + 0.1:g}: "
                f"WAIT alone may take {WAIT_MS / 1000:g}"
            )
        self._options = options
        self._used: dict[int, None] = {}

    def generator(self) -> Generator:
        n = self._options.concurrency
        writers = shares(n, 100 - self._options.reads_or(50))
        bits = sum(1 << worker for worker in writers)
        return AnyOf((On(bits, Writes()), On((1 << n) - 1 & ~bits, Reads())))

    def final(self) -> Generator | None:
        return final_reads(sorted(self._used))

    def claims(self) -> dict[str, Checker]:
        return {
            "linearizable": Linearizable(RegisterModel(), of_reads=True),
            **log_claims(self, self._options),
        }

    def effects(self, op: Op) -> list[tuple[str, ...]]:
        return self._traced(op) if op.f == "write" else []

    def shown(self, op: Op) -> list[tuple[str, ...]]:
        return self._traced(op) if op.f == "read" and op.value[1] is not None else []

    def _traced(self, op: Op) -> list[tuple[str, ...]]:
        key, value = op.value
        return [("SET", f"{self._options.prefix}w{key}", str(value))]

    def keys_of(self, op: Op) -> list[str]:
        return [f"{self._options.prefix}w{op.value[0]}"]

    async def apply(self, connection: RedisConnection, op: Op, /) -> Op:
        key, value = op.value
        (name,) = self.keys_of(op)
        self._used.setdefault(key)
        if op.f == "read":
            reply, role = await with_role(connection, "GET", name)
            return op.completed("ok", value=[key, replies.number("GET", reply)], role=role)
        replies.ok("SET", await connection.call("SET", name, value))
        try:
            reached = await connection.call("WAIT", REPLICAS, WAIT_MS)
        except rx.RedisError as e:  # whatever the error, SET was executed
            if not isinstance(e, rx.ResponseError):
                await connection.close()
            return op.completed("info", error=f"WAIT: {e}"[:160])
        if replies.integer("WAIT", reached, least=0) >= REPLICAS:
            return op.completed("ok")
        return op.completed("info", error=f"WAIT reached {reached} of {REPLICAS} replicas")
