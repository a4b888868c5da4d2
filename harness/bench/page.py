"""Writes the results of a benchmark as a page, bench.html, and as JSON, bench.json."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from markupsafe import Markup

from harness.bench.measure import MIXES, Latency, Point, Results, Spike
from harness.bench.plots import colour, plot
from harness.bench.shapes import Shape, shapes
from harness.report.template import rendered
from harness.results import Run, write_json, write_whole

SMALL, WIDE = (340, 240), (960, 230)  # width and height of plots
YES_NO = {True: "yes", False: "no"}
MARKS = {True: "valid", False: "invalid"}  # CSS classes


def write(folder: Run, results: Results) -> Path:
    """Write bench.html and bench.json; return the path of the page. Raises `HistoryError`."""
    write_json(folder.path / "bench.json", results)
    page = folder.path / "bench.html"
    write_whole(page, render(results))
    return page


def render(results: Results) -> str:
    plan = results.plan
    return rendered(
        Path(__file__).with_name("bench.html.j2"),
        results=results,
        plan=plan,
        shapes=[_shape_row(shape) for shape in shapes(results)],
        sizes=[_size_section(results, size) for size in plan.sizes],
        spikes=[_spike(spike) for spike in results.spikes],
        away=_away(results),
        away_lines=[{"name": n, "colour": colour(n, i)} for i, n in enumerate(AWAY_LINES)],
        servers=[{"name": s, "colour": colour(s)} for s in plan.servers],
    )


def _shape_row(shape: Shape) -> dict[str, Any]:
    return {**shape._asdict(), "word": YES_NO[shape.holds], "mark": MARKS[shape.holds]}


def _size_section(results: Results, size: int) -> dict[str, Any]:
    points = [p for p in results.points if p.size == size]
    return {
        "size": size,
        "key_count": results.plan.keys_of(size),
        "mixes": {mix: _plots(results, [p for p in points if p.mix == mix]) for mix in MIXES},
        "points": points,
    }


def _slower(point: Point) -> Latency:
    """Return, for each quantile, the longer one of reads and writes."""
    r, w = point.reads, point.writes
    if not r.count or not w.count:
        return r if r.count else w
    return Latency(r.count + w.count, max(r.p50, w.p50), max(r.p99, w.p99), max(r.p100, w.p100))


def _plots(results: Results, points: list[Point]) -> list[Markup]:
    clients = [float(c) for c in results.plan.clients]

    def lines(value: Any) -> dict[str, list[tuple[float, float]]]:
        return {
            server: [(float(p.clients), value(p)) for p in points if p.server == server]
            for server in results.plan.servers
        }

    return [
        plot("requests a second", lines(lambda p: p.rate), size=SMALL, x_label="clients",
             logarithmic=False, x_ticks=clients),
        plot("p50, ms", lines(lambda p: _slower(p).p50), size=SMALL, x_label="clients",
             logarithmic=True, x_ticks=clients),
        plot("p99, ms", lines(lambda p: _slower(p).p99), size=SMALL, x_label="clients",
             logarithmic=True, x_ticks=clients),
    ]  # fmt: skip


def _spike(spike: Spike) -> Markup:
    title = f"{spike.server}: the longest latency in each 50 ms, in ms"
    return plot(
        title, {spike.server: spike.longest}, size=WIDE, x_label="seconds", logarithmic=True,
        band=(spike.begins_s, spike.ends_s), dots=False,
    )  # fmt: skip


AWAY_LINES = ("write", "read of a key that is being written", "read of a clean key")


def _away(results: Results) -> Markup | None:
    if not results.away:
        return None
    lines = {
        AWAY_LINES[0]: [(a.round_trip_ms, a.writes.p50) for a in results.away],
        AWAY_LINES[1]: [(a.round_trip_ms, a.hot.p50) for a in results.away],
        AWAY_LINES[2]: [(a.round_trip_ms, a.reads.p50) for a in results.away],
    }
    return plot(
        "p50, ms", lines, size=(480, 260), x_label="round trip to the log, ms", logarithmic=False,
        x_ticks=[a.round_trip_ms for a in results.away],
    )  # fmt: skip
