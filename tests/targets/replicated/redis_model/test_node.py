"""Nodes of the model in the simulation: replication, transactions, the append-only file."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import redis.exceptions as rx

from harness.clients import Credentials, RedisConnection
from harness.simulation.process import Process
from harness.simulation.world import World
from targets.engine.resp import pack
from targets.replicated.redis_model.commands import COMMANDS
from targets.replicated.redis_model.node import Node
from targets.replicated.redis_model.persistence import NAME
from targets.replicated.redis_model.replication import Stream
from targets.replicated.redis_model.settings import Settings
from tests.simulation.worlds import FIXED


class Nodes:
    """Nodes n1 to n4, and connections to them from client host c1."""

    def __init__(self, **options: str) -> None:
        self.world = World(1, delays=FIXED)
        self.settings = Settings.parse({"repl-ping-replica-period": "1", **options})
        self.processes: dict[str, Process] = {}
        self.logs: list[str] = []
        self.clients: list[RedisConnection] = []
        self.world.on_log = lambda process, text: self.logs.append(f"{process.name} {text}")
        self.world.add_client_host("c1")
        for name in ("n1", "n2", "n3", "n4"):
            self.world.add_machine(name)

    def start(self, name: str, primary: str | None = None) -> None:
        machine = self.world.machines[name]
        self.processes[name] = self.world.start(
            name, machine, lambda host: Node(host, self.settings, COMMANDS).run(primary)
        )

    async def client(self, name: str) -> RedisConnection:
        connection = RedisConnection((f"{name}@c1", 6379), Credentials(), 5.0)
        await connection.open()
        self.clients.append(connection)
        return connection

    async def at(self, name: str, *command: Any) -> Any:
        connection = await self.client(name)
        try:
            return await connection.call(*command)
        finally:
            await connection.close()

    async def trio(self) -> None:
        self.start("n1")
        self.start("n2", "n1")
        self.start("n3", "n1")
        await asyncio.sleep(2.5)

    def cut(self, *pairs: str) -> None:
        self.world.cut(tuple(p.split(">")) for p in pairs)  # type: ignore[misc]

    def play(self, scenario: Callable[[], Awaitable[None]]) -> None:
        async def main() -> None:
            try:
                await scenario()
            finally:
                for client in self.clients:
                    await client.close()

        self.world.run(main())


def durable(policy: str) -> Nodes:
    return Nodes(appendonly="yes", appendfsync=policy)


def test_replicas_get_everything_and_refuse_writes() -> None:
    n = Nodes()

    async def scenario() -> None:
        n.start("n1")
        await asyncio.sleep(0.1)
        await n.at("n1", "RPUSH", "early", *range(2500))
        n.start("n2", "n1")
        await asyncio.sleep(2)
        await n.at("n1", "SET", "late", "1")
        await asyncio.sleep(0.1)
        assert len(await n.at("n2", "LRANGE", "early", 0, -1)) == 2500
        assert await n.at("n2", "GET", "late") == "1"
        with pytest.raises(rx.ReadOnlyError):
            await n.at("n2", "SET", "x", "1")
        with pytest.raises(rx.ResponseError, match="read only"):
            await n.at("n2", "EVAL", "return redis.call('SET', 'x', '1')", 0)
        assert await n.at("n2", "EVAL", "return redis.call('GET', 'late')", 0) == "1"
        role = await n.at("n1", "ROLE")
        assert role[0] == "master"
        assert role[2][0][1] == "6379"
        assert (await n.at("n2", "ROLE"))[:4] == ["slave", "n1", 6379, "connected"]

    n.play(scenario)


def test_wait_counts_replicas_that_acknowledged_earlier_writes() -> None:
    n = Nodes()

    async def scenario() -> None:
        await n.trio()
        writer = await n.client("n1")
        await writer.call("SET", "k", "1")
        assert await writer.call("WAIT", 2, 1000) == 2
        n.cut("n1>n2")
        await writer.call("SET", "k", "2")
        assert await writer.call("WAIT", 1, 1000) == 1
        assert await writer.call("WAIT", 2, 300) == 1
        reader = await n.client("n1")
        assert await reader.call("GET", "k") == "2"
        assert await reader.call("WAIT", 2, 300) == 1, "WAIT does not cover the write that was read"
        waiting = asyncio.create_task(writer.call("WAIT", 2, 0))
        await asyncio.sleep(5)
        assert not waiting.done(), "a time-out of 0 means no time-out"
        n.cut()
        assert await waiting == 2

    n.play(scenario)


def test_min_replicas_refuses_writes_when_replicas_are_silent() -> None:
    n = Nodes(**{"min-replicas-to-write": "2", "min-replicas-max-lag": "2"})

    async def scenario() -> None:
        await n.trio()
        assert await n.at("n1", "SET", "k", "1") == "OK"
        n.cut("n2>n1")
        await asyncio.sleep(4)
        with pytest.raises(rx.ResponseError, match="Not enough good replicas"):
            await n.at("n1", "SET", "k", "2")
        assert await n.at("n1", "GET", "k") == "1"

    n.play(scenario)


def test_a_demoted_primary_discards_writes_that_only_it_had() -> None:
    n = Nodes()

    async def scenario() -> None:
        await n.trio()
        await n.at("n1", "SET", "shared", "1")
        await asyncio.sleep(0.1)
        n.cut("n1>n2", "n1>n3", "n2>n1", "n3>n1")
        await n.at("n1", "SET", "lost", "1")
        await n.at("n2", "REPLICAOF", "NO", "ONE")
        await n.at("n2", "SET", "kept", "1")
        await n.at("n3", "REPLICAOF", "n2", 6379)
        n.cut()
        await n.at("n1", "REPLICAOF", "n2", 6379)
        await asyncio.sleep(3)
        for node in ("n1", "n2", "n3"):
            values = [await n.at(node, "GET", key) for key in ("shared", "lost", "kept")]
            assert values == ["1", None, "1"], node
        log = "\n".join(n.logs)
        assert "n3 role: replica of n2, CONTINUE" in log, "it had not diverged"
        assert "n1 role: replica of n2, FULLRESYNC" in log

    n.play(scenario)


def test_a_sub_replica_follows_its_primary_to_another_history() -> None:
    """A replica's replica must not keep a history that its primary has discarded."""
    n = Nodes()

    async def scenario() -> None:
        n.start("n1")
        n.start("n2", "n1")
        n.start("n3", "n2")
        n.start("n4", "n3")
        await asyncio.sleep(5)
        await n.at("n2", "REPLICAOF", "NO", "ONE")
        await n.at("n1", "SET", "lost", "1")
        await n.at("n2", "SET", "new", "1" * 200)
        await n.at("n2", "SET", "new", "1")
        await asyncio.sleep(3)
        await n.at("n1", "REPLICAOF", "n4", 6379)
        await asyncio.sleep(4)
        for node in ("n1", "n2", "n3", "n4"):
            assert [await n.at(node, "GET", k) for k in ("lost", "new")] == [None, "1"], node

    n.play(scenario)


