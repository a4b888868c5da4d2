"""`harness bench`: the load generator, the evaluation of its results, and the page."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from harness.bench.measure import Away, Latency, Plan, Point, Results, Spike
from harness.bench.page import render
from harness.bench.shapes import shapes
from harness.cli import run_command
from harness.native import _core
from tests.cli.test_command_line import heed_ctrl_c
from tests.conftest import processes_of, require, server
from tests.support.live import Redis, redis_server

pytestmark = pytest.mark.real


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    with redis_server(tmp_path) as number:
        yield number


def counted(port: int, command: str) -> int:
    redis = Redis(port)
    info = redis.call("INFO", "commandstats").decode()
    redis.close()
    lines = [line for line in info.split("\r\n") if line.startswith(f"cmdstat_{command}:")]
    return int(lines[0].split("calls=")[1].split(",")[0]) if lines else 0


def test_every_request_is_sent_answered_and_counted(port: int) -> None:
    for clients, percent in ((1, 100), (7, 0), (20, 80)):
        before = counted(port, "get"), counted(port, "set")
        took_s, reads, writes, slices, errors, _ = _core.load(
            "127.0.0.1", port, clients, 0.5, percent, 100, 1000, 0.0, 1
        )
        after = counted(port, "get"), counted(port, "set")
        assert (reads[0], writes[0]) == (after[0] - before[0], after[1] - before[1])
        assert sum(count for count, _ in slices) == reads[0] + writes[0] > 500
        assert errors == 0
        assert 0.5 <= took_s < 0.7
        for count, p50, p99, p100 in (reads, writes):
            assert 0 < p50 <= p99 <= p100 if count else p100 == 0
        assert max(longest for _, longest in slices) == pytest.approx(
            max(reads[3], writes[3]), abs=0.001
        )
        if percent == 80:
            assert 0.75 < reads[0] / (reads[0] + writes[0]) < 0.85


def test_latency_at_a_fixed_rate_includes_a_stall_of_the_server(tmp_path: Path) -> None:
    """There is no coordinated omission: latency is measured from when a request was due."""
    with redis_server(tmp_path) as port:
        redis = Redis(port)
        pid = int(redis.call("INFO", "server").split(b"process_id:")[1].split(b"\r\n")[0])
        redis.close()

        def stall() -> None:
            time.sleep(0.5)
            os.kill(pid, signal.SIGSTOP)
            time.sleep(0.4)
            os.kill(pid, signal.SIGCONT)

        stalling = threading.Thread(target=stall)
        stalling.start()
        _, reads, writes, slices, _, _ = _core.load(
            "127.0.0.1", port, 10, 2.0, 50, 100, 100, 1000.0, 1
        )
        stalling.join()
    assert reads[0] + writes[0] == 2000
    assert 350 < max(reads[3], writes[3]) < 700
    assert max(reads[2], writes[2]) > 300, "a fifth of the requests were late"
    assert sum(count == 0 for count, _ in slices) >= 6


def test_errors_are_counted_and_the_first_is_returned(port: int) -> None:
    redis = Redis(port)
    for i in range(10):
        redis.call("RPUSH", f"key:{i:012d}", "x")
    redis.close()
    _, reads, writes, _, errors, first = _core.load("127.0.0.1", port, 3, 0.2, 100, 10, 10, 0.0, 1)
    assert reads[0] == writes[0] == 0 < errors
    assert first == "WRONGTYPE Operation against a key holding the wrong kind of value"


def test_a_server_that_does_not_listen_or_shuts_down_is_an_error(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(RuntimeError, match="can't connect to port"):
            _core.load("127.0.0.1", unused.getsockname()[1], 1, 0.1, 0, 1, 1, 0.0, 1)
    with redis_server(tmp_path) as port:
        redis = Redis(port)
        ending = threading.Timer(0.3, lambda: redis.send("SHUTDOWN", "NOSAVE"))
        ending.start()
        with pytest.raises(RuntimeError, match=r"closed a connection|broke"):
            _core.load("127.0.0.1", port, 4, 5.0, 0, 10, 10, 0.0, 1)
        ending.join()
        redis.close()
    with pytest.raises(ValueError, match="more than 0"):
        _core.load("127.0.0.1", 1, 0, 1.0, 0, 1, 1, 0.0, 1)


# --- evaluation


def latency(p50: float, count: int = 100) -> Latency:
    return Latency(count, p50, p50 * 2, p50 * 3) if count else Latency(0, 0, 0, 0)


def point(server: str, mix: str, rate: float, p50: float) -> Point:
    reads = latency(p50, 0 if mix == "SET" else 80)
    writes = latency(p50, 0 if mix == "GET" else 20)
    return Point(server=server, mix=mix, size=100, clients=10, rate=rate, reads=reads,
                 writes=writes)  # fmt: skip


def away(round_trip_ms: float, write: float, clean: float, hot: float) -> Away:
    return Away(round_trip_ms=round_trip_ms, rate=10_000 / write, writes=latency(write),
                reads=latency(clean), hot=latency(hot))  # fmt: skip


def spike(server: str, longest_ms: float, fork_ms: float | None) -> Spike:
    slices = [(i * 0.05, longest_ms if i == 60 else 2.0) for i in range(120)]
    return Spike(server=server, memory_mb=1000, begins_s=2.9, ends_s=4.0, longest=slices,
                 fork_ms=fork_ms)  # fmt: skip


def results(**changed: object) -> Results:
    made = Results(
        plan=Plan(servers=["memorydb", "redis"], clients=[10], sizes=[100], keys=10, seconds=1.0,
                  spike_mb=1),
        machine="a machine",
        versions={"memorydb": "memorydb_py", "redis": "Redis <7>"},
        points=[
            point("memorydb", "GET", 100_000, 0.1), point("redis", "GET", 110_000, 0.1),
            point("memorydb", "SET", 60_000, 2.0), point("redis", "SET", 100_000, 0.1),
            point("memorydb", "80:20", 60_000, 2.0), point("redis", "80:20", 100_000, 0.1),
        ],
        spikes=[spike("memorydb", 2.5, None), spike("redis", 30.0, 28.0)],
        away=[away(0, 2.0, 0.1, 2.0), away(20, 22.5, 0.1, 21.0)],
    )  # fmt: skip
    return msgspec.structs.replace(made, **changed)


def test_the_shapes_of_the_memorydb_paper_are_found() -> None:
    found = shapes(results())
    assert len(found) == 10
    assert all(shape.holds for shape in found), [s for s in found if not s.holds]


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({"spikes": [spike("memorydb", 30.0, None)]}, "off-box"),
        ({"spikes": [spike("redis", 3.0, 28.0)]}, "BGSAVE"),
        ({"away": [away(0, 2.0, 0.1, 2.0), away(20, 2.5, 0.1, 21.0)]}, "takes a round trip"),
        ({"away": [away(0, 2.0, 0.1, 2.0), away(20, 22.0, 20.0, 21.0)]}, "clean key takes no"),
        ({"away": [away(0, 2.0, 0.1, 2.0), away(20, 22.0, 0.1, 0.2)]}, "being written waits"),
        ({"points": [point("memorydb", m, 20_000, 0.05) for m in ("GET", "SET")]
          + [point("redis", m, 100_000, 0.1) for m in ("GET", "SET")]}, "Most reads"),
        ({"points": [point("memorydb", m, 20_000, 0.05) for m in ("GET", "SET")]
          + [point("redis", m, 100_000, 0.1) for m in ("GET", "SET")]}, "Write latency"),
    ],
)  # fmt: skip
def test_a_shape_that_the_results_lack_does_not_hold(changed: dict[str, object], what: str) -> None:
    found = {shape.what: shape.holds for shape in shapes(results(**changed))}
    assert [holds for name, holds in found.items() if what in name] == [False]


def test_the_page_opens_in_a_browser_and_needs_no_network(tmp_path: Path) -> None:
    chromium = shutil.which("chromium")
    require(chromium, "no Chromium to open the page with")
    html = render(results())
    assert "Redis &lt;7&gt;" in html
    assert "http" not in html
    (tmp_path / "bench.html").write_text(html)
    done = subprocess.run(
        [str(chromium), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
         "--dump-dom", f"file://{tmp_path}/bench.html"],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stdout.count("<svg") == 3 * 3 + 1 + 2
    assert "A read of a key that is being written waits" in done.stdout


# --- the command


def test_a_small_benchmark(tmp_path: Path, nothing_left: Path) -> None:
    server("redis-7.0")
    code = run_command(
        ["bench", "--servers", "memorydb,redis", "--clients", "1,4", "--sizes", "100", "--keys",
         "2000", "--seconds", "0.2", "--snapshot-mb", "5", "--results", str(tmp_path / "r")]
    )  # fmt: skip
    assert code == 0
    (made,) = (tmp_path / "r" / "bench").iterdir()
    saved = msgspec.json.decode((made / "bench.json").read_bytes(), type=Results)
    assert len(saved.points) == 2 * 3 * 2
    assert all(p.rate > 0 for p in saved.points)
    assert {s.server for s in saved.spikes} == {"memorydb", "redis"}
    assert [a.round_trip_ms for a in saved.away] == [0, 5, 20]
    assert saved.away[-1].writes.p50 > 20
    assert (made / "bench.html").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--servers", "mysql"], "--servers mysql: choose from memorydb, redis, valkey"),
        (["--servers", ","], "--servers: name at least one"),
        (["--clients", "1,x"], "--clients 1,x: give whole numbers such as 1,10,50"),
        (["--sizes", "0"], "--sizes 0: give whole numbers"),
    ],
)
def test_wrong_options_are_one_line_of_error(
    options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["bench", *options]) == 254
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


def started(folder: Path, *words: str) -> subprocess.Popen[str]:
    """Start a benchmark with its data in a folder, and wait for its first line of output."""
    process = subprocess.Popen(
        [sys.executable, "-m", "harness", "bench", "--servers", "redis", "--clients", "1",
         "--sizes", "10", "--keys", "10", "--snapshot-mb", "0", "--results", str(folder / "r"),
         *words],
        env=os.environ | {"TMPDIR": str(folder)}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=heed_ctrl_c,
    )  # fmt: skip
    assert process.stdout is not None
    assert "10 keys" in process.stdout.readline()
    return process


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_at_once_and_nothing_is_left(
    nothing_left: Path, sent: signal.Signals
) -> None:
    process = started(nothing_left, "--seconds", "60")
    time.sleep(1)
    began = time.monotonic()
    process.send_signal(sent)
    _, err = process.communicate(timeout=10)
    assert time.monotonic() - began < 3
    assert (process.returncode, err.strip()) == (130, "harness: interrupted")
    assert not list(nothing_left.glob("harness-bench-*"))


def test_a_server_that_dies_is_one_line_of_error(nothing_left: Path) -> None:
    process = started(nothing_left, "--seconds", "5")
    time.sleep(1)
    (server_process,) = [p for p in processes_of(nothing_left) if "redis-server" in p]
    os.kill(int(server_process.split()[0]), signal.SIGKILL)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 255
    assert err.startswith("harness: the load on port ")
    assert err.count("\n") == 1
