"""Lua scripts (EVAL), on Lua 5.1 as in Redis.

The environment is built from a list of harmless functions, since lupa exposes `python.eval`, `io`
and `os`. Random numbers come from the call's generator, and addresses are hidden. A script fails
after INSTRUCTIONS_MAX instructions.
"""

from __future__ import annotations

import hashlib
import math
from functools import lru_cache
from typing import Any

from lupa import lua51

from targets.engine.execution import Call
from targets.engine.lua_libraries import Tables, libraries
from targets.engine.parsing import INT64
from targets.engine.resp import Error, Simple, to_resp2

INSTRUCTIONS_MAX = 10_000_000
MEMORY_BYTES_MAX = 256 << 20  # of the interpreter, for all scripts
DEPTH_MAX = 100  # of nested tables in a reply
_PRELUDE = b"""
local limit, library = ...
local sethook, getinfo, setfenv, loadstring = debug.sethook, debug.getinfo, setfenv, loadstring
local type, error, pcall, pairs, tostring = type, error, pcall, pairs, tostring
local getmetatable, setmetatable, rawget = getmetatable, setmetatable, rawget
local xpcall, sub, format, select = xpcall, string.sub, string.format, select
local unpack, tonumber, math, table = unpack, tonumber, math, table
local harmless = {'assert', 'error', 'ipairs', 'next', 'pairs', 'rawequal', 'rawget', 'rawset',
  'select', 'setmetatable', 'tonumber', 'type', 'unpack', '_VERSION'}
local G = _G
G.string.dump = nil

local find = string.find
local null = newproxy()
local libraries = {cjson = {'encode', 'decode'}, struct = {'pack', 'unpack', 'size'},
  cmsgpack = {'pack', 'unpack'}, bit = {'tobit', 'tohex', 'bnot', 'band', 'bor', 'bxor', 'lshift',
  'rshift', 'arshift', 'rol', 'ror', 'bswap'}}
local function checked(done, first, ...)
  if not done then error(first, 3) end
  return first, ...
end
local function copy(from)
  local to = {}
  for name, f in pairs(from) do to[name] = f end
  return to
end

local function environment(raw, random)
  local env = {}
  for i = 1, #harmless do env[harmless[i]] = G[harmless[i]] end
  env.string, env.table, env.math = copy(G.string), copy(G.table), copy(G.math)
  env.math.randomseed = function() end
  env.math.random = function(...)
    local count, low, high = select('#', ...), ...
    if count == 0 then return random() end
    if count > 2 then error('wrong number of arguments', 2) end
    for place = 1, count do
      local bound = tonumber((select(place, ...)))
      if not bound or bound ~= bound or bound < -2^53 or bound > 2^53 then
        error("bad argument #" .. place .. " to 'random' (number expected)", 2)
      end
    end
    if count == 1 then low, high = 1, low end
    low, high = math.floor(tonumber(low)), math.floor(tonumber(high))
    if low > high then
      error("bad argument #" .. count .. " to 'random' (interval is empty)", 2)
    end
    return low + math.floor(random() * (high - low + 1))
  end
  env.getmetatable = function(value)
    if type(value) == 'table' then return getmetatable(value) end
    return nil
  end
  env.tostring = function(value)
    local kind = type(value)
    if kind == 'function' or kind == 'userdata' or kind == 'thread' or
       (kind == 'table' and not (getmetatable(value) or {}).__tostring) then return kind end
    return tostring(value)
  end
  env.pcall = function(f, ...)
    local results = {pcall(f, ...)}
    local why = results[2]
    if not results[1] and type(why) == 'table' and rawget(why, 'err') then results[2] = why.err end
    return unpack(results, 1, table.maxn(results))
  end
  for name, functions in pairs(libraries) do
    env[name] = {}
    for i = 1, #functions do
      local f = functions[i]
      env[name][f] = function(...) return checked(library(name, f, ...)) end
    end
  end
  env.cjson.null = null
  local function call(...)
    local words = {...}
    for i = 1, select('#', ...) do
      if type(words[i]) == 'number' then words[i] = format('%.17g', words[i]) end
    end
    return raw(unpack(words, 1, select('#', ...)))
  end
  local function one_text(count, text)
    if count == 1 and type(text) == 'string' then return nil end
    return {err = 'ERR wrong number or type of arguments'}
  end
  env.redis = {
    error_reply = function(...)
      local text = ...
      local wrong = one_text(select('#', ...), text)
      if wrong then return wrong end
      if sub(text, 1, 1) == '-' then return {err = sub(text, 2)} end
      return {err = find(text, ' ', 1, true) and text or 'ERR ' .. text}
    end,
    status_reply = function(...)
      return one_text(select('#', ...), (...)) or {ok = (...)}
    end,
    sha1hex = function(...)
      if select('#', ...) ~= 1 then error('wrong number of arguments', 0) end
      return checked(library('redis', 'sha1hex', ...))
    end,
    log = function() end,
    LOG_DEBUG = 0, LOG_VERBOSE = 1, LOG_NOTICE = 2, LOG_WARNING = 3,
    replicate_commands = function() return true end,
    pcall = call,
    call = function(...)
      local reply = call(...)
      if type(reply) == 'table' and rawget(reply, 'err') then error(reply, 0) end
      return reply
    end,
  }
  return env
end

-- From the limit on every instruction of a script fails, so that its pcall can't catch the error.
local function too_long()
  sethook(too_long, '', 1)
  if getinfo(2, 'S').source == '@user_script' then error('script ran for too long', 0) end
end

local function compile(text)
  if sub(text, 1, 1) == '\\27' then
    return nil, "user_script:1: unexpected symbol near 'char(27)'"
  end
  return loadstring(text, '@user_script')
end

-- Convert a raised value to {err = message, at = 'user_script:line'}, as Redis reports it.
local function raised(why)
  local at, level = nil, 2
  repeat at, level = getinfo(level, 'Sl'), level + 1 until not at or at.source == '@user_script'
  at = at or {source = '@user_script', currentline = 1}  -- after a tail call the line is unknown
  if type(why) ~= 'table' then why = {err = 'ERR ' .. tostring(why)} end
  return {err = rawget(why, 'err'), at = sub(at.source, 2) .. ':' .. at.currentline}
end

local function run(f, keys, argv, raw, random)
  local env = environment(raw, random)
  env.KEYS, env.ARGV = keys, argv
  setmetatable(env, {
    __index = function(_, name)
      error("Script attempted to access nonexistent global variable '" .. tostring(name) .. "'", 2)
    end,
    __newindex = function() error('Attempt to modify a readonly table', 2) end,
  })
  setfenv(f, env)
  sethook(too_long, '', limit)
  local done, reply = xpcall(f, raised)
  sethook()
  return done, reply
end
return compile, run, rawget, null
"""


