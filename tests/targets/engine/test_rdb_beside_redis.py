"""The RDB format: Redis loads what the engine writes, and the engine loads what Redis writes."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from targets.engine import rdb_file
from targets.engine.digest import digest
from targets.engine.rdb import crc64
from targets.engine.resp import encode
from targets.engine.state import State
from tests.support.command_shapes import Shapes
from tests.support.engine import execute
from tests.support.live import Redis, redis_server

pytestmark = pytest.mark.real

BIG = 3000  # members: more than any compact encoding stores
READS = {
    b"string": "GET {}", b"list": "LRANGE {} 0 -1", b"set": "SORT {} ALPHA",
    b"hash": "HGETALL {}", b"zset": "ZRANGE {} 0 -1 WITHSCORES",
    b"stream": "XINFO STREAM {} FULL COUNT 0",
}  # fmt: skip
Ask = Callable[..., bytes]


@contextmanager
def redis_with(folder: Path) -> Iterator[Redis]:
    """Run a server that has loaded `dump.rdb` from a folder; yield a connection to it."""
    with redis_server(folder, "--sanitize-dump-payload", "yes") as port:
        redis = Redis(port)
        yield redis
        redis.close()


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def ours(state: State) -> Ask:
    def ask(*words: str | bytes) -> bytes:
        command = tuple(w if isinstance(w, bytes) else w.encode() for w in words)
        return encode(execute(state, command, now_ms(), random.Random(0)).reply)

    return ask


def fill(ask: Ask, seed: int) -> None:
    """Create keys of every type, small and large, with and without a time to live."""
    shapes = Shapes(random.Random(seed), now_ms)
    for _ in range(1500):
        command = shapes.draw()
        if not command[0].upper().startswith(("FLUSH", "DUMP")):
            ask(*command)
    numbers = [str(i) for i in range(BIG)]
    ask("SET", "big:string", b"\x00\xff\r\n" * 10_000)
    ask("SET", "negative", "-12345678901")
    ask("RPUSH", "big:list", *numbers, "x" * 20_000, "", "-1", "70000", "9223372036854775807")
    ask("SADD", "big:ints", *numbers)
    ask("SADD", "small:ints", "-5", "70000", "5000000000")
    ask("SADD", "big:set", *[f"m{i}" for i in numbers])
    ask("HSET", "big:hash", *[w for i in numbers for w in (f"f{i}", "v" * (int(i) % 100))])
    ask("ZADD", "big:zset", *[w for i in numbers for w in (str(int(i) / 7), f"m{i}")])
    ask("ZADD", "odd:zset", "inf", "a", "-inf", "b", "1e-300", "c", "0.1", "d")
    for i in range(350):
        other = ["other", "y" * (i % 70)] if i % 5 == 0 else []
        ask("XADD", "big:stream", f"{i // 3 + 1}-{i % 3 * 500}", "field", str(i), *other)
    ask("XDEL", "big:stream", "1-0", "50-500", "40-0")
    for of in ("1-9223372036854775809", "2-0", "2-18446744073709551615", "18446744073709551615-1"):
        ask("XADD", "wide:stream", of, "f", "v")  # differences overflow a signed 64-bit integer
    ask("XGROUP", "CREATE", "big:stream", "g", "0")
    ask("XREADGROUP", "GROUP", "g", "alice", "COUNT", "50", "STREAMS", "big:stream", ">")
    ask("XREADGROUP", "GROUP", "g", "bob", "COUNT", "20", "STREAMS", "big:stream", ">")
    ask("XACK", "big:stream", "g", "2-0", "3-0")
    ask("XDEL", "big:stream", "5-0")
    ask("XGROUP", "CREATECONSUMER", "big:stream", "g", "carol")
    ask("XGROUP", "CREATE", "big:stream", "h", "$", "ENTRIESREAD", "7")
    ask("EXPIRE", "big:list", "1000")
    ask("PEXPIREAT", "big:stream", "4000000000000")


def shown(ask: Ask) -> dict[bytes, tuple[bytes, ...]]:
    """Return the (type, value, expiry time) of every key, independent of the server's ordering."""
    found = {}
    keys = ask("KEYS", "*").split(b"\r\n")[2::2]
    for key in sorted(keys):
        kind = ask("TYPE", key)[1:-2]
        read = [w.encode() if w != "{}" else key for w in READS[kind].split()]
        value = ask(*read)
        if kind == b"hash":
            value = b" ".join(sorted(value.split(b"\r\n")))
        if kind == b"stream":  # the number of radix tree nodes may differ
            value = b"".join(value.split(b"radix-tree-nodes")[1].split(b"last-generated")[1:])
        found[key] = (kind, value, ask("PEXPIRETIME", key))
    return found


