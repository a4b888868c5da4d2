"""Columns of a history in a file beside it, so that a million operations need not be parsed again.

`history.jsonl` has `history.jsonl.columns`. It names the checksum of the history that it was made
of and is taken for nothing where that is another one, where it was made otherwise, or where it is
damaged: it begins with a checksum of itself.
"""

from __future__ import annotations

import contextlib
import mmap
from array import array
from pathlib import Path
from typing import Any

import anycrc
import msgspec

from harness.errors import HistoryError
from harness.history.columns import Columns, freeze
from harness.models.base import DIFFERED
from harness.results import write_whole

VERSION = 1
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
    """`of`: the CRC-64 of the history. `how`: what the columns were made with. `differed`: the
    place of DIFFERED among the values, or -1. `columns`: numbers, little-endian."""

    version: int
    of: int
    how: list[Any]
    operations: int
    columns: dict[str, bytes]
    keys: list[Any]
    names: list[str]
    values: list[Any]
    differed: int


def beside(history: Path) -> Path:
    return history.with_name(history.name + ".columns")


def load(history: Path, how: list[Any]) -> Columns | None:
    """None where there is no file, or not one of this history made this way."""
    try:
        kept = memoryview(beside(history).read_bytes())
        if _CRC.calc(kept[8:]) != int.from_bytes(kept[:8], "little"):
            return None
        stored = msgspec.msgpack.decode(kept[8:], type=_Stored)
        if (stored.version, stored.how) != (VERSION, how) or stored.of != _checksum(history):
            return None
    except (OSError, msgspec.MsgspecError):
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
    for at, value in enumerate(stored.values):
        if type(value) in (list, dict):
            columns.values[at] = freeze(value)
    if stored.differed >= 0:
        columns.values[stored.differed] = DIFFERED
    return columns


def save(history: Path, how: list[Any], columns: Columns) -> None:
    """Nothing happens where it can't be written."""
    values: list[Any] = list(columns.values)
    differed = next((at for at, value in enumerate(values) if value is DIFFERED), -1)
    if differed >= 0:
        values[differed] = None
    numbers = {name: getattr(columns, name).tobytes() for name in _NUMBERS}
    with contextlib.suppress(OSError, HistoryError):
        stored = _Stored(VERSION, _checksum(history), how, len(columns), numbers,
                         list(columns.keys), columns.names, values, differed)  # fmt: skip
        body = msgspec.msgpack.encode(stored)
        write_whole(beside(history), _CRC.calc(body).to_bytes(8, "little") + body)


def _checksum(history: Path) -> int:
    with history.open("rb") as file:
        if not history.stat().st_size:
            return 0
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return int(_CRC.calc(data))
