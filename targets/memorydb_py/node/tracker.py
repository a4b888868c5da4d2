"""Which keys hold what is not committed yet (the paper, 3.2: key-level hazards)."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable


class Tracker:
    """Positions are n of log entries; 0: nothing to wait for."""

    def __init__(self) -> None:
        self.committed = 0
        self.dirty: dict[bytes, int] = {}  # the last entry that changed a key
        self._pending: deque[tuple[int, tuple[bytes, ...]]] = deque()

    def wrote(self, n: int, keys: Iterable[bytes]) -> None:
        """Entry n, which is appended, changes these keys, or removes them."""
        changed = tuple(keys)
        for key in changed:
            self.dirty[key] = n
        self._pending.append((n, changed))

    def position(self, keys: Iterable[bytes]) -> int:
        """What a reply that shows these keys has to wait for."""
        dirty = self.dirty
        if not dirty:
            return 0
        return max((dirty.get(key, 0) for key in keys), default=0)

    @property
    def last(self) -> int:
        """What a reply that shows the key space has to wait for."""
        return self._pending[-1][0] if self._pending else 0

    @property
    def waiting(self) -> int:
        """How many entries are not committed."""
        return len(self._pending)

    def commit(self, n: int) -> None:
        """Everything up to n is committed."""
        self.committed = n
        pending, dirty = self._pending, self.dirty
        while pending and pending[0][0] <= n:
            at, keys = pending.popleft()
            for key in keys:
                if dirty.get(key) == at:
                    del dirty[key]
