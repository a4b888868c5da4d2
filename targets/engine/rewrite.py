"""Commands that rebuild a state, as Redis writes them to a rewritten append-only file."""

from __future__ import annotations

from collections import deque

from targets.engine.rdb import dump
from targets.engine.resp import Command, number_text
from targets.engine.state import State
from targets.engine.values import Hash, Set, SortedSet, Value

MEMBERS_A_COMMAND = 1000


def rewritten(state: State) -> list[Command]:
    """Return commands that make an empty state equal to this one."""
    commands: list[Command] = []
    for key, value in state.values.items():
        name, words = _rebuilt(value)
        step = 2 * MEMBERS_A_COMMAND
        for start in range(0, len(words), step):
            commands.append((name, key, *words[start : start + step]))
        if key in state.expires:
            commands.append((b"PEXPIREAT", key, b"%d" % state.expires[key]))
    return commands


def _rebuilt(value: Value) -> tuple[bytes, list[bytes]]:
    """Return the name of the command that creates a value, and its arguments after the key."""
    if isinstance(value, bytes):
        return b"SET", [value]
    if isinstance(value, deque):
        return b"RPUSH", list(value)
    if isinstance(value, Set):
        return b"SADD", list(value)
    if isinstance(value, Hash):
        return b"HSET", [word for pair in value.items() for word in pair]
    if isinstance(value, SortedSet):
        return b"ZADD", [word for m, s in value.scores.items() for word in (number_text(s), m)]
    return b"RESTORE", [b"0", dump(value)]
