"""The libraries that Redis adds to Lua's own: cjson, bit, struct, cmsgpack, and redis.sha1hex.

Each function takes Lua values (bytes, numbers, booleans, None, tables) and raises `Error`. The
errors follow the wording of Redis 7.0, which differs from library to library.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import struct
from collections.abc import Callable, Sequence
from typing import Any

from targets.engine.resp import Error

ELEMENTS_MAX = 500_000  # of what is encoded or decoded
TABLE = 8  # elements
BYTES_MAX = 64 << 20
FORMAT_BYTES_MAX = 1 << 16
DEPTH_MAX = 1000
MSGPACK_DEPTH_MAX = 16
_BEGINS = (b",", b"[", b"{")  # of an element in JSON, at most
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+"', re.DOTALL)
_ESCAPES = {  # the backslash first, as it is in the others
    b"\\": b"\\\\", b'"': b'\\"', b"/": b"\\/",
    **{bytes([code]): b"\\u%04x" % code for code in (*range(32), 127)},
    b"\b": b"\\b", b"\f": b"\\f", b"\n": b"\\n", b"\r": b"\\r", b"\t": b"\\t",
}  # fmt: skip
_PLAIN = bytes(code for code in range(256) if bytes([code]) not in _ESCAPES)


class Size:
    """The size of a result so far. A table that occurs twice in it counts twice."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._elements = self._bytes = 0

    def add(self, length: int = 0) -> None:
        """Count an element of some bytes. Raises `Error` if the result is too big."""
        self._elements += 1
        self.grow(length)

    def grow(self, length: int) -> None:
        """Count some bytes. Raises `Error` if the result is too big."""
        self._bytes += length
        if self._elements > ELEMENTS_MAX or self._bytes > BYTES_MAX:
            raise Error(f"{self._what} too big")

    def expect(self, elements: int) -> None:
        """Count a table, as it takes as long as some elements. Raises `Error` if the result is too
        big with all of its elements."""
        self._elements += TABLE
        if self._elements + elements > ELEMENTS_MAX:
            raise Error(f"{self._what} too big")


class Tables:
    """Table operations of the Lua runtime. `make` builds a table from (key, value) pairs; `pairs`
    lists those of a table, ignoring its metatable, the first ELEMENTS_MAX + 1 if it has more;
    `null` is JSON's null."""

    def __init__(
        self,
        make: Callable[[Sequence[tuple[Any, Any]]], Any],
        is_table: Callable[[Any], bool],
        pairs: Callable[[Any], Sequence[tuple[Any, Any]]],
        null: Any,
        is_null: Callable[[Any], bool],
    ) -> None:
        self.make, self.is_table, self.pairs = make, is_table, pairs
        self.null, self.is_null = null, is_null

    def array_of(self, pairs: Sequence[tuple[Any, Any]]) -> list[Any] | None:
        """Return the values in order if the keys are 1 to n, else None."""
        keys = [k for k, _ in pairs]
        if not all(type(k) in (int, float) and k == int(k) for k in keys):
            return None
        if sorted(keys) != list(range(1, len(keys) + 1)):
            return None
        return [v for _, v in sorted(pairs)] if len(keys) == len(set(keys)) else None


def libraries(tables: Tables) -> dict[str, dict[str, Callable[..., Any]]]:
    """Return {library: {name: function}}."""
    return {
        "redis": {
            "sha1hex": lambda text=None, *_: (
                hashlib.sha1(_text(text, "sha1hex")).hexdigest().encode()
            ),
        },
        "cjson": {
            "encode": lambda value=None, *_: _encode(tables, value, 1, Size("JSON text")),
            "decode": lambda text=None, *_: _decode(tables, text),
        },
        "bit": _BIT,
        "struct": {"pack": _pack, "unpack": _unpack, "size": _size},
        "cmsgpack": {
            "pack": lambda *values: _msgpack_all(tables, values),
            "unpack": lambda text=None, *_: tuple(_unmsgpack_all(tables, text)),
        },
    }


def _text(value: Any, what: str) -> bytes:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return b"%.14g" % value
    if not isinstance(value, bytes):
        raise Error(f"bad argument #1 to '{what}' (string expected)")
    return value


# --- cjson


