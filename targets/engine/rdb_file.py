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


def body(state: State) -> Iterator[bytes]:
    """The keys, in parts of about a megabyte."""
    made = bytearray()
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


def whole(body: bytes, auxiliary: Mapping[bytes, bytes]) -> bytes:
    """A file of a body and of fields that Redis skips where it does not know them."""
    head = bytearray(_MAGIC + b"%04d" % rdb.VERSION)
    for name, text in auxiliary.items():
        head += bytes([_AUX]) + rdb.string(name) + rdb.string(text)
    checksum = rdb.crc64(body, rdb.crc64(bytes(head)))
    return b"".join((head, body, checksum.to_bytes(8, "little")))


def write(state: State, auxiliary: Mapping[bytes, bytes]) -> bytes:
    return whole(b"".join(body(state)), auxiliary)


class Loading:
    """A file that is being read into an empty state; its first fields are there at once. Raises
    `Malformed`. Of the databases of a server the first alone may hold keys."""

    def __init__(self, data: bytes, state: State) -> None:
        head = data[:9]
        if head[:5] != _MAGIC or not head[5:].isdigit() or int(head[5:]) > rdb.READABLE:
            raise Malformed(
                f"no RDB file of a version up to {rdb.READABLE}: it begins with {head!r}"
            )
        self.auxiliary: dict[bytes, bytes] = {}
        self._data = data
        self._state = state
        self._source = Reader(data, 9)
        self._check()
        while self._source.at < len(data) and data[self._source.at] == _AUX:
            self._other(self._source.byte(), self._source)
        self._body_at = self._source.at

    @property
    def body(self) -> bytes:
        """Everything after the first fields, and before the checksum."""
        return self._data[self._body_at : -8]

    def _check(self) -> None:
        announced = int.from_bytes(self._data[-8:], "little")
        if announced and announced != rdb.crc64(self._data[:-8]):  # 0: written without one
            raise Malformed("the checksum is not that of the data")

    def steps(self, most: int) -> Iterator[None]:
        """Goes on from time to time, after so many keys."""
        source, state = self._source, self._state
        expires: int | None = None
        count = 0
        while (kind := source.byte()) != _END:
            if kind == _EXPIRES_MS:
                expires = source.millis()
            elif kind == _EXPIRES_S:
                expires = 1000 * int.from_bytes(source.take(4), "little", signed=True)
            elif kind < _FUNCTION:
                key = source.string()
                if key in state.values:
                    raise Malformed(f"a key that is there twice, before byte {source.at}")
                state.put(key, rdb.read_value(kind, source))
                if expires is not None:
                    state.expire(key, expires)
                    expires = None
                count += 1
                if count % most == 0:
                    yield
            else:
                self._other(kind, source)
        if source.at != len(self._data) - 8:
            raise Malformed(f"the end is at byte {source.at}, not before the checksum")

    def _other(self, kind: int, source: Reader) -> None:
        if kind == _AUX:
            name = source.string()
            self.auxiliary[name] = source.string()
        elif kind == _RESIZE:
            source.length(), source.length()
        elif kind == _SELECT:
            if number := source.length():
                raise Malformed(f"keys of database {number}: 0 alone is had")
        elif kind == _FREQUENCY:
            source.byte()
        elif kind == _IDLE:
            source.length()
        else:
            what = "a library of functions" if kind == _FUNCTION else f"something of kind {kind}"
            raise Malformed(f"{what}, before byte {source.at}: not had here")


def read(data: bytes) -> tuple[State, dict[bytes, bytes]]:
    """(the state, the auxiliary fields); raises `Malformed`."""
    state = State()
    loading = Loading(data, state)
    for _ in loading.steps(len(data) + 1):
        pass
    return state, loading.auxiliary
