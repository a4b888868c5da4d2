"""client-output-buffer-limit: how many bytes of replies a client may leave unread."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from targets.engine.parsing import printable

CLASSES = ("normal", "slave", "pubsub")
_UNITS = {"": 1, "b": 1, "k": 1000, "kb": 1 << 10, "m": 10**6, "mb": 1 << 20, "g": 10**9,
          "gb": 1 << 30}  # fmt: skip
_SIZE = re.compile(r"(\d{1,15})([a-z]*)")
DEFAULT = "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60"


class OutputLimit(NamedTuple):
    """A client is disconnected if it has more than `hard` bytes of unsent replies, or more than
    `soft` bytes for `seconds`; 0 bytes: no limit."""

    hard: int
    soft: int
    seconds: int

    def exceeded(self, size: int, since: float | None, now: float) -> tuple[bool, float | None]:
        """Return whether a client with `size` unsent bytes is to be disconnected, and since when it
        exceeds the soft limit. `since`: that time as of the last call, None if it did not."""
        if self.hard and size > self.hard:
            return True, since
        if not self.soft or size <= self.soft:
            return False, None
        since = now if since is None else since
        return now - since > self.seconds, since


@lru_cache(maxsize=100)
def output_limits(text: str, others: str = DEFAULT) -> Mapping[str, OutputLimit]:
    """Return the limits by class of client. `text`: groups of a class, two sizes and a number of
    seconds; `others`: the same, for classes that are missing. Raises ValueError."""
    words = text.lower().split()
    if not words or len(words) % 4:
        raise ValueError("give groups of a class, a hard limit, a soft limit, and seconds")
    limits = {} if text == DEFAULT else dict(output_limits(others))
    for i in range(0, len(words), 4):
        name, hard, soft, seconds = words[i : i + 4]
        name = "slave" if name == "replica" else name
        if name not in CLASSES:
            raise ValueError(f"'{printable(name.encode())}' is not a class: give normal, replica "
                             "or pubsub")  # fmt: skip
        if not seconds.isdecimal() or len(seconds) > 9:
            raise ValueError(f"'{printable(seconds.encode())}' is not a number of seconds")
        limits[name] = OutputLimit(_size(hard), _size(soft), int(seconds))
    return limits


def shown(limits: Mapping[str, OutputLimit]) -> str:
    """Return the limits as one text, as CONFIG GET does."""
    return " ".join(f"{name} {' '.join(map(str, limits[name]))}" for name in CLASSES)


def _size(word: str) -> int:
    found = _SIZE.fullmatch(word)
    if found is None or found[2] not in _UNITS:
        raise ValueError(f"'{printable(word.encode())}' is not a number of bytes, such as 256mb")
    return int(found[1]) * _UNITS[found[2]]
