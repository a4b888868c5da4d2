"""Commands on strings of Valkey 9: DELIFEQ and MSETEX."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from targets.engine.execution import Call, Commands
from targets.engine.parsing import integer
from targets.engine.resp import BadSyntax, Command, Error
from targets.engine.strings import end_of
from targets.engine.table import ONE

COMMANDS: Commands = Commands()

UNITS = (b"EX", b"PX", b"EXAT", b"PXAT")


@COMMANDS.command("DELIFEQ", 3, "write fast", ONE)
def _delifeq(call: Call, cmd: Command) -> Any:
    value = call.look(cmd[1], bytes)
    if value is None or value != cmd[2]:
        return 0
    call.remove(cmd[1])
    call.instead((b"DEL", cmd[1]))
    return 1


def paired_keys(cmd: Command) -> Sequence[bytes]:
    """Return the keys of MSETEX: every second word of as many pairs as it names."""
    try:
        count = _count(cmd)
    except Error:
        return ()
    return cmd[2 : 2 + 2 * count : 2]


def _count(cmd: Command) -> int:
    try:
        count = integer(cmd[1])
    except Error:
        count = 0
    if not 0 < count < 2**31:
        raise Error("ERR invalid numkeys value or out of range")
    if len(cmd) < 2 + 2 * count:
        raise BadSyntax
    return count


@COMMANDS.command("MSETEX", -4, "write denyoom", movable=paired_keys)
def _msetex(call: Call, cmd: Command) -> Any:
    count = _count(cmd)
    condition: bytes | None = None
    unit: bytes | None = None
    time = b""
    words = list(cmd[2 + 2 * count :])
    while words:
        word = words.pop(0).upper()
        if word in (b"NX", b"XX") and condition in (None, word):
            condition = word
        elif word in UNITS and words and unit is None:
            unit, time = word, words.pop(0)
        elif word == b"KEEPTTL" and unit in (None, word):
            unit = word
        else:
            raise BadSyntax
    end_ms = end_of(call, unit, time, "msetex") if unit in UNITS else None
    pairs = list(zip(cmd[2 : 2 + 2 * count : 2], cmd[3 : 3 + 2 * count : 2], strict=True))
    exist = [call.peek(key) is not None for key, _ in pairs]
    if (condition == b"NX" and any(exist)) or (condition == b"XX" and not all(exist)):
        return 0
    effects: list[Command] = []
    for key, value in pairs:
        call.put(key, value, keep_ttl=unit == b"KEEPTTL")
        if end_ms is not None and end_ms <= call.time_ms:
            call.remove(key)
            effects.append((b"DEL", key))
        elif end_ms is not None:
            call.state.expire(key, end_ms)
            effects.append((b"SET", key, value, b"PXAT", b"%d" % end_ms))
        else:
            effects.append((b"SET", key, value, *([b"KEEPTTL"] if unit else [])))
    call.instead(*effects)
    return 1
