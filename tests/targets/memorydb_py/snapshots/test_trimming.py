"""A log that is trimmed, and whoever lacks what it had (D13, behaviour 44 of memorydb.md)."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from harness.simulation.delays import Delays
from targets.memorydb_py.log import inspect, store
from targets.memorydb_py.log.interface import Batch, Id, Refused
from targets.memorydb_py.snapshots.objects import MemoryStore
from targets.memorydb_py.snapshots.snapshot import position_of
from tests.targets.memorydb_py.log.test_interface import lead
from tests.targets.memorydb_py.log.test_protocol import appended
from tests.targets.memorydb_py.logs import AZS, Logs, entries
from tests.targets.memorydb_py.shards import SHORT, Shards
from tests.targets.memorydb_py.snapshots.test_snapshots import digests, fill, flipped, snapshots


async def grow(logs: Logs, last: Id, count: int, *, trim: int = 0) -> Id:
    """So many entries, and then a trim up to an n, once or twice: as a segment is begun for it."""
    for _ in range(count):
        last = await appended(logs, last, b"entry %d" % (last.n + 1))
    if trim:
        logs.clients["u1"].trim(trim)
        await asyncio.sleep(0.1)
    return last


async def kept_after(az: str) -> int:
    """The n after which an AZ's log begins."""
    return (await copy_of(az))[0]


async def copy_of(az: str) -> tuple[int, list[Batch]]:
    """(the n after which it begins, all that it has)."""
    batches: list[Batch] = []
    trimmed = await inspect.read_from(
        (f"{az}@operator", 6379), 0, lambda after, more: batches.extend(more)
    )
    return trimmed, batches


async def follow(logs: Logs, user: str, after: int, upto: int) -> tuple[list[Batch], list[int]]:
    """(what comes, what is said of trimming) until an entry is there, or nothing more will be."""
    got: list[Batch] = []
    said: list[int] = []
    logs.clients[user].follow(after, got.append, said.append)
    async with asyncio.timeout(10):
        while not said and (got[-1].last if got else after) < upto:
            await asyncio.sleep(0.01)
    return got, said


def test_whole_segments_are_forgotten_and_never_more_than_was_said() -> None:
    async def story(logs: Logs) -> None:
        last = await lead(logs.clients["u1"])
        previous = 0
        for _ in range(6):
            last = await grow(logs, last, 10, trim=last.n)
            for az in AZS:
                assert previous <= await kept_after(az) <= last.n - 10
            previous = max([await kept_after(az) for az in AZS])
            for az in AZS:
                size = sum(logs.world.disk(az).size(n) for n in logs.world.disk(az).names())
                assert size < 4000
        assert previous > 30
        got, said = await follow(logs, "u2", 0, last.n)
        assert (got, said) == ([], [max(said)])
        assert max(said) >= 30
        got, said = await follow(logs, "u2", previous, last.n)
        assert [b.last for b in got] == list(range(previous + 1, last.n + 1))
        assert [b.payload for b in got][-1] == b"entry %d" % last.n
        for az in AZS:  # and it stays so when they start again
            before = await kept_after(az)
            logs.world.kill(logs.azs[az])
            logs.start(az)
            await asyncio.sleep(1)
            assert await kept_after(az) == before
            last = await appended(logs, last)

    Logs(70).run(story)


