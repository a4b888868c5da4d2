"""A history with everything that checkers and reports ask of it, each computed once a run."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from harness.history.columns import Columns, columns_of
from harness.history.events import Events, FinalBegan, Healed
from harness.history.events import read as read_events
from harness.history.operations import History, Pair
from harness.history.record import RunRecord


@dataclass(frozen=True, slots=True)
class Read:
    """One answered read: of which key, by which node, what, and when.

    `call`, `ret`: positions in the history, whose order is that of real time also where stamps
    are equal. `called`, `time`: nanoseconds.
    """

    key: Hashable
    node: str
    value: tuple[Any, ...]
    call: int
    ret: int
    called: int
    time: int
    process: int | str
    role: str | None


class Recorded:
    """See the module's text. Raises `HistoryError` where operations do not pair."""

    def __init__(
        self,
        history: History | Callable[[], History],
        record: RunRecord | None = None,
    ) -> None:
        """`history`: or how to read it, for who may not need it. `record`: of the run, where the
        history is one of ours."""
        self._history = history
        self.record = record
        self._columns: dict[tuple[bool, bool, bool], Columns] = {}

    @cached_property
    def history(self) -> History:
        return self._history() if callable(self._history) else self._history

    @cached_property
    def pairs(self) -> list[Pair]:
        """Client invocations with their completions, in order of invocation."""
        return self.history.pairs()

    @cached_property
    def events(self) -> Events:
        return read_events(self.history.nemesis_pairs())

    # --- moments

    @cached_property
    def final_index(self) -> int | None:
        """Where the final operations began."""
        return next((event.index for event in self.events.of(FinalBegan)), None)

    @cached_property
    def healed_at(self) -> int | None:
        """When the last fault was healed, in nanoseconds."""
        healed = self.events.of(Healed)
        return healed[-1].time if healed else None

    @property
    def began_at(self) -> int:
        return self.history[0].time if self.history else 0

    @property
    def ended_at(self) -> int:
        return self.history[-1].time if self.history else 0

    # --- selections

    @cached_property
    def primary_pairs(self) -> list[Pair]:
        """Operations that are part of claims on the primary."""
        return [p for p in self.pairs if is_primary_operation(p)]

    @cached_property
    def final_values(self) -> dict[Hashable, Any] | None:
        """The last answered final read of each key at the primary; None where there was none."""
        start = self.final_index
        if start is None:
            return None
        values: dict[Hashable, Any] = {}
        for p in self.primary_pairs:
            if p.invoke.index >= start and p.invoke.f == "read" and p.type == "ok":
                assert p.done is not None
                values[p.done.value[0]] = p.done.value[1]
        return values or None

    @cached_property
    def node_reads(self) -> list[Read]:
        """Answered reads of lists that were meant for one node, in order of completion."""
        return _reads(self.pairs, of_node=True)

    @cached_property
    def primary_reads(self) -> list[Read]:
        """Answered reads of lists that were meant for the primary, in order of completion."""
        return _reads(self.pairs, of_node=False)

    def columns(
        self,
        *,
        independent: bool = False,
        primary: bool = False,
        observe_differed: bool = False,
    ) -> Columns:
        """The operations that did not fail, as numbers. `independent`: values are [key, value].
        `primary`: of those on the primary only. `observe_differed`: a `cas` that failed without an
        error has compared and seen another value. Raises ValueError, see `columns_of`."""
        how = independent, primary, observe_differed
        if how not in self._columns:
            self._columns[how] = columns_of(
                self.primary_pairs if primary else self.pairs,
                independent=independent,
                observe_differed=observe_differed,
            )
        return self._columns[how]


def is_primary_operation(pair: Pair) -> bool:
    """Meant for the primary and, if the node was asked, answered by one that said it was."""
    if pair.invoke.node is not None:
        return False
    return pair.done is None or pair.done.role != "replica"


def _reads(pairs: Sequence[Pair], *, of_node: bool) -> list[Read]:
    found = []
    for p in pairs:
        invoke, done = p.invoke, p.done
        if invoke.f != "read" or (invoke.node is not None) != of_node:
            continue
        if done is None or done.type != "ok":
            continue
        assert done.node is not None
        key, value = done.value
        found.append(
            Read(
                key,
                done.node,
                tuple(value),
                invoke.index,
                done.index,
                invoke.time,
                done.time,
                invoke.process,
                done.role,
            )
        )
    return sorted(found, key=lambda r: r.ret)