def test_a_reconnected_replica_resynchronizes_partially() -> None:
    n = Nodes()

    async def scenario() -> None:
        await n.trio()
        n.world.network.reset("n2", "n1")
        await n.at("n1", "SET", "k", "1")
        await asyncio.sleep(3)
        assert await n.at("n2", "GET", "k") == "1"
        assert any("partial resynchronization" in line for line in n.logs)

    n.play(scenario)


def test_a_transaction_is_applied_atomically_on_a_replica() -> None:
    n = Nodes()

    async def scenario() -> None:
        await n.trio()
        writer = await n.client("n1")

        async def write() -> None:
            for i in range(50):
                await writer.calls(("MULTI",), ("SET", "a", i), ("SET", "b", i), ("EXEC",))

        writing = asyncio.create_task(write())
        reader = await n.client("n2")
        seen = set()
        while not writing.done():
            *_, both = await reader.calls(("MULTI",), ("GET", "a"), ("GET", "b"), ("EXEC",))
            assert both[0] == both[1]
            seen.add(both[0])
        assert len(seen) > 5

    n.play(scenario)


def test_exec_is_aborted_when_a_watched_key_has_changed() -> None:
    n = Nodes()

    async def transaction(client: RedisConnection) -> Any:
        return (await client.calls(("MULTI",), ("SET", "k", "mine"), ("EXEC",)))[-1]

    async def scenario() -> None:
        n.start("n1")
        await asyncio.sleep(0.1)
        client = await n.client("n1")
        await client.call("WATCH", "k")
        assert await transaction(client) == ["OK"]
        for change in (("SET", "k", "2"), ("DEL", "k"), ("FLUSHALL",)):
            await n.at("n1", "SET", "k", "1")
            await client.call("WATCH", "k")
            await n.at("n1", *change)
            assert await transaction(client) is None, change
            assert await transaction(client) == ["OK"], "EXEC must clear the watch"
        for no_change in (("GET", "k"), ("DEL", "j"), ("SET", "k", "2", "NX"), ("SET", "j", "1")):
            await client.call("WATCH", "k")
            await n.at("n1", *no_change)
            assert await transaction(client) == ["OK"], no_change
        await client.call("WATCH", "k")
        await n.at("n1", "SET", "k", "2")
        await client.call("UNWATCH")
        assert await transaction(client) == ["OK"]
        await n.at("n1", "SET", "k", "1", "PX", "50")
        await client.call("WATCH", "k")
        await asyncio.sleep(0.1)
        assert await transaction(client) is None, "the key expired after WATCH"
        await n.at("n1", "SET", "k", "1", "PX", "50")
        await asyncio.sleep(0.1)
        await client.call("WATCH", "k")
        assert await n.at("n1", "GET", "k") is None
        assert await transaction(client) == ["OK"], "the key had expired before WATCH"

    n.play(scenario)


