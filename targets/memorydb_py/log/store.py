"""The disk of an AZ: segments of records, and what it promised."""

from __future__ import annotations

import asyncio
import struct
import zlib
from array import array
from collections.abc import Callable, Mapping, Sequence

import msgspec

from harness.host import Host
from targets.memorydb_py.log.interface import Id
from targets.memorydb_py.log.messages import MEMBERS, Record

SEGMENT_BYTES = 16 << 20
CACHE_BYTES = 32 << 20
META = "meta"
_NEW_META = "meta-new"
RETRY_S = 0.1
# crc, length of the payload, index, term, kind, epoch, first, last
_HEADER = struct.Struct(">IIQQBQQQ")
_members = msgspec.msgpack.Decoder(dict[str, int])


class Damaged(Exception):
    """What was durable can't be read."""


class Meta(msgspec.Struct, array_like=True, frozen=True):
    """`agreed`: the index of the last members' record that is known to be committed."""

    incarnation: int
    term: int
    vote: str | None
    agreed: int


def encode(record: Record) -> bytes:
    """As it lies on the disk."""
    r = record
    rest = _HEADER.pack(0, len(r.payload), r.index, r.term, r.kind, r.epoch, r.first, r.last)[4:]
    crc = zlib.crc32(r.payload, zlib.crc32(rest))
    return b"".join((crc.to_bytes(4, "big"), rest, r.payload))


def decode(data: bytes, offset: int = 0) -> Record | None:
    """The record at a place, if it is whole."""
    if len(data) - offset < _HEADER.size:
        return None
    crc, length, index, term, kind, epoch, first, last = _HEADER.unpack_from(data, offset)
    end = offset + _HEADER.size + length
    if end > len(data) or zlib.crc32(memoryview(data)[offset + 4 : end]) != crc:
        return None
    return Record(index, term, kind, epoch, first, last, data[offset + _HEADER.size : end])


def members_of(record: Record) -> dict[str, int]:
    """Incarnations by AZ."""
    return _members.decode(record.payload)


