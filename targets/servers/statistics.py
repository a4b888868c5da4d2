"""The counters of a server, for INFO."""

from __future__ import annotations

from collections import deque

from targets.engine.resp import Error

SAMPLES = 16  # of `tick`, over which rates are averaged
ERRORS_MAX = 128  # distinct codes


class Statistics:
    """`hits` and `misses`: keys that reads found, or did not. `errors`: replies by error code."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int]] = deque(maxlen=SAMPLES)
        self.reset()

    def reset(self) -> None:
        self.connections = self.commands = self.hits = self.misses = self.expired = 0
        self.input_bytes = self.output_bytes = 0
        self.errors: dict[str, int] = {}
        self._samples.clear()

    def error(self, error: Error) -> None:
        word = error.code
        if word in self.errors or len(self.errors) < ERRORS_MAX:
            self.errors[word] = self.errors.get(word, 0) + 1

    def tick(self, now: float) -> None:
        """Take a sample at a time of the loop's clock, in seconds."""
        self._samples.append((now, self.commands))

    @property
    def commands_per_second(self) -> int:
        if len(self._samples) < 2:
            return 0
        (began, before), (now, after) = self._samples[0], self._samples[-1]
        return round((after - before) / max(now - began, 1e-9))
