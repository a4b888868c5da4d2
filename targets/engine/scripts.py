"""Lua scripts (EVAL), on Lua 5.1 as in Redis.

The environment is built from a list of harmless functions, since lupa exposes `python.eval`, `io`
and `os`. Random numbers come from the call's generator, and addresses are hidden.

A script fails when it has taken UNITS_MAX units of work or SECONDS_MAX seconds, or needs more than
MEMORY_BYTES_MAX. A unit is an instruction, or 16 bytes that a function in C handles. Lua can't
interrupt such functions, so those that may take long are replaced, see `lua/`.
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Callable
from functools import lru_cache
from importlib import resources
from itertools import islice
from typing import Any

from lupa import lua51

from targets.engine.execution import Call
from targets.engine.lua_libraries import ELEMENTS_MAX, Size, Tables, libraries
from targets.engine.parsing import INT64
from targets.engine.resp import Error, Simple, to_resp2

UNITS_MAX = 10_000_000
SECONDS_MAX = 4.0
MEMORY_BYTES_MAX = 128 << 20  # of the interpreter
GARBAGE_BYTES_MAX = MEMORY_BYTES_MAX // 4  # with more, the next script gets a new interpreter
SOURCE_BYTES_MAX = 1 << 20
STEPS_MAX = 1e8  # of a pattern, to be tried by the functions in C
DEPTH_MAX = 100  # of nested tables in a reply
_SOURCES = {
    name: resources.files("targets.engine").joinpath(f"lua/{name}.lua").read_bytes()
    for name in ("bounds", "patterns", "environment", "functions")
}


def _no_attributes(thing: Any, name: Any, setting: bool) -> Any:
    raise AttributeError("scripts may not access attributes of Python objects")


class _Libraries:
    """Calls `lua_libraries` for scripts; returns (True, results…) or (False, error)."""

    def __init__(self) -> None:
        self._known: dict[str, dict[str, Any]] = {}

    def bind(self, lua: Any, null: Any) -> None:
        """Set the runtime to which the functions belong."""
        tables = Tables(
            make=lambda pairs: lua.table_from(dict(pairs)),
            is_table=lambda value: lua51.lua_type(value) == "table",
            pairs=lambda table: list(islice(table.items(), ELEMENTS_MAX + 1)),
            null=null,
            is_null=lambda value: lua51.lua_type(value) == "userdata",
        )
        self._known = libraries(tables)

    def __call__(self, library: bytes, name: bytes, *args: Any) -> tuple[Any, ...]:
        try:
            found = self._known[library.decode()][name.decode()](*args)
        except Error as e:
            return False, str(e).encode()
        except (TypeError, ValueError, OverflowError, RecursionError, struct.error):
            return False, b"bad argument to '%s'" % name
        return (True, *found) if isinstance(found, tuple) else (True, found)


class _Interpreter:
    """A Lua runtime for many scripts; each run has a new environment."""

    def __init__(self) -> None:
        self.clock: Callable[[], int] | None = None  # of the run, in nanoseconds
        self.lua = lua51.LuaRuntime(
            encoding=None,
            register_eval=False,
            register_builtins=False,
            unpack_returned_tuples=True,
            attribute_filter=_no_attributes,
            max_memory=MEMORY_BYTES_MAX,
        )
        self._lift()
        library = _Libraries()
        begin, finish, outside, spend = self._load(
            "bounds", UNITS_MAX, SECONDS_MAX, MEMORY_BYTES_MAX, self._spent_s, self._lift, self._set
        )
        self.compile, self.run, self.rawget, null = self._load(
            "environment", library, begin, finish, outside
        )
        self._load("functions", STEPS_MAX, spend, *self._load("patterns"))
        library.bind(self.lua, null)

    def _load(self, name: str, *args: Any) -> Any:
        load = self.lua.eval(b"function(text, name) return assert(loadstring(text, name)) end")
        return load(_SOURCES[name], f"={name}".encode())(*args)

    def _spent_s(self) -> float:
        return 0.0 if self.clock is None else self.clock() / 1e9

    # The bound of memory holds only while a script runs: elsewhere Lua, which then can't raise an
    # error, would end the process.

    def _lift(self) -> None:
        self.lua.set_max_memory(0)

    def _set(self) -> None:
        self.lua.set_max_memory(MEMORY_BYTES_MAX)


@lru_cache(maxsize=1)
def _interpreter() -> _Interpreter:
    return _Interpreter()


@lru_cache(maxsize=1000)
def compiled(text: bytes) -> Any:
    """Return a script as a Lua function; raises `Error` if it does not compile."""
    if len(text) > SOURCE_BYTES_MAX:
        raise Error(f"ERR a script has at most {SOURCE_BYTES_MAX} bytes")
    made = _interpreter().compile(text)
    if isinstance(made, tuple):
        why = made[1].decode("utf-8", "surrogateescape")
        raise Error(f"ERR Error compiling script (new function): {why}")
    return made


def forget() -> None:
    """Begin anew, with another interpreter."""
    _interpreter.cache_clear()
    compiled.cache_clear()


def run_script(call: Call, text: bytes, keys: list[bytes], argv: list[bytes]) -> Any:
    """Run a script and return its reply; raises `Error`. Its effects are added to the call's,
    wrapped in MULTI and EXEC if there are several."""
    interpreter, function = _interpreter(), compiled(text)
    lua, clock = interpreter.lua, call.state.clock
    before, began = len(call.effects), 0 if clock is None else clock()

    def raw(*words: Any) -> Any:
        try:
            if clock is not None and clock() - began > SECONDS_MAX * 1e9:
                raise Error("ERR script ran for too long")
            command = tuple(_word(w) for w in words)
            if not command:
                raise Error("ERR Please specify at least one argument for this redis lib call")
            return _to_lua(lua, to_resp2(call.run(command)))
        except Error as e:
            return _to_lua(lua, e)

    def random() -> float:
        return call.context.rng.getrandbits(53) / 2**53

    call.in_script, interpreter.clock = True, clock
    try:
        done, reply = interpreter.run(function, lua.table(*keys), lua.table(*argv), raw, random)
        if not done:
            raise Error(_why(reply, text))
        return _from_lua(reply, DEPTH_MAX, Size("ERR reply"))
    finally:
        call.in_script = False
        effects = call.effects[before:]
        if len(effects) > 1:
            call.effects[before:] = [(b"MULTI",), *effects, (b"EXEC",)]
        if lua.get_memory_used() > GARBAGE_BYTES_MAX:
            forget()


def _word(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return b"%.17g" % value
    raise Error("ERR Lua redis lib command arguments must be strings or integers")


def _get(table: Any, key: Any) -> Any:
    """Return a table's own field by rawget: its metatable may contain a script's functions."""
    return _interpreter().rawget(table, key)


def _why(raised: Any, text: bytes) -> str:
    """Return the text of an error that a script raised, with its position."""
    if lua51.lua_type(raised) != "table":
        return "ERR not enough memory" if b"not enough memory" in raised else f"ERR {raised!r}"
    err, at = _get(raised, b"err"), _get(raised, b"at")
    message = (
        err.decode("utf-8", "surrogateescape") if isinstance(err, bytes) else "ERR unknown error"
    )
    if not isinstance(at, bytes):
        return message
    sha = hashlib.sha1(text).hexdigest()
    return f"{message} script: {sha}, on @{at.decode('utf-8', 'replace')}."


def _to_lua(lua: Any, reply: Any) -> Any:
    if reply is None:
        return False
    if isinstance(reply, Simple):
        return lua.table_from({b"ok": bytes(reply)})
    if isinstance(reply, Error):
        return lua.table_from({b"err": str(reply).encode("utf-8", "surrogateescape")})
    if isinstance(reply, list):
        return lua.table(*[_to_lua(lua, each) for each in reply])
    return reply


def _from_lua(value: Any, depth: int, size: Size) -> Any:
    """Return a reply; raises `Error` if it is too big."""
    if isinstance(value, bool) or value is None:
        return 1 if value else None
    if isinstance(value, int | float):
        return _to_integer(value)
    if isinstance(value, bytes):
        size.add(len(value))
        return value
    if lua51.lua_type(value) != "table":
        return None
    if depth == 0:
        return Error("ERR reached lua stack limit")
    err, ok = _get(value, b"err"), _get(value, b"ok")
    if isinstance(err, bytes):
        return Error(err.decode("utf-8", "surrogateescape"))
    if isinstance(ok, bytes):
        return Simple(ok)
    replies: list[Any] = []
    while (each := _get(value, len(replies) + 1)) is not None:
        size.add()
        replies.append(_from_lua(each, depth - 1, size))
    return replies


def _to_integer(value: float) -> int:
    """Convert like a cast in C on x86: a number out of range becomes the smallest integer."""
    if math.isnan(value) or not -INT64 <= value < INT64:
        return -INT64
    return int(value)
