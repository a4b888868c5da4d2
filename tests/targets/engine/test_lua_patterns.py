"""Lua's patterns in Lua, beside those of Lua itself."""

from __future__ import annotations

import re
from importlib import resources
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lupa import lua51

ITEMS = ["a", "b", ".", "%a", "%d", "%w", "[ab]", "[^a]", "[a-c%d]", "%.", "[]a]", "-", "^", "$"]
TIMES = ["", "", "", "*", "+", "-", "?"]
PARTS = st.one_of(
    st.tuples(st.sampled_from(ITEMS), st.sampled_from(TIMES)).map("".join),
    st.sampled_from(["(", ")", "()", "%1", "%2", "%0", "%b()", "%bab", "%f[a]", "%f[%A]", "$"]),
)
PATTERNS = st.lists(PARTS, max_size=7).map("".join)
TEXTS = st.text("aab(bc1. -^$", max_size=12)


@pytest.fixture(scope="module")
def lua() -> Any:
    runtime = lua51.LuaRuntime(encoding="latin-1", unpack_returned_tuples=True)
    text = resources.files("targets.engine").joinpath("lua/patterns.lua").read_text()
    find, match, *_ = runtime.execute(text)
    runtime.globals()["own_find"], runtime.globals()["own_match"] = find, match
    return runtime


def both(lua: Any, code: str, text: str, pattern: str) -> tuple[Any, Any]:
    """Return the results of some code with Lua's own `find` and `match`, and with ours."""
    run = lua.eval(
        "function(text, pattern, find, match)"
        f"  local results = {{pcall(function() {code} end)}}"
        "  for i = 1, table.maxn(results) do results[i] = tostring(results[i]) end"
        "  return table.concat(results, ' | ', 1, table.maxn(results))"
        "end"
    )
    lua.execute(
        "lua_find = string.find  lua_match = string.match"
        "  skip_two = function(_, _, ...) return ... end"
    )
    own_find = lua.eval("function(t, p) return own_find(t, p, 1, true) end")
    own_match = lua.eval("function(t, p) return skip_two(own_match(t, p, 1, true)) end")
    c_find, c_match = lua.eval("lua_find"), lua.eval("lua_match")
    return run(text, pattern, c_find, c_match), run(text, pattern, own_find, own_match)


def unlike(texts: tuple[str, str]) -> bool:
    """Return whether two results differ, apart from the place that begins a message."""
    expected, got = (re.sub(r'\[string "[^"]*"\]:\d+: ', "", text) for text in texts)
    return expected != got


@settings(max_examples=600, deadline=None)
@given(TEXTS, PATTERNS)
def test_patterns_match_as_in_lua(lua: Any, text: str, pattern: str) -> None:
    for code in ("return find(text, pattern)", "return match(text, pattern)"):
        results = both(lua, code, text, pattern)
        assert not unlike(results), results


@pytest.mark.parametrize(
    "pattern", ["%", "[a", "[^", "%b", "%bx", "%f", "(a", "a)", "(" * 33, "%9"]
)
def test_malformed_patterns_give_the_errors_of_lua(lua: Any, pattern: str) -> None:
    results = both(lua, "return find(text, pattern)", "aaa", pattern)
    assert not unlike(results), results
