"""Throughput of the harness against a bare loop of redis-py's asyncio client.

One redis-server, concurrency 20, no faults, alternating rounds:
  bare      20 tasks, each with its own `redis.asyncio.Redis`, GET and SET in turn, directly
  mix       the same, with the commands of the workload `register` instead
  harness   the workload `register` through generator, interpreter, history file and fault proxy
  direct    harness clients without the proxy, to show the cost of the proxy

Prints operations a second, the median of the rounds, and the ratios.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from harness.clients import DatabaseClient, RedisConnection
from harness.environments.local import LocalEnvironment
from harness.environments.protocol import EnvironmentOptions
from harness.generators import TimeLimit, seconds
from harness.interpreter import Interpreter
from harness.nemesis.nemesis import Nemesis
from harness.nemesis.system import System
from harness.parts import make_workload
from harness.recorder import Recorder
from harness.registry import load
from harness.spec import Spec
from harness.streams import stream
from harness.targets import Target, TargetOptions
from harness.topology import Topology
from harness.workloads.register import _CAS

CONCURRENCY = 20


async def bare(address: tuple[str, int], duration: float, mixed: bool) -> float:
    counts = [0] * CONCURRENCY

    async def loop(i: int) -> None:
        client = Redis(host=address[0], port=address[1])
        rng = random.Random(i)
        end = time.monotonic() + duration
        key = f"bare{i % 4}"
        while time.monotonic() < end:
            draw = rng.randrange(8) if mixed else (0 if counts[i] % 2 else 3)
            if draw < 3:
                await client.get(key)
            elif draw < 5:
                await client.set(key, counts[i])
            elif draw < 7:
                await client.eval(_CAS, 1, key, counts[i], counts[i] + 1)
            else:
                async with client.pipeline(transaction=True) as p:
                    await p.watch(key)
                    await p.get(key)
                    await p.unwatch()
            counts[i] += 1
        await client.aclose()

    started = time.monotonic()
    await asyncio.gather(*(loop(i) for i in range(CONCURRENCY)))
    return sum(counts) / (time.monotonic() - started)


class Direct:
    """Routes to the server's own port, past the proxy."""

    def __init__(self, target: Any) -> None:
        self._target = target

    def topology(self) -> Topology:
        return self._target.topology()  # type: ignore[no-any-return]

    def open_to(self, node: str, client_host: str, *, readonly: bool = False) -> RedisConnection:
        return RedisConnection(
            self._target.env.control_address(node), self._target.options.credentials, 1.0
        )  # type: ignore[attr-defined]


async def harness(target: Any, folder: Path, duration: float, direct: bool, round: int) -> float:
    env = target.env
    workload = make_workload(Spec(concurrency=CONCURRENCY), env.nodes, prefix=f"x{round}{direct}:")
    router = Direct(target) if direct else target

    def client(worker: int) -> DatabaseClient:
        return DatabaseClient(
            router, env.client_hosts[worker % 3], workload.apply,
            keys_of=workload.keys_of, reads=workload.reads,
            forms=workload.forms, timeout_s=1.0,
        )  # fmt: skip

    recorder = Recorder(folder / f"history-{round}-{direct}.jsonl")
    generator = TimeLimit(workload.generator(), seconds(duration))
    base = env.now()
    nemesis = Nemesis([], System(env, target))
    await Interpreter(
        generator,
        CONCURRENCY,
        client,
        nemesis,
        record=recorder,
        now=lambda: env.now() - base,
        stream=lambda name: stream(round, name),
    ).run()
    recorder.close()
    return recorder.counts["ok"] / duration


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=4.0, help="duration of each measurement")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--binary", default=None)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        env = LocalEnvironment(EnvironmentOptions(nodes=1, run_dir=Path(folder)))
        target: Target = load("harness.targets", "redis")(env, TargetOptions(binary=args.binary))
        try:
            await env.open()
            await target.start()
            address = env.control_address("n1")
            measure: dict[str, Callable[[int], Awaitable[float]]] = {
                "bare": lambda _: bare(address, args.seconds, False),
                "mix": lambda _: bare(address, args.seconds, True),
                "harness": lambda r: harness(target, Path(folder), args.seconds, False, r),
                "direct": lambda r: harness(target, Path(folder), args.seconds, True, r),
            }
            rates: dict[str, list[float]] = {name: [] for name in measure}
            for r in range(args.rounds):
                for name, run in measure.items():
                    rates[name].append(await run(r))
        finally:
            await env.close()
    print(
        f"{target.describe().version}, concurrency {CONCURRENCY}, "
        f"{args.rounds} rounds of {args.seconds:g} s"
    )
    for name, values in rates.items():
        print(
            f"{name:8} {statistics.median(values):8.0f} ops/s  "
            f"({min(values):.0f} to {max(values):.0f})"
        )
    for a, b in (("harness", "bare"), ("harness", "mix"), ("harness", "direct")):
        ratios = [x / y for x, y in zip(rates[a], rates[b], strict=True)]
        print(f"{a} / {b}: {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    asyncio.run(main())
