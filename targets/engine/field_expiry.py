"""Hash fields with a time to live: HEXPIRE and its relatives, HGETEX, HSETEX, HGETDEL.

They are commands of Redis 7.4 and 8.0 and of Valkey 9.0 and 9.1, which check their arguments in
different orders. Times and replies are those of the respective server.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from targets.engine.execution import Call, Commands
from targets.engine.hashes import fields_of, forget, settled
from targets.engine.parsing import INT64, integer
from targets.engine.resp import BadSyntax, Command, Error
from targets.engine.table import ONE, wrong_number
from targets.engine.values import Hash

COMMANDS: Commands = Commands()

END_MS_MAX: Final = 2**46 - 1  # of a field's time to live in Redis
MISSING, UNMET, DONE, DELETED = -2, 0, 1, 2  # replies of HEXPIRE; -1: no time to live
NO_TTL: Final = -1
UNITS: Final = (b"EX", b"PX", b"EXAT", b"PXAT")
NUMFIELDS = "ERR numfields should be greater than 0 and match the provided number of fields"
FIELDS_MISSING = "ERR Mandatory argument FIELDS is missing or not at the right position"
FIELDS_MATCH = "ERR The `numfields` parameter must match the number of arguments"
FIELDS_POSITIVE = "ERR Number of fields must be a positive integer"
TOO_LATE_UNIT = "ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified"


def _of_valkey(call: Call) -> bool:
    return call.version.kind == "valkey"


def _counted(call: Call, words: Command, positive: str, each: int = 1) -> Sequence[bytes]:
    """Return what follows FIELDS and the number of fields, which it must match. `words`: from
    FIELDS on."""
    if not words or words[0].upper() != b"FIELDS":
        raise Error(FIELDS_MISSING)
    rest = words[2:]
    if _of_valkey(call):
        if len(words) < 2 or integer(words[1]) <= 0 or len(rest) != each * integer(words[1]):
            raise Error(NUMFIELDS)
        return rest
    try:
        count = integer(words[1]) if len(words) > 1 else 0
    except Error:
        count = 0
    if count <= 0:
        raise Error(positive)
    if len(rest) != each * count:
        raise Error(FIELDS_MATCH)
    return rest


def _end_ms(call: Call, word: bytes, name: str, *, seconds: bool, absolute: bool) -> int:
    """Return when a field expires, in milliseconds since 1970."""
    given = integer(word)
    redis = not _of_valkey(call)
    if given < 0:
        raise Error("ERR invalid expire time, must be >= 0" if redis else _invalid(name))
    end_ms = given * (1000 if seconds else 1)
    most = END_MS_MAX if redis else INT64 - 1
    if end_ms > most:
        raise Error(_invalid(name))
    end_ms += 0 if absolute else call.time_ms
    if end_ms > most:
        raise Error(_invalid(name))
    return end_ms


def _invalid(name: str) -> str:
    return f"ERR invalid expire time in '{name}' command"


# --- HEXPIRE, HPEXPIRE, HEXPIREAT, HPEXPIREAT


def _expire(name: str, *, seconds: bool, absolute: bool) -> Callable[[Call, Command], Any]:
    def run(call: Call, cmd: Command) -> Any:
        if _of_valkey(call):
            at = next((i for i in range(3, len(cmd)) if cmd[i].upper() == b"FIELDS"), len(cmd))
            condition = _conditions(cmd[3:at])
            fields = _counted(call, cmd[at:], NUMFIELDS)
            end_ms = _end_ms(call, cmd[2], name, seconds=seconds, absolute=absolute)
            value = call.look(cmd[1], Hash)
        else:
            value = call.look(cmd[1], Hash)
            end_ms = _end_ms(call, cmd[2], name, seconds=seconds, absolute=absolute)
            word = cmd[3].upper()
            condition = frozenset({word} & {b"NX", b"XX", b"GT", b"LT"})
            fields = _counted(
                call, cmd[4 if condition else 3 :], "ERR Parameter `numFields` should be greater "
                "than 0"
            )  # fmt: skip
        value = fields_of(call, cmd[1])
        ignores = call.version == ("valkey", (9, 0)) and end_ms <= call.time_ms
        replies = [
            _expire_field(call, value, f, end_ms, frozenset() if ignores else condition)
            for f in fields
        ]
        if any(reply in (DONE, DELETED) for reply in replies):
            settled(call, cmd[1], value)
        return replies

    return run


def _conditions(words: Sequence[bytes]) -> frozenset[bytes]:
    given = frozenset(word.upper() for word in words)
    if not given <= {b"NX", b"XX", b"GT", b"LT"}:
        raise Error(f"ERR Unsupported option {words[0].decode('utf-8', 'replace')}")
    if b"NX" in given and len(given) > 1:
        raise Error("ERR NX and XX, GT or LT options at the same time are not compatible")
    if given >= {b"GT", b"LT"}:
        raise Error("ERR GT and LT options at the same time are not compatible")
    return given


def _expire_field(
    call: Call, value: Hash, field: bytes, end_ms: int, condition: frozenset[bytes]
) -> int:
    if field not in value:
        return MISSING
    before = value.ends.get(field)
    unmet = (
        (b"NX" in condition and before is not None)
        or (b"XX" in condition and before is None)
        or (b"GT" in condition and (before is None or end_ms <= before))
        or (b"LT" in condition and before is not None and end_ms >= before)
    )
    if unmet:
        return UNMET
    if end_ms <= call.time_ms:
        forget(value, field)
        return DELETED
    value.ends[field] = end_ms
    return DONE


for _name, _seconds, _absolute in (
    ("HEXPIRE", True, False),
    ("HPEXPIRE", False, False),
    ("HEXPIREAT", True, True),
    ("HPEXPIREAT", False, True),
):
    COMMANDS.command(_name, -6, "write fast", ONE)(
        _expire(_name.lower(), seconds=_seconds, absolute=_absolute)
    )


# --- HTTL, HPTTL, HEXPIRETIME, HPEXPIRETIME, HPERSIST


def _asked_fields(call: Call, cmd: Command, *, error: str | None = None) -> Sequence[bytes]:
    """Return the fields of a command `NAME key FIELDS numfields field …`. `error`: that of Valkey
    for a number of fields that does not match."""
    if not _of_valkey(call):
        call.look(cmd[1], Hash)
        return _counted(call, cmd[2:], FIELDS_POSITIVE)
    if cmd[2].upper() != b"FIELDS" and call.version.number > (9, 0):
        raise BadSyntax
    count = integer(cmd[3])
    if count <= 0 or len(cmd) - 4 != count:
        raise BadSyntax if error is None else Error(error)
    call.look(cmd[1], Hash)
    return cmd[4:]


def _time_to_live(*, seconds: bool, absolute: bool) -> Callable[[Call, Command], Any]:
    def run(call: Call, cmd: Command) -> Any:
        fields = _asked_fields(call, cmd)
        value = fields_of(call, cmd[1])
        return [_shown(call, value, f, seconds=seconds, absolute=absolute) for f in fields]

    return run


def _shown(call: Call, value: Hash, field: bytes, *, seconds: bool, absolute: bool) -> int:
    if field not in value:
        return MISSING
    end_ms = value.ends.get(field)
    if end_ms is None:
        return NO_TTL
    shown = end_ms if absolute else end_ms - call.time_ms
    return (shown + (500 if _of_valkey(call) else 999)) // 1000 if seconds else shown


for _name, _seconds, _absolute in (
    ("HTTL", True, False),
    ("HPTTL", False, False),
    ("HEXPIRETIME", True, True),
    ("HPEXPIRETIME", False, True),
):
    COMMANDS.command(_name, -5, "readonly fast", ONE)(
        _time_to_live(seconds=_seconds, absolute=_absolute)
    )


@COMMANDS.command("HPERSIST", -5, "write fast", ONE)
def _hpersist(call: Call, cmd: Command) -> Any:
    fields = _asked_fields(call, cmd, error=NUMFIELDS)
    value = fields_of(call, cmd[1])
    replies = []
    for f in fields:
        if f not in value:
            replies.append(MISSING)
        else:
            replies.append(NO_TTL if value.ends.pop(f, None) is None else DONE)
    if DONE in replies:
        call.touch(cmd[1])
    return replies


# --- HGETDEL, HGETEX, HSETEX


@COMMANDS.command("HGETDEL", -5, "write fast", ONE)
def _hgetdel(call: Call, cmd: Command) -> Any:
    fields = _asked_fields(call, cmd, error=NUMFIELDS)
    value = fields_of(call, cmd[1])
    replies = []
    for f in fields:
        replies.append(value.get(f))
        forget(value, f)
    if any(reply is not None for reply in replies):
        settled(call, cmd[1], value)
    return replies


class _Options(NamedTuple):
    """The options before FIELDS. `unit`: EX … PXAT, PERSIST, KEEPTTL or None; `time`: its word."""

    unit: bytes | None
    time: bytes
    conditions: frozenset[bytes]
    at: int  # the index of FIELDS


def _options(
    call: Call, cmd: Command, alone: frozenset[bytes], conditions: frozenset[bytes], unknown: str
) -> _Options:
    """Parse the options of HGETEX or HSETEX. `alone`: PERSIST or KEEPTTL."""
    valkey = _of_valkey(call)
    unit, time, given, i = None, b"", frozenset[bytes](), 2
    while i < len(cmd) and cmd[i].upper() != b"FIELDS":
        word = cmd[i].upper()
        if word in UNITS:
            if i + 1 >= len(cmd) or (valkey and cmd[i + 1].upper() == b"FIELDS"):
                raise BadSyntax
            if unit is not None and (not valkey or unit != word):
                raise Error(TOO_LATE_UNIT) if not valkey else BadSyntax
            unit, time = word, cmd[i + 1]
            if not valkey:
                integer(time)
            i += 2
            continue
        if word in alone:
            if unit is not None and (not valkey or unit != word):
                raise Error(TOO_LATE_UNIT) if not valkey else BadSyntax
            unit = word
        elif word in conditions:
            if not valkey and given & {b"FNX", b"FXX"}:
                raise Error("ERR Only one of FXX or FNX arguments can be specified")
            given |= {word}
            if given >= {b"FNX", b"FXX"} or given >= {b"NX", b"XX"}:
                raise BadSyntax
        else:
            raise BadSyntax if valkey else Error(unknown)
        i += 1
    return _Options(unit, time, given, i)


def _end_of(call: Call, o: _Options, name: str) -> int | None:
    if o.unit not in UNITS:
        return None
    return _end_ms(call, o.time, name, seconds=o.unit[:1] == b"E", absolute=o.unit.endswith(b"AT"))


@COMMANDS.command("HGETEX", -5, "write fast", ONE)
def _hgetex(call: Call, cmd: Command) -> Any:
    valkey = _of_valkey(call)
    if not valkey:
        call.look(cmd[1], Hash)
    o = _options(call, cmd, frozenset({b"PERSIST"}), frozenset(), FIELDS_MISSING)
    end_ms = None if valkey else _end_of(call, o, "hgetex")
    fields = _counted(call, cmd[o.at :], FIELDS_POSITIVE)
    call.look(cmd[1], Hash)
    if valkey:
        end_ms = _end_of(call, o, "hgetex")
    value = fields_of(call, cmd[1])
    replies, changed = [], False
    for f in fields:
        replies.append(value.get(f))
        if f not in value:
            continue
        if end_ms is not None:
            changed = True
            if end_ms <= call.time_ms:
                forget(value, f)
            else:
                value.ends[f] = end_ms
        elif o.unit == b"PERSIST":
            changed = value.ends.pop(f, None) is not None or changed
    if changed:
        settled(call, cmd[1], value)
    return replies


@COMMANDS.command("HSETEX", -6, "write denyoom fast", ONE)
def _hsetex(call: Call, cmd: Command) -> Any:
    valkey = _of_valkey(call)
    conditions = {b"FNX", b"FXX"}
    if call.version.since(valkey=(9, 1)):
        conditions |= {b"NX", b"XX"}
    o = _options(call, cmd, frozenset({b"KEEPTTL"}), frozenset(conditions), "ERR unknown argument")
    end_ms = None if valkey else _end_of(call, o, "hsetex")
    counted = _counted(call, cmd[o.at :], NUMFIELDS, each=2) if valkey else None
    pairs = _pairs_of_redis(cmd, o.at) if counted is None else counted
    stored = call.look(cmd[1], Hash)
    if valkey:
        end_ms = _end_of(call, o, "hsetex")
    value = fields_of(call, cmd[1])
    exists = stored is not None and bool(value)
    names = pairs[::2]
    if (b"NX" in o.conditions and exists) or (b"XX" in o.conditions and not exists):
        return 0
    if b"FNX" in o.conditions and any(f in value for f in names):
        return 0
    if b"FXX" in o.conditions and not all(f in value for f in names):
        return 0
    for f, word in zip(names, pairs[1::2], strict=True):
        value[f] = word
        if end_ms is not None:
            value.ends[f] = end_ms
        elif o.unit != b"KEEPTTL":
            value.ends.pop(f, None)
    if end_ms is not None and end_ms <= call.time_ms:
        for f in names:
            forget(value, f)
        if not exists and not value:
            return 1
    settled(call, cmd[1], value)
    return 1


def _pairs_of_redis(cmd: Command, at: int) -> Sequence[bytes]:
    words = cmd[at:]
    try:
        count = integer(words[1]) if len(words) > 1 else 0
    except Error:
        count = 0
    if count <= 0:
        raise Error("ERR invalid number of fields")
    if len(words) - 2 != 2 * count:
        raise wrong_number("hsetex")
    return words[2:]