def test_a_demotion_disconnects_a_client_in_wait_and_drops_its_pipeline() -> None:
    n = Nodes()

    async def scenario() -> None:
        await n.trio()
        n.cut("n1>n2", "n1>n3")
        client = await n.client("n1")
        asked = asyncio.create_task(
            client.calls(("SET", "q", "1"), ("WAIT", 2, 0), ("SET", "q", "2"))
        )
        await asyncio.sleep(0.1)
        await n.at("n1", "REPLICAOF", "n2", 6379)
        with pytest.raises(rx.ConnectionError):
            await asked
        assert await n.at("n1", "GET", "q") == "1"

    n.play(scenario)


@pytest.mark.parametrize("policy", ["always", "everysec", "no"])
def test_a_kill_loses_no_write_in_the_append_only_file(policy: str) -> None:
    n = durable(policy)

    async def scenario() -> None:
        n.start("n1")
        await asyncio.sleep(0.1)
        for i in range(20):
            await n.at("n1", "RPUSH", "l", i)
        await n.at("n1", "SET", "k", "v", "EX", "100")
        n.world.kill(n.processes["n1"])
        n.start("n1")
        await asyncio.sleep(0.1)
        assert await n.at("n1", "LRANGE", "l", 0, -1) == [str(i) for i in range(20)]
        assert await n.at("n1", "TTL", "k") in (99, 100)

    n.play(scenario)


