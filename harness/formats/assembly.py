"""Assembles a history from the operations of a file; errors name their line."""

from __future__ import annotations

from pathlib import Path

from harness.errors import HistoryError
from harness.history import History, Op


class Assembly:
    """Sets the index of each operation to its position. Times are kept if they never decrease, else
    they are the positions, too."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._ops: list[Op | None] = []
        self._open: dict[int | str, tuple[int, int]] = {}  # process: (line, position)
        self._in_order = True
        self._time = 0

    def add(self, line: int, op: Op) -> None:
        """Append an operation; raises `HistoryError` if its process can't invoke or complete it."""
        if op.type == "invoke":
            if op.process in self._open:
                raise HistoryError(
                    f"{self._path}:{line}: process {op.process} invokes {op.f} while its operation "
                    f"of line {self._open[op.process][0]} is still open"
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
        """Drop a completion that carries no information, with its invocation."""
        if process not in self._open:
            raise HistoryError(
                f"{self._path}:{line}: process {process} completes an operation it never invoked"
            )
        self._ops[self._open.pop(process)[1]] = None

    def history(self) -> History:
        """Return the history of the operations that were added."""
        history = History(op for op in self._ops if op is not None)
        for index, op in enumerate(history):
            op.index = index
            if not self._in_order:
                op.time = index
        return history
