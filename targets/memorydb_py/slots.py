"""Hash slots, as in Redis Cluster."""

from __future__ import annotations

from redis.crc import key_slot

SLOTS = 16384


def slot_of(key: bytes) -> int:
    """0 to 16383; of what is between the first braces, if there is something."""
    return int(key_slot(key))