def _encode(tables: Tables, value: Any, depth: int, size: Size) -> bytes:
    size.add()
    if depth > DEPTH_MAX:
        raise Error(f"Cannot serialise, excessive depth ({depth})")
    if value is None:
        return b"null"
    if isinstance(value, bool):
        return b"true" if value else b"false"
    if isinstance(value, int | float):
        return _json_number(value)
    if isinstance(value, bytes):
        return _json_string(value, size)
    if not tables.is_table(value):
        if tables.is_null(value):
            return b"null"
        raise Error("Cannot serialise function: type not supported")
    pairs = tables.pairs(value)
    size.expect(len(pairs))
    keys = [k for k, _ in pairs]
    if pairs and all(type(k) in (int, float) and k >= 1 and k == int(k) for k in keys):
        last = int(max(keys))
        if last > 10 and last > 2 * len(keys):
            raise Error("Cannot serialise table: excessively sparse array")
        by_index = {int(k): v for k, v in pairs}
        items = [_encode(tables, by_index.get(i + 1), depth + 1, size) for i in range(last)]
        return b"[" + b",".join(items) + b"]"
    members = []
    for key, each in pairs:
        if isinstance(key, bytes):
            name = _json_string(key, size)
        elif isinstance(key, int | float) and not isinstance(key, bool):
            name = b'"%s"' % _json_number(key)
        else:
            raise Error("Cannot serialise table: table key must be a number or string")
        members.append(name + b":" + _encode(tables, each, depth + 1, size))
    return b"{" + b",".join(members) + b"}"


def _json_number(value: float) -> bytes:
    if math.isnan(value) or math.isinf(value):
        raise Error("Cannot serialise number: must not be NaN or Inf")
    return b"%.14g" % value


def _json_string(value: bytes, size: Size) -> bytes:
    size.grow(len(value))
    odd = value.translate(None, _PLAIN)
    if odd:
        size.grow(5 * len(odd))  # at most
        for byte, escape in _ESCAPES.items():
            if byte in odd:
                value = value.replace(byte, escape)
    return b'"' + value + b'"'


def _decode(tables: Tables, text: Any) -> Any:
    data = _text(text, "decode")
    if _elements(data) > ELEMENTS_MAX:
        raise Error(f"JSON text has more than {ELEMENTS_MAX} elements")
    try:
        value = json.loads(
            data.decode("utf-8", "surrogateescape"), object_pairs_hook=_Pairs, strict=False
        )
    except (ValueError, RecursionError):
        raise Error("Expected value but found invalid token at character 1") from None
    return _from_json(tables, value, 1)


def _elements(data: bytes) -> int:
    """Return an upper bound of the number of values in a JSON text."""
    if sum(map(data.count, _BEGINS)) > ELEMENTS_MAX:
        data = _STRING.sub(b"", data)
    return sum(map(data.count, _BEGINS))


class _Pairs(list[tuple[str, Any]]):
    """The members of a JSON object."""


def _from_json(tables: Tables, value: Any, depth: int) -> Any:
    if depth > DEPTH_MAX:
        raise Error(f"Found too many nested data structures ({depth})")
    if value is None:
        return tables.null
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape")
    if isinstance(value, _Pairs):
        named = {k.encode("utf-8", "surrogateescape"): v for k, v in value}
        return tables.make([(k, _from_json(tables, v, depth + 1)) for k, v in named.items()])
    if isinstance(value, list):
        items = enumerate(value, 1)
        return tables.make([(i, _from_json(tables, v, depth + 1)) for i, v in items])
    return value if isinstance(value, bool) else float(value)


# --- bit: operations on 32 bits, as in LuaJIT


def _bits(value: Any, name: str = "tobit") -> int:
    try:
        number = float(value)
        return round(number) & 0xFFFFFFFF
    except (TypeError, ValueError, OverflowError):
        raise Error(f"bad argument #1 to '{name}' (number expected)") from None


def _signed(bits: int) -> int:
    bits &= 0xFFFFFFFF
    return bits - (1 << 32) if bits & 0x80000000 else bits


def _fold(join: Callable[[int, int], int]) -> Callable[..., int]:
    def run(first: Any = None, *more: Any) -> int:
        bits = _bits(first)
        for each in more:
            bits = join(bits, _bits(each))
        return _signed(bits)

    return run


def _shift(move: Callable[[int, int], int]) -> Callable[..., int]:
    return lambda value=None, by=None, *_: _signed(move(_bits(value), _bits(by) & 31))


def _tohex(value: Any = None, digits: Any = 8, *_: Any) -> bytes:
    count = _signed(_bits(digits))
    text = b"%08x" % _bits(value)
    text = text.upper() if count < 0 else text
    return text[-min(8, abs(count)) :] if count else b""


_BIT: dict[str, Callable[..., Any]] = {
    "tobit": lambda value=None, *_: _signed(_bits(value)),
    "tohex": _tohex,
    "bnot": lambda value=None, *_: _signed(~_bits(value)),
    "band": _fold(lambda a, b: a & b),
    "bor": _fold(lambda a, b: a | b),
    "bxor": _fold(lambda a, b: a ^ b),
    "lshift": _shift(lambda a, n: a << n),
    "rshift": _shift(lambda a, n: a >> n),
    "arshift": _shift(lambda a, n: _signed(a) >> n),
    "rol": _shift(lambda a, n: a << n | a >> (32 - n)),
    "ror": _shift(lambda a, n: a >> n | a << (32 - n)),
    "bswap": lambda value=None, *_: _signed(int.from_bytes(_bits(value).to_bytes(4, "little"))),
}


