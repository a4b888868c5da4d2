"""Options of a node."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields

from targets.servers.options import option
from targets.servers.output_limits import DEFAULT, OutputLimit, output_limits

ENGINE_VERSION = 2  # to be raised when effects change so that older nodes can't apply them
MARGIN_MS = 20  # from the end of a lease to the first campaign of another node


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The options of a node; names on the command line have hyphens."""

    lease_ms: int = option(600, "how long a primary serves after it asked for a renewal, in ms")
    backoff_ms: int = option(
        1000, "how long a replica waits after the last renewal before it campaigns, in ms"
    )
    drift_percent: int = option(20, "by how much a clock may run too fast or too slow, in %")
    max_waiting: int = option(
        100_000, "number of waiting replies, or uncommitted entries, at which commands get TRYAGAIN"
    )
    max_record_bytes: int = option(
        32 << 20, "the largest entry of a command, script or transaction, in bytes"
    )
    requirepass: str = option("", "the password of clients")
    client_output_buffer_limit: str = option(
        DEFAULT, "bytes of unread replies at which a client is disconnected, as in Redis"
    )
    engine_version: int = option(
        ENGINE_VERSION, "the version of the entries that it appends, and the newest it applies"
    )

    def backoff_of(self, lease_ms: int) -> int:
        """Return how long a replica waits after a renewal for `lease_ms`."""
        if lease_ms <= self.lease_ms:
            return self.backoff_ms
        drift = self.drift_percent / 100
        return max(self.backoff_ms, math.ceil((lease_ms / (1 - drift) + MARGIN_MS) * (1 + drift)))

    @property
    def output_limits(self) -> Mapping[str, OutputLimit]:
        """How many bytes of replies a client may leave unread, by its class."""
        return output_limits(self.client_output_buffer_limit)

    @property
    def renew_ms(self) -> int:
        """How often a primary renews its lease."""
        return self.lease_ms // 4

    @classmethod
    def parse(cls, options: Mapping[str, str]) -> Settings:
        """Return the settings of some options; raises ValueError that names a wrong one."""
        known = {f.name.replace("_", "-"): f for f in fields(cls)}
        given: dict[str, int | str] = {}
        for name, text in options.items():
            if name not in known:
                raise ValueError(f"{name}: unknown; a node has {', '.join(known)}")
            given[known[name].name] = text if name in _TEXTS else _number(name, text)
        settings = cls(**given)  # type: ignore[arg-type]
        settings.check()
        return settings

    def check(self) -> None:
        """Raise ValueError if a limit can't be read, or two leases could overlap: one that a slow
        clock measures, and the backoff that a fast clock measures."""
        try:
            output_limits(self.client_output_buffer_limit)
        except ValueError as e:
            raise ValueError(f"client-output-buffer-limit: {e}") from e
        drift = self.drift_percent / 100
        longest = self.lease_ms / (1 - drift) + MARGIN_MS
        least = math.ceil(longest * (1 + drift))
        if self.backoff_ms < least:
            raise ValueError(
                f"backoff-ms={self.backoff_ms}: with lease-ms={self.lease_ms} and clocks that "
                f"drift by {self.drift_percent} % it must be at least {least}"
            )


_TEXTS = ("requirepass", "client-output-buffer-limit")
_BOUNDS = {
    "drift-percent": (0, 50), "lease-ms": (50, 60_000), "max-record-bytes": (1, 512 << 20),
}  # fmt: skip


def _number(name: str, text: str) -> int:
    least, most = _BOUNDS.get(name, (1, 2**40))
    if not text.isdecimal() or not least <= int(text) <= most:
        raise ValueError(f"{name}={text}: give a whole number between {least} and {most}")
    return int(text)
