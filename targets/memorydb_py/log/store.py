"""The durable state of an AZ: segments of records, its term and its vote."""

from __future__ import annotations

import asyncio
import struct
import zlib
from array import array
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence

import msgspec

from harness.host import Host
from targets.memorydb_py.log.interface import Id
from targets.memorydb_py.log.messages import MEMBERS, Base, Record

SEGMENT_BYTES = 16 << 20
CACHE_BYTES = 32 << 20
META = "meta"
_NEW_META = "meta-new"
RETRY_S = 0.1
# crc, length of the payload, index, term, kind, epoch, first, last
_HEADER = struct.Struct(">IIQQBQQQ")
_members = msgspec.msgpack.Decoder(dict[str, int])


class Damaged(Exception):
    """Durable data is missing or corrupt."""


class Meta(msgspec.Struct, array_like=True, frozen=True):
    """The contents of the file `meta`. `agreed`: the index of the last members record that is known
    to be committed."""

    incarnation: int
    term: int
    vote: str | None
    agreed: int
    base: Base = Base()


def encode(record: Record) -> bytes:
    """Return a record's bytes on the disk."""
    r = record
    rest = _HEADER.pack(0, len(r.payload), r.index, r.term, r.kind, r.epoch, r.first, r.last)[4:]
    crc = zlib.crc32(r.payload, zlib.crc32(rest))
    return b"".join((crc.to_bytes(4, "big"), rest, r.payload))


def decode(data: bytes, offset: int = 0) -> Record | None:
    """Return the record at an offset, None if it is not complete and correct."""
    if len(data) - offset < _HEADER.size:
        return None
    crc, length, index, term, kind, epoch, first, last = _HEADER.unpack_from(data, offset)
    end = offset + _HEADER.size + length
    if end > len(data) or zlib.crc32(memoryview(data)[offset + 4 : end]) != crc:
        return None
    return Record(index, term, kind, epoch, first, last, data[offset + _HEADER.size : end])


def members_of(record: Record) -> dict[str, int]:
    """Return the incarnations by AZ that a members record names."""
    return _members.decode(record.payload)


