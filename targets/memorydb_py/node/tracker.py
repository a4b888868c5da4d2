"""Which keys have changes that are not committed yet: key-level hazards, as section 3.2 of the
MemoryDB paper (SIGMOD 2024) calls them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable


class Tracker:
    """Positions are those of log entries; 0 means that there is nothing to wait for.

    `committed`: the last committed position. `dirty`: for each key with uncommitted changes, the
    position of the last of them.
    """

    def __init__(self) -> None:
        self.committed = 0
        self.dirty: dict[bytes, int] = {}
        self._pending: deque[tuple[int, tuple[bytes, ...]]] = deque()

    def reset(self, committed: int = 0) -> None:
        """Forget all uncommitted changes."""
        self.committed = committed
        self.dirty.clear()
        self._pending.clear()

    def wrote(self, position: int, keys: Iterable[bytes]) -> None:
        """Note that an appended entry changes these keys, or deletes them."""
        changed = tuple(keys)
        for key in changed:
            self.dirty[key] = position
        self._pending.append((position, changed))

    def position(self, keys: Iterable[bytes]) -> int:
        """Return the position that a reply which shows these keys has to wait for."""
        dirty = self.dirty
        if not dirty:
            return 0
        return max((dirty.get(key, 0) for key in keys), default=0)

    @property
    def last(self) -> int:
        """The position that a reply which shows the whole key space has to wait for."""
        return self._pending[-1][0] if self._pending else 0

    @property
    def waiting(self) -> int:
        """The number of entries that are not committed."""
        return len(self._pending)

    def commit(self, position: int) -> None:
        """Note that all entries up to a position are committed."""
        self.committed = position
        pending, dirty = self._pending, self.dirty
        while pending and pending[0][0] <= position:
            at, keys = pending.popleft()
            for key in keys:
                if dirty.get(key) == at:
                    del dirty[key]
