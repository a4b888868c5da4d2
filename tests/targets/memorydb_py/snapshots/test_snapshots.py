"""Snapshots, recovery and upgrades. Trimming is tested in test_trimming."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from harness.simulation.delays import Delays
from targets.engine.python import PythonEngine
from targets.engine.rdb import Malformed, crc64
from targets.engine.rdb_file import Loader
from targets.memorydb_py import entries
from targets.memorydb_py.log.interface import Id
from targets.memorydb_py.node.settings import ENGINE_VERSION
from targets.memorydb_py.replay import check, checksum
from targets.memorydb_py.snapshots import snapshot
from targets.memorydb_py.snapshots.objects import MemoryStore
from targets.memorydb_py.snapshots.snapshot import Snapshot, name_of, position_of
from tests.support.command_shapes import Shapes
from tests.targets.memorydb_py.shards import SHORT, Shards

NEWER = ENGINE_VERSION + 1
FIXED = Delays(low_ns=1_000_000, high_ns=1_000_001, slow_per_1024=0)


def in_slot(word: str) -> str:
    is_key = len(word) == 2 and word[0] in "silchzxtgp" and word[1] in "12"
    return f"{{t}}{word}" if is_key else word


async def fill(shards: Shards, count: int, seed: int = 0) -> None:
    """Execute up to 4 x `count` random commands of every kind; most have no effect."""
    talk = await shards.to_primary()
    now_ms = shards.world.loop.now_ns // 1_000_000
    shapes = Shapes(random.Random(seed), lambda: now_ms)
    for _ in range(4 * count):
        command = [in_slot(word) for word in shapes.draw()]
        if command[0].upper() not in ("FLUSHALL", "FLUSHDB") and "BLOCK" not in command:
            await talk.ask(tuple(command))
    await talk.ask("INCR {t}count")


async def digests(shards: Shards) -> dict[str, Any]:
    await shards.settled()
    return {n: await (await shards.connect(n)).ask("DEBUG DIGEST") for n in shards.names}


async def snapshots(shards: Shards, least: int) -> list[str]:
    """Return the sorted names of the stored snapshots, once there are at least `least`."""
    objects = shards.objects
    assert isinstance(objects, MemoryStore)
    async with asyncio.timeout(60):
        while len(objects.objects) < least:
            await asyncio.sleep(0.05)
    return sorted(objects.objects)


def test_whatever_the_position_a_snapshot_and_the_rest_make_the_whole() -> None:
    """A snapshot restored at any position, plus a replay of the entries after it, equals a replay
    of the whole log."""

    async def scenario(shards: Shards) -> None:
        for round in range(4):
            talk = await shards.to_primary()
            for i in range(20):
                await talk.asks("INCR {t}n", f"APPEND {{t}}s {i}", f"RPUSH {{t}}l {i}")
            await fill(shards, 300, seed=round)
        log = await shards.log()
        final = await whole(log, None, len(log))
        assert len(log) > 300
        engine = PythonEngine(sharded=True)
        at, running = Id(0, 0), 0
        for i, batch in enumerate(log):
            for entry in entries.decode(batch.payload):
                if not isinstance(entry, entries.Control):
                    check(engine.apply(entry))
            running, at = checksum(batch, running), batch.id
            if i % 7 == 0 or i > len(log) - 10:
                made = snapshot.assemble(engine.rdb(), at, running, "n1", 1)
                found = snapshot.read(made.file)
                assert found == made
                loaded = PythonEngine(sharded=True)
                await snapshot.restore(loaded, found)
                assert loaded.digest() == engine.digest()
                assert await whole(log, found, len(log)) == final, at

    Shards(60, nodes=1, delays=FIXED).run(scenario)


async def whole(log: Any, start: Snapshot | None, count: int) -> tuple[bytes, int]:
    """Return (digest, running checksum) after a replay of the first `count` batches from
    `start`."""
    engine = PythonEngine(sharded=True)
    if start is not None:
        await snapshot.restore(engine, start)
    running = 0 if start is None else start.checksum
    for batch in log[:count]:
        if start is not None and batch.last <= start.id.n:
            continue
        for entry in entries.decode(batch.payload):
            if not isinstance(entry, entries.Control):
                check(engine.apply(entry))
        running = checksum(batch, running)
    return engine.digest(), running


def test_nodes_begin_with_the_newest_snapshot() -> None:
    """After the loss of all nodes each restores the newest snapshot and replays the entries after
    it."""

    async def scenario(shards: Shards) -> None:
        shards.start_snapshotter(every=200)
        for round in range(5):
            await fill(shards, 300, seed=round)
            await snapshots(shards, 1)
            before = await digests(shards)
            assert len(set(before.values())) == 1
            shards.restart_nodes()
            after = await digests(shards)
            assert set(after.values()) == set(before.values())
        restored = [line for line in shards.lines if "begins with snapshot-" in line]
        assert len(restored) >= 10
        names = await snapshots(shards, 1)
        assert 1 <= len(names) <= 3
        assert position_of(names[-1]) > 500

    Shards(61, options=SHORT, objects=MemoryStore()).run(scenario)


BREAKS = {
    "position": lambda d: flipped(d, d.index(b"memorydb-position") + 18),
    "log checksum": lambda d: flipped(d, d.index(b"memorydb-log-checksum") + 25),
    "data checksum": lambda d: flipped(d, d.index(b"memorydb-data-checksum") + 30),
    "a byte of the data": lambda d: flipped(d, len(d) - 200),
    "its end": lambda d: d[:-20],
    "all of it": lambda d: b"",
}


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@pytest.mark.parametrize("what", BREAKS)
def test_a_snapshot_that_was_corrupted_is_not_used(what: str) -> None:
    """An older one is restored instead, or the log is replayed from its beginning."""

    async def scenario(shards: Shards) -> None:
        objects = shards.objects
        assert isinstance(objects, MemoryStore)
        shards.start_snapshotter(every=150)
        for round in range(3):
            await fill(shards, 250, seed=round)
            await snapshots(shards, min(round + 1, 2))
        shards.kill("snapshotter")
        names = sorted(objects.objects)
        before = set((await digests(shards)).values())
        good = objects.objects[names[-1]]
        objects.objects[names[-1]] = BREAKS[what](good)
        assert objects.objects[names[-1]] != good
        shards.restart_nodes()
        assert set((await digests(shards)).values()) == before
        assert any(f"{names[-1]} can't be used" in line for line in shards.lines)
        assert any(f"begins with {names[-2]}" in line for line in shards.lines)
        for name in names:
            objects.objects[name] = BREAKS[what](objects.objects[name])
        shards.kill(*shards.names)
        shards.start_node("n1")
        assert await (await shards.to_primary()).ask("GET {t}count") == b"3"

    Shards(62, options=SHORT, objects=MemoryStore()).run(scenario)


@pytest.mark.parametrize("what", ["state", "checksum", "position", "at the end", "beyond the log"])
def test_a_snapshot_that_is_wrong_is_found_by_the_logs_checksum(what: str) -> None:
    """A well-formed snapshot whose position or log checksum is wrong is rejected, as no checksum in
    the log confirms it.

    Wrong data at a correct position is covered by the checksum of the data.
    """

    async def scenario(shards: Shards) -> None:
        objects = shards.objects
        assert isinstance(objects, MemoryStore)
        shards.start_snapshotter(every=100)
        await fill(shards, 300)
        (*_, name) = await snapshots(shards, 1)
        shards.kill("snapshotter")
        before = set((await digests(shards)).values())
        found = snapshot.read(objects.objects[name])
        at, running = found.id, found.checksum
        if what == "checksum":
            running ^= 1
        elif what == "beyond the log":
            at = Id(at.epoch, at.n + 10**6)
        elif what == "position":
            at = Id(at.epoch, at.n + 10)
        elif what == "state":
            data = bytearray(objects.objects[name])
            data[-20] ^= 1
            data[-8:] = crc64(bytes(data[:-8])).to_bytes(8, "little")
            with pytest.raises(Malformed):
                snapshot.read(bytes(data))
            return
        await fill(shards, 60, seed=9)
        before = set((await digests(shards)).values())
        shards.kill(*shards.names)
        if what == "at the end":  # where no later checksum can confirm it
            at = (await shards.log())[-1].id
        body = Loader(found.file).body
        moved = snapshot.assemble(body, at, running, found.leader, 1)
        objects.objects[name_of(at)] = moved.file
        if name_of(at) != name:
            del objects.objects[name]
        for node in shards.names:
            shards.start_node(node)
        assert set((await digests(shards)).values()) == before
        assert any(f"{name_of(at)} is wrong" in line for line in shards.lines)
        assert not shards.exits

    Shards(63, options=SHORT, objects=MemoryStore()).run(scenario)


def test_a_snapshot_is_rehearsed_before_it_is_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    """A snapshot that fails its verification against the log is not stored."""
    from targets.memorydb_py.snapshots import snapshotter

    whole = snapshotter.assemble

    async def scenario(shards: Shards) -> None:
        objects = shards.objects
        assert isinstance(objects, MemoryStore)
        await fill(shards, 200)
        monkeypatch.setattr(
            snapshotter,
            "assemble",
            lambda body, id, checksum, *rest: whole(body, id, checksum ^ 2, *rest),
        )
        shards.start_snapshotter(every=100)
        await asyncio.sleep(3)
        assert not objects.objects
        assert any("is not stored: the log's checksum is" in line for line in shards.lines)
        monkeypatch.setattr(snapshotter, "assemble", whole)
        await snapshots(shards, 1)

    Shards(64, options=SHORT, objects=MemoryStore()).run(scenario)


def test_an_older_node_stops_at_a_newer_entry() -> None:
    """In a rolling upgrade, a node or snapshotter of the older engine version stops at the first
    entry of the newer one; an older node does not campaign."""

    async def scenario(shards: Shards) -> None:
        objects = shards.objects
        assert isinstance(objects, MemoryStore)
        shards.start_snapshotter(every=50, version=ENGINE_VERSION)
        await fill(shards, 100)
        await snapshots(shards, 1)
        primary = await shards.primary()
        first, second = await shards.replicas()
        shards.kill(first)
        shards.start_node(first, **{"engine-version": str(NEWER)})
        await shards.settled()
        await fill(shards, 50, seed=1)  # an old primary, a new replica
        talk = await shards.connect(primary)
        await talk.ask(f"FAILOVER TO {first} 6379")
        while shards.serving() != [first]:
            await asyncio.sleep(0.01)
        new = await shards.connect(first)
        assert await new.ask("SET {t}by new") == b"OK"
        await asyncio.sleep(2)
        old = await shards.connect(second, "READONLY")
        assert str(await old.ask("GET {t}by")).startswith("LOADING")
        stopped = [line for line in shards.lines if "it stops here" in line]
        assert {line.split()[0] for line in stopped} == {primary, second}
        await fill(shards, 100, seed=2)
        # The old nodes don't campaign, even if the new one fails.
        shards.kill(first)
        await asyncio.sleep(3)
        assert shards.serving() == []
        newer = min(int(line.split("from ")[1].split(" ")[0].split(".")[1]) for line in stopped)
        assert max(map(position_of, objects.objects)) < newer, "the old snapshotter went on"
        shards.kill("snapshotter")
        for name in (first, second, primary):
            if shards.processes[name].state == "running":
                shards.kill(name)
            shards.start_node(name, **{"engine-version": str(NEWER)})
        assert await (await shards.to_primary()).ask("GET {t}by") == b"new"
        shards.start_snapshotter(every=1, version=NEWER)
        while not any(position_of(n) and b"memorydb-version\xc0%c" % NEWER in objects.objects[n]
                      for n in objects.objects):  # fmt: skip
            await asyncio.sleep(0.1)
        # A downgraded node neither reads the new snapshots nor leads.
        shards.kill(second)
        shards.start_node(second)
        await asyncio.sleep(2)
        back = await shards.connect(second, "READONLY")
        assert str(await back.ask("GET {t}by")).startswith("LOADING")

    Shards(65, options=SHORT, objects=MemoryStore()).run(scenario)


def test_a_node_that_was_demoted_trusts_its_snapshots_under_load() -> None:
    """A demoted node must not reject a snapshot as unconfirmed before it knows the log's tail."""

    async def scenario(shards: Shards) -> None:
        shards.start_snapshotter(every=30)
        going = True

        async def write() -> None:
            while going:
                talk = await shards.to_primary()
                await talk.ask("INCR {t}n")

        writing = asyncio.create_task(write())
        for _ in range(4):
            await asyncio.sleep(2)
            primary = await shards.primary()
            shards.nodes[primary].shard.demote()
            await asyncio.sleep(1)
        going = False
        await writing
        assert len(set((await digests(shards)).values())) == 1
        assert not [line for line in shards.lines if " is wrong: " in line]
        assert len([line for line in shards.lines if "begins with snapshot-" in line]) >= 3

    Shards(66, nodes=2, options=SHORT, objects=MemoryStore()).run(scenario)


