"""Recovery: find the newest usable snapshot, from which a copy of a shard starts."""

from __future__ import annotations

import asyncio
from collections.abc import Container

from harness.host import Host
from targets.engine.rdb import Malformed
from targets.memorydb_py.snapshots.objects import ObjectStore
from targets.memorydb_py.snapshots.snapshot import Snapshot, positions, read

RETRY_S = 0.5


async def recover(
    host: Host, objects: ObjectStore, version: int, distrusted: Container[str] = ()
) -> Snapshot | None:
    """Return the newest usable snapshot, or None: then a copy starts empty.

    `version`: the engine version of the copy; snapshots of later versions are not usable.
    `distrusted`: names of snapshots not to use. Waits until the object store is available.
    """
    while True:
        try:
            names = await objects.names()
            break
        except OSError as e:
            host.log(f"snapshots: the object store is not available: {e}")
            await asyncio.sleep(RETRY_S)
    for n, name in positions(names):
        if name in distrusted:
            continue
        try:
            found = read(await objects.get(name))
            fits(found, n, version)
        except (Malformed, OSError) as e:
            host.log(f"snapshots: {name} can't be used: {e}")
            continue
        return found
    return None


def fits(found: Snapshot, n: int, version: int) -> None:
    """Raise `Malformed` if a snapshot is not that of position n, or is of a newer engine."""
    if found.id.n != n:
        raise Malformed(f"its position is {found.id}")
    if found.version > version:
        raise Malformed(f"its engine version is {found.version}, newer than {version}")


async def usable(
    host: Host, objects: ObjectStore, version: int, distrusted: Container[str]
) -> list[tuple[int, str]]:
    """Return (n, name) of all snapshots that `recover` could use, the newest first. Raises
    OSError."""
    found = []
    for n, name in positions(await objects.names()):
        if name in distrusted:
            continue
        try:
            fits(read(await objects.get(name)), n, version)
        except Malformed as e:
            host.log(f"snapshots: {name} can't be used: {e}")
            continue
        found.append((n, name))
    return found
