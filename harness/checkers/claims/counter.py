"""Counters: sums that are read and answered against the amounts that were added."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

from harness.checkers.claims.findings import Findings, at_node, process_of, seconds
from harness.checkers.verdict import UNKNOWN, Verdict
from harness.history.operations import Pair
from harness.history.recorded import Recorded

LOW = "sums are lower than the acknowledged increments before them"
HIGH = "sums are higher than all increments until then"
SAME = "increments were answered with the same sum"
BACK = "sums are lower than one that was seen before"


@dataclass(frozen=True, slots=True)
class _Seen:
    """A sum that an operation returned. `by`: the amount that it added itself."""

    pair: Pair
    value: int
    by: int

    def words(self) -> str:
        did = f"added {self.by} and was answered" if self.by else "read"
        assert self.pair.done is not None
        return (
            f"{process_of(self.pair)} {did} {self.value}{at_node(self.pair)} at "
            f"{seconds(self.pair.done.time)}"
        )

    def row(self) -> tuple[Pair, str]:
        return self.pair, f"add {self.by}, sum {self.value}" if self.by else f"read {self.value}"


class CounterAccounting:
    """Accounts for `add` of positive amounts, completed with (amount, sum after it), and `read` of
    the sum, by key.

    At every instant the sum lies between that of the acknowledged adds and that of all adds invoked
    by then that did not fail; it never decreases, and no two adds are answered the same sum.
    """

    def check(self, recorded: Recorded, /) -> Verdict:
        final = recorded.final_values
        findings = Findings(recorded)
        by_key: dict[Hashable, list[Pair]] = {}
        for p in recorded.primary_pairs:
            by_key.setdefault(p.invoke.value[0], []).append(p)
        sums: dict[Hashable, tuple[int, int]] = {}
        acknowledged = seen = 0
        for key, pairs in by_key.items():
            adds = [p for p in pairs if p.invoke.f == "add" and p.type != "fail"]
            known = [p for p in adds if p.type == "ok"]
            acknowledged += len(known)
            if adds:
                sums[key] = _total(known), _total(adds)
            seen += _check_key(key, pairs, findings)
        unread = [k for k in sums if k not in (final or {})]
        evidence: dict[str, Any] = {
            "counters": len(sums),
            "acknowledged": sum(low for low, _ in sums.values()),
            "possible": sum(high for _, high in sums.values()),
            "final": sum((final or {}).get(k, 0) for k in sums),
            "sums_seen": seen,
        }
        if findings:
            return findings.verdict(evidence)
        if final is None:
            return Verdict(valid=UNKNOWN, why="the final reads did not happen", evidence=evidence)
        if unread:
            why = f"{len(unread)} keys were not read at the end"
            return Verdict(valid=UNKNOWN, why=why, evidence=evidence)
        if not acknowledged:
            return Verdict(valid=UNKNOWN, why="no add was acknowledged", evidence=evidence)
        return Verdict(
            valid=True,
            evidence=evidence,
            why=(
                f"{seen} sums of {len(sums)} counters lie within their bounds; the final ones add "
                f"up to {evidence['final']}: {evidence['acknowledged']} were acknowledged, "
                f"{evidence['possible']} asked for"
            ),
        )


def _amount(add: Pair) -> int:
    return int(add.invoke.value[1])


def _total(adds: list[Pair]) -> int:
    return sum(map(_amount, adds))


def _check_key(key: Hashable, pairs: list[Pair], findings: Findings) -> int:
    """Report what is wrong with the sums of a counter; return their number."""
    events: list[tuple[int, str, Pair]] = []
    for p in pairs:
        if p.invoke.f == "add" and p.type == "fail":
            continue
        events.append((p.invoke.index, "call", p))
        if p.type == "ok" and p.done is not None:
            events.append((p.done.index, "return", p))
    low = high = count = 0
    at_call: dict[int, tuple[int, _Seen | None]] = {}  # the lower bound, the highest sum seen
    highest: _Seen | None = None
    answers: dict[int, _Seen] = {}
    for _, what, p in sorted(events, key=lambda event: event[0]):
        adds = p.invoke.f == "add"
        if what == "call":
            at_call[p.invoke.index] = low, highest
            high += _amount(p) if adds else 0
            continue
        least, before = at_call.pop(p.invoke.index)
        assert p.done is not None
        value = p.done.value[1]
        own = _amount(p) if adds else 0
        if adds:
            low += own
            value = value[1] if isinstance(value, list) else None
        if value is None:
            continue
        count += 1
        seen = _Seen(p, value, own)
        if value < least + own:
            _tell(findings, LOW, key, seen, f"although {least + own} were acknowledged by then")
        elif value > high:
            _tell(findings, HIGH, key, seen, f"although only {high} had been asked for")
        elif adds and value in answers:
            _tell(findings, SAME, key, seen, f"as had {answers[value].words()}", answers[value])
        elif before is not None and value < before.value + own:
            _tell(findings, BACK, key, seen, f"after {before.words()}", before)
        if adds:
            answers.setdefault(value, seen)
        if highest is None or value > highest.value:
            highest = seen
    return count


def _tell(
    findings: Findings, kind: str, key: Hashable, seen: _Seen, why: str, other: _Seen | None = None
) -> None:
    rows = [seen.row()] if other is None else [other.row(), seen.row()]
    findings.add(kind, f"key {key}: {seen.words()}, {why}", rows)
