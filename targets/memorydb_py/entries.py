"""What a shard's log holds: effects of commands, and who leads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from targets.engine.resp import Command

# An entry is a list: effects, each a list of bytes, applied together; or one of these:
LEADER = 0  # [LEADER, node, nonce, version of its engine and so of its entries]
RENEW = 1  # [RENEW, checksum of everything before its batch]
RELEASE = 2  # [RELEASE, successor or nil]

Entry = list[Any]
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[Entry])


def leader(node: str, nonce: int, version: int) -> Entry:
    return [LEADER, node, nonce, version]


def version_of(leader: Entry) -> int:
    """Of the engine that writes the entries under a leadership entry."""
    return int(leader[3])


def renew(checksum: int) -> Entry:
    return [RENEW, checksum]


def release(successor: str | None) -> Entry:
    return [RELEASE, successor]


def encode(entries: Sequence[Entry | Sequence[Command]]) -> bytes:
    """The payload of a batch."""
    return _encoder.encode(entries)


def decode(payload: bytes) -> list[Entry]:
    return _decoder.decode(payload)


def is_effects(entry: Entry) -> bool:
    return not entry or type(entry[0]) is not int
