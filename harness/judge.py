"""From a history on disk to the verdict of the whole run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from harness.checkers.claims.availability import Availability
from harness.checkers.claims.coverage import Coverage
from harness.checkers.claims.performance import Performance
from harness.checkers.verdict import UNKNOWN, Checker, Valid, Verdict, worst
from harness.history import History
from harness.spec import Spec
from harness.targets import load
from harness.workloads.base import Workload, WorkloadOptions


class Results(msgspec.Struct, kw_only=True):
    """`valid` is the worst of the judged claims; `expect` is what the spec asked for."""

    valid: Valid
    why: str
    expect: str
    claims: dict[str, Verdict]
    warnings: list[str] = []

    @property
    def exit_code(self) -> int:
        """0 as expected, 1 not, 2 unknown."""
        if self.valid == UNKNOWN:
            return 2
        return 0 if self.valid is (self.expect == "valid") else 1


def make_workload(spec: Spec, nodes: Sequence[str], prefix: str = "h:") -> Workload:
    """The workload of a spec; raises `UsageError` for an unknown one."""
    promises = load("harness.targets", spec.target).promises
    made: Workload = load("harness.workloads", spec.workload)(
        WorkloadOptions(
            nodes=tuple(nodes),
            concurrency=spec.concurrency,
            prefix=prefix,
            promises=promises,
            reads_percent=spec.swarm.reads_percent if spec.swarm else None,
        )
    )
    return made


def node_names(spec: Spec) -> list[str]:
    """n1, n2, …"""
    return [f"n{i + 1}" for i in range(spec.node_count)]


def judge(
    spec: Spec, history: History, fault_names: Sequence[str], warnings: Sequence[str] = ()
) -> Results:
    """Every claim of the workload, coverage, and what is measured."""
    workload = make_workload(spec, node_names(spec))
    checkers: dict[str, Checker] = {
        **workload.claims(),
        "coverage": Coverage(
            minimum=workload.minimum, faults=fault_names, final=workload.final() is not None
        ),
        "availability": Availability(),
        "performance": Performance(),
    }
    claims = {name: checker.check(history) for name, checker in checkers.items()}
    valid = worst(v.valid for v in claims.values() if v.judged)
    decisive = [f"{n}: {v.why}" for n, v in claims.items() if v.judged and v.valid == valid]
    why = decisive[0] if valid is False else "; ".join(decisive)
    said = list(warnings)
    if spec.beyond_tolerance:
        said.append("faults may have gone beyond what the target says that it survives")
        why = f"beyond tolerance: {why}" if valid is False else why
    return Results(valid=valid, why=why, expect=spec.expect, claims=claims, warnings=said)


def to_json(results: Results) -> dict[str, Any]:
    made: dict[str, Any] = msgspec.to_builtins(results)
    return made
