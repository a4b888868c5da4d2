"""The lost-read example on a real redis-server.

A writes and waits for a replica; B reads A's value while A is still waiting; the primary dies; a
replica that never received the write is promoted; the value that B read is lost.
"""

from __future__ import annotations

import asyncio
from typing import Any

from harness.clients import RedisConnection
from harness.demo.script import Script
from harness.demo.story import KEY, Story
from harness.environments.protocol import CanKill, CanPartition
from harness.history.operations import OpType
from harness.targets import Failover
from harness.workloads.base import ScriptContext

WAIT_MS = 1500


class LostRead(Script):
    """B reads a value whose writer still waits for a replica; the value is lost in a failover."""

    name = "lost-read-on-redis"
    expected = (2, 1)

    async def steps(self, stage: ScriptContext, story: Story) -> None:
        env, target = stage.env, stage.target
        assert isinstance(env, CanKill)
        assert isinstance(env, CanPartition)
        assert isinstance(target, Failover)
        await play(env, env, target, story)


async def play(env: CanKill, links: CanPartition, target: Failover, story: Story) -> None:
    a, b = target.open_to("n1", "c1"), target.open_to("n1", "c2")
    await a.open()
    await b.open()

    async def write(value: int, replicas: int) -> tuple[OpType, Any]:
        await a.call("SET", KEY, value)
        waiting.set()
        reached = int(await a.call("WAIT", replicas, WAIT_MS))
        counts.append(reached)
        return ("ok" if reached >= replicas else "info"), value

    async def read(connection: RedisConnection) -> tuple[OpType, Any]:
        reply = await connection.call("GET", KEY)
        return "ok", None if reply is None else int(reply)

    waiting, counts = asyncio.Event(), list[int]()
    await story.operation(0, "write", 1, "n1", write(1, 2))
    story.tell("A", f"SET A 1 at n1, WAIT 2: {counts[-1]} replicas have it")
    story.began("partition", kind="n1 to n2 and n3")
    await links.network.apply({"n2": frozenset({"n1"}), "n3": frozenset({"n1"})})
    story.tell(
        "network", "stops delivering from n1 to n2 and n3; connections stay open", fg="yellow"
    )
    waiting.clear()
    pending = asyncio.create_task(story.operation(0, "write", 2, "n1", write(2, 1)))
    await waiting.wait()
    story.tell("A", f"SET A 2 at n1: OK; now WAIT 1 {WAIT_MS}: A waits for one replica")
    seen = await story.operation(1, "read", None, "n1", read(b))
    story.tell("B", f"GET A at n1: {seen}  (A is still waiting)", bold=True)
    await pending
    story.tell("A", f"WAIT returns: {counts[-1]} replicas have it")
    await a.close()
    await b.close()
    await env.kill("n1", drop_held=True)
    story.began("kill", node="n1")
    story.tell("n1", "is killed; its bytes held in the network are lost", fg="yellow")
    lost = sum(flow["dropped"] for flow in (await links.network.stats()).values())
    done = await target.promote("n2")
    await links.network.heal()
    await target.repoint(["n3"])
    story.began("failover", **done)
    story.tell("operator", "promotes n2; clients follow", fg="yellow")
    b = target.open_to("n2", "c2")
    await b.open()
    last = await story.operation(1, "read", None, "n2", read(b))
    story.tell("B", f"GET A at n2: {last}  (B had read {seen})", bold=True)
    await b.close()
    story.ended("partition", effective=lost > 0, bytes_held_and_lost=lost)
    dead = await env.state("n1") == "dead"
    story.ended("kill", effective=dead, node="n1", restarted=False)
    story.ended("failover", effective=target.topology().is_primary("n2"))
