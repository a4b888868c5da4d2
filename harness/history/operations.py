"""Operations and histories: what clients and the nemesis invoked, and what came back, in order."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import msgspec

from harness.errors import HistoryError

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

    @property
    def is_unclassified(self) -> bool:
        """Whether it ended in an error that no table knows, see `unclassified`."""
        return self.error is not None and self.error.startswith(_UNCLASSIFIED)

    def completed(self, type: OpType, **changes: Any) -> Op:
        """This invocation as a completion; index and time are set when it is recorded."""
        return msgspec.structs.replace(self, type=type, **changes)


_UNCLASSIFIED = "unclassified: "


def unclassified(error: str) -> str:
    """An error that no table knows, as it is recorded: such errors are counted."""
    return _UNCLASSIFIED + error


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
    def completed_value(self) -> Any:
        """The completion's value, whatever its type; None where there is none."""
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
