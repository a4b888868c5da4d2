"""Writes operations and events to the history file, and counts them for the progress line."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from harness.errors import HistoryError
from harness.history import events
from harness.history.events import Digests, FaultBegan, LogEntry, LogRead
from harness.history.files import LINE_BYTES_MAX, HistoryWriter
from harness.history.operations import NEMESIS, Op

FLUSH_EVERY_S = 0.05


class Recorder:
    """Appends operations to a history file, flushed every `FLUSH_EVERY_S`."""

    def __init__(self, path: Path, tick: Callable[[], None] = lambda: None) -> None:
        """`tick` is called at each flush."""
        self._tick = tick
        self._writer = HistoryWriter(path)
        self._timer: asyncio.TimerHandle | None = None
        self._error: HistoryError | None = None
        self.index = 0  # of the next line
        self.counts = {"invoke": 0, "ok": 0, "fail": 0, "info": 0}
        self.faults: dict[str, None] = {}  # kinds that are active now

    def __call__(self, op: Op) -> None:
        """Record an operation; raises `HistoryError` if this or an earlier write failed."""
        if self._error is not None:
            raise self._error
        self._writer.append(op)
        self.index = op.index + 1
        if op.process != NEMESIS:
            self.counts[op.type] += 1
        else:
            self._count_fault(op)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_EVERY_S, self._flush)

    def _count_fault(self, op: Op) -> None:
        found = events.fault_of(op)
        if found is None or op.type == "invoke":
            return
        if found[0] is FaultBegan and not events.was_skipped(op):
            self.faults.setdefault(found[1])
        else:
            self.faults.pop(found[1], None)

    def note(self, what: events.What, time: int, error: str | None = None) -> None:
        """Record an instantaneous event."""
        for op in events.operations(what, error, self.index, time):
            self(op)

    def note_log(self, log: Sequence[LogEntry], digests: Digests, time: int) -> None:
        """Record an audit of the transaction log, as lines below `LINE_BYTES_MAX`."""
        part: list[Any] = []
        size = 0
        for entry in log:
            length = len(msgspec.json.encode(entry)) + 1
            if size + length > LINE_BYTES_MAX // 2:
                self.note(LogRead(entries=part), time)
                part, size = [], 0
            part.append(entry)
            size += length
        self.note(LogRead(entries=part), time)
        self.note(digests, time)

    def _flush(self) -> None:
        self._timer = None
        self._tick()
        try:
            self._writer.flush()
        except HistoryError as e:
            self._error = e

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._writer.close()
