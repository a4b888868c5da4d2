"""Audit of a history against the log of the database as ground truth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

import msgspec

from harness.checkers.verdict import UNKNOWN, Verdict
from harness.history.events import Digests, LogRead
from harness.history.operations import Op
from harness.history.recorded import Recorded

ID_WORDS = 3  # first words of an effect, which identify it: command, key, value


class Traced(Protocol):
    """A workload whose operations leave distinct effects in the log."""

    def effects(self, op: Op) -> list[tuple[str, ...]]:
        """Return what an operation leaves in the log if it happened: the first words of effects,
        distinct from those of every other operation."""
        ...

    def shown(self, op: Op) -> list[tuple[str, ...]]:
        """Return the effects that a successful operation observed, so they must be in the log."""
        ...


@runtime_checkable
class Atomic(Protocol):
    """A workload whose operations leave effects that are not distinct, beside one that is."""

    def beside(self, op: Op) -> list[tuple[str, ...]]:
        """Return the effects that must be in the entry that has the first of `effects`."""
        ...


class LogAudit:
    """Every acknowledged write is in the log once, no failed one is, one of unknown outcome is at
    most once; the effects of one operation are in one entry; every value that was read had been
    committed; every node and every snapshot has the digest of a replay of the log; entries that
    were read from several copies of the log are equal.

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
        entries = [
            [tuple(str(word) for word in effect[:ID_WORDS]) for effect in effects]
            for _, effects in log
        ]
        logged = Counter(effect for effects in entries for effect in effects)
        wrong = [*self._wrong(recorded, logged), *self._split(recorded, entries)]
        differing = self._differing(digests)
        evidence: dict[str, Any] = {
            "entries": digests.entries or len(log),
            "effects": sum(logged.values()),
            "wrong": len(wrong),
            "examples": wrong[:20],
            "digests": msgspec.to_builtins(digests),
        }
        problems = [f"{n} {what}" for what, n in Counter(w["what"] for w in wrong).items()]
        problems += differing
        if problems:
            return Verdict(valid=False, why="; ".join(problems), evidence=evidence)
        unread = [az for az, entries in digests.copies.items() if not entries]
        if unread or (len(digests.copies) > 1 and not digests.compared):
            source = ", ".join(unread) if unread else "more than one copy of the log"
            why = f"no entry was read from {source}"
            return Verdict(valid=UNKNOWN, why=why, evidence=evidence)
        checked = sum(bool(self._workload.effects(p.invoke)) for p in recorded.pairs)
        return Verdict(
            valid=True,
            evidence=evidence,
            why=f"{checked} writes agree with the {evidence['entries']} entries of the log; "
            f"{len(digests.nodes)} nodes"
            + (f" and {n} snapshots" if (n := len(digests.snapshots)) else "")
            + " have the digest of its replay",
        )

    def _wrong(self, recorded: Recorded, logged: Counter[tuple[str, ...]]) -> list[dict[str, Any]]:
        wrong: list[dict[str, Any]] = []
        committed = set(logged)

        def note(what: str, op: Op, effect: Sequence[str]) -> None:
            wrong.append({"what": what, "index": op.index, "effect": list(effect)})

        for p in recorded.pairs:
            op = p.done if p.type == "ok" and p.done is not None else p.invoke
            for effect in self._workload.effects(op):
                count = logged[effect]
                if p.type == "ok" and count == 0:
                    note("acknowledged writes are not in the log", op, effect)
                elif p.type == "fail" and count:
                    note("failed writes are in the log", op, effect)
                elif count > 1:
                    note("writes are in the log more than once", op, effect)
            if p.type == "ok" and (p.invoke.node is not None or recorded.on_primary(p)):
                shown = self._workload.shown(op)
                for effect in () if committed.issuperset(shown) else shown:
                    if effect not in committed:
                        note("values were read that were never committed", op, effect)
        return wrong

    def _split(
        self, recorded: Recorded, entries: Sequence[Sequence[tuple[str, ...]]]
    ) -> Iterator[dict[str, Any]]:
        """Yield the operations whose effects are not all in one entry."""
        place = {effect: n for n, effects in enumerate(entries) for effect in effects}
        members = [set(effects) for effects in entries]
        for p in recorded.pairs:
            op = p.done if p.type == "ok" and p.done is not None else p.invoke
            effects = self._workload.effects(op)
            found = [place[effect] for effect in effects if effect in place]
            if isinstance(self._workload, Atomic) and effects:
                effects = [*effects, *self._workload.beside(op)]
            if len(effects) < 2 or p.type == "fail":
                continue
            if found and not any(members[n].issuperset(effects) for n in found):
                yield {
                    "what": "operations have their effects in several entries",
                    "index": op.index,
                    "effect": [" ".join(effect) for effect in effects],
                }

    @staticmethod
    def _differing(digests: Digests) -> list[str]:
        problems = [
            f"{node} has digest {digest[:8]}, but a replay of the log has {digests.replay[:8]}"
            for node, digest in digests.nodes.items()
            if digest != digests.replay
        ]
        problems += [
            f"{name} has digest {own!s}, but a replay up to its position has {replay!s}"
            for name, (own, replay) in digests.snapshots.items()
            if own != replay
        ]
        if digests.differing:
            problems.append(f"the copies of the log differ: {'; '.join(digests.differing)}")
        return problems
