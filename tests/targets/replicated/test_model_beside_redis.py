"""The model of Redis compared with a real server: the same commands get the same replies; and runs
of the model as real processes."""

from __future__ import annotations

import asyncio
import random
import socket
from pathlib import Path
from typing import Any

import pytest

from harness import campaign
from harness.campaign import execute
from harness.environments.local import LocalEnvironment
from harness.environments.protocol import EnvironmentOptions
from harness.results import plan_run
from harness.spec import Spec
from harness.targets import TargetOptions
from targets.engine.commands import COMMANDS
from targets.replicated.redis_model.target import RedisModel
from targets.replicated.vanilla import Redis
from tests.conftest import server

pytestmark = pytest.mark.real

KEYS = ["a", "b", "c"]
WORDS = [
    "0",
    "1",
    "-1",
    "5",
    "-100",
    "x",
    "",
    "01",
    " 1",
    str(2**63 - 1),
    str(-(2**63)),
    str(2**63),
]
# No key may expire between one server's reply and the other's.
TIMES = ["0", "-1", "100000", "x", str(2**63 - 1), str(-(2**63))]
SCRIPTS = [
    "return redis.call('GET', KEYS[1])",
    "redis.call('SET', KEYS[1], ARGV[1]) return redis.call('GET', KEYS[1])",
    "return {1, 2.7, 'x', true, false, {3}}",
    "return redis.status_reply('FINE')",
    "return redis.error_reply('MINE it failed')",
    "return {ok = 'x'}",
    "local r = redis.pcall('INCR', KEYS[1]) if type(r) == 'table' then return r.err end return r",
    "return redis.call('TYPE', KEYS[1])",
    "return #KEYS + #ARGV",
    "return redis.call('EXISTS', KEYS[1], KEYS[1])",
    "return redis.call('SADD', KEYS[1], unpack(ARGV))",
    "return tonumber('x')",
]
ANY_ORDER = {"SMEMBERS"}
# DBSIZE: a server also removes expired keys in the background.
CHANCE = {"SPOP", "DBSIZE"}
# test_engine_beside_redis compares each command of the engine with a server; this file compares
# what a node adds: sessions, transactions, scripts.
PLAIN = ["APPEND", "DBSIZE", "DECR", "DEL", "ECHO", "EXISTS", "EXPIRE", "FLUSHALL", "GET", "INCR",
         "INCRBY", "LLEN", "LPOP", "LPUSH", "LRANGE", "PERSIST", "PEXPIRE", "PEXPIREAT", "PING",
         "PTTL", "RPUSH", "SADD", "SCARD", "SET", "SISMEMBER", "SMEMBERS", "SPOP", "SREM", "TTL",
         "TYPE", "UNLINK"]  # fmt: skip


def draw(rng: random.Random) -> list[str]:
    """Return a random command whose arguments are often, but not always, valid."""
    kind = rng.random()
    if kind < 0.1:
        script, count = rng.choice(SCRIPTS), rng.randint(0, 2)
        keys = [rng.choice(KEYS) for _ in range(max(count, 1))]
        return ["EVAL", script, str(rng.choice([count, 1, 1, 1])), *keys, rng.choice(WORDS)]
    if kind < 0.2:
        option = rng.choice([[], ["NX"], ["XX"], ["GET"], ["KEEPTTL"], ["EX", rng.choice(TIMES)],
                             ["PX", "100000"], ["PXAT", "1"], ["NX", "XX"],
                             ["EX", "90", "PX", "90000"], ["XX", "GET", "EX", "50"], ["NX", "GET"],
                             ["EX"], ["foo"]])  # fmt: skip
        return ["SET", rng.choice(KEYS), rng.choice(WORDS), *option]
    name = rng.choice([p for p in PLAIN if p not in CHANCE])
    if name == "FLUSHALL" and rng.random() < 0.8:
        name = "GET"
    arity = abs(COMMANDS[name.encode()].arity)
    count = max(0, arity - 1 + rng.choice([0, 0, 0, 0, 0, 0, 1, -1]))
    words = TIMES if "EXPIRE" in name else WORDS
    args = [rng.choice(KEYS)] + [rng.choice(words) for _ in range(4)]
    if name in ("DEL", "UNLINK", "EXISTS"):
        args = [rng.choice(KEYS) for _ in range(5)]
    return [name, *args[:count]]


def close_enough(command: list[str], one: Any, other: Any) -> bool:
    if command[0] in ANY_ORDER and isinstance(one, list) and isinstance(other, list):
        return sorted(one) == sorted(other)
    if command[0] == "TTL" and isinstance(one, int) and one > 0:
        return isinstance(other, int) and abs(one - other) <= 1
    if command[0] == "PTTL" and isinstance(one, int) and one > 0:
        return isinstance(other, int) and abs(one - other) <= 500
    if isinstance(one, Exception) and isinstance(other, Exception) and command[0] == "EVAL":
        # A server appends the script's name and line.
        return str(one).split()[:5] == str(other).split()[:5]
    return str(one) == str(other) and type(one) is type(other)


