"""The commands: what each does to the state, as Redis 7.0 does it.

`execute` and what belongs to it are in `execution`; importing this module fills its table.
"""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

from targets.redis_model.execution import (
    FORBIDDEN,
    INT64,
    KINDS,
    SYNTAX,
    TABLE,
    Call,
    Outcome,
    State,
    command,
    execute,
    integer,
    is_expired,
    is_write,
    printable,
    refuse,
    wrong_arity,
)
from targets.redis_model.resp import OK, Command, Error, Simple
from targets.redis_model.scripts import compiled, run_script

__all__ = [
    "INT64",
    "TABLE",
    "Outcome",
    "State",
    "execute",
    "integer",
    "is_expired",
    "is_write",
    "refuse",
    "wrong_arity",
]


# --- connection


@command("PING", -1)
def _ping(call: Call, cmd: Command) -> Any:
    if len(cmd) > 2:
        raise Error("ERR wrong number of arguments for 'ping' command")
    return cmd[1] if len(cmd) == 2 else Simple(b"PONG")


@command("ECHO", 2)
def _echo(call: Call, cmd: Command) -> Any:
    return cmd[1]


# --- keys


@command("DEL", -2, write=True)
def _del(call: Call, cmd: Command) -> Any:
    return sum([call.remove(key) for key in cmd[1:]])


@command("UNLINK", -2, write=True)
def _unlink(call: Call, cmd: Command) -> Any:
    return _del(call, cmd)


@command("EXISTS", -2)
def _exists(call: Call, cmd: Command) -> Any:
    return sum([call.peek(key) is not None for key in cmd[1:]])


@command("TYPE", 2)
def _type(call: Call, cmd: Command) -> Any:
    value = call.peek(cmd[1])
    return Simple(b"none" if value is None else KINDS[type(value)])


@command("DBSIZE", 1)
def _dbsize(call: Call, cmd: Command) -> Any:
    return len(call.state.values)


@command("FLUSHALL", -1, write=True)
def _flushall(call: Call, cmd: Command) -> Any:
    if len(cmd) > 2 or (len(cmd) == 2 and cmd[1].upper() not in (b"SYNC", b"ASYNC")):
        raise Error(SYNTAX)
    for key in list(call.state.values):
        call.touch(key)
    call.state.values.clear()
    call.state.expires.clear()
    call.instead((b"FLUSHALL",))
    return OK


def _expire_at(call: Call, cmd: Command, end_ms: int) -> int:
    key = cmd[1]
    if not -INT64 <= end_ms < INT64:
        name = printable(cmd[0]).lower()
        raise Error(f"ERR invalid expire time in '{name}' command")
    if call.peek(key) is None:
        return 0
    if end_ms <= call.time_ms:
        call.remove(key)
        call.instead((b"DEL", key))
    else:
        call.state.expires[key] = end_ms
        call.touch(key)
        call.instead((b"PEXPIREAT", key, b"%d" % end_ms))
    return 1


@command("EXPIRE", 3, write=True)
def _expire(call: Call, cmd: Command) -> Any:
    return _expire_at(call, cmd, call.time_ms + 1000 * integer(cmd[2]))


@command("PEXPIRE", 3, write=True)
def _pexpire(call: Call, cmd: Command) -> Any:
    return _expire_at(call, cmd, call.time_ms + integer(cmd[2]))


@command("PEXPIREAT", 3, write=True)
def _pexpireat(call: Call, cmd: Command) -> Any:
    return _expire_at(call, cmd, integer(cmd[2]))


@command("PERSIST", 2, write=True)
def _persist(call: Call, cmd: Command) -> Any:
    call.peek(cmd[1])
    if call.state.expires.pop(cmd[1], None) is None:
        return 0
    call.touch(cmd[1])
    return 1


def _left_ms(call: Call, key: bytes) -> int:
    if call.peek(key) is None:
        return -2
    end = call.state.expires.get(key)
    return -1 if end is None else end - call.time_ms


@command("TTL", 2)
def _ttl(call: Call, cmd: Command) -> Any:
    left = _left_ms(call, cmd[1])
    return left if left < 0 else (left + 500) // 1000


