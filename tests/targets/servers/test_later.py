"""Work with an engine that answers at once, or later: one thing at a time, in order."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from targets.engine.protocol import Outcome
from targets.servers.later import Lane, Steps


def test_with_an_engine_that_answers_at_once_the_lane_is_never_busy() -> None:
    done: list[object] = []

    def work() -> Steps:
        for reply in (1, 2):
            outcome = yield Outcome(reply)
            done.append(outcome.reply)

    lane = Lane(done.append)
    lane.do(work())
    assert done == [1, 2]
    assert not lane.busy
    lane.when_free(lambda: done.append("now"))
    assert done[-1] == "now"


def test_work_of_several_steps_is_isolated_from_what_comes_meanwhile() -> None:
    order: list[str] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        lane = Lane(order.append)

        def answer() -> Awaitable[Outcome]:
            future: asyncio.Future[Outcome] = loop.create_future()
            loop.call_later(0.001, future.set_result, Outcome())
            return future

        def work(name: str, steps: int) -> Steps:
            for step in range(steps):
                yield answer()
                order.append(f"{name}{step}")

        lane.do(work("a", 3))
        assert lane.busy
        for name in ("b", "c"):
            lane.when_free(lambda name=name: lane.do(work(name, 2)))  # type: ignore[misc]
        while lane.busy:
            await asyncio.sleep(0.001)

    asyncio.run(main())
    assert order == ["a0", "a1", "a2", "b0", "b1", "c0", "c1"]


def test_what_an_engine_raises_is_told() -> None:
    failed: list[BaseException] = []

    async def main() -> None:
        lane = Lane(failed.append)

        async def broken() -> Outcome:
            raise OSError("gone")

        def work() -> Steps:
            yield broken()

        lane.do(work())
        await asyncio.sleep(0.01)
        assert lane.busy, "nothing more is asked of it"

    asyncio.run(main())
    assert [str(e) for e in failed] == ["gone"]
