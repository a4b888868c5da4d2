"""Decides whether a run tested enough for a verdict of valid to mean anything.

The verdict is never false. It is unknown where a kind of operation hardly ever succeeded, a
required kind of fault had no effect, final reads are missing, or a node crashed by itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from harness.checkers.verdict import UNKNOWN, Verdict
from harness.history.events import Alarm, Doubt, Ended, ProcessEnded, Settled
from harness.history.operations import Pair
from harness.history.recorded import Recorded


class FaultCount(msgspec.Struct):
    """The numbers of faults of a kind that were injected, were skipped, failed to be injected, and
    had a measured effect."""

    injected: int = 0
    skipped: int = 0
    failed: int = 0
    effective: int = 0


class Coverage:
    """The claim that a run tested enough. `minimum`: by kind of operation, the successes on the
    primary needed before the final reads. `faults`: the required kinds of fault, each of
    which must have had an effect. `final`: whether the workload has final reads."""

    def __init__(self, *, minimum: Mapping[str, int], faults: Sequence[str], final: bool) -> None:
        self._minimum = dict(minimum)
        self._faults = list(faults)
        self._final = final

    def check(self, recorded: Recorded, /) -> Verdict:
        counts = count_operations(recorded.pairs)
        faults = count_faults(recorded)
        missing = [
            *self._rare_operations(recorded),
            *self._faults_without_effect(faults),
            *self._missing_at_the_end(recorded),
            *_what_went_wrong(recorded),
        ]
        evidence: dict[str, Any] = {
            "operations": counts,
            "faults": {kind: msgspec.to_builtins(count) for kind, count in faults.items()},
            "unclassified_errors": sum(
                1 for p in recorded.pairs if p.done is not None and p.done.is_unclassified
            ),
        }
        if missing:
            return Verdict(valid=UNKNOWN, why="; ".join(missing), evidence=evidence)
        ok = sum(c.get("ok", 0) for c in counts.values())
        why = f"{ok} operations succeeded"
        if faults:
            why += "; " + ", ".join(
                f"{c.effective} of {c.injected} {kind} faults had an effect"
                for kind, c in faults.items()
            )
        return Verdict(valid=True, why=why, evidence=evidence)

    def _rare_operations(self, recorded: Recorded) -> Iterator[str]:
        final = recorded.final_index
        counted = count_operations(
            p for p in recorded.primary_pairs if final is None or p.invoke.index < final
        )
        for f, needed in self._minimum.items():
            succeeded = counted.get(f, {}).get("ok", 0)
            if succeeded < needed:
                yield f"only {succeeded} {f} succeeded, {needed} are needed"

    def _faults_without_effect(self, faults: Mapping[str, FaultCount]) -> Iterator[str]:
        for kind in self._faults:
            count = faults.get(kind, FaultCount())
            if not count.effective:
                more = f", {count.skipped} skipped" if count.skipped else ""
                more += f", {count.failed} failed" if count.failed else ""
                yield f"{kind} had no effect ({count.injected} injected{more})"

    def _missing_at_the_end(self, recorded: Recorded) -> Iterator[str]:
        final = recorded.final_index
        if self._final and final is None:
            yield "the run ended before the final reads"
        elif self._final and final is not None:
            unread = _unread(recorded, final)
            if unread:
                yield f"{len(unread)} keys were not read at the end"
        if not recorded.events.of(Ended):
            yield "the run did not complete"


def _what_went_wrong(recorded: Recorded) -> Iterator[str]:
    for event in recorded.events.of(Settled):
        if event.error is not None:
            yield f"the nodes did not settle after healing: {event.error}"
    for event in recorded.events:
        if isinstance(event.what, ProcessEnded | Alarm):
            yield f"{event.what.process} {event.what.what}"
        elif isinstance(event.what, Doubt):
            yield event.what.what
    yield from missing_operations(recorded)


def missing_operations(recorded: Recorded) -> Iterator[str]:
    """Yield what is missing from a history whose lines are numbered from 0 without a gap."""
    expected = 0
    for op in recorded.history:
        if op.index != expected:
            last = op.index - 1
            which = f"line {expected} is" if last == expected else f"lines {expected} to {last} are"
            yield f"{which} missing from the history"
        expected = op.index + 1


def _unread(recorded: Recorded, final: int) -> set[Hashable]:
    """Return the keys whose final reads on the primary were never answered."""
    reads = [
        p
        for p in recorded.pairs
        if p.invoke.index >= final and p.invoke.f == "read" and p.invoke.node is None
    ]
    answered = {p.invoke.value[0] for p in reads if p.type == "ok" and recorded.on_primary(p)}
    return {p.invoke.value[0] for p in reads} - answered


def count_operations(pairs: Iterable[Pair]) -> dict[str, dict[str, int]]:
    """Return the number of operations by `f`, then by type; those never completed are `info`."""
    counts: dict[str, Counter[str]] = {}
    for p in pairs:
        counts.setdefault(p.invoke.f, Counter())[p.type] += 1
    return {f: dict(sorted(c.items())) for f, c in sorted(counts.items())}


def count_faults(recorded: Recorded) -> dict[str, FaultCount]:
    """Return the counts of each kind of fault, in alphabetical order."""
    counts: dict[str, FaultCount] = {}
    for began, ended in recorded.events.faults():
        count = counts.setdefault(began.what.fault, FaultCount())
        if began.what.skipped is not None:
            count.skipped += 1
            continue
        if began.error is not None:
            count.failed += 1
            continue
        count.injected += 1
        count.effective += ended is not None and ended.what.effective
    return dict(sorted(counts.items()))
