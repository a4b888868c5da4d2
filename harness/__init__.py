"""Consistency verification for Redis-like databases.

The library's public names; each is imported on first use.

    import harness

    spec = harness.Spec(target="redis-model", environment="simulated", nemesis="partition")
    results = harness.run(spec, harness.plan_run(Path("results"), spec.directory_name))

    history, warnings = harness.read_history(path)
    verdict = harness.check_linearizable(history, harness.load("harness.models", "register")())

The map of the code, from the top down; imports point down only:

    cli/            the command line, one file a command; __main__ is the entry point
    demo/ replay bench/   callers of the pipeline: the lost-read example; repeating a run and
                    comparing; benchmarks of the reference beside Redis and Valkey
    campaign        the pipeline: run a spec, judge, report
    runner          the life of one run; helped by recorder, progress, versions
    judge report/   from a recorded history to a verdict, and to an HTML page
    parts plan world   assembling the parts of a run; what its seed draws
    workloads/      generator + client operations + claims
    interpreter     generators x workers x nemesis -> history
    nemesis/        fault injection, one fault a file
    checkers/       recorded history in, verdict out: linearizability/, isolation/, claims/; files
                    checks a history file against a model
    targets clients generators   the protocol of a system under test; connections without retries;
                    which operation comes next
    environments/   where nodes live, one file each
    formats/ models/ native/   other tools' histories; sequential specifications; the C++ core
    history/ results   operations, events and data derived from them; the layout of results/
    simulation/     the simulated world
    spec host streams registry binaries errors   the specification of a test; a server's interface
                    to its machine; random streams; classes by name; server binaries; exceptions
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.campaign import execute, run
    from harness.campaign import judge as judge_run
    from harness.campaign import report as report_run
    from harness.checkers.isolation import check as check_isolation
    from harness.checkers.linearizability import Linearizable
    from harness.checkers.linearizability import check as check_linearizable
    from harness.checkers.verdict import Checker
    from harness.clients import RedisConnection, with_role
    from harness.environments.protocol import Environment, EnvironmentOptions, ProcessSpec
    from harness.errors import EnvironmentFailed, HarnessError, HistoryError, UsageError
    from harness.generators import Context, Generator, Step, invocation
    from harness.history.files import read_history
    from harness.history.operations import History, Op
    from harness.history.record import Plan, PlannedFault, Results, RunRecord, Verdict
    from harness.history.recorded import Recorded
    from harness.models.base import Model
    from harness.nemesis.protocol import (
        DrawContext,
        Effect,
        Fault,
        Injected,
        Layer,
        Skipped,
        Traits,
    )
    from harness.nemesis.system import System
    from harness.registry import load
    from harness.report.data import document
    from harness.results import Run, find_run, plan_run
    from harness.spec import Spec
    from harness.targets import Target, TargetInfo, TargetOptions
    from harness.workloads.base import Workload, WorkloadOptions

# Public name -> (module, name there). A module of the package with the same name would hide it.
_EXPORTS: dict[str, tuple[str, str]] = {
    "check_isolation": ("harness.checkers.isolation", "check"),
    "check_linearizable": ("harness.checkers.linearizability", "check"),
    "judge_run": ("harness.campaign", "judge"),
    "report_run": ("harness.campaign", "report"),
    **{
        name: (module, name)
        for module, names in {
            "harness.campaign": ("execute", "run"),
            "harness.checkers.linearizability": ("Linearizable",),
            "harness.checkers.verdict": ("Checker",),
            "harness.clients": ("RedisConnection", "with_role"),
            "harness.environments.protocol": ("Environment", "EnvironmentOptions", "ProcessSpec"),
            "harness.errors": ("EnvironmentFailed", "HarnessError", "HistoryError", "UsageError"),
            "harness.generators": ("Context", "Generator", "Step", "invocation"),
            "harness.history.files": ("read_history",),
            "harness.history.operations": ("History", "Op"),
            "harness.history.record": ("Plan", "PlannedFault", "Results", "RunRecord", "Verdict"),
            "harness.history.recorded": ("Recorded",),
            "harness.models.base": ("Model",),
            "harness.nemesis.protocol": (
                "DrawContext", "Effect", "Fault", "Injected", "Layer", "Skipped", "Traits",
            ),
            "harness.nemesis.system": ("System",),
            "harness.registry": ("load",),
            "harness.report.data": ("document",),
            "harness.results": ("Run", "find_run", "plan_run"),
            "harness.spec": ("Spec",),
            "harness.targets": ("Target", "TargetInfo", "TargetOptions"),
            "harness.workloads.base": ("Workload", "WorkloadOptions"),
        }.items()
        for name in names
    },
}  # fmt: skip

__all__ = [
    "Checker",
    "Context",
    "DrawContext",
    "Effect",
    "Environment",
    "EnvironmentFailed",
    "EnvironmentOptions",
    "Fault",
    "Generator",
    "HarnessError",
    "History",
    "HistoryError",
    "Injected",
    "Layer",
    "Linearizable",
    "Model",
    "Op",
    "Plan",
    "PlannedFault",
    "ProcessSpec",
    "Recorded",
    "RedisConnection",
    "Results",
    "Run",
    "RunRecord",
    "Skipped",
    "Spec",
    "Step",
    "System",
    "Target",
    "TargetInfo",
    "TargetOptions",
    "Traits",
    "UsageError",
    "Verdict",
    "Workload",
    "WorkloadOptions",
    "check_isolation",
    "check_linearizable",
    "document",
    "execute",
    "find_run",
    "invocation",
    "judge_run",
    "load",
    "plan_run",
    "read_history",
    "report_run",
    "run",
    "with_role",
]


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module 'harness' has no attribute {name!r}")
    module, attribute = _EXPORTS[name]
    return getattr(importlib.import_module(module), attribute)
