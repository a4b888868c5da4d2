"""A primary's replies to reads and writes, and when they are sent."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import hiredis
import pytest

from harness.simulation.delays import Delays
from targets.engine.commands import COMMANDS
from targets.engine.resp import Error
from targets.engine.state import State
from targets.engine.table import find
from targets.memorydb_py.node.tracker import Tracker
from tests.support.command_shapes import SHAPES, Shapes
from tests.support.engine import execute
from tests.targets.memorydb_py.shards import CLOSED, LONG, QUIET, SHORT, Shards, Talk

SOON = 0.05  # a reply that waits for no commit arrives within it
FIXED = Delays(low_ns=1_000_000, high_ns=1_000_001, slow_per_1024=0)


def error(reply: Any) -> str:
    assert isinstance(reply, hiredis.ReplyError), reply
    return str(reply)


async def held(shards: Shards) -> tuple[Talk, Talk]:
    """Return (a writer, a reader) connected to a primary that has {t}clean and to which the log's
    acknowledgements are withheld."""
    primary = await shards.primary()
    writer, reader = await shards.connect(primary), await shards.connect(primary)
    assert await writer.ask("SET {t}clean 1") == b"OK"
    shards.hold(primary)
    return writer, reader


def test_a_write_is_answered_when_the_log_has_it() -> None:
    """No byte of a write's reply is sent before the log has acknowledged its entry."""

    async def scenario(shards: Shards) -> None:
        writer, _ = await held(shards)
        assert await writer.ask("SET a 1", within=1.0) is QUIET
        shards.release()
        assert await writer.reply() == b"OK"
        for az in ("az1", "az2", "az3"):
            shards.slow(az, await shards.primary(), 0.02)
        began = shards.now_ms()
        assert await writer.ask("SET a 2") == b"OK"
        assert 20 <= shards.now_ms() - began < 40

    Shards(1, delays=FIXED).run(scenario)


def test_what_goes_to_the_log_is_what_redis_replicates() -> None:
    """The log contains the engine's effects unchanged (test_engine_beside_redis compares those with
    Redis), and every node's state equals their replay."""

    async def scenario(shards: Shards) -> None:
        talk = await shards.to_primary()
        now_ms = shards.world.loop.now_ns // 1_000_000
        shapes = Shapes(random.Random(7), lambda: now_ms)
        state, rng, wanted = State(sharded=True), random.Random(1), []
        left_out = {"KEYS", "DBSIZE", "SCAN", "FLUSHALL", "FLUSHDB",
                    "XREADGROUP", "XCLAIM", "XAUTOCLAIM"}  # fmt: skip
        count = 0
        while count < 3000:
            command = [_in_slot(w) for w in shapes.draw()]
            known = find(COMMANDS, tuple(w.encode() for w in command))
            timed = "EX" in command[0].upper() or {"EX", "PX"} & set(command)
            if known is None or timed or known.name in left_out or known.nested:
                continue
            if "blocking" in known.flags:
                continue
            count += 1
            done = execute(state, tuple(w.encode() for w in command), now_ms, rng)
            await talk.ask(tuple(command))
            effects = [list(e) for e in done.effects if e[0] not in (b"MULTI", b"EXEC")]
            wanted += [effects] if effects else []
        assert len(wanted) > 500
        assert await shards.effects() == wanted
        await shards.settled()
        digests = [await (await shards.connect(n)).ask("DEBUG DIGEST") for n in shards.names]
        assert len(set(digests)) == 1
        stored = shards.nodes[shards.names[0]].engine.keys
        assert set(stored) == set(state.values)

    Shards(2, delays=FIXED).run(scenario)


def _in_slot(word: str) -> str:
    """Return a word of a drawn command; keys get a hash tag, so that all are in one slot."""
    is_key = len(word) == 2 and word[0] in "silchzxtgp" and word[1] in "12"
    return f"{{t}}{word}" if is_key else word


