"""An environment, a fault, a search, a report: each is one file, and nothing else is touched."""

from __future__ import annotations

import gc
from pathlib import Path

import msgspec
import pytest

from harness import Plan, Run, Spec, campaign
from harness.cli import run_command
from harness.history.events import FaultEnded
from harness.parts import assemble
from harness.report.data import document
from tests.extensions.plain_text import plain_text
from tests.extensions.search import fails, smaller

ENVIRONMENT = "tests.extensions.environment:InProcess"
FAULT = "tests.extensions.fault:Reset"


def command(results: Path, *words: str) -> int:
    return run_command(["run", "--target", "redis-model", "--time-limit", "3", "--rate", "100",
                        "--results", str(results), *words])  # fmt: skip


# Servers end by being killed: what they have open when their tasks are cancelled they leave open.
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_environment_of_ones_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(tmp_path, "--env", ENVIRONMENT, "--workload", "set") == 0
    record = Run(tmp_path / "latest").read_record()
    assert record.environment.environment == "in-process"
    assert "--env tests.extensions.environment:InProcess" in record.command
    assert command(tmp_path, "--env", ENVIRONMENT, "--nemesis", "all") == 254
    assert "the in-process environment injects no faults" in capsys.readouterr().err
    assert command(tmp_path, "--env", ENVIRONMENT, "--nemesis", "kill") == 254
    assert "the in-process environment can't kill processes" in capsys.readouterr().err
    gc.collect()  # or what they left is noticed in the next test


def test_a_fault_of_ones_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    simulated = ("--env", "simulated", "--seed", "5", "--workload", "set")
    assert command(tmp_path, *simulated, "--nemesis", f"{FAULT},partition-client") == 0
    run = Run((tmp_path / "latest").resolve())
    assert set(run.read_record().faults) == {FAULT, "partition-client"}
    ended = [e.what for e in campaign.judge(run).recorded.events.of(FaultEnded)]
    assert any(what.fault == FAULT and what.effective for what in ended)
    assert run_command(["replay", str(run.path)]) == 0
    capsys.readouterr()
    assert command(tmp_path, "--env", ENVIRONMENT, "--nemesis", FAULT) == 254
    assert "nothing can be reset there" in capsys.readouterr().err


def test_a_search_takes_faults_out_of_a_failing_plan(tmp_path: Path) -> None:
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
