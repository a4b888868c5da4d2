"""Reads and writes histories of other tools: Jepsen's EDN and JSON, Porcupine's logs and texts,
texts of transactions.

A reader returns the `History` in a file; values are JSON data, with keywords as strings. Errors
name the file, the line, and what was expected.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from harness.errors import UsageError
from harness.formats import jepsen, porcupine, transactions
from harness.history import History, read_history


class Format(NamedTuple):
    """A file format. `read` takes a path, whether nil is a value in a read, and whether values are
    [key, value]; it returns (history, warnings) and raises `HistoryError`. `keyed`: values are
    always [key, value]. `timed`: whether the order of operations is that of real time."""

    about: str
    suffix: str
    read: Callable[[Path, bool, bool], tuple[History, list[str]]]
    keyed: bool = False
    timed: bool = True


FORMATS: Mapping[str, Format] = {
    "jsonl": Format("the harness' own", ".jsonl", lambda path, *_: read_history(path)),
    "edn": Format(
        "Jepsen, EDN", ".edn", lambda path, nil, keyed: (
            jepsen.read_edn(path, nil_is_a_value=nil, independent=keyed), []
        )
    ),
    "json": Format(
        "Jepsen, elle-cli: JSON", ".json",
        lambda path, nil, keyed: (
            jepsen.read_json(path, nil_is_a_value=nil, independent=keyed), []
        ),
    ),
    "jepsen-log": Format(
        "Jepsen's log of etcd, as Porcupine has it", ".log",
        lambda path, *_: (porcupine.read_log(path), []),
    ),
    "kv": Format(
        "Porcupine's texts of a key-value store", ".txt",
        lambda path, *_: (porcupine.read_kv(path), []), keyed=True,
    ),
    "awdit": Format(
        "AWDIT's texts of transactions in sessions", ".txt",
        lambda path, *_: (transactions.read_awdit(path), []), timed=False,
    ),
    "plume": Format(
        "texts of transactions as Plume, IsoVista and PolySI have them", ".txt",
        lambda path, *_: (transactions.read_plume(path), []), timed=False,
    ),
}  # fmt: skip


def format_of(path: Path, name: str | None) -> Format:
    """Return the format of that name, or that of the file's suffix. Raises `UsageError`."""
    if name is not None:
        return FORMATS[name]
    for known in FORMATS.values():
        if path.suffix == known.suffix:
            return known
    suffixes = ", ".join(f"{f.suffix} ({n})" for n, f in FORMATS.items())
    raise UsageError(f"{path}: unknown suffix: give --format, or one of {suffixes}")
