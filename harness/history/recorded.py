"""A history with the derived data that checkers and reports need, each computed once."""

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
    """One answered read of a list. `node`: the node that replied, in the reported `role`.

    `call`, `ret`: positions in the history, whose order is that of real time even where timestamps
    are equal. `called`, `time`: the times of invocation and completion in nanoseconds.
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
    """A history with derived data, computed on first access. Access raises `HistoryError` where
    completions do not match invocations."""

    def __init__(
        self,
        history: History | Callable[[], History],
        record: RunRecord | None = None,
        *,
        fenced: bool = False,
    ) -> None:
        """`history`: or a function that reads it, called on first access. `record`: of the run, if
        the history is one of a run. `fenced`: the target promises that replicas refuse operations
        meant for the primary, so whatever they answered counts as an answer of the primary."""
        self.fenced = fenced
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
    def by_index(self) -> dict[int, Pair]:
        """The pairs by the index of their invocation."""
        return {p.invoke.index: p for p in self.pairs}

    @cached_property
    def events(self) -> Events:
        return read_events(self.history.nemesis_pairs())

    # --- moments

    @cached_property
    def final_index(self) -> int | None:
        """The index at which the final operations begin, or None."""
        return next((event.index for event in self.events.of(FinalBegan)), None)

    @cached_property
    def healed_at(self) -> int | None:
        """The time at which all faults were healed, in nanoseconds, or None."""
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
        """The operations to which claims on the primary apply, see `on_primary`."""
        return [p for p in self.pairs if self.on_primary(p)]

    def on_primary(self, pair: Pair) -> bool:
        """Return whether an operation was sent to the primary and, unless the target is fenced, not
        answered by a known replica."""
        if pair.invoke.node is not None:
            return False
        return self.fenced or pair.done is None or pair.done.role != "replica"

    @cached_property
    def final_values(self) -> dict[Hashable, Any] | None:
        """The values of the last answered final reads at the primary, by key; None without any."""
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
        """Answered reads of lists that were sent to a certain node, in order of completion."""
        return _reads(self.pairs, of_node=True)

    @cached_property
    def primary_reads(self) -> list[Read]:
        """Answered reads of lists that were sent to the primary, in order of completion."""
        return _reads(self.pairs, of_node=False)

    def columns(
        self,
        *,
        independent: bool = False,
        primary: bool = False,
        observe_differed: bool = False,
    ) -> Columns:
        """Return the columns of the operations that did not fail, see `columns_of`, which may raise
        ValueError. `primary`: only of operations on the primary."""
        how = independent, primary, observe_differed
        if how not in self._columns:
            self._columns[how] = columns_of(
                self.primary_pairs if primary else self.pairs,
                independent=independent,
                observe_differed=observe_differed,
            )
        return self._columns[how]


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
