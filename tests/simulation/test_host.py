"""The contract of `Host`, tested on its simulated and its real implementation.

Each test is the main function of a server, run as a simulated process and on this machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from harness.environments.ports import Ports
from harness.host import Host, RealDisk, RealHost, run_real
from tests.simulation.worlds import world

Main = Callable[[Host], Coroutine[Any, Any, None]]
Run = Callable[[Main], None]


def simulated(main: Main) -> None:
    w = world("self", "other")
    errors: list[BaseException] = []

    async def process(host: Host) -> None:
        try:
            await main(host)
        except BaseException as e:
            errors.append(e)
            raise

    async def other(host: Host) -> None:
        await asyncio.sleep(1000)

    async def harness() -> None:
        w.start("other", w.machines["other"], other)
        done = w.start("self", w.machines["self"], process)
        while done.state != "dead":
            await asyncio.sleep(0.01)

    w.run(harness())
    if errors:
        raise errors[0]


def real(folder: Path, main: Main) -> None:
    port = Ports().take()
    peers = {"self": ("127.0.0.1", port), "other": ("127.0.0.1", 1)}
    host = RealHost("self", peers["self"], peers, folder)
    try:
        run_real(main(host))
    finally:
        host.disk.close()


@pytest.fixture(params=["simulated", "real on uvloop", "real on asyncio"])
def run(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    if request.param == "simulated":
        return simulated
    if request.param == "real on asyncio":
        monkeypatch.setitem(sys.modules, "uvloop", None)
    else:
        pytest.importorskip("uvloop")
    return lambda main: real(tmp_path, main)


def test_a_host_has_a_name_and_the_addresses_of_the_others(run: Run) -> None:
    async def main(host: Host) -> None:
        assert host.name == "self"
        assert isinstance(host.address("other")[1], int)
        with pytest.raises(KeyError):
            host.address("nobody")
        host.charge(3)
        host.log("one line")

    run(main)


def test_clocks_count_nanoseconds_and_advance_during_sleep(run: Run) -> None:
    async def main(host: Host) -> None:
        wall, lease = host.wall_ns(), host.lease_ns()
        await asyncio.sleep(0.05)
        assert 45_000_000 < host.wall_ns() - wall < 10**9
        assert 45_000_000 < host.lease_ns() - lease < 10**9
        assert wall > 1_700_000_000 * 10**9, "since 1970"

    run(main)


def test_randomness_is_drawn_from_the_host(run: Run) -> None:
    async def main(host: Host) -> None:
        drawn = [host.rng.getrandbits(64) for _ in range(10)]
        assert len(set(drawn)) == 10
        assert host.rng.choice([1, 2, 3]) in (1, 2, 3)

    run(main)


def test_plain_asyncio_clients_connect_to_a_server(run: Run) -> None:
    class Shout(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport

        def data_received(self, data: bytes) -> None:
            self.transport.write(data.upper())

        def eof_received(self) -> bool:
            self.transport.write(b"bye")
            return False

    async def main(host: Host) -> None:
        server = await host.serve(Shout)
        assert server.is_serving()
        port = server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
        assert port == host.address("self")[1]
        with pytest.raises(OSError, match="ddress already in use") as e:
            await host.serve(Shout)
        assert e.value.errno == errno.EADDRINUSE
        reader, writer = await asyncio.open_connection(*host.address("self"))
        assert writer.get_extra_info("peername")[1] == port
        writer.write(b"abc")
        assert await reader.readexactly(3) == b"ABC"
        writer.write(b"x" * 300_000)
        await writer.drain()
        assert await reader.readexactly(300_000) == b"X" * 300_000
        writer.write_eof()
        assert await reader.read() == b"bye"
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(*host.address("self"))

    run(main)


def test_an_aborted_connection_is_a_reset(run: Run) -> None:
    class Abort(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport

        def data_received(self, data: bytes) -> None:
            self.transport.abort()

    async def main(host: Host) -> None:
        server = await host.serve(Abort)
        reader, writer = await asyncio.open_connection(*host.address("self"))
        writer.write(b"x")
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b"", "a kernel may send FIN for a socket without data"
        writer.close()
        server.close()

    run(main)


def test_files_are_written_read_cut_and_renamed(run: Run) -> None:
    async def main(host: Host) -> None:
        disk = host.disk
        assert disk.names() == []
        disk.append("b", b"hello ")
        disk.append("a", b"")
        disk.append("b", b"world")
        assert disk.names() == ["a", "b"]
        assert (disk.size("a"), disk.size("b")) == (0, 11)
        assert disk.read("b") == b"hello world"
        assert disk.read("b", 6) == b"world"
        assert disk.read("b", 6, 3) == b"wor"
        assert disk.read("b", 6, 100) == b"world"
        assert disk.read("b", 100, 3) == b""
        disk.truncate("b", 5)
        disk.append("b", b"!")
        assert disk.read("b") == b"hello!"
        await disk.fsync("b")
        disk.rename("b", "a")
        assert disk.names() == ["a"]
        assert disk.read("a") == b"hello!"
        disk.append("a", b"?")
        disk.append("b", b"new")
        assert (disk.read("a"), disk.read("b")) == (b"hello!?", b"new")
        await disk.fsync("a")
        await disk.fsync_dir()
        disk.remove("a")
        assert disk.names() == ["b"]
        disk.append("a", b"again")
        assert disk.read("a") == b"again"
        disk.rename("a", "a")
        assert disk.read("a") == b"again"

    run(main)


def test_missing_files_and_invalid_arguments_are_errors(run: Run) -> None:
    async def main(host: Host) -> None:
        disk = host.disk
        for act in (
            lambda: disk.read("f"),
            lambda: disk.size("f"),
            lambda: disk.truncate("f", 0),
            lambda: disk.rename("f", "g"),
            lambda: disk.remove("f"),
        ):
            with pytest.raises(FileNotFoundError) as e:
                act()
            assert e.value.errno == errno.ENOENT
        with pytest.raises(FileNotFoundError):
            await disk.fsync("f")
        assert disk.names() == []
        disk.append("f", b"abc")
        with pytest.raises(OSError, match="beyond the end of the file") as longer:
            disk.truncate("f", 4)
        assert longer.value.errno == errno.EINVAL
        for nonsense in (
            lambda: disk.truncate("f", -1),
            lambda: disk.read("f", -1),
            lambda: disk.read("f", 0, -1),
        ):
            with pytest.raises(OSError, match="Invalid argument") as invalid:
                nonsense()
            assert invalid.value.errno == errno.EINVAL
        for name in ("", ".", "..", "a/b", "../f", "n" * 256):
            with pytest.raises(ValueError, match="flat"):
                disk.append(name, b"")

    run(main)


def test_files_may_change_while_they_are_synced(run: Run) -> None:
    async def main(host: Host) -> None:
        disk = host.disk
        disk.append("f", b"1")
        syncs = [asyncio.ensure_future(disk.fsync("f")) for _ in range(5)]
        await asyncio.sleep(0)
        disk.append("f", b"2")
        disk.rename("f", "g")
        syncs.append(asyncio.ensure_future(disk.fsync("g")))
        await asyncio.sleep(0)
        disk.remove("g")
        await asyncio.gather(*syncs)
        assert disk.names() == []

    run(main)


def test_an_fsync_can_be_cancelled(run: Run) -> None:
    async def main(host: Host) -> None:
        disk = host.disk
        disk.append("f", b"1" * 100_000)
        pending = asyncio.ensure_future(disk.fsync("f"))
        await asyncio.sleep(0)
        pending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await pending
        await disk.fsync("f")
        assert disk.size("f") == 100_000

    run(main)


def test_other_work_goes_on_during_an_fsync(run: Run) -> None:
    async def main(host: Host) -> None:
        disk = host.disk
        disk.append("f", b"1" * 1_000_000)
        pending = asyncio.ensure_future(disk.fsync("f"))
        steps = 0
        while not pending.done() and steps < 3:
            await asyncio.sleep(0)
            steps += 1
        await pending
        assert steps >= 1

    run(main)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts open files in /proc")
def test_a_real_disk_closes_what_it_replaces_and_removes(tmp_path: Path) -> None:
    disk = RealDisk(tmp_path)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(20):
        disk.append("a", b"1")
        disk.append("b", b"2")
        disk.rename("a", "b")
        disk.append("c", b"3")
        disk.remove("c")
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 1
    disk.close()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_real_fsync_that_fails_raises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fsync(file: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    disk = RealDisk(tmp_path)
    disk.append("a", b"1")
    monkeypatch.setattr(os, "fsync", fsync)
    for sync in (disk.fsync("a"), disk.fsync_dir()):
        with pytest.raises(OSError, match="Input/output error"):
            asyncio.run(asyncio.wait_for(sync, 5))
    disk.close()
