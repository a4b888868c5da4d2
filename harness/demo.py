"""The article's example as a script on a real redis-server.

A writes and waits for a replica; B reads what A wrote while A is still waiting; the primary dies;
a replica that never got the write is promoted; what B read is gone. Every step is fixed, nothing
is drawn. The history is recorded and judged like any other.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from typing import Any

import click
import redis.exceptions as rx

from harness import judge as judging
from harness.checkers.coverage import count_operations
from harness.checkers.linearizable import check
from harness.checkers.verdict import Verdict
from harness.clients import ConnectFailed, RedisConnection
from harness.environments.local import LocalEnvironment
from harness.errors import EnvironmentFailed
from harness.history import NEMESIS, History, HistoryWriter, Op, OpType, read_history
from harness.models.register import Register
from harness.report.page import write_report
from harness.results import Run
from harness.runner import test_record, versions
from harness.spec import Spec
from harness.targets import TargetOptions, load

DEMO = "demo"  # what stands for the workload in its spec
KEY = "A"
WAIT_MS = 1500
STORY_TIMEOUT_S = 30.0


class Story:
    """Records each step in the history and tells it on the terminal."""

    def __init__(self, writer: HistoryWriter, now: Callable[[], int]) -> None:
        self._writer = writer
        self._now = now
        self._index = 0

    def tell(self, who: str, what: str, **style: Any) -> None:
        click.echo(f"{self._now() / 1e9:7.3f} s  {who:9} " + click.style(what, **style))

    def record(self, process: int | str, type: OpType, f: str, value: Any, **more: Any) -> None:
        self._writer.append(Op(self._index, self._now(), type, process, f, value, **more))
        self._index += 1

    async def fault(self, f: str, value: dict[str, Any]) -> None:
        """What was done to the system, as the nemesis' operation."""
        self.record(NEMESIS, "invoke", f, None)
        self.record(NEMESIS, "info", f, value)

    async def operation(
        self, process: int, f: str, value: Any, node: str, act: Awaitable[tuple[OpType, Any]]
    ) -> Any:
        """Invoke, await, complete; returns the completion's value."""
        self.record(process, "invoke", f, [KEY, value])
        type, result = await act
        self.record(process, type, f, [KEY, result], node=node)
        return result


async def _play(env: LocalEnvironment, target: Any, story: Story) -> tuple[Any, Any, Any]:
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


async def _run(run: Run, spec: Spec) -> tuple[Any, Any, Any]:
    env = LocalEnvironment(["n1", "n2", "n3"], run.path)
    target = load("harness.targets", spec.target)(env, TargetOptions(binary=spec.binary))
    run.create()
    try:
        await env.open()
        await target.start()
        run.write(run.test, test_record(spec, "harness demo", [], target, env, versions()))
        click.echo(f"{target.version}: n1 is the primary, n2 and n3 its replicas\n")
        writer = HistoryWriter(run.history)
        base = env.now()
        try:
            async with asyncio.timeout(STORY_TIMEOUT_S):
                return await _play(env, target, Story(writer, lambda: env.now() - base))
        except (ConnectFailed, rx.RedisError, OSError, TimeoutError) as e:
            raise EnvironmentFailed(f"the story broke off: {type(e).__name__} {e}") from e
        finally:
            writer.close()
    finally:
        await env.close()
        shutil.rmtree(run.path / "data", ignore_errors=True)


def judge_story(run: Run, history: History) -> judging.Results:
    """The verdict on the story's history; written to results.json."""
    verdict = check(history, Register(), independent=True)
    counts = count_operations(history.pairs())
    coverage = Verdict(
        valid=True, judged=False, why="a fixed script", evidence={"operations": counts}
    )
    results = judging.Results(
        valid=verdict.valid,
        why=verdict.why,
        expect="invalid",
        claims={"linearizable": verdict, "coverage": coverage},
    )
    run.write(run.results, judging.to_json(results))
    return results


def tell(run: Run, spec: Spec) -> int:
    """Play the story; 0 when it happened as told, else 1."""
    reached, seen, gone = asyncio.run(_run(run, spec))
    history, _ = read_history(run.history)
    results = judge_story(run, history)
    write_report(run, history)
    click.echo()
    happened = (reached, seen, gone) == (0, 2, 1) and results.valid is False
    if happened:
        click.echo("B read a value that is gone: no order of these operations explains both reads.")
        click.echo(f"The checker says: {results.why}.")
    else:
        click.echo(
            f"The story did not happen as told: WAIT {reached}, B read {seen}, then {gone}; "
            f"the checker says {results.valid}."
        )
    click.echo(f"report  {run.report}")
    return 0 if happened else 1
