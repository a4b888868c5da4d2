"""Transactions (MULTI, EXEC) on several keys of one slot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from harness.checkers.linearizability import Linearizable
from harness.checkers.verdict import Checker
from harness.clients import Form, RedisConnection, WrongReply, replies, transaction
from harness.generators import (
    Context,
    Generator,
    On,
    Once,
    Step,
    invocation,
    phases,
)
from harness.history.operations import Op
from harness.models.multi_register import MultiRegister
from harness.targets import Disturbance
from harness.workloads.base import (
    WorkloadOptions,
    in_groups,
    log_claims,
    try_again,
)

KEYS = 3
GROUP = 5  # workers per group of keys
OPERATIONS_A_GROUP = 300
READS_PERCENT = 40
READ_ALL = [["r", k, None] for k in range(KEYS)]


class Transactions(msgspec.Struct, frozen=True):
    """Transactions that read all keys of a group, and transactions that read and write some."""

    group: int
    reads_percent: int
    count: int = 0

    def next(self, ctx: Context, /) -> Step:
        if ctx.rng.randrange(100) < self.reads_percent:
            return invocation(ctx, "read", [self.group, READ_ALL]), self
        count, steps = self.count, []
        for k in sorted(ctx.rng.sample(range(KEYS), ctx.rng.randint(1, KEYS))):
            if ctx.rng.getrandbits(1):
                steps.append(["r", k, None])
            count += 1
            steps.append(["w", k, count])
        return invocation(ctx, "txn", [self.group, steps]), replace(self, count=count)

    def update(self, ctx: Context, op: Op, /) -> Generator:
        return self


class TransactionsWorkload:
    """Claim: the transactions on each group of keys are linearizable."""

    name = "transactions"
    depends_on: frozenset[Disturbance] = frozenset()
    reads = frozenset({"read"})
    forms: Mapping[str, Form] = {"txn": "exec", "read": "exec"}
    minimum: Mapping[str, int] = {"read": 10, "txn": 20}

    def __init__(self, options: WorkloadOptions) -> None:
        self._options = options
        self._used: dict[int, None] = {}

    def generator(self) -> Generator:
        reads = self._options.reads_or(READS_PERCENT)
        return in_groups(
            self._options.concurrency,
            GROUP,
            lambda group: Transactions(group, reads),
            OPERATIONS_A_GROUP,
        )

    def final(self) -> Generator | None:
        tries = [
            try_again(
                lambda group=group: Once("read", [group, READ_ALL])  # type: ignore[misc]
            )
            for group in sorted(self._used)
        ]
        return On(1, phases(*tries))

    def claims(self) -> dict[str, Checker]:
        return {
            "linearizable": Linearizable(MultiRegister(KEYS)),
            **log_claims(self, self._options),
        }

    def _name(self, group: int, k: int) -> str:
        return f"{self._options.prefix}t{{{group}}}{k}"

    def keys_of(self, op: Op) -> list[str]:
        group, steps = op.value
        return [self._name(group, k) for _, k, _ in steps]

    async def apply(self, connection: RedisConnection, op: Op, /) -> Op:
        group, steps = op.value
        self._used.setdefault(group)
        commands: list[tuple[Any, ...]] = []
        for what, k, value in steps:
            name = self._name(group, k)
            commands.append(("GET", name) if what == "r" else ("SET", name, value))
        result, role = await transaction(connection, *commands)
        if result is None:
            raise WrongReply("EXEC", None, "an array: no key was watched")
        seen = []
        for (what, k, value), reply in zip(steps, result, strict=True):
            if what == "w":
                replies.ok("SET", reply)
            seen.append([what, k, replies.number("GET", reply) if what == "r" else value])
        claimed = role if op.f == "read" else None
        return op.completed("ok", value=[group, seen], role=claimed)

    def effects(self, op: Op) -> list[tuple[str, ...]]:
        group, steps = op.value
        return [("SET", self._name(group, k), str(v)) for what, k, v in steps if what == "w"]

    def shown(self, op: Op) -> list[tuple[str, ...]]:
        """Return the SETs of the values that were read; its own writes are in `effects`."""
        group, steps = op.value
        return [
            ("SET", self._name(group, k), str(v))
            for what, k, v in steps
            if what == "r" and v is not None
        ]
