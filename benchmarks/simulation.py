"""The speed of the simulation relative to real time, and the cost of redis-py's client in it.

    python benchmarks/simulation.py

Three nodes of redis-model, 20 clients, the workload `register` without faults; checking is not
timed. Rounds alternate between redis-py's connection, as the harness uses it, and a client of a
few lines on asyncio's streams; the medians are compared.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import redis.exceptions as rx

from harness.campaign import execute
from harness.results import Run
from harness.spec import Spec
from targets.replicated.redis_model.target import RedisModel

ROUNDS = 5
CLIENTS = 20


class BareConnection:
    """A RESP client on streams, for the replies of the model only."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._address = address
        self._writer: asyncio.StreamWriter | None = None

    @property
    def is_open(self) -> bool:
        return self._writer is not None

    async def open(self) -> None:
        self._reader, self._writer = await asyncio.open_connection(*self._address)

    async def call(self, *command: Any) -> Any:
        reply = (await self.calls(command))[0]
        if isinstance(reply, Exception):
            raise reply
        return reply

    async def calls(self, *commands: Any) -> list[Any]:
        assert self._writer is not None
        parts = []
        for command in commands:
            words = [str(w).encode() for w in command]
            parts.append(b"*%d\r\n" % len(words))
            parts += [b"$%d\r\n%s\r\n" % (len(w), w) for w in words]
        self._writer.write(b"".join(parts))
        return [await self._reply() for _ in commands]

    async def _reply(self) -> Any:
        line = await self._reader.readline()
        kind, rest = line[:1], line[1:-2]
        if kind == b"+":
            return rest.decode()
        if kind == b"-":
            return rx.ResponseError(rest.decode())
        if kind == b":":
            return int(rest)
        if kind == b"$":
            size = int(rest)
            return None if size < 0 else (await self._reader.readexactly(size + 2))[:-2].decode()
        return None if rest == b"-1" else [await self._reply() for _ in range(int(rest))]

    async def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


class BareModel(RedisModel):
    """redis-model with bare clients."""

    def open_to(self, node: str, client_host: str, *, readonly: bool = False) -> Any:
        return BareConnection(self.env.address(node, seen_from=client_host))


def measure(target: str, rate: float, time_limit_s: float) -> tuple[float, float]:
    """Return simulated seconds and successful operations, each per second of wall time."""
    spec = Spec(
        target=target,
        environment="simulated",
        workload="register",
        concurrency=CLIENTS,
        rate=rate,
        time_limit_s=time_limit_s,
        seed=1,
    )
    with tempfile.TemporaryDirectory() as folder:
        run = Run(Path(folder) / "run")
        began = time.perf_counter()
        execute(spec, run)
        took = time.perf_counter() - began
        with run.history.open("rb") as lines:
            done = sum(b'"type":"ok"' in line for line in lines)
    return time_limit_s / took, done / took


def main() -> None:
    factors = [measure("redis-model", 100, 30)[0] for _ in range(ROUNDS)]
    redis_py, bare = [], []
    for _ in range(ROUNDS):
        redis_py.append(measure("redis-model", 0, 0.5)[1])
        bare.append(measure("__main__:BareModel", 0, 0.5)[1])
    ours, theirs = statistics.median(redis_py), statistics.median(bare)
    print(f"at 100 ops/s: {statistics.median(factors):.1f} x real time")
    print(f"flat out, redis-py's connection: {ours:.0f} ops per second of wall time")
    print(f"flat out, a bare client:         {theirs:.0f} ops per second of wall time")
    print(f"redis-py / bare: {ours / theirs:.2f}")


if __name__ == "__main__":
    main()