@pytest.mark.parametrize("seed", range(12))
def test_a_transaction_or_script_is_there_whole_or_not_at_all(seed: int) -> None:
    """Each is one entry of the log, so a failover preserves all of its writes or none."""
    script = "redis.call('SET', KEYS[1], ARGV[1]) redis.call('SET', KEYS[2], ARGV[1])"

    async def scenario(shards: Shards) -> None:
        for round in range(3):
            primary = await shards.primary()
            talk = await shards.connect(primary)
            for i in range(20):
                value = f"{round}.{i}"
                talk.send("MULTI", f"SET {{t}}a {value}", f"SET {{t}}b {value}", "EXEC",
                          ("EVAL", script, 2, "{t}c", "{t}d", value))  # fmt: skip
            await asyncio.sleep(random.Random(f"{seed}.{round}").random() * 0.004)
            shards.kill(primary)
            talk = await shards.to_primary()
            a, b, c, d = await talk.ask("MGET {t}a {t}b {t}c {t}d")
            assert (a, c) == (b, d)
            shards.start_node(primary)
            await shards.settled()
        for entry in await shards.effects():
            assert len(entry) == 2
            assert entry[0][2] == entry[1][2]

    Shards(seed, options=SHORT).run(scenario)


def test_replies_keep_their_order_and_go_as_soon_as_they_may() -> None:
    """A reply is sent when it and all earlier replies of its connection may be: an earlier one does
    not wait for a later write."""

    async def scenario(shards: Shards) -> None:
        writer, _ = await held(shards)
        writer.send("PING", "SET {t}a 1", "GET {t}clean", "PING")
        assert await writer.reply(SOON) == b"PONG"
        assert await writer.reply(0.5) is QUIET
        shards.release()
        assert [await writer.reply() for _ in range(3)] == [b"OK", b"1", b"PONG"]

    Shards(3).run(scenario)


@pytest.mark.parametrize(
    ("write", "then", "reply"),
    [
        ("SET {t}a x", "SETNX {t}a y", 0),
        ("SADD {t}a x", "SADD {t}a x", 0),
        ("SET {t}a x", "LPUSH {t}a y", "WRONGTYPE"),
        ("SET {t}a x", "INCR {t}a", "ERR value is not an integer"),
        ("RPUSH {t}a x", "LINDEX {t}a 5", None),
        ("DEL {t}clean", "DEL {t}clean", 0),
        ("SET {t}a x", "SET {t}a y XX GET", b"x"),
        ("HSET {t}a f 1", "HSETNX {t}a f 2", 0),
        ("ZADD {t}a 1 m", "ZADD {t}a NX 2 m", 0),
        ("DEL {t}clean", "EXPIRE {t}clean 100", 0),
        ("DEL {t}clean", "RENAME {t}clean {t}b", "ERR no such key"),
    ],
)
def test_answers_that_show_what_is_not_committed_wait_too(
    write: str, then: str, reply: object
) -> None:
    """Replies of writes without effect and error replies wait if they depend on an uncommitted
    key."""

    async def scenario(shards: Shards) -> None:
        writer, reader = await held(shards)
        writer.send(write)
        await asyncio.sleep(SOON)
        assert await reader.ask(then, within=0.5) is QUIET
        shards.release()
        got = await reader.reply()
        assert str(got).startswith(reply) if isinstance(reply, str) else got == reply

    Shards(4).run(scenario)


# The first key that exists decides the reply; later keys are not read.
STOP_EARLY = {"MSETNX", "LMPOP", "BLMPOP", "ZMPOP", "BZMPOP", "BLPOP", "BRPOP", "BZPOPMIN",
              "BZPOPMAX"}  # fmt: skip
