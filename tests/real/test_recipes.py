"""Anomalies of vanilla Redis, step by step on a real server (A, A-trap, B, F, G).

Each is deterministic: bytes are held in the proxy, nothing depends on timing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from harness.environments.local import LocalEnvironment
from harness.targets import TargetOptions
from targets.vanilla import Redis

Act = Callable[..., Awaitable[Any]]


class World:
    """A primary n1 with replicas n2 and n3, and a few words to act on them."""

    def __init__(self, env: LocalEnvironment, target: Redis) -> None:
        self.env, self.target = env, target

    async def at(self, node: str, *command: Any) -> Any:
        """One command by a client on a connection of its own, through the proxy."""
        connection = self.target.open_to(node, "c1")
        await connection.open()
        try:
            return await connection.call(*command)
        finally:
            await connection.close()

    async def hold(self, *nodes: str) -> None:
        """What n1 sends to these nodes is held."""
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


def play(tmp_path: Path, binary: Path, story: Callable[[World], Awaitable[None]]) -> None:
    async def main() -> None:
        env = LocalEnvironment(["n1", "n2", "n3"], tmp_path)
        target = Redis(env, TargetOptions(binary=str(binary), timeout_s=5.0))
        try:
            await env.open()
            await target.start()
            world = World(env, target)
            assert await world.write_and_wait(1, 2, 3000) == 2
            await story(world)
        finally:
            await env.close()

    asyncio.run(main())


def test_a_visible_value_vanishes(nothing_left: Path, any_server: Path) -> None:
    """A: B reads 2 while A waits for a replica; after the failover it is 1 again."""

    async def story(w: World) -> None:
        await w.hold("n2", "n3")
        written = asyncio.Event()
        waiting = asyncio.create_task(w.write_and_wait(2, 1, 1000, written))
        await written.wait()
        assert await w.at("n1", "GET", "A") == "2"
        assert not waiting.done(), "B read it while A was still waiting"
        assert await waiting == 0
        await w.fail_over_to("n2")
        assert await w.at("n2", "GET", "A") == "1"

    play(nothing_left, any_server, story)


def test_a_stopped_replica_loses_nothing(nothing_left: Path, any_server: Path) -> None:
    """A-trap: SIGSTOP instead of the proxy: the bytes wait in the kernel and are applied."""

    async def story(w: World) -> None:
        await w.env.pause("n2")
        await w.env.pause("n3")
        assert w.env.state("n2") == "paused"
        assert await w.write_and_wait(2, 1, 300) == 0
        await w.env.kill("n1")
        await w.env.resume("n2")
        await w.env.resume("n3")
        await w.until("n2", "2")
        await w.target.promote("n2")
        assert await w.at("n2", "GET", "A") == "2"

    play(nothing_left, any_server, story)


def test_a_waited_write_is_lost_when_the_other_replica_is_promoted(
    nothing_left: Path, any_server: Path
) -> None:
    """B: WAIT 1 is satisfied by n3; n2, which lacks the write, becomes the primary."""

    async def story(w: World) -> None:
        await w.hold("n2")
        assert await w.write_and_wait(2, 1, 3000) == 1
        await w.fail_over_to("n2")
        assert await w.at("n2", "GET", "A") == "1"

    play(nothing_left, any_server, story)


def test_reads_over_two_replicas_go_back_in_time(nothing_left: Path, any_server: Path) -> None:
    """F: the same client reads 2 from one replica, then 1 from the other."""

    async def story(w: World) -> None:
        await w.hold("n3")
        assert await w.write_and_wait(2, 1, 3000) == 1
        await w.until("n2", "2")
        assert await w.at("n3", "GET", "A") == "1"

    play(nothing_left, any_server, story)


def test_a_wait_that_timed_out_is_indeterminate(nothing_left: Path, any_server: Path) -> None:
    """G: WAIT says 0, and later both replicas have the value all the same."""

    async def story(w: World) -> None:
        await w.hold("n2", "n3")
        assert await w.write_and_wait(9, 2, 300) == 0
        assert await w.at("n2", "GET", "A") == "1"
        await w.env.network.heal()
        await w.until("n2", "9")
        await w.until("n3", "9")

    play(nothing_left, any_server, story)
