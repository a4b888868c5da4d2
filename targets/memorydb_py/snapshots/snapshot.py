"""A snapshot: the data of a shard at a position of its log, with what is needed to verify it.

It is an RDB file, which Redis loads too. Auxiliary fields hold the position, the log's running
checksum up to there, a checksum of the data (as in section 4.2 of the MemoryDB paper, SIGMOD 2024),
the primary, and the engine version.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from targets.engine import rdb_file
from targets.engine.protocol import Restorable
from targets.engine.rdb import Malformed
from targets.memorydb_py.log.interface import Id

POSITION, LOG_CHECKSUM, DATA_CHECKSUM, LEADER, VERSION = (
    b"memorydb-position", b"memorydb-log-checksum", b"memorydb-data-checksum", b"memorydb-leader",
    b"memorydb-version",
)  # fmt: skip
KEYS_AT_ONCE = 2000


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """`id`: the last entry that it contains. `checksum`: the log's, up to `id`. `leader`: the
    primary at `id`. `version`: the engine version of its writer. `file`: the RDB file."""

    id: Id
    checksum: int
    leader: str | None
    version: int
    file: bytes


def name_of(at: Id) -> str:
    """Return the name of the object; names sort by position."""
    return f"snapshot-{at.n:016d}-{at.epoch:016d}.rdb"


def position_of(name: str) -> int:
    """Return the n of a snapshot's name, or -1 for the name of another object."""
    parts = name.removesuffix(".rdb").split("-")
    known = len(parts) == 3 and parts[0] == "snapshot" and parts[1].isdecimal()
    return int(parts[1]) if known else -1


def positions(names: Sequence[str]) -> list[tuple[int, str]]:
    """Return (n, name) of every snapshot among the objects, the newest first."""
    return sorted(((position_of(n), n) for n in names if position_of(n) >= 0), reverse=True)


def assemble(body: bytes, id: Id, checksum: int, leader: str | None, version: int) -> Snapshot:
    """Return a snapshot of data; `body`: an RDB file without its head and checksum."""
    file = rdb_file.assemble(body, {
        b"redis-ver": b"7.0.15",
        VERSION: b"%d" % version,
        POSITION: b"%d.%d" % id,
        LOG_CHECKSUM: b"%08x" % checksum,
        LEADER: (leader or "").encode(),
        DATA_CHECKSUM: hashlib.sha256(body).hexdigest().encode(),
    })  # fmt: skip
    return Snapshot(id=id, checksum=checksum, leader=leader, version=version, file=file)


def read(file: bytes) -> Snapshot:
    """Return the snapshot in a file; raises `Malformed` if it is not an intact snapshot."""
    loader = rdb_file.Loader(file)
    fields = loader.auxiliary
    try:
        epoch, _, n = fields[POSITION].partition(b".")
        at = Id(int(epoch), int(n))
        checksum, version = int(fields[LOG_CHECKSUM], 16), int(fields[VERSION])
        data_checksum = fields[DATA_CHECKSUM].decode()
        leader = fields[LEADER].decode() or None
    except (KeyError, ValueError) as e:
        raise Malformed(f"not a snapshot of a shard: {e}") from e
    if hashlib.sha256(loader.body).hexdigest() != data_checksum:
        raise Malformed("the checksum does not match the data")
    return Snapshot(id=at, checksum=checksum, leader=leader, version=version, file=file)


async def restore(
    engine: Restorable, snapshot: Snapshot, go_on: Callable[[], bool] = lambda: True
) -> None:
    """Load a snapshot into an empty engine, as long as `go_on` returns true; other tasks run
    meanwhile. Raises `Malformed`."""
    for _ in engine.load(snapshot.file, KEYS_AT_ONCE):
        await asyncio.sleep(0)
        if not go_on():
            return
