"""A list that is used as a queue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.history.columns import OPEN
from harness.models.base import INCONSISTENT, Model, Operation, unknown_operation


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
        """Elements leave in the order in which they entered. So where one was popped before another
        left, it was pushed before it, which a search would notice only much later."""
        pushed = [_pushed(e.value)[0] for e in operations if e.f == "push"]
        if len(set(pushed)) != len(pushed):
            return self
        return _Ordered(_entered_before(operations, {v: i for i, v in enumerate(pushed)}))


def _pushed(value: Any) -> tuple[Any, int | None]:
    return value if isinstance(value, tuple) else (value, None)


def _entered_before(
    operations: Sequence[Operation], bits: dict[Any, int]
) -> dict[Any, tuple[int, int]]:
    """Return by element its own bit, and the bits of those that must have been pushed before it."""
    certain = [e for e in operations if e.known and e.ret != OPEN]
    pops = sorted((e for e in certain if e.f == "pop" and e.value is not None), key=lambda e: e.ret)
    before = dict.fromkeys(bits, 0)
    popped, i = 0, 0  # those popped by now
    reads = [e for e in certain if e.f == "read"]
    for leaving in sorted((*pops, *reads), key=lambda e: e.call):
        while i < len(pops) and pops[i].ret < leaving.call:
            if pops[i].value in bits:
                popped |= 1 << bits[pops[i].value]
            i += 1
        inside = popped
        for element in leaving.value if leaving.f == "read" else (leaving.value,):
            if element in bits:
                before[element] |= inside
                inside |= 1 << bits[element]
    return {v: (1 << bits[v], earlier & ~(1 << bits[v])) for v, earlier in before.items()}


class _Ordered:
    """A `ListQueue` whose elements are pushed once. A state is (number of the sequence of all
    elements pushed so far, how many of them were popped)."""

    recurs = True

    def __init__(self, bits: dict[Any, tuple[int, int]]) -> None:
        self._bits = bits
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
            bit, before = self._bits[element]
            if before & ~self._entered[number]:
                return INCONSISTENT
            return self._extended(number, element, bit), popped
        if f == "pop":
            empty = popped == len(sequence)
            if known and (None if empty else sequence[popped]) != value:
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
