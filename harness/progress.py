"""The progress line of a run: time left, operations a second, active faults."""

from __future__ import annotations

from collections.abc import Callable

from harness.recorder import Recorder

Notify = Callable[[str], None]
EVERY_NS = 10**9


class Progress:
    """Reports a line for each second of the run."""

    def __init__(self, say: Notify, time_limit_s: float) -> None:
        self._say = say
        self._time_limit_s = time_limit_s
        self._reported_at = self._done = 0

    def tick(self, recorder: Recorder, now: int) -> None:
        """`now`: nanoseconds since the clients began."""
        if now - self._reported_at < EVERY_NS:
            return
        counts = recorder.counts
        done = counts["ok"] + counts["fail"] + counts["info"]
        rate = (done - self._done) * 1e9 / (now - self._reported_at)
        left = max(0.0, self._time_limit_s - now / 1e9)
        faults = ", ".join(recorder.faults) or "no fault"
        self._say(
            f"{left:3.0f} s left  {rate:6.0f} ops/s  ok {counts['ok']}  "
            f"fail {counts['fail']}  info {counts['info']}  {faults}"
        )
        self._reported_at, self._done = now, done
