"""How long commands may take, estimated before they are executed."""

from __future__ import annotations

import random

import pytest

from targets.engine.estimate import ANY
from targets.engine.protocol import Context
from targets.engine.python import PythonEngine
from targets.engine.scripts import SOURCE_BYTES_MAX
from targets.engine.table import find

MEMBERS = 3000


@pytest.fixture(scope="module")
def engine() -> PythonEngine:
    made = PythonEngine()
    for i in range(MEMBERS):
        for command in ("SADD c {i}", "RPUSH l {i}", "ZADD z {i} {i}", "XADD x {i}-1 f {i}",
                        "SET k{i} v"):  # fmt: skip
            run(made, command.replace("{i}", str(i + 1)))
    return made


def run(engine: PythonEngine, command: str) -> None:
    engine.execute(tuple(command.encode().split()), Context(0, random.Random(0)))


@pytest.mark.parametrize(
    ("command", "least", "most"),
    [
        ("SPOP c", 1, 2), ("SPOP c 10", 10, 11), ("SPOP c 999999", MEMBERS, MEMBERS + 1),
        ("LPOP l", 1, 2), ("RPOP l 2000", 2000, 2001), ("ZPOPMIN z", 1, 2),
        ("ZPOPMAX z 2999", 2999, 3000), ("ZPOPMIN z many", 0, 1),
        ("UNLINK z", MEMBERS, MEMBERS + 1),
        ("XADD x * f v", 1, 1), ("XADD x MAXLEN 10 * f v", MEMBERS - 9, MEMBERS - 8),
        ("XADD x MAXLEN ~ 10 * f v", MEMBERS - 9, MEMBERS - 8),
        ("XADD x MAXLEN = 3000 * f v", 1, 2), ("XADD x MINID 1001-0 * f v", 1000, 1001),
        ("XADD x NOMKSTREAM MINID = 5000 * f v", MEMBERS, MEMBERS + 1),
        ("XADD x MAXLEN y * f v", 0, 1), ("XADD none MAXLEN 1 * f v", 0, 1),
        ("SMEMBERS c", MEMBERS, MEMBERS + 1), ("KEYS *", MEMBERS + 4, MEMBERS + 4),
    ],
)  # fmt: skip
def test_work_is_about_the_number_of_elements(
    engine: PythonEngine, command: str, least: int, most: int
) -> None:
    words = tuple(command.encode().split())
    spec = find(engine.commands, words)
    assert spec is not None
    assert least <= engine.work(words, spec) <= most
    assert spec.name not in engine.brief


@pytest.mark.parametrize(
    "command", ["LPOP l #", "SPOP c #", "SCAN 0 COUNT #", "XADD x MAXLEN # * f v",
                "XADD x MINID # * f v", "XADD x MINID 1-# * f v"],
)  # fmt: skip
def test_numbers_may_have_more_digits_than_python_converts(
    engine: PythonEngine, command: str
) -> None:
    words = tuple(command.replace("#", "9" * 5000).encode().split())
    spec = find(engine.commands, words)
    assert spec is not None
    assert 0 <= engine.work(words, spec) <= MEMBERS + 4


def test_the_first_scan_looks_at_all_keys(engine: PythonEngine) -> None:
    words = (b"SCAN", b"0", b"COUNT", b"100")
    spec = engine.commands[b"SCAN"]
    assert engine.work(words, spec) == MEMBERS + 4
    run(engine, "SCAN 0")
    assert engine.work(words, spec) == 100
    assert engine.work((b"SCAN", b"0"), spec) == 10


def test_commands_on_single_elements_need_no_estimate(engine: PythonEngine) -> None:
    assert {"GET", "SET", "INCR", "HSET", "SADD", "LPUSH", "ZADD", "EXPIRE"} <= engine.brief


def test_a_script_that_is_refused_for_its_length_is_not_read(engine: PythonEngine) -> None:
    spec = engine.commands[b"EVAL"]
    assert engine.work((b"EVAL", b"return 1 -- for", b"0"), spec) == ANY
    assert engine.work((b"EVAL", b"return 1", b"0"), spec) == 1
    assert engine.work((b"EVAL", b"t[1]=1 " * SOURCE_BYTES_MAX, b"0"), spec) == 0
