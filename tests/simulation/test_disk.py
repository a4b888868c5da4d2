"""Power cuts: synced data survives, and every permitted outcome of unsynced data occurs."""

from __future__ import annotations

import asyncio
import errno
import random
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.simulation.disk import SimulatedDisk
from tests.simulation.worlds import world

CUTS = 1000  # of each pattern
Files = dict[str, bytes]


def contents(disk: SimulatedDisk) -> Files:
    return {name: disk.read(name) for name in disk.names()}


def outcomes(pattern: Callable[[SimulatedDisk], Awaitable[None]], cuts: int = CUTS) -> Counter:
    """Count the contents that a power cut leaves after a pattern, over `cuts` seeds."""
    w = world()
    seen: Counter = Counter()

    async def main() -> None:
        for seed in range(cuts):
            disk = SimulatedDisk(w.loop, "a", random.Random(seed), lambda what: None)
            await pattern(disk)
            disk.power_cut()
            seen[tuple(sorted(contents(disk).items()))] += 1

    w.run(main())
    return seen


async def durable(disk: SimulatedDisk, name: str, data: bytes) -> None:
    disk.append(name, data)
    await disk.fsync(name)
    await disk.fsync_dir()


async def nothing_synced(disk: SimulatedDisk) -> None:
    disk.append("f", b"ab")


def test_unsynced_data_may_be_kept_torn_zeroed_or_lost() -> None:
    seen = outcomes(nothing_synced)
    assert set(seen) == {
        (),
        (("f", b""),),
        (("f", b"a"),),
        (("f", b"ab"),),
        (("f", b"a\0"),),
        (("f", b"\0\0"),),
    }


async def synced_without_its_name(disk: SimulatedDisk) -> None:
    disk.append("f", b"ab")
    await disk.fsync("f")


def test_a_synced_file_may_lose_its_name_until_the_folder_is_synced() -> None:
    assert set(outcomes(synced_without_its_name)) == {(), (("f", b"ab"),)}


async def all_synced(disk: SimulatedDisk) -> None:
    await durable(disk, "f", b"ab")


def test_a_file_synced_with_its_name_survives() -> None:
    assert set(outcomes(all_synced)) == {(("f", b"ab"),)}


async def appended_after(disk: SimulatedDisk) -> None:
    await durable(disk, "f", b"ab")
    disk.append("f", b"cd")
    disk.append("f", b"ef")


def test_later_appends_survive_in_order_the_last_one_torn() -> None:
    seen = {dict(files)["f"] for files in outcomes(appended_after)}
    assert seen == {
        b"ab", b"abc", b"abc\0", b"ab\0\0", b"abcd",
        b"abcde", b"abcde\0", b"abcd\0\0", b"abcdef",
    }  # fmt: skip


async def cut_during_the_fsync(disk: SimulatedDisk) -> None:
    await durable(disk, "f", b"ab")
    disk.append("f", b"c")
    pending = asyncio.ensure_future(disk.fsync("f"))
    await asyncio.sleep(0)
    disk.append("f", b"d")
    pending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await pending


def test_an_fsync_that_has_not_ended_promises_nothing() -> None:
    seen = {dict(files)["f"] for files in outcomes(cut_during_the_fsync)}
    assert seen == {b"ab", b"ab\0", b"abc", b"abc\0", b"abcd"}


async def written_during_the_fsync(disk: SimulatedDisk) -> None:
    await durable(disk, "f", b"ab")
    disk.append("f", b"c")
    pending = asyncio.ensure_future(disk.fsync("f"))
    await asyncio.sleep(0)
    disk.append("f", b"d")
    await pending


def test_an_fsync_covers_what_was_written_before_it_began() -> None:
    seen = {dict(files)["f"] for files in outcomes(written_during_the_fsync)}
    assert seen == {b"abc", b"abc\0", b"abcd"}


async def replaced(disk: SimulatedDisk) -> None:
    await durable(disk, "f", b"old")
    disk.append("tmp", b"new")
    await disk.fsync("tmp")
    disk.rename("tmp", "f")


def test_a_rename_is_atomic() -> None:
    seen = outcomes(replaced)
    assert set(seen) == {
        (("f", b"old"),),
        (("f", b"old"), ("tmp", b"new")),
        (("f", b"new"),),
    }


