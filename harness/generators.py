"""What to do next: pure generators and the field's combinators.

A generator is asked `next(context)` and answers
  - `None`: exhausted;
  - `(PENDING, generator)`: nothing now, ask again after the next completion;
  - `(op, generator)`: an invocation, due at `op.time`, and the generator that follows it.
It is told of each invocation and completion by `update(context, op)` and returns its successor.
Generators are immutable and have no clock: time, free workers and randomness are the context's.
An operation whose time lies in the future is not taken: the generator is asked again then.

Modelled on jepsen.generator (https://github.com/jepsen-io/jepsen, generator.clj).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Protocol

import msgspec
from msgspec.structs import replace

from harness.history import NEMESIS, Op

NANOS: Final = 1_000_000_000


class Pending:
    """The type of `PENDING`."""

    def __repr__(self) -> str:
        return "PENDING"


PENDING: Final = Pending()


class Context(msgspec.Struct, frozen=True):
    """What a generator may know.

    `time`: nanoseconds since the start. `free`: bit set of workers without an operation.
    `workers`: bit set of the workers that this generator may use. `processes`: worker -> process;
    the nemesis is the last worker. `rng`: the run's stream for generators.
    """

    time: int
    free: int
    workers: int
    processes: Sequence[int | str]
    rng: random.Random

    def restrict(self, workers: int) -> Context:
        """The same context for a generator that may use only these workers."""
        return Context(
            self.time, self.free & workers, self.workers & workers, self.processes, self.rng
        )

    def free_worker(self) -> int | None:
        """Some free worker, drawn so that a slow rate does not always use the same one."""
        if not self.free:
            return None
        shift = self.rng.randrange(self.free.bit_length())
        rotated = self.free >> shift
        return shift + (rotated & -rotated).bit_length() - 1

    def worker_of(self, process: int | str) -> int:
        """The worker that runs this process."""
        if process == NEMESIS:
            return len(self.processes) - 1
        assert isinstance(process, int)
        return process % (len(self.processes) - 1)


Step = tuple[Op | Pending, "Generator"] | None


class Generator(Protocol):
    """Pure; see the module's text."""

    def next(self, ctx: Context, /) -> Step: ...

    def update(self, ctx: Context, op: Op, /) -> Generator: ...


def invocation(ctx: Context, f: str, value: Any = None) -> Op | Pending:
    """An invocation by some free worker now, or PENDING when none is free."""
    worker = ctx.free_worker()
    if worker is None:
        return PENDING
    return Op(-1, ctx.time, "invoke", ctx.processes[worker], f, value)


class _Stateless(msgspec.Struct, frozen=True):
    def update(self, ctx: Context, op: Op, /) -> Generator:
        return self  # type: ignore[return-value]


class Nothing(_Stateless, frozen=True):
    """Exhausted from the start."""

    def next(self, ctx: Context, /) -> Step:
        return None


_NOTHING: Final = Nothing()


class Repeat(_Stateless, frozen=True):
    """For ever what `draw(rng)` answers: a pair of f and value."""

    draw: Callable[[random.Random], tuple[str, Any]]

    def next(self, ctx: Context, /) -> Step:
        if not ctx.free:
            return PENDING, self
        return invocation(ctx, *self.draw(ctx.rng)), self


class Once(_Stateless, frozen=True):
    """One invocation."""

    f: str
    value: Any = None

    def next(self, ctx: Context, /) -> Step:
        op = invocation(ctx, self.f, self.value)
        return (op, self) if op is PENDING else (op, _NOTHING)


class Phases(msgspec.Struct, frozen=True):
    """One generator after the other; see `phases` for waiting in between."""

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
    """`make()` again whenever its generator is exhausted, `times` times (None: for ever)."""

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
        return None  # an empty generator, cycled, is empty

    def update(self, ctx: Context, op: Op, /) -> Generator:
        if self.current is None:
            return self
        current = self.current.update(ctx, op)
        return self if current is self.current else replace(self, current=current)


class Mix(msgspec.Struct, frozen=True):
    """Each operation from one of the parts, drawn uniformly; an exhausted part drops out.

    The part is drawn once per operation, so that a slow part is waited for, not skipped.
    """

    parts: tuple[Generator, ...]
    chosen: int | None = None

    def next(self, ctx: Context, /) -> Step:
        parts, chosen = self.parts, self.chosen
        while parts:
            i = ctx.rng.randrange(len(parts)) if chosen is None else chosen
            step = parts[i].next(ctx)
            if step is None:
                parts, chosen = parts[:i] + parts[i + 1 :], None
                continue
            changed = (*parts[:i], step[1], *parts[i + 1 :])
            return step[0], Mix(changed, i if step[0] is PENDING else None)
        return None

    def update(self, ctx: Context, op: Op, /) -> Generator:
        parts = _updated(self.parts, ctx, op)
        return self if parts is self.parts else replace(self, parts=parts)


