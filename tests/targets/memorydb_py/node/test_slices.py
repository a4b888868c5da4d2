"""One client takes neither the time of the others nor the lease."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from harness.simulation.delays import Delays
from targets.memorydb_py import entries
from targets.memorydb_py.node.expiry import (
    EXPIRED_BYTES,
    EXPIRED_ELEMENTS,
    EXPIRED_IN_AN_ENTRY,
)
from targets.memorydb_py.node.shard import LONG_LEASE_MS, WORK_MS
from tests.targets.memorydb_py.logs import AZS
from tests.targets.memorydb_py.node.test_leases import only_one_serves
from tests.targets.memorydb_py.shards import ROUNDS, SHORT, Shards

FIXED = Delays(low_ns=100_000, high_ns=100_001, slow_per_1024=0)
ANNOUNCED = ("EVAL", "for i = 1, 10 do end return 1", 0)


async def worst_ms(shards: Shards, during: asyncio.Future[Any]) -> float:
    """Return the longest that another client waits for a reply until something is done."""
    other = await shards.to_primary()
    worst = 0.0
    while not during.done():
        began = shards.now_ms()
        assert await other.ask("GET {t}other") is None
        worst = max(worst, shards.now_ms() - began)
        await asyncio.sleep(0.001)
    return worst


@pytest.mark.parametrize("command", ["SET {t}a 1", "GET {t}a", "LRANGE {t}a 0 -1"])
def test_a_long_pipeline_delays_nobody(command: str) -> None:
    async def scenario(shards: Shards) -> None:
        primary = await shards.primary()
        talk = await shards.connect(primary)
        count = 8000
        talk.send(*[command] * count)
        replies = asyncio.gather(*(talk.reply() for _ in range(count)))
        assert await worst_ms(shards, replies) < 40
        assert replies.result() == [[] if "LRANGE" in command else replies.result()[0]] * count
        assert len(shards.roles("primary from")) == 1

    Shards("pipeline", options=SHORT, delays=FIXED).run(scenario)


def test_many_clients_share_a_turn() -> None:
    """100 clients with long pipelines: no one of them has the whole turn."""

    async def scenario(shards: Shards) -> None:
        primary = await shards.primary()
        talks = [await shards.connect(primary) for _ in range(100)]
        for talk in talks:
            talk.send(*["GET {t}a"] * 100)
        replies = asyncio.gather(*(talk.reply() for talk in talks for _ in range(100)))
        assert await worst_ms(shards, replies) < 150

    Shards("clients", options=SHORT, delays=FIXED).run(scenario)


def test_keys_that_expire_together_go_in_few_entries() -> None:
    async def scenario(shards: Shards) -> None:
        talk = await shards.to_primary()
        count = 20 * EXPIRED_IN_AN_ENTRY
        await talk.asks(*[f"SET {{t}}{i} 1 PX 2000" for i in range(count)])
        await asyncio.sleep(4)
        assert await talk.ask("DBSIZE") == 0
        deletions = [e for e in await shards.effects() if e[0][0] == b"DEL"]
        assert sum(map(len, deletions)) == count
        assert len(deletions) < 40

    Shards("expiry").run(scenario)


def test_an_entry_of_expired_keys_is_bounded() -> None:
    """In bytes, as an entry can't be split, and in elements, as it takes time to free them."""

    async def scenario(shards: Shards) -> None:
        talk = await shards.to_primary()
        seconds, _ = await talk.ask("TIME")
        end = int(seconds) * 1000 + 5000
        for i in range(20):
            await talk.ask(("SET", f"{{t}}{i}" + "x" * 200_000, 1, "PXAT", end))
        for i in range(4):
            await talk.ask(("SADD", f"{{t}}s{i}", *range(4000)))
            await talk.ask(("PEXPIREAT", f"{{t}}s{i}", end))
        await asyncio.sleep(8)
        assert await talk.ask("DBSIZE") == 0
        deletions = [e for e in await shards.effects() if e[0][0] == b"DEL"]
        names = [key for entry in deletions for _, *keys in entry for key in keys]
        assert len(names) == len(set(names)) == 24
        for entry in deletions:
            keys = [key for _, *keys in entry for key in keys]
            assert sum(map(len, keys)) < 2 * EXPIRED_BYTES
            assert sum(4000 for key in keys if key.startswith(b"{t}s")) < 2 * EXPIRED_ELEMENTS
        assert len(deletions) > 4

    Shards("bounded", options=SHORT).run(scenario)


