"""Operations, histories, and the file that a history is appended to while a run goes on.

A history is the ordered list of what clients and the nemesis invoked and what came back. On disk
it is JSON Lines, one operation a line of at most `LINE_BYTES_MAX` bytes. The writer flushes whole
lines only, many times a second: a killed run leaves a prefix, at worst with a torn last line,
which the reader drops and says so.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import msgspec

from harness.errors import HistoryError

LINE_BYTES_MAX = 4096
NEMESIS = "nemesis"
OpType = Literal["invoke", "ok", "fail", "info"]


class Op(msgspec.Struct, omit_defaults=True, gc=False):
    """One line of a history.

    `index`: position in the history. `time`: nanoseconds since the start of the run.
    `type`: `invoke`; `ok`: it happened; `fail`: it did not; `info`: unknown, concurrent with
    everything after it. `process`: an int for clients, `"nemesis"` for the nemesis. `value` is
    `[key, value]` where a workload runs over independent keys. `node`: who answered; `role`: what
    that node said it was (`primary`, `replica`) when it answered, where it was asked.
    """

    index: int
    time: int
    type: OpType
    process: int | str
    f: str
    value: Any = None
    error: str | None = None
    node: str | None = None
    role: str | None = None

    def completed(self, type: OpType, **changes: Any) -> Op:
        """This invocation as a completion; index and time are set when it is recorded."""
        return msgspec.structs.replace(self, type=type, **changes)


class Pair(msgspec.Struct, gc=False):
    """An invocation and its completion; `done` is None where the run ended before it came."""

    invoke: Op
    done: Op | None = None

    @property
    def type(self) -> OpType:
        """`ok`, `fail` or `info`; what never completed is `info`."""
        return self.done.type if self.done is not None else "info"

    @property
    def value(self) -> Any:
        """What is known of the operation: the result if it is ok, else what was asked for."""
        if self.done is not None and self.done.type == "ok":
            return self.done.value
        return self.invoke.value

    @property
    def said(self) -> Any:
        """The completion's value, whatever its type; for the nemesis, what it did."""
        return self.done.value if self.done is not None else None


class History(list[Op]):
    """Operations in the order in which they were recorded."""

    def pairs(self) -> list[Pair]:
        """Client invocations with their completions, in order of invocation."""
        return self._pair(op for op in self if op.process != NEMESIS)

    def nemesis_pairs(self) -> list[Pair]:
        """The nemesis' operations with their completions, in order."""
        return self._pair(op for op in self if op.process == NEMESIS)

    @staticmethod
    def _pair(ops: Iterable[Op]) -> list[Pair]:
        pairs: list[Pair] = []
        open_by_process: dict[int | str, Pair] = {}
        for op in ops:
            if op.type == "invoke":
                if op.process in open_by_process:
                    raise HistoryError(
                        f"operation {op.index}: process {op.process} invokes while its operation "
                        f"{open_by_process[op.process].invoke.index} is still open"
                    )
                pair = Pair(op)
                pairs.append(pair)
                open_by_process[op.process] = pair
            elif op.process in open_by_process:
                open_by_process.pop(op.process).done = op
            else:
                raise HistoryError(
                    f"operation {op.index}: process {op.process} completes what it never invoked"
                )
        return pairs


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Op)


def encode(op: Op) -> bytes:
    """One line of JSON, without the newline."""
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
        """Take an operation; it reaches the file at the next `flush`, or at once past 64 KiB."""
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
        """Write what is pending; raises `HistoryError` and keeps the rest if that fails."""
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
    """Read a history; returns it with warnings (a torn last line that was dropped).

    Raises `HistoryError` naming file and line where a line is not an operation.
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
