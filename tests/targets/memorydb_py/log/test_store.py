"""The store of an AZ: its state in memory equals the one on disk, whichever operations overlap."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from targets.memorydb_py.log import store as stores
from targets.memorydb_py.log.messages import ENTRIES, Base, Record
from targets.memorydb_py.log.store import Store
from tests.targets.memorydb_py.logs import AZS, Logs


def record(index: int, term: int) -> Record:
    return Record(index, term, ENTRIES, 1, index, index, b"%d of term %d" % (index, term))


def with_a_store(
    seed: int, scenario: Callable[[Logs, Store], Awaitable[None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Run a scenario in a process that has only a store, with many small segments."""
    monkeypatch.setattr(stores, "SEGMENT_BYTES", 100)

    async def whole(logs: Logs) -> None:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def main(host: Any) -> None:
            store = Store(host, AZS, lambda: None)
            await store.open(create=True)
            syncing = asyncio.ensure_future(store.keep_synced())
            try:
                await scenario(logs, store)
                assert not syncing.done() or syncing.result()
                done.set_result(None)
            except BaseException as e:
                done.set_exception(e)
            syncing.cancel()
            await asyncio.Event().wait()

        logs.world.start("az1", logs.world.machines["m1"], main)
        async with asyncio.timeout(60):
            await done
        assert not logs.exits

    Logs(seed).run(whole, begin=False)


async def grown(store: Store, last: int, term: int = 1) -> None:
    """Append records up to an index, each durable before the next."""
    while store.last < last:
        store.append([record(store.last + 1, term)])
        while store.durable < store.last:
            await asyncio.sleep(0.001)


async def check(store: Store, terms: dict[int, int]) -> None:
    """Check that the store has exactly these records {index: term}: in memory, on disk, and when
    opened again."""
    while store.durable < store.last:
        await asyncio.sleep(0.001)
    assert store.last == max(terms)
    again = Store(store._host, AZS, lambda: None)
    await again.open(create=False)
    assert (again.base, again.last, again.members) == (store.base, store.last, store.members)
    store._cache.clear()
    store._cached = 0
    for each in (store, again):
        for index in range(each.base.index + 1, each.last + 1):
            found = each.record(index)
            assert (found.index, found.term) == (index, terms[index])
            assert each.term_at(index) == terms[index]


@pytest.mark.parametrize("seed", range(20))
def test_a_tail_is_cut_off_while_the_log_is_trimmed(
    monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    async def scenario(logs: Logs, store: Store) -> None:
        rng = random.Random(seed)
        await grown(store, 21)
        n, last = rng.randint(2, 12), rng.randint(13, 20)

        async def after(wait_s: float, work: Awaitable[None]) -> None:
            await asyncio.sleep(wait_s)
            await work

        await asyncio.gather(
            after(rng.random() * 0.003, store.truncate(last)),
            after(rng.random() * 0.003, store.trim(n, last)),
            after(rng.random() * 0.003, store.trim(n - 1, last)),
        )
        assert 0 < store.base.index <= n
        await grown(store, 24, term=2)
        await check(store, {i: 1 if i <= last else 2 for i in range(1, 25)})

    with_a_store(seed, scenario, monkeypatch)


def test_a_base_that_is_installed_right_after_an_append(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(logs: Logs, store: Store) -> None:
        await grown(store, 5)
        store.append([record(6, 1)])
        await store.install(Base(30, 2, 1, 30, 1, dict.fromkeys(AZS, 0)))
        assert (store.last, store.durable, store.term_at(30)) == (30, 30, 2)
        await asyncio.sleep(0.01)
        await grown(store, 33, term=3)
        await check(store, {30: 2, 31: 3, 32: 3, 33: 3})

    with_a_store(0, scenario, monkeypatch)


@pytest.mark.parametrize("which", range(5))
def test_a_segment_that_is_gone_is_damage(monkeypatch: pytest.MonkeyPatch, which: int) -> None:
    """A missing segment is damage, also the last but one if the last has a single record: that must
    not be taken for a torn write."""

    async def scenario(logs: Logs, store: Store) -> None:
        await grown(store, 11)
        segments = [n for n in store._disk.names() if n.startswith("segment-")]
        assert len(segments) >= 6
        missing = [0, 1, len(segments) // 2, -3, -2][which]
        store._disk.remove(segments[missing])
        again = Store(store._host, AZS, lambda: None)
        await again.open(create=False)
        assert again.meta.incarnation != 0, "it counts as wiped"
        assert any("missing" in line and "set aside" in line for line in logs.lines)

    with_a_store(0, scenario, monkeypatch)
