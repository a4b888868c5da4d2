"""A directed link between two hosts: latency, loss, faults and counters.

Each link draws from its own random stream, integers only.
"""

from __future__ import annotations

import random

from harness.simulation.delays import Delays
from harness.simulation.loop import NANOS

RETRANSMIT_NS = 200_000_000
LOOPBACK_NS = 20_000


class Link:
    """The link from `source` to `sink`, each the name of a process, client host or the operator."""

    def __init__(self, source: str, sink: str, delays: Delays, rng: random.Random) -> None:
        self.source = source
        self.sink = sink
        self.rng = rng
        self.cut = False
        self.loss_per_1024 = 0
        self.extra_ns = self.jitter_ns = 0
        self.bytes_per_s = delays.bytes_per_s
        self.passed = self.held_total = self.held_now = 0
        self.delayed = self.dropped = self.lost = 0
        self._delays = delays
        self._free_ns = 0

    @property
    def perfect(self) -> bool:
        """Whether it can't be cut: a process' link to itself, and the operator's links."""
        return self.source == "operator" or self.sink == "operator" or self.source == self.sink

    def shape(self, delay_s: float, jitter_s: float, bytes_per_s: float) -> None:
        """Set additional delay and jitter, and the bandwidth; 0 restores each default."""
        self.extra_ns = round(delay_s * NANOS)
        self.jitter_ns = round(jitter_s * NANOS)
        self.bytes_per_s = round(bytes_per_s) or self._delays.bytes_per_s

    def latency(self) -> int:
        """Draw a segment's latency in nanoseconds, retransmissions of lost segments included."""
        if self.source == self.sink:
            return LOOPBACK_NS
        delays, rng = self._delays, self.rng
        drawn = rng.getrandbits(30)
        took = delays.low_ns + ((delays.high_ns - delays.low_ns) * (drawn & 0xFFFFF) >> 20)
        if drawn >> 20 < delays.slow_per_1024:
            took *= 2 + rng.getrandbits(4)
        if self.extra_ns or self.jitter_ns:
            took += max(0, self.extra_ns + self.jitter_ns * (rng.getrandbits(20) - 2**19) // 2**19)
        wait = RETRANSMIT_NS
        while self.loss_per_1024 and rng.getrandbits(10) < self.loss_per_1024:
            took += wait
            wait = min(2 * wait, 8 * RETRANSMIT_NS)
            self.lost += 1
        return took

    def arrival(self, now: int, size: int, later: int = 0) -> int:
        """Count a segment sent `later` nanoseconds after `now`; return when it arrives."""
        self.passed += size
        if self.extra_ns or self.jitter_ns or self.bytes_per_s != self._delays.bytes_per_s:
            self.delayed += size
        begin = max(now, self._free_ns)
        self._free_ns = begin + size * NANOS // self.bytes_per_s
        return self._free_ns + later + self.latency()

    def stats(self) -> dict[str, int]:
        """Return the counters: bytes, except that `lost` counts lost transmissions."""
        return {
            "passed": self.passed,
            "held_total": self.held_total,
            "held_now": self.held_now,
            "delayed": self.delayed,
            "dropped": self.dropped,
            "lost": self.lost,
        }
