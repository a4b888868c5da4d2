"""A fingerprint of what a state holds."""

from __future__ import annotations

import hashlib
from collections import deque

from targets.engine.execution import State
from targets.engine.resp import number_text, pack
from targets.engine.values import KINDS, Hash, Set, Value


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
    return [word for score, member in value.order for word in (number_text(score), member)]
