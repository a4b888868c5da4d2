"""The same seed gives the same run, whatever process, Python or library runs it."""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from harness.campaign import execute
from harness.cli import run_command
from harness.errors import EnvironmentFailed, UsageError
from harness.history.record import EnvironmentInfo, RunRecord, TargetInfo
from harness.replay import first_difference, replay
from harness.results import Run, find_run
from harness.spec import Spec
from targets.replicated.redis_model.target import RedisModel

SCRIPT = Path(__file__).parent / "support" / "simulated_run.py"


def spec(seed: int, **given) -> Spec:
    """A run of two seconds with all that a seed can draw."""
    given.setdefault("nemesis", "all")
    given.setdefault("workload", ["register", "wait", "replica-reads", "set", "counter"][seed % 5])
    return Spec(
        target="redis-model", environment="simulated", seed=seed, time_limit_s=2, rate=300, **given
    )


def in_a_fresh_process(tmp_path: Path, of: Spec, *flags: str, python: str = sys.executable):
    """Return the hashes of a run in a new process."""
    folder = tmp_path / f"run-{random.getrandbits(40)}"
    command = [python, str(SCRIPT), str(folder), msgspec.json.encode(of).decode(), *flags]
    env = {**os.environ, "PYTHONHASHSEED": str(random.randrange(2**32))}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def here(tmp_path: Path, of: Spec) -> dict:
    run = Run(tmp_path / f"here-{random.getrandbits(40)}")
    execute(of, run)
    hashes: dict = msgspec.to_builtins(run.read_hashes())
    return hashes


@pytest.mark.parametrize("seed", range(5))
def test_fresh_processes_give_the_same_run(tmp_path: Path, seed: int) -> None:
    first = here(tmp_path, spec(seed))
    assert first["events"] > 500
    assert in_a_fresh_process(tmp_path, spec(seed)) == first
    assert in_a_fresh_process(tmp_path, spec(seed), "no-hiredis") == first


def test_seeds_give_different_runs(tmp_path: Path) -> None:
    assert len({here(tmp_path, spec(seed))["trace"] for seed in range(5)}) == 5


@pytest.mark.parametrize("seed", range(5, 10))
def test_one_process_gives_the_same_run_twice(tmp_path: Path, seed: int) -> None:
    assert here(tmp_path, spec(seed)) == here(tmp_path, spec(seed))


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_many_seeds_twice(tmp_path: Path) -> None:
    for seed in range(200):
        assert here(tmp_path, spec(seed)) == in_a_fresh_process(tmp_path, spec(seed)), seed


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_one_seed_in_many_processes(tmp_path: Path) -> None:
    flags: list[tuple[str, ...]] = [(), ("no-hiredis",)]
    seen = {
        json.dumps(in_a_fresh_process(tmp_path, spec(7, workload="wait"), *flags[i % 2]))
        for i in range(20)
    }
    assert len(seen) == 1


def test_other_pythons_give_the_same_run(tmp_path: Path) -> None:
    """HARNESS_PYTHONS lists the paths of interpreters that have this project installed."""
    others = os.environ.get("HARNESS_PYTHONS", "").split(os.pathsep)
    if others == [""]:
        pytest.skip("HARNESS_PYTHONS names no other Python")
    for seed in range(5):
        first = here(tmp_path, spec(seed))
        for python in others:
            assert in_a_fresh_process(tmp_path, spec(seed), python=python) == first


def run_by_command(tmp_path: Path, *options: str) -> Path:
    code = run_command(
        ["run", "--target", "redis-model", "--env", "simulated", "--workload", "set",
         "--nemesis", "partition", "--time-limit", "2", "--rate", "200", "--seed", "7",
         "--results", str(tmp_path / "results"), *options]
    )  # fmt: skip
    assert code in (0, 2)
    return tmp_path / "results" / "latest"


def test_replay_proves_identity(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = run_by_command(tmp_path)
    capsys.readouterr()
    assert run_command(["replay", str(run)]) == 0
    hashes = find_run(run).read_hashes()
    out = capsys.readouterr().out
    assert out.startswith("identical")
    assert hashes.history in out
    assert hashes.trace in out


class Planted(RedisModel):
    """Sends one ECHO whose argument depends on the order of a set."""

    def open_to(self, node: str, client_host: str, *, readonly: bool = False):
        connection = super().open_to(node, client_host, readonly=readonly)
        call = connection.call

        async def slower(*command):
            if command[0] == "SADD" and int(command[2]) == 60:
                first = next(iter({f"x{i}" for i in range(50)}))
                await connection.call_before("ECHO", first)
            return await call(*command)

        connection.call_before = call  # type: ignore[attr-defined]
        connection.call = slower  # type: ignore[method-assign]
        return connection


@pytest.mark.parametrize("trace", [(), ("--trace",)], ids=["without a trace", "with a trace"])
def test_replay_finds_a_planted_source_of_randomness(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], trace: tuple[str, ...]
) -> None:
    """Of two runs in other processes, at least one had another order of the set."""
    given = spec(7, workload="set", nemesis="none")
    planted = msgspec.structs.replace(given, target="tests.test_replays:Planted")
    script = (
        "import sys, msgspec; sys.path.insert(0, sys.argv[1]); from pathlib import Path; "
        "from harness.results import Run; from harness.campaign import execute; "
        "from harness.spec import Spec; "
        "execute(msgspec.json.decode(sys.argv[2], type=Spec), Run(Path(sys.argv[3])), "
        f"trace={bool(trace)})"
    )
    folder = tmp_path / "run"
    for hashseed in ("1", "2"):  # at least one order differs from the one here
        encoded = msgspec.json.encode(planted).decode()
        subprocess.run(
            [sys.executable, "-c", script, str(Path(__file__).parents[1]), encoded,
             str(folder / hashseed)],
            env={**os.environ, "PYTHONHASHSEED": hashseed}, check=True,
        )  # fmt: skip
    os.environ["PYTHONPATH"] = str(Path(__file__).parents[1])
    try:
        codes = [run_command(["replay", str(folder / n)]) for n in ("1", "2")]
    finally:
        del os.environ["PYTHONPATH"]
    assert 1 in codes
    out = capsys.readouterr().out
    assert "different" in out
    assert "first difference in the trace" in out
    parted = re.findall(r"\n  - (\d.*)\n  \+ (\d.*)\n", out)  # lines of traces
    assert parted
    for one, other in parted:
        assert re.search(r" c\d>n1 #\d+ data \d+ ", one), "the ECHO of the first element of the set"
        assert one.split()[:4] == other.split()[:4], "at the same time, on the same connection"
        assert one.split()[5] != other.split()[5], "with other bytes"