@pytest.mark.parametrize("seed", range(20))
def test_a_power_loss_loses_no_acknowledged_write_with_fsync_always(seed: int) -> None:
    n = durable("always")
    n.world.disk("n1")._rng.seed(seed)

    async def scenario() -> None:
        n.start("n1")
        await asyncio.sleep(0.1)
        acknowledged = []

        async def write(client: RedisConnection, key: str) -> None:
            for i in range(1000):
                await client.call("RPUSH", key, i)
                acknowledged.append((key, str(i)))

        tasks = [asyncio.create_task(write(await n.client("n1"), k)) for k in "abc"]
        await asyncio.sleep(0.05 + seed / 500)
        n.world.power_off(n.world.machines["n1"])
        for task in tasks:
            task.cancel()
        assert len(acknowledged) > 5
        n.start("n1")
        await asyncio.sleep(0.1)
        for key in "abc":
            found = await n.at("n1", "LRANGE", key, 0, -1)
            assert found == [str(i) for i in range(len(found))], "not a prefix of what was sent"
            assert {v for k, v in acknowledged if k == key} <= set(found)

    n.play(scenario)


def test_replies_wait_for_fsync_with_always_only() -> None:
    def slow_set(policy: str) -> float:
        n = durable(policy)
        took = 0.0

        async def scenario() -> None:
            nonlocal took
            n.start("n1")
            await asyncio.sleep(0.1)
            n.world.disk("n1").fsync_ns = (10**9, 10**9)
            client = await n.client("n1")
            began = n.world.loop.now_ns
            await client.call("SET", "k", "v")
            took = (n.world.loop.now_ns - began) / 1e9

        n.play(scenario)
        return took

    assert slow_set("always") > 1
    assert slow_set("everysec") < 0.1


def write_file(n: Nodes, data: bytes) -> None:
    disk = n.world.disk("n1")
    if NAME in disk.names():
        disk.truncate(NAME, 0)
    disk.append(NAME, data)


SET = [pack((b"SET", b"k%d" % i, b"v")) for i in range(3)]
TORN = [
    SET[2][:-7],
    pack((b"MULTI",)) + SET[1] + SET[2][:5],
    pack((b"MULTI",)) + SET[1] + SET[2],
    SET[2][:-5] + bytes(5),
    bytes(100_000),
]


@pytest.mark.parametrize("tail", TORN, ids=range(len(TORN)))
def test_a_torn_end_of_the_file_is_cut_off(tail: bytes) -> None:
    n = durable("always")

    async def scenario() -> None:
        write_file(n, SET[0] + tail)
        n.start("n1")
        await asyncio.sleep(0.1)
        assert await n.at("n1", "EXISTS", "k0", "k1", "k2") == 1
        assert n.world.disk("n1").read(NAME) == SET[0]
        assert "torn end" in n.logs[0]
        await n.at("n1", "SET", "k1", "v")
        n.world.kill(n.processes["n1"])
        n.start("n1")
        await asyncio.sleep(0.1)
        assert await n.at("n1", "EXISTS", "k0", "k1", "k2") == 2

    n.play(scenario)


def test_a_file_that_is_broken_in_the_middle_is_not_loaded() -> None:
    n = durable("always")
    exits: list[int] = []
    n.world.on_exit = lambda process, code, expected: exits.append(code)

    async def scenario() -> None:
        write_file(n, SET[0] + b"*x\r\n" + SET[1])
        n.start("n1")
        await asyncio.sleep(0.1)

    n.play(scenario)
    assert exits == [1]
    assert any("invalid multibulk length after" in line for line in n.logs)


def test_a_failed_fsync_with_always_ends_the_process() -> None:
    n = durable("always")
    exits: list[tuple[int, bool]] = []
    n.world.on_exit = lambda process, code, expected: exits.append((code, expected))

    async def scenario() -> None:
        n.start("n1")
        await asyncio.sleep(0.1)
        n.world.disk("n1").failing_fsyncs = 1
        with pytest.raises(rx.ConnectionError):
            await n.at("n1", "SET", "k", "v")

    n.play(scenario)
    assert exits == [(1, False)]


