"""The lost-read example on the reference MemoryDB, where it does not happen.

First the log's acknowledgements are delayed: B's read of the key waits as long as A's write does.
Then the primary is cut off from the log: A's write is never committed, B gets no reply, and both
are disconnected when another node becomes the leader.
"""

from __future__ import annotations

import asyncio
from typing import Any

import redis.exceptions as rx

from harness.clients import ConnectFailed, RedisConnection
from harness.demo.script import Script
from harness.demo.story import KEY, Story
from harness.environments.protocol import CanPartition
from harness.errors import EnvironmentFailed
from harness.history.operations import OpType
from harness.targets import HasLog, Target
from harness.workloads.base import ScriptContext

HELD_S = 0.2
NEW_PRIMARY_S = 10.0


class NoLostRead(Script):
    """B's read waits until the log has acknowledged the value, or B is disconnected."""

    name = "lost-read-on-memorydb"
    # B's reads: when the log answers again; none, as B is disconnected; at the new primary.
    expected = (2, None, 2)

    async def steps(self, stage: ScriptContext, story: Story) -> None:
        env, target = stage.env, stage.target
        assert isinstance(env, CanPartition)
        assert isinstance(target, HasLog)
        await play(env, target, story)


async def play(env: CanPartition, target: HasLog, story: Story) -> None:
    (primary,) = target.topology().primaries
    azs = frozenset(target.azs)
    story.tell("log", f"three processes, {', '.join(sorted(azs))}; {primary} leads")
    a, b = target.open_to(primary, "c1"), target.open_to(primary, "c2")
    await a.open()
    await b.open()

    async def write(value: int) -> tuple[OpType, Any]:
        try:
            await a.call("SET", KEY, value)
        except (rx.ConnectionError, OSError):
            return "info", value
        return "ok", value

    async def read(connection: RedisConnection) -> tuple[OpType, Any]:
        try:
            reply = await connection.call("GET", KEY)
        except (rx.ConnectionError, OSError):
            return "fail", None
        return "ok", None if reply is None else int(reply)

    await story.operation(0, "write", 1, primary, write(1))
    story.tell("A", f"SET A 1 at {primary}: OK, the log has acknowledged it")
    story.began("partition", kind=f"the log's answers to {primary}")
    await env.network.apply({primary: azs})
    story.tell("network", f"holds back the log's answers to {primary}", fg="yellow")
    writing = asyncio.create_task(story.operation(0, "write", 2, primary, write(2)))
    await asyncio.sleep(0.02)
    story.tell("A", f"SET A 2 at {primary}: no answer, the log has not acknowledged it")
    reading = asyncio.create_task(story.operation(1, "read", None, primary, read(b)))
    await asyncio.sleep(HELD_S)
    if writing.done() or reading.done():
        raise EnvironmentFailed("a client got a reply although the log's answers were held back")
    story.tell("B", f"GET A at {primary}: no answer either, A's write may yet be lost", bold=True)
    await env.network.heal()
    story.ended("partition", effective=await _held(env) > 0)
    story.tell("network", "delivers the log's answers again", fg="yellow")
    await writing
    first = await reading
    story.tell("A", "OK")
    story.tell("B", f"{first}", bold=True)

    held = await _held(env)
    story.began("partition-log", kind=f"{primary} from the log")
    await env.network.apply({primary: azs} | {az: frozenset({primary}) for az in azs})
    story.tell("network", f"delivers nothing between {primary} and the log", fg="yellow")
    writing = asyncio.create_task(story.operation(2, "write", 3, primary, write(3)))
    await asyncio.sleep(0.02)
    story.tell("A", f"SET A 3 at {primary}: no answer")
    reading = asyncio.create_task(story.operation(3, "read", None, primary, read(b)))
    new = await _another(env, target, primary)
    story.tell(new, f"leads: {primary} could not renew its lease and stopped serving", fg="yellow")
    await env.network.heal()
    effective = await _held(env) > held
    story.ended("partition-log", effective=effective)
    story.tell("network", "is healed", fg="yellow")
    await writing
    second = await reading
    story.tell(primary, "is no longer the leader: it disconnects A and B and discards A's write")
    outcome = "disconnected without a reply" if second is None else f"{second}"
    story.tell("B", f"GET A at {primary}: {outcome}", bold=True)
    await a.close()
    await b.close()
    b = target.open_to(new, "c2")
    await b.open()
    last = await story.operation(1, "read", None, new, read(b))
    story.tell("B", f"GET A at {new}: {last}", bold=True)
    await b.close()


async def _held(env: CanPartition) -> int:
    """Return how many bytes the links have held back so far."""
    return sum(flow["held_total"] for flow in (await env.network.stats()).values())


async def _another(env: CanPartition, target: Target, old: str) -> str:
    """Wait for the new leader and return it."""
    deadline = env.now() + int(NEW_PRIMARY_S * 1e9)
    while env.now() < deadline:
        for node in env.nodes:
            if node != old and await _leads(target, node):
                return node
        await asyncio.sleep(0.02)
    raise EnvironmentFailed(f"no node took over from {old}")


async def _leads(target: Target, node: str) -> bool:
    connection = target.open_to(node, "c3")
    try:
        await connection.open()
        return bool((await connection.call("ROLE"))[0] == "master")
    except (ConnectFailed, rx.RedisError, OSError):
        return False
    finally:
        await connection.close()
