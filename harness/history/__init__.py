"""Histories: operations, and the files that they are written to."""

from harness.history.operations import (
    LINE_BYTES_MAX,
    NEMESIS,
    History,
    HistoryWriter,
    Op,
    OpType,
    Pair,
    encode,
    read_history,
)

__all__ = [
    "LINE_BYTES_MAX",
    "NEMESIS",
    "History",
    "HistoryWriter",
    "Op",
    "OpType",
    "Pair",
    "encode",
    "read_history",
]