def test_trims_that_overlap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another is asked for before one is durable (what seed 60008 found: `test_scenarios`)."""
    monkeypatch.setattr(store, "SEGMENT_BYTES", 50)

    async def story(logs: Logs) -> None:
        last = await lead(logs.clients["u1"])
        for _ in range(30):
            last = await grow(logs, last, 1)
            await asyncio.sleep(0.005)
        for n in (5, 15, 28):
            logs.clients["u1"].trim(n)
        await asyncio.sleep(0.1)
        for az in AZS:
            assert 20 < await kept_after(az) <= 28
        assert not any("Traceback" in line for line in logs.lines)
        assert not logs.exits

    Logs(78).run(story)


def test_what_is_not_committed_is_not_forgotten() -> None:
    async def story(logs: Logs) -> None:
        last = await lead(logs.clients["u1"])
        last = await grow(logs, last, 5, trim=last.n)
        leader = logs.leader()
        logs.world.cut([(leader, az) for az in AZS if az != leader])
        committed, futures = last, []
        for _ in range(3):
            batch = entries(last, 1)
            futures.append(logs.clients["u1"].append(last, batch))
            last = batch.id
            await asyncio.sleep(0.01)
            logs.clients["u1"].trim(last.n)
            await asyncio.sleep(0.01)
        assert await kept_after(leader) <= committed.n
        logs.world.cut(())
        await asyncio.gather(*futures)
        for _ in range(2):
            last = await grow(logs, last, 5, trim=last.n)
        assert min([await kept_after(az) for az in AZS]) >= committed.n

    Logs(71).run(story)


@pytest.mark.parametrize("seed", range(30))
def test_an_az_that_lacks_what_was_trimmed_begins_after_it(seed: int) -> None:
    """It was away, or was wiped, or has led on with what nobody else has: then all of that goes."""

    async def story(logs: Logs) -> None:
        rng = random.Random(seed)
        how = ("dead", "wiped", "alone")[seed % 3]
        last = await lead(logs.clients["u1"])
        last = await grow(logs, last, 5)
        away = logs.leader() if how == "alone" else rng.choice(AZS)
        futures = []
        if how == "alone":
            logs.world.cut([pair for az in AZS if az != away for pair in ((az, away), (away, az))])
            at = last
            for _ in range(10):
                batch = entries(at, 1, b"entry %d" % (at.n + 1))
                futures.append(logs.clients["u1"].append(at, batch))
                at = batch.id
            await asyncio.gather(*futures)
            last = at
        logs.world.kill(logs.azs[away])
        if how == "wiped":
            logs.wipe(away)
        for _ in range(3):
            last = await grow(logs, last, 20, trim=last.n)
        assert max([await kept_after(az) for az in AZS if az != away]) > 20
        logs.world.cut(())
        logs.start(away)
        for _ in range(8 if seed > 2 else 0):  # it may lose power while it takes the base
            await asyncio.sleep(rng.random() * 0.06)
            logs.world.power_off(logs.azs[away].machine)
            logs.start(away)
        await asyncio.sleep(2)
        assert not any("set aside" in line for line in logs.lines)
        assert await kept_after(away) > 20
        other = next(az for az in AZS if az != away)
        logs.world.kill(logs.azs[other])  # so that it is needed
        last = await grow(logs, last, 5)
        begins = await kept_after(away)
        for again in (False, True):
            got, _ = await follow(logs, "u2", begins, last.n)
            assert [b.payload for b in got] == [b"entry %d" % b.last for b in got]
            assert [b.last for b in got] == list(range(begins + 1, last.n + 1))
            if not again:
                logs.start(other)
                await asyncio.sleep(1)
                logs.world.power_off(logs.azs[away].machine)
                logs.start(away)
                await asyncio.sleep(1)
        assert not logs.exits

    Logs(seed).run(story)


@pytest.mark.parametrize("seed", range(20))
def test_a_base_replaces_all_that_contradicts_it(
    monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Also what would come after it, whenever power is lost."""
    monkeypatch.setattr(store, "SEGMENT_BYTES", 50)

    async def story(logs: Logs) -> None:
        rng = random.Random(seed)
        last = await lead(logs.clients["u1"])
        last = at = await grow(logs, last, 5)
        alone = logs.leader()
        others = [az for az in AZS if az != alone]
        logs.world.cut(
            [p for az in others for one in (alone, "u1") for p in ((az, one), (one, az))]
        )
        for _ in range(30):  # nobody else gets them, and their writer leads no more
            batch = entries(at, 1, b"nobody's")
            logs.clients["u1"].append(at, batch)
            at = batch.id
            await asyncio.sleep(0.003)
        await asyncio.sleep(0.5)
        logs.world.kill(logs.azs[alone])
        there = [n for n in logs.world.disk(alone).names() if n.startswith("segment")]
        assert len(there) > 20
        writer = logs.clients["u2"]
        last = await lead(writer, b"entry %d" % (last.n + 1))
        for _ in range(10):
            batch = entries(last, 1, b"entry %d" % (last.n + 1))
            await writer.append(last, batch)
            last = batch.id
            await asyncio.sleep(0.01)
        writer.trim(last.n - 3)
        await asyncio.sleep(0.1)
        begins = [await kept_after(az) for az in others]
        assert min(begins) > 8
        logs.world.cut(())
        logs.world.disk(alone).fsync_ns = (5_000_000, 40_000_000)
        logs.start(alone)
        for _ in range(6):
            await asyncio.sleep(rng.random() * 0.3)
            logs.world.power_off(logs.azs[alone].machine)
            logs.start(alone)
        await asyncio.sleep(1)
        assert not any("set aside" in line for line in logs.lines)
        after, copy = await copy_of(alone)
        assert after in begins
        assert [b.payload for b in copy] == [b"entry %d" % n for n in range(after + 1, last.n + 1)]

    Logs(seed).run(story)


