"""Keys that expire."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from harness.checkers.verdict import UNKNOWN, Verdict
from harness.history.operations import Pair
from harness.history.recorded import Recorded, is_primary_operation


class NeverReappears:
    """Checks `set` of a key (once, with its time to live in ms) and `read` of its value or None.

    An expired key must not reappear: no read returns its value after an earlier read returned None,
    which itself came after the set was acknowledged or the value was read. Reads that found a key
    absent early, or present late, by the clients' clocks are only counted: servers' clocks may err.
    """

    def check(self, recorded: Recorded, /) -> Verdict:
        sets: dict[Hashable, Pair] = {}
        reads: dict[Hashable, list[Pair]] = {}
        for p in recorded.pairs:
            if p.invoke.f == "set":
                sets[p.invoke.value[0]] = p
            elif p.invoke.f == "read" and p.type == "ok" and is_primary_operation(p):
                reads.setdefault(p.invoke.value[0], []).append(p)
        back: list[dict[str, Any]] = []
        expired = early = late = 0
        for key, of_key in reads.items():
            written = sets.get(key)
            if written is None:
                continue
            absent = self._absent(written, of_key)
            expired += bool(absent)
            back += [self._example(key, *found) for found in self._returned(absent, of_key)]
            early += sum(self._age_ms(written, p, late=True) < written.invoke.value[1]
                         for p in absent)  # fmt: skip
            late += sum(
                self._value(p) is not None
                and self._age_ms(written, p, late=False) > written.invoke.value[1]
                for p in of_key
            )
        evidence = {
            "keys": len(sets), "seen_absent": expired, "came_back": len(back),
            "examples": back[:20], "absent_early": early, "present_late": late,
        }  # fmt: skip
        if back:
            first = back[0]
            return Verdict(
                valid=False,
                evidence=evidence,
                why=f"key {first['key']} was absent at {first['absent_at'] / 1e9:.3f} s and "
                f"present at {first['present_at'] / 1e9:.3f} s; {len(back)} such reads",
            )
        if expired < 5:
            why = f"only {expired} keys were read as absent"
            return Verdict(valid=UNKNOWN, why=why, evidence=evidence)
        why = f"{expired} keys expired, and none reappeared"
        return Verdict(valid=True, why=why, evidence=evidence)

    @staticmethod
    def _value(p: Pair) -> Any:
        assert p.done is not None
        return p.done.value[1]

    def _absent(self, written: Pair, reads: list[Pair]) -> list[Pair]:
        """Return the reads that found the key absent after it must have been present."""
        present = [p.done.index for p in reads if p.done is not None and self._value(p) is not None]
        if written.type == "ok" and written.done is not None:
            present.append(written.done.index)
        if not present:
            return []
        since = min(present)
        return [p for p in reads if self._value(p) is None and p.invoke.index > since]

    def _returned(self, absent: list[Pair], reads: list[Pair]) -> list[tuple[Pair, Pair]]:
        """Return (first read that found the key absent, later read that found it) pairs."""
        if not absent:
            return []
        first = min(absent, key=lambda p: p.done.index if p.done is not None else 0)
        assert first.done is not None
        return [
            (first, p)
            for p in reads
            if self._value(p) is not None and p.invoke.index > first.done.index
        ]

    @staticmethod
    def _example(key: Hashable, absent: Pair, present: Pair) -> dict[str, Any]:
        assert absent.done is not None
        assert present.done is not None
        return {
            "key": key,
            "absent_at": absent.done.time,
            "present_at": present.done.time,
            "absent_node": absent.done.node,
            "present_node": present.done.node,
            "process": present.invoke.process,
        }

    @staticmethod
    def _age_ms(written: Pair, read: Pair, *, late: bool) -> float:
        """Return the least possible age of the key in ms when it was read; `late`: the greatest."""
        assert read.done is not None
        if late:
            return (read.done.time - written.invoke.time) / 1e6
        ended = written.done.time if written.done is not None else written.invoke.time
        return (read.invoke.time - ended) / 1e6