def _no_attributes(thing: Any, name: Any, setting: bool) -> Any:
    raise AttributeError("scripts may not access attributes of Python objects")


class _Libraries:
    """Calls `lua_libraries` for scripts; returns (True, results…) or (False, error)."""

    def __init__(self) -> None:
        self._known: dict[str, dict[str, Any]] = {}

    def bind(self, lua: Any, null: Any) -> None:
        tables = Tables(
            make=lambda pairs: lua.table_from(dict(pairs)),
            is_table=lambda value: lua51.lua_type(value) == "table",
            pairs=lambda table: list(table.items()),
            null=null,
            is_null=lambda value: lua51.lua_type(value) == "userdata",
        )
        self._known = libraries(tables)

    def __call__(self, library: bytes, name: bytes, *args: Any) -> tuple[Any, ...]:
        try:
            found = self._known[library.decode()][name.decode()](*args)
        except Error as e:
            return False, str(e).encode()
        except (TypeError, ValueError, OverflowError, RecursionError):
            return False, b"bad argument to '%s'" % name
        return (True, *found) if isinstance(found, tuple) else (True, found)


@lru_cache(maxsize=1)
def _interpreter() -> tuple[Any, Any, Any, Any]:
    """Return (runtime, compile, run, rawget), shared by all scripts; each run has a new
    environment."""
    lua = lua51.LuaRuntime(
        encoding=None,
        register_eval=False,
        register_builtins=False,
        unpack_returned_tuples=True,
        attribute_filter=_no_attributes,
        max_memory=MEMORY_BYTES_MAX,
    )
    library = _Libraries()
    compile_, run, rawget, null = lua.execute(_PRELUDE, INSTRUCTIONS_MAX, library)
    library.bind(lua, null)
    return lua, compile_, run, rawget


@lru_cache(maxsize=1000)
def compiled(text: bytes) -> Any:
    """Return a script as a Lua function; raises `Error` if it does not compile."""
    _, compile_, _, _ = _interpreter()
    made = compile_(text)
    if isinstance(made, tuple):
        why = made[1].decode("utf-8", "surrogateescape")
        raise Error(f"ERR Error compiling script (new function): {why}")
    return made


def run_script(call: Call, text: bytes, keys: list[bytes], argv: list[bytes]) -> Any:
    """Run a script and return its reply; raises `Error`. Its effects are added to the call's,
    wrapped in MULTI and EXEC if there are several."""
    lua, _, run, _ = _interpreter()
    function = compiled(text)
    before = len(call.effects)

    def raw(*words: Any) -> Any:
        try:
            command = tuple(_word(w) for w in words)
            if not command:
                raise Error("ERR Please specify at least one argument for this redis lib call")
            return _to_lua(lua, to_resp2(call.run(command)))
        except Error as e:
            return _to_lua(lua, e)

    def random() -> float:
        return call.context.rng.getrandbits(53) / 2**53

    call.in_script = True
    try:
        done, reply = run(function, lua.table(*keys), lua.table(*argv), raw, random)
        if not done:
            raise Error(_why(reply, text))
        return _from_lua(reply, DEPTH_MAX)
    except lua51.LuaMemoryError as e:
        raise Error("ERR not enough memory for the script") from e
    finally:
        call.in_script = False
        effects = call.effects[before:]
        if len(effects) > 1:
            call.effects[before:] = [(b"MULTI",), *effects, (b"EXEC",)]


def _word(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return b"%.17g" % value
    raise Error("ERR Lua redis lib command arguments must be strings or integers")


def _get(table: Any, key: Any) -> Any:
    """Return a table's own field by rawget: its metatable may contain a script's functions."""
    return _interpreter()[3](table, key)


def _why(raised: Any, text: bytes) -> str:
    """Return the text of an error that a script raised, with its position."""
    if lua51.lua_type(raised) != "table":
        return f"ERR {raised}"
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


def _from_lua(value: Any, depth: int) -> Any:
    if isinstance(value, bool) or value is None:
        return 1 if value else None
    if isinstance(value, int | float):
        return _to_integer(value)
    if isinstance(value, bytes):
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
        replies.append(_from_lua(each, depth - 1))
    return replies


def _to_integer(value: float) -> int:
    """Convert like a cast in C on x86: a number out of range becomes the smallest integer."""
    if math.isnan(value) or not -INT64 <= value < INT64:
        return -INT64
    return int(value)
