"""The server version whose answers an engine gives."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

Number = tuple[int, int]


class Version(NamedTuple):
    """A version of Redis or of Valkey, which has its own numbers. `kind`: `redis` or `valkey`."""

    kind: str
    number: Number

    def since(self, redis: Number | None = None, valkey: Number | None = None) -> bool:
        """Return whether it is Redis from `redis` on, or Valkey from `valkey` on; None: never."""
        first = redis if self.kind == "redis" else valkey
        return first is not None and self.number >= first


REFERENCE: Final = Version("redis", (7, 0))
_NAMED: Final = re.compile(r"(redis|valkey)\D*(\d+)\.(\d+)", re.IGNORECASE)


def version_named(text: str) -> Version:
    """Return the version in a text such as `Valkey 9.1.2`; the reference's if it names none."""
    found = _NAMED.search(text)
    if found is None:
        return REFERENCE
    kind, major, minor = found.groups()
    return Version(kind.lower(), (int(major), int(minor)))
