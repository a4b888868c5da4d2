"""Clocks, entropy and system calls, used by code that is unaware of the simulation."""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import socket
import subprocess
import threading
import time
import uuid
from pathlib import Path

import pytest

from harness.simulation.loop import SimulationEscape
from tests.simulation.worlds import start, world


def draws(seed: int) -> list:
    """Return what a process and the harness get from every source of randomness and time."""
    w = world(seed=seed)
    drawn: list = []

    def draw() -> list:
        return [uuid.uuid4(), uuid.uuid1(), secrets.token_hex(8), os.urandom(4), random.random(),
                random.SystemRandom().random(), time.time(), time.monotonic(),
                time.perf_counter_ns(), random.Random().random(), os.getrandom(4), os.getpid(),
                time.localtime(), time.strftime("%T"), time.clock_gettime(time.CLOCK_REALTIME),
                time.clock_gettime_ns(time.CLOCK_MONOTONIC), time.process_time()]  # fmt: skip

    async def process(host) -> None:
        await asyncio.sleep(0.5)
        random.seed()
        drawn.extend(draw())
        drawn.append(host.rng.random())

    async def main() -> None:
        start(w, "a", process)
        await asyncio.sleep(1)
        drawn.extend(draw())

    w.run(main())
    return drawn


def test_randomness_and_time_depend_on_the_seed() -> None:
    assert draws(1) == draws(1)
    one, other = draws(1), draws(2)
    assert one[0] != other[0]
    half = len(one) // 2
    assert one[half] != other[half], "the host's own stream"
    assert one[0] != one[half + 1], "the harness draws from another stream"


def test_a_process_reads_the_clock_of_its_machine() -> None:
    w = world()
    seen: list[float] = []

    async def process(host) -> None:
        seen.append(time.time())
        seen.append(time.monotonic())
        seen.append(host.wall_ns() / 1e9)

    async def main() -> None:
        w.jump(w.machines["a"], 3600 * 10**9)
        w.drift(w.machines["a"], 100_000)
        await asyncio.sleep(10)
        start(w, "a", process)
        await asyncio.sleep(1)
        seen.append(time.time())
        seen.append(time.monotonic())

    w.run(main())
    assert seen[0] == pytest.approx(seen[2])
    assert seen[0] - seen[3] == pytest.approx(3600, abs=1)
    assert seen[1] - seen[4] == pytest.approx(0, abs=0.2)
    assert seen[1] == pytest.approx(1011)


def test_pythons_global_random_depends_on_the_seed() -> None:
    def drawn(seed: int) -> float:
        async def main() -> float:
            return random.random()

        return world(seed=seed).run(main())

    assert drawn(1) == drawn(1) != drawn(2)


def test_patched_functions_are_restored_after_the_run() -> None:
    names = [(time, "time"), (time, "sleep"), (os, "urandom"), (threading.Thread, "start"),
             (random, "_urandom"), (random, "Random"), (time, "localtime")]  # fmt: skip
    before = [getattr(owner, name) for owner, name in names]
    state = random.getstate()

    async def main() -> None:
        random.random()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        world().run(main())
    assert [getattr(owner, name) for owner, name in names] == before
    assert random.getstate() == state


def start_thread() -> None:
    threading.Thread(target=print).start()


def sleep() -> None:
    time.sleep(0.1)


def make_socket() -> None:
    socket.socket()


def look_up() -> None:
    socket.gethostbyname("localhost")


def run_program() -> None:
    subprocess.run(["true"], check=True)


def wait_for_a_thread() -> None:
    threading.Event().wait(0.1)


def ask_for_the_name() -> None:
    socket.gethostname()


@pytest.mark.parametrize(
    "call",
    [start_thread, sleep, make_socket, look_up, run_program, wait_for_a_thread, ask_for_the_name],
)
def test_calls_to_the_outside_raise(call) -> None:
    async def main() -> None:
        call()

    with pytest.raises(SimulationEscape, match=r"hread|sleep|socket|Popen"):
        world().run(main())


def test_the_harness_may_open_files_and_processes_may_not(tmp_path: Path) -> None:
    w = world()
    logs: list[str] = []
    w.on_log = lambda process, text: logs.append(text)

    async def process(host) -> None:
        (tmp_path / "state").write_text("x")

    async def main() -> None:
        (tmp_path / "history").write_text("x")
        start(w, "a", process)
        await asyncio.sleep(1)

    w.run(main())
    assert (tmp_path / "history").exists()
    assert not (tmp_path / "state").exists()
    assert "SimulationEscape: open(" in logs[0]
    assert "use host.disk for files" in logs[0]


def test_a_process_may_import_modules() -> None:
    import sys

    w = world()
    logs: list[str] = []
    w.on_log = lambda process, text: logs.append(text)

    async def process(host) -> None:
        sys.modules.pop("this_is_not_loaded", None)
        sys.modules.pop("sndhdr", None)
        import colorsys

        assert colorsys.ONE_THIRD

    async def main() -> None:
        sys.modules.pop("colorsys", None)
        start(w, "a", process)
        await asyncio.sleep(1)

    w.run(main())
    assert logs == []
