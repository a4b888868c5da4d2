"""Scenarios in which Redis shows anomalies, step by step, for any target and environment.

Each is deterministic: bytes are held in the network, and nothing depends on timing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any


class Stage:
    """A primary n1 with replicas n2 and n3, and methods that act on them."""

    def __init__(self, env: Any, target: Any) -> None:
        self.env, self.target = env, target

    async def at(self, node: str, *command: Any) -> Any:
        """Send one command on a new connection, over a link that faults act on."""
        connection = self.target.open_to(node, "c1")
        await connection.open()
        try:
            return await connection.call(*command)
        finally:
            await connection.close()

    async def hold(self, *nodes: str) -> None:
        """Hold what n1 sends to these nodes."""
        await self.env.network.apply({n: frozenset({"n1"}) for n in nodes})

    async def write_and_wait(self, value: int, replicas: int, wait_ms: int,
                             written: asyncio.Event | None = None) -> int:  # fmt: skip
        connection = self.target.open_to("n1", "c2")
        await connection.open()
        try:
            await connection.call("SET", "A", value)
            if written is not None:
                written.set()
            return int(await connection.call("WAIT", replicas, wait_ms))
        finally:
            await connection.close()

    async def fail_over_to(self, node: str) -> None:
        await self.env.kill("n1", drop_held=True)
        await self.target.promote(node)
        await self.env.network.heal()

    async def until(self, node: str, expected: str) -> None:
        async with asyncio.timeout(10):
            while await self.at(node, "GET", "A") != expected:
                await asyncio.sleep(0.02)


Story = Callable[[Stage], Awaitable[None]]


async def play(env: Any, target: Any, story: Story) -> None:
    """Start the target, write 1 to all nodes, run the story, and stop."""
    try:
        await env.open()
        await target.start()
        stage = Stage(env, target)
        assert await stage.write_and_wait(1, 2, 3000) == 2
        await story(stage)
    finally:
        await env.close()


async def a_visible_value_vanishes(w: Stage) -> None:
    """Client B reads 2 while client A waits for a replica; after the failover the value is 1."""
    await w.hold("n2", "n3")
    written = asyncio.Event()
    waiting = asyncio.create_task(w.write_and_wait(2, 1, 1000, written))
    await written.wait()
    assert await w.at("n1", "GET", "A") == "2"
    assert not waiting.done(), "B reads the value while A is still waiting"
    assert await waiting == 0
    await w.fail_over_to("n2")
    assert await w.at("n2", "GET", "A") == "1"


async def a_stopped_replica_loses_nothing(w: Stage) -> None:
    """With SIGSTOP instead of a cut network, the bytes wait in the kernel and are applied."""
    await w.env.pause("n2")
    await w.env.pause("n3")
    assert await w.env.state("n2") == "paused"
    assert await w.write_and_wait(2, 1, 300) == 0
    await w.env.kill("n1")
    await w.env.resume("n2")
    await w.env.resume("n3")
    await w.until("n2", "2")
    await w.target.promote("n2")
    assert await w.at("n2", "GET", "A") == "2"


async def a_waited_write_is_lost(w: Stage) -> None:
    """WAIT 1 is satisfied by n3; n2, which lacks the write, becomes the primary."""
    await w.hold("n2")
    assert await w.write_and_wait(2, 1, 3000) == 1
    await w.fail_over_to("n2")
    assert await w.at("n2", "GET", "A") == "1"


async def reads_over_two_replicas_go_back_in_time(w: Stage) -> None:
    """The same client reads 2 from one replica, then 1 from the other."""
    await w.hold("n3")
    assert await w.write_and_wait(2, 1, 3000) == 1
    await w.until("n2", "2")
    assert await w.at("n3", "GET", "A") == "1"


async def a_wait_that_timed_out_is_indeterminate(w: Stage) -> None:
    """WAIT returns 0, and yet both replicas have the value later."""
    await w.hold("n2", "n3")
    assert await w.write_and_wait(9, 2, 300) == 0
    assert await w.at("n2", "GET", "A") == "1"
    await w.env.network.heal()
    await w.until("n2", "9")
    await w.until("n3", "9")


STORIES = [
    a_visible_value_vanishes,
    a_stopped_replica_loses_nothing,
    a_waited_write_is_lost,
    reads_over_two_replicas_go_back_in_time,
    a_wait_that_timed_out_is_indeterminate,
]