@pytest.mark.parametrize("seed", range(4))
def test_the_same_commands_get_the_same_replies(nothing_left: Path, seed: int) -> None:
    async def main() -> None:
        rng = random.Random(seed)
        real_env = LocalEnvironment(EnvironmentOptions(nodes=1, run_dir=nothing_left / "real"))
        model_env = LocalEnvironment(EnvironmentOptions(nodes=1, run_dir=nothing_left / "model"))
        real = Redis(real_env, TargetOptions(binary=str(server("redis-7.0"))))
        model = RedisModel(model_env, TargetOptions())
        try:
            for env, target in ((real_env, real), (model_env, model)):
                await env.open()
                await target.start()
            one, other = real.open_to("n1", "c1"), model.open_to("n1", "c1")
            await one.open()
            await other.open()
            queued: list[list[str]] | None = None
            for _ in range(2500):
                command = draw(rng)
                if rng.random() < 0.05:
                    command = [rng.choice(["MULTI", "EXEC", "DISCARD"])]
                if rng.random() < 0.02:
                    command = rng.choice([["WATCH", "a"], ["UNWATCH"], ["ECHO"], ["NOSUCH", "x"]])
                expected, got = (await one.calls(command))[0], (await other.calls(command))[0]
                if command[0] == "EXEC" and isinstance(expected, list) and queued is not None:
                    assert len(expected) == len(got)
                    for each, a, b in zip(queued, expected, got, strict=True):
                        assert close_enough(each, a, b), (each, a, b)
                else:
                    assert close_enough(command, expected, got), (command, expected, got)
                if command[0] in ("EXEC", "DISCARD"):
                    queued = None
                elif command[0] == "MULTI" and queued is None:
                    queued = []
                elif queued is not None and expected == "QUEUED":
                    queued.append(command)
            await one.close()
            await other.close()
        finally:
            await real_env.close()
            await model_env.close()

    asyncio.run(main())


def spec(**given: Any) -> Spec:
    return Spec(target="redis-model", time_limit_s=12, **given)


@pytest.mark.parametrize(
    ("workload", "nemesis", "valid"),
    [("register", "none", True), ("wait", "partition,failover", False), ("set", "slow", True)],
)
def test_as_real_processes(nothing_left: Path, workload: str, nemesis: str, valid: bool) -> None:
    of = spec(workload=workload, nemesis=nemesis, rate=200)
    folder = plan_run(nothing_left / "results", of.directory_name)
    execute(of, folder)
    results = campaign.judge(folder).results
    assert results.valid is valid, results.why
    assert results.claims["coverage"].valid is True


def test_killed_processes_lose_no_write_in_the_append_only_file(nothing_left: Path) -> None:
    of = spec(workload="set", nemesis="kill", rate=200, options={"appendonly": "yes"})
    folder = plan_run(nothing_left / "results", of.directory_name)
    execute(of, folder)
    results = campaign.judge(folder).results
    assert results.valid is True, results.why


def raw(address: tuple[str, int], data: bytes) -> bytes:
    """Return what a server replies to bytes, until it closes the connection or sends nothing for
    0.3 s."""
    with socket.create_connection(address, timeout=2) as s:
        s.sendall(data)
        s.settimeout(0.3)
        parts = []
        try:
            while part := s.recv(4096):
                parts.append(part)
        except TimeoutError:
            pass
        return b"".join(parts)


BYTES = [
    b"PING\r\n",
    b"ping\n",
    b"\r\n\r\nPING\r\n",
    b"*0\r\nPING\r\n",
    b"*-1\r\nPING\r\n",
    b"*1\r\n:1\r\n",
    b"*x\r\n",
    b"*1\r\n$x\r\n",
    b"*1\r\n$-1\r\n",
    b"*1\r\n$4\r\nPING\r\n" * 3,
    b"*2\r\n$4\r\nECHO\r\n$0\r\n\r\n",
    b"SET a 1\r\nGET a\r\nGET",
    b"SET b 1\r\n*1\r\n:1\r\nGET b\r\n",
]


def test_the_same_request_bytes_get_the_same_reply_bytes(nothing_left: Path) -> None:
    async def main() -> None:
        real_env = LocalEnvironment(EnvironmentOptions(nodes=1, run_dir=nothing_left / "real"))
        model_env = LocalEnvironment(EnvironmentOptions(nodes=1, run_dir=nothing_left / "model"))
        real = Redis(real_env, TargetOptions(binary=str(server("redis-7.0"))))
        model = RedisModel(model_env, TargetOptions())
        try:
            for env, target in ((real_env, real), (model_env, model)):
                await env.open()
                await target.start()
            for data in BYTES:
                one = await asyncio.to_thread(raw, real_env.control_address("n1"), data)
                other = await asyncio.to_thread(raw, model_env.control_address("n1"), data)
                assert one == other, data
        finally:
            await real_env.close()
            await model_env.close()

    asyncio.run(main())
