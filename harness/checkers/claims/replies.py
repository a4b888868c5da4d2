"""Replies of the right kind, and by the right node."""

from __future__ import annotations

from typing import Any

from harness.checkers.claims.findings import Findings, ended, process_of
from harness.checkers.verdict import UNKNOWN, Verdict
from harness.history.operations import Pair
from harness.history.recorded import Recorded
from harness.history.wording import plain

KIND = "replies are of another kind than their command's"
DEMOTED = "operations meant for the primary were answered by a node that was not it"


class RepliesOfTheRightKind:
    """The claim that every reply is of the kind and in the range of its command's: OK for SET, 0 or
    1 for SADD, the text of the ping for PING."""

    def check(self, recorded: Recorded, /) -> Verdict:
        findings = Findings(recorded)
        judged = 0
        for p in recorded.pairs:
            if p.done is None:
                continue
            judged += p.type == "ok"
            if p.done.is_wrong_reply:
                assert p.done.error is not None
                what = p.done.error.partition(": ")[2]
                node = f" at {p.done.node}" if p.done.node else ""
                findings.add(
                    KIND,
                    f"{process_of(p)}{node} at {ended(p)}: {what}",
                    [(p, f"{p.invoke.f} {plain(p.invoke.value)}")],
                )
        evidence: dict[str, Any] = {"replies": judged}
        if findings:
            return findings.verdict(evidence)
        if not judged:
            return Verdict(valid=UNKNOWN, why="no operation was answered", evidence=evidence)
        return Verdict(
            valid=True, why=f"{judged} operations got replies of the right kind", evidence=evidence
        )


class AnsweredByReplica:
    """Finds operations that were sent to a node as the primary, and that it answered as a replica.

    Where the target promises that such nodes refuse, this is a claim. Elsewhere it is measured: the
    answers come from the routing of the harness.
    """

    def check(self, recorded: Recorded, /) -> Verdict:
        stray = [
            p
            for p in recorded.pairs
            if p.invoke.node is None and p.done is not None and p.done.role == "replica"
        ]
        evidence: dict[str, Any] = {
            "count": len(stray),
            "indices": [p.invoke.index for p in stray[:20]],
        }
        if not recorded.fenced:
            why = f"{len(stray)} operations meant for the primary were answered by a replica"
            return Verdict(valid=True, judged=False, why=why, evidence=evidence)
        asked = sum(
            p.invoke.node is None and p.done is not None and p.done.role is not None
            for p in recorded.pairs
        )
        findings = Findings(recorded)
        for p in stray:
            findings.add(DEMOTED, _sentence(p), [(p, f"{p.invoke.f} {plain(p.invoke.value)}")])
        if findings:
            return findings.verdict(evidence)
        if not asked:
            why = "no node was asked for its role"
            return Verdict(valid=UNKNOWN, judged=False, why=why, evidence=evidence)
        why = f"{asked} operations were answered by a node that was the primary"
        return Verdict(valid=True, why=why, evidence=evidence)


def _sentence(p: Pair) -> str:
    assert p.done is not None
    return (
        f"{p.done.node} answered {p.invoke.f} of {process_of(p)} at {ended(p)}, although it was a "
        "replica before and after"
    )