def test_a_wrong_snapshot_does_not_stop_the_snapshotter() -> None:
    """It begins with an older snapshot or the whole log; WAIT and ROLE do not count it as a
    replica."""

    async def scenario(shards: Shards) -> None:
        objects = shards.objects
        assert isinstance(objects, MemoryStore)
        shards.start_snapshotter(every=60)
        await fill(shards, 150)
        (*_, name) = await snapshots(shards, 1)
        talk = await shards.to_primary()
        assert len((await talk.ask("ROLE"))[2]) == 1
        assert await talk.ask("WAIT 9 50") == 1
        shards.kill("snapshotter")
        found = snapshot.read(objects.objects[name])
        at = Id(found.id.epoch, found.id.n + 7)
        await fill(shards, 40, seed=1)
        objects.objects.clear()
        body = Loader(found.file).body
        objects.objects[name_of(at)] = snapshot.assemble(body, at, 1, None, 1).file
        shards.start_snapshotter(every=60)
        await fill(shards, 150, seed=2)
        await snapshots(shards, 2)

    Shards(67, nodes=2, options=SHORT, objects=MemoryStore()).run(scenario)


def test_a_foreign_object_does_not_stop_the_snapshotter() -> None:
    """An object named as a snapshot far beyond the log's tail."""

    async def scenario(shards: Shards) -> None:
        objects = shards.objects
        assert isinstance(objects, MemoryStore)
        objects.objects[name_of(Id(1, 10**9))] = b"nothing"
        shards.start_snapshotter(every=60)
        await fill(shards, 150)
        await snapshots(shards, 2)

    Shards(68, nodes=1, options=SHORT, objects=MemoryStore()).run(scenario)
