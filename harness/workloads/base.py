"""The workload protocol, and helpers that several workloads share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import msgspec

from harness.checkers.claims.log_audit import LogAudit, Traced
from harness.checkers.verdict import Checker
from harness.clients import Form, RedisConnection
from harness.environments.protocol import Environment
from harness.generators import (
    AnyOf,
    Context,
    Cycle,
    Delay,
    Generator,
    Limit,
    On,
    Once,
    Step,
    UntilOk,
    phases,
)
from harness.history.operations import Op
from harness.recorder import Recorder
from harness.targets import Disturbance, Target


@dataclass(frozen=True, kw_only=True)
class WorkloadOptions:
    """`nodes`: the target's nodes, the initial primary first. `prefix`: starts every key on the
    server. `promises`: the target's guarantees, see `Target`. `timeout_s`: per operation.
    `reads_percent`: the share of reads among the operations; None: the workload's default.
    `server`: the name and version of the server, if it is known. `clock_error_ms`: see `Target`."""

    nodes: tuple[str, ...]
    concurrency: int
    prefix: str = "h:"
    promises: frozenset[str] = frozenset()
    timeout_s: float = 1.0
    reads_percent: int | None = None
    server: str = ""
    clock_error_ms: int = 10

    def reads_or(self, percent: int) -> int:
        """Return `reads_percent`, or this default if it is not set."""
        return percent if self.reads_percent is None else self.reads_percent


class Workload(Protocol):
    """Client operations, and claims about their history.

    `depends_on`: the disturbances that its claims depend on, besides those of the target.
    `reads`: kinds of operation that can't write. `forms`: the kinds sent as a script or a
    transaction. `minimum`: how many operations of each kind must succeed for a run to be
    conclusive.
    """

    name: str
    depends_on: frozenset[Disturbance]
    reads: frozenset[str]
    forms: Mapping[str, Form]
    minimum: Mapping[str, int]

    def generator(self) -> Generator:
        """Return the operations while faults are injected; unbounded."""
        ...

    def final(self) -> Generator | None:
        """Return the operations after healing, or None; called when the main part has ended."""
        ...

    def keys_of(self, op: Op, /) -> Sequence[str]:
        """Return the server keys that an operation uses; the operation is routed by them."""
        ...

    async def apply(self, connection: RedisConnection, op: Op, /) -> Op:
        """Send an operation's commands and return its completion. Raises redis-py's errors."""
        ...

    def claims(self) -> dict[str, Checker]:
        """Return the checkers by the names of their claims."""
        ...


@runtime_checkable
class Prepared(Protocol):
    """A workload that queries the server before it begins."""

    async def prepare(self, connection: RedisConnection) -> None:
        """Query the server; called once, with a connection to a primary. Raises `UsageError`."""
        ...


@dataclass(frozen=True)
class ScriptContext:
    """The objects that a script acts on. `now`: returns nanoseconds since it began."""

    env: Environment
    target: Target
    recorder: Recorder
    now: Callable[[], int]


@runtime_checkable
class Scripted(Protocol):
    """A workload that is a script: every step is fixed, including the faults."""

    async def play(self, stage: ScriptContext) -> None:
        """Run the script. Raises `EnvironmentFailed` if it can't be completed."""
        ...


class IndependentKeys(msgspec.Struct, frozen=True):
    """Uses keys sequentially: `make(key)` until it is exhausted, then key + `stride`.

    Instances with the same `stride` and different first keys below it use disjoint keys.
    """

    make: Callable[[int], Generator]
    key: int
    stride: int
    current: Generator | None = None

    def next(self, ctx: Context, /) -> Step:
        key, current = self.key, self.current or self.make(self.key)
        for _ in range(2):
            step = current.next(ctx)
            if step is not None:
                return step[0], IndependentKeys(self.make, key, self.stride, step[1])
            key += self.stride
            current = self.make(key)
        return None

    def update(self, ctx: Context, op: Op, /) -> Generator:
        if self.current is None:
            return self
        current = self.current.update(ctx, op)
        if current is self.current:
            return self
        return IndependentKeys(self.make, self.key, self.stride, current)


def log_claims(workload: Traced, options: WorkloadOptions) -> dict[str, Checker]:
    """Return the claim `log-audit` if the target has a log, else no claims."""
    return {"log-audit": LogAudit(workload)} if "log" in options.promises else {}


def in_groups(
    concurrency: int, size: int, make: Callable[[int], Generator], operations: int
) -> Generator:
    """Split the workers into groups of about `size`, each on its own keys: `operations`
    operations of `make(key)`, then the next key."""
    groups = max(1, concurrency // size)
    parts = []
    for first in range(groups):
        workers = sum(1 << w for w in range(concurrency) if w % groups == first)
        each = IndependentKeys(lambda key: Limit(make(key), operations), first, groups)
        parts.append(On(workers, each))
    return AnyOf(tuple(parts))


FINAL_TRIES = 20
FINAL_STEP_NS = 150_000_000


def final_reads(keys: list[int]) -> Generator:
    """Read every key once, by one worker, with up to `FINAL_TRIES` attempts per key."""
    tries = [
        try_again(
            lambda key=key: Once("read", [key, None])  # type: ignore[misc]
        )
        for key in keys
    ]
    return On(1, phases(*tries))


def try_again(make: Callable[[], Generator]) -> Generator:
    """Repeat an invocation until it is ok, up to `FINAL_TRIES` times, `FINAL_STEP_NS` apart."""
    return UntilOk(Delay(Cycle(make, times=FINAL_TRIES), FINAL_STEP_NS))