async def replaced_for_good(disk: SimulatedDisk) -> None:
    await replaced(disk)
    await disk.fsync_dir()


def test_a_rename_survives_the_fsync_of_the_folder() -> None:
    assert set(outcomes(replaced_for_good)) == {(("f", b"new"),)}


async def replaced_carelessly(disk: SimulatedDisk) -> None:
    await durable(disk, "f", b"old")
    disk.append("tmp", b"n")
    disk.rename("tmp", "f")
    await disk.fsync_dir()


def test_a_rename_of_unsynced_contents_may_lose_the_old_and_the_new() -> None:
    seen = {dict(files)["f"] for files in outcomes(replaced_carelessly)}
    assert seen == {b"", b"\0", b"n"}


async def truncated(disk: SimulatedDisk) -> None:
    await durable(disk, "f", b"abcd")
    disk.truncate("f", 2)
    disk.append("f", b"x")


def test_a_truncation_comes_before_what_is_appended_after_it() -> None:
    seen = {dict(files)["f"] for files in outcomes(truncated)}
    assert seen == {b"abcd", b"ab", b"ab\0", b"abx"}


async def removed(disk: SimulatedDisk) -> None:
    await durable(disk, "f", b"ab")
    await durable(disk, "g", b"cd")
    disk.remove("f")
    disk.remove("g")


def test_a_removal_may_be_undone_until_the_folder_is_synced() -> None:
    assert set(outcomes(removed)) == {
        (("f", b"ab"), ("g", b"cd")),
        (("g", b"cd"),),
        (),
    }


async def failed(disk: SimulatedDisk) -> None:
    await durable(disk, "f", b"ab")
    disk.append("f", b"cd")
    disk.failing_fsyncs = 1
    with pytest.raises(OSError, match="Input/output error") as e:
        await disk.fsync("f")
    assert e.value.errno == errno.EIO
    assert disk.read("f") == b"abcd", "the page cache still has it"
    disk.append("f", b"ef")
    await disk.fsync("f")


def test_an_fsync_after_a_failed_one_saves_only_later_writes() -> None:
    assert set(outcomes(failed)) == {(("f", b"ab\0\0ef"),)}


async def two_at_once(disk: SimulatedDisk) -> None:
    await durable(disk, "f", b"a")
    disk.append("f", b"b")
    first = asyncio.ensure_future(disk.fsync("f"))
    await asyncio.sleep(0)
    disk.append("f", b"c")
    second = asyncio.ensure_future(disk.fsync("f"))
    await asyncio.gather(first, second)
    disk.append("f", b"d")


def test_overlapping_fsyncs_save_all_that_each_covers() -> None:
    seen = {dict(files)["f"] for files in outcomes(two_at_once)}
    assert seen == {b"abc", b"abc\0", b"abcd"}


OPERATIONS = st.one_of(
    st.tuples(st.just("append"), st.sampled_from("fg"), st.binary(min_size=1, max_size=4)),
    st.tuples(st.just("truncate"), st.sampled_from("fg")),
    st.tuples(st.just("remove"), st.sampled_from("fg")),
    st.tuples(st.just("rename"), st.sampled_from(["fg", "gf"])),
    st.tuples(st.just("sync")),
)


