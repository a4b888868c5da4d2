"""The protocol of a workload, and what several workloads share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import msgspec

from harness.checkers.claims.log_audit import LogAudit, Traced
from harness.checkers.verdict import Checker, Verdict
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
from harness.history.recorded import Recorded
from harness.recorder import Recorder
from harness.targets import Disturbance, Target


@dataclass(frozen=True, kw_only=True)
class WorkloadOptions:
    """`nodes`: of the target, the first primary first. `prefix`: of every key on the server.
    `promises`: what the target promises, see `Target`. `timeout_s`: of an operation.
    `reads_percent`: of the operations; None: what the workload thinks best."""

    nodes: tuple[str, ...]
    concurrency: int
    prefix: str = "h:"
    promises: frozenset[str] = frozenset()
    timeout_s: float = 1.0
    reads_percent: int | None = None

    def reads_or(self, percent: int) -> int:
        return percent if self.reads_percent is None else self.reads_percent


class Workload(Protocol):
    """`depends_on`: what of the environment its claims depend on, beside what the target does.
    `reads`: kinds of operation that can't write. `forms`: those that are a script or a
    transaction. `minimum`: successes of each kind that a run needs to mean something.
    `keys`: server keys that were used, in order."""

    name: str
    depends_on: frozenset[Disturbance]
    reads: frozenset[str]
    forms: Mapping[str, Form]
    minimum: Mapping[str, int]
    keys: dict[str, None]

    def generator(self) -> Generator:
        """What clients do while faults happen; unbounded."""
        ...

    def final(self) -> Generator | None:
        """What clients do after everything was healed; asked when the main part has ended."""
        ...

    async def apply(self, connection: RedisConnection, op: Op, /) -> Op:
        """Send an operation's commands; returns its completion, or raises redis-py's errors."""
        ...

    def claims(self) -> dict[str, Checker]:
        """What is checked, by the name of the claim."""
        ...


@runtime_checkable
class Prepared(Protocol):
    """A workload that asks the server something before it begins."""

    async def prepare(self, connection: RedisConnection) -> None:
        """Once, on a connection to the primary; raises `UsageError`."""
        ...


@dataclass(frozen=True)
class Stage:
    """What a script acts on. `now`: nanoseconds since it began."""

    env: Environment
    target: Target
    recorder: Recorder
    now: Callable[[], int]


@runtime_checkable
class Scripted(Protocol):
    """A workload that is a script: every step is fixed, faults too."""

    async def play(self, stage: Stage) -> None:
        """Raises `EnvironmentFailed` where it broke off."""
        ...


class Demoted:
    """Answers that the harness' own routing got from a node that was no primary any more.

    Measured, so that they can't be taken for the server's fault.
    """

    def check(self, recorded: Recorded, /) -> Verdict:
        stray = [
            p
            for p in recorded.pairs
            if p.invoke.node is None and p.done is not None and p.done.role == "replica"
        ]
        return Verdict(
            valid=True,
            judged=False,
            why=(f"{len(stray)} operations meant for the primary were answered by a replica"),
            evidence={"count": len(stray), "indices": [p.invoke.index for p in stray[:20]]},
        )


class IndependentKeys(msgspec.Struct, frozen=True):
    """One key after the other: `make(key)` until it is exhausted, then the next key.

    Several of these with the same `stride` and different `key` never meet.
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
    """The audit of the log, where the target has one."""
    return {"log-audit": LogAudit(workload)} if "log" in options.promises else {}


def in_groups(
    concurrency: int, size: int, make: Callable[[int], Generator], operations: int
) -> Generator:
    """Workers in groups of about a size, each on keys of its own: so many operations of
    `make(key)`, then the next key."""
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
    """Every key once, by one worker, tried again a few times until it is answered."""
    tries = [
        try_again(
            lambda key=key: Once("read", [key, None])  # type: ignore[misc]
        )
        for key in keys
    ]
    return On(1, phases(*tries))


def try_again(make: Callable[[], Generator]) -> Generator:
    """An invocation, tried again now and then until it is answered, or was tried often enough."""
    return UntilOk(Delay(Cycle(make, times=FINAL_TRIES), FINAL_STEP_NS))
