"""The interpreter: outcomes, retired processes, waiting, and errors."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

import pytest

from harness.generators import (
    PENDING,
    Context,
    Delay,
    Generator,
    Limit,
    Nothing,
    Once,
    Repeat,
    TimeLimit,
    rate,
    seconds,
)
from harness.history import NEMESIS, History, Op
from harness.interpreter import GeneratorStuck, Interpreter
from harness.streams import stream


class Scripted:
    """An invoker whose completions a function returns."""

    def __init__(self, act: Callable[[Op], Op], delay_s: float = 0.0) -> None:
        self.act, self.delay_s, self.closed = act, delay_s, False

    async def invoke(self, op: Op, /) -> Op:
        await asyncio.sleep(self.delay_s)
        return self.act(op)

    async def close(self) -> None:
        self.closed = True


def run(generator: Generator, clients: list[Scripted], **options) -> History:
    history = History()
    nemesis = Scripted(lambda op: op.completed("info"))

    async def main() -> None:
        loop = asyncio.get_running_loop()
        start = loop.time()
        await Interpreter(
            generator, len(clients), clients.__getitem__, nemesis, record=history.append,
            now=lambda: int((loop.time() - start) * 1e9), stream=partial(stream, 0), **options,
        ).run()  # fmt: skip

    asyncio.run(main())
    return history


def ok(op: Op) -> Op:
    return op.completed("ok")


def reads(n: int) -> Generator:
    return Limit(Repeat(lambda rng: ("read", None)), n)


def test_every_invocation_completes_in_order_of_time() -> None:
    history = run(reads(50), [Scripted(ok) for _ in range(3)])
    assert [op.index for op in history] == list(range(100))
    assert [op.time for op in history] == sorted(op.time for op in history)
    assert all(p.type == "ok" for p in history.pairs())


def test_an_unknown_outcome_retires_the_process() -> None:
    history = run(reads(4), [Scripted(lambda op: op.completed("info"))] * 2)
    processes = [op.process for op in history if op.type == "invoke"]
    assert len(set(processes)) == 4
    assert {p % 2 for p in processes} == {0, 1}


def test_workers_run_at_the_same_time() -> None:
    history = run(reads(6), [Scripted(ok, 0.05) for _ in range(3)])
    assert history[-1].time < 0.2e9
    assert [op.type for op in history[:3]] == ["invoke"] * 3


def test_the_nemesis_runs_concurrently_with_the_clients() -> None:
    history = run(reads(5), [Scripted(ok)], faults=Once("start-kill"))
    assert [p.type for p in history.nemesis_pairs()] == ["info"]
    assert len(history.pairs()) == 5


def test_no_operation_is_invoked_before_its_time() -> None:
    history = run(Delay(reads(2), seconds(0.1)), [Scripted(ok)])
    assert [op.f for op in history] == ["read"] * 4
    assert history[2].time - history[0].time >= 0.1e9


def test_a_rate_is_kept() -> None:
    generator = TimeLimit(rate(200, Repeat(lambda rng: ("read", None))), seconds(0.5))
    history = run(generator, [Scripted(ok) for _ in range(5)])
    assert 60 < len(history.pairs()) < 140


def test_an_error_of_the_recorder_ends_the_run() -> None:
    def full(op: Op) -> None:
        raise OSError("disk full")

    async def main() -> None:
        generator = reads(5)
        await Interpreter(
            generator, 1, lambda w: Scripted(ok), Scripted(ok), record=full, now=lambda: 0,
            stream=partial(stream, 0),
        ).run()  # fmt: skip

    with pytest.raises(OSError, match="disk full"):
        asyncio.run(main())


def crash(op: Op) -> Op:
    raise KeyError("odd")


def test_a_client_that_crashes_is_replaced_and_its_process_retired() -> None:
    made: list[Scripted] = []

    def new_client(worker: int) -> Scripted:
        made.append(Scripted(ok if made else crash))
        return made[-1]

    history = History()

    async def main() -> None:
        await Interpreter(
            reads(3), 1, new_client, Scripted(ok), record=history.append,
            now=lambda: 0, stream=partial(stream, 0),
        ).run()  # fmt: skip

    asyncio.run(main())
    assert [(op.process, op.type) for op in history if op.type != "invoke"] == [
        (0, "info"), (1, "ok"), (1, "ok")]  # fmt: skip
    assert str(history[1].error).startswith("unclassified: the client crashed: KeyError")
    assert [client.closed for client in made] == [True, True]


def test_a_bug_in_the_nemesis_ends_the_run() -> None:
    async def main() -> None:
        await Interpreter(Nothing(), 1, lambda w: Scripted(ok), Scripted(crash),
                          faults=Once("start-kill"), record=lambda op: None, now=lambda: 0,
                          stream=partial(stream, 0)).run()  # fmt: skip

    with pytest.raises(KeyError):
        asyncio.run(main())


def test_a_generator_that_waits_for_nothing_is_an_error() -> None:
    class Waits:
        def next(self, ctx: Context, /):
            return PENDING, self

        def update(self, ctx: Context, op: Op, /):
            return self

    with pytest.raises(GeneratorStuck):
        run(Waits(), [Scripted(ok)])


def test_a_second_interpreter_continues_with_fresh_processes() -> None:
    history = run(reads(3), [Scripted(ok)] * 2, first_index=10, first_process=4)
    assert history[0].index == 10
    assert {op.process for op in history} <= {4, 5}
    assert NEMESIS not in {op.process for op in history}
