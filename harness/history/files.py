"""The history file: appended to during a run, and read back.

It is JSON Lines, one operation per line of at most `LINE_BYTES_MAX` bytes. Whole lines are flushed
many times a second: a killed run leaves a prefix, at worst with a torn last line, which the reader
drops with a warning.
"""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path

import msgspec

from harness.errors import HistoryError
from harness.history.operations import History, Op

LINE_BYTES_MAX = 4096

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Op)


def encode(op: Op) -> bytes:
    """Return an operation as a line of JSON, without the newline."""
    return _encoder.encode(op)


class HistoryWriter:
    """Appends operations to a file; nothing recorded before an error is lost.

    Raises `HistoryError` when the file can't be opened or written (full disk, no permission).
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._pending = bytearray()
        try:
            self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
        except OSError as e:
            raise HistoryError(f"can't create {path}: {e.strerror}") from e

    def append(self, op: Op) -> None:
        """Append an operation. It is written by the next `flush`, or past 64 KiB at once."""
        line = encode(op)
        if len(line) >= LINE_BYTES_MAX:
            raise HistoryError(
                f"operation {op.index} ({op.f}) takes {len(line)} bytes, "
                f"more than the {LINE_BYTES_MAX} of a line"
            )
        self._pending += line
        self._pending += b"\n"
        if len(self._pending) > 65536:
            self.flush()

    def flush(self) -> None:
        """Write pending lines; if that fails, keep the unwritten rest and raise `HistoryError`."""
        while self._pending:
            try:
                written = os.write(self._fd, self._pending)
            except OSError as e:
                raise HistoryError(f"can't write {self.path}: {e.strerror}") from e
            del self._pending[:written]

    def close(self) -> None:
        """Flush and close; safe to call twice."""
        if self._fd < 0:
            return
        try:
            self.flush()
        finally:
            os.close(self._fd)
            self._fd = -1


def read_history(path: Path) -> tuple[History, list[str]]:
    """Read a history; return it with warnings, such as that of a torn last line.

    Raises `HistoryError`, with file and line, where a line is not an operation.
    """
    history, warnings = History(), []
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                try:
                    history.append(_decoder.decode(line))
                except (msgspec.MsgspecError, UnicodeDecodeError) as e:
                    if not line.endswith(b"\n"):
                        warnings.append(f"{path}:{number}: the last line is torn and was dropped")
                        break
                    raise HistoryError(f"{path}:{number}: not an operation: {e}") from e
    except OSError as e:
        raise HistoryError(f"can't read {path}: {e.strerror}") from e
    _check_order(path, history)
    return history, warnings


def _check_order(path: Path, history: History) -> None:
    for before, op in pairwise(history):
        if op.index <= before.index or op.time < before.time:
            raise HistoryError(
                f"{path}: operation {op.index} (time {op.time}) is out of order "
                f"after operation {before.index} (time {before.time})"
            )