class _Around(msgspec.Struct, frozen=True):
    """A generator around another that passes updates through."""

    inner: Generator

    def update(self, ctx: Context, op: Op, /) -> Generator:
        inner = self.inner.update(ctx, op)
        return self if inner is self.inner else replace(self, inner=inner)  # type: ignore[return-value]


class Limit(_Around, frozen=True):
    """At most `count` operations."""

    count: int

    def next(self, ctx: Context, /) -> Step:
        if self.count <= 0 or (step := self.inner.next(ctx)) is None:
            return None
        return step[0], Limit(step[1], self.count - (step[0] is not PENDING))


class TimeLimit(_Around, frozen=True):
    """Ends `nanos` after it was first asked."""

    nanos: int
    ends: int | None = None

    def next(self, ctx: Context, /) -> Step:
        ends = ctx.time + self.nanos if self.ends is None else self.ends
        if ctx.time >= ends or (step := self.inner.next(ctx)) is None:
            return None
        if isinstance(step[0], Op) and step[0].time >= ends:
            return None
        return step[0], TimeLimit(step[1], self.nanos, ends)


class Stagger(_Around, frozen=True):
    """Invocations about `nanos` apart: each gap is drawn from [0, 2 x nanos)."""

    nanos: int
    due: int | None = None

    def next(self, ctx: Context, /) -> Step:
        step = self.inner.next(ctx)
        if step is None:
            return None
        due = ctx.time if self.due is None else self.due
        if not isinstance(step[0], Op):
            return PENDING, Stagger(step[1], self.nanos, due)
        op = step[0]
        op.time = max(op.time, due)
        gap = ctx.rng.randrange(2 * self.nanos) if self.nanos else 0
        return op, Stagger(step[1], self.nanos, max(due, op.time - NANOS) + gap)


class Delay(_Around, frozen=True):
    """Invocations at least `nanos` apart."""

    nanos: int
    due: int | None = None

    def next(self, ctx: Context, /) -> Step:
        step = self.inner.next(ctx)
        if step is None:
            return None
        if not isinstance(step[0], Op):
            return PENDING, replace(self, inner=step[1])
        op = step[0]
        op.time = max(op.time, ctx.time if self.due is None else self.due)
        return op, Delay(step[1], self.nanos, op.time + self.nanos)


class Sleep(_Stateless, frozen=True):
    """Nothing for `nanos`: an invocation of f = "sleep", which no client sees or history records.

    It holds one of the workers it may use for that long.
    """

    nanos: int

    def next(self, ctx: Context, /) -> Step:
        op = invocation(ctx, SLEEP, self.nanos)
        return (op, self) if op is PENDING else (op, _NOTHING)


SLEEP: Final = "sleep"


class Synchronize(_Around, frozen=True):
    """Waits until every worker that it may use is free, then goes on as the inner generator."""

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
            return PENDING, replace(self, inner=step[1])
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
        if not ctx.free & self.workers:
            # Whether it is exhausted shows when one of them is free; without any it is.
            return (PENDING, self) if ctx.workers & self.workers else None
        step = self.inner.next(ctx.restrict(self.workers))
        return step and (step[0], On(self.workers, step[1]))

    def update(self, ctx: Context, op: Op, /) -> Generator:
        if not self.workers >> ctx.worker_of(op.process) & 1:
            return self
        inner = self.inner.update(ctx.restrict(self.workers), op)
        return self if inner is self.inner else On(self.workers, inner)


