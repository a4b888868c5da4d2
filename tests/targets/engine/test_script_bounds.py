"""Scripts that would take long, or need much memory: each fails, and harms nobody."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest

from targets.engine.protocol import Context
from targets.engine.python import PythonEngine
from targets.engine.resp import Error
from targets.engine.scripts import MEMORY_BYTES_MAX, SECONDS_MAX, SOURCE_BYTES_MAX, forget

LONG = ("ran for too long", "not enough memory", "too big", "elements", "stack overflow", "at most")
BOMBS = {
    "rep": "for i=1,1e6 do local s = string.rep('x', 2^26) end return 1",
    "rep, kept": "local t={} for i=1,1e6 do t[i]=string.rep('x', 2^20)..i end return 1",
    "rep, method": "while true do local s = ('x'):rep(2^24) end",
    "find": "return string.find(string.rep('a', 3000), string.rep('a*', 30)..'b')",
    "find, options": "return string.find(string.rep('a', 40), string.rep('a?', 40)..'b')",
    "find, from every place": "return string.find(string.rep('a', 2000000), '.-b')",
    "match": "return string.match(string.rep('a', 300000), '(.-)(.-)(.-)(.-)b')",
    "gmatch": "for w in string.gmatch(string.rep('a', 2000), '(a*)(a*)(a*)(a*)b') do end return 1",
    "gsub": "return (string.gsub(string.rep('a', 2000), 'a*a*a*a*a*b', 'x'))",
    "gsub, growth": "local s='x' for i=1,60 do s = string.gsub(s, 'x', 'xxxxxxxxxx') end return #s",
    "gsub, replacement": "return #string.gsub(string.rep('x', 1e5), 'x', string.rep('y', 1e5))",
    "cjson.decode": "return #cjson.decode('['..string.rep('1,', 3e6)..'1]')",
    "cjson.decode, nested": "return cjson.decode(string.rep('[', 5e6))",
    "cjson.encode": "local t={} for i=1,1e6 do t[i]=i end return #cjson.encode(t)",
    "cjson.encode, shared": "local t={1} for i=1,40 do t={t,t} end return #cjson.encode(t)",
    "cmsgpack.unpack": "return #{cmsgpack.unpack(string.rep(string.char(1), 4e6))}",
    "cmsgpack.pack, shared": "local t={1} for i=1,15 do t={t,t,t,t} end return #cmsgpack.pack(t)",
    "struct.size": "return struct.size(string.rep('c1', 2e7))",
    "struct.pack": "return #struct.pack(string.rep('x', 3e7))",
    "concat": "local t={} for i=1,1000 do t[i]=string.rep('x', 2^18) end return #table.concat(t)",
    "insert": "local t={} while true do table.insert(t, 1, 'x') end",
    "format": "local s='x' for i=1,60 do s=string.format('%s%s', s, s) end return #s",
    "..": "local s='x' for i=1,60 do s=s..s end return #s",
    "recursion": "local function f(n) return 1 + f(n+1) end return f(1)",
    "pcall": "while true do pcall(function() while true do end end) end",
    "sort": "local t={} for i=1,1e5 do t[i]=i%1000 end for i=1,1000 do table.sort(t) end return 1",
    "bit": "for i=1,1e9 do bit.band(i, 255) end return 1",
    "redis.call": "while true do redis.call('GET','x') end",
    "sha1hex": "local s=string.rep('x',2^26) for i=1,1e6 do redis.sha1hex(s) end return 1",
    "reply": "local t={} for i=1,4e6 do t[i]='x' end return t",
    "reply, repeated": "local s=string.rep('x',2^20) local t={} for i=1,5e3 do t[i]=s end return t",
    "source": "local t = {} " + "t[1]=1 " * (SOURCE_BYTES_MAX // 7),
    "gfind": "return string.gfind(string.rep('a', 20000), '.-.-.-.-b')()",
    "find, class": "return string.find(('a'):rep(1e7), '[' .. ('z'):rep(2e6) .. ']')",
    "find, plain": "local a = ('a'):rep(4e6) return string.find(a, a:sub(1, 2e6)..'b', 1, true)",
    "find, letters": "local a=string.rep('a', 4e6) return string.find(a, a:sub(1, 2e6)..'b')",
    "find, star": "local a=string.rep('a', 4e6) return string.find(a, a:sub(1, 2e6)..'b*')",
    "gsub, empty": "return #string.gsub(('a '):rep(4e5), '(%f[%w])', ('%1'):rep(4e5))",
    "foreach": """
        local T = {} for i=1,60 do T[{}] = table.foreach end
        for _=1,8 do
          local n = {}
          for i=1,60 do
            local c = {} for k, v in pairs(T) do c[k] = v end
            n[c] = table.foreach
          end
          T = n
        end
        table.foreach(T, table.foreach)""",
    "cjson.encode, escapes": "return #cjson.encode(string.rep(string.char(1), 3e7))",
    "rep, nan": "string.rep('a', 0/0) for i=1,1e9 do local x = i end return 1",
    "byte": "return #{string.byte(string.rep('x', 1e8), 1, -1)}",
    "upper": "local s=string.rep('x',2^25) for i=1,1e6 do s:upper() end return 1",
}


WRONG = {
    r"return cmsgpack.unpack('\129\203\127\248\0\0\0\0\0\0\1')": "Bad data format in input",
    "return struct.unpack('>'..('bc0'):rep(21000), string.char(254)..('x'):rep(3e5))": "too short",
}


def run(engine: PythonEngine, script: str, *args: str) -> Any:
    """Return the reply of EVAL."""
    words = (b"EVAL", script.encode(), b"0", *(a.encode() for a in args))
    return engine.execute(words, Context(1000, random.Random(1))).reply


@pytest.fixture(scope="module")
def engine() -> PythonEngine:
    return PythonEngine(clock=time.perf_counter_ns)


@pytest.mark.parametrize("name", BOMBS)
def test_a_script_ends_within_its_bounds(engine: PythonEngine, name: str) -> None:
    began = time.perf_counter()
    reply = run(engine, BOMBS[name])
    assert isinstance(reply, Error), reply
    assert any(text in str(reply) for text in LONG), reply
    assert time.perf_counter() - began < SECONDS_MAX + 1
    # Its garbage does not count against the next one.
    assert run(engine, "local t={} for i=1,1e5 do t[i]={i} end return #t") == 100_000


def test_a_script_ends_by_its_time_too() -> None:
    now = iter(range(0, 10**18, 10**8))  # a tenth of a second for each look at the clock
    engine = PythonEngine(clock=lambda: next(now))
    assert "too long" in str(run(engine, "for i=1,1e5 do local s = i..'' end return 1"))
    assert "too long" in str(run(engine, "for i=1,100 do redis.call('GET', 'x') end return 1"))
    assert run(engine, "return 1") == 1


def test_memory_is_bounded_only_while_a_script_runs(engine: PythonEngine) -> None:
    """Elsewhere Lua would end the process, as it can't raise an error there."""
    big = "x" * (MEMORY_BYTES_MAX // 2 + 1)
    assert run(engine, "return #ARGV[1]", big) == len(big)
    run(engine, "return #ARGV", big, big)  # an error or not
    assert run(engine, "return 1") == 1


@pytest.mark.parametrize("script", [
    "return {string.gsub(text, '%d+(%a-)c', '<%1>')}",
    "return {string.gsub(text, '^a.-c', '%0%0')}",
    "return {string.gsub(text, '(a)(.-)c', {a='x'})}",
    "return {string.gsub(text, 'a.-c', function(m) return #m end, 7)}",
    "return {string.gsub(text, '()x*', '%1.')}",
    "return {string.find(text, '(%d+).-z')}",
    "return {string.find(text, 'b.-c', 9)}",
    "return {string.match(text, '^(.-)%s*$')}",
    "local n = {} for a, b in string.gmatch(text, '(%d)(.-)c') do n[#n+1] = a..b end return n",
    "local n = {} for a in string.gmatch(text, '%a*-') do n[#n+1] = a end return n",
    "return {pcall(string.match, text, '(a')}",
    "return {pcall(string.gsub, text, 'a.-c', '%3')}",
    "return {pcall(string.rep)}", "return {pcall(string.find, {}, 'x')}",
])  # fmt: skip
def test_patterns_on_long_texts_give_what_they_give_on_short_ones(
    engine: PythonEngine, script: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Long texts are matched by Lua's patterns in Lua."""
    short = "local text = '12ab 3bc-' .. string.rep('ab1c-', 3) "
    expected = run(engine, short + script)
    assert not isinstance(expected, Error)
    forget()
    monkeypatch.setattr("targets.engine.scripts.STEPS_MAX", 0)
    try:
        assert run(PythonEngine(), short + script) == expected
    finally:
        forget()


@pytest.mark.parametrize("script", WRONG)
def test_odd_data_is_an_error_that_a_script_can_catch(engine: PythonEngine, script: str) -> None:
    reply = run(engine, script)
    assert isinstance(reply, Error)
    assert WRONG[script] in str(reply)
    body = script.removeprefix("return ")
    assert run(engine, f"return tostring(pcall(function() return {body} end))") == b"false"


def test_ordinary_uses_of_what_is_replaced(engine: PythonEngine) -> None:
    script = """
        local n, words = 0, {}
        table.foreach({a=1, b=2}, function(k, v) n = n + v end)
        table.foreachi({4, 5}, function(i, v) n = n + i * v end)
        for w in string.gfind('a b', '%a') do words[#words + 1] = w end
        local far = string.rep('x', 1e5) .. 'needle'
        return {n, words, table.foreach({7}, function(k, v) return v end), string.rep('', 1e9),
          string.find(far, far:sub(-3000), 1, true), string.find('a+b', '+', 1, true),
          cjson.encode('a/"' .. string.char(1, 127)), string.find('aab', 'ab')}"""
    text = rb'"a\/\"\u0001\u007f"'
    assert run(engine, script) == [17, [b"a", b"b"], 7, b"", 97007, 2, text, 2, 3]
