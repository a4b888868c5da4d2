"""Which of several nodes that claim to be the primary is the newest one.

A replica that is promoted begins a new replication history: it gets a new replication id, and keeps
the id of its former primary as its second one (`master_replid`, `master_replid2`). So of two
primaries that one is older whose id is the second id of the other, or from which clients have
already moved on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Claim:
    """A node that claims to be a primary. `id`, `second_id`: of its replication history; empty if
    it does not say."""

    node: str
    id: str
    second_id: str
    offset: int


class Lineage:
    """The replication histories that clients have followed; they never return to an older one."""

    def __init__(self) -> None:
        self._id: str | None = None
        self._superseded: dict[str, None] = {}

    def newest(self, claims: Sequence[Claim]) -> str | None:
        """Return the node to follow now, None if no node claims to be a primary that is not older
        than the last one."""
        for claim in claims:
            if any(claim.id and claim.id == other.second_id for other in claims):
                self._superseded.setdefault(claim.id)
        left = [claim for claim in claims if claim.id not in self._superseded]
        if not left:
            return None
        same = [claim for claim in left if claim.id and claim.id == self._id]
        newest = same[0] if same else max(left, key=lambda claim: claim.offset)
        if self._id and newest.id != self._id:
            self._superseded.setdefault(self._id)
        self._id = newest.id or self._id
        return newest.node
