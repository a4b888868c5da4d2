"""A disk with a page cache: what was written is read back, what was synced survives.

The model of a crash, on the side of caution:
  - contents: of what was appended to or truncated off a file since its last fsync, a prefix
    survives a power cut, in order; the append where it ends may be torn at any byte, and what is
    missing of it may read as zeros (the file grew, its data never came);
  - names: of what was created, renamed and removed since the last fsync of the folder, a prefix
    survives, in order. A file whose name does not survive is gone, its synced contents too;
  - an fsync covers what was written before it began, and may fail: then what it should have saved
    is still read back, and is never written by a later fsync (the "fsyncgate" of 2018): after a
    power cut there are zeros in its place. One of the folder may be tried again.
A killed process loses nothing: its writes are the kernel's.
"""

from __future__ import annotations

import asyncio
import errno
import os
import random
from asyncio import Handle
from collections.abc import Callable
from contextvars import copy_context

from harness.host import check_range, flat
from harness.simulation.loop import SimulatedLoop
from harness.simulation.process import PROCESS

Note = Callable[[str], None]
# An append of bytes, or a truncation to a length.
Change = bytes | int


class _File:
    """`durable`: what a power cut leaves at least; `cached`: what reads see; `pending`: the changes
    between them. `synced`: how many changes are durable. `failures`: of its fsyncs."""

    def __init__(self) -> None:
        self.durable = bytearray()
        self.cached = bytearray()
        self.pending: list[Change] = []
        self.synced = 0
        self.failures = 0


# A file that loses a name (None: it is created), gains one (None: it is removed), or both.
NameChange = tuple[str | None, str | None, _File]


def _apply(content: bytearray, change: Change) -> None:
    if isinstance(change, int):
        del content[change:]
    else:
        content += change


