"""The guarantees of the log's interface, on which nodes rely whatever the implementation."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from targets.memorydb_py.log.interface import Batch, Id, Refused
from tests.targets.memorydb_py.logs import (
    AZS,
    ZERO,
    Logs,
    entries,
    fail_if_trimmed,
    leadership_entry,
)


async def lead(log, payload: bytes = b"me") -> Id:
    """Append a leadership entry, retrying until one is accepted; return its id."""
    while True:
        tail = await log.tail()
        made = leadership_entry(tail, payload)
        try:
            await log.append(tail, made)
        except Refused:
            continue
        return made.id


def test_of_fifty_appenders_with_one_precondition_one_succeeds() -> None:
    """An append is conditional on the last entry's id: exactly one succeeds, and the others are
    refused with the id of the tail."""

    async def scenario(logs: Logs) -> None:
        users = list(logs.clients.values())
        last = await lead(users[0])
        for round in range(100):
            made = [
                (user, entries(last, 1, b"%d by %d/%d" % (round, u, i)))
                for u, user in enumerate(users)
                for i in range(10)
            ]
            done = await asyncio.gather(
                *(user.append(last, batch) for user, batch in made), return_exceptions=True
            )
            won = [made[i][1] for i, d in enumerate(done) if d is None]
            assert len(won) == 1
            assert all(isinstance(d, Refused) and d.tail == won[0].id for d in done if d)
            last = won[0].id

    Logs(1, users=5).run(scenario)


@pytest.mark.parametrize("seed", range(20))
def test_fifty_contenders_make_one_leader(seed: int) -> None:
    """Of 50 leadership entries with the same precondition one succeeds, also when the log's leader
    is killed meanwhile."""

    async def scenario(logs: Logs) -> None:
        users = list(logs.clients.values())
        tail = await users[0].tail()
        for round in range(5):
            wanted = [
                users[i % len(users)].append(tail, leadership_entry(tail, b"%d/%d" % (round, i)))
                for i in range(50)
            ]
            if round == 2:
                await asyncio.sleep(logs.world.loop.time() % 0.003)
                logs.world.kill(logs.azs[logs.leader()])
            done = await asyncio.gather(*wanted, return_exceptions=True)
            assert sum(d is None for d in done) == 1
            tail = Id(tail.n + 1, tail.n + 1)
            assert await users[0].tail() == tail

    Logs(seed, users=5).run(scenario)


def test_entries_are_followed_in_order_without_gaps() -> None:
    """A reader gets every entry, in order and once, while AZs are killed and restarted."""

    async def scenario(logs: Logs) -> None:
        writer, reader = logs.clients.values()
        got: list[Batch] = []
        reader.follow(0, got.append, fail_if_trimmed)
        last = await lead(writer)
        futures = []
        for i in range(300):
            batch = entries(last, 1 + i % 3, b"%d" % i)
            futures.append(writer.append(last, batch))
            last = batch.id
            await asyncio.sleep(0.005)
            if i % 60 == 30:
                az = AZS[(i // 60) % 3]
                logs.world.kill(logs.azs[az])
            if i % 60 == 50:
                logs.start(AZS[(i // 60) % 3])
        await asyncio.gather(*futures)
        while not got or got[-1].last < last.n:
            await asyncio.sleep(0.01)
        assert [b.payload for b in got[1:]] == [b"%d" % i for i in range(300)]
        assert all(a.last + 1 == b.first for a, b in itertools.pairwise(got))

    Logs(3).run(scenario)


def test_a_big_log_is_followed_to_its_end_though_nothing_is_appended() -> None:
    """The reader follows a follower AZ, over a link so slow that the socket is full at times."""

    async def scenario(logs: Logs) -> None:
        writer, reader = logs.clients.values()
        last = await lead(writer)
        if logs.leader() == "az1":
            logs.cut("az1")
            await asyncio.sleep(0.5)
            logs.world.cut(())
            await asyncio.sleep(0.5)
        assert logs.leader() != "az1"
        for _ in range(120):
            batch = entries(last, 1, b"x" * 200_000)
            await writer.append(last, batch)
            last = batch.id
        await asyncio.sleep(1)
        logs.world.network.link("az1", "u2").shape(0, 0, 8_000_000)
        got: list[Batch] = []
        reader.follow(0, got.append, fail_if_trimmed)
        await asyncio.sleep(20)
        assert got[-1].id == last

    Logs(12).run(scenario)


def test_what_is_not_committed_is_not_seen() -> None:
    """An entry that only the log's leader has is not sent to readers."""

    async def scenario(logs: Logs) -> None:
        writer, reader = logs.clients.values()
        got: list[Batch] = []
        reader.follow(0, got.append, fail_if_trimmed)
        last = await lead(writer)
        await asyncio.sleep(0.1)
        leader = logs.leader()
        others = [az for az in AZS if az != leader]
        logs.cut(*others)
        future = writer.append(last, entries(last, 1, b"alone"))
        await asyncio.sleep(0.1)
        assert not future.done()
        assert [b.payload for b in got] == [b"me"]
        logs.world.cut(())
        await future

    Logs(4).run(scenario)


