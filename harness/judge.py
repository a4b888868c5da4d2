"""From a recorded history to the verdict of the whole run."""

from __future__ import annotations

from collections.abc import Sequence

from harness.checkers.claims.availability import Availability
from harness.checkers.claims.coverage import Coverage
from harness.checkers.claims.performance import Performance
from harness.checkers.verdict import Checker, worst
from harness.environments.nodes import node_names
from harness.history.record import Results, RunRecord
from harness.history.recorded import Recorded
from harness.nemesis.catalogue import ALL
from harness.parts import make_workload


def judge(recorded: Recorded, record: RunRecord, warnings: Sequence[str] = ()) -> Results:
    """Every claim of the workload, coverage, and what is measured. Raises ValueError and the like
    for a history that is not of that workload."""
    spec = record.spec
    workload = make_workload(spec, node_names(spec.node_count))
    checkers: dict[str, Checker] = {
        **workload.claims(),
        "coverage": Coverage(
            minimum=workload.minimum, faults=_announced(record), final=workload.final() is not None
        ),
        "availability": Availability(),
        "performance": Performance(),
    }
    claims = {name: checker.check(recorded) for name, checker in checkers.items()}
    valid = worst(v.valid for v in claims.values() if v.judged)
    decisive = [f"{n}: {v.why}" for n, v in claims.items() if v.judged and v.valid == valid]
    why = decisive[0] if valid is False else "; ".join(decisive)
    said = list(warnings)
    if record.no_room:
        said.append(
            f"no room for {', '.join(record.no_room)} in a run of {spec.time_limit_s:g} s: give "
            "more --time-limit, or less --interval"
        )
    if spec.beyond_tolerance:
        said.append("faults may have gone beyond what the target says that it survives")
        why = f"beyond tolerance: {why}" if valid is False else why
    return Results(valid=valid, why=why, expect=spec.expect, claims=claims, warnings=said)


def _announced(record: RunRecord) -> list[str]:
    """The kinds of fault that must have had an effect: those of the plan, and whatever was named.
    Of `all` it is no matter what had no room."""
    named = record.no_room if record.spec.nemesis != ALL else []
    return [*record.faults, *named]
