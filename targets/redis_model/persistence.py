"""The append-only file: effects in the order of execution, synced as `appendfsync` says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Literal

from harness.host import Host
from targets.redis_model.resp import Command, Requests

NAME = "appendonly.aof"
_REWRITTEN = "temp-rewrite.aof"
Policy = Literal["always", "everysec", "no"]


class AppendOnlyFile:
    """With `always`, what is sent waits for the fsync of what was executed before it: a server of
    one thread would stand still meanwhile, which to its clients is the same."""

    def __init__(self, host: Host, policy: Policy) -> None:
        self._host = host
        self._policy = policy
        self._dirty = False
        self._waiting: list[Callable[[], None]] = []
        self._syncing: asyncio.Task[None] | None = None
        self.error: str | None = None

    async def open(self) -> list[Command]:
        """What the file says; a torn end is cut off. Creates the file where there is none."""
        disk = self._host.disk
        if NAME not in disk.names():
            disk.append(NAME, b"")
            await disk.fsync(NAME)
            await disk.fsync_dir()
        parser = Requests()
        commands = parser.feed(disk.read(NAME))
        if parser.left():
            self._host.log(f"appendonly.aof: {parser.left()} bytes of a torn end are cut off")
            disk.truncate(NAME, parser.taken)
            await disk.fsync(NAME)
        return commands

    async def rewrite(self, commands: bytes) -> None:
        """Replace the whole file, for good before this returns."""
        disk = self._host.disk
        if _REWRITTEN in disk.names():
            disk.remove(_REWRITTEN)
        disk.append(_REWRITTEN, commands)
        await disk.fsync(_REWRITTEN)
        disk.rename(_REWRITTEN, NAME)
        await disk.fsync_dir()

    def append(self, data: bytes) -> None:
        """With `always` an error ends the process, as Redis does; else writes are refused."""
        try:
            size = self._host.disk.size(NAME)
            self._host.disk.append(NAME, data)
        except OSError as e:
            self._fail(e)
            self._host.disk.truncate(NAME, size)
        self._dirty = True

    def hold(self, send: Callable[[], None]) -> None:
        """Send now, or when what was appended is safe; the order of calls is kept."""
        if self._policy != "always" or not (self._dirty or self._waiting or self._syncing):
            send()
            return
        self._waiting.append(send)
        if self._syncing is None:
            self._syncing = asyncio.get_running_loop().create_task(self._sync())

    async def _sync(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            if self._dirty:
                self._dirty = False
                try:
                    await self._host.disk.fsync(NAME)
                except OSError as e:
                    self._fail(e)
            for send in batch:
                send()
        self._syncing = None

    async def every_second(self) -> None:
        """The background work of `everysec`; for ever."""
        while True:
            await asyncio.sleep(1.0)
            if self._policy == "everysec" and self._dirty:
                self._dirty = False
                try:
                    await self._host.disk.fsync(NAME)
                    self.error = None
                except OSError as e:
                    self._fail(e)

    def _fail(self, error: OSError) -> None:
        self._host.log(f"error writing to the append-only file: {error.strerror}")
        if self._policy == "always":
            raise SystemExit(1)
        self.error = error.strerror or str(error)
