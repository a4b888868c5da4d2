"""The content of a report as one JSON document: `document` computes it, `page` renders it.

Times count from the start of the clients: in seconds where a name ends in `_s`, else nanoseconds.
"""

from __future__ import annotations

from typing import Any

import msgspec

from harness.checkers.claims.findings import Finding
from harness.checkers.claims.performance import series
from harness.history.events import Event, FaultBegan, FaultEnded, LogRead
from harness.history.record import WORDS, Results, RunRecord
from harness.history.recorded import Recorded
from harness.history.wording import described


class ClaimRow(msgspec.Struct, kw_only=True):
    """A claim: its verdict as a word, the reason, and its evidence as (name, text)."""

    name: str
    verdict: str
    judged: bool
    why: str
    evidence: list[tuple[str, str]]


class ViolationRow(msgspec.Struct, kw_only=True):
    """A violation of a claim: a sentence, and the operations and faults that belong to it."""

    claim: str
    finding: Finding


class FaultRow(msgspec.Struct, kw_only=True):
    """A fault: when it began and ended, what was done, its measured effect, in words."""

    fault: str
    start_s: float
    end_s: float
    did: str
    effect: str
    effective: bool
    skipped: bool


class EventRow(msgspec.Struct, kw_only=True):
    """An event of the run itself: healing, settling, crashes. `said`: its details in words."""

    time_s: float
    what: str
    said: str


class Mark(msgspec.Struct, kw_only=True):
    """An event of the nemesis, for the time axis of a witness. `time`: nanoseconds."""

    label: str
    time: int


class Document(msgspec.Struct, kw_only=True):
    """All that the report of a run shows.

    `record`: test.json. `operations`: their number; `counts`: by kind and outcome. `series`:
    latency and rate over time, see `performance.series`. `violations`: those that the claims tell;
    `more_violations`: how many are not told. `witnesses`: those in the evidence of the checkers,
    each with the name of its `claim`.
    """

    record: RunRecord
    verdict: str
    why: str
    expect: str
    warnings: list[str]
    claims: list[ClaimRow]
    violations: list[ViolationRow]
    more_violations: int
    witnesses: list[dict[str, Any]]
    marks: list[Mark]
    operations: int
    counts: dict[str, dict[str, int]]
    series: dict[str, Any]
    faults: list[FaultRow]
    events: list[EventRow]


def document(record: RunRecord, results: Results, recorded: Recorded) -> Document:
    """Return the document of a judged run."""
    return Document(
        record=record,
        verdict=WORDS[results.valid],
        why=results.why,
        expect=results.expect,
        warnings=results.warnings,
        claims=[
            ClaimRow(
                name=name,
                verdict=WORDS[claim.valid],
                judged=claim.judged,
                why=claim.why,
                evidence=_evidence(claim.evidence),
            )
            for name, claim in results.claims.items()
        ],
        violations=_violations(results),
        more_violations=sum(
            sum(claim.evidence["violations"].values()) - len(claim.evidence["findings"])
            for claim in results.claims.values()
            if claim.judged and "findings" in claim.evidence
        ),
        witnesses=[
            {**witness, "claim": name}
            for name, claim in results.claims.items()
            for witness in claim.evidence.get("witnesses", [])
        ],
        marks=_marks(recorded),
        operations=len(recorded.pairs),
        counts=results.claims["coverage"].evidence.get("operations", {}),
        series=series(recorded.pairs),
        faults=_faults(recorded),
        events=_events(recorded),
    )


def _violations(results: Results) -> list[ViolationRow]:
    """Return what the claims tell, the first of each kind before all others."""
    rows = [
        ViolationRow(claim=name, finding=msgspec.convert(finding, Finding))
        for name, claim in results.claims.items()
        if claim.judged
        for finding in claim.evidence.get("findings", ())
    ]
    seen: set[tuple[str, str]] = set()
    first: list[ViolationRow] = []
    others: list[ViolationRow] = []
    for row in rows:
        kind = (row.claim, row.finding.kind)
        (others if kind in seen else first).append(row)
        seen.add(kind)
    return [*first, *others]


def _faults(recorded: Recorded) -> list[FaultRow]:
    rows = []
    for began, ended in recorded.events.faults():
        end = recorded.ended_at if ended is None else ended.ended or ended.time
        if not began.happened:
            end = began.ended or began.time
        skipped = began.what.skipped
        rows.append(
            FaultRow(
                fault=began.what.fault,
                start_s=began.time / 1e9,
                end_s=end / 1e9,
                did=f"skipped: {skipped}" if skipped is not None else _details(began),
                effect="" if ended is None else _details(ended),
                effective=ended is not None and ended.what.effective,
                skipped=skipped is not None,
            )
        )
    return rows


def _details(event: Event[Any]) -> str:
    if event.ended is None:
        return "not completed"
    if event.error is not None:
        return event.error
    what = event.what
    if isinstance(what, FaultBegan):
        shown = what.did
    elif isinstance(what, FaultEnded):
        shown = what.effect
    else:
        shown = msgspec.to_builtins(what)
    return described(shown)


def _events(recorded: Recorded) -> list[EventRow]:
    return [
        EventRow(time_s=event.time / 1e9, what=event.what.NAME, said=_details(event))
        for event in recorded.events
        if not isinstance(event.what, FaultBegan | FaultEnded | LogRead)
    ]


def _marks(recorded: Recorded) -> list[Mark]:
    marks = []
    for event in recorded.events:
        what = event.what
        if event.ended is None:
            continue
        if isinstance(what, FaultBegan) and what.skipped is None:
            label = f"{what.fault} begins"
            if "new" in what.did:
                label = f"{what.did['new'] or 'no node'} promoted"
            marks.append(Mark(label=label, time=event.ended))
        elif isinstance(what, FaultEnded) and what.fault.startswith("partition"):
            marks.append(Mark(label=f"{what.fault} ends", time=event.ended))
    return marks


def _evidence(evidence: dict[str, Any]) -> list[tuple[str, str]]:
    """Return evidence as (name, text), without the parts that the report shows elsewhere."""
    rows = []
    for name, value in evidence.items():
        if name in ("witnesses", "operations", "findings") and not isinstance(value, int):
            continue
        text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
        rows.append((name.replace("_", " "), text))
    return rows
