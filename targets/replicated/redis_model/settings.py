"""Options of the model, named as in redis.conf."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from targets.replicated.redis_model.persistence import Policy
from targets.servers.options import option


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Each option has the meaning that it has in Redis."""

    appendonly: bool = option(False, "whether effects are appended to a file")
    appendfsync: Policy = option("everysec", "when that file is synced: always, everysec or no")
    min_replicas_to_write: int = option(0, "connected replicas below which writes get NOREPLICAS")
    min_replicas_max_lag: float = option(
        10.0, "seconds after which a silent replica is not counted"
    )
    repl_ping_replica_period: float = option(1.0, "seconds between pings to replicas")

    @classmethod
    def parse(cls, options: Mapping[str, str]) -> Settings:
        """Return the settings of some options; raises ValueError that names a wrong one."""
        parsers: dict[str, Callable[[str], Any]] = {
            "appendonly": _yes_no,
            "appendfsync": _policy,
            "min-replicas-to-write": lambda text: int(_within(text, 0, 1000)),
            "min-replicas-max-lag": lambda text: _within(text, 0, 1e6),
            "repl-ping-replica-period": lambda text: _within(text, 0.01, 10),
        }
        given = {}
        for name, text in options.items():
            if name not in parsers:
                raise ValueError(f"{name}: unknown; the model has {', '.join(parsers)}")
            try:
                given[name.replace("-", "_")] = parsers[name](text)
            except ValueError as e:
                raise ValueError(f"{name}={text}: {e}") from e
        return cls(**given)


def _yes_no(text: str) -> bool:
    if text not in ("yes", "no"):
        raise ValueError("give yes or no")
    return text == "yes"


def _within(text: str, least: float, most: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not least <= value <= most:
        raise ValueError(f"give a number between {least:g} and {most:g}")
    return value


def _policy(text: str) -> str:
    if text not in ("always", "everysec", "no"):
        raise ValueError("give always, everysec or no")
    return text
