"""Leases and elections: at most one node serves, a demoted primary discards uncommitted writes, and
the shard recovers."""

from __future__ import annotations

import asyncio
import itertools
import random
from typing import Any

import hiredis
import msgspec
import pytest

from harness.simulation.delays import Delays
from targets.memorydb_py import entries
from targets.memorydb_py.log.interface import Batch
from targets.memorydb_py.node.node import Node
from targets.memorydb_py.node.settings import Settings
from targets.memorydb_py.node.shard import Shard
from tests.targets.memorydb_py.shards import AZS, CLOSED, LONG, QUIET, ROUNDS, SHORT, Shards

LEASE_MS, BACKOFF_MS = 300, 500
ELECTION_MS = 250  # jitter, the watch's period, reading the tail, an append
FIXED = Delays(low_ns=1_000_000, high_ns=1_000_001, slow_per_1024=0)


def is_error(reply: Any, code: str) -> bool:
    return isinstance(reply, hiredis.ReplyError) and str(reply).startswith(code)


async def only_one_serves(shards: Shards) -> None:
    """Poll forever; raise AssertionError if two nodes would serve at the same time."""
    while True:
        assert len(shards.serving()) <= 1, (shards.now_ms(), shards.serving())
        await asyncio.sleep(0.001)


def test_what_is_not_committed_is_never_seen_on_any_node() -> None:
    """An uncommitted write is not visible on any node, nor after a failover."""

    async def scenario(shards: Shards) -> None:
        for i in range(ROUNDS):
            primary = await shards.primary()
            talk, reader = await shards.connect(primary), await shards.connect(primary)
            readers = [await shards.connect(n, "READONLY") for n in await shards.replicas()]
            shards.cut_from_log(primary)
            talk.send(f"SET {{t}}a{i} lost")
            await asyncio.sleep(0.01)
            reader.send(f"GET {{t}}a{i}")
            for _ in range(30):
                await asyncio.sleep(0.05)
                for each in readers:
                    assert await each.ask(f"EXISTS {{t}}a{i}") == 0
            successor = await shards.primary()
            assert successor != primary
            assert await (await shards.connect(successor)).ask(f"EXISTS {{t}}a{i}") == 0
            shards.release()
            assert await talk.reply() is CLOSED
            assert await reader.reply() is CLOSED
            await shards.settled()
            old = await shards.connect(primary, "READONLY")
            assert await old.ask(f"EXISTS {{t}}a{i}") == 0

    Shards(21, options=SHORT).run(scenario)


def test_a_primary_whose_append_is_refused_starts_anew() -> None:
    """It steps down at once, disconnects clients that wait for a reply, and rebuilds its state from
    the log, without what it had executed but not committed."""

    async def scenario(shards: Shards) -> None:
        primary = await shards.primary()
        shard = shards.nodes[primary].shard
        engine = shards.nodes[primary].engine
        waiting, idle = await shards.connect(primary), await shards.connect(primary)
        popper = await shards.connect(primary)
        assert await waiting.ask("SET {t}kept 1") == b"OK"
        popper.send("BLPOP {t}nothing 0")
        intruder = await shards.user("intruder", "m2")
        tail = await intruder.tail()
        n = tail.n + 1
        shards.hold(primary)  # it has not learned of the new leader
        await asyncio.sleep(0.01)
        claim = entries.encode_control(entries.Leader("intruder", 1, 1))
        await intruder.append(tail, Batch(n, n, n, claim))
        waiting.send("SET {t}gone 1", "INCR {t}gone")
        await asyncio.sleep(0.05)
        shards.release()
        began = shards.now_ms()
        assert await waiting.reply() is CLOSED
        assert shards.now_ms() - began < 1000
        assert is_error(await popper.reply(), "UNBLOCKED")
        assert shard.role == "replica"
        while not shard.ready:
            await asyncio.sleep(0.001)
        assert list(engine.keys) == [b"{t}kept"]
        await idle.ask("READONLY")
        assert await idle.ask("GET {t}gone") is None

    Shards(22).run(scenario)


