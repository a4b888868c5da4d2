"""The types of values."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Final

from sortedcontainers import SortedDict, SortedList

List = deque[bytes]


class Hash(dict[bytes, bytes]):
    """Fields and values in insertion order. `scanned`: the names of a scan, see `scanning`. `ends`:
    when fields with a time to live expire, in milliseconds since 1970."""

    scanned: list[bytes] | None = None

    @property
    def ends(self) -> dict[bytes, int]:
        found = self.__dict__.get("_ends")
        if found is None:  # most hashes have no such fields, and need no dict for them
            found = self.__dict__["_ends"] = {}
        return found


class Set(dict[bytes, None]):
    """Members in insertion order, so that random choices among them depend on the seed alone."""

    scanned: list[bytes] | None = None


class SortedSet:
    """Members with scores, ordered by score, then member."""

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
        score += 0.0  # -0.0 becomes 0.0
        self.scores[member] = score
        self.order.add((score, member))

    def discard(self, member: bytes) -> bool:
        """Remove a member; return whether it existed."""
        score = self.scores.pop(member, None)
        if score is None:
            return False
        self.order.remove((score, member))
        return True

    def rank(self, member: bytes) -> int | None:
        """Return a member's index in the order, or None."""
        score = self.scores.get(member)
        return None if score is None else int(self.order.index((score, member)))


StreamId = tuple[int, int]  # (milliseconds since 1970, sequence number)
FIRST_ID: Final[StreamId] = (0, 0)
LAST_ID: Final[StreamId] = (2**64 - 1, 2**64 - 1)
COUNT_MAX: Final = 2**63 - 1  # of all counters: effects carry signed 64-bit integers
ENTRIES_READ_UNKNOWN: Final = -1  # the number of entries that a group has read is not known


class Pending:
    """A delivered entry that is not acknowledged. `count`: how often it was delivered."""

    __slots__ = ("consumer", "count", "time_ms")

    def __init__(self, consumer: bytes, time_ms: int, count: int) -> None:
        self.consumer = consumer
        self.time_ms = time_ms
        self.count = count


class Group:
    """A consumer group. `last_id`: the last delivered entry; `read`: how many entries it has read,
    or UNKNOWN; `consumers`: when each was last seen, in milliseconds since 1970."""

    def __init__(self, last_id: StreamId, read: int) -> None:
        self.last_id = last_id
        self.read = read
        self.pending: SortedDict[StreamId, Pending] = SortedDict()
        self.consumers: SortedDict[bytes, int] = SortedDict()

    def pending_of(self, consumer: bytes) -> list[StreamId]:
        return [i for i, pending in self.pending.items() if pending.consumer == consumer]


class Block:
    """The entries in one node of Redis' radix tree: trimming with ~ removes whole blocks. `live`:
    number of entries that are not deleted; `size`: bytes of its listpack."""

    __slots__ = ("fields", "first", "last", "live", "size")

    def __init__(self, first: StreamId, fields: tuple[bytes, ...], size: int) -> None:
        self.first = self.last = first
        self.fields = fields
        self.size = size
        self.live = 0


class Stream:
    """Entries by id, each a flat tuple of fields and values. `added`: how many were ever added."""

    def __init__(self) -> None:
        self.entries: SortedDict[StreamId, tuple[bytes, ...]] = SortedDict()
        self.blocks: list[Block] = []
        self.last_id = FIRST_ID
        self.max_deleted = FIRST_ID
        self.added = 0
        self.groups: SortedDict[bytes, Group] = SortedDict()

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def first_id(self) -> StreamId:
        return self.entries.peekitem(0)[0] if self.entries else FIRST_ID

    @property
    def top_id(self) -> StreamId:
        """The id of the last existing entry; FIRST_ID if there is none."""
        return self.entries.peekitem(-1)[0] if self.entries else FIRST_ID


Value = bytes | List | Set | Hash | SortedSet | Stream
KINDS: Final[dict[type, bytes]] = {
    bytes: b"string",
    deque: b"list",
    Set: b"set",
    Hash: b"hash",
    SortedSet: b"zset",
    Stream: b"stream",
}
