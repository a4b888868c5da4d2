"""Commands on strings."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, NamedTuple

from targets.engine.execution import Call, Commands
from targets.engine.parsing import INT64, NOT_A_FLOAT, integer, printable
from targets.engine.resp import OK, BadSyntax, Command, Error, Map
from targets.engine.table import ALL, ONE

COMMANDS: Commands = Commands()

NUMBER_BYTES_MAX = 4000
STRING_BYTES_MAX = 512 * 1024 * 1024
TOO_LONG = "ERR string exceeds maximum allowed size (proto-max-bulk-len)"


@COMMANDS.command("GET", 2, "readonly fast", ONE)
def _get(call: Call, cmd: Command) -> Any:
    return call.look(cmd[1], bytes)


@COMMANDS.command("STRLEN", 2, "readonly fast", ONE)
def _strlen(call: Call, cmd: Command) -> Any:
    return len(call.look(cmd[1], bytes) or b"")


@COMMANDS.command("MGET", -2, "readonly fast", ALL)
def _mget(call: Call, cmd: Command) -> Any:
    values = [call.peek(key) for key in cmd[1:]]
    return [value if isinstance(value, bytes) else None for value in values]


class SetOptions(NamedTuple):
    """The options of SET. `equals`: the value that the key must have (IFEQ of Valkey). `end_ms`:
    when the key expires, in milliseconds since 1970."""

    condition: bytes | None
    equals: bytes | None
    get: bool
    keep_ttl: bool
    end_ms: int | None


def _set_options(call: Call, words: list[bytes]) -> SetOptions:
    condition: bytes | None = None
    expire: tuple[bytes, bytes] | None = None
    equals: bytes | None = None
    get = keep_ttl = False
    while words:
        word = words.pop(0).upper()
        if word in (b"NX", b"XX") and condition in (None, word) and equals is None:
            condition = word
        elif (
            word == b"IFEQ"
            and words
            and condition is None
            and equals is None
            and (call.version.since(valkey=(8, 1)))
        ):
            equals = words.pop(0)
        elif word == b"GET":
            get = True
        elif word == b"KEEPTTL" and expire is None:
            keep_ttl = True
        elif word in (b"EX", b"PX", b"EXAT", b"PXAT") and words and not (expire or keep_ttl):
            expire = word, words.pop(0)
        else:
            raise BadSyntax
    if get and condition == b"NX" and not call.version.since((7, 0), (0, 0)):
        raise BadSyntax
    end_ms = None if expire is None else end_of(call, *expire, "set")
    return SetOptions(condition, equals, get, keep_ttl, end_ms)


def end_of(call: Call, unit: bytes, word: bytes, name: str) -> int:
    """Return when a key expires, in milliseconds since 1970, from an option such as `EX 10`."""
    given = integer(word)
    end_ms = given * (1000 if unit[:1] == b"E" else 1)
    end_ms += 0 if unit.endswith(b"AT") else call.time_ms
    if given <= 0 or end_ms >= INT64:
        raise Error(f"ERR invalid expire time in '{name}' command")
    return end_ms


@COMMANDS.command("SET", -3, "write denyoom", ONE)
def _set(call: Call, cmd: Command) -> Any:
    key, value = cmd[1], cmd[2]
    if len(cmd) == 3:
        call.peek(key)
        call.put(key, value, keep_ttl=False)
        return OK
    options = _set_options(call, list(cmd[3:]))
    compares = options.get or options.equals is not None
    before = call.look(key, bytes) if compares else call.peek(key)
    reply: Any = before if options.get else OK
    exists = call.peek(key) is not None
    if (options.condition == b"NX" and exists) or (options.condition == b"XX" and not exists):
        return before if options.get else None
    if options.equals is not None and before != options.equals:
        return before if options.get else None
    call.put(key, value, keep_ttl=options.keep_ttl)
    if options.equals is not None:
        call.instead((b"SET", key, value, *([b"KEEPTTL"] if options.keep_ttl else [])))
    elif options.get:
        call.instead(tuple(w for i, w in enumerate(cmd) if i < 3 or w.upper() != b"GET"))
    if options.end_ms is not None:
        _set_until(call, key, value, options.end_ms)
    return reply


def _set_until(call: Call, key: bytes, value: bytes, end_ms: int) -> None:
    """Let a string that was just stored expire; delete it if `end_ms` has passed."""
    if end_ms <= call.time_ms:
        call.remove(key)
        call.instead((b"DEL", key))
    else:
        call.state.expire(key, end_ms)
        call.instead((b"SET", key, value, b"PXAT", b"%d" % end_ms))


def _setex_of(call: Call, cmd: Command, unit: bytes) -> Any:
    end_ms = end_of(call, unit, cmd[2], printable(cmd[0]).lower())
    call.peek(cmd[1])
    call.put(cmd[1], cmd[3], keep_ttl=False)
    _set_until(call, cmd[1], cmd[3], end_ms)
    return OK


@COMMANDS.command("SETEX", 4, "write denyoom", ONE)
def _setex(call: Call, cmd: Command) -> Any:
    return _setex_of(call, cmd, b"EX")


@COMMANDS.command("PSETEX", 4, "write denyoom", ONE)
def _psetex(call: Call, cmd: Command) -> Any:
    return _setex_of(call, cmd, b"PX")


@COMMANDS.command("SETNX", 3, "write denyoom fast", ONE)
def _setnx(call: Call, cmd: Command) -> Any:
    if call.peek(cmd[1]) is not None:
        return 0
    call.put(cmd[1], cmd[2])
    return 1


@COMMANDS.command("GETSET", 3, "write denyoom fast", ONE)
def _getset(call: Call, cmd: Command) -> Any:
    before = call.look(cmd[1], bytes)
    call.put(cmd[1], cmd[2], keep_ttl=False)
    call.instead((b"SET", cmd[1], cmd[2]))
    return before


@COMMANDS.command("GETDEL", 2, "write fast", ONE)
def _getdel(call: Call, cmd: Command) -> Any:
    value = call.look(cmd[1], bytes)
    if value is not None:
        call.remove(cmd[1])
        call.instead((b"DEL", cmd[1]))
    return value


@COMMANDS.command("GETEX", -2, "write fast", ONE)
def _getex(call: Call, cmd: Command) -> Any:
    unit, word = _getex_option(list(cmd[2:]))
    if unit in (b"EX", b"PX", b"EXAT", b"PXAT") and call.version.since(valkey=(9, 1)):
        end_of(call, unit, word, "getex")  # checked before the key is looked for
    value = call.look(cmd[1], bytes)
    if value is None:
        return None
    if unit == b"PERSIST":
        if call.state.expires.pop(cmd[1], None) is not None:
            call.touch(cmd[1])
            call.instead((b"PERSIST", cmd[1]))
    elif unit is not None:
        end_ms = end_of(call, unit, word, "getex")
        if end_ms <= call.time_ms:
            call.remove(cmd[1])
            call.instead((b"DEL", cmd[1]))
        else:
            call.state.expire(cmd[1], end_ms)
            call.touch(cmd[1])
            call.instead((b"PEXPIREAT", cmd[1], b"%d" % end_ms))
    return value


def _getex_option(words: list[bytes]) -> tuple[bytes | None, bytes]:
    unit = words[0].upper() if words else None
    if unit is None or (unit == b"PERSIST" and len(words) == 1):
        return unit, b""
    if unit in (b"EX", b"PX", b"EXAT", b"PXAT") and len(words) == 2:
        return unit, words[1]
    raise BadSyntax


@COMMANDS.command("MSET", -3, "write denyoom", (1, -1, 2))
def _mset(call: Call, cmd: Command) -> Any:
    if len(cmd) % 2 == 0:
        raise Error("ERR wrong number of arguments for 'mset' command")
    for key, value in zip(cmd[1::2], cmd[2::2], strict=True):
        call.peek(key)
        call.put(key, value, keep_ttl=False)
    return OK


@COMMANDS.command("MSETNX", -3, "write denyoom", (1, -1, 2))
def _msetnx(call: Call, cmd: Command) -> Any:
    if len(cmd) % 2 == 0:
        raise Error("ERR wrong number of arguments for 'msetnx' command")
    exist = [call.peek(key) is not None for key in cmd[1::2]]  # reads all of the keys
    if any(exist):
        return 0
    for key, value in zip(cmd[1::2], cmd[2::2], strict=True):
        call.put(key, value, keep_ttl=False)
    return 1


@COMMANDS.command("APPEND", 3, "write denyoom fast", ONE)
def _append(call: Call, cmd: Command) -> Any:
    before = call.look(cmd[1], bytes) or b""
    if len(before) + len(cmd[2]) > STRING_BYTES_MAX:
        raise Error(TOO_LONG)
    call.put(cmd[1], before + cmd[2])
    return len(before) + len(cmd[2])


def _range(call: Call, cmd: Command) -> Any:
    first, last = integer(cmd[2]), integer(cmd[3])
    value = call.look(cmd[1], bytes) or b""
    size = len(value)
    if first < 0 and last < 0 and first > last:
        return b""
    first = max(0, first + size if first < 0 else first)
    last = max(0, last + size if last < 0 else last)
    return value[first : last + 1]


@COMMANDS.command("GETRANGE", 4, "readonly", ONE)
def _getrange(call: Call, cmd: Command) -> Any:
    return _range(call, cmd)


@COMMANDS.command("SUBSTR", 4, "readonly", ONE)
def _substr(call: Call, cmd: Command) -> Any:
    return _range(call, cmd)


@COMMANDS.command("SETRANGE", 4, "write denyoom", ONE)
def _setrange(call: Call, cmd: Command) -> Any:
    offset, part = integer(cmd[2]), cmd[3]
    if offset < 0:
        raise Error("ERR offset is out of range")
    before = call.look(cmd[1], bytes) or b""
    if not part:
        return len(before)
    if offset + len(part) > STRING_BYTES_MAX:
        raise Error(TOO_LONG)
    value = before.ljust(offset, b"\0")
    value = value[:offset] + part + value[offset + len(part) :]
    call.put(cmd[1], value)
    return len(value)


# --- numbers


def _increment(call: Call, key: bytes, by: int) -> int:
    value = call.look(key, bytes)
    after = (0 if value is None else integer(value)) + by
    if not -INT64 <= after < INT64:
        raise Error("ERR increment or decrement would overflow")
    call.put(key, b"%d" % after)
    return after


@COMMANDS.command("INCR", 2, "write denyoom fast", ONE)
def _incr(call: Call, cmd: Command) -> Any:
    return _increment(call, cmd[1], 1)


@COMMANDS.command("INCRBY", 3, "write denyoom fast", ONE)
def _incrby(call: Call, cmd: Command) -> Any:
    return _increment(call, cmd[1], integer(cmd[2]))


@COMMANDS.command("DECR", 2, "write denyoom fast", ONE)
def _decr(call: Call, cmd: Command) -> Any:
    return _increment(call, cmd[1], -1)


@COMMANDS.command("DECRBY", 3, "write denyoom fast", ONE)
def _decrby(call: Call, cmd: Command) -> Any:
    by = integer(cmd[2])
    if by == -INT64 and call.version.since((7, 0), (0, 0)):
        raise Error("ERR decrement would overflow")
    return _increment(call, cmd[1], -by)


@COMMANDS.command("INCRBYFLOAT", 3, "write denyoom fast", ONE)
def _incrbyfloat(call: Call, cmd: Command) -> Any:
    before = call.look(cmd[1], bytes)
    number = parse_long_double(b"0" if before is None else before, NOT_A_FLOAT)
    after = add_long_double(number, parse_long_double(cmd[2], NOT_A_FLOAT))
    call.put(cmd[1], after)
    call.instead((b"SET", cmd[1], after, b"KEEPTTL"))
    return after


def add_long_double(number: Fraction, by: Fraction) -> bytes:
    """Return the sum of two numbers, rounded to an 80-bit float and formatted as Redis does."""
    scaled = _extended(number + by) * 10**17
    whole = round(scaled)  # half to even, as printf does
    sign = "-" if whole < 0 else ""
    before, after = divmod(abs(whole), 10**17)
    made = f"{_digits(before)}.{after:017d}".rstrip("0").rstrip(".")
    return b"0" if made == "0" else f"{sign}{made}".encode()


def _digits(number: int) -> str:
    """Format a number of any length in decimal: Python limits `str` to 4300 digits."""
    parts = []
    while number >= 10**4000:
        number, part = divmod(number, 10**4000)
        parts.append(f"{part:04000d}")
    return "".join([str(number), *reversed(parts)])


def parse_long_double(word: bytes, error: str) -> Fraction:
    """Parse an 80-bit float into a Fraction. Raises `Error` with the text `error` if malformed or
    out of range, and with another text for infinity."""
    text = word.decode("latin-1").lower()
    if text.lstrip("+-") in ("inf", "infinity"):
        raise Error("ERR increment would produce NaN or Infinity")
    if len(text) > NUMBER_BYTES_MAX:
        raise Error(error)
    mantissa, mark, exponent = text.partition("p" if "x" in text else "e")
    sign, digits = exponent[:1] in ("+", "-"), exponent.lstrip("+-")
    exponent = exponent[: int(sign)] + (digits.lstrip("0") or digits[:1])
    if mark and not digits.isdecimal():
        raise Error(error)
    if exponent.lstrip("+-").isdecimal() and len(exponent) > 6:
        if any(digit in "123456789abcdef" for digit in mantissa.replace("0x", "")):
            raise Error(error)
        return Fraction(0)
    try:
        if not text or text != text.strip() or "_" in text or "/" in text:
            raise ValueError
        number = _hexadecimal(mantissa, exponent) if "x" in text else _decimal(mantissa, exponent)
    except ValueError:
        raise Error(error) from None
    if abs(number) >= Fraction(2) ** 16384 or 0 < abs(number) < Fraction(2) ** -16445:
        raise Error(error)
    return _extended(number)


def _decimal(mantissa: str, exponent: str) -> Fraction:
    return Fraction(mantissa) * Fraction(10) ** int(exponent or "0")


def _hexadecimal(mantissa: str, exponent: str) -> Fraction:
    sign = -1 if mantissa.startswith("-") else 1
    whole, _, part = mantissa.lstrip("+-").removeprefix("0x").partition(".")
    value = Fraction(int(whole + part or "z", 16), 16 ** len(part))
    return sign * value * Fraction(2) ** int(exponent or "0")


def _extended(number: Fraction) -> Fraction:
    """Round to a mantissa of 64 bits, half to even."""
    if number == 0:
        return number
    exponent = abs(number.numerator).bit_length() - number.denominator.bit_length() - 64
    scale = Fraction(2) ** exponent
    while abs(number) >= scale * 2**64:
        scale *= 2
    return round(number / scale) * scale


# --- the longest common subsequence


@COMMANDS.command("LCS", -3, "readonly", (1, 2, 1))
def _lcs(call: Call, cmd: Command) -> Any:
    values = [call.peek(key) for key in cmd[1:3]]
    if any(value is not None and not isinstance(value, bytes) for value in values):
        raise Error("ERR The specified keys must contain string values")
    options = _lcs_options(list(cmd[3:]))
    one, two = (value if isinstance(value, bytes) else b"" for value in values)
    return _common(one, two, *options)


def _lcs_options(words: list[bytes]) -> tuple[bool, bool, bool, int]:
    length = idx = with_length = False
    least = 0
    while words:
        word = words.pop(0).upper()
        if word == b"LEN":
            length = True
        elif word == b"IDX":
            idx = True
        elif word == b"WITHMATCHLEN":
            with_length = True
        elif word == b"MINMATCHLEN" and words:
            least = max(0, integer(words.pop(0)))
        else:
            raise BadSyntax
    if length and idx:
        raise Error("ERR If you want both the length and indexes, please just use IDX.")
    return length, idx, with_length, least


def _common(one: bytes, two: bytes, length: bool, idx: bool, with_length: bool, least: int) -> Any:
    table = [[0] * (len(two) + 1)]
    for a in one:
        above, row = table[-1], [0]
        for j, b in enumerate(two):
            row.append(above[j] + 1 if a == b else max(above[j + 1], row[j]))
        table.append(row)
    if length:
        return table[-1][-1]
    matches: list[Any] = []
    common = bytearray()
    i, j = len(one), len(two)
    run: list[int] = []  # the current run of matches: [end in one, end in two, length]
    while i and j:
        if one[i - 1] == two[j - 1]:
            common.append(one[i - 1])
            if run and run[0] - run[2] == i and run[1] - run[2] == j:
                run[2] += 1
            else:
                _add_match(matches, run, with_length, least)
                run = [i, j, 1]
            i, j = i - 1, j - 1
        elif table[i - 1][j] > table[i][j - 1]:
            i -= 1
        else:
            j -= 1
    _add_match(matches, run, with_length, least)
    if idx:
        return Map([(b"matches", matches), (b"len", table[-1][-1])])
    return bytes(reversed(common))


def _add_match(matches: list[Any], run: list[int], with_length: bool, least: int) -> None:
    if run and run[2] >= least:
        i, j, length = run
        match: list[Any] = [[i - length, i - 1], [j - length, j - 1]]
        matches.append([*match, length] if with_length else match)
