"""Quantiles of measured values."""

from __future__ import annotations

from collections.abc import Sequence


def quantiles(values: Sequence[float]) -> dict[str, float]:
    """Return {name: quantile} for p50, p90, p99 and max; there must be a value."""
    ordered = sorted(values)
    at = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
    return {
        name: round(ordered[min(len(ordered) - 1, int(q * len(ordered)))], 3)
        for name, q in at.items()
    }