def test_the_lease_outlasts_the_expiry_of_a_big_key() -> None:
    async def scenario(shards: Shards) -> None:
        talk = await shards.to_primary()
        for i in range(0, 20_000, 500):
            await talk.ask(("SADD", "{t}big", *range(i, i + 500)))
        shard = shards.nodes[await shards.primary()].shard
        await talk.ask("PEXPIRE {t}big 200")
        assert shard._long_until == 0
        await asyncio.sleep(1)
        assert await talk.ask("DBSIZE") == 0
        assert shard._long_until > 0

    Shards("big", options=SHORT, delays=FIXED).run(scenario)


@pytest.mark.parametrize("work_ms", [1000, WORK_MS])
def test_the_lease_outlasts_an_atomic_command(work_ms: int) -> None:
    """Meanwhile the process does nothing else, as if it were stopped."""

    async def scenario(shards: Shards) -> None:
        primary = await shards.primary()
        process, host = shards.processes[primary], shards.nodes[primary].host
        talk, other = await shards.connect(primary), await shards.connect(primary)
        assert await talk.ask(ANNOUNCED) == 1
        began = shards.now_ms()
        talk.send(ANNOUNCED)
        while shards.nodes[primary].shard._lease_until < host.lease_ns() + WORK_MS * 10**6:
            await asyncio.sleep(0.0001)
        shards.world.pause(process)
        other.send("SET {t}a 1")
        await asyncio.sleep(work_ms / 1000)
        shards.world.resume(process)
        assert await talk.reply() == 1
        assert await other.reply() == b"OK"
        assert shards.now_ms() - began < work_ms + 200
        assert len(shards.roles("primary from")) == 1

    Shards("work", options=SHORT, delays=FIXED).run(scenario)


@pytest.mark.parametrize("one_way_ms", [20, 170, 210])
def test_a_slow_log_delays_an_atomic_command_and_no_more(one_way_ms: int) -> None:
    """The long lease that the command waits for is not shortened before it is acknowledged."""

    async def scenario(shards: Shards) -> None:
        primary = await shards.primary()
        talk, other = await shards.connect(primary), await shards.connect(primary)
        for az in AZS:
            shards.slow(az, primary, one_way_ms / 1000)
            shards.slow(primary, az, one_way_ms / 1000)
        await asyncio.sleep(3)
        began = shards.now_ms()
        talk.send(ANNOUNCED)
        assert await talk.reply(5) == 1
        assert shards.now_ms() - began < 2 * one_way_ms + 30
        assert await other.ask("SET {t}a 1", 5) == b"OK", "the lease is kept"
        assert len(shards.roles("primary from")) == 1

    Shards(f"slow/{one_way_ms}", options={}, delays=FIXED).run(scenario)


def test_a_primary_that_hangs_in_its_work_is_replaced_when_the_long_lease_ends() -> None:
    async def scenario(shards: Shards) -> None:
        primary = await shards.primary()
        talk = await shards.connect(primary)
        assert await talk.ask(ANNOUNCED) == 1
        assert await talk.ask("SET {t}a 1") == b"OK"
        shards.world.pause(shards.processes[primary])
        began = shards.now_ms()
        successor = await shards.primary(within=20)
        assert successor != primary
        assert LONG_LEASE_MS < shards.now_ms() - began < 1.6 * LONG_LEASE_MS
        assert await (await shards.connect(successor)).ask("GET {t}a") == b"1"

    Shards("hang", options=SHORT, delays=FIXED).run(scenario)


