"""DUMP and RESTORE."""

from __future__ import annotations

from typing import Any

from targets.engine import rdb
from targets.engine.execution import Call, Commands
from targets.engine.parsing import INT64, integer
from targets.engine.resp import OK, BadSyntax, Command, Error
from targets.engine.table import ONE

COMMANDS: Commands = Commands()


@COMMANDS.command("DUMP", 2, "readonly", ONE)
def _dump(call: Call, cmd: Command) -> Any:
    value = call.peek(cmd[1])
    return None if value is None else rdb.dump(value)


@COMMANDS.command("RESTORE", -4, "write denyoom", ONE)
def _restore(call: Call, cmd: Command) -> Any:
    replace, absolute = _options(list(cmd[4:]))
    if call.peek(cmd[1]) is not None and not replace:
        raise Error("BUSYKEY Target key name already exists.")
    end_ms = integer(cmd[2])
    if end_ms < 0:
        raise Error("ERR Invalid TTL value, must be >= 0")
    if not rdb.is_dump(cmd[3]):
        raise Error("ERR DUMP payload version or checksum are wrong")
    try:
        value = rdb.parse_dump(cmd[3])
    except rdb.Malformed:
        raise Error("ERR Bad data format") from None
    words = cmd
    if end_ms and not absolute:
        end_ms += call.time_ms
        if end_ms >= INT64:  # does not fit the effect's 64-bit ABSTTL
            raise Error("ERR Invalid TTL value, must be >= 0")
        words = (*cmd[:2], b"%d" % end_ms, *cmd[3:], b"ABSTTL")
    existed = call.remove(cmd[1])
    if end_ms and end_ms <= call.time_ms:
        if existed:
            call.instead((b"DEL", cmd[1]))
        return OK
    call.put(cmd[1], value, keep_ttl=False)
    if end_ms:
        call.state.expire(cmd[1], end_ms)
    call.instead(words)
    return OK


def _options(words: list[bytes]) -> tuple[bool, bool]:
    replace = absolute = False
    while words:
        word = words.pop(0).upper()
        if word == b"REPLACE":
            replace = True
        elif word == b"ABSTTL":
            absolute = True
        elif word == b"IDLETIME" and words:
            if integer(words.pop(0)) < 0:
                raise Error("ERR Invalid IDLETIME value, must be >= 0")
        elif word == b"FREQ" and words:
            if not 0 <= integer(words.pop(0)) <= 255:
                raise Error("ERR Invalid FREQ value, must be >= 0 and <= 255")
        else:
            raise BadSyntax
    return replace, absolute
