"""The entries of a shard's log: effects of commands, and changes of leadership.

An entry with effects is a list of commands, each a list of bytes, which are applied together. The
other entries are `Leader`, `Renew` and `Release`; in the log they are lists that begin with a
number.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from targets.engine.resp import Command


class Leader(NamedTuple):
    """A node has become the primary. `nonce`: makes the entry unlike any other. `version`: the
    engine version of the entries that it will append. `lease_ms`: for how long it has the lease; 0
    from versions that do not say so."""

    node: str
    nonce: int
    version: int
    lease_ms: int = 0


class Renew(NamedTuple):
    """The primary renews its lease. `checksum`: the running checksum of all batches before it.
    `lease_ms`: for how long; 0 from versions that do not say so."""

    checksum: int
    lease_ms: int = 0


class Release(NamedTuple):
    """The primary gives up its lease. `successor`: the node that may campaign at once, or None."""

    successor: str | None


Effects = Sequence[Sequence[bytes]]
Control = Leader | Renew | Release
Entry = Effects | Control
_TYPES: tuple[type[Control], ...] = (Leader, Renew, Release)  # numbered from 0
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[list[list[bytes] | int | str | None]])


class Undecodable(Exception):
    """A payload that is not a list of entries of this or an earlier version."""


def encode(entries: Sequence[Sequence[Command]]) -> bytes:
    """Return the payload of a batch of entries with effects."""
    return _encoder.encode(entries)


def encode_control(entry: Control) -> bytes:
    """Return the payload of a batch of one entry about leadership."""
    return _encoder.encode([[_TYPES.index(type(entry)), *entry]])


def decode(payload: bytes) -> list[Entry]:
    """Return the entries of a batch; raises `Undecodable`."""
    try:
        found: list[Any] = _decoder.decode(payload)
        return [_entry(fields) for fields in found]
    except (msgspec.MsgspecError, ValueError, TypeError, IndexError) as e:
        raise Undecodable(f"an entry can't be decoded: {e}") from e


def _entry(fields: list[Any]) -> Entry:
    if not fields or type(fields[0]) is list:
        for command in fields:
            if type(command) is not list or not command:
                raise ValueError(f"an effect is {command!r}")
        return fields
    return _control(fields)


def _control(fields: list[Any]) -> Control:
    kind, *values = fields
    if not isinstance(kind, int) or not 0 <= kind < len(_TYPES):
        raise ValueError(f"its kind is {kind!r}")
    known = _TYPES[kind]
    return msgspec.convert(values[: len(known._fields)], known)  # later versions may add fields
