"""Counters that go by equal steps, with additions of unknown outcome.

An answer names the version that an addition left, so that all of them are a chain. What is missing
in it was left by additions of unknown outcome: those called earliest fill the earliest gaps, which
is best for all of them, as they never return (checkers.md 7.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from harness.checkers.linearizability.entries import Entry
from harness.history.columns import OPEN
from harness.models.register import CasRegister


class Tally(CasRegister):
    """A register that is 0 at first."""

    def init(self) -> int:  # type: ignore[override]
        return 0


def as_register(entries: Sequence[Entry]) -> list[Entry] | None:
    """A counter's operations as those of a `Tally`, in the same order. None where the steps differ,
    a completed addition has no answer, or something else than a number was read."""
    steps: set[int] = set()
    left: set[int] = set()
    unknown: list[int] = []
    for i, e in enumerate(entries):
        if e.f != "add":
            if e.known:
                if type(e.value) is not int:
                    return None
                left.add(e.value)
            continue
        by, after = e.value if isinstance(e.value, tuple) else (e.value, None)
        if type(by) is not int or (e.known and type(after) is not int):
            return None
        if e.known and e.ret == OPEN:  # its answer is known, but not whether it happened
            return None
        steps.add(by)
        if e.known:
            left.add(after)
        else:
            unknown.append(i)
    if len(steps) != 1 or not unknown or 0 in steps:
        return None
    (by,) = steps
    answered = {e.value[1] for e in entries if e.f == "add" and e.known}  # type: ignore[index]
    furthest = max((v // by for v in left if v % by == 0), default=0)
    gaps = (n * by for n in range(1, furthest + 1) if n * by not in answered)
    fills = dict(zip(sorted(unknown, key=lambda i: entries[i].call), gaps, strict=False))
    register = []
    for i, e in enumerate(entries):
        if e.f != "add":
            register.append(e)
            continue
        after = fills.get(i) if not e.known else e.value[1]  # type: ignore[index]
        if after is None:
            register.append(replace(e, f="read", value=None))  # it never happened
        else:
            register.append(replace(e, f="cas", value=(after - by, after)))
    return register
