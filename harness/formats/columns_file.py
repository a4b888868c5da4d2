"""A cache of the columns of histories, so that a million operations need not be parsed again.

Files are in the user's cache folder ($XDG_CACHE_HOME/harness or ~/.cache/harness), and are read
from nowhere else. A file is named by the checksum of its history and begins with a checksum of
itself; it is ignored if it is damaged, belongs to another history, or was made with other options.
The newest files are kept, up to `KEPT_BYTES`.
"""

from __future__ import annotations

import contextlib
import mmap
import os
from array import array
from pathlib import Path
from typing import Any

import anycrc
import msgspec

from harness.errors import HistoryError
from harness.history.columns import DIFFERED, Columns, freeze
from harness.results import write_whole

VERSION = 1
KEPT_BYTES = 2 << 30
_CRC = anycrc.Model("CRC64-XZ")
_NUMBERS = {
    "call": "q",
    "ret": "q",
    "key": "i",
    "f": "i",
    "shape": "i",
    "a": "i",
    "b": "i",
    "c": "i",
}


class _Stored(msgspec.Struct):
    """The content of a file. `of`: the CRC-64 of the history. `how`: the options that the columns
    were made with. `differed`: the index of DIFFERED in the values, or -1. `columns`: the numbers,
    little-endian."""

    version: int
    of: int
    how: list[Any]
    operations: int
    columns: dict[str, bytes]
    keys: list[Any]
    names: list[str]
    values: list[Any]
    differed: int


def folder() -> Path:
    """Return the user's cache folder for columns."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(given) if given.startswith("/") else Path.home() / ".cache"
    return base / "harness" / "columns"


def kept_for(history: Path) -> Path:
    """Return the path of the cached columns of a history, whether or not they exist."""
    return _file(_checksum(history))


def _file(checksum: int) -> Path:
    return folder() / f"{checksum:016x}.columns"


def load(history: Path, how: list[Any]) -> Columns | None:
    """Return the cached columns of a history made with the options `how`, or None."""
    try:
        if not folder().is_dir() or not _is_ours(folder()):
            return None
        checksum = _checksum(history)
        kept = memoryview(_file(checksum).read_bytes())
        if _CRC.calc(kept[8:]) != int.from_bytes(kept[:8], "little"):
            return None
        stored = msgspec.msgpack.decode(kept[8:], type=_Stored)
        if (stored.version, stored.how) != (VERSION, how) or stored.of != checksum:
            return None
    except (OSError, RuntimeError, msgspec.MsgspecError):
        return None
    columns = Columns()
    for name, kind in _NUMBERS.items():
        numbers = array(kind)
        numbers.frombytes(stored.columns[name])
        if len(numbers) != (0 if name == "key" and not stored.keys else stored.operations):
            return None
        setattr(columns, name, numbers)
    columns.keys = [freeze(key) for key in stored.keys]
    columns.names = stored.names
    columns.values = stored.values
    for i, value in enumerate(stored.values):
        if type(value) in (list, dict):
            columns.values[i] = freeze(value)
    if stored.differed >= 0:
        columns.values[stored.differed] = DIFFERED
    return columns


def save(history: Path, how: list[Any], columns: Columns) -> None:
    """Cache the columns of a history. Where the file can't be written nothing happens."""
    values: list[Any] = list(columns.values)
    differed = next((i for i, value in enumerate(values) if value is DIFFERED), -1)
    if differed >= 0:
        values[differed] = None
    numbers = {name: getattr(columns, name).tobytes() for name in _NUMBERS}
    with contextlib.suppress(OSError, RuntimeError, HistoryError):
        folder().mkdir(mode=0o700, parents=True, exist_ok=True)
        if not _is_ours(folder()):
            return
        checksum = _checksum(history)
        stored = _Stored(VERSION, checksum, how, len(columns), numbers,
                         list(columns.keys), columns.names, values, differed)  # fmt: skip
        body = msgspec.msgpack.encode(stored)
        write_whole(_file(checksum), _CRC.calc(body).to_bytes(8, "little") + body)
        _delete_oldest()


def _is_ours(path: Path) -> bool:
    """Return whether only the user can write there."""
    found = path.stat()
    return found.st_uid == os.getuid() and not found.st_mode & 0o022


def _delete_oldest() -> None:
    found = sorted(folder().glob("*.columns"), key=lambda path: path.stat().st_mtime, reverse=True)
    total = 0
    for i, path in enumerate(found):
        total += path.stat().st_size
        if i and total > KEPT_BYTES:
            path.unlink(missing_ok=True)


def _checksum(history: Path) -> int:
    with history.open("rb") as file:
        if not history.stat().st_size:
            return 0
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return int(_CRC.calc(data))
