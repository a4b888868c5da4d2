"""The fault proxy, byte by byte, against an echo server on real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from harness.environments.local import LOOPBACK, ProxyControl
from harness.environments.proxy import EOF, Flow, Pipe
from harness.errors import EnvironmentFailed

pytestmark = pytest.mark.real

BOTH = {"s": frozenset({"c"}), "c": frozenset({"s"})}


class Echo:
    """A server that echoes what it reads, and keeps a copy."""

    def __init__(self) -> None:
        self.seen = bytearray()
        self.ended = asyncio.Event()
        self.writers: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                self.seen += data
                writer.write(data)
                await writer.drain()
        self.ended.set()
        writer.close()


Test = Callable[[ProxyControl, int, Echo], Awaitable[None]]


def with_proxy(tmp_path: Path, test: Test) -> None:
    async def main() -> None:
        echo, proxy = Echo(), ProxyControl(tmp_path / "proxy.log", 0)
        server = await asyncio.start_server(echo.serve, LOOPBACK, 0)
        await proxy.open()
        try:
            port = await proxy.ask("link", source="c", sink="s", host=LOOPBACK,
                                   port=server.sockets[0].getsockname()[1])  # fmt: skip
            async with asyncio.timeout(20):
                await test(proxy, port, echo)
        finally:
            await proxy.close()
            server.close()
            for writer in echo.writers:
                writer.close()
        assert (tmp_path / "proxy.log").read_text() == ""

    asyncio.run(main())


async def silent(reader: asyncio.StreamReader, seconds: float = 0.15) -> bool:
    """Return whether nothing arrives, and the connection stays open, for `seconds`."""
    try:
        async with asyncio.timeout(seconds):
            await reader.read(1)
    except TimeoutError:
        return True
    return False


async def exchange(reader, writer, data: bytes) -> bytes:
    writer.write(data)
    return await reader.readexactly(len(data))


def test_bytes_pass_both_ways_and_are_counted(tmp_path: Path) -> None:
    async def test(proxy, port, echo) -> None:
        reader, writer = await asyncio.open_connection(LOOPBACK, port)
        big = os.urandom(3_000_000)
        assert await exchange(reader, writer, big) == big
        stats = await proxy.stats()
        assert stats["c", "s"]["passed"] == stats["s", "c"]["passed"] == len(big)
        writer.close()

    with_proxy(tmp_path, test)


def test_a_cut_holds_the_bytes_and_healing_delivers_them_in_order(tmp_path: Path) -> None:
    async def test(proxy, port, echo) -> None:
        reader, writer = await asyncio.open_connection(LOOPBACK, port)
        await exchange(reader, writer, b"before")
        await proxy.apply(BOTH)
        writer.write(b"one")
        await asyncio.sleep(0.02)
        writer.write(b"two")
        assert await silent(reader)
        assert bytes(echo.seen) == b"before"
        assert (await proxy.stats())["c", "s"]["held_now"] == 6
        await proxy.heal()
        assert await reader.readexactly(6) == b"onetwo"
        stats = (await proxy.stats())["c", "s"]
        assert (stats["held_now"], stats["held_total"]) == (0, 6)
        writer.close()

    with_proxy(tmp_path, test)


def test_one_direction_can_be_cut_alone(tmp_path: Path) -> None:
    async def test(proxy, port, echo) -> None:
        reader, writer = await asyncio.open_connection(LOOPBACK, port)
        await exchange(reader, writer, b"x")
        await proxy.apply({"c": frozenset({"s"})})
        writer.write(b"arrives")
        assert await silent(reader)
        assert bytes(echo.seen) == b"xarrives"
        await proxy.heal()
        assert await reader.readexactly(7) == b"arrives"
        writer.close()

    with_proxy(tmp_path, test)


def test_bytes_that_a_client_sent_before_it_closed_arrive_after_healing(tmp_path: Path) -> None:
    async def test(proxy, port, echo) -> None:
        reader, writer = await asyncio.open_connection(LOOPBACK, port)
        await exchange(reader, writer, b"x")
        await proxy.apply(BOTH)
        writer.write(b"last words")
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.close()
        await asyncio.sleep(0.1)
        assert bytes(echo.seen) == b"x"
        assert not echo.ended.is_set()
        await proxy.heal()
        await echo.ended.wait()
        assert bytes(echo.seen) == b"xlast words"

    with_proxy(tmp_path, test)


def test_a_connection_begun_during_a_cut_waits_and_is_dropped_if_closed(
    tmp_path: Path,
) -> None:
    async def test(proxy, port, echo) -> None:
        await proxy.apply(BOTH)
        _gone_reader, gone = await asyncio.open_connection(LOOPBACK, port)
        gone.write(b"gave up")
        reader, writer = await asyncio.open_connection(LOOPBACK, port)
        writer.write(b"waits")
        assert await silent(reader)
        assert not echo.writers, "nothing reached the server"
        gone.close()
        await asyncio.sleep(0.05)
        await proxy.heal()
        assert await reader.readexactly(5) == b"waits"
        assert bytes(echo.seen) == b"waits"
        writer.close()

    with_proxy(tmp_path, test)


def test_half_close_and_close_pass_through(tmp_path: Path) -> None:
    async def test(proxy, port, echo) -> None:
        reader, writer = await asyncio.open_connection(LOOPBACK, port)
        writer.write(b"all")
        writer.write_eof()
        assert await reader.read() == b"all"
        await echo.ended.wait()
        writer.close()

    with_proxy(tmp_path, test)


def test_a_reset_reaches_the_client_as_a_reset(tmp_path: Path) -> None:
    async def test(proxy, port, echo) -> None:
        reader, writer = await asyncio.open_connection(LOOPBACK, port)
        await exchange(reader, writer, b"x")
        assert await proxy.reset("c", "s") >= 1
        with pytest.raises(ConnectionResetError):
            await reader.read(1)
        writer.close()

    with_proxy(tmp_path, test)


def test_connections_are_refused_by_the_system_and_then_accepted_again(tmp_path: Path) -> None:
    async def test(proxy, port, echo) -> None:
        await proxy.ask("refuse", sink="s", refuse=True)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(LOOPBACK, port)
        await proxy.ask("refuse", sink="s", refuse=False)
        reader, writer = await asyncio.open_connection(LOOPBACK, port)
        assert await exchange(reader, writer, b"again") == b"again"
        writer.close()

    with_proxy(tmp_path, test)


def test_delay_and_jitter_slow_down_but_keep_order(tmp_path: Path) -> None:
    async def test(proxy, port, echo) -> None:
        reader, writer = await asyncio.open_connection(LOOPBACK, port)
        await exchange(reader, writer, b"x")
        await proxy.shape("c", "s", delay_s=0.1, jitter_s=0.1)
        loop = asyncio.get_running_loop()
        start = loop.time()
        sent = b"".join(f"{i:04}".encode() for i in range(50))
        for i in range(50):
            writer.write(sent[i * 4 : i * 4 + 4])
            await asyncio.sleep(0.002)
        assert await reader.readexactly(200) == sent
        assert loop.time() - start >= 0.15
        await proxy.heal()
        start = loop.time()
        await exchange(reader, writer, b"y")
        assert loop.time() - start < 0.09
        writer.close()

    with_proxy(tmp_path, test)


def test_throttling_paces_bytes(tmp_path: Path) -> None:
    async def test(proxy, port, echo) -> None:
        reader, writer = await asyncio.open_connection(LOOPBACK, port)
        await exchange(reader, writer, b"x")
        await proxy.shape("c", "s", bytes_per_s=1_000_000)
        loop = asyncio.get_running_loop()
        start = loop.time()
        await exchange(reader, writer, bytes(400_000))
        assert 0.3 < loop.time() - start < 3
        writer.close()

    with_proxy(tmp_path, test)


def test_held_bytes_of_a_killed_process_are_dropped_when_asked(tmp_path: Path) -> None:
    async def test(proxy, port, echo) -> None:
        reader, writer = await asyncio.open_connection(LOOPBACK, port)
        await exchange(reader, writer, b"x")
        await proxy.apply(BOTH)
        writer.write(b"lost")
        await asyncio.sleep(0.05)
        await proxy.ask("drop", source="c")
        await proxy.heal()
        assert await silent(reader)
        assert bytes(echo.seen) == b"x"
        assert (await proxy.stats())["c", "s"]["dropped"] == 4
        writer.close()

    with_proxy(tmp_path, test)


def test_a_cut_link_stops_reading_when_it_holds_too_much(tmp_path: Path) -> None:
    async def test(proxy, port, echo) -> None:
        reader, writer = await asyncio.open_connection(LOOPBACK, port)
        await exchange(reader, writer, b"x")
        await proxy.apply(BOTH)
        writer.write(bytes(64 << 20))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.5):
                await writer.drain()
        assert (await proxy.stats())["c", "s"]["held_now"] < 20 << 20
        await proxy.heal()
        received = 0
        while received < 64 << 20:
            received += len(await reader.read(1 << 20))
        writer.close()

    with_proxy(tmp_path, test)


def test_a_connection_to_a_dead_server_is_reset(tmp_path: Path) -> None:
    async def test(proxy, port, echo) -> None:
        dead = await proxy.ask("link", source="c", sink="dead", host=LOOPBACK, port=1)
        with contextlib.suppress(ConnectionResetError):  # the reset may precede the connection
            reader, writer = await asyncio.open_connection(LOOPBACK, dead)
            with contextlib.closing(writer):
                assert await reader.read(1) == b""

    with_proxy(tmp_path, test)


def test_a_wrong_command_is_an_error_and_the_proxy_goes_on(tmp_path: Path) -> None:
    async def test(proxy, port, echo) -> None:
        with pytest.raises(EnvironmentFailed, match="AttributeError"):
            await proxy.ask("nonsense")
        assert ("c", "s") in await proxy.stats()

    with_proxy(tmp_path, test)


def test_it_ends_with_its_parent_and_kills_the_processes_it_guards(tmp_path: Path) -> None:
    sleeper = subprocess.Popen(["sleep", "600"], start_new_session=True)
    proxy = subprocess.Popen(
        [sys.executable, "-m", "harness.environments.proxy", "0"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert proxy.stdin is not None
    assert proxy.stdout is not None
    request = {"id": 1, "do": "guard", "args": {"pid": sleeper.pid, "guard": True}}
    proxy.stdin.write(json.dumps(request) + "\n")
    proxy.stdin.flush()
    assert "ok" in proxy.stdout.readline()
    proxy.stdin.close()
    assert proxy.wait(10) == 0
    assert sleeper.wait(10) == -signal.SIGKILL
    proxy.stdout.close()


def test_closed_connections_leave_nothing_behind_in_the_proxy(tmp_path: Path) -> None:
    async def test(proxy, port, echo) -> None:
        assert proxy._process is not None
        descriptors = Path(f"/proc/{proxy._process.pid}/fd")
        before = len(list(descriptors.iterdir()))
        for _ in range(50):
            reader, writer = await asyncio.open_connection(LOOPBACK, port)
            await exchange(reader, writer, b"x")
            writer.close()
            await writer.wait_closed()
        await asyncio.sleep(0.2)
        assert len(list(descriptors.iterdir())) <= before + 2

    with_proxy(tmp_path, test)


def test_held_bytes_are_bounded_after_healing_if_the_sink_does_not_read(tmp_path: Path) -> None:
    async def main() -> None:
        stuck = asyncio.Event()

        async def never_reads(reader, writer) -> None:
            await stuck.wait()
            writer.close()

        proxy = ProxyControl(tmp_path / "proxy.log", 0)
        server = await asyncio.start_server(never_reads, LOOPBACK, 0, limit=1024)
        await proxy.open()
        try:
            port = await proxy.ask("link", source="c", sink="s", host=LOOPBACK,
                                   port=server.sockets[0].getsockname()[1])  # fmt: skip
            _, writer = await asyncio.open_connection(LOOPBACK, port)
            await asyncio.sleep(0.1)
            await proxy.apply(BOTH)
            writer.write(bytes(200 << 20))
            await asyncio.sleep(0.5)
            await proxy.heal()
            await asyncio.sleep(1.0)
            stats = (await proxy.stats())["c", "s"]
            assert stats["passed"] + stats["held_now"] < 40 << 20
            writer.transport.abort()
        finally:
            stuck.set()
            await proxy.close()
            server.close()

    asyncio.run(main())


def test_a_socket_that_was_just_reset_does_not_stop_the_healing() -> None:
    """Found in CI: shutting down a socket whose peer has reset it raises ENOTCONN."""

    class Gone:
        closed = False

        def is_closing(self) -> bool:
            return False

        def write_eof(self) -> None:
            raise OSError(errno.ENOTCONN, "Transport endpoint is not connected")

        def close(self) -> None:
            self.closed = True

    async def main() -> None:
        there, back = Flow(random.Random(1)), Flow(random.Random(1))
        there.cut = back.cut = True
        loop = asyncio.get_running_loop()
        one, other = Pipe(there, loop), Pipe(back, loop)
        one.other, other.other = other, one
        one.sink, other.sink = Gone(), Gone()  # type: ignore[assignment]
        one.source, other.source = other.sink, one.sink
        one.end(EOF)
        other.end(EOF)
        there.cut = back.cut = False
        one.pump()
        other.pump()
        assert one.closed
        assert other.closed
        assert one.sink.closed, "both directions have ended"  # type: ignore[union-attr]

    asyncio.run(main())
