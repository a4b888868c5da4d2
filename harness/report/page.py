"""Gathers what the page shows, and renders it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from harness.checkers.claims.performance import series
from harness.history import History, Pair
from harness.report import charts, picture
from harness.report.template import rendered
from harness.results import Run, write_whole

VERDICT_WORDS = {True: "valid", False: "invalid", "unknown": "unknown"}
LABELS = {"grudge": "who drops whose packets:"}
SENTENCES = {
    True: "The database kept what this workload checks.",
    False: "The database broke a promise.",
    "unknown": "This run proves nothing either way.",
}


def write_report(run: Run, history: History) -> None:
    """report.html from what a run left on disk; raises `HistoryError` when it can't be written."""
    write_whole(run.report, render(run.read(run.test), run.read(run.results), history))


def render(test: dict[str, Any], results: dict[str, Any], history: History) -> str:
    """The page."""
    pairs = history.pairs()
    nemesis = history.nemesis_pairs()
    faults = fault_rows(nemesis, history)
    bands = [charts.Band(f["start_s"], f["end_s"], f["label"]) for f in faults]
    measured = series(pairs)
    witnesses = [
        {**w, "svg": picture.draw(w, _marks(nemesis)), "claim": name}
        for name, claim in results["claims"].items()
        for w in claim.get("evidence", {}).get("witnesses", [])
    ]
    valid = results["valid"]
    return rendered(
        Path(__file__).with_name("report.html.j2"),
        test=test,
        results=results,
        verdict=VERDICT_WORDS[valid],
        sentence=SENTENCES[valid],
        claims=results["claims"],
        witnesses=witnesses,
        faults=faults,
        events=event_rows(nemesis),
        counts=results["claims"]["coverage"]["evidence"].get("operations", {}),
        latency=charts.latency(measured, bands),
        rate=charts.rate(measured, bands),
        latency_legend=charts.legend(list(measured["latency"]), charts.COLOURS),
        rate_legend=charts.legend(list(measured["rate"]), charts.BY_TYPE),
        evidence=_evidence_rows,
        operations=len(pairs),
        most=picture.MOST,
        words=VERDICT_WORDS,
    )


def fault_rows(nemesis: Sequence[Pair], history: History) -> list[dict[str, Any]]:
    """Every fault: when it began and ended, what it did, its measured effect."""
    rows: list[dict[str, Any]] = []
    open_rows: dict[str, dict[str, Any]] = {}
    end = history[-1].time / 1e9 if history else 0.0
    for p in nemesis:
        verb, _, name = p.invoke.f.partition("-")
        if verb == "start" and name:
            row = {
                "label": name,
                "start_s": p.invoke.time / 1e9,
                "end_s": end,
                "effect": "",
                "did": _said(p),
                "effective": False,
            }
            rows.append(row)
            open_rows[name] = row
        elif verb == "stop" and name in open_rows:
            row = open_rows.pop(name)
            row["end_s"] = (p.done or p.invoke).time / 1e9
            row["effect"] = _said(p)
            row["effective"] = isinstance(p.said, dict) and bool(p.said.get("effective"))
    return rows


def _said(p: Pair) -> str:
    if p.done is None:
        return "not completed"
    if p.done.error is not None:
        return p.done.error
    if not isinstance(p.done.value, dict):
        return ""
    return ", ".join(
        f"{LABELS.get(k, k.replace('_', ' '))} {_plain(v)}"
        for k, v in p.done.value.items()
        if k != "effective" and v is not None
    )


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return "; ".join(f"{k}: {_plain(v)}" for k, v in value.items()) or "nothing"
    if isinstance(value, list):
        return " ".join(str(v) for v in value) or "nobody"
    return str(value)


def event_rows(nemesis: Sequence[Pair]) -> list[dict[str, Any]]:
    """What the run itself noted: healing, settling, crashes."""
    return [
        {"time_s": p.invoke.time / 1e9, "what": p.invoke.f, "said": _said(p)}
        for p in nemesis
        if not p.invoke.f.startswith(("start-", "stop-"))
    ]


def _marks(nemesis: Sequence[Pair]) -> list[dict[str, Any]]:
    """Faults as marks on the witness' axis."""
    marks = []
    for p in nemesis:
        verb, _, name = p.invoke.f.partition("-")
        if not name or p.done is None:
            continue
        value = p.done.value if isinstance(p.done.value, dict) else {}
        if verb == "stop" and not name.startswith("partition"):
            continue
        label = f"{name} {'begins' if verb == 'start' else 'ends'}"
        if verb == "start" and name == "failover" and "new" in value:
            label = f"{value['new'] or 'nobody'} promoted"
        marks.append({"label": label, "time": p.done.time})
    return marks


def _evidence_rows(claim: dict[str, Any]) -> list[tuple[str, str]]:
    """A claim's evidence as name and text, without what is drawn elsewhere."""
    rows = []
    for name, value in claim.get("evidence", {}).items():
        if name in ("witnesses", "operations") and not isinstance(value, int):
            continue
        text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
        rows.append((name.replace("_", " "), text))
    return rows
