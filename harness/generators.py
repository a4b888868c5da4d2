"""Pure generators of operations, and combinators of them.

The interpreter chooses a free worker and calls `next(context)`, which returns for that worker
  - `None`: exhausted, for every worker;
  - `(op, generator)`: an invocation now, and the successor of the generator;
  - `(Later(time), generator)`: no operation before that time;
  - `(PENDING, generator)`: no operation until another one completes.
The interpreter passes each invocation and completion to `update(context, op)`, which returns the
successor of the generator. Generators are immutable and have no clock: the context has the time,
the worker and the worker's own random stream. A stream is drawn from only for an operation: a
generator that has none for the worker draws nothing, or keeps its draw (`Mix`). So a client's
operations depend on its stream alone, not on other clients or faults, as long as it shares with
other workers no generator that ends or takes turns (`Phases`, `AnyOf` of the same workers).

Modelled on jepsen.generator (https://github.com/jepsen-io/jepsen, generator.clj).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

import msgspec
from msgspec.structs import replace

from harness.history.operations import Op

NANOS: Final = 1_000_000_000


class Pending:
    """The type of `PENDING`."""

    def __repr__(self) -> str:
        return "PENDING"


PENDING: Final = Pending()


class Later(msgspec.Struct, frozen=True):
    """There is no operation before `time`. `everyone`: for any worker, not only the context's."""

    time: int
    everyone: bool = False


class Context(msgspec.Struct, frozen=True):
    """The state that a generator may use.

    `time`: nanoseconds since the start of the run. `worker`: the free worker that the next
    operation is for; `process`: its process; `rng`: its random stream. `free`: bit set of the
    workers without an operation. `workers`: bit set of the workers that this generator may use.
    `concurrency`: the number of clients. In an update `worker` and `process` are those of the
    operation.
    """

    time: int
    worker: int
    process: int | str
    rng: random.Random
    free: int
    workers: int
    concurrency: int

    def restrict(self, workers: int) -> Context:
        """Return the same context for a generator that may use only these workers."""
        return Context(
            self.time,
            self.worker,
            self.process,
            self.rng,
            self.free & workers,
            self.workers & workers,
            self.concurrency,
        )


Answer = Op | Later | Pending
Step = tuple[Answer, "Generator"] | None


class Generator(Protocol):
    """An immutable generator; the module docstring describes its methods."""

    def next(self, ctx: Context, /) -> Step: ...

    def update(self, ctx: Context, op: Op, /) -> Generator: ...


def invocation(ctx: Context, f: str, value: Any = None, *, node: str | None = None) -> Op:
    """Return an invocation by the context's worker. `node`: the node that it is intended for."""
    return Op(-1, ctx.time, "invoke", ctx.process, f, value, None, node)


class _Stateless(msgspec.Struct, frozen=True):
    def update(self, ctx: Context, op: Op, /) -> Generator:
        return self  # type: ignore[return-value]


class Nothing(_Stateless, frozen=True):
    """A generator that is exhausted from the start."""

    def next(self, ctx: Context, /) -> Step:
        return None


_NOTHING: Final = Nothing()


class Repeat(_Stateless, frozen=True):
    """Endless invocations of the pairs (f, value) that `draw(rng)` returns."""

    draw: Callable[[random.Random], tuple[str, Any]]

    def next(self, ctx: Context, /) -> Step:
        return invocation(ctx, *self.draw(ctx.rng)), self


class Once(_Stateless, frozen=True):
    """A single invocation."""

    f: str
    value: Any = None

    def next(self, ctx: Context, /) -> Step:
        return invocation(ctx, self.f, self.value), _NOTHING


class Phases(msgspec.Struct, frozen=True):
    """One generator after the other; `phases` also waits for completions in between."""

    parts: tuple[Generator, ...]

    def next(self, ctx: Context, /) -> Step:
        for i, part in enumerate(self.parts):
            step = part.next(ctx)
            if step is not None:
                return step[0], Phases((step[1], *self.parts[i + 1 :]))
        return None

    def update(self, ctx: Context, op: Op, /) -> Generator:
        if not self.parts:
            return self
        first = self.parts[0].update(ctx, op)
        return self if first is self.parts[0] else Phases((first, *self.parts[1:]))


class Cycle(msgspec.Struct, frozen=True):
    """Generators made by `make()`, one after the other: `times` of them (None: without end)."""

    make: Callable[[], Generator]
    times: int | None = None
    current: Generator | None = None

    def next(self, ctx: Context, /) -> Step:
        current, times = self.current, self.times
        for _ in range(2):
            if current is None:
                if times == 0:
                    return None
                current, times = self.make(), None if times is None else times - 1
            step = current.next(ctx)
            if step is not None:
                return step[0], Cycle(self.make, times, step[1])
            current = None
        return None  # a cycle of empty generators is exhausted

    def update(self, ctx: Context, op: Op, /) -> Generator:
        if self.current is None:
            return self
        current = self.current.update(ctx, op)
        return self if current is self.current else replace(self, current=current)


