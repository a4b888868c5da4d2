"""The interface of a server to its machine: the same code runs as a real process and simulated.

Sleep, time-outs, tasks and client connections are plain asyncio on the running loop. Everything
else goes through `Host`: clocks, randomness, the disk, addresses, and the port to serve on.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import queue
import random
import threading
import time
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, Protocol

Address = tuple[str, int]
SYNC_THREADS = 2  # per disk
_Sync = tuple[int, asyncio.AbstractEventLoop, "asyncio.Future[None]"]  # descriptor, loop, awaited


class Disk(Protocol):
    """A folder of files with flat names. Failures raise OSError with an appropriate errno.

    Writes go to a cache that survives the process, not the machine: contents survive a power cut
    after `fsync`, names (of files created, renamed, removed) after `fsync_dir`. Before that a
    prefix of the changes survives; the last append may be torn, or end with zeros. After an fsync
    that failed, the changes that it covered must be considered lost.
    """

    def names(self) -> list[str]:
        """Return the names of the files, sorted."""
        ...

    def size(self, name: str) -> int: ...

    def read(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """Return `length` bytes from `offset` (None: all), fewer at the end of the file."""
        ...

    def append(self, name: str, data: bytes) -> None:
        """Append to a file, created if missing. After an error a prefix may have been written."""
        ...

    def truncate(self, name: str, size: int) -> None:
        """Shorten a file to `size` bytes; raises OSError (EINVAL) if that is beyond its end."""
        ...

    def rename(self, old: str, new: str) -> None:
        """Rename a file, replacing any file called `new`."""
        ...

    def remove(self, name: str) -> None: ...

    async def fsync(self, name: str) -> None:
        """Make the contents that were written before the call durable."""
        ...

    async def fsync_dir(self) -> None:
        """Make the names that were changed before the call durable."""
        ...


class Host(Protocol):
    """The machine, as one process sees it. `name`: the process' name; `rng`: its own stream."""

    @property
    def name(self) -> str: ...

    @property
    def rng(self) -> random.Random: ...

    @property
    def disk(self) -> Disk: ...

    def wall_ns(self) -> int:
        """Return the nanoseconds since 1970 on the machine's wall clock, which may jump."""
        ...

    def lease_ns(self) -> int:
        """Return the nanoseconds on a clock that never jumps, and runs while the machine is
        suspended."""
        ...

    def address(self, process: str) -> Address:
        """Return the address of another process; raises KeyError if the process is unknown."""
        ...

    async def serve(self, factory: Callable[[], asyncio.Protocol]) -> asyncio.AbstractServer:
        """Accept connections at the process' own address."""
        ...

    def charge(self, commands: int) -> None:
        """Account for the execution of `commands` commands: it takes time in a simulation."""
        ...

    def spent_ns(self) -> int:
        """Return a clock that runs while this process works, to measure short pieces of work. In a
        simulation it grows by what was charged."""
        ...

    def log(self, text: str) -> None:
        """Write a line to the log of the process."""
        ...


def flat(name: str) -> str:
    """Return the name if it is one of a file without a folder; raises ValueError otherwise."""
    if name in ("", ".", "..") or "/" in name or "\0" in name or len(name.encode()) > 255:
        raise ValueError(f"{name!r} is not a flat file name")
    return name


def check_range(name: str, start: int, length: int | None = None) -> None:
    """Raise OSError (EINVAL) for a negative position or length."""
    if start < 0 or (length is not None and length < 0):
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), name)


def _sync_all(todo: queue.SimpleQueue[_Sync | None]) -> None:
    """Execute the queued fsyncs, until None is queued."""
    while (one := todo.get()) is not None:
        file, loop, done = one
        failed = None
        try:
            os.fsync(file)
        except OSError as e:
            failed = e
        os.close(file)
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(_synced, done, failed)


def _synced(done: asyncio.Future[None], failed: OSError | None) -> None:
    if not done.done():
        if failed is None:
            done.set_result(None)
        else:
            done.set_exception(failed)


