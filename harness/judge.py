"""Judges a recorded history: from its claims to the verdict of the whole run."""

from __future__ import annotations

from collections.abc import Sequence

from harness.checkers.claims.availability import Availability
from harness.checkers.claims.copies import SameCopies
from harness.checkers.claims.coverage import Coverage
from harness.checkers.claims.damage import UnexplainedDamage
from harness.checkers.claims.performance import Performance
from harness.checkers.claims.replies import AnsweredByReplica, RepliesOfTheRightKind
from harness.checkers.verdict import Checker, worst
from harness.environments.nodes import node_names
from harness.history.record import Results, RunRecord
from harness.history.recorded import Recorded
from harness.nemesis import catalogue
from harness.nemesis.catalogue import ALL
from harness.parts import make_workload
from harness.workloads.base import Scripted


def judge(recorded: Recorded, record: RunRecord, warnings: Sequence[str] = ()) -> Results:
    """Check every claim of the workload, coverage, and the measurements. A history of another
    workload may raise `ValueError`, `TypeError`, `LookupError` or `AttributeError`."""
    spec = record.spec
    workload = make_workload(spec, node_names(spec.node_count), record.target)
    checkers: dict[str, Checker] = {
        **workload.claims(),
        "replies": RepliesOfTheRightKind(),
        "demoted": AnsweredByReplica(),
        **({} if isinstance(workload, Scripted) else {"copies": SameCopies()}),
        "damage": UnexplainedDamage(_of_disks(record)),
        "coverage": Coverage(
            minimum=workload.minimum,
            faults=_required_faults(record),
            final=workload.final() is not None,
        ),
        "availability": Availability(),
        "performance": Performance(),
    }
    claims = {name: checker.check(recorded) for name, checker in checkers.items()}
    valid = worst(v.valid for v in claims.values() if v.judged)
    decisive = [f"{n}: {v.why}" for n, v in claims.items() if v.judged and v.valid == valid]
    why = decisive[0] if valid is False else "; ".join(decisive)
    notes = list(warnings)
    if record.no_room:
        notes.append(
            f"no room for {', '.join(record.no_room)} in a run of {spec.time_limit_s:g} s: give "
            "more --time-limit, or less --interval"
        )
    if record.volatile is not None:
        notes.append(record.volatile)
        why = f"without persistence: {why}" if valid is False else why
    if spec.beyond_tolerance:
        notes.append("faults may have exceeded the tolerance that the target declares")
        why = f"beyond tolerance: {why}" if valid is False else why
    return Results(valid=valid, why=why, expect=spec.expect, claims=claims, warnings=notes)


def _of_disks(record: RunRecord) -> list[str]:
    """Return the kinds of fault in the plan that act on disks."""
    return [kind for kind in record.faults if "disks" in catalogue.fault(kind).traits.disturbs]


def _required_faults(record: RunRecord) -> list[str]:
    """Return the kinds of fault that must have had an effect: those of the plan, and those that
    were named but had no room in it. With `all`, kinds without room don't matter."""
    named = record.no_room if record.spec.nemesis != ALL else []
    return [*record.faults, *named]
