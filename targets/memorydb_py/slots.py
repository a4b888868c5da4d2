"""Hash slots, as in Redis Cluster."""

from __future__ import annotations

from collections.abc import Sequence

from redis.crc import key_slot

SLOTS = 16384


def slot_of(key: bytes) -> int:
    """Return the slot, 0 to 16383, of a key: of its text between the first braces, if any."""
    return int(key_slot(key))


def crosses_slots(keys: Sequence[bytes]) -> bool:
    """Return whether keys are in several slots."""
    slot = slot_of(keys[0])
    return any(slot_of(key) != slot for key in keys)
