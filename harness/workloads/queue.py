"""Queues: pushes of unique elements, and blocking pops."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec.structs import replace

from harness.checkers.claims.queue import QueueAccounting
from harness.checkers.linearizability import Linearizable
from harness.checkers.verdict import Checker
from harness.clients import Form, RedisConnection, WrongReply, replies, with_role
from harness.generators import Context, Generator, On, Once, Step, invocation, phases
from harness.history.operations import Op
from harness.models.list_queue import ListQueue
from harness.targets import Disturbance
from harness.workloads.base import WorkloadOptions, final_reads, log_claims

ELEMENTS_A_KEY = 200  # so that a final read fits into a line of the history
POPS_PERCENT = 50
POP_TIMEOUT_S = 0.2
LAST_PUSHES = 5  # after the faults
LATE_KEYS = 2  # how many of the newest keys pops use


class PushesAndPops(msgspec.Struct, frozen=True):
    """Pushes to the newest queue, and pops from the newest `LATE_KEYS` queues."""

    pops_percent: int
    count: int = 0

    def next(self, ctx: Context, /) -> Step:
        key = self.count // ELEMENTS_A_KEY
        if ctx.rng.randrange(100) < self.pops_percent:
            older = max(0, key - ctx.rng.randrange(LATE_KEYS))
            return invocation(ctx, "pop", [older, None]), self
        return invocation(ctx, "push", [key, self.count]), replace(self, count=self.count + 1)

    def update(self, ctx: Context, op: Op, /) -> Generator:
        return self


class Queue:
    """Claims: pushes, pops and reads are linearizable; every acknowledged element is popped exactly
    once, first in, first out, or left in the queue at the end."""

    name = "queue"
    depends_on: frozenset[Disturbance] = frozenset()
    reads = frozenset({"read"})
    forms: Mapping[str, Form] = {}
    minimum: Mapping[str, int] = {"push": 20, "pop": 10}

    def __init__(self, options: WorkloadOptions) -> None:
        self._options = options
        self._used: dict[int, None] = {}

    def generator(self) -> Generator:
        return PushesAndPops(self._options.reads_or(POPS_PERCENT))

    def final(self) -> Generator | None:
        """Push some more elements, so that what nodes hold can be compared, and read the rest."""
        last = max(self._used, default=0)
        self._used.setdefault(last)
        pushes = [Once("push", [last, -1 - i]) for i in range(LAST_PUSHES)]
        return phases(On(1, phases(*pushes)), final_reads(sorted(self._used)))

    def claims(self) -> dict[str, Checker]:
        return {
            "queue": QueueAccounting(),
            "linearizable": Linearizable(ListQueue()),
            **log_claims(self, self._options),
        }

    def _name(self, key: int) -> str:
        return f"{self._options.prefix}q{key}"

    def keys_of(self, op: Op) -> list[str]:
        return [self._name(op.value[0])]

    async def apply(self, connection: RedisConnection, op: Op, /) -> Op:
        key, value = op.value
        name = self._name(key)
        self._used.setdefault(key)
        if op.f == "push":
            reply = await connection.call("RPUSH", name, value)
            length = replies.integer("RPUSH", reply, least=1)
            return op.completed("ok", value=[key, [value, length]])
        if op.f == "pop":
            popped = await connection.call("BLPOP", name, POP_TIMEOUT_S)
            if popped is not None:
                of, element = replies.array("BLPOP", popped, length=2)
                if of != name:
                    raise WrongReply("BLPOP", popped, f"an element of {name}")
                popped = replies.number("BLPOP", element)
            return op.completed("ok", value=[key, popped])
        reply, role = await with_role(connection, "LRANGE", name, 0, -1)
        return op.completed("ok", value=[key, replies.numbers("LRANGE", reply)], role=role)

    def effects(self, op: Op) -> list[tuple[str, ...]]:
        if op.f != "push":
            return []
        key, value = op.value
        element = value[0] if isinstance(value, list) else value
        return [("RPUSH", self._name(key), str(element))]

    def shown(self, op: Op) -> list[tuple[str, ...]]:
        key, value = op.value
        seen = value if op.f == "read" else [value] if op.f == "pop" and value is not None else []
        return [("RPUSH", self._name(key), str(v)) for v in seen]
