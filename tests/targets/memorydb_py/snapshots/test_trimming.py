"""Trimming of the log, and recovery of AZs and nodes that lack trimmed entries."""

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
    """Append `count` entries, then trim up to n = `trim` if given. Whole segments only are removed,
    and a trim begins a new one."""
    for _ in range(count):
        last = await appended(logs, last, b"entry %d" % (last.n + 1))
    if trim:
        logs.clients["u1"].trim(trim)
        await asyncio.sleep(0.1)
    return last


async def kept_after(az: str) -> int:
    """Return the n after which an AZ's copy of the log begins."""
    return (await copy_of(az))[0]


async def copy_of(az: str) -> tuple[int, list[Batch]]:
    """Return (the n after which an AZ's copy begins, its batches)."""
    batches: list[Batch] = []
    trimmed = await inspect.read_from(
        az, (f"{az}@operator", 6379), 0, lambda after, more: batches.extend(more)
    )
    return trimmed, batches


async def follow(logs: Logs, user: str, after: int, upto: int) -> tuple[list[Batch], list[int]]:
    """Follow the log until entry `upto` arrives or the log reports a trim; return (the batches, the
    reported positions)."""
    got: list[Batch] = []
    trims: list[int] = []
    logs.clients[user].follow(after, got.append, trims.append)
    async with asyncio.timeout(10):
        while not trims and (got[-1].last if got else after) < upto:
            await asyncio.sleep(0.01)
    return got, trims


def test_whole_segments_are_removed_and_never_more_than_requested() -> None:
    async def scenario(logs: Logs) -> None:
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
        got, trims = await follow(logs, "u2", 0, last.n)
        assert (got, trims) == ([], [max(trims)])
        assert max(trims) >= 30
        got, trims = await follow(logs, "u2", previous, last.n)
        assert [b.last for b in got] == list(range(previous + 1, last.n + 1))
        assert [b.payload for b in got][-1] == b"entry %d" % last.n
        for az in AZS:  # a restart does not change it
            before = await kept_after(az)
            logs.world.kill(logs.azs[az])
            logs.start(az)
            await asyncio.sleep(1)
            assert await kept_after(az) == before
            last = await appended(logs, last)

    Logs(70).run(scenario)


def test_trims_that_overlap(monkeypatch: pytest.MonkeyPatch) -> None:
    """A trim is requested before an earlier one is durable. Found in the cell `lock, all`, seed
    60008; see test_scenarios."""
    monkeypatch.setattr(store, "SEGMENT_BYTES", 50)

    async def scenario(logs: Logs) -> None:
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

    Logs(78).run(scenario)


def test_what_is_not_committed_is_not_trimmed() -> None:
    async def scenario(logs: Logs) -> None:
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

    Logs(71).run(scenario)


@pytest.mark.parametrize("seed", range(30))
def test_an_az_that_lacks_what_was_trimmed_begins_after_it(seed: int) -> None:
    """An AZ that was down, was wiped, or led on in isolation begins after the leader's base;
    entries that only it has are discarded."""

    async def scenario(logs: Logs) -> None:
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
        for _ in range(8 if seed > 2 else 0):  # it may lose power while it installs the base
            await asyncio.sleep(rng.random() * 0.06)
            logs.world.power_off(logs.azs[away].machine)
            logs.start(away)
        await asyncio.sleep(2)
        assert not any("set aside" in line for line in logs.lines)
        assert await kept_after(away) > 20
        other = next(az for az in AZS if az != away)
        logs.world.kill(logs.azs[other])  # so a quorum needs the recovered AZ
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

    Logs(seed).run(scenario)


