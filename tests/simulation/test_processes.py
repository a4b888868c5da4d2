"""Simulated processes: starts, ends, pauses, power, clocks, and the duration of commands."""

from __future__ import annotations

import asyncio
import gc

import pytest

from tests.simulation.worlds import Echo, Sink, connect, seconds, server, start, world


def process_with_cleanup(seen: list[str]):
    class Guard:
        async def __aenter__(self) -> None:
            return None

        async def __aexit__(self, *error: object) -> None:
            seen.append("__aexit__")

    async def numbers():
        try:
            while True:
                await asyncio.sleep(0.1)
                yield 1
        finally:
            seen.append("generator's finally")

    async def main(host) -> None:
        try:
            async with Guard():
                async for _ in numbers():
                    pass
        except BaseException:
            seen.append("except")
            raise
        finally:
            seen.append("finally")

    return main


@pytest.mark.parametrize("death", ["kill", "power"])
def test_a_killed_process_runs_no_cleanup(death: str) -> None:
    w = world()
    seen: list[str] = []

    async def main() -> list[str]:
        process = start(w, "a", process_with_cleanup(seen))
        await asyncio.sleep(1.05)
        if death == "kill":
            w.kill(process)
        else:
            w.power_off(w.machines["a"])
        del process
        gc.collect()
        await asyncio.sleep(5)
        gc.collect()
        return list(seen)

    assert w.run(main()) == []


def test_a_restarted_process_has_the_same_disk_and_another_stream() -> None:
    w = world()
    starts: list[tuple[int, float]] = []

    async def process(host) -> None:
        host.disk.append("starts", b"x")
        starts.append((host.disk.size("starts"), host.rng.random()))
        await asyncio.sleep(1000)

    async def main() -> None:
        for _ in range(3):
            started = start(w, "a", process)
            await asyncio.sleep(0.1)
            w.kill(started)

    w.run(main())
    assert [size for size, _ in starts] == [1, 2, 3]
    assert len({drawn for _, drawn in starts}) == 3


@pytest.mark.parametrize(
    ("how", "code"), [("return", 0), ("raise", 1), ("exit", 3), ("callback", 4)]
)
def test_a_process_that_ends_by_itself_is_reported_with_its_exit_code(how: str, code: int) -> None:
    w = world()
    exits: list[tuple[str, int, bool]] = []
    logs: list[str] = []
    w.on_exit = lambda process, code, expected: exits.append((process.name, code, expected))
    w.on_log = lambda process, text: logs.append(text)

    def leave() -> None:
        raise SystemExit(4)

    async def process(host) -> None:
        await host.serve(Echo)
        await asyncio.sleep(1)
        if how == "raise":
            raise ValueError("broken")
        if how == "exit":
            raise SystemExit(3)
        if how == "callback":
            asyncio.get_running_loop().call_soon(leave)
            await asyncio.sleep(100)

    async def main() -> None:
        started = start(w, "a", process)
        await asyncio.sleep(0.5)
        client = await connect(w)
        await asyncio.sleep(1)
        assert started.state == "dead"
        assert isinstance(client.lost[0], ConnectionResetError)

    w.run(main())
    assert exits == [("a", code, False)]
    assert any("ValueError: broken" in line for line in logs) == (how == "raise")


def test_a_paused_process_does_nothing_until_it_is_resumed() -> None:
    w = world()
    made: list[Echo] = []
    ticks: list[float] = []

    async def process(host) -> None:
        await server(Echo, made)(host)

    async def ticking(host) -> None:
        while True:
            await asyncio.sleep(0.25)
            ticks.append(seconds(w))

    async def main() -> None:
        a, b = start(w, "a", process), start(w, "b", ticking)
        await asyncio.sleep(0.1)
        client = await connect(w)
        w.pause(a)
        w.pause(b)
        client.transport.write(b"hello")
        late = asyncio.create_task(connect(w))
        await asyncio.sleep(2)
        assert made[0].data == b"", "not a byte is read"
        assert ticks == []
        assert late.done(), "the kernel accepts connections for a stopped process"
        assert len(made) == 1
        w.resume(a)
        w.resume(b)
        await asyncio.sleep(0.3)
        assert client.data == b"hello"
        assert len(made) == 2
        assert ticks[0] == pytest.approx(2.1, abs=0.01)

    w.run(main())


def test_killing_a_paused_process_runs_none_of_its_code() -> None:
    w = world()
    made: list[Echo] = []

    async def main() -> None:
        a = start(w, "a", server(Sink, made))
        await asyncio.sleep(0.1)
        client = await connect(w)
        w.pause(a)
        client.transport.write(b"hello")
        await asyncio.sleep(1)
        w.kill(a)
        w.resume(a)
        await asyncio.sleep(1)
        assert made[0].data == b""
        assert isinstance(client.lost[0], ConnectionResetError)

    w.run(main())


