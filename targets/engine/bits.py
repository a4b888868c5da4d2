"""Commands on the bits of strings."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from targets.engine.execution import Call, Commands
from targets.engine.parsing import integer
from targets.engine.resp import BadSyntax, Command, Error
from targets.engine.strings import STRING_BYTES_MAX
from targets.engine.table import ONE

COMMANDS: Commands = Commands()

OFFSET = "ERR bit offset is not an integer or out of range"
BIT = "ERR bit is not an integer or out of range"
TYPE = (
    "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 "
    "is."
)


def _string(call: Call, key: bytes) -> bytes:
    value: bytes | None = call.look(key, bytes)
    return b"" if value is None else value


def _offset(word: bytes, width: int = 0) -> int:
    """Parse a bit offset; with `width`, `#n` means n times the width."""
    scale = width if width and word[:1] == b"#" else 1
    offset = scale * integer(word.removeprefix(b"#") if width else word, OFFSET)
    if offset < 0 or offset >> 3 >= STRING_BYTES_MAX:
        raise Error(OFFSET)
    return offset


def _bit(value: bytes | bytearray, offset: int) -> int:
    at = offset >> 3
    return value[at] >> (7 - (offset & 7)) & 1 if at < len(value) else 0


@COMMANDS.command("GETBIT", 3, "readonly fast", ONE)
def _getbit(call: Call, cmd: Command) -> Any:
    offset = _offset(cmd[2])
    return _bit(_string(call, cmd[1]), offset)


@COMMANDS.command("SETBIT", 4, "write denyoom", ONE)
def _setbit(call: Call, cmd: Command) -> Any:
    offset, bit = _offset(cmd[2]), integer(cmd[3], BIT)
    if bit not in (0, 1):
        raise Error(BIT)
    before = _string(call, cmd[1])
    value = bytearray(before.ljust((offset >> 3) + 1, b"\0"))
    was, mask = _bit(value, offset), 0x80 >> (offset & 7)
    if len(value) == len(before) and was == bit:
        return was
    value[offset >> 3] = value[offset >> 3] & ~mask | (mask if bit else 0)
    call.put(cmd[1], bytes(value))
    return was


class _Span(NamedTuple):
    """A range of bits; `last` is included."""

    first: int
    last: int


def _span(words: Command, size: int, *, unit_first: bool = False) -> _Span:
    """Parse [start [end [BYTE | BIT]]] for a string of `size` bytes. `unit_first`: check the unit
    before the end, as BITPOS does."""
    first, *given = map(integer, words[: 1 if unit_first and len(words) == 3 else 2])
    unit = 8
    if len(words) == 3:
        if words[2].upper() not in (b"BIT", b"BYTE"):
            raise BadSyntax
        unit = 1 if words[2].upper() == b"BIT" else 8
    total = size * 8 // unit
    last = (given[0] if given else integer(words[1])) if len(words) > 1 else total - 1
    first = max(0, first + total if first < 0 else first)
    last = min(max(0, last + total if last < 0 else last), total - 1)
    return _Span(first * unit, last * unit + unit - 1)


def _bits_of(value: bytes, span: _Span) -> int:
    """Return the bits of a span as a number."""
    last = span.last >> 3
    number = int.from_bytes(value[span.first >> 3 : last + 1])
    number >>= 7 - (span.last & 7)
    return number & ((1 << (span.last - span.first + 1)) - 1)


def _check_span(call: Call, words: Command) -> None:
    """Check the arguments of BITCOUNT after the key, which newer servers do before they look for
    the key."""
    fewest = 1 if call.version.since(valkey=(8, 1)) else 2
    most = 3 if call.version.since((7, 0), (0, 0)) else 2
    if words and not fewest <= len(words) <= most:
        raise BadSyntax
    for word in words[:2]:
        integer(word)
    if len(words) == 3 and words[2].upper() not in (b"BIT", b"BYTE"):
        raise BadSyntax


@COMMANDS.command("BITCOUNT", -2, "readonly", ONE)
def _bitcount(call: Call, cmd: Command) -> Any:
    if call.version.since((7, 4), (8, 1)):
        _check_span(call, cmd[2:])
    value = call.look(cmd[1], bytes)
    if value is None:
        return 0
    if len(cmd) == 2:
        return int.from_bytes(value).bit_count()
    _check_span(call, cmd[2:])
    if (
        len(cmd) > 3
        and integer(cmd[2]) < 0
        and integer(cmd[3]) < 0
        and (integer(cmd[2]) > integer(cmd[3]))
    ):
        return 0
    span = _span(cmd[2:], len(value))
    return 0 if span.first > span.last else _bits_of(value, span).bit_count()


@COMMANDS.command("BITPOS", -3, "readonly", ONE)
def _bitpos(call: Call, cmd: Command) -> Any:
    bit = integer(cmd[2])
    if bit not in (0, 1):
        raise Error("ERR The bit argument must be 1 or 0.")
    if call.version.since((7, 4), (8, 1)):
        if len(cmd) > 6:
            raise BadSyntax
        if len(cmd) > 3:
            _span(cmd[3:], 0, unit_first=True)
    value = call.look(cmd[1], bytes)
    if value is None:
        return -1 if bit else 0
    if len(cmd) > (6 if call.version.since((7, 0), (0, 0)) else 5):
        raise BadSyntax
    span = (
        _span(cmd[3:], len(value), unit_first=True)
        if len(cmd) > 3
        else _Span(0, len(value) * 8 - 1)
    )
    if span.first > span.last:
        return -1
    number, width = _bits_of(value, span), span.last - span.first + 1
    if not bit:
        number ^= (1 << width) - 1
    if number:
        return span.first + width - number.bit_length()
    return -1 if bit or len(cmd) > 4 else span.last + 1  # without an end, zeros follow the string


@COMMANDS.command("BITOP", -4, "write denyoom", (2, -1, 1))
def _bitop(call: Call, cmd: Command) -> Any:
    operation = cmd[1].upper()
    newer = operation in _TWO_OR_MORE or operation == b"ONE"
    if operation not in (b"AND", b"OR", b"XOR", b"NOT") and not (
        newer and call.version.since((8, 2))
    ):
        raise BadSyntax
    if operation == b"NOT" and len(cmd) != 4:
        raise Error("ERR BITOP NOT must be called with a single source key.")
    if operation in _TWO_OR_MORE and len(cmd) < 5:
        name = operation.decode()
        raise Error(f"ERR BITOP {name} must be called with at least two source keys.")
    values = [_string(call, key) for key in cmd[3:]]
    size = max(map(len, values))
    numbers = [int.from_bytes(value.ljust(size, b"\0")) for value in values]
    if size:
        call.peek(cmd[2])
        made = _combined(operation, numbers, (1 << 8 * size) - 1)
        call.put(cmd[2], made.to_bytes(size), keep_ttl=False)
    else:
        call.remove(cmd[2])
    return size


_TWO_OR_MORE: Final = (b"DIFF", b"DIFF1", b"ANDOR")


def _combined(operation: bytes, numbers: list[int], ones: int) -> int:
    """Return the result of BITOP on numbers that have as many bits as `ones`."""
    made, others = numbers[0], 0
    if operation == b"NOT":
        return made ^ ones
    if operation == b"ONE":
        seen = twice = 0
        for number in numbers:
            twice |= seen & number
            seen |= number
        return seen & ~twice
    for number in numbers[1:]:
        others |= number
        if operation == b"AND":
            made &= number
        elif operation == b"OR":
            made |= number
        elif operation == b"XOR":
            made ^= number
    if operation == b"DIFF":
        return made & ~others
    if operation == b"DIFF1":
        return others & ~made
    return made & others if operation == b"ANDOR" else made


# --- BITFIELD: integers of any width


class _Operation(NamedTuple):
    kind: bytes
    signed: bool
    width: int
    offset: int
    value: int
    overflow: bytes


_KINDS: Final = {b"GET": 2, b"SET": 3, b"INCRBY": 3}


def _operations(words: list[bytes]) -> Iterable[_Operation]:
    overflow = b"WRAP"
    while words:
        kind = words.pop(0).upper()
        if kind == b"OVERFLOW" and words:
            overflow = words.pop(0).upper()
            if overflow not in (b"WRAP", b"SAT", b"FAIL"):
                raise Error("ERR Invalid OVERFLOW type specified")
            continue
        if len(words) < _KINDS.get(kind, 1 << 30):
            raise BadSyntax
        signed, width = _width(words.pop(0))
        offset = _offset(words.pop(0), width)
        value = integer(words.pop(0)) if kind != b"GET" else 0
        yield _Operation(kind, signed, width, offset, value, overflow)


def _width(word: bytes) -> tuple[bool, int]:
    signed = word[:1] == b"i"
    width = integer(word[1:], TYPE) if word[:1] in (b"i", b"u") else 0
    if not 1 <= width <= (64 if signed else 63):
        raise Error(TYPE)
    return signed, width


def _field(value: bytes | bytearray, o: _Operation) -> int:
    end = o.offset + o.width
    part = bytes(value[o.offset >> 3 : (end + 7) >> 3]).ljust(((end + 7) >> 3) - (o.offset >> 3),
                                                             b"\0")  # fmt: skip
    number = int.from_bytes(part) >> (-end & 7) & ((1 << o.width) - 1)
    return number - (1 << o.width) if o.signed and number >> (o.width - 1) else number


def _put_field(value: bytearray, o: _Operation, number: int) -> None:
    end = o.offset + o.width
    first, last = o.offset >> 3, (end + 7) >> 3
    mask = ((1 << o.width) - 1) << (-end & 7)
    before = int.from_bytes(value[first:last])
    after = before & ~mask | (number << (-end & 7)) & mask
    value[first:last] = after.to_bytes(last - first)


def _fitting(o: _Operation, number: int) -> int | None:
    """Apply the operation's OVERFLOW mode to a number; None if FAIL rejects it."""
    high = (1 << (o.width - 1 if o.signed else o.width)) - 1
    low = -high - 1 if o.signed else 0
    if low <= number <= high:
        return number
    if o.overflow == b"FAIL":
        return None
    if o.overflow == b"SAT":
        return low if number < low else high
    number &= (1 << o.width) - 1
    return number - (1 << o.width) if o.signed and number >> (o.width - 1) else number


