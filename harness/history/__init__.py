"""Histories: operations, events, what is computed of both, and the files of a run.

`operations` what clients and the nemesis invoked; `events` everything else that a history holds,
typed; `files` a history on disk; `record` test.json, results.json and hashes.json; `recorded` a
history with all that checkers ask of it, each computed once; `columns` operations as numbers.
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
