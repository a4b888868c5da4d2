"""How long writes wait after a failure, on the reference with its default lease and backoff.

    python benchmarks/resume.py

Simulated, 200 rounds each: after an AZ of the log is lost, its leader in every other round (bound:
300 ms); after the primary is lost (bound: backoff, jitter and an election).
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

import redis.exceptions as rx

from harness.clients import ConnectFailed
from harness.environments.protocol import EnvironmentOptions
from harness.environments.simulated import SimulatedEnvironment
from harness.targets import TargetOptions
from targets.memorydb_py.node.settings import Settings
from targets.memorydb_py.node.shard import JITTER_MS, WATCH_S
from targets.memorydb_py.target import AZS, MemoryDB

ROUNDS = 200
STEP_S = 0.005  # between attempts of a client
LOG_BOUND_MS = 300
ELECTION_MS = JITTER_MS + WATCH_S * 1000 + LOG_BOUND_MS
GONE = (ConnectFailed, rx.RedisError, OSError, TimeoutError)


async def write(target: Any, nodes: list[str]) -> None:
    """Write; retry until one of these nodes accepts it."""
    while True:
        for node in nodes:
            connection = target.open_to(node, "c1")
            try:
                await connection.open()
                await connection.call("SET", "a", 1)
                return
            except GONE:
                pass
            finally:
                await connection.close()
        await asyncio.sleep(STEP_S)


async def leader(env: Any) -> str:
    """Return the AZ that was the last to log that it leads the log."""
    lines = []
    for az in AZS:
        log = env._run_dir / "logs" / env.processes[az] / f"{az}.log"
        for line in log.read_text().splitlines():
            if "leads the log" in line:
                lines.append((float(line.split()[0]), az))
    return max(lines)[1]


async def after_an_az(env: Any, target: Any, how: str) -> list[float]:
    took = []
    for i in range(ROUNDS):
        primary = target.topology().shards[0].primary
        az = await leader(env) if i % 2 == 0 else AZS[i // 2 % 3]
        connection = target.open_to(primary, "c1")
        await connection.open()
        if how == "kill":
            await env.kill(az)
        else:
            others = frozenset(p for p in env.processes if p != az)
            await env.network.apply({az: others} | {p: frozenset({az}) for p in others})
        began = env.now()
        await connection.call("SET", "a", i)
        took.append((env.now() - began) / 1e6)
        await connection.close()
        if how == "kill":
            await target.restart(az)
        await env.network.heal()
        await target.settle(20)
        await asyncio.sleep(0.5)
    return took


async def after_the_primary(env: Any, target: Any, how: str) -> list[float]:
    took = []
    for _ in range(ROUNDS):
        await target._ask_all()
        primary = target.topology().shards[0].primary
        if how == "kill":
            await env.kill(primary)
        else:
            await env.network.apply(
                {primary: frozenset(AZS)} | {az: frozenset({primary}) for az in AZS}
            )
        began = env.now()
        await write(target, [n for n in env.nodes if n != primary])
        took.append((env.now() - began) / 1e6)
        if how == "kill":
            await target.restart(primary)
        await env.network.heal()
        await target.settle(20)
        await asyncio.sleep(0.5)
    return took


def show(what: str, took: list[float], bound_ms: float) -> None:
    took = sorted(took)
    at = [took[int(len(took) * share)] for share in (0, 0.5, 0.9, 0.99)]
    figures = "".join(f"{ms:>9.1f}" for ms in (*at, took[-1]))
    print(f"{what:34}{figures}{bound_ms:>9.0f}  {'kept' if took[-1] <= bound_ms else 'MISSED'}")


def main() -> None:
    heads = "".join(f"{head:>9}" for head in ("min", "p50", "p90", "p99", "max", "bound"))
    print(f"{f'ms, of {ROUNDS} rounds':34}{heads}")
    primary_bound = Settings().backoff_ms + ELECTION_MS
    for what, play, how, bound in (
        ("an AZ killed", after_an_az, "kill", LOG_BOUND_MS),
        ("an AZ cut off", after_an_az, "cut", LOG_BOUND_MS),
        ("the primary killed", after_the_primary, "kill", primary_bound),
        ("the primary cut off from the log", after_the_primary, "cut", primary_bound),
    ):
        with tempfile.TemporaryDirectory() as folder:
            env = SimulatedEnvironment(EnvironmentOptions(nodes=3, run_dir=Path(folder), seed=1))
            target = MemoryDB(env, TargetOptions(timeout_s=5.0))

            async def scenario(
                env: Any = env, target: Any = target, play: Any = play, how: str = how,
                what: str = what, bound: float = bound,
            ) -> None:  # fmt: skip
                await env.open()
                await target.start()
                show(what, await play(env, target, how), bound)
                await target.close()
                await env.close()

            env.run(scenario())


if __name__ == "__main__":
    main()
