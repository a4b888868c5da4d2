"""Runs a generator without clock, network or asyncio: every operation takes what a rule says."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable

from harness.generators import SLEEP, Context, Generator
from harness.history import NEMESIS, Op, OpType

# An operation -> how long it takes and how it ends.
Rule = Callable[[Op], tuple[int, OpType]]


def quick(op: Op) -> tuple[int, OpType]:
    return 10, "info" if op.process == NEMESIS else "ok"


def simulate(
    generator: Generator,
    workers: int = 2,
    rule: Rule = quick,
    *,
    seed: int = 0,
    limit: int = 10_000,
) -> list[Op]:
    """Every invocation and completion; raises AssertionError when the generator gets stuck."""
    rng = random.Random(seed)
    processes: list[int | str] = [*range(workers), NEMESIS]
    everyone = (1 << (workers + 1)) - 1
    free, time, counter = everyone, 0, 0
    running: list[tuple[int, int, int, Op, OpType]] = []
    history: list[Op] = []
    while len(history) < limit:
        ctx = Context(time, free, everyone, processes, rng)
        step = generator.next(ctx)
        op = step[0] if step is not None else None
        if isinstance(op, Op) and (not running or op.time <= running[0][0]):
            assert step is not None
            assert op.time >= time
            time, generator = op.time, step[1]
            worker = ctx.worker_of(op.process)
            assert free >> worker & 1, "the generator used a busy worker"
            free &= ~(1 << worker)
            counter += 1
            took, end = (op.value, "info") if op.f == SLEEP else rule(op)
            heapq.heappush(running, (time + took, counter, worker, op, end))
            if op.f != SLEEP:
                history.append(op)
                generator = generator.update(Context(time, free, everyone, processes, rng), op)
            continue
        if step is not None and not isinstance(op, Op):
            generator = step[1]
        if not running:
            assert step is None, f"stuck: {generator}"
            return history
        time, _, worker, done, end = heapq.heappop(running)
        if done.f != SLEEP:
            completion = done.completed(end, time=time)
            history.append(completion)
            generator = generator.update(Context(time, free, everyone, processes, rng), completion)
            process = processes[worker]
            if end == "info" and isinstance(process, int):
                processes[worker] = process + workers
        free |= 1 << worker
    return history


def invocations(history: list[Op]) -> list[Op]:
    return [op for op in history if op.type == "invoke"]