class Mix(msgspec.Struct, frozen=True):
    """Takes each operation from a part drawn uniformly; an exhausted part is removed.

    A worker draws one part per operation, and waits for it if it is slow. While that part has
    nothing for the worker before another operation completes, as it may be for other workers, the
    next parts are asked instead, without drawing again.
    """

    parts: tuple[Generator, ...]
    chosen: Mapping[int, int] = {}  # worker -> index of the part that it has drawn

    def next(self, ctx: Context, /) -> Step:
        parts, chosen = self.parts, dict(self.chosen)
        if not parts:
            return None
        i = chosen.get(ctx.worker)
        if i is None:
            i = chosen[ctx.worker] = ctx.rng.randrange(len(parts)) if len(parts) > 1 else 0
        left = len(parts)  # how many parts were not asked
        waits: Later | None = None
        while left:
            left -= 1
            step = parts[i].next(ctx)
            if step is None:
                parts = parts[:i] + parts[i + 1 :]
                if not parts:
                    return None
                chosen = {w: (p - (p > i)) % len(parts) for w, p in chosen.items()}
                i %= len(parts)
                continue
            answer, changed = step
            parts = (*parts[:i], changed, *parts[i + 1 :])
            if isinstance(answer, Op):
                del chosen[ctx.worker]
                return answer, Mix(parts, chosen)
            if isinstance(answer, Later):
                waits = answer if len(parts) == 1 else Later(answer.time)
                break
            i = (i + 1) % len(parts)
        return waits or PENDING, Mix(parts, chosen)

    def update(self, ctx: Context, op: Op, /) -> Generator:
        parts = _updated(self.parts, ctx, op)
        return self if parts is self.parts else replace(self, parts=parts)


class _Around(msgspec.Struct, frozen=True):
    """The base of a generator that wraps another one and passes updates to it."""

    inner: Generator

    def update(self, ctx: Context, op: Op, /) -> Generator:
        inner = self.inner.update(ctx, op)
        return self if inner is self.inner else replace(self, inner=inner)  # type: ignore[return-value]


class Limit(_Around, frozen=True):
    """Ends the inner generator after `count` operations."""

    count: int

    def next(self, ctx: Context, /) -> Step:
        if self.count <= 0 or (step := self.inner.next(ctx)) is None:
            return None
        return step[0], Limit(step[1], self.count - isinstance(step[0], Op))


class TimeLimit(_Around, frozen=True):
    """Ends the inner generator `nanos` nanoseconds after `next` was first called."""

    nanos: int
    ends: int | None = None

    def next(self, ctx: Context, /) -> Step:
        ends = ctx.time + self.nanos if self.ends is None else self.ends
        if ctx.time >= ends or (step := self.inner.next(ctx)) is None:
            return None
        answer = step[0]
        if isinstance(answer, Later) and answer.time >= ends:
            if answer.everyone:
                return None
            answer = Later(ends)
        return answer, TimeLimit(step[1], self.nanos, ends)


class Stagger(_Around, frozen=True):
    """Invocations about `nanos` nanoseconds apart: each gap is drawn from [0, 2 x nanos)."""

    nanos: int
    due: int | None = None

    def next(self, ctx: Context, /) -> Step:
        due = ctx.time if self.due is None else self.due
        if due > ctx.time:
            return Later(due, True), self
        step = self.inner.next(ctx)
        if step is None:
            return None
        if not isinstance(step[0], Op):
            return step[0], Stagger(step[1], self.nanos, due)
        gap = ctx.rng.randrange(2 * self.nanos) if self.nanos else 0
        return step[0], Stagger(step[1], self.nanos, max(due, ctx.time - NANOS) + gap)


class Delay(_Around, frozen=True):
    """Invocations at least `nanos` nanoseconds apart."""

    nanos: int
    due: int = 0

    def next(self, ctx: Context, /) -> Step:
        if self.due > ctx.time:
            return Later(self.due, True), self
        step = self.inner.next(ctx)
        if step is None:
            return None
        due = ctx.time + self.nanos if isinstance(step[0], Op) else self.due
        return step[0], Delay(step[1], self.nanos, due)


class Synchronize(_Around, frozen=True):
    """Waits until every worker that it may use is free, then acts as the inner generator."""

    started: bool = False

    def next(self, ctx: Context, /) -> Step:
        if not self.started and ctx.free != ctx.workers:
            return PENDING, self
        step = self.inner.next(ctx)
        return step and (step[0], Synchronize(step[1], True))


