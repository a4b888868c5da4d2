"""Reads of replicas of append-only lists: prefixes, staleness, loss, convergence.

Reads of one replica, over all clients, should be prefixes of one order that grow in real time.
The primary's history fixes that order; where replicas disagree with it, values that were read were
lost later. The checkers work on operations `append` and `read` over independent keys, with `node`
set on the invocation of a read that was sent to a certain node.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Any, NamedTuple

from harness.checkers.claims.findings import Findings, seconds
from harness.checkers.claims.quantiles import quantiles
from harness.checkers.verdict import UNKNOWN, Verdict
from harness.history.events import Settled
from harness.history.operations import Pair
from harness.history.recorded import Read, Recorded

DIFFER = "keys still differ between nodes"
NO_PREFIX = "reads do not extend an earlier read of the same node"
TWICE = "reads returned a value more than once"
FAILED = "reads returned a value whose append failed"
NEVER = "reads returned a value that nobody had appended"


def is_prefix(a: Sequence[Any], b: Sequence[Any]) -> bool:
    return len(a) <= len(b) and a == b[: len(a)]


class Violation(NamedTuple):
    """Two reads of one node and key, of which the later one does not extend the earlier. `lost`:
    the values that it lacks."""

    node: str
    key: Hashable
    earlier: Read
    later: Read
    lost: list[Any]


def growing_prefixes(reads: Iterable[Read]) -> list[Violation]:
    """Return pairs of reads of one node and key where the later one does not extend the earlier.

    Later means: called after the earlier one returned. Of concurrent reads one must be a prefix of
    the other.
    """
    violations: list[Violation] = []
    by_node_and_key: dict[tuple[str, Hashable], list[Read]] = {}
    for r in reads:
        by_node_and_key.setdefault((r.node, r.key), []).append(r)
    for (node, key), group in by_node_and_key.items():
        by_return = sorted(group, key=lambda r: r.ret)
        returned = 0  # number of reads that had returned when the present one was called
        before: Read | None = None  # the longest of them
        longest: Read | None = None  # of everything called so far
        for r in sorted(group, key=lambda r: r.call):
            while by_return[returned].ret < r.call:
                if before is None or len(by_return[returned].value) > len(before.value):
                    before = by_return[returned]
                returned += 1
            if before is not None and not is_prefix(before.value, r.value):
                violations.append(_violation(node, key, before, r))
            elif longest is not None and not (
                is_prefix(r.value, longest.value) or is_prefix(longest.value, r.value)
            ):
                violations.append(_violation(node, key, longest, r))
            if longest is None or len(r.value) > len(longest.value):
                longest = r
    return violations


def _violation(node: str, key: Hashable, earlier: Read, later: Read) -> Violation:
    return Violation(node, key, earlier, later, [v for v in earlier.value if v not in later.value])


class GrowingPrefixes:
    """The claim that reads of each node are growing prefixes. `judged`: whether the target promises
    it."""

    def __init__(self, *, judged: bool) -> None:
        self._judged = judged

    def check(self, recorded: Recorded, /) -> Verdict:
        reads = recorded.node_reads
        if not reads:
            return Verdict(valid=UNKNOWN, why="no node was read", judged=self._judged)
        findings = Findings(recorded)
        for each in growing_prefixes(reads):
            earlier, later = each.earlier, each.later
            lacks = f"without {len(each.lost)} of them" if each.lost else "in another order"
            findings.add(
                NO_PREFIX,
                f"key {each.key}: {each.node} returned {len(earlier.value)} values to "
                f"process {earlier.process} at {seconds(earlier.time)}, and {len(later.value)} to "
                f"process {later.process} at {seconds(later.time)}, {lacks}",
                [_told(recorded, earlier), _told(recorded, later)],
            )
        replicas = sorted({r.node for r in reads if r.role == "replica" and r.value})
        nodes = sorted({r.node for r in reads})
        evidence: dict[str, Any] = {"reads": len(reads), "nodes": nodes}
        if findings:
            verdict = findings.verdict(evidence)
            verdict.judged = self._judged
            return verdict
        if not replicas:
            why = "no read of a replica returned a value"
            return Verdict(valid=UNKNOWN, why=why, judged=self._judged, evidence=evidence)
        return Verdict(
            valid=True,
            judged=self._judged,
            evidence=evidence,
            why=f"{len(reads)} reads of {len(nodes)} nodes are growing prefixes",
        )


class ValuesOfNodes:
    """The claim that no read of any node returns a value twice, a value whose append failed, or one
    that nobody had appended by then."""

    def check(self, recorded: Recorded, /) -> Verdict:
        appends: dict[tuple[Hashable, Any], Pair] = {}
        for p in recorded.pairs:
            if p.invoke.f == "append":
                appends[p.invoke.value[0], p.invoke.value[1]] = p
        findings = Findings(recorded)
        known: dict[Hashable, set[Any]] = {}  # values that were found to be right
        seen = 0
        for r in recorded.node_reads:
            seen += bool(r.value)
            unique = set(r.value)
            if len(unique) != len(r.value):
                twice = next(v for v in r.value if r.value.count(v) > 1)
                self._tell(findings, TWICE, recorded, r, twice, "more than once", None)
            right = known.setdefault(r.key, set())
            for value in sorted(unique - right):
                append = appends.get((r.key, value))
                if append is None or append.invoke.index > r.ret:
                    what = "which nobody had appended by then"
                    self._tell(findings, NEVER, recorded, r, value, what, append)
                elif append.type == "fail":
                    self._tell(findings, FAILED, recorded, r, value, "whose append failed", append)
                else:
                    right.add(value)
        evidence: dict[str, Any] = {"reads": len(recorded.node_reads), "with_values": seen}
        if findings:
            return findings.verdict(evidence)
        if not seen:
            return Verdict(valid=UNKNOWN, why="no read of a node returned a value",
                           evidence=evidence)  # fmt: skip
        why = f"{seen} reads of nodes returned only values that had been appended, once"
        return Verdict(valid=True, why=why, evidence=evidence)

    @staticmethod
    def _tell(
        findings: Findings,
        kind: str,
        recorded: Recorded,
        r: Read,
        value: Any,
        how: str,
        append: Pair | None,
    ) -> None:
        findings.add(
            kind,
            f"key {r.key}: {r.node} returned {value} to process {r.process} at "
            f"{seconds(r.time)}, {how}",
            [
                *([] if append is None else [(append, f"append {value}")]),
                _told(recorded, r),
            ],
        )


def _told(recorded: Recorded, r: Read) -> tuple[Pair, str]:
    """Return a read as a row of the table of a violation."""
    last = f", the last ones {' '.join(str(v) for v in r.value[-3:])}" if r.value else ""
    return recorded.by_index[r.call], f"read {len(r.value)} values{last}"


class LostReads:
    """Finds values that a read of any node returned and no final read does.

    Always measured, never judged: such values need not be acknowledged writes.
    """

    def check(self, recorded: Recorded, /) -> Verdict:
        everything = recorded.node_reads + recorded.primary_reads
        left = left_at_the_end(recorded)
        if left is None:
            why = "the final reads did not happen"
            return Verdict(valid=UNKNOWN, judged=False, why=why)
        lost: dict[tuple[Hashable, Any], Read] = {}
        for r in sorted(everything, key=lambda r: r.ret):
            of_key = left.get(r.key, set())
            if not of_key.issuperset(r.value):
                for v in r.value:
                    if v not in of_key:
                        lost.setdefault((r.key, v), r)
        acknowledged = {
            (p.invoke.value[0], p.invoke.value[1])
            for p in recorded.pairs
            if p.invoke.f == "append" and p.type == "ok"
        }
        examples = [
            {
                "key": k,
                "value": v,
                "node": r.node,
                "role": r.role,
                "time": r.time,
                "process": r.process,
                "acknowledged": (k, v) in acknowledged,
            }
            for (k, v), r in list(lost.items())[:20]
        ]
        on_replica = sum(1 for r in lost.values() if r.role == "replica")
        lost_writes = sum(1 for write in lost if write in acknowledged)
        evidence = {
            "gone": len(lost),
            "first_seen_on_a_replica": on_replica,
            "acknowledged": lost_writes,
            "examples": examples,
        }
        if lost:
            return Verdict(
                valid=False,
                judged=False,
                evidence=evidence,
                why=(
                    f"{len(lost)} values that were read are lost at the end, {on_replica} of them "
                    f"first read on a replica; {lost_writes} had been acknowledged"
                ),
            )
        return Verdict(
            valid=True,
            judged=False,
            evidence=evidence,
            why="every value that was read is present at the end",
        )


def _last_by_node_and_key(reads: Iterable[Read]) -> dict[tuple[str, Hashable], Read]:
    last: dict[tuple[str, Hashable], Read] = {}
    for r in reads:
        at = (r.node, r.key)
        if at not in last or r.call > last[at].call:
            last[at] = r
    return last


class Converged:
    """The claim that every node returns the same list for every key of the final reads, in the end.
    Nodes that agree have converged, however late they were asked; nodes that differ have not if
    they were asked `bound_s` after healing or later."""

    def __init__(self, nodes: Sequence[str], bound_s: float = 30.0) -> None:
        self._nodes = list(nodes)
        self._bound_s = bound_s

    def check(self, recorded: Recorded, /) -> Verdict:
        start, healed = recorded.final_index, recorded.healed_at
        if start is None or healed is None:
            return Verdict(valid=UNKNOWN, why="the final reads did not happen")
        if any(event.error is not None for event in recorded.events.of(Settled)):
            return Verdict(valid=UNKNOWN, why="the nodes did not settle after healing")
        asked = [p for p in recorded.pairs if p.invoke.index >= start and p.invoke.node]
        last = _last_by_node_and_key(r for r in recorded.node_reads if r.call >= start)
        keys = sorted({p.invoke.value[0] for p in asked}, key=repr)
        lists = {k: {last[n, k].value for n in self._nodes if (n, k) in last} for k in keys}
        differing = [k for k in keys if len(lists[k]) > 1]
        missing = [(n, k) for k in keys for n in self._nodes if (n, k) not in last]
        took_s = (max((r.time for r in last.values()), default=healed) - healed) / 1e9
        # Nodes that were asked at different times may differ: the earliest answer counts.
        looked_s = (
            min((r.time for (_, k), r in last.items() if k in differing), default=healed) - healed
        ) / 1e9
        evidence = {
            "keys": len(keys),
            "nodes": self._nodes,
            "differing_keys": len(differing),
            "missing": [list(map(str, m)) for m in missing[:20]],
            "within_s": round(took_s, 3),
            "bound_s": self._bound_s,
        }
        if differing and looked_s < self._bound_s:
            why = (
                f"inconclusive: nodes differed at the last reads, {looked_s:.1f} s after healing, "
                f"before the bound of {self._bound_s:g} s"
            )
            return Verdict(valid=UNKNOWN, why=why, evidence=evidence)
        if differing:
            findings = Findings(recorded)
            for key in differing:
                reads = [last[n, key] for n in self._nodes if (n, key) in last]
                lengths = ", ".join(f"{r.node} {len(r.value)}" for r in reads)
                findings.add(
                    DIFFER,
                    f"key {key}: {took_s:.1f} s after healing the lists have lengths {lengths}",
                    [_told(recorded, r) for r in reads],
                )
            return findings.verdict(evidence, f"of {len(keys)}: ")
        if missing or not keys:
            why = f"{len(missing)} final reads were not answered" if keys else "no key was read"
            return Verdict(valid=UNKNOWN, why=why, evidence=evidence)
        if not any(r.value for r in last.values()):
            return Verdict(valid=UNKNOWN, why="all final reads were empty", evidence=evidence)
        agree = f"{len(self._nodes)} nodes agree on {len(keys)} keys {took_s:.1f} s after healing"
        return Verdict(valid=True, evidence=evidence, why=agree)


def left_at_the_end(recorded: Recorded) -> dict[Hashable, set[Any]] | None:
    """Return by key the values that final reads of any node returned; None if there were none."""
    start = recorded.final_index
    if start is None:
        return None
    left: dict[Hashable, set[Any]] = {}
    for r in recorded.node_reads + recorded.primary_reads:
        if r.call >= start:
            left.setdefault(r.key, set()).update(r.value)
    return left


class Staleness:
    """Measures how far reads of replicas are behind the acknowledged appends, in ms and versions.

    The staleness of a read is the time from the acknowledgement of the first append that it misses
    to its own invocation (a lower bound), or 0. Appends that are absent at the end are lost, not
    late, and are left out. They are measured, never judged.
    """

    def check(self, recorded: Recorded, /) -> Verdict:
        acknowledged: dict[Hashable, list[tuple[int, Any]]] = {}
        left = left_at_the_end(recorded)
        for p in recorded.pairs:
            if p.invoke.f == "append" and p.type == "ok":
                assert p.done is not None
                key, (value, _) = p.done.value
                if left is not None and value not in left.get(key, ()):
                    continue
                acknowledged.setdefault(key, []).append((p.done.time, value))
        ms: dict[str, list[float]] = {}
        versions: dict[str, list[int]] = {}
        for r in recorded.node_reads:
            if r.role == "primary":
                continue
            seen = set(r.value)
            missed = [t for t, v in acknowledged.get(r.key, ()) if t < r.called and v not in seen]
            ms.setdefault(r.node, []).append((r.called - min(missed)) / 1e6 if missed else 0.0)
            versions.setdefault(r.node, []).append(len(missed))
        evidence = {
            node: {
                "reads": len(ms[node]),
                "ms": quantiles(ms[node]),
                "versions": quantiles(versions[node]),
            }
            for node in sorted(ms)
        }
        if not evidence:
            return Verdict(valid=UNKNOWN, why="no replica was read", judged=False)
        worst = max(ms, key=lambda n: max(ms[n]))
        stale = sum(1 for node in ms for v in ms[node] if v > 0)
        total = sum(len(v) for v in ms.values())
        return Verdict(
            valid=True,
            judged=False,
            evidence=evidence,
            why=(
                f"{stale} of {total} reads of replicas were stale, the worst by "
                f"{max(ms[worst]):.0f} ms and {max(versions[worst])} versions, on {worst}"
            ),
        )
