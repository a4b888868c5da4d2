"""Sets: every answer about an element against what is known of its add."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator
from typing import Any

from harness.checkers.claims.findings import (
    Findings,
    answered_by,
    at_node,
    ended,
    process_of,
    seconds,
)
from harness.checkers.verdict import UNKNOWN, Verdict
from harness.history.operations import Pair
from harness.history.recorded import Recorded

LOST = "acknowledged elements are lost"
UNREAD = "elements that were read are lost"
STALE = "acknowledged elements were missing from a later read"
GONE = "elements that were read were missing from a later read"
TWICE = "elements were in one read more than once"
MEMBER = "new elements were already members when they were added"
FAILED = "elements were read although their add failed"
NEVER = "elements were read that nobody had added"


class SetAccounting:
    """Accounts for `add` of unique elements, completed with the element or (element, whether it was
    new), and `read` of all members, by key.

    An element must be in every read that is invoked after its add was acknowledged or after another
    read returned it, once; it must be in none that returned before its add was invoked, or if its
    add failed. An add must find its element absent.
    """

    def check(self, recorded: Recorded, /) -> Verdict:
        final = recorded.final_values
        findings = Findings(recorded)
        adds: dict[Hashable, dict[Any, Pair]] = {}
        reads: dict[Hashable, list[Pair]] = {}
        acknowledged = attempts = 0
        for p in recorded.primary_pairs:
            if p.invoke.f == "add":
                attempts += 1
                key, element = p.invoke.value
                adds.setdefault(key, {})[element] = p
                acknowledged += p.type == "ok"
                if p.done is not None and p.type == "ok" and p.done.value[1:] == [[element, False]]:
                    findings.add(
                        MEMBER,
                        f"key {key}: {process_of(p)} added {element} at "
                        f"{seconds(p.invoke.time)}, and was told{answered_by(p)} that it was "
                        "already a member, although nobody else adds it",
                        [(p, f"add {element}")],
                    )
            elif p.invoke.f == "read" and p.type == "ok":
                reads.setdefault(p.invoke.value[0], []).append(p)
        for key in dict.fromkeys([*adds, *reads]):
            of_key = _Key(key, adds.get(key, {}), reads.get(key, []), findings)
            of_key.check_members()
            of_key.check_absences(None if final is None else final.get(key))
        unread = (
            []
            if final is None
            else [
                key
                for key, of_key in adds.items()
                if key not in final and any(p.type != "fail" for p in of_key.values())
            ]
        )
        evidence: dict[str, Any] = {
            "attempts": attempts,
            "acknowledged": acknowledged,
            "recovered": sum(
                element in adds[key] and adds[key][element].type == "info"
                for key in adds
                for element in (final or {}).get(key, ())
            ),
            "lost": findings.counts[LOST],
            "unread_keys": len(unread),
        }
        if findings:
            return findings.verdict(evidence, f"of {acknowledged} acknowledged adds: ")
        if final is None:
            return Verdict(valid=UNKNOWN, why="the final reads did not happen", evidence=evidence)
        if unread:
            why = f"{len(unread)} keys were not read at the end"
            return Verdict(valid=UNKNOWN, why=why, evidence=evidence)
        if not acknowledged:
            return Verdict(valid=UNKNOWN, why="no add was acknowledged", evidence=evidence)
        count = sum(map(len, reads.values()))
        return Verdict(
            valid=True,
            evidence=evidence,
            why=f"all {acknowledged} acknowledged elements are present exactly once, and in each "
            f"of {count} reads that had to return them",
        )


class _Key:
    """The operations of one key. `adds`: by element. `reads`: in order of invocation."""

    def __init__(
        self, key: Hashable, adds: dict[Any, Pair], reads: list[Pair], findings: Findings
    ) -> None:
        self._key = key
        self._adds = adds
        self._reads = reads
        self._findings = findings
        self._told: set[Any] = set()

    def check_members(self) -> None:
        """Report what a read must not contain."""
        for read in self._reads:
            assert read.done is not None
            members = read.done.value[1]
            unique = set(members)
            if len(unique) != len(members):
                for element, times in Counter(members).items():
                    if times > 1 and element not in self._told:
                        self._tell(TWICE, element, read, f"{times} times")
            for element in unique if not unique <= self._told else ():
                add = self._adds.get(element)
                if element in self._told:
                    continue
                if add is None or add.invoke.index > read.done.index:
                    self._tell(NEVER, element, read, "which nobody had added by then")
                elif add.type == "fail":
                    self._tell(FAILED, element, read, "whose add failed")

    def _tell(self, kind: str, element: Any, read: Pair, how: str) -> None:
        self._told.add(element)
        assert read.done is not None
        self._findings.add(
            kind,
            f"key {self._key}: {process_of(read)} read {element}{at_node(read)} at "
            f"{seconds(read.done.time)}, {how}",
            [*self._added(element), (read, f"read {_count(read)} with {element}")],
        )

    def check_absences(self, final: list[Any] | None) -> None:
        """Report the elements that are missing from a read, each once."""
        left = None if final is None else set(final)
        for read, missing, seen_by in self._missing():
            assert read.done is not None
            for element in missing:
                self._told.add(element)
                add, seen = self._adds.get(element), seen_by.get(element)
                known = add is not None and add.type == "ok"
                lost = left is not None and element not in left
                kind = (LOST if known else UNREAD) if lost else (STALE if known else GONE)
                since = (
                    f"added by {process_of(add)} and acknowledged{answered_by(add)} at {ended(add)}"
                    if add is not None and known
                    else f"read by {process_of(seen)}{at_node(seen)} at {ended(seen)}"
                    if seen is not None
                    else ""
                )
                self._findings.add(
                    kind,
                    f"key {self._key}: {element}, {since}, is absent from the read of "
                    f"{process_of(read)} that {_node(read)} answered at {seconds(read.done.time)}"
                    + (" and from the final read" if lost and read is not self._reads[-1] else ""),
                    [
                        *self._added(element),
                        *([] if seen is None else [(seen, f"read {_count(seen)} with {element}")]),
                        (read, f"read {_count(read)} without {element}"),
                    ],
                )

    def _missing(self) -> Iterator[tuple[Pair, list[Any], dict[Any, Pair]]]:
        """Yield reads that lack elements which they had to return, with those elements that were
        not told yet, and the reads that had returned elements before."""
        events: list[tuple[int, int, Pair]] = []
        for add in self._adds.values():
            if add.type == "ok" and add.done is not None:
                events.append((add.done.index, 0, add))
        for read in self._reads:
            assert read.done is not None
            events += [(read.invoke.index, 1, read), (read.done.index, 2, read)]
        must: set[Any] = set()
        owed: dict[int, set[Any]] = {}
        seen_by: dict[Any, Pair] = {}
        for _, what, p in sorted(events, key=lambda event: event[0]):
            assert p.done is not None
            if what == 0:
                must.add(p.invoke.value[1])
            elif what == 1:
                owed[p.invoke.index] = set(must)
            else:
                members = set(p.done.value[1])
                missing = owed.pop(p.invoke.index) - members - self._told
                if missing:
                    yield p, sorted(missing), seen_by
                for element in members - must:
                    if element in self._adds and self._adds[element].type != "fail":
                        must.add(element)
                for element in members:
                    seen_by[element] = p

    def _added(self, element: Any) -> list[tuple[Pair, str]]:
        add = self._adds.get(element)
        return [] if add is None else [(add, f"add {element}")]


def _count(read: Pair) -> str:
    assert read.done is not None
    return f"{len(read.done.value[1])} elements"


def _node(read: Pair) -> str:
    return (read.done.node if read.done is not None else None) or "the server"
