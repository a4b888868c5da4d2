"""The report of a run as one HTML file, rendered from the document of `data`."""

from __future__ import annotations

from pathlib import Path

import msgspec

from harness.history.record import Results, RunRecord
from harness.history.recorded import Recorded
from harness.report import charts, picture
from harness.report.data import Document, document
from harness.report.template import rendered
from harness.results import write_whole

SENTENCES = {
    "valid": "The database kept every promise that this workload checks.",
    "invalid": "The database broke a promise.",
    "unknown": "This run is inconclusive.",
}
VOLATILE = "Run without persistence, the database lost what it had in memory, or broke a promise."
UNFOLDED = 5  # violations that are shown at once, the others on a click


def write_report(path: Path, record: RunRecord, results: Results, recorded: Recorded) -> None:
    """Write report.html; raises `HistoryError` when it can't be written."""
    write_whole(path, render(document(record, results, recorded)))


def render(shown: Document) -> str:
    """Return the report as HTML."""
    bands = [charts.Band(f.start_s, f.end_s, f.fault) for f in shown.faults if not f.skipped]
    marks = [msgspec.to_builtins(mark) for mark in shown.marks]
    record = shown.record
    return rendered(
        Path(__file__).with_name("report.html.j2"),
        shown=shown,
        spec=record.spec,
        world=record.spec.world,
        kinds=list(dict.fromkeys(fault.fault for fault in shown.faults)),
        sentence=VOLATILE
        if shown.verdict == "invalid" and record.volatile is not None
        else SENTENCES[shown.verdict],
        witnesses=[{**w, "svg": picture.draw(w, marks)} for w in shown.witnesses],
        latency=charts.latency(shown.series, bands),
        rate=charts.rate(shown.series, bands),
        latency_legend=charts.legend(list(shown.series["latency"]), charts.COLOURS),
        rate_legend=charts.legend(list(shown.series["rate"]), charts.BY_TYPE),
        most=picture.OPERATIONS_MAX,
        unfolded=UNFOLDED,
        where=_where(record),
    )


def _where(record: RunRecord) -> dict[str, str]:
    """Return target, environment and versions by name, without the unknown ones."""
    target, environment = record.target, record.environment
    rows = {
        "target": target.target,
        "version": target.version,
        "binary": target.binary,
        "options": ", ".join(f"{name}={value}" for name, value in target.options.items()),
        "environment": environment.environment,
        "addresses": ", ".join(f"{node} {at}" for node, at in environment.addresses.items()),
        **record.versions,
    }
    return {name: text for name, text in rows.items() if text}
