"""Values in Redis' RDB format. Writes plain encodings of version 10, that of Redis 7.0; reads all
encodings that Redis 7.0 and 7.2 write.

Source of the format: rdb.c and rdb.h of Redis 7.0.
"""

from __future__ import annotations

import math
import struct
from collections import deque
from collections.abc import Iterator
from typing import Final

import anycrc

from targets.engine import listpack
from targets.engine.streams import UINT64, append, new_block, wrapped
from targets.engine.values import (
    FIRST_ID,
    Group,
    Hash,
    Pending,
    Set,
    SortedSet,
    Stream,
    StreamId,
    Value,
)

VERSION: Final = 10
READABLE: Final = 11  # the newest version that can be read, Redis 7.2's

STRING, LIST, SET, ZSET, HASH, ZSET_2 = 0, 1, 2, 3, 4, 5
SET_INTSET, STREAM_1, HASH_LISTPACK, ZSET_LISTPACK, LIST_QUICKLIST, STREAM_2 = (
    11,
    15,
    16,
    17,
    18,
    19,
)
SET_LISTPACK, STREAM_3 = 20, 21

_PLAIN_NODE: Final = 1
_CRC: Final = anycrc.Model("CRC64-REDIS")


class Malformed(ValueError):
    """The data is not valid RDB; the message describes the fault and usually its position."""


def crc64(data: bytes, before: int = 0) -> int:
    """Return Redis' checksum of data that follows data whose checksum is `before`."""
    found: int = _CRC.calc(data, before)
    return found


# --- writing


def length(n: int) -> bytes:
    """Encode a length."""
    if n < 64:
        return bytes([n])
    if n < 16384:
        return bytes([0x40 | n >> 8, n & 255])
    return b"\x80" + n.to_bytes(4, "big") if n < 1 << 32 else b"\x81" + n.to_bytes(8, "big")


def string(word: bytes) -> bytes:
    """Encode a string; canonical integers of up to 32 bits are stored as integers."""
    number = listpack.as_integer(word) if len(word) <= 11 else None
    if number is not None:
        for code, size in ((0xC0, 1), (0xC1, 2), (0xC2, 4)):
            if -(1 << 8 * size - 1) <= number < 1 << 8 * size - 1:
                return bytes([code]) + number.to_bytes(size, "little", signed=True)
    return length(len(word)) + word


def _strings(words: list[bytes]) -> bytes:
    return b"".join(map(string, words))


def value(obj: Value) -> tuple[int, bytes]:
    """Return (RDB type, serialised value)."""
    if isinstance(obj, bytes):
        return STRING, string(obj)
    if isinstance(obj, deque):
        return LIST, length(len(obj)) + _strings(list(obj))
    if isinstance(obj, Set):
        return SET, length(len(obj)) + _strings(list(obj))
    if isinstance(obj, Hash):
        return HASH, length(len(obj)) + _strings([word for pair in obj.items() for word in pair])
    if isinstance(obj, SortedSet):
        pairs = [string(member) + struct.pack("<d", score) for score, member in obj.order]
        return ZSET_2, length(len(pairs)) + b"".join(pairs)
    return STREAM_2, _stream(obj)


def _id(entry_id: StreamId) -> bytes:
    return struct.pack(">QQ", *entry_id)


def _stream(stream: Stream) -> bytes:
    entries = iter(stream.entries.items())
    parts = [length(len(stream.blocks))]
    for block in stream.blocks:
        some = [next(entries) for _ in range(block.live)]
        # The block's first entry may be deleted: the written one starts at its first live entry.
        parts += [string(_id(some[0][0])), string(_block(some))]
    parts += [length(n) for n in (
        len(stream), *stream.last_id, *stream.first_id, *stream.max_deleted, stream.added,
        len(stream.groups),
    )]  # fmt: skip
    for name, group in stream.groups.items():
        parts += [string(name), *map(length, group.last_id), length(group.read % (1 << 64))]
        parts.append(length(len(group.pending)))
        for at, pending in group.pending.items():
            parts += [_id(at), struct.pack("<q", pending.time_ms), length(pending.count)]
        parts.append(length(len(group.consumers)))
        for consumer, seen_ms in group.consumers.items():
            waiting = group.pending_of(consumer)
            parts += [string(consumer), struct.pack("<q", seen_ms), length(len(waiting))]
            parts += map(_id, waiting)
    return b"".join(parts)


