"""The parts of a run: environment, target, workload, plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.clients import Credentials
from harness.environments.protocol import CanReplay, CanStart, Environment, EnvironmentOptions
from harness.errors import UsageError
from harness.history.record import Plan, TargetInfo
from harness.nemesis.catalogue import ALL
from harness.nemesis.system import System
from harness.plan import complete, draw_plan, read_plan
from harness.registry import load
from harness.spec import Spec
from harness.targets import Target, TargetOptions
from harness.workloads.base import Workload, WorkloadOptions
from harness.world import with_world


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The parts of a run. `spec`: includes the world, if the seed has drawn one."""

    spec: Spec
    env: Environment
    target: Target
    workload: Workload
    system: System[Any, Any]
    plan: Plan


def resolved(spec: Spec) -> Spec:
    """Return the spec, with the world that the seed draws, if it draws one."""
    simulated = load("harness.environments", spec.environment).simulated
    draws = simulated and spec.nemesis == ALL and spec.world is None
    return with_world(spec) if draws else spec


def assemble(
    spec: Spec,
    folder: Path,
    *,
    password: str | None = None,
    plan: Plan | None = None,
    trace: Path | None = None,
) -> Parts:
    """Return the parts of a run whose results are written to a folder; start nothing. `plan`:
    replaces the spec's own. `trace`: the file for all events of a simulated run. Raises
    `UsageError` if the spec can't be run."""
    spec = resolved(spec)
    env: Environment = load("harness.environments", spec.environment)(
        EnvironmentOptions(
            nodes=spec.node_count,
            run_dir=folder,
            seed=spec.seed,
            addresses=spec.addresses,
            first_port=spec.first_port,
            world=spec.world,
            trace=trace,
        )
    )
    if trace is not None and not isinstance(env, CanReplay):
        raise UsageError("--trace requires --env simulated")
    if isinstance(env, CanStart) and (spec.tls or spec.tls_ca or spec.username):
        raise UsageError(
            "--tls, --tls-ca and --user are for servers that already run: give --nodes host:port,…"
        )
    target: Target = load("harness.targets", spec.target)(
        env,
        TargetOptions(
            binary=spec.binary,
            options=spec.options,
            credentials=Credentials(
                username=spec.username, password=password, tls=spec.tls, tls_ca=spec.tls_ca
            ),
            timeout_s=spec.timeout_s,
        ),
    )
    workload = make_workload(spec, env.nodes, target.describe(), key_prefix(env, folder))
    system = System(env, target, beyond_tolerance=spec.beyond_tolerance)
    if plan is not None:
        plan = complete(plan.faults, spec, system)
    elif spec.plan is not None:
        plan = complete(read_plan(Path(spec.plan)), spec, system, f"--plan {spec.plan}")
    else:
        plan = draw_plan(spec, system, workload.depends_on)
    return Parts(spec=spec, env=env, target=target, workload=workload, system=system, plan=plan)


def make_workload(
    spec: Spec, nodes: Sequence[str], info: TargetInfo, prefix: str = "h:"
) -> Workload:
    """Return the workload of a spec; raises `UsageError` for an unknown one. `info`: what is known
    of the target."""
    made: Workload = load("harness.workloads", spec.workload)(
        WorkloadOptions(
            nodes=tuple(nodes),
            concurrency=spec.concurrency,
            prefix=prefix,
            promises=load("harness.targets", spec.target).promises,
            timeout_s=spec.timeout_s,
            reads_percent=spec.world.reads_percent if spec.world else None,
            server=info.version,
            clock_error_ms=info.clock_error_ms,
        )
    )
    return made


def key_prefix(env: Environment, folder: Path) -> str:
    """Return the prefix of every key, unique to this run where servers may have other keys."""
    return "h:" if isinstance(env, CanStart) else f"harness:{folder.name}:"