# --- struct

_SIZES = {"b": 1, "B": 1, "h": 2, "H": 2, "l": 8, "L": 8, "T": 8, "i": 4, "I": 4, "f": 4, "d": 8}


def _items(form: Any) -> list[tuple[str, int, bool]]:
    """Parse a format into (letter, size, whether little-endian); `!` sets the alignment."""
    text = _text(form, "pack").decode("latin-1")
    if len(text) > FORMAT_BYTES_MAX:
        raise Error(f"format of more than {FORMAT_BYTES_MAX} bytes")
    items: list[tuple[str, int, bool]] = []
    little, align, offset, i = True, 1, 0, 0
    while i < len(text):
        letter, i = text[i], i + 1
        digits = ""
        while letter in "iIcs!" and i < len(text) and text[i].isdigit():
            digits, i = digits + text[i], i + 1
        if letter in "<>":
            little = letter == "<"
        elif letter == "=" or letter == " ":
            continue
        elif letter == "!":
            align = int(digits or 8)
        elif letter in "xsc":
            items.append((letter, int(digits or (letter != "s")), little))
        elif letter in _SIZES:
            size = int(digits) if digits else _SIZES[letter]
            if size > 32:
                raise Error(f"integral size {size} is larger than limit of 32")
            pad = -offset % min(align, size) if size else 0
            items += [("x", 1, little)] * pad
            items.append((letter, size, little))
            offset += pad + size
        else:
            raise Error(f"invalid format option [{letter}]")
    return items


_MISSING: Any = object()


def _pack(form: Any = None, *values: Any) -> bytes:
    parts, left, total = list[bytes](), iter(values), Size("packed string")
    for letter, size, little in _items(form):
        if letter == "x":
            parts.append(b"\0" * size)
            continue
        value = next(left, _MISSING)
        if value is _MISSING:
            raise Error("bad argument to 'pack' (no value)")
        if letter == "s":
            parts.append(_text(value, "pack") + b"\0")
        elif letter == "c":
            data = _text(value, "pack")
            if len(data) < size:
                raise Error("string too short")
            parts.append(data[:size] if size else data)
        elif letter in "fd":
            parts.append(struct.pack(("<" if little else ">") + letter, float(value)))
        else:
            bits = int(float(value)) & ((1 << 8 * size) - 1)
            parts.append(bits.to_bytes(size, "little" if little else "big"))
        total.add(len(parts[-1]))
    return b"".join(parts)


def _unpack(form: Any = None, data: Any = None, start: Any = 1, *_: Any) -> tuple[Any, ...]:
    text, at, found = _text(data, "unpack"), int(start) - 1, list[Any]()
    total = Size("unpacked string")
    if at < 0:
        raise Error("offset must be 1 or greater")
    for letter, size, little in _items(form):
        if letter == "s":
            end = text.find(b"\0", at)
            if end < 0:
                raise Error("unfinished string in data")
            found.append(text[at:end])
            at = end + 1
            continue
        if letter == "c" and size == 0:
            if not found or not isinstance(found[-1], int | float):
                raise Error("format `c0' needs a previous size")
            size = int(found.pop())
        if size < 0 or at + size > len(text):
            raise Error("data string too short")
        total.add(size)
        piece, at = text[at : at + size], at + size
        if letter == "c":
            found.append(piece)
        elif letter in "fd":
            found.append(struct.unpack(("<" if little else ">") + letter, piece)[0])
        elif letter != "x":
            number = int.from_bytes(piece, "little" if little else "big", signed=letter in "bhli")
            found.append(float(number))
    return (*found, at + 1)


def _size(form: Any = None, *_: Any) -> int:
    items = _items(form)
    if any(letter == "s" or (letter == "c" and not size) for letter, size, _ in items):
        raise Error("variable-size format in size")
    return sum(size for _, size, _ in items)


# --- cmsgpack


def _msgpack_all(tables: Tables, values: Sequence[Any]) -> bytes:
    size = Size("packed string")
    return b"".join(_msgpack(tables, value, 0, size) for value in values)


