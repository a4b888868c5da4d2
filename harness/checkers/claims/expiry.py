"""Operations of what expires, with the expiries as operations of their own.

An expiry takes effect at one instant between the earliest and the latest deadline that the clocks
allow. So histories of locks and of keys with a time to live are checked for linearizability like
any other, with one more operation for each time to live.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
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
CLOCK_DETAILS: Final = ("ppm", "clock_ms")  # what faults of clocks tell of themselves
ANY_ERROR: Final = 1 << 60  # in nanoseconds
ANY_TIME: Final = 1 << 62


class ClockErrors:
    """By how much two readings of the target's wall clocks may disagree with the time between
    them: twice the error that the target declares for each, and twice what faults measured of
    their clocks. A clock fault that was never healed may have any effect."""

    def __init__(self, recorded: Recorded) -> None:
        record = recorded.record
        declared = DEFAULT_ERROR_MS if record is None else record.target.clock_error_ms
        self._declared = 2 * declared * 1_000_000
        self._faults: list[tuple[int, int, int]] = []  # (from when, until when, error), in ns
        for began, healed in recorded.events.faults():
            if not began.happened or began.what.did.keys().isdisjoint(CLOCK_DETAILS):
                continue
            if healed is None or "ahead_ms" not in healed.what.effect:
                self._faults.append((began.time, recorded.ended_at, ANY_ERROR))
            else:
                error = round(abs(healed.what.effect["ahead_ms"]) * 1e6)
                self._faults.append((began.time, healed.ended or healed.time, error))

    def since(self, begin: int) -> int:
        """Return the error in nanoseconds for readings from a time of the history on. Faults that
        came later count, too: a clock that is set back shows again what had expired."""
        return self.between(begin, ANY_TIME)

    def between(self, begin: int, end: int) -> int:
        """Return the error in nanoseconds for readings between two times of the history."""
        return self._declared + 2 * sum(
            error for began, until, error in self._faults if until >= begin and began <= end
        )


@dataclass(frozen=True, slots=True)
class Deadline:
    """The times, in ns, between which something ends that an operation began. `latest` is None
    where that operation may take effect at any later time."""

    earliest: int
    latest: int | None


def deadline_of(
    written: Pair, ttl_ms: int, clocks: ClockErrors, shown: Pair | None = None
) -> Deadline:
    """Return the deadline of a time to live that an operation began. `shown`: the first operation
    to end that shows that it had begun; needed where the outcome is unknown."""
    ttl = ttl_ms * 1_000_000
    # What ends before this time to live is over was read from the clocks by then.
    begin, end = written.invoke.time, written.invoke.time + ttl
    earliest = end - clocks.between(begin, end)
    done = written.done if written.type == "ok" else None
    if done is None and shown is not None:
        done = shown.done
    return Deadline(
        earliest, None if done is None else done.time + ttl + clocks.since(written.invoke.time)
    )


# The expiries that an operation begins: the value of each, and after how many milliseconds.
Begun = Callable[[Pair], Iterable[tuple[Any, int]]]
# The first operation to end that shows that another one of unknown outcome had taken effect.
Shown = Callable[[Pair], Pair | None]


def _never(pair: Pair) -> None:
    """Return None: nothing shows the effects of operations of unknown outcome."""
    return


def check_expiring(
    recorded: Recorded,
    model: Model,
    begun: Begun,
    rename: Callable[[Op], Op] = lambda op: op,
    *,
    pairs: Sequence[Pair] | None = None,
    optional: bool = False,
    shown_by: Shown = _never,
) -> Verdict:
    """Return whether the operations on the primary, by key, and their expiries are linearizable.

    `begun(pair)`: the expiries that an operation begins. `rename`: maps operations to those of the
    model. `pairs`: the operations, if not all on the primary. `optional`: an expiry may not happen
    at all, as far as this function knows: the model itself ends what must have ended. `shown_by`:
    see `Shown`.
    """
    places = _Places(recorded)
    clocks = ClockErrors(recorded)
    made: list[Pair] = []
    shown: dict[int, Pair] = {}
    for p in recorded.primary_pairs if pairs is None else pairs:
        scaled = places.scaled(p, rename)
        shown[scaled.invoke.index] = p
        made.append(scaled)
        for value, ttl_ms in () if p.type == "fail" else begun(p):
            deadline = deadline_of(p, ttl_ms, clocks, shown_by(p))
            if optional:
                deadline = Deadline(deadline.earliest, None)
            expiry, of_witness = places.expiry(p, value, deadline)
            shown[expiry.invoke.index] = of_witness
            made.append(expiry)
    made.sort(key=lambda p: p.invoke.index)
    columns = columns_of(made, independent=True)
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
