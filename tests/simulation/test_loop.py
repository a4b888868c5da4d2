"""Virtual time, order, deadlock and livelock."""

from __future__ import annotations

import asyncio
import contextlib
import random

import pytest

from harness.errors import EnvironmentFailed
from harness.simulation.loop import Deadlock, Livelock, SimulationEscape
from tests.simulation.worlds import seconds, start, world


def test_time_advances_only_when_no_task_is_ready() -> None:
    w = world()

    async def main() -> tuple[float, float]:
        before = seconds(w)
        for _ in range(1000):
            await asyncio.sleep(0)
        between = seconds(w)
        await asyncio.sleep(3600)
        return between - before, seconds(w) - between

    assert w.run(main()) == (0, 3600)


def test_timers_end_in_order_of_time_then_of_creation() -> None:
    w = world()
    seen: list[str] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        for name, delay in (("b", 0.2), ("a", 0.1), ("c", 0.2), ("d", 0.2)):
            loop.call_later(delay, seen.append, name)
        cancelled = loop.call_later(0.15, seen.append, "never")
        cancelled.cancel()
        await asyncio.sleep(0.3)

    w.run(main())
    assert seen == ["a", "b", "c", "d"]


def test_a_cancelled_timeout_and_wait_for_work() -> None:
    w = world()

    async def main() -> list[str]:
        seen = []
        try:
            async with asyncio.timeout(1.5):
                await asyncio.sleep(10)
        except TimeoutError:
            seen.append(f"timeout {seconds(w)}")
        try:
            await asyncio.wait_for(asyncio.sleep(10), 0.5)
        except TimeoutError:
            seen.append(f"wait_for {seconds(w)}")
        return seen

    assert w.run(main()) == ["timeout 1.5", "wait_for 2.0"]


def instant_order(seed: int) -> list[str]:
    """Return the order in which machines act whose timers end at the same instant."""
    names = [f"m{i}" for i in range(8)]
    w = world(*names, seed=seed)
    seen: list[str] = []

    def main_of(name: str):
        async def main(host) -> None:
            await asyncio.sleep(1)
            seen.append(name)

        return main

    async def main() -> None:
        for name in names:
            start(w, name, main_of(name))
        await asyncio.sleep(2)

    w.run(main())
    return seen


def test_the_order_within_an_instant_depends_on_the_seed() -> None:
    assert instant_order(1) == instant_order(1)
    assert len({tuple(instant_order(seed)) for seed in range(12)}) > 6


def test_a_world_without_further_events_is_a_deadlock_that_names_every_task() -> None:
    w = world()

    async def stuck(host) -> None:
        await asyncio.get_running_loop().create_future()

    async def main() -> None:
        start(w, "a", stuck)
        await asyncio.Event().wait()

    with pytest.raises(Deadlock) as e:
        w.run(main())
    assert "harness: harness at test_loop.py" in str(e.value)
    assert "a#1 (running): a/main at test_loop.py" in str(e.value)


def test_time_that_stands_still_is_a_livelock() -> None:
    w = world()

    async def spin(host) -> None:
        while True:
            await asyncio.sleep(0)

    async def main() -> None:
        start(w, "a", spin)
        await asyncio.sleep(1)

    with pytest.raises(Livelock, match=r"time stands still at 0\.000000000 s.*a/main at"):
        w.run(main())


def test_an_hour_without_input_to_the_harness_is_a_livelock() -> None:
    w = world()

    async def ping(host) -> None:
        while True:
            await asyncio.sleep(10)

    async def main() -> None:
        start(w, "a", ping)
        await asyncio.Event().wait()

    with pytest.raises(Livelock, match="nothing reached the harness"):
        w.run(main())


def test_task_groups_cancel_in_the_order_of_creation() -> None:
    """A TaskGroup keeps its tasks in a set, which the default hash would order by address."""
    seen: list[int] = []

    async def child(i: int) -> None:
        try:
            await asyncio.sleep(100)
        finally:
            seen.append(i)

    async def main() -> None:
        noise = [bytearray(random.Random(1).randrange(500)) for _ in range(300)]
        with contextlib.suppress(ExceptionGroup):
            async with asyncio.TaskGroup() as group:
                for i in range(200):
                    group.create_task(child(i))
                    noise.append(bytearray(i))
                await asyncio.sleep(1)
                raise ValueError

    world().run(main())
    first, seen[:] = list(seen), []
    world().run(main())
    assert first == seen
    assert sorted(first) == list(range(200))