def _msgpack(tables: Tables, value: Any, depth: int, size: Size) -> bytes:
    size.add(len(value) if isinstance(value, bytes) else 0)
    if value is None or depth > MSGPACK_DEPTH_MAX:
        return b"\xc0"
    if isinstance(value, bool):
        return b"\xc3" if value else b"\xc2"
    if isinstance(value, int | float):
        whole = float(value) == math.floor(value) and -(2**63) <= value < 2**63 \
            if math.isfinite(value) else False  # fmt: skip
        return _msgpack_integer(int(value)) if whole else _msgpack_double(value)
    if isinstance(value, bytes):
        return _head(len(value), 0xA0, 32, (0xD9, 0xDA, 0xDB)) + value
    if not tables.is_table(value):
        return b"\xc0"
    pairs = tables.pairs(value)
    size.expect(len(pairs))
    array = tables.array_of(pairs)
    if array is not None and pairs:
        items = [_msgpack(tables, each, depth + 1, size) for each in array]
        return _head(len(items), 0x90, 16, (None, 0xDC, 0xDD)) + b"".join(items)
    if not pairs:
        return b"\x90"
    items = [_msgpack(tables, each, depth + 1, size) for pair in pairs for each in pair]
    return _head(len(pairs), 0x80, 16, (None, 0xDE, 0xDF)) + b"".join(items)


def _head(count: int, fix: int, fix_max: int, kinds: tuple[int | None, int, int]) -> bytes:
    if count < fix_max:
        return bytes([fix | count])
    if kinds[0] is not None and count < 256:
        return bytes([kinds[0], count])
    if count < 65536:
        return bytes([kinds[1]]) + count.to_bytes(2, "big")
    return bytes([kinds[2]]) + count.to_bytes(4, "big")


def _msgpack_integer(number: int) -> bytes:
    if 0 <= number < 128:
        return bytes([number])
    if -32 <= number < 0:
        return bytes([number & 0xFF])
    kinds = ((0xCC, 1), (0xCD, 2), (0xCE, 4), (0xCF, 8)) if number > 0 else (
        (0xD0, 1), (0xD1, 2), (0xD2, 4), (0xD3, 8))  # fmt: skip
    for kind, size in kinds:
        bits = 8 * size - (number < 0)
        if -(1 << bits) <= number < 1 << bits:
            return bytes([kind]) + (number & ((1 << 8 * size) - 1)).to_bytes(size, "big")
    raise Error("number out of range")


def _msgpack_double(value: float) -> bytes:
    try:
        if struct.unpack(">f", struct.pack(">f", value))[0] == value:
            return b"\xca" + struct.pack(">f", value)
    except OverflowError:
        pass
    return b"\xcb" + struct.pack(">d", value)


def _unmsgpack_all(tables: Tables, text: Any) -> list[Any]:
    data, at, found = _text(text, "unpack"), 0, list[Any]()
    size = Size("unpacked value")
    try:
        while at < len(data):
            value, at = _unmsgpack(tables, data, at, 0, size)
            found.append(value)
    except (IndexError, struct.error):
        raise Error("Missing bytes in input.") from None
    return found


_NUMBERS = {
    0xCA: ">f", 0xCB: ">d", 0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q", 0xD0: ">b",
    0xD1: ">h", 0xD2: ">i", 0xD3: ">q",
}  # fmt: skip
_COUNTED = {
    0xC4: (1, "s"), 0xC5: (2, "s"), 0xC6: (4, "s"), 0xD9: (1, "s"), 0xDA: (2, "s"), 0xDB: (4, "s"),
    0xDC: (2, "a"), 0xDD: (4, "a"), 0xDE: (2, "m"), 0xDF: (4, "m"),
}  # fmt: skip


def _unmsgpack(tables: Tables, data: bytes, at: int, depth: int, size: Size) -> tuple[Any, int]:
    size.add()
    kind, at = data[at], at + 1
    if depth > DEPTH_MAX:
        raise Error("Bad data format in input.")
    if kind < 0x80 or kind >= 0xE0:
        return float(kind if kind < 0x80 else kind - 256), at
    if kind in (0xC0, 0xC2, 0xC3):
        return {0xC0: None, 0xC2: False, 0xC3: True}[kind], at
    if kind in _NUMBERS:
        width = struct.calcsize(_NUMBERS[kind])
        return float(struct.unpack(_NUMBERS[kind], data[at : at + width])[0]), at + width
    if kind in _COUNTED:
        width, what = _COUNTED[kind]
        if at + width > len(data):
            raise IndexError
        count, at = int.from_bytes(data[at : at + width], "big"), at + width
    elif kind < 0xC0:
        what = "m" if kind < 0x90 else "a" if kind < 0xA0 else "s"
        count = kind & (0x1F if what == "s" else 0x0F)
    else:
        raise Error("Bad data format in input.")
    if what == "s":
        if at + count > len(data):
            raise IndexError
        return data[at : at + count], at + count
    pairs = []
    for i in range(count):
        key: Any = i + 1
        if what == "m":
            key, at = _unmsgpack(tables, data, at, depth + 1, size)
        value, at = _unmsgpack(tables, data, at, depth + 1, size)
        if key is None or key != key:  # Lua's own error for NaN would not be caught
            raise Error("Bad data format in input.")
        pairs.append((key, value))
    return tables.make(pairs), at
