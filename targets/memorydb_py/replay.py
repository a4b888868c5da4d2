"""Checks while replaying a log: that each entry can be applied, and the running checksum."""

from __future__ import annotations

import zlib

from targets.engine.protocol import Outcome
from targets.engine.resp import Error
from targets.memorydb_py.log.interface import Batch


class Inapplicable(Exception):
    """An entry of the log that can't be applied to the data."""


def check(outcome: Outcome) -> Outcome:
    """Return the outcome of applying an entry; raises `Inapplicable` if its reply is an error."""
    if isinstance(outcome.reply, Error):
        raise Inapplicable(f"an effect can't be applied: {outcome.reply}")
    return outcome


def checksum(batch: Batch, before: int) -> int:
    """Return the running checksum, a CRC-32, after a batch. `before`: that of all earlier ones."""
    head = b"%d %d %d " % (batch.epoch, batch.first, batch.last)
    return zlib.crc32(batch.payload, zlib.crc32(head, before))
