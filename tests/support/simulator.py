"""Runs a generator without clock, network or asyncio; a rule gives durations and results."""

from __future__ import annotations

import heapq
from collections.abc import Callable

from harness.generators import Context, Generator, Later
from harness.history import NEMESIS, Op, OpType
from harness.streams import stream

# From an operation to its duration in nanoseconds and the type of its completion.
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
    nemesis: bool = False,
    may_draw: bool = False,
) -> list[Op]:
    """Return every invocation and completion; raise AssertionError if the generator gets stuck.
    `nemesis`: the generator is for the nemesis, which is its only worker. `may_draw`: a mix is
    hidden in it, which draws the part to wait for, once per operation."""
    count = 1 if nemesis else workers
    choice = stream(seed, "workers")
    streams = [stream(seed, f"client/{w}") for w in range(count)]
    processes: list[int | str] = [NEMESIS] if nemesis else [*range(workers)]
    everyone = (1 << count) - 1
    free, time, counter = everyone, 0, 0
    may_draw = may_draw or "Mix(" in repr(generator)
    running: list[tuple[int, int, int, Op, OpType]] = []
    history: list[Op] = []

    def context(worker: int) -> Context:
        return Context(time, worker, processes[worker], streams[worker], free, everyone, count)

    exhausted = False
    while len(history) < limit:
        order = [w for w in range(count) if free >> w & 1]
        choice.shuffle(order)
        waits: int | None = None
        invoked = False
        for worker in [] if exhausted else order:
            drawn = streams[worker].getstate()
            step = generator.next(context(worker))
            if step is None:
                exhausted = True
                break
            answer, generator = step
            if isinstance(answer, Op):
                assert (answer.time, answer.process) == (time, processes[worker])
                free &= ~(1 << worker)
                counter += 1
                took, end = rule(answer)
                heapq.heappush(running, (time + took, counter, worker, answer, end))
                history.append(answer)
                generator = generator.update(context(worker), answer)
                invoked = True
                break
            unchanged = streams[worker].getstate() == drawn
            assert unchanged or may_draw, "it drew from its stream without giving an operation"
            if isinstance(answer, Later):
                assert answer.time > time
                waits = answer.time if waits is None else min(waits, answer.time)
                if answer.everyone:
                    break
        if invoked:
            continue
        if waits is not None and (not running or waits <= running[0][0]):
            time = waits
            continue
        if not running:
            assert exhausted, f"stuck: {generator}"
            return history
        time, _, worker, done, end = heapq.heappop(running)
        completion = done.completed(end, time=time)
        history.append(completion)
        generator = generator.update(context(worker), completion)
        process = processes[worker]
        if end == "info" and isinstance(process, int):
            processes[worker] = process + workers
        free |= 1 << worker
    return history


def invocations(history: list[Op]) -> list[Op]:
    return [op for op in history if op.type == "invoke"]