MAKE = {
    "s": ["SET # 12"], "i": ["SET # 12"], "l": ["RPUSH # 1 2 3"], "c": ["SADD # 1 2"],
    "h": ["HSET # a 1"], "z": ["ZADD # 1 1 2 2"], "x": ["ZADD # 0 a 0 b"],
    "g": ["GEOADD # 13.3 38.1 a 15.0 37.5 b"], "p": ["PFADD # a b"],
    "t": ["XADD # 1-1 a 1", "XADD # 2-0 a 2", "XGROUP CREATE # g 0",
          "XREADGROUP GROUP g alice COUNT 1 STREAMS # >"],
}  # fmt: skip


def _made() -> list[str]:
    """Return the commands that create two keys of every type."""
    return [
        command.replace("#", f"{{t}}{kind}{i}")
        for kind, commands in MAKE.items()
        for i in (1, 2)
        for command in commands
    ]


def _state() -> State:
    state = State(sharded=True)
    for command in _made():
        done = execute(state, tuple(command.encode().split()), 10**12, random.Random(0))
        assert not isinstance(done.reply, Error)
    return state


DRAWN = {
    "DUMP": "{t}s1", "MEMORY|USAGE": "USAGE {t}s1", "OBJECT|ENCODING": "ENCODING {t}s1",
    "OBJECT|IDLETIME": "IDLETIME {t}s1", "SORT": "{t}l1",
    "SORT_RO": "{t}l1", "XSETID": "{t}t1 5-0", "XCLAIM": "{t}t1 g bob 0 1-1",
    "OBJECT|FREQ": "FREQ {t}s1",
    "SRANDMEMBER": "{t}c1", "HRANDFIELD": "{t}h1", "ZRANDMEMBER": "{t}z1", "SPOP": "{t}c1",
    "EVAL": "return#redis.call('GET',KEYS[1]) 1 {t}s1",
    "EVAL_RO": "return#redis.call('GET',KEYS[1]) 1 {t}s1",
}  # fmt: skip


def _commands(name: str, seed: int) -> list[str] | None:
    """Return a command that succeeds when every key of `MAKE` exists; None if none was drawn."""
    if name in DRAWN:
        return [name.split("|")[0], *(w.replace("#", " ") for w in DRAWN[name].split())]
    if name not in SHAPES or name == "SPUBLISH":  # it waits for its own entry
        return None
    shapes = Shapes(random.Random(f"{name}/{seed}"), lambda: 10**12)
    state = _state()
    for _ in range(3000):
        drawn = shapes.draw_of(name)
        command = [_in_slot(w) for w in drawn]
        keys = COMMANDS[name.encode()].keys_of(tuple(w.encode() for w in command))
        if not keys or len(set(keys)) < len(keys):
            continue
        trial = execute(state, tuple(w.encode() for w in command), 10**12, random.Random(0))
        if not isinstance(trial.reply, Error):
            return command
        state = _state()
    return None


def test_a_command_waits_for_each_of_its_keys_and_for_no_other() -> None:
    """For every command of the table: it waits while any one of its keys is uncommitted; while only
    another key is, a command that does not write is answered at once."""
    seen: dict[str, None] = {}

    async def check(shards: Shards, primary: str, command: list[str], key: bytes | None) -> None:
        known = find(COMMANDS, tuple(w.encode() for w in command))
        fill = await shards.connect(primary)
        await fill.ask("FLUSHALL")
        await fill.asks(*_made())
        await fill.ask("SET {t}other 1")
        shards.hold(primary)
        dirty = b"{t}other" if key is None else key
        fill.send(("PEXPIREAT", dirty, 10**15))
        await asyncio.sleep(0.01)
        talk = await shards.connect(primary)
        got = await talk.ask(tuple(command), within=SOON)
        if key is not None:
            assert got is QUIET, (command, key, got)
        elif not known.write and command[0] != "PFCOUNT":  # it stores its count
            assert got is not QUIET, command
        shards.release()
        assert await fill.reply() == 1
        if got is QUIET:
            assert await talk.reply() is not QUIET
        fill.close()
        talk.close()

    async def scenario(shards: Shards) -> None:
        primary = await shards.primary()
        for name in sorted(n.decode() for n in COMMANDS):
            command = _commands(name, 1)
            if command is None:
                continue
            seen[name] = None
            keys = COMMANDS[name.encode()].keys_of(tuple(w.encode() for w in command))
            for key in keys[:1] if name in STOP_EARLY else keys:
                await check(shards, primary, command, key)
            await check(shards, primary, command, None)

    Shards(5, nodes=1, delays=FIXED).run(scenario)
    with_keys = {n.decode() for n, k in COMMANDS.items() if k.keys[0] or k.movable}
    assert with_keys - set(seen) == {"EVALSHA", "EVALSHA_RO", "RESTORE", "SPUBLISH"}


