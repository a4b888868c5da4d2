"""Lua scripts (EVAL), on Lua 5.1 as in Redis.

The environment is rebuilt from a list of what is harmless: lupa hands out `python.eval`, `io` and
`os` otherwise. Random numbers come from the command's stream. A script stops after a number of
instructions.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from lupa import lua51

from targets.redis_model.commands import Call
from targets.redis_model.resp import Error, Simple

INSTRUCTIONS_MAX = 10_000_000
_HARMLESS = (
    b"assert", b"error", b"getmetatable", b"ipairs", b"next", b"pairs", b"pcall", b"rawequal",
    b"rawget", b"rawset", b"select", b"setmetatable", b"tonumber", b"tostring", b"type",
    b"unpack", b"xpcall", b"string", b"table", b"_VERSION",
)  # fmt: skip
_PRELUDE = b"""
local globals, harmless, limit = ...
local sethook, setfenv, loadstring = debug.sethook, setfenv, loadstring
return function(text, keys, argv, raw, random)
  local run, why = loadstring(text, '@user_script')
  if not run then return false, why end
  local redis = {}
  local env = {KEYS = keys, ARGV = argv, redis = redis}
  for _, name in ipairs(harmless) do env[name] = globals[name] end
  env.math = {}
  for name, f in pairs(globals.math) do env.math[name] = f end
  env.math.random, env.math.randomseed = random, function() end
  redis.error_reply = function(text) return {err = text} end
  redis.status_reply = function(text) return {ok = text} end
  redis.pcall = raw
  redis.call = function(...)
    local reply = raw(...)
    if type(reply) == 'table' and reply.err then error(reply, 0) end
    return reply
  end
  setfenv(run, env)
  sethook(function() error('script ran for too long', 0) end, '', limit)
  local done, reply = pcall(run)
  sethook()
  return done, reply
end
"""


@lru_cache(maxsize=1)
def _runner() -> tuple[Any, Any]:
    """One interpreter for all scripts: they share no state but the keys."""
    lua = lua51.LuaRuntime(encoding=None, register_eval=False, register_builtins=False)
    harmless = lua.table(*_HARMLESS)
    run = lua.execute(_PRELUDE, lua.globals(), harmless, INSTRUCTIONS_MAX)
    return lua, run


def run_script(call: Call, text: bytes, keys: list[bytes], argv: list[bytes]) -> Any:
    """The script's reply; raises `Error`. Its effects are the call's, as a transaction if many."""
    lua, run = _runner()
    before = len(call.effects)

    def raw(*words: Any) -> Any:
        command = tuple(_word(w) for w in words)
        if not command:
            return lua.table_from(
                {b"err": b"ERR Please specify at least one argument for this redis.call()"}
            )
        return _to_lua(lua, call.run(command))

    def random(*bounds: Any) -> Any:
        if not bounds:
            return call.rng.getrandbits(53) / 2**53
        low, high = (1, int(bounds[0])) if len(bounds) == 1 else (int(bounds[0]), int(bounds[1]))
        return call.rng.randint(low, high)

    try:
        done, reply = run(text, lua.table(*keys), lua.table(*argv), raw, random)
    finally:
        effects = call.effects[before:]
        if len(effects) > 1:
            call.effects[before:] = [(b"MULTI",), *effects, (b"EXEC",)]
    if not done:
        raise Error(_why(reply))
    return _from_lua(reply)


def _word(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return b"%d" % value if value == int(value) else repr(value).encode()
    raise Error("ERR Lua redis lib command arguments must be strings or integers")


def _why(reply: Any) -> str:
    if lua51.lua_type(reply) == "table":
        return bytes(reply[b"err"]).decode("utf-8", "replace")
    text = reply.decode("utf-8", "replace") if isinstance(reply, bytes) else str(reply)
    return f"ERR {text}".replace("\n", " ")


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


def _from_lua(value: Any) -> Any:
    if value is None or value is False:
        return None
    if value is True:
        return 1
    if isinstance(value, int | float):
        return int(value)
    if isinstance(value, bytes):
        return value
    if lua51.lua_type(value) != "table":
        return None
    if value[b"err"] is not None:
        return Error(bytes(value[b"err"]).decode("utf-8", "replace"))
    if value[b"ok"] is not None:
        return Simple(value[b"ok"])
    replies, i = [], 1
    while value[i] is not None:
        replies.append(_from_lua(value[i]))
        i += 1
    return replies
