"""Shares the event loop among sessions: in one turn of the loop they execute commands for at most
SLICE_NS together. What is left continues in the next turn, in the order of asking."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

SLICE_NS = 10_000_000
SHARE_NS = 1_000_000  # of a session, while others wait


class Turns:
    """`spent_ns`: a clock of the processor's work; in a simulation, of what was charged."""

    def __init__(self, spent_ns: Callable[[], int]) -> None:
        self._spent_ns = spent_ns
        self._end_ns = self._share_end_ns = 0
        self._open = False
        self._waiting: deque[Callable[[], None]] = deque()

    def over(self) -> bool:
        """Return whether the time of this turn, or of who works in it, is used up: a worker then
        stops after a command."""
        now = self._spent_ns()
        return now >= self._end_ns or (now >= self._share_end_ns and bool(self._waiting))

    def take(self, work: Callable[[], None]) -> None:
        """Call `work` now, or in a later turn if this one is over or others wait already."""
        self._begin()
        if self._waiting or self._spent_ns() >= self._end_ns:
            self._waiting.append(work)
        else:
            self._share_end_ns = self._spent_ns() + SHARE_NS
            work()

    def _begin(self) -> None:
        if not self._open:
            self._open = True
            self._end_ns = self._spent_ns() + SLICE_NS
            # A timer, not call_soon: a simulated processor has to get round to it.
            asyncio.get_running_loop().call_later(0, self._next)

    def _next(self) -> None:
        self._open = False
        waiting = len(self._waiting)
        if not waiting:
            return
        self._begin()
        for _ in range(waiting):  # who has work left goes to the end
            self._share_end_ns = self._spent_ns() + SHARE_NS
            self._waiting.popleft()()
            if self._spent_ns() >= self._end_ns:
                return
