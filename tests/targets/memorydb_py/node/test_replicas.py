"""Replicas, expiry, redirects and sessions."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import hiredis
import pytest
from redis.crc import key_slot

from harness.simulation.delays import Delays
from tests.targets.memorydb_py.shards import CLOSED, LONG, QUIET, ROUNDS, SHORT, Shards

FIXED = Delays(low_ns=1_000_000, high_ns=1_000_001, slow_per_1024=0)
HOUR_NS = 3600 * 10**9


def test_reads_of_replicas_need_readonly_and_writes_are_redirected() -> None:
    """A replica answers reads only after READONLY, and otherwise MOVED."""

    async def scenario(shards: Shards) -> None:
        primary, (replica, _) = await shards.primary(), await shards.replicas()
        assert await (await shards.to_primary()).ask("SET {t}a 1") == b"OK"
        await shards.settled()
        talk = await shards.connect(replica)
        moved = f"MOVED {key_slot(b't')} {primary}:6379"
        for command in ("GET {t}a", "SET {t}a 2", "WATCH {t}a", "EVAL return 1 {t}a"):
            words: Any = command
            if command.startswith("EVAL"):
                words = ("EVAL", "return 1", 1, "{t}a")
            assert str(await talk.ask(words)) == moved
        assert await talk.ask("READONLY") == b"OK"
        assert await talk.ask("GET {t}a") == b"1"
        for write in ("SET {t}a 2", "INCR {t}a", "BLPOP {t}l 0"):
            assert str(await talk.ask(write)) == moved
        assert await talk.asks("MULTI", "GET {t}a", "EXEC") == [b"OK", b"QUEUED", [b"1"]]
        assert str((await talk.asks("MULTI", "SET {t}a 2", "EXEC"))[1]) == moved
        assert await talk.ask("READWRITE") == b"OK"
        assert str(await talk.ask("GET {t}a")) == moved
        both = await (await shards.to_primary()).ask("MGET {t}a other")
        assert str(both) == "CROSSSLOT Keys in request don't hash to the same slot"

    Shards(35).run(scenario)


def test_a_replica_shows_growing_prefixes_also_over_its_restart() -> None:
    """Over all clients, the reads of one replica are prefixes of the log that grow, with
    transactions whole. After a restart it serves once it has applied the tail as of its start."""
    rng = random.Random(36)

    async def write(shards: Shards) -> None:
        talk = await shards.to_primary()
        for i in range(1, 10**6):
            if CLOSED in await talk.asks("MULTI", f"SET {{t}}a {i}", f"SET {{t}}b {i}", "EXEC"):
                talk = await shards.to_primary()
            await asyncio.sleep(rng.random() * 0.01)

    async def scenario(shards: Shards) -> None:
        writer = asyncio.create_task(write(shards))
        replica = (await shards.replicas())[0]
        seen, restarts, served = 0, 0, 0
        for i in range(ROUNDS * 10):
            talks = []
            for _ in range(3):
                try:
                    talks.append(await shards.connect(replica, "READONLY"))
                except OSError:
                    break
            for talk in talks:
                got = await talk.ask("MGET {t}a {t}b")
                if isinstance(got, list):
                    a, b = (int(v or 0) for v in got)
                    assert a == b >= seen, (a, b, seen)
                    seen, served = a, served + 1
                talk.close()
            if i % 10 == 5:
                shards.kill(replica)
                shards.start_node(replica)
                restarts += 1
            await asyncio.sleep(rng.random() * 0.1)
        writer.cancel()
        assert restarts >= ROUNDS
        assert served > ROUNDS * 5
        assert seen > 10

    Shards(36).run(scenario)


def test_a_replica_that_starts_serves_nothing_before_it_has_caught_up() -> None:
    """It answers LOADING until it has applied the tail as of its start."""

    async def scenario(shards: Shards) -> None:
        talk = await shards.to_primary()
        replica = (await shards.replicas())[0]
        for i in range(300):
            assert await talk.ask(f"RPUSH {{t}}l {i}") == i + 1
        shards.kill(replica)
        # The AZs send it the log in pieces, slowly.
        for az in ("az1", "az2", "az3"):
            shards.world.network.link(az, replica).shape(0.005, 0, 20_000)
        shards.start_node(replica)
        early = 0
        while True:
            try:
                reader = await shards.connect(replica, "READONLY")
            except OSError:
                continue
            got = await reader.ask("LLEN {t}l")
            if isinstance(got, int):
                break
            assert str(got).startswith("LOADING")
            early += 1
            reader.close()
            await asyncio.sleep(0.01)
        assert got == 300
        assert early > 3

    Shards(37).run(scenario)


@pytest.mark.parametrize("ahead_ns", [HOUR_NS, -HOUR_NS])
def test_a_replicas_clock_changes_nothing_in_its_data(ahead_ns: int) -> None:
    """A replica does not expire keys by its own clock: a key exists until its DEL is in the log."""

    async def scenario(shards: Shards) -> None:
        primary, (replica, _) = await shards.primary(), await shards.replicas()
        talk = await shards.connect(primary)
        reader = await shards.connect(replica, "READONLY")
        for i in range(ROUNDS):
            assert await talk.ask(f"SET {{t}}a{i} {i} PX 60000") == b"OK"
        await shards.settled()
        shards.world.jump(shards.processes[replica].machine, ahead_ns)
        await asyncio.sleep(0.5)
        for i in range(ROUNDS):
            assert await reader.ask(f"GET {{t}}a{i}") == b"%d" % i
            assert await reader.ask(f"EXISTS {{t}}a{i}") == 1
        assert await reader.ask("DBSIZE") == ROUNDS
        digests = [await each.ask("DEBUG DIGEST") for each in (talk, reader)]
        assert digests[0] == digests[1]

    Shards(38).run(scenario)


def test_a_key_that_was_absent_does_not_come_back() -> None:
    """An expired key that was reported absent never reappears, over failovers between nodes whose
    clocks differ by hours."""
    rng = random.Random(39)

    async def scenario(shards: Shards) -> None:
        absent: list[str] = []
        for i, name in enumerate(shards.names):
            shards.world.jump(shards.processes[name].machine, (i - 1) * HOUR_NS)
        for round in range(ROUNDS):
            primary = await shards.primary()
            talk = await shards.connect(primary)
            keys = [f"{{t}}{round}.{i}" for i in range(5)]
            for key in keys:
                assert await talk.ask(f"SET {key} 1 PX {rng.randint(50, 400)}") == b"OK"
            await asyncio.sleep(rng.random() * 0.4)
            for key in keys:
                if await talk.ask(f"GET {key}") is None:
                    absent.append(key)
            shards.kill(primary)
            del shards.nodes[primary]
            talk = await shards.to_primary()
            for key in absent[-20:]:
                assert await talk.ask(f"EXISTS {key}") == 0, key
            shards.start_node(primary)
            await shards.settled()
        assert len(absent) > ROUNDS
        log = await shards.effects()
        sets = [e[0] for e in log if e[0][0] == b"SET"]
        assert all(e[3] == b"PXAT" and len(e[4]) == 13 for e in sets), "a relative expiry"
        assert any(e[0][0] == b"DEL" for e in log), "the primary deleted no expired key"

    Shards(39, options=SHORT).run(scenario)


def test_a_primary_deletes_what_has_expired_by_itself() -> None:
    """The primary deletes expired keys in the background; replicas follow the log."""

    async def scenario(shards: Shards) -> None:
        talk = await shards.to_primary()
        reader = await shards.to_replica()
        for i in range(20):
            assert await talk.ask(f"SET {{t}}{i} 1 PX 100") == b"OK"
        await asyncio.sleep(0.5)
        assert await reader.ask("DBSIZE") == 0

    Shards(40).run(scenario)


def test_time_stands_still_in_transactions_and_scripts() -> None:
    """A transaction or script executes at one instant: TIME is constant and no key expires in
    it."""
    script = """
        local first = redis.call('TIME')
        redis.call('SET', KEYS[1], '1', 'PX', '1')
        for i = 1, 20000 do redis.call('EXISTS', KEYS[1]) end
        local last = redis.call('TIME')
        return {first[1] == last[1] and first[2] == last[2], redis.call('EXISTS', KEYS[1])}
    """

    async def scenario(shards: Shards) -> None:
        talk = await shards.to_primary()
        for _ in range(ROUNDS):
            assert await talk.ask(("EVAL", script, 1, "{t}a")) == [1, 1]
            await talk.asks("MULTI", "TIME", "SET {t}b 1 PX 1", "EXISTS {t}b", "TIME")
            first, _, there, last = await talk.ask("EXEC")
            assert (first, there) == (last, 1)

    Shards(41).run(scenario)


def test_a_watch_on_a_replica_sees_what_the_log_brings() -> None:
    """A replica's WATCH notices changes applied from the log, also after the replica became the
    primary."""

    async def scenario(shards: Shards) -> None:
        primary, (replica, other) = await shards.primary(), await shards.replicas()
        talk = await shards.connect(primary)
        watching = await shards.connect(replica, "READONLY", "WATCH {t}a")
        reading = await shards.connect(replica, "READONLY", "WATCH {t}a")
        untouched = await shards.connect(replica, "READONLY", "WATCH {t}b")
        assert await talk.ask("SET {t}a 2") == b"OK"
        await shards.settled()
        assert (await reading.asks("MULTI", "GET {t}a", "EXEC"))[2] is None
        shards.kill(primary, other)
        assert await shards.primary() == replica
        assert (await watching.asks("MULTI", "SET {t}a 1", "EXEC"))[2] is None
        assert (await untouched.asks("MULTI", "SET {t}b 1", "EXEC"))[2] == [b"OK"]

    Shards(45, options=SHORT).run(scenario)


@pytest.mark.parametrize("read", ["KEYS *", "EVAL_RO"])
def test_a_read_that_finds_a_key_expired_waits_for_its_deletion(read: str) -> None:
    """KEYS and reads from scripts that find an expired key wait until its DEL is committed."""
    words: Any = ("EVAL_RO", "return redis.call('GET', KEYS[1])", 1, "{t}x")

    async def scenario(shards: Shards) -> None:
        primary = await shards.primary()
        talk = await shards.connect(primary)
        assert await talk.ask("SET {t}x 1 PX 200") == b"OK"
        shards.hold(primary)
        await asyncio.sleep(0.2005)
        assert await talk.ask(words if read == "EVAL_RO" else read, within=0.5) is QUIET
        shards.release()
        assert await talk.reply() in (None, [])
        assert [[b"DEL", b"{t}x"]] in await shards.effects()

    Shards(46, delays=FIXED).run(scenario)


def test_cluster_commands_report_the_primary() -> None:
    async def scenario(shards: Shards) -> None:
        primary, (replica, _) = await shards.primary(), await shards.replicas()
        for name in (primary, replica):
            talk = await shards.connect(name)
            ((low, high, leader, *others),) = await talk.ask("CLUSTER SLOTS")
            assert (low, high, leader[0], leader[1]) == (0, 16383, primary.encode(), 6379)
            assert sorted(o[0].decode() for o in others) == sorted(set(shards.names) - {primary})
            my_id = await talk.ask("CLUSTER MYID")
            (line,) = [
                each
                for each in (await talk.ask("CLUSTER NODES")).decode().splitlines()
                if each.startswith(my_id.decode())
            ]
            assert ("myself,master" in line) == (name == primary)
            assert "cluster_state:ok" in (await talk.ask("CLUSTER INFO")).decode()
            assert await talk.ask("CLUSTER KEYSLOT {t}a") == key_slot(b"t")
            role = await talk.ask("ROLE")
            assert role[0] == (b"master" if name == primary else b"slave")
        shards.cut_from_log(*shards.names)
        await asyncio.sleep(20)
        assert "cluster_state:fail" in (await talk.ask("CLUSTER INFO")).decode()
        assert await talk.ask("CLUSTER SLOTS") == []

    Shards(42).run(scenario)


def test_sessions() -> None:
    """HELLO, AUTH, SELECT, CLIENT and RESP3, as client libraries use them."""

    async def scenario(shards: Shards) -> None:
        primary = await shards.primary()
        talk = await shards.connect(primary)
        for refused in ("GET a", "MULTI", "CLUSTER SLOTS", "SHUTDOWN"):
            assert str(await talk.ask(refused)) == "NOAUTH Authentication required."
        assert str(await talk.ask("AUTH wrong")).startswith("WRONGPASS")
        assert str(await talk.ask("HELLO 3")).startswith("NOAUTH HELLO must be called")
        hello = await talk.ask("HELLO 3 AUTH default secret SETNAME me")
        assert (hello[b"proto"], hello[b"mode"], hello[b"role"]) == (3, b"cluster", b"master")
        assert await talk.ask("CLIENT GETNAME") == b"me"
        assert await talk.ask("HSET {t}h f 1") == 1
        assert await talk.ask("HGETALL {t}h") == {b"f": b"1"}
        assert await talk.ask("SELECT 0") == b"OK"
        assert str(await talk.ask("SELECT 1")).startswith("ERR SELECT is not allowed")
        other = await shards.connect(primary)
        assert await other.ask("AUTH secret") == b"OK"
        number = await other.ask("CLIENT ID")
        other.send("BLPOP {t}nothing 0")
        await asyncio.sleep(0.05)
        assert await talk.ask(f"CLIENT UNBLOCK {number}") == 1
        assert await other.reply() is None
        assert await talk.ask(f"CLIENT KILL ID {number}") == 1
        assert await other.reply() is CLOSED
        assert isinstance(await talk.ask("NOSUCH x"), hiredis.ReplyError)

    Shards(43, options=LONG | {"requirepass": "secret"}).run(scenario)


def test_an_invalid_command_aborts_a_transaction() -> None:
    """As in Redis, EXEC with too many arguments does too, but a nested MULTI or WATCH does not."""

    async def scenario(shards: Shards) -> None:
        talk = await shards.to_primary()
        for wrong in ("EXEC now", "MULTI now", "WATCH", "GET", "NOSUCH x"):
            got = await talk.asks("MULTI", wrong, "SET {t}a 1", "EXEC")
            assert str(got[1]).startswith(("ERR wrong number of arguments", "ERR unknown command"))
            assert got[2] == b"QUEUED"
            assert str(got[3]).startswith("EXECABORT"), wrong
        got = await talk.asks("MULTI", "MULTI", "WATCH {t}a", "SET {t}a 1", "EXEC")
        assert got[-1] == [b"OK"]

    Shards(45).run(scenario)


def test_replies_can_be_switched_off() -> None:
    async def scenario(shards: Shards) -> None:
        talk = await shards.to_primary()
        talk.send("CLIENT REPLY SKIP", "SET {t}a 1", "GET {t}a")
        assert await talk.reply() == b"1"
        talk.send("CLIENT REPLY OFF", "SET {t}a 2", "CLIENT REPLY ON", "GET {t}a")
        assert [await talk.reply(), await talk.reply()] == [b"OK", b"2"]

    Shards(44, delays=FIXED).run(scenario)