class Store:
    """Records 1..last, those up to `durable` saved. Members: by the last record that names them."""

    def __init__(self, host: Host, azs: Sequence[str], synced: Callable[[], None]) -> None:
        """`synced` is called when `durable` has grown."""
        self.meta = Meta(0, 0, None, 0)
        self.durable = 0
        self.members: list[tuple[int, dict[str, int]]] = []  # (index, incarnations by AZ)
        self.failed: str | None = None  # the error of the last write
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
        self._size = 0  # of the last segment
        self._cache: dict[int, Record] = {}
        self._cached = 0
        self._cache_first = 1
        self._written = asyncio.Event()
        self._new_name = False
        self._promising = asyncio.Lock()

    # --- opening

    async def open(self, *, create: bool) -> None:
        """Load what is there; an empty store is created, or becomes that of a wiped AZ."""
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
        """Whether there is a whole store; raises `Damaged`."""
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
        segments = [n for n in names if n.startswith("segment-")]
        for name in segments:
            self._load_segment(name, last=name == segments[-1])
        return True

    def _load_segment(self, name: str, *, last: bool) -> None:
        data = self._disk.read(name)
        self._segments.append(name)
        offset = 0
        while offset < len(data):
            record = decode(data, offset)
            if record is None or record.index != self.last + 1:
                if not last or _whole_after(data, offset):
                    raise Damaged(f"{name} is damaged at byte {offset}")
                self._host.log(f"log: {name}: a torn write at byte {offset} is cut off")
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
        for column in (self._terms, self._epochs, self._lasts, self._segment_of, self._offsets,
                       self._sizes):  # fmt: skip
            del column[:]
        self._segments.clear()
        self.members.clear()
        self._cache.clear()
        self._cached = self._size = 0

    async def _make(self, create: bool) -> None:
        for name in self._disk.names():
            if not name.startswith("damaged-"):
                self._disk.remove(name)
        self._forget_all()
        incarnation = 0 if create else self._host.rng.getrandbits(62) + 1
        if create:
            everybody = msgspec.msgpack.encode(dict.fromkeys(self._azs, 0))
            self.append([Record(1, 0, MEMBERS, 0, 1, 0, everybody)])
            await self._disk.fsync(self._segments[-1])
            await self._disk.fsync_dir()
        else:
            self._host.log("log: no whole store is here: this AZ counts as wiped")
        self.meta = Meta(incarnation, 0, None, int(create))
        await self.promise()

    # --- what was promised

    async def promise(
        self, *, term: int | None = None, vote: str | None = None, agreed: int | None = None
    ) -> None:
        """Save a later term, a vote in it, members that are agreed upon. It holds at once; when the
        call returns it is durable, however long a full disk takes. A new term begins without a
        vote."""
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
        """Whether the disk took it."""
        body = msgspec.msgpack.encode(self.meta)
        try:
            if _NEW_META in self._disk.names():
                self._disk.remove(_NEW_META)
            self._disk.append(_NEW_META, zlib.crc32(body).to_bytes(4, "big") + body)
        except OSError as e:
            self.failed = e.strerror or str(e)
            return False
        return True

    def takes_writes(self) -> bool:
        """Whether the disk that failed takes something now."""
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
    def last(self) -> int:
        """The index of the last record."""
        return len(self._terms)

    @property
    def last_id(self) -> Id:
        return Id(self._epochs[-1], self._lasts[-1]) if self._terms else Id(0, 0)

    def id_at(self, index: int) -> Id:
        return Id(self._epochs[index - 1], self._lasts[index - 1]) if index else Id(0, 0)

    def term_at(self, index: int) -> int:
        """0 where there is no record."""
        return self._terms[index - 1] if 0 < index <= len(self._terms) else 0

    def index_of(self, n: int) -> int:
        """The first record whose last entry is n or later; `last` + 1 where there is none."""
        low, high = 0, len(self._lasts)
        while low < high:
            middle = (low + high) // 2
            if self._lasts[middle] < n:
                low = middle + 1
            else:
                high = middle
        return low + 1

    def record(self, index: int) -> Record:
        """Raises `Damaged`."""
        cached = self._cache.get(index)
        if cached is not None:
            return cached
        i = index - 1
        name, offset = self._segments[self._segment_of[i]], self._offsets[i]
        found = decode(self._disk.read(name, offset, self._sizes[i]))
        if found is None or found.index != index:
            raise Damaged(f"{name} is damaged at byte {offset}")
        return found

    def append(self, records: Sequence[Record]) -> None:
        """Write records that follow the last one; `durable` follows. On a disk that takes nothing
        raises OSError, and nothing is changed."""
        if not records:
            return
        if not self._segments or (self._size >= SEGMENT_BYTES and self.durable == self.last):
            self._segments.append(f"segment-{records[0].index:020d}")
            self._size, self._new_name = 0, True
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
            self._cached -= self._sizes[self._cache_first - 1]
            del self._cache[self._cache_first]
            self._cache_first += 1

    async def truncate(self, last: int) -> None:
        """Cut off everything after a record; when it returns that is durable."""
        keep = self._segment_of[last] if last < self.last else len(self._segments) - 1
        offset = self._offsets[last]
        gone = self._segments[keep + 1 :]
        try:
            for name in reversed(gone):
                self._disk.remove(name)
            if gone:
                await self._disk.fsync_dir()
            self._disk.truncate(self._segments[keep], offset)
            await self._disk.fsync(self._segments[keep])
        except OSError as e:
            self._host.log(f"log: can't cut off what contradicts the leader: {e.strerror}")
            raise SystemExit(1) from e
        del self._segments[keep + 1 :]
        for index in range(last + 1, self.last + 1):
            if self._cache.pop(index, None) is not None:
                self._cached -= self._sizes[index - 1]
        for column in (self._terms, self._epochs, self._lasts, self._segment_of, self._offsets,
                       self._sizes):  # fmt: skip
            del column[last:]
        self._size = offset
        self.durable = min(self.durable, last)
        while self.members and self.members[-1][0] > last:
            self.members.pop()

    async def keep_synced(self) -> None:
        """Background work: what is written becomes durable, as many records at once as there are;
        for ever. An fsync that fails ends the process."""
        while True:
            await self._written.wait()
            self._written.clear()
            last, name = self.last, self._segments[-1]
            terms = self.term_at(last)
            try:
                await self._disk.fsync(name)
                if self._new_name:
                    self._new_name = False
                    await self._disk.fsync_dir()
            except OSError as e:
                self._host.log(f"log: fsync of {name} failed: {e.strerror}")
                raise SystemExit(1) from e
            if self.term_at(last) == terms and last > self.durable:
                self.durable = last
                self._synced()

    def known_members(self, upto: int) -> Mapping[str, int]:
        """Incarnations by AZ, by the last record that names them and is not after an index."""
        for index, members in reversed(self.members):
            if index <= upto:
                return members
        return {}


def _whole_after(data: bytes, offset: int) -> bool:
    """Whether a whole record follows somewhere after a broken one."""
    return any(
        decode(data, at) is not None
        for at in range(offset + 1, len(data) - _HEADER.size + 1)
        if int.from_bytes(data[at + 4 : at + 8], "big") <= len(data) - at - _HEADER.size
    )
