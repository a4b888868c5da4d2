"""Counters whose additions are all equal, some of them of unknown outcome, as registers.

The result of an addition names the value that it installed, so the completed ones form a chain of
compare-and-sets. Gaps in it were filled by additions of unknown outcome. Filling the earliest gap
with the addition invoked earliest is optimal, since these never return.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from harness.checkers.linearizability.entries import Entry
from harness.history.columns import OPEN
from harness.models.register import CasRegister


class Tally(CasRegister):
    """A compare-and-set register whose initial value is 0."""

    def init(self) -> int:  # type: ignore[override]
        return 0


def as_register(entries: Sequence[Entry]) -> list[Entry] | None:
    """Return a counter's operations as those of a `Tally`, in the same order. None where the
    amounts differ or are 0, all outcomes are known, a completed addition has no result, or a read
    returned something other than an integer."""
    amounts: set[int] = set()
    seen: set[int] = set()
    unknown: list[int] = []
    for i, e in enumerate(entries):
        if e.f != "add":
            if e.known:
                if type(e.value) is not int:
                    return None
                seen.add(e.value)
            continue
        by, after = e.value if isinstance(e.value, tuple) else (e.value, None)
        if type(by) is not int or (e.known and type(after) is not int):
            return None
        if e.known and e.ret == OPEN:  # its result is known, but not whether it happened
            return None
        amounts.add(by)
        if e.known:
            seen.add(after)
        else:
            unknown.append(i)
    if len(amounts) != 1 or not unknown or 0 in amounts:
        return None
    (by,) = amounts
    completed = {e.value[1] for e in entries if e.f == "add" and e.known}  # type: ignore[index]
    furthest = max((v // by for v in seen if v % by == 0), default=0)
    gaps = (n * by for n in range(1, furthest + 1) if n * by not in completed)
    fills = dict(zip(sorted(unknown, key=lambda i: entries[i].call), gaps, strict=False))
    register = []
    for i, e in enumerate(entries):
        if e.f != "add":
            register.append(e)
            continue
        after = fills.get(i) if not e.known else e.value[1]  # type: ignore[index]
        if after is None:
            register.append(replace(e, f="read", value=None))  # it never took effect
        else:
            register.append(replace(e, f="cas", value=(after - by, after)))
    return register