@pytest.mark.parametrize("seed", range(20))
def test_a_base_replaces_all_that_contradicts_it(
    monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Installing a base discards conflicting records, those after it included, whenever power is
    lost."""
    monkeypatch.setattr(store, "SEGMENT_BYTES", 50)

    async def scenario(logs: Logs) -> None:
        rng = random.Random(seed)
        last = await lead(logs.clients["u1"])
        last = at = await grow(logs, last, 5)
        alone = logs.leader()
        others = [az for az in AZS if az != alone]
        logs.world.cut(
            [p for az in others for one in (alone, "u1") for p in ((az, one), (one, az))]
        )
        for _ in range(30):  # no other AZ receives them, and their writer is deposed
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

    Logs(seed).run(scenario)


@pytest.mark.parametrize("seed", range(12))
def test_power_is_lost_while_it_is_trimmed(seed: int) -> None:
    """No entry after the trimmed position is lost, whenever power fails."""

    async def scenario(logs: Logs) -> None:
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
            payloads = {b.last: b.payload for b in copy}
            assert payloads == {n: p for n, p in known.items() if n > after}
            assert after < last.n
        assert not any("set aside" in line for line in logs.lines)
        assert not logs.exits

    Logs(seed).run(scenario)


def test_an_append_that_was_trimmed_unacknowledged_is_refused() -> None:
    """Whether the trimmed entry was this one can no longer be determined; its writer has been
    deposed anyway."""

    async def scenario(logs: Logs) -> None:
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
        await asyncio.sleep(1)  # its connections have timed out
        logs.world.cut(())
        with pytest.raises(Refused):
            await future

    Logs(72).run(scenario)


@pytest.mark.parametrize("seed", range(16))
def test_any_faults_while_it_is_trimmed(seed: int) -> None:
    """AZs are lost one at a time, in every way; each copy of the log still has every acknowledged
    entry after its beginning."""
    rng = random.Random(f"{seed}/trims")

    async def scenario(logs: Logs) -> None:
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

    Logs(seed, delays=Delays(low_ns=100_000, high_ns=3_000_000, slow_per_1024=20)).run(scenario)


# --- nodes


async def trimmed_shard(shards: Shards, every: int = 100) -> list[str]:
    """Fill a shard until its log is trimmed; return the names of the two or more snapshots kept."""
    shards.start_snapshotter(every=every)
    for round in range(8):
        await fill(shards, every, seed=round)
        await asyncio.sleep(0.5)
    shards.kill("snapshotter")
    assert min([await kept_after(az) for az in AZS]) > 0
    return await snapshots(shards, 2)


def test_the_second_newest_snapshot_can_always_be_gone_on_from() -> None:
    """The log is never trimmed past the second-newest verified snapshot, so it can be used if the
    newest is damaged."""

    async def scenario(shards: Shards) -> None:
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

    Shards(73, options=SHORT, objects=MemoryStore()).run(scenario)


def test_a_damaged_snapshot_does_not_count_when_the_log_is_trimmed() -> None:
    async def scenario(shards: Shards) -> None:
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
        assert position_of(names[0]) > position_of(newer), "two newer ones are usable"

    Shards(74, options=SHORT, objects=MemoryStore()).run(scenario)


def test_a_node_that_was_away_while_it_was_trimmed_begins_with_a_snapshot() -> None:
    """A node cut off while the log was trimmed past its position restores a snapshot."""

    async def scenario(shards: Shards) -> None:
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
        log_lines = [line for line in shards.lines if line.startswith(away)]
        assert any("log: it begins after" in line for line in log_lines)
        assert any("begins with snapshot-" in line for line in log_lines)

    Shards(75, options=SHORT, objects=MemoryStore()).run(scenario)


def test_a_node_without_snapshots_exits_if_the_log_was_trimmed() -> None:
    async def scenario(shards: Shards) -> None:
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

    Shards(76, options=SHORT, objects=MemoryStore()).run(scenario)


def test_a_replica_that_began_with_a_snapshot_knows_who_leads() -> None:
    """Although the leadership entry precedes the snapshot. Found in the cell `register, all`, seed
    1."""

    async def scenario(shards: Shards) -> None:
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

    Shards(77, options=SHORT, objects=MemoryStore()).run(scenario)