@pytest.mark.parametrize("seed", range(12))
def test_power_is_lost_while_it_is_trimmed(seed: int) -> None:
    """Nothing that is kept is lost, whenever."""

    async def story(logs: Logs) -> None:
        rng = random.Random(seed)
        last = await lead(logs.clients["u1"])
        known: dict[int, bytes] = {}
        for _ in range(15):
            for _ in range(rng.randint(1, 12)):
                last = await grow(logs, last, 1)
                known[last.n] = b"entry %d" % last.n
            logs.clients["u1"].trim(rng.randint(max(1, last.n - 20), last.n))
            await asyncio.sleep(rng.random() * 0.008)
            for az in AZS if rng.random() < 0.5 else [rng.choice(AZS)]:
                logs.world.power_off(logs.azs[az].machine)
                logs.start(az)
            last = await grow(logs, last, 1)
            known[last.n] = b"entry %d" % last.n
        await asyncio.sleep(1)
        for az in AZS:
            after, copy = await copy_of(az)
            told = {b.last: b.payload for b in copy}
            assert told == {n: p for n, p in known.items() if n > after}
            assert after < last.n
        assert not any("set aside" in line for line in logs.lines)
        assert not logs.exits

    Logs(seed).run(story)


def test_an_append_that_was_trimmed_unacknowledged_is_refused() -> None:
    """Nobody can tell any more whether it was that one; its writer is not the last anyhow."""

    async def story(logs: Logs) -> None:
        first, second = logs.clients["u1"], logs.clients["u2"]
        last = await lead(first)
        logs.world.cut([(az, "u1") for az in AZS])
        batch = entries(last, 1, b"e")
        future = first.append(last, batch)
        await asyncio.sleep(0.1)
        last = await lead(second)
        assert last.n == batch.last + 1
        for _ in range(3):
            for _ in range(5):
                made = entries(last, 1)
                await second.append(last, made)
                last = made.id
            second.trim(last.n)
            await asyncio.sleep(0.1)
        assert min([await kept_after(az) for az in AZS]) >= batch.last
        await asyncio.sleep(1)  # it has given up its connections
        logs.world.cut(())
        with pytest.raises(Refused):
            await future

    Logs(72).run(story)


@pytest.mark.parametrize("seed", range(16))
def test_any_faults_while_it_is_trimmed(seed: int) -> None:
    """AZs are lost one at a time, in every way; whoever follows from wherever it can gets what was
    acknowledged, in order."""
    rng = random.Random(f"{seed}/trims")

    async def story(logs: Logs) -> None:
        known: dict[int, bytes] = {}
        done = False

        async def write() -> None:
            last = await lead(logs.clients["u1"])
            while not done:
                last = await grow(logs, last, 1)
                known[last.n] = b"entry %d" % last.n
                if rng.random() < 0.1:
                    logs.clients["u1"].trim(max(1, last.n - rng.randint(0, 30)))

        writing = asyncio.ensure_future(write())
        await logs.lose_azs(rng, 10, ["kill", "wipe", "cut", "power"])
        done = True
        await writing
        last = max(known)
        await asyncio.sleep(1)
        for az in AZS:
            after, copy = await copy_of(az)
            assert {b.last: b.payload for b in copy} == {
                n: p for n, p in known.items() if n > after
            }
            assert 0 < after < last == copy[-1].last
        assert not any("set aside" in line for line in logs.lines)
        assert not logs.exits, logs.exits

    Logs(seed, delays=Delays(low_ns=100_000, high_ns=3_000_000, slow_per_1024=20)).run(story)


# --- nodes