class SimulatedDisk:
    """One process' folder; see the module's text. Names are flat."""

    def __init__(self, loop: SimulatedLoop, name: str, rng: random.Random, note: Note) -> None:
        """`note` gets every operation, for the trace."""
        self._loop = loop
        self._lane = f"disk/{name}"
        self._rng = rng
        self._note = note
        self._files: dict[str, _File] = {}
        self._durable_names: dict[str, _File] = {}
        self._names_pending: list[NameChange] = []
        self._names_synced = 0
        self.fsync_ns = (100_000, 2_000_000)
        self.capacity: int | None = None
        self.failing_fsyncs = 0  # how many of the next ones fail

    # --- what a process does

    def names(self) -> list[str]:
        return sorted(self._files)

    def size(self, name: str) -> int:
        return len(self._file(name).cached)

    def read(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        content = self._file(name).cached
        check_range(name, offset, length)
        end = len(content) if length is None else offset + length
        return bytes(content[offset:end])

    def append(self, name: str, data: bytes) -> None:
        file = self._files.get(flat(name))
        if file is None:
            file = self._files[name] = _File()
            self._names_pending.append((None, name, file))
        room = len(data)
        if self.capacity is not None:
            used = sum(len(f.cached) for f in self._files.values())
            room = max(0, min(room, self.capacity - used))
        if data[:room]:
            written = bytes(data[:room])
            file.cached += written
            file.pending.append(written)
        self._note(f"append {name} {room}")
        if room < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), name)

    def truncate(self, name: str, size: int) -> None:
        file = self._file(name)
        check_range(name, size)
        if size > len(file.cached):
            raise OSError(errno.EINVAL, "can't truncate to more than there is", name)
        del file.cached[size:]
        file.pending.append(size)
        self._note(f"truncate {name} {size}")

    def rename(self, old: str, new: str) -> None:
        file = self._file(old)
        if flat(new) == old:
            return
        del self._files[old]
        self._files[new] = file
        self._names_pending.append((old, new, file))
        self._note(f"rename {old} {new}")

    def remove(self, name: str) -> None:
        file = self._file(name)
        del self._files[name]
        self._names_pending.append((name, None, file))
        self._note(f"remove {name}")

    async def fsync(self, name: str) -> None:
        file = self._file(name)
        until, failures = file.synced + len(file.pending), file.failures
        failed = await self._wait()
        if file.failures > failures:  # one beside it failed, and lost what both should save
            failed = True
        covered = max(0, until - file.synced)  # another fsync may have been faster
        changes = file.pending[:covered]
        if failed:
            file.failures += 1
            zeros = [c if isinstance(c, int) else bytes(len(c)) for c in changes]
            file.pending[:covered] = zeros
            self._note(f"fsync {name} failed")
            raise OSError(errno.EIO, os.strerror(errno.EIO), name)
        for change in changes:
            _apply(file.durable, change)
        del file.pending[:covered]
        file.synced += covered
        self._note(f"fsync {name} {len(file.durable)}")

    async def fsync_dir(self) -> None:
        until = self._names_synced + len(self._names_pending)
        if await self._wait():
            self._note("fsync_dir failed")
            raise OSError(errno.EIO, os.strerror(errno.EIO), ".")
        self._settle_names(max(0, until - self._names_synced))
        self._note("fsync_dir")

    # --- what becomes of it

    def power_cut(self) -> str:
        """Lose what need not survive; returns what was lost, for the trace."""
        changes = len(self._names_pending)
        kept = self._rng.randint(0, changes)
        told = [f"{changes - kept} names"] if kept < changes else []
        self._settle_names(kept)
        self._names_pending.clear()
        for name in sorted(self._durable_names):
            file = self._durable_names[name]
            lost = self._lose(file)
            if lost:
                told.append(f"{lost} of {name}")
        self._files = dict(self._durable_names)
        return ", ".join(told)

    def wipe(self) -> None:
        """An empty disk in its place."""
        self._note("wiped")
        self._files.clear()
        self._durable_names.clear()
        self._names_pending.clear()

    def flip_bit(self) -> str | None:
        """Rot: one bit of one file, now and for good; returns its name, None on an empty disk."""
        names = [n for n in self.names() if self._files[n].durable]
        if not names:
            return None
        name = self._rng.choice(names)
        position = self._rng.randrange(len(self._files[name].durable))
        self.flip(name, position, 1 << self._rng.randrange(8))
        return name

    def flip(self, name: str, position: int, bits: int) -> None:
        """Rot of one byte that is durable: these bits of it."""
        file = self._file(name)
        file.durable[position] ^= bits
        if position < len(file.cached):
            file.cached[position] ^= bits
        self._note(f"bits flipped in {name} at {position}")

    def _lose(self, file: _File) -> int:
        """A power cut for one file's contents; returns how many changes were lost."""
        pending = file.pending
        kept = self._rng.randint(0, len(pending))
        for change in pending[:kept]:
            _apply(file.durable, change)
        if kept < len(pending) and isinstance(pending[kept], bytes):
            torn = pending[kept]
            assert isinstance(torn, bytes)
            how = self._rng.randrange(3)
            cut = self._rng.randint(0, len(torn))
            if how > 0:
                file.durable += torn[:cut]
            if how > 1:
                file.durable += bytes(len(torn) - cut)
        lost = len(pending) - kept
        file.synced += len(pending)
        pending.clear()
        file.cached = bytearray(file.durable)
        return lost

    def _settle_names(self, covered: int) -> None:
        for lost, gained, file in self._names_pending[:covered]:
            if lost is not None:
                self._durable_names.pop(lost, None)
            if gained is not None:
                self._durable_names[gained] = file
        del self._names_pending[:covered]
        self._names_synced += covered

    def _file(self, name: str) -> _File:
        file = self._files.get(flat(name))
        if file is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
        return file

    async def _wait(self) -> bool:
        """For the disk; true if the operation fails."""
        done: asyncio.Future[None] = self._loop.create_future()
        took = self._rng.randint(*self.fsync_ns)
        finish = Handle(_finish, (done,), self._loop, copy_context())
        process = PROCESS.get()
        at = self._loop.now_ns + took
        self._loop.at(at, self._lane, self._loop.deliver, process, finish)
        await done
        if self.failing_fsyncs > 0:
            self.failing_fsyncs -= 1
            return True
        return False


def _finish(done: asyncio.Future[None]) -> None:
    if not done.done():
        done.set_result(None)
