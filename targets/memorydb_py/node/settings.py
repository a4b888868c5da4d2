"""Options of a node."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields

ENGINE_VERSION = 1  # of effects: raised when an older node could not apply a newer one's
MARGIN_MS = 20  # between the end of a lease and the first try of another node


@dataclass(frozen=True, kw_only=True)
class Settings:
    """`lease_ms`: how long a primary may serve after it asked for a renewal. `backoff_ms`: how long
    a replica waits after the last renewal that it saw (D1). `drift_percent`: by how much a clock
    may run too fast or too slow. `max_waiting`: replies, and entries, that may wait for the log
    (D11). `max_record_bytes`: of one command, script or transaction (D9). `requirepass`: "" for
    none. `engine_version`: of the entries that it writes, and the newest that it reads."""

    lease_ms: int = 600
    backoff_ms: int = 1000
    drift_percent: int = 20
    max_waiting: int = 100_000
    max_record_bytes: int = 32 << 20
    requirepass: str = ""
    engine_version: int = ENGINE_VERSION

    @property
    def renew_ms(self) -> int:
        return self.lease_ms // 4

    @classmethod
    def parse(cls, options: Mapping[str, str]) -> Settings:
        """From `lease-ms=600` and the like; raises ValueError that names the option."""
        known = {f.name.replace("_", "-"): f for f in fields(cls)}
        given: dict[str, int | str] = {}
        for name, text in options.items():
            if name not in known:
                raise ValueError(f"{name}: a node knows {', '.join(known)}")
            given[known[name].name] = text if name == "requirepass" else _number(name, text)
        made = cls(**given)  # type: ignore[arg-type]
        made.check()
        return made

    def check(self) -> None:
        """Raises ValueError where two leases could overlap: a slow clock holds the lease, a fast
        one waits for it to end."""
        drift = self.drift_percent / 100
        longest = self.lease_ms / (1 - drift) + MARGIN_MS
        least = math.ceil(longest * (1 + drift))
        if self.backoff_ms < least:
            raise ValueError(
                f"backoff-ms={self.backoff_ms}: with lease-ms={self.lease_ms} and clocks that err "
                f"by {self.drift_percent} % it must be at least {least}"
            )


_BOUNDS = {
    "drift-percent": (0, 50), "lease-ms": (50, 60_000), "max-record-bytes": (1, 512 << 20),
}  # fmt: skip


def _number(name: str, text: str) -> int:
    least, most = _BOUNDS.get(name, (1, 2**40))
    if not text.isdecimal() or not least <= int(text) <= most:
        raise ValueError(f"{name}={text}: give a whole number between {least} and {most}")
    return int(text)
