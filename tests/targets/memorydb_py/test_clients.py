"""Third-party clients on the reference, as real processes."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
from redis.asyncio.cluster import RedisCluster
from redis.cluster import LoadBalancingStrategy
from redis.exceptions import RedisError

from harness.environments.local import LocalEnvironment
from harness.environments.protocol import EnvironmentOptions
from harness.targets import TargetOptions
from targets.memorydb_py.target import MemoryDB

pytestmark = pytest.mark.real


def test_the_cluster_client_of_redis_py_works_and_follows_a_hand_over(nothing_left: Path) -> None:
    """Discovery, redirects, reads of replicas, pipelines and a failover."""

    async def scenario() -> None:
        env = LocalEnvironment(EnvironmentOptions(nodes=3, run_dir=nothing_left))
        target = MemoryDB(env, TargetOptions())
        try:
            await env.open()
            await target.start()
            old = target.topology().shards[0].primary
            replica = next(n for n in env.nodes if n != old)
            host, port = env.control_address(replica)
            async with RedisCluster(
                host=host, port=port, load_balancing_strategy=LoadBalancingStrategy.ROUND_ROBIN
            ) as client:
                assert len(client.get_nodes()) == 3
                for i in range(30):
                    assert await client.set(f"k{i}", i)
                async with client.pipeline() as pipe:
                    for i in range(10):
                        pipe.incr(f"{{t}}n{i}")
                    assert await pipe.execute() == [1] * 10
                assert await client.eval("return redis.call('GET', KEYS[1])", 1, "k7") == b"7"
                await client.wait(2, 1000, target_nodes=client.get_primaries())
                assert [await client.get(f"k{i}") for i in range(30)] == [
                    str(i).encode() for i in range(30)
                ]
                await target.promote(replica)
                async with asyncio.timeout(10):
                    while True:
                        try:
                            assert await client.incr("{t}n0") >= 2
                            break
                        except RedisError:
                            await asyncio.sleep(0.05)
                async with RedisCluster(host=host, port=port) as other:
                    (primary,) = other.get_primaries()
                    assert (primary.host, primary.port) == (host, port)
                    assert await other.get("k29") == b"29"
        finally:
            await target.close()
            await env.close()

    asyncio.run(scenario())


BAD = {
    "node --name n1 --listen 127.0.0.1:1 --option backoff-ms=1": "must be at least",
    "node --name n1 --listen 127.0.0.1:1 --option nosuch=1": "nosuch: unknown; a node has lease-ms",
    "az --name az9 --listen 127.0.0.1:1 --az az1=127.0.0.1:2": "--az must name az9 too",
    "az --name az1 --listen nowhere": "give HOST:PORT",
}


@pytest.mark.parametrize("command", BAD)
def test_invalid_arguments_of_a_process_print_one_line(tmp_path: Path, command: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "targets.memorydb_py", *command.split(), "--dir", str(tmp_path)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert BAD[command] in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
