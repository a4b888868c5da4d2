"""Keys that expire."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from harness.checkers.verdict import UNKNOWN, Verdict
from harness.history.operations import Pair
from harness.history.recorded import Recorded, is_primary_operation


class AbsentForEver:
    """`set` of a key (once, with its time to live in milliseconds), `read` of its value or None.

    came back: present in a read that began after a read had answered that it is absent, which began
    after the set was acknowledged or its value was seen. How many were absent early, or present
    late, by the clients' clock is measured: clocks of servers may err.
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
        gone = early = late = 0
        for key, of_key in reads.items():
            written = sets.get(key)
            if written is None:
                continue
            absent = self._absent(written, of_key)
            gone += bool(absent)
            back += [self._example(key, *found) for found in self._returned(absent, of_key)]
            early += sum(self._age_ms(written, p, late=True) < written.invoke.value[1]
                         for p in absent)  # fmt: skip
            late += sum(
                self._value(p) is not None
                and self._age_ms(written, p, late=False) > written.invoke.value[1]
                for p in of_key
            )
        evidence = {
            "keys": len(sets), "seen_absent": gone, "came_back": len(back), "examples": back[:20],
            "absent_early": early, "present_late": late,
        }  # fmt: skip
        if back:
            first = back[0]
            return Verdict(
                valid=False,
                evidence=evidence,
                why=f"key {first['key']} was absent at {first['absent_at'] / 1e9:.3f} s and there "
                f"at {first['present_at'] / 1e9:.3f} s; {len(back)} reads like it",
            )
        if gone < 5:
            why = f"only {gone} keys were seen to be absent"
            return Verdict(valid=UNKNOWN, why=why, evidence=evidence)
        return Verdict(valid=True, why=f"{gone} keys went, and none came back", evidence=evidence)

    @staticmethod
    def _value(p: Pair) -> Any:
        assert p.done is not None
        return p.done.value[1]

    def _absent(self, written: Pair, reads: list[Pair]) -> list[Pair]:
        """Reads that say that the key is gone, after it must have been there."""
        there = [p.done.index for p in reads if p.done is not None and self._value(p) is not None]
        if written.type == "ok" and written.done is not None:
            there.append(written.done.index)
        if not there:
            return []
        since = min(there)
        return [p for p in reads if self._value(p) is None and p.invoke.index > since]

    def _returned(self, absent: list[Pair], reads: list[Pair]) -> list[tuple[Pair, Pair]]:
        """(a read that saw it absent, a later one that saw it present)."""
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
        """At least how old the key was when it was read; `late`: at most."""
        assert read.done is not None
        if late:
            return (read.done.time - written.invoke.time) / 1e6
        ended = written.done.time if written.done is not None else written.invoke.time
        return (read.invoke.time - ended) / 1e6
