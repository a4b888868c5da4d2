"""Entries of the log: they are decoded as they were encoded, or not at all."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from targets.memorydb_py import entries
from targets.memorydb_py.log.interface import Batch
from tests.targets.memorydb_py.shards import SHORT, Shards


def test_effects_and_leadership_go_over() -> None:
    effects = [[(b"SET", b"a", b"1"), (b"DEL", b"b")], [], [(b"PUBLISH", b"c", b"m")]]
    decoded = entries.decode(entries.encode(effects))
    assert decoded == [[list(command) for command in entry] for entry in effects]
    for entry in (entries.Leader("n1", 7, 1), entries.Renew(5, 600), entries.Release("n2"),
                  entries.Release(None)):  # fmt: skip
        assert entries.decode(entries.encode_control(entry)) == [entry]


def test_a_later_version_may_add_fields() -> None:
    assert entries.decode(msgspec.msgpack.encode([[0, "n1", 7, 2, 600, "more"]])) == [
        entries.Leader("n1", 7, 2, 600)
    ]


def test_version_1_did_not_say_how_long_a_lease_is() -> None:
    assert entries.decode(msgspec.msgpack.encode([[0, "n1", 7, 1], [1, 5]])) == [
        entries.Leader("n1", 7, 1, 0), entries.Renew(5, 0),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xff",
        msgspec.msgpack.encode([[9, "of a kind that is not known"]]),
        msgspec.msgpack.encode([[0, 1, 1, 1]]),
        msgspec.msgpack.encode([[1]]),
        msgspec.msgpack.encode([[["SET", "a", "1"]]]),
        msgspec.msgpack.encode([[[b"SET", b"a", b"1"], 5]]),
        msgspec.msgpack.encode([[[b"SET", b"a", b"1"], None]]),
        msgspec.msgpack.encode([[[]]]),
        msgspec.msgpack.encode({"a": 1}),
    ],
)
def test_what_is_no_entry_is_not_decoded(payload: bytes) -> None:
    with pytest.raises(entries.Undecodable, match="an entry can't be decoded"):
        entries.decode(payload)


def test_an_entry_that_can_not_be_decoded_ends_the_process_with_a_line() -> None:
    """To go on without it would lose what it holds."""

    async def story(shards: Shards) -> None:
        primary = await shards.primary()
        intruder = await shards.user("intruder", "m2")
        tail = await intruder.tail()
        shards.kill(primary)
        tail = await intruder.tail()
        payload = msgspec.msgpack.encode([[9]])
        await intruder.append(tail, Batch(tail.n + 1, tail.n + 1, tail.n + 1, payload))
        others = [name for name in shards.names if name != primary]
        while any(shards.processes[name].state == "running" for name in others):
            await asyncio.sleep(0.01)
        lines = [line for line in shards.lines if "an entry can't be decoded" in line]
        assert {line.split()[0] for line in lines} >= set(others)

    Shards(5, options=SHORT).run(story)
