"""Lua scripts: the same replies as a live Redis 7.0, and the sandbox."""

from __future__ import annotations

import random

import pytest

from targets.engine.resp import encode
from targets.engine.state import State
from tests.support.engine import execute
from tests.support.live import Redis
from tests.targets.engine.test_engine_beside_redis import port

pytestmark = pytest.mark.real

__all__ = ["port"]

SCRIPTS = [
    "return cjson.encode({1, 2, {a = 'x/\"\\\\'}, true, cjson.null, 1.5})",
    "return cjson.encode({})",
    "return cjson.encode({[1] = 'a', [3] = 'c'})",
    "return cjson.encode({[2] = 1, x = 2} and {x = {y = {1}}})",
    "return cjson.encode('\\1\\127\\n')",
    'local t = cjson.decode(\'{"a": [1, 2.5, null, "x\\\\u00e9"], "b": {"c": false}}\') '
    "return {t.a[1], tostring(t.a[2]), t.a[3] == cjson.null, t.a[4], tostring(t.b.c), #t.a}",
    "return cjson.encode(cjson.decode('[1, [], {}, \"\"]'))",
    "return tostring(cjson.decode('1e3'))",
    "return {bit.band(0xff, 0x0f), bit.bor(1, 2, 4), bit.bxor(5, 1), bit.bnot(0)}",
    "return {bit.lshift(1, 31), bit.lshift(1, 33)}",
    "return {bit.rshift(-1, 28), bit.arshift(-16, 2), bit.rol(0x12345678, 8), bit.ror(1, 1)}",
    "return {bit.tobit(2^33 + 5), bit.bswap(0x01020304), bit.tohex(255), bit.tohex(255, -4)}",
    "return struct.pack('>I2hBb', 1, -2, 255, -1)",
    "return struct.pack('<ifd', 7, 1.5, 2.25)",
    "return struct.pack('sc3', 'ab', 'cdef')",
    "return {struct.unpack('>I2hBb', struct.pack('>I2hBb', 1, -2, 255, -1))}",
    "return {struct.unpack('sc3', struct.pack('sc3', 'ab', 'cdef'))}",
    "return {struct.unpack('>I2', '\\0\\1\\0\\2', 3)}",
    "return {struct.size('>I4'), struct.size('b'), struct.size('!4bi'), struct.size('l')}",
    "return struct.pack('!4bi', 1, 2)",
    "return cmsgpack.pack({1, 2, 3})",
    "return cmsgpack.pack('x', 5, -5, 200, -200, 70000, 2^40, 1.5, 0.1, true, false, nil)",
    "return cmsgpack.pack({a = 1})",
    "return cmsgpack.pack({})",
    "return cmsgpack.pack(string.rep('x', 40), string.rep('y', 300))",
    "return {cmsgpack.unpack(cmsgpack.pack(1, 'a', {1, {2}}, -1))}",
    "return cmsgpack.unpack('\\147\\1\\2\\3')",
    "return {redis.sha1hex(''), redis.sha1hex('x'), redis.LOG_WARNING}",
    "return {tostring(1e15), tostring(2^53), 3.99, '3.99'}",
    "return table.concat({1, 2, 3}, ',')",
    "return redis.call('SET', KEYS[1], 'v')",
    "return redis.pcall('NOSUCH')",
    "return {err = 'MY error'}",
    "return string.format('%5.1f|%d|%s', 1.25, 7, 'x')",
    "return tostring(nil) .. type(redis) .. type(KEYS) .. #ARGV",
]


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_returns_what_it_returns_on_redis(port: int, script: str) -> None:
    redis = Redis(port)
    try:
        expected = redis.call("EVAL", script, "1", "k", "a")
    finally:
        redis.close()
    command = (b"EVAL", script.encode(), b"1", b"k", b"a")
    got = encode(execute(State(), command, 10**12, random.Random(0)).reply)
    assert got == expected


ESCAPES = [
    "return io", "return os", "return python", "return require('os')", "return debug",
    "return load", "return loadstring('return 1')()", "return dofile('/etc/passwd')",
    "return loadfile", "return package", "return newproxy", "return module",
    "return coroutine", "return getfenv()", "return setfenv(1, {})", "return collectgarbage()",
    "return string.dump(function() end)", "return _G.os", "x = 1", "redis = 1",
    "return getmetatable('').__index.dump", "getmetatable('').__index = nil",
    "return redis.call.__globals__", "return redis.call.func_globals",
    "return cjson.encode.__class__", "return cjson.null.__class__", "return cjson.null.x",
    "setmetatable(_G, nil) x = 1", "return rawset(_G, 'x', 1)",
    "return loadstring('\\27Lua')", "return print('x')",
]  # fmt: skip


@pytest.mark.parametrize("script", ESCAPES)
def test_a_script_cannot_escape_the_sandbox(script: str) -> None:
    done = execute(State(), (b"EVAL", script.encode(), b"0"), 10**12, random.Random(0))
    harmless = (b"$-1\r\n", b"_\r\n")
    reply = encode(done.reply)
    assert reply[:1] == b"-" or reply in harmless, reply
    # The next script finds its environment unchanged.
    fine = b"return type(redis.call) .. type(string.rep) .. type(cjson.encode) .. #('x'):rep(2)"
    after = execute(State(), (b"EVAL", fine, b"0"), 10**12, random.Random(0))
    assert after.reply == b"functionfunctionfunction2"


@pytest.mark.parametrize(
    "script",
    [
        "while true do end",
        "while true do pcall(function() while true do end end) end",
        "local function f() return f() end return f()",
        "local function f() return 1 + f() end return f()",
        "local s = 'x' while true do s = s .. s end",
        "return string.rep('x', 2^30)",
        "local t = {} for i = 1, 1e9 do t[i] = i end",
        "return cjson.decode(string.rep('[', 100000))",
        "return cmsgpack.unpack(string.rep('\\145', 100000))",
        "local t = {} t.t = t return cjson.encode(t)",
        "local t = {} t[1] = t return t",
    ],
)
def test_a_script_that_exceeds_its_limits_is_stopped(script: str) -> None:
    state = State()
    reply = execute(state, (b"EVAL", script.encode(), b"0"), 10**12, random.Random(0)).reply
    assert b"-" in encode(reply)
    fine = execute(state, (b"EVAL", b"return 1", b"0"), 10**12, random.Random(0))
    assert fine.reply == 1