@pytest.mark.parametrize("seed", range(4))
def test_a_definite_error_means_that_nothing_was_done(seed: int) -> None:
    """Over repeated demotions every write is acknowledged and committed, refused and not executed,
    or of unknown outcome."""
    rng = random.Random(seed)
    replies: dict[str, Any] = {}

    async def writer(shards: Shards, name: str) -> None:
        for i in range(10_000):
            key = f"{{t}}{name}.{i}"
            try:
                talk = await shards.connect(rng.choice(shards.names))
                replies[key] = await talk.ask(f"SET {key} 1", within=3)
                talk.close()
            except OSError:
                await asyncio.sleep(0.01)

    async def scenario(shards: Shards) -> None:
        writers = [asyncio.create_task(writer(shards, f"w{i}")) for i in range(3)]
        for _ in range(ROUNDS):
            await asyncio.sleep(rng.random() * 0.3)
            primary = await shards.primary()
            shards.cut_from_log(primary)
            await asyncio.sleep(rng.random())
            shards.release()
        await asyncio.sleep(3)
        for each in writers:
            each.cancel()
        await asyncio.sleep(2)
        committed = {e[0][1].decode() for e in await shards.effects()}
        outcomes = {"ok": 0, "refused": 0, "unknown": 0}
        for key, reply in replies.items():
            if reply == b"OK":
                outcomes["ok"] += 1
                assert key in committed
            elif isinstance(reply, hiredis.ReplyError):
                outcomes["refused"] += 1
                assert str(reply).split()[0] in ("MOVED", "CLUSTERDOWN", "LOADING", "READONLY")
                assert key not in committed
            else:
                outcomes["unknown"] += 1
        assert all(outcomes.values()), outcomes

    Shards(f"24/{seed}", options=SHORT).run(scenario)


def test_what_queued_while_a_primary_was_stopped_is_not_answered_from_the_past() -> None:
    """The lease is checked after a request was received and before it is executed, so requests
    queued during a pause get no stale reply."""

    async def scenario(shards: Shards) -> None:
        watch = asyncio.create_task(only_one_serves(shards))
        for i in range(ROUNDS):
            primary = await shards.primary()
            process = shards.processes[primary]
            reader, writer = await shards.connect(primary), await shards.connect(primary)
            assert await writer.ask(f"SET {{t}}a old{i}") == b"OK"
            shards.world.pause(process)
            reader.send("GET {t}a")
            writer.send("SET {t}a zombie")
            await asyncio.sleep((BACKOFF_MS + ELECTION_MS) / 1000)
            successor = await shards.primary()
            talk = await shards.connect(successor)
            assert await talk.ask(f"SET {{t}}a new{i}") == b"OK"
            shards.world.resume(process)
            for each in (reader, writer):
                got = await each.reply(2)
                assert got is CLOSED or is_error(got, "MOVED") or is_error(got, "CLUSTERDOWN"), got
            await shards.settled()
            assert await talk.ask("GET {t}a") == b"new%d" % i
            talk.close()
        assert not watch.done()

    Shards(25, options=SHORT).run(scenario)


