"""A whole state as an RDB file: read and written by Redis too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from targets.engine import rdb
from targets.engine.execution import State
from targets.engine.rdb import Malformed, Reader

_MAGIC: Final = b"REDIS"
_AUX, _RESIZE, _EXPIRES_MS, _EXPIRES_S, _SELECT, _END = 0xFA, 0xFB, 0xFC, 0xFD, 0xFE, 0xFF
_FREQUENCY, _IDLE, _FUNCTION = 0xF9, 0xF8, 0xF5
_CHUNK_BYTES: Final = 1 << 20


def write(state: State, auxiliary: Mapping[bytes, bytes]) -> Iterator[bytes]:
    """The file in parts of about a megabyte; `auxiliary`: fields that Redis skips, if it does not
    know them."""
    checksum = 0
    for part in _parts(state, auxiliary):
        checksum = rdb.crc64(part, checksum)
        yield part
    yield checksum.to_bytes(8, "little")


def _parts(state: State, auxiliary: Mapping[bytes, bytes]) -> Iterator[bytes]:
    made = bytearray(_MAGIC + b"%04d" % rdb.VERSION)
    for name, text in auxiliary.items():
        made += bytes([_AUX]) + rdb.string(name) + rdb.string(text)
    if state.values:
        made += bytes([_SELECT, 0, _RESIZE])
        made += rdb.length(len(state.values)) + rdb.length(len(state.expires))
    expires = state.expires
    for key, value in state.values.items():
        kind, data = rdb.value(value)
        if key in expires:
            made += bytes([_EXPIRES_MS]) + expires[key].to_bytes(8, "little", signed=True)
        made.append(kind)
        made += rdb.string(key)
        made += data
        if len(made) >= _CHUNK_BYTES:
            yield bytes(made)
            made.clear()
    made.append(_END)
    yield bytes(made)


def read(data: bytes) -> tuple[State, dict[bytes, bytes]]:
    """(the state, the auxiliary fields); raises `Malformed`. Data of the first database alone: the
    others must be empty."""
    head = data[:9]
    if head[:5] != _MAGIC or not head[5:].isdigit() or int(head[5:]) > rdb.READABLE:
        raise Malformed(f"no RDB file of a version up to {rdb.READABLE}: it begins with {head!r}")
    source = Reader(data, 9)
    state, auxiliary = State(), dict[bytes, bytes]()
    expires: int | None = None
    while (kind := source.byte()) != _END:
        if kind == _AUX:
            name = source.string()
            auxiliary[name] = source.string()
        elif kind == _RESIZE:
            source.length(), source.length()
        elif kind == _SELECT:
            if number := source.length():
                raise Malformed(
                    f"keys in database {number}, before byte {source.at}: only 0 is had"
                )
        elif kind == _EXPIRES_MS:
            expires = source.millis()
        elif kind == _EXPIRES_S:
            expires = 1000 * int.from_bytes(source.take(4), "little", signed=True)
        elif kind == _FREQUENCY:
            source.byte()
        elif kind == _IDLE:
            source.length()
        elif kind == _FUNCTION:
            raise Malformed(f"a library of functions, before byte {source.at}: not had here")
        else:
            key = source.string()
            if key in state.values:
                raise Malformed(f"a key that is there twice, before byte {source.at}")
            state.put(key, rdb.read_value(kind, source))
            if expires is not None:
                state.expire(key, expires)
            expires = None
    end = source.at
    announced = int.from_bytes(source.take(8), "little")
    if source.at != len(data):
        raise Malformed(f"{len(data) - source.at} bytes after the end")
    if announced and announced != rdb.crc64(data[:end]):  # 0: written without one
        raise Malformed("the checksum is not that of the data")
    return state, auxiliary
