"""Locks that expire, with fencing tokens."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec.structs import replace

from harness.checkers.claims.lock import Exclusion, FencingTokens, LinearizableLeases
from harness.checkers.verdict import Checker
from harness.clients import Form, RedisConnection, replies, with_role
from harness.generators import Context, Generator, Step, invocation
from harness.history.operations import Op
from harness.targets import Disturbance
from harness.workloads.base import WorkloadOptions, final_reads, log_claims

LOCKS = 20
LEASE_MS = 150  # at least; longer where clocks may err by much
LEASE_PER_ERROR = 5
RELEASES_PERCENT = 40
NOBODY = -1  # an owner that was never granted a lock
_ACQUIRE = """
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then
  return redis.call('INCR', KEYS[2])
end
return false
"""
_RELEASE = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""


class AcquiresAndReleases(msgspec.Struct, frozen=True):
    """Acquires, each by a new owner, and releases.

    A quarter of the owners let their locks expire, the others release them in the order of the
    grants. If there is no lock to release, `NOBODY` tries to release one, which must not free it.
    """

    count: int = 0
    held: tuple[tuple[int, int], ...] = ()  # (lock, owner), to be released
    kept: frozenset[int] = frozenset()  # owners that will let their lock expire

    def next(self, ctx: Context, /) -> Step:
        draw = ctx.rng.randrange
        if draw(100) < RELEASES_PERCENT:
            lock = draw(LOCKS)
            lock, owner = self.held[0] if self.held else (lock, NOBODY)
            return invocation(ctx, "release", [lock, owner]), replace(self, held=self.held[1:])
        lock, expires = draw(LOCKS), draw(4) == 0
        kept = self.kept | {self.count} if expires else self.kept
        op = invocation(ctx, "acquire", [lock, [self.count, None]])
        return op, replace(self, count=self.count + 1, kept=kept)

    def update(self, ctx: Context, op: Op, /) -> Generator:
        if op.type == "invoke" or op.f != "acquire":
            return self
        lock, (owner, token) = op.value
        if owner in self.kept:
            return replace(self, kept=self.kept - {owner})
        if op.type != "ok" or token is None:
            return self
        return replace(self, held=(*self.held, (lock, owner)))


class Lock:
    """Claims: acquires, releases and expiries are linearizable; a lock is granted to one owner at a
    time, until it is released or its lease has ended; the fencing tokens of a lock increase in the
    real-time order of its grants.

    That an owner still believes in its lease after its end is not the server's doing.
    """

    name = "lock"
    depends_on: frozenset[Disturbance] = frozenset({"wall-clock"})
    reads = frozenset({"read"})
    forms: Mapping[str, Form] = {"acquire": "script", "release": "script"}
    minimum: Mapping[str, int] = {"acquire": 20, "release": 5}

    def __init__(self, options: WorkloadOptions) -> None:
        self._options = options
        self._lease_ms = max(LEASE_MS, LEASE_PER_ERROR * options.clock_error_ms)
        self._used: dict[int, None] = {}

    def generator(self) -> Generator:
        return AcquiresAndReleases()

    def final(self) -> Generator | None:
        return final_reads(sorted(self._used))

    def claims(self) -> dict[str, Checker]:
        return {
            "fencing": FencingTokens(),
            "exclusive": Exclusion(self._lease_ms),
            "linearizable": LinearizableLeases(self._lease_ms),
            **log_claims(self, self._options),
        }

    def _name(self, lock: int) -> str:
        return f"{self._options.prefix}{{k{lock}}}"

    def keys_of(self, op: Op) -> list[str]:
        name = self._name(op.value[0])
        return [name, f"{name}token"]

    async def apply(self, connection: RedisConnection, op: Op, /) -> Op:
        lock, value = op.value
        name, token = self.keys_of(op)
        self._used.setdefault(lock)
        if op.f == "acquire":
            owner, lease_ms = value[0], self._lease_ms
            granted = await connection.call("EVAL", _ACQUIRE, 2, name, token, owner, lease_ms)
            if granted is not None:
                granted = replies.integer("EVAL", granted, least=1)
            return op.completed("ok", value=[lock, [value[0], granted]])
        if op.f == "release":
            reply = await connection.call("EVAL", _RELEASE, 1, name, value)
            held = replies.integer("EVAL", reply, least=0, most=1)
            return op.completed("ok", value=[lock, [value, bool(held)]])
        reply, role = await with_role(connection, "GET", token)
        return op.completed("ok", value=[lock, replies.number("GET", reply) or 0], role=role)

    def effects(self, op: Op) -> list[tuple[str, ...]]:
        """Return the SET of an acquire that was, or may have been, granted."""
        if op.f != "acquire" or (op.type == "ok" and op.value[1][1] is None):
            return []
        return [("SET", self._name(op.value[0]), str(op.value[1][0]))]

    def beside(self, op: Op) -> list[tuple[str, ...]]:
        """Return the token's increment: the script of an acquire is atomic."""
        return [("INCR", f"{self._name(op.value[0])}token")]

    def shown(self, op: Op) -> list[tuple[str, ...]]:
        return []
