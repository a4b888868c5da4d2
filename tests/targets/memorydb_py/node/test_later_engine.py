"""A node whose engine answers later: nothing is lost, doubled or torn meanwhile.

The engine is the Python engine behind awaitables. All but the first of these tests failed before
the node and its shard asked it one thing at a time, and checked after each answer that the node's
role had not changed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest

from targets.engine.protocol import Context, Outcome
from targets.engine.python import PythonEngine
from targets.engine.resp import Command
from targets.memorydb_py.processes import Parts
from tests.targets.memorydb_py.shards import CLOSED, QUIET, SHORT, Shards


class LaterEngine:
    """Answers after `delay_s`, or fails once with `error`. `most`: of calls at the same time."""

    def __init__(self) -> None:
        self.inner = PythonEngine(sharded=True)
        self.commands, self.keys = self.inner.commands, self.inner.keys
        self.delay_s = 0.0
        self.error: Exception | None = None
        self.calls = self.most = 0
        self._lock = asyncio.Lock()  # answers come in the order of the calls

    def execute(self, command: Command, context: Context) -> Awaitable[Outcome]:
        return self._later(lambda: self.inner.execute(command, context))

    def apply(self, effects: Sequence[Sequence[bytes]]) -> Awaitable[Outcome]:
        return self._later(lambda: self.inner.apply(effects))

    async def clear(self) -> None:
        await self._later(lambda: self.inner.clear() or Outcome())

    def digest(self) -> bytes:
        return self.inner.digest()

    async def _later(self, do: Callable[[], Outcome]) -> Outcome:
        self.calls += 1
        self.most = max(self.most, self.calls)
        try:
            async with self._lock:
                await asyncio.sleep(self.delay_s)
                if self.error is not None:
                    raise self.error
                done, whole = do(), Outcome()
                whole.add(done)
                whole.reply = done.reply
                return whole
        finally:
            self.calls -= 1


@pytest.fixture(autouse=True)
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Parts, "engine", lambda self, host: LaterEngine())


def engine(shards: Shards, name: str) -> LaterEngine:
    found = shards.nodes[name].engine
    assert isinstance(found, LaterEngine)
    return found


async def same_data(shards: Shards) -> None:
    """All nodes have the same data in the end."""
    await shards.settled()
    assert len({engine(shards, name).digest() for name in shards.names}) == 1


def test_a_shard_works_and_fails_over() -> None:
    async def scenario(shards: Shards) -> None:
        for i in range(20):
            assert await (await shards.to_primary()).ask(f"RPUSH {{t}}l {i}") == i + 1
        before = await shards.primary()
        shards.kill(before)
        talk = await shards.to_primary()
        assert await talk.ask("LLEN {t}l") == 20
        assert await talk.asks("MULTI", "LPOP {t}l", "LLEN {t}l", "EXEC")
        shards.start_node(before)
        await same_data(shards)
        assert all(engine(shards, name).most == 1 for name in shards.names)

    Shards(1, options=SHORT).run(scenario)


def test_a_blocking_pop_whose_time_runs_out_while_it_is_served_replies_once() -> None:
    async def scenario(shards: Shards) -> None:
        popper, pusher = await shards.to_primary(), await shards.to_primary()
        popper.send("BLPOP {t}l 1")
        await asyncio.sleep(0.9)
        engine(shards, await shards.primary()).delay_s = 0.07
        assert await pusher.ask("RPUSH {t}l v") == 1
        first, second = await popper.reply(2), await popper.reply(2)
        left = await pusher.ask("LLEN {t}l")
        assert second is QUIET, "two replies to one command"
        assert (first, left) in (([b"{t}l", b"v"], 0), (None, 1))

    Shards(1, nodes=3).run(scenario)


def test_a_client_that_has_gone_is_not_served() -> None:
    async def scenario(shards: Shards) -> None:
        one, other = await shards.to_primary(), await shards.to_primary()
        pusher = await shards.to_primary()
        for blocked in (one, other):
            blocked.send("BLPOP {t}l 0")
            await asyncio.sleep(0.1)
        engine(shards, await shards.primary()).delay_s = 0.05
        pusher.send("RPUSH {t}l v1 v2")
        await asyncio.sleep(0.07)
        other.close()
        assert await one.reply(2) == [b"{t}l", b"v1"]
        assert await pusher.reply(2) == 2
        assert await pusher.ask("LRANGE {t}l 0 -1") == [b"v2"]

    Shards(1, nodes=3).run(scenario)


def test_a_key_that_expires_while_the_node_is_demoted_writes_nothing() -> None:
    async def scenario(shards: Shards) -> None:
        name = await shards.primary()
        talk = await shards.connect(name)
        assert await talk.ask("SET {t}k 1 PX 300") == b"OK"
        slow = engine(shards, name)
        slow.delay_s = 0.3
        while not slow.calls:
            await asyncio.sleep(0.001)
        shards.nodes[name].shard.demote()
        slow.delay_s = 0.001
        await asyncio.sleep(4)
        await same_data(shards)
        assert not shards.exits

    Shards(1, options=SHORT).run(scenario)


def test_a_transaction_that_a_demotion_interrupts_leaves_nothing() -> None:
    async def scenario(shards: Shards) -> None:
        name = await shards.primary()
        talk = await shards.connect(name)
        slow = engine(shards, name)
        slow.delay_s = 0.05
        await talk.asks("MULTI", *(f"SET {{t}}{key} 1" for key in "abcd"))
        talk.send("EXEC")
        await asyncio.sleep(0.07)
        shards.nodes[name].shard.demote()
        assert await talk.reply(5) is CLOSED
        slow.delay_s = 0.0
        await asyncio.sleep(3)
        await same_data(shards)
        assert len(slow.keys) == 0

    Shards(1, options=SHORT).run(scenario)


def test_batches_from_before_a_node_began_anew_are_not_applied() -> None:
    async def scenario(shards: Shards) -> None:
        talk = await shards.to_primary()
        for i in range(5):
            assert await talk.ask(f"SET {{t}}early{i} 1") == b"OK"
        await shards.settled()
        name = (await shards.replicas())[0]
        slow = engine(shards, name)
        slow.delay_s = 0.2
        for i in range(15):
            assert await talk.ask(f"SET {{t}}k{i} 1") == b"OK"
        shards.nodes[name].shard._start_anew()
        slow.delay_s = 0.0
        await asyncio.sleep(3)
        await same_data(shards)
        assert len(slow.keys) == 20
        assert not shards.exits

    Shards(1, options=SHORT).run(scenario)


def test_transactions_on_a_replica_are_isolated_from_the_log() -> None:
    async def scenario(shards: Shards) -> None:
        writer = await shards.to_primary()
        await writer.asks("MULTI", "SET {t}a 0", "SET {t}b 0", "EXEC")
        await shards.settled()
        name = (await shards.replicas())[0]
        reader = await shards.connect(name, "READONLY")
        engine(shards, name).delay_s = 0.01
        engine(shards, name).most = 0

        async def write() -> None:
            for i in range(1, 60):
                await writer.asks("MULTI", f"SET {{t}}a {i}", f"SET {{t}}b {i}", "EXEC")
                await asyncio.sleep(0.02)

        writing = asyncio.ensure_future(write())
        seen = set()
        for _ in range(20):
            await reader.asks("MULTI", "GET {t}a", "GET {t}b")
            one, other = await reader.ask("EXEC")
            assert one == other
            seen.add(one)
        await writing
        assert len(seen) > 3
        assert engine(shards, name).most == 1

    Shards(1, nodes=3).run(scenario)


def test_many_keys_that_expire_are_deleted_one_after_the_other() -> None:
    async def scenario(shards: Shards) -> None:
        name = await shards.primary()
        talk = await shards.connect(name)
        for i in range(20):
            assert await talk.ask(f"SET {{t}}k{i} 1 PX 300") == b"OK"
        slow = engine(shards, name)
        slow.delay_s, slow.most = 0.002, 0
        await asyncio.sleep(1)
        assert (len(slow.keys), slow.most) == (0, 1)
        assert shards.nodes[name].statistics.expired == 20

    Shards(1, nodes=3).run(scenario)


def test_an_engine_that_fails_ends_the_process_and_another_node_leads() -> None:
    async def scenario(shards: Shards) -> None:
        name = await shards.primary()
        talk = await shards.connect(name)
        assert await talk.ask("SET {t}a 1") == b"OK"
        engine(shards, name).error = OSError("the engine has gone")
        talk.send("SET {t}a 2")
        assert await talk.reply(5) is CLOSED
        assert shards.exits == [(name, 1)]
        assert any("engine: OSError: the engine has gone" in line for line in shards.lines)
        assert await (await shards.to_primary()).ask("GET {t}a") == b"1"

    Shards(1, options=SHORT).run(scenario)
