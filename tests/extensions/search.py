"""A search over plans: removes faults from a failing plan for as long as it still fails."""

from __future__ import annotations

from pathlib import Path

import msgspec

from harness import Plan, Spec, plan_run, run


def fails(spec: Spec, plan: Plan, results: Path) -> bool:
    return run(spec, plan_run(results, spec.directory_name), plan=plan).valid is False


def smaller(spec: Spec, plan: Plan, results: Path) -> Plan:
    """Remove each fault in turn if the plan still fails without it, and return the rest."""
    at = 0
    while at < len(plan.faults):
        without = msgspec.structs.replace(plan, faults=plan.faults[:at] + plan.faults[at + 1 :])
        if fails(spec, without, results):
            plan = without
        else:
            at += 1
    return plan
