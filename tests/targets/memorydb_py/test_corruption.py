"""Any changed byte of a segment, and of a snapshot, is detected, logged and recovered from.

`python -m pytest -m soak tests/targets/memorydb_py/test_corruption.py` changes every byte instead
of a sample.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

import pytest

from targets.memorydb_py.log import inspect
from targets.memorydb_py.snapshots.objects import MemoryStore
from tests.targets.memorydb_py.log.test_interface import lead
from tests.targets.memorydb_py.log.test_protocol import appended
from tests.targets.memorydb_py.logs import AZS, Logs
from tests.targets.memorydb_py.shards import SHORT, Shards
from tests.targets.memorydb_py.snapshots.test_snapshots import digests, fill, snapshots
from tests.targets.memorydb_py.snapshots.test_trimming import copy_of

ENTRIES = 12


def corrupt_a_store(seed: int, bits: int, which: Sequence[int]) -> tuple[int, int]:
    """Change bytes of an AZ's store, one at a time, each after the AZ has recovered from the last.
    Every change must be detected, logged and recovered from. Return (the size of the store, the
    number of changes)."""
    size = seen = 0

    async def scenario(logs: Logs) -> None:
        nonlocal size, seen
        last = await lead(logs.clients["u1"])
        for i in range(ENTRIES):
            last = await appended(logs, last, b"entry %d" % i)
        az = AZS[seed % 3]
        disk = logs.world.disk(az)
        size = sum(disk.size(name) for name in disk.names())
        for position in which:
            logs.world.kill(logs.azs[az])
            names, at = [n for n in disk.names() if not n.startswith("damaged-")], position
            while at >= disk.size(names[0]):
                at -= disk.size(names.pop(0))
            logged = len(logs.lines)
            disk.flip(names[0], at, bits)
            logs.start(az)
            await asyncio.sleep(0.5)
            reports = [line for line in logs.lines[logged:] if line.startswith(az)]
            assert any("damaged" in line or "a torn write" in line for line in reports), (
                names[0], at, reports,
            )  # fmt: skip
            # It is readmitted as a member and has copied the log.
            async with asyncio.timeout(5):
                while not await inspect.is_member(az, (f"{az}@operator", 6379)):
                    await asyncio.sleep(0.05)
            _, copy = await copy_of(az)
            assert [b.payload for b in copy[1:]] == [b"entry %d" % i for i in range(ENTRIES)]
            seen += 1
        assert not logs.exits

    Logs(seed).run(scenario)
    return size, seen


def test_a_changed_byte_of_a_store() -> None:
    size, _ = corrupt_a_store(0, 1, [])
    rng = random.Random(0)
    for seed in range(3):
        which = rng.sample(range(size - 100), 25)
        assert corrupt_a_store(seed, 1 << rng.randrange(8), which)[1] == 25


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("bits", [1, 0x80, 0xFF])
def test_every_changed_byte_of_a_store(bits: int) -> None:
    size, _ = corrupt_a_store(0, bits, [])
    most = size - 100  # the size differs a little between seeds
    starts = range(0, most, 50)
    seen = [corrupt_a_store(s // 50, bits, range(s, min(s + 50, most)))[1] for s in starts]
    assert sum(seen) == most > 700


def corrupt_a_snapshot(which: Sequence[int] | None, bits: int) -> int:
    """For each position in `which`, or every one if None: change that byte of the newest snapshot
    and restart a node, which must log it and restore the older snapshot. Return the number of
    changes."""
    seen = 0

    async def scenario(shards: Shards) -> None:
        nonlocal seen
        objects = shards.objects
        assert isinstance(objects, MemoryStore)
        shards.start_snapshotter(every=150)
        for round in range(2):
            await fill(shards, 250, seed=round)
            talk = await shards.to_primary()
            for i in range(12):  # some of every type, which are not deleted later
                await talk.asks(
                    f"SET {{t}}key{i} value{i}", f"RPUSH {{t}}list element{i}",
                    f"SADD {{t}}set member{i}", f"HSET {{t}}hash field{i} {i}",
                    f"ZADD {{t}}zset {i} member{i}", f"XADD {{t}}stream * field {i}",
                )  # fmt: skip
            await snapshots(shards, round + 1)
        shards.kill("snapshotter")
        *_, older, newest = await snapshots(shards, 2)
        good = objects.objects[newest]
        before = set((await digests(shards)).values())
        for position in which if which is not None else range(len(good)):
            changed = bytearray(good)
            changed[position % len(good)] ^= bits
            objects.objects[newest] = bytes(changed)
            logged = len(shards.lines)
            shards.restart_nodes("n2")
            assert set((await digests(shards)).values()) == before
            reports = [line for line in shards.lines[logged:] if line.startswith("n2")]
            assert any(f"{newest} can't be used" in line for line in reports), (position, reports)
            assert any(f"begins with {older}" in line for line in reports)
            seen += 1

    Shards(80, nodes=2, options=SHORT, objects=MemoryStore()).run(scenario)
    return seen


def test_a_changed_byte_of_a_snapshot() -> None:
    rng = random.Random(1)
    which = [*range(0, 250, 9), *(rng.randrange(10**6) for _ in range(40))]
    assert corrupt_a_snapshot(which, 1) == len(which)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_every_changed_byte_of_a_snapshot() -> None:
    assert corrupt_a_snapshot(None, 0x10) > 700
