"""Commands on keys of any type and on the whole key space; PING, ECHO and TIME."""

from __future__ import annotations

import copy
from typing import Any

from targets.engine.execution import NO_SUCH_KEY, Call, Commands
from targets.engine.parsing import INT64, integer, printable
from targets.engine.resp import OK, BadSyntax, Command, Error, Simple
from targets.engine.table import ALL, ONE
from targets.engine.values import KINDS

COMMANDS: Commands = Commands()


@COMMANDS.command("PING", -1, "fast")
def _ping(call: Call, cmd: Command) -> Any:
    if len(cmd) > 2:
        raise Error("ERR wrong number of arguments for 'ping' command")
    return cmd[1] if len(cmd) == 2 else Simple(b"PONG")


@COMMANDS.command("ECHO", 2, "loading stale fast")
def _echo(call: Call, cmd: Command) -> Any:
    return cmd[1]


@COMMANDS.command("TIME", 1, "loading stale fast")
def _time(call: Call, cmd: Command) -> Any:
    seconds, ms = divmod(call.time_ms, 1000)
    return [b"%d" % seconds, b"%d" % (ms * 1000)]


@COMMANDS.command("DEL", -2, "write", ALL)
def _del(call: Call, cmd: Command) -> Any:
    return sum([call.remove(key) for key in cmd[1:]])


@COMMANDS.command("UNLINK", -2, "write fast", ALL)
def _unlink(call: Call, cmd: Command) -> Any:
    return _del(call, cmd)


@COMMANDS.command("EXISTS", -2, "readonly fast", ALL)
def _exists(call: Call, cmd: Command) -> Any:
    return sum([call.peek(key) is not None for key in cmd[1:]])


@COMMANDS.command("TOUCH", -2, "readonly fast", ALL)
def _touch(call: Call, cmd: Command) -> Any:
    return _exists(call, cmd)


@COMMANDS.command("TYPE", 2, "readonly fast", ONE)
def _type(call: Call, cmd: Command) -> Any:
    value = call.peek(cmd[1])
    return Simple(b"none" if value is None else KINDS[type(value)])


@COMMANDS.command("DBSIZE", 1, "readonly fast")
def _dbsize(call: Call, cmd: Command) -> Any:
    call.whole = True
    return len(call.state.values)


@COMMANDS.command("RANDOMKEY", 1, "readonly")
def _randomkey(call: Call, cmd: Command) -> Any:
    call.whole = True
    keys = list(call.state.values)
    for _ in range(100):
        if not keys:
            return None
        key = call.context.rng.choice(keys)
        if call.peek(key) is not None:
            return key
        keys.remove(key)
    return None


@COMMANDS.command("KEYS", 2, "readonly")
def _keys(call: Call, cmd: Command) -> Any:
    """An expired key is omitted only after `peek` has deleted or masked it."""
    call.whole = True
    found = [key for key in call.state.values if matches(key, cmd[1])]
    ended = {key for key in found if call.state.is_expired(key, call.time_ms)}
    return [key for key in found if key not in ended or call.peek(key) is not None]


def matches(text: bytes, pattern: bytes) -> bool:
    """Match Redis' glob patterns: `*`, `?`, `[a-z]`, `[^a]`; a backslash escapes."""
    spans = [(0, 0)]  # (index in pattern, index in text) still to be tried
    tried = set()
    while spans:
        p, t = spans.pop()
        if (p, t) in tried:
            continue
        tried.add((p, t))
        if p == len(pattern):
            if t == len(text):
                return True
        elif pattern[p : p + 1] == b"*":
            spans.append((p + 1, t))
            if t < len(text):
                spans.append((p, t + 1))
        elif t < len(text):
            fits, after = _fits_one(pattern, p, text[t])
            if fits:
                spans.append((after, t + 1))
    return False


def _fits_one(pattern: bytes, p: int, byte: int) -> tuple[bool, int]:
    """Return (whether a byte matches the element of a pattern at `p`, index of the next one)."""
    one = pattern[p : p + 1]
    if one == b"?":
        return True, p + 1
    if one == b"\\" and p + 1 < len(pattern):
        return pattern[p + 1] == byte, p + 2
    if one != b"[":
        return pattern[p] == byte, p + 1
    p += 1
    negated = pattern[p : p + 1] == b"^"
    p += negated
    fits = False
    while p < len(pattern) and pattern[p : p + 1] != b"]":
        if pattern[p : p + 1] == b"\\" and p + 1 < len(pattern):
            p += 1
            fits |= pattern[p] == byte
        elif pattern[p + 1 : p + 2] == b"-" and p + 2 < len(pattern):
            low, high = sorted((pattern[p], pattern[p + 2]))
            fits |= low <= byte <= high
            p += 2
        else:
            fits |= pattern[p] == byte
        p += 1
    return fits != negated, min(p + 1, len(pattern))


def _flush(call: Call, cmd: Command) -> Any:
    if len(cmd) > 2 or (len(cmd) == 2 and cmd[1].upper() not in (b"SYNC", b"ASYNC")):
        raise BadSyntax
    call.whole = True
    for key in list(call.state.values):
        call.touch(key)
    call.state.clear()
    call.instead(cmd)
    return OK


@COMMANDS.command("FLUSHALL", -1, "write")
def _flushall(call: Call, cmd: Command) -> Any:
    return _flush(call, cmd)


@COMMANDS.command("FLUSHDB", -1, "write")
def _flushdb(call: Call, cmd: Command) -> Any:
    return _flush(call, cmd)


# --- renaming and copying


@COMMANDS.command("RENAME", 3, "write", (1, 2, 1))
def _rename(call: Call, cmd: Command) -> Any:
    if not _renamed(call, cmd[1], cmd[2], replace=True):
        raise Error(NO_SUCH_KEY)
    return OK


