"""Whether a run tested anything: the check that keeps a verdict from being falsely green.

Never false, only true or unknown: a kind of operation that hardly ever succeeded, a requested
kind of fault without effect, missing final reads, a node that crashed by itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

from harness.checkers.claims.replicas import final_index, is_primary_operation
from harness.checkers.verdict import UNKNOWN, Verdict
from harness.history import History, Pair


class Coverage:
    """`minimum`: successes on the primary that each kind of operation needs before the end.
    `faults`: kinds that were asked for. `final`: whether the workload reads at the end."""

    def __init__(self, *, minimum: Mapping[str, int], faults: Sequence[str], final: bool) -> None:
        self._minimum = dict(minimum)
        self._faults = list(faults)
        self._final = final

    def check(self, history: History, /) -> Verdict:
        counts = count_operations(history.pairs())
        faults = count_faults(history)
        missing = []
        final = final_index(history)
        counted = count_operations(
            p
            for p in history.pairs()
            if is_primary_operation(p) and (final is None or p.invoke.index < final)
        )
        for f, wanted in self._minimum.items():
            got = counted.get(f, {}).get("ok", 0)
            if got < wanted:
                missing.append(f"only {got} {f} succeeded, {wanted} are needed")
        for fault in self._faults:
            injected, effective = faults.get(fault, (0, 0))
            if not effective:
                missing.append(f"{fault} had no effect ({injected} injected)")
        if self._final and final_index(history) is None:
            missing.append("the run ended before the final reads")
        unread = self._unread(history, final)
        if unread:
            missing.append(f"{len(unread)} keys were not read at the end")
        if not any(op.f == "end" for op in history):
            missing.append("the run did not come to its end")
        for op in history:
            if op.f == "settle" and op.error is not None:
                missing.append(f"it did not settle after healing: {op.error}")
        crashes = [op for op in history if op.f in ("exit", "alarm") and op.type == "info"]
        for op in crashes:
            missing.append(f"{op.value['process']} {op.value['what']}")
        unclassified = sum(1 for op in history if (op.error or "").startswith("unclassified"))
        evidence: dict[str, Any] = {
            "operations": counts,
            "faults": {f: {"injected": i, "effective": e} for f, (i, e) in faults.items()},
            "unclassified_errors": unclassified,
        }
        if missing:
            return Verdict(valid=UNKNOWN, why="; ".join(missing), evidence=evidence)
        ok = sum(c.get("ok", 0) for c in counts.values())
        said = f"{ok} operations succeeded"
        if faults:
            said += "; " + ", ".join(
                f"{e} of {i} {f} faults had an effect" for f, (i, e) in faults.items()
            )
        return Verdict(valid=True, why=said, evidence=evidence)

    def _unread(self, history: History, final: int | None) -> set[Hashable]:
        """Keys that a final read of the primary was asked for and never gave."""
        if final is None or not self._final:
            return set()
        reads = [
            p
            for p in history.pairs()
            if p.invoke.index >= final and p.invoke.f == "read" and p.invoke.node is None
        ]
        answered = {p.invoke.value[0] for p in reads if p.type == "ok" and is_primary_operation(p)}
        return {p.invoke.value[0] for p in reads} - answered


def count_operations(pairs: Iterable[Pair]) -> dict[str, dict[str, int]]:
    """Completions by kind and type."""
    counts: dict[str, Counter[str]] = {}
    for p in pairs:
        counts.setdefault(p.invoke.f, Counter())[p.type] += 1
    return {f: dict(sorted(c.items())) for f, c in sorted(counts.items())}


def count_faults(history: History) -> dict[str, tuple[int, int]]:
    """By kind: how many faults were injected, and how many had a measured effect."""
    injected: Counter[str] = Counter()
    effective: Counter[str] = Counter()
    for p in history.nemesis_pairs():
        kind = p.invoke.f.partition("-")[2]
        if p.invoke.f.startswith("start-"):
            injected[kind] += 1
        elif p.invoke.f.startswith("stop-") and isinstance(p.said, dict):
            effective[kind] += bool(p.said.get("effective"))
    return {kind: (injected[kind], effective[kind]) for kind in sorted(injected)}