@pytest.mark.parametrize("seed", range(3))
def test_redis_loads_what_we_write(tmp_path: Path, seed: int) -> None:
    state = State()
    fill(ours(state), seed)
    data = rdb_file.write(state, {b"position": b"7 8", b"redis-ver": b"7.0.15"})
    (tmp_path / "dump.rdb").write_bytes(data)
    with redis_with(tmp_path) as redis:
        assert shown(redis.call) == shown(ours(state))
    again, auxiliary = rdb_file.read(data)
    assert auxiliary[b"position"] == b"7 8"
    assert digest(again) == digest(state)


@pytest.mark.parametrize("seed", range(3))
def test_we_load_what_redis_writes(tmp_path: Path, seed: int) -> None:
    with redis_with(tmp_path) as redis:
        fill(redis.call, seed)
        assert redis.call("SAVE") == b"+OK\r\n"
        state, auxiliary = rdb_file.read((tmp_path / "dump.rdb").read_bytes())
        assert auxiliary[b"redis-ver"].startswith(b"7.0")
        assert shown(ours(state)) == shown(redis.call)


def test_values_are_copied_both_ways_by_dump_and_restore(tmp_path: Path) -> None:
    state = State()
    one = ours(state)
    with redis_with(tmp_path) as redis:
        for source, sink in ((one, redis.call), (redis.call, one)):
            fill(source, 7)
            expected = shown(source)
            sink("FLUSHALL")
            for key, (_, _, end) in expected.items():
                reply = source("DUMP", key)
                payload = reply.split(b"\r\n", 1)[1][:-2]
                ttl = end[1:-2] if end[1:2] != b"-" else b"0"
                assert sink("RESTORE", key, ttl, payload, "ABSTTL") == b"+OK\r\n", key
                assert sink("RESTORE", key, ttl, payload) == (
                    b"-BUSYKEY Target key name already exists.\r\n"
                )
            assert shown(sink) == expected
            source("FLUSHALL")


def test_bad_payloads_are_refused_as_redis_does(tmp_path: Path) -> None:
    """After any change of one byte, RESTORE either reports an error or restores a usable value."""
    state = State()
    one = ours(state)
    fill(one, 1)
    with redis_with(tmp_path) as redis:
        for words in (
            ("k", "0", ""), ("k", "0", "x" * 40), ("k", "-1", "x"), ("k", "x", "x"), ("k", "0"),
            ("k", "0", "x", "FOO"), ("k", "0", "x", "FREQ", "256"),
            ("k", "0", "x", "IDLETIME", "-1"),
        ):  # fmt: skip
            assert one("RESTORE", *words) == redis.call("RESTORE", *words), words
        rng = random.Random(5)
        for key in ("big:stream", "big:list", "small:ints", "odd:zset", "big:hash"):
            payload = one("DUMP", key).split(b"\r\n", 1)[1][:-2]
            other = payload[:-1] + bytes([payload[-1] ^ 1])
            assert one("RESTORE", "k", "0", other).startswith(b"-ERR DUMP payload")
            for _ in range(60):
                at = rng.randrange(len(payload) - 10)
                data = payload[:at] + bytes([rng.randrange(256)]) + payload[at + 1 : -8]
                data += crc64(data).to_bytes(8, "little")
                reply = one("RESTORE", "k", "0", data, "REPLACE")
                assert reply in (b"+OK\r\n", b"-ERR Bad data format\r\n"), reply
                if reply == b"+OK\r\n":
                    shown(one)
            one("DEL", "k")
