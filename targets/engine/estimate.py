"""How long a command may take, estimated before it is executed, in elements that it looks at."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from targets.engine.resp import Command
from targets.engine.state import State
from targets.engine.table import CommandSpec

ANY: Final = 1_000_000  # elements: not known
BYTES: Final = 256  # of a string, that take as long as an element
_WHOLE: Final = ("KEYS", "FLUSHALL", "FLUSHDB")
# Whatever may repeat something, or handle long texts. Other scripts are as long as their commands.
_REPEATS: Final = re.compile(
    rb"\b(for|while|repeat|function|goto|load|loadstring|pcall|xpcall|rep|find|match|gmatch|gsub"
    rb"|sort|concat|byte|format|insert|remove|encode|decode|pack|unpack|sha1hex|__\w+)\b"
)


def work_of(state: State, command: Command, spec: CommandSpec[Any]) -> int:
    """Return roughly how many elements a command may look at."""
    if spec.nested:
        return _script_work(state, command, spec)
    if spec.name in _WHOLE:
        return len(state)
    keys = spec.keys_of(command)
    if spec.name == "LCS":
        first, second = (_size(state, [key]) for key in keys)
        return BYTES * first * second
    return 1 + _size(state, keys)


def _size(state: State, keys: Sequence[bytes]) -> int:
    size = 0
    for key in keys:
        value = state.values.get(key)
        if value is not None:
            size += len(value) // BYTES if type(value) is bytes else len(value)
    return size


def _script_work(state: State, command: Command, spec: CommandSpec[Any]) -> int:
    text = command[1]
    if spec.name.startswith("EVALSHA"):
        text = state.scripts.get(text.lower(), b"")
    if _REPEATS.search(text):
        return ANY
    calls, keys = text.count(b"call"), spec.keys_of(command)
    if calls and not keys:
        return ANY  # the keys that it uses are not declared
    return 1 + calls * (1 + _size(state, keys))