def test_soon_after_its_work_a_primary_is_replaced_as_fast_as_ever() -> None:
    async def scenario(shards: Shards) -> None:
        primary = await shards.primary()
        assert await (await shards.connect(primary)).ask(ANNOUNCED) == 1
        await asyncio.sleep(1)
        shards.kill(primary)
        began = shards.now_ms()
        await shards.primary()
        assert shards.now_ms() - began < 1000

    Shards("after", options=SHORT, delays=FIXED).run(scenario)


def test_a_script_that_can_not_take_long_waits_for_no_lease() -> None:
    release = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end"

    async def scenario(shards: Shards) -> None:
        talk = await shards.to_primary()
        assert await talk.ask("SET {t}lock me") == b"OK"
        assert await talk.ask(("EVAL", release, 1, "{t}lock", "me")) == 1
        shard = shards.nodes[await shards.primary()].shard
        assert shard._long_until == 0
        await talk.asks(*[("SADD", "{t}big", *range(i, i + 500)) for i in range(0, 20_000, 500)])
        await talk.ask("SPOP {t}big")
        assert shard._long_until == 0
        await talk.ask("SPOP {t}big 15000")
        assert shard._long_until > 0, "a command on many elements may"

    Shards("brief").run(scenario)


def test_nodes_of_the_version_before_long_leases_promise_none() -> None:
    """Replicas of version 1 do not read for how long a lease is renewed."""

    async def scenario(shards: Shards) -> None:
        talk = await shards.to_primary()
        assert await talk.ask(ANNOUNCED) == 1
        assert await talk.ask("SET {t}a 1") == b"OK"
        await asyncio.sleep(1)
        found = [e for b in await shards.log() for e in entries.decode(b.payload)]
        renewals = [e for e in found if isinstance(e, entries.Renew)]
        assert renewals
        assert {e.lease_ms for e in renewals} == {300}

    Shards("old", options={**SHORT, "engine-version": "1"}).run(scenario)


def test_the_first_lease_is_as_long_as_its_own_node_says() -> None:
    """Other nodes have shorter leases, and the new primary is cut off before its first renewal."""

    async def scenario(shards: Shards) -> None:
        shards.kill(*shards.names)
        shards.start_node("n1", **{"lease-ms": "3000", "backoff-ms": "4600"})
        while "n1" not in shards.serving():
            await asyncio.sleep(0.001)
        shards.start_node("n2")
        shards.start_node("n3")
        watch = asyncio.create_task(only_one_serves(shards))
        await asyncio.sleep(0.3)
        shards.cut_from_log("n1")
        began = shards.now_ms()
        while "n1" in shards.serving() or not shards.serving():
            assert shards.now_ms() < began + 20_000
            await asyncio.sleep(0.01)
        assert not watch.done()

    Shards("options", options=SHORT, delays=FIXED).run(scenario)


@pytest.mark.parametrize("ppm", [0, 190_000])
def test_a_shorter_promise_binds_before_it_is_sent(ppm: int) -> None:
    """A replica that has observed a short renewal waits no longer than for that one, even if the
    primary has not learned of its commit."""

    async def scenario(shards: Shards) -> None:
        watch = asyncio.create_task(only_one_serves(shards))
        for name in shards.names:
            machine = shards.world.machines[f"m{name[1:]}"]
            shards.world.drift(machine, -ppm if name == await shards.primary() else ppm)
        for i in range(ROUNDS):
            primary = await shards.primary()
            talk = await shards.connect(primary)
            assert await talk.ask(ANNOUNCED) == 1
            await asyncio.sleep(0.1)
            shards.hold(primary)  # it sends, and does not learn what is committed
            await asyncio.sleep((0.1, 0.3, 0.6)[i % 3])
            shards.cut_from_log(primary)
            await asyncio.sleep(12)
            shards.release()
            await shards.settled()
            talk.close()
        assert len(shards.roles("primary from")) > ROUNDS // 2
        if watch.done():
            watch.result()

    Shards(f"shorter/{ppm}", delays=FIXED, options={}).run(scenario)
