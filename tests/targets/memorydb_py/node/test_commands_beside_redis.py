"""The server's own commands compared with a live Redis 7.0 in cluster mode: the same command table,
and the same replies unless they depend on the server's current state."""

from __future__ import annotations

import shlex
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from targets.engine.resp import encode
from targets.memorydb_py.node.commands import COMMANDS
from tests.support.live import Redis, redis_server
from tests.targets.memorydb_py.shards import Shards

pytestmark = pytest.mark.real

# CLIENT SETINFO was added in Redis 7.2; Redis' table has no subcommands of DEBUG.
NOT_OF_REDIS = {b"CLIENT|SETINFO", b"DEBUG", b"DEBUG|DIGEST", b"DEBUG|HELP"}

SAME = """
    AUTH a
    AUTH a b c d
    CLIENT
    CLIENT GETNAME
    CLIENT GETNAME a
    CLIENT SETNAME
    CLIENT SETNAME "a b"
    CLIENT SETNAME harness
    CLIENT GETNAME
    CLIENT NOSUCH
    CLIENT KILL
    CLIENT KILL 1.2.3.4:5
    CLIENT KILL ID 99999
    CLIENT KILL ID x
    CLIENT KILL ID
    CLIENT KILL TYPE nosuch
    CLIENT KILL TYPE pubsub
    CLIENT KILL USER nobody
    CLIENT KILL USER default ID 99999
    CLIENT KILL SKIPME maybe
    CLIENT KILL ADDR 1.2.3.4:5 SKIPME no
    CLIENT KILL NOSUCH 1
    CLIENT LIST NOSUCH
    CLIENT LIST TYPE nosuch
    CLIENT LIST TYPE pubsub
    CLIENT LIST ID x
    CLIENT LIST ID 99999
    CLIENT LIST ID
    CLIENT UNBLOCK 99999
    CLIENT UNBLOCK x
    CLIENT UNBLOCK 1 MAYBE
    CLIENT UNBLOCK 1 ERROR 2
    CLIENT REPLY maybe
    CLIENT NO-EVICT maybe
    CLIENT NO-EVICT on
    CLUSTER
    CLUSTER NOSUCH
    CLUSTER KEYSLOT foo
    CLUSTER KEYSLOT
    CLUSTER COUNTKEYSINSLOT 5
    CLUSTER COUNTKEYSINSLOT 99999
    CLUSTER COUNTKEYSINSLOT x
    CLUSTER GETKEYSINSLOT 5 10
    CLUSTER GETKEYSINSLOT 5 -1
    CLUSTER GETKEYSINSLOT 5 x
    CLUSTER GETKEYSINSLOT 99999 1
    CLUSTER SLOTS a
    COMMAND COUNT a
    COMMAND NOSUCH
    COMMAND GETKEYS
    COMMAND GETKEYS GET
    COMMAND GETKEYS GET a
    COMMAND GETKEYS NOSUCH a
    COMMAND GETKEYS PING
    COMMAND GETKEYS MSET a 1 b 2
    COMMAND INFO nosuch
    COMMAND LIST NOSUCH
    COMMAND LIST FILTERBY PATTERN zrangest*
    COMMAND LIST FILTERBY MODULE nosuch
    COMMAND DOCS nosuch
    CONFIG
    CONFIG NOSUCH
    CONFIG GET
    CONFIG GET save
    CONFIG GET nosuch
    CONFIG GET appendonly
    CONFIG GET maxmemory
    CONFIG SET
    CONFIG SET a
    CONFIG SET a b
    CONFIG SET a b c
    CONFIG SET cluster-enabled no
    CONFIG SET requirepass a requirepass b
    CONFIG RESETSTAT
    CONFIG RESETSTAT a
    CONFIG REWRITE
    DISCARD
    EXEC
    HELLO x
    HELLO 4
    HELLO 2 NOSUCH
    OBJECT NOSUCH
    PUBSUB
    PUBSUB CHANNELS
    PUBSUB CHANNELS a b
    PUBSUB NOSUCH
    PUBSUB NUMPAT
    PUBSUB NUMPAT a
    PUBSUB NUMSUB
    PUBSUB NUMSUB a b
    PUBSUB SHARDCHANNELS a*
    PUBSUB SHARDNUMSUB a
    QUIT a
    READONLY a
    READWRITE
    RESET
    SELECT 0
    SELECT 1
    SELECT x
    UNWATCH
    WAIT a b
    WAIT 0 a
    WAIT 0 -1
    WATCH
"""


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    folder: Path = tmp_path_factory.mktemp("cluster")
    bus = socket.socket()  # the default, port + 10,000, may exceed 65,535
    bus.bind(("127.0.0.1", 0))
    own = str(bus.getsockname()[1])
    bus.close()
    with redis_server(folder, "--cluster-enabled", "yes", "--cluster-port", own) as number:
        redis = Redis(number)
        redis.call("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
        while b"cluster_state:ok" not in redis.call("CLUSTER", "INFO"):
            pass
        redis.close()
        yield number


def test_the_servers_command_table_matches_redis(port: int) -> None:
    """Arity and flags equal those in COMMAND INFO."""
    redis = Redis(port)
    wrong = []
    for name, entry in COMMANDS.items():
        if name in NOT_OF_REDIS:
            continue
        lines = redis.call("COMMAND", "INFO", name).split(b"\r\n")
        at = lines.index(name.lower())
        arity, count = int(lines[at + 1][1:]), int(lines[at + 2][1:])
        flags = {w[1:].decode() for w in lines[at + 3 : at + 3 + count]} - {"no_multi"}
        ours = set(entry.flags) - {"no_multi"}  # which Redis reports for few commands only
        if (arity, flags) != (entry.arity, ours):
            wrong.append((name, (arity, sorted(flags)), (entry.arity, sorted(ours))))
    redis.close()
    assert not wrong, "\n".join(map(repr, wrong))


def test_the_servers_replies_match_redis(port: int) -> None:
    ours: list[tuple[str, Any]] = []

    async def scenario(shards: Shards) -> None:
        for line in SAME.strip().split("\n"):
            words = tuple(shlex.split(line))
            talk = await shards.connect(await shards.primary())
            ours.append((line.strip(), await talk.ask(words)))
            talk.close()

    Shards(1, nodes=1).run(scenario)
    wrong = []
    for line, reply in ours:
        redis = Redis(port)
        theirs = redis.call(*shlex.split(line))
        redis.close()
        mine = encode(_plain(reply), 2)
        if mine != theirs:
            wrong.append((line, theirs, mine))
    assert not wrong, "\n".join(map(repr, wrong))


def _plain(reply: Any) -> Any:
    """Return a reply as the node encoded it: hiredis does not distinguish simple from bulk
    strings."""
    from targets.engine.resp import Error, Simple

    if isinstance(reply, Exception):
        return Error(str(reply))
    if isinstance(reply, list):
        return [_plain(each) for each in reply]
    return Simple(reply) if reply in (b"OK", b"RESET") else reply