def test_the_first_difference_is_shown_with_the_ten_lines_before(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_text("".join(f"line {i}\n" for i in range(30)))
    other.write_text(one.read_text().replace("line 20", "line twenty"))
    found = first_difference("history", one, other)
    assert found is not None
    assert (found.line, found.first, found.second) == (21, "line 20", "line twenty")
    assert list(found.before) == [f"line {i}" for i in range(10, 20)]
    other.write_text("".join(f"line {i}\n" for i in range(5)))
    found = first_difference("history", one, other)
    assert found is not None
    assert (found.line, found.first, found.second) == (6, "line 5", None)
    assert first_difference("history", one, one) is None


def test_replay_notices_a_history_that_was_changed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_by_command(tmp_path)
    history = (run / "history.jsonl").read_text().splitlines(keepends=True)
    (run / "history.jsonl").write_text("".join([*history[:50], *history[51:]]))
    capsys.readouterr()
    assert run_command(["replay", str(run)]) == 1
    out = capsys.readouterr().out
    assert "first difference in the history, line 51" in out


class Hangs(RedisModel):
    """Never settles after 10 s of virtual time."""

    async def settle(self, timeout_s: float) -> None:
        if self.env.now() > 10**10:
            await asyncio.Event().wait()
        await super().settle(timeout_s)


def test_a_run_that_ended_in_a_livelock_replays(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Run(tmp_path / "run")
    of = Spec(target="tests.test_replays:Hangs", environment="simulated", nemesis="kill",
              time_limit_s=12, rate=20)  # fmt: skip
    with pytest.raises(EnvironmentFailed, match="nothing reached the harness"):
        execute(of, run)
    assert run_command(["replay", str(run.path)]) == 0
    out = capsys.readouterr().out
    assert "note: the repetition ended with: nothing reached the harness" in out
    assert "identical" in out


def record(of: Spec, *, simulated: bool) -> RunRecord:
    return RunRecord(
        spec=of,
        command=of.command(),
        target=TargetInfo(target=of.target, version="1"),
        environment=EnvironmentInfo(environment=of.environment, simulated=simulated),
    )


def test_only_simulated_runs_replay(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    run.create()
    run.write_record(record(Spec(), simulated=False))
    with pytest.raises(UsageError, match="only runs of --env simulated"):
        replay(run)


def test_an_interrupted_run_can_not_be_replayed(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    run.create()
    run.write_record(record(spec(1), simulated=True))
    with pytest.raises(UsageError, match="it was interrupted"):
        replay(run)


@pytest.mark.parametrize("content", ["[]", "{}", '{"history": 1}', "nonsense"])
def test_malformed_hashes_are_one_line_of_error(tmp_path: Path, capsys, content: str) -> None:
    run = run_by_command(tmp_path)
    (run / "hashes.json").write_text(content)
    capsys.readouterr()
    assert run_command(["replay", str(run)]) == 254
    assert capsys.readouterr().err.count("\n") == 1


def test_a_replay_with_changed_code_says_so(tmp_path: Path, capsys) -> None:
    """After a change of the code, repetitions agree with each other and differ from the run."""
    run = run_by_command(tmp_path)
    hashes, test = run / "hashes.json", run / "test.json"
    hashes.write_text(hashes.read_text().replace('"trace": "', '"trace": "0'))
    test.write_text(re.sub(r'"code": "\w+"', '"code": "of another day"', test.read_text()))
    capsys.readouterr()
    assert run_command(["replay", str(run)]) == 1
    out = capsys.readouterr().out
    assert "note: code was of another day, now it is" in out
    assert "note: two repetitions are identical, but differ from the run" in out


def test_a_trace_contains_messages_disks_roles_and_faults(tmp_path: Path) -> None:
    run = run_by_command(tmp_path, "--trace", "--option", "appendonly=yes")
    trace = (run / "trace.log").read_text()
    for what in (" disk n1 append ", " disk n1 fsync ", " role: primary", " role: replica of n1",
                 " cut ", " data ", "clients begin: 0 s of the history"):  # fmt: skip
        assert what in trace, what
    times = [float(line.split()[0]) for line in trace.splitlines()]
    assert times == sorted(times)
