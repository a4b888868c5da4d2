"""A disk with a page cache: reads return all writes, and synced writes survive a power cut.

The crash model is pessimistic:
  - contents: of the appends and truncations of a file since its last fsync, a prefix survives a
    power cut, in order; the first append that is lost may be torn at any byte, and its missing
    bytes may read as zeros (the file's size was written, its data was not);
  - names: of the files created, renamed and removed since the last fsync of the folder, a prefix
    survives, in order. A file whose creation does not survive is lost with its synced contents;
  - an fsync covers the changes made before it began. If it fails, reads still return them, but no
    later fsync writes them (the "fsyncgate" of 2018): after a power cut they read as zeros. A
    failed fsync of the folder may be retried.
A killed process loses nothing: its writes are in the kernel.
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
    """A simulated file.

    `durable`: the synced contents; `cached`: the contents that reads return; `pending`: the changes
    between them. `synced`: the number of changes no longer pending. `failures`: the number of
    failed fsyncs.
    """

    def __init__(self) -> None:
        self.durable = bytearray()
        self.cached = bytearray()
        self.pending: list[Change] = []
        self.synced = 0
        self.failures = 0


# (old name, new name, file). The old name is None for a creation, the new one for a removal.
NameChange = tuple[str | None, str | None, _File]


def _apply(content: bytearray, change: Change) -> None:
    if isinstance(change, int):
        del content[change:]
    else:
        content += change


class SimulatedDisk:
    """The `Disk` of one simulated process; the module docstring describes what a crash loses."""

    def __init__(self, loop: SimulatedLoop, name: str, rng: random.Random, note: Note) -> None:
        """`note`: called with each line for the trace."""
        self._loop = loop
        self._lane = f"disk/{name}"
        self._rng = rng
        self._note = note
        self._files: dict[str, _File] = {}
        self._durable_names: dict[str, _File] = {}
        self._names_pending: list[NameChange] = []
        self._names_synced = 0
        self.fsync_ns = (100_000, 2_000_000)  # the range from which a duration is drawn
        self.capacity: int | None = None  # in bytes
        self.failing_fsyncs = 0  # the number of upcoming fsyncs that fail

    # --- operations of a process

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
            raise OSError(errno.EINVAL, "can't truncate beyond the end of the file", name)
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
        if file.failures > failures:  # a concurrent one failed and lost changes of both
            failed = True
        covered = max(0, until - file.synced)  # a concurrent one may have been faster
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

    # --- faults

    def power_cut(self) -> str:
        """Lose a random part of the unsynced changes; return a summary of it for the trace."""
        changes = len(self._names_pending)
        kept = self._rng.randint(0, changes)
        losses = [f"{changes - kept} names"] if kept < changes else []
        self._settle_names(kept)
        self._names_pending.clear()
        for name in sorted(self._durable_names):
            file = self._durable_names[name]
            lost = self._lose(file)
            if lost:
                losses.append(f"{lost} of {name}")
        self._files = dict(self._durable_names)
        return ", ".join(losses)

    def wipe(self) -> None:
        """Replace the disk by an empty one."""
        self._note("wiped")
        self._files.clear()
        self._durable_names.clear()
        self._names_pending.clear()

    def flip_bit(self) -> str | None:
        """Flip a random bit of the synced data of a random file (bit rot); return the file's name,
        or None if no file has synced data."""
        names = [n for n in self.names() if self._files[n].durable]
        if not names:
            return None
        name = self._rng.choice(names)
        position = self._rng.randrange(len(self._files[name].durable))
        self.flip(name, position, 1 << self._rng.randrange(8))
        return name

    def flip(self, name: str, position: int, bits: int) -> None:
        """Flip `bits` of one synced byte of a file."""
        file = self._file(name)
        file.durable[position] ^= bits
        if position < len(file.cached):
            file.cached[position] ^= bits
        self._note(f"bits flipped in {name} at {position}")

    def _lose(self, file: _File) -> int:
        """Apply a power cut to one file's contents; return the number of changes lost."""
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
        """Make the first `covered` pending changes of names durable."""
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
        """Wait for the disk; return whether the operation fails."""
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
