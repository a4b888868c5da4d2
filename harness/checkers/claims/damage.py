"""Alarms of damaged data that no fault of the run explains."""

from __future__ import annotations

from collections.abc import Container

from harness.checkers.claims.findings import Findings, seconds
from harness.checkers.verdict import UNKNOWN, Verdict
from harness.history.events import Alarm
from harness.history.recorded import Recorded

DAMAGE = "processes found their data damaged, and no fault acted on disks"


class UnexplainedDamage:
    """The claim that no process finds its data damaged unless a fault acted on disks.

    `of_disks`: the kinds of fault that do.
    """

    def __init__(self, of_disks: Container[str]) -> None:
        self._of_disks = of_disks

    def check(self, recorded: Recorded, /) -> Verdict:
        alarms = [event for event in recorded.events.of(Alarm) if event.what.damage]
        if not alarms:
            why = "no process found its data damaged"
            return Verdict(valid=True, judged=False, why=why)
        explained = sorted(
            {
                began.what.fault
                for began, _ in recorded.events.faults()
                if began.happened and began.what.fault in self._of_disks
            }
        )
        if explained:
            why = f"data was found damaged, which {', '.join(explained)} may explain"
            return Verdict(valid=UNKNOWN, judged=False, why=why)
        findings = Findings(recorded)
        for event in alarms:
            told = f"{event.what.process} {event.what.what} by {seconds(event.time)}"
            findings.add(DAMAGE, told, [])
        return findings.verdict({})
