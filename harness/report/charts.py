"""Latency and rate over time as SVG, with the faults shaded on the same axis."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape

WIDTH, HEIGHT = 960, 220
LEFT, RIGHT, TOP, BOTTOM = 64, 12, 22, 26
COLOURS = ("#2f6fde", "#d9730d", "#0f9d7a", "#a84bc4", "#b3892b", "#5a6b7b")
LETTER = 6.5  # approximate width of a character
BY_TYPE = {"ok": "#2f6fde", "fail": "#d9730d", "info": "#c2409a"}


@dataclass(frozen=True)
class Band:
    """A fault on the time axis, in seconds, with its displayed name."""

    start_s: float
    end_s: float
    label: str


def _x(seconds: float, end_s: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * seconds / end_s


def nice_step(span: float, count: int = 8) -> float:
    """Return 1, 2 or 5 times a power of ten, to divide a span into about `count` steps."""
    raw = span / count
    power: float = 10 ** math.floor(math.log10(raw)) if raw > 0 else 1
    return next((m * power for m in (1, 2, 5, 10) if m * power >= raw), raw)


def overlapping(bands: Sequence[Band]) -> list[Band]:
    """Merge overlapping bands, and their labels."""
    groups: list[Band] = []
    for band in sorted(bands, key=lambda b: b.start_s):
        if not groups or band.start_s > groups[-1].end_s:
            groups.append(band)
            continue
        last = groups[-1]
        known = last.label.split(", ")
        label = last.label if band.label in known else f"{last.label}, {band.label}"
        groups[-1] = Band(last.start_s, max(last.end_s, band.end_s), label)
    return groups


def _frame(end_s: float, bands: Sequence[Band], title: str) -> list[str]:
    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">']
    for band in bands:
        x, to = _x(band.start_s, end_s), _x(min(band.end_s, end_s), end_s)
        parts.append(
            f'<rect class="fault" x="{x:.1f}" y="{TOP}" width="{max(1.5, to - x):.1f}" '
            f'height="{HEIGHT - TOP - BOTTOM}"><title>{escape(band.label)}: '
            f"{band.start_s:.2f} s to {band.end_s:.2f} s</title></rect>"
        )
    free = 0.0
    for group in overlapping(bands):
        x = _x(group.start_s, end_s)
        room = LETTER * len(group.label)
        at_the_end = x > WIDTH - 90
        if x - (room if at_the_end else 0) < free:
            continue  # it would overlap the last label; the table lists all
        free = x if at_the_end else x + room
        anchor = ' text-anchor="end"' if at_the_end else ""
        parts.append(
            f'<text class="fault-name" x="{x + 2:.1f}" y="{TOP - 6}"{anchor}>'
            f"{escape(group.label)}</text>"
        )
    step = nice_step(end_s, 10)
    for k in range(int(end_s / step) + 1):
        x = _x(k * step, end_s)
        parts.append(
            f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>'
        )
        parts.append(
            f'<text class="tick" x="{x:.1f}" y="{HEIGHT - 8}" text-anchor="middle">'
            f"{k * step:g} s</text>"
        )
    return parts


def _y_axis(ticks: Sequence[tuple[float, str]]) -> list[str]:
    parts = []
    for y, label in ticks:
        parts.append(
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        )
        parts.append(
            f'<text class="tick" x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{label}</text>'
        )
    return parts


def _line(
    points: Sequence[tuple[float, float] | None], colour: str, title: str, dashed: bool = False
) -> str:
    path, pen = [], "M"
    for point in points:
        if point is None:
            pen = "M"
            continue
        path.append(f"{pen}{point[0]:.1f} {point[1]:.1f}")
        pen = "L"
    dash = ' stroke-dasharray="3 3" opacity=".65"' if dashed else ""
    return (
        f'<path d="{" ".join(path)}" fill="none" stroke="{colour}" stroke-width="1.6"{dash}>'
        f"<title>{escape(title)}</title></path>"
    )


def _points(
    values: Mapping[int, float],
    buckets: int,
    width_s: float,
    end_s: float,
    y: Callable[[float], float],
) -> list[tuple[float, float] | None]:
    """Return the points of a line: None, a gap, for an empty bucket; two for a lone one."""
    points: list[tuple[float, float] | None] = []
    for b in range(buckets):
        if b not in values:
            points.append(None)
            continue
        x = _x((b + 0.5) * width_s, end_s)
        if b - 1 not in values and b + 1 not in values:
            points.append((x - 2, y(values[b])))
        points.append((x, y(values[b])))
    return points


def latency(series: Mapping[str, Any], bands: Sequence[Band]) -> Markup:
    """Draw latencies: p50 solid, p95 dashed, on a logarithmic scale in ms."""
    width_s, buckets = series["width_s"], series["buckets"]
    end_s = max(1e-6, width_s * buckets)
    values = [v for by in series["latency"].values() for pair in by.values() for v in pair if v > 0]
    low = math.floor(math.log10(min(values, default=0.1)))
    high = max(low + 1, math.ceil(math.log10(max(values, default=1))))

    def y(ms: float) -> float:
        part = (math.log10(max(ms, 10.0**low)) - low) / (high - low)
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * part

    parts = _frame(end_s, bands, "latency over time")
    parts += _y_axis([(y(10.0**e), f"{10.0**e:g} ms") for e in range(low, high + 1)])
    for i, (f, by) in enumerate(series["latency"].items()):
        colour = COLOURS[i % len(COLOURS)]
        for which, name, dashed in ((1, "p95", True), (0, "p50", False)):
            points = _points({b: pair[which] for b, pair in by.items()}, buckets, width_s, end_s, y)
            parts.append(_line(points, colour, f"{f} {name}", dashed))
    return Markup("\n".join([*parts, "</svg>"]))


def rate(series: Mapping[str, Any], bands: Sequence[Band]) -> Markup:
    """Draw completions a second by outcome."""
    width_s, buckets = series["width_s"], series["buckets"]
    end_s = max(1e-6, width_s * buckets)
    top = max((v for by in series["rate"].values() for v in by.values()), default=1.0)
    step = nice_step(top, 4)
    top = step * math.ceil(top / step)

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / top

    parts = _frame(end_s, bands, "completions a second over time")
    parts += _y_axis([(y(k * step), f"{k * step:g}/s") for k in range(round(top / step) + 1)])
    for type, by in series["rate"].items():
        full = {b: by.get(b, 0.0) for b in range(buckets)} if type == "ok" else by
        parts.append(_line(_points(full, buckets, width_s, end_s, y), BY_TYPE[type], type))
    return Markup("\n".join([*parts, "</svg>"]))


def legend(
    names: Sequence[str], colours: Sequence[str] | Mapping[str, str]
) -> list[dict[str, str]]:
    """Return names with their colours, for the template."""
    if isinstance(colours, Mapping):
        return [{"name": n, "colour": colours[n]} for n in names]
    return [{"name": n, "colour": colours[i % len(colours)]} for i, n in enumerate(names)]
