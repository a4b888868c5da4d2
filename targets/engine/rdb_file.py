"""A whole state as an RDB file, compatible with Redis."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from targets.engine import rdb
from targets.engine.rdb import Malformed, Reader
from targets.engine.state import State

_MAGIC: Final = b"REDIS"
_AUX, _RESIZE, _EXPIRES_MS, _EXPIRES_S, _SELECT, _END = 0xFA, 0xFB, 0xFC, 0xFD, 0xFE, 0xFF
_FREQUENCY, _IDLE, _FUNCTION = 0xF9, 0xF8, 0xF5
_CHUNK_BYTES: Final = 1 << 20


def body(state: State) -> Iterator[bytes]:
    """Yield the keys and the end marker in chunks of about a megabyte."""
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


def assemble(body: bytes, auxiliary: Mapping[bytes, bytes]) -> bytes:
    """Return a file made of auxiliary fields, of which Redis skips unknown ones, and a body."""
    head = bytearray(_MAGIC + b"%04d" % rdb.VERSION)
    for name, text in auxiliary.items():
        head += bytes([_AUX]) + rdb.string(name) + rdb.string(text)
    checksum = rdb.crc64(body, rdb.crc64(bytes(head)))
    return b"".join((head, body, checksum.to_bytes(8, "little")))


def write(state: State, auxiliary: Mapping[bytes, bytes]) -> bytes:
    """Return a state as the bytes of a file."""
    return assemble(b"".join(body(state)), auxiliary)


class Loader:
    """Loads a file. The constructor checks the file's checksum and reads the
    leading auxiliary fields, `steps` reads the rest; both raise `Malformed`. Only database 0 is
    supported."""

    def __init__(self, data: bytes) -> None:
        head = data[:9]
        if head[:5] != _MAGIC or not head[5:].isdigit() or int(head[5:]) > rdb.READABLE:
            raise Malformed(
                f"not an RDB file of version {rdb.READABLE} or older: it begins with {head!r}"
            )
        self.auxiliary: dict[bytes, bytes] = {}
        self._data = data
        self._source = Reader(data, 9)
        self._check()
        while self._source.at < len(data) and data[self._source.at] == _AUX:
            self._other(self._source.byte(), self._source)
        self._body_at = self._source.at

    @property
    def body(self) -> bytes:
        """The bytes between the leading auxiliary fields and the checksum."""
        return self._data[self._body_at : -8]

    def _check(self) -> None:
        announced = int.from_bytes(self._data[-8:], "little")
        if announced and announced != rdb.crc64(self._data[:-8]):  # 0: written without a checksum
            raise Malformed("the checksum does not match the data")

    def steps(self, state: State, most: int) -> Iterator[None]:
        """Load the keys into an empty state; yields after every `most` keys, so that other work can
        be done."""
        source = self._source
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
                    raise Malformed(f"a duplicate key before byte {source.at}")
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
            raise Malformed(f"the data ends at byte {source.at}, not at the checksum")

    def _other(self, kind: int, source: Reader) -> None:
        if kind == _AUX:
            name = source.string()
            self.auxiliary[name] = source.string()
        elif kind == _RESIZE:
            source.length(), source.length()
        elif kind == _SELECT:
            if number := source.length():
                raise Malformed(f"database {number} is not supported, only 0")
        elif kind == _FREQUENCY:
            source.byte()
        elif kind == _IDLE:
            source.length()
        else:
            what = "a library of functions" if kind == _FUNCTION else f"an opcode {kind}"
            raise Malformed(f"{what} is not supported, before byte {source.at}")


def read(data: bytes) -> tuple[State, dict[bytes, bytes]]:
    """Return (state, auxiliary fields) of a file; raises `Malformed`."""
    state = State()
    loading = Loader(data)
    for _ in loading.steps(state, len(data) + 1):
        pass
    return state, loading.auxiliary
