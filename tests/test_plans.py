"""Plans: drawn from the available faults, edited by hand, and executed as they are."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TypedDict

import msgspec
import pytest

from harness import campaign
from harness.cli import run_command
from harness.errors import UsageError
from harness.history.events import FaultBegan, FaultEnded
from harness.history.record import Plan, PlannedFault
from harness.nemesis import catalogue
from harness.nemesis.kill import Kill
from harness.parts import Parts, assemble
from harness.plan import complete, draw_plan
from harness.results import Run, plan_run
from harness.spec import Spec

TARGETS = ("redis-model", "memorydb")
SEEDS = int(os.environ.get("HARNESS_SEEDS", "100"))


def parts(target: str, seed: int, folder: Path, **given) -> Parts:
    spec = Spec(target=target, environment="simulated", seed=seed, nemesis="all", **given)
    return assemble(spec, folder)


def check(made: Parts) -> None:
    """Assert that every kind in a plan is available, at least one disturbs what the run depends on,
    and all faults are within the time limit."""
    plan, limit_s = made.plan, made.spec.time_limit_s
    faults = {name: catalogue.fault(name) for name in plan.kinds}
    assert faults
    for fault in faults.values():
        assert fault.available(made.target, made.env) is None
    depends = made.target.depends_on | made.workload.depends_on
    assert any(fault.traits.disturbs & depends for fault in faults.values())
    for planned in plan.faults:
        assert 0 <= planned.at_s < planned.until_s <= limit_s
    assert not set(plan.kinds) & set(plan.no_room)
    assert limit_s < 8 or not plan.no_room, "there is room for every kind that was drawn"


@pytest.mark.parametrize("target", TARGETS)
def test_every_kind_in_a_plan_is_available_and_no_plan_is_harmless(
    target: str, tmp_path: Path
) -> None:
    for seed in range(SEEDS):
        for limit_s in (30.0, 4.0):
            check(parts(target, seed, tmp_path, time_limit_s=limit_s))


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("target", TARGETS)
def test_two_thousand_plans(target: str, tmp_path: Path) -> None:
    plans_with: dict[str, int] = {}
    for seed in range(2000):
        made = parts(target, seed, tmp_path)
        check(made)
        for kind in made.plan.kinds:
            plans_with[kind] = plans_with.get(kind, 0) + 1
    print(target, dict(sorted(plans_with.items())))


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("target", TARGETS)
def test_the_faults_of_a_hundred_runs_have_effects(target: str, tmp_path: Path) -> None:
    """Every kind in the plan has an effect, or the run is not valid and coverage names the kind;
    fewer than 5 % of the faults are skipped."""
    began = skipped = without = 0
    for seed in range(100):
        spec = Spec(target=target, environment="simulated", seed=seed, nemesis="all", rate=100.0)
        run = plan_run(tmp_path, spec.directory_name)
        campaign.execute(spec, run)
        judged = campaign.judge(run)
        coverage = judged.results.claims["coverage"]
        spans = judged.recorded.events.faults()
        effective = {b.what.fault for b, e in spans if e is not None and e.what.effective}
        for kind in judged.record.faults:
            if kind not in effective:
                without += 1
                assert judged.results.valid in ("unknown", False)
                assert f"{kind} had no effect" in coverage.why
        began += len(spans)
        skipped += sum(b.what.skipped is not None for b, _ in spans)
        assert judged.results.valid is not False or target != "memorydb", (seed, judged.results.why)
    print(f"{target}: {skipped} of {began} faults skipped, {without} kinds without effect")
    assert skipped < 0.05 * began


def test_the_same_seed_draws_the_same_plan_and_another_seed_another(tmp_path: Path) -> None:
    plans = [parts("memorydb", seed, tmp_path).plan for seed in (*range(20), *range(20))]
    assert plans[:20] == plans[20:]
    assert len({msgspec.json.encode(plan) for plan in plans}) == 20


def test_a_short_run_has_one_cycle_and_names_faults_without_room(tmp_path: Path) -> None:
    left = set()
    for seed in range(50):
        plan = parts("memorydb", seed, tmp_path, time_limit_s=7.9).plan
        assert len({fault.until_s for fault in plan.faults}) == 1, "they are healed together"
        assert len(plan.faults) == len(plan.kinds) <= 3
        left.update(plan.no_room)
    assert left


def test_faults_without_room_are_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = next(s for s in range(50)
                if parts("redis-model", s, tmp_path, time_limit_s=6.0).plan.no_room)  # fmt: skip
    run_command(["run", "--target", "redis-model", "--env", "simulated", "--nemesis", "all",
                 "--seed", str(seed), "--time-limit", "6", "--rate", "100",
                 "--results", str(tmp_path)])  # fmt: skip
    out = capsys.readouterr().out
    record = Run(tmp_path / "latest").read_record()
    assert record.no_room
    assert f"no room for {', '.join(record.no_room)} in a run of 6 s" in out
    assert f"faults {','.join(record.faults)}" in out


def test_named_faults_share_every_cycle(tmp_path: Path) -> None:
    spec = Spec(target="redis-model", environment="simulated", nemesis="failover,partition",
                time_limit_s=20)  # fmt: skip
    plan = assemble(spec, tmp_path).plan
    names = [fault.fault for fault in plan.faults]
    assert names == ["partition", "failover"] * (len(names) // 2)
    assert len(names) >= 4
    for partition, failover in zip(plan.faults[::2], plan.faults[1::2], strict=True):
        assert partition.at_s < failover.at_s < partition.until_s == failover.until_s


@pytest.mark.parametrize("seed", range(20))
def test_all_draws_every_kind_within_30_s_on_real_processes(seed: int, tmp_path: Path) -> None:
    made = assemble(Spec(target="memorydb", nemesis="all", seed=seed), tmp_path)
    assert set(made.plan.kinds) == {
        "partition", "slow", "kill", "pause", "restart", "wipe", "pause-lease", "failover"
    }  # fmt: skip
    assert made.plan.no_room == ()


# --- a plan by hand


def plan_from_file(tmp_path: Path, plan: object, **spec) -> Plan:
    path = tmp_path / "plan.json"
    path.write_text(plan if isinstance(plan, str) else json.dumps(plan))
    spec.setdefault("target", "memorydb")
    made = Spec(environment="simulated", plan=str(path), **spec)
    return assemble(made, tmp_path / "run").plan


def test_omitted_arguments_are_drawn(tmp_path: Path) -> None:
    plan = plan_from_file(tmp_path, [{"at_s": 2, "fault": "slow", "until_s": 3,
                                      "arguments": {"victim": "az2"}},
                                     {"at_s": 1, "fault": "kill", "until_s": 4}])  # fmt: skip
    kill, slow = plan.faults
    assert (kill.fault, slow.fault) == ("kill", "slow")
    assert kill.arguments["victim"]
    assert slow.arguments["victim"] == "az2"
    assert slow.arguments["delay_ms"] > 0


@pytest.mark.parametrize(
    ("plan", "reason"),
    [
        ("nonsense", "not a list of {at_s, fault, arguments, until_s}"),
        ({"spec": {}}, "the file contains no plan"),
        ([{"at_s": 1, "fault": "partition", "until_s": 2,
           "arguments": {"grudge": {"n1": ["n2"]}}}], "give kind and grudge, or neither"),
        ([{"at_s": 1, "fault": "kill"}], "missing required field `until_s`"),
        ([{"at_s": 1, "fault": "quake", "until_s": 2}], "unknown fault 'quake'"),
        ([{"at_s": 2, "fault": "kill", "until_s": 2}], "until_s at least 0.001 s later"),
        ([{"at_s": 2, "fault": "kill", "until_s": 1e300}], "and at most 1e+06"),
        ([{"at_s": 1, "fault": "kill", "until_s": 2, "argument": {"victim": "n3"}}],
         "unknown field `argument`"),
        ([{"at_s": 1, "fault": "slow", "until_s": 2, "arguments": {"delay_ms": -50}}],
         "`int` >= 1 - at `$.delay_ms`"),
        ([{"at_s": 1, "fault": "wipe", "until_s": 2, "arguments": {"number": 1.5}}],
         "Expected `int`, got `float` - at `$.number`"),
        ([{"at_s": 1, "fault": "pause-lease", "until_s": 2, "arguments": {"pauses_ms": ["a"]}}],
         "Expected `int`, got `str`"),
        ([{"at_s": 1, "fault": "partition", "until_s": 2,
           "arguments": {"kind": "one", "grudge": {"n1": "n2"}}}], "Expected `array`, got `str`"),
        ([{"at_s": 1, "fault": "partition", "until_s": 2,
           "arguments": {"kind": "one", "grudge": {"nX": ["n1"]}}}], "'nX' is neither a host nor"),
        ([{"at_s": 1, "fault": "partition", "until_s": 2,
           "arguments": {"kind": "one", "grudge": {"primary of s1": ["replica 1"]}}}],
         "'primary of s1' is neither a host nor a role: give one of primary, replica 1"),
        ([{"at_s": 1, "fault": "partition", "until_s": 2,
           "arguments": {"kind": "one", "grudge": {"primary": ["replica 5"]}}}],
         "'replica 5' is neither a host nor a role"),
        ([{"at_s": 1, "fault": "partition", "until_s": 2, "arguments": {"kind": "az"}}],
         "give kind and grudge, or neither"),
        ([{"at_s": 1, "fault": "partition", "until_s": 2,
           "arguments": {"kind": "odd", "grudge": {}}}], "Invalid enum value 'odd'"),
        ([{"at_s": 40, "fault": "kill", "until_s": 42}], "at_s is not within --time-limit 30"),
        ([{"at_s": 1, "fault": "kill", "until_s": 2, "arguments": {"victim": "n9"}}],
         "fault 1 (kill): 'n9' is not a process: give primary"),
        ([{"at_s": 1, "fault": "kill", "until_s": 2, "arguments": {"who": "n1"}}],
         "unknown argument 'who'; the fault takes victim"),
        ([{"at_s": 1, "fault": "slow", "until_s": 2, "arguments": {"delay_ms": "long"}}],
         "Expected `int`, got `str` - at `$.delay_ms`"),
    ],
)  # fmt: skip
def test_a_wrong_plan_is_refused_in_one_line(tmp_path: Path, plan: object, reason: str) -> None:
    with pytest.raises(UsageError) as e:
        plan_from_file(tmp_path, plan)
    assert reason in str(e.value)


def test_a_fault_that_is_not_possible_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="target redis-model has no log of its own"):
        plan_from_file(tmp_path, [{"at_s": 1, "fault": "wipe", "until_s": 2}], target="redis-model")


def test_an_edited_plan_is_executed_as_it_is_and_replays(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["run", "--target", "redis-model", "--env", "simulated", "--workload", "set",
             "--time-limit", "9", "--rate", "100", "--seed", "3",
             "--results", str(tmp_path / "results")]  # fmt: skip
    assert run_command([*words, "--nemesis", "partition,pause"]) in (0, 2)
    first = Run(tmp_path / "results" / "latest").read_record()
    edited = [fault for fault in first.plan if fault.fault == "pause"][:1]
    path = tmp_path / "edited.json"
    path.write_bytes(msgspec.json.encode(edited))
    assert run_command([*words, "--plan", str(path)]) == 0
    run = Run((tmp_path / "results" / "latest").resolve())
    assert run.read_record().plan == edited
    assert f"--plan {path}" in run.read_record().command
    events = campaign.judge(run).recorded.events
    (began,) = events.of(FaultBegan)
    (ended,) = events.of(FaultEnded)
    assert began.what.fault == ended.what.fault == "pause"
    assert began.time == pytest.approx(edited[0].at_s * 1e9, abs=1e6)
    assert run_command(["replay", str(run.path)]) == 0
    path.unlink()
    assert run_command(["replay", str(run.path)]) == 0, "the plan is in test.json"
    capsys.readouterr()


def test_the_test_json_of_a_run_is_a_plan(tmp_path: Path) -> None:
    made = parts("redis-model", 1, tmp_path)
    path = tmp_path / "test.json"
    path.write_bytes(msgspec.json.encode({"plan": made.plan.faults}))
    spec = Spec(target="redis-model", environment="simulated", plan=str(path), nodes=6)
    again = assemble(spec, tmp_path).plan
    assert again.faults == made.plan.faults


def test_a_fault_that_was_delayed_past_the_end_is_recorded_as_skipped(tmp_path: Path) -> None:
    """`wipe` heals when the AZ is a voter again, which a partition prevents for the whole run."""
    spec = Spec(target="memorydb", environment="simulated", workload="set", time_limit_s=6,
                rate=50, beyond_tolerance=True)  # fmt: skip
    azs = ["az1", "az2", "az3"]
    grudge = {az: [other for other in azs if other != az] for az in azs}
    plan = Plan(faults=(
        PlannedFault(at_s=0.5, fault="wipe", until_s=1, arguments={"number": 1}),
        PlannedFault(at_s=2, fault="kill", until_s=3, arguments={"victim": "n2"}),
    ))  # fmt: skip
    cut = PlannedFault(at_s=0.2, fault="partition", until_s=5.9,
                       arguments={"kind": "az", "grudge": grudge})  # fmt: skip
    run = plan_run(tmp_path, spec.directory_name)
    campaign.execute(spec, run, plan=Plan(faults=(cut, *plan.faults)))
    judged = campaign.judge(run)
    skipped = [e.what for e in judged.recorded.events.of(FaultBegan) if e.what.skipped]
    assert [(what.fault, what.skipped) for what in skipped] == [
        ("kill", "the time limit was reached before it began")]  # fmt: skip
    assert judged.results.valid == "unknown"
    assert "kill had no effect (0 injected, 1 skipped)" in judged.results.why


def test_a_named_fault_without_room_makes_the_run_unknown(tmp_path: Path) -> None:
    spec = Spec(target="memorydb", environment="simulated", workload="set", interval_s=25.0,
                nemesis="kill,partition", time_limit_s=30, rate=40)  # fmt: skip
    run = plan_run(tmp_path, spec.directory_name)
    campaign.execute(spec, run)
    judged = campaign.judge(run)
    assert judged.record.no_room == ["kill"]
    assert judged.results.valid == "unknown"
    assert "kill had no effect (0 injected)" in judged.results.why


def test_a_plan_of_the_library_is_checked_too(tmp_path: Path) -> None:
    spec = Spec(target="redis-model", environment="simulated")
    plan = Plan(faults=(PlannedFault(fault="kill", at_s=1, until_s=2),))
    assert assemble(spec, tmp_path, plan=plan).plan.faults[0].arguments["victim"]
    for wrong in (PlannedFault(fault="kill", at_s=3, until_s=2),
                  PlannedFault(fault="wipe", at_s=1, until_s=2)):  # fmt: skip
        with pytest.raises(UsageError, match="the plan, fault 1"):
            assemble(spec, tmp_path, plan=Plan(faults=(wrong,)))


def test_a_plan_and_named_faults_exclude_each_other() -> None:
    with pytest.raises(UsageError, match="--plan names the faults"):
        Spec(plan="plan.json", nemesis="kill")


class Arguments(TypedDict):
    """Argument names that have other types in the built-in faults."""

    victim: list[str]
    to: int
    kind: str
    grudge: str


class OddFault(Kill):
    """A user's fault, with arguments of its own."""

    takes = Arguments

    def draw(self, chance, system):
        return {"victim": ["anybody"], "to": 7, "kind": "grim", "grudge": "old"}


