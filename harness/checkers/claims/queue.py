"""Queues: every answer about an element against what is known of its push."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

from harness.checkers.claims.findings import (
    Findings,
    answered_by,
    at_node,
    ended,
    process_of,
    seconds,
)
from harness.checkers.verdict import UNKNOWN, Verdict
from harness.history.columns import OPEN
from harness.history.operations import Pair
from harness.history.recorded import Recorded

LOST = "acknowledged elements are lost"
TWICE = "elements were returned more than once"
FAILED = "elements were returned although their push failed"
NEVER = "elements were returned that nobody had pushed"
ORDER = "elements were returned in another order than they were pushed"
EMPTY = "pops found nothing while acknowledged elements were in the queue"
LENGTH = "pushes were answered with an impossible length"


@dataclass(slots=True)
class _Element:
    """An element: its push, and the pops and reads that returned it."""

    name: Any
    push: Pair | None
    pops: list[Pair]
    reads: list[Pair]

    @property
    def in_ret(self) -> int:
        """Position by which it certainly was in the queue; OPEN if that is not known."""
        known = self.push is not None and self.push.type == "ok" and self.push.done is not None
        entered = self.push.done.index if known else OPEN  # type: ignore[union-attr]
        seen = (p.done.index for p in (*self.pops, *self.reads) if p.done is not None)
        return min([entered, *seen])

    @property
    def out_call(self) -> int:
        """Position until which it certainly was in the queue, if it was returned; else OPEN."""
        if self.pops:
            return self.pops[0].invoke.index
        return max((p.invoke.index for p in self.reads), default=OPEN)

    @property
    def returned(self) -> bool:
        return bool(self.pops or self.reads)


class QueueAccounting:
    """Accounts for `push` of unique elements at the end, completed with the element or (element,
    length after it), `pop` of the first (None: there was none), and `read` of the remaining ones,
    by key.

    Elements that nobody returned may have been popped by pops of unknown outcome, one each.
    """

    def check(self, recorded: Recorded, /) -> Verdict:
        final = recorded.final_values
        findings = Findings(recorded)
        by_key: dict[Hashable, list[Pair]] = {}
        for p in recorded.primary_pairs:
            by_key.setdefault(p.invoke.value[0], []).append(p)
        queues = [_Queue(key, pairs, findings) for key, pairs in by_key.items()]
        excused = 0
        for queue in queues:
            queue.check_elements()
            queue.check_order()
            queue.check_empty_pops()
            queue.check_lengths()
            if final is not None and queue.key in final:
                excused += queue.check_losses()
        unread = [
            q.key
            for q in queues
            if q.key not in (final or {}) and any(p.type != "fail" for p in q.pushes)
        ]
        evidence: dict[str, Any] = {
            "acknowledged": sum(p.type == "ok" for q in queues for p in q.pushes),
            "popped": sum(len(e.pops) for q in queues for e in q.elements.values()),
            "left": sum(map(len, (final or {}).values())),
            "lost": findings.counts[LOST],
            "excused": excused,
            "pops_unknown": sum(len(q.open_pops) for q in queues),
        }
        if findings:
            context = f"of {evidence['acknowledged']} acknowledged pushes: "
            return findings.verdict(evidence, context)
        if final is None:
            return Verdict(valid=UNKNOWN, why="the final reads did not happen", evidence=evidence)
        if unread:
            why = f"{len(unread)} queues were not read at the end"
            return Verdict(valid=UNKNOWN, why=why, evidence=evidence)
        if not evidence["acknowledged"] or not evidence["popped"]:
            why = "no push was acknowledged, or no element was popped"
            return Verdict(valid=UNKNOWN, why=why, evidence=evidence)
        return Verdict(
            valid=True,
            evidence=evidence,
            why=f"all {evidence['acknowledged']} acknowledged elements were popped once, in order, "
            "or are left"
            + (f" ({excused} may have been popped by a client that got no reply)"
               if excused else ""),
        )  # fmt: skip


class _Queue:
    """The operations of one key."""

    def __init__(self, key: Hashable, pairs: list[Pair], findings: Findings) -> None:
        self.key = key
        self.pushes = [p for p in pairs if p.invoke.f == "push"]
        self.open_pops = sorted(
            p.invoke.index for p in pairs if p.invoke.f == "pop" and p.type == "info"
        )
        self._empty = [p for p in pairs if p.invoke.f == "pop" and _result(p) is None
                       and p.type == "ok"]  # fmt: skip
        self._reads = [p for p in pairs if p.invoke.f == "read" and p.type == "ok"]
        self._findings = findings
        self.elements: dict[Any, _Element] = {
            p.invoke.value[1]: _Element(p.invoke.value[1], p, [], []) for p in self.pushes
        }
        for p in pairs:
            if p.invoke.f == "pop" and p.type == "ok" and _result(p) is not None:
                self._element(_result(p)).pops.append(p)
        for read in self._reads:
            for name in dict.fromkeys(_result(read)):
                self._element(name).reads.append(read)

    def _element(self, name: Any) -> _Element:
        return self.elements.setdefault(name, _Element(name, None, [], []))

    def _tell(self, kind: str, sentence: str, *involved: tuple[Pair, str]) -> None:
        self._findings.add(kind, f"key {self.key}: {sentence}", involved)

    def check_elements(self) -> None:
        """Report elements that must not have been returned, or not so often."""
        for read in self._reads:
            for name, times in Counter(_result(read)).items():
                if times > 1:
                    what = f"{process_of(read)} read {name} {times} times{at_node(read)}"
                    self._tell(TWICE, f"{what} at {ended(read)}", (read, "read what is left"))
        for e in self.elements.values():
            if not e.returned:
                continue
            uses = [(p, f"pop {e.name}") for p in e.pops]
            left = [(p, f"read {e.name} among those that are left")
                    for p in e.reads if e.pops and e.pops[0].done is not None
                    and p.invoke.index > e.pops[0].done.index]  # fmt: skip
            rows = [*_pushed(e), *uses, *left]
            first = min((*e.pops, *e.reads), key=lambda p: p.done.index if p.done else OPEN)
            told = f"{process_of(first)} got {e.name}{at_node(first)} at {ended(first)}"
            if e.push is None or first.done is None or e.push.invoke.index > first.done.index:
                self._tell(NEVER, f"{told}, which nobody had pushed by then", *rows,
                           *([] if uses else [(first, f"read {e.name}")]))  # fmt: skip
            elif e.push.type == "fail":
                self._tell(FAILED, f"{told}, whose push failed", *rows,
                           *([] if uses else [(first, f"read {e.name}")]))  # fmt: skip
            if len(e.pops) > 1 or left:
                other = e.pops[1] if len(e.pops) > 1 else left[0][0]
                self._tell(
                    TWICE,
                    f"{e.name} was returned to {process_of(e.pops[0])}{at_node(e.pops[0])} at "
                    f"{ended(e.pops[0])}, and to {process_of(other)}{at_node(other)} at "
                    f"{ended(other)}",
                    *rows,
                )

    def check_order(self) -> None:
        """Report elements that overtook one that was pushed before them."""
        pushed = sorted(
            (e for e in self.elements.values() if e.push is not None and e.returned),
            key=lambda e: e.in_ret,
        )
        entered = sorted(
            (e for e in pushed if e.pops), key=lambda e: e.push.invoke.index if e.push else 0
        )
        last: _Element | None = None  # of those that entered before, the one that left last
        i = 0
        for e in entered:
            assert e.push is not None
            while i < len(pushed) and pushed[i].in_ret < e.push.invoke.index:
                if last is None or pushed[i].out_call > last.out_call:
                    last = pushed[i]
                i += 1
            out = e.pops[0].done
            if last is not None and out is not None and last.out_call > out.index:
                self._overtook(e, last)
        for read in self._reads:
            before: _Element | None = None  # the one pushed last, of those further to the front
            for name in _result(read):
                e = self.elements[name]
                if e.push is None:
                    continue
                if (
                    before is not None
                    and before.push is not None
                    and _acknowledged_before(e.push, before.push)
                ):
                    self._overtook(before, e, read)
                if (
                    before is None
                    or before.push is None
                    or (e.push.invoke.index > before.push.invoke.index)
                ):
                    before = e

    def _overtook(self, e: _Element, earlier: _Element, read: Pair | None = None) -> None:
        how = (
            f"{e.name} is before it in what {process_of(read)} read{at_node(read)} at {ended(read)}"
            if read is not None
            else f"{e.name} was popped by {ended(e.pops[0])}, before it"
        )
        assert earlier.push is not None
        assert e.push is not None
        rows = [*_pushed(earlier), *_pushed(e), *((p, f"pop {e.name}") for p in e.pops[:1]),
                *((p, f"pop {earlier.name}") for p in earlier.pops[:1])]  # fmt: skip
        if read is not None:
            rows.append((read, f"read {e.name} before {earlier.name}"))
        elif not earlier.pops:
            rows += [(p, f"read {earlier.name}, which is left") for p in earlier.reads[-1:]]
        self._tell(
            ORDER,
            f"{earlier.name} was in the queue before {e.name} was pushed at "
            f"{seconds(e.push.invoke.time)}, but {how}",
            *rows,
        )

    def check_empty_pops(self) -> None:
        """Report pops of nothing while more elements were in the queue than pops of unknown
        outcome can have taken."""
        entered = sorted((e for e in self.elements.values() if e.in_ret != OPEN),
                         key=lambda e: e.in_ret)  # fmt: skip
        starts = [e.in_ret for e in entered]
        for pop in self._empty:
            assert pop.done is not None
            inside = [
                e
                for e in entered[: bisect_left(starts, pop.invoke.index)]
                if e.out_call > pop.done.index
            ]
            stayed = [e for e in inside if e.returned]
            opened = bisect_left(self.open_pops, pop.done.index)
            if stayed or len(inside) > opened:
                e = (stayed or inside)[0]
                might = f"; {opened} pops of unknown outcome may have taken others" * bool(opened)
                self._tell(
                    EMPTY,
                    f"{process_of(pop)} popped nothing{at_node(pop)} from "
                    f"{seconds(pop.invoke.time)} to {ended(pop)}, although {len(inside)} "
                    f"acknowledged elements were there, {e.name} among them{might}",
                    *_pushed(e),
                    (pop, "pop nothing"),
                    *((p, f"pop {e.name}") for p in e.pops[:1]),
                    *((p, f"read {e.name}") for p in e.reads[:1]),
                )

    def check_lengths(self) -> None:
        """Report pushes that were answered more or fewer elements than there can have been."""
        entered = sorted(e.in_ret for e in self.elements.values())
        called = sorted(p.invoke.index for p in self.pushes if p.type != "fail")
        left_call = sorted(p.invoke.index for e in self.elements.values() for p in e.pops[:1])
        left_ret = sorted(p.done.index for e in self.elements.values()
                          for p in e.pops[:1] if p.done is not None)  # fmt: skip
        for p in self.pushes:
            value = None if p.done is None or p.type != "ok" else p.done.value[1]
            if not isinstance(value, list) or p.done is None:
                continue
            length = value[1]
            call, ret = p.invoke.index, p.done.index
            taken = bisect_left(left_call, ret) + bisect_left(self.open_pops, ret)
            least = max(0, bisect_left(entered, call) - taken) + 1
            most = bisect_left(called, ret) - bisect_left(left_ret, call)
            if not least <= length <= most:
                bounds = f"between {least} and {most}" if least != most else f"{least}"
                self._tell(
                    LENGTH,
                    f"{process_of(p)} pushed {value[0]}, and {_node(p)} answered at {ended(p)} "
                    f"that the queue had {length} elements then; it must have had {bounds}",
                    (p, f"push {value[0]}, length {length}"),
                )

    def check_losses(self) -> int:
        """Report acknowledged elements that nobody returned, if there are more than pops of unknown
        outcome can have taken; return how many were excused."""
        missing = [e for e in self.elements.values()
                   if not e.returned and e.push is not None and e.push.type == "ok"]  # fmt: skip
        opened = len(self.open_pops)
        if len(missing) <= opened:
            return len(missing)
        might = f"; {opened} pops of unknown outcome may have taken as many" * bool(opened)
        for e in missing:
            assert e.push is not None
            self._tell(
                LOST,
                f"{e.name}, pushed by {process_of(e.push)} and acknowledged{answered_by(e.push)} "
                f"at {ended(e.push)}, was neither popped nor is it left{might}",
                *_pushed(e),
                *((p, f"read {len(_result(p))} elements, without {e.name}")
                  for p in self._reads[-1:]),
            )  # fmt: skip
        return 0


def _result(p: Pair) -> Any:
    return p.done.value[1] if p.done is not None else None


def _pushed(e: _Element) -> list[tuple[Pair, str]]:
    return [] if e.push is None else [(e.push, f"push {e.name}")]


def _acknowledged_before(one: Pair, other: Pair) -> bool:
    return one.type == "ok" and one.done is not None and one.done.index < other.invoke.index


def _node(p: Pair) -> str:
    return (p.done.node if p.done is not None else None) or "the server"
