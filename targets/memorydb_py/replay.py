"""Replaying a log: applying an entry to an engine, and the running checksum."""

from __future__ import annotations

import zlib

from targets.engine.protocol import Outcome
from targets.engine.resp import Error
from targets.memorydb_py.log.interface import Batch


class Inapplicable(Exception):
    """An entry of the log that can't be applied to the data."""


def check(outcome: Outcome) -> Outcome:
    """Return what applying an entry did; raises `Inapplicable` if it failed."""
    if isinstance(outcome.reply, Error):
        raise Inapplicable(f"an effect can't be applied: {outcome.reply}")
    return outcome


def checksum(batch: Batch, before: int) -> int:
    """Return the running checksum, a CRC-32, after a batch."""
    head = b"%d %d %d " % (batch.epoch, batch.first, batch.last)
    return zlib.crc32(batch.payload, zlib.crc32(head, before))