@pytest.mark.parametrize("policy", ["everysec", "no"])
def test_a_full_disk_refuses_writes_until_there_is_space_and_keeps_the_order(policy: str) -> None:
    n = durable(policy)

    async def scenario() -> None:
        n.start("n1")
        await asyncio.sleep(0.1)
        disk = n.world.disk("n1")
        await n.at("n1", "RPUSH", "l", "1")
        disk.capacity = disk.size(NAME) + 10
        assert await n.at("n1", "RPUSH", "l", "2") == 2, "executed before it is written"
        with pytest.raises(rx.ResponseError, match="AOF"):
            await n.at("n1", "RPUSH", "l", "3")
        disk.capacity = None
        await asyncio.sleep(2.5)
        await n.at("n1", "RPUSH", "l", "4")
        n.world.kill(n.processes["n1"])
        n.start("n1")
        await asyncio.sleep(0.1)
        assert await n.at("n1", "LRANGE", "l", 0, -1) == ["1", "2", "4"]

    n.play(scenario)


def test_a_full_resynchronization_replaces_the_append_only_file() -> None:
    n = durable("always")

    async def scenario() -> None:
        n.start("n2")
        await asyncio.sleep(0.1)
        await n.at("n2", "SET", "own", "1")
        n.start("n1")
        await asyncio.sleep(0.1)
        await n.at("n1", "RPUSH", "l", "1")
        n.world.disk("n2").fsync_ns = (500_000_000, 500_000_000)
        await n.at("n2", "REPLICAOF", "n1", 6379)
        await asyncio.sleep(0.2)
        await n.at("n1", "RPUSH", "l", "2")
        await n.at("n2", "REPLICAOF", "NO", "ONE")
        assert await n.at("n2", "RPUSH", "l", "3") == 3
        assert not any(line.endswith("error") for line in n.logs)
        n.world.kill(n.processes["n2"])
        n.start("n2")
        await asyncio.sleep(3)
        assert await n.at("n2", "LRANGE", "l", 0, -1) == ["1", "2", "3"]
        assert await n.at("n2", "GET", "own") is None
        assert n.world.disk("n2").names() == [NAME]

    n.play(scenario)


def test_ping_and_getack_are_not_in_the_append_only_file() -> None:
    n = durable("no")

    async def scenario() -> None:
        await n.trio()
        await n.at("n1", "SET", "k", "v")
        client = await n.client("n1")
        await client.call("WAIT", 2, 500)
        await asyncio.sleep(3)
        for node in ("n1", "n2"):
            assert b"PING" not in n.world.disk(node).read(NAME)
            assert b"GETACK" not in n.world.disk(node).read(NAME)

    n.play(scenario)


def test_an_invalid_replication_stream_ends_the_replica() -> None:
    n = Nodes()
    exits: list[tuple[str, int]] = []
    n.world.on_exit = lambda process, code, expected: exits.append((process.name, code))

    class FaultyPrimary(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport

        def data_received(self, data: bytes) -> None:
            if b"PSYNC" in data:
                body = pack((b"RPUSH", b"k", b"1")) + pack((b"INCR", b"k"))
                head = f"+FULLRESYNC {'0' * 40} 0\r\n${len(body)}\r\n"
                self.transport.write(head.encode() + body)
            else:
                self.transport.write(b"+OK\r\n")

    async def faulty_primary(host: Any) -> None:
        await (await host.serve(FaultyPrimary)).serve_forever()

    async def scenario() -> None:
        n.world.start("n1", n.world.machines["n1"], faulty_primary)
        n.start("n2", "n1")
        await asyncio.sleep(3)

    n.play(scenario)
    assert exits == [("n2", 1)]
    assert any("can't be applied: WRONGTYPE" in line for line in n.logs)


def test_the_backlog_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("targets.replicated.redis_model.replication.BACKLOG_BYTES", 100)
    stream = Stream(lambda: "a")
    for _ in range(100):
        stream.add(b"0123456789")
    assert stream.since("a", 1) is None
    assert stream.since("a", 991) == b"0123456789"
