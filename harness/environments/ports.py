"""Ports for servers on this machine that nobody else takes before the servers bind them.

They are outside the range from which the kernel assigns ports to outgoing connections, where that
leaves any, and a lock file keeps other runs of the harness away from them for as long as this
process lives.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import tempfile
from itertools import chain
from pathlib import Path

from harness.errors import EnvironmentFailed

LOOPBACK = "127.0.0.1"
FIRST, LAST = 15_000, 61_000
DEFAULT_RANGE = (32_768, 60_999)
_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")


class Ports:
    """Ports that this process has locked, until `close`."""

    def __init__(self) -> None:
        self._locks: dict[int, int] = {}  # file descriptors by port
        self._folder = Path(tempfile.gettempdir()) / f"harness-ports-{os.getuid()}"

    def take(self, port: int | None = None) -> int:
        """Lock a port, or any free one, and return it. Raises OSError if the given port is taken,
        `EnvironmentFailed` if none is free."""
        if port is not None:
            self._take(port)
            return port
        low, high = _assigned_by_the_kernel()
        outside = [p for p in range(FIRST, LAST) if not low <= p <= high]
        inside = range(max(low, FIRST), min(high, LAST))
        candidate: int
        for candidate in chain(outside, inside):
            if candidate in self._locks:
                continue
            with contextlib.suppress(OSError):
                self._take(candidate)
                return candidate
        raise EnvironmentFailed(f"no port between {FIRST} and {LAST} is free")

    def _take(self, port: int) -> None:
        """Lock a port on which nothing listens. Raises OSError."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        lock = os.open(self._folder / str(port), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with socket.socket() as s:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                s.bind((LOOPBACK, port))
        except OSError:
            os.close(lock)
            raise
        self._locks[port] = lock

    def close(self) -> None:
        """Unlock all ports."""
        for lock in self._locks.values():
            os.close(lock)
        self._locks.clear()


def _assigned_by_the_kernel() -> tuple[int, int]:
    """Return the first and the last port that the kernel assigns by itself."""
    try:
        low, high = _RANGE.read_text().split()
        return int(low), int(high)
    except (OSError, ValueError):
        return DEFAULT_RANGE