class AnyOf(msgspec.Struct, frozen=True):
    """Whatever is due first among several generators (they usually use different workers).

    Of several that are due at the same time one is drawn, so that none starves the others.
    """

    parts: tuple[Generator, ...]

    def next(self, ctx: Context, /) -> Step:
        best: tuple[Op, int, Generator] | None = None
        parts: list[Generator] | tuple[Generator, ...] = self.parts
        pending, equal = False, 1
        for i, part in enumerate(self.parts):
            step = part.next(ctx)
            if step is not None and isinstance(op := step[0], Op):
                after = step[1]
                if best is None or op.time < best[0].time:
                    best, equal = (op, i, after), 1
                elif op.time == best[0].time:
                    equal += 1
                    if ctx.rng.randrange(equal) == 0:
                        best = (op, i, after)
                continue
            waits = _NOTHING if step is None else step[1]
            pending = pending or step is not None
            if waits is not part:
                parts = list(parts)
                parts[i] = waits
        if best is None:
            return (PENDING, AnyOf(tuple(parts))) if pending else None
        op, i, after = best
        return op, AnyOf((*parts[:i], after, *parts[i + 1 :]))

    def update(self, ctx: Context, op: Op, /) -> Generator:
        parts = _updated(self.parts, ctx, op)
        return self if parts is self.parts else AnyOf(parts)


def _updated(parts: tuple[Generator, ...], ctx: Context, op: Op) -> tuple[Generator, ...]:
    """The parts after an update; the same tuple when none of them changed."""
    after = parts
    for i, part in enumerate(parts):
        changed = part.update(ctx, op)
        if changed is not part:
            after = (*after[:i], changed, *after[i + 1 :])
    return after


class EachProcess(msgspec.Struct, frozen=True):
    """A fresh copy of the generator for every worker that it may use."""

    make: Callable[[], Generator]
    copies: AnyOf | None = None

    def _started(self, ctx: Context) -> AnyOf:
        if self.copies is not None:
            return self.copies
        return AnyOf(tuple(On(1 << w, self.make()) for w in _members(ctx.workers)))

    def next(self, ctx: Context, /) -> Step:
        step = self._started(ctx).next(ctx)
        if step is None:
            return None
        assert isinstance(step[1], AnyOf)
        return step[0], EachProcess(self.make, step[1])

    def update(self, ctx: Context, op: Op, /) -> Generator:
        if self.copies is None:
            return self
        updated = self.copies.update(ctx, op)
        assert isinstance(updated, AnyOf)
        return EachProcess(self.make, updated)


def _members(bits: int) -> Iterable[int]:
    return (i for i in range(bits.bit_length()) if bits >> i & 1)


class Reserve(msgspec.Struct, frozen=True):
    """The first `n` workers run the first generator, the next `n` the second, the rest `rest`."""

    counts: tuple[int, ...]
    parts: tuple[Generator, ...]
    rest: Generator

    def next(self, ctx: Context, /) -> Step:
        """Becomes the parts on their workers, once it is known which workers it may use."""
        workers = list(_members(ctx.workers))
        shares, start = [], 0
        for count in self.counts:
            shares.append(workers[start : start + count])
            start += count
        shares.append(workers[start:])
        parts = zip(shares, (*self.parts, self.rest), strict=True)
        return AnyOf(tuple(On(sum(1 << w for w in share), part) for share, part in parts)).next(ctx)

    def update(self, ctx: Context, op: Op, /) -> Generator:
        return self


class FlipFlop(msgspec.Struct, frozen=True):
    """An operation of each in turn; ends when the one whose turn it is does."""

    turn: Generator
    other: Generator

    def next(self, ctx: Context, /) -> Step:
        step = self.turn.next(ctx)
        if step is None:
            return None
        if step[0] is PENDING:
            return PENDING, FlipFlop(step[1], self.other)
        return step[0], FlipFlop(self.other, step[1])

    def update(self, ctx: Context, op: Op, /) -> Generator:
        turn, other = _updated((self.turn, self.other), ctx, op)
        return FlipFlop(turn, other)


def seq(*parts: Generator) -> Generator:
    """One after the other, without waiting for outstanding operations."""
    return Phases(parts)


def phases(*parts: Generator) -> Generator:
    """One after the other; each begins when every operation of the one before has completed."""
    return Phases(tuple(Synchronize(part) for part in parts))


def mix(*parts: Generator) -> Generator:
    return Mix(parts)


def rate(per_second: float, inner: Generator) -> Generator:
    """About so many invocations a second over all workers; 0: as fast as they come."""
    return Stagger(inner, round(NANOS / per_second)) if per_second else inner


def on_clients(inner: Generator, concurrency: int) -> Generator:
    return On((1 << concurrency) - 1, inner)


def on_nemesis(inner: Generator, concurrency: int) -> Generator:
    return On(1 << concurrency, inner)


def seconds(s: float) -> int:
    """Nanoseconds."""
    return round(s * NANOS)