class UntilOk(_Around, frozen=True):
    """Operations of the inner generator until one of them is ok."""

    mine: frozenset[int | str] = frozenset()
    done: bool = False

    def next(self, ctx: Context, /) -> Step:
        if self.done or (step := self.inner.next(ctx)) is None:
            return None
        if not isinstance(step[0], Op):
            return step[0], replace(self, inner=step[1])
        return step[0], replace(self, inner=step[1], mine=self.mine | {step[0].process})

    def update(self, ctx: Context, op: Op, /) -> Generator:
        inner = self.inner.update(ctx, op)
        if op.type == "invoke" or op.process not in self.mine:
            return replace(self, inner=inner)
        return replace(
            self, inner=inner, mine=self.mine - {op.process}, done=self.done or op.type == "ok"
        )


class On(msgspec.Struct, frozen=True):
    """Restricts a generator to a bit set of workers."""

    workers: int
    inner: Generator

    def next(self, ctx: Context, /) -> Step:
        if not self.workers >> ctx.worker & 1:
            # Only one of its workers can find it exhausted; if it may use none of them, it is.
            return (PENDING, self) if ctx.workers & self.workers else None
        step = self.inner.next(ctx.restrict(self.workers))
        if step is None:
            return None
        answer = step[0]
        if isinstance(answer, Later) and answer.everyone and ctx.workers & ~self.workers:
            answer = Later(answer.time)
        return answer, On(self.workers, step[1])

    def update(self, ctx: Context, op: Op, /) -> Generator:
        if not self.workers >> ctx.worker & 1:
            return self
        inner = self.inner.update(ctx.restrict(self.workers), op)
        return self if inner is self.inner else On(self.workers, inner)


class AnyOf(msgspec.Struct, frozen=True):
    """The first operation that one of several generators has for a worker.

    They are asked in turn, beginning after the one that gave the last operation, so that none
    starves; usually they are for different workers.
    """

    parts: tuple[Generator, ...]
    first: int = 0

    def next(self, ctx: Context, /) -> Step:
        parts: list[Generator] | tuple[Generator, ...] = self.parts
        count = len(parts)
        waits: Later | None = None
        exhausted, everyone = 0, True
        for k in range(count):
            i = (self.first + k) % count
            part = self.parts[i]
            step = part.next(ctx)
            if step is None:
                exhausted += 1
                after: Generator = _NOTHING
            else:
                answer, after = step
                if isinstance(answer, Op):
                    return answer, AnyOf((*parts[:i], after, *parts[i + 1 :]), (i + 1) % count)
                if isinstance(answer, Later):
                    everyone = everyone and answer.everyone
                    waits = answer if waits is None or answer.time < waits.time else waits
                else:
                    everyone = False
            if after is not part:
                parts = (*parts[:i], after, *parts[i + 1 :])
        if exhausted == count:
            return None
        return (Later(waits.time, everyone) if waits else PENDING), AnyOf(tuple(parts), self.first)

    def update(self, ctx: Context, op: Op, /) -> Generator:
        parts = _updated(self.parts, ctx, op)
        return self if parts is self.parts else AnyOf(parts, self.first)


def _updated(parts: tuple[Generator, ...], ctx: Context, op: Op) -> tuple[Generator, ...]:
    """Return the parts after an update; the same tuple if none of them changed."""
    after = parts
    for i, part in enumerate(parts):
        changed = part.update(ctx, op)
        if changed is not part:
            after = (*after[:i], changed, *after[i + 1 :])
    return after


def phases(*parts: Generator) -> Generator:
    """Run parts one after the other; each begins when all operations of the one before have
    completed."""
    return Phases(tuple(Synchronize(part) for part in parts))


def mix(*parts: Generator) -> Generator:
    """Take each operation from a part drawn uniformly, see `Mix`."""
    return Mix(parts)


def rate(per_second: float, inner: Generator) -> Generator:
    """Limit a generator to about `per_second` invocations a second in total; 0: no limit."""
    return Stagger(inner, round(NANOS / per_second)) if per_second else inner


def shares(count: int, percent: int) -> Sequence[int]:
    """Divide `count` workers into two kinds, and return those of the first: about `percent` of
    them. Of two workers or more, each kind gets at least one. A worker's kind does not depend on
    `count`."""
    first = [0]
    first += [w for w in range(2, count) if (w - 1) * percent // 100 > (w - 2) * percent // 100]
    return [w for w in first if w < count]


def seconds(s: float) -> int:
    """Convert seconds to nanoseconds."""
    return round(s * NANOS)
