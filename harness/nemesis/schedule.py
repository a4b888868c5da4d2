"""When faults happen: cycles of quiet, faults that overlap, healing."""

from __future__ import annotations

import random
from collections.abc import Sequence

import msgspec
from msgspec.structs import replace

from harness.generators import PENDING, SLEEP, Context, Generator, Step, invocation
from harness.history import Op
from harness.nemesis.faults import Fault

# A step is a pause of so many nanoseconds, or an operation of the nemesis: f and value. The value
# of a start names the faults that share the cycle.
Plan = tuple[int | tuple[str, list[str] | None], ...]


class FaultCycles(msgspec.Struct, frozen=True):
    """For ever: quiet, then every fault of the cycle one after the other, then all are healed.

    Waits are `interval` nanoseconds, 0.6 to 1.4 times. Faults that were named together overlap:
    each begins while those before it last. `draw`: each cycle takes a random part of the faults
    instead (`--nemesis all`).
    """

    faults: Sequence[Fault]
    interval: int
    draw: bool = False
    plan: Plan = ()

    def next(self, ctx: Context, /) -> Step:
        plan = self.plan or plan_cycle(self.faults, self.interval, self.draw, ctx.rng)
        step = plan[0]
        op = invocation(ctx, SLEEP, step) if isinstance(step, int) else invocation(ctx, *step)
        if op is PENDING:
            return PENDING, replace(self, plan=plan)
        return op, replace(self, plan=plan[1:])

    def update(self, ctx: Context, op: Op, /) -> Generator:
        return self


def plan_cycle(faults: Sequence[Fault], interval: int, draw: bool, rng: random.Random) -> Plan:
    """The steps of one cycle. Healing goes in order of rank too: links before roles."""
    chosen = list(faults)
    if draw:
        chosen = [f for f in faults if rng.random() < 0.5] or [rng.choice(list(faults))]
        if sum(f.rank == 1 for f in chosen) > 1:  # one of kill, pause, restart at a time
            one = rng.choice([f for f in chosen if f.rank == 1])
            chosen = [f for f in chosen if f.rank != 1 or f is one]
    together = [f.name for f in chosen]
    steps: list[int | tuple[str, list[str] | None]] = []
    for name in together:
        steps += [_about(interval, rng), (f"start-{name}", together)]
    steps.append(_about(interval, rng))
    steps += [(f"stop-{name}", None) for name in together]
    return tuple(steps)


def _about(nanos: int, rng: random.Random) -> int:
    return nanos * rng.randint(60, 140) // 100
