"""Operations of what expires, with the expiries as operations of their own.

An expiry takes effect at one instant between the earliest and the latest deadline that the clocks
allow. So histories of locks and of keys with a time to live are checked for linearizability like
any other, with one more operation for each time to live.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from msgspec.structs import replace

from harness.checkers.linearizability.checker import check_columns, if_observed
from harness.checkers.verdict import Verdict
from harness.history.columns import columns_of
from harness.history.operations import Op, Pair
from harness.history.recorded import Recorded
from harness.models.base import Model

DEFAULT_ERROR_MS: Final = 10  # of a history without a record
SCALE: Final = 1 << 22  # positions from one operation to the next: room for the expiries
EXPIRE: Final = "expire"


class ClockErrors:
    """By how much two readings of the target's wall clocks may disagree with the time between
    them: twice the error that the target declares, and what faults measured of their clocks."""

    def __init__(self, recorded: Recorded) -> None:
        record = recorded.record
        declared = DEFAULT_ERROR_MS if record is None else record.target.clock_error_ms
        self._declared = declared * 1_000_000
        self._faults: list[tuple[int, int, int]] = []  # (from, to, error in nanoseconds)
        for began, healed in recorded.events.faults():
            if healed is not None and "ahead_ms" in healed.what.effect:
                error = round(abs(healed.what.effect["ahead_ms"]) * 1e6)
                self._faults.append((began.time, healed.ended or healed.time, error))

    def between(self, begin: int, end: int) -> int:
        """Return the error in nanoseconds for readings between two times of the history."""
        faults = sum(error for a, b, error in self._faults if a <= end and b >= begin)
        return self._declared + 2 * faults


@dataclass(frozen=True, slots=True)
class Deadline:
    """The times, in ns, between which something ends that an operation began. `latest` is None
    where that operation may take effect at any later time."""

    earliest: int
    latest: int | None


def deadline_of(written: Pair, ttl_ms: int, clocks: ClockErrors) -> Deadline:
    """Return the deadline of a time to live that an operation began."""
    ttl = ttl_ms * 1_000_000
    done = written.done
    began = written.invoke.time
    if written.type != "ok" or done is None:
        return Deadline(began + ttl - clocks.between(began, began + ttl), None)
    error = clocks.between(began, done.time + ttl)
    return Deadline(began + ttl - error, done.time + ttl + error)


def check_expiring(
    recorded: Recorded,
    model: Model,
    time_to_live: Callable[[Pair], tuple[Any, int] | None],
    rename: Callable[[Op], Op] = lambda op: op,
) -> Verdict:
    """Return whether the operations on the primary, by key, and their expiries are linearizable.

    `time_to_live(pair)`: the value of the expiry that an operation begins, and after how many ms;
    None if it begins none. `rename`: maps operations to those of the model.
    """
    places = _Places(recorded)
    clocks = ClockErrors(recorded)
    pairs: list[Pair] = []
    shown: dict[int, Pair] = {}
    for p in recorded.primary_pairs:
        scaled = places.scaled(p, rename)
        shown[scaled.invoke.index] = p
        pairs.append(scaled)
        begun = None if p.type == "fail" else time_to_live(p)
        if begun is not None:
            value, ttl_ms = begun
            expiry, of_witness = places.expiry(p, value, deadline_of(p, ttl_ms, clocks))
            shown[expiry.invoke.index] = of_witness
            pairs.append(expiry)
    pairs.sort(key=lambda p: p.invoke.index)
    columns = columns_of(pairs, independent=True)
    verdict = check_columns(columns, model, lambda: shown)
    return if_observed(verdict, columns, model, besides=EXPIRE)


class _Places:
    """Positions for expiries between those of the history's operations, each of them once."""

    def __init__(self, recorded: Recorded) -> None:
        self._times = [op.time for op in recorded.history]
        self._indices = [op.index for op in recorded.history]
        self._offset = 0  # of the last expiry from its neighbour in the history

    @staticmethod
    def scaled(p: Pair, rename: Callable[[Op], Op]) -> Pair:
        def scaled(op: Op) -> Op:
            return replace(rename(op), index=SCALE * op.index)

        return Pair(scaled(p.invoke), None if p.done is None else scaled(p.done))

    def expiry(self, p: Pair, value: Any, deadline: Deadline) -> tuple[Pair, Pair]:
        """Return the expiry that an operation began, and how it is shown in a witness. It is
        concurrent with what was recorded at the very times of its earliest and latest deadline."""
        self._offset += 2  # so that one between two neighbours ends before the second
        index, asked = p.invoke.index, [p.invoke.value[0], value]
        begins = bisect_left(self._times, deadline.earliest)
        before = self._indices[begins] if begins < len(self._times) else self._indices[-1] + 1
        call = max(SCALE * before - self._offset, SCALE * index + self._offset)
        invoke = Op(call, deadline.earliest, "invoke", p.invoke.process, EXPIRE, asked)
        shown = replace(invoke, index=index)
        if deadline.latest is None:
            return Pair(invoke), Pair(shown)
        last = self._indices[bisect_right(self._times, deadline.latest) - 1]
        ret = max(SCALE * last + self._offset, call + 1)
        ends = {"type": "ok", "time": deadline.latest}
        return Pair(invoke, replace(invoke, index=ret, **ends)), Pair(shown, replace(shown, **ends))
