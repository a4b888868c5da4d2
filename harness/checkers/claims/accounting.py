"""Sets and counters: acknowledged operations against the final reads."""

from __future__ import annotations

from collections import Counter as Multiset
from collections.abc import Hashable
from typing import Any

from harness.checkers.verdict import UNKNOWN, Verdict
from harness.history.operations import Pair
from harness.history.recorded import Recorded, is_primary_operation


def sample(values: Any) -> list[Any]:
    """Return the first 20 values in order, for the evidence."""
    return sorted(values)[:20]


def _unread(keys: set[Hashable], evidence: dict[str, Any]) -> Verdict:
    why = f"{len(keys)} keys were not read at the end"
    return Verdict(valid=UNKNOWN, why=why, evidence=evidence)


class SetAccounting:
    """Accounts for `add` of unique elements and `read` of all members, by key.

    Elements are lost: acknowledged, but absent from the final read; doubled: present more than
    once, or already present when they were added; unexpected: present, but their add failed or was
    never invoked; recovered: present, although the outcome of their add is unknown; stale:
    acknowledged before a read was invoked and present at the end, but absent from that read.
    """

    def check(self, recorded: Recorded, /) -> Verdict:
        final = recorded.final_values
        if final is None:
            return Verdict(valid=UNKNOWN, why="the final reads did not happen")
        adds = [p for p in recorded.pairs if p.invoke.f == "add"]
        unread = {p.invoke.value[0] for p in adds if p.type != "fail"} - set(final)
        adds = [p for p in adds if p.invoke.value[0] not in unread]
        present = Multiset(v for members in final.values() for v in members)
        by_type: dict[str, set[Any]] = {"ok": set(), "fail": set(), "info": set()}
        for p in adds:
            by_type[p.type].add(p.invoke.value[1])
        lost = by_type["ok"] - set(present)
        doubled = {v for v, n in present.items() if n > 1} | {
            p.invoke.value[1]
            for p in adds
            if p.done is not None and p.done.error == "already a member"
        }
        unexpected = set(present) - by_type["ok"] - by_type["info"]
        recovered = set(present) & by_type["info"]
        stale = self._stale(recorded, adds, set(present))
        evidence = {
            "attempts": len(adds),
            "acknowledged": len(by_type["ok"]),
            "lost": len(lost),
            "lost_sample": sample(lost),
            "doubled": len(doubled),
            "doubled_sample": sample(doubled),
            "unexpected": len(unexpected),
            "unexpected_sample": sample(unexpected),
            "recovered": len(recovered),
            "unread_keys": sample(unread),
            "stale": len(stale),
            "stale_sample": sample(stale),
        }
        wrong = {
            "acknowledged elements are lost": lost,
            "elements are duplicates": doubled,
            "elements are present but were never added": unexpected,
            "acknowledged elements were missing from a later read": stale,
        }
        problems = [f"{len(found)} {what}" for what, found in wrong.items() if found]
        if problems:
            return Verdict(
                valid=False,
                evidence=evidence,
                why=f"of {len(by_type['ok'])} acknowledged adds: " + "; ".join(problems),
            )
        if unread:
            return _unread(unread, evidence)
        if not by_type["ok"]:
            return Verdict(valid=UNKNOWN, why="no add was acknowledged", evidence=evidence)
        return Verdict(
            valid=True,
            evidence=evidence,
            why=f"all {len(by_type['ok'])} acknowledged elements are present exactly once",
        )

    @staticmethod
    def _stale(recorded: Recorded, adds: list[Pair], present: set[Any]) -> set[Any]:
        acknowledged: dict[Hashable, list[tuple[int, Any]]] = {}
        for p in adds:
            if p.type == "ok" and p.done is not None:
                key, value = p.invoke.value
                acknowledged.setdefault(key, []).append((p.done.index, value))
        stale: set[Any] = set()
        for p in recorded.primary_pairs:
            if p.invoke.f != "read" or p.type != "ok":
                continue
            assert p.done is not None
            key, members = p.done.value
            seen = set(members)
            stale.update(
                v
                for t, v in acknowledged.get(key, ())
                if t < p.invoke.index and v not in seen and v in present
            )
        return stale


