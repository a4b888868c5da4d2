"""The article's example as a script, told on vanilla Redis and on the reference MemoryDB.

Every step is fixed, nothing is drawn. The histories are recorded and judged like any other.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import click
import redis.exceptions as rx

from harness import judge as judging
from harness.checkers.claims.coverage import count_operations
from harness.checkers.linearizability.checker import check
from harness.checkers.verdict import Valid, Verdict
from harness.clients import ConnectFailed
from harness.demo import reference, vanilla
from harness.demo.story import Story
from harness.environments.local import LocalEnvironment
from harness.errors import EnvironmentFailed
from harness.history import History, HistoryWriter, read_history
from harness.models.register import Register
from harness.report.page import write_report
from harness.results import Run, plan_run
from harness.runner import test_record, versions
from harness.spec import Spec
from harness.targets import TargetOptions, load

DEMO = "demo"  # what stands for the workload in its spec
STORY_TIMEOUT_S = 30.0


class Side(NamedTuple):
    """One of the two. `happened`: what is told when `play` returned what was expected."""

    target: str
    nemesis: str
    expect: Literal["valid", "invalid"]
    play: Callable[[LocalEnvironment, Any, Story], Awaitable[tuple[Any, ...]]]
    expected: tuple[Any, ...]
    happened: str


SIDES = (
    Side(
        "redis", "partition,kill,failover", "invalid", vanilla.play, vanilla.EXPECTED,
        "B read a value that is gone: no order of these operations explains both reads.",
    ),
    Side(
        "memorydb", "partition,partition-log", "valid", reference.play, reference.EXPECTED,
        "B was told nothing that the log had not acknowledged.",
    ),
)  # fmt: skip


async def _run(run: Run, spec: Spec, side: Side) -> tuple[Any, ...]:
    env = LocalEnvironment(["n1", "n2", "n3"], run.path)
    target = load("harness.targets", spec.target)(env, TargetOptions(binary=spec.binary))
    run.create()
    try:
        await env.open()
        await target.start()
        run.write(run.test, test_record(spec, "harness demo", [], target, env, versions()))
        click.echo(click.style(f"{target.version}: three nodes\n", bold=True))
        writer = HistoryWriter(run.history)
        base = env.now()
        try:
            async with asyncio.timeout(STORY_TIMEOUT_S):
                return await side.play(env, target, Story(writer, lambda: env.now() - base))
        except (ConnectFailed, rx.RedisError, OSError, TimeoutError) as e:
            raise EnvironmentFailed(f"the story broke off: {type(e).__name__} {e}") from e
        finally:
            writer.close()
            await target.close()
    finally:
        await env.close()
        shutil.rmtree(run.path / "data", ignore_errors=True)


def judge_story(run: Run, history: History, expect: Literal["valid", "invalid"]) -> judging.Results:
    """The verdict on a story's history; written to results.json."""
    verdict = check(history, Register(), independent=True)
    counts = count_operations(history.pairs())
    coverage = Verdict(
        valid=True, judged=False, why="a fixed script", evidence={"operations": counts}
    )
    results = judging.Results(
        valid=verdict.valid,
        why=verdict.why,
        expect=expect,
        claims={"linearizable": verdict, "coverage": coverage},
    )
    run.write(run.results, judging.to_json(results))
    return results


def tell(results_dir: Path, binary: str | None) -> int:
    """Play both; 0 when each happened as told, else 1."""
    return max([_tell(results_dir, binary if s.target == "redis" else None, s) for s in SIDES])


def _tell(results_dir: Path, binary: str | None, side: Side) -> int:
    spec = Spec(
        target=side.target,
        workload=DEMO,
        nemesis=side.nemesis,
        concurrency=2,
        binary=binary,
        expect=side.expect,
    )
    run = plan_run(results_dir, f"demo-{side.target}")
    seen = asyncio.run(_run(run, spec, side))
    history, _ = read_history(run.history)
    results = judge_story(run, history, side.expect)
    write_report(run, history)
    click.echo()
    wanted: Valid = side.expect == "valid"
    happened = seen == side.expected and results.valid is wanted
    if happened:
        click.echo(f"{side.happened}\nThe checker says: {results.why}.")
    else:
        click.echo(
            f"The story did not happen as told: {seen} where {side.expected} was expected; "
            f"the checker says {results.valid}."
        )
    click.echo(f"report  {run.report}\n")
    return 0 if happened else 1
