"""Histories of transactions in the formats of AWDIT, Plume and PolySI, without times.

Each transaction is an operation `txn`, whose process is its session. Real time is not recorded:
order across sessions has no meaning.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from harness.errors import HistoryError
from harness.formats.jepsen import read_text
from harness.history import History, Op

_AWDIT = re.compile(r"([rw])\s+(\S+)\s+(\S+)\Z")
_PLUME = re.compile(r"([rw])\(([^,()]+),([^,()]+),([^,()]+),([^,()]+)\)\Z")
Step = list[str]


def read_awdit(path: Path) -> History:
    """Read lines of `w KEY VALUE` and `r KEY VALUE`, `-----` between transactions and `=====`
    between sessions. Raises `HistoryError`."""
    session, found = 0, False
    steps: list[Step] = []
    done: list[tuple[int, list[Step]]] = []
    for number, line in _lines(path):
        if set(line) == {"-"} or set(line) == {"="}:
            done.append((session, steps))
            steps = []
            session += line[0] == "="
            continue
        match = _AWDIT.match(line)
        if match is None:
            raise HistoryError(f"{path}:{number}: expected 'r KEY VALUE', 'w KEY VALUE', -- or ==")
        found = True
        steps.append(list(match.groups()))
    if not found:
        raise HistoryError(f"{path}: no transactions")
    return _history([*done, (session, steps)])


def read_plume(path: Path) -> History:
    """Read lines of `w(KEY,VALUE,SESSION,TRANSACTION)` and `r(…)`, the format of Plume, IsoVista
    and PolySI. Raises `HistoryError`."""
    done: dict[tuple[str, str], list[Step]] = {}
    for number, line in _lines(path):
        match = _PLUME.match(line)
        if match is None:
            raise HistoryError(f"{path}:{number}: expected 'r(KEY,VALUE,SESSION,TRANSACTION)' or w")
        what, key, value, session, transaction = (part.strip() for part in match.groups())
        done.setdefault((session, transaction), []).append([what, key, value])
    if not done:
        raise HistoryError(f"{path}: no transactions")
    sessions: dict[str, int] = {}
    return _history(
        [(sessions.setdefault(s, len(sessions)), steps) for (s, _), steps in done.items()]
    )


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if line.strip():
            yield number, line.strip()


def _history(transactions: list[tuple[int, list[Step]]]) -> History:
    history = History()
    for session, steps in transactions:
        if not steps:
            continue
        for kind in ("invoke", "ok"):
            at = len(history)
            history.append(Op(at, at, kind, session, "txn", steps))
    return history
