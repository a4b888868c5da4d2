"""What a whole history tells of when each element was in a queue.

Elements leave in the order in which they entered, and the answer to a push tells how many had left
by then. So bounds of one element narrow those of others: see `narrow`. A search would notice such
a conflict only when the elements leave, after many other pushes.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from typing import Final

from harness.history.columns import OPEN

ROUNDS_MAX: Final = 16


class Stay:
    """What is known of an element's stay, if it entered: the positions of the history between which
    it entered (`in_lo`, `in_hi`) and left (`out_lo`, `out_hi`), and its number among all that
    entered (`at_lo`, `at_hi`). `length`: that of the queue after it entered, or None.

    Of an element that may not have entered (`sure` is False) the upper bounds are OPEN: it implies
    nothing for others.
    """

    __slots__ = ("at_hi", "at_lo", "in_hi", "in_lo", "length", "out_hi", "out_lo", "sure")

    def __init__(self, call: int, ret: int, length: int | None) -> None:
        self.sure = ret != OPEN
        self.length = length
        self.in_lo, self.in_hi = call, ret
        self.out_lo, self.out_hi = call, OPEN
        self.at_lo, self.at_hi = 1, OPEN

    def bounds(self) -> tuple[int, ...]:
        return self.in_lo, self.in_hi, self.out_lo, self.out_hi, self.at_lo, self.at_hi

    def returned(self, call: int, ret: int, *, left: bool) -> None:
        """Note that an operation returned it; `left`: and removed it."""
        self.sure = True
        self.in_hi = min(self.in_hi, ret)
        self.out_lo = max(self.out_lo, call)
        if left:
            self.out_hi = min(self.out_hi, ret)


Bound = Callable[[Stay], int]
# One element entered before another if the first of these of it is below the second of the other.
ORDERS: Final[Sequence[tuple[Bound, Bound]]] = (
    (lambda s: s.in_hi, lambda s: s.in_lo),
    (lambda s: s.out_hi, lambda s: s.out_lo),
    (lambda s: s.at_hi, lambda s: s.at_lo),
)


class _Greatest:
    """The greatest value of those with a smaller key."""

    def __init__(self, pairs: Iterable[tuple[int, int]]) -> None:
        ordered = sorted(pairs)
        self._keys = [key for key, _ in ordered]
        self._values = [0, *accumulate((value for _, value in ordered), max)]

    def below(self, bound: int) -> int:
        return self._values[bisect_left(self._keys, bound)]


class _Least:
    """The least value of those with a greater key."""

    def __init__(self, pairs: Iterable[tuple[int, int]]) -> None:
        ordered = sorted(pairs, reverse=True)
        self._keys = [-key for key, _ in ordered]
        self._values = [OPEN, *accumulate((value for _, value in ordered), min)]

    def above(self, bound: int) -> int:
        return self._values[bisect_left(self._keys, -bound)]


def narrow(stays: Sequence[Stay]) -> None:
    """Narrow the bounds until nothing changes any more (or for `ROUNDS_MAX` rounds)."""
    for s in stays:
        if s.sure:
            s.at_hi = min(s.at_hi, len(stays))
    for _ in range(ROUNDS_MAX):
        known = [s.bounds() for s in stays]
        _by_counting(stays)
        for hi, lo in ORDERS:
            _by_order(stays, hi, lo)
        _by_lengths(stays)
        _by_numbers(stays)
        if known == [s.bounds() for s in stays]:
            return


def _by_counting(stays: Sequence[Stay]) -> None:
    """An element's number is greater than how many certainly entered, or left, before it; after an
    answered push as many had left as its number exceeds the length."""
    in_lo, in_hi = sorted(s.in_lo for s in stays), sorted(s.in_hi for s in stays)
    out_lo, out_hi = sorted(s.out_lo for s in stays), sorted(s.out_hi for s in stays)
    for s in stays:
        s.out_lo = max(s.out_lo, s.in_lo)
        s.at_lo = max(s.at_lo, 1 + bisect_left(in_hi, s.in_lo), 1 + bisect_left(out_hi, s.out_lo))
        if not s.sure:
            continue
        s.in_hi = min(s.in_hi, s.out_hi)
        s.at_hi = min(s.at_hi, bisect_right(in_lo, s.in_hi), bisect_right(out_lo, s.out_hi))
        if s.length is not None:
            may_have_left = bisect_right(out_lo, s.in_hi) - (s.out_lo <= s.in_hi)
            s.at_lo = max(s.at_lo, s.length + bisect_left(out_hi, s.in_lo))
            s.at_hi = min(s.at_hi, s.length + may_have_left)


def _by_order(stays: Sequence[Stay], hi: Bound, lo: Bound) -> None:
    """One that entered before another also left before it."""
    in_before = _Greatest((hi(s), s.in_lo) for s in stays)
    out_before = _Greatest((hi(s), s.out_lo) for s in stays)
    in_after = _Least((lo(s), s.in_hi) for s in stays)
    out_after = _Least((lo(s), s.out_hi) for s in stays)
    for s in stays:
        s.in_lo = max(s.in_lo, in_before.below(lo(s)))
        s.out_lo = max(s.out_lo, out_before.below(lo(s)))
        if s.sure:
            s.in_hi = min(s.in_hi, in_after.above(hi(s)))
            s.out_hi = min(s.out_hi, out_after.above(hi(s)))


def _by_lengths(stays: Sequence[Stay]) -> None:
    """When an answered push took effect, exactly the elements up to some number had left."""
    answered = [(s, s.at_lo - s.length, s.at_hi - s.length) for s in stays if s.length is not None]
    gone = _Greatest((s.at_hi, s.out_lo) for s in stays)
    there = _Least((s.at_lo, s.out_hi) for s in stays)
    after = _Least((least, s.in_hi) for s, least, _ in answered)
    before = _Greatest((most, s.in_lo) for s, _, most in answered)
    late = _Greatest((s.in_hi, least) for s, least, _ in answered)
    early = _Least((s.in_lo, most) for s, _, most in answered)
    for s, least, most in answered:
        s.in_lo = max(s.in_lo, gone.below(least + 1))
        s.in_hi = min(s.in_hi, there.above(most))
    for s in stays:
        s.out_lo = max(s.out_lo, before.below(s.at_lo))
        s.at_lo = max(s.at_lo, 1 + late.below(s.out_lo))
        if s.sure:
            s.out_hi = min(s.out_hi, after.above(s.at_hi - 1))
            s.at_hi = min(s.at_hi, early.above(s.out_hi))


def _by_numbers(stays: Sequence[Stay]) -> None:
    """As many elements as there are first numbers take them all, if no others can have them, or if
    they themselves can have no others."""
    at_lo, at_hi = sorted(s.at_lo for s in stays), sorted(s.at_hi for s in stays)
    sure = sum(s.sure for s in stays)
    taken = [n for n in range(1, len(stays) + 1) if bisect_right(at_hi, n) >= n]
    alone = [n for n in range(1, sure + 1) if bisect_right(at_lo, n) <= n]
    for s in stays:
        i = bisect_left(taken, s.at_hi)
        if i > 0:
            s.at_lo = max(s.at_lo, taken[i - 1] + 1)
        i = bisect_left(alone, s.at_lo)
        if s.sure and i < len(alone):
            s.at_hi = min(s.at_hi, alone[i])
