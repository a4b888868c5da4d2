"""What a report shows, as one JSON document: `document` computes it, `page` draws it.

Times are seconds since the clients began, where a name ends in `_s`, else nanoseconds.
"""

from __future__ import annotations

from typing import Any

import msgspec

from harness.checkers.claims.performance import series
from harness.history.events import Event, FaultBegan, FaultEnded, LogRead
from harness.history.record import WORDS, Results, RunRecord
from harness.history.recorded import Recorded

LABELS = {"grudge": "who drops whose packets:"}


class ClaimRow(msgspec.Struct, kw_only=True):
    """A claim: its verdict as a word, why, and its evidence as (name, text)."""

    name: str
    verdict: str
    judged: bool
    why: str
    evidence: list[tuple[str, str]]


class FaultRow(msgspec.Struct, kw_only=True):
    """A fault: when it began and ended, what it did, its measured effect, in words."""

    fault: str
    start_s: float
    end_s: float
    did: str
    effect: str
    effective: bool
    skipped: bool


class EventRow(msgspec.Struct, kw_only=True):
    """What the run itself noted: healing, settling, crashes."""

    time_s: float
    what: str
    said: str


class Mark(msgspec.Struct, kw_only=True):
    """A moment of the nemesis, for the axis of a witness. `time`: nanoseconds."""

    label: str
    time: int


class Document(msgspec.Struct, kw_only=True):
    """`record`: test.json. `operations`: how many there are; `counts`: by kind and outcome.
    `series`: latency and rate over time, see `performance.series`. `witnesses`: as checkers put
    them into their evidence, each with the name of its `claim`."""

    record: RunRecord
    verdict: str
    why: str
    expect: str
    warnings: list[str]
    claims: list[ClaimRow]
    witnesses: list[dict[str, Any]]
    marks: list[Mark]
    operations: int
    counts: dict[str, dict[str, int]]
    series: dict[str, Any]
    faults: list[FaultRow]
    events: list[EventRow]


def document(record: RunRecord, results: Results, recorded: Recorded) -> Document:
    """The document of a run that was judged."""
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
                did=f"skipped: {skipped}" if skipped is not None else _said(began),
                effect="" if ended is None else _said(ended),
                effective=ended is not None and ended.what.effective,
                skipped=skipped is not None,
            )
        )
    return rows


def _said(event: Event[Any]) -> str:
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
    return ", ".join(
        f"{LABELS.get(k, k.replace('_', ' '))} {_plain(v)}"
        for k, v in shown.items()
        if v is not None
    )


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return "; ".join(f"{k}: {_plain(v)}" for k, v in value.items()) or "nothing"
    if isinstance(value, list):
        return " ".join(str(v) for v in value) or "nobody"
    return str(value)


def _events(recorded: Recorded) -> list[EventRow]:
    return [
        EventRow(time_s=event.time / 1e9, what=event.what.NAME, said=_said(event))
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
                label = f"{what.did['new'] or 'nobody'} promoted"
            marks.append(Mark(label=label, time=event.ended))
        elif isinstance(what, FaultEnded) and what.fault.startswith("partition"):
            marks.append(Mark(label=f"{what.fault} ends", time=event.ended))
    return marks


def _evidence(evidence: dict[str, Any]) -> list[tuple[str, str]]:
    """As name and text, without what is drawn elsewhere."""
    rows = []
    for name, value in evidence.items():
        if name in ("witnesses", "operations") and not isinstance(value, int):
            continue
        text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
        rows.append((name.replace("_", " "), text))
    return rows
