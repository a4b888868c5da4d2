"""Operations and histories: the ordered invocations and completions of clients and nemesis."""

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
    `type`: `invoke`; `ok`: it happened; `fail`: it did not; `info`: indeterminate, concurrent with
    everything after it. `process`: an int for clients, `"nemesis"` for the nemesis. `value` is
    `[key, value]` where a workload has independent keys. `node`: in an invocation the node that it
    is meant for, if any, in a completion the node that replied. `role`: the role that the node
    reported with its reply (`primary`, `replica`), if it was asked.
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
        """Whether it ended in an unclassified error, see `unclassified`."""
        return self.error is not None and self.error.startswith(_UNCLASSIFIED)

    @property
    def is_wrong_reply(self) -> bool:
        """Whether it got a reply of a wrong kind, see `wrong_reply`."""
        return self.error is not None and self.error.startswith(_WRONG_REPLY)

    def completed(self, type: OpType, **changes: Any) -> Op:
        """Return this invocation as a completion; recording it sets index and time."""
        return msgspec.structs.replace(self, type=type, **changes)


_UNCLASSIFIED = "unclassified: "


_WRONG_REPLY = "wrong reply: "


def wrong_reply(error: str) -> str:
    """Return the recorded form of a reply that no right server gives; these are violations."""
    return _WRONG_REPLY + error


def unclassified(error: str) -> str:
    """Return the recorded form of an error that is in no table; these are counted."""
    return _UNCLASSIFIED + error


class Pair(msgspec.Struct, gc=False):
    """An invocation and its completion; `done` is None where the run ended before that."""

    invoke: Op
    done: Op | None = None

    @property
    def type(self) -> OpType:
        """`ok`, `fail` or `info`, which includes operations that never completed."""
        return self.done.type if self.done is not None else "info"

    @property
    def value(self) -> Any:
        """The value of the completion if it is ok, else that of the invocation."""
        if self.done is not None and self.done.type == "ok":
            return self.done.value
        return self.invoke.value

    @property
    def completed_value(self) -> Any:
        """The value of the completion, of any type; None without one."""
        return self.done.value if self.done is not None else None


class History(list[Op]):
    """Operations in the order in which they were recorded."""

    def pairs(self) -> list[Pair]:
        """Return client invocations with their completions, in order of invocation."""
        return self._pair(op for op in self if op.process != NEMESIS)

    def nemesis_pairs(self) -> list[Pair]:
        """Return the invocations of the nemesis with their completions, in order."""
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
                    f"operation {op.index}: process {op.process} completes what it has not invoked"
                )
        return pairs
