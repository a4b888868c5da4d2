"""What breaks vanilla Redis (tests/support/stories.py, memorydb.md 6), played on the reference.

Each ends with the same demand: every acknowledged write is there, nobody has read what is gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import redis.exceptions as rx

from harness.clients import ConnectFailed

AZS = ("az1", "az2", "az3")
NOTHING = "no answer"
GONE = (rx.ConnectionError, OSError)


class Stage:
    """A shard, and a few words to act on it. `acknowledged`, `seen`: numbers at the key A."""

    def __init__(self, env: Any, target: Any) -> None:
        self.env, self.target = env, target
        self.acknowledged = self.seen = 0
        self._asked: list[asyncio.Task[Any]] = []
        self._opened: list[Any] = []

    async def primary(self, but: str | None = None) -> str:
        """Whoever leads, as the nodes say."""
        async with asyncio.timeout(20):
            while True:
                for node in self.env.nodes:
                    if node != but and await self.env.state(node) == "running":
                        role = await self.target._role(node)
                        if role is not None and role[0] == "master":
                            return str(node)
                await asyncio.sleep(0.02)

    async def open(self, node: str, client: str = "c1", **how: Any) -> Any:
        connection = self.target.open_to(node, client, **how)
        self._opened.append(connection)
        await connection.open()
        return connection

    async def close(self) -> None:
        for connection in self._opened:
            await connection.close()

    def ask(self, connection: Any, *command: Any) -> asyncio.Task[Any]:
        """In the background: its answer, `NOTHING` when it was disconnected, or an error. What it
        shows is noted."""

        async def act() -> Any:
            try:
                reply = await connection.call(*command)
            except GONE:
                return NOTHING
            except rx.RedisError as e:
                return e
            if command[0] == "SET":
                self.acknowledged = max(self.acknowledged, command[2])
            if command[0] == "GET" and reply is not None:
                self.seen = max(self.seen, int(reply))
            return reply

        self._asked.append(asyncio.get_running_loop().create_task(act()))
        return self._asked[-1]

    async def cut(self, node: str, *others: str, one_way: bool = False) -> None:
        """Between a process and others; `one_way`: only what the others send."""
        grudge = {node: frozenset(others)}
        if not one_way:
            grudge |= {other: frozenset({node}) for other in others}
        await self.env.network.apply(grudge)

    async def write_for(self, seconds: float, client: str = "c1", but: str | None = None) -> int:
        """One writer after the other, wherever somebody leads; how many were acknowledged."""
        count, deadline = 0, self.env.now() + int(seconds * 1e9)
        connection = None
        while self.env.now() < deadline:
            try:
                if connection is None:
                    connection = await self.open(await self.primary(but), client)
                value = max(self.acknowledged, self.seen) + 1
                await connection.call("SET", "A", value)
                self.acknowledged, count = value, count + 1
            except (ConnectFailed, rx.RedisError, OSError, TimeoutError):
                connection = None
                await asyncio.sleep(0.01)
        return count

    async def ends_well(self) -> None:
        await self.env.network.heal()
        for node in self.env.nodes:
            if await self.env.state(node) == "dead":
                await self.target.restart(node)
        for task in self._asked:
            await task
        await self.target.settle(20)
        connection = await self.open(await self.primary())
        last = int(await connection.call("GET", "A"))
        assert last >= self.acknowledged, "an acknowledged write is lost"
        assert last >= self.seen, "a value that was read is gone"
        for node in self.env.nodes:
            replica = await self.open(node, readonly=True)
            assert int(await replica.call("GET", "A")) == last


Recipe = Callable[[Stage], Awaitable[None]]


async def play(env: Any, target: Any, recipe: Recipe) -> None:
    """Start, write 1, let it happen, look at what is left, stop."""
    stage = Stage(env, target)
    try:
        await env.open()
        await target.start()
        connection = await stage.open(await stage.primary())
        assert await stage.ask(connection, "SET", "A", 1) == "OK"
        await recipe(stage)
        await stage.ends_well()
    finally:
        await stage.close()
        await target.close()
        await env.close()


async def a_write_that_the_log_lacks_is_shown_to_nobody(w: Stage) -> None:
    """A: B's GET waits as A's SET does; the primary dies; both were told nothing."""
    primary = await w.primary()
    a, b = await w.open(primary), await w.open(primary, "c2")
    await w.cut(primary, *AZS)
    asked = [w.ask(a, "SET", "A", 2)]
    await asyncio.sleep(0.05)
    asked.append(w.ask(b, "GET", "A"))
    await asyncio.sleep(0.2)
    assert not any(task.done() for task in asked)
    await w.env.kill(primary, drop_held=True)
    now = await w.primary()
    assert [await task for task in asked] == [NOTHING, NOTHING]
    assert await (await w.open(now)).call("GET", "A") == "1"


async def a_write_whose_acknowledgement_is_held_waits(w: Stage) -> None:
    """A, the other way: the log has it. B waits too, is disconnected, and finds it afterwards."""
    primary = await w.primary()
    a, b = await w.open(primary), await w.open(primary, "c2")
    await w.cut(primary, *AZS, one_way=True)
    asked = [w.ask(a, "SET", "A", 2)]
    await asyncio.sleep(0.05)
    asked.append(w.ask(b, "GET", "A"))
    await asyncio.sleep(0.2)
    assert not any(task.done() for task in asked)
    await w.env.kill(primary)
    now = await w.primary()
    assert [await task for task in asked] == [NOTHING, NOTHING]
    assert await (await w.open(now)).call("GET", "A") == "2"


async def a_log_that_is_stopped_makes_everybody_wait(w: Stage) -> None:
    """A-trap: two AZs are stopped, not cut off; what waits in their kernels may yet be appended."""
    primary = await w.primary()
    a, b = await w.open(primary), await w.open(primary, "c2")
    await w.env.pause("az1")
    await w.env.pause("az2")
    asked = [w.ask(a, "SET", "A", 2)]
    await asyncio.sleep(0.05)
    asked.append(w.ask(b, "GET", "A"))
    await asyncio.sleep(0.3)
    assert not any(task.done() for task in asked)
    await w.env.kill(primary)
    await w.env.resume("az1")
    await w.env.resume("az2")
    await w.primary(but=primary)
    assert [await task for task in asked] == [NOTHING, NOTHING]


async def a_replica_that_lags_does_not_lead(w: Stage) -> None:
    """B, B2: it may be all that is left; it leads when it has applied everything."""
    primary = await w.primary()
    lags, other = [n for n in w.env.nodes if n != primary]
    a = await w.open(primary)
    await w.cut(lags, *AZS, one_way=True)
    assert await w.ask(a, "SET", "A", 2) == "OK"
    assert await a.call("WAIT", 1, 3000) == 1
    await w.env.kill(primary)
    await w.env.kill(other)
    await asyncio.sleep(2)
    role = await w.target._role(lags)
    assert role is None or role[0] == "slave"
    await w.env.network.heal()
    assert await w.primary() == lags
    assert await (await w.open(lags)).call("GET", "A") == "2"


async def a_primary_on_the_wrong_side_stops(w: Stage) -> None:
    """C, D: cut off with its AZ and a client for seconds, while the others go on."""
    primary = await w.primary()
    az = f"az{primary[1:]}"
    others = [p for p in w.env.processes if p not in (primary, az)]
    c1 = await w.open(primary)
    side = frozenset({primary, az, "c1"})
    rest = frozenset({*others, "c2", "c3"})
    await w.env.network.apply(dict.fromkeys((primary, az), rest) | dict.fromkeys(others, side))
    there = w.ask(c1, "SET", "A", 10_000)
    await asyncio.sleep(1.0)
    stale = await w.ask(c1, "PING") if there.done() else None
    assert stale is None or stale in (NOTHING, "PONG")
    assert await w.write_for(3, "c2", but=primary) > 100
    late = await w.open(primary)
    refused = await w.ask(late, "GET", "A")
    assert isinstance(refused, rx.ClusterDownError | rx.MovedError | rx.ResponseError), refused
    await w.env.network.heal()
    assert await there is NOTHING


async def a_failover_without_a_fault_loses_nothing(w: Stage) -> None:
    """E: hand-overs while one client writes."""
    writing = asyncio.get_running_loop().create_task(w.write_for(4))
    for _ in range(3):
        await asyncio.sleep(1)
        primary = await w.primary()
        await w.target._ask_all()
        await w.target.promote(next(n for n in w.env.nodes if n != primary))
    assert await writing > 100


async def replicas_may_differ_and_the_primary_does_not(w: Stage) -> None:
    """F: over two replicas reads may go back in time, which nobody promises; not at the primary."""
    primary = await w.primary()
    lags, other = [n for n in w.env.nodes if n != primary]
    await w.cut(lags, *AZS, one_way=True)
    a = await w.open(primary)
    assert await w.ask(a, "SET", "A", 2) == "OK"
    assert await a.call("WAIT", 1, 3000) == 1
    assert await (await w.open(other, readonly=True)).call("GET", "A") == "2"
    assert await (await w.open(lags, readonly=True)).call("GET", "A") == "1"
    assert await a.call("GET", "A") == "2"


async def a_wait_that_timed_out_has_lost_nothing(w: Stage) -> None:
    """G."""
    primary = await w.primary()
    replicas = [n for n in w.env.nodes if n != primary]
    await w.env.network.apply({n: frozenset(AZS) for n in replicas})
    a = await w.open(primary)
    assert await w.ask(a, "SET", "A", 9) == "OK"
    assert await a.call("WAIT", 2, 300) == 0
    assert await a.call("GET", "A") == "9"


async def nodes_that_all_died_come_back_with_everything(w: Stage) -> None:
    """I."""
    assert await w.write_for(1) > 50
    for node in w.env.nodes:
        await w.env.kill(node)
    await w.target.restart(w.env.nodes[0])
    assert int(await (await w.open(await w.primary())).call("GET", "A")) == w.acknowledged


async def a_primary_that_slept_answers_nothing_from_its_past(w: Stage) -> None:
    """D1, N: requests were queued on its sockets while another took over."""
    primary = await w.primary()
    clients = [await w.open(primary, f"c{1 + i % 3}") for i in range(6)]
    await w.env.pause(primary)
    asked = [
        w.ask(c, *(("GET", "A") if i % 2 else ("SET", "A", 7_000))) for i, c in enumerate(clients)
    ]
    await asyncio.sleep(0.1)
    assert await w.write_for(2.5, "c2", but=primary) > 50
    await w.env.resume(primary)
    for task in asked:
        reply = await task
        assert reply is NOTHING or isinstance(reply, rx.ResponseError), reply


RECIPES = [
    a_write_that_the_log_lacks_is_shown_to_nobody,
    a_write_whose_acknowledgement_is_held_waits,
    a_log_that_is_stopped_makes_everybody_wait,
    a_replica_that_lags_does_not_lead,
    a_primary_on_the_wrong_side_stops,
    a_failover_without_a_fault_loses_nothing,
    replicas_may_differ_and_the_primary_does_not,
    a_wait_that_timed_out_has_lost_nothing,
    nodes_that_all_died_come_back_with_everything,
    a_primary_that_slept_answers_nothing_from_its_past,
]
