"""RESP2, the protocol between Redis' clients and servers: requests in, replies out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

Command = tuple[bytes, ...]
ARGUMENTS_MAX = 1024 * 1024
BULK_BYTES_MAX = 512 * 1024 * 1024
INLINE_BYTES_MAX = 64 * 1024


class Simple(bytes):
    """A status reply: `+OK`."""


class Error(Exception):
    """An error reply; the text begins with its code."""


OK = Simple(b"OK")


class ProtocolError(Exception):
    """What came in is not RESP; the connection is of no more use."""


def encode(reply: Any) -> bytes:
    """A reply: None, int, bytes, `Simple`, `Error`, or a list of replies."""
    if isinstance(reply, Simple):
        return b"+%s\r\n" % reply
    if isinstance(reply, bytes):
        return b"$%d\r\n%s\r\n" % (len(reply), reply)
    if reply is None:
        return b"$-1\r\n"
    if isinstance(reply, int):
        return b":%d\r\n" % reply
    if isinstance(reply, Error):
        return b"-%s\r\n" % str(reply).encode()
    return b"*%d\r\n" % len(reply) + b"".join([encode(each) for each in reply])


NIL_ARRAY = b"*-1\r\n"


def pack(command: Iterable[bytes]) -> bytes:
    """A request, or an entry of the replication stream."""
    words = list(command)
    return b"*%d\r\n" % len(words) + b"".join([b"$%d\r\n%s\r\n" % (len(w), w) for w in words])


class Requests:
    """Cuts a stream of bytes into commands, as they come."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self.taken = 0  # bytes of the commands that were returned

    def feed(self, data: bytes) -> list[Command]:
        """The commands that are complete now; raises `ProtocolError` as Redis words it."""
        self._buffer += data
        commands: list[Command] = []
        position = 0
        while (parsed := self._one(position)) is not None:
            command, position = parsed
            if command:
                commands.append(command)
        del self._buffer[:position]
        self.taken += position
        return commands

    def left(self) -> int:
        """Bytes of a command that is not complete."""
        return len(self._buffer)

    def _one(self, position: int) -> tuple[Command, int] | None:
        line = self._line(position)
        if line is None:
            return None
        head, position = line
        if head[:1] != b"*":
            return tuple(head.split()), position
        words = []
        for _ in range(_length(head, ARGUMENTS_MAX, "multibulk")):
            line = self._line(position)
            if line is None:
                return None
            head, position = line
            if head[:1] != b"$":
                raise ProtocolError(f"expected '$', got '{head[:1].decode('latin-1')}'")
            end = position + _length(head, BULK_BYTES_MAX, "bulk")
            if len(self._buffer) < end + 2:
                return None
            words.append(bytes(self._buffer[position:end]))
            position = end + 2
        return tuple(words), position

    def _line(self, position: int) -> tuple[bytes, int] | None:
        end = self._buffer.find(b"\n", position)
        if end < 0:
            if len(self._buffer) - position > INLINE_BYTES_MAX:
                raise ProtocolError("too big inline request")
            return None
        return bytes(self._buffer[position:end]).rstrip(b"\r"), end + 1


def _length(head: bytes, most: int, what: str) -> int:
    try:
        length = int(head[1:])
    except ValueError:
        length = most + 1
    if length > most or (what == "bulk" and length < 0):
        raise ProtocolError(f"invalid {what} length")
    return max(0, length)
