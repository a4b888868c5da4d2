"""Processes of this machine that listen on a port, found by /proc where there is one."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from pathlib import Path

from harness.environments.ports import LOOPBACK

CONNECT_S = 0.2
_LISTENS = "0A"  # the state of a listening socket in /proc/net/tcp


async def answers(port: int) -> bool:
    """Return whether something accepts connections on a port of the loopback interface."""
    try:
        async with asyncio.timeout(CONNECT_S):
            _, writer = await asyncio.open_connection(LOOPBACK, port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True


async def kill(port: int, folder: Path) -> None:
    """SIGKILL the processes that listen on a port and work in a folder, where they can be found."""
    if not await answers(port):
        return
    for pid in listening(port):
        with contextlib.suppress(OSError):
            if _works_in(pid, folder):
                os.kill(pid, signal.SIGKILL)


def _works_in(pid: int, folder: Path) -> bool:
    return Path(f"/proc/{pid}/cwd").resolve().is_relative_to(folder.resolve())


def listening(port: int) -> list[int]:
    """Return the ids of this user's processes that listen on a port; none without /proc."""
    inodes = set()
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
                columns = line.split()
                if columns[3] == _LISTENS and int(columns[1].rpartition(":")[2], 16) == port:
                    inodes.add(f"socket:[{columns[9]}]")
    found = []
    for folder in Path("/proc").glob("[0-9]*/fd"):
        with contextlib.suppress(OSError):
            if any(os.readlink(link) in inodes for link in folder.iterdir()):
                found.append(int(folder.parent.name))
    return sorted(found)
