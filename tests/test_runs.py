"""Short whole runs on each server version."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from harness import campaign
from harness.campaign import execute
from harness.checkers.claims.set import FAILED, LOST, NEVER, TWICE
from harness.environments.local import LocalEnvironment
from harness.environments.ports import Ports
from harness.environments.protocol import EnvironmentOptions
from harness.errors import Unreachable
from harness.history import read_history
from harness.history.events import FaultBegan
from harness.history.record import Plan, PlannedFault, Results
from harness.history.recorded import Recorded
from harness.results import Run, plan_run
from harness.spec import Spec
from harness.targets import TargetOptions
from targets.replicated.vanilla import Redis
from tests.conftest import require, server

pytestmark = pytest.mark.real

DURABLE = {"appendonly": "yes", "appendfsync": "always"}


def run(folder: Path, *, plan: Plan | None = None, **given) -> tuple[Results, Run]:
    given.setdefault("seed", 1)
    spec = Spec(**given)
    made = plan_run(folder / "results", spec.directory_name)
    execute(spec, made, plan=plan)
    return campaign.judge(made).results, made


@pytest.mark.parametrize("workload", ["register", "wait", "replica-reads", "set", "counter"])
def test_without_faults_every_workload_is_valid(
    nothing_left: Path, any_server: Path, workload: str
) -> None:
    results, folder = run(nothing_left, workload=workload, time_limit_s=2, binary=str(any_server))
    assert results.valid is True, results.why
    assert results.claims["coverage"].evidence["unclassified_errors"] == 0
    assert all(len(line) < 4096 for line in folder.history.read_bytes().splitlines())


def test_wait_with_partition_and_failover_finds_the_anomaly(
    nothing_left: Path, any_server: Path
) -> None:
    results, _ = run(nothing_left, workload="wait", nemesis="partition,failover", time_limit_s=12,
                     binary=str(any_server))  # fmt: skip
    assert results.valid is False, results.why
    assert results.exit_code == 1
    assert results.claims["coverage"].valid is True, results.claims["coverage"].why
    witness = results.claims["linearizable"].evidence["witnesses"][0]
    reads = [o for o in witness["operations"] if o["f"] == "read"]
    assert len({o["node"] for o in reads}) > 1, "read on one primary, gone on the next"


def test_lost_writes_of_a_failover_are_counted(nothing_left: Path, redis_server: Path) -> None:
    results, _ = run(nothing_left, workload="set", nemesis="partition,failover", time_limit_s=12)
    evidence = results.claims["set"].evidence
    assert results.valid is False
    assert 0 < evidence["lost"] < evidence["acknowledged"]
    assert LOST in evidence["violations"]
    assert not {NEVER, FAILED, TWICE} & evidence["violations"].keys()


def test_replica_reads_keep_their_claims_apart(nothing_left: Path, redis_server: Path) -> None:
    results, _ = run(nothing_left, workload="replica-reads", nemesis="partition-primary",
                     time_limit_s=8)  # fmt: skip
    assert results.valid is True, results.why
    assert results.claims["linearizable"].valid is True
    assert results.claims["converged"].valid is True
    staleness = results.claims["staleness"]
    assert staleness.judged is False
    assert max(node["ms"]["max"] for node in staleness.evidence.values()) > 500


def test_values_read_and_then_lost_are_reported(nothing_left: Path, redis_server: Path) -> None:
    results, _ = run(nothing_left, workload="replica-reads", nemesis="partition,failover",
                     time_limit_s=15, seed=2)  # fmt: skip
    gone = results.claims["seen-then-gone"]
    assert gone.evidence["gone"] > 0
    assert gone.evidence["first_seen_on_a_replica"] > 0
    assert results.claims["converged"].valid is True, results.claims["converged"].why


VICTIM = {"victim": "primary"}
CUT = {"kind": "client", "grudge": {"c1": ["primary"], "primary": ["c1"]}}


@pytest.mark.parametrize(
    ("fault", "arguments"),
    [("kill", VICTIM), ("pause", VICTIM), ("restart", VICTIM), ("partition-client", CUT)],
)
def test_every_fault_has_an_effect(
    nothing_left: Path, redis_server: Path, fault: str, arguments: dict
) -> None:
    planned = PlannedFault(at_s=1.5, fault=fault, arguments=arguments, until_s=4)
    results, folder = run(nothing_left, workload="register", time_limit_s=6, options=DURABLE,
                          plan=Plan(faults=(planned,)))  # fmt: skip
    coverage = results.claims["coverage"]
    assert coverage.valid is True, coverage.why
    assert coverage.evidence["faults"][fault]["effective"] >= 1
    history, _ = read_history(folder.history)
    (began,) = Recorded(history).events.of(FaultBegan)
    assert began.what.did.get("was_primary") or began.what.did["kind"] == "client"
    errors = {(op.error or "").split(":")[0] for op in history if op.type in ("fail", "info")}
    latencies = results.claims["performance"].evidence["latency_ms"].values()
    slowest_ms = max(quantiles["max"] for quantiles in latencies)
    noticed = {"kill": "connect" in errors, "restart": "connection" in errors}
    assert noticed.get(fault, slowest_ms > 300), (errors, slowest_ms)
    assert history[-1].f == "end"


def test_all_faults_heal_in_the_end(nothing_left: Path, redis_server: Path) -> None:
    _results, folder = run(
        nothing_left, workload="set", nemesis="all", time_limit_s=18, interval_s=0.8
    )
    history, _ = read_history(folder.history)
    pairs = history.nemesis_pairs()
    settled = [p for p in pairs if p.invoke.f == "settle"]
    assert settled[0].done is not None
    assert settled[0].done.error is None
    started = [p.invoke.f[6:] for p in pairs if p.invoke.f.startswith("start-")]
    stopped = [p.invoke.f[5:] for p in pairs if p.invoke.f.startswith("stop-")]
    assert sorted(started) == sorted(stopped)
    assert set(started) == {"partition", "slow", "kill", "pause", "restart", "failover"}


def test_server_options_are_passed_through_and_recorded(
    nothing_left: Path, redis_server: Path
) -> None:
    options = {"min-replicas-to-write": "5"}
    results, folder = run(nothing_left, workload="register", time_limit_s=1, options=options)
    assert results.valid == "unknown"
    assert "only 0 write succeeded" in results.claims["coverage"].why
    assert json.loads(folder.test.read_text())["target"]["options"] == options
    history, _ = read_history(folder.history)
    refused = [op for op in history if op.f == "write" and op.type != "invoke"]
    assert {op.type for op in refused} == {"fail"}
    assert "NOREPLICAS" in str(refused[0].error)


def test_external_servers_are_tested_with_a_password_and_left_clean(
    nothing_left: Path, redis_server: Path
) -> None:
    async def main() -> None:
        env = LocalEnvironment(EnvironmentOptions(nodes=2, run_dir=nothing_left))
        target = Redis(env, TargetOptions())
        try:
            await env.open()
            await target.start()
            for node in env.nodes:
                await target.control.ask(
                    node, "ACL", "SETUSER", "tester", "on", ">secret", "~*", "+@all"
                )
            nodes = ",".join("{}:{}".format(*env.control_address(n)) for n in env.nodes)
            spec = Spec(environment="external", addresses=nodes, nodes=2, workload="replica-reads",
                        time_limit_s=2, username="tester")  # fmt: skip
            made = plan_run(nothing_left / "results", spec.directory_name)
            await asyncio.to_thread(execute, spec, made, password="secret")
            results = campaign.judge(made).results
            assert results.valid is True, results.why
            assert await target.control.ask("n1", "DBSIZE") == 0
            assert "secret" not in made.test.read_text()
        finally:
            await env.close()

    asyncio.run(main())


def certificate(folder: Path) -> tuple[Path, Path]:
    """Return the paths of a self-signed certificate for 127.0.0.1 and of its key."""
    require(shutil.which("openssl"), "no openssl to make a certificate with")
    cert, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1",
         "-keyout", str(key), "-out", str(cert)],
        check=True, capture_output=True,
    )  # fmt: skip
    return cert, key


def test_external_servers_are_reached_over_tls(nothing_left: Path) -> None:
    cert, key = certificate(nothing_left)
    port = Ports().take()
    options = {"tls-port": str(port), "tls-cert-file": str(cert), "tls-key-file": str(key),
               "tls-auth-clients": "no"}  # fmt: skip

    async def main() -> None:
        env = LocalEnvironment(EnvironmentOptions(nodes=1, run_dir=nothing_left))
        binary = str(server("redis-7.0"))
        target = Redis(env, TargetOptions(binary=binary, options=options))
        try:
            await env.open()
            await target.start()
            given = {"environment": "external", "addresses": f"127.0.0.1:{port}", "nodes": 1,
                     "tls": True, "time_limit_s": 2.0}  # fmt: skip
            trusting = Spec(**given, tls_ca=str(cert))
            made = plan_run(nothing_left / "results", trusting.directory_name)
            await asyncio.to_thread(execute, trusting, made)
            assert campaign.judge(made).results.valid is True
            wary = Spec(**given)
            made = plan_run(nothing_left / "results", wary.directory_name)
            with pytest.raises(Unreachable, match="certificate verify failed"):
                await asyncio.to_thread(execute, wary, made)
        finally:
            await env.close()

    asyncio.run(main())
