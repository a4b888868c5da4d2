"""A machine's monotonic clock and wall clock."""

from __future__ import annotations

MILLION = 1_000_000


class Clock:
    """A monotonic clock that runs `drift_ppm` parts per million fast, and a wall clock that is
    `offset_ns` ahead of it.

    All times are integer nanoseconds, so that every machine computes the same.
    """

    def __init__(self, epoch_ns: int) -> None:
        """`epoch_ns`: the wall clock's reading at true time 0."""
        self.drift_ppm = 0
        self.offset_ns = epoch_ns
        self._true = 0
        self._counted = 0

    def count(self, true: int) -> int:
        """Return the monotonic clock's reading at a true time."""
        passed = true - self._true
        return self._counted + passed + passed * self.drift_ppm // MILLION

    def wall(self, true: int) -> int:
        """Return the wall clock's reading at a true time."""
        return self.count(true) + self.offset_ns

    def true(self, counted: int) -> int:
        """Return the first true time at which the monotonic clock reads `counted` or more."""
        ahead = counted - self._counted
        true = self._true + ahead * MILLION // (MILLION + self.drift_ppm)
        while self.count(true) < counted:
            true += 1
        return true

    def drift(self, true: int, ppm: int) -> None:
        """Change the drift from a true time on; raises ValueError at -1,000,000 ppm or below."""
        if ppm <= -MILLION:
            raise ValueError(f"a clock must advance: drift {ppm} ppm")
        self._counted, self._true, self.drift_ppm = self.count(true), true, ppm

    def jump(self, ns: int) -> None:
        """Move the wall clock by `ns`; the monotonic clock is not affected."""
        self.offset_ns += ns
