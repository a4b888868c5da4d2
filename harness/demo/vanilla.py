"""The article's example on a real redis-server.

A writes and waits for a replica; B reads what A wrote while A is still waiting; the primary dies;
a replica that never got the write is promoted; what B read is gone.
"""

from __future__ import annotations

import asyncio
from typing import Any

from harness.clients import RedisConnection
from harness.demo.story import KEY, Story
from harness.environments.local import LocalEnvironment
from harness.history import OpType

WAIT_MS = 1500
EXPECTED = (0, 2, 1)


async def play(env: LocalEnvironment, target: Any, story: Story) -> tuple[Any, ...]:
    """Returns what WAIT said, what B read first, and what B reads in the end."""
    a, b = target.open_to("n1", "c1"), target.open_to("n1", "c2")
    await a.open()
    await b.open()

    async def write(value: int, replicas: int) -> tuple[OpType, Any]:
        await a.call("SET", KEY, value)
        waiting.set()
        reached = int(await a.call("WAIT", replicas, WAIT_MS))
        told.append(reached)
        return ("ok" if reached >= replicas else "info"), value

    async def read(connection: RedisConnection) -> tuple[OpType, Any]:
        reply = await connection.call("GET", KEY)
        return "ok", None if reply is None else int(reply)

    waiting, told = asyncio.Event(), list[int]()
    await story.operation(0, "write", 1, "n1", write(1, 2))
    story.tell("A", f"SET A 1 at n1, WAIT 2: {told[-1]} replicas have it")
    await story.fault("start-partition", {"kind": "n1 to n2 and n3"})
    await env.network.apply({"n2": frozenset({"n1"}), "n3": frozenset({"n1"})})
    story.tell(
        "network", "stops carrying what n1 sends to n2 and n3; connections stay open", fg="yellow"
    )
    waiting.clear()
    pending = asyncio.create_task(story.operation(0, "write", 2, "n1", write(2, 1)))
    await waiting.wait()
    story.tell("A", f"SET A 2 at n1: OK; now WAIT 1 {WAIT_MS}: A waits for one replica")
    seen = await story.operation(1, "read", None, "n1", read(b))
    story.tell("B", f"GET A at n1: {seen}  (A is still waiting)", bold=True)
    await pending
    story.tell("A", f"WAIT says: {told[-1]} replicas have it")
    await a.close()
    await b.close()
    await env.kill("n1", drop_held=True)
    await story.fault("start-kill", {"node": "n1"})
    story.tell("n1", "is killed; what the network held of it is lost", fg="yellow")
    lost = sum(flow["dropped"] for flow in (await env.network.stats()).values())
    done = await target.promote("n2")
    await env.network.heal()
    await target.repoint(["n3"])
    await story.fault("start-failover", done)
    story.tell("operator", "promotes n2; clients follow", fg="yellow")
    b = target.open_to("n2", "c2")
    await b.open()
    gone = await story.operation(1, "read", None, "n2", read(b))
    story.tell("B", f"GET A at n2: {gone}  (B had read {seen})", bold=True)
    await b.close()
    await story.fault("stop-partition", {"effective": lost > 0, "bytes_held_and_lost": lost})
    dead = env.state("n1") == "dead"
    await story.fault("stop-kill", {"effective": dead, "node": "n1", "restarted": False})
    role = await target.role("n2")
    await story.fault("stop-failover", {"effective": role is not None and role[0] == "master"})
    return told[-1], seen, gone
