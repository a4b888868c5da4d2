"""Verdicts: true, false or unknown, a sentence, and the evidence."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, Literal, Protocol

import msgspec

from harness.history import History

Valid = bool | Literal["unknown"]
UNKNOWN: Final = "unknown"


class Verdict(msgspec.Struct, kw_only=True):
    """`valid` with the reason in a sentence; `evidence` is JSON.

    `judged`: False for what is measured and shown but never turns a run red.
    """

    valid: Valid
    why: str
    evidence: dict[str, Any] = {}
    judged: bool = True


class Checker(Protocol):
    """One claim about a history."""

    def check(self, history: History, /) -> Verdict: ...


def worst(verdicts: Iterable[Valid]) -> Valid:
    """False > unknown > true. Of nothing at all: unknown, since nothing was checked."""
    seen = list(verdicts)
    if any(v is False for v in seen):
        return False
    if not seen or any(v == UNKNOWN for v in seen):
        return UNKNOWN
    return True
