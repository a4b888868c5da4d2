"""All copies the same: what primary and replicas hold when nothing is written any more."""

from __future__ import annotations

from typing import Any

from harness.checkers.claims.findings import Findings, seconds
from harness.checkers.verdict import UNKNOWN, Verdict
from harness.history.events import Compared
from harness.history.recorded import Recorded

DIFFER = "keys differ between nodes for good"


class SameCopies:
    """The claim that every replica holds what the primary holds of the run's keys, once it has
    reached the offset that the primary had after the last write. See `harness.copies`."""

    def check(self, recorded: Recorded, /) -> Verdict:
        shards = recorded.events.of(Compared)
        if not shards:
            compares = recorded.record is not None and recorded.record.compares
            why = "the nodes were not compared" if compares else "there was nothing to compare"
            return Verdict(valid=UNKNOWN, judged=compares, why=why)
        findings = Findings(recorded)
        for event in shards:
            found = event.what
            for told in found.differences:
                findings.add(
                    DIFFER,
                    f"key {told.key}: at {seconds(event.time)} {told.node} held {told.at_node}, "
                    f"and {told.primary}, the primary, {told.at_primary}",
                    [],
                )
            findings.counts[DIFFER] += found.count - len(found.differences)
        held = sum(event.what.held for event in shards)
        replicas = sorted({name for event in shards for name in event.what.replicas})
        evidence: dict[str, Any] = {
            "keys": sum(event.what.keys for event in shards),
            "held": held,
            "replicas": replicas,
            "looks": max(event.what.looks for event in shards),
        }
        if findings:
            return findings.verdict(evidence)
        errors = [event.what.error for event in shards if event.what.error is not None]
        if errors:
            return Verdict(valid=UNKNOWN, why="; ".join(errors), evidence=evidence)
        if not held:
            why = "the primary held none of the run's keys when the nodes were compared"
            return Verdict(valid=UNKNOWN, why=why, evidence=evidence)
        return Verdict(
            valid=True,
            evidence=evidence,
            why=f"{', '.join(replicas)} hold{'s' if len(replicas) == 1 else ''} what the primary "
            f"holds: {held} key{'s'[held == 1 :]}, with values and deadlines",
        )
