"""The append-only file: effects in the order of execution, synced according to `appendfsync`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Literal

from harness.host import Host
from targets.engine.resp import Command, RequestParser, pack

NAME = "appendonly.aof"
_REWRITTEN = "temp-rewrite.aof"
Policy = Literal["always", "everysec", "no"]


class TransactionGrouper:
    """Groups the commands of a stream into units: transactions and single commands."""

    def __init__(self) -> None:
        self._open: list[Command] | None = None

    def take(self, command: Command) -> list[Command] | None:
        """Return the unit that this command completes, or None."""
        name = command[0].upper()
        if name == b"MULTI":
            self._open = [command]
            return None
        if self._open is None:
            return [command]
        self._open.append(command)
        if name != b"EXEC":
            return None
        unit, self._open = self._open, None
        return unit


class AppendOnlyFile:
    """With `always`, replies and the replication stream wait for the fsync of all earlier effects:
    Redis, in one thread, blocks meanwhile, which looks the same to its clients. Data that can't be
    written are kept and retried; `error` is the reason. `appended`: bytes so far."""

    def __init__(self, host: Host, policy: Policy, synced: Callable[[int], None]) -> None:
        """`synced`: called, with `always`, with the number of bytes that are synced."""
        self.error: str | None = None
        self.appended = 0
        self._synced = synced
        self._host = host
        self._policy = policy
        self._unwritten = bytearray()
        self._dirty = False  # written, not synced
        self._safe = 0  # with `always`: bytes of `appended` that are synced
        self._syncing: asyncio.Task[None] | None = None
        self._rewriting: asyncio.Task[None] | None = None

    async def open(self) -> list[Command]:
        """Return the commands in the file, without an incomplete end, which is truncated. Create
        the file if there is none.

        Raises ValueError if the file is malformed elsewhere than at its end.
        """
        disk = self._host.disk
        if NAME not in disk.names():
            disk.append(NAME, b"")
            await disk.fsync(NAME)
            await disk.fsync_dir()
        data = disk.read(NAME)
        parser, units = RequestParser(), TransactionGrouper()
        commands: list[Command] = []
        whole = 0
        parsed = parser.feed(data)
        for unit in filter(None, map(units.take, parsed)):
            commands += unit
            whole += sum(len(pack(c)) for c in unit)
        if parser.error is not None and not data.endswith(b"\0"):
            raise ValueError(f"{NAME}: {parser.error} after {whole} bytes")
        if whole < len(data):
            self._host.log(f"{NAME}: {len(data) - whole} bytes of a torn end are cut off")
            disk.truncate(NAME, whole)
            await disk.fsync(NAME)
        return commands

    def rewrite(self, commands: bytes) -> None:
        """Start to replace the file by these commands; later appends go to the new file."""
        self._unwritten.clear()
        before = self._rewriting
        self._rewriting = asyncio.get_running_loop().create_task(self._rewrite(commands, before))

    async def _rewrite(self, commands: bytes, before: asyncio.Task[None] | None) -> None:
        disk = self._host.disk
        if before is not None:
            await before
        with self._handling_errors():
            if _REWRITTEN in disk.names():
                disk.remove(_REWRITTEN)
            disk.append(_REWRITTEN, commands)
            await disk.fsync(_REWRITTEN)
            disk.rename(_REWRITTEN, NAME)
            await disk.fsync_dir()
        if self._rewriting is asyncio.current_task():
            self._rewriting = None
            self._write()

    def append(self, data: bytes) -> None:
        """Append data. An error ends the process with `always`, as in Redis; else it sets `error`,
        because of which the node refuses writes."""
        self._unwritten += data
        self.appended += len(data)
        self._write()
        if self._policy == "always" and self._syncing is None and data:
            self._syncing = asyncio.get_running_loop().create_task(self._sync())

    def _write(self) -> None:
        if self._rewriting is not None or not self._unwritten:
            return
        disk = self._host.disk
        with self._handling_errors():
            size = disk.size(NAME)
            try:
                disk.append(NAME, bytes(self._unwritten))
            except OSError:
                disk.truncate(NAME, size)
                raise
            self._unwritten.clear()
            self._dirty = True

    async def _sync(self) -> None:
        """With `always`, sync until everything that was appended is safe."""
        while self._safe < self.appended:
            if self._rewriting is not None:
                await asyncio.wait([self._rewriting])
                continue
            written = self.appended - len(self._unwritten)
            await self._fsync()
            self._safe = written
            self._synced(written)
        self._syncing = None

    async def _fsync(self) -> None:
        if self._dirty:
            self._dirty = False
            with self._handling_errors():
                await self._host.disk.fsync(NAME)

    async def every_second(self) -> None:
        """Each second, sync the file (with `everysec`) and retry failed writes; never return."""
        while True:
            await asyncio.sleep(1.0)
            if self._policy == "always":
                continue
            failed, self.error = self.error, None
            self._write()
            if self._policy == "everysec":
                self._dirty = self._dirty or failed is not None
                await self._fsync()

    @contextlib.contextmanager
    def _handling_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as e:
            self._host.log(f"error writing to the append-only file: {e.strerror}")
            if self._policy == "always":
                raise SystemExit(1) from e
            self.error = e.strerror or str(e)
