"""Extensions in one file each, without changes elsewhere: an environment, a fault, a search, a
report, a target of two shards, a log, an engine."""

from __future__ import annotations

import gc
from pathlib import Path

import msgspec
import pytest

from harness import Plan, Run, Spec, campaign
from harness.cli import run_command
from harness.history.events import FaultBegan, FaultEnded
from harness.parts import assemble
from harness.report.data import document
from harness.topology import slot_of
from tests.conftest import server
from tests.extensions.plain_text import plain_text
from tests.extensions.search import fails, smaller
from tests.extensions.two_shards import halves

ENVIRONMENT = "tests.extensions.environment:InProcess"
FAULT = "tests.extensions.fault:Reset"


def command(results: Path, *words: str) -> int:
    return run_command(["run", "--target", "redis-model", "--time-limit", "3", "--rate", "100",
                        "--results", str(results), *words])  # fmt: skip


# Servers are written to be killed: when their tasks are cancelled, they close nothing.
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_users_environment(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(tmp_path, "--env", ENVIRONMENT, "--workload", "set") == 0
    record = Run(tmp_path / "latest").read_record()
    assert record.environment.environment == "in-process"
    assert "--env tests.extensions.environment:InProcess" in record.command
    assert command(tmp_path, "--env", ENVIRONMENT, "--nemesis", "all") == 254
    assert "the in-process environment injects no faults" in capsys.readouterr().err
    assert command(tmp_path, "--env", ENVIRONMENT, "--nemesis", "kill") == 254
    assert "the in-process environment can't kill processes" in capsys.readouterr().err
    gc.collect()  # otherwise the servers' warnings appear in the next test


def test_a_users_fault(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    simulated = ("--env", "simulated", "--seed", "5", "--workload", "set")
    assert command(tmp_path, *simulated, "--nemesis", f"{FAULT},partition-client") == 0
    run = Run((tmp_path / "latest").resolve())
    assert set(run.read_record().faults) == {FAULT, "partition-client"}
    ended = [e.what for e in campaign.judge(run).recorded.events.of(FaultEnded)]
    assert any(what.fault == FAULT and what.effective for what in ended)
    assert run_command(["replay", str(run.path)]) == 0
    capsys.readouterr()
    assert command(tmp_path, "--env", ENVIRONMENT, "--nemesis", FAULT) == 254
    assert "the environment can't reset connections" in capsys.readouterr().err


def test_a_search_removes_faults_from_a_failing_plan(tmp_path: Path) -> None:
    spec = Spec(target="redis-model", environment="simulated", workload="wait", seed=1,
                nemesis="partition,failover", time_limit_s=15.0, rate=100.0)  # fmt: skip
    plan = assemble(spec, tmp_path).plan
    assert fails(spec, plan, tmp_path)
    least = smaller(spec, plan, tmp_path)
    assert 0 < len(least.faults) < len(plan.faults)
    assert [fault for fault in plan.faults if fault in least.faults] == list(least.faults)
    assert fails(spec, least, tmp_path)
    assert not fails(spec, Plan(), tmp_path)


def test_a_report_as_plain_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--env", "simulated", "--workload", "wait", "--nemesis", "partition,failover",
             "--seed", "1", "--time-limit", "15")  # fmt: skip
    assert command(tmp_path, *words) == 1
    capsys.readouterr()
    judged = campaign.judge(Run(tmp_path / "latest"))
    shown = document(judged.record, judged.results, judged.recorded)
    text = plain_text(msgspec.json.decode(msgspec.json.encode(shown)))
    assert text.startswith("INVALID: redis-model wait")
    assert "invalid   linearizable: key " in text
    assert "failover: old n1, new n" in text
    assert "process" in text
    assert " s  settle" in text
    assert "p95 of write at its worst" in text
    page = (tmp_path / "latest" / "report.html").read_text()
    for claim in shown.claims:
        assert claim.name in page


def nodes_by_shard(run: Run) -> dict[str, set[str]]:
    """Return the nodes that answered operations on the keys of each shard."""
    shards, found = halves(("n1", "n2", "n3", "n4")), {}
    for pair in campaign.judge(run).recorded.pairs:
        if pair.type == "ok" and pair.done is not None and pair.done.node is not None:
            slot = slot_of(f"h:s{pair.done.value[0]}")
            (shard,) = (shard.name for shard in shards if shard.serves(slot))
            found.setdefault(shard, set()).add(pair.done.node)
    return found


def test_two_shards_in_the_simulation(tmp_path: Path) -> None:
    """Operations go to the shard of their keys, and to its new primary after a failover of that
    shard alone; a victim's role names the shard."""
    plan = tmp_path / "plan.json"
    plan.write_text(
        '[{"at_s": 1, "fault": "failover", "arguments": {"to": "replica 1 of s2"}, "until_s": 2},'
        ' {"at_s": 3, "fault": "pause", "arguments": {"victim": "replica 1 of s1"}, "until_s": 4}]'
    )
    words = ("run", "--target", "tests.extensions.two_shards:TwoModels", "--env", "simulated",
             "--nodes", "4", "--workload", "set", "--seed", "3", "--time-limit", "8",
             "--rate", "300", "--results", str(tmp_path))  # fmt: skip
    run_command([*words, "--plan", str(plan)])
    run = Run((tmp_path / "latest").resolve())
    assert nodes_by_shard(run) == {"s1": {"n1"}, "s2": {"n3", "n4"}}
    began = [e.what for e in campaign.judge(run).recorded.events.of(FaultBegan)]
    assert [(what.did or {}).get("new") for what in began if what.fault == "failover"] == ["n4"]
    assert [(what.did or {}).get("node") for what in began if what.fault == "pause"] == ["n2"]
    plan.write_text(
        '[{"at_s": 1, "fault": "pause", "arguments": {"victim": "primary of s3"}, "until_s": 2}]'
    )
    assert run_command([*words, "--plan", str(plan)]) == 254


def test_partitions_of_two_shards_name_the_roles_of_each(tmp_path: Path) -> None:
    spec = Spec(target="tests.extensions.two_shards:TwoModels", environment="simulated", nodes=4,
                nemesis="partition,kill", workload="set", time_limit_s=60.0)  # fmt: skip
    victims: set[str] = set()
    for seed in range(10):
        for fault in assemble(msgspec.structs.replace(spec, seed=seed), tmp_path).plan.faults:
            victims |= {str(fault.arguments.get("victim"))} | set(fault.arguments.get("grudge", ()))
    roles = {f"{role} of {s}" for role in ("primary", "replica 1") for s in ("s1", "s2")}
    assert roles <= victims
    assert not victims & {"primary", "replica 1"}


@pytest.mark.real
def test_two_redis_servers_with_half_of_the_slots_each(tmp_path: Path) -> None:
    """No write is lost while replicas are paused; each server answers for its own slots only."""
    server("redis-7.0")
    code = run_command(
        ["run", "--target", "tests.extensions.two_shards:TwoServers", "--nodes", "4",
         "--workload", "set", "--nemesis", "pause", "--time-limit", "8", "--rate", "200",
         "--results", str(tmp_path)]
    )  # fmt: skip
    assert code == 0
    assert nodes_by_shard(Run(tmp_path / "latest")) == {"s1": {"n1"}, "s2": {"n3"}}


@pytest.mark.parametrize("nemesis", ["kill", "pause", "partition-client,pause-lease"])
def test_the_reference_on_another_log(tmp_path: Path, nemesis: str) -> None:
    """With another implementation of the log's interface, nodes fail over and the audit passes."""
    words = ("run", "--target", "tests.extensions.memory_log:MemoryLogDB", "--env", "simulated",
             "--option", "snapshots=0", "--workload", "register", "--nemesis", nemesis,
             "--seed", "4", "--time-limit", "20", "--rate", "200",
             "--results", str(tmp_path))  # fmt: skip
    assert run_command(list(words)) == 0
    run = Run((tmp_path / "latest").resolve())
    results = campaign.judge(run).results
    assert results.claims["linearizable"].valid is True
    assert results.claims["log-audit"].valid is True
    assert results.claims["log-audit"].evidence["entries"] > 100
    assert run_command(["replay", str(run.path)]) == 0


@pytest.mark.real
def test_the_reference_with_an_engine_in_another_process(
    nothing_left: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shard whose nodes execute commands in a redis-server fails over and is linearizable."""
    server("redis-7.0")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[1]))
    code = run_command(
        ["run", "--target", "tests.extensions.remote_engine:RemoteEngineDB",
         "--workload", "tests.extensions.remote_engine:GetAndSet", "--option", "snapshots=0",
         "--nemesis", "kill,partition-log", "--time-limit", "15", "--rate", "200",
         "--results", str(nothing_left)]
    )  # fmt: skip
    judged = campaign.judge(Run(nothing_left / "latest"))
    assert code == 0, judged.results.why
    ended = [e.what for e in judged.recorded.events.of(FaultEnded)]
    assert any(what.effective for what in ended)
    logs = (Run(nothing_left / "latest").path / "logs").glob("n*/*")
    promotions = sum(log.read_text().count("role: primary from") for log in logs)
    assert promotions > 1, "another node took over"
