"""Compares with the paper: "Amazon MemoryDB", SIGMOD 2024, doi 10.1145/3626246.3653380, section 6.

The paper's numbers depend on its machines. A shape is a property of its measurements that every
implementation of the design should have, such as a ratio.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from harness.bench.measure import AWAY_CLIENTS, Away, Latency, Point, Results
from harness.bench.servers import REFERENCE

COMPARABLE = 0.75  # reads: least rate, as a share of the other server's
HALF = (0.35, 0.85)  # writes: least and greatest share; the paper has "about half" and "62 %"
NEAR_PERCENT = 25  # tolerance where values should be equal
# The longest latency during a snapshot: off-box, it is below STEADY times that before and after;
# with BGSAVE, it exceeds SPIKE times the usual one and FORK times the duration of the fork.
STEADY = 2.0
SPIKE, FORK = 2.0, 0.8


class Shape(NamedTuple):
    """A property, as the paper reports it and as measured here. `holds`: whether they agree."""

    what: str
    paper: str
    here: str
    holds: bool


def shapes(results: Results) -> list[Shape]:
    """Return the shapes that the measurements cover, in the paper's order."""
    found: list[Shape] = []
    for other in ("redis", "valkey"):
        found += _beside(results.points, other)
    found += _far_from_the_log(results.away)
    found += _while_a_snapshot_is_taken(results)
    return found


def _best(points: Sequence[Point], server: str, mix: str) -> float:
    """Return the highest rate with the smallest values; the paper's have 100 bytes."""
    size = min(p.size for p in points)
    return max(p.rate for p in points if (p.server, p.mix, p.size) == (server, mix, size))


def _beside(points: Sequence[Point], other: str) -> Iterator[Shape]:
    servers = {p.server for p in points}
    if not {REFERENCE, other} <= servers:
        return
    for mix, what, paper, low, high in (
        ("GET", "Most reads a second", "comparable, or up to 1.5 times", COMPARABLE, 9.9),
        ("SET", "Most writes a second", "0.62; “about half”", *HALF),
    ):
        ours, theirs = _best(points, REFERENCE, mix), _best(points, other, mix)
        ratio = ours / theirs
        yield Shape(
            f"{what}, beside {other}",
            paper,
            f"{ours:,.0f} and {theirs:,.0f}: {ratio:.2f}",
            low <= ratio <= high,
        )
    few = min({p.clients for p in points} - {1} or {1})
    size = min(p.size for p in points)
    least_loaded = {
        (p.server, p.mix): p for p in points if (p.clients, p.size) == (few, size)
    }  # the least load, as the paper's latencies are of servers that are not saturated
    ours_l, theirs_l = least_loaded[REFERENCE, "GET"].reads, least_loaded[other, "GET"].reads
    yield Shape(
        f"Read latency, {few} clients, beside {other}",
        "both: p50 under 1 ms, p99 under 2 ms",
        _latencies(ours_l, theirs_l),
        max(ours_l.p50, theirs_l.p50) < 1 and max(ours_l.p99, theirs_l.p99) < 2,
    )
    ours_l, theirs_l = least_loaded[REFERENCE, "SET"].writes, least_loaded[other, "SET"].writes
    yield Shape(
        f"Write latency, {few} clients, beside {other}",
        "p50 3 ms, p99 up to 6 ms; of Redis under 1 ms and up to 3 ms",
        _latencies(ours_l, theirs_l),
        ours_l.p50 > theirs_l.p50 and ours_l.p99 > theirs_l.p99,
    )


def _latencies(ours: Latency, theirs: Latency) -> str:
    return f"p50 {ours.p50:.2f} and {theirs.p50:.2f} ms, p99 {ours.p99:.2f} and {theirs.p99:.2f} ms"


def _near(value: float, wanted: float) -> bool:
    return abs(value - wanted) <= wanted * NEAR_PERCENT / 100


def _far_from_the_log(away: Sequence[Away]) -> Iterator[Shape]:
    if not away:
        return
    near, *others = away
    for far in others:
        d = far.round_trip_ms
        more = far.writes.p50 - near.writes.p50
        yield Shape(
            f"A write takes a round trip to the log: {d:g} ms more",
            "write p50 is the log's latency",
            f"p50 {near.writes.p50:.2f} ms, then {far.writes.p50:.2f} ms: {more:.1f} ms more",
            _near(more, d),
        )
        yield Shape(
            f"A read of a clean key takes no round trip: log {d:g} ms away",
            "read latency as that of Redis",
            f"p50 {near.reads.p50:.2f} ms, then {far.reads.p50:.2f} ms",
            far.reads.p50 < 0.25 * d,
        )
        wanted = AWAY_CLIENTS / (far.writes.p50 / 1000)
        yield Shape(
            f"The write rate is clients divided by latency: log {d:g} ms away",
            "closed loop, until a node saturates",
            f"{far.rate:,.0f} with {AWAY_CLIENTS} clients, expected {wanted:,.0f}",
            _near(far.rate, wanted),
        )
        yield Shape(
            f"A read of a key that is being written waits: log {d:g} ms away",
            "reads of uncommitted keys inherit the commit's latency",
            f"p50 {far.hot.p50:.2f} ms, of a clean key {far.reads.p50:.2f} ms",
            far.hot.p50 > 0.4 * d,
        )


def _while_a_snapshot_is_taken(results: Results) -> Iterator[Shape]:
    for spike in results.spikes:
        within, outside = spike.worst(within=True), spike.worst(within=False)
        seen = f"longest request {within:.1f} ms during it, {outside:.1f} ms before and after"
        if spike.fork_ms is None:
            yield Shape(
                f"An off-box snapshot has no effect ({spike.server}, {spike.memory_mb:,.0f} MB)",
                "no effect on latency",
                seen,
                within < STEADY * outside,
            )
        else:
            yield Shape(
                f"BGSAVE causes a latency spike ({spike.server}, {spike.memory_mb:,.0f} MB)",
                "67 ms at the fork: 12 ms a GB",
                f"{seen}; the fork took {spike.fork_ms:.1f} ms",
                within > max(SPIKE * spike.usual(), FORK * spike.fork_ms),
            )