class Store:
    """The Raft log of an AZ: records after `base` up to `last`, durable up to `durable`. The
    membership is that of the last members record."""

    def __init__(self, host: Host, azs: Sequence[str], synced: Callable[[], None]) -> None:
        """`synced`: called when `durable` has grown."""
        self.meta = Meta(0, 0, None, 0)
        self.durable = 0
        self.members: list[tuple[int, dict[str, int]]] = []  # (index, incarnations by AZ)
        self.failed: str | None = None  # the error of the last write, if it failed
        self._host = host
        self._disk = host.disk
        self._azs = azs
        self._synced = synced
        self._terms = array("Q")
        self._epochs = array("Q")
        self._lasts = array("Q")
        self._segments: list[str] = []
        self._segment_of = array("L")
        self._offsets = array("Q")
        self._sizes = array("L")
        self._size = 0  # bytes in the last segment
        self._full = False  # whether to begin another segment
        self._cache: dict[int, Record] = {}
        self._cached = 0
        self._cache_first = 1
        self._written = asyncio.Event()
        self._new_name = False
        self._promising = asyncio.Lock()
        self._changing = asyncio.Lock()  # held while segments change or are synced

    def _columns(self) -> tuple[array[int], ...]:
        return (self._terms, self._epochs, self._lasts, self._segment_of, self._offsets,
                self._sizes)  # fmt: skip

    # --- opening

    async def open(self, *, create: bool) -> None:
        """Load the store. If there is none it is created: as that of an original member if
        `create`, else, and after damage, as that of a wiped AZ."""
        try:
            whole = self._load()
        except Damaged as e:
            self._host.log(f"log: {e}; the store is set aside, this AZ counts as wiped")
            self._set_aside()
            whole = create = False
        if not whole:
            await self._make(create)
        self.durable = self.last
        if self._segments:
            await self._disk.fsync(self._segments[-1])
            await self._disk.fsync_dir()

    def _load(self) -> bool:
        """Load the store; returns whether there is a complete one. Raises `Damaged`."""
        names = self._disk.names()
        if META not in names:
            return False
        try:
            body = self._disk.read(META)
            if int.from_bytes(body[:4], "big") != zlib.crc32(body[4:]):
                raise Damaged(f"{META} is damaged")
            self.meta = msgspec.msgpack.decode(body[4:], type=Meta)
        except msgspec.MsgspecError as e:
            raise Damaged(f"{META} is damaged") from e
        base = self.base
        if base.index:
            self.members.append((base.named, base.members))
        segments = []
        for name in names:
            if name.startswith("segment-"):
                generation, first = _named(name)
                if generation != base.generation or first <= base.index:
                    self._disk.remove(name)  # obsolete: from before the base
                else:
                    segments.append(name)
        for name in segments:
            self._load_segment(name, last=name == segments[-1])
        return True

    def _load_segment(self, name: str, *, last: bool) -> None:
        if _named(name)[1] != self.last + 1:
            raise Damaged(f"records between {self.last} and {name} are missing")
        data = self._disk.read(name)
        self._segments.append(name)
        offset = 0
        while offset < len(data):
            record = decode(data, offset)
            if record is None or record.index != self.last + 1:
                if record is not None or not last or _whole_after(data, offset):
                    raise Damaged(f"{name} is damaged at byte {offset}")
                self._host.log(f"log: {name}: truncated at a torn write, byte {offset}")
                self._disk.truncate(name, offset)
                break
            size = _HEADER.size + len(record.payload)
            self._note(record, offset, size)
            offset += size
        self._size = offset

    def _set_aside(self) -> None:
        for name in self._disk.names():
            if not name.startswith("damaged-"):
                self._disk.rename(name, f"damaged-{name}")
        self._forget_all()

    def _forget_all(self) -> None:
        for column in self._columns():
            del column[:]
        self._segments.clear()
        self.members.clear()
        self._cache.clear()
        self._cached = self._size = 0
        self._full = False

    async def _make(self, create: bool) -> None:
        for name in self._disk.names():
            if not name.startswith("damaged-"):
                self._disk.remove(name)
        self._forget_all()
        self.meta = Meta(0, 0, None, 0)
        incarnation = 0 if create else self._host.rng.getrandbits(62) + 1
        if create:
            members = msgspec.msgpack.encode(dict.fromkeys(self._azs, 0))
            self.append([Record(1, 0, MEMBERS, 0, 1, 0, members)])
            await self._disk.fsync(self._segments[-1])
            await self._disk.fsync_dir()
        else:
            self._host.log("log: no complete store: this AZ counts as wiped")
        self.meta = msgspec.structs.replace(self.meta, incarnation=incarnation, agreed=int(create))
        await self.save_meta()

    # --- term, vote, committed members, base

    async def save_meta(
        self,
        *,
        term: int | None = None,
        vote: str | None = None,
        agreed: int | None = None,
    ) -> None:
        """Save a later term, a vote in it, the index of committed members, and the base.

        `meta` changes at once and is durable when the call returns; while the disk is full, it
        waits. A new term begins without a vote. A failed fsync ends the process.
        """
        now = self.meta
        if term is not None and term > now.term:
            now = msgspec.structs.replace(now, term=term, vote=None)
        if vote is not None:
            now = msgspec.structs.replace(now, vote=vote)
        if agreed is not None:
            now = msgspec.structs.replace(now, agreed=agreed)
        self.meta = now
        async with self._promising:
            while not self._write_meta():  # noqa: ASYNC110
                await asyncio.sleep(RETRY_S)
            try:
                await self._disk.fsync(_NEW_META)
                self._disk.rename(_NEW_META, META)
                await self._disk.fsync_dir()
            except OSError as e:
                self._host.log(f"log: can't save the term: {e.strerror}")
                raise SystemExit(1) from e

    def _write_meta(self) -> bool:
        """Write `meta` to a new file; returns whether that succeeded."""
        body = msgspec.msgpack.encode(self.meta)
        try:
            if _NEW_META in self._disk.names():
                self._disk.remove(_NEW_META)
            self._disk.append(_NEW_META, zlib.crc32(body).to_bytes(4, "big") + body)
        except OSError as e:
            self.failed = e.strerror or str(e)
            return False
        return True

    def is_writable(self) -> bool:
        """Return whether the disk accepts writes; after a failed one this is tried."""
        if self.failed is not None:
            try:
                self._disk.append("probe", bytes(4096))
                self._disk.remove("probe")
            except OSError:
                return False
            self.failed = None
        return True

    # --- records

    @property
    def base(self) -> Base:
        return self.meta.base

    @property
    def last(self) -> int:
        """The index of the last record."""
        return self.base.index + len(self._terms)

    @property
    def last_id(self) -> Id:
        return self.id_at(self.last)

    def id_at(self, index: int) -> Id:
        """Return the id of the last entry up to a record in the store, or up to the base."""
        base = self.base
        if index == base.index:
            return Id(base.epoch, base.last)
        i = index - base.index - 1
        return Id(self._epochs[i], self._lasts[i])

    def term_at(self, index: int) -> int:
        """Return the term of a record, 0 if there is none."""
        base = self.base
        if base.index < index <= self.last:
            return self._terms[index - base.index - 1]
        return base.term if index == base.index else 0

    def index_of(self, n: int) -> int:
        """Return the index of the first record whose last entry is n or later, else `last` + 1."""
        return self.base.index + bisect_left(self._lasts, n) + 1

    def record(self, index: int) -> Record:
        """Return a record after the base. Raises `Damaged`."""
        cached = self._cache.get(index)
        if cached is not None:
            return cached
        i = index - self.base.index - 1
        name, offset = self._segments[self._segment_of[i]], self._offsets[i]
        found = decode(self._disk.read(name, offset, self._sizes[i]))
        if found is None or found.index != index:
            raise Damaged(f"{name} is damaged at byte {offset}")
        return found

    def append(self, records: Sequence[Record]) -> None:
        """Write records that follow the last one; they become durable later. Raises OSError, and
        changes nothing, if the disk does not accept them."""
        if not records:
            return
        full = self._full or self._size >= SEGMENT_BYTES
        if not self._segments or (full and self.durable == self.last):
            name = f"segment-{self.base.generation:06d}-{records[0].index:020d}"
            self._segments.append(name)
            self._size, self._new_name, self._full = 0, True, False
        name = self._segments[-1]
        blobs = [encode(r) for r in records]
        try:
            self._disk.append(name, b"".join(blobs))
        except OSError as e:
            self.failed = e.strerror or str(e)
            if name in self._disk.names():
                self._disk.truncate(name, self._size)
            raise
        self.failed = None
        for record, blob in zip(records, blobs, strict=True):
            self._note(record, self._size, len(blob))
            self._size += len(blob)
        self._written.set()

    def _note(self, record: Record, offset: int, size: int) -> None:
        self._terms.append(record.term)
        self._epochs.append(record.epoch)
        self._lasts.append(record.last)
        self._segment_of.append(len(self._segments) - 1)
        self._offsets.append(offset)
        self._sizes.append(size)
        if record.kind == MEMBERS:
            self.members.append((record.index, members_of(record)))
        if not self._cache:
            self._cache_first = record.index
        self._cache[record.index] = record
        self._cached += size
        while self._cached > CACHE_BYTES:
            self._uncache(self._cache_first)

    def _uncache(self, index: int) -> None:
        """Drop the first cached record."""
        self._cached -= self._sizes[index - self.base.index - 1]
        del self._cache[index]
        self._cache_first = index + 1

    async def truncate(self, last: int) -> None:
        """Remove all records after this one, durably. Nothing may be appended meanwhile."""
        async with self._changing:
            await self._truncate(last)

    async def _truncate(self, last: int) -> None:
        i = last - self.base.index
        keep, offset = self._segment_of[i], self._offsets[i]
        removed = self._segments[keep + 1 :]
        try:
            for name in reversed(removed):
                self._disk.remove(name)
            if removed:
                await self._disk.fsync_dir()
            self._disk.truncate(self._segments[keep], offset)
            await self._disk.fsync(self._segments[keep])
        except OSError as e:
            self._host.log(f"log: can't truncate the conflicting records: {e.strerror}")
            raise SystemExit(1) from e
        del self._segments[keep + 1 :]
        for index in range(last + 1, self.last + 1):
            if self._cache.pop(index, None) is not None:
                self._cached -= self._sizes[index - self.base.index - 1]
        for column in self._columns():
            del column[i:]
        self._size = offset
        self.durable = min(self.durable, last)
        while self.members and self.members[-1][0] > last:
            self.members.pop()

    async def keep_synced(self) -> None:
        """Sync written records in the background, as many as there are at once. Never returns. A
        failed fsync ends the process."""
        while True:
            await self._written.wait()
            self._written.clear()
            async with self._changing:
                last = self.last
                if last > self.durable:
                    await self._sync(self._segments[-1])
                    self.durable = last
                    self._synced()

    async def _sync(self, name: str) -> None:
        """Sync the last segment, and the directory if the segment is new."""
        try:
            await self._disk.fsync(name)
            if self._new_name:
                self._new_name = False
                await self._disk.fsync_dir()
        except OSError as e:
            self._host.log(f"log: fsync of {name} failed: {e.strerror}")
            raise SystemExit(1) from e

    # --- trimming

    async def trim(self, n: int, commit: int) -> None:
        """Remove whole segments that contain only committed entries up to n. Such entries in the
        last segment are removed by a later call, when it is not the last any more."""
        async with self._changing:
            names = self._forget(n, commit)
        if names:
            base = self.base
            await self.save_meta()
            await self._remove(names)
            self._host.log(f"log: begins after {Id(base.epoch, base.last)}")

    def _forget(self, n: int, commit: int) -> list[str]:
        """Move the base in memory; returns the segments that are not needed any more."""
        index = min(self.index_of(n + 1) - 1, self.durable, commit)
        if index <= self.base.index:
            return []
        i = index - self.base.index
        last = len(self._segments) - 1
        obsolete = self._segment_of[i] if index < self.last else last
        self._full = self._full or obsolete == last
        count = bisect_left(self._segment_of, obsolete)
        if not count:
            return []
        index = self.base.index + count
        named, members = next(m for m in reversed(self.members) if m[0] <= index)
        base = Base(index, self.term_at(index), *self.id_at(index), named, members,
                    self.base.generation)  # fmt: skip
        while self._cache and self._cache_first <= index:
            self._uncache(self._cache_first)
        for column in self._columns():
            del column[:count]
        for i, segment in enumerate(self._segment_of):
            self._segment_of[i] = segment - obsolete
        names, self._segments = self._segments[:obsolete], self._segments[obsolete:]
        self.members = [(named, members), *(m for m in self.members if m[0] > index)]
        self.meta = msgspec.structs.replace(self.meta, base=base)
        return names

    async def install(self, base: Base) -> None:
        """Replace all records by a base from the leader, durably."""
        async with self._changing:
            names = self._segments[:]
            base = msgspec.structs.replace(base, generation=self.base.generation + 1)
            self._forget_all()
            self.members.append((base.named, base.members))
            self.durable = 0
            self.meta = msgspec.structs.replace(self.meta, base=base)
            await self.save_meta()
            self.durable = base.index
            await self._remove(names)
        self._host.log(f"log: begins after {Id(base.epoch, base.last)}, the leader's base")

    async def _remove(self, names: Sequence[str]) -> None:
        try:
            for name in names:
                self._disk.remove(name)
            await self._disk.fsync_dir()
        except OSError as e:
            self._host.log(f"log: can't remove trimmed segments: {e.strerror}")
            raise SystemExit(1) from e

    def known_members(self, upto: int) -> Mapping[str, int]:
        """Return the incarnations by AZ of the last members record up to an index."""
        for index, members in reversed(self.members):
            if index <= upto:
                return members
        return {}


def _named(segment: str) -> tuple[int, int]:
    """Return (generation, index of the first record). Raises `Damaged`."""
    numbers = segment.split("-")[1:]
    if len(numbers) != 2 or not all(number.isdecimal() for number in numbers):
        raise Damaged(f"{segment} is not the name of a segment")
    return int(numbers[0]), int(numbers[1])


def _whole_after(data: bytes, offset: int) -> bool:
    """Return whether a complete record follows somewhere after a broken one."""
    return any(
        decode(data, at) is not None
        for at in range(offset + 1, len(data) - _HEADER.size + 1)
        if int.from_bytes(data[at + 4 : at + 8], "big") <= len(data) - at - _HEADER.size
    )
