"""Histories for claims, written by hand or drawn."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from harness.history import NEMESIS, History, Op
from harness.history.record import EnvironmentInfo, RunRecord, TargetInfo
from harness.history.recorded import Recorded
from harness.spec import Spec

MS = 1_000_000


class Row(NamedTuple):
    """An operation: its outcome, what was asked and answered, and when, in ms. `ret` is None for
    one that never completed."""

    f: str
    type: str
    asked: Any
    answered: Any
    call: int
    ret: int | None
    error: str | None = None
    node: str | None = None
    role: str | None = None


def one_by_one(*rows: tuple, final: Sequence[tuple] | None = None) -> Recorded:
    """Return a history of rows (f, type, asked, answered[, error]), one after the other, 1 ms
    apart, and of final reads (key, value)."""
    made = [Row(*row[:4], 2 * i, 2 * i + 1, *row[4:]) for i, row in enumerate(rows)]
    return overlapping(made, final=final)


def overlapping(
    rows: Iterable[Row], *, final: Sequence[tuple] | None = None, clock_error_ms: int = 0
) -> Recorded:
    """Return a history of operations at given times; a call precedes a return at the same time."""
    events: list[tuple[int, int, Op]] = []
    last = 0
    for process, row in enumerate(rows):
        invoke = Op(0, row.call * MS, "invoke", process, row.f, row.asked, node=row.node)
        events.append((row.call, 0, invoke))
        last = max(last, row.call, row.ret or 0)
        if row.ret is not None:
            value = row.answered if row.type == "ok" else row.asked
            done = Op(0, row.ret * MS, row.type, process, row.f, value, row.error,
                      row.node or "n1", row.role)  # fmt: skip
            events.append((row.ret, 1, done))
    events.sort(key=lambda event: event[:2])
    ops = [op for _, _, op in events]
    for i, (key, value) in enumerate(final or ()):
        at = (last + 1 + i) * MS
        if not i:
            ops += [Op(0, at, type, NEMESIS, "final") for type in ("invoke", "info")]
        ops.append(Op(0, at, "invoke", 1000 + i, "read", [key, None]))
        ops.append(Op(0, at + MS, "ok", 1000 + i, "read", [key, value], None, "n1"))
    for i, op in enumerate(ops):
        op.index = i
    return Recorded(History(ops), record(clock_error_ms=clock_error_ms))


def record(*, clock_error_ms: int = 0, **spec: Any) -> RunRecord:
    """Return the record of a run."""
    return RunRecord(
        spec=Spec(**{"target": "redis", "workload": "set", "nemesis": "none", "seed": 1, **spec}),
        command="",
        target=TargetInfo(target="redis", version="", clock_error_ms=clock_error_ms),
        environment=EnvironmentInfo(environment="local"),
    )
