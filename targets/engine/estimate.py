"""How long a command may take, estimated before it is executed, in elements that it looks at."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from targets.engine.resp import Command
from targets.engine.scripts import SOURCE_BYTES_MAX
from targets.engine.state import State
from targets.engine.table import CommandSpec
from targets.engine.values import Stream

ANY: Final = 1_000_000  # elements: not known
BYTES: Final = 256  # of a string, that take as long as an element
DIGITS_MAX: Final = 20  # of a number of 64 bits
_WHOLE: Final = ("KEYS", "FLUSHALL", "FLUSHDB")
_COUNTED: Final = ("LPOP", "RPOP", "SPOP", "ZPOPMIN", "ZPOPMAX")  # by their second argument
# Commands that Redis calls fast, although they may look at, or free, many elements.
_NOT_BRIEF: Final = frozenset({*_COUNTED, "XADD", "XCLAIM", "XAUTOCLAIM", "UNLINK", "GETDEL"})
# Whatever may repeat something, or handle long texts. Other scripts are as long as their commands.
_REPEATS: Final = re.compile(
    rb"\b(for|while|repeat|function|goto|load|loadstring|pcall|xpcall|rep|find|match|gmatch|gsub"
    rb"|sort|concat|byte|format|insert|remove|encode|decode|pack|unpack|sha1hex|__\w+)\b"
)


def brief(commands: Mapping[bytes, CommandSpec[Any]]) -> frozenset[str]:
    """Return the names of the commands that can't take long, unless their arguments are many."""
    fast = {spec.name for spec in commands.values() if "fast" in spec.flags}
    return frozenset(fast - _NOT_BRIEF | {"SET"})


def work_of(state: State, command: Command, spec: CommandSpec[Any]) -> int:
    """Return roughly how many elements a command may look at."""
    if spec.nested:
        return _script_work(state, command, spec)
    if spec.name in _WHOLE:
        return len(state)
    if spec.name == "SCAN":
        return _scan_work(state, command)
    keys = spec.keys_of(command)
    if spec.name in _COUNTED or spec.name == "XADD":
        most = _trimmed(state, command) if spec.name == "XADD" else _count(command, 2, 1)
        return 1 + min(most, _size(state, keys))
    if spec.name == "LCS":
        first, second = (_size(state, [key]) for key in keys)
        return BYTES * first * second
    return 1 + _size(state, keys)


def _count(command: Command, at: int, without: int) -> int:
    """Return the number at a place of a command; `without`: if it has none there."""
    if len(command) <= at:
        return without
    return _number(command[at]) if command[at].isdigit() else 0  # else it is an error


def _number(digits: bytes) -> int:
    """Return a number, or a great one for more digits than Python converts."""
    return int(digits[:DIGITS_MAX])


def _scan_work(state: State, command: Command) -> int:
    """SCAN looks at COUNT keys; the first one, if it is to continue, sorts all by their hashes."""
    words = [word.upper() for word in command]
    count = _count(command, words.index(b"COUNT") + 1, 0) if b"COUNT" in words else 10
    return min(count, len(state)) if state.scanned else len(state)


def _trimmed(state: State, command: Command) -> int:
    """Return how many entries of its stream an XADD may remove."""
    stream = state.values.get(command[1])
    words = [word.upper() for word in command[2:6]]
    if not isinstance(stream, Stream) or not {b"MAXLEN", b"MINID"} & {*words}:
        return 0
    at = words.index(b"MAXLEN" if b"MAXLEN" in words else b"MINID")
    limit = next((word for word in words[at + 1 :] if word not in (b"~", b"=")), b"")
    first, _, second = limit.partition(b"-")
    if not first.isdigit() or (second and not second.isdigit()):
        return 0  # it is an error
    if words[at] == b"MAXLEN":
        return max(0, len(stream) + 1 - _number(first))
    return int(stream.entries.bisect_left((_number(first), _number(second or b"0"))))


def _size(state: State, keys: Sequence[bytes]) -> int:
    size = 0
    for key in keys:
        value = state.values.get(key)
        if value is not None:
            size += len(value) // BYTES if type(value) is bytes else len(value)
    return size


@lru_cache(maxsize=100)
def _repeats(text: bytes) -> bool:
    return _REPEATS.search(text) is not None


def _script_work(state: State, command: Command, spec: CommandSpec[Any]) -> int:
    text = command[1]
    if spec.name.startswith("EVALSHA"):
        text = state.scripts.get(text.lower(), b"")
    if len(text) > SOURCE_BYTES_MAX:
        return 0  # it is refused
    if _repeats(text):
        return ANY
    calls, keys = text.count(b"call"), spec.keys_of(command)
    if calls and not keys:
        return ANY  # the keys that it uses are not declared
    return 1 + calls * (1 + _size(state, keys))