class RealDisk:
    """A folder of this machine; fsync runs in threads."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: dict[str, int] = {}
        self._syncs: queue.SimpleQueue[_Sync | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []

    def names(self) -> list[str]:
        return sorted(p.name for p in self._folder.iterdir() if p.is_file())

    def size(self, name: str) -> int:
        return os.fstat(self._file(name)).st_size

    def read(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        file = self._file(name)
        check_range(name, offset, length)
        end = self.size(name)
        if length is not None:
            end = min(end, offset + length)
        parts = []
        while offset < end:
            part = os.pread(file, end - offset, offset)
            if not part:
                break
            parts.append(part)
            offset += len(part)
        return b"".join(parts)

    def append(self, name: str, data: bytes) -> None:
        file = self._file(name, os.O_CREAT)
        left = memoryview(data)
        while left:
            left = left[os.write(file, left) :]

    def truncate(self, name: str, size: int) -> None:
        check_range(name, size)
        if size > self.size(name):
            raise OSError(errno.EINVAL, "can't truncate beyond the end of the file", name)
        os.ftruncate(self._file(name), size)

    def rename(self, old: str, new: str) -> None:
        file = self._file(old)
        if old == new:
            return
        (self._folder / old).replace(self._folder / flat(new))
        self._forget(new)
        self._open[new] = file
        del self._open[old]

    def remove(self, name: str) -> None:
        (self._folder / flat(name)).unlink()
        self._forget(name)

    async def fsync(self, name: str) -> None:
        # A descriptor of its own: the file may be renamed or removed meanwhile.
        await self._sync(os.dup(self._file(name)))

    async def fsync_dir(self) -> None:
        await self._sync(os.open(self._folder, os.O_RDONLY))

    def close(self) -> None:
        for _ in self._threads:
            self._syncs.put(None)
        for thread in self._threads:
            thread.join()
        self._threads.clear()
        for name in list(self._open):
            self._forget(name)

    async def _sync(self, file: int) -> None:
        """fsync a descriptor, then close it, in a thread. The threads are our own, as the futures
        of an executor take longer than a fast disk."""
        if not self._threads:
            for i in range(SYNC_THREADS):
                self._threads.append(
                    threading.Thread(
                        target=_sync_all, args=(self._syncs,), name=f"fsync-{i}", daemon=True
                    )
                )
                self._threads[-1].start()
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        self._syncs.put((file, loop, done))
        await done

    def _file(self, name: str, flags: int = 0) -> int:
        file = self._open.get(name)
        if file is None:
            path = self._folder / flat(name)
            file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | flags, 0o644)
            self._open[name] = file
        return file

    def _forget(self, name: str) -> None:
        file = self._open.pop(name, None)
        if file is not None:
            os.close(file)


class RealHost:
    """This machine, as one process sees it."""

    def __init__(
        self,
        name: str,
        listen: Address,
        peers: Mapping[str, Address],
        folder: Path,
        seed: str | None = None,
    ) -> None:
        """`listen`: the address to serve on. `peers`: the other processes' addresses. `folder`:
        the data directory. `seed`: of `rng`; None for the machine's own entropy."""
        self.name = name
        self.rng: random.Random = random.SystemRandom() if seed is None else random.Random(seed)
        self.disk = RealDisk(folder)
        self._listen = listen
        self._peers = dict(peers)

    def wall_ns(self) -> int:
        return time.time_ns()

    def lease_ns(self) -> int:
        return time.clock_gettime_ns(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))

    def address(self, process: str) -> Address:
        return self._peers[process]

    async def serve(self, factory: Callable[[], asyncio.Protocol]) -> asyncio.AbstractServer:
        host, port = self._listen
        return await asyncio.get_running_loop().create_server(factory, host, port)

    def charge(self, commands: int) -> None:
        return None

    def spent_ns(self) -> int:
        return time.perf_counter_ns()

    def log(self, text: str) -> None:
        print(f"{self.wall_ns() / 1e9:.6f} {self.name} {text}", flush=True)


def run_real(main: Coroutine[Any, Any, None]) -> None:
    """Run a server's main coroutine on this machine, with uvloop if it is installed."""
    try:
        import uvloop
    except ImportError:
        asyncio.run(main)
    else:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(main)
