"""Keys that expire: every read against the deadlines that the clocks allow."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from msgspec.structs import replace

from harness.checkers.claims.expiry import (
    ClockErrors,
    Deadline,
    check_expiring,
    deadline_of,
)
from harness.checkers.claims.findings import (
    Findings,
    at_node,
    ended,
    process_of,
    seconds,
)
from harness.checkers.verdict import UNKNOWN, Verdict
from harness.history.operations import Op, Pair
from harness.history.recorded import Recorded
from harness.models.expiring import Expiring

EARLY = "keys were absent before their earliest deadline"
LATE = "keys were present after their latest deadline"
BACK = "keys reappeared after they had been absent"
WRONG = "reads returned a value that nobody had set"
EXPIRED_MIN = 5  # keys that must be seen absent after they were present


class TimesToLive:
    """Checks `set` of a key to its own name (once, with its time to live in ms) and `read` of its
    value or None, on the primary.

    A read that is invoked after the set was acknowledged, or after another read saw the value,
    returns the value if it ends before the earliest deadline: the call of the set, plus the time to
    live, less the clock error. A read that is invoked after the latest deadline returns None, and
    so does one that is invoked after another read found the key absent after it had existed.
    """

    def check(self, recorded: Recorded, /) -> Verdict:
        findings = Findings(recorded)
        clocks = ClockErrors(recorded)
        sets: dict[Hashable, Pair] = {}
        reads: dict[Hashable, list[Pair]] = {}
        for p in recorded.primary_pairs:
            if p.invoke.f == "set":
                sets[p.invoke.value[0]] = p
            elif p.invoke.f == "read" and p.type == "ok":
                reads.setdefault(p.invoke.value[0], []).append(p)
        present = expired = in_time = after_all = 0
        for key, of_key in reads.items():
            present += sum(_value(p) is not None for p in of_key)
            written = sets.get(key)
            for read in of_key:
                self._check_value(key, written, read, findings)
            if written is not None and written.type != "fail":
                first = _first_presence(written, of_key)
                deadline = deadline_of(written, written.invoke.value[1], clocks, first)
                expired += self._check_times(key, written, deadline, of_key, findings)
                in_time += any(
                    _value(p) is not None and _end_time(p) < deadline.earliest for p in of_key
                )
                after_all += deadline.latest is not None and any(
                    _value(p) is None and p.invoke.time > deadline.latest for p in of_key
                )
        evidence: dict[str, Any] = {"keys": len(sets), "seen_present": present,
                                    "seen_absent": expired, "read_before_deadline": in_time,
                                    "read_after_deadline": after_all}  # fmt: skip
        if findings:
            return findings.verdict(evidence)
        if not present:
            return Verdict(valid=UNKNOWN, why="no read saw a value", evidence=evidence)
        if expired < EXPIRED_MIN:
            why = f"only {expired} keys were read as absent"
            return Verdict(valid=UNKNOWN, why=why, evidence=evidence)
        if not in_time or not after_all:
            which = "before the earliest" if not in_time else "after the latest"
            why = f"no key was read {which} deadline that the error of the clocks allows"
            return Verdict(valid=UNKNOWN, why=why, evidence=evidence)
        why = f"{present} reads saw a value in time, {expired} keys were seen to expire"
        return Verdict(valid=True, why=why, evidence=evidence)

    @staticmethod
    def _check_value(key: Hashable, written: Pair | None, read: Pair, findings: Findings) -> None:
        value = _value(read)
        assert read.done is not None
        if value is None:
            return
        never = (
            "whose set failed"
            if written is not None and written.type == "fail"
            else "which nobody had set by then"
        )
        if (
            value == key
            and written is not None
            and written.type != "fail"
            and (written.invoke.index < read.done.index)
        ):
            return
        findings.add(
            WRONG,
            f"key {key}: {process_of(read)} read {value}{at_node(read)} at {ended(read)}, "
            f"{never if value == key else f'although only {key} is ever set there'}",
            [*_set_row(written), (read, f"read {value}")],
        )

    def _check_times(
        self,
        key: Hashable,
        written: Pair,
        deadline: Deadline,
        reads: list[Pair],
        findings: Findings,
    ) -> int:
        """Report reads at the wrong time; return 1 if the key was seen absent after it existed."""
        existed = _first_presence(written, reads)
        absent: Pair | None = None  # the first read to end that found it absent after it existed
        for read in reads:
            assert read.done is not None
            if _value(read) is not None:
                if deadline.latest is not None and read.invoke.time > deadline.latest:
                    self._tell(
                        LATE,
                        key,
                        written,
                        read,
                        existed,
                        findings,
                        f"after its latest deadline at {seconds(deadline.latest)}",
                    )
                continue
            if existed is None or read.invoke.index < _end(existed):
                continue
            if read.done.time < deadline.earliest:
                self._tell(
                    EARLY,
                    key,
                    written,
                    read,
                    existed,
                    findings,
                    f"before its earliest deadline at {seconds(deadline.earliest)}",
                )
            if absent is None or read.done.index < _end(absent):
                absent = read
        if absent is None:
            return 0
        for read in reads:
            if _value(read) is not None and read.invoke.index > _end(absent):
                self._tell(BACK, key, written, read, absent, findings,
                           f"after {process_of(absent)} had found it absent{at_node(absent)} "
                           f"at {ended(absent)}")  # fmt: skip
                break
        return 1

    @staticmethod
    def _tell(
        kind: str,
        key: Hashable,
        written: Pair,
        read: Pair,
        other: Pair | None,
        findings: Findings,
        when: str,
    ) -> None:
        value = _value(read)
        saw = "found it absent" if value is None else f"read {value}"
        others = (
            []
            if other is None or other is written
            else [(other, "read nothing" if _value(other) is None else f"read {_value(other)}")]
        )
        findings.add(
            kind,
            f"key {key}: {process_of(read)} {saw}{at_node(read)} at {ended(read)}, {when}; it "
            f"was set for {written.invoke.value[1]} ms from {seconds(written.invoke.time)} to "
            f"{ended(written)}",
            [*_set_row(written), *others, (read, "read nothing" if value is None else saw)],
        )


class LinearizableExpiry:
    """The claim that sets, reads and expiries of each key are linearizable."""

    def check(self, recorded: Recorded, /) -> Verdict:
        first: dict[Hashable, Pair] = {}  # of the reads that saw a value, the first to end
        for p in recorded.primary_pairs:
            key = p.invoke.value[0]
            if _value(p) is not None and (key not in first or _end(p) < _end(first[key])):
                first[key] = p

        def time_to_live(p: Pair) -> list[tuple[Any, int]]:
            return [(None, p.invoke.value[1])] if p.invoke.f == "set" else []

        def shown_by(p: Pair) -> Pair | None:
            return first.get(p.invoke.value[0])

        return check_expiring(recorded, Expiring(), time_to_live, _as_write, shown_by=shown_by)


def _as_write(op: Op) -> Op:
    """Return a set as a write of the key's own name."""
    if op.f != "set":
        return op
    return replace(op, f="write", value=[op.value[0], op.value[0]])


def _value(p: Pair) -> Any:
    return p.done.value[1] if p.done is not None and p.invoke.f == "read" else None


def _end(p: Pair) -> int:
    assert p.done is not None
    return p.done.index


def _end_time(p: Pair) -> int:
    assert p.done is not None
    return p.done.time


def _first_presence(written: Pair, reads: list[Pair]) -> Pair | None:
    """Return the first operation to end that shows that the key existed."""
    showing = [p for p in reads if _value(p) is not None]
    if written.type == "ok":
        showing.append(written)
    return min(showing, key=_end, default=None)


def _set_row(written: Pair | None) -> list[tuple[Pair, str]]:
    if written is None:
        return []
    key, ttl_ms = written.invoke.value
    return [(written, f"set key {key} to {key} for {ttl_ms} ms")]