@given(st.lists(OPERATIONS, max_size=12), st.integers(0, 10**6))
@settings(max_examples=150, deadline=None)
def test_a_power_cut_keeps_everything_that_was_synced(steps, seed: int) -> None:
    """Without a power cut, a disk behaves like a dictionary of bytes."""
    w = world()
    disk = SimulatedDisk(w.loop, "a", random.Random(seed), lambda what: None)
    model: Files = {}
    synced: Files | None = None

    async def main() -> None:
        nonlocal synced
        for step, *given_ in steps:
            name = given_[0] if given_ else ""
            synced = None
            if step == "append":
                disk.append(name, given_[1])
                model[name] = model.get(name, b"") + given_[1]
            elif step == "sync":
                for each in disk.names():
                    await disk.fsync(each)
                await disk.fsync_dir()
                synced = dict(model)
            elif name[0] not in model:
                with pytest.raises(FileNotFoundError):
                    disk.read(name[0])
            elif step == "truncate":
                disk.truncate(name, len(model[name]) // 2)
                model[name] = model[name][: len(model[name]) // 2]
            elif step == "remove":
                disk.remove(name)
                del model[name]
            elif step == "rename":
                disk.rename(name[0], name[1])
                model[name[1]] = model.pop(name[0])
            assert contents(disk) == model
        if synced is not None:
            disk.power_cut()
            assert contents(disk) == synced

    w.run(main())


def test_a_full_disk_writes_what_fits_and_raises_an_error() -> None:
    w = world()
    disk = SimulatedDisk(w.loop, "a", random.Random(1), lambda what: None)
    disk.capacity = 5
    disk.append("f", b"abc")
    with pytest.raises(OSError, match="No space") as e:
        disk.append("g", b"defg")
    assert e.value.errno == errno.ENOSPC
    assert contents(disk) == {"f": b"abc", "g": b"de"}
    disk.remove("f")
    disk.append("g", b"fgh")


def test_the_duration_of_an_fsync_can_be_set() -> None:
    w = world()
    disk = SimulatedDisk(w.loop, "a", random.Random(1), lambda what: None)
    disk.fsync_ns = (2 * 10**9, 2 * 10**9)

    async def main() -> None:
        disk.append("f", b"x")
        await disk.fsync("f")
        assert w.loop.now_ns == 1002 * 10**9

    w.run(main())


def test_bit_rot_flips_one_bit_permanently() -> None:
    w = world()
    disk = SimulatedDisk(w.loop, "a", random.Random(1), lambda what: None)

    async def main() -> None:
        assert disk.flip_bit() is None
        await durable(disk, "f", bytes(100))
        assert disk.flip_bit() == "f"
        disk.power_cut()
        assert sum(byte.bit_count() for byte in disk.read("f")) == 1

    w.run(main())


async def one_of_two_fails(disk: SimulatedDisk) -> None:
    await durable(disk, "f", b"a")
    disk.fsync_ns = (5_000_000, 5_000_000)
    disk.append("f", b"b")
    slow = asyncio.ensure_future(disk.fsync("f"))
    await asyncio.sleep(0.001)
    disk.fsync_ns = (1_000_000, 1_000_000)
    disk.failing_fsyncs = 1
    results = await asyncio.gather(slow, disk.fsync("f"), return_exceptions=True)
    assert [type(r) for r in results] == [OSError, OSError], (
        "the data that both should save is lost"
    )


def test_an_fsync_beside_one_that_fails_does_not_claim_to_have_saved_it() -> None:
    assert set(outcomes(one_of_two_fails, 100)) == {
        (("f", b"a"),),
        (("f", b"a\0"),),
    }


async def named_during_the_fsync(disk: SimulatedDisk) -> None:
    disk.append("f", b"")
    await disk.fsync("f")
    pending = asyncio.ensure_future(disk.fsync_dir())
    await asyncio.sleep(0)
    disk.append("g", b"")
    await pending


def test_an_fsync_of_the_folder_covers_the_names_that_were_there_when_it_began() -> None:
    assert {tuple(n for n, _ in files) for files in outcomes(named_during_the_fsync, 100)} == {
        ("f",),
        ("f", "g"),
    }


async def folder_failed(disk: SimulatedDisk) -> None:
    disk.append("f", b"")
    disk.failing_fsyncs = 1
    with pytest.raises(OSError, match="Input/output"):
        await disk.fsync_dir()


def test_an_fsync_of_the_folder_that_failed_promises_nothing() -> None:
    assert set(outcomes(folder_failed, 100)) == {(), (("f", b""),)}


def test_durations_and_losses_of_disks_depend_on_the_seed() -> None:
    def outcome(seed: int) -> tuple[int, bytes]:
        w = world("a", seed=seed)
        disk = w.disk("a")

        async def main() -> None:
            await durable(disk, "f", b"")
            disk.append("f", bytes(range(1, 200)))
            disk.power_cut()

        w.run(main())
        return w.loop.now_ns, disk.read("f")

    assert outcome(1) == outcome(1)
    drawn = [outcome(seed) for seed in range(20)]
    assert len({took for took, _ in drawn}) > 10
    assert len({left for _, left in drawn}) > 5
