"""Windows without a success, and times to recover. They are measured, not judged."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from harness.checkers.verdict import UNKNOWN, Verdict
from harness.history.events import FaultEnded
from harness.history.recorded import Recorded

GAP_NS = 500_000_000


class Availability:
    """Measures windows of at least half a second without a successful operation on the primary, and
    the time from each healing to the next success."""

    def check(self, recorded: Recorded, /) -> Verdict:
        times = sorted(
            p.done.time
            for p in recorded.pairs
            if p.type == "ok" and p.done is not None and p.invoke.node is None
        )
        if not times:
            return Verdict(valid=UNKNOWN, judged=False, why="no operation on the primary succeeded")
        begin = recorded.began_at
        end = recorded.ended_at if recorded.healed_at is None else recorded.healed_at
        points = [begin, *(t for t in times if begin < t < end), end]
        gaps = [{"from": a, "to": b} for a, b in pairwise(points) if b - a >= GAP_NS]
        recoveries: list[dict[str, Any]] = []
        for event in recorded.events.of(FaultEnded):
            if event.ended is not None:
                after = next((t for t in times if t > event.time), None)
                recoveries.append(
                    {
                        "after": event.what.fault,
                        "time": event.time,
                        "ms": None if after is None else round((after - event.time) / 1e6, 1),
                    }
                )
        unavailable = sum(g["to"] - g["from"] for g in gaps)
        share = 1 - unavailable / max(1, end - begin)
        slowest = max((r["ms"] for r in recoveries if r["ms"] is not None), default=None)
        why = f"primary available {share:.0%} of the time, {len(gaps)} windows without a success"
        if slowest is not None:
            why += f"; slowest recovery after a healing {slowest:.0f} ms"
        return Verdict(
            valid=True,
            judged=False,
            why=why,
            evidence={
                "windows": gaps[:50],
                "window_count": len(gaps),
                "recoveries": recoveries[:50],
                "available": round(share, 4),
            },
        )
