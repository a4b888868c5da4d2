"""What a key may hold."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Final

from sortedcontainers import SortedList

List = deque[bytes]


class Hash(dict[bytes, bytes]):
    """Fields and values, in the order in which they were added. `scanned`: see `scanning`."""

    scanned: list[bytes] | None = None


class Set(dict[bytes, None]):
    """Members in the order in which they were added, so that what is drawn from them depends on
    the seed alone."""

    scanned: list[bytes] | None = None


class SortedSet:
    """Members with scores, by score and member."""

    scanned: list[bytes] | None = None

    def __init__(self) -> None:
        self.scores: dict[bytes, float] = {}
        self.order: SortedList[tuple[float, bytes]] = SortedList()

    def __len__(self) -> int:
        return len(self.scores)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.scores)

    def set(self, member: bytes, score: float) -> None:
        self.discard(member)
        score += 0.0  # no minus zero
        self.scores[member] = score
        self.order.add((score, member))

    def discard(self, member: bytes) -> bool:
        score = self.scores.pop(member, None)
        if score is None:
            return False
        self.order.remove((score, member))
        return True

    def rank(self, member: bytes) -> int | None:
        score = self.scores.get(member)
        return None if score is None else int(self.order.index((score, member)))


Value = bytes | List | Set | Hash | SortedSet
KINDS: Final[dict[type, bytes]] = {
    bytes: b"string",
    deque: b"list",
    Set: b"set",
    Hash: b"hash",
    SortedSet: b"zset",
}