class CounterAccounting:
    """Accounts for `add` of positive amounts and `read` of the sum, by key.

    At every instant a counter lies between the sum of the acknowledged adds and the sum of all
    adds invoked by then that did not fail. A final value below these bounds means lost adds, one
    above doubled adds; other reads out of bounds are stale or too high.
    """

    def check(self, recorded: Recorded, /) -> Verdict:
        final = recorded.final_values
        if final is None:
            return Verdict(valid=UNKNOWN, why="the final reads did not happen")
        pairs = recorded.pairs
        bounds: dict[Hashable, list[int]] = {}
        for p in pairs:
            if p.invoke.f == "add" and p.type != "fail":
                low_high = bounds.setdefault(p.invoke.value[0], [0, 0])
                low_high[0] += p.invoke.value[1] if p.type == "ok" else 0
                low_high[1] += p.invoke.value[1]
        unread = set(bounds) - set(final)
        bounds = {k: b for k, b in bounds.items() if k in final}
        lost = {k: low - final[k] for k, (low, _) in bounds.items() if final[k] < low}
        doubled = {k: final[k] - high for k, (_, high) in bounds.items() if final[k] > high}
        wrong_reads = self._wrong_reads(pairs)
        evidence = {
            "counters": len(bounds),
            "acknowledged": sum(b[0] for b in bounds.values()),
            "possible": sum(b[1] for b in bounds.values()),
            "final": sum(final[k] for k in bounds),
            "lost": sum(lost.values()),
            "doubled": sum(doubled.values()),
            "reads_out_of_bounds": len(wrong_reads),
            "examples": wrong_reads[:20],
        }
        problems = []
        if lost:
            problems.append(
                f"{sum(lost.values())} of {evidence['acknowledged']} acknowledged "
                "increments are lost"
            )
        if doubled:
            problems.append(f"final values exceed the possible sums by {sum(doubled.values())}")
        if wrong_reads:
            problems.append(f"{len(wrong_reads)} reads are out of bounds")
        if problems:
            return Verdict(valid=False, why="; ".join(problems), evidence=evidence)
        if unread:
            return _unread(unread, evidence)
        if not bounds:
            return Verdict(valid=UNKNOWN, why="no add was acknowledged", evidence=evidence)
        return Verdict(
            valid=True,
            evidence=evidence,
            why=(
                f"{len(bounds)} counters end between the acknowledged sum "
                f"({evidence['acknowledged']}) and the possible sum ({evidence['possible']})"
            ),
        )

    @staticmethod
    def _wrong_reads(pairs: list[Pair]) -> list[dict[str, Any]]:
        events: list[tuple[int, str, Pair]] = []
        for p in pairs:
            add = p.invoke.f == "add" and p.type != "fail"
            read = p.invoke.f == "read" and p.type == "ok" and is_primary_operation(p)
            if add:
                events.append((p.invoke.index, "may", p))
                if p.type == "ok" and p.done is not None:
                    events.append((p.done.index, "must", p))
            elif read and p.done is not None:
                events.append((p.invoke.index, "begin", p))
                events.append((p.done.index, "end", p))
        low: dict[Hashable, int] = {}
        high: dict[Hashable, int] = {}
        low_at_begin: dict[int, int] = {}
        wrong = []
        for _, what, p in sorted(events, key=lambda e: e[0]):
            key, amount = p.invoke.value
            if what == "may":
                high[key] = high.get(key, 0) + amount
            elif what == "must":
                low[key] = low.get(key, 0) + amount
            elif what == "begin":
                low_at_begin[p.invoke.index] = low.get(key, 0)
            else:
                assert p.done is not None
                bounds = low_at_begin[p.invoke.index], high.get(key, 0)
                value = p.done.value[1]
                if not bounds[0] <= value <= bounds[1]:
                    wrong.append(
                        {
                            "key": key,
                            "value": value,
                            "at_least": bounds[0],
                            "at_most": bounds[1],
                            "time": p.done.time,
                            "process": p.invoke.process,
                            "node": p.done.node,
                        }
                    )
        return wrong
