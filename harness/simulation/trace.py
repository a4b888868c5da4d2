"""What happened in the simulated world, in order, as lines and as a hash of them.

The trace is of messages, disks, faults and what processes log, never of the event loop's steps:
those differ between versions of Python although nothing that anybody could see does.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from harness.errors import HistoryError


class Trace:
    """Hashes every line; writes them too where a path is given."""

    def __init__(self, path: Path | None = None) -> None:
        self._hash = hashlib.blake2b(digest_size=16)
        self._path = path
        self._file: IO[str] | None = None
        self.count = 0
        self._sealed = False

    def open(self) -> None:
        """Begin to write; raises `HistoryError`."""
        if self._path is not None:
            with self._told():
                self._file = self._path.open("w", encoding="utf-8")

    def add(self, now: int, what: str) -> None:
        """One event, nanoseconds after the world began."""
        if self._sealed:
            return
        line = f"{now // 10**9}.{now % 10**9:09d} {what}\n"
        self.count += 1
        self._hash.update(line.encode())
        if self._file is not None:
            with self._told():
                self._file.write(line)

    def seal(self) -> None:
        """The world is over: what comes now is not of it."""
        self._sealed = True

    def digest(self) -> str:
        return self._hash.hexdigest()

    def close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            with self._told():
                file.close()

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as e:
            raise HistoryError(f"can't write {self._path}: {e.strerror}") from e
