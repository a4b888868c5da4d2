"""A fingerprint of what a state holds."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator

from targets.engine.execution import State
from targets.engine.resp import number_text, pack
from targets.engine.values import KINDS, Hash, Set, SortedSet, Stream, Value


def digest(state: State) -> bytes:
    """40 digits: the same for the same keys, values and times of expiry, in whatever order keys,
    members and fields came."""
    found = hashlib.sha1()
    for key in sorted(state.values):
        value = state.values[key]
        end = b"%d" % state.expires.get(key, -1)
        found.update(pack([key, KINDS[type(value)], end, *_words(value)]))
    return found.hexdigest().encode()


def _words(value: Value) -> list[bytes]:
    if isinstance(value, bytes):
        return [value]
    if isinstance(value, deque):
        return list(value)
    if isinstance(value, Set):
        return sorted(value)
    if isinstance(value, Hash):
        return [word for pair in sorted(value.items()) for word in pair]
    if isinstance(value, SortedSet):
        return [word for score, member in value.order for word in (number_text(score), member)]
    return list(_stream_words(value))


def _stream_words(stream: Stream) -> Iterator[bytes]:
    """All but when consumers were seen last, which no effect tells."""
    yield b"%r" % [stream.last_id, stream.max_deleted, stream.added]
    for of, fields in stream.entries.items():
        yield b"%r" % [of]
        yield from fields
    for name, group in stream.groups.items():
        yield name
        yield b"%r" % [group.last_id, group.read]
        for at, pending in group.pending.items():
            yield pending.consumer
            yield b"%r" % [at, pending.time_ms, pending.count]
        yield from group.consumers
