"""Arbitrary commands: generated from the server's COMMAND DOCS, checked by a model of Redis.

AWS tests MemoryDB like this ("Amazon MemoryDB: A Fast and Durable Memory-First Cloud Database",
SIGMOD 2024, section 7): commands from the engine's specification with biased arguments, on few
keys of one slot, and every reply checked for linearizability.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import redis.exceptions as rx

from harness.checkers.linearizability import Linearizable
from harness.checkers.verdict import Checker
from harness.clients import DEFINITE_CODES, Form, RedisConnection, error_code, with_roles
from harness.errors import UsageError
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
from harness.registry import load
from harness.targets import Disturbance
from harness.workloads.base import (
    WorkloadOptions,
    in_groups,
    log_claims,
    try_again,
)
from harness.workloads.command_docs import KINDS, Documented, draw, read_docs

KEYS = len(KINDS)
GROUP = 4  # workers per group of keys
OPERATIONS_A_GROUP = 150
READS_PERCENT = 40
TRIES = 50  # attempts to draw a command that the model supports
# Errors of a node that did not execute the command; other errors are replies of the command.
ROUTING = DEFINITE_CODES["command"] - {"WRONGTYPE", "NOSCRIPT"}


class Commands(msgspec.Struct, frozen=True):
    """Random commands on the keys of one group."""

    group: int
    keys: tuple[str, ...]
    workload: Any
    reads_percent: int

    def next(self, ctx: Context, /) -> Step:
        reads = ctx.rng.randrange(100) < self.reads_percent
        words = self.workload.draw(ctx.rng, self.keys, reads=reads)
        return invocation(ctx, "read" if reads else "write", [self.group, [words, None]]), self

    def update(self, ctx: Context, op: Op, /) -> Generator:
        return self


class CommandsWorkload:
    """Claim: all replies are linearizable with respect to a single Redis server."""

    name = "commands"
    depends_on: frozenset[Disturbance] = frozenset()
    reads = frozenset({"read"})
    forms: Mapping[str, Form] = {}
    minimum: Mapping[str, int] = {"read": 20, "write": 20}

    def __init__(self, options: WorkloadOptions) -> None:
        self._options = options
        self._used: dict[int, None] = {}
        self._model = load("harness.models", "redis")()
        self._commands: dict[bool, list[Documented]] = {}  # by whether they write

    async def prepare(self, connection: RedisConnection) -> None:
        """Read the server's command documentation. Raises `UsageError` if it has none."""
        try:
            docs = await connection.call("COMMAND", "DOCS")
            info = await connection.call("COMMAND")
        except rx.ResponseError as e:
            raise UsageError(f"--workload commands needs COMMAND DOCS (Redis 7): {e}") from e
        every = read_docs(docs, info)
        self._commands = {w: [c for c in every if c.writes is w] for w in (False, True)}
        if not all(self._commands.values()):
            raise UsageError("--workload commands: COMMAND DOCS lists no commands on keys")

    def draw(self, rng: Any, keys: Sequence[str], *, reads: bool) -> list[str]:
        """Return a random command that the model supports."""
        for _ in range(TRIES):
            words = draw(rng.choice(self._commands[not reads]), keys, rng)
            if self._model.understands(words, keys):
                return words
        return ["GET", keys[0]] if reads else ["SET", keys[0], "a"]

    def generator(self) -> Generator:
        reads = self._options.reads_or(READS_PERCENT)
        return in_groups(
            self._options.concurrency,
            GROUP,
            lambda group: Commands(group, self._names(group), self, reads),
            OPERATIONS_A_GROUP,
        )

    def _names(self, group: int) -> tuple[str, ...]:
        return tuple(f"{self._options.prefix}{{{group}}}{k}" for k in range(KEYS))

    def final(self) -> Generator | None:
        """Read the type of every key."""
        tries = [
            try_again(
                lambda group=group, name=name: Once(  # type: ignore[misc]
                    "read", [group, [["TYPE", name], None]]
                )
            )
            for group in sorted(self._used)
            for name in self._names(group)
        ]
        return On(1, phases(*tries))

    def claims(self) -> dict[str, Checker]:
        return {
            "linearizable": Linearizable(self._model),
            **log_claims(self, self._options),
        }

    def keys_of(self, op: Op) -> list[str]:
        return list(self._names(op.value[0]))

    async def apply(self, connection: RedisConnection, op: Op, /) -> Op:
        group, (words, _) = op.value
        self._used.setdefault(group)
        (reply,), role = await with_roles(connection, words)
        if isinstance(reply, Exception) and error_code(reply) in ROUTING:
            raise reply
        claimed = role if op.f == "read" else None
        seen = self._model.reply_of(words, _plain(reply))
        return op.completed("ok", value=[group, [words, seen]], role=claimed)

    def effects(self, op: Op) -> list[tuple[str, ...]]:
        """Return nothing: equal commands recur, so the log is audited only as a whole."""
        return []

    def shown(self, op: Op) -> list[tuple[str, ...]]:
        return []


def _plain(reply: Any) -> Any:
    """Return the reply with all errors, nested ones too, as the model represents them."""
    if isinstance(reply, Exception):
        return {"error": error_code(reply)}
    if isinstance(reply, list):
        return [_plain(each) for each in reply]
    return reply
