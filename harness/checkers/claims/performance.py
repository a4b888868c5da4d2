"""Measures latencies by kind of operation, and rates, for the report; they are not judged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.checkers.claims.quantiles import quantiles
from harness.checkers.verdict import UNKNOWN, Verdict
from harness.history.operations import Pair
from harness.history.recorded import Recorded


class Performance:
    """Measures the latency of successful operations, in ms, and all completions per second."""

    def check(self, recorded: Recorded, /) -> Verdict:
        pairs = [p for p in recorded.pairs if p.done is not None]
        if not pairs:
            return Verdict(valid=UNKNOWN, judged=False, why="no operation completed")
        seconds = max(1e-9, (recorded.ended_at - recorded.began_at) / 1e9)
        latencies: dict[str, list[float]] = {}
        for p in pairs:
            if p.type == "ok" and p.done is not None:
                latencies.setdefault(p.invoke.f, []).append((p.done.time - p.invoke.time) / 1e6)
        rate = len(pairs) / seconds
        evidence = {
            "ops_per_s": round(rate, 1),
            "seconds": round(seconds, 3),
            "latency_ms": {f: quantiles(v) for f, v in sorted(latencies.items())},
        }
        return Verdict(
            valid=True,
            judged=False,
            evidence=evidence,
            why=f"{rate:.0f} operations per second over {seconds:.0f} s",
        )


def series(pairs: Sequence[Pair], buckets: int = 200) -> dict[str, Any]:
    """Return the data of plots over time, in about `buckets` intervals of equal length.

    `width_s`: their length. `buckets`: their number. `latency`: by kind of operation, {interval:
    (p50, p95) in ms of those that succeeded}. `rate`: by outcome, {interval: completions per
    second}.
    """
    done = [p for p in pairs if p.done is not None]
    end = max((p.done.time for p in done if p.done is not None), default=1)
    width = max(1, -(-end // buckets))
    latency: dict[str, dict[int, list[float]]] = {}
    rate: dict[str, dict[int, int]] = {}
    for p in done:
        assert p.done is not None
        bucket = p.done.time // width
        if p.type == "ok":
            latency.setdefault(p.invoke.f, {}).setdefault(bucket, []).append(
                (p.done.time - p.invoke.time) / 1e6
            )
        by_type = rate.setdefault(p.type, {})
        by_type[bucket] = by_type.get(bucket, 0) + 1
    return {
        "width_s": width / 1e9,
        "buckets": -(-(end + 1) // width),
        "latency": {
            f: {b: (_quantile(v, 0.5), _quantile(v, 0.95)) for b, v in sorted(by.items())}
            for f, by in sorted(latency.items())
        },
        "rate": {
            t: {b: n / (width / 1e9) for b, n in sorted(by.items())}
            for t, by in sorted(rate.items())
        },
    }


def _quantile(values: list[float], q: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))]
