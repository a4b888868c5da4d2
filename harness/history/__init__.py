"""Histories: operations, events, data derived from both, and the files of a run.

`operations` defines what clients and the nemesis invoke; `events` everything else in a history, as
typed structs; `files` a history on disk; `record` the contents of test.json, results.json and
hashes.json; `recorded` a history with derived data, each computed once; `columns` operations as
arrays of numbers.
"""

from harness.history.files import LINE_BYTES_MAX, HistoryWriter, encode, read_history
from harness.history.operations import NEMESIS, History, Op, OpType, Pair

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
