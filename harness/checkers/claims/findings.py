"""Violations in words: a sentence each, and a table of what belongs to it."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from harness.checkers.verdict import Verdict
from harness.history.operations import Pair
from harness.history.recorded import Recorded
from harness.history.wording import described

TOLD_MAX = 20  # violations that are told; of more, only their number
FAULTS_MAX = 6  # in the table of one violation
OUTCOMES = {"ok": "answered", "fail": "failed", "info": "outcome unknown"}


class Row(msgspec.Struct, kw_only=True):
    """A line in the table of a violation. `begin_s`, `end_s`: seconds since the clients began;
    `end_s` is None if it did not end. `who`: a process, the node that replied, or both."""

    begin_s: float
    end_s: float | None
    who: str
    what: str
    outcome: str = ""


class Finding(msgspec.Struct, kw_only=True):
    """One violation. `kind`: what all violations of its kind have in common."""

    kind: str
    sentence: str
    rows: list[Row]


def seconds(nanos: int) -> str:
    """Return a time of the history in words: `1.204 s`."""
    return f"{nanos / 1e9:.3f} s"


def process_of(pair: Pair) -> str:
    return f"process {pair.invoke.process}"


def ended(pair: Pair) -> str:
    """Return when an operation completed, in words."""
    return "never" if pair.done is None else seconds(pair.done.time)


def answered_by(pair: Pair) -> str:
    """Return ` by n1`, the node that replied; empty if it is not known."""
    node = pair.done.node if pair.done is not None else pair.invoke.node
    return f" by {node}" if node else ""


def at_node(pair: Pair) -> str:
    """Return ` at n1`, the node that replied; empty if it is not known."""
    node = pair.done.node if pair.done is not None else pair.invoke.node
    return f" at {node}" if node else ""


class Findings:
    """The violations of one claim, by kind, in the order in which they were found."""

    def __init__(self, recorded: Recorded) -> None:
        self._recorded = recorded
        self.counts: Counter[str] = Counter()
        self.told: list[Finding] = []
        self._primaries: tuple[list[int], list[str]] | None = None

    def __bool__(self) -> bool:
        return self.counts.total() > 0

    def add(self, kind: str, sentence: str, involved: Iterable[tuple[Pair, str]]) -> None:
        """Add a violation. `involved`: its operations, each with what it did."""
        self.counts[kind] += 1
        # Of every kind some are told, so that a frequent one does not hide a rare one.
        if len(self.told) >= TOLD_MAX and self.counts[kind] > 1:
            return
        pairs = list(involved)
        self.told.append(Finding(kind=kind, sentence=sentence, rows=self._rows(pairs)))

    def verdict(self, evidence: dict[str, Any], context: str = "") -> Verdict:
        """Return the verdict of an invalid claim. `context`: a clause that begins its reason."""
        kinds = "; ".join(f"{n} {kind}" for kind, n in self.counts.items() if n)
        why = f"{context}{kinds}: {self.told[0].sentence}"
        return Verdict(valid=False, why=why, evidence={**evidence, **self.evidence()})

    def evidence(self) -> dict[str, Any]:
        return {
            "violations": dict(self.counts),
            "findings": [msgspec.to_builtins(finding) for finding in self.told],
        }

    # --- the table of a violation

    def _rows(self, pairs: Sequence[tuple[Pair, str]]) -> list[Row]:
        rows = [self._row(pair, what) for pair, what in pairs]
        if pairs:
            begin = min(pair.invoke.time for pair, _ in pairs)
            end = max((p.done or p.invoke).time for p, _ in pairs)
            rows += self._faults(begin, end)
        return sorted(rows, key=lambda row: row.begin_s)

    def _row(self, pair: Pair, what: str) -> Row:
        invoke, done = pair.invoke, pair.done
        who = [process_of(pair)]
        node = done.node if done is not None and done.node else invoke.node
        if node:
            role = f" ({done.role})" if done is not None and done.role else ""
            who.append(f"{node}{role}")
        outcome = OUTCOMES[pair.type]
        if pair.type != "ok" and done is not None and done.error:
            outcome += f": {done.error}"
        if invoke.node is None:
            primary = self._primary_at(invoke.time)
            if primary is not None and primary != node:
                outcome += f"; the primary was {primary}"
        return Row(
            begin_s=invoke.time / 1e9,
            end_s=None if done is None else done.time / 1e9,
            who=" at ".join(who),
            what=what,
            outcome=outcome,
        )

    def _faults(self, begin: int, end: int) -> list[Row]:
        """Return the faults that stood between two times, the last ones if there are many."""
        rows = []
        for began, healed in self._recorded.events.faults():
            until = None if healed is None else healed.ended or healed.time
            if not began.happened or began.time > end or (until is not None and until < begin):
                continue
            did = described(began.what.did)
            rows.append(
                Row(
                    begin_s=began.time / 1e9,
                    end_s=None if until is None else until / 1e9,
                    who="nemesis",
                    what=f"{began.what.fault}: {did}"[:300] if did else began.what.fault,
                )
            )
        return rows[-FAULTS_MAX:]

    def _primary_at(self, time: int) -> str | None:
        """Return the node that last acknowledged an operation on the primary by then."""
        if self._primaries is None:
            times: list[int] = []
            nodes: list[str] = []
            for p in sorted(
                (
                    p
                    for p in self._recorded.pairs
                    if p.type == "ok" and self._recorded.on_primary(p)
                ),
                key=lambda p: p.done.index if p.done is not None else 0,
            ):
                assert p.done is not None
                if p.done.node and (not nodes or nodes[-1] != p.done.node):
                    times.append(p.done.time)
                    nodes.append(p.done.node)
            self._primaries = times, nodes
        times, nodes = self._primaries
        at = bisect_right(times, time)
        return nodes[at - 1] if at else None
