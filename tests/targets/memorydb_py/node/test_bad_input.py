"""Invalid input to a node gets a clear error or a closed connection, and does not affect other
clients."""

from __future__ import annotations

import asyncio
import itertools
import random

import hiredis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from targets.engine.resp import RequestParser, pack
from targets.servers.session import UNSENT_BYTES_MAX
from tests.targets.memorydb_py.shards import CLOSED, LONG, QUIET, Shards

WORDS = st.lists(st.binary(max_size=40) | st.binary(min_size=1000, max_size=1100), min_size=1,
                 max_size=5)  # fmt: skip


@given(commands=st.lists(WORDS, max_size=6), cuts=st.lists(st.integers(0, 5000), max_size=8))
def test_parsing_does_not_depend_on_how_bytes_are_split(
    commands: list[list[bytes]], cuts: list[int]
) -> None:
    data = b"".join(map(pack, commands))
    places = sorted({0, len(data), *(c % (len(data) + 1) for c in cuts)})
    requests, got = RequestParser(), []
    for start, end in itertools.pairwise(places):
        got += requests.feed(data[start:end])
    assert got == [tuple(c) for c in commands]
    assert (requests.error, requests.buffered_bytes()) == (None, 0)


@given(
    data=st.binary(max_size=300)
    | st.lists(
        st.sampled_from([b"*", b"$", b"\r\n", b"3", b"-1", b"2147483648", b"GET", b'"', b"'", b":",
                         b"\0", b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n"]),
        max_size=30,
    ).map(b"".join),
    cut=st.integers(0, 300),
)  # fmt: skip
def test_arbitrary_bytes_do_not_crash_the_parser(data: bytes, cut: int) -> None:
    """Commands and error are the same wherever the bytes are split."""
    whole, parts = RequestParser(), RequestParser()
    one = whole.feed(data)
    other = parts.feed(data[:cut])
    other = other + (parts.feed(data[cut:]) if parts.error is None else [])
    assert (one, whole.error) == (other, parts.error)
    assert whole.buffered_bytes() <= len(data)
    assert all(all(type(w) is bytes for w in command) for command in one)


@given(data=st.binary(max_size=2000))
def test_the_buffer_of_an_unauthenticated_client_is_bounded(data: bytes) -> None:
    requests = RequestParser(trusted=False)
    for start in range(0, 200_000, 2000):
        if requests.error is not None:
            break
        requests.feed(b"*9\r\n$16000\r\n" + data if start == 0 else b"x" * 2000)
    assert requests.buffered_bytes() < 200_000 + len(data)


BAD = {
    b"*1\r\n$600000000\r\n": "ERR Protocol error: invalid bulk length",
    b"*1\r\n$-5\r\n": "ERR Protocol error: invalid bulk length",
    b"*1\r\n$x\r\n": "ERR Protocol error: invalid bulk length",
    b"*99999999999\r\n": "ERR Protocol error: invalid multibulk length",
    b"*x\r\n": "ERR Protocol error: invalid multibulk length",
    b"*2\r\n+GET\r\n": "ERR Protocol error: expected '$', got '+'",
    b'SET a "unbalanced\r\n': "ERR Protocol error: unbalanced quotes in request",
    b"x" * 70_000: "ERR Protocol error: too big inline request",
    b"*1" + b"0" * 70_000: "ERR Protocol error: too big mbulk count string",
}


@pytest.mark.parametrize("data", list(BAD), ids=lambda d: repr(d[:20]))
def test_protocol_errors_are_reported_and_close_the_connection(data: bytes) -> None:
    async def scenario(shards: Shards) -> None:
        talk, other = await shards.to_primary(), await shards.to_primary()
        talk.send("SET {t}before 1")
        talk.write(data)
        assert await talk.reply() == b"OK"
        assert str(await talk.reply()) == BAD[data]
        assert await talk.reply() is CLOSED
        assert await other.ask("GET {t}before") == b"1"
        assert not shards.exits

    Shards(1).run(scenario)


def test_invalid_commands_get_the_errors_of_redis() -> None:
    wrong = {
        "NOSUCH a b": "ERR unknown command 'NOSUCH', with args beginning with: 'a' 'b' ",
        "GET": "ERR wrong number of arguments for 'get' command",
        "GET a b": "ERR wrong number of arguments for 'get' command",
        "SET a": "ERR wrong number of arguments for 'set' command",
        "WAIT x 0": "ERR value is not an integer or out of range",
        "EXEC": "ERR EXEC without MULTI",
        "CONFIG NOSUCH": "ERR unknown subcommand 'NOSUCH'. Try CONFIG HELP.",
        "CLUSTER NOSUCH": "ERR unknown subcommand 'NOSUCH'. Try CLUSTER HELP.",
        "CLIENT NOSUCH": "ERR unknown subcommand 'NOSUCH'. Try CLIENT HELP.",
        "CLUSTER COUNTKEYSINSLOT 99999": "ERR Invalid slot",
        "FAILOVER TO nowhere 1": "ERR FAILOVER target HOST and PORT is not a replica.",
    }

    async def scenario(shards: Shards) -> None:
        talk = await shards.to_primary()
        for command, error in wrong.items():
            assert str(await talk.ask(command)) == error, command
        for name in ("HEXPIRE", "MSETEX", "FUNCTION", "MODULE", "ACL"):
            reply = str(await talk.ask((name, "a", "1")))
            assert reply.startswith(f"ERR unknown command '{name}'")

    Shards(2).run(scenario)


@pytest.mark.parametrize("seed", range(6))
def test_a_node_survives_arbitrary_input(seed: int) -> None:
    """Random bytes, incomplete frames, disconnections, random commands: other clients are served
    throughout."""
    rng = random.Random(seed)
    pieces = [b"*1\r\n", b"$3\r\n", b"GET\r\n", b"*3\r\n$3\r\nSET\r\n$1\r\nx\r\n$5\r\nab", b"\r\n",
              b"EVAL 'return {' 0\r\n", b"MULTI\r\n", b"WATCH a\r\n", b"BLPOP q 0\r\n", b"*-1\r\n",
              b"CLIENT REPLY OFF\r\n", b"HELLO 3\r\n", b"SUBSCRIBE a\r\n", b"\0\xff"]  # fmt: skip

    async def scenario(shards: Shards) -> None:
        observer = await shards.to_primary()
        primary = await shards.primary()
        for count in range(200):
            talk = await shards.connect(primary)
            data = b"".join(rng.choice(pieces) for _ in range(rng.randint(1, 8)))
            talk.write(data if rng.random() < 0.7 else rng.randbytes(rng.randint(1, 500)))
            if rng.random() < 0.5:
                await talk.reply(0.01)
            talk.close()
            assert await observer.ask("INCR {t}n") == count + 1
        await asyncio.sleep(1)
        assert not shards.exits
        node = shards.nodes[primary]
        assert len(node.sessions) == 1
        waiting, watched = node.blocked.by_key, node.transactions.watchers
        assert (waiting, watched, node.parked) == ({}, {}, 0)

    Shards(f"any/{seed}").run(scenario)


def test_blocked_clients_that_wake_each_other_are_all_served() -> None:
    async def scenario(shards: Shards) -> None:
        count = 300
        primary = await shards.primary()
        chain = [await shards.connect(primary) for _ in range(count)]
        for i, talk in enumerate(chain):
            talk.send(f"BLPOP {{t}}k{i} 0", f"RPUSH {{t}}k{i + 1} x", "PING")
        await asyncio.sleep(0.1)
        assert await (await shards.connect(primary)).ask("RPUSH {t}k0 x") == 1
        for i, talk in enumerate(chain):
            assert await talk.reply() == [b"{t}k%d" % i, b"x"]
            assert await talk.reply() == 1
            assert await talk.reply() == b"PONG"
        assert await chain[0].ask(f"LLEN {{t}}k{count}") == 1

    Shards("chain").run(scenario)


def test_commands_pipelined_after_a_blocking_one_are_executed() -> None:
    async def scenario(shards: Shards) -> None:
        talk = await shards.to_primary()
        talk.send("BLPOP {t}q 0")
        for _ in range(60):
            await asyncio.sleep(0.1)
            talk.send(("ECHO", b"x" * 1_000_000))
        assert await (await shards.to_primary()).ask("RPUSH {t}q x") == 1
        assert await talk.reply() == [b"{t}q", b"x"]
        for _ in range(60):
            assert len(await talk.reply()) == 1_000_000

    Shards("behind").run(scenario)


def test_a_blocked_client_that_goes_away_takes_no_element() -> None:
    """Also if it had sent more than is parsed at once: its end is still read."""

    async def scenario(shards: Shards) -> None:
        gone = await shards.to_primary()
        gone.send("BLPOP {t}q 0")
        for _ in range(30):
            gone.send(("ECHO", b"x" * 1_000_000))
        await asyncio.sleep(2)
        gone.close()
        await asyncio.sleep(1)
        talk = await shards.to_primary()
        assert await talk.ask("RPUSH {t}q precious") == 1
        assert await talk.ask("LLEN {t}q") == 1
        assert len(shards.nodes[await shards.primary()].sessions) == 1

    Shards("gone").run(scenario)


def test_invalid_client_ids_and_authentication_after_reset() -> None:
    async def scenario(shards: Shards) -> None:
        talk = await shards.connect(await shards.primary(), "AUTH secret")
        huge = "9" * 5000
        assert "client-id should" in str(await talk.ask(f"CLIENT KILL ID {huge}"))
        assert "not an integer" in str(await talk.ask(f"CLIENT UNBLOCK {huge}"))
        assert await talk.ask("RESET") == b"RESET"
        assert str(await talk.ask("GET a")).startswith("NOAUTH")

    Shards("reset", options=LONG | {"requirepass": "secret"}).run(scenario)


def test_the_commands_of_a_client_that_reads_no_replies_wait() -> None:
    """So that its replies need little memory; it gets all of them when it reads again."""

    async def scenario(shards: Shards) -> None:
        talk, greedy = await shards.to_primary(), await shards.to_primary()
        assert await talk.ask(("SET", "{t}big", b"x" * 1_000_000)) == b"OK"
        greedy.pause()
        for _ in range(40):
            greedy.send(*["GET {t}big"] * 10)
        await asyncio.sleep(20)
        sessions = shards.nodes[await shards.primary()].sessions.values()
        assert max(session.unsent_bytes for session in sessions) < UNSENT_BYTES_MAX + 2_000_000
        assert await talk.ask("STRLEN {t}big") == 1_000_000
        greedy.resume()
        for _ in range(400):
            assert len(await greedy.reply()) == 1_000_000

    Shards(3).run(scenario)


def test_a_client_with_too_many_unread_replies_is_disconnected() -> None:
    async def scenario(shards: Shards) -> None:
        talk, greedy = await shards.to_primary(), await shards.to_primary()
        listener, patient = await shards.to_primary(), await shards.to_primary()
        assert await talk.ask(("SET", "{t}big", b"x" * 1_000_000)) == b"OK"
        limit = "client-output-buffer-limit"
        assert await talk.ask(("CONFIG", "SET", limit, "normal 3mb 2mb 2")) == b"OK"
        shown = b"normal 3145728 2097152 2 slave 268435456 67108864 60 pubsub 33554432 8388608 60"
        assert await talk.ask(("CONFIG", "GET", limit)) == [limit.encode(), shown]
        for each, command in ((greedy, "GET {t}big"), (patient, "GET {t}big")):
            each.pause()
            each.send(*[command] * (9 if each is greedy else 3))
        await listener.ask("SUBSCRIBE c")
        listener.pause()
        for _ in range(8):
            await talk.ask(("PUBLISH", "c", b"x" * 1_000_000))
        await asyncio.sleep(0.5)
        node = shards.nodes[await shards.primary()]
        assert len(node.sessions) == 3, "the hard limit was exceeded"
        await asyncio.sleep(3)
        assert len(node.sessions) == 2, "the soft limit was exceeded for two seconds"
        for _ in range(30):
            await talk.ask(("PUBLISH", "c", b"x" * 1_000_000))
        assert len(node.sessions) == 1, "messages that nobody reads count"
        wrong = await talk.ask(("CONFIG", "SET", limit, "normal 3mb"))
        assert "give groups of a class" in str(wrong)

    Shards(4).run(scenario)


def test_limits_of_one_class_leave_those_of_the_others() -> None:
    """Also where a node was started with limits for one class alone."""

    async def scenario(shards: Shards) -> None:
        talk = await shards.to_primary()
        limit = "client-output-buffer-limit"
        assert await talk.ask(("CONFIG", "SET", limit, "pubsub 1mb 1mb 1")) == b"OK"
        shown = b"normal 3145728 0 0 slave 268435456 67108864 60 pubsub 1048576 1048576 1"
        assert await talk.ask(("CONFIG", "GET", limit)) == [limit.encode(), shown]

    options = LONG | {"client-output-buffer-limit": "normal 3mb 0 0"}
    Shards("limits", options=options).run(scenario)


def test_a_log_whose_disk_is_full_waits_and_loses_nothing() -> None:
    """With the disk of one AZ full, writes go on; with two full, they wait until there is space."""

    async def scenario(shards: Shards) -> None:
        talk = await shards.to_primary()
        assert await talk.ask("SET {t}a 1") == b"OK"
        for az in ("az1", "az2"):
            disk = shards.world.disk(az)
            disk.capacity = sum(disk.size(n) for n in disk.names()) + 100
            got = await talk.ask(f"SET {{t}}{az} 1", within=2)
            if got is CLOSED or isinstance(got, hiredis.ReplyError):
                talk = await shards.to_primary()
                got = await talk.ask(f"SET {{t}}{az} 1", within=2)
            if az == "az1":
                assert got == b"OK"
            else:
                assert got is QUIET
        for az in ("az1", "az2"):
            shards.world.disk(az).capacity = None
        await asyncio.sleep(3)
        talk = await shards.to_primary()
        assert await talk.ask("SET {t}b 1") == b"OK"
        assert await talk.ask("EXISTS {t}a {t}az1 {t}b") == 3
        assert not shards.exits

    Shards(4, options=LONG).run(scenario)
