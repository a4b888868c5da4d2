"""Commands on sets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from targets.engine.execution import Call, Commands
from targets.engine.hashes import random_members
from targets.engine.lists import NOT_POSITIVE
from targets.engine.parsing import INT64, integer
from targets.engine.resp import BadSyntax, Command, Error, Members
from targets.engine.table import ALL, ONE, counted_keys
from targets.engine.values import Set

COMMANDS: Commands = Commands()


def _of(call: Call, key: bytes) -> Set:
    """Return the set at a key, or a new empty one that is not stored."""
    value = call.look(key, Set)
    return Set() if value is None else value


@COMMANDS.command("SADD", -3, "write denyoom fast", ONE)
def _sadd(call: Call, cmd: Command) -> Any:
    value = _of(call, cmd[1])
    before = len(value)
    value.update(dict.fromkeys(cmd[2:]))
    if len(value) > before:
        call.put(cmd[1], value)
    return len(value) - before


def _remove(call: Call, key: bytes, value: Set, members: Sequence[bytes]) -> None:
    for member in members:
        del value[member]
    call.settle(key, value)


@COMMANDS.command("SREM", -3, "write fast", ONE)
def _srem(call: Call, cmd: Command) -> Any:
    value = _of(call, cmd[1])
    members = [m for m in dict.fromkeys(cmd[2:]) if m in value]
    if members:
        _remove(call, cmd[1], value, members)
    return len(members)


@COMMANDS.command("SPOP", -2, "write fast", ONE)
def _spop(call: Call, cmd: Command) -> Any:
    if len(cmd) > 3:
        raise BadSyntax
    count = None
    if len(cmd) == 3:
        count = integer(cmd[2], NOT_POSITIVE)
        if count < 0:
            raise Error(NOT_POSITIVE)
    key, value = cmd[1], call.look(cmd[1], Set)
    if value is None:
        return None if count is None else Members()
    if count == 0:
        return Members()
    everything = count is not None and count >= len(value)
    members = random_members(call, list(value), 1 if count is None else count)
    _remove(call, key, value, members)
    if everything:
        call.instead((b"DEL", key))
    elif count is None:
        call.instead((b"SREM", key, members[0]))
    else:
        call.instead(*[(b"SREM", key, member) for member in members])
    return members[0] if count is None else Members(members)


@COMMANDS.command("SRANDMEMBER", -2, "readonly", ONE)
def _srandmember(call: Call, cmd: Command) -> Any:
    if len(cmd) > 3:
        raise BadSyntax
    count = integer(cmd[2]) if len(cmd) == 3 else None
    if count == -INT64:
        raise Error("ERR value is out of range")
    members = random_members(call, list(_of(call, cmd[1])), 1 if count is None else count)
    if count is None:
        return members[0] if members else None
    return members


@COMMANDS.command("SCARD", 2, "readonly fast", ONE)
def _scard(call: Call, cmd: Command) -> Any:
    return len(_of(call, cmd[1]))


@COMMANDS.command("SISMEMBER", 3, "readonly fast", ONE)
def _sismember(call: Call, cmd: Command) -> Any:
    return int(cmd[2] in _of(call, cmd[1]))


@COMMANDS.command("SMISMEMBER", -3, "readonly fast", ONE)
def _smismember(call: Call, cmd: Command) -> Any:
    value = _of(call, cmd[1])
    return [int(m in value) for m in cmd[2:]]


@COMMANDS.command("SMEMBERS", 2, "readonly", ONE)
def _smembers(call: Call, cmd: Command) -> Any:
    return Members(_of(call, cmd[1]))


@COMMANDS.command("SMOVE", 4, "write fast", (1, 2, 1))
def _smove(call: Call, cmd: Command) -> Any:
    value = call.look(cmd[1], Set)
    if value is None:
        return 0
    into = call.look(cmd[2], Set)
    if cmd[3] not in value:
        return 0
    if cmd[1] == cmd[2]:
        return 1
    _remove(call, cmd[1], value, [cmd[3]])
    into = Set() if into is None else into
    into[cmd[3]] = None
    call.put(cmd[2], into)
    return 1


# --- set operations


def _inter(sets: list[Set]) -> list[bytes]:
    smallest = min(sets, key=len)
    return [m for m in smallest if all(m in s for s in sets)]


def _union(sets: list[Set]) -> list[bytes]:
    return list(dict.fromkeys(m for s in sets for m in s))


def _diff(sets: list[Set]) -> list[bytes]:
    return [m for m in sets[0] if not any(m in s for s in sets[1:])]


Algebra = Callable[[list[Set]], list[bytes]]


def _combined(call: Call, keys: Sequence[bytes], combine: Algebra) -> list[bytes]:
    """Read every key, whatever the others hold, so that the reply waits for all of them."""
    return combine([_of(call, key) for key in keys])


def _store(call: Call, cmd: Command, combine: Algebra) -> int:
    members = _combined(call, cmd[2:], combine)
    if members:
        call.peek(cmd[1])
        call.put(cmd[1], Set(dict.fromkeys(members)), keep_ttl=False)
    else:
        call.remove(cmd[1])
    return len(members)


@COMMANDS.command("SINTER", -2, "readonly", ALL)
def _sinter(call: Call, cmd: Command) -> Any:
    return Members(_combined(call, cmd[1:], _inter))


@COMMANDS.command("SUNION", -2, "readonly", ALL)
def _sunion(call: Call, cmd: Command) -> Any:
    return Members(_combined(call, cmd[1:], _union))


@COMMANDS.command("SDIFF", -2, "readonly", ALL)
def _sdiff(call: Call, cmd: Command) -> Any:
    return Members(_combined(call, cmd[1:], _diff))


@COMMANDS.command("SINTERSTORE", -3, "write denyoom", ALL)
def _sinterstore(call: Call, cmd: Command) -> Any:
    return _store(call, cmd, _inter)


@COMMANDS.command("SUNIONSTORE", -3, "write denyoom", ALL)
def _sunionstore(call: Call, cmd: Command) -> Any:
    return _store(call, cmd, _union)


@COMMANDS.command("SDIFFSTORE", -3, "write denyoom", ALL)
def _sdiffstore(call: Call, cmd: Command) -> Any:
    return _store(call, cmd, _diff)


TOO_MANY_KEYS = Error("ERR Number of keys can't be greater than number of args")


@COMMANDS.command("SINTERCARD", -3, "readonly", movable=counted_keys(1))
def _sintercard(call: Call, cmd: Command) -> Any:
    keys, limit = cardinality_arguments(cmd, TOO_MANY_KEYS)
    found = len(_combined(call, keys, _inter))
    return min(found, limit) if limit else found


def cardinality_arguments(cmd: Command, too_many: Error) -> tuple[Sequence[bytes], int]:
    """Return (keys, limit; 0 for none) of SINTERCARD or ZINTERCARD. `too_many`: the error if
    numkeys exceeds the number of arguments."""
    count = integer(cmd[1], "ERR numkeys should be greater than 0")
    if count <= 0:
        raise Error("ERR numkeys should be greater than 0")
    if count > len(cmd) - 2:
        raise too_many
    words, limit = cmd[2 + count :], 0
    while words:
        if len(words) < 2 or words[0].upper() != b"LIMIT":
            raise BadSyntax
        limit = integer(words[1], "ERR LIMIT can't be negative")
        if limit < 0:
            raise Error("ERR LIMIT can't be negative")
        words = words[2:]
    return cmd[2 : 2 + count], limit