@COMMANDS.command("RENAMENX", 3, "write fast", (1, 2, 1))
def _renamenx(call: Call, cmd: Command) -> Any:
    done = _renamed(call, cmd[1], cmd[2], replace=False)
    if done is None:
        raise Error(NO_SUCH_KEY)
    return int(done)


def _renamed(call: Call, old: bytes, new: bytes, *, replace: bool) -> bool | None:
    """Return None if `old` does not exist, False if `new` exists and is kept, else True."""
    value = call.peek(old)
    if value is None:
        return None
    if old == new:
        return replace
    end = call.state.expires.get(old)
    if call.peek(new) is not None:
        if not replace:
            return False
        call.remove(new)
    call.remove(old)
    call.put(new, value)
    if end is not None:
        call.state.expire(new, end)
    return True


@COMMANDS.command("COPY", -3, "write denyoom", (1, 2, 1))
def _copy(call: Call, cmd: Command) -> Any:
    replace = False
    words = list(cmd[3:])
    while words:
        word = words.pop(0).upper()
        if word == b"REPLACE":
            replace = True
        elif word == b"DB" and words:
            if integer(words.pop(0)) != 0:
                raise Error("ERR DB index is out of range")
        else:
            raise BadSyntax
    if cmd[1] == cmd[2]:
        raise Error("ERR source and destination objects are the same")
    value = call.peek(cmd[1])
    if value is None:
        return 0
    exists = call.peek(cmd[2]) is not None
    if exists and not replace:
        return 0
    if exists:
        call.remove(cmd[2])
    call.put(cmd[2], copy.deepcopy(value), keep_ttl=False)
    if cmd[1] in call.state.expires:
        call.state.expire(cmd[2], call.state.expires[cmd[1]])
    return 1


# --- expiry


def _expire_at(call: Call, cmd: Command, scale: int, base_ms: int) -> int:
    conditions = _conditions(cmd)
    key, given = cmd[1], integer(cmd[2])
    end_ms = given * scale + base_ms
    if not -INT64 <= given * scale < INT64 or not -INT64 <= end_ms < INT64:
        name = printable(cmd[0]).lower()
        raise Error(f"ERR invalid expire time in '{name}' command")
    if call.peek(key) is None or not _may_expire(call.state.expires.get(key), end_ms, conditions):
        return 0
    if end_ms <= call.time_ms:
        call.remove(key)
        call.instead((b"DEL", key))
    else:
        call.state.expire(key, end_ms)
        call.touch(key)
        call.instead((b"PEXPIREAT", key, b"%d" % end_ms, *cmd[3:]))
    return 1


def _conditions(cmd: Command) -> dict[bytes, None]:
    given: dict[bytes, None] = {}
    for word in cmd[3:]:
        if word.upper() not in (b"NX", b"XX", b"GT", b"LT"):
            raise Error(f"ERR Unsupported option {printable(word)}")
        given[word.upper()] = None
    if b"NX" in given and len(given) > 1:
        raise Error("ERR NX and XX, GT or LT options at the same time are not compatible")
    if b"GT" in given and b"LT" in given:
        raise Error("ERR GT and LT options at the same time are not compatible")
    return given


def _may_expire(before: int | None, end_ms: int, given: dict[bytes, None]) -> bool:
    if b"NX" in given:
        return before is None
    if b"XX" in given and before is None:
        return False
    if b"GT" in given:
        return before is not None and end_ms > before
    return b"LT" not in given or before is None or end_ms < before


@COMMANDS.command("EXPIRE", -3, "write fast", ONE)
def _expire(call: Call, cmd: Command) -> Any:
    return _expire_at(call, cmd, 1000, call.time_ms)


@COMMANDS.command("PEXPIRE", -3, "write fast", ONE)
def _pexpire(call: Call, cmd: Command) -> Any:
    return _expire_at(call, cmd, 1, call.time_ms)


@COMMANDS.command("EXPIREAT", -3, "write fast", ONE)
def _expireat(call: Call, cmd: Command) -> Any:
    return _expire_at(call, cmd, 1000, 0)


@COMMANDS.command("PEXPIREAT", -3, "write fast", ONE)
def _pexpireat(call: Call, cmd: Command) -> Any:
    return _expire_at(call, cmd, 1, 0)


@COMMANDS.command("PERSIST", 2, "write fast", ONE)
def _persist(call: Call, cmd: Command) -> Any:
    call.peek(cmd[1])
    if call.state.expires.pop(cmd[1], None) is None:
        return 0
    call.touch(cmd[1])
    return 1


def _end_ms(call: Call, key: bytes) -> int:
    """Return when a key expires; -1 for never, -2 if it does not exist."""
    if call.peek(key) is None:
        return -2
    return call.state.expires.get(key, -1)


@COMMANDS.command("PTTL", 2, "readonly fast", ONE)
def _pttl(call: Call, cmd: Command) -> Any:
    end = _end_ms(call, cmd[1])
    return end if end < 0 else max(0, end - call.time_ms)


@COMMANDS.command("TTL", 2, "readonly fast", ONE)
def _ttl(call: Call, cmd: Command) -> Any:
    left = _pttl(call, cmd)
    return left if left < 0 else (left + 500) // 1000


@COMMANDS.command("PEXPIRETIME", 2, "readonly fast", ONE)
def _pexpiretime(call: Call, cmd: Command) -> Any:
    return _end_ms(call, cmd[1])


@COMMANDS.command("EXPIRETIME", 2, "readonly fast", ONE)
def _expiretime(call: Call, cmd: Command) -> Any:
    end = _end_ms(call, cmd[1])
    return end if end < 0 else (end + 500) // 1000
