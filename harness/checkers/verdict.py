"""The checker protocol, and the composition of verdicts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from harness.history.record import UNKNOWN, Valid, Verdict
from harness.history.recorded import Recorded

__all__ = ["UNKNOWN", "Checker", "Valid", "Verdict", "worst"]


class Checker(Protocol):
    """Decides one claim about a history."""

    def check(self, recorded: Recorded, /) -> Verdict: ...


def worst(verdicts: Iterable[Valid]) -> Valid:
    """Return the worst of the verdicts, where false is worse than unknown, and unknown worse
    than true; unknown if there are none, since then nothing was checked."""
    seen = list(verdicts)
    if any(v is False for v in seen):
        return False
    if not seen or any(v == UNKNOWN for v in seen):
        return UNKNOWN
    return True
