"""A snapshot: a state, where in the log it is, and what tells whether it can be trusted.

An RDB file, which Redis loads too, with (a) the log's running checksum, (b) the position and (c) a
checksum of the data in auxiliary fields (the paper, 4.2), and the engine's version.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from targets.engine import State, rdb_file
from targets.engine.rdb import Malformed
from targets.memorydb_py.log.interface import Id

POSITION, LOG_CHECKSUM, DATA_CHECKSUM, LEADER, VERSION = (
    b"memorydb-position", b"memorydb-log-checksum", b"memorydb-data-checksum", b"memorydb-leader",
    b"memorydb-version",
)  # fmt: skip
KEYS_AT_ONCE = 2000


@dataclass(frozen=True)
class Snapshot:
    """`checksum`: the log's, up to `id`. `leader`: whoever leads by then. `version`: of the engine
    that wrote it."""

    state: State
    id: Id
    checksum: int
    leader: str | None
    version: int


def name_of(at: Id) -> str:
    """Of an object; names sort by position."""
    return f"snapshot-{at.n:016d}-{at.epoch:016d}.rdb"


def position_of(name: str) -> int:
    """n, or -1 for an object that is no snapshot."""
    parts = name.removesuffix(".rdb").split("-")
    known = len(parts) == 3 and parts[0] == "snapshot" and parts[1].isdecimal()
    return int(parts[1]) if known else -1


def positions(names: Sequence[str]) -> list[tuple[int, str]]:
    """(n, name) of every snapshot, the newest first."""
    return sorted(((position_of(n), n) for n in names if position_of(n) >= 0), reverse=True)


def write(snapshot: Snapshot) -> bytes:
    body = b"".join(rdb_file.body(snapshot.state))
    return rdb_file.whole(body, {
        b"redis-ver": b"7.0.15",
        VERSION: b"%d" % snapshot.version,
        POSITION: b"%d.%d" % snapshot.id,
        LOG_CHECKSUM: b"%08x" % snapshot.checksum,
        LEADER: (snapshot.leader or "").encode(),
        DATA_CHECKSUM: hashlib.sha256(body).hexdigest().encode(),
    })  # fmt: skip


async def read(data: bytes) -> Snapshot:
    """Raises `Malformed` where any of its parts is not what was written. Others may work
    meanwhile."""
    found, loading = _open(data)
    for _ in loading.steps(KEYS_AT_ONCE):
        await asyncio.sleep(0)
    return found


def check(data: bytes) -> Snapshot:
    """Whether `read` would take it, without its keys: the state stays empty."""
    return _open(data)[0]


def _open(data: bytes) -> tuple[Snapshot, rdb_file.Loading]:
    state = State(sharded=True)
    loading = rdb_file.Loading(data, state)
    told = loading.auxiliary
    try:
        epoch, _, n = told[POSITION].partition(b".")
        at = Id(int(epoch), int(n))
        checksum, version = int(told[LOG_CHECKSUM], 16), int(told[VERSION])
        data_checksum = told[DATA_CHECKSUM].decode()
        leader = told[LEADER].decode() or None
    except (KeyError, ValueError) as e:
        raise Malformed(f"no snapshot of a shard: {e}") from e
    if hashlib.sha256(loading.body).hexdigest() != data_checksum:
        raise Malformed("the checksum is not that of the data")
    return Snapshot(state, at, checksum, leader, version), loading
