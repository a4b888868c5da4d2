"""A log read from outside: what its copies hold, its effects, what a replay of them makes."""

from __future__ import annotations

import random
from collections.abc import Callable, Container, Sequence

from targets.engine import Call, State
from targets.engine.digest import digest
from targets.memorydb_py import entries
from targets.memorydb_py.log.interface import Batch
from targets.memorydb_py.node.shard import NEVER_MS, Shard


class Copies:
    """A log as it is read from its AZs, some of it more than once, while they trim it: every batch,
    and which of them were seen to hold it."""

    def __init__(self) -> None:
        self.log: list[Batch] = []
        self.differing: list[str] = []  # where two hold something else, in words
        self._holders: list[dict[str, None]] = []  # of each batch
        self._places: dict[int, int] = {}  # of batches, by their last n

    @property
    def last(self) -> int:
        """n of the last entry that is known."""
        return self.log[-1].last if self.log else 0

    def take(self, az: str, after: int, batches: Sequence[Batch]) -> None:
        """What an AZ has after n. Raises ValueError where what is before was never read."""
        if after > self.last:
            raise ValueError(f"the entries from {self.last + 1} to {after} were trimmed unread")
        for batch in batches:
            place = self._places.get(batch.last)
            if batch.first == self.last + 1:
                self._places[batch.last] = len(self.log)
                self.log.append(batch)
                self._holders.append({az: None})
            elif place is None or self.log[place] != batch:
                self.differing.append(f"{az} holds another entry {batch.id}")
            else:
                self._holders[place][az] = None

    def entries(self, az: str) -> int:
        """How many it was seen to hold, as others do or alone."""
        return self._count(lambda holders: az in holders)

    def compared(self) -> int:
        """How many were seen at more than one."""
        return self._count(lambda holders: len(holders) > 1)

    def _count(self, counts: Callable[[dict[str, None]], bool]) -> int:
        return sum(
            batch.last - batch.first + 1
            for batch, holders in zip(self.log, self._holders, strict=True)
            if counts(holders)
        )


def replay(
    log: Sequence[Batch], positions: Container[int] = ()
) -> tuple[list[tuple[int, list[list[str]]]], str, dict[int, str]]:
    """((n, [words]) of every entry with effects, the digest of what they make, and of what they
    make up to the batches that end at some positions)."""
    state = State()
    call = Call(state, NEVER_MS, random.Random(0))  # effects hold no chance
    effects: list[tuple[int, list[list[str]]]] = []
    made = {}
    for batch in log:
        for n, entry in enumerate(entries.decode(batch.payload), batch.first):
            if entries.is_effects(entry) and entry:
                effects.append((n, [[w.decode("latin-1") for w in words] for words in entry]))
                Shard.apply_effects(call, entry)
        if batch.last in positions:
            made[batch.last] = digest(state).decode()
    return effects, digest(state).decode(), made
