"""The trace of a simulated run: its events in order, as text lines and as a hash of them.

It records messages, disk operations, faults and log lines, never the event loop's steps: those
differ between versions of Python even where the observable behaviour is the same.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from harness.errors import HistoryError


class Trace:
    """Hashes the line of every event, and writes it to a file if a path is given."""

    def __init__(self, path: Path | None = None) -> None:
        self._hash = hashlib.blake2b(digest_size=16)
        self._path = path
        self._file: IO[str] | None = None
        self.count = 0
        self._sealed = False

    def open(self) -> None:
        """Create the file, if there is a path; raises `HistoryError`."""
        if self._path is not None:
            with self._history_errors():
                self._file = self._path.open("w", encoding="utf-8")

    def add(self, now: int, what: str) -> None:
        """Record an event at `now`, in nanoseconds since the start of the world."""
        if self._sealed:
            return
        line = f"{now // 10**9}.{now % 10**9:09d} {what}\n"
        self.count += 1
        self._hash.update(line.encode())
        if self._file is not None:
            with self._history_errors():
                self._file.write(line)

    def seal(self) -> None:
        """Ignore all later events: the run has ended."""
        self._sealed = True

    def digest(self) -> str:
        return self._hash.hexdigest()

    def close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            with self._history_errors():
                file.close()

    @contextlib.contextmanager
    def _history_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as e:
            raise HistoryError(f"can't write {self._path}: {e.strerror}") from e
