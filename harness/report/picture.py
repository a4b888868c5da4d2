"""Draws a witness: a lane for each process, time to the right, bars from call to return.

Time is warped: all events are equally far apart, so that operations of a millisecond and the
seconds between them are both legible; the axis is labelled with the real times.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup, escape

LANE, BAR, LEFT, TOP = 46, 28, 96, 46
PAGE, NARROW, WIDE = 1010, 80, 132  # the page's width; least and largest width of an event
LETTER = 6.5  # approximate width of a character
MARKS_MAX = 4  # marks of the nemesis between two events
OPERATIONS_MAX = 40  # operations drawn; the text lists them all


def draw(witness: dict[str, Any], faults: Sequence[dict[str, Any]]) -> Markup:
    """Return a witness as SVG. `faults`: {label, time} events, marked among the operations."""
    operations = _chosen(witness["operations"])
    end = max(o["ret"] or o["call"] for o in operations)
    begin = min(o["call"] for o in operations)
    marks = _few([f for f in faults if begin <= f["time"] <= end], operations)
    times = sorted(
        {t for o in operations for t in (o["call"], o["ret"]) if t is not None}
        | {m["time"] for m in marks}
    )
    step = max(NARROW, min(WIDE, (PAGE - LEFT - 64) // len(times)))
    x = {t: LEFT + 24 + step * i for i, t in enumerate(times)}
    width = LEFT + 24 + step * len(times) + 40
    lanes = {p: i for i, p in enumerate(dict.fromkeys(o["process"] for o in operations))}
    height = TOP + LANE * len(lanes) + 44
    parts = [
        f'<svg class="witness" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" role="img" aria-label="the operations of the witness">'
    ]
    parts += _axis(times, x, height)
    free = 0.0
    for m in marks:
        at, text = x[m["time"]], escape(m["label"])
        parts.append(
            f'<line class="mark" x1="{at}" x2="{at}" y1="18" y2="{height - 38}">'
            f"<title>{text}</title></line>"
        )
        if at >= free:  # else it would overlap the last label
            parts.append(f'<text class="mark" x="{at + 3}" y="14">{text}</text>')
            free = at + LETTER * len(text)
    for process, i in lanes.items():
        y = TOP + LANE * i
        parts.append(
            f'<text class="lane" x="8" y="{y + BAR / 2 + 4}">process {process}</text>'
            f'<line class="lane" x1="{LEFT}" x2="{width - 10}" y1="{y + BAR + 7}" '
            f'y2="{y + BAR + 7}"/>'
        )
    for o in operations:
        later = [
            p["call"] for p in operations if p["process"] == o["process"] and p["call"] > o["call"]
        ]
        end_x = x[min(later)] - 14 if later else width - 14
        parts.append(_bar(o, x, TOP + LANE * lanes[o["process"]], end_x))
    return Markup("\n".join([*parts, "</svg>"]))


def _few(
    marks: Sequence[dict[str, Any]], operations: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Replace more than `MARKS_MAX` marks between the same two events by one with their number."""
    events = sorted({t for o in operations for t in (o["call"], o["ret"]) if t is not None})
    between: dict[int, list[dict[str, Any]]] = {}
    for m in marks:
        between.setdefault(bisect_right(events, m["time"]), []).append(m)
    few = []
    for group in between.values():
        label = f"{len(group)} faults begin or end"
        few += group if len(group) <= MARKS_MAX else [{"label": label, "time": group[0]["time"]}]
    return few


def _chosen(operations: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return at most `OPERATIONS_MAX` operations: the returned ones, then the last of the rest."""
    if len(operations) <= OPERATIONS_MAX:
        return operations
    returned = [o for o in operations if o["ret"] is not None]
    opened = [o for o in operations if o["ret"] is None]
    room = max(0, OPERATIONS_MAX - len(returned))
    kept = returned[-OPERATIONS_MAX:] + (opened[-room:] if room else [])
    return sorted(kept, key=lambda o: o["call"])


def _axis(times: Sequence[int], x: dict[int, int], height: int) -> list[str]:
    parts, last = [], None
    for t in times:
        label = f"{t / 1e9:.3f} s"
        parts.append(f'<line class="grid" x1="{x[t]}" x2="{x[t]}" y1="30" y2="{height - 38}"/>')
        if label != last:
            parts.append(
                f'<text class="tick" x="{x[t]}" y="{height - 22}" text-anchor="middle">'
                f"{label}</text>"
            )
        last = label
    return parts


def label(o: dict[str, Any]) -> str:
    """Return the text of an operation's bar: `write 3`, `read → 7`, `cas 1→2`."""
    value = o["value"]
    if o["f"] == "read":
        return f"read → {_brief(value)}"
    if o["f"].startswith("cas") and isinstance(value, list):
        if len(value) == 3 and value[2] != value[0]:
            return f"cas {value[0]}→{value[1]} saw {value[2]}"
        return f"cas {value[0]}→{value[1]}"
    if o["f"] in ("append", "add") and isinstance(value, list) and o["outcome"] == "ok":
        return f"{o['f']} {value[0]} → {value[1]}"
    return f"{o['f']} {_brief(value)}"


def _brief(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, list):
        if len(value) > 4:
            return f"{len(value)} values, last {value[-1]}"
        return "[" + " ".join(str(v) for v in value) + "]"
    return str(value)


def _bar(o: dict[str, Any], x: dict[int, int], y: int, open_end: int) -> str:
    """Draw an operation. `open_end`: where its bar ends if it did not return."""
    left = x[o["call"]]
    right = x[o["ret"]] if o["ret"] is not None else open_end
    kind = (
        "stuck"
        if o["stuck"]
        else "open"
        if o["ret"] is None
        else "read"
        if (o["f"] == "read")
        else "write"
    )
    text = label(o)
    node = f" @{o['node']}" if o["node"] else ""
    returned = (
        f"{o['ret'] / 1e9:.6f} s" if o["ret"] is not None else "outcome unknown or irrelevant"
    )
    detail = (
        f"process {o['process']}: {text}{node}\ninvoked {o['call'] / 1e9:.6f} s, completed "
        f"{returned}\nrecorded as {o['outcome']}"
        + (f": {o['error']}" if o["error"] else "")
        + f"\nvalue {o['value']}"
    )
    ending = (
        ""
        if o["ret"] is not None
        else (f'<path class="arrow" d="M{right} {y + 4} l8 {BAR / 2 - 4} l-8 {BAR / 2 - 4}"/>')
    )
    return (
        f'<g class="op {kind}"><title>{escape(detail)}</title>'
        f'<rect x="{left}" y="{y}" width="{max(10, right - left)}" height="{BAR}" rx="5"/>'
        f"{ending}"
        f'<text x="{left + 6}" y="{y + BAR / 2 + 4}">{escape(text)}'
        f'<tspan class="node">{escape(node)}</tspan></text></g>'
    )
