"""Blocking reads of streams, and pub/sub."""

from __future__ import annotations

import asyncio

import hiredis

from tests.targets.memorydb_py.shards import CLOSED, QUIET, SHORT, Shards, Talk


async def listener(shards: Shards, name: str, *commands: str) -> Talk:
    talk = await shards.connect(name)
    for command in commands:
        talk.send(command)
        assert isinstance(got := await talk.reply(), list), got
    return talk


def test_messages_come_when_their_entry_is_committed_on_every_node() -> None:
    """Messages arrive in the order of the log, together with the writes of their transaction."""

    async def scenario(shards: Shards) -> None:
        primary = await shards.primary()
        subscribers = [await listener(shards, n, "SUBSCRIBE {t}news", "PSUBSCRIBE {t}n*")
                       for n in shards.names]  # fmt: skip
        sharded = await listener(shards, primary, "SSUBSCRIBE {t}news")
        talk = await shards.connect(primary)
        shards.hold(primary)
        talk.send("PUBLISH {t}news one", "MULTI", "SET {t}a 1", "PUBLISH {t}news two", "EXEC",
                  ("EVAL", "return redis.call('PUBLISH', '{t}news', 'three')", "0"),
                  "SPUBLISH {t}news four", "PUBLISH {t}other five")  # fmt: skip
        assert await subscribers[shards.names.index(primary)].reply(within=0.2) is QUIET
        shards.release()
        assert await talk.reply() == 2  # subscriptions on this node
        assert [await talk.reply() for _ in range(4)] == [b"OK", b"QUEUED", b"QUEUED", [b"OK", 2]]
        assert [await talk.reply() for _ in range(3)] == [2, 1, 0]
        await asyncio.sleep(0.5)
        for subscriber in subscribers:
            for text in (b"one", b"two", b"three"):
                assert await subscriber.reply() == [b"message", b"{t}news", text]
                assert await subscriber.reply() == [b"pmessage", b"{t}n*", b"{t}news", text]
        assert await sharded.reply() == [b"smessage", b"{t}news", b"four"]

    Shards(50).run(scenario)


def test_a_resp2_subscriber_may_only_use_pubsub_commands() -> None:
    async def scenario(shards: Shards) -> None:
        primary = await shards.primary()
        subscriber = await listener(shards, primary, "SUBSCRIBE a", "PSUBSCRIBE b*")
        refused = await subscriber.ask("GET {t}a")
        assert str(refused).startswith("ERR Can't execute 'get': only (P|S)SUBSCRIBE")
        assert await subscriber.ask("PING") == [b"pong", b""]
        talk = await shards.connect(primary)
        assert await talk.ask("PUBSUB CHANNELS") == [b"a"]
        assert await talk.ask("PUBSUB NUMSUB a b") == [b"a", 1, b"b", 0]
        assert await talk.ask("PUBSUB NUMPAT") == 1
        assert await subscriber.ask("UNSUBSCRIBE") == [b"unsubscribe", b"a", 1]
        assert await subscriber.ask("PUNSUBSCRIBE b*") == [b"punsubscribe", b"b*", 0]
        assert await subscriber.ask("GET {t}a") is None
        assert await subscriber.ask("UNSUBSCRIBE") == [b"unsubscribe", None, 0]
        three = await shards.connect(primary)
        await three.ask("HELLO 3")
        assert await three.ask("SUBSCRIBE a") == [b"subscribe", b"a", 1]
        assert await three.ask("GET {t}a") is None
        assert await talk.ask("PUBLISH a hi") == 1
        assert await three.reply() == [b"message", b"a", b"hi"]
        assert await three.ask("RESET") == b"RESET"
        assert await talk.ask("PUBSUB CHANNELS") == []
        replica = await shards.connect((await shards.replicas())[0])
        assert str(await replica.ask("PUBLISH a hi")).startswith("MOVED")

    Shards(51).run(scenario)


def test_nothing_that_is_not_committed_is_heard() -> None:
    """A primary is deposed while it has uncommitted messages."""

    async def scenario(shards: Shards) -> None:
        primary = await shards.primary()
        subscribers = [await listener(shards, n, "SUBSCRIBE {t}news") for n in shards.names]
        talk = await shards.connect(primary)
        shards.cut_from_log(primary)
        talk.send("PUBLISH {t}news lost")
        while primary in shards.serving() or not shards.serving():
            await asyncio.sleep(0.01)
        shards.release()
        assert await talk.reply() is CLOSED
        await shards.settled()
        assert await (await shards.to_primary()).ask("PUBLISH {t}news heard") >= 0
        for subscriber in subscribers:
            assert await subscriber.reply() == [b"message", b"{t}news", b"heard"]

    Shards(52, options=SHORT).run(scenario)


def test_blocking_xread_on_primary_and_replica() -> None:
    async def scenario(shards: Shards) -> None:
        primary = await shards.primary()
        talk, reader = await shards.connect(primary), await shards.connect(primary)
        far = await shards.to_replica()
        await talk.ask("XADD {t}s 1-1 a 1")
        await shards.settled()
        for each in (reader, far):
            each.send("XREAD BLOCK 0 STREAMS {t}s {t}z $ 0")
        await asyncio.sleep(0.1)
        shards.hold(primary)
        talk.send("XADD {t}s 2-1 a 2")
        assert await reader.reply(within=0.2) is QUIET
        added = [[b"{t}s", [[b"2-1", [b"a", b"2"]]]]]
        assert await far.reply() == added  # the entry is committed
        shards.release()
        assert await reader.reply() == added
        assert await reader.ask("XREAD BLOCK 50 STREAMS {t}s $") is None

    Shards(53, nodes=2).run(scenario)


def test_consumers_of_a_group_share_its_entries() -> None:
    async def scenario(shards: Shards) -> None:
        primary = await shards.primary()
        talk = await shards.connect(primary)
        await talk.ask("XGROUP CREATE {t}s g $ MKSTREAM")
        readers = []
        for who in ("alice", "bob"):
            reader = await shards.connect(primary)
            reader.send(f"XREADGROUP GROUP g {who} BLOCK 0 STREAMS {{t}}s >")
            await asyncio.sleep(0.05)
            readers.append(reader)
        for i in (1, 2):
            assert await talk.ask(f"XADD {{t}}s {i}-1 n {i}") == b"%d-1" % i
        for i, reader in enumerate(readers, 1):
            assert await reader.reply() == [[b"{t}s", [[b"%d-1" % i, [b"n", b"%d" % i]]]]]
        assert (await talk.ask("XPENDING {t}s g"))[3] == [[b"alice", b"1"], [b"bob", b"1"]]
        gone = {"XGROUP DESTROY {t}s g": "NOGROUP", "DEL {t}s": "UNBLOCKED"}
        for end, code in gone.items():
            readers[0].send("XREADGROUP GROUP g alice BLOCK 0 STREAMS {t}s >")
            await asyncio.sleep(0.05)
            assert await talk.ask(end) == 1
            got = await readers[0].reply()
            assert isinstance(got, hiredis.ReplyError)
            assert str(got).startswith(code)
            await talk.ask("XGROUP CREATE {t}s g $ MKSTREAM")
        await shards.settled()
        digests = [await (await shards.connect(n)).ask("DEBUG DIGEST") for n in shards.names]
        assert len(set(digests)) == 1

    Shards(54).run(scenario)
