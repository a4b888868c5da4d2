"""The article's example on the reference MemoryDB, where it does not happen.

First the log's acknowledgements are held for a moment: B's read of what A wrote waits as A does.
Then the primary is cut off from the log: what A writes is never committed, B is told nothing of
it, and both are disconnected when another node leads.
"""

from __future__ import annotations

import asyncio
from typing import Any

import redis.exceptions as rx

from harness.clients import RedisConnection
from harness.demo.story import KEY, Story
from harness.environments.local import LocalEnvironment
from harness.errors import EnvironmentFailed
from harness.history import OpType

HELD_S = 0.2
NEW_PRIMARY_S = 10.0
# What B reads: when the log answers again; nothing before it is disconnected; at the new primary.
EXPECTED = (2, None, 2)


async def play(env: LocalEnvironment, target: Any, story: Story) -> tuple[Any, ...]:
    """Returns what B read each time; None: it was disconnected."""
    primary = await target.primary()
    azs = frozenset(p for p in env.processes if p not in env.nodes)
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
    story.tell("A", f"SET A 1 at {primary}: OK, as the log has it")
    await story.fault("start-partition", {"kind": f"the log's answers to {primary}"})
    await env.network.apply({primary: azs})
    story.tell("network", f"holds what the log answers to {primary}", fg="yellow")
    writing = asyncio.create_task(story.operation(0, "write", 2, primary, write(2)))
    await asyncio.sleep(0.02)
    story.tell("A", f"SET A 2 at {primary}: no answer, the log has not acknowledged it")
    reading = asyncio.create_task(story.operation(1, "read", None, primary, read(b)))
    await asyncio.sleep(HELD_S)
    early = writing.done() or reading.done()
    story.tell("B", f"GET A at {primary}: no answer either, A's write may yet be lost", bold=True)
    await env.network.heal()
    await story.fault("stop-partition", {"effective": await _held(env) > 0})
    story.tell("network", "carries the log's answers again", fg="yellow")
    await writing
    first = None if early else await reading
    story.tell("A", "OK")
    story.tell("B", f"{first}", bold=True)

    held = await _held(env)
    await story.fault("start-partition-log", {"kind": f"{primary} from the log"})
    await env.network.apply({primary: azs} | {az: frozenset({primary}) for az in azs})
    story.tell("network", f"carries nothing between {primary} and the log", fg="yellow")
    writing = asyncio.create_task(story.operation(2, "write", 3, primary, write(3)))
    await asyncio.sleep(0.02)
    story.tell("A", f"SET A 3 at {primary}: no answer")
    reading = asyncio.create_task(story.operation(3, "read", None, primary, read(b)))
    new = await _another(env, target, primary)
    story.tell(new, f"leads: {primary} could not renew its lease and stopped serving", fg="yellow")
    await env.network.heal()
    effective = await _held(env) > held
    await story.fault("stop-partition-log", {"effective": effective})
    story.tell("network", "is whole again", fg="yellow")
    await writing
    second = await reading
    story.tell(primary, "was overtaken: it disconnects A and B and forgets A's write")
    told = "disconnected, it was told nothing" if second is None else f"{second}"
    story.tell("B", f"GET A at {primary}: {told}", bold=True)
    await a.close()
    await b.close()
    b = target.open_to(new, "c2")
    await b.open()
    last = await story.operation(1, "read", None, new, read(b))
    story.tell("B", f"GET A at {new}: {last}", bold=True)
    await b.close()
    return first, second, last


async def _held(env: LocalEnvironment) -> int:
    """Bytes that links have held so far."""
    return sum(flow["held_total"] for flow in (await env.network.stats()).values())


async def _another(env: LocalEnvironment, target: Any, old: str) -> str:
    """The node that leads in its place."""
    deadline = env.now() + int(NEW_PRIMARY_S * 1e9)
    while env.now() < deadline:
        for node in env.nodes:
            role = await target.ask(node, "ROLE") if node != old else None
            if role is not None and role[0] == "master":
                return node
        await asyncio.sleep(0.02)
    raise EnvironmentFailed(f"nobody took over from {old}")
