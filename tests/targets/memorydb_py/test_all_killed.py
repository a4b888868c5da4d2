"""All processes of the reference, run as real processes, are killed at once under load: no
acknowledged write is lost or duplicated.

`HARNESS_ROUNDS=20 python -m pytest tests/targets/memorydb_py/test_all_killed.py` runs 20 rounds.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from pathlib import Path

import pytest
import redis.exceptions as rx

from harness.clients import ConnectFailed
from harness.environments.local import LocalEnvironment
from harness.environments.protocol import EnvironmentOptions
from harness.targets import TargetOptions
from targets.memorydb_py.target import MemoryDB

pytestmark = pytest.mark.real

ROUNDS = int(os.environ.get("HARNESS_ROUNDS", "2"))
WRITERS = 8


@pytest.mark.timeout(60 + 30 * ROUNDS)
def test_every_process_is_killed_at_once(nothing_left: Path) -> None:
    rng = random.Random(1)
    sent: list[str] = []
    acknowledged: list[str] = []

    async def write(target: MemoryDB, number: int) -> None:
        while True:
            node = target.topology().shards[0].primary
            connection = target.open_to(node or "n1", f"c{number % 2 + 1}")
            try:
                await connection.open()
                while True:
                    value = f"{number}/{len(sent)}"
                    sent.append(value)
                    await connection.call("RPUSH", "all", value)
                    acknowledged.append(value)
            except (ConnectFailed, rx.RedisError, OSError, TimeoutError):
                await connection.close()
                await asyncio.sleep(0.02)

    async def scenario() -> None:
        env = LocalEnvironment(EnvironmentOptions(nodes=3, run_dir=nothing_left))
        target = MemoryDB(env, TargetOptions(timeout_s=2.0, options={"snapshots": "500"}))
        try:
            await env.open()
            await target.start()
            writers = [asyncio.create_task(write(target, i)) for i in range(WRITERS)]
            for _ in range(ROUNDS):
                await asyncio.sleep(1.0 + rng.random())
                await asyncio.gather(*(env.kill(process) for process in env.processes))
                for process in reversed(list(env.processes)):
                    await env.start(target.spec(process))
                await target.settle(20.0)
            await asyncio.sleep(1.0)
            for writer in writers:
                writer.cancel()
            await asyncio.gather(*writers, return_exceptions=True)
            node = target.topology().shards[0].primary
            assert node is not None
            stored = Counter(map(str, await target.control.ask(node, "LRANGE", "all", 0, -1)))
            _, audit = await target.audit()
        finally:
            await target.close()
            await env.close()
        assert not set(acknowledged) - set(stored), "acknowledged writes are lost"
        assert not [value for value, count in stored.items() if count > 1], "writes are duplicated"
        assert not set(stored) - set(sent)
        assert len(acknowledged) > 300 * ROUNDS
        assert set(audit.nodes.values()) == {audit.replay}, audit
        assert not audit.differing
        assert audit.compared > 0.9 * audit.entries
        assert all(found == replayed for found, replayed in audit.snapshots.values())
        assert audit.trimmed > 0

    asyncio.run(scenario())
