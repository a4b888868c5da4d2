"""The data of the Python engine: keys, their values and their times to live."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from zlib import crc32

from sortedcontainers import SortedKeyList

from targets.engine.values import Value
from targets.engine.version import REFERENCE, Version

STALE_ENDS_MAX = 1000


@dataclass
class State:
    """Everything an engine stores; also the `KeySpace` that a server sees of it.

    `expires`: when keys expire, in milliseconds since 1970. `scripts`: sources by SHA-1. `sharded`:
    other keys may be stored elsewhere, so commands must not access keys they do not name.
    `version`: of the server whose answers commands give. `clock`: by which scripts are ended, in
    nanoseconds; None: they are ended by the work that they do alone.
    """

    values: dict[bytes, Value] = field(default_factory=dict)
    expires: dict[bytes, int] = field(default_factory=dict)
    scripts: dict[bytes, bytes] = field(default_factory=dict)
    sharded: bool = False
    version: Version = REFERENCE
    clock: Callable[[], int] | None = None
    _hashed: SortedKeyList[bytes] | None = None
    _ends: list[tuple[int, bytes]] = field(default_factory=list)  # a heap, with stale entries

    # --- the key space

    def __contains__(self, key: bytes) -> bool:
        return key in self.values

    def __len__(self) -> int:
        return len(self.values)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.values)

    @property
    def expiring(self) -> int:
        """The number of keys with a time to live."""
        return len(self.expires)

    def is_expired(self, key: bytes, time_ms: int) -> bool:
        """Return whether a key is still stored although its time to live has passed."""
        end = self.expires.get(key)
        return end is not None and end <= time_ms

    def due(self, time_ms: int, most: int) -> list[bytes]:
        """Return up to `most` keys whose time to live has passed, the earliest first."""
        keys: list[bytes] = []
        while self._ends and self._ends[0][0] <= time_ms and len(keys) < most:
            end, key = heapq.heappop(self._ends)
            if self.expires.get(key) == end:
                keys.append(key)
        for key in keys:  # they are due until they are deleted
            heapq.heappush(self._ends, (self.expires[key], key))
        return keys

    # --- changes

    def expire(self, key: bytes, end_ms: int) -> None:
        """Set when a key expires."""
        self.expires[key] = end_ms
        heapq.heappush(self._ends, (end_ms, key))
        if len(self._ends) > 2 * len(self.expires) + STALE_ENDS_MAX:
            self._ends = [(end, key) for key, end in self.expires.items()]
            heapq.heapify(self._ends)

    def put(self, key: bytes, value: Value) -> None:
        """Store a value; a time to live is kept."""
        if self._hashed is not None and key not in self.values:
            self._hashed.add(key)
        self.values[key] = value

    def drop(self, key: bytes) -> None:
        """Delete a key that is stored."""
        del self.values[key]
        self.expires.pop(key, None)
        if self._hashed is not None:
            self._hashed.remove(key)

    @property
    def scanned(self) -> bool:
        """Whether the order by hash is built."""
        return self._hashed is not None

    def by_hash(self) -> SortedKeyList[bytes]:
        """Return the keys ordered by their CRC-32. The order is built by the first call and then
        maintained."""
        if self._hashed is None:
            self._hashed = SortedKeyList(self.values, key=crc32)
        return self._hashed

    def clear(self) -> None:
        """Delete all keys; scripts stay."""
        self.values.clear()
        self.expires.clear()
        self._ends.clear()
        self._hashed = None
