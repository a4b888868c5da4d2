"""Whole simulated runs: which writes the model of Redis keeps and which it loses."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from harness import campaign
from harness.campaign import execute
from harness.checkers.claims.set import FAILED, LOST, NEVER, TWICE
from harness.cli import run_command
from harness.environments.protocol import EnvironmentOptions
from harness.environments.simulated import SimulatedEnvironment
from harness.errors import UsageError
from harness.history import read_history
from harness.history.events import FaultBegan, FaultEnded
from harness.history.record import Results
from harness.history.recorded import Recorded
from harness.nemesis import catalogue
from harness.parts import assemble, resolved
from harness.results import Run, plan_run
from harness.spec import Spec
from harness.targets import TargetOptions
from targets.replicated.redis_model.target import RedisModel
from tests.support.stories import STORIES, Story, play

WORKLOADS = ["register", "wait", "replica-reads", "set", "counter"]
DURABLE = {"appendonly": "yes", "appendfsync": "always"}


def run(folder: Path, **given) -> tuple[Results, Run]:
    given.setdefault("seed", 1)
    given.setdefault("rate", 200)
    spec = Spec(target="redis-model", environment="simulated", **given)
    made = plan_run(folder / "results", spec.directory_name)
    execute(spec, made)
    return campaign.judge(made).results, made


@pytest.mark.parametrize("story", STORIES, ids=lambda s: s.__name__)
def test_the_anomalies_of_real_servers(tmp_path: Path, story: Story) -> None:
    env = SimulatedEnvironment(EnvironmentOptions(nodes=3, run_dir=tmp_path))
    env.run(play(env, RedisModel(env, TargetOptions(timeout_s=5.0)), story))


@pytest.mark.parametrize("workload", WORKLOADS)
def test_without_faults_every_workload_is_valid(tmp_path: Path, workload: str) -> None:
    results, folder = run(tmp_path, workload=workload, time_limit_s=4)
    assert results.valid is True, results.why
    assert results.claims["coverage"].evidence["unclassified_errors"] == 0
    assert folder.report.exists() is False


@pytest.mark.parametrize("seed", range(3))
def test_wait_with_partition_and_failover_finds_the_anomaly(tmp_path: Path, seed: int) -> None:
    results, _ = run(tmp_path, workload="wait", nemesis="partition,failover", time_limit_s=15,
                     seed=seed)  # fmt: skip
    assert results.valid is False, results.why
    assert results.claims["coverage"].valid is True, results.claims["coverage"].why
    witness = results.claims["linearizable"].evidence["witnesses"][0]
    reads = [o for o in witness["operations"] if o["f"] == "read"]
    assert len({o["node"] for o in reads}) > 1, "read on one primary, gone on the next"


def test_lost_writes_and_stale_reads_are_found(tmp_path: Path) -> None:
    results, _ = run(tmp_path, workload="set", nemesis="partition,failover", time_limit_s=15)
    evidence = results.claims["set"].evidence
    assert results.valid is False
    assert 0 < evidence["lost"] < evidence["acknowledged"]
    assert LOST in evidence["violations"]
    assert not {NEVER, FAILED, TWICE} & evidence["violations"].keys()
    results, _ = run(tmp_path, workload="replica-reads", nemesis="partition-primary",
                     time_limit_s=15)  # fmt: skip
    assert results.valid is True, results.why
    assert max(node["ms"]["max"] for node in results.claims["staleness"].evidence.values()) > 500
    results, _ = run(tmp_path, workload="replica-reads", nemesis="partition,failover",
                     time_limit_s=15)  # fmt: skip
    assert results.claims["seen-then-gone"].evidence["gone"] > 0
    assert results.claims["converged"].valid is True, results.claims["converged"].why


@pytest.mark.parametrize(
    "fault",
    ["slow", "lossy", "clock-drift", "clock-jump", "kill", "pause", "restart", "power",
     "power-all", "partition-client", "partition-one-way"],
)  # fmt: skip
def test_every_fault_has_an_effect_and_a_durable_primary_loses_nothing(
    tmp_path: Path, fault: str
) -> None:
    workload = "ttl" if fault.startswith("clock") else "set"  # clocks affect expiry only
    results, folder = run(tmp_path, workload=workload, nemesis=fault, time_limit_s=8,
                          interval_s=1.0, options=DURABLE)  # fmt: skip
    assert results.valid is True, results.why
    assert results.claims["coverage"].evidence["faults"][fault]["effective"] >= 1
    history, _ = read_history(folder.history)
    assert history[-1].f == "end"


def test_clock_faults_do_not_undo_each_other(tmp_path: Path) -> None:
    results, folder = run(tmp_path, workload="ttl", nemesis="clock-drift,clock-jump",
                          time_limit_s=20, seed=7)  # fmt: skip
    assert results.valid is True, results.why
    events = Recorded(read_history(folder.history)[0]).events
    asked = [e.what.did["clock_ms"] for e in events.of(FaultBegan) if e.what.fault == "clock-jump"]
    ended = events.of(FaultEnded)
    assert asked
    assert [e.what.effect["ahead_ms"] for e in ended if e.what.fault == "clock-jump"] == asked
    drifts = [e.what.effect["ahead_ms"] for e in ended if e.what.fault == "clock-drift"]
    assert drifts
    assert all(abs(ahead) < 1000 for ahead in drifts), "no jump is taken for a drift"


@pytest.mark.parametrize("workload", ["set", "register"])
def test_faults_that_nothing_depends_on_are_refused(tmp_path: Path, workload: str) -> None:
    with pytest.raises(UsageError, match="such a run can't show a violation"):
        run(tmp_path, workload=workload, nemesis="clock-drift,clock-jump")


def test_a_power_loss_loses_unsynced_writes_and_a_kill_does_not(tmp_path: Path) -> None:
    options = {"appendonly": "yes", "appendfsync": "no"}
    given = {"workload": "set", "time_limit_s": 8, "interval_s": 1.0, "options": options}
    killed, _ = run(tmp_path, nemesis="kill", **given)
    assert killed.valid is True, killed.why
    powerless, _ = run(tmp_path, nemesis="power-all", **given)
    assert powerless.claims["set"].evidence["lost"] > 0


def test_time_is_virtual_and_nodes_log_their_roles(tmp_path: Path) -> None:
    _, folder = run(tmp_path, workload="register", time_limit_s=600, rate=2)
    history, _ = read_history(folder.history)
    assert 590e9 <= history[-1].time < 610e9
    assert "role: primary" in (folder.path / "logs/n1/n1.log").read_text()
    assert "role: replica of n1" in (folder.path / "logs/n2/n2.log").read_text()


def test_a_node_that_ends_by_itself_makes_the_run_unknown(tmp_path: Path) -> None:
    class Fragile(RedisModel):
        def spec(self, node: str):
            made = super().spec(node)
            main = made.main
            assert main is not None

            async def falls_over(host) -> None:
                async with asyncio.timeout(3 if host.name == "n3" else None):
                    await main(host)

            return type(made)(name=node, node=node, main=falls_over)

    import sys

    sys.modules["fragile"] = type(sys)("fragile")
    sys.modules["fragile"].Fragile = Fragile  # type: ignore[attr-defined]
    spec = Spec(target="fragile:Fragile", environment="simulated", time_limit_s=5, rate=100)
    made = plan_run(tmp_path, spec.directory_name)
    execute(spec, made)
    results = campaign.judge(made).results
    assert results.valid == "unknown"
    assert results.why.count("n3 ended by itself with code 1") == 1
    assert "n3 logged 'Traceback" in results.why


def test_programs_can_not_be_simulated_processes(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="give --target redis-model, or --env local"):
        execute(Spec(environment="simulated"), Run(tmp_path / "run"))
    env = SimulatedEnvironment(EnvironmentOptions(nodes=1, run_dir=tmp_path))
    target = RedisModel(env, TargetOptions())
    program = type(target.spec("n1"))(name="n1", node="n1", argv=["true"])

    async def main() -> None:
        with pytest.raises(UsageError, match="it is a program"):
            await env.start(program)
        nonsense = type(program)(name="n1", node="n1", main=lambda host: None)
        with pytest.raises(UsageError, match="must be an async function"):
            await env.start(nonsense)

    env.run(main())


def test_options_that_the_model_does_not_know_are_refused(tmp_path: Path) -> None:
    def refused(**given) -> str:
        with pytest.raises(UsageError) as e:
            execute(Spec(target="redis-model", environment="simulated", **given),
                    Run(tmp_path / "run"))  # fmt: skip
        return str(e.value)

    assert "--option maxmemory: unknown; the model has" in refused(options={"maxmemory": "1"})
    assert "--option appendfsync=often: give always" in refused(options={"appendfsync": "often"})
    assert "--binary" in refused(binary="/bin/true")


def command(*words: str) -> int:
    return run_command(["run", "--env", "simulated", "--target", "redis-model", *words])


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--port", "7000"], "--port: simulated servers don't use ports"),
        (["--user", "me"], "--tls, --tls-ca and --user are for servers that already run"),
        (["--nodes", "h:1"], "--nodes h:1: --env simulated starts its own nodes"),
        (["--password", "x"], "--password: redis-model does not support it"),
        (["--nemesis", "flood"], "unknown fault 'flood'"),
    ],
)
def test_wrong_usage_is_one_line(words, reason, tmp_path, capsys) -> None:
    assert command("--results", str(tmp_path / "r"), *words) == 254
    err = capsys.readouterr().err
    assert reason in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("fault", "who"), [("power", "cut the power of machines (simulated can)"),
                       ("lossy", "make links lose segments (simulated can)")]
)  # fmt: skip
def test_faults_of_the_simulation_are_refused_elsewhere(fault, who, tmp_path, capsys) -> None:
    code = run_command(["run", "--target", "redis-model", "--nemesis", fault,
                        "--results", str(tmp_path / "r")])  # fmt: skip
    assert code == 254
    assert who in capsys.readouterr().err


def test_trace_is_refused_outside_of_simulated_runs(tmp_path, capsys) -> None:
    assert run_command(["run", "--trace", "--results", str(tmp_path / "r")]) == 254
    assert "--trace requires --env simulated" in capsys.readouterr().err


# --- what a seed draws


def drawn(seed: int, **given) -> Spec:
    return resolved(Spec(target="redis-model", environment="simulated", nemesis="all", seed=seed,
                         **given))  # fmt: skip


def kinds(seed: int, tmp_path: Path, **given) -> list[str]:
    return assemble(drawn(seed, **given), tmp_path).plan.kinds


def test_seeds_draw_different_tests_and_every_kind_of_fault(tmp_path: Path) -> None:
    specs = [drawn(seed) for seed in range(300)]
    assert len({(spec.nodes, spec.world) for spec in specs}) > 290
    assert len({spec.nodes for spec in specs}) >= 5
    plans = [kinds(seed, tmp_path) for seed in range(100)]
    possible = {f.name for f in catalogue.every() if f.traits.in_all} - {"wipe", "pause-lease"}
    assert {kind for plan in plans for kind in plan} == possible
    assert any(len(plan) == 1 for plan in plans)
    assert any(len(plan) > 5 for plan in plans)


def test_drawn_settings_are_in_the_record_and_not_in_the_command(tmp_path: Path) -> None:
    results, folder = run(tmp_path, nemesis="all", time_limit_s=3, seed=5)
    test = json.loads(folder.test.read_text())
    assert test["spec"]["world"]["drawn"] == ["nodes"]
    assert test["spec"]["nodes"] == len(list((folder.path / "logs").iterdir()))
    assert "--nodes" not in test["command"]
    assert "--interval" not in test["command"]
    assert test["faults"]
    assert set(test["faults"]) == {fault["fault"] for fault in test["plan"]}
    assert results.claims["coverage"].evidence["faults"].keys() == set(test["faults"])


@pytest.mark.parametrize("seed", range(30))
def test_drawn_faults_are_possible_on_the_number_of_nodes(seed: int, tmp_path: Path) -> None:
    plan = kinds(seed, tmp_path, time_limit_s=10.0, nodes=1)
    assert "failover" not in plan
    assert set(plan) - {"clock-drift", "clock-jump"}, "something that any server notices"
    spec = drawn(seed, time_limit_s=10.0)
    assert spec.nodes is not None
    assert spec.nodes >= 2, "WAIT needs a replica"


def test_settings_of_the_user_are_not_drawn() -> None:
    spec = drawn(0, nodes=2, interval_s=0.7)
    assert (spec.nodes, spec.interval_s) == (2, 0.7)
    assert "--nodes 2" in spec.command()
    assert "--interval 0.7" in spec.command()


def test_the_share_of_reads_is_that_of_the_world(tmp_path: Path) -> None:
    shares = []
    for seed in (1, 2, 3, 4):
        _, folder = run(tmp_path, workload="set", nemesis="all", time_limit_s=2, seed=seed)
        history, _ = read_history(folder.history)
        asked = [op.f for op in history if op.type == "invoke" and op.process != "nemesis"]
        wanted = json.loads(folder.test.read_text())["spec"]["world"]["reads_percent"]
        share = 100 * asked.count("read") / len(asked)
        assert abs(share - wanted) < 12
        shares.append(wanted)
    assert len(set(shares)) > 1


def test_the_report_says_that_it_was_simulated_and_what_was_drawn(tmp_path: Path) -> None:
    code = command("--nemesis", "all", "--seed", "4", "--time-limit", "4", "--rate", "100",
                   "--results", str(tmp_path))  # fmt: skip
    assert code in (0, 1, 2)
    page = (tmp_path / "latest" / "report.html").read_text()
    assert "harness replay" in page
    assert "Drawn from the seed" in page
    assert "client hosts" in page
    assert "Real servers are not deterministic" not in page


def test_a_run_uses_the_drawn_settings(tmp_path: Path) -> None:
    for seed in (1, 2, 3):
        made = assemble(drawn(seed), tmp_path / "run")
        world, env = made.spec.world, made.env
        assert world is not None
        assert isinstance(env, SimulatedEnvironment)
        assert env.world.seed == str(seed)
        assert env.world.service_ns == world.service_ns
        assert len(env.client_hosts) == world.client_hosts
        link = env.world.network.link("n1", "n2")
        assert link.bytes_per_s == world.bytes_per_s
        assert len(env.nodes) == made.spec.nodes
    worlds = [drawn(seed).world for seed in range(100)]
    for field in ("reads_percent", "client_hosts", "service_ns", "high_ns"):
        assert len({getattr(world, field) for world in worlds}) >= 4, field
