"""The Python engine by its protocol alone, and tables of commands."""

from __future__ import annotations

import random

import pytest

from targets.engine.parsing import integer
from targets.engine.protocol import Context, Digestible, Engine, PlainStrings, Restorable
from targets.engine.python import PythonEngine
from targets.engine.resp import BadSyntax, Error
from targets.engine.table import Table, find, merged, unknown

NOW = 1_700_000_000_000


def words(text: str) -> tuple[bytes, ...]:
    return tuple(text.encode().split())


def context(now: int = NOW, deny: Error | None = None, **given) -> Context:
    return Context(now, random.Random(0), deny, **given)


def test_an_outcome_has_effects_reads_and_writes() -> None:
    engine = PythonEngine()
    done = engine.execute(words("SET a 1 PX 10"), context())
    assert done.effects == [(b"SET", b"a", b"1", b"PXAT", b"%d" % (NOW + 10))]
    assert (list(done.reads), list(done.writes)) == ([b"a"], [b"a"])
    first, reads = done.effects, done.reads
    assert engine.execute(words("MGET a b"), context()).reply == [b"1", None]
    assert first == [(b"SET", b"a", b"1", b"PXAT", b"%d" % (NOW + 10))], "it is the caller's"
    assert list(reads) == [b"a"]
    assert engine.execute(words("DBSIZE"), context()).whole


def test_a_key_that_expired_is_deleted_by_looking_at_it() -> None:
    engine = PythonEngine()
    engine.execute(words("SET a 1 PX 10"), context())
    assert engine.keys.due(NOW + 9, 5) == []
    assert engine.keys.due(NOW + 10, 5) == [b"a"]
    denied = engine.execute(words("GET a"), context(NOW + 10, Error("READONLY no"), mask=False))
    assert (denied.reply, denied.effects) == (b"1", [])
    assert engine.execute(words("EXISTS a"), context(NOW + 10)).effects == [(b"DEL", b"a")]
    assert b"a" not in engine.keys


def test_what_one_engine_does_another_can_apply() -> None:
    one, other = PythonEngine(), PythonEngine()
    for text in ("SET a 1", "RPUSH l x y", "ZADD z 1 m", "SPOP l", "INCRBYFLOAT a 0.5"):
        assert other.apply(one.execute(words(text), context()).effects).reply is None
    assert one.digest() == other.digest()
    wrong = other.apply([(b"INCR", b"l")])
    assert isinstance(wrong.reply, Error)
    assert wrong.reply.code == "WRONGTYPE"


def test_the_room_of_a_context_is_used_up_by_writes() -> None:
    engine, within = PythonEngine(), context(room=20)
    assert engine.execute(words("SET a 1234567890"), within).reply == b"OK"
    refused = engine.execute(words("SET b 1234567890"), within)
    assert isinstance(refused.reply, Error)
    assert b"b" not in engine.keys


def test_strings_without_a_time_to_live_are_plain() -> None:
    engine = PythonEngine()
    for text in ("SET a 1", "SET e 1 PX 10", "RPUSH l x"):
        engine.execute(words(text), context())
    assert engine.plain(b"a") == b"1"
    assert engine.plain(b"none") is None
    for key in (b"e", b"l"):
        with pytest.raises(KeyError):
            engine.plain(key)


def test_the_python_engine_has_every_capability() -> None:
    engine: Engine = PythonEngine()
    assert isinstance(engine, PlainStrings)
    assert isinstance(engine, Restorable)
    assert isinstance(engine, Digestible)


def test_clearing_an_engine_keeps_its_scripts() -> None:
    engine = PythonEngine()
    sha = engine.execute((b"SCRIPT", b"LOAD", b"return 7"), context()).reply
    engine.execute(words("SET a 1"), context())
    engine.clear()
    assert len(engine.keys) == 0
    assert engine.execute((b"EVALSHA", sha, b"0"), context()).reply == 7


def test_errors_carry_their_code() -> None:
    engine = PythonEngine()
    assert isinstance(engine.execute(words("SET a 1 NONSENSE"), context()).reply, BadSyntax)
    assert BadSyntax().code == "ERR"
    with pytest.raises(Error, match="ERR value is not an integer"):
        integer(b"+1")


def test_tables_are_merged_and_refuse_duplicates() -> None:
    one: Table = Table()
    one.command("GET", 2, "readonly")(lambda: None)
    one.container("OBJECT", lambda: None, lambda: None)
    one.command("OBJECT|FREQ", 3)(lambda: None)
    whole = merged([one])
    assert find(whole, words("get a")) is one[b"GET"]
    assert find(whole, words("object freq a")) is one[b"OBJECT|FREQ"]
    assert find(whole, words("object nothing")) is None
    assert "Try OBJECT HELP" in str(unknown(whole, words("object nothing")))
    assert "unknown command 'nothing'" in str(unknown(whole, words("nothing a")))
    with pytest.raises(ValueError, match="GET is defined twice"):
        merged([one, {b"GET": one[b"GET"]}])
