"""Queues: elements pushed against elements popped or left in the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from typing import Any

from harness.checkers.claims.accounting import sample
from harness.checkers.verdict import UNKNOWN, Verdict
from harness.history.recorded import Recorded


class QueueAccounting:
    """Accounts for `push` of unique elements, `pop` of the first (None: empty) and `read` of the
    remaining ones, by key.

    Elements are missing: acknowledged, but neither popped nor left in the end. They are excused if
    their queue has at least as many pops of unknown outcome, which may have popped them; otherwise
    all missing elements of the queue are lost. Elements are doubled: popped or left more than once
    in all; unexpected: popped or left, but their push failed or was never invoked.
    """

    def check(self, recorded: Recorded, /) -> Verdict:
        final = recorded.final_values
        if final is None:
            return Verdict(valid=UNKNOWN, why="the final reads did not happen")
        pushed: dict[str, dict[Hashable, list[Any]]] = {"ok": {}, "fail": {}, "info": {}}
        popped: dict[Hashable, Counter[Any]] = {}
        excuses: Counter[Hashable] = Counter()
        for p in recorded.pairs:
            key, value = p.invoke.value
            if p.invoke.f == "push":
                pushed[p.type].setdefault(key, []).append(value)
            elif p.invoke.f == "pop" and p.type == "info":
                excuses[key] += 1
            elif p.invoke.f == "pop" and p.type == "ok":
                assert p.done is not None
                if p.done.value[1] is not None:
                    popped.setdefault(key, Counter())[p.done.value[1]] += 1
        lost: list[Any] = []
        excused = 0
        seen: dict[Hashable, Counter[Any]] = {
            key: popped.get(key, Counter()) + Counter(final.get(key, ()))
            for key in dict.fromkeys([*pushed["ok"], *pushed["info"], *popped, *final])
        }
        unread = [k for k in [*pushed["ok"], *pushed["info"]] if k not in final]
        for key, elements in pushed["ok"].items():
            if key in final:
                missing = [e for e in elements if not seen[key][e]]
                excused += min(len(missing), excuses[key])
                lost += missing if len(missing) > excuses[key] else []
        doubled = [e for counts in seen.values() for e, n in counts.items() if n > 1]
        unexpected = [
            e
            for key, counts in seen.items()
            for e in counts
            if e not in pushed["ok"].get(key, ()) and e not in pushed["info"].get(key, ())
        ]
        evidence = {
            "acknowledged": sum(map(len, pushed["ok"].values())),
            "popped": sum(c.total() for c in popped.values()),
            "left": sum(len(final[k]) for k in final),
            "lost": len(lost),
            "lost_sample": sample(lost),
            "excused": excused,
            "pops_unknown": excuses.total(),
            "doubled": len(doubled),
            "doubled_sample": sample(doubled),
            "unexpected": len(unexpected),
            "unexpected_sample": sample(unexpected),
        }
        return self._verdict(evidence, unread)

    @staticmethod
    def _verdict(evidence: dict[str, Any], unread: list[Any]) -> Verdict:
        problems = [
            f"{evidence[name]} {what}"
            for name, what in (
                ("lost", "acknowledged elements are lost"),
                ("doubled", "elements are duplicates"),
                ("unexpected", "elements were never pushed"),
            )
            if evidence[name]
        ]
        if problems:
            why = f"of {evidence['acknowledged']} acknowledged pushes: " + "; ".join(problems)
            return Verdict(valid=False, why=why, evidence=evidence)
        if unread:
            why = f"{len(unread)} queues were not read at the end"
            return Verdict(valid=UNKNOWN, why=why, evidence=evidence)
        if not evidence["acknowledged"] or not evidence["popped"]:
            why = "no push was acknowledged, or no element was popped"
            return Verdict(valid=UNKNOWN, why=why, evidence=evidence)
        return Verdict(
            valid=True,
            evidence=evidence,
            why=f"all {evidence['acknowledged']} acknowledged elements were popped once or are left"
            + (f" ({evidence['excused']} may have been popped by a client that got no reply)"
               if evidence["excused"] else ""),
        )  # fmt: skip
