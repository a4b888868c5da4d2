"""The live line of a run: what is left, how fast it goes, what is broken."""

from __future__ import annotations

from collections.abc import Callable

from harness.recorder import Recorder

Say = Callable[[str], None]
EVERY_NS = 10**9


class Progress:
    """Says a line once a second of the run."""

    def __init__(self, say: Say, time_limit_s: float) -> None:
        self._say = say
        self._time_limit_s = time_limit_s
        self._said_at = self._done = 0

    def tick(self, recorder: Recorder, now: int) -> None:
        """`now`: nanoseconds since the clients began."""
        if now - self._said_at < EVERY_NS:
            return
        counts = recorder.counts
        done = counts["ok"] + counts["fail"] + counts["info"]
        rate = (done - self._done) * 1e9 / (now - self._said_at)
        left = max(0.0, self._time_limit_s - now / 1e9)
        faults = ", ".join(recorder.faults) or "no fault"
        self._say(
            f"{left:3.0f} s left  {rate:6.0f} ops/s  ok {counts['ok']}  "
            f"fail {counts['fail']}  info {counts['info']}  {faults}"
        )
        self._said_at, self._done = now, done
