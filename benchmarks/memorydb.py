"""The reference beside redis-server: redis-benchmark on both, alternating; and with a slow log.

    python benchmarks/memorydb.py

One node with its log's three AZs, each a real process with fsync, beside one redis-server without
persistence, on this machine; 100-byte values, medians of 5 rounds. Processor time is that of all
processes of a side. Needs redis-server and redis-benchmark on PATH (Debian: redis-server,
redis-tools).
"""

from __future__ import annotations

import asyncio
import csv
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from harness.bench.servers import running
from harness.environments.local import LocalEnvironment
from harness.environments.protocol import EnvironmentOptions
from harness.targets import TargetOptions
from targets.memorydb_py.target import MemoryDB

ROUNDS = 5
SECONDS = 3.0
KEYS = 10_000
# (pipeline, test): the least share of redis-server's rate.
BARS = {(1, "get"): 0.75, (1, "set"): 0.2, (16, "get"): 0.3, (16, "set"): 0.1}
LOG_ONE_WAY_S = 0.01


def benchmark(port: int, test: str, pipeline: int, requests: int) -> float:
    """Return requests a second."""
    done = subprocess.run(
        ["redis-benchmark", "-p", str(port), "-c", "50", "-P", str(pipeline), "-n", str(requests),
         "-d", "100", "-r", str(KEYS), "-t", test, "--csv"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    rows = list(csv.reader(done.stdout.splitlines()))
    return float(rows[-1][1])


def cpu_s(pids: list[int]) -> float:
    """Return the user and system time of processes so far."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def rates(where: Path) -> None:
    """Print the rates of both, their ratio, and the least ratio wanted."""
    with running(("redis", "memorydb"), where) as servers:
        sides = {s.name: (s.port, [p.pid for p in s.processes]) for s in servers}
        print(f"{'':14}{'redis/s':>12}{'memorydb/s':>12}{'ratio':>8}{'bar':>6}"
              f"{'redis µs/op':>14}{'memorydb µs/op':>16}")  # fmt: skip
        for (pipeline, test), bar in BARS.items():
            seen: dict[str, list[tuple[float, float]]] = {"redis": [], "memorydb": []}
            counts = {}
            for name, (port, _) in sides.items():
                rate = benchmark(port, test, pipeline, 20_000)
                counts[name] = int(rate * SECONDS)
            for _ in range(ROUNDS):
                for name, (port, pids) in sides.items():
                    before = cpu_s(pids)
                    rate = benchmark(port, test, pipeline, counts[name])
                    seen[name].append((rate, (cpu_s(pids) - before) / counts[name] * 1e6))
            rate_of = {n: statistics.median(r for r, _ in s) for n, s in seen.items()}
            cpu_of = {n: statistics.median(c for _, c in s) for n, s in seen.items()}
            ratio = rate_of["memorydb"] / rate_of["redis"]
            print(f"{test.upper()} -c 50 -P {pipeline:<3}{rate_of['redis']:>12,.0f}"
                  f"{rate_of['memorydb']:>12,.0f}{ratio:>8.2f}{bar:>6}{cpu_of['redis']:>14.1f}"
                  f"{cpu_of['memorydb']:>16.1f}")  # fmt: skip


async def timed(connection: Any, *commands: tuple[Any, ...]) -> float:
    """Send commands one after the other; return their median time in ms."""
    took = []
    for command in commands:
        began = time.perf_counter()
        await connection.call(*command)
        took.append((time.perf_counter() - began) * 1000)
    return statistics.median(took)


async def slow_log(where: Path) -> None:
    """Print latencies of reads of clean keys and of writes, with the log near and 20 ms away."""
    env = LocalEnvironment(EnvironmentOptions(nodes=1, run_dir=where / "slow"))
    target = MemoryDB(env, TargetOptions(timeout_s=5.0))
    try:
        await env.open()
        await target.start()
        reader, writer = target.open_to("n1", "c1"), target.open_to("n1", "c2")
        await reader.open()
        await writer.open()
        await writer.call("SET", "clean", "x" * 100)
        print(f"\n{'log':14}{'read p50 ms':>14}{'write p50 ms':>14}")
        for what, one_way_s in (("near", 0.0), ("20 ms away", LOG_ONE_WAY_S)):
            for az in ("az1", "az2", "az3"):
                await env.network.shape("n1", az, delay_s=one_way_s)
                await env.network.shape(az, "n1", delay_s=one_way_s)
            stop = asyncio.Event()

            async def writing(until: asyncio.Event = stop) -> float:
                took = []
                while not until.is_set():
                    took.append(await timed(writer, ("SET", "dirty", len(took))))
                return statistics.median(took)

            writes = asyncio.create_task(writing())
            read = await timed(reader, *[("GET", "clean")] * 5000)
            await asyncio.sleep(1.0)
            stop.set()
            print(f"{what:14}{read:>14.3f}{await writes:>14.3f}")
        await reader.close()
        await writer.close()
    finally:
        await target.close()
        await env.close()


def main() -> None:
    with tempfile.TemporaryDirectory() as where:
        rates(Path(where))
        asyncio.run(slow_log(Path(where)))


if __name__ == "__main__":
    main()
