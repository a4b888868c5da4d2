"""The topology of a target: its shards, each with its slots, its nodes and its primary.

A key belongs to one of 16384 slots, as in Redis Cluster, and each slot to one shard. A target
without slots has one shard with all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from redis.crc import key_slot

SLOTS = 16384
EVERY_SLOT = ((0, SLOTS - 1),)


def slot_of(key: str) -> int:
    """Return the slot of a key: that of its text between the first braces, if it has such."""
    return int(key_slot(key.encode("latin-1")))


@dataclass(frozen=True, kw_only=True)
class Shard:
    """`slots`: ranges, (first, last) each. `primary`: one of `nodes`, None if it is not known."""

    name: str = "s1"
    slots: Sequence[tuple[int, int]] = EVERY_SLOT
    nodes: Sequence[str]
    primary: str | None

    @property
    def replicas(self) -> list[str]:
        """The nodes that are not the primary."""
        return [node for node in self.nodes if node != self.primary]

    def serves(self, slot: int) -> bool:
        """Return whether a slot belongs to this shard."""
        return any(first <= slot <= last for first, last in self.slots)


@dataclass(frozen=True)
class Topology:
    """The shards of a target as they are now, as far as they are known."""

    shards: Sequence[Shard]

    def of_keys(self, keys: Iterable[str]) -> Shard | None:
        """Return the shard of some keys; None if they are in several, or in no shard. Without keys:
        the only shard, None if there are several."""
        only = self.shards[0] if len(self.shards) == 1 else None
        if only is not None and only.slots == EVERY_SLOT:
            return only
        slots = sorted({slot_of(key) for key in keys})
        if not slots:
            return only
        found = [shard for shard in self.shards if all(map(shard.serves, slots))]
        return found[0] if found else None

    def of_node(self, node: str) -> Shard | None:
        """Return the shard of a node."""
        return next((shard for shard in self.shards if node in shard.nodes), None)

    def shard_named(self, name: str) -> Shard | None:
        """Return the shard with a name."""
        return next((shard for shard in self.shards if shard.name == name), None)

    @property
    def primaries(self) -> list[str]:
        """The primaries that are known."""
        return [shard.primary for shard in self.shards if shard.primary is not None]

    def is_primary(self, node: str) -> bool:
        """Return whether a node is the primary of its shard."""
        return node in self.primaries

    def with_primary(self, node: str) -> Topology:
        """Return the topology with a node as the primary of its shard; another shard whose primary
        is not known gets its first node."""
        return Topology(
            tuple(
                replace(
                    shard,
                    primary=node if node in shard.nodes else shard.primary or shard.nodes[0],
                )
                for shard in self.shards
            )
        )
