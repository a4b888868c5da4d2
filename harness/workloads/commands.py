"""Arbitrary commands: generated from the server's COMMAND DOCS, checked by a model of its version.

AWS tests MemoryDB like this ("Amazon MemoryDB: A Fast and Durable Memory-First Cloud Database",
SIGMOD 2024, section 7): commands from the engine's specification with biased arguments, on few
keys of one slot, and every reply checked for linearizability.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import redis.exceptions as rx

from harness.checkers.claims.commands import LinearizableCommands, UnlikeTheModel
from harness.checkers.verdict import Checker
from harness.clients import (
    DEFINITE_CODES,
    Form,
    RedisConnection,
    WrongReply,
    error_code,
    replies,
    with_roles,
)
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
from harness.workloads.command_docs import (
    KINDS,
    Documented,
    draw,
    read_docs,
    with_own_subcommands,
)

KEYS = len(KINDS)
GROUP = 4  # workers per group of keys
OPERATIONS_A_GROUP = 150
READS_PERCENT = 40
EXPIRING_GROUPS = 2  # of so many groups the keys of one expire soon
FIELD_GROUPS = 4  # of so many the fields of one, where fields can expire
FIELD_KEYS = 2  # of such a group
# Commands that give a deadline to another key, which the model does not follow there.
MOVING = frozenset({"COPY", "RENAME", "RENAMENX", "SORT", "GEORADIUS", "GEORADIUSBYMEMBER"})
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
        expires = self.group % EXPIRING_GROUPS == 1
        if self.workload.is_of_fields(self.group):
            words = self.workload.draw_of_fields(ctx.rng, self.keys[:FIELD_KEYS], reads=reads)
        else:
            words = self.workload.draw(ctx.rng, self.keys, reads=reads, expires=expires)
        asked = [words, None]
        if expires or self.workload.needs_time(words):
            asked += [self.workload.time_ms(), None]
        return invocation(ctx, "read" if reads else "write", [self.group, asked]), self

    def update(self, ctx: Context, op: Op, /) -> Generator:
        return self


class CommandsWorkload:
    """Claim: all replies are linearizable with respect to a single server of the same version."""

    name = "commands"
    depends_on: frozenset[Disturbance] = frozenset()
    reads = frozenset({"read"})
    forms: Mapping[str, Form] = {}
    minimum: Mapping[str, int] = {"read": 20, "write": 20}

    def __init__(self, options: WorkloadOptions) -> None:
        self._options = options
        self._used: dict[int, None] = {}
        self._models = load("harness.models", "redis")
        self._model = self._models.of(options.server)
        self._commands: dict[bool, list[Documented]] = {}  # by whether they write
        self._ahead_ms = 0.0  # of the server's clock, from the event loop's

    async def prepare(self, connection: RedisConnection) -> None:
        """Read the server's version, its clock and the documentation of its commands."""
        self._model = self._models.of(await _version(connection))
        self._ahead_ms = await _clock_ms(connection) - _loop_ms()
        try:
            info = await connection.call("COMMAND")
        except rx.ResponseError as e:
            raise UsageError(f"--workload commands needs the command COMMAND: {e}") from e
        try:
            docs = await connection.call("COMMAND", "DOCS")
        except rx.ResponseError:  # before Redis 7.0
            docs, own = self._model.documented()
            info = with_own_subcommands(info, own)
        every = read_docs(docs, info)
        self._commands = {w: [c for c in every if c.writes is w] for w in (False, True)}
        if not all(self._commands.values()):
            raise UsageError("--workload commands: COMMAND lists no commands on keys")

    def time_ms(self) -> int:
        """Return the server's time, in Unix milliseconds, as far as it is known."""
        return int(self._ahead_ms + _loop_ms())

    def needs_time(self, words: Sequence[str]) -> bool:
        """Return whether the time has an effect on a command."""
        return bool(self._model.needs_time(words))

    def draw(self, rng: Any, keys: Sequence[str], *, reads: bool, expires: bool) -> list[str]:
        """Return a random command that the model supports. `expires`: keys may expire soon."""
        for _ in range(TRIES):
            command = rng.choice(self._commands[not reads])
            words = draw(command, keys, rng, soon=expires and command.group != "hash")
            if self._model.understands(words, keys) and not (expires and words[0] in MOVING):
                return words
        return ["GET", keys[0]] if reads else ["SET", keys[0], "a"]

    def is_of_fields(self, group: Any) -> bool:
        """Return whether the fields of a group's hashes expire soon. Between its end and its
        deletion a server may show such a field or not, so these commands are not judged: what
        they leave on the nodes is compared."""
        return group % FIELD_GROUPS == FIELD_GROUPS - 1 and bool(self._model.fields_expire)

    def draw_of_fields(self, rng: Any, keys: Sequence[str], *, reads: bool) -> list[str]:
        """Return a random command on hashes, whose fields may expire soon."""
        fitting = [
            c for c in self._commands[not reads] if c.group == "hash" or c.words == ("COPY",)
        ]
        for _ in range(TRIES):
            words = draw(rng.choice(fitting), keys, rng, soon=True)
            if self._model.understands(words, keys):
                return words
        return ["HGETALL", keys[0]] if reads else ["HSET", keys[0], "a", "1"]

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
        linearizable = LinearizableCommands(self._model, self.is_of_fields)
        return {
            "linearizable": linearizable,
            "unlike-the-model": UnlikeTheModel(linearizable),
            **log_claims(self, self._options),
        }

    def keys_of(self, op: Op) -> list[str]:
        return list(self._names(op.value[0]))

    async def apply(self, connection: RedisConnection, op: Op, /) -> Op:
        group, (words, _, *times) = op.value
        self._used.setdefault(group)
        (reply,), role = await with_roles(connection, words)
        if isinstance(reply, Exception) and error_code(reply) in ROUTING:
            raise reply
        claimed = role if op.f == "read" else None
        try:
            seen = [words, self._model.reply_of(words, _plain(reply))]
        except (ValueError, TypeError, LookupError) as e:
            raise WrongReply(words[0], reply, "another shape of reply") from e
        if times:
            seen += [times[0], self.time_ms() + 1]
        return op.completed("ok", value=[group, seen], role=claimed)

    def effects(self, op: Op) -> list[tuple[str, ...]]:
        """Return nothing: equal commands recur, so the log is audited only as a whole."""
        return []

    def shown(self, op: Op) -> list[tuple[str, ...]]:
        return []


async def _version(connection: RedisConnection) -> str:
    """Return the name and the version of a server; empty if it does not say."""
    try:
        info = str(await connection.call("INFO", "server"))
    except rx.ResponseError:
        return ""
    for name in ("valkey", "redis"):
        for line in info.splitlines():
            if line.startswith(f"{name}_version:"):
                return f"{name} {line.partition(':')[2].strip()}"
    return ""


async def _clock_ms(connection: RedisConnection) -> float:
    seconds, micros = replies.array("TIME", await connection.call("TIME"), length=2)
    return int(seconds) * 1000 + int(micros) / 1000


def _loop_ms() -> float:
    return asyncio.get_running_loop().time() * 1000


def _plain(reply: Any) -> Any:
    """Return the reply with all errors, nested ones too, as the model represents them."""
    if isinstance(reply, Exception):
        return {"error": error_code(reply)}
    if isinstance(reply, list):
        return [_plain(each) for each in reply]
    return reply
