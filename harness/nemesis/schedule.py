"""When faults happen: cycles of quiet, faults that overlap, healing."""

from __future__ import annotations

import random
from collections.abc import Sequence

import msgspec

from harness.generators import PENDING, SLEEP, Context, Generator, Step, invocation
from harness.history import Op
from harness.nemesis.faults import Fault

# A step is a pause of so many nanoseconds, or an operation of the nemesis: f and value. The value
# of a start names the faults that share the cycle.
Plan = tuple[int | tuple[str, list[str] | None], ...]


class FaultCycles(msgspec.Struct, frozen=True):
    """For ever: quiet, then every fault of the cycle one after the other, then all are healed.

    Waits are `interval` nanoseconds, 0.6 to 1.4 times. Faults that were named together overlap:
    each begins while those before it last. `deal`: each cycle takes some faults off a shuffled
    deck instead (`--nemesis all`), so that every kind comes before any comes twice.
    """

    faults: tuple[Fault, ...]
    interval: int
    deal: bool = False
    plan: Plan = ()
    deck: tuple[Fault, ...] = ()

    def next(self, ctx: Context, /) -> Step:
        plan, deck = self.plan, self.deck
        if not plan:
            hand = self.faults
            if self.deal:
                hand, deck = deal_hand(deck or shuffled(self.faults, ctx.rng), ctx.rng)
            plan = plan_cycle(hand, self.interval, ctx.rng)
        step = plan[0]
        op = invocation(ctx, SLEEP, step) if isinstance(step, int) else invocation(ctx, *step)
        if op is PENDING:
            return PENDING, FaultCycles(self.faults, self.interval, self.deal, plan, deck)
        return op, FaultCycles(self.faults, self.interval, self.deal, plan[1:], deck)

    def update(self, ctx: Context, op: Op, /) -> Generator:
        return self


def shuffled(faults: Sequence[Fault], rng: random.Random) -> tuple[Fault, ...]:
    return tuple(rng.sample(list(faults), len(faults)))


def deal_hand(
    deck: tuple[Fault, ...], rng: random.Random
) -> tuple[tuple[Fault, ...], tuple[Fault, ...]]:
    """One to three faults off the deck that leave each other something to do, and what is left."""
    size = rng.randint(1, 3)
    hand: list[Fault] = []
    for fault in deck:
        if len(hand) < size and not any(apart(fault, f) for f in hand):
            hand.append(fault)
    left = tuple(f for f in deck if not any(f is h for h in hand))
    return tuple(sorted(hand, key=lambda f: f.rank)), left


def apart(one: Fault, other: Fault) -> bool:
    """Whether two must not be dealt together: at most one that stops processes, and no change of
    roles while none of them runs."""
    return one.rank == other.rank == 1 or (
        "power-all" in (one.name, other.name) and 2 in (one.rank, other.rank)
    )


def plan_cycle(faults: Sequence[Fault], interval: int, rng: random.Random) -> Plan:
    """The steps of one cycle. Healing goes in order of rank too: links before roles."""
    together = [f.name for f in faults]
    steps: list[int | tuple[str, list[str] | None]] = []
    for name in together:
        steps += [_about(interval, rng), (f"start-{name}", together)]
    steps.append(_about(interval, rng))
    steps += [(f"stop-{name}", None) for name in together]
    return tuple(steps)


def _about(nanos: int, rng: random.Random) -> int:
    return nanos * rng.randint(60, 140) // 100
