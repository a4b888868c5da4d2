"""RESP2, the protocol between Redis' clients and servers: requests in, replies out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

Command = tuple[bytes, ...]
ARGUMENTS_MAX = 2**31 - 1
BULK_BYTES_MAX = 512 * 1024 * 1024
INLINE_BYTES_MAX = 64 * 1024


class Simple(bytes):
    """A status reply: `+OK`."""


class Error(Exception):
    """An error reply; the text begins with its code."""


OK = Simple(b"OK")


def encode(reply: Any) -> bytes:
    """A reply: None, int, bytes, `Simple`, `Error`, or a list of replies."""
    if isinstance(reply, Simple):
        return b"+%s\r\n" % _one_line(reply)
    if isinstance(reply, bytes):
        return b"$%d\r\n%s\r\n" % (len(reply), reply)
    if reply is None:
        return b"$-1\r\n"
    if isinstance(reply, int):
        return b":%d\r\n" % reply
    if isinstance(reply, Error):
        return b"-%s\r\n" % _one_line(str(reply).encode())
    return b"*%d\r\n" % len(reply) + b"".join([encode(each) for each in reply])


def _one_line(text: bytes) -> bytes:
    return text.replace(b"\r", b" ").replace(b"\n", b" ")


NIL_ARRAY = b"*-1\r\n"


def pack(command: Iterable[bytes]) -> bytes:
    """A request, or an entry of the replication stream."""
    words = list(command)
    return b"*%d\r\n" % len(words) + b"".join([b"$%d\r\n%s\r\n" % (len(w), w) for w in words])


class _NotResp(Exception):
    """What came in is not RESP."""


class Requests:
    """Cuts a stream of bytes into commands, as they come. `error`: why it can't go on, as Redis
    words it; what came after the last whole command is of no use then."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self.error: str | None = None

    def feed(self, data: bytes) -> list[Command]:
        """The commands that are complete now."""
        self._buffer += data
        commands: list[Command] = []
        position = 0
        try:
            while self.error is None and (parsed := self._one(position)) is not None:
                command, position = parsed
                if command:
                    commands.append(command)
        except _NotResp as e:
            self.error = str(e)
        del self._buffer[:position]
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
                raise _NotResp(f"expected '$', got '{head[:1].decode('latin-1')}'")
            end = position + _length(head, BULK_BYTES_MAX, "bulk")
            if len(self._buffer) < end + 2:
                return None
            if self._buffer[end : end + 2] != b"\r\n":
                raise _NotResp("expected a line's end after a bulk string")
            words.append(bytes(self._buffer[position:end]))
            position = end + 2
        return tuple(words), position

    def _line(self, position: int) -> tuple[bytes, int] | None:
        end = self._buffer.find(b"\n", position)
        if end < 0:
            if len(self._buffer) - position > INLINE_BYTES_MAX:
                raise _NotResp("too big inline request")
            return None
        return bytes(self._buffer[position:end]).rstrip(b"\r"), end + 1


def _length(head: bytes, most: int, what: str) -> int:
    digits = head[2:] if head[1:2] == b"-" else head[1:]
    length = int(head[1:]) if digits.isdigit() and len(digits) < 20 else most + 1
    if length > most or (what == "bulk" and length < 0):
        raise _NotResp(f"invalid {what} length")
    return max(0, length)