def test_around_the_edge_of_a_lease_nothing_is_stale() -> None:
    """After pauses of random length, no reply is older than the last write acknowledged before its
    request."""
    rng = random.Random(250)

    async def scenario(shards: Shards) -> None:
        last = 0
        for _ in range(ROUNDS * 2):
            primary = await shards.primary()
            readers = [await shards.connect(primary) for _ in range(5)]
            shards.world.pause(shards.processes[primary])
            for each in readers[:2]:
                each.send("GET {t}a")
            await asyncio.sleep(rng.randint(LEASE_MS // 2, 2 * BACKOFF_MS) / 1000)
            written = last
            others = [n for n in shards.names if n != primary]
            for name in others:
                if shards.nodes[name].shard.serves():
                    talk = await shards.connect(name)
                    if await talk.ask(f"SET {{t}}a {last + 1}") == b"OK":
                        written = last + 1
            for each in readers[2:]:
                each.send("GET {t}a")
            shards.world.resume(shards.processes[primary])
            for i, each in enumerate(readers):
                got = await each.reply(2)
                if isinstance(got, bytes) and got != CLOSED:
                    assert int(got) >= (last if i < 2 else written)
            last = written
            await shards.settled()
            talk = await shards.to_primary()
            last += 1
            assert await talk.ask(f"SET {{t}}a {last}") == b"OK"
        assert last > ROUNDS

    Shards(26, options=SHORT).run(scenario)


def test_a_primary_without_its_log_serves_clean_reads_to_the_end_of_its_lease() -> None:
    """A primary cut off from the log serves reads of committed keys until its lease ends, and
    writes wait. The lease counts from before its renewal was sent."""

    async def scenario(shards: Shards) -> None:
        for _ in range(ROUNDS):
            primary = await shards.primary()
            writer, reader = await shards.connect(primary), await shards.connect(primary)
            assert await writer.ask("SET {t}a 1") == b"OK"
            shards.cut_from_log(primary)
            cut = shards.now_ms()
            writer.send("SET {t}b 1")
            answered = cut
            while True:
                got = await reader.ask("GET {t}a")
                if got != b"1":
                    break
                answered = shards.now_ms()
                await asyncio.sleep(0.001)
            # The last renewal was sent within a quarter of a lease before the cut.
            assert LEASE_MS * 0.7 <= answered - cut <= LEASE_MS + 3, answered - cut
            assert is_error(got, "CLUSTERDOWN") or is_error(got, "MOVED") or got is CLOSED
            assert await writer.reply(0.01) is QUIET
            shards.release()
            await shards.settled()

    Shards(27, options=SHORT, delays=FIXED).run(scenario)


def test_backoff_is_longer_than_the_lease_however_clocks_err() -> None:
    """Settings whose leases could overlap, given the clock drift allowed, are refused."""
    Settings.parse({})
    assert Settings().backoff_ms >= (600 / 0.8 + 20) * 1.2
    with pytest.raises(ValueError, match=r"backoff-ms=600: .* must be at least"):
        Settings.parse({"backoff-ms": "600"})
    with pytest.raises(ValueError, match="must be at least"):
        Settings.parse({"lease-ms": "900"})
    Settings.parse({"backoff-ms": "620", "drift-percent": "0"})
    with pytest.raises(ValueError, match="must be at least"):
        Settings.parse({"backoff-ms": "619", "drift-percent": "0"})


@pytest.mark.parametrize("fresh", [False, True])
def test_who_has_observed_nothing_waits_a_whole_backoff(fresh: bool) -> None:
    """A replica campaigns only a full backoff after the last renewal that it observed, or after its
    own start; the clocks drift by nearly the maximum allowed, in opposite directions."""

    async def scenario(shards: Shards) -> None:
        watch = asyncio.create_task(only_one_serves(shards))
        for round in range(ROUNDS):
            primary = await shards.primary()
            for i, name in enumerate(shards.names):
                ppm = 190_000 if (i + round) % 2 else -190_000
                shards.world.drift(shards.processes[name].machine, ppm)
            others = [n for n in shards.names if n != primary]
            if fresh:
                shards.kill(*others)
                shards.start_node(others[0])
                while not getattr(shards.nodes.get(others[0]), "shard", None):
                    await asyncio.sleep(0.001)
                await asyncio.sleep(0.2)
            shards.cut_from_log(primary)
            began = shards.now_ms()
            while not any(shards.nodes[n].shard.serves() for n in others if n in shards.nodes):
                await asyncio.sleep(0.001)
            took = shards.now_ms() - began
            assert took >= BACKOFF_MS * 0.8 - LEASE_MS / 4 / 0.8 - 5, took
            shards.release()
            if fresh:
                shards.start_node(others[1])
            await shards.settled()
        assert not watch.done()

    # The backoff is long enough for a drift of 20 %.
    Shards(28, options=SHORT | {"backoff-ms": "520"}).run(scenario)


def test_a_replica_that_starts_while_the_primary_is_silent_waits_too() -> None:
    """A replica that has observed no renewal waits a full backoff: the lease may have been renewed
    just before its start."""

    async def scenario(shards: Shards) -> None:
        for _ in range(ROUNDS):
            primary = await shards.primary()
            others = [n for n in shards.names if n != primary]
            shards.kill(*others)
            shards.start_node(others[0])
            began = shards.now_ms()
            shards.kill(primary)
            while not shards.serving():
                await asyncio.sleep(0.001)
            assert shards.now_ms() - began >= BACKOFF_MS
            for name in (primary, others[1]):
                shards.start_node(name)
            await shards.settled()

    Shards(29, options=SHORT).run(scenario)


def test_only_who_has_applied_the_tail_campaigns() -> None:
    """A replica that has received the last entries but not applied them does not campaign."""

    async def scenario(shards: Shards) -> None:
        for _ in range(ROUNDS):
            primary = await shards.primary()
            slow, other = await shards.replicas()
            talk = await shards.connect(primary)
            shard = shards.nodes[slow].shard
            received: list[Batch] = []
            log: Any = shard.log
            log._deliver = received.append  # received, not applied
            assert await talk.ask("INCR {t}a") > 0
            await asyncio.sleep(0.1)
            assert received
            shards.kill(primary, other)
            await asyncio.sleep((BACKOFF_MS * 3) / 1000)
            assert shards.serving() == []
            assert received[-1].last > shard.applied.n
            log._deliver = shard._apply
            for batch in received:
                shard._apply(batch)
            assert await shards.primary() == slow
            for name in (primary, other):
                shards.start_node(name)
            await shards.settled()

    Shards(30, options=SHORT).run(scenario)


def test_of_five_that_campaign_at_once_one_leads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five replicas campaign at once: each round has one leadership entry, and two nodes never
    serve."""
    monkeypatch.setattr(Shard, "_draw_jitter", lambda self: 0)

    async def scenario(shards: Shards) -> None:
        watch = asyncio.create_task(only_one_serves(shards))
        for _ in range(ROUNDS):
            primary = await shards.primary()
            await shards.settled()
            assert await (await shards.connect(primary)).ask("FAILOVER") == b"OK"
            while shards.serving() == [primary]:
                await asyncio.sleep(0.001)
            for shard in (node.shard for node in shards.nodes.values()):
                shard._observed = 0  # all at once
            await shards.primary()
        assert not watch.done()
        leaders = [
            entry.node
            for batch in await shards.log()
            for entry in entries.decode(batch.payload)
            if isinstance(entry, entries.Leader)
        ]
        assert len(leaders) == ROUNDS + 1
        assert len(set(leaders)) > 1

    Shards(31, nodes=5, options=SHORT).run(scenario)


def test_wall_clocks_say_nothing_about_leases() -> None:
    """Wall clock jumps of an hour, on the primary or a replica, change nothing."""

    async def scenario(shards: Shards) -> None:
        primary = await shards.primary()
        talk = await shards.connect(primary)
        rng = random.Random(30)
        for i in range(ROUNDS * 4):
            name = rng.choice(shards.names)
            ns = rng.choice([-3600, 3600]) * 10**9
            shards.world.jump(shards.processes[name].machine, ns)
            await asyncio.sleep(0.25)
            assert shards.serving() == [primary]
            assert await talk.ask(f"SET {{t}}a {i}") == b"OK"
            assert await talk.ask("GET {t}a") == b"%d" % i

    Shards(32, options=SHORT).run(scenario)


@pytest.mark.parametrize("nodes", [1, 2, 3])
def test_one_fresh_node_brings_everything_back(nodes: int) -> None:
    """After all nodes were killed, one fresh node recovers every acknowledged write."""

    async def scenario(shards: Shards) -> None:
        count = 0
        for round in range(ROUNDS):
            talk = await shards.to_primary()
            for _ in range(20):
                count += 1
                assert await talk.ask("RPUSH {t}l x") == count
            shards.kill(*shards.names)
            await asyncio.sleep(0.1)
            survivor = shards.names[round % nodes]
            shards.start_node(survivor)
            assert await (await shards.to_primary()).ask("LLEN {t}l") == count
            for name in shards.names:
                if name != survivor:
                    shards.start_node(name)
            await shards.settled()

    Shards(33, nodes=nodes, options=SHORT).run(scenario)


def test_a_hand_over_loses_nothing_and_takes_no_backoff() -> None:
    """The old primary stops serving before it appends its release; the named successor campaigns
    without a backoff."""

    async def scenario(shards: Shards) -> None:
        watch = asyncio.create_task(only_one_serves(shards))
        acknowledged = 0
        for _ in range(ROUNDS):
            primary, (successor, _) = await shards.primary(), await shards.replicas()
            talk, writer = await shards.connect(primary), await shards.connect(primary)
            other = await shards.connect(primary)
            writer.send(*["INCR {t}n"] * 5)
            await asyncio.sleep(0.0005)
            talk.send(f"FAILOVER TO {successor} 6379", "GET {t}n", "INCR {t}n")
            assert await talk.reply() == b"OK"
            began = shards.now_ms()
            probe = await other.ask("GET {t}none", within=0.001)
            assert probe is QUIET or is_error(probe, "CLUSTERDOWN") or is_error(probe, "MOVED")
            for _ in range(2):
                got = await talk.reply()
                refused = is_error(got, "CLUSTERDOWN") or is_error(got, "MOVED")
                assert refused or got is CLOSED, got
            for _ in range(5):
                got = await writer.reply()
                acknowledged = max(acknowledged, got) if isinstance(got, int) else acknowledged
            while shards.serving() != [successor]:
                assert shards.now_ms() - began < ELECTION_MS
                await asyncio.sleep(0.001)
            after = int(await (await shards.connect(successor)).ask("GET {t}n") or 0)
            assert after >= acknowledged
            acknowledged = after
            await shards.settled()
        assert not watch.done()
        assert acknowledged >= ROUNDS
        flat = [e for batch in await shards.log() for e in entries.decode(batch.payload)]
        following = [
            after for entry, after in itertools.pairwise(flat) if isinstance(entry, entries.Release)
        ]
        assert following
        assert all(isinstance(each, entries.Leader) for each in following), "of the same leader"

    Shards(34, options=SHORT).run(scenario)


def test_a_clean_shutdown_answers_and_hands_over() -> None:
    async def scenario(shards: Shards) -> None:
        primary = await shards.primary()
        talk, other = await shards.connect(primary), await shards.connect(primary)
        talk.send(*["INCR {t}n"] * 10)
        await asyncio.sleep(0.0005)
        other.send("SHUTDOWN")
        began = shards.now_ms()
        assert [await talk.reply() for _ in range(10)] == list(range(1, 11))
        assert await other.reply() is CLOSED
        assert shards.exits == [(primary, 0)]
        del shards.nodes[primary]
        assert await (await shards.to_primary()).ask("GET {t}n") == b"10"
        assert shards.now_ms() - began < ELECTION_MS

    Shards(35, options=SHORT).run(scenario)


def test_shutdown_waits_a_bounded_time_for_the_log() -> None:
    async def scenario(shards: Shards) -> None:
        primary = await shards.primary()
        talk, other = await shards.connect(primary), await shards.connect(primary)
        shards.cut_from_log(primary)
        talk.send("INCR {t}n")
        await asyncio.sleep(0.01)
        other.send("SHUTDOWN")
        assert await other.reply(within=10) is CLOSED
        assert await talk.reply() is CLOSED
        assert shards.exits == [(primary, 0)]

    Shards(36, options=LONG | {"lease-ms": "9000", "backoff-ms": "9100"}).run(scenario)


def test_who_has_not_seen_a_renewal_is_refused() -> None:
    """Renewals are entries: a campaign that names an earlier entry is refused."""

    async def scenario(shards: Shards) -> None:
        for round in range(ROUNDS):
            primary = await shards.primary()
            name = (await shards.replicas())[0]
            shard = shards.nodes[name].shard
            epoch = shards.nodes[primary].shard.applied.epoch
            shards.hold(name)
            await asyncio.sleep(0.2)
            stale = shard.applied
            claim = entries.encode_control(entries.Leader(name, round, 1))
            n = stale.n + 1
            refused = shard.log.append(stale, Batch(n, n, n, claim))
            shards.release()
            await asyncio.wait([refused])
            assert refused.exception() is not None
            assert shards.serving() == [primary]
            assert shards.nodes[primary].shard.applied.epoch == epoch

    Shards(36, options=SHORT).run(scenario)


def test_a_log_that_nobody_reaches_makes_the_shard_wait_and_no_more() -> None:
    """While no node reaches the log the shard is unavailable; it recovers by itself and has lost
    nothing."""

    async def scenario(shards: Shards) -> None:
        for i in range(ROUNDS):
            talk = await shards.to_primary()
            assert await talk.ask(f"RPUSH {{t}}l {i}") == i + 1
            shards.cut_from_log(*shards.names)
            await asyncio.sleep(2)
            assert shards.serving() == []
            for name in shards.names:
                got = await (await shards.connect(name)).ask("GET {t}a")
                assert is_error(got, "CLUSTERDOWN"), got
            shards.release()
            healed = shards.now_ms()
            assert await (await shards.to_primary()).ask("LLEN {t}l") == i + 1
            assert shards.now_ms() - healed < BACKOFF_MS + 2 * ELECTION_MS
            await shards.settled()
        assert not shards.exits

    Shards(37, options=SHORT).run(scenario)


@pytest.mark.parametrize("how", ["kill", "cut", "pause", "power"])
def test_writes_resume_within_backoff_and_election(how: str) -> None:
    """After the loss of the primary, alone or with its AZ of the log, writes resume within the
    backoff plus an election."""

    async def scenario(shards: Shards) -> None:
        for _ in range(ROUNDS):
            primary = await shards.primary()
            await shards.settled()
            process = shards.processes[primary]
            if how == "kill":
                shards.kill(primary)
            elif how == "cut":
                shards.cut_from_log(primary)
            elif how == "pause":
                shards.world.pause(process)
            else:
                shards.world.power_off(process.machine)
            began = shards.now_ms()
            while shards.serving() in ([], [primary]):
                await asyncio.sleep(0.001)
            assert await (await shards.to_primary()).ask("INCR {t}n") > 0
            assert shards.now_ms() - began < BACKOFF_MS + ELECTION_MS
            if how in ("kill", "power"):
                if how == "power":
                    shards.start(f"az{primary[1:]}")
                shards.start_node(primary)
            elif how == "cut":
                shards.release()
            else:
                shards.world.resume(process)
            await shards.settled()
            await asyncio.sleep(0.5)

    Shards(38, options=SHORT).run(scenario)


def test_a_byte_that_changed_in_the_log_is_found_by_the_next_checksum() -> None:
    """A byte of a record is changed and its CRC recomputed, on the AZ that a fresh replica follows:
    the log's next running checksum differs, and the replica exits."""
    from targets.memorydb_py.log.messages import ENTRIES
    from targets.memorydb_py.log.store import decode, encode

    async def scenario(shards: Shards) -> None:
        talk = await shards.to_primary()
        for i in range(20):
            assert await talk.ask(f"SET {{t}}a{i} value{i}") == b"OK"
        await asyncio.sleep(1)
        victim = (await shards.replicas())[0]
        az = f"az{victim[1:]}"
        shards.world.kill(shards.azs[az])
        shards.kill(victim)
        disk = shards.world.disk(az)
        (name,) = [n for n in disk.names() if n.startswith("segment")]
        data, records, offset = disk.read(name), [], 0
        while (record := decode(data, offset)) is not None:
            offset += len(encode(record))
            if record.kind == ENTRIES and b"value7" in record.payload:
                changed = record.payload.replace(b"value7", b"value8")
                record = msgspec.structs.replace(record, payload=changed)
            records.append(record)
        disk.remove(name)
        disk.append(name, b"".join(map(encode, records)))
        shards.start(az)
        await asyncio.sleep(1)
        shards.start_node(victim)
        await asyncio.sleep(2)
        assert (victim, 4) in shards.exits
        assert any("what this node applied is not what was written" in line
                   for line in shards.lines)  # fmt: skip

    Shards(39, options=SHORT).run(scenario)


def test_the_node_of_a_test_is_the_one_that_runs() -> None:
    async def scenario(shards: Shards) -> None:
        assert isinstance(shards.nodes[await shards.primary()], Node)
        assert set(shards.azs) == set(AZS)

    Shards(40, options=LONG).run(scenario)
