"""Latency and bandwidth of the links of a simulated world."""

from __future__ import annotations

import msgspec


class Delays(msgspec.Struct, frozen=True, kw_only=True):
    """A segment's latency is drawn from `low_ns` to `high_ns`; with a probability of
    `slow_per_1024` / 1024 it is multiplied by 2 to 17. `bytes_per_s`: the bandwidth of each link.
    """

    low_ns: int = 50_000
    high_ns: int = 250_000
    slow_per_1024: int = 10
    bytes_per_s: int = 125_000_000

    def __post_init__(self) -> None:
        fits = 0 <= self.low_ns <= self.high_ns and 0 <= self.slow_per_1024 <= 1024
        if not fits or self.bytes_per_s <= 0:
            raise ValueError(f"invalid delays: {self}")