def test_arguments_of_a_users_fault_have_its_own_types(tmp_path: Path) -> None:
    spec = Spec(target="redis-model", environment="simulated", nemesis="tests.test_plans:OddFault")
    made = assemble(spec, tmp_path)
    assert complete(made.plan.faults, spec, made.system).faults == made.plan.faults
    wrong = PlannedFault(
        fault="tests.test_plans:OddFault", at_s=1, until_s=2, arguments={"to": "x"}
    )
    with pytest.raises(UsageError, match=r"Expected `int`, got `str` - at `\$.to`"):
        complete([wrong], spec, made.system)


@pytest.mark.parametrize("nodes", [None, 1, 2, 3, 6])
@pytest.mark.parametrize("target", TARGETS)
def test_a_drawn_plan_is_accepted_unchanged(target: str, nodes: int | None, tmp_path: Path) -> None:
    """A replay calls `complete` with the drawn plan, also if AZs have hosts of their own, as
    memorydb's do with fewer than three nodes."""
    for seed in range(SEEDS // 5):
        for given in ({}, {"interval_s": 0.05, "time_limit_s": 9.0}, {"time_limit_s": 3.0}):
            made = parts(target, seed, tmp_path, nodes=nodes, **given)
            again = msgspec.json.decode(msgspec.json.encode(made.plan.faults),
                                        type=list[PlannedFault])  # fmt: skip
            assert complete(again, made.spec, made.system).faults == made.plan.faults


@pytest.mark.parametrize("nemesis", ["all", "kill"])
def test_a_tiny_interval_is_raised_to_ten_milliseconds(tmp_path: Path, nemesis: str) -> None:
    spec = Spec(target="redis-model", environment="simulated", nemesis=nemesis, time_limit_s=9,
                interval_s=1e-9)  # fmt: skip
    made = assemble(spec, tmp_path)
    assert 200 < len(made.plan.faults) < 2000
    assert complete(made.plan.faults, spec, made.system).faults == made.plan.faults


def test_an_interval_beyond_the_time_limit_is_refused(tmp_path: Path) -> None:
    spec = Spec(target="redis-model", environment="simulated", nemesis="kill", time_limit_s=10,
                interval_s=60)  # fmt: skip
    with pytest.raises(UsageError, match="give more --time-limit, or less --interval"):
        assemble(spec, tmp_path)


def test_faults_may_disturb_what_only_the_workload_depends_on(tmp_path: Path) -> None:
    spec = Spec(target="redis-model", environment="simulated", nemesis="clock-jump")
    made = assemble(msgspec.structs.replace(spec, workload="ttl"), tmp_path)
    assert made.plan.kinds == ["clock-jump"]
    with pytest.raises(UsageError, match="redis-model and workload register do not depend on"):
        draw_plan(spec, made.system)
    assert complete(made.plan.faults, spec, made.system).kinds == ["clock-jump"]
