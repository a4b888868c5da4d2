"""Which of several nodes that claim to be the primary is the newest one.

A replica that is promoted begins a new replication history: it gets a new replication id, and keeps
the id of its former primary as its second one (`master_replid`, `master_replid2`). So of two
primaries that one is older whose id is the second id of the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

PATIENCE: Final = 5  # queries in which only a primary that clients have left claims to be one


@dataclass(frozen=True)
class Claim:
    """A node that claims to be a primary. `id`, `second_id`: of its replication history; empty if
    it does not say."""

    node: str
    id: str
    second_id: str
    offset: int


class Lineage:
    """The replication histories that clients have followed. They never return to one that another
    one is known to continue, and to one that they left otherwise only if no other primary is to be
    found for a while."""

    def __init__(self) -> None:
        self._id: str | None = None
        self._continued: dict[str, None] = {}  # ids that are another one's second id
        self._left: dict[str, None] = {}  # ids that clients left although nothing continues them
        self._waited = 0

    def newest(self, claims: Sequence[Claim]) -> str | None:
        """Return the node to follow now, None if no node claims to be a primary that is not older
        than the last one."""
        for claim in claims:
            if any(claim.id and claim.id == other.second_id for other in claims):
                self._continued.setdefault(claim.id)
        able = [claim for claim in claims if claim.id not in self._continued]
        fresh = [claim for claim in able if claim.id not in self._left]
        if able and not fresh:
            self._waited += 1
            if self._waited < PATIENCE:
                return None
            fresh = able
        self._waited = 0
        if not fresh:
            return None
        same = [claim for claim in fresh if claim.id and claim.id == self._id]
        newest = same[0] if same else max(fresh, key=lambda claim: claim.offset)
        if self._id and newest.id != self._id:
            known = self._continued if newest.second_id == self._id else self._left
            known.setdefault(self._id)
        self._left.pop(newest.id, None)
        self._id = newest.id or self._id
        return newest.node
