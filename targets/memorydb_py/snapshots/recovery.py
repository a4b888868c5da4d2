"""Where a copy of a shard begins: at the newest snapshot that can be trusted."""

from __future__ import annotations

import asyncio
from collections.abc import Container

from harness.host import Host
from targets.engine.rdb import Malformed
from targets.memorydb_py.snapshots.objects import Objects
from targets.memorydb_py.snapshots.snapshot import Snapshot, check, positions, read

RETRY_S = 0.5


async def recover(
    host: Host, objects: Objects, version: int, distrusted: Container[str] = ()
) -> Snapshot | None:
    """None where there is no snapshot that this version reads: then a copy begins with nothing.
    Waits for the store as long as it takes."""
    while True:
        try:
            names = await objects.names()
            break
        except OSError as e:
            host.log(f"snapshots: the store can't be had: {e}")
            await asyncio.sleep(RETRY_S)
    for n, name in positions(names):
        if name in distrusted:
            continue
        try:
            found = await read(await objects.get(name))
            fits(found, n, version)
        except (Malformed, OSError) as e:
            host.log(f"snapshots: {name} can't be used: {e}")
            continue
        return found
    return None


def fits(found: Snapshot, n: int, version: int) -> None:
    """Raises `Malformed` where it is not of a position, or of a newer engine."""
    if found.id.n != n:
        raise Malformed(f"it is of {found.id}")
    if found.version > version:
        raise Malformed(f"it is of engine version {found.version}, not {version}")


async def usable(
    host: Host, objects: Objects, version: int, distrusted: Container[str]
) -> list[tuple[int, str]]:
    """(n, name) of the snapshots that `recover` would begin with, one after the other, the newest
    first. Raises OSError."""
    found = []
    for n, name in positions(await objects.names()):
        if name in distrusted:
            continue
        try:
            fits(check(await objects.get(name)), n, version)
        except Malformed as e:
            host.log(f"snapshots: {name} can't be used: {e}")
            continue
        found.append((n, name))
    return found