@COMMANDS.command("BITFIELD", -2, "write denyoom", ONE)
def _bitfield(call: Call, cmd: Command) -> Any:
    operations = list(_operations(list(cmd[2:])))
    before = _string(call, cmd[1])
    ends = [o.offset + o.width for o in operations if o.kind != b"GET"]
    value = bytearray(before.ljust((max(ends, default=0) + 7) >> 3, b"\0"))
    changed = len(value) > len(before)
    replies: list[int | None] = []
    for o in operations:
        was = _field(value, o)
        if o.kind == b"GET":
            replies.append(was)
            continue
        wanted = was + o.value
        if o.kind == b"SET":
            wanted = o.value if o.signed else o.value % (1 << 64)
        number = _fitting(o, wanted)
        if number is None:
            replies.append(None)
            continue
        _put_field(value, o, number)
        changed = changed or number != was
        replies.append(was if o.kind == b"SET" else number)
    if changed:
        call.put(cmd[1], bytes(value))
    return replies


@COMMANDS.command("BITFIELD_RO", -2, "readonly fast", ONE)
def _bitfield_ro(call: Call, cmd: Command) -> Any:
    operations = list(_operations(list(cmd[2:])))
    if any(o.kind != b"GET" for o in operations):
        raise Error("ERR BITFIELD_RO only supports the GET subcommand")
    value = _string(call, cmd[1])
    return [_field(value, o) for o in operations]
