"""Measures servers under load: rates and latencies, one server after the other at each point."""

from __future__ import annotations

import asyncio
import os
import platform
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import redis.exceptions as rx

from harness.bench import servers
from harness.bench.servers import REFERENCE, Server
from harness.environments.local import LocalEnvironment
from harness.environments.protocol import EnvironmentOptions
from harness.errors import EnvironmentFailed
from harness.native import _core
from harness.registry import load
from harness.targets import TargetOptions

MIXES = {"GET": 100, "SET": 0, "80:20": 80}  # percent of reads
FILL_AT_ONCE, FILL_BYTES = 1000, 1 << 20
BALLAST_BYTES = 100_000  # of a value that the load never reads
WARM_S = 0.3
SLICE_S = 0.05  # length of a slice of `_core.load`
SPIKE_CLIENTS, SPIKE_RATE = 10, 2000.0
SPIKE_AROUND_S, SPIKE_MOST_S = 6.0, 300.0
AWAY_MS = (0, 5, 20)  # round trips between a node and its log
AWAY_CLIENTS, AWAY_KEYS, AWAY_S = 10, 1000, 2.0

Say = Callable[[str], None]


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The options of a benchmark.

    `keys`: their number with values of 100 bytes; with longer ones, as many as have the same total
    size. `spike_mb`: data added before a snapshot is taken under load; 0: take none.
    """

    servers: list[str]
    clients: list[int]
    sizes: list[int]
    keys: int
    seconds: float
    spike_mb: int

    def keys_of(self, size: int) -> int:
        return max(1, min(self.keys, self.keys * 100 // max(1, size)))


class Latency(msgspec.Struct, frozen=True):
    """Quantiles of the latencies of `count` requests, in ms."""

    count: int
    p50: float
    p99: float
    p100: float


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """One server under one load. `rate`: requests a second."""

    server: str
    mix: str
    size: int
    clients: int
    rate: float
    reads: Latency
    writes: Latency


class Spike(msgspec.Struct, frozen=True, kw_only=True):
    """Requests at a steady rate while a snapshot is taken, `begins_s` to `ends_s`. `longest`: for
    each 50 ms, (their beginning in seconds, the longest latency in ms). `fork_ms`: duration of the
    fork, as the server reports it."""

    server: str
    memory_mb: float
    begins_s: float
    ends_s: float
    longest: list[tuple[float, float]]
    fork_ms: float | None

    def _slices(self, within: bool) -> list[float]:
        begins_s, ends_s = self.begins_s - SLICE_S, self.ends_s + SLICE_S
        return sorted(ms for at_s, ms in self.longest if (begins_s <= at_s <= ends_s) == within)

    def worst(self, *, within: bool) -> float:
        """Return the longest latency during the snapshot, or before and after it, in ms."""
        return max(self._slices(within), default=0.0)

    def usual(self) -> float:
        """Return the 95th percentile of the longest latencies of 50 ms, before and after, in ms."""
        slices = self._slices(False)
        return slices[len(slices) * 95 // 100] if slices else 0.0


class Away(msgspec.Struct, frozen=True, kw_only=True):
    """The reference with a delay to its log. `hot`: reads of the one key that is written."""

    round_trip_ms: float
    rate: float
    writes: Latency
    reads: Latency
    hot: Latency


class Results(msgspec.Struct, kw_only=True):
    """The measurements so far."""

    plan: Plan
    machine: str
    versions: dict[str, str] = {}
    points: list[Point] = []
    spikes: list[Spike] = []
    away: list[Away] = []


def run_load(port: int, *, clients: int, seconds: float, percent: int, size: int, keys: int,
             rate: float = 0.0, host: str = "127.0.0.1") -> tuple[Any, ...]:  # fmt: skip
    """Call `_core.load`. Raises `EnvironmentFailed` if a server fails or answers with errors."""
    try:
        done = _core.load(host, port, clients, seconds, percent, size, keys, rate, 1)
    except RuntimeError as e:
        raise EnvironmentFailed(f"the load on port {port} ended: {e}") from e
    if done[4]:
        raise EnvironmentFailed(f"port {port} answered {done[4]} requests with errors: {done[5]}")
    return done


def fill(server: Server, keys: int, size: int, name: str = "key:%012d") -> None:
    """Set every key that the load uses."""
    value = b"x" * size
    tail = b"$%d\r\n%s\r\n" % (size, value)
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        replies = connection.makefile("rb")
        at_once = max(1, min(FILL_AT_ONCE, FILL_BYTES // max(1, size)))
        for first in range(0, keys, at_once):
            names = [(name % i).encode() for i in range(first, min(first + at_once, keys))]
            connection.sendall(
                b"".join(b"*3\r\n$3\r\nSET\r\n$%d\r\n%s\r\n" % (len(n), n) + tail for n in names)
            )
            for _ in names:
                if (reply := replies.readline()) != b"+OK\r\n":
                    raise EnvironmentFailed(f"{server.name} answered SET with {reply!r}")


def measure(plan: Plan, say: Say) -> Iterator[Results]:
    """Yield the results after each part, so that they are kept if a later part fails. Raises
    `EnvironmentFailed`."""
    try:
        yield from _measure(plan, say)
    except (rx.RedisError, OSError) as e:
        raise EnvironmentFailed(f"a server did not answer: {e}") from e


def _measure(plan: Plan, say: Say) -> Iterator[Results]:
    results = Results(plan=plan, machine=_machine())
    if REFERENCE in plan.servers:  # first: later parts keep the disk busy
        results.away = asyncio.run(_away(say))
    with (
        tempfile.TemporaryDirectory(prefix="harness-bench-") as where,
        servers.running(plan.servers, Path(where)) as running,
    ):
        results.versions = {server.name: server.version for server in running}
        for size in plan.sizes:
            results.points += _points(plan, running, size, say)
            yield results
        for server in running if plan.spike_mb else ():
            results.spikes.append(_spike(plan, server, say))
            yield results


def _machine() -> str:
    """Describe processors and memory."""
    memory = ""
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        size = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        memory = f", {size / 2**30:.0f} GiB of memory"
    return f"{os.cpu_count()} processors{memory}, {platform.system()} {platform.machine()}"


def _points(plan: Plan, running: Sequence[Server], size: int, say: Say) -> Iterator[Point]:
    keys = plan.keys_of(size)
    for server in running:
        say(f"{server.name}: {keys:,} keys of {size} bytes")
        fill(server, keys, size)
    for clients in plan.clients:
        for mix, percent in MIXES.items():
            for server in running:
                loaded = partial(run_load, server.port, clients=clients, percent=percent,
                                 size=size, keys=keys)  # fmt: skip
                loaded(seconds=WARM_S)
                took_s, reads, writes, *_ = loaded(seconds=plan.seconds)
                point = Point(
                    server=server.name, mix=mix, size=size, clients=clients,
                    rate=(reads[0] + writes[0]) / took_s,
                    reads=Latency(*reads), writes=Latency(*writes),
                )  # fmt: skip
                say(
                    f"{mix:6} {size:>6} bytes {clients:>4} clients  {server.name:10}"
                    f"{point.rate:>10,.0f} /s"
                )
                yield point


def _spike(plan: Plan, server: Server, say: Say) -> Spike:
    """Run a steady load, second by second, and take a snapshot meanwhile."""
    fill(server, plan.spike_mb * 10**6 // BALLAST_BYTES, BALLAST_BYTES, "ballast:%09d")
    os.sync()  # so that these writes don't disturb the measurement
    say(f"{server.name}: a snapshot of {plan.spike_mb} MB of data, under load")
    longest: list[tuple[float, float]] = []
    failed: list[EnvironmentFailed] = []
    stop = threading.Event()

    def steadily() -> None:
        size = plan.sizes[-1]
        while not stop.is_set():
            began_s = time.monotonic() - started
            try:
                done = run_load(
                    server.port, clients=SPIKE_CLIENTS, seconds=1.0, percent=MIXES["80:20"],
                    size=size, keys=plan.keys_of(size), rate=SPIKE_RATE,
                )  # fmt: skip
            except EnvironmentFailed as e:
                failed.append(e)
                return
            longest.extend((began_s + i * SLICE_S, ms) for i, (_, ms) in enumerate(done[3]))

    steadily_running = threading.Thread(target=steadily, daemon=True)
    memory = server.memory_bytes()
    started = time.monotonic()
    steadily_running.start()
    time.sleep(SPIKE_AROUND_S)
    begins = time.monotonic() - started
    with servers.snapshot(server):
        deadline = time.monotonic() + SPIKE_MOST_S
        while not servers.snapshot_done(server):
            if failed:
                raise failed[0]
            if time.monotonic() > deadline:
                raise EnvironmentFailed(f"{server.name}: no snapshot after {SPIKE_MOST_S:.0f} s")
            time.sleep(0.02)
        ends = time.monotonic() - started
    time.sleep(SPIKE_AROUND_S)
    stop.set()
    steadily_running.join()
    if failed:
        raise failed[0]
    fork_ms = None
    if server.name != REFERENCE:
        with server.client() as client:
            fork_ms = client.info("stats")["latest_fork_usec"] / 1000
    return Spike(
        server=server.name, memory_mb=memory / 1e6, begins_s=begins, ends_s=ends,
        longest=longest, fork_ms=fork_ms,
    )  # fmt: skip


async def _away(say: Say) -> list[Away]:
    """Measure the reference alone, with proxies between the node and its log."""
    found = []
    with tempfile.TemporaryDirectory(prefix="harness-bench-") as where:
        env = LocalEnvironment(EnvironmentOptions(nodes=1, run_dir=Path(where) / "away"))
        options = TargetOptions(timeout_s=5.0, options={"snapshots": "0"})
        target = load("harness.targets", REFERENCE)(env, options)
        try:
            await env.open()
            await target.start()
            host, port = env.control_address("n1")
            for round_trip_ms in AWAY_MS:
                say(f"memorydb: its log {round_trip_ms} ms away")
                for az in target.azs:
                    for link in (("n1", az), (az, "n1")):
                        await env.network.shape(*link, delay_s=round_trip_ms / 2000)

                async def loaded(percent: int, keys: int) -> tuple[Any, ...]:
                    return await asyncio.to_thread(
                        run_load, port, host=host, clients=AWAY_CLIENTS, seconds=AWAY_S,
                        percent=percent, size=100, keys=keys,
                    )  # fmt: skip

                took_s, _, writes, *_ = await loaded(0, AWAY_KEYS)
                _, reads, *_ = await loaded(100, AWAY_KEYS)
                _, hot, *_ = await loaded(80, 1)
                found.append(
                    Away(round_trip_ms=round_trip_ms, rate=writes[0] / took_s,
                         writes=Latency(*writes), reads=Latency(*reads), hot=Latency(*hot))
                )  # fmt: skip
        finally:
            await target.close()
            await env.close()
    return found
