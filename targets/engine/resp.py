"""RESP, Redis' client protocol: parses requests and encodes replies, in versions 2 and 3."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

Command = tuple[bytes, ...]
ARGUMENTS_MAX = 2**31 - 1
BULK_BYTES_MAX = 512 * 1024 * 1024
INLINE_BYTES_MAX = 64 * 1024
# Limits for clients that have not authenticated.
UNAUTHENTICATED_ARGUMENTS_MAX = 10
UNAUTHENTICATED_BULK_BYTES_MAX = 16 * 1024


class Simple(bytes):
    """A simple string: `+OK`."""


class Error(Exception):
    """An error reply. `code`: the first word of its text, such as `WRONGTYPE` or `ERR`."""

    @property
    def code(self) -> str:
        return str(self).partition(" ")[0]


class BadSyntax(Error):
    """The reply to arguments that the command does not understand; a newer server might."""

    def __init__(self, text: str = "ERR syntax error") -> None:
        super().__init__(text)


class Double(float):
    """A double: `,1.5`; a bulk string in RESP2."""


class Formatted(bytes):
    """A double that is formatted in a way of its own."""


class Map(list[tuple[Any, Any]]):
    """A map of (field, value) pairs; a flat array in RESP2."""


class Pairs(list[tuple[Any, Any]]):
    """An array of pairs; a flat array in RESP2."""


class ByName(list[tuple[Any, Any]]):
    """A map; an array of two-element arrays in RESP2."""


class Members(list[Any]):
    """A set; an array in RESP2."""


class NilArray:
    """The null array: `*-1`; a null in RESP3."""


class Push(list[Any]):
    """Out-of-band data; an array in RESP2."""


OK = Simple(b"OK")
NIL_ARRAY = NilArray()


def encode(reply: Any, protocol: int = 2) -> bytes:
    """Encode a reply: None, bool, int, bytes, a list of replies or an instance of a class above.
    Raises TypeError for other objects."""
    if reply is None:
        return b"$-1\r\n" if protocol == 2 else b"_\r\n"
    encoder = _ENCODERS.get(type(reply))
    if encoder is None:
        raise TypeError(f"a {type(reply).__name__} can't be encoded as a reply")
    return encoder(reply, protocol)


def _bulk(reply: bytes, protocol: int) -> bytes:
    return b"$%d\r\n%s\r\n" % (len(reply), reply)


def _simple(reply: Simple, protocol: int) -> bytes:
    if reply is OK:
        return b"+OK\r\n"
    return b"+%s\r\n" % _one_line(reply)


def _integer(reply: int, protocol: int) -> bytes:
    return b":%d\r\n" % reply


def _bool(reply: bool, protocol: int) -> bytes:
    return (b"#t\r\n" if reply else b"#f\r\n") if protocol == 3 else b":%d\r\n" % reply


def _error(reply: Error, protocol: int) -> bytes:
    return b"-%s\r\n" % _one_line(str(reply).encode("utf-8", "surrogateescape"))


def _array(reply: Iterable[Any], protocol: int) -> bytes:
    parts = [encode(each, protocol) for each in reply]
    return b"*%d\r\n" % len(parts) + b"".join(parts)


def _double(reply: Double, protocol: int) -> bytes:
    return b",%s\r\n" % number_text(reply) if protocol == 3 else _bulk(number_text(reply), 2)


def _formatted(reply: Formatted, protocol: int) -> bytes:
    return b",%s\r\n" % reply if protocol == 3 else _bulk(reply, 2)


def _map(reply: Map, protocol: int) -> bytes:
    parts = [encode(each, protocol) for pair in reply for each in pair]
    return b"%c%d\r\n" % ((b"%", len(reply)) if protocol == 3 else (b"*", len(parts))) + b"".join(
        parts
    )


def _pairs(reply: Pairs, protocol: int) -> bytes:
    if protocol == 3:
        return _array([list(pair) for pair in reply], 3)
    return _map(Map(reply), 2)


def _by_name(reply: ByName, protocol: int) -> bytes:
    if protocol == 3:
        return _map(Map(reply), 3)
    return _array([list(pair) for pair in reply], 2)


def _members(reply: Members, protocol: int) -> bytes:
    made = _array(reply, protocol)
    return b"~" + made[1:] if protocol == 3 else made


def _push(reply: Push, protocol: int) -> bytes:
    made = _array(reply, protocol)
    return b">" + made[1:] if protocol == 3 else made


def _nil_array(reply: NilArray, protocol: int) -> bytes:
    return b"*-1\r\n" if protocol == 2 else b"_\r\n"


_ENCODERS: dict[type, Callable[[Any, int], bytes]] = {
    bytes: _bulk,
    int: _integer,
    Simple: _simple,
    list: _array,
    Error: _error,
    BadSyntax: _error,
    bool: _bool,
    Double: _double,
    Formatted: _formatted,
    Map: _map,
    ByName: _by_name,
    Pairs: _pairs,
    Members: _members,
    Push: _push,
    NilArray: _nil_array,
}


def number_text(number: float, *, shortest: bool = False) -> bytes:
    """Format a double as Redis 7.0 does: 17 digits, without trailing zeros. `shortest`: as Redis
    7.2 and Valkey do, with as few digits as identify it."""
    return _shortest(number) if shortest else b"%.17g" % number


def _shortest(number: float) -> bytes:
    """Format a double as `d2string` of Redis 7.2 does, by fpconv."""
    if number != number or abs(number) == float("inf"):
        return b"%.17g" % number
    if number == int(number) and abs(number) <= 2**62:
        return b"-0" if number == 0 and str(number)[0] == "-" else b"%d" % int(number)
    sign, digits, exponent = Decimal(repr(number)).normalize().as_tuple()
    assert isinstance(exponent, int)
    text, size = "".join(map(str, digits)), len(digits)
    magnitude = abs(exponent + size - 1)
    if exponent >= 0 and magnitude < size + 7:
        made = text + "0" * exponent
    elif exponent < 0 and (exponent > -7 or magnitude < 4):
        point = size + exponent
        made = f"{text[:point]}.{text[point:]}" if point > 0 else f"0.{'0' * -point}{text}"
    else:
        rest = f".{text[1:]}" if size > 1 else ""
        made = f"{text[0]}{rest}e{'-' if exponent + size - 1 < 0 else '+'}{magnitude}"
    return (b"-" if sign else b"") + made.encode()


def to_resp2(reply: Any, *, shortest: bool = False) -> Any:
    """Convert a reply to its RESP2 form: None, int, bytes, `Simple`, `Error` or lists of these.
    `shortest`: see `number_text`."""
    kind = type(reply)
    if kind is Double:
        return number_text(reply, shortest=shortest)
    if kind is bool:
        return int(reply)
    if kind is NilArray:
        return None
    if kind is Formatted:
        return bytes(reply)
    if kind is ByName:
        return [[to_resp2(each, shortest=shortest) for each in pair] for pair in reply]
    if kind in (Map, Pairs):
        return [to_resp2(each, shortest=shortest) for pair in reply for each in pair]
    if kind in (list, Members, Push):
        return [to_resp2(each, shortest=shortest) for each in reply]
    return reply


def _one_line(text: bytes) -> bytes:
    return text.replace(b"\r", b" ").replace(b"\n", b" ")


def pack(command: Iterable[bytes]) -> bytes:
    """Encode a command, as a request or an entry of the replication stream."""
    words = list(command)
    return b"*%d\r\n" % len(words) + b"".join([b"$%d\r\n%s\r\n" % (len(w), w) for w in words])


class _NotResp(Exception):
    """The input is not valid RESP."""


class RequestParser:
    """Splits a stream of bytes into commands, incrementally. `error`: the protocol error, as Redis
    words it, after which no command is parsed; None before. `trusted`: whether the client has
    authenticated; until then requests are limited in size. Nothing is parsed twice."""

    def __init__(self, *, trusted: bool = True) -> None:
        self.trusted = trusted
        self.error: str | None = None
        self._buffer = bytearray()
        self._words: list[bytes] = []  # of an incomplete command
        self._word_bytes = 0  # their total size
        self._wanted = 0  # how many words it will have; 0: between commands
        self._length = -1  # of the word being read; -1: its header comes next

    def feed(self, data: bytes) -> list[Command]:
        """Parse more input; return the commands that it completes."""
        if not self._buffer and not self._wanted:
            commands, position = _whole_commands(data) if self.trusted else ([], 0)
            if position == len(data):
                return commands
            self._buffer += memoryview(data)[position:]
        else:
            commands = []
            self._buffer += data
            if self._length >= 0 and len(self._buffer) < self._length + 2:
                return commands  # in the middle of a long word
        position = 0
        try:
            while self.error is None:
                before = position
                position = self._step(position, commands)
                if position == before:
                    break
        except _NotResp as e:
            self.error = str(e)
            self._words, self._word_bytes, position = [], 0, len(self._buffer)
        del self._buffer[:position]
        return commands

    def buffered_bytes(self) -> int:
        """Return how many bytes of an incomplete command are buffered."""
        return len(self._buffer) + self._word_bytes

    def _step(self, position: int, commands: list[Command]) -> int:
        """Parse the next line or word if it is complete; return the new position."""
        if self._length >= 0:
            end = position + self._length
            if len(self._buffer) < end + 2:
                return position
            if self._buffer[end : end + 2] != b"\r\n":  # a torn file: Redis does not check
                raise _NotResp("expected CRLF after a bulk string")
            self._words.append(bytes(memoryview(self._buffer)[position:end]))
            self._word_bytes += self._length
            self._length = -1
            if len(self._words) == self._wanted:
                commands.append(tuple(self._words))
                self._words, self._wanted, self._word_bytes = [], 0, 0
            return end + 2
        end = self._buffer.find(b"\n", position)
        if end < 0:
            if len(self._buffer) - position >= INLINE_BYTES_MAX:
                head = self._buffer[position : position + 1]
                what = "bulk count string" if self._wanted else "inline request"
                raise _NotResp(f"too big {'mbulk count string' if head == b'*' else what}")
            return position
        if end - position >= INLINE_BYTES_MAX:
            raise _NotResp("too big inline request")
        self._line(bytes(self._buffer[position:end]), commands)
        return end + 1

    def _line(self, line: bytes, commands: list[Command]) -> None:
        if self._wanted:
            if line[:1] != b"$":
                got = line[:1].decode("latin-1").replace("\r", " ")
                raise _NotResp(f"expected '$', got '{got}'")
            most = BULK_BYTES_MAX if self.trusted else UNAUTHENTICATED_BULK_BYTES_MAX
            what = "bulk" if self.trusted else "unauthenticated bulk"
            self._length = _length(line, most, what)
        elif line[:1] == b"*":
            if not self.trusted and _length(line, ARGUMENTS_MAX, "multibulk") > (
                UNAUTHENTICATED_ARGUMENTS_MAX
            ):
                raise _NotResp("unauthenticated multibulk length")
            self._wanted = _length(line, ARGUMENTS_MAX, "multibulk")
        elif words := _inline(line.removesuffix(b"\r")):
            commands.append(words)


def _whole_commands(data: bytes) -> tuple[list[Command], int]:
    """The fast path for nearly all input: complete commands of short words without line breaks.
    Return (commands, position of the first byte that belongs to none of them)."""
    commands: list[Command] = []
    lines = data.split(b"\r\n")
    i, last = 0, len(lines) - 1
    try:
        while i < last:
            end = i + _LINES[lines[i]]
            if end > last:
                break
            words = lines[i + 2 : end : 2]
            if [_HEADS[len(w)] for w in words] != lines[i + 1 : end : 2]:
                break
            commands.append(tuple(words))
            i = end
    except (KeyError, IndexError):
        pass
    if i == last and not lines[last]:
        return commands, len(data)
    return commands, sum(map(len, lines[:i])) + 2 * i


_LINES = {b"*%d" % n: 2 * n + 1 for n in range(1, 65)}
_HEADS = [b"$%d" % n for n in range(1025)]


def _length(line: bytes, most: int, what: str) -> int:
    """Parse the number in a header; a negative number of arguments means 0."""
    digits = line[1:].removesuffix(b"\r")
    number = digits.removeprefix(b"-")
    strict = number.isdigit() and len(number) < 20 and (number[:1] != b"0" or digits == b"0")
    length = int(digits) if strict and line.endswith(b"\r") else most + 1
    if length > most or (what != "multibulk" and length < 0):
        raise _NotResp(f"invalid {what} length" if most == BULK_BYTES_MAX or "multi" in what
                       else f"{what} length")  # fmt: skip
    return max(0, length)


_BLANKS = re.compile(rb"[ \t\r\n\0]+")
_ESCAPES = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"a": b"\a"}


def _inline(line: bytes) -> Command:
    """Split a line into words, quoted as in a shell; raises `_NotResp` for unbalanced quotes."""
    if b'"' not in line and b"'" not in line:
        return tuple(word for word in _BLANKS.split(line) if word)
    words: list[bytes] = []
    i = 0
    while True:
        while line[i : i + 1].isspace():
            i += 1
        if i >= len(line):
            return tuple(words)
        word, i = _quoted(line, i)
        words.append(word)


def _quoted(line: bytes, i: int) -> tuple[bytes, int]:
    word = b""
    while i < len(line) and not line[i : i + 1].isspace():
        quote = line[i : i + 1]
        if quote not in (b'"', b"'"):
            word += quote
            i += 1
            continue
        i += 1
        while line[i : i + 1] != quote:
            if i >= len(line):
                raise _NotResp("unbalanced quotes in request")
            if quote == b'"' and line[i : i + 2] == b"\\x" and _is_hex(line[i + 2 : i + 4]):
                word += bytes([int(line[i + 2 : i + 4], 16)])
                i += 4
            elif line[i : i + 1] == b"\\" and (quote == b'"' or line[i + 1 : i + 2] == b"'"):
                escaped = line[i + 1 : i + 2]
                word += _ESCAPES.get(escaped, escaped) if quote == b'"' else escaped
                i += 2
            else:
                word += line[i : i + 1]
                i += 1
        i += 1
        if i < len(line) and not line[i : i + 1].isspace():
            raise _NotResp("unbalanced quotes in request")
    return word, i


def _is_hex(text: bytes) -> bool:
    return len(text) == 2 and all(c in b"0123456789abcdefABCDEF" for c in text)