@command("PTTL", 2)
def _pttl(call: Call, cmd: Command) -> Any:
    return _left_ms(call, cmd[1])


# --- strings


@command("GET", 2)
def _get(call: Call, cmd: Command) -> Any:
    return call.look(cmd[1], bytes)


class SetOptions(NamedTuple):
    """Of SET. `end_ms`: when the key expires."""

    condition: bytes | None
    get: bool
    keep_ttl: bool
    end_ms: int | None


def _set_options(call: Call, words: list[bytes]) -> SetOptions:
    condition: bytes | None = None
    expire: tuple[bytes, bytes] | None = None
    get = keep_ttl = False
    while words:
        word = words.pop(0).upper()
        if word in (b"NX", b"XX") and condition in (None, word):
            condition = word
        elif word == b"GET":
            get = True
        elif word == b"KEEPTTL" and expire is None:
            keep_ttl = True
        elif word in (b"EX", b"PX", b"EXAT", b"PXAT") and words and not (expire or keep_ttl):
            expire = word, words.pop(0)
        else:
            raise Error(SYNTAX)
    end_ms = None if expire is None else _end_of_set(call, *expire)
    return SetOptions(condition, get, keep_ttl, end_ms)


def _end_of_set(call: Call, unit: bytes, word: bytes) -> int:
    given = integer(word)
    end_ms = given * (1000 if unit[:1] == b"E" else 1)
    end_ms += 0 if unit.endswith(b"AT") else call.time_ms
    if given <= 0 or end_ms >= INT64:
        raise Error("ERR invalid expire time in 'set' command")
    return end_ms


@command("SET", -3, write=True)
def _set(call: Call, cmd: Command) -> Any:
    key, value = cmd[1], cmd[2]
    options = _set_options(call, list(cmd[3:]))
    before = call.look(key, bytes) if options.get else call.peek(key)
    reply: Any = before if options.get else OK
    there = call.peek(key) is not None
    if (options.condition == b"NX" and there) or (options.condition == b"XX" and not there):
        return before if options.get else None
    call.put(key, value, keep_ttl=options.keep_ttl)
    if options.get:
        call.instead(tuple(w for i, w in enumerate(cmd) if i < 3 or w.upper() != b"GET"))
    if options.end_ms is not None:
        if options.end_ms <= call.time_ms:
            call.remove(key)
            call.instead((b"DEL", key))
        else:
            call.state.expires[key] = options.end_ms
            call.instead((b"SET", key, value, b"PXAT", b"%d" % options.end_ms))
    return reply


def _increment(call: Call, key: bytes, by: int) -> int:
    value = call.look(key, bytes)
    after = (0 if value is None else integer(value)) + by
    if not -INT64 <= after < INT64:
        raise Error("ERR increment or decrement would overflow")
    call.put(key, b"%d" % after)
    return after


@command("INCR", 2, write=True)
def _incr(call: Call, cmd: Command) -> Any:
    return _increment(call, cmd[1], 1)


@command("INCRBY", 3, write=True)
def _incrby(call: Call, cmd: Command) -> Any:
    return _increment(call, cmd[1], integer(cmd[2]))


@command("DECR", 2, write=True)
def _decr(call: Call, cmd: Command) -> Any:
    return _increment(call, cmd[1], -1)


@command("APPEND", 3, write=True)
def _append(call: Call, cmd: Command) -> Any:
    value = (call.look(cmd[1], bytes) or b"") + cmd[2]
    call.put(cmd[1], value)
    return len(value)


# --- lists


def _push(call: Call, cmd: Command, *, left: bool) -> int:
    value = call.look(cmd[1], list)
    value = [] if value is None else value
    if left:
        value[:0] = reversed(cmd[2:])
    else:
        value.extend(cmd[2:])
    call.put(cmd[1], value)
    return len(value)


@command("RPUSH", -3, write=True)
def _rpush(call: Call, cmd: Command) -> Any:
    return _push(call, cmd, left=False)


