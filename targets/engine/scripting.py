"""EVAL, EVALSHA, their read-only variants, and SCRIPT."""

from __future__ import annotations

import hashlib
from typing import Any

from targets.engine.execution import Call, Commands, add_container
from targets.engine.parsing import integer
from targets.engine.resp import OK, Command, Error
from targets.engine.scripts import compiled, run_script
from targets.engine.table import counted_keys

COMMANDS: Commands = Commands()

_NO_SCRIPT = "NOSCRIPT No matching script. Please use EVAL."
_READ_ONLY = Error("ERR Write commands are not allowed from read-only scripts.")


def script_sha(text: bytes) -> bytes:
    """Return the SHA-1 of a script in hexadecimal, as EVALSHA takes it."""
    return hashlib.sha1(text).hexdigest().encode()


def _count(cmd: Command) -> int:
    """Return the number of keys passed to a script."""
    count = integer(cmd[2])
    if count > len(cmd) - 3:
        raise Error("ERR Number of keys can't be greater than number of args")
    if count < 0:
        raise Error("ERR Number of keys can't be negative")
    return count


def _eval_of(call: Call, text: bytes, cmd: Command) -> Any:
    count = _count(cmd)
    compiled(text)
    call.state.scripts[script_sha(text)] = text
    return run_script(call, text, list(cmd[3 : 3 + count]), list(cmd[3 + count :]))


def _by_sha(call: Call, cmd: Command) -> Any:
    if len(cmd[1]) != 40:
        raise Error(_NO_SCRIPT)
    _count(cmd)
    text = call.state.scripts.get(cmd[1].lower())
    if text is None:
        raise Error(_NO_SCRIPT)
    return _eval_of(call, text, cmd)


def _read_only(call: Call, run: Any, *args: Any) -> Any:
    """Run a script whose writes are refused."""
    before, call.deny = call.deny, call.deny or _READ_ONLY
    try:
        return run(call, *args)
    finally:
        call.deny = before


_FLAGS = "noscript stale skip_monitor no_mandatory_keys"


@COMMANDS.command("EVAL", -3, _FLAGS, movable=counted_keys(2))
def _eval(call: Call, cmd: Command) -> Any:
    return _eval_of(call, cmd[1], cmd)


@COMMANDS.command("EVALSHA", -3, _FLAGS, movable=counted_keys(2))
def _evalsha(call: Call, cmd: Command) -> Any:
    return _by_sha(call, cmd)


@COMMANDS.command("EVAL_RO", -3, "readonly " + _FLAGS, movable=counted_keys(2))
def _eval_ro(call: Call, cmd: Command) -> Any:
    return _read_only(call, _eval_of, cmd[1], cmd)


@COMMANDS.command("EVALSHA_RO", -3, "readonly " + _FLAGS, movable=counted_keys(2))
def _evalsha_ro(call: Call, cmd: Command) -> Any:
    return _read_only(call, _by_sha, cmd)


add_container(COMMANDS, "SCRIPT")


@COMMANDS.command("SCRIPT|LOAD", 3, "noscript stale")
def _script_load(call: Call, cmd: Command) -> Any:
    compiled(cmd[2])
    sha = script_sha(cmd[2])
    call.state.scripts[sha] = cmd[2]
    return sha


@COMMANDS.command("SCRIPT|EXISTS", -3, "noscript")
def _script_exists(call: Call, cmd: Command) -> Any:
    return [int(sha.lower() in call.state.scripts) for sha in cmd[2:]]


@COMMANDS.command("SCRIPT|FLUSH", -2, "noscript")
def _script_flush(call: Call, cmd: Command) -> Any:
    if len(cmd) > 3 or (len(cmd) == 3 and cmd[2].upper() not in (b"SYNC", b"ASYNC")):
        raise Error("ERR SCRIPT FLUSH only support SYNC|ASYNC option")
    call.state.scripts.clear()
    return OK


@COMMANDS.command("SCRIPT|KILL", 2, "noscript allow_busy")
def _script_kill(call: Call, cmd: Command) -> Any:
    raise Error("NOTBUSY No scripts in execution right now.")
