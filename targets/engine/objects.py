"""OBJECT and MEMORY: encodings and sizes of values."""

from __future__ import annotations

import sys
from collections import deque
from itertools import islice
from typing import Any

from targets.engine.execution import Call, Commands, add_container
from targets.engine.parsing import integer
from targets.engine.resp import BadSyntax, Command, Error
from targets.engine.values import Hash, Set, SortedSet, Stream, Value

COMMANDS: Commands = Commands()

AT_TWO = (2, 2, 1)
LISTPACK_BYTES_MAX = 64  # of an element, by Redis' default configuration
SHARED_INTEGERS = 10_000

add_container(COMMANDS, "OBJECT")
add_container(COMMANDS, "MEMORY")


def encoding(value: Value) -> bytes:
    """Return the encoding that Redis 7.0 would choose for a value built anew."""
    if isinstance(value, bytes):
        if _is_integer(value):
            return b"int"
        return b"embstr" if len(value) <= 44 else b"raw"
    if isinstance(value, deque):
        return b"quicklist"
    if isinstance(value, Set):
        return b"intset" if len(value) <= 512 and all(map(_is_integer, value)) else b"hashtable"
    if isinstance(value, Hash):
        short = all(len(w) <= LISTPACK_BYTES_MAX for pair in value.items() for w in pair)
        return b"listpack" if len(value) <= 512 and short else b"hashtable"
    if isinstance(value, Stream):
        return b"stream"
    short = all(len(member) <= LISTPACK_BYTES_MAX for member in value)
    return b"listpack" if len(value) <= 128 and short else b"skiplist"


def _is_integer(word: bytes) -> bool:
    try:
        integer(word)
    except Error:
        return False
    return True


@COMMANDS.command("OBJECT|ENCODING", 3, "readonly", AT_TWO)
def _encoding(call: Call, cmd: Command) -> Any:
    value = call.peek(cmd[2])
    return None if value is None else encoding(value)


@COMMANDS.command("OBJECT|REFCOUNT", 3, "readonly", AT_TWO)
def _refcount(call: Call, cmd: Command) -> Any:
    value = call.peek(cmd[2])
    if value is None:
        return None
    small = isinstance(value, bytes) and _is_integer(value) and 0 <= int(value) < SHARED_INTEGERS
    return 2**31 - 1 if small else 1


@COMMANDS.command("OBJECT|IDLETIME", 3, "readonly", AT_TWO)
def _idletime(call: Call, cmd: Command) -> Any:
    """Return 0: access times are not tracked, since nothing is evicted."""
    return None if call.peek(cmd[2]) is None else 0


@COMMANDS.command("OBJECT|FREQ", 3, "readonly", AT_TWO)
def _freq(call: Call, cmd: Command) -> Any:
    if call.peek(cmd[2]) is None:
        return None
    raise Error(
        "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note "
        "that when switching between policies at runtime LRU and LFU data will take some time to "
        "adjust."
    )


@COMMANDS.command("MEMORY|USAGE", -3, "readonly", AT_TWO)
def _memory_usage(call: Call, cmd: Command) -> Any:
    """Estimate the bytes of a key and its value in this process from samples of its members."""
    samples = 5
    if len(cmd) > 3:
        if len(cmd) != 5 or cmd[3].upper() != b"SAMPLES":
            raise BadSyntax
        samples = integer(cmd[4])
        if samples < 0:
            raise BadSyntax
    value = call.peek(cmd[2])
    if value is None:
        return None
    return sys.getsizeof(cmd[2]) + _size(value, samples or sys.maxsize)


def _size(value: Value, samples: int) -> int:
    if isinstance(value, bytes):
        return sys.getsizeof(value)
    if isinstance(value, SortedSet):
        overhead = sys.getsizeof(value.scores) + 8 * len(value) + sys.getsizeof(value)
        each = [sys.getsizeof(member) + 24 + 56 for member in islice(value, samples)]
    elif isinstance(value, Hash):
        overhead = sys.getsizeof(value)
        each = [sum(map(sys.getsizeof, pair)) for pair in islice(value.items(), samples)]
    elif isinstance(value, Stream):
        overhead = sys.getsizeof(value) + sum(block.size for block in value.blocks)
        return overhead + sum(
            200 * len(g.pending) + 100 * len(g.consumers) for g in value.groups.values()
        )
    else:
        overhead = sys.getsizeof(value)
        each = [sys.getsizeof(member) for member in islice(value, samples)]
    return overhead + (sum(each) * len(value) // len(each) if each else 0)
