"""What happened in the simulated world, in order, as lines and as a hash of them.

The trace is of messages, disks, faults and what processes log, never of the event loop's steps:
those differ between versions of Python although nothing that anybody could see does.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import IO


class Trace:
    """Hashes every line; writes them too where a path is given."""

    def __init__(self, path: Path | None = None) -> None:
        self._hash = hashlib.blake2b(digest_size=16)
        self._path = path
        self._file: IO[str] | None = None
        self.count = 0

    def open(self) -> None:
        """Begin to write; raises OSError."""
        if self._path is not None:
            self._file = self._path.open("w", encoding="utf-8")

    def add(self, now: int, what: str) -> None:
        """One event at a true time in nanoseconds."""
        line = f"{now / 1e9:.9f} {what}\n"
        self.count += 1
        self._hash.update(line.encode())
        if self._file is not None:
            self._file.write(line)

    def digest(self) -> str:
        return self._hash.hexdigest()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
