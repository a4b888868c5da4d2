"""Commands on hashes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from targets.engine.execution import Call, Commands
from targets.engine.parsing import INT64, NOT_A_FLOAT, integer
from targets.engine.resp import OK, BadSyntax, Command, Error, Map, Pairs
from targets.engine.strings import add_long_double, parse_long_double
from targets.engine.table import ONE
from targets.engine.values import Hash

COMMANDS: Commands = Commands()


def fields_of(call: Call, key: bytes) -> Hash:
    """Return the hash at a key without fields whose time to live has passed, or a new empty one
    that is not stored."""
    value = call.look(key, Hash)
    if value is None:
        return Hash()
    found: Hash = value
    if found.ends:
        for field in [f for f, end in found.ends.items() if end <= call.time_ms]:
            forget(found, field)
    return found


def forget(value: Hash, field: bytes) -> bool:
    """Delete a field and its time to live; return whether it existed."""
    value.ends.pop(field, None)
    return value.pop(field, None) is not None


def settled(call: Call, key: bytes, value: Hash) -> None:
    """Store a hash that was changed in place; delete its key if it is empty now."""
    if value:
        call.put(key, value)
    elif call.peek(key) is not None:
        call.settle(key, value)


def _fill(call: Call, cmd: Command) -> int:
    """Set the fields of a command, without times to live; return how many are new."""
    value = fields_of(call, cmd[1])
    before = len(value)
    value.update(zip(cmd[2::2], cmd[3::2], strict=True))
    if value.ends:
        for field in cmd[2::2]:
            value.ends.pop(field, None)
    call.put(cmd[1], value)
    return len(value) - before


@COMMANDS.command("HSET", -4, "write denyoom fast", ONE)
def _hset(call: Call, cmd: Command) -> Any:
    if len(cmd) % 2:
        raise Error("ERR wrong number of arguments for 'hset' command")
    return _fill(call, cmd)


@COMMANDS.command("HMSET", -4, "write denyoom fast", ONE)
def _hmset(call: Call, cmd: Command) -> Any:
    if len(cmd) % 2:
        raise Error("ERR wrong number of arguments for 'hmset' command")
    _fill(call, cmd)
    return OK


@COMMANDS.command("HSETNX", 4, "write denyoom fast", ONE)
def _hsetnx(call: Call, cmd: Command) -> Any:
    if cmd[2] in fields_of(call, cmd[1]):
        return 0
    return _fill(call, cmd)


@COMMANDS.command("HGET", 3, "readonly fast", ONE)
def _hget(call: Call, cmd: Command) -> Any:
    return fields_of(call, cmd[1]).get(cmd[2])


@COMMANDS.command("HMGET", -3, "readonly fast", ONE)
def _hmget(call: Call, cmd: Command) -> Any:
    value = fields_of(call, cmd[1])
    return [value.get(f) for f in cmd[2:]]


@COMMANDS.command("HGETALL", 2, "readonly", ONE)
def _hgetall(call: Call, cmd: Command) -> Any:
    return Map(fields_of(call, cmd[1]).items())


@COMMANDS.command("HKEYS", 2, "readonly", ONE)
def _hkeys(call: Call, cmd: Command) -> Any:
    return list(fields_of(call, cmd[1]))


@COMMANDS.command("HVALS", 2, "readonly", ONE)
def _hvals(call: Call, cmd: Command) -> Any:
    return list(fields_of(call, cmd[1]).values())


@COMMANDS.command("HLEN", 2, "readonly fast", ONE)
def _hlen(call: Call, cmd: Command) -> Any:
    return len(fields_of(call, cmd[1]))


@COMMANDS.command("HEXISTS", 3, "readonly fast", ONE)
def _hexists(call: Call, cmd: Command) -> Any:
    return int(cmd[2] in fields_of(call, cmd[1]))


@COMMANDS.command("HSTRLEN", 3, "readonly fast", ONE)
def _hstrlen(call: Call, cmd: Command) -> Any:
    return len(fields_of(call, cmd[1]).get(cmd[2], b""))


@COMMANDS.command("HDEL", -3, "write fast", ONE)
def _hdel(call: Call, cmd: Command) -> Any:
    value = fields_of(call, cmd[1])
    fields = [f for f in dict.fromkeys(cmd[2:]) if f in value]
    for f in fields:
        forget(value, f)
    if fields:
        call.settle(cmd[1], value)
    return len(fields)


@COMMANDS.command("HINCRBY", 4, "write denyoom fast", ONE)
def _hincrby(call: Call, cmd: Command) -> Any:
    by = integer(cmd[3])
    value = fields_of(call, cmd[1])
    before = value.get(cmd[2])
    after = by + (0 if before is None else integer(before, "ERR hash value is not an integer"))
    if not -INT64 <= after < INT64:
        raise Error("ERR increment or decrement would overflow")
    value[cmd[2]] = b"%d" % after
    call.put(cmd[1], value)
    return after


@COMMANDS.command("HINCRBYFLOAT", 4, "write denyoom fast", ONE)
def _hincrbyfloat(call: Call, cmd: Command) -> Any:
    by = parse_long_double(cmd[3], NOT_A_FLOAT)
    value = fields_of(call, cmd[1])
    after = add_long_double(
        parse_long_double(value.get(cmd[2], b"0"), "ERR hash value is not a float"), by
    )
    value[cmd[2]] = after
    call.put(cmd[1], value)
    call.instead((b"HSET", cmd[1], cmd[2], after))
    return after


@COMMANDS.command("HRANDFIELD", -2, "readonly", ONE)
def _hrandfield(call: Call, cmd: Command) -> Any:
    count, with_values = random_count(cmd, b"WITHVALUES")
    value = fields_of(call, cmd[1])
    fields = random_members(call, list(value), 1 if count is None else count)
    if count is None:
        return fields[0] if fields else None
    return Pairs((f, value[f]) for f in fields) if with_values else fields


def random_count(cmd: Command, option: bytes) -> tuple[int | None, bool]:
    """Return (count or None, whether `option` is given) of HRANDFIELD or ZRANDMEMBER."""
    if len(cmd) == 2:
        return None, False
    count = integer(cmd[2])
    if len(cmd) > 4 or (len(cmd) == 4 and cmd[3].upper() != option):
        raise BadSyntax
    if len(cmd) == 4 and not -(INT64 // 2) <= count < INT64 // 2:
        raise Error("ERR value is out of range")
    if count == -INT64:
        raise Error("ERR value is out of range")
    return count, len(cmd) == 4


def random_members(call: Call, members: Sequence[bytes], count: int) -> list[bytes]:
    """Return random members: up to `count` distinct ones, or if negative -count with repetition."""
    if not members:
        return []
    if count < 0:
        return [call.context.rng.choice(members) for _ in range(-count)]
    return list(members) if count >= len(members) else call.context.rng.sample(members, count)