def test_commands_take_time_so_that_queues_form() -> None:
    w = world(service_ns=10_000_000)
    answered: list[float] = []
    executed: list[float] = []

    class Command(asyncio.Protocol):
        def connection_made(self, transport) -> None:
            self.transport = transport

        def data_received(self, data: bytes) -> None:
            executed.append(seconds(w))
            self.host.charge(len(data))
            self.transport.write(b"x" * len(data))

    async def process(host) -> None:
        Command.host = host
        await (await host.serve(Command)).serve_forever()

    class Client(Sink):
        def data_received(self, data: bytes) -> None:
            answered.append(seconds(w))

    async def main() -> None:
        start(w, "a", process)
        await asyncio.sleep(0.1)
        clients = [await connect(w, Client) for _ in range(5)]
        sent = seconds(w)
        for client in clients:
            client.transport.write(b"1")
        await asyncio.sleep(1)
        times = [round(t - sent, 3) for t in answered]
        assert times == [0.012, 0.022, 0.032, 0.042, 0.052]
        begun = [round(t - sent, 3) for t in executed]
        assert begun == [0.001, 0.011, 0.021, 0.031, 0.041], "one after the other"
        answered.clear()
        sent = seconds(w)
        clients[0].transport.write(b"12345")
        await asyncio.sleep(1)
        assert round(answered[0] - sent, 3) == 0.052, "a pipeline takes as long as single commands"

    w.run(main())


def test_a_fast_clock_ends_timers_early_and_a_change_moves_running_timers() -> None:
    w = world()
    ended: dict[str, float] = {}

    def sleeper(name: str, secs: float):
        async def main(host) -> None:
            await asyncio.sleep(secs)
            ended[name] = seconds(w)

        return main

    async def main() -> None:
        w.drift(w.machines["a"], 250_000)
        start(w, "a", sleeper("fast", 10))
        start(w, "b", sleeper("changed", 10))
        await asyncio.sleep(5)
        w.drift(w.machines["b"], -500_000)
        await asyncio.sleep(20)

    w.run(main())
    assert ended["fast"] == pytest.approx(8)
    assert ended["changed"] == pytest.approx(15)


def test_a_jump_moves_the_wall_clock_only() -> None:
    w = world()
    seen: list[tuple[int, int]] = []

    async def process(host) -> None:
        for _ in range(2):
            seen.append((host.wall_ns(), host.lease_ns()))
            await asyncio.sleep(1)

    async def main() -> None:
        start(w, "a", process)
        await asyncio.sleep(0.5)
        w.jump(w.machines["a"], -3600 * 10**9)
        await asyncio.sleep(1)

    w.run(main())
    assert seen[1][1] - seen[0][1] == 10**9
    assert seen[1][0] - seen[0][0] == 10**9 - 3600 * 10**9


def test_an_error_in_a_callback_goes_to_the_log_of_its_process() -> None:
    w = world()
    logs: list[str] = []
    w.on_log = lambda process, text: logs.append(f"{process!r} {text}")

    class Breaks(Echo):
        def data_received(self, data: bytes) -> None:
            raise ValueError("broken")

    async def main() -> None:
        start(w, "a", server(Breaks, []))
        await asyncio.sleep(0.1)
        client = await connect(w)
        client.transport.write(b"x")
        await asyncio.sleep(1)
        assert isinstance(client.lost[0], ConnectionResetError), "asyncio ends such a connection"

    w.run(main())
    assert logs[0].startswith("a#1 ")
    assert "ValueError: broken" in logs[0]


def test_a_power_cut_kills_paused_processes_too() -> None:
    w = world()
    made: list[Echo] = []

    async def main() -> None:
        a = start(w, "a", server(Echo, made))
        await asyncio.sleep(0.1)
        client = await connect(w)
        w.pause(a)
        w.power_off(w.machines["a"])
        w.resume(a)
        client.transport.write(b"x")
        await asyncio.sleep(5)
        assert a.state == "dead"
        assert client.data == b""

    w.run(main())


def test_the_garbage_collector_runs_at_fixed_times_only() -> None:
    w = world()
    seen: list[float] = []

    class Noisy:
        def __init__(self) -> None:
            self.me = self

        def __del__(self) -> None:
            seen.append(seconds(w))

    async def main() -> None:
        for _ in range(200):
            Noisy()
            for _ in range(50):
                [[] for _ in range(100)]
            await asyncio.sleep(0.01)

    w.run(main())
    during = sorted(set(seen))
    assert 2 <= len([t for t in during if t < 2]) <= 5, "one collection every half second"


def test_events_are_traced(tmp_path) -> None:
    from harness.simulation.trace import Trace

    w = world(trace=Trace(tmp_path / "trace"))
    w.trace.open()

    async def main() -> None:
        a, b = start(w, "a", server(Echo, [])), start(w, "b", server(Echo, []))
        await asyncio.sleep(0.5)
        client = await connect(w)
        client.transport.write(b"hello")
        w.drift(w.machines["a"], 5)
        w.jump(w.machines["a"], 7)
        w.pause(a)
        w.resume(a)
        w.kill(a)
        w.power_off(w.machines["b"])
        del b
        await asyncio.sleep(1)

    w.run(main())
    lines = (tmp_path / "trace").read_text().splitlines()
    times, events = zip(*(line.split(" ", 1) for line in lines), strict=True)
    assert list(map(float, times)) == sorted(map(float, times))
    for event in ("start a#1", "listen a 6379", "connect c1>a:6379 #1", "established c1>a:6379 #1",
                  "clock a drifts 5 ppm", "clock a jumps 7 ns", "pause a#1", "resume a#1",
                  "kill a#1", "power off b", "disk b lost nothing"):  # fmt: skip
        assert event in events, event
    assert any(e.startswith("c1>a #1 data 5 ") for e in events)


def test_the_digest_of_the_trace_includes_the_time() -> None:
    def digest(delay: float) -> str:
        w = world()

        async def idle(host) -> None:
            await asyncio.sleep(1000)

        async def main() -> None:
            await asyncio.sleep(delay)
            start(w, "a", idle)

        w.run(main())
        return w.trace.digest()

    assert digest(0.1) == digest(0.1) != digest(0.2)
