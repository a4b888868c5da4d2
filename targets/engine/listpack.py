"""Listpacks: Redis' serialisation of short lists of strings and integers (its listpack.c).

Layout: total bytes (4), number of elements (2), the elements, 0xFF. Each element ends with its own
length, so that a listpack can be read backwards.
"""

from __future__ import annotations

from collections.abc import Iterable

Element = bytes | int
HEADER = 6


def _backlen(size: int) -> bytes:
    """Encode a length in groups of seven bits, to be read from the right."""
    groups = [size & 127]
    while size := size >> 7:
        groups.append(size & 127)
    return bytes([groups[-1], *(g | 128 for g in groups[-2::-1])])


def _integer(n: int) -> bytes:
    if 0 <= n <= 127:
        return bytes([n])
    if -4096 <= n <= 4095:
        n &= 0x1FFF
        return bytes([0xC0 | n >> 8, n & 255])
    for code, size in ((0xF1, 2), (0xF2, 3), (0xF3, 4), (0xF4, 8)):
        if -(1 << 8 * size - 1) <= n < 1 << 8 * size - 1:
            return bytes([code]) + n.to_bytes(size, "little", signed=True)
    raise ValueError(f"{n} has more than 64 bits")


def as_integer(word: bytes) -> int | None:
    """Return the 64-bit integer whose canonical decimal form a string is, or None."""
    if len(word) > 20 or not word.removeprefix(b"-").isdigit():
        return None
    n = int(word)
    return n if b"%d" % n == word and -(1 << 63) <= n < 1 << 63 else None


def element(word: Element) -> bytes:
    """Encode one element; strings that are canonical integers are stored as integers."""
    number = as_integer(word) if isinstance(word, bytes) else word
    if number is not None:
        body = _integer(number)
    else:
        assert isinstance(word, bytes)
        size = len(word)
        if size < 64:
            head = bytes([0x80 | size])
        elif size < 4096:
            head = bytes([0xE0 | size >> 8, size & 255])
        else:
            head = b"\xf0" + size.to_bytes(4, "little")
        body = head + word
    return body + _backlen(len(body))


def pack(words: Iterable[Element]) -> bytes:
    """Return a listpack of elements."""
    elements = [element(word) for word in words]
    body = b"".join(elements)
    total, count = HEADER + len(body) + 1, min(len(elements), 65535)
    return total.to_bytes(4, "little") + count.to_bytes(2, "little") + body + b"\xff"


def unpack(data: bytes) -> list[bytes]:
    """Return the elements as strings; raises ValueError or IndexError for malformed data."""
    if len(data) < HEADER + 1 or int.from_bytes(data[:4], "little") != len(data):
        raise ValueError("a listpack with a wrong length")
    words: list[bytes] = []
    i = HEADER
    while data[i] != 0xFF:
        word, size = _read(data, i)
        words.append(word)
        i += size + len(_backlen(size))
        if i >= len(data):
            raise ValueError("a listpack without an end byte")
    return words


def _read(data: bytes, i: int) -> tuple[bytes, int]:
    """Return (the element at `i` as a string, its bytes without the length at its end)."""
    code = data[i]
    if code < 0x80:
        return b"%d" % code, 1
    if code < 0xC0:
        return _string(data, i + 1, code & 63), 1 + (code & 63)
    if code < 0xE0:
        n = (code & 31) << 8 | data[i + 1]
        return b"%d" % (n - 8192 if n & 4096 else n), 2
    if code < 0xF0:
        size = (code & 15) << 8 | data[i + 1]
        return _string(data, i + 2, size), 2 + size
    if code == 0xF0:
        size = int.from_bytes(data[i + 1 : i + 5], "little")
        return _string(data, i + 5, size), 5 + size
    if code <= 0xF4:
        size = (2, 3, 4, 8)[code - 0xF1]
        n = int.from_bytes(data[i + 1 : i + 1 + size], "little", signed=True)
        return b"%d" % n, 1 + size
    raise ValueError(f"a listpack element of unknown encoding {code:#x}")


def _string(data: bytes, i: int, size: int) -> bytes:
    if i + size >= len(data):
        raise ValueError("a truncated listpack element")
    return data[i : i + size]