async def trimmed_shard(shards: Shards, every: int = 100) -> list[str]:
    """Names of snapshots of a shard whose log has been trimmed more than once."""
    shards.start_snapshotter(every=every)
    for round in range(8):
        await fill(shards, every, seed=round)
        await asyncio.sleep(0.5)
    shards.kill("snapshotter")
    assert min([await kept_after(az) for az in AZS]) > 0
    return await snapshots(shards, 2)


def test_the_second_newest_snapshot_can_always_be_gone_on_from() -> None:
    """D13, behaviour 44: when the newest turns out to be damaged the next one serves."""

    async def story(shards: Shards) -> None:
        objects = shards.objects
        assert isinstance(objects, MemoryStore)
        older, newer = await trimmed_shard(shards)
        for az in AZS:
            assert await kept_after(az) <= position_of(older)
        before = set((await digests(shards)).values())
        objects.objects[newer] = flipped(objects.objects[newer], 300)
        shards.restart_nodes()
        assert set((await digests(shards)).values()) == before
        assert any(f"begins with {older}" in line for line in shards.lines)

    Shards(73, options=SHORT, objects=MemoryStore()).run(story)


def test_a_damaged_snapshot_does_not_count_when_the_log_is_trimmed() -> None:
    async def story(shards: Shards) -> None:
        objects = shards.objects
        assert isinstance(objects, MemoryStore)
        older, newer = await trimmed_shard(shards)
        objects.objects[newer] = flipped(objects.objects[newer], 300)
        shards.start_snapshotter(every=100)
        await fill(shards, 150, seed=20)
        await snapshots(shards, 3)
        await asyncio.sleep(1)
        assert sorted(objects.objects)[:2] == [older, newer]
        for az in AZS:
            assert await kept_after(az) <= position_of(older)
        await fill(shards, 150, seed=21)
        await asyncio.sleep(3)
        names = sorted(objects.objects)
        assert position_of(names[0]) > position_of(newer), "two more that can be used"

    Shards(74, options=SHORT, objects=MemoryStore()).run(story)


def test_a_node_that_was_away_while_it_was_trimmed_begins_with_a_snapshot() -> None:
    """And one that had a snapshot which the log no longer reaches begins with another."""

    async def story(shards: Shards) -> None:
        away = (await shards.replicas())[0]
        shards.start_snapshotter(every=100)
        await fill(shards, 200)
        shards.cut_from_log(away)
        for round in range(6):
            await fill(shards, 100, seed=round + 1)
            await asyncio.sleep(0.5)
        shards.kill("snapshotter")
        begins = [await kept_after(az) for az in AZS]
        assert min(begins) > shards.nodes[away].shard.applied.n
        shards.release()
        assert len(set((await digests(shards)).values())) == 1
        said = [line for line in shards.lines if line.startswith(away)]
        assert any("log: it begins after" in line for line in said)
        assert any("begins with snapshot-" in line for line in said)

    Shards(75, options=SHORT, objects=MemoryStore()).run(story)


def test_a_node_without_snapshots_says_that_it_needs_one() -> None:
    async def story(shards: Shards) -> None:
        await trimmed_shard(shards)
        objects, shards.objects = shards.objects, None
        name = (await shards.replicas())[0]
        shards.kill(name)
        shards.start_node(name)
        await asyncio.sleep(1)
        assert [who for who, code in shards.exits if code] == [name]
        assert any("give --snapshots" in line for line in shards.lines)
        shards.objects = objects
        shards.start_node(name)
        assert len(set((await digests(shards)).values())) == 1

    Shards(76, options=SHORT, objects=MemoryStore()).run(story)


def test_a_replica_that_began_with_a_snapshot_knows_who_leads() -> None:
    """Though the entry that says so is before it (once the cell register, all, seed 1)."""

    async def story(shards: Shards) -> None:
        await trimmed_shard(shards)
        primary = await shards.primary()
        name = (await shards.replicas())[0]
        shards.kill(name)
        shards.start_node(name)
        await shards.settled()
        talk = await shards.connect(name)
        role: Any = await talk.ask("ROLE")
        assert role[1:4] == [primary.encode(), 6379, b"connected"]
        assert f"{primary}:6379" in str(await talk.ask("GET {t}count"))

    Shards(77, options=SHORT, objects=MemoryStore()).run(story)
