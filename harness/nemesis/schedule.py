"""A plan as a generator of the nemesis' operations."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec.structs import replace

from harness.generators import NANOS, Context, Generator, Later, Step, invocation
from harness.history import events
from harness.history.events import FaultBegan, FaultEnded
from harness.history.operations import Op
from harness.history.record import PlannedFault


class PlanStep(msgspec.Struct, frozen=True):
    """A begin or an end. `at`: its planned time in ns. `number`: the fault's index in the plan."""

    at: int
    begins: bool
    number: int


class Planned(msgspec.Struct, frozen=True):
    """Begins and heals the faults of a plan in the order of the plan.

    A fault that begins late, because the nemesis was busy with another one, keeps its length. One
    that was skipped or could not be injected is not healed. `began`: begin times by fault number.
    """

    faults: tuple[PlannedFault, ...]
    steps: tuple[PlanStep, ...]
    began: dict[int, int] = {}
    beginning: int | None = None  # the fault that is being injected

    def next(self, ctx: Context, /) -> Step:
        if not self.steps:
            return None
        step = self.steps[0]
        due = step.at
        if not step.begins:
            planned = round(self.faults[step.number].at_s * NANOS)
            due += max(0, self.began[step.number] - planned)
        if due > ctx.time:
            return Later(due, True), self
        fault = self.faults[step.number]
        left = self.steps[1:]
        if not step.begins:
            op = invocation(ctx, *events.invoked(FaultEnded(fault=fault.fault, number=step.number)))
            return op, replace(self, steps=left)
        op = invocation(
            ctx,
            *events.invoked(
                FaultBegan(fault=fault.fault, number=step.number, arguments=fault.arguments)
            ),
        )
        began = {**self.began, step.number: ctx.time}
        return op, replace(self, steps=left, began=began, beginning=step.number)

    def update(self, ctx: Context, op: Op, /) -> Generator:
        if op.type == "invoke" or self.beginning is None:
            return self
        steps = self.steps
        if op.error is not None or events.was_skipped(op):
            steps = tuple(s for s in steps if s.number != self.beginning)
        return replace(self, steps=steps, beginning=None)

    def left(self) -> list[tuple[int, PlannedFault]]:
        """Return the faults that have not begun, with their numbers."""
        return [(step.number, self.faults[step.number]) for step in self.steps if step.begins]


def planned(faults: Sequence[PlannedFault]) -> Planned:
    """Return the generator of a plan. Faults with the same end are healed in the order in which
    they began, and before any fault that begins then."""
    steps = []
    for number, fault in enumerate(faults):
        steps.append(PlanStep(round(fault.at_s * NANOS), True, number))
        steps.append(PlanStep(round(fault.until_s * NANOS), False, number))
    steps.sort(key=lambda s: (s.at, s.begins, s.number))
    return Planned(tuple(faults), tuple(steps))
