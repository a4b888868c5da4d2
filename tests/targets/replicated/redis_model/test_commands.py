"""Command execution of the model: replies, effects, keys read and written."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from targets.engine.commands import COMMANDS as TABLE
from targets.engine.protocol import Outcome
from targets.engine.resp import Error, RequestParser, Simple, encode, pack
from targets.engine.rewrite import rewritten
from targets.engine.state import State
from targets.engine.table import find
from targets.replicated.redis_model.replication import Stream
from tests.support.engine import execute

NOW = 1_700_000_000_000
NEVER = -(2**63)


def words(text: str) -> tuple[bytes, ...]:
    return tuple(w.encode() for w in text.split())


def run(state: State, text: str, now: int = NOW, **given: Any) -> Outcome:
    return execute(state, words(text), now, random.Random(1), **given)


def after(*texts: str) -> State:
    state = State()
    for text in texts:
        run(state, text)
    return state


@pytest.mark.parametrize(
    ("before", "command", "effects"),
    [
        ([], "SET k v EX 100", [f"SET k v PXAT {NOW + 100_000}"]),
        ([], "SET k v PX 5", [f"SET k v PXAT {NOW + 5}"]),
        (["SET k v"], "EXPIRE k 100", [f"PEXPIREAT k {NOW + 100_000}"]),
        (["SET k v"], "EXPIRE k -1", ["DEL k"]),
        (["SET k v"], "SET k w NX", []),
        ([], "SET k w XX", []),
        ([], "DEL k", []),
        (["SET k v"], "DEL k j", ["DEL k j"]),
        (["SADD s a"], "SADD s a", []),
        (["SADD s a"], "SPOP s", ["SREM s a"]),
        (["RPUSH l a"], "LPOP l", ["LPOP l"]),
        (["SET k 1"], "INCRBY k 5", ["INCRBY k 5"]),
        (["SET k v"], "INCR k", []),
        (["SET k v"], "GET k", []),
        (["SET k v"], "PERSIST k", []),
        ([], "FLUSHALL", ["FLUSHALL"]),
    ],
)
def test_effects_are_those_of_redis(before, command, effects) -> None:
    """The expected effects were recorded from the replication stream of redis-server 7.0.15."""
    assert run(after(*before), command).effects == [words(e) for e in effects]


def test_access_to_an_expired_key_deletes_it() -> None:
    for command, effects in (
        ("GET k", ["DEL k"]),
        ("SET k w XX", ["DEL k"]),
        ("INCR k", ["MULTI", "DEL k", "INCR k", "EXEC"]),
        ("EXISTS k k", ["DEL k"]),
    ):
        state = after("SET k 7 PX 10")
        done = run(state, command, NOW + 10)
        assert done.effects == [words(e) for e in effects]
        assert b"k" in done.writes
    assert run(after("SET k 7 PX 10"), "GET k", NOW + 9).reply == b"7"
    assert after("SET k 7 PX 10").is_expired(b"k", NOW + 10)
    assert not after("SET k 7 PX 10").is_expired(b"k", NOW + 9)
    assert not after("SET k 7").is_expired(b"k", NOW)


def test_on_a_replica_expired_keys_are_hidden_but_not_deleted() -> None:
    state = after("SET k 7 PX 10")
    deny = Error("READONLY no")
    done = run(state, "GET k", NOW + 10, deny=deny)
    assert (done.reply, done.effects, done.writes) == (None, [], {})
    assert run(state, "SET k 8", NOW, deny=deny).reply is deny
    script = (b"EVAL", b"redis.call('GET', 'k') redis.call('SET', 'k', '8')", b"0")
    done = execute(state, script, NOW, random.Random(1), deny)
    assert isinstance(done.reply, Error)
    assert str(done.reply).startswith("READONLY")
    assert state.values[b"k"] == b"7"


@pytest.mark.parametrize(
    ("command", "reads", "writes"),
    [
        ("GET a", "a", ""),
        ("EXISTS a b", "a b", ""),
        ("SET a 1", "a", "a"),
        ("SET l 1 NX", "l", ""),
        ("DEL a b", "a b", "a"),
        ("INCR l", "l", ""),
        ("SADD l x", "l", ""),
        ("SADD s x", "s", "s"),
        ("TTL a", "a", ""),
        ("EXPIRE a 1", "a", "a"),
        ("LRANGE l 0 -1", "l", ""),
        ("EXPIRE b 1", "b", ""),
        ("SREM s x", "s", ""),
        ("FLUSHALL", "", "a l"),
        ("SET a 1 GET FOO", "", ""),
        ("PING", "", ""),
    ],
)
def test_keys_accessed_are_reported_whatever_the_outcome(
    command: str, reads: str, writes: str
) -> None:
    done = run(after("SET a 1", "RPUSH l x"), command)
    assert list(done.reads) == list(words(reads))
    assert list(done.writes) == list(words(writes))


def test_a_script_reports_the_keys_it_accessed_declared_or_not() -> None:
    script = b"redis.call('GET', 'a'); redis.call('SET', KEYS[1], ARGV[1]); return {1, 'x'}"
    done = execute(after("SET a 1"), (b"EVAL", script, b"1", b"k", b"v"), NOW, random.Random(1))
    assert done.reply == [1, b"x"]
    assert list(done.reads) == [b"a", b"k"]
    assert list(done.writes) == [b"k"]
    assert done.effects == [(b"SET", b"k", b"v")]


def test_a_script_with_two_writes_is_one_transaction_even_if_it_then_fails() -> None:
    script = b"redis.call('INCR', 'a') redis.call('INCR', 'b') return redis.call('INCR', 'l')"
    done = execute(after("RPUSH l x"), (b"EVAL", script, b"0"), NOW, random.Random(1))
    assert isinstance(done.reply, Error)
    assert done.effects == [(b"MULTI",), (b"INCR", b"a"), (b"INCR", b"b"), (b"EXEC",)]


@pytest.mark.parametrize(
    "script",
    ["return os", "return io", "return python", "return require", "return load('return 1')",
     "return dofile", "return debug", "return _G", "return package", "return collectgarbage",
     "return getfenv(0)", "return string.dump(function() end)", "return getmetatable('')",
     "return redis.call('EVAL', 'return 1', '0')", "x = 1", "return x"],
)  # fmt: skip
def test_scripts_cannot_escape_the_sandbox(script: str) -> None:
    reply = execute(State(), (b"EVAL", script.encode(), b"0"), NOW, random.Random(1)).reply
    assert reply is None or isinstance(reply, Error)


def test_an_endless_script_is_stopped_and_the_next_one_runs() -> None:
    for loop in (
        b"while true do end",
        b"while true do pcall(function() while true do end end) end",
    ):
        reply = execute(State(), (b"EVAL", loop, b"0"), NOW, random.Random(1)).reply
        assert "too long" in str(reply)
    assert execute(State(), (b"EVAL", b"return 7", b"0"), NOW, random.Random(1)).reply == 7


def test_scripts_share_only_keys() -> None:
    leak = (b"EVAL", b"string.leak = 1; table.leak = 1; redis.leak = 1; return 1", b"0")
    assert execute(State(), leak, NOW, random.Random(1)).reply == 1
    look = (b"EVAL", b"return tostring(string.leak) .. tostring(table.leak or redis.leak)", b"0")
    assert execute(State(), look, NOW, random.Random(1)).reply == b"nilnil"


def test_addresses_are_not_shown() -> None:
    show = (b"EVAL", b"return {tostring({}), tostring(pairs), tostring(7)}", b"0")
    reply = execute(State(), show, NOW, random.Random(1)).reply
    assert reply == [b"table", b"function", b"7"]


@pytest.mark.parametrize(
    ("script", "reply"),
    [
        ("return math.huge", -(2**63)),
        ("return 0/0", -(2**63)),
        ("return 3.9", 3),
        ("return {ok = 5}", []),
        ("return {err = 1e12}", []),
        ("return {1, nil, 3}", [1]),
        ("return redis.call('SET', 'k', 0.1) and redis.call('GET', 'k')",
         b"0.10000000000000001"),
        ("local ok, why = pcall(redis.call, 'NOSUCH') return type(why)", b"string"),
    ],
)  # fmt: skip
def test_script_results_are_converted_as_in_redis(script: str, reply: Any) -> None:
    done = execute(State(), (b"EVAL", script.encode(), b"0"), NOW, random.Random(1))
    assert done.reply == reply


def test_a_self_referential_reply_is_an_error() -> None:
    loop = (b"EVAL", b"local t = {} t[1] = t return t", b"0")
    reply = execute(State(), loop, NOW, random.Random(1)).reply
    assert b"stack limit" in encode(reply)


def test_random_choices_come_from_the_callers_generator() -> None:
    state = [after("SADD s a b c d e f") for _ in range(2)]
    popped = [execute(s, (b"SPOP", b"s"), NOW, random.Random(5)).reply for s in state]
    assert popped[0] == popped[1]
    draw = (b"EVAL", b"return {math.random(1000), math.random(1000)}", b"0")
    drawn = [execute(State(), draw, NOW, random.Random(seed)).reply for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]


KEY = st.sampled_from(["a", "b", "c"])
NUMBER = st.sampled_from(["0", "1", "-1", "5", "100", "-100", "x", str(2**63 - 1)])
COMMANDS = st.one_of(
    st.tuples(st.sampled_from(["GET", "INCR", "DECR", "LPOP", "SPOP", "DEL", "TTL", "TYPE",
                               "PERSIST", "SMEMBERS", "LLEN", "SCARD", "EXISTS"]), KEY),
    st.tuples(st.sampled_from(["SET", "INCRBY", "APPEND", "RPUSH", "LPUSH", "SADD", "SREM",
                               "EXPIRE", "PEXPIRE", "SISMEMBER"]), KEY, NUMBER),
    st.tuples(st.just("SET"), KEY, NUMBER, st.sampled_from(["NX", "XX", "GET", "KEEPTTL"])),
    st.tuples(st.just("SET"), KEY, NUMBER, st.sampled_from(["EX", "PX", "PXAT"]), NUMBER),
    st.tuples(st.sampled_from(["RPUSH", "SADD", "DEL"]), KEY, KEY, KEY),
    st.tuples(st.just("LRANGE"), KEY, NUMBER, NUMBER),
    st.tuples(st.just("FLUSHALL")),
)  # fmt: skip


@given(st.lists(st.tuples(COMMANDS, st.integers(0, 200)), max_size=40), st.integers(0, 99))
@settings(max_examples=300, deadline=None)
def test_replaying_effects_reproduces_the_state(steps, seed: int) -> None:
    """A replica that executes the effects, with another clock and random generator, has an equal
    state."""
    state, replica = State(), State()
    rng, now = random.Random(seed), NOW
    for command, passed in steps:
        now += passed
        old = {key: list(v) if not isinstance(v, bytes) else v for key, v in state.values.items()}
        done = execute(state, tuple(w.encode() for w in command), now, rng)
        for effect in done.effects:
            assert execute(replica, effect, NEVER, random.Random(0)).effects in ([effect], [])
        assert replica.values == state.values
        assert replica.expires == state.expires
        changed = {k for k in {*old, *state.values}
                   if old.get(k) != (v if isinstance(v := state.values.get(k), bytes | None)
                                      else list(v))}  # fmt: skip
        assert changed <= set(done.writes), "a changed key was not reported as written"
        assert bool(done.effects) or not changed
    loaded = State()
    for effect in rewritten(state):
        execute(loaded, effect, NEVER, random.Random(0))
    assert (loaded.values, loaded.expires) == (state.values, state.expires)


def test_every_command_has_an_arity_and_is_found_by_name() -> None:
    for name, known in TABLE.items():
        assert known.arity != 0
        assert find(TABLE, tuple(name.lower().split(b"|"))) is known
    assert find(TABLE, (b"NOSUCH",)) is None


@given(st.lists(st.lists(st.binary(max_size=20), min_size=1, max_size=5), max_size=5),
       st.lists(st.integers(1, 40), max_size=20))  # fmt: skip
@settings(max_examples=200, deadline=None)
def test_requests_are_parsed_the_same_however_bytes_are_split(commands, cuts) -> None:
    data = b"".join(pack(c) for c in commands)
    parser, found, position = RequestParser(), [], 0
    for cut in [*cuts, len(data)]:
        found += parser.feed(data[position : position + cut])
        position += cut
    assert found == [tuple(c) for c in commands]
    assert parser.error is None
    assert parser.feed(b"PING\r\n") == [(b"PING",)], "bytes are left over"


@pytest.mark.parametrize("data", [b"*1\r\n:1\r\n", b"*x\r\n", b"*1\r\n$-1\r\n", b"x" * 70_000])
def test_commands_before_a_protocol_error_are_parsed(data: bytes) -> None:
    parser = RequestParser()
    assert parser.feed(b"PING\r\n" + data) == [(b"PING",)]
    assert parser.error
    assert parser.feed(b"PING\r\n") == []


def test_replies_cannot_break_the_protocol() -> None:
    assert encode(Error("ERR a\r\n+OK")) == b"-ERR a  +OK\r\n"
    assert encode(Simple(b"a\nb")) == b"+a b\r\n"


def test_replies_are_encoded_as_in_redis() -> None:
    assert encode([1, b"a", None, [b""]]) == b"*4\r\n:1\r\n$1\r\na\r\n$-1\r\n*1\r\n$0\r\n\r\n"
    assert encode(Error("ERR no")) == b"-ERR no\r\n"


def test_a_partial_resynchronization_where_possible() -> None:
    ids = iter("abcdef")
    stream = Stream(lambda: next(ids))
    stream.add(b"12345")
    assert stream.since("a", 3) == b"345"
    assert stream.since("a", 6) == b""
    assert stream.since("a", 7) is None
    assert stream.since("x", 3) is None
    stream.fork()
    stream.add(b"678")
    assert stream.since("b", 6) == b"678"
    assert stream.since("a", 6) == b"678", "a replica that had all of the old stream continues"
    assert stream.since("a", 7) is None, "a replica that had more of it has diverged"
    stream.restart("z", 100)
    assert stream.since("z", 101) == b""
    assert stream.since("z", 100) is None
    assert stream.since("a", 6) is None