@command("LPUSH", -3, write=True)
def _lpush(call: Call, cmd: Command) -> Any:
    return _push(call, cmd, left=True)


@command("LPOP", 2, write=True)
def _lpop(call: Call, cmd: Command) -> Any:
    value = call.look(cmd[1], list)
    if value is None:
        return None
    popped = value.pop(0)
    call.touch(cmd[1])
    if not value:
        call.remove(cmd[1])
    return popped


@command("LLEN", 2)
def _llen(call: Call, cmd: Command) -> Any:
    return len(call.look(cmd[1], list) or ())


@command("LRANGE", 4)
def _lrange(call: Call, cmd: Command) -> Any:
    first, last = integer(cmd[2]), integer(cmd[3])
    value = call.look(cmd[1], list) or []
    size = len(value)
    first = max(0, first + size if first < 0 else first)
    last = last + size if last < 0 else last
    return value[first : last + 1] if last >= first else []


# --- sets


@command("SADD", -3, write=True)
def _sadd(call: Call, cmd: Command) -> Any:
    value = call.look(cmd[1], dict)
    value = {} if value is None else value
    before = len(value)
    value.update(dict.fromkeys(cmd[2:]))
    if len(value) > before:
        call.put(cmd[1], value)
    return len(value) - before


def _take(call: Call, key: bytes, value: dict[bytes, None], members: list[bytes]) -> None:
    for member in members:
        del value[member]
    call.touch(key)
    if not value:
        call.remove(key)


@command("SREM", -3, write=True)
def _srem(call: Call, cmd: Command) -> Any:
    value = call.look(cmd[1], dict)
    members = [m for m in dict.fromkeys(cmd[2:]) if value is not None and m in value]
    if members:
        _take(call, cmd[1], value, members)
    return len(members)


@command("SPOP", 2, write=True)
def _spop(call: Call, cmd: Command) -> Any:
    value = call.look(cmd[1], dict)
    if value is None:
        return None
    member = call.rng.choice(list(value))
    _take(call, cmd[1], value, [member])
    call.instead((b"SREM", cmd[1], member))
    return member


@command("SCARD", 2)
def _scard(call: Call, cmd: Command) -> Any:
    return len(call.look(cmd[1], dict) or ())


@command("SISMEMBER", 3)
def _sismember(call: Call, cmd: Command) -> Any:
    return int(cmd[2] in (call.look(cmd[1], dict) or {}))


@command("SMEMBERS", 2)
def _smembers(call: Call, cmd: Command) -> Any:
    return list(call.look(cmd[1], dict) or {})


# --- scripts


def script_sha(text: bytes) -> bytes:
    return hashlib.sha1(text).hexdigest().encode()


def _eval(call: Call, text: bytes, cmd: Command) -> Any:
    count = integer(cmd[2])
    if call.in_script:
        raise Error(FORBIDDEN)
    if count < 0:
        raise Error("ERR Number of keys can't be negative")
    if count > len(cmd) - 3:
        raise Error("ERR Number of keys can't be greater than number of args")
    compiled(text)
    call.state.scripts[script_sha(text)] = text
    return run_script(call, text, list(cmd[3 : 3 + count]), list(cmd[3 + count :]))


@command("EVAL", -3, nested=True)
def _evalprintable(call: Call, cmd: Command) -> Any:
    return _eval(call, cmd[1], cmd)


@command("EVALSHA", -3, nested=True)
def _evalsha(call: Call, cmd: Command) -> Any:
    text = call.state.scripts.get(cmd[1].lower())
    if text is None:
        raise Error("NOSCRIPT No matching script. Please use EVAL.")
    return _eval(call, text, cmd)


@command("SCRIPT", 3)
def _script(call: Call, cmd: Command) -> Any:
    if call.in_script:
        raise Error(FORBIDDEN)
    if cmd[1].upper() != b"LOAD":
        raise Error(f"ERR unknown subcommand '{printable(cmd[1])}'. Try SCRIPT HELP.")
    compiled(cmd[2])
    sha = script_sha(cmd[2])
    call.state.scripts[sha] = cmd[2]
    return sha