@pytest.mark.parametrize(
    "read",
    ["DBSIZE", "KEYS *", "RANDOMKEY", "DEBUG DIGEST", "CLUSTER GETKEYSINSLOT 15891 10",
     "CLUSTER COUNTKEYSINSLOT 15891"],
)  # fmt: skip
def test_reads_without_a_key_wait_for_everything(read: str) -> None:
    """DBSIZE, KEYS and the like wait while any key is uncommitted; INFO never waits."""

    async def scenario(shards: Shards) -> None:
        writer, reader = await held(shards)
        assert await reader.ask(read, within=SOON) is not QUIET
        writer.send("SET unrelated 1")
        await asyncio.sleep(SOON)
        assert await reader.ask(read, within=0.5) is QUIET
        within = await shards.connect(await shards.primary())
        assert await within.asks("MULTI", read) == [b"OK", b"QUEUED"]
        assert await within.ask("EXEC", within=0.3) is QUIET
        assert await (await shards.connect(await shards.primary())).ask("INFO", SOON) is not QUIET
        shards.release()
        assert await reader.reply() is not QUIET

    Shards(6).run(scenario)


@pytest.mark.parametrize(
    ("write", "reply"),
    [
        ("DEL {t}clean", None),
        ("RENAME {t}clean {t}b", None),
        ("FLUSHALL", None),
        ("PEXPIREAT {t}clean 1", None),
        ("GETDEL {t}clean", None),
        ("COPY {t}clean {t}b", b"1"),
    ],
)
def test_that_a_key_is_gone_waits_too(write: str, reply: bytes | None) -> None:
    """Reads of a key whose deletion is uncommitted wait for it."""

    async def scenario(shards: Shards) -> None:
        writer, reader = await held(shards)
        writer.send(write)
        await asyncio.sleep(SOON)
        got = await reader.ask("GET {t}clean", within=0.5)
        assert got == b"1" if write.startswith("COPY") else got is QUIET
        shards.release()
        assert got == reply or await reader.reply() == reply

    Shards(7).run(scenario)


def test_a_key_that_expires_is_gone_when_that_is_committed() -> None:
    """The read that finds a key expired waits until its DEL is committed."""

    async def scenario(shards: Shards) -> None:
        primary = await shards.primary()
        talk, reader = await shards.connect(primary), await shards.connect(primary)
        assert await talk.ask("SET {t}x 1 PX 200") == b"OK"
        shards.hold(primary)
        await asyncio.sleep(0.25)
        assert await reader.ask("GET {t}x", within=0.5) is QUIET
        shards.release()
        assert await reader.reply() is None
        assert [[b"DEL", b"{t}x"]] in await shards.effects()

    Shards(8).run(scenario)


def test_a_key_that_is_written_again_is_dirty_until_the_last_is_committed() -> None:
    """A key stays dirty until the last entry that writes it is committed."""
    tracker = Tracker()
    tracker.wrote(1, [b"a", b"b"])
    tracker.wrote(2, [b"a"])
    tracker.wrote(3, [b"c"])
    assert (tracker.position([b"a"]), tracker.position([b"b"]), tracker.last) == (2, 1, 3)
    tracker.commit(1)
    assert (tracker.position([b"a"]), tracker.position([b"b"]), tracker.last) == (2, 0, 3)
    tracker.commit(2)
    assert (tracker.position([b"a", b"b"]), tracker.position([b"a", b"c"])) == (0, 3)
    tracker.commit(3)
    assert (tracker.dirty, tracker.waiting, tracker.last) == ({}, 0, 0)


