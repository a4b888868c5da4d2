"""Lua scripts (EVAL), on Lua 5.1 as in Redis.

The environment is rebuilt from a list of what is harmless: lupa hands out `python.eval`, `io` and
`os` otherwise. Random numbers come from the command's stream, addresses are not shown. A script
stops after a number of instructions.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

from lupa import lua51

from targets.engine.execution import INT64, Call
from targets.engine.resp import Error, Simple, plain

INSTRUCTIONS_MAX = 10_000_000
DEPTH_MAX = 100  # of a reply
_PRELUDE = b"""
local limit = ...
local sethook, getinfo, setfenv, loadstring = debug.sethook, debug.getinfo, setfenv, loadstring
local type, error, pcall, pairs, tostring = type, error, pcall, pairs, tostring
local getmetatable, setmetatable, rawget = getmetatable, setmetatable, rawget
local harmless = {'assert', 'error', 'ipairs', 'next', 'pairs', 'rawequal', 'rawget', 'rawset',
  'select', 'setmetatable', 'tonumber', 'type', 'unpack', '_VERSION'}
local G = _G
G.string.dump = nil

local function copy(from)
  local to = {}
  for name, f in pairs(from) do to[name] = f end
  return to
end

local function environment(raw, random)
  local env = {}
  for i = 1, #harmless do env[harmless[i]] = G[harmless[i]] end
  env.string, env.table, env.math = copy(G.string), copy(G.table), copy(G.math)
  env.math.random, env.math.randomseed = random, function() end
  env.getmetatable = function(value)
    if type(value) == 'table' then return getmetatable(value) end
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
  env.redis = {
    error_reply = function(text) return {err = text} end,
    status_reply = function(text) return {ok = text} end,
    pcall = raw,
    call = function(...)
      local reply = raw(...)
      if type(reply) == 'table' and reply.err then error(reply, 0) end
      return reply
    end,
  }
  return env
end

-- From then on every instruction of the script fails, so that no pcall of its own saves it.
local function too_long()
  sethook(too_long, '', 1)
  if getinfo(2, 'S').source == '@user_script' then error('script ran for too long', 0) end
end

local function compile(text)
  return loadstring(text, '@user_script')
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
  local done, reply = pcall(f)
  sethook()
  return done, reply
end
return compile, run
"""


@lru_cache(maxsize=1)
def _interpreter() -> tuple[Any, Any, Any]:
    """One for all scripts: what a script can reach is made anew for each."""
    lua = lua51.LuaRuntime(
        encoding=None, register_eval=False, register_builtins=False, unpack_returned_tuples=True
    )
    compile_, run = lua.execute(_PRELUDE, INSTRUCTIONS_MAX)
    return lua, compile_, run


@lru_cache(maxsize=1000)
def compiled(text: bytes) -> Any:
    """The script as a function; raises `Error` where the text is no Lua."""
    _, compile_, _ = _interpreter()
    made = compile_(text)
    if isinstance(made, tuple):
        why = made[1].decode("utf-8", "replace")
        raise Error(f"ERR Error compiling script (new function): {why}")
    return made


def run_script(call: Call, text: bytes, keys: list[bytes], argv: list[bytes]) -> Any:
    """The script's reply; raises `Error`. Its effects are the call's, as a transaction if many."""
    lua, _, run = _interpreter()
    function = compiled(text)
    before = len(call.effects)

    def raw(*words: Any) -> Any:
        try:
            command = tuple(_word(w) for w in words)
            if not command:
                raise Error("ERR Please specify at least one argument for this redis.call() call")
            return _to_lua(lua, plain(call.run(command)))
        except Error as e:
            return _to_lua(lua, e)

    def random(*bounds: Any) -> Any:
        if not bounds:
            return call.rng.getrandbits(53) / 2**53
        low, high = (1, int(bounds[0])) if len(bounds) == 1 else (int(bounds[0]), int(bounds[1]))
        if low > high:
            raise ValueError("bad argument #1 to 'random' (interval is empty)")
        return call.rng.randint(low, high)

    call.in_script = True
    try:
        done, reply = run(function, lua.table(*keys), lua.table(*argv), raw, random)
        if not done:
            raise Error(_why(reply))
        return _from_lua(reply, DEPTH_MAX)
    except lua51.LuaError as e:  # a metatable of the reply had its say
        raise Error(_why(str(e))) from e
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


def _why(reply: Any) -> str:
    if lua51.lua_type(reply) == "table":
        err = reply[b"err"]
        return err.decode("utf-8", "replace") if isinstance(err, bytes) else "ERR unknown error"
    text = reply.decode("utf-8", "replace") if isinstance(reply, bytes) else str(reply)
    return f"ERR {text}"


def _to_lua(lua: Any, reply: Any) -> Any:
    if reply is None:
        return False
    if isinstance(reply, Simple):
        return lua.table_from({b"ok": bytes(reply)})
    if isinstance(reply, Error):
        return lua.table_from({b"err": str(reply).encode()})
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
    if isinstance(value[b"err"], bytes):
        return Error(value[b"err"].decode("utf-8", "replace"))
    if isinstance(value[b"ok"], bytes):
        return Simple(value[b"ok"])
    replies, i = [], 1
    while value[i] is not None:
        replies.append(_from_lua(value[i], depth - 1))
        i += 1
    return replies


def _to_integer(value: float) -> int:
    """As a cast in C does it on x86: what does not fit is the smallest integer."""
    if math.isnan(value) or not -INT64 <= value < INT64:
        return -INT64
    return int(value)