def test_a_lost_acknowledgement_is_resolved_by_the_log() -> None:
    """The connection breaks after the AZ received the append; the retry is acknowledged and the
    entry is in the log once."""

    async def scenario(logs: Logs) -> None:
        writer, reader = logs.clients.values()
        got: list[Batch] = []
        reader.follow(0, got.append, fail_if_trimmed)
        last = await lead(writer)
        for i in range(20):
            batch = entries(last, 1, b"%d" % i)
            leader = logs.leader()
            logs.world.cut([(leader, "u1")])
            future = writer.append(last, batch)
            await asyncio.sleep(0.05)
            assert not future.done()
            logs.world.network.reset("u1", leader)
            logs.world.cut(())
            await future
            last = batch.id
        await asyncio.sleep(0.1)
        assert [b.payload for b in got] == [b"me", *(b"%d" % i for i in range(20))]

    Logs(5).run(scenario)


def test_an_old_writer_is_refused_also_on_a_fresh_connection() -> None:
    """An append with a superseded epoch is refused whichever entry it names as its predecessor."""

    async def scenario(logs: Logs) -> None:
        old, new = logs.clients.values()
        first = await lead(old, b"old")
        second = await lead(new, b"new")
        stray = Batch(first.epoch, second.n + 1, second.n + 1, b"stray")
        with pytest.raises(Refused) as refused:
            await old.append(Id(first.epoch, second.n), stray)
        assert refused.value.tail == second
        with pytest.raises(Refused):
            await old.append(first, Batch(first.epoch, first.n + 1, first.n + 1, b"stray"))
        with pytest.raises(Refused):  # even if it names the new leader's entry
            await old.append(second, Batch(first.epoch, second.n + 1, second.n + 1, b"stray"))

    Logs(6).run(scenario)


def test_appends_are_pipelined() -> None:
    """A hundred appends take less than 4 times as long as one, plus 10 ms."""

    async def scenario(logs: Logs) -> None:
        (writer,) = logs.clients.values()
        last = await lead(writer)
        began = logs.now_ms()
        batch = entries(last, 1)
        await writer.append(last, batch)
        one = logs.now_ms() - began
        last = batch.id
        futures = []
        for _ in range(100):
            batch = entries(last, 1)
            futures.append(writer.append(last, batch))
            last = batch.id
        began = logs.now_ms()
        await asyncio.gather(*futures)
        assert logs.now_ms() - began < 4 * one + 10

    Logs(7, users=1).run(scenario)


def test_the_tail_is_never_stale() -> None:
    """An AZ that has been deposed without knowing it does not answer with an old tail."""

    async def scenario(logs: Logs) -> None:
        writer, reader = logs.clients.values()
        last = await lead(writer)
        for i in range(10):
            leader = logs.leader()
            # The reader reaches only the old leader, the writer only the others.
            others = [az for az in AZS if az != leader]
            pairs = [(leader, o) for o in (*others, "u1")] + [(o, "u2") for o in others]
            logs.world.cut([p for a, b in pairs for p in ((a, b), (b, a))])
            batch = entries(last, 1, b"%d" % i)
            await writer.append(last, batch)
            last = batch.id
            asked = asyncio.ensure_future(reader.tail())
            await asyncio.sleep(0.3)
            assert not asked.done() or asked.result() == last
            logs.world.cut(())
            assert await asked == last

    Logs(8).run(scenario)


def test_nodes_know_how_far_others_are() -> None:
    """The log reports the position that each connected node has applied."""

    async def scenario(logs: Logs) -> None:
        one, two = logs.clients.values()
        seen = {}
        one.positions(seen.update)
        two.applied(17)
        await asyncio.sleep(0.1)
        assert seen == {"u2": 17}
        reported: list[dict[str, int]] = []
        one.positions(lambda by_node: reported.append(dict(by_node)))
        await asyncio.sleep(0.1)
        logs.world.kill(logs.world.machines["w2"].processes["u2"])
        await asyncio.sleep(1)
        assert reported[0] == {"u2": 17}
        assert reported[-1] == {}, "a disconnected node has no position"

    Logs(9).run(scenario)


def test_unfollow_stops_the_delivery_of_entries() -> None:
    async def scenario(logs: Logs) -> None:
        reader, writer = logs.clients.values()
        links = [logs.world.network.link(az, "u1") for az in AZS]
        got: list[Batch] = []
        reader.follow(0, got.append, fail_if_trimmed)
        last = await lead(writer)
        await asyncio.sleep(0.3)
        for count in (1, 1, 0):
            before, had = sum(link.passed for link in links), len(got)
            batch = entries(last, 1, bytes(100_000))
            await writer.append(last, batch)
            last = batch.id
            await asyncio.sleep(0.3)
            received = sum(link.passed for link in links) - before
            assert (len(got) - had, received > 50_000) == (count, bool(count))
            if len(got) == 3:
                reader.unfollow()

    Logs(11).run(scenario)


def test_the_tail_of_an_empty_log_is_zero() -> None:
    async def scenario(logs: Logs) -> None:
        (log,) = logs.clients.values()
        assert await log.tail() == ZERO

    Logs(10, users=1).run(scenario)
