"""Each byte of a segment, and each field of a snapshot, changed: found, said, survived.

`python -m pytest -m soak tests/memorydb/test_corruption.py`: every byte instead of a sample.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

import pytest
from logs import AZS, Logs
from shards import SHORT, Shards
from test_log_interface import lead
from test_log_protocol import appended
from test_snapshots import digests, fill, snapshots
from test_trimming import copy_of

from targets.memorydb_py.log import inspect
from targets.memorydb_py.snapshots import snapshot
from targets.memorydb_py.snapshots.objects import Shared

ENTRIES = 12


def corrupt_a_store(seed: int, bits: int, which: Sequence[int] | None) -> int:
    """Change bytes of a copy of the log, one after the other, each in a copy that is whole; returns
    how many there are."""
    size = 0

    async def story(logs: Logs) -> None:
        nonlocal size
        last = await lead(logs.clients["u1"])
        for i in range(ENTRIES):
            last = await appended(logs, last, b"entry %d" % i)
        az = AZS[seed % 3]
        disk = logs.world.disk(az)
        size = sum(disk.size(name) for name in disk.names())
        at = 0
        for position in which if which is not None else range(size):
            logs.world.kill(logs.azs[az])
            names, at = [n for n in disk.names() if not n.startswith("damaged-")], position
            while at >= disk.size(names[0]):
                at -= disk.size(names.pop(0))
            told = len(logs.lines)
            disk.flip(names[0], at, bits)
            logs.start(az)
            await asyncio.sleep(0.5)
            said = [line for line in logs.lines[told:] if line.startswith(az)]
            assert any("damaged" in line or "a torn write" in line for line in said), (
                names[0], at, said,
            )  # fmt: skip
            # Its copy comes from the others, and it counts again.
            async with asyncio.timeout(5):
                while not await inspect.is_member((f"{az}@operator", 6379)):
                    await asyncio.sleep(0.05)
            _, copy = await copy_of(az)
            assert [b.payload for b in copy[1:]] == [b"entry %d" % i for i in range(ENTRIES)]
        assert not logs.exits

    Logs(seed).run(story)
    return size


def test_a_byte_of_a_segment_or_of_the_term() -> None:
    size = corrupt_a_store(0, 1, [])
    rng = random.Random(0)
    for seed in range(3):
        corrupt_a_store(seed, 1 << rng.randrange(8), rng.sample(range(size - 100), 25))


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("bits", [1, 0x80, 0xFF])
def test_every_byte_of_a_segment_and_of_the_term(bits: int) -> None:
    size = corrupt_a_store(0, bits, [])
    for first in range(0, size - 100, 50):
        corrupt_a_store(first // 50, bits, range(first, min(first + 50, size - 100)))


def corrupt_a_snapshot(which: Sequence[int] | None, bits: int) -> None:
    """A node starts beside a store whose newest snapshot has one byte changed."""

    async def story(shards: Shards) -> None:
        objects = shards.objects
        assert isinstance(objects, Shared)
        shards.start_snapshotter(every=40)
        for round in range(2):
            await fill(shards, 60, seed=round)
            await snapshots(shards, round + 1)
        shards.kill("snapshotter")
        *_, older, newest = await snapshots(shards, 2)
        good = objects.objects[newest]
        whole = await snapshot.read(good)
        before = set((await digests(shards)).values())
        for position in which if which is not None else range(len(good)):
            changed = bytearray(good)
            changed[position % len(good)] ^= bits
            objects.objects[newest] = bytes(changed)
            shards.kill("n2")
            told = len(shards.lines)
            shards.start_node("n2")
            assert set((await digests(shards)).values()) == before
            said = [line for line in shards.lines[told:] if line.startswith("n2")]
            assert any(f"{newest} can't be used" in line for line in said), (position, said)
            assert any(f"begins with {older}" in line for line in said)
        assert (whole.id, whole.checksum) == (
            (found := await snapshot.read(good)).id, found.checksum,
        )  # fmt: skip

    Shards(80, nodes=2, options=SHORT, objects=Shared()).run(story)


def test_a_byte_of_a_snapshot() -> None:
    rng = random.Random(1)
    corrupt_a_snapshot([*range(0, 250, 9), *(rng.randrange(10**6) for _ in range(40))], 1)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_every_byte_of_a_snapshot() -> None:
    corrupt_a_snapshot(None, 0x10)