def test_exec_waits_for_all_that_it_read_or_wrote() -> None:
    """EXEC waits even if it only read, and even to reply nil when WATCH aborts it."""

    async def scenario(shards: Shards) -> None:
        primary = await shards.primary()
        watching = await shards.connect(primary, "WATCH {t}a")
        writer, reader = await held(shards)
        writer.send("SET {t}a 1")
        await asyncio.sleep(SOON)
        assert await reader.asks("MULTI", "GET {t}clean", "GET {t}a") == [b"OK", b"QUEUED",
                                                                          b"QUEUED"]  # fmt: skip
        assert await reader.ask("EXEC", within=0.3) is QUIET
        assert await watching.asks("MULTI", "GET {t}clean") == [b"OK", b"QUEUED"]
        assert await watching.ask("EXEC", within=0.3) is QUIET
        fine = await shards.connect(primary)
        assert await fine.asks("MULTI", "GET {t}clean", "EXEC") == [b"OK", b"QUEUED", [b"1"]]
        shards.release()
        assert await reader.reply() == [b"1", b"1"]
        assert await watching.reply() is None

    Shards(9).run(scenario)


def test_scripts_wait_for_the_keys_that_they_looked_at() -> None:
    """The keys accessed at run time count, declared or not; the writes of a script that then fails
    are logged, and its reply waits for them."""
    fails = "redis.call('SET', KEYS[1], 'half') return redis.call('INCR', KEYS[1])"

    async def scenario(shards: Shards) -> None:
        writer, reader = await held(shards)
        writer.send("SET {t}a 1")
        await asyncio.sleep(SOON)
        undeclared = ("EVAL", "return redis.call('GET', ARGV[1])", 0, "{t}a")
        assert await reader.ask(undeclared, within=0.3) is QUIET
        other = await shards.connect(await shards.primary())
        assert await other.ask(("EVAL", "return 1", 1, "{t}a"), within=SOON) == 1
        assert await other.ask(("EVAL", fails, 1, "{t}f"), within=0.3) is QUIET
        shards.release()
        assert await reader.reply() == b"1"
        assert "not an integer" in error(await other.reply())
        assert await other.ask("GET {t}f") == b"half"
        assert [[b"SET", b"{t}f", b"half"]] in await shards.effects()

    Shards(10).run(scenario)


def test_who_is_woken_waits_for_both_writes() -> None:
    """A blocked client's reply waits for the write that woke it and for its own effect, in this
    order in the log."""

    async def scenario(shards: Shards) -> None:
        primary = await shards.primary()
        popper = await shards.connect(primary)
        popper.send("BLPOP {t}q 0")
        await asyncio.sleep(SOON)
        writer, _ = await held(shards)
        writer.send("RPUSH {t}q x")
        assert await popper.reply(0.5) is QUIET
        shards.release()
        assert await popper.reply() == [b"{t}q", b"x"]
        assert await writer.reply() == 1
        written = [e for e in await shards.effects() if e[0][1] == b"{t}q"]
        assert written == [[[b"RPUSH", b"{t}q", b"x"]], [[b"LPOP", b"{t}q"]]]

    Shards(11).run(scenario)


def test_other_work_goes_on_while_writes_wait() -> None:
    """Reads of clean keys keep their latency while a hundred writes wait for the log."""

    async def scenario(shards: Shards) -> None:
        writer, reader = await held(shards)
        for i in range(100):
            writer.send(f"SET {{t}}w{i} 1")
        worst = 0.0
        for i in range(1000):
            began = shards.now_ms()
            command, reply = (("GET {t}clean", b"1"), ("STRLEN {t}clean", 1))[i % 2]
            assert await reader.ask(command) == reply
            worst = max(worst, shards.now_ms() - began)
        assert worst < 10
        shards.release()

    Shards(12, delays=FIXED).run(scenario)


