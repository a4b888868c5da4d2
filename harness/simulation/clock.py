"""A machine's clocks: one that only counts, one that says what time it is."""

from __future__ import annotations

MILLION = 1_000_000


class Clock:
    """Runs `drift_ppm` millionths faster than true time; the wall clock is `offset_ns` ahead.

    All in integer nanoseconds, so that every machine computes the same.
    """

    def __init__(self, epoch_ns: int) -> None:
        """`epoch_ns`: the wall clock when true time is 0."""
        self.drift_ppm = 0
        self.offset_ns = epoch_ns
        self._true = 0
        self._counted = 0

    def count(self, true: int) -> int:
        """The monotonic clock at a true time."""
        passed = true - self._true
        return self._counted + passed + passed * self.drift_ppm // MILLION

    def wall(self, true: int) -> int:
        return self.count(true) + self.offset_ns

    def true(self, counted: int) -> int:
        """The first true time at which the monotonic clock has come to `counted`."""
        ahead = counted - self._counted
        true = self._true + ahead * MILLION // (MILLION + self.drift_ppm)
        while self.count(true) < counted:
            true += 1
        return true

    def drift(self, true: int, ppm: int) -> None:
        """From now on run at this rate."""
        if ppm <= -MILLION:
            raise ValueError(f"a clock can't run backwards: drift {ppm} ppm")
        self._counted, self._true, self.drift_ppm = self.count(true), true, ppm

    def jump(self, ns: int) -> None:
        """Set the wall clock; the monotonic clock does not notice."""
        self.offset_ns += ns
