"""Comparing what nodes hold: each kind of difference, and what keeps nodes from being compared."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from harness import copies
from harness.copies import compare
from harness.history.events import Compared
from harness.topology import Shard
from targets.engine.protocol import Context
from targets.engine.python import PythonEngine
from targets.engine.resp import Error, to_resp2
from targets.engine.version import Version

OLD, NEW = Version("redis", (6, 2)), Version("redis", (8, 2))
NOW_MS = 1_800_000_000_000
MADE = (
    "SET s 1", "SET e 1 PXAT 1900000000000", "RPUSH l 1 2", "SADD c 1 2", "ZADD z 1 a 2 b",
    "HSET h f 1 g 2", "XADD x 1-1 a 1", "XADD x 1-2 a 2", "XGROUP CREATE x group 0",
    "XREADGROUP GROUP group me COUNT 1 STREAMS x >",
)  # fmt: skip
KEYS = ["s", "e", "l", "c", "z", "h", "x", "absent"]


def text(value: Any) -> Any:
    """Return a reply as a client sees it."""
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, Error):
        return RuntimeError(str(value))
    return list(map(text, value)) if isinstance(value, (list, tuple)) else value


class Node:
    """Answers as a server does. `refuses`: commands, and the error that each gets; `then`: called
    with the number of each look at the keys, before it."""

    def __init__(self, role: list[Any], *commands: str, version: Version = NEW) -> None:
        self.engine = PythonEngine(version=version)
        self.role = role
        self.refuses: dict[str, str] = {}
        self.is_open = True
        self.now_ms = NOW_MS
        self.do(*MADE, *commands)

    def do(self, *commands: str) -> None:
        for command in commands:
            assert not isinstance(self._execute(command.split()), RuntimeError), command

    def _execute(self, command: Sequence[Any]) -> Any:
        words = tuple(str(word).encode() for word in command)
        context = Context(self.now_ms, random.Random(0))
        return text(to_resp2(self.engine.execute(words, context).reply))

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def calls(self, *commands: Sequence[Any]) -> list[Any]:
        return [self._answer(command) for command in commands]

    def _answer(self, command: Sequence[Any]) -> Any:
        name = command[0]
        if name in self.refuses:
            return RuntimeError(self.refuses[name])
        if name == "ROLE":
            return self.role
        if name == "TIME":
            return [str(self.now_ms // 1000), str(self.now_ms % 1000 * 1000)]
        return self._execute(command)


def primary(*commands: str, **how: Any) -> Node:
    return Node(["master", 100, []], *commands, **how)


def replica(*commands: str, **how: Any) -> Node:
    return Node(["slave", "h", 1, "connected", 100], *commands, **how)


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "PAUSE_S", 0.0)


def compared(one: Node, other: Node, waited: Callable[[], float] = lambda: 0.0) -> Compared:
    nodes = {"n1": one, "n2": other}
    shard = Shard(nodes=["n1", "n2"], primary="n1")
    return asyncio.run(compare(shard, KEYS, nodes.__getitem__, waited))  # type: ignore[arg-type]


def test_equal_nodes_are_equal_whatever_the_order_of_members() -> None:
    found = compared(primary(), replica("SREM c 1", "SADD c 1", "HDEL h f", "HSET h f 1"))
    assert (found.count, found.held, found.looks, found.error) == (0, len(KEYS) - 1, 1, None)


@pytest.mark.parametrize(
    ("key", "command", "at_primary", "at_node"),
    [
        ("s", "SET s 2", "string 1", "string 2"),
        ("s", "DEL s", "string 1", "nothing"),
        ("absent", "SET absent 1", "nothing", "string 1"),
        ("s", "PEXPIREAT s 1900000000001", "string 1", "expires at 1900000000001 ms"),
        ("e", "PEXPIREAT e 1900000000001", "1900000000000 ms", "1900000000001 ms"),
        ("e", "PERSIST e", "1900000000000 ms", "string 1"),
        ("l", "RPUSH l 3", "list [1, 2]", "list [1, 2, 3]"),
        ("l", "LMOVE l l LEFT RIGHT", "list [1, 2]", "list [2, 1]"),
        ("c", "SADD c 3", "set [1, 2]", "set [1, 2, 3]"),
        ("z", "ZADD z 3 a", "zset", "3"),
        ("h", "HSET h f 3", "hash", "3"),
        ("h", "HPEXPIREAT h 1900000000000 FIELDS 1 f", "hash", "fields expire at"),
        ("x", "XDEL x 1-1", "stream", "stream"),
        ("x", "XACK x group 1-1", "1-1", "stream"),
        ("x", "XGROUP SETID x group 1-2", "1-1", "1-2"),
        ("x", "XGROUP CREATE x other 0", "group", "other"),
    ],
)
def test_a_difference_is_told_with_both_values(
    key: str, command: str, at_primary: str, at_node: str
) -> None:
    found = compared(primary(), replica(command))
    assert found.count == 1
    assert found.looks == copies.LOOKS
    (told,) = found.differences
    assert (told.key, told.primary, told.node) == (key, "n1", "n2")
    assert at_primary in told.at_primary
    assert at_node in told.at_node


def test_what_differs_no_longer_at_the_next_look_is_the_same() -> None:
    behind = replica("SET s 0")
    asked = behind.calls

    async def catches_up(*commands: Sequence[Any]) -> list[Any]:
        replies = await asked(*commands)
        if commands[0][0] == "GET":
            behind.do("SET s 1")
        return replies

    behind.calls = catches_up  # type: ignore[method-assign]
    found = compared(primary(), behind)
    assert (found.count, found.error) == (0, None)


def test_a_key_whose_deadline_has_passed_at_either_node_is_left_out() -> None:
    late = replica("SET e 2 PXAT 1900000000000")
    late.now_ms = 1900000000001
    assert compared(primary(), late).count == 0


def test_without_PEXPIRETIME_deadlines_may_differ_by_a_second() -> None:
    for ms, count in ((1900000000900, 0), (1900000001100, 1)):
        old = replica(f"PEXPIREAT e {ms}", version=OLD)
        assert compared(primary(version=OLD), old).count == count


@pytest.mark.parametrize(
    "command",
    ["ROLE", "TYPE", "PEXPIRETIME", "GET", "LRANGE", "HGETALL", "XINFO", "HKEYS", "HPEXPIRETIME",
     "TIME"],
)  # fmt: skip
def test_nodes_that_a_user_may_not_ask_are_not_compared(command: str) -> None:
    for refusing in (0, 1):
        nodes = primary(), replica()
        nodes[refusing].refuses[command] = "NOPERM this user has no permissions"
        found = compared(*nodes)
        assert found.error is not None
        assert f"n{1 + refusing}" in found.error
        assert command in found.error
        assert "NOPERM" in found.error


def test_a_server_whose_hashes_have_no_deadlines_is_compared_without_them() -> None:
    old = replica()
    old.refuses["HPEXPIRETIME"] = "ERR unknown command 'HPEXPIRETIME'"
    assert compared(primary(), old).error is None


def test_nodes_in_the_wrong_state_are_not_compared() -> None:
    clock = iter(range(1000))
    behind = replica()
    behind.role = ["slave", "h", 1, "connected", 99]
    found = compared(primary(), behind, lambda: next(clock))
    assert found.error == "n2 did not reach offset 100 of n1 within 30 s: it is at 99"
    apart = replica()
    apart.role = ["slave", "h", 1, "connect", 100]
    assert "is not connected" in str(compared(primary(), apart, lambda: next(clock)).error)
    assert "both claim to be the primary" in str(compared(primary(), primary()).error)
    assert "n1 is no longer the primary" in str(compared(replica(), replica()).error)
