"""A digest of a state's data."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator

from targets.engine.resp import number_text, pack
from targets.engine.state import State
from targets.engine.values import KINDS, Hash, Set, SortedSet, Stream, Value


def digest(state: State) -> bytes:
    """Return the SHA-1 of a state's keys, values and expiry times in 40 hexadecimal digits. The
    order in which keys, members and fields were added does not matter."""
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
    """Yield all data but the last-seen times of consumers, which not all effects carry."""
    yield b"%r" % [stream.last_id, stream.max_deleted, stream.added]
    for entry_id, fields in stream.entries.items():
        yield b"%r" % [entry_id]
        yield from fields
    for name, group in stream.groups.items():
        yield name
        yield b"%r" % [group.last_id, group.read]
        for at, pending in group.pending.items():
            yield pending.consumer
            yield b"%r" % [at, pending.time_ms, pending.count]
        yield from group.consumers
