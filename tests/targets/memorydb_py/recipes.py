"""The anomaly scenarios of vanilla Redis (tests/support/stories.py, docs/memorydb.md), played on
the reference.

Each ends with the same check: every acknowledged write is present, and no value that was read is
lost.
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
    """A shard, and operations on it. `acknowledged`, `seen`: the largest number at key A that was
    acknowledged, or read."""

    def __init__(self, env: Any, target: Any) -> None:
        self.env, self.target = env, target
        self.acknowledged = self.seen = 0
        self._asked: list[asyncio.Task[Any]] = []
        self._opened: list[Any] = []

    async def primary(self, but: str | None = None) -> str:
        """Return the node that reports the role of primary, once there is one other than `but`."""
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
        """Execute a command in the background. The task's result is its reply, `NOTHING` if it was
        disconnected, or an error. Values acknowledged or read are noted."""

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
        """Cut a process off from others; `one_way`: drop only what the others send to it."""
        grudge = {node: frozenset(others)}
        if not one_way:
            grudge |= {other: frozenset({node}) for other in others}
        await self.env.network.apply(grudge)

    async def write_for(self, seconds: float, client: str = "c1", but: str | None = None) -> int:
        """Write ascending numbers, one at a time, at the current primary; return how many were
        acknowledged."""
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
        assert last >= self.seen, "a value that was read is lost"
        for node in self.env.nodes:
            replica = await self.open(node, readonly=True)
            assert int(await replica.call("GET", "A")) == last


Recipe = Callable[[Stage], Awaitable[None]]


async def play(env: Any, target: Any, recipe: Recipe) -> None:
    """Start the target, write 1, play the recipe, check the final state, stop the target."""
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


async def an_uncommitted_write_is_not_visible(w: Stage) -> None:
    """A read of a write that is not in the log waits with it; the primary dies, and neither gets a
    reply."""
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


async def a_write_whose_acknowledgement_is_lost_is_not_answered(w: Stage) -> None:
    """The same, but the log has the write and its acknowledgement is lost: both clients are
    disconnected, and the write is found afterwards."""
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


async def a_paused_log_blocks_reads_and_writes(w: Stage) -> None:
    """Two AZs are paused instead of cut off, so what is in their sockets may still be appended."""
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


async def a_lagging_replica_does_not_lead(w: Stage) -> None:
    """A lagging replica does not lead before it has applied the whole log, even if it is the only
    node left."""
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


async def a_partitioned_primary_stops_serving(w: Stage) -> None:
    """Split brain: the primary is cut off with its AZ and a client for seconds, while the others
    elect a new primary."""
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
    """Hand-overs while a client writes."""
    writing = asyncio.get_running_loop().create_task(w.write_for(4))
    for _ in range(3):
        await asyncio.sleep(1)
        primary = await w.primary()
        await w.target._ask_all()
        await w.target.promote(next(n for n in w.env.nodes if n != primary))
    assert await writing > 100


async def replicas_may_differ_and_the_primary_does_not(w: Stage) -> None:
    """Reads spread over two replicas are only eventually consistent and may go back in time; reads
    at the primary do not."""
    primary = await w.primary()
    lags, other = [n for n in w.env.nodes if n != primary]
    a = await w.open(primary)
    assert await w.ask(a, "SET", "A", 1) == "OK"
    assert await a.call("WAIT", 2, 3000) == 2
    await w.cut(lags, *AZS, one_way=True)
    assert await w.ask(a, "SET", "A", 2) == "OK"
    assert await a.call("WAIT", 1, 3000) == 1
    assert await (await w.open(other, readonly=True)).call("GET", "A") == "2"
    assert await (await w.open(lags, readonly=True)).call("GET", "A") == "1"
    assert await a.call("GET", "A") == "2"


async def a_wait_that_times_out_loses_no_write(w: Stage) -> None:
    """WAIT times out while both replicas are cut off; the write is committed all the same."""
    primary = await w.primary()
    replicas = [n for n in w.env.nodes if n != primary]
    await w.env.network.apply({n: frozenset(AZS) for n in replicas})
    a = await w.open(primary)
    assert await w.ask(a, "SET", "A", 9) == "OK"
    assert await a.call("WAIT", 2, 300) == 0
    assert await a.call("GET", "A") == "9"


async def a_restarted_node_recovers_every_acknowledged_write(w: Stage) -> None:
    """All nodes are killed; one that is restarted recovers every acknowledged write."""
    assert await w.write_for(1) > 50
    for node in w.env.nodes:
        await w.env.kill(node)
    await w.target.restart(w.env.nodes[0])
    assert int(await (await w.open(await w.primary())).call("GET", "A")) == w.acknowledged


async def a_resumed_primary_executes_no_queued_request(w: Stage) -> None:
    """Requests queue on the sockets of a paused primary while another takes over; it must not
    execute them."""
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
    an_uncommitted_write_is_not_visible,
    a_write_whose_acknowledgement_is_lost_is_not_answered,
    a_paused_log_blocks_reads_and_writes,
    a_lagging_replica_does_not_lead,
    a_partitioned_primary_stops_serving,
    a_failover_without_a_fault_loses_nothing,
    replicas_may_differ_and_the_primary_does_not,
    a_wait_that_times_out_loses_no_write,
    a_restarted_node_recovers_every_acknowledged_write,
    a_resumed_primary_executes_no_queued_request,
]
