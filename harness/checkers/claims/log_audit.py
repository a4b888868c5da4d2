"""The log of a database as ground truth: what clients were told, held against it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from harness.checkers.verdict import UNKNOWN, Verdict
from harness.history.events import Digests, LogRead
from harness.history.operations import Op
from harness.history.recorded import Recorded, is_primary_operation

WORDS = 3  # of an effect that tell it from others: command, key, value


class Traced(Protocol):
    """A workload whose operations leave effects that can be told from each other."""

    def effects(self, op: Op) -> list[tuple[str, ...]]:
        """What an operation leaves in the log if it happened: the first words of effects, of which
        there is no other like it."""
        ...

    def shown(self, op: Op) -> list[tuple[str, ...]]:
        """Effects that must be in the log for what an answered operation showed."""
        ...


class LogAudit:
    """Every acknowledged write is in the log once, none that failed is, one of unknown outcome at
    most once; every value that was read had been committed; what a replay of the log makes is what
    every node and every snapshot holds; where copies of the log were seen to hold the same entry,
    it is the same.

    Needs the events `LogRead` and `Digests`, at the end.
    """

    def __init__(self, workload: Traced) -> None:
        self._workload = workload

    def check(self, recorded: Recorded, /) -> Verdict:
        log = [entry for event in recorded.events.of(LogRead) for entry in event.what.entries]
        found = recorded.events.of(Digests)
        if not found:
            return Verdict(valid=UNKNOWN, why="the log was not read at the end")
        digests = found[0].what
        if digests.error is not None:
            return Verdict(valid=UNKNOWN, why=f"the log was not read: {digests.error}")
        there = Counter(
            tuple(str(word) for word in effect[:WORDS]) for _, effects in log for effect in effects
        )
        wrong = self._wrong(recorded, there)
        differing = self._differing(digests)
        evidence: dict[str, Any] = {
            "entries": digests.entries or len(log),
            "effects": sum(there.values()),
            "wrong": len(wrong),
            "examples": wrong[:20],
            "digests": msgspec.to_builtins(digests),
        }
        said = [f"{n} {what}" for what, n in Counter(w["what"] for w in wrong).items()]
        said += differing
        if said:
            return Verdict(valid=False, why="; ".join(said), evidence=evidence)
        unseen = [az for az, entries in digests.copies.items() if not entries]
        if unseen or not digests.compared:
            seen = f"nothing of {', '.join(unseen)}" if unseen else "no entry more than once"
            return Verdict(valid=UNKNOWN, why=f"{seen} was read", evidence=evidence)
        checked = sum(bool(self._workload.effects(p.invoke)) for p in recorded.pairs)
        return Verdict(
            valid=True,
            evidence=evidence,
            why=f"{checked} writes agree with the {evidence['entries']} entries of the log; "
            f"{len(digests.nodes)} nodes"
            + (f" and {n} snapshots" if (n := len(digests.snapshots)) else "")
            + " hold what its replay makes",
        )

    def _wrong(self, recorded: Recorded, there: Counter[tuple[str, ...]]) -> list[dict[str, Any]]:
        wrong: list[dict[str, Any]] = []
        committed = set(there)

        def note(what: str, op: Op, effect: Sequence[str]) -> None:
            wrong.append({"what": what, "index": op.index, "effect": list(effect)})

        for p in recorded.pairs:
            op = p.done if p.type == "ok" and p.done is not None else p.invoke
            for effect in self._workload.effects(op):
                count = there[effect]
                if p.type == "ok" and count == 0:
                    note("acknowledged writes are not in the log", op, effect)
                elif p.type == "fail" and count:
                    note("failed writes are in the log", op, effect)
                elif count > 1:
                    note("writes are in the log more than once", op, effect)
            if p.type == "ok" and (p.invoke.node is not None or is_primary_operation(p)):
                shown = self._workload.shown(op)
                for effect in () if committed.issuperset(shown) else shown:
                    if effect not in committed:
                        note("values were read that never were committed", op, effect)
        return wrong

    @staticmethod
    def _differing(digests: Digests) -> list[str]:
        said = [
            f"{node} holds {digest[:8]} where a replay of the log makes {digests.replay[:8]}"
            for node, digest in digests.nodes.items()
            if digest != digests.replay
        ]
        said += [
            f"{name} holds {held!s} where a replay up to there makes {made!s}"
            for name, (held, made) in digests.snapshots.items()
            if held != made
        ]
        if digests.differing:
            said.append(f"the copies of the log differ: {'; '.join(digests.differing)}")
        return said