def test_what_waits_is_bounded_and_no_reply_comes_early() -> None:
    """Beyond `max-waiting` a write gets TRYAGAIN and is not executed."""

    async def scenario(shards: Shards) -> None:
        writer, reader = await held(shards)
        for i in range(50):
            writer.send(f"SET {{t}}w{i} 1")
        await asyncio.sleep(SOON)
        other = await shards.connect(await shards.primary())
        refused = error(await other.ask("SET {t}late 1", within=SOON))
        assert refused == "TRYAGAIN Too much is waiting for the transaction log"
        assert await reader.reply(0.3) is QUIET
        assert await writer.reply(0.1) is QUIET
        shards.release()
        assert [await writer.reply() for _ in range(50)] == [b"OK"] * 50
        assert await other.ask("GET {t}late") is None
        assert await other.ask("SET {t}late 2") == b"OK"

    Shards(13, options=LONG | {"max-waiting": "50"}).run(scenario)


def test_a_record_that_is_too_big_is_refused_before_it_does_anything() -> None:
    """A command whose log record would exceed `max-record-bytes` is refused before it has any
    effect."""

    async def scenario(shards: Shards) -> None:
        talk = await shards.to_primary()
        big = "x" * 2000
        assert "max-record-bytes" in error(await talk.ask(("SET", "{t}a", big)))
        await talk.asks("MULTI", ("SET", "{t}a", big[:600]), ("SET", "{t}b", big[:600]))
        assert "max-record-bytes" in error(await talk.ask("EXEC"))
        assert await talk.ask("EXISTS {t}a {t}b") == 0
        assert await talk.ask(("SET", "{t}a", big[:600])) == b"OK"
        grows = "for i = 1, 9 do redis.call('SET', KEYS[1] .. i, ARGV[1]) end"
        reply = await talk.ask(("EVAL", grows, 1, "{t}s", big[:200]))
        assert "max-record-bytes" in error(reply)
        assert await talk.ask("EXISTS {t}s1 {t}s9") == 1
        assert max(sum(len(w) for e in entry for w in e) for entry in await shards.effects()) < 1000

    Shards(14, options=LONG | {"max-record-bytes": "1000"}).run(scenario)


def test_batches_of_pipelined_writes_are_bounded_in_size() -> None:
    async def scenario(shards: Shards) -> None:
        talk = await shards.to_primary()
        value = b"x" * 1_000_000
        talk.send(*(("SET", f"{{t}}{i}", value) for i in range(30)))
        assert [await talk.reply() for _ in range(30)] == [b"OK"] * 30
        log = await shards.log()
        assert max(len(batch.payload) for batch in log) < 5_000_000
        await shards.settled()

    Shards(16).run(scenario)


def test_wait_counts_what_replicas_have_applied_since_the_last_write() -> None:
    """WAIT never answers before the client's last write is committed; its time-out starts then."""

    async def scenario(shards: Shards) -> None:
        primary, replicas = await shards.primary(), await shards.replicas()
        talk = await shards.connect(primary)
        assert await talk.asks("SET {t}a 1", "WAIT 2 1000") == [b"OK", 2]
        shards.hold(*replicas)
        began = shards.now_ms()
        assert await talk.asks("SET {t}a 2", "WAIT 1 200") == [b"OK", 0]
        assert 200 <= shards.now_ms() - began < 250
        shards.hold(primary)
        talk.send("SET {t}a 3", "WAIT 0 50")
        assert await talk.reply(0.5) is QUIET
        shards.release()
        assert [await talk.reply(), (await talk.reply()) >= 0] == [b"OK", True]
        assert CLOSED not in await talk.asks("WAIT 2 0")

    Shards(15, delays=FIXED).run(scenario)
