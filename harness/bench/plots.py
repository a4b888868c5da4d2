"""Plots of measurements, as SVG."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from markupsafe import Markup, escape

from harness.report.charts import nice_step

COLOURS = {"memorydb": "#d9730d", "redis": "#2f6fde", "valkey": "#0f9d7a"}
LEFT, RIGHT, TOP, BOTTOM = 58, 14, 24, 34
Points = Sequence[tuple[float, float]]
Scale = Callable[[float], float]


def colour(name: str, place: int = 0) -> str:
    return COLOURS.get(name, ("#d9730d", "#2f6fde", "#a84bc4")[place % 3])


def _linear(low: float, high: float, start: float, end: float) -> Scale:
    span = (high - low) or 1.0
    return lambda value: start + (end - start) * (value - low) / span


def _logarithmic(low: float, high: float, start: float, end: float) -> Scale:
    inner = _linear(math.log10(low), math.log10(high), start, end)
    return lambda value: inner(math.log10(max(value, low)))


def _number(value: float) -> str:
    if value >= 1e6:
        return f"{value / 1e6:g}M"
    return f"{value / 1e3:g}k" if value >= 1e3 else f"{value:g}"


def _y_axis(lines: Mapping[str, Points], logarithmic: bool) -> tuple[float, float, list[float]]:
    """Return (least, most, ticks)."""
    values = [y for points in lines.values() for _, y in points if y > 0] or [1.0]
    if not logarithmic:
        step = nice_step(max(values), 4)
        most = step * math.ceil(max(values) / step)
        return 0.0, most, [step * i for i in range(round(most / step) + 1)]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    high = max(high, low + 1)
    return 10.0**low, 10.0**high, [10.0**e for e in range(low, high + 1)]


def plot(
    title: str,
    lines: Mapping[str, Points],
    *,
    size: tuple[int, int],
    x_label: str,
    logarithmic: bool,
    x_ticks: Sequence[float] = (),
    band: tuple[float, float] | None = None,
    dots: bool = True,
) -> Markup:
    """Draw lines over a common x axis. `x_ticks`: the measured values, drawn at equal distances;
    without them the axis is time, and `band` a shaded part of it. `logarithmic`: the y axis."""
    width, height = size
    bottom, right = height - BOTTOM, width - RIGHT
    least, most, ticks = _y_axis(lines, logarithmic)
    y = (_logarithmic if logarithmic else _linear)(least, most, bottom, TOP)
    every_x = [x for points in lines.values() for x, _ in points] or [0.0, 1.0]
    if x_ticks:
        places = {value: float(i) for i, value in enumerate(x_ticks)}
        inner = _linear(0, max(1, len(places) - 1), LEFT + 8, right - 8)
        x: Scale = lambda value: inner(places[value])  # noqa: E731
        marks = list(x_ticks)
    else:
        x = _linear(min(every_x), max(every_x), LEFT, right)
        step = nice_step(max(every_x) - min(every_x), 10)
        first = math.ceil(min(every_x) / step)
        marks = [step * i for i in range(first, math.floor(max(every_x) / step) + 1)]
    parts = [f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}">']
    if band is not None:
        parts.append(
            f'<rect class="fault" x="{x(band[0]):.1f}" y="{TOP}" '
            f'width="{max(1.5, x(band[1]) - x(band[0])):.1f}" height="{bottom - TOP}"/>'
        )
    parts.append(f'<text x="{LEFT}" y="{TOP - 9}" font-weight="600">{escape(title)}</text>')
    for tick in ticks:
        parts.append(
            f'<line class="grid" x1="{LEFT}" x2="{right}" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>'
            f'<text class="tick" x="{LEFT - 6}" y="{y(tick) + 4:.1f}" text-anchor="end">'
            f"{_number(tick)}</text>"
        )
    for mark in marks:
        parts.append(
            f'<text class="tick" x="{x(mark):.1f}" y="{bottom + 15}" text-anchor="middle">'
            f"{_number(mark)}</text>"
        )
    parts.append(
        f'<text class="tick" x="{(LEFT + right) / 2:.1f}" y="{height - 4}" text-anchor="middle">'
        f"{escape(x_label)}</text>"
    )
    for place, (name, points) in enumerate(lines.items()):
        path = " ".join(
            f"{'L' if i else 'M'}{x(at):.1f} {y(value):.1f}" for i, (at, value) in enumerate(points)
        )
        stroke = colour(name, place)
        parts.append(f'<path d="{path}" fill="none" stroke="{stroke}" stroke-width="1.8"/>')
        if dots:
            parts += [
                f'<circle cx="{x(at):.1f}" cy="{y(value):.1f}" r="3" fill="{stroke}">'
                f"<title>{escape(name)}: {_number(at)}, {value:,.3g}</title></circle>"
                for at, value in points
            ]
    return Markup("\n".join([*parts, "</svg>"]))
