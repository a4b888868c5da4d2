"""What becomes of blocked clients when their keys change, compared with a live Redis 7.0."""

from __future__ import annotations

import asyncio
import contextlib
import shlex
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hiredis
import pytest

from tests.support.live import Redis, redis_server
from tests.targets.memorydb_py.shards import QUIET, Shards

pytestmark = pytest.mark.real

GROUP = "XGROUP CREATE {t}x g $ MKSTREAM"
READ_GROUP = "XREADGROUP GROUP g c BLOCK 0 STREAMS {t}x >"
# The setup, the command that blocks, and the commands after it.
CASES = {
    "destination, BRPOPLPUSH": ("SET {t}d x", "BRPOPLPUSH {t}s {t}d 0", "RPUSH {t}s foo"),
    "destination, BLMOVE": ("SET {t}d x", "BLMOVE {t}s {t}d LEFT RIGHT 0", "RPUSH {t}s foo"),
    "destination, later": ("", "BLMOVE {t}s {t}d LEFT RIGHT 0", "SET {t}d x; RPUSH {t}s foo"),
    "destination, script": ("SET {t}d x", "BRPOPLPUSH {t}s {t}d 0",
                            "EVAL return(redis.call('rpush',KEYS[1],'a')) 1 {t}s"),
    "source, BRPOPLPUSH": ("", "BRPOPLPUSH {t}s {t}d 0.4", "SET {t}s x"),
    "source, BLPOP": ("", "BLPOP {t}s 2", "SET {t}s x; DEL {t}s; RPUSH {t}s a"),
    "source, two keys": ("", "BLPOP {t}s {t}u 2", "SET {t}s x; RPUSH {t}u a"),
    "source, BLMPOP": ("", "BLMPOP 0.4 1 {t}s LEFT", "SET {t}s x"),
    "source, BLMPOP of two": ("", "BLMPOP 2 2 {t}s {t}u LEFT", "SET {t}s x; RPUSH {t}u a"),
    "source, BZPOPMIN": ("", "BZPOPMIN {t}s 0.4", "SET {t}s x"),
    "source, BZPOPMIN of two": ("", "BZPOPMIN {t}s {t}u 2", "SET {t}s x; ZADD {t}u 1 a"),
    "source, BZMPOP": ("", "BZMPOP 0.4 1 {t}s MIN", "RPUSH {t}s x"),
    "source, BZMPOP of two": ("", "BZMPOP 2 2 {t}s {t}u MIN", "SET {t}s x; ZADD {t}u 1 a"),
    "stream, another type": ("", "XREAD BLOCK 400 STREAMS {t}x 0", "SET {t}x v"),
    "stream, of two": ("", "XREAD BLOCK 2000 STREAMS {t}x {t}y 0 0",
                       "SET {t}x v; XADD {t}y 1-1 a b"),
    "stream, deleted": ("XADD {t}x 1-1 a b", "XREAD BLOCK 400 STREAMS {t}x $", "DEL {t}x"),
    "group, another type": (GROUP, READ_GROUP, "SET {t}x v"),
    "group, deleted": (GROUP, READ_GROUP, "DEL {t}x"),
    "group, unlinked": (GROUP, READ_GROUP, "UNLINK {t}x"),
    "group, destroyed": (GROUP, READ_GROUP, "XGROUP DESTROY {t}x g"),
    "group, renamed": (GROUP, READ_GROUP, "RENAME {t}x {t}y"),
    "group, covered": (f"{GROUP}; XADD {{t}}n 9-1 a b", READ_GROUP, "RENAME {t}n {t}x"),
    "group, flushed": (GROUP, READ_GROUP, "FLUSHALL"),
    "group, expired": (f"{GROUP}; PEXPIRE {{t}}x 300", READ_GROUP, ""),
    "group, created again": (GROUP, READ_GROUP.replace("BLOCK 0", "BLOCK 400"),
                             f"MULTI; DEL {{t}}x; {GROUP}; EXEC"),
    "group, a list": (GROUP, READ_GROUP, "MULTI; DEL {t}x; LPUSH {t}x a; EXEC"),
    "pushed and popped": ("", "BLPOP {t}s 0.4", "MULTI; RPUSH {t}s a; LPOP {t}s; EXEC"),
    "chain": ("SET {t}c x", "BRPOPLPUSH {t}b {t}c 0", "RPUSH {t}b e; LLEN {t}b"),
}  # fmt: skip
WAIT_S = 1.5
KEYS = ("{t}s", "{t}d", "{t}x", "{t}u")


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    folder: Path = tmp_path_factory.mktemp("blocking")
    with redis_server(folder) as number:
        yield number


def commands(text: str) -> list[tuple[str, ...]]:
    return [tuple(shlex.split(line)) for line in text.split(";") if line.strip()]


def parsed(raw: bytes) -> Any:
    reader = hiredis.Reader()
    reader.feed(raw)
    return reader.gets()


def of_redis(port: int, setup: str, blocking: str, then: str) -> list[Any]:
    """Return the replies of Redis: to the commands after the one that blocks, then to that."""
    blocked, other = Redis(port), Redis(port)
    other.call("FLUSHALL")
    for words in commands(setup):
        other.call(*words)
    blocked.send(*commands(blocking)[0])
    time.sleep(0.1)
    replies = [parsed(other.call(*words)) for words in commands(then)]
    blocked._socket.settimeout(WAIT_S)
    try:
        replies.append(parsed(blocked.read()))
    except TimeoutError:
        replies.append(b"blocked")
    with contextlib.closing(other), contextlib.closing(blocked):
        return replies + [parsed(other.call("TYPE", key)) for key in KEYS]


async def of_node(shards: Shards, setup: str, blocking: str, then: str) -> list[Any]:
    blocked, other = await shards.to_primary(), await shards.to_primary()
    for words in commands(setup):
        await other.ask(words)
    blocked.send(*commands(blocking))
    await asyncio.sleep(0.1)
    replies = [await other.ask(words) for words in commands(then)]
    reply = await blocked.reply(WAIT_S)
    replies.append(b"blocked" if reply is QUIET else reply)
    return replies + [await other.ask(("TYPE", key)) for key in KEYS]


@pytest.mark.parametrize("name", CASES)
def test_blocked_clients_get_what_redis_gives(port: int, name: str) -> None:
    expected = of_redis(port, *CASES[name])
    got: list[Any] = []

    async def scenario(shards: Shards) -> None:
        got.extend(await of_node(shards, *CASES[name]))

    Shards(1, nodes=1).run(scenario)
    assert list(map(_shown, got)) == list(map(_shown, expected))


def _shown(reply: Any) -> Any:
    """Return a reply so that errors can be compared."""
    return f"error {reply}" if isinstance(reply, hiredis.ReplyError) else reply