async def to_thread() -> None:
    await asyncio.to_thread(print)


async def executor() -> None:
    await asyncio.get_running_loop().run_in_executor(None, print)


async def subprocess() -> None:
    await asyncio.create_subprocess_exec("true")


async def datagram() -> None:
    await asyncio.get_running_loop().create_datagram_endpoint(asyncio.DatagramProtocol)


async def tls() -> None:
    await asyncio.open_connection("a@c1", 1, ssl=True)


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (to_thread, "run_in_executor"),
        (executor, "run_in_executor"),
        (subprocess, "subprocess_exec"),
        (datagram, "create_datagram_endpoint"),
        (tls, "create_connection with ssl"),
    ],
)
def test_calls_that_would_reach_the_real_machine_raise_with_their_name(call, named: str) -> None:
    with pytest.raises(SimulationEscape, match=named):
        world().run(call())


def test_ctrl_c_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    import signal

    monkeypatch.setattr(signal, "getsignal", lambda number: signal.default_int_handler)
    cleaned = []

    async def main() -> None:
        try:
            signal.raise_signal(signal.SIGINT)
            await asyncio.sleep(1)
        finally:
            cleaned.append(True)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            world().run(main())
    finally:
        signal.signal(signal.SIGINT, before)
    assert cleaned


def test_no_timer_ends_early() -> None:
    w = world()
    rng = random.Random(1)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        for _ in range(2000):
            delay = rng.random() / 10
            end = loop.time() + delay
            await asyncio.sleep(delay)
            assert loop.time() >= end
        end = loop.time() + 0.1
        while (left := end - loop.time()) > 0:
            await asyncio.sleep(left / 3)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.sleep(float("inf")), 1)

    w.run(main())


def test_a_harness_that_sleeps_for_hours_is_not_a_livelock() -> None:
    w = world()

    async def ping(host) -> None:
        while True:
            await asyncio.sleep(10)

    async def main() -> None:
        start(w, "a", ping)
        await asyncio.sleep(5 * 3600)

    w.run(main())


def test_a_generator_of_a_dead_process_is_not_closed_during_the_run() -> None:
    w = world()
    seen: list[str] = []

    async def numbers(host):
        try:
            while True:
                yield 1
        finally:
            await asyncio.sleep(0)
            seen.append("closed")
            host.log("closed")

    async def process(host) -> None:
        await asyncio.sleep(0.55)
        generator = numbers(host)
        await anext(generator)
        generator = [generator]
        generator.append(generator)  # a cycle, which only the garbage collector frees
        del generator
        await asyncio.sleep(1000)

    async def main() -> list[str]:
        started = start(w, "a", process)
        await asyncio.sleep(0.6)
        w.kill(started)
        for _ in range(100):
            await asyncio.sleep(0.1)
        return list(seen)

    assert w.run(main()) == []


def test_cleanup_of_processes_after_the_run_has_no_effect(tmp_path) -> None:
    logs: list[str] = []

    def run(clean: bool) -> str:
        w = world()
        w.on_log = lambda process, text: logs.append(text)

        async def process(host) -> None:
            try:
                await asyncio.sleep(1000)
            finally:
                if clean:
                    host.log("bye")
                    host.disk.append("f", b"x")
                    (tmp_path / "f").write_text("x")

        async def main() -> None:
            start(w, "a", process)
            await asyncio.sleep(1)

        w.run(main())
        return w.trace.digest()

    assert run(True) == run(False)
    assert logs == []
    assert not (tmp_path / "f").exists()


def test_a_running_process_can_not_be_started() -> None:
    w = world()

    async def idle(host) -> None:
        await asyncio.sleep(1000)

    async def main() -> None:
        start(w, "a", idle)
        with pytest.raises(EnvironmentFailed, match="a is already running"):
            start(w, "a", idle)

    w.run(main())


def test_tasks_and_futures_hash_by_kind_and_time() -> None:
    """The hash must not depend on the address or on the version of Python."""

    async def child() -> None:
        await asyncio.sleep(1)

    async def main() -> list[int]:
        loop = asyncio.get_running_loop()
        now = [hash(loop.create_future()), hash(loop.create_future())]
        now += [hash(asyncio.ensure_future(child())) for _ in range(2)]
        await asyncio.sleep(1)
        return [*now, hash(loop.create_future())]

    drawn = world().run(main())
    assert drawn[0] == drawn[1] != drawn[4]
    assert drawn[2] == drawn[3] != drawn[0]
    assert drawn == world().run(main())
