"""Operations of a file, one after the other, to a history; whatever does not fit names its line."""

from __future__ import annotations

from pathlib import Path

from harness.errors import HistoryError
from harness.history import History, Op


class Assembly:
    """Positions are given here; times are those of the file where they never go back, else the
    positions."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._ops: list[Op | None] = []
        self._open: dict[int | str, tuple[int, int]] = {}  # process: (line, place)
        self._in_order = True
        self._time = 0

    def add(self, line: int, op: Op) -> None:
        """Raises `HistoryError`."""
        if op.type == "invoke":
            if op.process in self._open:
                raise HistoryError(
                    f"{self._path}:{line}: process {op.process} invokes {op.f} while what it "
                    f"invoked in line {self._open[op.process][0]} is still open"
                )
            self._open[op.process] = line, len(self._ops)
        elif op.process not in self._open:
            raise HistoryError(
                f"{self._path}:{line}: process {op.process} completes {op.f}, "
                "which it never invoked"
            )
        else:
            del self._open[op.process]
        self._in_order = self._in_order and op.time >= self._time
        self._time = op.time
        self._ops.append(op)

    def drop(self, line: int, process: int | str) -> None:
        """A completion that says nothing, and what it completes."""
        if process not in self._open:
            raise HistoryError(
                f"{self._path}:{line}: process {process} completes what it never invoked"
            )
        self._ops[self._open.pop(process)[1]] = None

    def history(self) -> History:
        history = History(op for op in self._ops if op is not None)
        for index, op in enumerate(history):
            op.index = index
            if not self._in_order:
                op.time = index
        return history