def _block(entries: list[tuple[StreamId, tuple[bytes, ...]]]) -> bytes:
    (ms, seq), first = entries[0]
    names = first[::2]
    words: list[listpack.Element] = [len(entries), 0, len(names), *names, 0]
    for entry_id, fields in entries:
        at = [wrapped(entry_id[0] - ms), wrapped(entry_id[1] - seq)]
        if fields[::2] == names:
            words += [2, *at, *fields[1::2], len(names) + 3]
        else:
            words += [0, *at, len(fields) // 2, *fields, len(fields) + 4]
    return listpack.pack(words)


# --- reading


class Reader:
    """Reads RDB data from a position on; raises `Malformed`."""

    def __init__(self, data: bytes, at: int = 0) -> None:
        self.data = data
        self.at = at

    def take(self, size: int) -> bytes:
        end = self.at + size
        if size < 0 or end > len(self.data):
            raise Malformed(f"truncated at byte {self.at}: {size} more bytes are needed")
        part = self.data[self.at : end]
        self.at = end
        return part

    def byte(self) -> int:
        return self.take(1)[0]

    def length(self) -> int:
        n, encoded = self._length()
        if encoded:
            raise Malformed(f"not a length at byte {self.at - 1}")
        return n

    def count(self, least: int = 1) -> int:
        """Read a number of items of at least `least` bytes each."""
        n = self.length()
        if n * least > len(self.data) - self.at:
            raise Malformed(f"a count of {n} items exceeds the data left at byte {self.at}")
        return n

    def _length(self) -> tuple[int, bool]:
        """Return (number, whether it is a string encoding rather than a length)."""
        first = self.byte()
        kind = first >> 6
        if kind == 0:
            return first, False
        if kind == 1:
            return (first & 63) << 8 | self.byte(), False
        if kind == 3:
            return first & 63, True
        if first not in (0x80, 0x81):
            raise Malformed(f"an unknown length encoding at byte {self.at - 1}")
        return int.from_bytes(self.take(4 if first == 0x80 else 8), "big"), False

    def string(self) -> bytes:
        n, encoded = self._length()
        if not encoded:
            return self.take(n)
        if n <= 2:
            return b"%d" % int.from_bytes(self.take(1 << n), "little", signed=True)
        if n == 3:
            packed, size = self.length(), self.length()
            return _unpacked(self.take(packed), size)
        raise Malformed(f"an unknown string encoding at byte {self.at - 1}")

    def id(self) -> StreamId:
        ms, seq = struct.unpack(">QQ", self.take(16))
        return ms, seq

    def millis(self) -> int:
        n: int = struct.unpack("<q", self.take(8))[0]
        return n


def _unpacked(data: bytes, size: int) -> bytes:
    """Decompress LZF data to `size` bytes."""
    made = bytearray()
    i = 0
    try:
        while i < len(data):
            control = data[i]
            i += 1
            if control < 32:
                if i + control + 1 > len(data):
                    raise IndexError
                made += data[i : i + control + 1]
                i += control + 1
                continue
            run = control >> 5
            if run == 7:
                run += data[i]
                i += 1
            back = (control & 31) << 8 | data[i]
            i += 1
            start = len(made) - back - 1
            if start < 0 or len(made) + run + 2 > size:
                raise IndexError
            for k in range(run + 2):
                made.append(made[start + k])
    except IndexError:
        raise Malformed("a compressed string that is corrupt") from None
    if len(made) != size:
        raise Malformed(f"a compressed string has {len(made)} bytes instead of {size}")
    return bytes(made)


def read_value(kind: int, source: Reader) -> Value:
    """Read a value of an RDB type; raises `Malformed`."""
    try:
        found = _read(kind, source)
    except Malformed:
        raise
    except (ValueError, IndexError, struct.error) as e:
        raise Malformed(f"an unreadable value before byte {source.at}: {e}") from e
    if not isinstance(found, bytes | Stream) and not len(found):
        raise Malformed(f"an empty value before byte {source.at}")
    return found


def _read(kind: int, source: Reader) -> Value:
    if kind == STRING:
        return source.string()
    if kind in (LIST, LIST_QUICKLIST):
        return deque(_list(kind, source))
    if kind in (SET, SET_INTSET, SET_LISTPACK):
        words = list(_set(kind, source))
        members = Set((word, None) for word in words)
        _check_different(len(members), len(words), source)
        return members
    if kind in (HASH, HASH_LISTPACK):
        flat = _flat(source, packed=kind == HASH_LISTPACK)
        pairs = list(zip(flat[::2], flat[1::2], strict=True))
        fields = Hash(pairs)
        _check_different(len(fields), len(pairs), source)
        return fields
    if kind in (ZSET, ZSET_2, ZSET_LISTPACK):
        return _sorted_set(kind, source)
    if kind in (STREAM_1, STREAM_2, STREAM_3):
        return _read_stream(kind, source)
    raise Malformed(f"a value of unsupported type {kind} before byte {source.at}")


def _check_different(found: int, expected: int, source: Reader) -> None:
    if found != expected:
        raise Malformed(f"duplicate members before byte {source.at}")


def _list(kind: int, source: Reader) -> Iterator[bytes]:
    for _ in range(source.count()):
        if kind == LIST or source.length() == _PLAIN_NODE:
            yield source.string()
        else:
            yield from listpack.unpack(source.string())


def _set(kind: int, source: Reader) -> Iterator[bytes]:
    if kind == SET:
        for _ in range(source.count()):
            yield source.string()
    elif kind == SET_LISTPACK:
        yield from listpack.unpack(source.string())
    else:
        data = source.string()
        size, count = struct.unpack("<II", data[:8])
        if size not in (2, 4, 8) or len(data) != 8 + size * count:
            raise Malformed(f"a malformed set of integers before byte {source.at}")
        for i in range(8, len(data), size):
            yield b"%d" % int.from_bytes(data[i : i + size], "little", signed=True)


def _flat(source: Reader, *, packed: bool) -> list[bytes]:
    if packed:
        return listpack.unpack(source.string())
    return [source.string() for _ in range(2 * source.count(2))]


def _sorted_set(kind: int, source: Reader) -> SortedSet:
    made = SortedSet()
    if kind == ZSET_LISTPACK:
        flat = listpack.unpack(source.string())
        pairs = [(m, float(s)) for m, s in zip(flat[::2], flat[1::2], strict=True)]
    else:
        pairs = [(source.string(), _score(kind, source)) for _ in range(source.count(2))]
    for member, score in pairs:
        if math.isnan(score) or member in made.scores:
            raise Malformed(f"a NaN score or a duplicate member before byte {source.at}")
        made.set(member, score)
    return made


def _score(kind: int, source: Reader) -> float:
    if kind == ZSET_2:
        found: float = struct.unpack("<d", source.take(8))[0]
        return found
    size = source.byte()
    special = {253: math.nan, 254: math.inf, 255: -math.inf}
    return special[size] if size in special else float(source.take(size))


def _read_stream(kind: int, source: Reader) -> Stream:
    made = Stream()
    for _ in range(source.count()):
        first = Reader(source.string()).id()
        _read_block(made, first, listpack.unpack(source.string()))
    count = source.length()
    last_id = source.length(), source.length()
    added = count
    if kind != STREAM_1:
        source.length(), source.length()  # the first id
        made.max_deleted = source.length(), source.length()
        added = source.length()
    if count != len(made) or last_id < made.last_id:
        raise Malformed(f"a stream with a wrong length or last id before byte {source.at}")
    made.last_id, made.added = last_id, added
    for _ in range(source.count()):
        name = source.string()
        last_delivered = source.length(), source.length()
        read = source.length() if kind != STREAM_1 else (1 << 64) - 1
        group = made.groups[name] = Group(last_delivered, read - (1 << 64) if read >> 63 else read)
        _read_pending(kind, source, group)
    return made


def _read_block(stream: Stream, master: StreamId, words: list[bytes]) -> None:
    at = 0

    def number() -> int:
        nonlocal at
        at += 1
        return int(words[at - 1])

    def take(count: int) -> list[bytes]:
        nonlocal at
        if not 0 <= count <= len(words) - at:
            raise Malformed("a truncated stream entry")
        at += count
        return words[at - count : at]

    live, deleted = number(), number()
    names = take(number())
    number()
    stream.blocks.append(block := new_block(master, tuple(names)))
    for _ in range(live + deleted):
        flags = number()
        entry_id = (master[0] + number()) % UINT64, (master[1] + number()) % UINT64
        if flags & 2:
            fields = [word for pair in zip(names, take(len(names)), strict=True) for word in pair]
        else:
            fields = take(2 * number())
        number()
        if flags & 1:
            continue
        if entry_id <= stream.last_id and entry_id != FIRST_ID:
            raise Malformed("stream entries that are out of order")
        append(stream, entry_id, tuple(fields), into=block)
    if block.live != live or not live:
        raise Malformed("a stream block with a wrong number of entries")


def _read_pending(kind: int, source: Reader, group: Group) -> None:
    for _ in range(source.count(17)):
        at = source.id()
        time_ms, count = source.millis(), source.length()
        group.pending[at] = Pending(b"", time_ms, count)
    assigned = 0
    for _ in range(source.count()):
        consumer = source.string()
        group.consumers[consumer] = source.millis()
        if kind == STREAM_3:
            source.millis()  # the time when it was last active
        for _ in range(source.count(16)):
            pending = group.pending.get(source.id())
            if pending is None:
                raise Malformed(
                    f"an entry pending for a consumer but not for its group, byte {source.at}"
                )
            pending.consumer = consumer
            assigned += 1
    if assigned != len(group.pending):
        raise Malformed(f"pending entries without a consumer, before byte {source.at}")


# --- payloads of DUMP: a single value


def dump(obj: Value) -> bytes:
    """Return the payload of DUMP for a value."""
    kind, data = value(obj)
    payload = bytes([kind]) + data + VERSION.to_bytes(2, "little")
    return payload + crc64(payload).to_bytes(8, "little")


def is_dump(payload: bytes) -> bool:
    """Return whether a payload of DUMP has a supported version and a valid checksum."""
    if len(payload) < 10 or int.from_bytes(payload[-10:-8], "little") > READABLE:
        return False
    return int.from_bytes(payload[-8:], "little") == crc64(payload[:-8])


def parse_dump(payload: bytes) -> Value:
    """Return the value of a payload that passed `is_dump`; raises `Malformed`."""
    source = Reader(payload[:-10])
    found = read_value(source.byte(), source)
    if source.at != len(source.data):
        raise Malformed(f"{len(source.data) - source.at} bytes after the value")
    return found
