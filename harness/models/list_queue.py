"""A list that is used as a queue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.history.columns import OPEN
from harness.models.base import INCONSISTENT, Model, Operation, last_read, unknown_operation
from harness.models.stays import ORDERS, Stay, narrow


class ListQueue:
    """A list with `push` at the end, completed with v or (v, length after it), `pop` of the first
    element, completed with it, or with None where there was none, and `read` of everything.
    Initially empty."""

    recurs = True

    def init(self) -> tuple[Any, ...]:
        return ()

    def step(self, state: tuple[Any, ...], f: str, value: Any, known: bool) -> Any:
        if f == "push":
            element, length = _pushed(value)
            if known and length is not None and length != len(state) + 1:
                return INCONSISTENT
            return (*state, element)
        if f == "pop":
            if known and (state[0] if state else None) != value:
                return INCONSISTENT
            return state[1:]
        if f == "read":
            return state if not known or tuple(value) == state else INCONSISTENT
        raise unknown_operation("list-queue", f, "push, pop and read")

    def reads(self, f: str, value: Any) -> bool:
        return f == "read"

    def constrained(self, operations: Sequence[Operation]) -> Model:
        """Elements leave in the order in which they entered, which tells much of the order of their
        pushes, see `stays`; and pops of unknown outcome took only what nobody else returned."""
        pushed = [_pushed(e.value)[0] for e in operations if e.f == "push"]
        if len(set(pushed)) != len(pushed):
            return self
        return _Ordered(_Known(operations))


def _pushed(value: Any) -> tuple[Any, int | None]:
    return value if isinstance(value, tuple) else (value, None)


class _Known:
    """What a history with unique elements tells of them. By element: its `stays`, its own bit, the
    bits of those that must have entered before it (`before`) and of those that must not (`ahead`).
    `returned`: those that no pop of unknown outcome took."""

    def __init__(self, operations: Sequence[Operation]) -> None:
        certain = [e for e in operations if e.known and e.ret != OPEN]
        # No pop of unknown outcome after the last read would explain anything.
        last = last_read(certain)
        self.stays = _stays(operations, certain, last)
        self.bits = {v: 1 << i for i, v in enumerate(self.stays)}
        self.returned = {e.value for e in certain if e.f == "pop"}
        self.returned.update(last.value if last is not None else ())
        self.before = self._before(certain)
        self.ahead = dict.fromkeys(self.stays, 0)
        self._order_unseen(operations, last)

    def _before(self, certain: Sequence[Operation]) -> dict[Any, int]:
        before = dict.fromkeys(self.stays, 0)
        for hi, lo in ORDERS:
            ending = sorted((hi(s), self.bits[v]) for v, s in self.stays.items())
            entered, i = 0, 0
            for v, s in sorted(self.stays.items(), key=lambda item: lo(item[1])):
                while i < len(ending) and ending[i][0] < lo(s):
                    entered |= ending[i][1]
                    i += 1
                before[v] |= entered
        for read in (e for e in certain if e.f == "read"):
            entered = 0
            for v in read.value:
                if v in before:
                    before[v] |= entered
                    entered |= self.bits[v]
        return {v: earlier & ~self.bits[v] for v, earlier in before.items()}

    def _order_unseen(self, operations: Sequence[Operation], last: Operation | None) -> None:
        """Elements that may not have entered, and that nobody saw, are alike: let them enter in the
        order of their calls. If the last read did not see them, each was taken by a pop of unknown
        outcome, before those that it saw."""
        seen = {v for e in operations if e.known for v in _returns(e)}
        seen.update(_pushed(e.value)[0] for e in operations if e.f == "push" and e.known)
        unseen = sorted((s.in_lo, self.bits[v], v) for v, s in self.stays.items()
                        if not s.sure and v not in seen)  # fmt: skip
        takers = sum(e.f == "pop" and not (e.known and e.ret != OPEN) for e in operations)
        left = sum(self.bits[v] for v in last.value if v in self.bits) if last is not None else 0
        earlier = 0
        for i, (_, bit, v) in enumerate(unseen):
            self.before[v] |= earlier
            self.ahead[v] = left
            if last is not None and i >= takers:
                self.before[v] |= 1 << len(self.bits)  # never
            earlier = bit


def _returns(e: Operation) -> tuple[Any, ...]:
    return e.value if e.f == "read" else (e.value,) if e.f == "pop" and e.value is not None else ()


def _stays(
    operations: Sequence[Operation], certain: Sequence[Operation], last: Operation | None
) -> dict[Any, Stay]:
    stays: dict[Any, Stay] = {}
    for e in operations:
        if e.f == "push":
            element, length = _pushed(e.value)
            stays[element] = Stay(e.call, e.ret, length if e.ret != OPEN else None)
    for e in certain:
        for v in _returns(e):
            if v in stays:
                stays[v].returned(e.call, e.ret, left=e.f == "pop")
    if last is not None:
        for v, s in stays.items():
            if v in last.value:
                s.out_lo = OPEN
            elif s.sure:
                s.out_hi = min(s.out_hi, last.ret)
    narrow(list(stays.values()))
    return stays


class _Ordered:
    """A `ListQueue` whose elements are pushed once. A state is (number of the sequence of all
    elements pushed so far, how many of them were popped)."""

    recurs = True

    def __init__(self, known: _Known) -> None:
        self._known = known
        self._sequences: list[tuple[Any, ...]] = [()]
        self._entered = [0]  # the elements of each sequence, as bits
        self._numbers: dict[tuple[int, Any], int] = {}

    def init(self) -> tuple[int, int]:
        return 0, 0

    def step(self, state: tuple[int, int], f: str, value: Any, known: bool) -> Any:
        number, popped = state
        sequence = self._sequences[number]
        if f == "push":
            element, length = _pushed(value)
            if known and length is not None and length != len(sequence) - popped + 1:
                return INCONSISTENT
            entered, all_, stay = self._entered[number], self._known, self._known.stays[element]
            if all_.before[element] & ~entered or all_.ahead[element] & entered:
                return INCONSISTENT
            if not stay.at_lo <= len(sequence) + 1 <= stay.at_hi:
                return INCONSISTENT
            return self._extended(number, element, all_.bits[element]), popped
        if f == "pop":
            empty = popped == len(sequence)
            if known and (None if empty else sequence[popped]) != value:
                return INCONSISTENT
            if not known and not empty and sequence[popped] in self._known.returned:
                return INCONSISTENT
            return state if empty else (number, popped + 1)
        if f == "read":
            return state if not known or tuple(value) == sequence[popped:] else INCONSISTENT
        raise unknown_operation("list-queue", f, "push, pop and read")

    def reads(self, f: str, value: Any) -> bool:
        return f == "read"

    def _extended(self, number: int, element: Any, bit: int) -> int:
        known = self._numbers.get((number, element))
        if known is None:
            known = self._numbers[number, element] = len(self._sequences)
            self._sequences.append((*self._sequences[number], element))
            self._entered.append(self._entered[number] | bit)
        return known
